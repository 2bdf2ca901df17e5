//! The entries of a JSON array out of chunks, bounded: one that is too long costs its bound and is cut.

use super::MOST_BYTES;
use super::failure::Failure;

/// The list of five thousand containers of Compose's, with their labels, mounts and networks, is 13 MiB.
/// Whoever answers without end costs this much.
const MOST_IN_ALL: usize = 64 << 20;

/// An entry, or what it begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry<'a> {
    Whole(&'a [u8]),
    Cut(&'a [u8]),
}

/// Takes a list apart. That an entry is good JSON is for others to say: it ends where its brackets do.
#[derive(Debug, Default)]
pub(super) struct Entries {
    held: Vec<u8>,
    /// Whether the rest of the entry under way is thrown away.
    skips: bool,
    /// Brackets that are open.
    depth: usize,
    is_over: bool,
    is_in_string: bool,
    is_escaped: bool,
    /// Bytes so far, without those thrown away.
    taken: usize,
}

impl Entries {
    /// Takes a chunk; calls `each` with every entry that ends in it. An error is the list's, as a whole.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Entry<'_>)) -> Result<(), Failure> {
        for byte in chunk {
            self.taken += usize::from(!self.skips);
            if self.taken > MOST_IN_ALL {
                return Err(Failure::too_long(format!("a list of more than {MOST_IN_ALL} bytes")));
            }
            let is_text = self.is_in_string;
            if self.is_in_string {
                self.read_string(*byte);
            } else {
                self.is_in_string = *byte == b'"';
            }
            match byte {
                _ if is_text => self.hold(*byte),
                b'[' if self.depth == 0 && !self.is_over => self.depth = 1,
                _ if self.held.is_empty() && byte.is_ascii_whitespace() => {}
                _ if self.depth == 0 => return Err("no list".to_owned().into()),
                b',' if self.depth == 1 => self.end_entry(&mut each),
                b']' if self.depth == 1 => {
                    self.end_entry(&mut each);
                    (self.depth, self.is_over) = (0, true);
                }
                b'[' | b'{' => {
                    self.depth += 1;
                    self.hold(*byte);
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1).max(1);
                    self.hold(*byte);
                }
                _ => self.hold(*byte),
            }
        }
        Ok(())
    }

    /// Whether the list is over, as it must be once everything is taken.
    pub fn are_over(&self) -> bool {
        self.is_over
    }

    fn read_string(&mut self, byte: u8) {
        let was_escaped = std::mem::take(&mut self.is_escaped);
        if !was_escaped {
            self.is_escaped = byte == b'\\';
            self.is_in_string = byte != b'"';
        }
    }

    fn hold(&mut self, byte: u8) {
        match self.held.len() < MOST_BYTES {
            true => self.held.push(byte),
            false => self.skips = true,
        }
    }

    fn end_entry(&mut self, each: &mut impl FnMut(Entry<'_>)) {
        let entry = self.held.trim_ascii();
        if std::mem::take(&mut self.skips) {
            each(Entry::Cut(entry));
        } else if !entry.is_empty() {
            each(Entry::Whole(entry));
        }
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of a list that comes in these chunks.
    fn read(chunks: &[&[u8]]) -> Result<(Vec<String>, bool), Failure> {
        let (mut entries, mut found) = (Entries::default(), Vec::new());
        for chunk in chunks {
            entries.feed(chunk, |entry| {
                found.push(match entry {
                    Entry::Whole(text) => String::from_utf8_lossy(text).into_owned(),
                    Entry::Cut(text) => format!("{} bytes", text.len()),
                });
            })?;
        }
        Ok((found, entries.are_over()))
    }

    #[test]
    fn a_list_is_taken_apart() {
        for (text, want) in [
            ("[]", &[][..]),
            (" [ {} , 1,\"a\"]\n", &["{}", "1", "\"a\""]),
            (
                r#"[{"a":[1,2],"b":{"c":"],[}\\"}},{"d":"\""}]"#,
                &[r#"{"a":[1,2],"b":{"c":"],[}\\"}}"#, r#"{"d":"\""}"#],
            ),
        ] {
            let want = want.iter().map(|entry| (*entry).to_owned()).collect();
            assert_eq!(read(&[text.as_bytes()]), Ok((want, true)), "{text}");
        }
        assert_eq!(read(&[b"[{}, {"]), Ok((vec!["{}".to_owned()], false)), "it broke off");
        assert_eq!(read(&[b""]), Ok((vec![], false)));
        for text in ["null", "{}", "\"[]\"", "[] []"] {
            assert_eq!(read(&[text.as_bytes()]), Err("no list".to_owned().into()), "{text}");
        }
    }

    #[test]
    fn an_entry_that_is_too_long_is_cut_and_the_next_one_read() {
        let long = "x".repeat(2 * MOST_BYTES);
        let list = format!("[{{\"a\":\"{long}\"}},{{}}]");
        let want = vec![format!("{MOST_BYTES} bytes"), "{}".to_owned()];
        assert_eq!(read(&[list.as_bytes()]), Ok((want, true)));
    }

    #[test]
    fn what_is_taken_in_all_is_bounded_and_what_is_thrown_away_is_not_counted() {
        let chunk = vec![b' '; MOST_IN_ALL / 2];
        assert!(
            read(&[b"[", &chunk, &chunk]).is_err_and(|failure| failure.why.contains("67108864"))
        );
        let text = vec![b'x'; MOST_IN_ALL / 2];
        let want = vec![format!("{MOST_BYTES} bytes")];
        assert_eq!(read(&[b"[\"", &text, &text, &text, b"\"]"]), Ok((want, true)));
    }

    proptest! {
        #[test]
        fn how_it_is_cut_does_not_matter(text in r#"\[[\[\]{}",\\a ]{0,40}"#, cut in 0..40_usize) {
            let cut = cut.min(text.len());
            let (first, second) = text.as_bytes().split_at(cut);
            prop_assert_eq!(read(&[first, second]), read(&[text.as_bytes()]));
        }
    }
}
