-- One row for each webhook that was believed, by its webhook-id.
CREATE TABLE IF NOT EXISTS webhooks (
  id TEXT PRIMARY KEY,
  taken_at INTEGER NOT NULL,
  event TEXT NOT NULL,
  answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS webhooks_by_age ON webhooks (taken_at);

-- One row for each thing to be done, whoever asked and however often. Times are Unix milliseconds.
CREATE TABLE IF NOT EXISTS actions (
  dedup_key TEXT PRIMARY KEY,
  delivery_id TEXT NOT NULL UNIQUE,
  container TEXT NOT NULL,
  asked_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  -- Docker was asked then, or is being asked; until then the container ran since `ran_since`.
  started_at INTEGER,
  ran_since INTEGER,
  -- `succeeded`, `failed`, `declined` or `unknown` once that is known, and why.
  outcome TEXT,
  reason TEXT,
  ended_at INTEGER,
  -- plimsoll has the receipt, or gets none.
  told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS actions_by_age ON actions (told, expires_at);
CREATE INDEX IF NOT EXISTS actions_by_container ON actions (container);
