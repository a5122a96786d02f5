// The dashboard over https in a browser that trusts the team's authority, as one whose user has imported it.
//
//   tls_page.mjs CERTUTIL CA PORT EXPIRED_PORT
//
// Prints what the browser shows to a stranger, to the wrong name, and of the expired certificate at EXPIRED_PORT;
// then the connection of the page. After a line on standard input, when the certificate was renewed: whether the
// page's sessions went on, and whose certificate another page is shown.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { launch, printJson, served } from "./dashboard_common.mjs";

const [certutil, ca, port, expiredPort] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** A home for a browser; with the authority in its database of certificates if it is trusted. */
function home(trusted) {
  const made = mkdtempSync(join(tmpdir(), "roverline-browser-"));
  const folder = join(made, ".pki/nssdb");
  mkdirSync(folder, { recursive: true });
  execFileSync(certutil, ["-N", "--empty-password", "-d", `sql:${folder}`]);
  // Trusted to sign certificates of servers, and for nothing else.
  if (trusted) execFileSync(certutil, ["-A", "-d", `sql:${folder}`, "-n", "team", "-t", "C,,", "-i", ca]);
  return made;
}

const open = (folder) => launch(["--host-resolver-rules=MAP elsewhere.example 127.0.0.1"], { ...process.env, HOME: folder });
const newPage = async (browser) => (await browser.newContext()).newPage();
const refusal = async (browser, url) => (await newPage(browser)).goto(url).then(() => null, (error) => String(error).split("\n")[0]);

/** Opens the page; what the browser says of its connection. */
async function connect(browser) {
  const page = await newPage(browser);
  const sockets = [];
  page.on("websocket", (socket) => {
    const known = { url: socket.url(), closed: false };
    socket.on("close", () => (known.closed = true));
    sockets.push(known);
  });
  const network = await page.context().newCDPSession(page);
  await network.send("Network.enable");
  const document = new Promise((resolve) =>
    network.on("Network.responseReceived", ({ type, response }) => type === "Document" && resolve(response)));
  await page.goto(`https://localhost:${port}/`);
  const { securityState, securityDetails } = await document;
  await served(page, "primary");
  const { protocol, cipher, subjectName, issuer, sanList } = securityDetails;
  return { page, sockets, shown: { securityState, protocol, cipher, subjectName, issuer, sanList } };
}

const homes = [home(false), home(true)];
const stranger = await open(homes[0]);
const unknown = await refusal(stranger, `https://localhost:${port}/`);
await stranger.close();
const browser = await open(homes[1]);
const wrongName = await refusal(browser, `https://elsewhere.example:${port}/`);
const expired = await refusal(browser, `https://localhost:${expiredPort}/`);
const { page, sockets, shown } = await connect(browser);
await page.waitForTimeout(1_000);
printJson({ unknown, wrongName, expired, shown, sockets });

await lines.next();
const open_before = sockets.filter(({ closed }) => !closed);
const heard = () => page.evaluate(() => Number(document.body.dataset.heard));
const before = await heard();
await page.waitForTimeout(2_000);
const went_on = open_before.length > 0 && open_before.every(({ closed }) => !closed) && (await heard()) > before;
const again = await connect(browser);
printJson({ went_on, secure: await page.evaluate(() => isSecureContext), renewed: again.shown.subjectName });
await browser.close();
homes.forEach((folder) => rmSync(folder, { recursive: true }));
process.exit(0);
