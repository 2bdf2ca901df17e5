//! The window on disk: a bounded copy that spares a restart the wait for ranges to fill.
//!
//! It is a convenience, not a record: written at SIGTERM and every 30 s by the shell, read once at
//! start, thrown away when it is damaged, old or of another format. Layout, all numbers
//! little-endian: the magic `plimwin1`; then per series the byte length of the packed labels (u32),
//! the number of samples (u32), the labels, the samples (i64 milliseconds, f64 bits); then a series
//! with both numbers zero, and the FNV-1a checksum (u64) of every 64-bit word before it.

use super::store::Window;
use crate::base::{Labels, Sample, Timestamp};

const MAGIC: &[u8; 8] = b"plimwin1";

/// Why a checkpoint was not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another format, or not a checkpoint at all.
    #[error("it is not a window checkpoint of this version")]
    Foreign,
    /// It ends too early, or its checksum does not fit.
    #[error("it is damaged")]
    Damaged,
}

impl Window {
    /// The window as bytes.
    pub fn to_checkpoint(&self) -> Vec<u8> {
        let usage = self.usage();
        let mut out = Vec::with_capacity(usage.bytes + 64);
        out.extend_from_slice(MAGIC);
        for (labels, samples) in self.all().filter(|(_, samples)| !samples.is_empty()) {
            let packed = labels.as_packed();
            push_u32(&mut out, packed.len());
            push_u32(&mut out, samples.len());
            out.extend_from_slice(packed.as_bytes());
            for sample in samples {
                out.extend_from_slice(&sample.at.0.to_le_bytes());
                out.extend_from_slice(&sample.value.to_bits().to_le_bytes());
            }
        }
        push_u32(&mut out, 0);
        push_u32(&mut out, 0);
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Fills an empty window from a checkpoint, as far as its caps allow. Returns the time of the
    /// newest sample. On an error nothing was added.
    pub fn restore_checkpoint(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<Timestamp>, CheckpointError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(CheckpointError::Foreign)?;
        let (body, sum) = body.split_last_chunk::<8>().ok_or(CheckpointError::Damaged)?;
        if checksum(&bytes[..bytes.len() - 8]) != u64::from_le_bytes(*sum) {
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

fn push_u32(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("a series has fewer than 2^32 bytes and samples");
    out.extend_from_slice(&number.to_le_bytes());
}

/// FNV-1a over 64-bit words: it guards against torn writes, not against malice.
fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
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

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = filled().to_checkpoint();
        let mut window = empty();
        assert_eq!(window.restore_checkpoint(&bytes), Ok(Some(Timestamp(30_000))));
        assert_eq!(window.to_checkpoint(), bytes);
    }

    #[test]
    fn every_damage_is_seen_and_adds_nothing() {
        let good = filled().to_checkpoint();
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
