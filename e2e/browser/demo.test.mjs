// `godwit demo` in a real browser: the page of the README, held to what it says.
// The tests run in the order written and share one server and one page.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Demo, binary } from "./demo.mjs";
import { openBrowser, openPage, shows } from "./page.mjs";

const ODD = `<img src=x onerror="document.title='owned'"><b>bold</b> & <script>document.title='owned'</script> 🐦 👩‍👩‍👧 黄河远上白云间，一片孤城万仞山`;

let server, browser, page, watch, policy, alice, bob;
const said = []; // everything alice and bob wrote to each other, in the order stored

before(async () => {
  server = new Demo(binary());
  await server.start();
  browser = await openBrowser();
  ({ page, watch, policy, alice, bob } = await openPage(browser, server.listen));
  await bob.part("message").nth(2).waitFor(); // the greetings of the demo
  said.push(...(await bob.messages()).map(({ from, text }) => ({ from, text })));
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

/** A side writes; what it wrote is expected from now on. */
async function say(side, text) {
  said.push({ from: side.user, text });
  await side.send(text);
}

/** Both sides hold all that was said, and both logs have the right numbers. */
async function check({ outage = false } = {}) {
  // carol wrote to alice once, before the page was open: that entry of alice's
  // log is not in this conversation. bob's log holds nothing else.
  const mine = await shows(bob, said);
  assert.deepEqual(mine, said.map((_, i) => i + 1), "bob's log has no gap");
  assert.deepEqual(await shows(alice, said), mine.map((seq) => (seq > 3 ? seq + 1 : seq)), "alice's log has no gap but carol's message");
  assert.deepEqual(watch.take({ outage }), [], "the page complains of nothing");
}

test("the page loads, shows the greetings and asks no other host", async () => {
  assert.equal(said.length, 3);
  await check();
  assert.deepEqual([...watch.hosts], [server.listen]);
  assert.match(policy, /^default-src 'self';/);
  assert.ok(policy.includes(`connect-src 'self' http://${server.ops}`), policy);
  assert.equal(await page.title(), "Godwit demo");
});

test("alice types and bob sees it, and the other way round", async () => {
  said.push({ from: "alice", text: "typed by hand" });
  await alice.part("input").pressSequentially("typed by hand");
  await alice.part("input").press("Enter");
  await check();
  await say(bob, "and an answer");
  await check();
});

test("markup, emoji and Chinese are shown as they were typed", async () => {
  await say(alice, ODD);
  await check();
  for (const side of [alice, bob]) {
    assert.equal(await side.part("messages").locator("img, b, script").count(), 0);
  }
  assert.equal(await page.title(), "Godwit demo");
});

test("a side without network goes offline, and what it missed comes once and in order", async () => {
  await alice.peerOnline(true);
  await bob.part("drop").click();
  await bob.notLive();
  await alice.peerOnline(false);
  const before = said.length;
  for (const text of ["missed 1", "missed 2", "missed 3"]) await say(alice, text);
  await shows(alice, said).then((seqs) => assert.equal(seqs.length, before + 3));
  assert.equal((await bob.messages()).length, before, "bob is cut off");
  await bob.part("drop").click();
  await bob.noted("resumed: 3 missed entries replayed");
  await check();
  await alice.peerOnline(true);
  assert.equal((await bob.notes()).filter((note) => note.startsWith("resumed:")).length, 1);
});

test("what a side without network writes arrives after it", async () => {
  await bob.part("drop").click();
  await bob.notLive();
  await say(bob, "written in a tunnel");
  await bob.part("pending").waitFor();
  await bob.part("drop").click();
  await check();
});

test("the restart button loses nothing, not even what is written meanwhile", async () => {
  const meanwhile = "written while the server was down";
  await Promise.all([alice.armNotLive(meanwhile), bob.armNotLive()]);
  await page.getByTestId("restart-server").click();
  said.push({ from: alice.user, text: meanwhile });
  assert.deepEqual(await Promise.all([alice.wasNotLive(), bob.wasNotLive()]), [1, 0]);
  await check({ outage: true });
  await say(bob, "after the restart");
  await check({ outage: true });
  assert.match(await page.getByTestId("notice").textContent(), /the server restarts/);
  assert.deepEqual([...watch.hosts].sort(), [server.listen, server.ops].sort());
});

test("kill -9 and a new start lose nothing and double nothing", async () => {
  for (let round = 1; round <= 2; round++) {
    await say(alice, `on its way when the server dies, ${round}`); // stored or not: it must come once
    await server.kill();
    await Promise.all([alice.notLive(), bob.notLive()]);
    await say(alice, `written to a dead server, ${round}`);
    await server.start();
    await check({ outage: true });
  }
  await say(bob, "after the kills"); // a late repeat would come before it
  await check({ outage: true });
});

test("another tab, which is another device, shows the same log", async () => {
  const numbers = await shows(bob, said);
  const other = await openPage(browser, server.listen);
  assert.deepEqual(await shows(other.bob, said), numbers);
  await say(other.bob, "from the other tab");
  await shows(other.alice, said);
  await check({ outage: true });
  assert.deepEqual(other.watch.take(), []);
});
