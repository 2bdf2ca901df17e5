// The worker by itself: what it believes, what it takes once, what it does with its hands.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import { keys, sign, verify } from "../src/signature.js";
import { Store } from "../src/store.js";
import worker, { type Env } from "../src/worker.js";
import { twin } from "./twin.js";

const SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const ID = "a".repeat(64);
const NOW = Date.now();

/** An event as plimsoll sends it, changed a little. */
function request(action: object = {}, container: object = { id: ID }): string {
  return JSON.stringify({
    type: "container.restart.requested",
    timestamp: new Date(NOW).toISOString(),
    data: {
      tenant_id: "acme",
      action: { kind: "restart", mode: "request", expires_at: new Date(NOW + 900_000).toISOString(), dedup_key: "k1", ...action },
      evidence: { container },
    },
  });
}

/** A Docker whose one container starts anew when it is told to. */
class Docker {
  asked: string[] = [];
  state = { Status: "running", StartedAt: new Date(NOW - 60_000).toISOString() };
  status = 204;

  async fetch(url: string, init?: RequestInit): Promise<Response> {
    const path = new URL(url).pathname;
    this.asked.push(`${init?.method ?? "GET"} ${path}`);
    if (init?.method !== "POST") return Response.json({ Id: ID, State: this.state });
    if (this.status === 204) this.state.StartedAt = new Date(NOW + 1000).toISOString();
    return new Response(this.status === 204 ? null : "no", { status: this.status });
  }

  posts(): string[] {
    return this.asked.filter((line) => line.startsWith("POST"));
  }
}

async function stage(docker = new Docker()) {
  const DB = await twin();
  const env: Env = { DB, PLIMSOLL_SECRET: SECRET, PLIMSOLL_URL: "http://127.0.0.1:1", DOCKER: docker, DOCKER_URL: "https://host:2376" };
  const send = async (id: string, body: string, secret = SECRET, at = Date.now(), signed = body) => {
    const [key] = await keys(secret);
    const headers = await sign(key as CryptoKey, id, signed, at);
    const work: Promise<unknown>[] = [];
    const url = "https://cp.example/webhooks/plimsoll";
    const answer = await worker.fetch(new Request(url, { method: "POST", headers, body }), env, { waitUntil: (w) => work.push(w) });
    await Promise.all(work);
    return [answer.status, await answer.text()] as const;
  };
  return { docker, env, send, store: new Store(DB) };
}

test("the signature is the one of standardwebhooks, both ways", async () => {
  const [key] = await keys(SECRET);
  const body = '{"a":"말"}';
  const headers = await sign(key as CryptoKey, "evt_1", body, NOW);
  assert.deepEqual(new Webhook(SECRET).verify(body, headers), { a: "말" });
  const theirs = new Headers({
    "webhook-id": "evt_1",
    "webhook-timestamp": String(Math.floor(NOW / 1000)),
    "webhook-signature": new Webhook(SECRET).sign("evt_1", new Date(NOW), body),
  });
  const bytes = new TextEncoder().encode(body);
  assert.equal(await verify([key as CryptoKey], theirs, bytes, NOW), true);
  assert.equal(await verify([key as CryptoKey], theirs, bytes, NOW + 302_000), false, "old");
  assert.equal(await verify([key as CryptoKey], theirs, bytes, NOW - 302_000), false, "from the future");
  assert.equal(await verify([key as CryptoKey], theirs, bytes.slice(1), NOW), false, "another body");
  assert.equal(await verify(await keys(OTHER), theirs, bytes, NOW), false, "another key");
  assert.equal(await verify(await keys(`${OTHER}\n${SECRET}\n`), theirs, bytes, NOW), true, "one of two");
  for (const nonsense of ["", "v1", "v1,", "v1,%%%", "v2,AAAA"]) {
    theirs.set("webhook-signature", nonsense);
    assert.equal(await verify([key as CryptoKey], theirs, bytes, NOW), false, nonsense);
  }
});

