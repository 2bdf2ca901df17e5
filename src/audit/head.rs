//! Whether a head that was told to somebody stands in a chain, and if not, what became of it.

use std::fmt;

use serde::Serialize;

use super::chain::{Chain, Link};

/// A head that is looked for among lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sought {
    hash: String,
    /// The number of its record, if that was told with it.
    sequence: Option<u64>,
    is_found: bool,
    /// Another record has its number.
    is_replaced: bool,
}

/// Why a head is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum HeadFault {
    /// Its record is older than the first that was read, and is not the one before that.
    RotatedAway {
        /// The number of the first.
        first: u64,
    },
    /// Its record is newer than the last; or there is no number, and the first of all was read.
    CutOff {
        /// The number of the last.
        last: u64,
    },
    /// Another record has its number.
    Replaced {
        /// That number.
        sequence: u64,
    },
    /// There is no record that has its number, and there are older and newer ones.
    Missing {
        /// That number.
        sequence: u64,
    },
    /// Without its number nobody can tell.
    NotHere {
        /// The number of the first that was read.
        first: u64,
    },
}

impl Sought {
    /// A hash as a heartbeat told it, and the number that was told with it.
    pub fn new(hash: &str, sequence: Option<u64>) -> Sought {
        let hash = hash.trim().to_ascii_lowercase();
        Sought { hash, sequence, is_found: false, is_replaced: false }
    }

    /// Looks at where the chain has got to with a line, and at the line if it holds.
    pub fn look(&mut self, chain: Option<&Chain>, line: Option<&Link>) {
        let is_it = |sequence: u64, hash: &str| (self.is_found || hash == self.hash, sequence);
        let mut seen = Vec::with_capacity(2);
        seen.extend(chain.map(|chain| is_it(chain.sequence, &chain.head)));
        // The first of all continues no record.
        let continued = line.filter(|link| link.n > 1);
        seen.extend(continued.map(|link| is_it(link.n - 1, &link.prev)));
        for (is_found, sequence) in seen {
            self.is_found |= is_found;
            self.is_replaced |= !is_found && self.sequence == Some(sequence);
        }
    }

    /// Why it is not there, if it is not, after lines that began and ended with these numbers.
    pub fn fault(&self, first: Option<u64>, last: Option<u64>) -> Option<HeadFault> {
        if self.is_found {
            return None;
        }
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        Some(match self.sequence {
            Some(sequence) if self.is_replaced => HeadFault::Replaced { sequence },
            Some(sequence) if sequence > last => HeadFault::CutOff { last },
            Some(sequence) if sequence < first => HeadFault::RotatedAway { first },
            Some(sequence) => HeadFault::Missing { sequence },
            None if first > 1 => HeadFault::NotHere { first },
            None => HeadFault::CutOff { last },
        })
    }
}

impl HeadFault {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            HeadFault::RotatedAway { .. } => "rotated away",
            HeadFault::CutOff { .. } => "cut off",
            HeadFault::Replaced { .. } => "forged",
            HeadFault::Missing { .. } => "missing",
            HeadFault::NotHere { .. } => "not here",
        }
    }

    /// Whether it is no proof of anything that the head is not there.
    pub fn is_innocent(self) -> bool {
        matches!(self, HeadFault::RotatedAway { .. } | HeadFault::NotHere { .. })
    }
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadFault::RotatedAway { first } => write!(
                f,
                "the head that was given is older than the first record that was read ({first}): it proves \
                 nothing any more; give a newer one"
            ),
            HeadFault::CutOff { last } => write!(
                f,
                "no record has the head that was given; records were removed from the end, or all of them \
                 written anew (the last one here is {last})"
            ),
            HeadFault::Replaced { sequence } => write!(
                f,
                "record {sequence} has another hash than the head that was given: it, or one before it, \
                 was written anew"
            ),
            HeadFault::Missing { sequence } => {
                write!(f, "record {sequence}, whose head was given, is not among those that hold")
            }
            HeadFault::NotHere { first } => write!(
                f,
                "no record from the first that was read ({first}) on has the head that was given: it is \
                 older, or the record was replaced or removed; `--sequence` with the `audit_sequence` of \
                 the same heartbeat tells which"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Check, Kind, Record};
    use crate::base::Timestamp;

    #[test]
    fn a_head_that_is_not_there_was_rotated_away_cut_off_or_replaced() {
        let mut chain = Chain::default();
        let mut heads = vec![chain.head.clone()];
        let lines: Vec<String> = (0..6)
            .map(|n| {
                let line = chain.seal(&Record::new(Timestamp(n), Kind::AuditGap));
                heads.push(chain.head.clone());
                line.expect("a number")
            })
            .collect();
        let fault = |from: usize, to: usize, hash: &str, sequence: Option<u64>| {
            let (mut check, mut sought) = (Check::default(), Sought::new(hash, sequence));
            for line in &lines[from - 1..to] {
                let found = check.take(line.as_bytes());
                sought.look(check.chain.as_ref(), found.as_ref().ok());
            }
            let last = check.chain.as_ref().map(|chain| chain.sequence);
            sought.fault(check.first, last).map(HeadFault::name)
        };
        let forged = "f".repeat(64);
        for (from, to, hash, sequence, want) in [
            (1, 6, &heads[6], None, None),
            (1, 6, &heads[2].to_uppercase(), Some(2), None),
            (1, 6, &forged, None, Some("cut off")),
            (1, 6, &heads[0], None, Some("cut off")),
            (1, 4, &heads[6], None, Some("cut off")),
            (1, 4, &heads[6], Some(6), Some("cut off")),
            (1, 6, &forged, Some(3), Some("forged")),
            (1, 6, &forged, Some(6), Some("forged")),
            // The record before the first is gone, and its hash is in the first.
            (3, 6, &heads[2], None, None),
            (3, 6, &forged, Some(2), Some("forged")),
            (3, 6, &heads[1], None, Some("not here")),
            (3, 6, &heads[1], Some(1), Some("rotated away")),
            (3, 5, &heads[6], Some(6), Some("cut off")),
        ] {
            assert_eq!(fault(from, to, hash, sequence), want, "{from} to {to}, {sequence:?}");
        }
        assert_eq!(
            Sought::new(&forged, None).fault(None, None).map(HeadFault::name),
            Some("cut off")
        );
        let hole = Sought::new(&forged, Some(4)).fault(Some(3), Some(6));
        assert_eq!(hole, Some(HeadFault::Missing { sequence: 4 }));
    }
}
