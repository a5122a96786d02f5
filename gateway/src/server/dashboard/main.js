// Puts it together: where the endpoints are, what comes from them, what the buttons do.

const secure = location.protocol === "https:" ? "wss" : "ws";
// The path under which a proxy publishes the page.
const prefix = location.pathname.replace(/\/$/, "");
const urlOf = (host) => `${secure}://${host}/telemetry`;
const ownUrl = `${secure}://${location.host}${prefix}/telemetry`;
const isLoopback = (host) => /^(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0|\[::\])$/.test(host);

const [values, track, lamp, alarms] = [new Values(), new Track(), new Lamp(), new Alarms()];
const late = new LateTelemetry();
const map = new MapView($("map"), $("map-text"));
const view = new View(map);
const link = new Link(hear, () => render());
const requests = new Requests(link);
const shared = new SharedAlarms(link);
const stop = new StopControl(link, requests, {
  accepted: () => {
    const t = clock();
    late.accepted(t);
    takeStop(true, t);
  },
  change: () => render(),
});
let heard = 0;

function hear(end, message, t) {
  if (message.type === "initial" || message.type === "telemetry") {
    const data = late.filter(end, message.data ?? {}, t);
    const before = values.known.get("gps_position")?.born ?? -Infinity;
    values.take(data, t);
    const fix = values.known.get("gps_position");
    if (fix && fix.born > before + 20) track.add(fix.value);
    if (data.led?.color) lamp.take(data.led.color, t);
    if (end === link.active) document.body.dataset.heard = String((heard += 1));
    render();
    if (message.type === "initial") stop.connected(end);
  } else if (message.type === "emergency_stop") stop.answered(end, message);
  else if (message.type === "auth") tokenAnswered(`Accepted: you are ${message.role}.`);
  else if (message.type === "error" && link.token && !end.mayStop && !end.announced) {
    // The next connections need not try it again.
    link.token = null;
    tokenAnswered(`Refused: ${message.message}`);
  }
}

/** The stop's state from an answer, which comes before the telemetry. */
function takeStop(engaged, t) {
  values.take({ emergency_stop: engaged }, t);
  render();
}

function render() {
  const t = clock();
  alarms.update(findings(values, { link, requests, stop, shared }, t));
  view.draw({ values, track, lamp, link, requests, stop, alarms, t });
  const told = values.get("heading");
  // Where nobody says the heading any more but the position goes on, the way it went tells it.
  const fresh = !values.isOld("heading", t) || values.isOld("gps_position", t);
  const heading = isNumber(told) && fresh ? told : track.course;
  map.redraw({ track, heading, headingFrom: heading === told ? "heading" : "course", old: values.isOld("gps_position", t) });
}

// Where the endpoints are.

/** The directory's list. An endpoint on this page's computer is reached by the name this page was. */
async function directory() {
  const answer = await fetch(`${prefix}/api/v2/endpoints`, { signal: AbortSignal.timeout(3000) });
  const { endpoints } = await answer.json();
  // Those that others named and that have not proven themselves are no endpoints of this rover.
  const known = endpoints.filter(({ endpoint, origin, unproven }) => endpoint?.tier && endpoint.port && (origin === "config" || !unproven));
  return known.map(({ origin, endpoint }) => {
    const host = (endpoint.address ?? "").replace(/:\d+$/, "");
    const near = origin === "own" || !host || isLoopback(host);
    const announced = origin === "mdns" && !near;
    if (origin === "own") return { tier: endpoint.tier, scopes: endpoint.scopes, announced, url: ownUrl };
    return { tier: endpoint.tier, scopes: endpoint.scopes, announced, url: urlOf(`${near ? location.hostname : host}:${endpoint.port}`) };
  });
}

async function learnEndpoints() {
  try {
    const list = await directory();
    if (list.length > 1 || link.ends.length === 1) link.know(list);
  } catch {
    // Its endpoint may be the one that is down: what is known is kept, or guessed from this port.
    const own = link.ends.find(({ url }) => url === ownUrl);
    if (link.ends.length > 1 || !own?.tier) return;
    const base = Number(location.port) - TIERS.indexOf(own.tier);
    link.know(TIERS.map((tier, at) => ({ tier, url: urlOf(`${location.hostname}:${base + at}`) })));
  }
}

// Tokens, the theme, the map.

function tokenAnswered(words) {
  write($("token-answer"), words);
  render();
}
$("token-form").onsubmit = (event) => {
  event.preventDefault();
  const token = $("token").value.trim() || null;
  $("token").value = "";
  const asked = link.showToken(token);
  if (!token) return;
  write($("token-answer"), asked ? "Asking." : "No link yet; it is shown when there is one.");
};

const THEMES = { "": "automatic", light: "light", dark: "dark" };
let theme = "";
function setTheme(name) {
  theme = name in THEMES ? name : "";
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  write($("theme"), `Theme: ${THEMES[theme]}`);
  map.redraw();
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Not allowed here: it lasts as long as the page.
  }
}
$("theme").onclick = () => setTheme(Object.keys(THEMES)[(Object.keys(THEMES).indexOf(theme) + 1) % 3]);
try {
  setTheme(localStorage.getItem("theme") ?? "");
} catch {
  setTheme("");
}
matchMedia("(prefers-color-scheme: dark)").onchange = () => map.redraw();

const DEEDS = {
  in: () => map.zoom(ZOOM),
  out: () => map.zoom(1 / ZOOM),
  follow: () => map.show("follow"),
  fit: () => map.show("fit"),
  start: () => values.get("gps_position") && track.restart(values.get("gps_position")),
};
const KEYS = {
  "+": DEEDS.in, "=": DEEDS.in, "-": DEEDS.out, f: DEEDS.follow, t: DEEDS.fit,
  ArrowLeft: () => map.pan(-60, 0), ArrowRight: () => map.pan(60, 0), ArrowUp: () => map.pan(0, -60), ArrowDown: () => map.pan(0, 60),
};
function act(deed) {
  deed();
  for (const mode of ["follow", "fit"]) {
    document.querySelector(`[data-do="${mode}"]`).setAttribute("aria-pressed", String(map.mode === mode));
  }
  render();
}
$("map-tools").onclick = ({ target }) => DEEDS[target.dataset.do] && act(DEEDS[target.dataset.do]);
$("map-tools").onkeydown = (event) => {
  const deed = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!deed || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act(deed);
};

link.start([{ url: ownUrl, tier: "" }]);
learnEndpoints();
setTimeout(learnEndpoints, 1500);
setInterval(learnEndpoints, 15_000);
// Ages go on when nothing comes, and without a link the stop is looked at by requests.
setInterval(() => {
  render();
  shared.read(link.active?.url === ownUrl);
  requests.look(clock(), takeStop);
}, 500);
