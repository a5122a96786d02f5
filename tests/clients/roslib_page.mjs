// Runs checks of roslib in a page of Chromium: roslib_page.mjs CHECK URL [TOKEN]. Prints their observations.

import { createServer } from "node:http";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const [check, url, token] = process.argv.slice(2);
const code = `
  import * as ROSLIB from "roslib";
  import * as checks from "./roslib_checks.mjs";
  window.run = (check, url, token) => checks[check](ROSLIB, url, token);
`;
const bundle = await build({
  stdin: { contents: code, resolveDir: import.meta.dirname },
  bundle: true,
  format: "esm",
  platform: "browser",
  write: false,
  logLevel: "error",
});
// A site of its own, like a third-party dashboard.
const site = createServer((request, response) => {
  const script = request.url === "/page.js";
  response.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  response.end(script ? bundle.outputFiles[0].text : '<script type="module" src="/page.js"></script>');
});
await new Promise((ready) => site.listen(0, "127.0.0.1", ready));
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(String(error)));
  // Another host name than the gateway's, so the gateway sees another origin.
  await page.goto(`http://localhost:${site.address().port}/`);
  await page.waitForFunction(() => typeof window.run === "function");
  const seen = await page.evaluate(([check, url, token]) => window.run(check, url, token), [check, url, token]);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
  site.close();
}
process.exit(0);
