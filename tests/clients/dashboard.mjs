// The dashboard in a browser; the test that starts this kills and freezes endpoints in the meantime.
//
//   dashboard.mjs show PORT              its contents, axe in all themes, keyboard, requests to other hosts
//   dashboard.mjs failover PORT SECONDS  prints "ready", then the longest gap in telemetry
//   dashboard.mjs lost PORT              prints "ready", then its contents once all endpoints are silent
//   dashboard.mjs stop PORT              operates the emergency stop by keyboard
//   dashboard.mjs unheard PORT           operates it while no endpoint answers
//   dashboard.mjs observer PORT          what an observer is offered, and what a token changes

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { openPage, printJson, served, valued } from "./dashboard_common.mjs";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [mode, port, more] = process.argv.slice(2);
const shots = process.env.PAGE_SHOTS;
const variants = {
  light: {}, dark: { colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
  "phone-dark": { viewport: { width: 360, height: 740 }, isMobile: true, colorScheme: "dark", reducedMotion: "reduce" },
};

const shoot = (page, name) => shots && page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });

async function violations(page) {
  await page.evaluate(axeSource);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations } = await page.evaluate((tags) => axe.run({ runOnly: tags }), tags);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).slice(0, 3).join("; ")}`);
}

const read = (page) => page.evaluate(() => ({
  tiles: Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) =>
    [tile.querySelector("h3").textContent, tile.querySelector(".value").textContent])),
  ages: Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) =>
    [tile.querySelector("h3").textContent, tile.querySelector(".age").textContent])),
  old: [...document.querySelectorAll(".tile.old h3")].map((title) => title.textContent),
  status: document.getElementById("status").textContent,
  stop: document.getElementById("stop-text").textContent,
  led: document.getElementById("led-text").textContent,
  map: document.getElementById("map-text").textContent,
  alarms: [...document.querySelectorAll("#alarm-list > * > span")].map((alarm) => alarm.textContent),
  link: document.body.dataset.link, serving: document.body.dataset.serving,
  detail: document.getElementById("link-detail").textContent,
}));

/** Walks through the page with the Tab key; the names of the elements, and whether their focus is visible. */
async function walk(page) {
  const reached = [];
  await page.evaluate(() => document.activeElement.blur());
  for (let at = 0; at < 20; at += 1) {
    await page.keyboard.press("Tab");
    const one = await page.evaluate(() => {
      const { id, dataset, tagName } = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { name: dataset.do || id || document.activeElement.className || tagName.toLowerCase(), visible: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
    if (one.name === "body") break;
    reached.push(one);
  }
  return reached;
}

async function show() {
  const result = { variants: {} };
  for (const [name, options] of Object.entries(variants)) {
    const { browser, page, errors, foreign } = await openPage(port, options);
    await served(page, "primary");
    for (const title of ["Speed", "Heading", "Battery", "Hottest motor", "Position"]) await valued(page, title);
    await page.waitForFunction(() => document.querySelectorAll("#alarm-list > *").length > 0);
    const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    result.variants[name] = { violations: await violations(page), overflow: width, ...(await read(page)), errors, foreign };
    await shoot(page, `show-${name}`);
    if (name === "light") {
      result.walk = await walk(page);
      await page.focus('[data-do="fit"]');
      const before = await page.$eval("#map", (map) => map.toDataURL());
      await page.keyboard.press("+");
      await page.keyboard.press("ArrowLeft");
      await page.waitForFunction((before) => document.getElementById("map").toDataURL() !== before, before);
      await page.click("#theme");
      await page.click("#theme");
      result.theme = await page.evaluate(() => [document.documentElement.dataset.theme, localStorage.getItem("theme")]);
      result.chosenDark = await violations(page);
      await page.reload();
      result.kept = await page.evaluate(() => document.documentElement.dataset.theme);
    }
    await browser.close();
  }
  printJson(result);
}

/** Records when the page receives telemetry, without changing its code. */
const watchHeard = (page) => page.addInitScript(() => {
  window.heardAt = [];
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(() => window.heardAt.push([performance.now(), document.body.dataset.serving])).observe(document.body, {
      attributes: true, attributeFilter: ["data-heard"],
    });
  });
});

async function failover() {
  const { browser, page, errors, foreign } = await openPage(port, {}, watchHeard);
  await served(page, "primary");
  await valued(page, "Speed");
  await page.waitForFunction(() => window.heardAt.length > 10);
  printJson({ ready: true });
  await page.waitForFunction(() => !["primary", ""].includes(document.body.dataset.serving), null, { timeout: 20_000 });
  await page.waitForTimeout(600);
  const during = await read(page);
  await shoot(page, "failover");
  const back = await served(page, "primary", Number(more) * 1000).then(() => true, () => false);
  await page.waitForTimeout(1000);
  const { gap, tiers } = await page.evaluate(() => ({
    gap: Math.max(...window.heardAt.slice(1).map(([at], n) => at - window.heardAt[n][0])),
    tiers: window.heardAt.map(([, tier]) => tier).filter((tier, at, all) => tier !== all[at - 1]),
  }));
  // Of the endpoint that is down, neither a WebSocket nor a request is answered.
  const left = errors.filter((text) => !/WebSocket connection|Failed to load resource/.test(text));
  printJson({ gap_ms: Math.round(gap), tiers, back, during, errors: left, foreign });
  await browser.close();
}

async function acknowledge() {
  const { browser, page, errors } = await openPage(port);
  await served(page, "primary");
  const button = page.locator("#alarm-list .acknowledge:not([hidden])").first();
  await button.click({ timeout: 60_000 });
  await page.waitForFunction(() => [...document.querySelectorAll("#alarm-list span")].some((text) => text.textContent.includes("seen by")));
  printJson({ alarms: (await read(page)).alarms, errors });
  await browser.close();
}

async function lost() {
  const { browser, page, foreign } = await openPage(port);
  await served(page, "primary");
  await valued(page, "Hottest motor");
  const before = await read(page);
  printJson({ ready: true });
  await page.waitForFunction(() => document.body.dataset.link !== "live" && document.querySelectorAll(".tile.old").length === document.querySelectorAll(".tile").length, null, { timeout: 30_000 });
  await page.waitForFunction(() => document.querySelector("#alarm-list .severe"), null, { timeout: 30_000 });
  const after = await read(page);
  const axe = await violations(page);
  await shoot(page, "lost");
  printJson({ before, after, axe });
  await page.waitForFunction(() => document.body.dataset.serving === "primary" && !document.querySelector(".tile.old"), null, { timeout: 60_000 });
  printJson({ back: await read(page), foreign });
  await browser.close();
}

async function stop() {
  const { browser, page, errors } = await openPage(port, {}, watchHeard);
  await served(page, "primary");
  await valued(page, "Speed");
  await page.focus("#stop");
  await page.keyboard.press("Enter");
  const armed = await page.textContent("#stop");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const cancelled = await page.textContent("#stop");
  const untouched = (await read(page)).stop;
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /by the/.test(document.getElementById("stop-answer").textContent));
  const answer = await page.textContent("#stop-answer");
  await page.waitForFunction(() => document.querySelector("#stop-state.engaged"));
  await page.waitForFunction(() => /Flashing red/.test(document.getElementById("led-text").textContent));
  await shoot(page, "stop");
  printJson({ armed, cancelled, untouched, answer, axe: await violations(page), after: await read(page), errors });
  await browser.close();
  for (const [name, options] of Object.entries(variants).filter(([name]) => name !== "light")) {
    if (!shots) break;
    const { browser, page } = await openPage(port, options);
    await valued(page, "Hottest motor");
    await page.waitForTimeout(2500);
    await shoot(page, `stop-${name}`);
    await browser.close();
  }
}

async function unheard() {
  const { browser, page } = await openPage(port);
  await served(page, "primary");
  await valued(page, "Speed");
  printJson({ ready: true });
  await page.waitForFunction(() => document.body.dataset.link !== "live", null, { timeout: 30_000 });
  await page.focus("#stop");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  const pressed = Date.now();
  const text = () => page.textContent("#stop-answer");
  await page.waitForFunction(() => /not yet heard/.test(document.getElementById("stop-answer").textContent), null, { timeout: 5_000 });
  const [shown_ms, first, offered] = [Date.now() - pressed, await text(), await page.textContent("#stop-cancel")];
  const unknown = (await read(page)).stop;
  const axe = await violations(page);
  // Longer than people wait for an answer.
  await page.waitForTimeout(12_000);
  printJson({ shown_ms, first, later: await text(), offered, unknown, axe });
  await page.waitForFunction(() => /Accepted/.test(document.getElementById("stop-answer").textContent), null, { timeout: 60_000 });
  await page.waitForFunction(() => document.querySelector("#stop-state.engaged"), null, { timeout: 20_000 });
  printJson({ answer: await text(), stop: (await read(page)).stop });
  await browser.close();
}

async function observer() {
  const { browser, page, errors } = await openPage(port);
  await served(page, "primary");
  const offered = await page.isVisible("#stop");
  await page.click("summary");
  const axe = await violations(page);
  const show = async (token) => {
    await page.fill("#token", token);
    await page.press("#token", "Enter");
    await page.waitForFunction(() => /Accepted|Refused/.test(document.getElementById("token-answer").textContent));
    return page.textContent("#token-answer");
  };
  const wrong = await show("guess");
  await page.evaluate(() => (document.getElementById("token-answer").textContent = ""));
  const right = await show(more);
  await page.waitForFunction(() => !document.getElementById("control").hidden);
  printJson({ offered, wrong, right, visible: await page.isVisible("#stop"), axe, errors });
  await browser.close();
}

await { show, failover, acknowledge, lost, stop, unheard, observer }[mode]();
