import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Client, CloseError, NotSentError, RefusedError, UnknownError, remedyOf } from "./godwit.js";

globalThis.crypto ??= webcrypto; // Node 18 and older

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static all = [];
  sent = [];
  constructor(url, subprotocol) {
    Object.assign(this, { url, subprotocol });
    FakeSocket.all.push(this);
  }
  send(data) { this.sent.push(JSON.parse(data)); }
  close(code) { this.closedWith = code ?? 1005; }
  open() { this.onopen(); }
  push(...frames) { this.onmessage({ data: frames.map((f) => JSON.stringify(f)).join("\n") }); }
  drop(code = 1006, reason = "") { this.onclose({ code, reason }); }
  /** Takes the frames written since the last call. */
  take() { return this.sent.splice(0); }
  welcome(reply) {
    this.open();
    const frames = this.take();
    assert.equal(frames.length, 1);
    this.push({ id: frames[0].id, connect: { epoch: "e1", seq: 0, ping: 25, limits: { inflight: 64, page: 100 }, ...reply } });
    return frames[0].connect;
  }
}

const clients = [];

beforeEach(() => {
  FakeSocket.all = [];
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  mock.timers.reset();
});

/** Lets promises run; the clock does not move. */
const settle = async () => { for (let i = 0; i < 10; i++) await null; };

async function start(options) {
  const client = new Client({ url: "ws://test/v1/ws", token: "t", device: "d", WebSocket: FakeSocket, random: () => 1, ...options });
  clients.push(client);
  client.seen = [];
  for (const type of ["entry", "skip", "discontinuity", "resumed"]) {
    client.addEventListener(type, (e) => client.seen.push([type, e.detail.seq ?? e.detail]));
  }
  client.connect();
  await settle();
  return client;
}

const newest = () => FakeSocket.all.at(-1);

async function live(reply, options) {
  const client = await start(options);
  newest().welcome(reply);
  return [client, newest()];
}

async function reconnect(reply) {
  const before = FakeSocket.all.length;
  mock.timers.tick(20_000);
  await settle();
  assert.equal(FakeSocket.all.length, before + 1);
  const hello = newest().welcome({ resumed: true, ...reply });
  return [newest(), hello];
}

const ev = (seq) => ({ ev: { seq, msg: { mid: `m${seq}`, conv: "u:bob", from: "bob", cid: `c${seq}`, time: seq, text: `text ${seq}` } } });
const entry = (seq) => ev(seq).ev;
const seqs = (...list) => list.map((seq) => ["entry", seq]);
const stored = (frame, seq) => ({ id: frame.id, send: { state: "stored", seq, mid: `m${seq}`, conv: "u:bob", time: 1 } });
const refused = (frame, code, temporary) => ({ id: frame.id, error: { code, num: 1, temporary, retry_after_ms: 0, message: "m" } });
const cids = (frames) => frames.map((f) => f.send?.cid);

test("connects with subprotocol, token and device, and starts at the head", async () => {
  const client = await start();
  const ws = newest();
  assert.deepEqual([ws.url, ws.subprotocol], ["ws://test/v1/ws", "godwit.v1.json"]);
  assert.deepEqual(ws.welcome({ seq: 10 }), { token: "t", device: "d" });
  assert.equal(client.state.phase, "live");
  assert.deepEqual(client.position, { epoch: "e1", seq: 10 });
});

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
  again.push(ev(13));
  again.push({ id: again.take()[0].id, sync: { entries: [entry(11), entry(12)], head: 13 } });
  assert.deepEqual(client.seen, [...seqs(11, 12, 13), ["resumed", { missed: 3, from: 11, to: 13 }]]);
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

test("close codes instruct the client", async () => {
  const f = (code, want) => assert.equal(remedyOf(code), want, String(code));
  for (const code of [4000, 4001, 4003, 4005, 4099, 1002, 1003, 1007, 1009, 1010]) f(code, "stop");
  for (const code of [4100, 4101, 4102]) f(code, "token");
  for (const code of [4200, 4203, 4400, 1000, 1001, 1005, 1006, 1011, 1012]) f(code, "backoff");
  for (const code of [4300, 4301, 4302]) f(code, "return");

  const [client, ws] = await live();
  ws.drop(4003, '{"reason":"replaced"}');
  assert.equal(client.state.phase, "stopped");
  assert.ok(client.state.error instanceof CloseError);
  mock.timers.tick(60_000);
  await settle();
  assert.equal(FakeSocket.all.length, 1);
});

