import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { FakeSocket, ev, live, newest, reconnect, refused, seqs, settle, start, stored } from "./fake.js";
import { CloseError, remedyOf } from "./godwit.js";

test("connects with subprotocol, token and device, and starts at the head", async () => {
  const client = await start();
  const ws = newest();
  assert.deepEqual([ws.url, ws.subprotocol], ["ws://test/v1/ws", "godwit.v1.json"]);
  assert.deepEqual(ws.welcome({ seq: 10 }), { token: "t", device: "d" });
  assert.equal(client.state.phase, "live");
  assert.deepEqual(client.position, { epoch: "e1", seq: 10 });
});

test("the address carries a route key, which is of the token's subject alone", async () => {
  const tokenOf = (payload) => `e30.${Buffer.from(payload).toString("base64url")}.c2ln`;
  const f = async (options, want) => {
    await start(options);
    assert.equal(newest().url, want);
  };
  // As in docs/protocol.md and client/route_test.go.
  await f({ token: tokenOf('{"sub":"alice","iss":"a","exp":1}') }, "ws://test/v1/ws?rk=94c5");
  await f({ token: async () => tokenOf('{"iss":"b","sub":"alice"}') }, "ws://test/v1/ws?rk=94c5");
  await f({ token: tokenOf('{"sub":"bob"}') }, "ws://test/v1/ws?rk=2612");
  await f({ token: tokenOf('{"sub":"zoë"}') }, "ws://test/v1/ws?rk=0168");
  await f({ token: tokenOf('{"sub":"bob"}'), url: "ws://test/v1/ws?zone=a" }, "ws://test/v1/ws?zone=a&rk=2612");
  await f({ token: tokenOf('{"sub":"bob"}'), url: "ws://test/v1/ws?rk=own" }, "ws://test/v1/ws?rk=own");
  await f({ token: tokenOf('{"sub":"bob"}'), routeKey: "team+7" }, "ws://test/v1/ws?rk=team%2B7");
  for (const payload of ['{"iss":"b"}', '{"sub":7}', '{"sub":""}', "[]", "null", "no JSON"]) await f({ token: tokenOf(payload) }, "ws://test/v1/ws");
  await f({ token: "a.b" }, "ws://test/v1/ws");
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

test("waits are drawn at random, and never shorter than the server asks", async () => {
  const [client, ws] = await live({}, { random: () => 0.25 });
  const sent = client.send("bob", { text: "1", cid: "c1" });
  const refusal = refused(ws.take()[0], "rate.limited", true);
  refusal.error.retry_after_ms = 1000;
  ws.push(refusal);
  mock.timers.tick(1024);
  assert.deepEqual(ws.take(), []);
  mock.timers.tick(1);
  ws.push(stored(ws.take()[0], 1));
  assert.equal((await sent).seq, 1);
  ws.drop();
  assert.equal(client.state.until - Date.now(), 125);
});

test("connect and its repetition open one connection", async () => {
  const [client, ws] = await live();
  client.connect();
  ws.drop();
  client.connect();
  await settle();
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(client.state.phase, "waiting");
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

test("the stamp of the last connect reply comes with the next resume", async () => {
  const [, ws] = await live({ stamp: "465223887110471681" });
  for (const stamp of ["465223887110471682", undefined]) {
    newest().drop();
    mock.timers.tick(60_000);
    await settle();
    const hello = newest().welcome({ resumed: true, stamp });
    assert.equal(hello.resume.stamp, stamp ? "465223887110471681" : "465223887110471682");
  }
  assert.equal(ws, FakeSocket.all[0]);
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
  ws.push({ eph: { wave: { user: "bob" } } }, { wave: {} }, ev(1));
  assert.deepEqual(client.seen, seqs(1));
  ws.onmessage({ data: "{broken" });
  assert.equal(client.state.phase, "waiting");
});
