/**
 * Godwit: the JavaScript SDK of the protocol godwit.v1, for browsers and Node.
 * No dependencies. One Client is one session of one device: it delivers the
 * user's log once and in sequence order across any number of reconnects, and
 * sends messages again under the same client id until their fate is known.
 *
 *   const client = new Client({ url: "wss://chat.example/v1/ws", token });
 *   client.addEventListener("entry", (e) => show(e.detail));
 *   client.connect();
 *   const { seq } = await client.send("bob", { text: "hi" });
 *
 * Events: "entry" (detail: Entry), "skip" ({from, to}), "discontinuity"
 * ({reason, from, to, conv?}), "state" (State), "resumed" ({missed, from, to}),
 * "typing" ({conv, user, stop?}), "presence" ({user, online, last_seen}), "receipt"
 * ({conv, user, delivered, read}: marks of a member of a small group, in the group's
 * sequences; they never go back, though an overtaken one may come after a newer one).
 *
 * An entry has seq, the place in the user's log, and of groups gseq, the place in
 * the group's; entries of channels have gseq alone. Exactly one body follows.
 *
 * @typedef {{mid: string, conv: string, from: string, cid: string, time: number, text?: string, data?: string, type?: string, edited?: number, recalled?: boolean}} Message
 * @typedef {{seq?: number, gseq?: number, msg?: Message, edit?: Message, recall?: Message, receipt?: object, group?: object, settings?: object}} Entry
 * @typedef {{epoch: string, seq: number, channels?: {conv: string, gseq: number}[]}} Position
 * @typedef {{phase: "idle"|"connecting"|"replaying"|"live"|"waiting"|"stopped", until?: number, error?: Error}} State
 * @typedef {{cid: string, mid: string, seq: number, gseq?: number, conv: string, time: number, dup: boolean}} Sent
 * @typedef {object} Options
 * @property {string} url ws://… or wss://…
 * @property {string | (() => string | Promise<string>)} token a function is asked before each connection; a string that is refused stops the client
 * @property {string} [device] names this installation; default: a random name
 * @property {string} [routeKey] stands in the address as rk, by which a proxy picks the user's edge; never a secret; default: 16 bits of a hash of the token's subject
 * @property {Position} [resume] continue after a position of an earlier client; default: from the head
 * @property {boolean} [replay] when too far behind, read every missed entry instead of a discontinuity
 * @property {boolean} [delivered] mark what arrives as delivered, at most once a second and conversation; default true
 * @property {boolean} [assign] ask the server at url which edges this user should use, and connect to those; url where all fail or it can't be asked
 * @property {typeof fetch} [fetch] for assign; default: the global one
 * @property {number} [queueMax] requests that may wait here, default 1024; above it they are refused
 * @property {typeof WebSocket} [WebSocket] default: the global one
 * @property {() => number} [random] default: Math.random
 */

const SUBPROTOCOL = "godwit.v1.json";
const BACKOFF_FIRST = 500, BACKOFF_MAX = 20_000, STABLE_AFTER = 5_000, OPEN_TIMEOUT = 10_000; // ms
const PAUSE_FIRST = 100, PAUSE_MAX = 5_000; // ms between temporary refusals
const ACK_EVERY = 64, ACK_AFTER = 500; // sequences, ms
const DELIVERED_EVERY = 1000, DELIVERED_MAX = 20; // ms between marks, conversations at a time
const BODIES = ["msg", "receipt", "edit", "recall", "group", "settings"];
const READS = new Set(["sync", "history", "conversations", "presence"]);
const READS_DO = new Set(["info", "members", "list", "receipts"]); // of groups and devices
const CHANNEL_PLACES_MAX = 200; // in one resume
const AHEAD_MAX = 1024; // entries kept beyond a hole; above it the farthest are fetched later
const EDGES_MAX = 16, EDGES_TTL_MIN = 5, EDGES_TTL_MAX = 3600; // kept of an answer, seconds it counts
const STOPPING_RFC_CODES = new Set([1002, 1003, 1007, 1009, 1010]);

/** An answer of the server that says no. `code` is stable; see docs/protocol.md. */
export class RefusedError extends Error {
  /** @param {{code: string, num: number, temporary?: boolean, retry_after_ms?: number, message?: string}} reply */
  constructor(reply) {
    super(`${reply.code}: ${reply.message ?? ""}`);
    this.name = "RefusedError";
    this.code = reply.code;
    this.num = reply.num;
    this.temporary = Boolean(reply.temporary);
  }
}

/** The message was with a server and no answer came: sending it again with the same cid finds out. */
export class UnknownError extends Error { name = "UnknownError"; }

/** The message or request never had an effect. */
export class NotSentError extends Error { name = "NotSentError"; }

