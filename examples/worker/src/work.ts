// What was accepted is carried out by Docker's API, once, and its receipt is sent until it is taken.

import { read } from "./read.js";
import { sign } from "./signature.js";
import { type Done, KEPT_MS, type Open, type Outcome, type Store } from "./store.js";

/** What Docker was asked for has happened so long after the container must have stopped, or never will. */
const SETTLED_AFTER_MS = 90_000;
/** Who has not seen by then what Docker did sees no more what came of it: plimsoll watches a day at most. */
const WATCHED_MS = 86_400_000;
/** Docker waits so long for a container to stop unless that one says otherwise. */
const STOP_TIMEOUT_S = 10;
const LOOK_WITHIN_MS = 10_000;
const TELL_WITHIN_MS = 15_000;
/** A cron trigger's run ends after a quarter of an hour. */
const LONGEST_MS = 14 * 60_000;
/** Of Docker's answers: what is read, and how much of a refusal is kept. */
const BYTES_MAX = 4 << 20;
const WHY_CHARS_MAX = 200;

export interface Hands {
  store: Store;
  /** Docker's remote API: on Cloudflare the `fetch` of a binding with a client certificate. */
  docker: (path: string, init: RequestInit) => Promise<Response>;
  /** plimsoll's own address. */
  plimsoll: string;
  /** One, or two while the secret is being changed; receipts are signed with the first. */
  keys: CryptoKey[];
  /** What takes longer to stop is left to a run that may last longer. */
  stopsWithinMs: number;
}

export interface State {
  running: boolean;
  startedAt: number;
  stopsWithinMs: number;
}

/** Does what can be done now; what cannot is left for the next time. None waits for another. */
export async function work(hands: Hands, now: () => number): Promise<void> {
  const one = async (task: Open) => {
    const done = task.done ?? (await carryOut(hands, task, now));
    if (!done) return;
    // Another run may have come further meanwhile: then this one knows nothing.
    if (!task.done && !(await hands.store.finish(task, done, now()))) return;
    if (done.outcome !== "unknown" && (await tell(hands, task, done, now()))) await hands.store.told(task.deliveryId);
  };
  const tasks = await hands.store.open();
  await Promise.all(tasks.map((task) => one(task).catch((error) => console.log(`${task.deliveryId}: ${error}`))));
}

/** What became of it; nothing while that is open. Docker is asked once: if its answer is lost, or this
 *  run ends meanwhile, the container shows later what happened. */
async function carryOut(hands: Hands, task: Open, now: () => number): Promise<Done | null> {
  const seen = await look(hands, task.container).catch((error) => {
    console.log(`${task.deliveryId}: Docker cannot be asked: ${error}`);
    return "silent" as const;
  });
  const step = verdict(task, seen, now());
  if (step === "wait") return null;
  if (!("restart" in step)) return step;
  const { startedAt, stopsWithinMs } = step.restart;
  // Who hangs up early may leave the container stopped.
  if (stopsWithinMs > hands.stopsWithinMs) return null;
  const at = now();
  if (!(await hands.store.start(task.deliveryId, startedAt, at))) {
    // Or another run is at this one, and has the word.
    return (await hands.store.isBusy(task.deliveryId)) ? BUSY : null;
  }
  task.startedAt = at;
  // The database may have taken long.
  if (now() >= task.expiresAt) return EXPIRED;
  try {
    const within = AbortSignal.timeout(Math.min(stopsWithinMs + SETTLED_AFTER_MS, LONGEST_MS));
    const answer = await hands.docker(`/containers/${task.container}/restart`, { method: "POST", signal: within });
    return await restarted(hands, task.container, startedAt, answer);
  } catch (error) {
    console.log(`${task.deliveryId}: what Docker did shows later: ${error}`);
    return null;
  }
}

async function look(hands: Hands, container: string): Promise<State | "gone"> {
  const answer = await hands.docker(`/containers/${container}/json`, { signal: AbortSignal.timeout(LOOK_WITHIN_MS) });
  const said = await text(answer);
  // A proxy's says nothing about the container.
  if (answer.status === 404 && message(said) !== null) return "gone";
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  const seen = JSON.parse(said);
  if (typeof seen.Id !== "string") throw new Error("it does not say which container it is");
  // Docker looks for a name where it knows no such id.
  if (seen.Id !== container) return "gone";
  const startedAt = Date.parse(seen.State.StartedAt);
  if (Number.isNaN(startedAt)) throw new Error("it does not say since when it runs");
  const stopTimeout = seen.Config?.StopTimeout ?? STOP_TIMEOUT_S;
  // A negative number means "however long it takes".
  return { running: seen.State.Status === "running", startedAt, stopsWithinMs: stopTimeout < 0 ? WATCHED_MS : stopTimeout * 1000 };
}

