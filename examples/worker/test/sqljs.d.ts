declare module "sql.js" {
  export interface Prepared {
    bind(values: (string | number | null)[]): boolean;
    step(): boolean;
    getAsObject(): Record<string, string | number | null>;
    free(): void;
  }
  export interface Sqlite {
    run(sql: string): void;
    prepare(sql: string): Prepared;
  }
  export default function initSqlJs(): Promise<{ Database: new () => Sqlite }>;
}