/** The server closed the connection. */
export class CloseError extends Error {
  /** @param {number} code @param {string} reason */
  constructor(code, reason) {
    let details = {};
    try { details = JSON.parse(reason) ?? {}; } catch { /* any text may stand there */ }
    super(`closed: ${code} ${details.reason ?? reason}`.trim());
    this.name = "CloseError";
    this.code = code;
    this.retryAfterMs = Number(details.retry_after_ms) || 0;
  }
}

/**
 * What a close code asks for.
 * @param {number} code
 * @returns {"stop"|"token"|"return"|"backoff"}
 */
export function remedyOf(code) {
  if (STOPPING_RFC_CODES.has(code)) return "stop";
  switch (Math.floor(code / 100)) {
    case 40: return "stop";
    case 41: return "token";
    case 43: return "return";
    default: return "backoff";
  }
}

export class Client extends EventTarget {
  #options; #socket = null; #welcome = null; #state = { phase: "idle" };
  #epoch = ""; #cursor = 0; #owed = 0; #ahead = new Map(); #liveAt = 0; #from = 0;
  #sends = []; #reads = []; #flying = new Map(); #lastId = 0;
  #fetching = false; #holding = false; #sendAt = 0;
  #failures = 0; #refusals = 0; #connectedAt = 0; #stopped = false; #replaying = false;
  #pushed = 0; #acked = 0; #timers = new Map();
  #channels = new Map(); // conv → {place, owed, ahead: Map, fetching}
  #edges = []; #edgesUntil = 0; #edgesTried = 0; // addresses assigned, the best first
  #watched = []; #delivered = new Map(); // conv → sequence to be marked

