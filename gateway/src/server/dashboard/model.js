// What is known of the rover: each value with the moment it is of, the track, and what is alarming.

/** A value older than this is shown as old, unless its topic is known to be slower. */
const OLD_MS = 3000;
/** A pause longer than this is no topic's usual period. */
const SLOW_MS = 8000;
/** So long after an accepted stop, what an endpoint sent before it may still come. */
const LATE_MS = 3000;
const TRACK_POINTS = 4000;
/** Nearer than this to the last point of the track, a position adds none: receivers wander. */
const TRACK_STEP_M = 0.75;
const ALARMS_SHOWN = 6;
const ALARMS_KEPT = 50;
const BATTERY_LOW = 25;
const BATTERY_EMPTY = 10;
/** What an alarm is called whose topic has gone silent. */
const NAMES = {
  mission_status: "Mission status", current_mission: "Mission", autonomous_mode: "Autonomy", emergency_stop: "Emergency stop",
  boundary_violation: "Boundary", gps_position: "GPS position", heading: "Heading", velocity: "Speed", battery_level: "Battery",
  motor_temperatures: "Motor temperatures", system_errors: "Diagnostics", led: "LED", imu_data: "IMU", joint_states: "Joints",
};

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isFix = (value) => value && isNumber(value.lat) && isNumber(value.lon);

class Values {
  constructor() {
    this.known = new Map();
    /** The keys of the endpoints that talk, with the moment each was last named, with a value or none. */
    this.named = new Map();
  }

  /** Takes a telemetry object that came at `t`; an older value never replaces a newer one. */
  take(data, t) {
    for (const [key, value] of Object.entries(data)) {
      if (key === "age" || key === "timestamp") continue;
      this.named.set(key, t);
      if (value === null || (key === "gps_position" && !isFix(value))) continue;
      const born = t - 1000 * (data.age?.[key] ?? 0);
      const known = this.known.get(key);
      if (known && born <= known.born - 50) continue;
      const pause = known ? born - known.born : 0;
      let { period = 0, pauses = 0 } = known ?? {};
      // The longest of late; it is forgotten slowly. Less is the network's jitter.
      if (pause > 120 && pause < SLOW_MS) [period, pauses] = [Math.max(pause, 0.9 * period), pauses + 1];
      this.known.set(key, { value, born, period, pauses });
    }
  }

  get(key) { return this.known.get(key)?.value; }
  /** In milliseconds; null for what never came. */
  age(key, t) {
    const known = this.known.get(key);
    return known ? Math.max(0, t - known.born) : null;
  }
  isOld(key, t) { return (this.age(key, t) ?? 0) > Math.max(OLD_MS, 2.5 * (this.known.get(key)?.period ?? 0)); }
  /** Whether it has come again and again; what is said once, on a change, is not missed. */
  isRegular(key) { return (this.known.get(key)?.pauses ?? 0) > 1; }
  isNamed(key, t) { return t - (this.named.get(key) ?? -Infinity) < OLD_MS; }
}

/** Metres east and north of a start: equirectangular, with the ellipsoid's two radii there (WGS 84). */
class Plane {
  constructor(origin) {
    const sin = Math.sin((origin.lat * Math.PI) / 180);
    const w = 1 - 6.69437999014e-3 * sin * sin;
    const across = 6378137 / Math.sqrt(w);
    this.origin = origin;
    this.east = (Math.PI / 180) * across * Math.sqrt(1 - sin * sin);
    this.north = ((Math.PI / 180) * across * (1 - 6.69437999014e-3)) / w;
  }
  at({ lat, lon }) {
    // The short way round, also across the date line.
    const turn = ((lon - this.origin.lon + 540) % 360) - 180;
    return { x: turn * this.east, y: (lat - this.origin.lat) * this.north };
  }
}

class Track {
  constructor() { this.restart(); }
  restart(from = null) {
    this.plane = from && new Plane(from);
    this.points = from ? [{ x: 0, y: 0 }] : [];
    this.here = from ? { x: 0, y: 0 } : null;
  }
  add(fix) {
    if (!this.plane) return this.restart(fix);
    this.here = this.plane.at(fix);
    const last = this.points.at(-1);
    if (Math.hypot(this.here.x - last.x, this.here.y - last.y) < TRACK_STEP_M) return;
    this.points.push(this.here);
    // What is long ago gets coarser; the way as a whole stays.
    if (this.points.length > TRACK_POINTS) {
      this.points = this.points.filter((_, at) => at > TRACK_POINTS / 2 || at % 2 === 0);
    }
  }
  get distance() { return this.here ? Math.hypot(this.here.x, this.here.y) : null; }
  /** Where the rover is as seen from the start, degrees clockwise from north. */
  get bearing() { return this.here ? bearing(this.here.x, this.here.y) : null; }
  /** Which way it went lately, for when nobody says its heading. */
  get course() {
    const back = this.points.at(-4);
    const last = this.points.at(-1);
    return back && last ? bearing(last.x - back.x, last.y - back.y) : null;
  }
}

