// The worker by itself: what it believes, what it takes once, what it does with its hands.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { Webhook } from "standardwebhooks";
import { keys, sign, verify } from "../src/signature.js";
import { type Open, Store } from "../src/store.js";
import { type State, verdict, work } from "../src/work.js";
import worker, { type Env } from "../src/worker.js";
import { twin } from "./twin.js";

const SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const ID = "a".repeat(64);
const NOW = Date.now();

/** An event as plimsoll sends it, changed a little. */
function request(action: object = {}, container: object = { id: ID }, host: string | null = "web-7"): string {
  return JSON.stringify({
    type: "container.restart.requested",
    timestamp: new Date(NOW).toISOString(),
    data: {
      host,
      tenant_id: "acme",
      action: { kind: "restart", mode: "request", expires_at: new Date(NOW + 900_000).toISOString(), dedup_key: "k1", ...action },
      evidence: { container },
    },
  });
}

/** A Docker whose one container starts anew when it is told to, whatever it answers then. */
class Docker {
  asked: string[] = [];
  state = { Status: "running", StartedAt: new Date(NOW - 60_000).toISOString() };
  config = {};
  obeys = true;
  answer: () => Response = () => new Response(null, { status: 204 });
  /** What it says to a look instead of how the container is. */
  look: (() => Response) | null = null;
  /** How the container is after a restart, if it does not run. */
  after = "running";

  async fetch(url: string, init?: RequestInit): Promise<Response> {
    assert.equal(init?.redirect, "manual", "a restart goes nowhere else");
    const path = new URL(url).pathname;
    this.asked.push(`${init.method ?? "GET"} ${path}`);
    if (init.method !== "POST" && this.look) return this.look();
    if (init.method !== "POST") return Response.json({ Id: ID, State: this.state, Config: this.config });
    this.state.Status = this.after;
    if (this.obeys) this.state.StartedAt = new Date(NOW + 1000).toISOString();
    return this.answer();
  }

  posts(): string[] {
    return this.asked.filter((line) => line.startsWith("POST"));
  }
}

/** Runs what the worker leaves behind, to its end. */
async function settled<T>(run: (context: { waitUntil(work: Promise<unknown>): void }) => Promise<T>): Promise<T> {
  const work: Promise<unknown>[] = [];
  const result = await run({ waitUntil: (one) => work.push(one) });
  await Promise.all(work);
  return result;
}

async function stage(docker = new Docker()) {
  const DB = await twin();
  const env: Env = { DB, PLIMSOLL_SECRET: SECRET, PLIMSOLL_URL: "http://127.0.0.1:1", DOCKER: docker, DOCKER_URL: "https://host:2376/" };
  const post = async (headers: Record<string, string>, body: BodyInit) => {
    const request = new Request("https://cp.example/webhooks/plimsoll", { method: "POST", headers, body, duplex: "half" } as RequestInit);
    const answer = await settled((context) => worker.fetch(request, env, context));
    return [answer.status, await answer.text()] as const;
  };
  const send = async (id: string, body: string, secret = SECRET, at = Date.now(), signed = body) => {
    const [key] = await keys(secret);
    return post(await sign(key as CryptoKey, id, signed, at), body);
  };
  const tick = () => settled((context) => worker.scheduled(null, env, context));
  return { docker, env, post, send, tick, store: new Store(DB) };
}

/** A plimsoll that answers receipts. */
async function receiver(env: Env, status: (id: string) => number | Promise<number>) {
  const receipts: { id: string; body: any }[] = [];
  const server = createServer(async (received, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of received) chunks.push(chunk as Buffer);
    const id = String(received.headers["webhook-id"]);
    receipts.push({ id, body: JSON.parse(Buffer.concat(chunks).toString()) });
    response.writeHead(await status(id), { location: "/elsewhere" }).end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  env.PLIMSOLL_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { receipts, close };
}

/** What is logged meanwhile. */
function logged(t: TestContext): string[] {
  const lines: string[] = [];
  t.mock.method(console, "log", (line: string) => void lines.push(line));
  return lines;
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
  const code = theirs.get("webhook-signature") as string;
  for (const [others, good] of [[7, true], [8, false]] as const) {
    theirs.set("webhook-signature", "v1,AAAA ".repeat(others) + code);
    assert.equal(await verify([key as CryptoKey], theirs, bytes, NOW), good, "of thousands not all are computed");
  }
  theirs.set("webhook-signature", code);
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
  assert.deepEqual(open?.done, { outcome: "succeeded", reason: "" }, "plimsoll is away, so it is not told yet");
});

