// The demo page: one SDK client for each side. Everything a user typed reaches
// the document as text content, never as markup.
import { Client } from "/godwit.js";

const HISTORY = 50; // messages shown at the start
const PRESENCE_EVERY = 2000; // ms
const TYPING_EVERY = 2500, TYPING_LASTS = 6000; // ms

/** Users with fresh tokens, and the restart button's address and key. */
async function settings() {
  const response = await fetch("/demo.json", { cache: "no-store" });
  if (!response.ok) throw new Error(`/demo.json: ${response.status}`);
  return response.json();
}

/** The network of one side, which can be cut like a cable. */
class Network {
  #up = true;
  #sockets = new Set();

  /** A WebSocket class whose connections die with this network. */
  socketClass() {
    const network = this;
    return class extends WebSocket {
      constructor(url, protocols) {
        if (!network.#up) throw new Error("no network");
        super(url, protocols);
        network.#sockets.add(this);
        this.addEventListener("close", () => network.#sockets.delete(this));
      }
    };
  }

  cut() {
    this.#up = false;
    for (const socket of this.#sockets) {
      const { onclose } = socket;
      socket.onopen = socket.onmessage = socket.onclose = null; // nothing gets through any more
      socket.close();
      onclose?.call(socket, { code: 1006, reason: "" });
    }
    this.#sockets.clear();
  }

  join() { this.#up = true; }
}

/** One side: what a user sees of the conversation with the other one. */
class Panel {
  #user; #peer; #client; #root; #network = new Network();
  #rows = new Map(); // seq → row of the message
  #pending = new Map(); // cid → row of a message on its way
  #session = ""; // of the newest connect reply seen
  #receipt = { delivered: 0, read: 0 }; // of the other side, in this one's sequences
  #online = null; #typed = 0; #typing = 0; // when this side last said so; when the other side's ends

  constructor(user, peer) {
    this.#user = user;
    this.#peer = peer;
    this.#root = document.getElementById("panel").content.cloneNode(true).firstElementChild;
    this.#label();
    this.#client = new Client({
      url: new URL("/v1/ws", location.href).href.replace(/^http/, "ws"),
      token: async () => (await settings()).users.find((u) => u.user === user).token,
      WebSocket: this.#network.socketClass(),
      delivered: false, // the page counts messages; marks would be entries among them
    });
    this.#client.addEventListener("state", (e) => this.#showState(e.detail));
    this.#client.addEventListener("entry", (e) => this.#showEntry(e.detail));
    this.#client.addEventListener("typing", (e) => this.#showTyping(e.detail));
    this.#client.addEventListener("resumed", (e) => this.#note(`resumed: ${count(e.detail.missed)} replayed`));
    this.#client.addEventListener("discontinuity", (e) => {
      this.#note(`the log could not be continued (${e.detail.reason}): loaded again`);
      this.#load();
    });
    this.#part("form").addEventListener("submit", (e) => this.#submit(e));
    this.#part("input").addEventListener("input", () => this.#type());
    this.#part(".drop").addEventListener("click", () => this.#toggleNetwork());
  }

  get element() { return this.#root; }

  start() {
    this.#client.connect();
    this.#load();
    this.#watchPresence();
    setInterval(() => { // the seconds until the next attempt
      if (this.#client.state.phase === "waiting") this.#showState(this.#client.state);
    }, 500);
  }

  #part(selector) { return this.#root.querySelector(selector); }

  #label() {
    const mark = (element, name) => { element.dataset.testid = `${this.#user}-${name}`; };
    mark(this.#root, "panel");
    this.#part("h2").textContent = this.#user;
    this.#root.setAttribute("aria-label", `${this.#user}’s side`);
    for (const [selector, name] of [[".state", "state"], [".drop", "drop"], [".presence", "peer-presence"],
      [".messages", "messages"], [".pending", "sending"], ["input", "input"], ["[type=submit]", "send"]]) {
      mark(this.#part(selector), name);
    }
    this.#part(".messages").setAttribute("aria-label", `Messages of ${this.#user} and ${this.#peer}`);
    this.#part(".pending").setAttribute("aria-label", "On their way");
    const input = this.#part("input");
    input.id = `${this.#user}-input`;
    this.#part("label").htmlFor = input.id;
    this.#part("label").textContent = `To ${this.#peer}`;
    this.#showState(this.#client?.state ?? { phase: "idle" });
    this.#showPresence(null);
  }

  #showState(state) {
    const element = this.#part(".state");
    element.dataset.phase = state.phase;
    const left = state.phase === "waiting" ? ` (${Math.max(0, Math.ceil((state.until - Date.now()) / 1000))} s)` : "";
    const why = state.phase === "stopped" && state.error ? `: ${state.error.message}` : "";
    setText(element, state.phase + left + why);
    const { session, resumed, missed } = this.#client?.welcome ?? {};
    if (session && session !== this.#session) {
      if (this.#session && resumed && !missed) this.#note("resumed: nothing was missed");
      this.#session = session;
    }
  }

  #type() {
    if (Date.now() - this.#typed < TYPING_EVERY) return;
    this.#typed = Date.now();
    this.#client.typing(this.#peer);
  }

  #showTyping({ conv, stop }) {
    if (conv !== `u:${this.#peer}`) return;
    this.#typing = stop ? 0 : Date.now() + TYPING_LASTS;
    this.#showPresence(this.#online);
    setTimeout(() => this.#showPresence(this.#online), TYPING_LASTS);
  }

  #showPresence(online) {
    this.#online = online;
    const element = this.#part(".presence");
    element.dataset.online = String(online);
    const word = { true: "online", false: "offline", null: "unknown" }[online];
    setText(element.querySelector(".text"), `${this.#peer} is ${Date.now() < this.#typing ? "typing" : word}`);
  }

  async #watchPresence() {
    for (; ;) {
      let online = null;
      try {
        if (this.#client.state.phase === "live") {
          const [peer] = await this.#client.presence([this.#peer], { signal: AbortSignal.timeout(PRESENCE_EVERY) });
          online = Boolean(peer?.online);
        }
      } catch { /* not known, then */ }
      this.#showPresence(online);
      await new Promise((resolve) => { setTimeout(resolve, PRESENCE_EVERY); });
    }
  }

  async #load() {
    try {
      for await (const entry of this.#client.history(this.#peer, { limit: HISTORY })) this.#showEntry(entry);
    } catch (error) {
      this.#note(`history: ${error.message}`);
    }
  }

  /** Puts an entry at its place by sequence; once, however often it comes. */
  #showEntry(entry) {
    const { seq, msg, receipt } = entry;
    if (entry.edit || entry.recall) return this.#revise(entry);
    if (receipt?.user === this.#peer && receipt.conv === `u:${this.#peer}`) {
      this.#receipt = receipt;
      return this.#showReceipt();
    }
    if (!msg || msg.conv !== `u:${this.#peer}` || this.#rows.has(seq)) return;
    const mine = msg.from === this.#user;
    if (mine) this.#settled(msg.cid);
    const row = element("li", `message${mine ? " mine" : ""}`, `${this.#user}-message`);
    row.dataset.seq = seq;
    row.dataset.from = msg.from;
    row.dataset.mid = msg.mid;
    row.title = `${msg.from}, ${new Date(msg.time).toLocaleString()}, id ${msg.mid}`;
    row.append(text("span", "seq", `#${seq}`), text("span", "text", bodyOf(msg)));
    if (mine) row.append(text("span", "fate", ""));
    const list = this.#part(".messages");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const below = [...list.querySelectorAll(".message")].reverse().find((other) => Number(other.dataset.seq) < seq);
    if (!below) list.prepend(row);
    else if ([...this.#rows.keys()].every((other) => other < seq)) list.append(row);
    else below.after(row);
    this.#rows.set(seq, row);
    if (mine) this.#showReceipt();
    if (this.#typing && !mine) this.#showTyping({ conv: msg.conv, stop: true });
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  /** ✓ delivered, ✓✓ read, on this side's messages. */
  #showReceipt() {
    const { delivered, read } = this.#receipt;
    for (const [seq, row] of this.#rows) {
      const fate = row.querySelector(".fate");
      if (fate) setText(fate, seq <= read ? "✓✓" : seq <= delivered ? "✓" : "");
    }
  }

  /** A message was given another text, or taken back. */
  #revise({ edit, recall }) {
    const { mid } = edit ?? recall;
    const row = [...this.#rows.values()].find((other) => other.dataset.mid === mid);
    if (row) setText(row.querySelector(".text"), bodyOf(edit ? { ...edit, edited: edit.time } : { recalled: true }));
  }

  #note(words) {
    const row = element("li", "note", `${this.#user}-note`);
    row.textContent = words;
    const list = this.#part(".messages");
    list.append(row);
    list.scrollTop = list.scrollHeight;
  }

  async #submit(event) {
    event.preventDefault();
    const input = this.#part("input");
    const body = input.value;
    if (!body) return;
    input.value = "";
    const cid = crypto.randomUUID();
    const row = element("li", "", `${this.#user}-pending`);
    const fate = text("span", "fate", "sending");
    row.append(fate, text("span", "text", body));
    this.#pending.set(cid, row);
    this.#part(".pending").append(row);
    try {
      const { seq } = await this.#client.send(this.#peer, { text: body, cid });
      fate.textContent = `stored #${seq}`; // gone when the entry itself comes
    } catch (error) {
      row.classList.add("failed");
      row.setAttribute("role", "alert");
      fate.textContent = error.message;
    }
  }

  #settled(cid) {
    this.#pending.get(cid)?.remove();
    this.#pending.delete(cid);
  }

  #toggleNetwork() {
    const button = this.#part(".drop");
    const down = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(down));
    button.textContent = down ? "Join network" : "Drop network";
    if (down) {
      this.#network.cut();
      this.#note("network dropped");
    } else {
      this.#network.join();
      this.#client.retryNow();
    }
  }
}

