// Opens the dashboard in a browser and records console errors and requests to other hosts than the gateway.

import { chromium } from "playwright-core";

const args = [
  "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
  "--disable-default-apps", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
];

export const printJson = (object) => console.log(JSON.stringify(object));

/** `more` are further arguments of the browser. */
export const launch = (more = [], env = process.env) =>
  chromium.launch({ executablePath: "/usr/bin/chromium", args: [...args, ...more], env });

/** Opens the page of a port. `options` are Playwright's options of a browser context. */
export async function openPage(port, options = {}, prepare = async () => {}) {
  const browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1366, height: 900 }, ...options });
  const page = await context.newPage();
  const [errors, foreign] = [[], []];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  const look = (url) => {
    const { protocol, hostname } = new URL(url);
    if (protocol !== "data:" && hostname !== "127.0.0.1") foreign.push(url);
  };
  page.on("request", (request) => look(request.url()));
  page.on("websocket", (socket) => look(socket.url()));
  await prepare(page);
  await page.goto(`http://127.0.0.1:${port}/`);
  return { browser, page, errors, foreign };
}

/** Waits until the page shows telemetry of this endpoint. */
export const served = (page, tier, timeout = 20_000) =>
  page.waitForFunction((tier) => document.body.dataset.serving === tier && Number(document.body.dataset.heard) > 0, tier, { timeout });

/** Waits until the tile with this title shows a value from the rover. */
export const valued = (page, title, timeout = 20_000) =>
  page.waitForFunction(
    (title) => [...document.querySelectorAll(".tile")].some((tile) =>
      tile.querySelector("h3").textContent === title && tile.querySelector(".number").textContent !== "–"),
    title, { timeout });
