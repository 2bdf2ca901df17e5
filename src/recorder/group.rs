//! Some minutes of one target's scrapes as one compressed file, series by series.
//!
//! ```text
//! plimsoll scrapes 1
//! T 1795312441005 5000 5001          when each was asked for, from the second on since the one before
//! C -120 -340 .                      samples' own times, from the scrape's; `-` none, `.` as before
//! V 2.2544384e+08 . -<tab>name{…}    values as the page had them; `-` not there, `.` as before
//! E 1                                how many V lines there were: the end
//! ```
//!
//! What repeats to the end is left out. Comments and exemplars are not kept. A file without its `E`
//! line is not whole, and is refused.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::ops::Range;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::base::Timestamp;
use crate::exposition::{Selection, split_sample};

const HEAD: &str = "plimsoll scrapes 1";
/// A compressed file may promise a few bytes and unpack for ever.
const MAX_TEXT_BYTES: u64 = 512 << 20;
/// Scrapes of one file; a page made of more is not believed.
const MAX_SCRAPES: usize = 100_000;
/// Bytes a group may take in memory with the page that is being added: as many as all groups together
/// (see `handle`). A page of five hundred containers takes half of it.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// What a column takes in memory beside its text, about.
const COLUMN_BYTES: usize = 400;
const SAME: &str = ".";
const ABSENT: &str = "-";

/// A group that is being recorded.
#[derive(Debug, Default)]
pub struct GroupWriter {
    times: Vec<Timestamp>,
    /// Columns of a series, by its text.
    by_key: HashMap<String, Slots>,
    columns: Vec<Column>,
    bytes: usize,
}

/// The columns of one series; a page may have it more than once.
#[derive(Debug, Default)]
struct Slots {
    columns: Vec<usize>,
    /// How many of them the newest scrape that has the series has filled.
    used: usize,
    /// That scrape, and the newest sample's own time in it.
    scrape: usize,
    newest: Option<Timestamp>,
}

impl Slots {
    /// Takes a sample of a scrape in, as its first or by the rule of the scanner: of a series that repeats
    /// the first stays, and a later one only if both carry times and its own is newer. Which of the columns
    /// is its own; `None` if it counts for nothing.
    fn next(&mut self, scrape: usize, own: Option<Timestamp>) -> Option<usize> {
        if self.used == 0 || self.scrape != scrape {
            (self.scrape, self.used) = (scrape, 0);
        } else if own.is_none() || self.newest.is_none_or(|newest| Some(newest) >= own) {
            return None;
        }
        self.newest = own;
        self.used += 1;
        Some(self.used - 1)
    }
}

#[derive(Debug)]
struct Column {
    key: String,
    values: Tokens,
    /// Since the scrape, milliseconds.
    clock: Tokens,
    /// How many scrapes it has a token for.
    filled: usize,
}

/// Words in a row, the repeated ones short.
#[derive(Debug, Default)]
struct Tokens {
    text: String,
    last: String,
    /// The text up to the last word that was not a repetition.
    needed: usize,
}

impl Tokens {
    fn push(&mut self, word: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        if !self.text.is_empty() && self.last == word {
            self.text.push_str(SAME);
            return;
        }
        self.text.push_str(word);
        self.last.clear();
        self.last.push_str(word);
        self.needed = self.text.len();
    }

    fn shown(&self) -> &str {
        &self.text[..self.needed]
    }
}

impl GroupWriter {
    /// When its first scrape was made.
    pub fn began(&self) -> Option<Timestamp> {
        self.times.first().copied()
    }

    /// When its newest scrape was made.
    pub fn last(&self) -> Option<Timestamp> {
        self.times.last().copied()
    }

    /// How many scrapes it has.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Bytes it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a page in the text format, of which only selected families are kept. Returns whether it was
    /// taken: one that has too much to say is not, since half of it would be a page on which the rest had
    /// vanished. After that the group is to be finished.
    pub fn add_page(&mut self, at: Timestamp, page: &[u8], selection: &Selection) -> bool {
        let known = self.columns.len();
        let mut scrape = self.begin(at);
        for line in page.split(|byte| *byte == b'\n') {
            let Some((series, value, own)) = split_sample(line) else { continue };
            let name = series.split(['{', ' ', '\t']).next().unwrap_or_default();
            // A name in quotes stands inside the braces; such a line is kept as it is.
            if name.is_empty() || selection.wants(name) {
                scrape.add(series, value, own);
            }
            if scrape.group.bytes > GROUP_BYTES_MAX {
                self.times.pop();
                self.columns.truncate(known);
                return false;
            }
        }
        true
    }