test("a key that others could guess, or a binding that is missing, is nobody's dead letter", async (t) => {
  const lines = logged(t);
  const short = `whsec_${btoa("x".repeat(23))}`;
  for (const secrets of ["", SECRET.slice(6), `${SECRET} x`, btoa("x".repeat(48)), short, "whsec_%%%", `${SECRET} ${SECRET} ${SECRET}`]) {
    await assert.rejects(keys(secrets), (error: Error) => !error.message.includes(SECRET.slice(6, 12)), secrets);
    const { env, send } = await stage();
    env.PLIMSOLL_SECRET = secrets;
    assert.deepEqual(await send("evt_1", request()), [500, "not now"], secrets);
  }
  assert.equal((await keys(`${SECRET}\n\n${OTHER}\n`)).length, 2);
  for (const name of ["DB", "PLIMSOLL_URL", "DOCKER", "DOCKER_URL"] as const) {
    const { env, send } = await stage();
    delete (env as Partial<Env>)[name];
    assert.deepEqual(await send("evt_1", request()), [500, "not now"], name);
    assert.match(lines.at(-1) ?? "", new RegExp(`: ${name} must be bound`));
  }
  const unnamed = await stage();
  unnamed.env.PLIMSOLL_HOST = "";
  assert.deepEqual(await unnamed.send("evt_1", request()), [500, "not now"], "and checks no host");
  const { env, send } = await stage();
  env.DB.batch = async () => {
    throw new TypeError("D1 is not there");
  };
  assert.deepEqual(await send("evt_1", request()), [500, "not now"]);
});

test("a body is bounded before it is read, and signed before it is parsed", async () => {
  const { post, send } = await stage();
  const long = "x".repeat((64 << 10) + 1);
  assert.equal((await post({}, long))[0], 413);
  assert.equal((await post({ "content-length": "65537" }, "{}"))[0], 413);
  let pulled = 0;
  const endless = new ReadableStream({ pull: (stream) => stream.enqueue(new Uint8Array(1024).fill(++pulled)) });
  assert.equal((await post({}, endless))[0], 413);
  assert.ok(pulled < 80, "no more than that is taken in");
  assert.equal((await post({}, long.slice(1)))[0], 401);
  assert.equal((await send("evt_1", long.slice(1)))[0], 422);
});

test("what is no event is a dead letter", async () => {
  const { send } = await stage();
  const event = { type: "alert.firing", timestamp: "", data: {} };
  assert.equal((await send("evt_1", JSON.stringify(event)))[0], 200);
  for (const wrong of ["{", "null", "[]", { ...event, data: null }, { ...event, type: 1 }, { ...event, data: { action: {} } }]) {
    assert.equal((await send("evt_2", typeof wrong === "string" ? wrong : JSON.stringify(wrong)))[0], 422, JSON.stringify(wrong));
  }
  assert.equal((await send("evt_2", request({ dedup_key: 1 })))[0], 422);
});

test("what is not for this Docker is declined and reaches no URL", async () => {
  const cases: [string, string | undefined][] = [
    [request({ mode: "dry_run" }), undefined],
    [JSON.stringify({ type: "alert.firing", timestamp: "", data: {} }), undefined],
    [request({ expires_at: new Date(NOW - 1).toISOString() }), "it has expired"],
    [request({ expires_at: "soon" }), "its times cannot be read"],
    [request({}, ID as unknown as object), "it does not say which container, by Docker's whole id"],
    [request({}, { id: ID }, "web-8"), "this Control Plane restarts containers of web-7 only"],
  ];
  for (const id of [undefined, "", "web", "../../images/prune", ID.slice(52), `${ID}a`, ID.toUpperCase(), `${ID}\n`, [ID]]) {
    cases.push([request({}, { id }), "it does not say which container, by Docker's whole id"]);
  }
  for (const [body, reason] of cases) {
    const { docker, env, send, tick } = await stage();
    env.PLIMSOLL_HOST = "web-7";
    const [status, answer] = await send("evt_1", body);
    assert.deepEqual([status, JSON.parse(answer)], [200, reason ? { decision: "declined", reason } : {}], body);
    await tick();
    assert.deepEqual(docker.asked, [], body);
  }
  for (const [ours, theirs] of [[undefined, "web-8"], ["web-7", null]] as const) {
    const { docker, env, send } = await stage();
    env.PLIMSOLL_HOST = ours;
    await send("evt_1", request({}, { id: ID }, theirs));
    assert.equal(docker.posts().length, 1, `${ours} ${theirs}`);
  }
});