const bearing = (x, y) => ((Math.atan2(x, y) * 180) / Math.PI + 360) % 360;
const compass = (degrees) =>
  ["north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"][Math.round(degrees / 45) % 8];

/** A lamp that is sampled: its colour, and whether it flashes. */
class Lamp {
  constructor() { this.seen = []; }
  take(colour, t) {
    this.seen.push({ colour, t });
    this.seen = this.seen.filter((one) => t - one.t < 2200).slice(-64);
  }
  get state() {
    const lit = this.seen.findLast(({ colour }) => colour !== "off");
    const flashes = this.seen.filter(({ colour }, at) => at && (colour === "off") !== (this.seen[at - 1].colour === "off")).length;
    return { colour: lit?.colour ?? (this.seen.length ? "off" : null), flashing: flashes > 1 };
  }
}

/** The alarm before all others. */
const ASKED = "asked";
/** The alarms before those of the rover, in this order. */
const FIRST = [ASKED, "link", "stop"];

/** What is alarming in a state: id, sentence, and whether it is severe. */
function findings(values, { link, requests, stop, shared }, t) {
  const list = [];
  const add = (id, text, severe = false) => list.push({ id, text, severe });
  const lost = link.isLost(t);
  if (stop.isUnheard) add(ASKED, `Emergency stop asked at ${stop.pending.at}, not yet heard by the rover: use the red button`, true);
  if (lost && requests.answers(t)) add("link", "No link: the gateway answers requests only (all places may be taken). The stop works", true);
  else if (lost) add("link", "Link lost: no endpoint of the rover answers", true);
  if (values.get("emergency_stop") === true) add("stop", "Emergency stop engaged", true);
  list.push(...(shared.isKnown(t) ? shared.findings() : ownFindings(values)));
  if (!lost) {
    const old = Object.keys(NAMES).filter((key) => values.isRegular(key) && values.isOld(key, t) && values.isNamed(key, t));
    for (const key of old) add(`old ${key}`, `${NAMES[key]}: no news for ${(values.age(key, t) / 1000).toFixed(0)} s`);
  }
  return list;
}

/** What the page finds itself, while it does not know the alarms of the gateway. */
function ownFindings(values) {
  const list = [];
  const add = (id, text, severe = false) => list.push({ id, text, severe });
  if (values.get("boundary_violation") === true) add("boundary", "Outside the boundary", true);
  const battery = values.get("battery_level");
  if (isNumber(battery) && battery < BATTERY_EMPTY) add("battery", `Battery critical: ${battery.toFixed(0)} %`, true);
  else if (isNumber(battery) && battery < BATTERY_LOW) add("battery", `Battery low: ${battery.toFixed(0)} %`);
  const errors = values.get("system_errors");
  for (const text of Array.isArray(errors) ? errors.slice(0, ALARMS_KEPT) : []) {
    // "no data for 4 s" and "for 5 s" is one alarm, whose words change.
    add(`error ${String(text).replace(/[\d.]+/g, "")}`, String(text).slice(0, 200));
  }
  return list;
}

/** The alarms that last, newest first. */
class Alarms {
  constructor() { this.list = []; }
  /** Takes what is alarming now; returns those that are new. */
  update(found) {
    const now = new Map(found.map((one) => [one.id, one]));
    this.list = this.list.filter(({ id }) => now.has(id));
    for (const alarm of this.list) Object.assign(alarm, now.get(alarm.id));
    const known = new Set(this.list.map(({ id }) => id));
    const fresh = [...now.values()].filter(({ id }) => !known.has(id)).map((one) => ({ since: new Date(), ...one }));
    this.list = [...fresh, ...this.list].slice(0, ALARMS_KEPT);
    return fresh;
  }
  /** Those to show: the severe ones first, so that no crowd of small ones hides them. */
  get shown() {
    const severe = this.list.filter((one) => one.severe);
    const rank = ({ id }) => (FIRST.includes(id) ? FIRST.indexOf(id) : FIRST.length);
    severe.sort((a, b) => rank(a) - rank(b));
    return [...severe, ...this.list.filter((one) => !one.severe)].slice(0, ALARMS_SHOWN);
  }
}

/** Telemetry that an endpoint sent before it heard of a stop that was accepted meanwhile. */
class LateTelemetry {
  constructor() {
    this.acceptedAt = -Infinity;
    /** The endpoints that have said since that the rover is stopped. */
    this.confirmed = new Set();
  }

  accepted(t) {
    [this.acceptedAt, this.confirmed] = [t, new Set()];
  }

  /** Leaves out that the rover is not stopped, if it was said before the stop was accepted. */
  filter(end, data, t) {
    const { emergency_stop: engaged, ...rest } = data;
    if (engaged === true) this.confirmed.add(end);
    const isLate = t - this.acceptedAt < LATE_MS && !this.confirmed.has(end);
    return engaged === false && isLate ? rest : data;
  }
}
