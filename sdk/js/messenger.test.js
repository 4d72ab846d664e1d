import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { begins, entry, ev, gate, live, newest, reconnect, refused, said, settle } from "./fake.js";

/** What the client showed, by conversation and place. */
function shown(client) {
  const list = [];
  client.addEventListener("entry", ({ detail: e }) => list.push(e.seq ? `${e.seq}` : `${e.msg.conv}#${e.gseq}`));
  return list;
}

test("entries of all kinds come in order, unknown ones are skips", async () => {
  const [client, ws] = await live();
  const bodies = [];
  client.addEventListener("entry", ({ detail }) => bodies.push(Object.keys(detail).at(-1)));
  ws.push({ ev: { seq: 2, edit: { mid: "m1" } } }, { ev: { seq: 1, receipt: { conv: "u:bob" } } }, { ev: { seq: 3, recall: { mid: "m1" } } },
    { ev: { seq: 4, gseq: 9, group: { conv: "g:1", do: "add" } } }, { ev: { seq: 5, poke: {} } }, { ev: { seq: 6, settings: { conv: "u:bob" } } });
  assert.deepEqual(bodies, ["receipt", "edit", "recall", "group", "settings"]);
  assert.deepEqual(client.seen.filter(([type]) => type === "skip"), [["skip", { from: 5, to: 5 }]]);
  assert.equal(client.position.seq, 6);
});

test("a channel's entries come beside the log and keep their place", async () => {
  const [client, ws] = await live({ seq: 10 });
  const list = shown(client);
  ws.push(begins("g:1", 5), said("g:1", 6));
  await gate(ws, 10);
  ws.push(ev(11), said("g:1", 6), said("g:1", 7));
  assert.deepEqual(list, ["g:1#6", "11", "g:1#7"]);
  assert.deepEqual(client.position, { epoch: "e1", seq: 11, channels: [{ conv: "g:1", gseq: 7 }] });
  ws.drop();
  const [again, hello] = await reconnect({ seq: 11 });
  assert.deepEqual(hello.resume, { epoch: "e1", seq: 11, channels: [{ conv: "g:1", gseq: 7 }] });
  again.push(begins("g:1", 7), said("g:1", 10), said("g:1", 12)); // 8 and 9 are missing, 11 is erased
  const [ask] = again.take().filter((f) => f.history);
  assert.deepEqual(ask.history, { conv: "g:1", gafter: 7, limit: 100 });
  again.push({ id: ask.id, history: { entries: [8, 9, 10].map((g) => said("g:1", g).ev) } });
  await settle();
  assert.deepEqual(list.slice(3), ["g:1#8", "g:1#9", "g:1#10", "g:1#12"]);
});

test("a replay of the log goes before its channels", async () => {
  const [client, ws] = await live({ seq: 10 });
  const list = shown(client);
  ws.drop();
  const [again] = await reconnect({ seq: 12 });
  again.push(begins("g:1", 5), said("g:1", 6), ev(11), said("g:1", 7));
  await gate(again, 12);
  again.push(ev(12));
  assert.deepEqual(list, ["11", "12", "g:1#6", "g:1#7"]);
  assert.deepEqual(again.take().filter((f) => f.history), []);
});

test("a channel waits for what the log says of it", async () => {
  const [client, ws] = await live({ seq: 10 });
  const list = shown(client);
  ws.push(begins("g:1", 5), said("g:1", 6));
  await gate(ws, 12);
  ws.push(ev(11), said("g:1", 7), said("g:2", 1));
  assert.deepEqual(list, ["11"]);
  ws.push(ev(12));
  assert.deepEqual(list, ["11", "12", "g:1#6", "g:1#7"]);
  assert.deepEqual(client.position.channels, [{ conv: "g:1", gseq: 7 }]);
});

test("a channel too far behind is a discontinuity of its own; leaving forgets it", async () => {
  const [client, ws] = await live({ user: "alice" });
  ws.push(begins("g:1", 5), begins("g:1", 900, true), said("g:1", 901));
  await gate(ws, 0);
  assert.deepEqual(client.seen.find(([type]) => type === "discontinuity")[1], { reason: "too_far", conv: "g:1", from: { seq: 5 }, to: { seq: 900 } });
  assert.deepEqual(client.position.channels, [{ conv: "g:1", gseq: 901 }]);
  ws.push({ ev: { seq: 1, gseq: 902, group: { conv: "g:1", do: "remove", by: "bob", users: ["alice"] } } });
  assert.equal(client.position.channels, undefined);
});

