// What was taken, done and told, in D1. Every promise of "once" is a constraint or one conditional
// statement here; nothing rests on two requests not coming at the same time.

/** How long a webhook is remembered. plimsoll asks for four days; an action is remembered so long after
 *  it expired, and its receipt is tried so long. No signature is believed for more than five minutes, so
 *  a stranger can repeat neither. */
export const KEPT_MS = 8 * 86_400_000;
/** Tasks of one run: the rest is there next time, and Cloudflare counts the requests of a run. */
const TASKS_MAX = 16;
/** Another task is at a restart of the container of this one, or has ended one since this was decided: the
 *  look at the container may be older. */
const IS_BUSY = `EXISTS (SELECT 1 FROM actions AS other
  WHERE other.container = actions.container AND other.started_at IS NOT NULL
    AND (other.outcome IS NULL OR (other.outcome <> 'declined' AND other.ended_at >= actions.asked_at)))`;

/** As much of Cloudflare's D1 as is needed; the tests have a twin over SQLite. */
export interface Database {
  prepare(sql: string): Statement;
  /** All or nothing, in order. */
  batch(statements: Statement[]): Promise<{ results: Row[] }[]>;
}

export interface Statement {
  bind(...values: (string | number | null)[]): Statement;
  all(): Promise<{ results: Row[] }>;
}

export type Row = Record<string, string | number | null>;

/** Something to be done to a container. Times are Unix milliseconds. */
export interface Task {
  dedupKey: string;
  deliveryId: string;
  container: string;
  askedAt: number;
  expiresAt: number;
}

/** What follows from a webhook. */
export interface Decision {
  /** What is said the first time, and to the same action under another id. */
  answers: { first: string; again: string };
  /** What is to be done. */
  task: Task | null;
  /** The `dedup_key` of what is not to be done any more. */
  cancels: string | null;
}

/** A task that is not over. */
export interface Open extends Task {
  /** When Docker was asked, if it was, and since when the container ran then. */
  startedAt: number | null;
  ranSince: number | null;
  done: Done | null;
  /** When it ended. */
  endedAt: number | null;
}

/** `declined`: nothing was done. `unknown`: Docker was asked, and nobody will ever know; so plimsoll,
 *  which was told `accepted`, hears no more. */
export type Outcome = "succeeded" | "failed" | "declined" | "unknown";

export interface Done {
  outcome: Outcome;
  reason: string;
}

export class Store {
  constructor(private db: Database) {}

  /** Remembers a webhook and its answer, and returns what was answered when it came first. With a task
   *  the answer is `accepted` only for the one delivery that brings its `dedup_key` first. */
  async take(id: string, event: string, { answers, task, cancels }: Decision, now: number): Promise<string> {
    const key = task?.dedupKey ?? null;
    const statements = [
      this.db
        .prepare(
          `INSERT OR IGNORE INTO webhooks (id, taken_at, event, answer)
           VALUES (?, ?, ?, CASE WHEN EXISTS (SELECT 1 FROM actions WHERE dedup_key = ?) THEN ? ELSE ? END)`,
        )
        .bind(id, now, event, key, answers.again, answers.first),
      this.db.prepare("SELECT answer FROM webhooks WHERE id = ?").bind(id),
    ];
    if (task) {
      statements.push(
        this.db
          .prepare(
            `INSERT OR IGNORE INTO actions (dedup_key, delivery_id, container, asked_at, expires_at)
             SELECT ?, ?, ?, ?, ? FROM webhooks WHERE id = ? AND answer = ?`,
          )
          // What was declined when it came first stays so, whatever would be said to it now.
          .bind(task.dedupKey, task.deliveryId, task.container, task.askedAt, task.expiresAt, id, answers.first),
      );
    }
    if (cancels !== null) statements.push(...this.cancel(cancels, id, now));
    const [, answered] = await this.db.batch(statements);
    return String(answered?.results[0]?.answer);
  }

