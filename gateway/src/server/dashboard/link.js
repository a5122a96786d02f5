// One logical connection over the gateway's endpoints: the best one that talks carries the page, and
// where it does not carry everything, others add what is missing.

const TICK_MS = 100;
/** Silence of an endpoint that should say something five times a second. */
const SUSPECT_MS = 600;
/** Silence after which it is asked whether it is there. */
const ASK_MS = 400;
/** After this the connection is given up, whoever else talks. */
const DEAD_MS = 6000;
/** So long nobody talks before it is an alarm. */
const LOST_MS = 800;
const OPEN_MS = 1500;
/** So long a better endpoint must have talked without a gap before the page goes over to it. */
const STEADY_MS = 3000;
/** Just after a switch, a better one that answers a little later is taken at once. */
const SETTLE_MS = 400;
/** If the best two do not answer so soon, all are tried. */
const WIDEN_MS = 300;
const BACKOFF_MS = { first: 250, most: 4000, unserved: 1000 };

const TIERS = ["primary", "secondary", "tertiary", "emergency"];
const SCOPES = {
  primary: ["sensors", "commands", "state", "mission", "safety", "emergency", "location", "health", "battery"],
  secondary: ["state", "mission", "emergency"],
  tertiary: ["safety", "location", "health", "emergency"],
  emergency: ["emergency", "location", "battery"],
};
/** What a degraded link still gets, as milliseconds between two messages. */
const PERIOD_MS = { full: 200, reduced: 200, mission: 400, safety: 1000, critical: 2000 };

const clock = () => performance.now();

class End {
  constructor(url, tier) {
    Object.assign(this, { url, tier, scopes: SCOPES[tier] ?? [], covers: [] });
    Object.assign(this, { socket: null, openedAt: 0, heardAt: 0, steadySince: null, asked: false });
    Object.assign(this, { failures: 0, flaps: 0, notBefore: 0, period: 200, role: null, mayStop: false });
    /** Nobody but itself says that it is an endpoint of this rover. */
    this.announced = false;
  }
  get talks() { return this.socket !== null && this.steadySince !== null; }
  get patience() { return Math.max(SUSPECT_MS, 2.5 * this.period + 100); }
  silence(t) { return t - (this.steadySince === null ? this.openedAt : this.heardAt); }
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }
}

const covers = (a, b) => b.scopes.every((scope) => a.scopes.includes(scope));

/** Whether `a` is to be preferred: it covers more, or as much and is of the better tier. */
function better(a, b) {
  const [more, less] = [covers(a, b), covers(b, a)];
  if (more !== less) return more;
  return TIERS.indexOf(a.tier) < TIERS.indexOf(b.tier);
}

class Link {
  /** `hear(end, message)` gets every message, `change()` is called when another endpoint serves. */
  constructor(hear, change) {
    Object.assign(this, { hear, change, ends: [], active: null, suspect: false, token: null });
    Object.assign(this, { adoptedAt: 0, troubleSince: clock(), ticked: clock(), switches: 0 });
  }

  start(ends) {
    this.know(ends);
    // The only loop there is: whatever happens, it decides what is open.
    setInterval(() => this.tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.tick());
    this.tick();
  }

  /** Takes the list of endpoints; what is open stays open. */
  know(list) {
    for (const { url, tier, scopes, announced = false } of list) {
      let end = this.ends.find((known) => known.url === url);
      if (!end) this.ends.push((end = Object.assign(new End(url, tier), { announced })));
      end.announced &&= announced;
      if (!end.talks) Object.assign(end, { tier, scopes: scopes?.length ? scopes : end.scopes });
    }
    this.ends = this.ends.filter((end) => end.socket || list.some(({ url }) => url === end.url));
    this.ends.sort((a, b) => (better(a, b) ? -1 : better(b, a) ? 1 : 0));
  }

  open(end, t) {
    if (end.socket || t < end.notBefore) return;
    let socket;
    try {
      socket = new WebSocket(end.url);
    } catch {
      return this.fail(end, t);
    }
    Object.assign(end, { socket, openedAt: t, steadySince: null, asked: false, period: 200 });
    socket.onmessage = (event) => end.socket === socket && this.heard(end, event.data);
    socket.onclose = () => end.socket === socket && this.lost(end);
  }