const TASK: Open = { dedupKey: "k", deliveryId: "evt_1", container: ID, askedAt: 1000, expiresAt: 9000, startedAt: null, ranSince: null, done: null, endedAt: null };
const MEANT: State = { running: true, startedAt: 500, stopsWithinMs: 10_000 };

test("only what was meant is restarted, and what was not is declined", () => {
  const is = (seen: State | "gone" | "silent", now = 8999) => {
    const step = verdict(TASK, seen, now);
    return step === "wait" ? step : "restart" in step ? "restart" : step.outcome;
  };
  assert.equal(is(MEANT), "restart");
  assert.equal(is("silent"), "wait", "Docker may come back in time");
  for (const seen of [{ ...MEANT, startedAt: 1001 }, { ...MEANT, running: false }, "gone"] as const) assert.equal(is(seen), "declined");
  for (const seen of [MEANT, "silent"] as const) assert.equal(is(seen, 9000), "declined");
});

test("what Docker was asked for has failed only once it can happen no more", () => {
  // It is told by the start, not by clocks: Docker's may be behind.
  const task = { ...TASK, startedAt: 2000, ranSince: 500 };
  const endless = { ...MEANT, stopsWithinMs: 86_400_000 };
  const cases: [State | "gone" | "silent", number, string | undefined][] = [
    [{ ...MEANT, startedAt: 501 }, 0, "succeeded"],
    [MEANT, 99_999, undefined],
    [{ ...MEANT, running: false }, 99_999, undefined],
    [MEANT, 100_000, "failed"],
    [endless, 86_399_999, undefined],
    [endless, 86_400_000, "unknown"],
    ["silent", 86_399_999, undefined],
    ["silent", 86_400_000, "unknown"],
    ["gone", 0, "unknown"],
  ];
  for (const [seen, since, want] of cases) {
    const step = verdict(task, seen, 2000 + since);
    assert.equal(typeof step === "object" && "outcome" in step ? step.outcome : undefined, want, `${JSON.stringify(seen)} ${since}`);
  }
});

test("an answer of Docker that is lost, or a proxy's, is no failure", async (t) => {
  logged(t);
  const proxies = [408, 500, 502, 503, 504, 520, 524].map((status) => () => new Response("<html>", { status }));
  const cut = () => new Response(new ReadableStream({ start: (stream) => stream.error(new TypeError("cut off")) }), { status: 500 });
  const hungUp = () => {
    throw new TypeError("hung up");
  };
  for (const answer of [...proxies, cut, hungUp]) {
    const { docker, send, store, tick } = await stage();
    docker.answer = answer;
    await send("evt_1", request());
    assert.deepEqual((await store.open()).map((task) => task.done), [null], "nothing is said yet");
    await tick();
    assert.equal((await store.open())[0]?.done?.outcome, "succeeded");
    assert.equal(docker.posts().length, 1);
  }
});

test("what Docker refuses is declined, and what it could not do has failed", async () => {
  const body = JSON.stringify({ message: "no\n".repeat(500) });
  for (const [status, outcome] of [[307, "declined"], [403, "declined"], [404, "declined"], [409, "declined"], [500, "failed"]] as const) {
    const { docker, send, store } = await stage();
    Object.assign(docker, { obeys: false, answer: () => new Response(body, { status }) });
    await send("evt_1", request());
    const done = (await store.open())[0]?.done;
    assert.equal(done?.outcome, outcome, String(status));
    assert.ok(done.reason.length < 250 && !done.reason.includes("\n"), done.reason);
  }
});

