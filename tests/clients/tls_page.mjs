// Opens the dashboard over https in a browser: once as a stranger to its authority, and once with its certificate
// accepted. Prints the error of the first, and the WebSockets of the second.

import { launch, say, served } from "./dashboard_common.mjs";

const url = `https://localhost:${process.argv[2]}/`;
const browser = await launch();
const stranger = await (await browser.newContext()).newPage();
const refused = await stranger.goto(url).then(() => null, (error) => String(error));
const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
const sockets = [];
page.on("websocket", (socket) => sockets.push(socket.url()));
await page.goto(url);
await served(page, "primary");
await page.waitForTimeout(1_000);
say({ refused, sockets });
await browser.close();