const end = (outcome: Outcome, reason: string): Done => ({ outcome, reason });
const EXPIRED = end("declined", "it expired before it could be done");
const BUSY = end("declined", "another restart of this container was asked for meanwhile");

/** What follows from how far a task has come and how its container is; `silent` if Docker cannot be asked. */
export function verdict(task: Open, seen: State | "gone" | "silent", now: number): Done | { restart: State } | "wait" {
  if (task.startedAt === null) {
    if (now >= task.expiresAt) return EXPIRED;
    if (seen === "silent") return "wait";
    if (seen === "gone") return end("declined", "the container is gone");
    if (seen.startedAt > task.askedAt) return end("declined", "the container was started anew since this was asked");
    // Somebody stopped it, and a restart would undo that.
    return seen.running ? { restart: seen } : end("declined", "the container does not run");
  }
  const since = now - task.startedAt;
  if (seen === "gone") return end("unknown", "Docker was asked, and then the container was gone");
  if (seen !== "silent" && seen.startedAt !== task.ranSince) return end("succeeded", "it was restarted");
  if (since >= WATCHED_MS) return end("unknown", "Docker was asked, and does not say more");
  if (seen === "silent" || since < seen.stopsWithinMs + SETTLED_AFTER_MS) return "wait";
  return end("failed", "Docker was asked and did not do it");
}

/** What Docker's answer to a restart means; nothing if it is a proxy's, which does not know either. */
async function restarted(hands: Hands, container: string, ranSince: number, answer: Response): Promise<Done | null> {
  if (answer.ok) return end("succeeded", "");
  const { status } = answer;
  const said = await text(answer);
  const why = (words: string) => `Docker answers ${status}: ${[...words.trim()].slice(0, WHY_CHARS_MAX).join("")}`.replace(/[\x00-\x1f\x7f]/g, " ");
  // A proxy that says so has not passed it on, 408 excepted. Docker may have stopped the container and
  // then found that it cannot start: only what runs as before was left alone.
  if (status >= 300 && status < 500 && status !== 408) {
    const seen = await look(hands, container);
    const leftAlone = seen !== "gone" && seen.running && seen.startedAt === ranSince;
    return end(leftAlone ? "declined" : "failed", why(message(said) ?? said));
  }
  const words = status === 500 ? message(said) : null;
  return words === null ? null : end("failed", why(words));
}

/** Docker's own words; a proxy has others. */
function message(said: string): string | null {
  try {
    const { message } = JSON.parse(said);
    return typeof message === "string" ? message : null;
  } catch {
    return null;
  }
}

async function text(answer: Response): Promise<string> {
  const bytes = await read(answer, BYTES_MAX);
  if (!bytes) throw new Error("the answer does not end");
  return new TextDecoder().decode(bytes);
}

/** Sends the receipt; whether it need not be sent again. One id is one receipt. No refusal is the last word:
 *  a proxy may say anything, and plimsoll says 404 while its configuration has no `control_plane`. */
async function tell(hands: Hands, task: Open, { outcome, reason }: Done, now: number): Promise<boolean> {
  const id = task.deliveryId;
  const said = outcome === "declined" ? { decision: "declined" } : { decision: "done", outcome, change_id: `change-${id}` };
  const body = JSON.stringify({ delivery_id: id, ...said, reason });
  const headers = await sign(hands.keys[0] as CryptoKey, `receipt-${id}`, body, now);
  const answer = await fetch(`${hands.plimsoll}/api/v1/plimsoll/receipts`, {
    method: "POST",
    redirect: "manual",
    signal: AbortSignal.timeout(TELL_WITHIN_MS),
    headers: { "content-type": "application/json", ...headers },
    body,
  }).catch((error: unknown) => String(error));
  // 409: taken before, and the answer was lost.
  if (typeof answer === "object" && (answer.ok || answer.status === 409)) return true;
  console.log(`${id}: plimsoll does not take the receipt: ${typeof answer === "object" ? `status ${answer.status}` : answer}`);
  if (now - (task.endedAt ?? now) < KEPT_MS) return false;
  console.log(`${id}: the receipt is given up`);
  return true;
}
