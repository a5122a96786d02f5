// The alarms that the gateway shares with everybody, read from the endpoint that this page comes from.

const ALARMS_MS = { patience: 1500, fresh: 4000 };
const ALARMS_PATH = `${location.pathname.replace(/\/$/, "")}/api/v2/alarms`;
const SEVERE = ["critical", "severe"];

class SharedAlarms {
  constructor(link) {
    Object.assign(this, { link, list: [], answeredAt: -Infinity, reading: false });
  }

  /** While they are not known, the page says what it finds itself. */
  isKnown(t) { return t - this.answeredAt < ALARMS_MS.fresh; }

  /** Reads them while this page's endpoint serves it: of one that is down there is nothing to read. */
  async read(isServed) {
    if (!isServed || this.reading || document.visibilityState === "hidden") return;
    this.reading = true;
    const answer = await this.request(`${ALARMS_PATH}?shelved=false`);
    this.reading = false;
    if (!answer?.ok) return;
    this.list = answer.body.alarms.filter(({ state }) => state !== "cleared");
    this.answeredAt = clock();
  }

  /** What they say, as findings of the page. */
  findings() {
    return this.list.map((alarm) => {
      const by = alarm.acknowledgement && alarm.state === "acknowledged" ? ` (seen by ${alarm.acknowledgement.by})` : "";
      const over = alarm.latched ? " (over, not acknowledged)" : "";
      return {
        id: `alarm ${alarm.id}`,
        text: `${alarm.name}: ${alarm.text}${by}${over}`.slice(0, 300),
        severe: SEVERE.includes(alarm.severity) && alarm.state === "raised" && alarm.active,
        since: new Date(alarm.raised_ns / 1e6),
        acknowledge: alarm.state === "raised" && this.mayAcknowledge ? () => this.acknowledge(alarm) : null,
      };
    });
  }

  get mayAcknowledge() { return ["operator", "commander"].includes(this.link.active?.role); }

  /** Acknowledges the occurrence that is shown; null if that was done. Otherwise why not. */
  async acknowledge({ id, occurrence }) {
    const headers = { "Content-Type": "application/json" };
    if (this.link.token !== null) headers.Authorization = `Bearer ${this.link.token}`;
    const body = JSON.stringify({ comment: "on the web page", occurrence });
    const answer = await this.request(`${ALARMS_PATH}/${id}/acknowledge`, { method: "POST", headers, body });
    if (!answer?.ok) return answer?.body.detail ?? "no answer: try again";
    this.list = this.list.map((alarm) => (alarm.id === id ? answer.body : alarm)).filter(({ state }) => state !== "cleared");
    return null;
  }

  async request(path, options) {
    try {
      const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ALARMS_MS.patience), ...options });
      return { ok: answer.ok, body: await answer.json() };
    } catch {
      return null;
    }
  }
}
