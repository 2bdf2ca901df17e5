//! The window on disk: a bounded copy that spares a restart the wait for ranges to fill.
//!
//! It is a convenience, not a record: written at SIGTERM and every 30 s by the shell, read once at
//! start, thrown away when it is damaged, old or of another format. Layout, all numbers
//! little-endian: the magic `plimwin1`; then per series the byte length of the packed labels (u32),
//! the number of samples (u32), the labels, the samples (i64 milliseconds, f64 bits); then a series
//! with both numbers zero, and the FNV-1a checksum (u64) of every 64-bit word before it.
//!
//! It comes in parts, so that nobody holds a second window in memory, and the window may change
//! between two of them: each series is whole, one may be newer than another.

use super::store::Window;
use crate::base::{Labels, Sample, Timestamp};

const MAGIC: &[u8; 8] = b"plimwin1";
/// A part ends with the series that fills it so far. Small beside a window, large beside a write.
const PART_BYTES: usize = 64 << 10;

/// How far a checkpoint has come.
#[derive(Debug, Default)]
pub struct CheckpointProgress {
    /// Slots of the window that were written.
    slots: usize,
    sum: Checksum,
}

/// Why a checkpoint was not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another format, or not a checkpoint at all.
    #[error("it is not a window checkpoint of this version")]
    Foreign,
    /// It ends too early, or its checksum does not fit.
    #[error("it is damaged")]
    Damaged,
    /// It was written at a time that is yet to come.
    #[error("it is newer than the clock says it is now; the clock was set back")]
    Newer,
}

impl Window {
    /// Appends the next part of the window; false once it was the last.
    pub fn checkpoint_part(&self, progress: &mut CheckpointProgress, out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        if progress.slots == 0 {
            out.extend_from_slice(MAGIC);
        }
        for slot in self.slots_from(progress.slots) {
            if out.len() - begin >= PART_BYTES {
                progress.sum.add(&out[begin..]);
                return true;
            }
            progress.slots += 1;
            let Some((labels, samples)) = slot.filter(|(_, samples)| !samples.is_empty()) else {
                continue;
            };
            push_series(out, labels, samples);
        }
        push_u32(out, 0);
        push_u32(out, 0);
        progress.sum.add(&out[begin..]);
        out.extend_from_slice(&progress.sum.total().to_le_bytes());
        false
    }

    /// Fills an empty window from a checkpoint, as far as its caps allow. Returns the time of the
    /// newest sample, which a target that stamps its own may have put anywhere. On an error nothing
    /// was added.
    pub fn restore_checkpoint(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<Timestamp>, CheckpointError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(CheckpointError::Foreign)?;
        let (body, sum) = body.split_last_chunk::<8>().ok_or(CheckpointError::Damaged)?;
        let mut seen = Checksum::default();
        seen.add(&bytes[..bytes.len() - 8]);
        if seen.total() != u64::from_le_bytes(*sum) {
            return Err(CheckpointError::Damaged);
        }
        let mut rest = body;
        let mut newest = None;
        while let Some((labels, samples)) = take_series(&mut rest)? {
            let Ok(id) = self.series(&labels) else { continue };
            for sample in samples {
                self.append(id, sample);
                newest = newest.max(Some(sample.at));
            }
        }
        Ok(newest)
    }
}

type StoredSeries = (Labels, Vec<Sample>);

fn take_series(rest: &mut &[u8]) -> Result<Option<StoredSeries>, CheckpointError> {
    let labels_bytes = take_u32(rest)?;
    let count = take_u32(rest)?;
    if labels_bytes == 0 && count == 0 {
        return Ok(None);
    }
    let packed = take(rest, labels_bytes)?;
    let packed = str::from_utf8(packed).map_err(|_| CheckpointError::Damaged)?;
    let labels = Labels::from_packed(packed).ok_or(CheckpointError::Damaged)?;
    let raw = take(rest, count.saturating_mul(16))?;
    let samples = raw.chunks_exact(16).map(|chunk| {
        let (at, bits) = chunk.split_at(8);
        let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("halves of 16 bytes"));
        Sample { at: Timestamp(word(at).cast_signed()), value: f64::from_bits(word(bits)) }
    });
    Ok(Some((labels, samples.collect())))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], CheckpointError> {
    let (part, after) = rest.split_at_checked(count).ok_or(CheckpointError::Damaged)?;
    *rest = after;
    Ok(part)
}

fn take_u32(rest: &mut &[u8]) -> Result<usize, CheckpointError> {
    let bytes: [u8; 4] = take(rest, 4)?.try_into().map_err(|_| CheckpointError::Damaged)?;
    usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| CheckpointError::Damaged)
}

fn push_series(out: &mut Vec<u8>, labels: &Labels, samples: &[Sample]) {
    let packed = labels.as_packed();
    push_u32(out, packed.len());
    push_u32(out, samples.len());
    out.extend_from_slice(packed.as_bytes());
    for sample in samples {
        out.extend_from_slice(&sample.at.0.to_le_bytes());
        out.extend_from_slice(&sample.value.to_bits().to_le_bytes());
    }
}