test("what Docker refuses halfway has failed", async () => {
  for (const status of [400, 403, 404, 409]) {
    for (const [obeys, after] of [[false, "exited"], [true, "running"]] as const) {
      const { docker, send, store } = await stage();
      const answer = () => Response.json({ message: "network not found" }, { status });
      Object.assign(docker, { obeys, after, answer });
      await send("evt_1", request());
      const [open] = await store.open();
      assert.deepEqual(open?.done, { outcome: "failed", reason: `Docker answers ${status}: network not found` }, after);
    }
  }
});

test("what is cut is cut between letters", async () => {
  const { docker, send, store } = await stage();
  Object.assign(docker, { obeys: false, answer: () => Response.json({ message: `x${"😀".repeat(300)}` }, { status: 500 }) });
  await send("evt_1", request());
  const { reason } = (await store.open())[0]?.done as { reason: string };
  assert.equal(reason, `Docker answers 500: x${"😀".repeat(199)}`);
});

test("what a proxy says of a container says nothing about it", async (t) => {
  logged(t);
  const state = { Status: "running", StartedAt: new Date(NOW - 60_000).toISOString() };
  const cases: [() => Response, string | undefined][] = [
    [() => Response.json({ message: "No such container" }, { status: 404 }), "the container is gone"],
    [() => new Response("", { status: 404 }), undefined],
    [() => new Response("404 page not found", { status: 404 }), undefined],
    [() => Response.json({}), undefined],
    [() => Response.json({ State: state }), undefined],
  ];
  for (const [look, reason] of cases) {
    const { docker, send, store } = await stage();
    docker.look = look;
    await send("evt_1", request());
    const [open] = await store.open();
    assert.deepEqual([open?.done?.reason, docker.posts()], [reason, []], await look().text());
  }
});

test("a restart may take as long as the container and a while, and no longer than its run", async (t) => {
  logged(t);
  const within: number[] = [];
  t.mock.method(AbortSignal, "timeout", (ms: number) => {
    within.push(ms);
    return new AbortController().signal;
  });
  const { docker, send, tick } = await stage();
  docker.config = { StopTimeout: 15 };
  await send("evt_1", request());
  assert.deepEqual(within, [10_000, 105_000, 15_000], "the look, the restart, the receipt");
  for (const [StopTimeout, ms] of [[16, 106_000], [-1, 840_000]] as const) {
    const slow = await stage();
    slow.docker.config = { StopTimeout };
    await slow.send("evt_1", request());
    assert.deepEqual(slow.docker.posts(), [], "after an answer there is not time enough");
    within.length = 0;
    await slow.tick();
    assert.deepEqual(within.slice(0, 2), [10_000, ms]);
    assert.equal(slow.docker.posts().length, 1);
  }
});

test("a container that only has the name is another", async () => {
  const { docker, send, store } = await stage();
  await send("evt_1", request({}, { id: "b".repeat(64) }));
  assert.deepEqual([(await store.open())[0]?.done?.reason, docker.posts()], ["the container is gone", []]);
});

test("of two runs the one that knows less has nothing to say", async () => {
  const { store } = await stage();
  const take = (key: string, askedAt: number) => {
    const task = { dedupKey: key, deliveryId: `evt_${key}`, container: ID, askedAt, expiresAt: 9000 };
    return store.take(task.deliveryId, "", { answers: { first: "", again: "" }, task, cancels: null }, askedAt);
  };
  await take("a", 1000);
  const open = async (id: string) => (await store.open()).find((task) => task.deliveryId === id) as Open;
  const stale = await open("evt_a");
  assert.equal(await store.start("evt_a", 500, 9000), false, "it has expired");
  assert.equal(await store.start("evt_a", 500, 8999), true);
  assert.equal(await store.finish(stale, { outcome: "declined", reason: "it expired" }, 8999), false, "meanwhile Docker was asked");
  await take("b", 1000);
  assert.equal(await store.start("evt_b", 500, 8000), false, "this container is being restarted");
  assert.equal(await store.isBusy("evt_b"), true);
  assert.equal(await store.isBusy("evt_a"), false, "nobody else is at it");
  const claimed = await open("evt_a");
  assert.deepEqual([claimed.startedAt, claimed.ranSince], [8999, 500]);
  assert.equal(await store.finish(claimed, { outcome: "succeeded", reason: "" }, 9500), true);
  assert.equal(await store.finish(claimed, { outcome: "failed", reason: "" }, 9500), false, "one end is enough");
  assert.equal(await store.start("evt_b", 500, 8000), false, "its look may be older than the restart");
  await take("c", 9500);
  assert.equal(await store.start("evt_c", 500, 8999), false, "nor did it look after the end");
  await take("d", 9501);
  assert.equal(await store.start("evt_d", 500, 8999), true, "what was decided later is another matter");
  assert.equal(await store.finish(await open("evt_d"), { outcome: "declined", reason: "" }, 9600), true);
  await take("e", 9550);
  assert.equal(await store.start("evt_e", 500, 8999), true, "Docker did nothing");
});

