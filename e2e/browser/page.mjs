// The demo page in Chromium, as a user sees it. Waits are on what the page
// shows; PATIENCE bounds them, and reaching it is a failure, no measurement.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { scratch } from "./demo.mjs";

const PATIENCE = 60_000; // ms
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** A browser with a profile of its own. */
export async function openBrowser() {
  const browser = await chromium.launchPersistentContext(scratch("profile"), {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ARGUMENTS,
    headless: true,
    timeout: 3 * PATIENCE, // a cold start
    viewport: { width: 1200, height: 800 },
    colorScheme: "light",
  });
  browser.setDefaultTimeout(PATIENCE);
  return browser;
}

/** What a page asked for and complained of. */
export class Watch {
  hosts = new Set(); // host:port of every request and WebSocket
  #complaints = [];

  constructor(page) {
    const note = (url) => { if (/^(https?|wss?):/.test(url)) this.hosts.add(new URL(url).host); };
    page.on("request", (request) => note(request.url()));
    page.on("websocket", (socket) => note(socket.url()));
    page.on("pageerror", (error) => this.#complaints.push(`uncaught: ${error.stack ?? error}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.#complaints.push(message.text());
    });
  }

  /**
   * Takes the complaints made so far. While a server is down or drains the browser
   * itself reports each refused or broken connection; outage leaves those out.
   */
  take({ outage = false } = {}) {
    return this.#complaints.splice(0).filter((text) => !outage
      || !/net::ERR_(CONNECTION_(REFUSED|RESET|CLOSED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)|^WebSocket connection to .* failed|status of 503/.test(text));
  }
}

/** One panel of the page. */
export class Side {
  constructor(page, user) {
    this.page = page;
    this.user = user;
  }

  part(name, more = "") { return this.page.locator(`[data-testid="${this.user}-${name}"]${more}`); }

  async live() { await this.part("state", '[data-phase="live"]').waitFor(); }
  async notLive() { await this.part("state", ':not([data-phase="live"])').waitFor(); }
  /**
   * Has the page itself note the next moment in which this side is not live, however
   * short it is, and write something in it.
   */
  async armNotLive(text = "") {
    await this.part("panel").evaluate((panel, words) => {
      panel.wasNotLive = new Promise((resolve) => {
        const state = panel.querySelector(".state");
        const observer = new MutationObserver(() => {
          if (state.dataset.phase === "live") return;
          observer.disconnect();
          if (words) {
            panel.querySelector("input").value = words;
            panel.querySelector("form").requestSubmit();
          }
          resolve(panel.querySelectorAll(".pending > li").length);
        });
        observer.observe(state, { attributes: true });
      });
    }, text);
  }

  /** Waits for that moment, and returns how many messages were on their way in it. */
  wasNotLive() { return this.part("panel").evaluate((panel) => panel.wasNotLive); }

  async peerOnline(online) { await this.part("peer-presence", `[data-online="${online}"]`).waitFor(); }

  /** Writes as a person does and presses the button; it need not arrive. */
  async send(text) {
    await this.part("input").fill(text);
    await this.part("send").click();
    assert.equal(await this.part("input").inputValue(), "");
  }

  /** Waits for a note, the newest one. */
  async noted(text) { await this.part("note").filter({ hasText: text }).last().waitFor(); }

  notes() { return this.part("note").allTextContents(); }

  /** The rows in the order shown. */
  messages() {
    return this.part("message").evaluateAll((rows) => rows.map((row) => ({
      seq: Number(row.dataset.seq), from: row.dataset.from, text: row.querySelector(".text").textContent,
    })));
  }
}

/** Opens the page and waits for both sides. */
export async function openPage(browser, host) {
  const page = await browser.newPage();
  const watch = new Watch(page);
  const response = await page.goto(`http://${host}/`);
  assert.equal(response.status(), 200);
  const sides = { alice: new Side(page, "alice"), bob: new Side(page, "bob") };
  for (const side of Object.values(sides)) await side.live();
  return { page, watch, policy: response.headers()["content-security-policy"], ...sides };
}

/**
 * Waits until a side is live with nothing on its way and shows as many messages as were
 * said, then holds it to them: each once, in order, under rising sequences.
 * @param {{from: string, text: string}[]} said
 */
export async function shows(side, said) {
  try {
    await side.live();
    if (said.length > 0) await side.part("message").nth(said.length - 1).waitFor();
    await side.part("pending").first().waitFor({ state: "detached" });
  } catch (error) {
    if (error.name !== "TimeoutError") throw error; // what is wrong, the comparison says better
  }
  const messages = await side.messages();
  assert.deepEqual(messages.map(({ from, text }) => ({ from, text })), said, `${side.user} sees what was said`);
  const seqs = messages.map((m) => m.seq);
  assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b), `${side.user}'s sequences rise`);
  assert.equal(await side.part("pending").count(), 0, `${side.user} has nothing on its way`);
  return seqs;
}