test("what is not believed leaves no trace", async () => {
  const { docker, send, store } = await stage();
  assert.equal((await send("evt_1", request(), OTHER))[0], 401);
  assert.equal((await send("evt_1", request(), SECRET, NOW - 400_000))[0], 401);
  assert.equal((await send("evt_1", request(), SECRET, NOW, request({ dedup_key: "k2" })))[0], 401);
  assert.equal((await send("evt_1", "[]"))[0], 422);
  assert.equal((await send("evt_1", "{"))[0], 422);
  assert.deepEqual([await store.open(), docker.asked], [[], []]);
});

test("a request is carried out once, however often and by whomever it comes", async () => {
  const { docker, send, store } = await stage();
  const all = await Promise.all([send("evt_1", request()), send("evt_1", request()), send("evt_2", request())]);
  const accepted = JSON.stringify({ decision: "accepted", change_id: "change-evt_1" });
  assert.deepEqual(all[0], [200, accepted]);
  assert.deepEqual(all[1], [200, accepted], "a repeat gets the first answer");
  assert.equal(JSON.parse(all[2][1]).decision, "declined", "the same action under another id");
  assert.deepEqual(await send("evt_1", request()), [200, accepted]);
  assert.deepEqual(docker.posts(), [`POST /containers/${ID}/restart`]);
  const [open] = await store.open();
  assert.deepEqual(open?.done, { succeeded: true, reason: "" }, "plimsoll is away, so it is not told yet");
});

test("what must not be done is not done", async () => {
  const cases: [string, string, string | undefined][] = [
    ["evt_1", request({ mode: "dry_run" }), undefined],
    ["evt_2", request({ expires_at: new Date(NOW - 1).toISOString() }), "declined"],
    ["evt_3", request({}, { name: "web" }), "declined"],
    ["evt_4", request({}, { id: "../../images/prune" }), "accepted"],
    ["evt_5", JSON.stringify({ type: "alert.firing", timestamp: "", data: {} }), undefined],
  ];
  for (const [id, body, decision] of cases) {
    const { docker, send } = await stage();
    const [status, answer] = await send(id, body);
    assert.deepEqual([status, JSON.parse(answer).decision], [200, decision], id);
    assert.deepEqual(docker.posts(), [], id);
  }
  for (const state of [{ Status: "exited" }, { StartedAt: new Date(NOW + 1).toISOString() }]) {
    const docker = new Docker();
    Object.assign(docker.state, state);
    const { send, store } = await stage(docker);
    await send("evt_1", request());
    assert.deepEqual(docker.posts(), [], JSON.stringify(state));
    assert.equal((await store.open())[0]?.done?.succeeded, false);
  }
});

/** The news that the restart `k1` is not wanted any more. */
function expired(): string {
  const event = JSON.parse(request());
  return JSON.stringify({ ...event, type: "action.expired" });
}

test("a request that is taken back is not carried out, whichever comes first", async () => {
  const docker = new Docker();
  const look = docker.fetch.bind(docker);
  docker.fetch = async () => new Response("", { status: 503 });
  const { env, send, store } = await stage(docker);
  await send("evt_1", request());
  assert.equal((await store.open()).length, 1, "Docker could not be asked yet");
  assert.deepEqual(await send("evt_2", expired()), [200, "{}"]);
  docker.fetch = look;
  const work: Promise<unknown>[] = [];
  await worker.scheduled(null, env, { waitUntil: (w) => work.push(w) });
  await Promise.all(work);
  assert.deepEqual([await store.open(), docker.posts()], [[], []]);
  assert.equal(JSON.parse((await send("evt_3", request()))[1]).decision, "declined", "what is void stays so");

  const late = await stage();
  await late.send("evt_2", expired());
  assert.equal(JSON.parse((await late.send("evt_1", request()))[1]).decision, "declined");
  assert.deepEqual(late.docker.posts(), []);
});