  /** What Docker was not asked for yet is declined. Who took it back knows, but another plimsoll may have
   *  asked for the same, and waits. A request that comes after its own withdrawal finds its key taken. */
  private cancel(dedupKey: string, id: string, now: number): Statement[] {
    const reason = "it was taken back";
    return [
      this.db
        .prepare(
          `UPDATE actions SET outcome = 'declined', reason = ?, ended_at = ?
           WHERE dedup_key = ? AND started_at IS NULL AND outcome IS NULL`,
        )
        .bind(reason, now, dedupKey),
      this.db
        .prepare(
          `INSERT OR IGNORE INTO actions (dedup_key, delivery_id, container, asked_at, expires_at, outcome, reason, ended_at, told)
           VALUES (?, ?, '', ?, ?, 'declined', ?, ?, 1)`,
        )
        .bind(dedupKey, id, now, now, reason, now),
    ];
  }

  /** Tasks whose receipt plimsoll does not have yet; what is still to be done comes first. In no order
   *  otherwise, so that those that nobody takes do not always stand before the rest. */
  async open(): Promise<Open[]> {
    const sql = "SELECT * FROM actions WHERE told = 0 ORDER BY outcome IS NOT NULL, random() LIMIT ?";
    const { results } = await this.db.prepare(sql).bind(TASKS_MAX).all();
    return results.map((row) => ({
      dedupKey: String(row.dedup_key),
      deliveryId: String(row.delivery_id),
      container: String(row.container),
      askedAt: Number(row.asked_at),
      expiresAt: Number(row.expires_at),
      startedAt: row.started_at as number | null,
      ranSince: row.ran_since as number | null,
      done: row.outcome === null ? null : { outcome: row.outcome as Outcome, reason: String(row.reason) },
      endedAt: row.ended_at as number | null,
    }));
  }

  /** Claims the right to ask Docker: true for one caller only, ever; not for what was cancelled or has
   *  expired, and not if another restart stands against it. */
  async start(deliveryId: string, ranSince: number, now: number): Promise<boolean> {
    const claim = this.db.prepare(
      `UPDATE actions SET started_at = ?, ran_since = ?
       WHERE delivery_id = ? AND started_at IS NULL AND outcome IS NULL AND expires_at > ? AND NOT ${IS_BUSY}
       RETURNING delivery_id`,
    );
    return (await claim.bind(now, ranSince, deliveryId, now).all()).results.length === 1;
  }

  /** Whether another restart stands against a task that was not begun. */
  async isBusy(deliveryId: string): Promise<boolean> {
    const busy = this.db.prepare(`SELECT 1 FROM actions WHERE delivery_id = ? AND started_at IS NULL AND ${IS_BUSY}`);
    return (await busy.bind(deliveryId).all()).results.length === 1;
  }

  /** Writes down how it ended; false if another run knows more than `task`, or has done so. */
  async finish(task: Open, { outcome, reason }: Done, now: number): Promise<boolean> {
    const end = this.db.prepare(
      `UPDATE actions SET outcome = ?, reason = ?, ended_at = ?, told = ?
       WHERE delivery_id = ? AND outcome IS NULL AND started_at IS ?
       RETURNING delivery_id`,
    );
    const told = outcome === "unknown" ? 1 : 0;
    return (await end.bind(outcome, reason, now, told, task.deliveryId, task.startedAt).all()).results.length === 1;
  }

  async told(deliveryId: string): Promise<void> {
    await this.db.prepare("UPDATE actions SET told = 1 WHERE delivery_id = ?").bind(deliveryId).all();
  }

  /** Hosts whose plimsoll has given no sign of life since then, as far as webhooks are remembered. */
  async silent(since: number): Promise<string[]> {
    const sql = `SELECT coalesce(json_extract(event, '$.data.host'), 'plimsoll') AS host FROM webhooks
      WHERE iif(json_valid(event), json_extract(event, '$.type'), '') = 'sidecar.heartbeat' GROUP BY host HAVING max(taken_at) < ?`;
    const { results } = await this.db.prepare(sql).bind(since).all();
    return results.map((row) => String(row.host));
  }

  /** Forgets what is old and over. Copy it elsewhere first if it has to be proved for longer. */
  async prune(now: number): Promise<void> {
    await this.db.batch([
      this.db.prepare("DELETE FROM webhooks WHERE taken_at < ?").bind(now - KEPT_MS),
      this.db.prepare("DELETE FROM actions WHERE told = 1 AND expires_at < ?").bind(now - KEPT_MS),
    ]);
  }
}