  shut(end) {
    const socket = end.socket;
    end.socket = end.steadySince = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  fail(end, t) {
    const most = this.active && !this.suspect ? BACKOFF_MS.most : BACKOFF_MS.unserved;
    const wait = Math.min(most, BACKOFF_MS.first * 2 ** end.failures);
    end.failures = Math.min(end.failures + 1, 8);
    end.notBefore = t + wait * (0.5 + Math.random() / 2);
    this.shut(end);
  }

  lost(end) {
    const t = clock();
    this.fail(end, t);
    if (end === this.active) this.leave(t);
    this.tick();
  }

  leave(t) {
    this.active.flaps = Math.min(this.active.flaps + 1, 4);
    this.active = null;
    this.trouble(t, false);
  }

  /** Nobody is known to serve: those that failed before get another chance soon. */
  trouble(t, suspect) {
    this.suspect = suspect;
    this.troubleSince = t;
    for (const end of this.ends) end.notBefore = Math.min(end.notBefore, t + BACKOFF_MS.first * (0.5 + Math.random()));
    this.change();
  }

  adopt(end, t) {
    const before = this.active;
    if (before && this.suspect) {
      before.flaps = Math.min(before.flaps + 1, 4);
      this.fail(before, t);
    }
    this.active = end;
    this.suspect = false;
    this.adoptedAt = t;
    this.switches += 1;
    this.change();
  }

  heard(end, text) {
    const t = clock();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (end.steadySince === null || t - end.heardAt > end.patience) end.steadySince = t;
    end.heardAt = t;
    end.asked = false;
    if (end === this.active) this.suspect = false;
    this.learn(end, message);
    if (message.type === "initial" || message.type === "telemetry") this.consider(end, t);
    this.hear(end, message, t);
  }

  /** What an endpoint says of itself and of this connection. */
  learn(end, message) {
    const own = message.type === "initial" ? message.endpoint : message.type === "promotion" ? message : null;
    if (own?.scopes) Object.assign(end, { scopes: own.scopes, covers: own.covers ?? [] });
    if (own?.tier) end.tier = own.tier;
    if (message.type === "service") end.period = PERIOD_MS[message.level] ?? 200;
    if (message.type === "initial" || message.type === "auth") {
      Object.assign(end, { role: message.role ?? null, mayStop: message.may_stop === true });
    }
    if (message.type === "initial") this.identify(end);
    if (own) this.change();
  }

  /** From now on this token is shown to the endpoints; whether one of them is there. */
  showToken(token) {
    this.token = token;
    return this.ends.map((end) => this.identify(end)).some(Boolean);
  }

  /** Whoever is in the network may announce an endpoint: it is looked at, and told no secret. */
  identify(end) {
    return this.token !== null && !end.announced && end.send({ type: "auth", token: this.token });
  }

  consider(end, t) {
    const steady = t - end.steadySince;
    if (steady > STEADY_MS) end.failures = 0;
    if (end === this.active) {
      if (t - this.adoptedAt > 60_000) end.flaps = 0;
      return;
    }
    if (!this.active || this.suspect) return this.adopt(end, t);
    const needed = t - this.adoptedAt < SETTLE_MS && end.flaps === 0 ? 0 : STEADY_MS * 2 ** Math.max(0, end.flaps - 1);
    if (better(end, this.active) && steady >= needed) this.adopt(end, t);
  }

  tick() {
    const t = clock();
    // A tick that comes late: it was this page that slept, and what has arrived is not read yet.
    const late = t - this.ticked > 4 * TICK_MS;
    this.ticked = t;
    if (!late) this.watch(t);
    for (const end of this.wanted(t)) this.open(end, t);
    const wanted = new Set(this.wanted(t));
    for (const end of this.ends) if (end.socket && !wanted.has(end)) this.shut(end);
  }

  /** Looks for those that are silent. */
  watch(t) {
    for (const end of this.ends.filter(({ socket }) => socket)) {
      const silence = end.silence(t);
      if (end.talks && silence > ASK_MS && !end.asked) end.asked = end.send({ type: "ping" });
      if (end === this.active) {
        if (silence > end.patience && !this.suspect) this.trouble(t, true);
        if (silence > DEAD_MS) {
          this.fail(end, t);
          this.leave(t);
        }
      } else if (silence > (end.talks ? end.patience : OPEN_MS)) {
        this.fail(end, t);
      }
    }
  }

  /** Which endpoints there should be a connection with, now. */
  wanted(t) {
    const { active, ends } = this;
    if (!active || this.suspect) {
      const others = ends.filter((end) => end !== active);
      const open = t - this.troubleSince > WIDEN_MS ? others : others.filter((end) => end.socket || t >= end.notBefore).slice(0, 2);
      // Whoever is being asked already goes on being asked.
      return [...(active ? [active] : []), ...new Set([...open, ...others.filter(({ socket }) => socket)])];
    }
    const wanted = [active];
    const above = ends.filter((end) => end !== active && better(end, active));
    const next = above.find(({ socket }) => socket) ?? above.find((end) => t >= end.notBefore) ?? above[0];
    if (next) wanted.push(next);
    const missing = new Set(this.lacks);
    for (const end of ends.filter((end) => !wanted.includes(end))) {
      const possible = end.socket || t >= end.notBefore;
      if (!possible || !end.scopes.some((scope) => missing.has(scope))) continue;
      wanted.push(end);
      end.scopes.forEach((scope) => missing.delete(scope));
    }
    return t - this.adoptedAt < SETTLE_MS ? [...new Set([...wanted, ...ends.filter(({ socket }) => socket)])] : wanted;
  }

  /** What some endpoint carries and the serving one does not. */
  get lacks() {
    return this.ends.flatMap(({ scopes }) => scopes).filter((scope) => !this.active?.scopes.includes(scope));
  }

  /** Those that add what the serving one lacks. */
  get assistants() {
    const adds = (end) => end.scopes.some((scope) => !this.active?.scopes.includes(scope));
    return this.ends.filter((end) => end !== this.active && end.talks && adds(end) && !better(end, this.active));
  }

  /** Whether nobody talks, and that is more than a switch. */
  isLost(t) {
    return (this.suspect || !this.active) && t - this.troubleSince > LOST_MS;
  }

  /** Sends to the serving endpoint, or to everyone that is there; whether anybody got it. */
  send(message, everyone = false) {
    const ends = everyone || !this.active ? this.ends.filter(({ socket }) => socket) : [this.active];
    return ends.map((end) => end.send(message)).some(Boolean);
  }
}
