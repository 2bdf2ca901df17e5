// What was taken, done and told, in D1. Every promise of "once" is a constraint or one conditional
// statement here; nothing rests on two requests not coming at the same time.

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
  /** When Docker was asked, if it was. */
  startedAt: number | null;
  done: Done | null;
}

export interface Done {
  succeeded: boolean;
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
          .prepare("INSERT OR IGNORE INTO actions (dedup_key, delivery_id, container, asked_at, expires_at) VALUES (?, ?, ?, ?, ?)")
          .bind(task.dedupKey, task.deliveryId, task.container, task.askedAt, task.expiresAt),
      );
    }
    if (cancels !== null) statements.push(...this.cancel(cancels, id, now));
    const [, answered] = await this.db.batch(statements);
    return String(answered?.results[0]?.answer);
  }

  /** What Docker was not asked for yet is over, without a receipt: plimsoll said so itself. A request
   *  that comes after its own withdrawal finds its key taken. */
  private cancel(dedupKey: string, id: string, now: number): Statement[] {
    const reason = "plimsoll took it back";
    return [
      this.db
        .prepare(
          `UPDATE actions SET succeeded = 0, reason = ?, told = 1
           WHERE dedup_key = ? AND started_at IS NULL`,
        )
        .bind(reason, dedupKey),
      this.db
        .prepare(
          `INSERT OR IGNORE INTO actions (dedup_key, delivery_id, container, asked_at, expires_at, succeeded, reason, told)
           VALUES (?, ?, '', ?, ?, 0, ?, 1)`,
        )
        .bind(dedupKey, id, now, now, reason),
    ];
  }

  /** Tasks whose receipt plimsoll does not have yet. */
  async open(): Promise<Open[]> {
    const { results } = await this.db.prepare("SELECT * FROM actions WHERE told = 0 ORDER BY asked_at").all();
    return results.map((row) => ({
      dedupKey: String(row.dedup_key),
      deliveryId: String(row.delivery_id),
      container: String(row.container),
      askedAt: Number(row.asked_at),
      expiresAt: Number(row.expires_at),
      startedAt: row.started_at === null ? null : Number(row.started_at),
      done: row.succeeded === null ? null : { succeeded: row.succeeded === 1, reason: String(row.reason) },
    }));
  }

  /** Claims the right to ask Docker: true for one caller only, ever, and not for what was cancelled. */
  async start(deliveryId: string, now: number): Promise<boolean> {
    const claim = this.db.prepare("UPDATE actions SET started_at = ? WHERE delivery_id = ? AND started_at IS NULL AND succeeded IS NULL RETURNING delivery_id");
    return (await claim.bind(now, deliveryId).all()).results.length === 1;
  }

  async finish(deliveryId: string, done: Done): Promise<void> {
    const sql = "UPDATE actions SET succeeded = ?, reason = ? WHERE delivery_id = ? AND succeeded IS NULL";
    await this.db.prepare(sql).bind(done.succeeded ? 1 : 0, done.reason, deliveryId).all();
  }

  async told(deliveryId: string): Promise<void> {
    await this.db.prepare("UPDATE actions SET told = 1 WHERE delivery_id = ?").bind(deliveryId).all();
  }
}
