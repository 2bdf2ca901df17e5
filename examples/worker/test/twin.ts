// D1's twin for tests: the same SQL over SQLite in memory, one statement or batch at a time.

import { readFileSync } from "node:fs";
import initSqlJs, { type Sqlite } from "sql.js";
import type { Database, Row, Statement } from "../src/store.js";

class Bound implements Statement {
  constructor(private db: Sqlite, private sql: string, private values: (string | number | null)[] = []) {}

  bind(...values: (string | number | null)[]): Statement {
    return new Bound(this.db, this.sql, values);
  }

  async all(): Promise<{ results: Row[] }> {
    return this.now();
  }

  now(): { results: Row[] } {
    const prepared = this.db.prepare(this.sql);
    try {
      prepared.bind(this.values);
      const results: Row[] = [];
      while (prepared.step()) results.push(prepared.getAsObject());
      return { results };
    } finally {
      prepared.free();
    }
  }
}

export async function twin(): Promise<Database> {
  const sqlite = new (await initSqlJs()).Database();
  sqlite.run(readFileSync("schema.sql", "utf8"));
  return {
    prepare: (sql) => new Bound(sqlite, sql),
    async batch(statements) {
      sqlite.run("BEGIN");
      try {
        const answers = (statements as Bound[]).map((statement) => statement.now());
        sqlite.run("COMMIT");
        return answers;
      } catch (error) {
        sqlite.run("ROLLBACK");
        throw error;
      }
    },
  };
}
