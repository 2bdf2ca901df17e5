// A Control Plane for plimsoll on Cloudflare Workers: verify, de-duplicate, answer, work, tell.
//
// Bindings: `DB` (D1, with schema.sql), `PLIMSOLL_SECRET` (whsec_…), `PLIMSOLL_URL`, `DOCKER` (an mTLS
// certificate binding) and `DOCKER_URL`. A cron trigger calls `scheduled`, which takes up what was left.

import { keys, verify } from "./signature.js";
import { type Database, type Decision, Store } from "./store.js";
import { type Hands, work } from "./work.js";

export interface Env {
  DB: Database;
  PLIMSOLL_SECRET: string;
  PLIMSOLL_URL: string;
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
    action?: { kind: string; mode: string; expires_at: string; dedup_key: string };
    evidence?: { container?: { id?: string } };
  };
}

export default {
  async fetch(request: Request, env: Env, context: Context): Promise<Response> {
    if (request.method !== "POST" || new URL(request.url).pathname !== "/webhooks/plimsoll") {
      return new Response("not here", { status: 404 });
    }
    const body = new Uint8Array(await request.arrayBuffer());
    // Over the raw bytes, before anything is parsed.
    if (!(await verify(await keys(env.PLIMSOLL_SECRET), request.headers, body, Date.now()))) {
      return new Response("no signature matches, or it is old", { status: 401 });
    }
    const id = request.headers.get("webhook-id") as string;
    const text = new TextDecoder().decode(body);
    let answer: string;
    try {
      const decision = decide(JSON.parse(text) as Event, id, Date.now());
      answer = await new Store(env.DB).take(id, text, decision, Date.now());
    } catch (error) {
      // It comes again; one that is no event at all becomes a dead letter of plimsoll's.
      const unreadable = error instanceof SyntaxError || error instanceof TypeError;
      return new Response(String(error), { status: unreadable ? 422 : 500 });
    }
    context.waitUntil(hands(env).then((hands) => work(hands, Date.now)));
    return new Response(answer, { headers: { "content-type": "application/json" } });
  },

  async scheduled(_event: unknown, env: Env, context: Context): Promise<void> {
    context.waitUntil(hands(env).then((hands) => work(hands, Date.now)));
  },
};

async function hands(env: Env): Promise<Hands> {
  const [key] = await keys(env.PLIMSOLL_SECRET);
  return {
    store: new Store(env.DB),
    docker: (path, init) => env.DOCKER.fetch(env.DOCKER_URL + path, init),
    plimsoll: env.PLIMSOLL_URL,
    key: key as CryptoKey,
  };
}

function decide(event: Event, id: string, now: number): Decision {
  const { action, evidence } = event.data;
  const say = (first: object) => ({ first: JSON.stringify(first), again: declined("this was asked before, or taken back") });
  const news = { answers: say({}), task: null, cancels: null };
  // Only restarts are carried out here, so there is nothing else to be cancelled.
  if (event.type === "action.expired" && action?.kind === "restart") return { ...news, cancels: action.dedup_key };
  if (event.type !== "container.restart.requested" || action?.mode !== "request") return news;
  const [askedAt, expiresAt] = [Date.parse(event.timestamp), Date.parse(action.expires_at)];
  const container = evidence?.container?.id;
  const refuse = (reason: string) => ({ ...news, answers: say({ decision: "declined", reason }) });
  if (!(expiresAt > now) || Number.isNaN(askedAt)) return refuse("it has expired");
  if (!container) return refuse("it does not say which container, by Docker's id");
  const task = { dedupKey: action.dedup_key, deliveryId: id, container, askedAt, expiresAt };
  return { answers: say({ decision: "accepted", change_id: `change-${id}` }), task, cancels: null };
}

function declined(reason: string): string {
  return JSON.stringify({ decision: "declined", reason });
}
