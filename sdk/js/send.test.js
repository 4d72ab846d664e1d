import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { cids, live, reconnect, refused, start, stored } from "./fake.js";
import { NotSentError, RefusedError, UnknownError } from "./godwit.js";

test("a send resolves with where it is stored", async () => {
  const [client, ws] = await live();
  const one = client.send("u:bob", { text: "hi", cid: "c1" });
  const two = client.send("g:42", { data: "AP8=", type: "image/png" });
  const [a, b] = ws.take();
  assert.deepEqual(a.send, { to: "bob", cid: "c1", text: "hi", time: Date.now() });
  assert.equal(b.send.group, "42");
  assert.match(b.send.cid, /^[a-z2-7]{26}$/);
  ws.push(stored(b, 2), stored(a, 1));
  assert.deepEqual(await one, { cid: "c1", mid: "m1", seq: 1, conv: "u:bob", time: 1, dup: false });
  assert.equal((await two).seq, 2);
});

test("a lost connection resends in order under the same ids", async () => {
  const [client, ws] = await live();
  const sends = ["c1", "c2", "c3"].map((cid) => client.send("bob", { text: cid, cid }));
  ws.push(stored(ws.take()[1], 2));
  ws.drop();
  sends.push(client.send("bob", { text: "c4", cid: "c4" }));
  const [again] = await reconnect();
  const frames = again.take();
  assert.deepEqual(cids(frames), ["c1", "c3", "c4"]);
  again.push(...frames.map((f, i) => stored(f, 10 + i)));
  assert.deepEqual((await Promise.all(sends)).map((s) => s.seq), [10, 2, 11, 12]);
});

test("a refusal for a while drains, then resends in order", async () => {
  const [client, ws] = await live();
  const sends = ["c1", "c2", "c3"].map((cid) => client.send("bob", { text: cid, cid }));
  const [a, b, c] = ws.take();
  ws.push(refused(a, "unknown", true));
  sends.push(client.send("bob", { text: "c4", cid: "c4" }));
  ws.push(stored(b, 2));
  mock.timers.tick(100);
  assert.deepEqual(ws.take(), []); // c3 is still in flight
  ws.push(stored(c, 3));
  const frames = ws.take();
  assert.deepEqual(cids(frames), ["c1", "c4"]);
  ws.push(...frames.map((f, i) => stored(f, 10 + i)));
  assert.deepEqual((await Promise.all(sends)).map((s) => s.seq), [10, 2, 3, 11]);
});

test("a conflict is refused and others go on", async () => {
  const [client, ws] = await live();
  const bad = client.send("bob", { text: "x", cid: "c1" });
  const good = client.send("bob", { text: "y", cid: "c2" });
  const [a, b] = ws.take();
  ws.push(refused(a, "cid.conflict", false), stored(b, 1));
  await assert.rejects(bad, (e) => e instanceof RefusedError && e.code === "cid.conflict");
  assert.equal((await good).seq, 1);
});

test("closing tells unknown from not sent", async () => {
  const [client, ws] = await live({ limits: { inflight: 1 } });
  const one = client.send("bob", { text: "1" });
  const two = client.send("bob", { text: "2" });
  assert.equal(ws.take().length, 1);
  client.close();
  await assert.rejects(one, UnknownError);
  await assert.rejects(two, NotSentError);
  await assert.rejects(client.send("bob", { text: "3" }), NotSentError);
  assert.equal(ws.closedWith, 1000);
});

test("a send that met a server once is unknown, unless the server had nothing done", async () => {
  const f = async (meet, want) => {
    const [client, ws] = await live();
    const sent = client.send("bob", { text: "1" });
    meet(ws, ws.take()[0]);
    client.close();
    await assert.rejects(sent, want);
  };
  await f((ws) => ws.drop(), UnknownError);
  await f((ws, frame) => ws.push(refused(frame, "unknown", true)), UnknownError);
  await f((ws, frame) => ws.push(refused(frame, "unavailable", true)), NotSentError);
  await f((ws, frame) => ws.push(refused(frame, "rate.limited", true)), NotSentError);
});

test("an aborted send is forgotten; its place in flight stays taken until the answer", async () => {
  const [client, ws] = await live({ limits: { inflight: 1 } });
  const abort = new AbortController();
  const one = client.send("bob", { text: "1" }, { signal: abort.signal });
  const two = client.send("bob", { text: "2" });
  const [a] = ws.take();
  abort.abort();
  await assert.rejects(one, UnknownError);
  assert.deepEqual(ws.take(), []);
  ws.push(stored(a, 1));
  ws.push(stored(ws.take()[0], 2));
  assert.equal((await two).seq, 2);
});

test("the queue is bounded", async () => {
  const client = await start({ queueMax: 1 });
  const first = client.send("bob", { text: "1" });
  await assert.rejects(client.send("bob", { text: "2" }), NotSentError);
  client.close();
  await assert.rejects(first, NotSentError);
});

test("a message over the frame limit is refused here and costs no other", async () => {
  const [client, ws] = await live({ limits: { frame: 1000, inflight: 64 } });
  const big = client.send("bob", { text: "文".repeat(400) });
  const small = client.send("bob", { text: "x" });
  await assert.rejects(big, (e) => e instanceof RefusedError && e.code === "body.too_large");
  const frames = ws.take();
  assert.equal(frames.length, 1);
  ws.push(stored(frames[0], 1));
  assert.equal((await small).seq, 1);
});