  /** @param {Options} options */
  constructor(options) {
    super();
    if (!/^wss?:\/\//.test(options?.url ?? "")) throw new TypeError("url must be ws://… or wss://…");
    if (!options.token) throw new TypeError("token is required");
    this.#options = { queueMax: 1024, delivered: true, random: Math.random, WebSocket: globalThis.WebSocket, device: "js-" + randomId().slice(0, 12), ...options };
    if (!this.#options.WebSocket) throw new TypeError("no global WebSocket: pass one as an option");
    if (options.resume) ({ epoch: this.#epoch, seq: this.#cursor } = options.resume);
    for (const { conv, gseq } of options.resume?.channels ?? []) this.#channels.set(conv, newChannel(gseq));
  }

  /** @returns {State} */
  get state() { return this.#state; }
  /** Where a later client can resume: after the last entry dispatched. @returns {Position} */
  get position() {
    const position = { epoch: this.#epoch, seq: this.#cursor };
    const channels = [...this.#channels].slice(0, CHANNEL_PLACES_MAX).map(([conv, { place }]) => ({ conv, gseq: place }));
    return channels.length > 0 ? { ...position, channels } : position;
  }
  /** The newest connect reply, with its limits; null before the first. */
  get welcome() { return this.#welcome; }

  /** Connects, and stays connected until close() or until the server says stop. */
  connect() {
    if (this.#state.phase === "idle") this.#open();
  }

  /** Ends the session. Sends without an answer are rejected. */
  close() {
    this.#stop(null);
  }

  /** Ends the wait before a reconnect, for instance when the browser says "online". */
  retryNow() {
    if (this.#state.phase === "waiting") this.#open();
  }

  /**
   * Sends a message to a user ("bob", "u:bob") or a group ("g:42") and resolves
   * when it is stored durably. Rejects with a RefusedError or NotSentError (no
   * effect) or an UnknownError (send again with the same cid to find out).
   * @param {string} to
   * @param {{text?: string, data?: string, type?: string, cid?: string}} message data is base64
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<Sent>}
   */
  async send(to, message, { signal } = {}) {
    const { text, data, type, cid = randomId() } = message;
    const target = to.startsWith("g:") ? { group: to.slice(2) } : { to: to.replace(/^u:/, "") };
    const reply = await this.#ask("send", { ...target, cid, text, data, type, time: Date.now() }, signal);
    const sent = { cid, mid: reply.mid, seq: reply.seq ?? 0, conv: reply.conv, time: reply.time, dup: Boolean(reply.dup) };
    return reply.gseq ? { ...sent, gseq: reply.gseq } : sent;
  }

  /**
   * Yields a conversation page by page, newest first unless `after` is given. With
   * `group` the sequences are the group's own, which also name what came before the
   * user joined; in a channel it makes no difference.
   * @param {string} conv
   * @param {{before?: number, after?: number, limit?: number, group?: boolean, signal?: AbortSignal}} [range]
   * @returns {AsyncGenerator<Entry>}
   */
  async *history(conv, { before, after, limit = Infinity, group = false, signal } = {}) {
    const id = convId(conv);
    for (let more = true; more && limit > 0;) {
      const range = group ? { gbefore: before, gafter: after } : { before, after };
      const reply = await this.#ask("history", { conv: id, ...range, limit: Math.min(limit, 100) }, signal);
      const entries = reply.entries ?? [];
      if (after === undefined) entries.reverse();
      for (const entry of entries) {
        if (limit-- <= 0) return;
        yield entry;
        const at = group || !(entry.skip || entry.seq) ? entry.gseq : entry.skip?.to ?? entry.seq;
        if (after === undefined) before = entry.skip?.from ?? at; else after = at;
      }
      more = Boolean(reply.more) && entries.length > 0;
    }
  }

  /**
   * Yields the user's conversations, the most recent first.
   * @param {{signal?: AbortSignal}} [options]
   */
  async *conversations({ signal } = {}) {
    for (let next; ;) {
      const reply = await this.#ask("conversations", { next }, signal);
      yield* reply.items ?? [];
      next = reply.next;
      if (!next) return;
    }
  }

  /**
   * @param {string[]} users
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{user: string, online: boolean, last_seen: number}[]>} in the order asked
   */
  async presence(users, { signal } = {}) {
    return (await this.#ask("presence", { get: users }, signal)).users ?? [];
  }

  /**
   * Replaces the list of users whose coming and going is told by "presence" events,
   * also after a lost connection; an empty list ends that.
   * @param {string[]} users
   * @returns {Promise<{user: string, online: boolean, last_seen: number}[]>} what is so now
   */
  async watch(users, { signal } = {}) {
    this.#watched = [...users];
    return (await this.#ask("presence", { watch: this.#watched }, signal)).users ?? [];
  }

  /**
   * Moves the user's marks of a conversation forward, on all devices.
   * @param {string} conv
   * @param {{read?: number, delivered?: number}} marks sequences as entries have them: seq, in a channel gseq
   */
  mark(conv, { read, delivered }, { signal } = {}) { return this.#ask("mark", { conv: convId(conv), read, delivered }, signal); }

  /** Gives a message of one's own another body. @param {string} mid @param {{text?: string, data?: string, type?: string}} body */
  edit(mid, { text, data, type }, { signal } = {}) { return this.#ask("edit", { mid, text, data, type }, signal); }

  /** Takes a message back, for everyone. @param {string} mid */
  recall(mid, { signal } = {}) { return this.#ask("recall", { mid }, signal); }

  /** Says that the user is writing, or has stopped. It is said once or, without a session, not at all. @param {string} conv */
  typing(conv, stop = false) {
    if (this.#socket?.established) this.#write({ typing: { conv: convId(conv), stop: stop || undefined } });
  }

  /**
   * Changes what the user alone sees of a conversation.
   * @param {string} conv
   * @param {{mute?: number, pin?: boolean, archive?: boolean, delete?: number}} change mute in ms since 1970, 0: not silent
   */
  setConversation(conv, change, { signal } = {}) { return this.#ask("conversation", { ...change, conv: convId(conv) }, signal); }

  /**
   * Creates a group, which the user owns.
   * @param {string} name
   * @param {string[]} users
   * @param {{join?: "invite"|"open", history?: "joined"|"all", cid?: string}} [options]
   * @returns {Promise<{group: string, conv: string}>}
   */
  createGroup(name, users = [], { join, history, cid = randomId(), signal } = {}) {
    return this.#ask("group", { do: "create", cid, name, users, join, history }, signal);
  }

  /**
   * Any other request about a group: info, set, add, remove, leave, join, role or receipts.
   * @param {string} what
   * @param {string} group with or without "g:"
   * @param {{users?: string[], role?: string, name?: string, join?: string, history?: string, gseq?: number}} [details]
   */
  group(what, group, details = {}, { signal } = {}) { return this.#ask("group", { do: what, group: group.replace(/^g:/, ""), ...details }, signal); }

  /** Yields the members of a group. @param {string} group */
  members(group, { signal } = {}) { return this.#pages((next) => this.group("members", group, { next }, { signal }), "members"); }

  /** Yields the groups the user is in. */
  groups({ signal } = {}) { return this.#pages((next) => this.#ask("group", { do: "list", next }, signal), "groups"); }

  async *#pages(page, list) {
    for (let next; ;) {
      const reply = await page(next);
      yield* reply[list] ?? [];
      next = reply.next;
      if (!next) return;
    }
  }

  /** The user's devices. */
  async devices({ signal } = {}) { return (await this.#ask("device", { do: "list" }, signal)).devices ?? []; }

  /** Logs one of the user's devices out, or all of them. @param {string} [device] */
  logout(device, { signal } = {}) { return this.#ask("device", device ? { do: "logout", device } : { do: "logout", all: true }, signal); }

  /** Changes the list of users whom the user hears nothing of, and resolves to it. @param {{add?: string[], remove?: string[]}} [change] */
  async block(change = {}, { signal } = {}) { return (await this.#ask("block", change, signal)).users ?? []; }

  /** Changes the user's contacts, and resolves to them. @param {{add?: string[], remove?: string[]}} [change] */
  async contacts(change = {}, { signal } = {}) { return (await this.#ask("contact", change, signal)).users ?? []; }

  // ---- connecting

  async #open() {
    this.#cancel("retry");
    if (this.#stopped || this.#socket) return;
    const attempt = { ws: null, established: false }; // identity tells old sockets from the current one
    this.#socket = attempt;
    this.#show({ phase: "connecting", error: this.#state.error });
    this.#after("open", OPEN_TIMEOUT, () => this.#lost(attempt, new Error("no connect reply in time")));
    try {
      const { token, assign, WebSocket } = this.#options;
      const jwt = typeof token === "function" ? await token() : token;
      if (assign && this.#socket === attempt) await this.#askEdges(attempt, jwt);
      if (this.#socket !== attempt) return;
      const url = attempt.url = this.#edges[0] ?? this.#options.url;
      if (this.#edgesTried < this.#edges.length - 1) this.#after("open", OPEN_TIMEOUT / 3, () => this.#lost(attempt, new Error("the edge is silent")));
      const ws = attempt.ws = new WebSocket(routed(url, this.#options.routeKey ?? routeKeyOf(jwt)), SUBPROTOCOL);
      let closed = false;
      ws.onopen = () => {
        if (this.#socket !== attempt) return;
        const stamp = this.#welcome?.stamp; // it says that this connection is newer than its last one
        const resume = this.#epoch ? { ...this.position, ...(stamp && { stamp }) } : undefined;
        this.#write({ id: ++this.#lastId, connect: { token: jwt, device: this.#options.device, resume } });
      };
      ws.onmessage = (event) => { if (this.#socket === attempt) this.#message(attempt, event.data); };
      ws.onclose = (event) => {
        if (!closed) this.#lost(attempt, new CloseError(event.code, event.reason));
        closed = true;
      };
    } catch (error) {
      this.#lost(attempt, error);
    }
  }

  /** Learns which edges this user should use, unless it knows. An old answer is better than none. */
  async #askEdges(attempt, jwt) {
    const { url, fetch = globalThis.fetch } = this.#options;
    if (Date.now() < this.#edgesUntil) return;
    const ask = new AbortController();
    this.#after("edges", OPEN_TIMEOUT / 3, () => ask.abort());
    try {
      const address = new URL(url.replace(/^ws/, "http"));
      address.pathname = `${address.pathname.replace(/[^/]*$/, "")}edges`;
      const answer = await fetch(address.href, { headers: { Authorization: `Bearer ${jwt}` }, signal: ask.signal });
      if (!answer.ok) throw new Error(`edges: status ${answer.status}`);
      const { edges = [], ttl = 0 } = await answer.json();
      if (this.#socket !== attempt) return;
      const allowed = url.startsWith("wss:") ? /^wss:\/\/[^/]/ : /^wss?:\/\/[^/]/; // never away from TLS
      this.#edges = [...new Set(edges.map((e) => String(e.url)).filter((u) => allowed.test(u)))].slice(0, EDGES_MAX);
      this.#edges.push(...(this.#edges.length > 0 && !this.#edges.includes(url) ? [url] : [])); // the last resort
      this.#edgesUntil = Date.now() + 1000 * Math.min(Math.max(ttl, EDGES_TTL_MIN), EDGES_TTL_MAX);
    } catch { /* the address that was given serves, too */ } finally {
      this.#cancel("edges");
    }
  }

  /** Puts the edge of a failed attempt behind all others; reports whether another is to be tried at once. */
  #nextEdge(attempt) {
    const i = this.#edges.indexOf(attempt.url);
    if (i < 0) return false;
    this.#edges.push(...this.#edges.splice(i, 1));
    return ++this.#edgesTried < this.#edges.length;
  }

  #write(frame) {
    this.#socket.ws.send(JSON.stringify(frame));
  }

  /** Ends one connection and does what its end asks for. */
  #lost(attempt, error) {
    if (this.#socket !== attempt) return;
    this.#socket = null;
    for (const name of ["open", "silent", "ack", "send", "fetch"]) this.#cancel(name);
    try { attempt.ws?.close(); } catch { /* it never opened */ }
    for (const request of this.#flying.values()) {
      if (!request) continue;
      request.flying = false;
      request.maybe = true;
    }
    this.#flying.clear();
    this.#fetching = this.#holding = false;
    this.#sendAt = 0;
    if (attempt.established && Date.now() - this.#connectedAt >= STABLE_AFTER) this.#failures = 0;
    const remedy = error instanceof CloseError ? remedyOf(error.code) : "backoff";
    if (remedy === "stop" || (remedy === "token" && typeof this.#options.token !== "function")) return this.#stop(error);
    if (!attempt.established && remedy === "backoff" && this.#nextEdge(attempt) && !error.retryAfterMs) return void this.#open();
    this.#edgesTried = 0;
    this.#retry(remedy, error);
  }

  #retry(remedy, error) {
    let bound = Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** this.#failures);
    if (remedy === "return" && this.#failures === 0) bound = BACKOFF_FIRST;
    this.#failures++;
    const wait = (error.retryAfterMs ?? 0) + this.#options.random() * bound;
    this.#show({ phase: "waiting", until: Date.now() + wait, error });
    this.#after("retry", wait, () => this.#open());
  }

  #stop(error) {
    if (this.#stopped) return;
    this.#stopped = true;
    const socket = this.#socket;
    if (socket?.established) this.#ack();
    this.#socket = null;
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    try { socket?.ws?.close(1000); } catch { /* it never opened */ }
    const why = error?.message ?? "the client was closed";
    for (const request of [...this.#sends, ...this.#reads]) this.#abandon(request, why);
    this.#show({ phase: "stopped", error: error ?? undefined });
  }

  // ---- frames

  #message(attempt, data) {
    try {
      for (const line of String(data).split("\n")) {
        if (line && this.#socket === attempt) this.#frame(attempt, JSON.parse(line));
      }
    } catch (error) {
      this.#lost(attempt, error); // the server breaks the protocol
    }
    if (this.#socket !== attempt || !attempt.established) return;
    this.#after("silent", 2000 * (this.#welcome.ping || 25), () => this.#lost(attempt, new Error("the server is silent")));
    this.#settle();
  }

  #frame(attempt, frame) {
    if (frame.connect) return this.#welcomed(attempt, frame.connect);
    if (!attempt.established) return frame.error || this.#pong(frame);
    if (frame.ev) return this.#pushedEntry(frame.ev);
    if (frame.skip) return this.#pushedEntry({ seq: frame.skip.from, skip: frame.skip });
    if (frame.resumed) {
      this.#owed = Math.max(this.#owed, frame.resumed.seq);
      return undefined;
    }
    if (frame.channel) return this.#beginChannel(frame.channel);
    if (frame.eph) return this.#ephemeral(frame.eph);
    if (frame.goaway) return this.#move(attempt, frame.goaway);
    if (frame.id) return this.#answered(attempt, frame);
    if (frame.presence) return frame.presence.users?.forEach((user) => this.#emit("presence", user)); // after a pause of the server
    return this.#pong(frame);
  }

  #pong(frame) {
    if (Object.keys(frame).length === 0) this.#write({});
  }

  #move(attempt, { after_ms = 0, spread_ms = 0 }) {
    this.#edgesUntil = 0; // ask again
    this.#after("open", after_ms + this.#options.random() * spread_ms, () => this.#lost(attempt, new CloseError(4300, '{"reason":"goaway"}')));
  }

  #welcomed(attempt, reply) {
    if (attempt.established) return;
    this.#cancel("open");
    attempt.established = true;
    this.#edgesTried = 0;
    const first = !this.#epoch;
    const here = this.position, head = { epoch: reply.epoch, seq: reply.seq };
    this.#welcome = reply;
    this.#connectedAt = Date.now();
    this.#liveAt = this.#pushed = reply.seq;
    this.#from = here.seq;
    if (first) {
      this.#epoch = head.epoch;
      this.#cursor = this.#owed = head.seq;
    } else if (reply.resumed && reply.epoch === here.epoch) {
      this.#owed = this.#pushed = here.seq; // the server replays all of it
    } else if (this.#options.replay && reply.epoch === here.epoch && here.seq <= head.seq) {
      this.#owed = Math.max(this.#owed, head.seq); // read in pages what it won't replay
    } else {
      this.#epoch = head.epoch;
      this.#cursor = this.#owed = head.seq;
      this.#ahead.clear();
      this.#emit("discontinuity", { reason: reply.reason ?? "epoch", from: here, to: head });
    }
    this.#acked = this.#pushed;
    if (this.#epoch !== here.epoch && !first) this.#channels.clear(); // the groups' logs are others, too
    if (this.#watched.length > 0) this.#watchAgain();
    this.#replaying = !first && this.#cursor < this.#liveAt;
    this.#show({ phase: this.#replaying ? "replaying" : "live" });
  }

  // ---- the log in sequence order

  #pushedEntry(entry) {
    if (!entry.seq && entry.gseq) return this.#offerChannel(entry);
    this.#pushed = Math.max(this.#pushed, last(entry));
    this.#offer(entry);
  }

  /** Takes an entry or skip range in any order, any number of times. */
  #offer(entry) {
    if (this.#stopped || last(entry) <= this.#cursor) return;
    if (entry.seq > this.#cursor + 1) {
      this.#owed = Math.max(this.#owed, entry.seq - 1);
      this.#ahead.set(entry.seq, entry);
      if (this.#ahead.size > AHEAD_MAX) {
        const farthest = Math.max(...this.#ahead.keys());
        this.#owed = Math.max(this.#owed, last(this.#ahead.get(farthest)));
        this.#ahead.delete(farthest);
      }
      return;
    }
    this.#deliver(entry);
    for (let moved = true; moved && this.#ahead.size > 0;) {
      moved = false;
      for (const [seq, parked] of this.#ahead) {
        if (seq > this.#cursor + 1) continue;
        this.#ahead.delete(seq);
        moved = true;
        if (last(parked) > this.#cursor) this.#deliver(parked);
      }
    }
  }

  #deliver(entry) {
    const from = this.#cursor + 1;
    this.#cursor = last(entry);
    if (!BODIES.some((body) => entry[body])) return this.#emit("skip", { from, to: this.#cursor });
    const { do: what, by, users, conv } = entry.group ?? {};
    if (what === "leave" && by === this.#welcome?.user || what === "remove" && users?.includes(this.#welcome?.user)) this.#channels.delete(conv);
    return this.#dispatch(entry);
  }

  #dispatch(entry) {
    const { msg } = entry;
    if (msg && this.#options.delivered && msg.from !== this.#welcome?.user) {
      this.#delivered.set(msg.conv, entry.seq || entry.gseq);
      if (!this.#timers.has("delivered")) this.#after("delivered", 0, () => this.#markDelivered());
    }
    this.#emit("entry", entry);
  }

  // ---- channels: as the log, with places of their own

  #beginChannel({ conv, gseq, reset }) {
    const channel = this.#channels.get(conv);
    if (!channel) this.#gateChannel(conv, gseq);
    if (reset && !(channel && this.#options.replay) && gseq > (channel?.place ?? 0)) {
      this.#emit("discontinuity", { reason: "too_far", conv, from: { seq: channel?.place ?? 0 }, to: { seq: gseq } });
      Object.assign(this.#channels.get(conv), { place: gseq, owed: gseq, ahead: new Map() });
    } else if (channel) {
      channel.owed = Math.max(channel.owed, gseq);
    }
  }

  /**
   * A group that becomes a channel, or is joined, says so in the log, and that goes
   * first: the channel waits until the log is where its head is now.
   */
  #gateChannel(conv, gseq) {
    const channel = { ...newChannel(gseq), gate: Infinity };
    this.#channels.set(conv, channel);
    const open = (head) => { channel.gate = head; this.#flush(); };
    this.#ask("sync", { since: this.#cursor, limit: 1 }).then(({ head }) => open(head), () => open(0));
  }

  #waits(channel) { return this.#replaying || this.#cursor < channel.gate; }

  #offerChannel(entry) {
    const conv = BODIES.map((body) => entry[body]?.conv).find(Boolean);
    const channel = this.#channels.get(conv); // none of a newer server's entry: history has it, as a hole
    if (!channel || entry.gseq <= channel.place) return;
    channel.ahead.set(entry.gseq, entry);
    channel.owed = Math.max(channel.owed, entry.gseq);
    if (channel.ahead.size > AHEAD_MAX) channel.ahead.delete(Math.max(...channel.ahead.keys()));
    this.#advanceChannel(channel);
  }

  #advanceChannel(channel) {
    if (this.#waits(channel)) return; // what the log still has of the group is older
    for (let entry; (entry = channel.ahead.get(channel.place + 1));) {
      channel.ahead.delete(entry.gseq);
      channel.place = entry.gseq;
      this.#dispatch(entry);
    }
  }

  /** Asks for what lies before the nearest entry that came. Where there is nothing, nothing is missing. */
  #fetchChannel(conv, channel) {
    const after = channel.place, asked = channel.owed; // what comes to be owed later may not be in the page
    channel.fetching = true;
    const done = () => { channel.fetching = false; this.#flush(); };
    this.#ask("history", { conv, gafter: after, limit: this.#welcome.limits?.page || 100 }).then((page) => {
      if (this.#waits(channel)) return done(); // it is asked for again
      const entries = page.entries ?? [];
      for (const entry of entries) {
        for (const gseq of [...channel.ahead.keys()].sort((a, b) => a - b)) {
          if (gseq >= entry.gseq) break;
          this.#jumpChannel(channel, gseq);
        }
        channel.ahead.set(entry.gseq, entry);
        this.#jumpChannel(channel, entry.gseq);
      }
      if (!page.more || entries.length === 0) {
        for (const gseq of [...channel.ahead.keys()].sort((a, b) => a - b)) {
          if (gseq <= asked) this.#jumpChannel(channel, gseq);
        }
        channel.place = Math.max(channel.place, asked);
        this.#advanceChannel(channel);
      }
      return done();
    }, () => { this.#channels.delete(conv); done(); });
  }

  #jumpChannel(channel, gseq) {
    const entry = channel.ahead.get(gseq);
    channel.ahead.delete(gseq);
    if (gseq <= channel.place) return;
    channel.place = gseq;
    if (BODIES.some((body) => entry[body])) this.#dispatch(entry);
  }

  // ---- what is never stored, and marks by itself

  #ephemeral({ typing, presence, receipt }) {
    if (typing) this.#emit("typing", typing);
    else if (presence) this.#emit("presence", presence);
    else if (receipt) this.#emit("receipt", receipt);
  }

  #watchAgain() {
    this.#ask("presence", { watch: this.#watched }).then(
      (reply) => { for (const item of reply.users ?? []) this.#emit("presence", item); },
      () => { /* the next session tries again */ },
    );
  }

  /** Marks what arrived, then rests: what comes meanwhile is marked together. */
  #markDelivered() {
    if (this.#stopped || this.#delivered.size === 0) return;
    for (const [conv, delivered] of [...this.#delivered].slice(0, DELIVERED_MAX)) {
      this.#delivered.delete(conv);
      this.#ask("mark", { conv, delivered }).catch((error) => {
        if (error.code === "unsupported" || error.code === "frame.unknown") this.#options.delivered = false;
      });
    }
    this.#after("delivered", DELIVERED_EVERY, () => this.#markDelivered());
  }

  /** After each change: is the replay over, what is missing, what may go out. */
  #settle() {
    if (this.#replaying && this.#cursor >= this.#liveAt) {
      this.#replaying = false;
      this.#show({ phase: "live" });
      this.#emit("resumed", { missed: this.#cursor - this.#from, from: this.#from + 1, to: this.#cursor });
    }
    const ackable = Math.min(this.#cursor, this.#pushed); // an ack of what was not pushed is an error
    if (ackable - this.#acked >= ACK_EVERY) this.#ack();
    else if (ackable > this.#acked && !this.#timers.has("ack")) this.#after("ack", ACK_AFTER, () => this.#ack());
    this.#flush();
  }

  #ack() {
    this.#cancel("ack");
    const seq = Math.min(this.#cursor, this.#pushed);
    if (seq <= this.#acked) return;
    this.#acked = seq;
    this.#write({ ack: { seq } });
  }

  #fetch(attempt) {
    const since = this.#cursor;
    this.#fetching = true;
    this.#launch({
      kind: "sync", body: { since, limit: this.#welcome.limits?.page || 100 },
      resolve: (page) => {
        this.#fetching = false;
        for (const entry of page.entries ?? []) this.#offer(entry.skip ? { seq: entry.skip.from, skip: entry.skip } : entry);
        if (this.#cursor === since && this.#owed > since) this.#lost(attempt, new Error("the server owes entries and does not give them"));
      },
      reject: (error) => this.#lost(attempt, error),
      later: (wait) => this.#after("fetch", wait, () => { this.#fetching = false; this.#flush(); }),
    });
  }

  // ---- requests

  #ask(kind, body, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new NotSentError("aborted"));
      if (this.#stopped) return reject(new NotSentError("the client is stopped"));
      if (this.#sends.length + this.#reads.length >= this.#options.queueMax) return reject(new NotSentError("the queue is full"));
      const request = { kind, body, resolve, reject, flying: false, maybe: false, notBefore: 0 };
      (kind === "send" ? this.#sends : this.#reads).push(request);
      signal?.addEventListener("abort", () => this.#abandon(request, "aborted"), { once: true });
      return this.#flush();
    });
  }

  #flush() {
    if (!this.#socket?.established) return;
    const limit = this.#welcome.limits?.inflight || 64;
    if (this.#owed > this.#cursor && !this.#fetching && this.#flying.size < limit) this.#fetch(this.#socket);
    if (this.#channels.size > 0) {
      for (const [conv, channel] of this.#channels) {
        this.#advanceChannel(channel);
        const missing = channel.owed > channel.place && !channel.fetching && !this.#waits(channel);
        if (missing && this.#flying.size < limit) this.#fetchChannel(conv, channel);
      }
    }
    for (const request of [...this.#reads]) {
      if (this.#flying.size >= limit) return;
      if (!request.flying && request.notBefore <= Date.now()) this.#launch(request);
    }
    if (this.#holding) {
      // A send was refused for a while: the rest in flight drains first, then all
      // go out again from the front, so that later ones do not overtake it.
      if (this.#sends.some((request) => request.flying) || Date.now() < this.#sendAt) return;
      this.#holding = false;
    }
    for (const request of [...this.#sends]) {
      if (this.#flying.size >= limit) return;
      if (!request.flying) this.#launch(request);
    }
  }

  #launch(request) {
    const id = ++this.#lastId;
    const data = JSON.stringify({ id, [request.kind]: request.body });
    if (new Blob([data]).size > (this.#welcome.limits?.frame ?? Infinity)) { // the server would close for it
      this.#remove(request);
      request.reject(new RefusedError({ code: "body.too_large", num: 4131, message: "The frame is larger than limits.frame of the connect reply." }));
      return;
    }
    Object.assign(request, { id, flying: true });
    this.#flying.set(id, request);
    this.#socket.ws.send(data);
  }

  #answered(attempt, frame) {
    if (!this.#flying.has(frame.id)) return;
    const request = this.#flying.get(frame.id);
    this.#flying.delete(frame.id);
    if (!request) return; // nobody waits for it any more
    request.flying = false;
    if (frame.error) return this.#refused(request, frame.error);
    const reply = frame[request.kind] ?? frame.done;
    if (!reply) {
      request.maybe = true;
      throw new Error(`request ${frame.id} was answered by another kind`);
    }
    this.#refusals = 0;
    this.#remove(request);
    request.resolve(reply);
  }

  #refused(request, error) {
    if (!error.temporary) {
      this.#remove(request);
      request.reject(new RefusedError(error));
      return;
    }
    if (error.code !== "unavailable" && error.code !== "rate.limited") request.maybe = true;
    const bound = Math.min(PAUSE_MAX, PAUSE_FIRST * 2 ** this.#refusals++);
    const wait = (error.retry_after_ms ?? 0) + this.#options.random() * bound;
    if (request.later) return request.later(wait);
    if (request.kind === "send") {
      this.#holding = true;
      this.#sendAt = Math.max(this.#sendAt, Date.now() + wait);
      this.#after("send", this.#sendAt - Date.now(), () => this.#flush());
    } else {
      request.notBefore = Date.now() + wait;
      this.#after("read" + request.id, wait, () => this.#flush());
    }
  }

  #remove(request) {
    const list = request.kind === "send" ? this.#sends : this.#reads;
    const at = list.indexOf(request);
    if (at >= 0) list.splice(at, 1);
    return at >= 0;
  }

  #abandon(request, why) {
    if (!this.#remove(request)) return;
    if (request.flying && this.#flying.has(request.id)) this.#flying.set(request.id, null); // the server is at it
    const reads = READS.has(request.kind) || READS_DO.has(request.body.do);
    const unknown = !reads && (request.flying || request.maybe);
    request.reject(new (unknown ? UnknownError : NotSentError)(why));
    request.flying = false;
    this.#flush();
  }

  // ---- timers and events

  #after(name, ms, run) {
    this.#cancel(name);
    this.#timers.set(name, setTimeout(() => { this.#timers.delete(name); run(); }, Math.max(0, ms)));
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #show(state) {
    this.#state = state;
    this.#emit("state", state);
  }

  #emit(type, detail) {
    this.dispatchEvent(Object.assign(new Event(type), { detail }));
  }
}

/** What is known of a channel: everything up to place was dispatched, once and in order. */
function newChannel(place) { return { place, owed: place, ahead: new Map(), fetching: false, gate: 0 }; }

/** The address with a route key, unless it has one. */
function routed(url, key) {
  if (!key || /[?&]rk=/.test(url)) return url;
  return `${url}${url.includes("?") ? "&" : "?"}rk=${encodeURIComponent(key)}`;
}

/** 32 bits of FNV-1a of the token's subject, folded to 16; "" when it names none. */
function routeKeyOf(token) {
  try {
    const payload = atob(String(token).split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    const { sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (c) => c.charCodeAt(0))));
    if (typeof sub !== "string" || !sub) return "";
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(sub)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    return (hash >>> 16 ^ hash & 0xffff).toString(16).padStart(4, "0");
  } catch {
    return "";
  }
}

function convId(conv) { return /^[ug]:/.test(conv) ? conv : "u:" + conv; }

/** The last sequence an entry covers. */
function last(entry) { return entry.skip ? entry.skip.to : entry.seq; }

/** 26 letters and digits, about 134 bits. crypto is global in browsers and in Node from 19 on. */
function randomId() {
  const letters = "abcdefghijklmnopqrstuvwxyz234567"; // 32, so that no letter is likelier
  return Array.from(crypto.getRandomValues(new Uint8Array(26)), (byte) => letters[byte & 31]).join("");
}
