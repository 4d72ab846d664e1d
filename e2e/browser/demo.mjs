// The real binary as a process: built, started, killed, started again.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

// So that what is registered for the exit also runs when the runner is told to end.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

/** A temporary directory that ends with this process. */
export function scratch(name) {
  const dir = mkdtempSync(join(tmpdir(), `godwit-${name}-`));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}

/** The path in GODWIT_BINARY, or of a binary built now. */
export function binary() {
  if (process.env.GODWIT_BINARY) return process.env.GODWIT_BINARY;
  const path = join(scratch("build"), "godwit");
  execFileSync("go", ["build", "-o", path, "github.com/godwit-im/godwit/cmd/godwit"], { cwd: import.meta.dirname, stdio: "inherit" });
  return path;
}

/** `godwit demo` on one data directory and, from the first start on, the same ports. */
export class Demo {
  #binary; #data = scratch("data"); #process = null; #listen = "127.0.0.1:0"; #ops = "127.0.0.1:0";

  constructor(path) {
    this.#binary = path;
    process.on("exit", () => this.#process?.kill("SIGKILL")); // whatever happens to the tests
  }

  /** Host and port of the page. */
  get listen() { return this.#listen; }
  /** Host and port of the restart button's address. */
  get ops() { return this.#ops; }

  /** Resolves when the server listens. */
  async start() {
    const child = spawn(this.#binary, ["demo", "--listen", this.#listen, "--ops", this.#ops, "--data", this.#data], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    let said = "";
    child.stderr.on("data", (data) => { said = (said + data).slice(-16_384); });
    const addresses = {};
    for await (const line of createInterface({ input: child.stdout })) {
      const [, what, address] = /^(listening|ops) on \w+:\/\/([^/]+)/.exec(line) ?? [];
      if (what) addresses[what] = address;
      if (addresses.listening && addresses.ops) break;
    }
    if (!addresses.ops) throw new Error(`godwit demo ended at its start:\n${said}`);
    child.stdout.resume(); // nobody reads on, and it must not block for it
    [this.#listen, this.#ops] = [addresses.listening, addresses.ops];
  }

  /** Ends the process as a power switch would: SIGKILL, no warning. */
  async kill() {
    const child = this.#process;
    if (!child) return;
    this.#process = null;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => { child.once("exit", resolve); });
    child.kill("SIGKILL");
    await ended;
  }
}