test("a run that was overtaken, or knows nothing, tells nothing", async (t) => {
  logged(t);
  const { docker, env, send, store, tick } = await stage();
  const { receipts, close } = await receiver(env, () => 200);
  const look = docker.fetch.bind(docker);
  const gone = () => Response.json({ message: "No such container" }, { status: 404 });
  docker.fetch = async () => {
    docker.fetch = look;
    await store.start("evt_1", Date.parse(docker.state.StartedAt), Date.now());
    return gone();
  };
  await send("evt_1", request());
  assert.equal((await store.open())[0]?.done, null, "another run has asked Docker meanwhile");
  docker.fetch = async () => gone();
  await tick();
  assert.deepEqual([await store.open(), receipts], [[], []], "the container is gone, restarted or not");
  close();
});

test("receipts that are not taken do not hold up what is to be done", async () => {
  const { store } = await stage();
  for (let n = 0; n < 20; n++) {
    const task = { dedupKey: `k${n}`, deliveryId: `evt_${n}`, container: ID, askedAt: n, expiresAt: 99 };
    await store.take(task.deliveryId, "", { answers: { first: "", again: "" }, task, cancels: null }, n);
    if (n < 19) await store.finish({ ...TASK, deliveryId: task.deliveryId }, { outcome: "declined", reason: "" }, n);
  }
  const seen = new Set<string | undefined>();
  for (let run = 0; run < 100; run++) {
    const open = await store.open();
    assert.deepEqual([open.length, open[0]?.deliveryId], [16, "evt_19"]);
    for (const task of open) seen.add(task.deliveryId);
  }
  assert.equal(seen.size, 20, "and each has its turn");
});

test("what expires before it is claimed was in nobody's way", async (t) => {
  logged(t);
  const { docker, env, store } = await stage();
  docker.state.StartedAt = new Date(500).toISOString();
  await store.take("evt_1", "", { answers: { first: "", again: "" }, task: TASK, cancels: null }, 1000);
  let at = 8998;
  const ask = (path: string, init: RequestInit) => docker.fetch(`http://docker${path}`, { redirect: "manual", ...init });
  const hands = { store, docker: ask, plimsoll: env.PLIMSOLL_URL, keys: await keys(SECRET), stopsWithinMs: Infinity };
  const run = () => work(hands, () => ++at);
  await run();
  assert.deepEqual([at, (await store.open())[0]?.done], [9000, null]);
  await run();
  assert.equal((await store.open())[0]?.done?.reason, "it expired before it could be done");
  assert.deepEqual(docker.posts(), []);
});

test("a database that is slow does not make Docker be asked too late", async () => {
  const { docker, env, send, store } = await stage();
  const { prepare } = env.DB;
  env.DB.prepare = (sql) => {
    const statement = prepare.call(env.DB, sql);
    if (!sql.includes("SET started_at")) return statement;
    const bind = statement.bind.bind(statement);
    statement.bind = (...values) => {
      const bound = bind(...values);
      const all = bound.all.bind(bound);
      bound.all = async () => {
        const claimed = await all();
        await new Promise((done) => setTimeout(done, 300));
        return claimed;
      };
      return bound;
    };
    return statement;
  };
  await send("evt_1", request({ expires_at: new Date(Date.now() + 250).toISOString() }));
  assert.deepEqual([docker.posts(), (await store.open())[0]?.done?.outcome], [[], "declined"]);
});

