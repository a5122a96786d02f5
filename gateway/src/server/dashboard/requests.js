// The stop without a link: plain requests to the endpoint that this page comes from. They need no place, so they are
// answered when all places of sessions are taken.

const REQUEST_MS = { patience: 1500, period: 1000 };
/** So long an answer says how things are. */
const ANSWERED_MS = 3500;
const STOP_PATH = `${location.pathname.replace(/\/$/, "")}/api/v2/emergency-stop`;

class Requests {
  constructor(link) {
    Object.assign(this, { link, answeredAt: -Infinity, lookedAt: -Infinity, engaging: false });
  }

  answers(t) { return t - this.answeredAt < ANSWERED_MS; }

  /** While there is no link: what the state of the stop is, or nothing. */
  async look(t, take) {
    if (!this.link.isLost(t) || t - this.lookedAt < REQUEST_MS.period) return;
    this.lookedAt = t;
    const answer = await this.send();
    if (!answer?.ok) return;
    this.answeredAt = clock();
    if (typeof answer.body.engaged === "boolean") take(answer.body.engaged, this.answeredAt);
  }

  /** Engages the stop; null if nothing answers, or another request is under way. */
  async engage({ id, reason }) {
    if (this.engaging) return null;
    this.engaging = true;
    const answer = await this.send({ engage: true, id, reason });
    this.engaging = false;
    return answer && { id, accepted: answer.ok, message: answer.body.message ?? answer.body.detail ?? `status ${answer.status}` };
  }

  async send(body) {
    const headers = { "Content-Type": "application/json" };
    if (this.link.token !== null) headers.Authorization = `Bearer ${this.link.token}`;
    const command = body && { method: "POST", headers, body: JSON.stringify(body) };
    try {
      const answer = await fetch(STOP_PATH, { cache: "no-store", signal: AbortSignal.timeout(REQUEST_MS.patience), ...command });
      return { ok: answer.ok, status: answer.status, body: await answer.json() };
    } catch {
      return null;
    }
  }
}
