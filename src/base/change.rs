//! What the core wants made durable, and the proof that it was.
//!
//! The core never writes: it returns [`Change`]s with each step, the journal commits them in order
//! and answers with a [`Receipt`]. An edge may leave the house only once a receipt covers the batch
//! that contains it.

/// A table of the journal. The numbers are part of the durable format and never change meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Table {
    /// Schema version, time of the last evaluation, counters.
    Meta,
    /// One row per live or recently resolved alert.
    Alerts,
    /// Cool-downs, budgets, episodes, windows of the policy.
    Guards,
    /// Deliveries waiting for the Control Plane.
    Outbox,
    /// Deliveries given up, kept for `plimsoll outbox retry`.
    Dead,
}

impl Table {
    /// Every table, in a fixed order.
    pub const ALL: [Table; 5] =
        [Table::Meta, Table::Alerts, Table::Guards, Table::Outbox, Table::Dead];

    /// The table's name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Alerts => "alerts",
            Table::Guards => "guards",
            Table::Outbox => "outbox",
            Table::Dead => "dead",
        }
    }
}

/// One row written (`Some`) or removed (`None`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which table.
    pub table: Table,
    /// The row's key; keys sort as the rows should be read back.
    pub key: String,
    /// The row, as JSON, or its removal.
    pub value: Option<Vec<u8>>,
}

/// The number of a batch of changes: batches are numbered from 1 and committed in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Batch(pub u64);

/// Proof that every batch up to this one is durable. Only a journal makes one (`tests/tidy.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    upto: Batch,
}

impl Receipt {
    /// Called by a journal after its commit has returned.
    pub fn of(upto: Batch) -> Receipt {
        Receipt { upto }
    }

    /// The newest batch that is durable.
    pub fn upto(self) -> Batch {
        self.upto
    }
}
