// What was accepted is carried out by Docker's API, once, and its receipt is sent until it is taken.

import { sign } from "./signature.js";
import type { Done, Open, Store } from "./store.js";

/** What Docker was asked for has happened by then, or never will. */
const SETTLED_AFTER_MS = 90_000;

export interface Hands {
  store: Store;
  /** Docker's remote API: on Cloudflare the `fetch` of a binding with a client certificate. */
  docker: (path: string, init?: RequestInit) => Promise<Response>;
  /** plimsoll's own address. */
  plimsoll: string;
  key: CryptoKey;
}

/** Does what can be done now; what cannot is left for the next time. */
export async function work(hands: Hands, now: () => number): Promise<void> {
  for (const task of await hands.store.open()) {
    try {
      const done = task.done ?? (await carryOut(hands, task, now));
      if (!done) continue;
      await hands.store.finish(task.deliveryId, done);
      if (await tell(hands, task, done, now())) await hands.store.told(task.deliveryId);
    } catch (error) {
      console.log(`${task.deliveryId}: ${error}`);
    }
  }
}

/** What became of it; nothing while that is open. */
async function carryOut(hands: Hands, task: Open, now: () => number): Promise<Done | null> {
  const failed = (reason: string): Done => ({ succeeded: false, reason });
  // Anything but an id could name another path of the API.
  if (!/^[0-9a-f]{64}$/.test(task.container)) return failed("this is no container's id");
  const seen = await hands.docker(`/containers/${task.container}/json`);
  if (seen.status === 404) return failed("the container is gone");
  if (!seen.ok) throw new Error(`Docker answers ${seen.status}`);
  const { State: state } = (await seen.json()) as { State: { Status: string; StartedAt: string } };
  const anew = Date.parse(state.StartedAt) > task.askedAt;
  if (task.startedAt !== null) {
    if (anew) return { succeeded: true, reason: "it was restarted" };
    return now() - task.startedAt > SETTLED_AFTER_MS ? failed("Docker was asked, and did not do it") : null;
  }
  if (now() >= task.expiresAt) return failed("it expired before it could be done");
  if (anew) return failed("it was started anew since this was asked");
  // Somebody stopped it, and a restart would undo that.
  if (state.Status !== "running") return failed("it does not run");
  // Whoever else is at it has the word.
  if (!(await hands.store.start(task.deliveryId, now()))) return null;
  const restarted = await hands.docker(`/containers/${task.container}/restart`, { method: "POST" });
  if (restarted.ok) return { succeeded: true, reason: "" };
  return failed(`Docker answers ${restarted.status}: ${(await restarted.text()).trim()}`);
}

/** Sends the receipt; whether it need not be sent again. One id is one receipt. */
async function tell(hands: Hands, task: Open, done: Done, now: number): Promise<boolean> {
  const body = JSON.stringify({
    delivery_id: task.deliveryId,
    decision: "done",
    outcome: done.succeeded ? "succeeded" : "failed",
    change_id: `change-${task.deliveryId}`,
    reason: done.reason,
  });
  const headers = await sign(hands.key, `receipt-${task.deliveryId}-done`, body, now);
  const answer = await fetch(`${hands.plimsoll}/api/v1/plimsoll/receipts`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  // 409: taken before, and the answer was lost. 400, 404 and 413 would be answered so for ever.
  return answer.ok || [400, 404, 409, 413].includes(answer.status);
}
