-- One row for each webhook that was believed, by its webhook-id; keep them for at least four days.
CREATE TABLE IF NOT EXISTS webhooks (
  id TEXT PRIMARY KEY,
  taken_at INTEGER NOT NULL,
  event TEXT NOT NULL,
  answer TEXT NOT NULL
);

-- One row for each thing to be done, whoever asked and however often. Times are Unix milliseconds.
CREATE TABLE IF NOT EXISTS actions (
  dedup_key TEXT PRIMARY KEY,
  delivery_id TEXT NOT NULL UNIQUE,
  container TEXT NOT NULL,
  asked_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  -- Docker was asked then, or is being asked.
  started_at INTEGER,
  -- 1 or 0 once that is known, and why.
  succeeded INTEGER,
  reason TEXT,
  -- plimsoll has the receipt.
  told INTEGER NOT NULL DEFAULT 0
);
