import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { FakeSocket, newest, settle, start } from "./fake.js";

/** A server that names edges; none: it does not know the question. */
function asked(...edges) {
  const server = async (url, { headers, signal }) => {
    server.calls.push([url, headers.Authorization]);
    if (server.silent) return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    return { ok: server.edges.length > 0, status: 404, json: async () => ({ user: "u", edges: server.edges.map((url) => ({ url, node: "n" })), ttl: 60 }) };
  };
  return Object.assign(server, { calls: [], edges });
}

const url = "ws://test/v1/ws?zone=a";
const assigned = async (fetch, options) => {
  const client = await start({ url, assign: true, fetch, ...options });
  await settle();
  return client;
};
const urls = () => FakeSocket.all.map((socket) => socket.url);

test("a client connects to the edge that it is assigned", async () => {
  const fetch = asked("ws://one/v1/ws", "ws://two/v1/ws");
  const client = await assigned(fetch);
  newest().welcome();
  assert.equal(client.state.phase, "live");
  assert.deepEqual(urls(), ["ws://one/v1/ws"]);
  assert.deepEqual(fetch.calls, [["http://test/v1/edges?zone=a", "Bearer t"]]);
});

test("where an edge fails the next is used at once, and the given address last", async () => {
  const fetch = asked("ws://one/v1/ws", "ws://two/v1/ws");
  const client = await assigned(fetch);
  newest().drop(); // refused
  await settle();
  mock.timers.tick(4000); // silent
  await settle();
  assert.deepEqual(urls(), ["ws://one/v1/ws", "ws://two/v1/ws", url]);
  newest().drop();
  assert.equal(client.state.phase, "waiting"); // all of them failed
  mock.timers.tick(500);
  await settle();
  newest().welcome();
  assert.deepEqual(urls().slice(3), ["ws://one/v1/ws"]);
  assert.equal(fetch.calls.length, 1);
});

test("an edge that says when to come back is put last, and waited for", async () => {
  const client = await assigned(asked("ws://one/v1/ws", "ws://two/v1/ws"));
  newest().drop(4200, '{"reason":"overloaded","retry_after_ms":2000}');
  assert.equal(client.state.until - Date.now(), 2500);
  mock.timers.tick(2500);
  await settle();
  assert.equal(newest().url, "ws://two/v1/ws");
});

test("a client that can't ask uses the given address", async () => {
  await assigned(asked());
  assert.equal(newest().url, url);
  const silent = asked("ws://one/v1/ws");
  silent.silent = true;
  await assigned(silent);
  mock.timers.tick(4000);
  await settle();
  newest().welcome();
  assert.deepEqual(urls(), [url, url]);
  await assigned(async () => { throw new TypeError("network"); });
  await assigned(async () => ({ ok: true, json: async () => ({ edges: "none" }) }));
  assert.deepEqual(urls(), [url, url, url, url]);
});

test("a client with wss is not led to ws", async () => {
  await assigned(asked("ws://one/v1/ws", "http://two/", "wss://three/v1/ws"), { url: "wss://test/v1/ws" });
  assert.equal(newest().url, "wss://three/v1/ws");
});

test("an answer counts for its ttl, and until a goaway", async () => {
  const fetch = asked("ws://one/v1/ws");
  await assigned(fetch);
  newest().welcome();
  fetch.edges = ["ws://two/v1/ws"];
  newest().drop();
  mock.timers.tick(500);
  await settle();
  newest().welcome({ resumed: true });
  assert.equal(newest().url, "ws://one/v1/ws");
  newest().push({ goaway: { reason: "drain" } });
  mock.timers.tick(0); // it leaves
  mock.timers.tick(1000);
  await settle();
  newest().welcome({ resumed: true });
  assert.equal(newest().url, "ws://two/v1/ws");
  mock.timers.tick(60_000); // silent for too long, and the answer is too old
  mock.timers.tick(20_000);
  await settle();
  assert.equal(fetch.calls.length, 3);
});
