import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { entry, live, reconnect, refused, settle } from "./fake.js";

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

test("history pages forwards", async () => {
  const [client, ws] = await live();
  const got = (async () => {
    const list = [];
    for await (const e of client.history("g:42", { after: 0 })) list.push(e.seq);
    return list;
  })();
  const [first] = ws.take();
  assert.deepEqual(first.history, { conv: "g:42", after: 0, limit: 100 });
  ws.push({ id: first.id, history: { entries: [2, 5].map(entry), more: true } });
  await settle();
  const [second] = ws.take();
  assert.equal(second.history.after, 5);
  ws.push({ id: second.id, history: { entries: [entry(6)], more: false } });
  assert.deepEqual(await got, [2, 5, 6]);
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
