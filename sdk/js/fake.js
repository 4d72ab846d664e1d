// A server under the test's hand, and clients that talk to it on a clock that
// only the test moves.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { afterEach, beforeEach, mock } from "node:test";
import { Client } from "./godwit.js";

globalThis.crypto ??= webcrypto; // Node 18 and older

/** A WebSocket whose other end is the test. */
export class FakeSocket {
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
export const settle = async () => { for (let i = 0; i < 10; i++) await null; };

export async function start(options) {
  const client = new Client({ url: "ws://test/v1/ws", token: "t", device: "d", WebSocket: FakeSocket, random: () => 1, delivered: false, ...options });
  clients.push(client);
  client.seen = [];
  for (const type of ["entry", "skip", "discontinuity", "resumed", "typing", "presence", "receipt"]) {
    client.addEventListener(type, (e) => client.seen.push([type, e.detail.seq ?? e.detail]));
  }
  client.connect();
  await settle();
  return client;
}

export const newest = () => FakeSocket.all.at(-1);

export async function live(reply, options) {
  const client = await start(options);
  newest().welcome(reply);
  return [client, newest()];
}

export async function reconnect(reply) {
  const before = FakeSocket.all.length;
  mock.timers.tick(20_000);
  await settle();
  assert.equal(FakeSocket.all.length, before + 1);
  const hello = newest().welcome({ resumed: true, ...reply });
  return [newest(), hello];
}

export const ev = (seq) => ({ ev: { seq, msg: { mid: `m${seq}`, conv: "u:bob", from: "bob", cid: `c${seq}`, time: seq, text: `text ${seq}` } } });
export const entry = (seq) => ev(seq).ev;
export const said = (conv, gseq) => ({ ev: { gseq, msg: { mid: `g${gseq}`, conv, from: "carol", cid: `g${gseq}`, time: gseq, text: `text ${gseq}` } } });
export const begins = (conv, gseq, reset) => ({ channel: { conv, gseq, reset } });
/** Answers the question for the log's head that a new channel asks. */
export async function gate(ws, head) {
  const [ask] = ws.sent.splice(ws.sent.findIndex((f) => f.sync), 1);
  ws.push({ id: ask.id, sync: { entries: [], head } });
  await settle();
}
export const seqs = (...list) => list.map((seq) => ["entry", seq]);
export const stored = (frame, seq) => ({ id: frame.id, send: { state: "stored", seq, mid: `m${seq}`, conv: "u:bob", time: 1 } });
export const refused = (frame, code, temporary) => ({ id: frame.id, error: { code, num: 1, temporary, retry_after_ms: 0, message: "m" } });
export const cids = (frames) => frames.map((f) => f.send?.cid);
