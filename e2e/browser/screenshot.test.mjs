// Draws docs/demo.png anew, when asked to: UPDATE_SCREENSHOT=1 node --test
import { after, test } from "node:test";
import { join } from "node:path";
import { Demo, binary } from "./demo.mjs";
import { openBrowser, openPage } from "./page.mjs";

const ended = [];
after(async () => { for (const end of ended) await end(); });

test("screenshot of a live chat", { skip: process.env.UPDATE_SCREENSHOT ? false : "UPDATE_SCREENSHOT is not set" }, async () => {
  const server = new Demo(binary());
  ended.push(() => server.kill());
  await server.start();
  const browser = await openBrowser();
  ended.unshift(() => browser.close());
  const { page, alice, bob } = await openPage(browser, server.listen);
  const lines = [[alice, "Two of them stood at the estuary this morning."], [bob, "Then the others are close behind. I go into the tunnel now, write to me!"]];
  for (const [side, text] of lines) await exchange(side, text, alice, bob);
  await bob.part("drop").click();
  await alice.peerOnline(false);
  for (const text of ["Eleven of them now!", "They are asleep on one leg.", "Nine days in the air, I would sleep too."]) await exchange(alice, text, alice);
  await bob.part("drop").click();
  await bob.noted("resumed: 3 missed entries replayed");
  await exchange(bob, "Back again, and all three of your lines are here.", alice, bob);
  await alice.peerOnline(true);
  await page.evaluate(() => document.activeElement?.blur());
  await page.screenshot({ path: join(import.meta.dirname, "../../docs/demo.png") });
});

/** Writes and waits until each reader shows it. */
async function exchange(writer, text, ...readers) {
  await writer.send(text);
  for (const reader of readers) await reader.part("message").filter({ hasText: text }).waitFor();
}
