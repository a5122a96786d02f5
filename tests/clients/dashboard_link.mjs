// The page's link (gateway/src/server/dashboard/link.js) with simulated endpoints and a simulated clock: random endpoints
// crash, hang, refuse and recover, for hours of simulated time. Prints the results.
//
//   dashboard_link.mjs SEED RUNS

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

let state = Number(process.argv[2]) >>> 0 || 1;
const random = () => {
  // Mulberry32: the same run for the same seed.
  state = (state + 0x6d2b79f5) >>> 0;
  let word = Math.imul(state ^ (state >>> 15), state | 1);
  word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
  return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
};
const source = readFileSync(fileURLToPath(new URL("../../gateway/src/server/dashboard/link.js", import.meta.url)), "utf8");
const TIERS = ["primary", "secondary", "tertiary", "emergency"];

/** A world of four endpoints, each up, down (refuses), hung (silent) or deaf (never opens). */
class World {
  constructor() {
    Object.assign(this, { now: 0, events: [], sockets: [], said: [], opened: 0, problems: [] });
    this.health = Object.fromEntries(TIERS.map((tier) => [tier, "up"]));
    this.since = Object.fromEntries(TIERS.map((tier) => [tier, 0]));
    const world = this;
    this.WebSocket = class {
      static OPEN = 1;
      constructor(url) {
        Object.assign(this, { url, tier: url.split("/")[2], readyState: 0 });
        world.sockets.push(this);
        world.opened += 1;
        world.at(5 + random() * 20, () => this.answer());
      }
      answer() {
        if (this.readyState === 3 || world.health[this.tier] === "hung" || world.health[this.tier] === "deaf") return;
        if (world.health[this.tier] === "down") return this.end();
        this.readyState = 1;
        this.emit("initial");
        this.beat();
      }
      beat() {
        world.at(200, () => {
          if (this.readyState !== 1) return;
          if (world.health[this.tier] === "up") this.emit("telemetry");
          this.beat();
        });
      }
      emit(type) { this.onmessage?.({ data: JSON.stringify({ type, data: {}, endpoint: { tier: this.tier } }) }); }
      send(text) { world.said.push({ tier: this.tier, type: JSON.parse(text).type }); }
      close() { this.end(false); }
      end(tell = true) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        world.sockets = world.sockets.filter((other) => other !== this);
        if (tell) this.onclose?.({});
      }
    };
  }
  at(delay, act) { this.events.push({ at: this.now + delay, act }); }
  run(until) {
    for (;;) {
      this.events.sort((a, b) => a.at - b.at);
      if (!this.events.length || this.events[0].at > until) break;
      const { at, act } = this.events.shift();
      this.now = at;
      act();
    }
    this.now = until;
  }
  set(tier, health) {
    if (health !== this.health[tier]) this.since[tier] = this.now;
    this.health[tier] = health;
    if (health === "down") this.sockets.filter((socket) => socket.tier === tier).forEach((socket) => socket.end());
  }
}

function start(world, known = {}) {
  const repeat = (act, period) => world.at(period, () => { act(); repeat(act, period); });
  const context = vm.createContext({
    performance: { now: () => world.now }, WebSocket: world.WebSocket, setInterval: repeat,
    document: { addEventListener() {} }, Math: Object.assign(Object.create(Math), { random }),
  });
  vm.runInContext(`${source}; globalThis.Link = Link;`, context);
  let changes = 0;
  const link = new context.Link(() => {}, () => (changes += 1));
  link.start(TIERS.map((tier) => ({ url: `ws://${tier}/telemetry`, tier, ...known[tier] })));
  return { link, changes: () => changes };
}

function check(world, link, what) {
  const { problems } = world;
  const perTier = TIERS.map((tier) => world.sockets.filter((socket) => socket.tier === tier).length);
  if (perTier.some((count) => count > 1)) problems.push(`${what}: two connections with one endpoint: ${perTier}`);
  if (world.sockets.length !== link.ends.filter(({ socket }) => socket).length) problems.push(`${what}: a connection nobody knows`);
}

const result = { runs: 0, slowest_takeover_ms: 0, slowest_recovery_ms: 0, slowest_return_ms: 0, most_attempts_per_s: 0, problems: [] };
for (let run = 0; run < Number(process.argv[3]); run += 1) {
  const world = new World();
  const { link } = start(world);
  world.run(1000);
  for (let step = 0; step < 20; step += 1) {
    const tier = TIERS[Math.floor(random() * 4)];
    world.set(tier, ["up", "down", "hung", "deaf"][Math.floor(random() * 4)]);
    const [changed, opened] = [world.now, world.opened];
    const serves = () => link.active && !link.suspect && world.health[link.active.tier] === "up";
    const some = TIERS.some((tier) => world.health[tier] === "up");
    const patience = 4000;
    while (some && !serves() && world.now < changed + patience) world.run(world.now + 10);
    if (some && !serves()) world.problems.push(`run ${run} step ${step}: nobody serves, ${JSON.stringify(world.health)}`);
    // If another endpoint has been up for a while this is a takeover; otherwise one must be found first.
    const ready = TIERS.some((tier) => world.health[tier] === "up" && world.since[tier] < changed - 5000);
    const slowest = ready ? "slowest_takeover_ms" : "slowest_recovery_ms";
    result[slowest] = Math.max(result[slowest], some ? world.now - changed : 0);
    check(world, link, `run ${run} step ${step}`);
    world.run(world.now + 500 + random() * 15_000);
    check(world, link, `run ${run} step ${step}, later`);
    const seconds = (world.now - changed) / 1000;
    if (seconds > 5) result.most_attempts_per_s = Math.max(result.most_attempts_per_s, (world.opened - opened) / seconds);
  }
  // All endpoints are up again: the page returns to the primary and closes all other connections.
  TIERS.forEach((tier) => world.set(tier, "up"));
  const healed = world.now;
  const settled = () => link.active?.tier === "primary" && world.sockets.length === 1;
  while (!settled() && world.now < healed + 60_000) world.run(world.now + 50);
  if (!settled()) world.problems.push(`run ${run}: not back, ${link.active?.tier}, ${world.sockets.map(({ tier }) => tier)}`);
  result.slowest_return_ms = Math.max(result.slowest_return_ms, world.now - healed);
  result.problems.push(...world.problems);
  result.runs += 1;
}
// A token is sent to endpoints that the gateway vouches for, not to one that was only discovered by mDNS.
const world = new World();
const { link } = start(world, { emergency: { announced: true } });
world.set("primary", "down");
world.run(500);
link.showToken("secret");
world.set("secondary", "down");
world.set("tertiary", "down");
world.run(10_000);
if (link.active?.tier !== "emergency") result.problems.push(`the one that is left does not serve, ${link.active?.tier}`);
const shown = [...new Set(world.said.filter(({ type }) => type === "auth").map(({ tier }) => tier))];
if (!shown.length || shown.includes("emergency")) result.problems.push(`the token was shown to ${shown}`);
result.problems = result.problems.slice(0, 20);
console.log(JSON.stringify(result));
