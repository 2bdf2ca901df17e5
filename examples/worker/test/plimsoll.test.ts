// The worker and the real plimsoll: an alert fires, a restart is asked for, done and verified; every
// signature is one of standardwebhooks, and an answer that is lost costs nothing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import worker, { type Env } from "../src/worker.js";
import { twin } from "./twin.js";

const SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const ID = "d".repeat(64);
const PLIMSOLL = resolve(process.env.PLIMSOLL ?? "../../target/debug/plimsoll");

type Answer = { status: number; body?: string };

async function serve(answer: (path: string, request: IncomingMessage, body: Buffer) => Promise<Answer> | Answer): Promise<{ server: Server; url: string }> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { status, body } = await answer(request.url ?? "/", request, Buffer.concat(chunks));
    response.writeHead(status, { "content-type": "text/plain; version=0.0.4" }).end(body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function until<T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> {
  const end = Date.now() + 60_000;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < end, `not within a minute: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function freePort(): Promise<number> {
  const { server, url } = await serve(() => ({ status: 200 }));
  await new Promise((done) => server.close(done));
  return Number(new URL(url).port);
}

test("a restart is asked for by the real plimsoll, done once and verified", async (t) => {
  assert.ok(existsSync(PLIMSOLL), `${PLIMSOLL} is not there: cargo build, or set PLIMSOLL`);
  let started = Date.now() - 3_600_000;
  const restarts: string[] = [];
  const exporter = await serve(() => {
    const labels = `{id="/docker/${ID}",name="acme-web"}`;
    const percent = restarts.length > 0 ? 20 : 95;
    const lines = [`container_memory_working_set_bytes${labels} ${percent}`, `container_spec_memory_limit_bytes${labels} 100`];
    return { status: 200, body: `${lines.join("\n")}\ncontainer_start_time_seconds${labels} ${started / 1000}\n` };
  });
  let asks = 0;
  const docker = await serve((path, request) => {
    // Were it done before the request comes again, its receipt would say enough.
    if (asks < 2) return { status: 503 };
    if (request.method === "GET") {
      return { status: 200, body: JSON.stringify({ Id: ID, State: { Status: "running", StartedAt: new Date(started).toISOString() } }) };
    }
    restarts.push(path);
    started = Date.now();
    return { status: 204 };
  });

  const port = await freePort();
  const env: Env = {
    DB: await twin(),
    PLIMSOLL_SECRET: SECRET,
    PLIMSOLL_URL: `http://127.0.0.1:${port}`,
    PLIMSOLL_HOST: "web-7",
    DOCKER: { fetch: (url, init) => fetch(url, init) },
    DOCKER_URL: docker.url,
  };
  const taken: { id: string; type: string; answer: string; event: any }[] = [];
  const controlPlane = await serve(async (path, request, body) => {
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    // The oracle first: it throws at a signature that is not good.
    const event = new Webhook(SECRET).verify(body, headers) as any;
    if (event.type === "container.restart.requested") asks++;
    const heard = new Request(`http://127.0.0.1${path}`, { method: "POST", headers, body: new Uint8Array(body) });
    const answer = await worker.fetch(heard, env, { waitUntil: (work) => void work.catch(console.log) });
    const text = await answer.text();
    taken.push({ id: String(headers["webhook-id"]), type: event.type, answer: text, event });
    // The worker has it, and plimsoll never hears so: it comes again.
    if (event.type === "container.restart.requested" && asks === 1) return { status: 503 };
    return { status: answer.status, body: text };
  });

  const home = mkdtempSync(join(tmpdir(), "plimsoll-worker-"));
  const file = (name: string) => join(home, name);
  writeFileSync(file("secret"), SECRET);
  const sums = ["container_memory_working_set_bytes", "container_spec_memory_limit_bytes"].map((name) => `max by (host, name, service, tenant, role) (${name})`);
  writeFileSync(file("rules.yml"), JSON.stringify({ groups: [{ name: "g", rules: [{ alert: "High", expr: `${sums[0]} / ${sums[1]} > 0.9`, labels: { action: "restart" } }] }] }));
  writeFileSync(
    file("plimsoll.yaml"),
    `global: {scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms}
scrape_configs: [{job_name: t, static_configs: [{targets: ['${new URL(exporter.url).host}']}]}]
rule_files: [rules.yml]
web: {listen: '127.0.0.1:${port}'}
storage: {path: '${file("state")}'}
control_plane: {url: '${controlPlane.url}/webhooks/plimsoll', secret_file: secret}
host: web-7
mode: act
tenants: [{match: {name: 'acme-.*'}, tenant: acme, role: app}]
actions: {start_grace: 0s, after_change: 0s, verify: {settle: 1s}}
`,
  );
  const plimsoll = spawn(PLIMSOLL, ["run", "--config", file("plimsoll.yaml")], { stdio: ["ignore", "pipe", "pipe"], env: { NO_COLOR: "1" } });
  let log = "";
  plimsoll.stdout.on("data", (text) => (log += text));
  plimsoll.stderr.on("data", (text) => (log += text));
  const ended = new Promise((done) => plimsoll.on("exit", done));
  t.after(async () => {
    plimsoll.kill("SIGTERM");
    await ended;
    for (const { server } of [exporter, docker, controlPlane]) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(home, { recursive: true });
  });

  const of = (type: string) => taken.filter((one) => one.type === type);
  try {
    await until("the restart is verified", () => of("action.verified")[0]);
  } catch (error) {
    throw new Error(`${error}\n${log}`);
  }
  const [asked, again] = of("container.restart.requested");
  assert.ok(asked && again, "it came twice");
  assert.deepEqual([again.id, again.answer], [asked.id, asked.answer], "under one id, with one answer");
  assert.equal(JSON.parse(asked.answer).decision, "accepted");
  assert.equal(asked.event.data.evidence.container.id, ID);
  assert.deepEqual(restarts, [`/containers/${ID}/restart`]);
  const { verification } = of("action.verified")[0]!.event.data;
  assert.equal(verification.result, "effective");
  assert.deepEqual([verification.delivery_id, verification.change_id], [asked.id, `change-${asked.id}`]);
  // plimsoll took the receipt, once.
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await until("the receipt is counted", async () => /plimsoll_receipts_total\{decision="done"\} 1\b/.test(await metrics()));
  const rows = (await env.DB.prepare("SELECT told FROM actions").all()).results;
  assert.deepEqual(rows, [{ told: 1 }]);
  const stored = Number((await env.DB.prepare("SELECT count(*) AS n FROM webhooks").all()).results[0]?.n);
  assert.equal(stored, new Set(taken.map((one) => one.id)).size, "each webhook once");
});
