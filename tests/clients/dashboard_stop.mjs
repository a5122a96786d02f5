// The dashboard as a way to the emergency stop. Reads a command per line from its standard input and answers each
// with a line.
//
//   dashboard_stop.mjs PORT
//     press   presses stop twice, by keyboard
//     view    the visible text about the stop
//     paste   pastes words into the page, with and without the focus on the button
//     close   closes the page as its close button does: the dialog that the browser opens first

import { createInterface } from "node:readline";
import { openPage, printJson } from "./dashboard_common.mjs";

const { browser, page } = await openPage(process.argv[2]);
await page.waitForFunction(() => !document.getElementById("control").hidden, null, { timeout: 60_000 });
printJson({ ready: true });

const view = () => page.evaluate(() => ({
  answer: document.getElementById("stop-answer").textContent,
  state: document.getElementById("stop-text").textContent,
  button: document.getElementById("stop").textContent,
  link: document.getElementById("link-state").textContent,
  alarm: document.querySelector("#alarm-list > * > span")?.textContent ?? "no alarm",
}));

const commands = {
  view,
  async press() {
    await page.focus("#stop");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    return { pressed: true };
  },
  async paste() {
    const words = "Stop! R y release q\n";
    await page.focus("#stop");
    await page.keyboard.insertText(words);
    if (await page.isHidden("#stop-cancel")) {
      // Neither is it the second press.
      await page.keyboard.press("Enter");
      await page.keyboard.insertText(words);
      await page.click("#stop-cancel");
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.insertText(words);
    return view();
  },
  async close() {
    const dialog = new Promise((resolve) => page.once("dialog", async (dialog) => {
      resolve(dialog.type());
      await dialog.dismiss();
    }));
    await page.close({ runBeforeUnload: true });
    return { dialog: await Promise.race([dialog, page.waitForTimeout(3_000).then(() => "nothing")]) };
  },
};
for await (const line of createInterface({ input: process.stdin })) printJson(await commands[line]());
await browser.close();