test("what is told is what happened, and one receipt holds up no other", async (t) => {
  const lines = logged(t);
  const { env, store, tick } = await stage();
  const statuses: Record<string, number> = { "receipt-evt_failed": 404, "receipt-evt_declined": 307, "receipt-evt_old": 413 };
  let release = (_status: number) => {};
  const slow = new Promise<number>((done) => (release = done));
  const { receipts, close } = await receiver(env, (id) => (id === "receipt-evt_slow" ? slow : (statuses[id] ?? 200)));
  for (const key of ["slow", "succeeded", "failed", "declined", "unknown", "old"]) {
    const task = { dedupKey: key, deliveryId: `evt_${key}`, container: ID, askedAt: NOW, expiresAt: NOW };
    await store.take(task.deliveryId, "", { answers: { first: "", again: "" }, task, cancels: null }, NOW);
    const open = (await store.open()).find((one) => one.deliveryId === task.deliveryId) as Open;
    const outcome = key === "slow" || key === "old" ? "succeeded" : (key as "failed");
    await store.finish(open, { outcome, reason: "why" }, key === "old" ? Date.now() - 8 * 86_400_000 : Date.now());
  }
  const ticked = tick();
  const left = async () => (await store.open()).map((task) => task.dedupKey).sort().join();
  for (let n = 0; (await left()) !== "declined,failed,slow"; n++) {
    assert.ok(n < 500, await left());
    await new Promise((done) => setTimeout(done, 10));
  }
  release(200);
  await ticked;
  assert.equal(await left(), "declined,failed", "no refusal is the last word, for eight days");
  close();
  const told = Object.fromEntries(receipts.map(({ id, body }) => [id, body]));
  assert.deepEqual(told["receipt-evt_succeeded"], { delivery_id: "evt_succeeded", decision: "done", outcome: "succeeded", change_id: "change-evt_succeeded", reason: "why" });
  assert.deepEqual([told["receipt-evt_failed"].decision, told["receipt-evt_failed"].outcome], ["done", "failed"]);
  assert.deepEqual(told["receipt-evt_declined"], { delivery_id: "evt_declined", decision: "declined", reason: "why" });
  assert.equal(receipts.length, 5, "what nobody knows is not told");
  assert.deepEqual(lines.sort(), ["evt_declined: plimsoll does not take the receipt: status 307", "evt_failed: plimsoll does not take the receipt: status 404", "evt_old: plimsoll does not take the receipt: status 413", "evt_old: the receipt is given up"]);
});

test("a receipt that nobody answers is given up in the end, too", async (t) => {
  const lines = logged(t);
  const { send, env, store, tick } = await stage();
  await send("evt_1", request());
  await tick();
  assert.equal((await store.open()).length, 1);
  await env.DB.prepare("UPDATE actions SET ended_at = ?").bind(Date.now() - 8 * 86_400_000).all();
  await tick();
  assert.deepEqual([await store.open(), lines.at(-1)], [[], "evt_1: the receipt is given up"]);
});

