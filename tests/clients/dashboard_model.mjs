// The page's model (gateway/src/server/dashboard/model.js): which telemetry it takes after an accepted stop. Prints the
// results.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const source = readFileSync(fileURLToPath(new URL("../../gateway/src/server/dashboard/model.js", import.meta.url)), "utf8");
const { LateTelemetry } = vm.runInNewContext(`${source}\n({ LateTelemetry })`, {});

const late = new LateTelemetry();
const shown = (end, engaged, t) => late.filter(end, { emergency_stop: engaged, led: 1 }, t).emergency_stop ?? "left out";
const [first, second] = [{}, {}];
const before = shown(first, false, 0);
late.accepted(1000);
const results = {
  before,
  late: shown(first, false, 1200),
  "of another endpoint": shown(second, false, 1300),
  engaged: shown(first, true, 1400),
  "released since": shown(first, false, 1500),
  "of another endpoint, still": shown(second, false, 1600),
  "long after": shown(second, false, 4001),
  "other values": late.filter(second, { emergency_stop: false, led: 1 }, 1700).led,
};
late.accepted(5000);
results["after a second stop"] = shown(first, false, 5100);
console.log(JSON.stringify(results));
