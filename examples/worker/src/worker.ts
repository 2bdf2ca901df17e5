// A Control Plane for plimsoll on Cloudflare Workers: verify, de-duplicate, answer, work, tell.
//
// README.md names the bindings. A cron trigger calls `scheduled`, which takes up what was left.

import { read } from "./read.js";
import { keys, verify } from "./signature.js";
import { type Database, type Decision, Store } from "./store.js";
import { type Hands, work } from "./work.js";

/** plimsoll's bodies are under 20,000 bytes. */
const BODY_BYTES_MAX = 64 << 10;
/** Cloudflare ends what follows an answer after 30 s; the cron trigger has a quarter of an hour. */
const STOPS_WITHIN_MS = 15_000;
/** plimsoll's `heartbeat_interval`, and how many of its heartbeats may be missed. */
const HEARTBEAT_INTERVAL_MS = 60_000;
const MISSED = 3;

export interface Env {
  DB: Database;
  PLIMSOLL_SECRET: string;
  PLIMSOLL_URL: string;
  /** What plimsoll calls its `host`, if requests about others are to be declined. */
  PLIMSOLL_HOST?: string;
  DOCKER: { fetch(url: string, init?: RequestInit): Promise<Response> };
  DOCKER_URL: string;
}

interface Context {
  waitUntil(work: Promise<unknown>): void;
}

/** As much of docs/events.schema.json as is needed here. */
interface Event {
  type: string;
  timestamp: string;
  data: {
    host?: string | null;
    action?: { kind: string; mode: string; expires_at: string; dedup_key: string } | null;
    evidence?: { container?: { id?: string | null } | null } | null;
  };
}

export default {
  async fetch(request: Request, env: Env, context: Context): Promise<Response> {
    if (request.method !== "POST" || new URL(request.url).pathname !== "/webhooks/plimsoll") {
      return new Response("not here", { status: 404 });
    }
    const body = await read(request, BODY_BYTES_MAX);
    if (!body) return new Response("no event is so long", { status: 413 });
    try {
      const hands = await equip(env, STOPS_WITHIN_MS);
      // Over the raw bytes, before anything is parsed.
      if (!(await verify(hands.keys, request.headers, body, Date.now()))) {
        return new Response("no signature matches, or it is old", { status: 401 });
      }
      const id = request.headers.get("webhook-id") as string;
      const text = new TextDecoder().decode(body);
      const event = parse(text);
      // Sent again it would be no better: it becomes a dead letter of plimsoll's.
      if (!event) return new Response("not an event", { status: 422 });
      const decision = decide(event, id, env.PLIMSOLL_HOST, Date.now());
      const answer = await hands.store.take(id, text, decision, Date.now());
      context.waitUntil(work(hands, Date.now));
      return new Response(answer, { headers: { "content-type": "application/json" } });
    } catch (error) {
      // A binding is missing, or the database is away: it comes again until somebody has mended that.
      console.log(`a webhook was not taken: ${error}`);
      return new Response("not now", { status: 500 });
    }
  },

  async scheduled(_event: unknown, env: Env, context: Context): Promise<void> {
    const hands = await equip(env, Infinity);
    context.waitUntil(work(hands, Date.now));
    // By itself: what cannot be forgotten must not end a run that waits for Docker.
    context.waitUntil(hands.store.prune(Date.now()));
    context.waitUntil(listen(hands.store, Date.now()));
  },
};

/** Says at each run whose plimsoll is silent; a real one wakes somebody up here. */
async function listen(store: Store, now: number): Promise<void> {
  for (const host of await store.silent(now - MISSED * HEARTBEAT_INTERVAL_MS)) {
    console.log(`no heartbeat of ${host} for ${MISSED} intervals`);
  }
}

async function equip(env: Env, stopsWithinMs: number): Promise<Hands> {
  const names = ["DB", "PLIMSOLL_SECRET", "PLIMSOLL_URL", "DOCKER", "DOCKER_URL"] as const;
  const missing = names.filter((name) => !env[name]);
  if (missing.length > 0) throw new Error(`${missing.join(", ")} must be bound`);
  // No host has this name, so whoever bound it meant another.
  if (env.PLIMSOLL_HOST === "") throw new Error("PLIMSOLL_HOST needs a name");
  const [docker, plimsoll] = [env.DOCKER_URL, env.PLIMSOLL_URL].map((url) => url.replace(/\/+$/, "")) as [string, string];
  return {
    store: new Store(env.DB),
    docker: (path, init) => env.DOCKER.fetch(docker + path, { redirect: "manual", ...init }),
    plimsoll,
    keys: await keys(env.PLIMSOLL_SECRET),
    stopsWithinMs,
  };
}

/** Fields that are not known are no fault; those that are needed and missing are. */
function parse(text: string): Event | null {
  try {
    const event = JSON.parse(text) as Event;
    const { action } = event.data;
    const needed: unknown[] = [event.type, event.timestamp];
    if (action) needed.push(action.kind, action.mode, action.expires_at, action.dedup_key);
    return needed.every((field) => typeof field === "string") ? event : null;
  } catch {
    return null;
  }
}

function decide(event: Event, id: string, host: string | undefined, now: number): Decision {
  const { action, evidence } = event.data;
  const say = (first: object) => ({ first: JSON.stringify(first), again: declined("this was asked before, or taken back") });
  const news = { answers: say({}), task: null, cancels: null };
  // Only restarts are carried out here, so there is nothing else to be cancelled.
  if (event.type === "action.expired" && action?.kind === "restart") return { ...news, cancels: action.dedup_key };
  if (event.type !== "container.restart.requested" || action?.mode !== "request") return news;
  const refuse = (reason: string) => ({ ...news, answers: say({ decision: "declined", reason }) });
  // A rule may leave its host out. The id then decides: no other Docker has such a container.
  const theirs = event.data.host ?? host;
  if (host && theirs !== host) return refuse(`this Control Plane restarts containers of ${host} only`);
  const [askedAt, expiresAt] = [Date.parse(event.timestamp), Date.parse(action.expires_at)];
  if (Number.isNaN(askedAt) || Number.isNaN(expiresAt)) return refuse("its times cannot be read");
  if (expiresAt <= now) return refuse("it has expired");
  const container = evidence?.container?.id;
  // Anything but an id could name another path of Docker's API.
  if (typeof container !== "string" || !/^[0-9a-f]{64}$/.test(container)) return refuse("it does not say which container, by Docker's whole id");
  const task = { dedupKey: action.dedup_key, deliveryId: id, container, askedAt, expiresAt };
  return { answers: say({ decision: "accepted", change_id: `change-${id}` }), task, cancels: null };
}

function declined(reason: string): string {
  return JSON.stringify({ decision: "declined", reason });
}
