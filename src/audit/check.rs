//! Whether a row of lines is a chain, and where it is not.
//!
//! After a break the check goes on from the line it stands on, so that one changed line is told as
//! one break and not as one for each line behind it.

use super::chain::{Chain, Link, LinkError};
use crate::base::Timestamp;

/// Where a chain is broken, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Break {
    /// The line is not what was written.
    Line(LinkError),
    /// The line is whole, and does not continue the one before.
    Link {
        /// What the line before asks for.
        expected: Chain,
        /// The number found.
        n: u64,
    },
    /// The line is whole, and not the one its file begins with.
    Beginning {
        /// The number in the file's name.
        named: u64,
        /// The number found.
        n: u64,
    },
    /// A file with others behind it holds no record.
    Empty,
    /// A file does not end where the one behind it begins.
    End {
        /// The number of its last record.
        last: u64,
        /// The number in the next file's name.
        next: u64,
    },
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Break::Line(error) => error.fmt(f),
            Break::Link { expected, n } if expected.next() == Ok(*n) => {
                write!(f, "record {n} does not continue record {}: it was replaced", n - 1)
            }
            Break::Link { expected, n } if *n > expected.sequence => write!(
                f,
                "record {n} stands where record {} should: lines are missing",
                expected.sequence.saturating_add(1)
            ),
            Break::Beginning { named, n } => write!(
                f,
                "record {n} stands where record {named} should, by the file's name: its beginning is \
                 missing"
            ),
            Break::Empty => f.write_str("it holds no record: its lines are missing"),
            Break::End { last, next } => {
                let fault = if last < next { "its end is missing" } else { "it has too much" };
                write!(
                    f,
                    "the file behind it begins with record {next}, and it ends with record {last}: {fault}"
                )
            }
            Break::Link { expected, n } => match expected.next() {
                Ok(next) => write!(
                    f,
                    "record {n} stands where record {next} should: lines were repeated or moved"
                ),
                Err(end) => write!(f, "record {n} stands where none can: {end}"),
            },
        }
    }
}

/// A check under way, line by line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Check {
    /// The first record's number; `None` before it.
    pub first: Option<u64>,
    /// Where the chain has got to; `None` before the first record.
    pub chain: Option<Chain>,
    /// Records that were believed.
    pub records: u64,
    /// The newest of them.
    pub newest: Option<Timestamp>,
    /// Set by what cannot be read: the next line has nothing to continue.
    is_torn: bool,
}

impl Check {
    /// What is wrong if a file ends here and the next one begins with this record. Of a last line that cannot
    /// be read that was told.
    pub fn ends_before(&self, next: u64) -> Option<Break> {
        let last = self.chain.as_ref().filter(|_| !self.is_torn)?.sequence;
        (last.checked_add(1) != Some(next)).then_some(Break::End { last, next })
    }

    /// Says that lines are not there to be read: the next one has nothing to continue.
    pub fn pass_over(&mut self) {
        self.is_torn = true;
    }

    /// Takes the next line, without its line break.
    pub fn take(&mut self, line: &[u8]) -> Result<Link, Break> {
        let link = match Link::read(line) {
            Ok(link) => link,
            Err(error) => {
                self.is_torn = true;
                return Err(Break::Line(error));
            }
        };
        let expected = self.chain.replace(link.chain());
        self.first.get_or_insert(link.n);
        self.records += 1;
        self.newest = Some(link.record.at);
        let is_torn = std::mem::take(&mut self.is_torn);
        match expected {
            Some(expected)
                if !is_torn && (Ok(link.n), &link.prev) != (expected.next(), &expected.head) =>
            {
                Err(Break::Link { expected, n: link.n })
            }
            _ => Ok(link),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Kind, Record};

    fn lines(count: usize) -> Vec<String> {
        let mut chain = Chain::default();
        let record = |n: usize| Record {
            count: Some(n as u64),
            ..Record::new(Timestamp(n as i64), Kind::AuditGap)
        };
        (0..count).map(|n| chain.seal(&record(n)).expect("a number")).collect()
    }

    /// The lines (from 1) at which it breaks, and how.
    fn breaks(lines: &[String]) -> Vec<(usize, String)> {
        let mut check = Check::default();
        let told = lines.iter().enumerate().filter_map(|(index, line)| {
            Some((index + 1, check.take(line.as_bytes()).err()?.to_string()))
        });
        told.collect()
    }

    #[test]
    fn a_chain_breaks_where_it_was_touched_and_nowhere_else() {
        let whole = lines(5);
        assert_eq!(breaks(&whole), []);
        assert_eq!(breaks(&whole[2..]), [], "the oldest files may be gone");
        let check = |what: &dyn Fn(&mut Vec<String>), want: &[(usize, &str)]| {
            let mut lines = whole.clone();
            what(&mut lines);
            let found = breaks(&lines);
            assert_eq!(found.len(), want.len(), "{found:?}");
            for ((line, said), (at, words)) in found.iter().zip(want) {
                assert!(line == at && said.contains(words), "{found:?}");
            }
        };
        let changed =
            |lines: &mut Vec<String>| lines[2] = lines[2].replace("\"count\":2", "\"count\":9");
        check(&changed, &[(3, "it was changed")]);
        check(&|lines| drop(lines.remove(2)), &[(3, "lines are missing")]);
        check(&|lines| lines.swap(1, 2), &[(2, "missing"), (3, "moved"), (4, "missing")]);
        check(&|lines| lines.insert(2, lines[1].clone()), &[(3, "repeated")]);
        check(&|lines| lines[4] = "{\"half".to_owned(), &[(5, "not a record")]);
        let forged = |lines: &mut Vec<String>| {
            let mut other = Chain { sequence: 2, head: "f".repeat(64) };
            lines[2] = other.seal(&Record::new(Timestamp(0), Kind::AuditGap)).expect("a number");
        };
        check(&forged, &[(3, "it was replaced"), (4, "it was replaced")]);
        assert_eq!(breaks(&whole[..3]), [], "a cut end is whole: that is what the head is for");
    }

    #[test]
    fn a_line_behind_the_highest_number_is_a_break() {
        let mut last = Chain { sequence: u64::MAX - 1, head: "f".repeat(64) };
        let mut lines = lines(1);
        lines.insert(0, last.seal(&Record::new(Timestamp(0), Kind::AuditGap)).expect("a number"));
        let found = breaks(&lines);
        let want =
            "record 1 stands where none can: the newest record has the highest number there is";
        assert_eq!(found, [(2, want.to_owned())]);
    }
}