test("a refused fixed token stops; a function is asked for another", async () => {
  const [client, ws] = await live();
  ws.drop(4101);
  assert.equal(client.state.phase, "stopped");

  let n = 0;
  const [, other] = await live({}, { token: async () => `token${++n}` });
  other.drop(4102);
  const [, hello] = await reconnect();
  assert.equal(hello.token, "token2");
});

test("backoff doubles up to its bound and a stable connection resets it", async () => {
  const [client] = await live();
  const waits = [];
  const lose = async (alive) => {
    mock.timers.tick(alive);
    newest().drop();
    const wait = client.state.until - Date.now();
    waits.push(wait);
    mock.timers.tick(wait);
    await settle();
    newest().welcome({ resumed: true });
  };
  for (let i = 0; i < 8; i++) await lose(4999);
  await lose(5000);
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 500]);
  newest().drop(4200, '{"reason":"overloaded","retry_after_ms":2000}');
  assert.equal(client.state.until - Date.now(), 2000 + 1000);
});

test("retryNow ends the wait", async () => {
  const [client, ws] = await live();
  ws.drop();
  client.retryNow();
  await settle();
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(client.state.phase, "connecting");
});

test("answers pings and leaves a silent server", async () => {
  const [client, ws] = await live({ ping: 25 });
  mock.timers.tick(49_000);
  ws.push({});
  assert.deepEqual(ws.take(), [{}]);
  mock.timers.tick(49_999);
  assert.equal(client.state.phase, "live");
  mock.timers.tick(1);
  assert.equal(client.state.phase, "waiting");
  assert.match(client.state.error.message, /silent/);
});

test("a connect reply that does not come is a timeout", async () => {
  const client = await start();
  newest().open();
  mock.timers.tick(10_000);
  assert.equal(client.state.phase, "waiting");
});

test("goaway moves after its time, and resumes", async () => {
  const [client, ws] = await live({ seq: 5 });
  ws.push({ goaway: { reason: "drain", after_ms: 1000, spread_ms: 3000 } });
  mock.timers.tick(3999);
  assert.equal(client.state.phase, "live");
  mock.timers.tick(1);
  assert.equal(client.state.phase, "waiting");
  const [, hello] = await reconnect({ seq: 5 });
  assert.deepEqual(hello.resume, { epoch: "e1", seq: 5 });
});

test("what an old socket says is not heard", async () => {
  const [client, ws] = await live({ seq: 10 });
  mock.timers.tick(60_000); // silent: given up
  ws.push(ev(11));
  ws.drop(4003);
  assert.deepEqual(client.seen, []);
  assert.notEqual(client.state.phase, "stopped");
});

test("frames of a newer server are ignored, broken ones end the connection", async () => {
  const [client, ws] = await live();
  ws.push({ eph: { typing: { conv: "u:bob", user: "bob" } } }, ev(1));
  assert.deepEqual(client.seen, seqs(1));
  ws.onmessage({ data: "{broken" });
  assert.equal(client.state.phase, "waiting");
});

test("history pages backwards and survives a lost connection", async () => {
  const [client, ws] = await live();
  const got = (async () => {
    const list = [];
    for await (const e of client.history("bob", { before: 10, limit: 4 })) list.push(e.seq);
    return list;
  })();
  assert.deepEqual(ws.take()[0].history, { conv: "u:bob", before: 10, limit: 4 });
  ws.drop();
  const [again] = await reconnect();
  again.push({ id: again.take()[0].id, history: { entries: [7, 8, 9].map(entry), more: true } });
  await settle();
  let [page] = again.take();
  assert.deepEqual(page.history, { conv: "u:bob", before: 7, limit: 1 });
  again.push(refused(page, "unavailable", true));
  mock.timers.tick(100);
  [page] = again.take();
  again.push({ id: page.id, history: { entries: [entry(6)], more: true } });
  assert.deepEqual(await got, [9, 8, 7, 6]);
});

test("conversations page, presence answers in order", async () => {
  const [client, ws] = await live();
  const got = (async () => {
    const list = [];
    for await (const item of client.conversations()) list.push(item.conv);
    return list;
  })();
  ws.push({ id: ws.take()[0].id, conversations: { items: [{ conv: "u:bob" }], next: "n" } });
  await settle();
  const [second] = ws.take();
  assert.equal(second.conversations.next, "n");
  ws.push({ id: second.id, conversations: { items: [{ conv: "u:carol" }] } });
  assert.deepEqual(await got, ["u:bob", "u:carol"]);
  const users = client.presence(["bob"]);
  const [ask] = ws.take();
  assert.deepEqual(ask.presence, { get: ["bob"] });
  ws.push({ id: ask.id, presence: { users: [{ user: "bob", online: true, last_seen: 1 }] } });
  assert.equal((await users)[0].online, true);
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
