//! What a reading found and still stands, so that it is not read again.
//!
//! The kernel makes a file's text anew for each reading, and `memory.stat` alone takes it longer than
//! four others together. Most containers of a host do nothing most of the time. A container whose
//! memory in use and processor time are, byte for byte, what they were has run no instruction since,
//! so its other figures cannot have changed from within: throttling, page faults and OOM kills all
//! take processor time of its own, the death of a process that somebody else's want of memory kills
//! included.
//!
//! What changes from outside is bounded. After-effects (a quota's last period, a stall that goes on)
//! are waited for: a container is at rest only when a second reading of everything has found what the
//! first found. Reclaim that moves pages between lists without freeing any, pages written back and
//! limits set by hand show when everything is read again, not all containers in the same collection.
//! While the host is short of memory reclaim moves pages all the time, so everything is read each
//! time; near its limit, too (`tracked`).

use super::figures::{Figures, Pulse};
use super::sources::{CFS, CPU_USAGE, LIMITS, Parts, QUOTA, USAGE};
use crate::base::Timestamp;
use crate::containers::ContainerId;

/// Limits stand no longer: they change when somebody sets them, and Docker tells of most such changes.
const LIMITS_MS: i64 = 60_000;
/// The rest stands no longer, however still a container is: what others do to it is late by as much.
const REST_MS: i64 = 30_000;
/// Of the hash by which containers are spread over that time (FNV-1a).
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// One reading for collections and one for pages, which ask for more.
const READERS: usize = 2;

/// When a container is read, and how the host is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub at: Timestamp,
    /// Whether the kernel takes memory from whoever has some.
    pub is_short: bool,
}

/// What was read last, for each set of figures that somebody asks for.
#[derive(Debug)]
pub(super) struct Kept {
    /// So much later than others' all of this container is read again, milliseconds.
    phase: i64,
    readings: Vec<Reading>,
}

/// A reading.
#[derive(Debug)]
pub(super) struct Reading {
    /// What was asked for.
    parts: Parts,
    figures: Figures,
    pulse: Pulse,
    /// When the limits were read.
    limits_at: Timestamp,
    /// When the rest was.
    rest_at: Timestamp,
    /// Whether the reading before it found the same.
    is_at_rest: bool,
}

/// Whether these parts can tell that a container is at rest.
pub(super) fn tell_rest(parts: Parts) -> bool {
    parts & USAGE != 0 && parts & CPU_USAGE != 0
}

impl Kept {
    pub fn new(id: &ContainerId) -> Kept {
        let spread = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        let phase = id.as_str().bytes().fold(0, spread) % LIMITS_MS.unsigned_abs();
        Kept { phase: phase as i64, readings: Vec::new() }
    }

    /// Takes out what was read when the same was asked for.
    pub fn take(&mut self, parts: Parts) -> Option<Reading> {
        let at = self.readings.iter().position(|reading| reading.parts == parts)?;
        Some(self.readings.swap_remove(at))
    }

    /// Which of a reading's figures still stand, given the pulse at this moment.
    pub fn standing(&self, reading: &Reading, pulse: &Pulse, now: Moment) -> Parts {
        let stands = |read_at: Timestamp, span: i64| {
            let span_of = |at: Timestamp| (at.0 + self.phase).div_euclid(span);
            span_of(read_at) == span_of(now.at)
        };
        if !stands(reading.limits_at, LIMITS_MS) {
            return 0;
        }
        let is_still = reading.is_at_rest && reading.pulse == *pulse;
        if is_still && !now.is_short && stands(reading.rest_at, REST_MS) {
            return Parts::MAX;
        }
        // Who has no quota has no periods either (`columns`).
        let has_quota = reading.parts & QUOTA == 0 || reading.figures.quota.is_some();
        if has_quota { LIMITS } else { LIMITS | CFS }
    }

    /// Keeps what was found now, where `standing` was taken from the reading `before`. Returns whether the
    /// reading before found the same: the container is at rest.
    pub fn put(
        &mut self,
        before: Option<Reading>,
        (parts, standing): (Parts, Parts),
        figures: &Figures,
        (pulse, now): (Pulse, Moment),
    ) -> bool {
        let reading = match before {
            Some(before) if standing == Parts::MAX => before,
            before => {
                let is_known = figures.usage.is_some() && figures.cpu_seconds.is_some();
                let same = before.as_ref().is_some_and(|before| before.figures == *figures);
                let limits = before.filter(|_| standing != 0).map(|before| before.limits_at);
                Reading {
                    parts,
                    figures: figures.clone(),
                    pulse,
                    limits_at: limits.unwrap_or(now.at),
                    rest_at: now.at,
                    is_at_rest: same && is_known,
                }
            }
        };
        if self.readings.len() == READERS {
            self.readings.remove(0);
        }
        let is_at_rest = reading.is_at_rest;
        self.readings.reserve_exact(1);
        self.readings.push(reading);
        is_at_rest
    }

    /// Nothing stands any more.
    pub fn clear(&mut self) {
        self.readings.clear();
    }
}

impl Reading {
    /// Gives the figures that stand.
    pub fn fill(&self, standing: Parts, figures: &mut Figures) {
        if standing == Parts::MAX {
            figures.clone_from(&self.figures);
        } else if standing & LIMITS != 0 {
            figures.take_limits(&self.figures);
        }
    }
}
