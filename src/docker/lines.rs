//! Lines out of chunks, bounded: a line that is too long costs its bound and is dropped, and whoever writes
//! nothing else is not read on.

/// A container's labels stand in every event about it.
const MOST_BYTES: usize = 1 << 20;
/// A stream of which so much, or so many lines, in a row do not read has no event to tell: its next line costs as
/// much as the last.
const MOST_UNREAD_BYTES: usize = 64 << 20;
const MOST_UNREAD_LINES: usize = 10_000;

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Whether the rest of the line under way is thrown away.
    skips: bool,
    /// Lines that were too long.
    pub dropped: u64,
    /// Since the last line that was read.
    unread_bytes: usize,
    unread_lines: usize,
}

impl Lines {
    /// Takes a chunk; calls `each` with every line that ends in it, blank ones left out, and is told whether it
    /// reads. An error says that too much does not.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), String> {
        self.unread_bytes += chunk.len();
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.hold(&rest[..end]);
            rest = &rest[end + 1..];
            if !std::mem::take(&mut self.skips) && !self.held.trim_ascii().is_empty() {
                let is_read = each(&self.held);
                self.unread_lines += 1;
                if is_read {
                    (self.unread_bytes, self.unread_lines) = (rest.len(), 0);
                }
            }
            self.held.clear();
        }
        self.hold(rest);
        match (self.unread_bytes, self.unread_lines) {
            (bytes, _) if bytes > MOST_UNREAD_BYTES => {
                Err(format!("more than {MOST_UNREAD_BYTES} bytes without a line that reads"))
            }
            (_, lines) if lines > MOST_UNREAD_LINES => {
                Err(format!("more than {MOST_UNREAD_LINES} lines in a row that do not read"))
            }
            _ => Ok(()),
        }
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
            let each = |line: &[u8]| {
                found.push(String::from_utf8_lossy(line).into_owned());
                true
            };
            lines.feed(chunk, each).expect("they read");
        }
        (found, lines.dropped)
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_the_next_one_read() {
        let long = vec![b'x'; MOST_BYTES];
        assert_eq!(lines(&[b"a\n", &long, b"y\nb\n\r\nc"]), (vec!["a".into(), "b".into()], 1));
        assert_eq!(lines(&[&long, &long, &long, b"\nb\n"]), (vec!["b".into()], 1));
    }

    /// How many chunks are taken of a stream that repeats this one; lines of one `x` read.
    fn taken(chunk: &[u8], most: usize) -> usize {
        let mut lines = Lines::default();
        (0..most).take_while(|_| lines.feed(chunk, |line| line == b"x").is_ok()).count()
    }

    #[test]
    fn a_stream_of_which_nothing_reads_is_given_up() {
        let endless = vec![b'y'; 1 << 20];
        assert_eq!(taken(&endless, 1000), 64, "one line that does not end");
        let blank = vec![b'\n'; 1 << 20];
        assert_eq!(taken(&blank, 1000), 64);
        assert_eq!(taken(b"y\n", 100_000), MOST_UNREAD_LINES);
        let mixed = [b"x\n".as_slice(), &b"y\n".repeat(2000)].concat();
        assert_eq!(taken(&mixed, 1000), 1000, "some of it reads");
        let long = [&endless[..], &endless, b"\nx\n"].concat();
        assert_eq!(taken(&long, 100), 100, "long lines cost themselves alone");
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