test("marks, edits, groups and lists ask what they say", async () => {
  const [client, ws] = await live();
  const ask = async (promise, want, reply) => {
    const [{ id, ...body }] = ws.take();
    assert.deepEqual(JSON.parse(JSON.stringify(body)), want);
    ws.push({ id, ...reply });
    return promise;
  };
  assert.deepEqual(await ask(client.mark("bob", { read: 3 }), { mark: { conv: "u:bob", read: 3 } }, { done: { seq: 4 } }), { seq: 4 });
  await ask(client.edit("m", { text: "" }), { edit: { mid: "m", text: "" } }, { done: {} });
  await ask(client.recall("m"), { recall: { mid: "m" } }, { done: {} });
  await ask(client.setConversation("bob", { pin: true, mute: 0 }), { conversation: { pin: true, mute: 0, conv: "u:bob" } }, { done: {} });
  await ask(client.logout("phone"), { device: { do: "logout", device: "phone" } }, { done: {} });
  const made = await ask(client.createGroup("Chess", ["bob"], { cid: "c" }), { group: { do: "create", cid: "c", name: "Chess", users: ["bob"] } }, { group: { group: "42", conv: "g:42" } });
  assert.equal(made.conv, "g:42");
  await ask(client.group("add", "g:42", { users: ["dave"] }), { group: { do: "add", group: "42", users: ["dave"] } }, { group: {} });
  assert.deepEqual(await ask(client.block({ add: ["m"] }), { block: { add: ["m"] } }, { block: { users: ["m"] } }), ["m"]);
  assert.deepEqual(await ask(client.devices(), { device: { do: "list" } }, { device: { devices: [] } }), []);
  const refusal = client.group("remove", "42", { users: ["a"] });
  ws.push(refused(ws.take()[0], "group.forbidden", false));
  await assert.rejects(refusal, { name: "RefusedError", code: "group.forbidden" });
});

test("a change without an answer is unknown, a read is not", async () => {
  const [client] = await live();
  const changed = client.recall("m"), read = client.group("info", "42");
  newest().drop();
  client.close();
  await assert.rejects(changed, { name: "UnknownError" });
  await assert.rejects(read, { name: "NotSentError" });
});

test("members are paged", async () => {
  const [client, ws] = await live();
  const got = (async () => {
    const list = [];
    for await (const { user } of client.members("42")) list.push(user);
    return list;
  })();
  ws.push({ id: ws.take()[0].id, group: { members: [{ user: "a" }], next: "n" } });
  await settle();
  const [second] = ws.take();
  assert.equal(second.group.next, "n");
  ws.push({ id: second.id, group: { members: [{ user: "b" }] } });
  assert.deepEqual(await got, ["a", "b"]);
});

test("history pages by the group's sequences", async () => {
  const [client, ws] = await live();
  const got = (async () => {
    const list = [];
    for await (const e of client.history("g:1", { group: true, before: 9 })) list.push(e.gseq);
    return list;
  })();
  const [first] = ws.take();
  assert.deepEqual(first.history, { conv: "g:1", gbefore: 9, limit: 100 });
  ws.push({ id: first.id, history: { entries: [{ ...entry(3), gseq: 7 }, { ...entry(5), gseq: 8 }], more: true } });
  await settle();
  const [second] = ws.take();
  assert.equal(second.history.gbefore, 7);
  ws.push({ id: second.id, history: { entries: [] } });
  assert.deepEqual(await got, [8, 7]);
});

test("typing is said once; watching is told to every session", async () => {
  const [client, ws] = await live();
  client.typing("bob", true);
  assert.deepEqual(ws.take(), [{ typing: { conv: "u:bob", stop: true } }]);
  const now = client.watch(["bob"]);
  const [ask] = ws.take();
  assert.deepEqual(ask.presence, { watch: ["bob"] });
  ws.push({ id: ask.id, presence: { users: [{ user: "bob", online: false, last_seen: 1 }] } });
  assert.equal((await now)[0].online, false);
  ws.push({ eph: { typing: { conv: "u:bob", user: "bob" } } }, { eph: { presence: { user: "bob", online: true, last_seen: 2 } } }, { eph: { wave: {} } },
    { eph: { receipt: { conv: "g:42", user: "bob", delivered: 7, read: 5 } } });
  assert.deepEqual(client.seen, [["typing", { conv: "u:bob", user: "bob" }], ["presence", { user: "bob", online: true, last_seen: 2 }],
    ["receipt", { conv: "g:42", user: "bob", delivered: 7, read: 5 }]]);
  ws.drop();
  client.typing("bob"); // to nobody
  const [again] = await reconnect();
  const [frame, ...rest] = again.take();
  assert.deepEqual([frame.presence, rest], [{ watch: ["bob"] }, []]);
  again.push({ presence: { users: [{ user: "bob", online: false, last_seen: 3 }] } }); // the server has paused
  assert.deepEqual(client.seen.at(-1), ["presence", { user: "bob", online: false, last_seen: 3 }]);
});

test("what arrives is marked as delivered once a second and conversation", async () => {
  const [, ws] = await live({ user: "alice" }, { delivered: true });
  const marks = () => {
    const frames = ws.take().filter((f) => f.mark);
    for (const { id } of frames) ws.push({ id, done: {} });
    return frames.map((f) => f.mark);
  };
  const own = ev(2);
  own.ev.msg.from = "alice";
  ws.push(ev(1), own);
  mock.timers.tick(0);
  assert.deepEqual(marks(), [{ conv: "u:bob", delivered: 1 }]);
  ws.push(ev(3), ev(4), begins("g:1", 6), said("g:1", 7));
  await gate(ws, 4);
  mock.timers.tick(900);
  assert.deepEqual(marks(), []);
  mock.timers.tick(100);
  assert.deepEqual(marks(), [{ conv: "u:bob", delivered: 4 }, { conv: "g:1", delivered: 7 }]);
  mock.timers.tick(5000);
  assert.deepEqual(marks(), []);
});
