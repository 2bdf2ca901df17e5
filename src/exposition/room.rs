//! The memory that all targets' series caches share.
//!
//! A [`Room`] is one number: what the caches of one scraper may cost together. Whoever would pass it
//! is refused, unless it has no more than its equal part; who has more than that gives way, at its
//! next page at the latest. So the largest fails first and a small target never fails for another's
//! page, at the price of a moment in which the caches together pass the room by what the small ones
//! needed. Counts alone: nothing here waits or locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What the caches of all targets may cost together, and do.
#[derive(Debug)]
pub struct Room {
    limit_bytes: AtomicUsize,
    used_bytes: AtomicUsize,
    caches: AtomicUsize,
}

/// One cache's part of the room; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Default for Room {
    /// Without bound.
    fn default() -> Room {
        Room {
            limit_bytes: AtomicUsize::new(usize::MAX),
            used_bytes: AtomicUsize::new(0),
            caches: AtomicUsize::new(0),
        }
    }
}

impl Share {
    /// A part of nothing yet.
    pub fn of(room: &Arc<Room>) -> Share {
        room.caches.fetch_add(1, Relaxed);
        Share { room: Arc::clone(room), bytes: 0 }
    }

    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Sets what all may cost together.
    pub fn bound(&self, limit_bytes: usize) {
        self.room.limit_bytes.store(limit_bytes, Relaxed);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes what this cache costs now.
    pub fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.room.used_bytes.fetch_add(more, Relaxed),
            None => self.room.used_bytes.fetch_sub(self.bytes - bytes, Relaxed),
        };
        self.bytes = bytes;
    }

    /// The bound, if it is passed and this cache has more than its equal part.
    pub fn passed(&self) -> Option<usize> {
        let limit = self.room.limit_bytes.load(Relaxed);
        let part = limit / self.room.caches.load(Relaxed).max(1);
        (self.room.used_bytes.load(Relaxed) > limit && self.bytes > part).then_some(limit)
    }

    /// Whether half of the room is taken.
    pub fn is_half_full(&self) -> bool {
        self.room.used_bytes.load(Relaxed) > self.room.limit_bytes.load(Relaxed) / 2
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.room.caches.fetch_sub(1, Relaxed);
    }
}
