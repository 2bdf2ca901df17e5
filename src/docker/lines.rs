//! Lines out of chunks, bounded: a line that does not end costs its bound and is dropped.

/// A container's labels stand in every event about it.
const MOST_BYTES: usize = 1 << 20;

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Whether the rest of the line under way is thrown away.
    skips: bool,
    /// Lines that were too long.
    pub dropped: u64,
}

impl Lines {
    /// Takes a chunk; calls `each` with every line that ends in it, blank ones left out.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.hold(&rest[..end]);
            if !std::mem::take(&mut self.skips) && !self.held.trim_ascii().is_empty() {
                each(&self.held);
            }
            self.held.clear();
            rest = &rest[end + 1..];
        }
        self.hold(rest);
    }

    fn hold(&mut self, part: &[u8]) {
        if self.skips {
            return;
        }
        if self.held.len() + part.len() > MOST_BYTES {
            self.held = Vec::new();
            self.skips = true;
            self.dropped += 1;
            return;
        }
        self.held.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, u64) {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |line| found.push(String::from_utf8_lossy(line).into_owned()));
        }
        (found, lines.dropped)
    }

    #[test]
    fn an_endless_line_is_dropped_and_the_next_one_read() {
        let long = vec![b'x'; MOST_BYTES];
        assert_eq!(lines(&[b"a\n", &long, b"y\nb\n\r\nc"]), (vec!["a".into(), "b".into()], 1));
        assert_eq!(lines(&[&long, &long, &long, b"\nb\n"]), (vec!["b".into()], 1));
    }

    proptest! {
        #[test]
        fn how_it_is_cut_does_not_matter(text in "[ab\n]{0,40}", cut in 0..40_usize) {
            let cut = cut.min(text.len());
            let (first, second) = text.as_bytes().split_at(cut);
            prop_assert_eq!(lines(&[first, second]), lines(&[text.as_bytes()]));
        }
    }
}