    /// Begins a scrape whose samples are added one by one.
    pub fn begin(&mut self, at: Timestamp) -> Scrape<'_> {
        self.times.push(at);
        Scrape { at, index: self.times.len() - 1, group: self }
    }

    /// The file, compressed; empties the group.
    pub fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        let mut group = std::mem::take(self);
        for column in group.columns.iter_mut().filter(|c| c.filled < group.times.len()) {
            column.values.push(ABSENT);
        }
        let mut out = GzEncoder::new(Vec::new(), Compression::new(7));
        writeln!(out, "{HEAD}")?;
        write!(out, "T")?;
        let mut before = Timestamp(0);
        for at in &group.times {
            write!(out, " {}", at.0 - before.0)?;
            before = *at;
        }
        writeln!(out)?;
        // Series of one container share their times: they are written once.
        let mut order: Vec<&Column> = group.columns.iter().collect();
        order.sort_by(|a, b| a.clock.shown().cmp(b.clock.shown()));
        let mut clock = None;
        for column in &order {
            let own = column.clock.shown();
            if clock != Some(own) {
                writeln!(out, "C {own}")?;
                clock = Some(own);
            }
            writeln!(out, "V {}\t{}", column.values.shown(), column.key)?;
        }
        writeln!(out, "E {}", order.len())?;
        out.finish()
    }
}

/// A scrape that is being added.
pub struct Scrape<'g> {
    at: Timestamp,
    index: usize,
    group: &'g mut GroupWriter,
}

impl Scrape<'_> {
    /// Adds a sample; `own` is its own time, if it has one.
    pub fn add(&mut self, series: &str, value: &str, own: Option<Timestamp>) {
        let GroupWriter { by_key, columns, bytes, .. } = &mut *self.group;
        if !by_key.contains_key(series) {
            by_key.insert(series.to_owned(), Slots::default());
        }
        let Some(slots) = by_key.get_mut(series) else { return };
        let Some(place) = slots.next(self.index, own) else { return };
        if place == slots.columns.len() {
            slots.columns.push(columns.len());
            *bytes += 2 * series.len() + COLUMN_BYTES;
            let (values, clock) = (Tokens::default(), Tokens::default());
            columns.push(Column { key: series.to_owned(), values, clock, filled: 0 });
        }
        let slot = slots.columns[place];
        let column = &mut columns[slot];
        while column.filled < self.index {
            column.values.push(ABSENT);
            // The time of a sample that is not there says nothing: whatever is shortest.
            column.clock.push(if column.filled == 0 { ABSENT } else { SAME });
            column.filled += 1;
        }
        *bytes += value.len() + 8;
        column.values.push(value);
        match own {
            Some(own) => column.clock.push(&own.0.saturating_sub(self.at.0).to_string()),
            None => column.clock.push(ABSENT),
        }
        column.filled += 1;
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct Group {
    text: String,
    times: Vec<Timestamp>,
    columns: Vec<ReadColumn>,
}

#[derive(Debug)]
struct ReadColumn {
    key: Range<usize>,
    /// Words by scrape; what is left out at the end is as the last one.
    values: Vec<Range<usize>>,
    /// The place of its clock.
    clock: usize,
}

/// The times of a file, after a look at all of it.
pub fn times(file: impl Read) -> Result<Vec<Timestamp>, String> {
    Group::read(file).map(|group| group.times)
}

impl Group {
    /// Reads a file; the error says what is wrong with it.
    pub fn read(file: impl Read) -> Result<Group, String> {
        let mut text = String::new();
        let mut unpacked = GzDecoder::new(file).take(MAX_TEXT_BYTES + 1);
        unpacked.read_to_string(&mut text).map_err(|error| format!("is not whole: {error}"))?;
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(format!("is larger than {MAX_TEXT_BYTES} bytes"));
        }
        let mut group = Group { text: String::new(), times: Vec::new(), columns: Vec::new() };
        let mut ended = false;
        let mut clock = None;
        let mut at = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let rest = line.trim_end_matches('\n').get(2..).unwrap_or_default();
            let start = at + 2;
            at += line.len();
            match (number, line.as_bytes()) {
                (0, _) if line.trim_end() == HEAD => {}
                (1, [b'T', ..]) => group.times = read_times(rest)?,
                (_, [b'C', ..]) if number > 1 => clock = Some(start),
                (_, [b'V', ..]) if number > 1 => {
                    let clock = clock.ok_or("has values before times")?;
                    let column = ReadColumn::read(rest, start, clock);
                    group.columns.push(column.ok_or_else(|| format!("line {}", number + 1))?);
                }
                (_, [b'E', ..]) if rest.parse() == Ok(group.columns.len()) => ended = true,
                _ => return Err(format!("line {} is none of this format", number + 1)),
            }
        }
        if !ended {
            return Err("is not whole: its last line is missing".to_owned());
        }
        group.text = text;
        Ok(group)
    }

    /// When its scrapes were made.
    pub fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// The page of one scrape, as far as it was kept.
    pub fn page(&self, index: usize) -> Vec<u8> {
        let mut page = String::new();
        let at = self.times.get(index).copied().unwrap_or_default();
        let mut known: Option<(usize, Option<i64>)> = None;
        for column in &self.columns {
            let range = column.values.get(index).or(column.values.last());
            let value = range.and_then(|range| self.text.get(range.clone())).unwrap_or(ABSENT);
            if value == ABSENT {
                continue;
            }
            let own = match known {
                Some((clock, own)) if clock == column.clock => own,
                _ => self.own_time(column.clock, index),
            };
            known = Some((column.clock, own));
            page.push_str(self.text.get(column.key.clone()).unwrap_or_default());
            page.push(' ');
            page.push_str(value);
            if let Some(own) = own {
                page.push_str(&format!(" {}", at.0.saturating_add(own)));
            }
            page.push('\n');
        }
        page.into_bytes()
    }

    fn own_time(&self, clock: usize, index: usize) -> Option<i64> {
        let line = self.text.get(clock..)?.lines().next()?;
        let mut last = ABSENT;
        for word in line.split(' ').take(index + 1) {
            if word != SAME {
                last = word;
            }
        }
        last.parse().ok()
    }
}