function bodyOf(msg) {
  if (msg.recalled) return "(taken back)";
  return (msg.text ?? "(binary)") + (msg.edited ? " (edited)" : "");
}

function count(missed) { return missed === 1 ? "1 missed entry" : `${missed} missed entries`; }

function element(tag, className, testid) {
  const e = document.createElement(tag);
  e.className = className;
  e.dataset.testid = testid;
  return e;
}

function text(tag, className, words) {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = words;
  return e;
}

/** Changes text only where it differs: a status region is read out at each change. */
function setText(e, words) {
  if (e.textContent !== words) e.textContent = words;
}

async function restart(button, notice) {
  button.disabled = true;
  notice.textContent = "asking the server to restart";
  try {
    const { restart: { url, key, header = "X-Godwit-Demo" } } = await settings(); // the key changes with each process
    const response = await fetch(url, { method: "POST", headers: { [header]: key } });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    notice.textContent = "the server restarts";
  } catch (error) {
    notice.textContent = `restart: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

async function main() {
  const button = document.getElementById("restart");
  const notice = document.getElementById("notice");
  let users;
  try {
    users = (await settings()).users.map((u) => u.user);
  } catch (error) {
    button.disabled = true;
    notice.textContent = `This server is not a demo (${error.message}). Run: godwit demo`;
    return;
  }
  button.addEventListener("click", () => restart(button, notice));
  const [left, right] = users;
  const panels = [new Panel(left, right), new Panel(right, left)];
  document.getElementById("panels").replaceChildren(...panels.map((p) => p.element));
  for (const panel of panels) panel.start();
}

main();