fn push_u32(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("a series has fewer than 2^32 bytes and samples");
    out.extend_from_slice(&number.to_le_bytes());
}

/// FNV-1a over 64-bit words, the last one filled with zeros, however the bytes were cut into parts.
/// It guards against torn writes, not against malice.
#[derive(Debug)]
struct Checksum {
    hash: u64,
    /// The bytes of the word that is not complete, and how many.
    word: [u8; 8],
    filled: usize,
}

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum { hash: 0xcbf2_9ce4_8422_2325, word: [0; 8], filled: 0 }
    }
}

impl Checksum {
    fn add(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(8 - self.filled));
            self.word[self.filled..self.filled + head.len()].copy_from_slice(head);
            self.filled += head.len();
            bytes = rest;
            if self.filled < 8 {
                return;
            }
            self.hash = mixed(self.hash, self.word);
        }
        let (words, rest) = bytes.as_chunks::<8>();
        self.hash = words.iter().fold(self.hash, |hash, word| mixed(hash, *word));
        (self.word, self.filled) = ([0; 8], rest.len());
        self.word[..rest.len()].copy_from_slice(rest);
    }

    fn total(&self) -> u64 {
        if self.filled == 0 { self.hash } else { mixed(self.hash, self.word) }
    }
}

fn mixed(hash: u64, word: [u8; 8]) -> u64 {
    (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Caps, Retention};
    use super::*;

    fn empty() -> Window {
        let retention = Retention { least: Duration::from_secs(300), ..Retention::default() };
        Window::new(Caps { max_series: 100, max_bytes: 1 << 20 }, retention)
    }

    fn filled() -> Window {
        let mut window = empty();
        for n in 0..5 {
            let labels = Labels::from_pairs([("__name__", "up"), ("n", &n.to_string())]);
            let id = window.series(&labels).expect("below the caps");
            for at in 0..7 {
                window.append(id, Sample { at: Timestamp(at * 5000), value: at as f64 });
            }
        }
        window
    }

    /// All parts, and how many.
    fn written(window: &Window) -> (Vec<u8>, usize) {
        let (mut progress, mut bytes, mut parts) = (CheckpointProgress::default(), Vec::new(), 1);
        while window.checkpoint_part(&mut progress, &mut bytes) {
            parts += 1;
        }
        (bytes, parts)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (bytes, _) = written(&filled());
        let mut window = empty();
        assert_eq!(window.restore_checkpoint(&bytes), Ok(Some(Timestamp(30_000))));
        assert_eq!(written(&window).0, bytes);
    }

    #[test]
    fn a_large_window_comes_in_parts_and_may_change_between_them() {
        let caps = Caps { max_series: 1000, max_bytes: 4 << 20 };
        let new = || Window::new(caps, Retention::default());
        let mut window = new();
        let labels = |n: usize| Labels::from_pairs([("__name__", "up"), ("n", &"7".repeat(n))]);
        for n in 0..1000 {
            let id = window.series(&labels(n)).expect("below the caps");
            window.append(id, Sample { at: Timestamp(5000), value: n as f64 });
        }
        let (bytes, parts) = written(&window);
        assert_eq!(parts, 1 + bytes.len() / PART_BYTES, "{}", bytes.len());
        let (mut progress, mut bytes) = (CheckpointProgress::default(), Vec::new());
        let mut at = 5000;
        while window.checkpoint_part(&mut progress, &mut bytes) {
            at += 5000;
            for n in 0..1000 {
                let id = window.series(&labels(n)).expect("below the caps");
                window.append(id, Sample { at: Timestamp(at), value: n as f64 });
            }
        }
        let mut restored = new();
        assert_eq!(restored.restore_checkpoint(&bytes), Ok(Some(Timestamp(at))));
        assert_eq!(restored.usage().series, 1000);
    }

    #[test]
    fn a_checksum_does_not_see_where_the_bytes_were_cut() {
        let bytes: Vec<u8> = (0..=99).collect();
        let sum = |cuts: &[usize]| {
            let (mut sum, mut from) = (Checksum::default(), 0);
            for to in cuts.iter().copied().chain([bytes.len()]) {
                sum.add(&bytes[from..to]);
                from = to;
            }
            sum.total()
        };
        for cut in 0..100 {
            assert_eq!(sum(&[cut]), sum(&[]), "cut at {cut}");
            assert_eq!(sum(&[cut / 3, cut / 2, cut]), sum(&[]), "cut thrice, last at {cut}");
        }
    }

    #[test]
    fn every_damage_is_seen_and_adds_nothing() {
        let (good, _) = written(&filled());
        for cut in [0, 4, 8, 20, good.len() - 1] {
            let mut window = empty();
            assert!(window.restore_checkpoint(&good[..cut]).is_err(), "cut at {cut}");
            assert_eq!(window.usage().series, 0);
        }
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(empty().restore_checkpoint(&bad).is_err(), "bit flipped at {at}");
        }
    }
}