test("what cannot be forgotten ends no run", async (t) => {
  logged(t);
  const { docker, env, send, store } = await stage();
  docker.config = { StopTimeout: 16 };
  await send("evt_1", request());
  env.DB.batch = async () => {
    throw new TypeError("D1 is not there");
  };
  const left: Promise<unknown>[] = [];
  await worker.scheduled(null, env, { waitUntil: (one) => left.push(one) });
  const ends = await Promise.allSettled(left);
  assert.deepEqual(ends.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  assert.equal((await store.open())[0]?.done?.outcome, "succeeded");
});

test("what is old and over is forgotten, and nothing else", async (t) => {
  logged(t);
  const { env, store, tick } = await stage();
  const old = Date.now() - 8 * 86_400_000;
  const young = old + 60_000;
  for (const [key, takenAt, expiresAt] of [["old", old, old], ["open", old, old], ["valid", old, young], ["young", young, young]] as const) {
    const task = { dedupKey: key, deliveryId: `evt_${key}`, container: ID, askedAt: 0, expiresAt };
    await store.take(task.deliveryId, "", { answers: { first: "", again: "" }, task, cancels: null }, takenAt);
    if (key !== "open") await store.told(task.deliveryId);
  }
  await new Promise((done) => setTimeout(done, 5));
  await tick();
  const rows = async (sql: string) => (await env.DB.prepare(sql).all()).results.map((row) => String(row.key)).sort();
  assert.deepEqual(await rows("SELECT id AS key FROM webhooks"), ["evt_young"]);
  assert.deepEqual(await rows("SELECT dedup_key AS key FROM actions"), ["open", "valid", "young"]);
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
  const { env, send, store, tick } = await stage(docker);
  await send("evt_1", request());
  assert.equal((await store.open()).length, 1, "Docker could not be asked yet");
  assert.deepEqual(await send("evt_2", expired()), [200, "{}"]);
  docker.fetch = look;
  const { receipts, close } = await receiver(env, () => 200);
  await tick();
  close();
  assert.deepEqual([await store.open(), docker.posts()], [[], []]);
  const told = { delivery_id: "evt_1", decision: "declined", reason: "it was taken back" };
  assert.deepEqual(receipts.map(({ body }) => body), [told], "another plimsoll may wait for it");
  await send("evt_4", expired());
  assert.deepEqual(await store.open(), [], "which is said once");
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
  assert.deepEqual([(await store.open()).map((task) => task.done?.reason), docker.posts()], [["it was taken back"], []]);
});

test("what was declined when it came first is not carried out when it comes again", async () => {
  const { docker, env, send, store, tick } = await stage();
  env.PLIMSOLL_HOST = "web-8";
  const [, declined] = await send("evt_1", request());
  assert.equal(JSON.parse(declined).decision, "declined");
  env.PLIMSOLL_HOST = "web-7";
  assert.deepEqual(await send("evt_1", request()), [200, declined]);
  await tick();
  assert.deepEqual([await store.open(), docker.posts()], [[], []]);
});

test("by two requests one container is restarted once, and the other hears why", async (t) => {
  logged(t);
  const { docker, send, store } = await stage();
  const fetch = docker.fetch.bind(docker);
  docker.fetch = async (url, init) => {
    const seen = await fetch(url, init);
    docker.fetch = fetch;
    await send("evt_2", request({ dedup_key: "k2" }));
    return seen;
  };
  await send("evt_1", request());
  const ends = (await store.open()).map((task) => [task.done?.outcome, task.done?.reason]).sort();
  const busy = "another restart of this container was asked for meanwhile";
  assert.deepEqual(ends, [["declined", busy], ["succeeded", ""]], "whoever came first");
  assert.equal(docker.posts().length, 1);
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
  assert.deepEqual((await store.open())[0]?.done, { outcome: "succeeded", reason: "it was restarted" }, "its receipt is still to be sent");
});

test("what has ended is not ended again by its withdrawal", async (t) => {
  logged(t);
  const { docker, send, store } = await stage();
  docker.state.Status = "exited";
  await send("evt_1", request());
  await send("evt_2", expired());
  assert.equal((await store.open())[0]?.done?.reason, "the container does not run");
});

test("a receipt is sent until it is taken", async (t) => {
  logged(t);
  const { docker, env, send, store, tick } = await stage();
  await send("evt_1", request());
  const statuses = [503, 409];
  const { receipts, close } = await receiver(env, () => statuses.shift() ?? 500);
  for (let n = 0; n < 3; n++) await tick();
  close();
  assert.deepEqual(receipts.map(({ id }) => id), ["receipt-evt_1", "receipt-evt_1"], "under one id, and then no more");
  assert.deepEqual([docker.posts().length, await store.open()], [1, []]);
});

test("of two at once one has the word, and Docker is not asked again while nobody knows what it did", async () => {
  const { docker, send, tick } = await stage();
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
  await Promise.all([send("evt_1", request()), send("evt_1", request())]);
  await tick();
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

test("a plimsoll whose heartbeats end is told of", async (t) => {
  const { env, send, tick } = await stage();
  const lines = logged(t);
  const beat = (host: string) => JSON.stringify({ type: "sidecar.heartbeat", timestamp: new Date(NOW).toISOString(), data: { host } });
  await send("evt_1", beat("web-7"));
  await send("evt_2", beat("web-8"));
  await tick();
  assert.deepEqual(lines, []);
  await env.DB.prepare("UPDATE webhooks SET taken_at = taken_at - ? WHERE id = ?").bind(180_001, "evt_1").all();
  await tick();
  assert.deepEqual(lines, ["no heartbeat of web-7 for 3 intervals"]);
  await send("evt_3", beat("web-7"));
  await tick();
  assert.equal(lines.length, 1);
});