impl ReadColumn {
    fn read(line: &str, start: usize, clock: usize) -> Option<ReadColumn> {
        let (values, key) = line.split_once('\t')?;
        let key = start + values.len() + 1..start + values.len() + 1 + key.len();
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut at = start;
        for word in values.split(' ') {
            let range = at..at + word.len();
            at = range.end + 1;
            words.push(match (word, words.last()) {
                (SAME, Some(last)) => last.clone(),
                _ => range,
            });
        }
        Some(ReadColumn { key, values: words, clock })
    }
}

fn read_times(line: &str) -> Result<Vec<Timestamp>, String> {
    let mut times = Vec::new();
    let mut before = 0_i64;
    for word in line.split(' ') {
        let step: i64 = word.parse().map_err(|_| format!("`{word}` is not a time"))?;
        before = before.checked_add(step).ok_or_else(|| format!("`{word}` is not a time"))?;
        times.push(Timestamp(before));
        if times.len() > MAX_SCRAPES {
            return Err(format!("has more than {MAX_SCRAPES} scrapes"));
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_795_312_441_005;

    fn lines(page: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(page).expect("text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// What a page must come back as: its samples, sorted.
    fn samples(page: &str) -> Vec<String> {
        let mut lines: Vec<String> =
            page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn recorded(pages: &[&str]) -> Vec<u8> {
        let mut group = GroupWriter::default();
        for (index, page) in pages.iter().enumerate() {
            let at = Timestamp(T0 + 5000 * index as i64);
            group.add_page(at, page.as_bytes(), &Selection::all());
        }
        let file = group.finish().expect("into memory");
        assert!(group.began().is_none() && group.bytes() == 0, "it is empty again");
        file
    }

    #[test]
    fn pages_come_back_sample_by_sample() {
        let pages = [
            "# TYPE a counter\na{x=\"1 }\\\" 2\"} 1 1795312441000\nb 2\nc 1e+09 1795312440900\n",
            "a{x=\"1 }\\\" 2\"} 1 1795312446001\nb 2\nc 1.000000001e+09 1795312440900\nnew 7\n",
            "b 2\nnew 7 5\nc NaN\n",
            "b 3\nc +Inf 1795312445000\nc 8 1795312446001\na{x=\"1 }\\\" 2\"} -0\n",
            "",
            "b 3\n",
        ];
        let group = Group::read(&recorded(&pages)[..]).expect("whole");
        let times: Vec<i64> = group.times().iter().map(|at| at.0 - T0).collect();
        assert_eq!(times, [0, 5000, 10_000, 15_000, 20_000, 25_000]);
        for (index, page) in pages.iter().enumerate() {
            assert_eq!(lines(&group.page(index)), samples(page), "scrape {index}");
        }
    }

    /// As in the scanner: what a replay would drop is not kept, so it costs nothing.
    #[test]
    fn of_a_series_that_repeats_only_newer_times_count() {
        let mut group = GroupWriter::default();
        let pages = ["a 1\na 2\na 3 5\nb 1 7\nb 2 6\nb 3\nb 4 8\n", "b 5 9\na 4\n"];
        for (index, page) in pages.iter().enumerate() {
            let at = Timestamp(T0 + 5000 * index as i64);
            assert!(group.add_page(at, page.as_bytes(), &Selection::all()));
        }
        assert_eq!(group.columns.len(), 3);
        let group = Group::read(&group.finish().expect("in memory")[..]).expect("whole");
        assert_eq!(lines(&group.page(0)), ["a 1", "b 1 7", "b 4 8"]);
        assert_eq!(lines(&group.page(1)), ["a 4", "b 5 9"]);
    }

    #[test]
    fn a_page_that_repeats_one_series_costs_what_its_lines_cost() {
        let mut group = GroupWriter::default();
        let (none, newer) = ("a 1\n".repeat(500_000), |n: i64| format!("b 1 {n}\n"));
        let page = none + &(0..100_000).map(newer).collect::<String>();
        assert!(group.add_page(Timestamp(T0), page.as_bytes(), &Selection::all()));
        assert_eq!(group.columns.len(), 100_001);
    }

    #[test]
    fn a_page_that_has_too_much_to_say_is_not_taken_and_costs_nobody_else() {
        let mut group = GroupWriter::default();
        assert!(group.add_page(Timestamp(T0), b"a 1\n", &Selection::all()));
        let page: String = (0..300_000).map(|n| format!("x{n} 1\n")).collect();
        assert!(!group.add_page(Timestamp(T0 + 5000), page.as_bytes(), &Selection::all()));
        assert!(group.bytes() <= GROUP_BYTES_MAX + 1000, "{}", group.bytes());
        let file = group.finish().expect("in memory");
        let group = Group::read(&file[..]).expect("whole");
        assert_eq!((group.times(), group.page(0)), (&[Timestamp(T0)][..], b"a 1\n".to_vec()));
        assert!(file.len() < 200, "{}", file.len());
        // Times are whatever a page says.
        let mut group = GroupWriter::default();
        let page = format!("a 1 {}\n", i64::MIN);
        assert!(group.add_page(Timestamp(T0), page.as_bytes(), &Selection::all()));
        assert_eq!(group.len(), 1);
    }

    #[test]
    fn only_selected_families_are_kept() {
        let mut group = GroupWriter::default();
        let only = Selection::only(["a".to_owned()], Vec::new());
        group.add_page(Timestamp(T0), b"a 1\nab 2\n# HELP a x\na{b=\"c\"} 3\nbroken{\n", &only);
        let group = Group::read(&group.finish().expect("in memory")[..]).expect("whole");
        assert_eq!(lines(&group.page(0)), ["a 1", "a{b=\"c\"} 3"]);
    }

    #[test]
    fn half_a_file_is_refused_and_says_so() {
        let file = recorded(&["a 1\n", "a 2\n"]);
        for cut in [0, 1, file.len() / 2, file.len() - 1] {
            let error = Group::read(&file[..cut]).expect_err("half").clone();
            assert!(error.contains("not whole"), "{cut}: {error}");
        }
        let pack = |text: &str| {
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(text.as_bytes()).expect("in memory");
            out.finish().expect("in memory")
        };
        for bad in [
            "a 1\n",
            "plimsoll scrapes 1\nT 1\nC -\nV 1\ta\n",
            "plimsoll scrapes 1\nT 1\nC -\nV 1\ta\nE 2\n",
            "plimsoll scrapes 1\nT x\nE 0\n",
            "plimsoll scrapes 1\nT 1\nV 1\ta\nE 1\n",
            "plimsoll scrapes 1\nT 9223372036854775807 1\nE 0\n",
        ] {
            assert!(Group::read(&pack(bad)[..]).is_err(), "{bad}");
        }
    }
}
