import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { entry, ev, live, newest, reconnect, seqs, start } from "./fake.js";

test("fetches a hole at once and delivers nothing twice", async () => {
  const [client, ws] = await live({ seq: 10 });
  ws.push(ev(11), ev(11), ev(14), ev(13), ev(11));
  const [fetch, ...rest] = ws.take();
  assert.deepEqual(fetch.sync, { since: 11, limit: 100 });
  assert.deepEqual(rest, []);
  assert.deepEqual(client.seen, seqs(11));
  ws.push({ id: fetch.id, sync: { entries: [entry(12), entry(13)], head: 14 } }, ev(15));
  assert.deepEqual(client.seen, seqs(11, 12, 13, 14, 15));
  assert.deepEqual(ws.take(), []);
});

test("a skip range moves the cursor, also inside a page", async () => {
  const [client, ws] = await live({ seq: 10 });
  ws.push({ skip: { from: 9, to: 13 } }, ev(20));
  ws.push({ id: ws.take()[0].id, sync: { entries: [{ skip: { from: 14, to: 18 } }, entry(19)], head: 20 } });
  assert.deepEqual(client.seen, [["skip", { from: 11, to: 13 }], ["skip", { from: 14, to: 18 }], ["entry", 19], ["entry", 20]]);
});

test("resumes after the last entry and reports the replay", async () => {
  const [client, ws] = await live({ seq: 10 });
  ws.push(ev(11));
  ws.drop();
  assert.equal(client.state.phase, "waiting");
  const [again, hello] = await reconnect({ seq: 14, missed: 3 });
  assert.deepEqual(hello.resume, { epoch: "e1", seq: 11 });
  assert.equal(client.state.phase, "replaying");
  again.push(ev(12), ev(13), ev(14), { resumed: { seq: 14 } });
  assert.equal(client.state.phase, "live");
  assert.deepEqual(client.seen, [...seqs(11, 12, 13, 14), ["resumed", { missed: 3, from: 12, to: 14 }]]);
  assert.deepEqual(again.take(), []);
});

test("another epoch is a discontinuity", async () => {
  const [client, ws] = await live({ seq: 10 });
  ws.push(ev(12)); // 11 will never come
  ws.drop();
  const [again] = await reconnect({ epoch: "e2", seq: 3, resumed: false, reason: "epoch" });
  again.push(ev(4));
  assert.deepEqual(client.seen, [
    ["discontinuity", { reason: "epoch", from: { epoch: "e1", seq: 10 }, to: { epoch: "e2", seq: 3 } }], ["entry", 4],
  ]);
  assert.deepEqual(again.take(), []);
  for (let seq = 5; seq <= 11; seq++) again.push(ev(seq));
  assert.equal(client.seen.at(-1)[1], 11); // 12 was of the other log
});

test("too far is a discontinuity, or pages when the caller wants all", async () => {
  let [client, ws] = await live({ seq: 10 });
  ws.drop();
  await reconnect({ seq: 9000, resumed: false, reason: "too_far" });
  assert.equal(client.seen[0][1].reason, "too_far");
  assert.equal(client.position.seq, 9000);

  [client, ws] = await live({ seq: 10 }, { replay: true });
  ws.drop();
  const [again] = await reconnect({ seq: 12, resumed: false, reason: "too_far" });
  const [fetch] = again.take(); // asked for at once, not when the next entry comes
  assert.deepEqual(fetch.sync, { since: 10, limit: 100 });
  again.push(ev(13));
  again.push({ id: fetch.id, sync: { entries: [entry(11), entry(12)], head: 13 } });
  assert.deepEqual(client.seen, [...seqs(11, 12, 13), ["resumed", { missed: 3, from: 11, to: 13 }]]);
});

test("a hole is fetched again after the connection is lost over it", async () => {
  const [client, ws] = await live({ seq: 10 });
  ws.push(ev(13));
  assert.equal(ws.take().length, 1);
  ws.drop();
  const [again] = await reconnect({ seq: 10 });
  again.push(ev(13));
  assert.deepEqual(again.take().map((f) => f.sync?.since), [10]);
  assert.deepEqual(client.seen, []);
});

test("what is kept beyond a hole is bounded, and what gave way is fetched", async () => {
  const [client, ws] = await live({ seq: 0 });
  for (let seq = 2; seq <= 1026; seq++) ws.push(ev(seq)); // one more than is kept
  const [fetch] = ws.take();
  ws.push({ id: fetch.id, sync: { entries: [entry(1)], head: 1026 } });
  assert.equal(client.position.seq, 1025);
  const [next] = ws.take().filter((f) => f.sync);
  assert.equal(next.sync.since, 1025);
  ws.push({ id: next.id, sync: { entries: [entry(1026)], head: 1026 } });
  assert.deepEqual(client.seen.map(([, seq]) => seq), Array.from({ length: 1026 }, (_, i) => i + 1));
});

test("a page without progress ends the connection instead of skipping", async () => {
  const [client, ws] = await live({ seq: 10 });
  ws.push(ev(13));
  ws.push({ id: ws.take()[0].id, sync: { entries: [], head: 13 } });
  assert.equal(client.state.phase, "waiting");
  assert.deepEqual(client.seen, []);
});

test("acks what was delivered and pushed, in batches and when idle", async () => {
  const [, ws] = await live({ seq: 0 });
  for (let seq = 1; seq <= 64; seq++) ws.push(ev(seq));
  assert.deepEqual(ws.take(), [{ ack: { seq: 64 } }]);
  ws.push(ev(66));
  ws.push({ id: ws.take()[0].id, sync: { entries: [65, 66, 67, 68].map(entry), head: 68 } });
  assert.deepEqual(ws.take(), []);
  mock.timers.tick(500);
  assert.deepEqual(ws.take(), [{ ack: { seq: 66 } }]); // 68 was fetched, not pushed
});

test("closing acks what was delivered", async () => {
  const [client, ws] = await live();
  ws.push(ev(1));
  client.close();
  assert.deepEqual(ws.take(), [{ ack: { seq: 1 } }]);
});

test("a later client resumes after the position of an earlier one", async () => {
  const client = await start({ resume: { epoch: "e1", seq: 7 } });
  assert.deepEqual(newest().welcome({ seq: 8, resumed: true, missed: 1 }).resume, { epoch: "e1", seq: 7 });
  newest().push(ev(8));
  assert.deepEqual(client.seen, [...seqs(8), ["resumed", { missed: 1, from: 8, to: 8 }]]);
});
