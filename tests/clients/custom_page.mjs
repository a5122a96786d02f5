// Runs the example of a custom page in a browser, on an empty page:
//
//   custom_page.mjs PORT PORT PORT PORT
//
// Prints the first output of the example, then that it has switched to the second port.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launch, printJson } from "./dashboard_common.mjs";

const ports = process.argv.slice(2);
const text = readFileSync(fileURLToPath(new URL("browser_example.js", import.meta.url)), "utf8");
const example = text.replace("8080, 8081, 8082, 8083", ports.join(", "));

const browser = await launch();
const page = await browser.newPage();
const printed = [];
let moved = false;
page.on("console", (message) => message.type() === "log" && printed.push(message.text()));
page.on("websocket", (socket) => {
  socket.on("framereceived", () => (moved ||= socket.url().includes(`:${ports[1]}/`)));
});
const until = async (what, condition) => {
  for (const end = Date.now() + 30_000; !condition(); ) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
};
await page.evaluate(example);
await until("a status", () => printed.some((line) => line.includes("waypoint")));
printJson({ printed: printed.find((line) => line.includes("waypoint")) });
await until("the next endpoint", () => moved);
printJson({ moved });
await browser.close();
