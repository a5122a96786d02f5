// Takes a picture of the dashboard once it shows a track.
//
//   dashboard_picture.mjs PORT SECONDS OUT.png

import { openPage, served, valued } from "./dashboard_common.mjs";

const [port, seconds, out] = process.argv.slice(2);
const { browser, page } = await openPage(port, { viewport: { width: 1280, height: 860 }, colorScheme: "dark" });
await served(page, "primary");
await valued(page, "Battery");
await page.waitForTimeout(1000 * Number(seconds));
await page.screenshot({ path: out });
await browser.close();