test("what comes between the look at Docker and the claim is in time", async () => {
  const docker = new Docker();
  const { send, store } = await stage(docker);
  const look = docker.fetch.bind(docker);
  docker.fetch = async (url, init) => {
    docker.fetch = look;
    await send("evt_2", expired());
    return look(url, init);
  };
  await send("evt_1", request());
  assert.deepEqual([await store.open(), docker.posts()], [[], []]);
});

test("what Docker was asked for is not taken back", async () => {
  const docker = new Docker();
  const { send, store } = await stage(docker);
  const look = docker.fetch.bind(docker);
  docker.fetch = async (url, init) => {
    const answer = await look(url, init);
    if (init?.method === "POST") throw new TypeError("hung up");
    return answer;
  };
  await send("evt_1", request());
  await send("evt_2", expired());
  assert.deepEqual((await store.open())[0]?.done, { succeeded: true, reason: "it was restarted" }, "its receipt is still to be sent");
});

test("a receipt is sent until it is taken, and a lost answer of Docker is not asked for again", async () => {
  const { docker, env, send, store } = await stage();
  await send("evt_1", request());
  const receipts: string[] = [];
  const statuses = [503, 409];
  const server = createServer((received, response) => {
    receipts.push(String(received.headers["webhook-id"]));
    received.resume().on("end", () => response.writeHead(statuses.shift() ?? 500).end());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  env.PLIMSOLL_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tick = async () => {
    const work: Promise<unknown>[] = [];
    await worker.scheduled(null, env, { waitUntil: (w) => work.push(w) });
    await Promise.all(work);
  };
  for (let n = 0; n < 3; n++) await tick();
  server.closeAllConnections();
  server.close();
  assert.deepEqual(receipts, ["receipt-evt_1-done", "receipt-evt_1-done"], "under one id, and then no more");
  assert.equal(docker.posts().length, 1);

  // Docker hangs up in the middle: it was asked, and what it did shows later.
  const rude = new Docker();
  const other = await stage(rude);
  const fetch = rude.fetch.bind(rude);
  rude.fetch = async (url, init) => {
    const answer = await fetch(url, init);
    if (init?.method === "POST") throw new TypeError("hung up");
    return answer;
  };
  await other.send("evt_1", request());
  assert.equal((await other.store.open())[0]?.done, null);
  await other.send("evt_3", JSON.stringify({ type: "sidecar.heartbeat", timestamp: "", data: {} }));
  assert.deepEqual((await other.store.open())[0]?.done, { succeeded: true, reason: "it was restarted" });
  assert.equal(rude.posts().length, 1);
  assert.deepEqual(await store.open(), []);
});

test("of two at once one has the word, and Docker is not asked again while nobody knows what it did", async () => {
  const { docker, env, send } = await stage();
  const { fetch } = docker;
  let looks = 0;
  let both = () => {};
  const met = new Promise<void>((done) => (both = done));
  docker.fetch = async (url, init) => {
    const answer = await fetch.call(docker, url, init);
    // Both have looked before either asks.
    if (!init?.method && ++looks === 2) both();
    if (!init?.method) await met;
    return answer;
  };
  const scheduled: Promise<unknown>[] = [];
  await Promise.all([send("evt_1", request()), send("evt_1", request())]);
  await worker.scheduled(null, env, { waitUntil: (w) => scheduled.push(w) });
  await Promise.all(scheduled);
  assert.equal(docker.posts().length, 1);

  const silent = new Docker();
  const other = await stage(silent);
  const look = silent.fetch.bind(silent);
  silent.fetch = async (url, init) => {
    if (init?.method !== "POST") return look(url, init);
    silent.asked.push("POST");
    throw new TypeError("hung up before it did anything");
  };
  await other.send("evt_1", request());
  await other.send("evt_1", request());
  assert.equal(silent.posts().length, 1);
  assert.equal((await other.store.open())[0]?.done, null, "it may still come");
});
