//! One scrape: chunks of a body in, one batch out.

use std::collections::BTreeMap;

use memchr::memchr;

use super::cache::{DROPPED, NOWHERE, SeriesCache};
use super::error::{Problem, ScanError};
use super::format::{Format, Limits};
use super::line::{Bad, read_series, read_value, series_end, skip_blanks};
use super::metadata::{MetaLine, Metadata};
use super::selection::Selection;
use crate::base::{Labels, LabelsBuilder, METRIC_NAME, Timestamp, is_metric_name};

/// What becomes of a series never seen: the caller rewrites its labels (`m2`, target labels with
/// `honor_labels`, `metric_relabel_configs`) and says whether it is kept. The answer is remembered.
pub type Admit<'a> = dyn FnMut(&mut LabelsBuilder) -> bool + Send + 'a;

/// What a successful scrape says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Batch {
    /// Ids mean something within one epoch only. A batch with a new epoch announces every series
    /// it has in `new`; series of older epochs that are not among them have vanished.
    pub epoch: u64,
    /// Series whose id was never announced in this epoch, by ascending id.
    pub new: Vec<(u32, Labels)>,
    /// The samples, in the order of the body. A series repeats only with newer timestamps.
    pub points: Vec<Point>,
    /// Ids of this epoch that the previous successful scrape had and this one has not.
    pub vanished: Vec<u32>,
    /// Series that should have come and of which nothing could be learned: their source is there and
    /// cannot be read. A page never says so; where one series of several is meant, labels are fewer.
    pub missed: Vec<Labels>,
    /// What is wrong with it, in a sentence, although it came. A page never says so.
    pub trouble: Option<String>,
    /// Counts for the synthetic series and for telemetry.
    pub stats: Stats,
    /// Families whose metadata is new or changed, by name.
    pub metadata: Vec<(String, Metadata)>,
}

/// One sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// The series.
    pub id: u32,
    /// The value; never the stale marker.
    pub value: f64,
    /// The sample's own timestamp, if it has one.
    pub at: Option<Timestamp>,
}

/// What was counted during a scrape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Bytes of the body.
    pub bytes: u64,
    /// Lines of the body.
    pub lines: u64,
    /// Sample lines of wanted families, validated.
    pub samples_kept: u64,
    /// Sample lines of other families, neither parsed nor validated.
    pub samples_skipped: u64,
    /// Kept samples that relabelling did not drop, duplicates included
    /// (`scrape_samples_post_metric_relabeling`).
    pub samples_post_relabel: u64,
    /// Series the previous successful scrape did not have (`scrape_series_added`).
    pub series_added: u64,
    /// Samples dropped because their series came before with the same or no timestamp.
    pub duplicates: u64,
}

impl Stats {
    /// All samples the target exposes (`scrape_samples_scraped`).
    pub fn samples_scraped(&self) -> u64 {
        self.samples_kept + self.samples_skipped
    }
}

/// A scrape under way. Dropping it, or an error, leaves the cache as it was.
pub struct Scan<'a> {
    cache: &'a mut SeriesCache,
    selection: &'a Selection,
    format: Format,
    limits: &'a Limits,
    admit: &'a mut Admit<'a>,
    /// The scrape's number in the cache.
    number: u64,
    /// The line that the last chunk left unfinished.
    tail: Vec<u8>,
    /// The entry of the last sample, and the one that should follow it.
    previous: u32,
    expected: u32,
    /// The metric name of the last sample line, and whether it is wanted.
    run: Vec<u8>,
    run_is_wanted: bool,
    points: Vec<Point>,
    metadata: BTreeMap<String, Metadata>,
    stats: Stats,
    /// Whether `# EOF` was read, in OpenMetrics.
    ended: bool,
    failure: Option<ScanError>,
    /// The line at which `sample_limit` was passed.
    limited: Option<ScanError>,
}

impl<'a> Scan<'a> {
    /// Begins a scrape. `selection`, `limits` and what `admit` answers must be those of the cache's
    /// earlier scrapes, else `reset` it first.
    pub fn begin(
        cache: &'a mut SeriesCache,
        selection: &'a Selection,
        format: Format,
        limits: &'a Limits,
        admit: &'a mut Admit<'a>,
    ) -> Scan<'a> {
        let number = cache.open(limits);
        Scan {
            selection,
            format,
            limits,
            admit,
            number,
            tail: Vec::new(),
            previous: NOWHERE,
            expected: cache.first,
            run: Vec::new(),
            run_is_wanted: false,
            points: Vec::with_capacity(cache.expected_points()),
            metadata: BTreeMap::new(),
            stats: Stats::default(),
            ended: false,
            failure: None,
            limited: None,
            cache,
        }
    }

    /// Takes the next piece of the body, cut anywhere. After an error nothing more is read, and
    /// `finish` gives the same error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), ScanError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.take(chunk).inspect_err(|failure| {
            self.failure = Some(failure.clone());
            self.tail = Vec::new();
            self.cache.undo();
        })
    }

    /// Ends the scrape: the body is complete. Refuses a last line without newline, which may be
    /// the half of a longer one, unless it is `# EOF`.
    pub fn finish(mut self) -> Result<Batch, ScanError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let tail = std::mem::take(&mut self.tail);
        let (at, mut problem) = match without_return(&tail) {
            b"" if tail.is_empty() => (0, None),
            b"# EOF" => {
                self.ended = true;
                (0, None)
            }
            _ => (tail.len(), Some(Problem::Truncated)),
        };
        if self.format == Format::OpenMetrics && !self.ended {
            problem = problem.or(Some(Problem::NoEof));
        }
        if let Some(problem) = problem {
            return Err(self.error(&tail, at, problem));
        }
        if let Some(limited) = self.limited.take() {
            return Err(ScanError {
                samples_scraped: self.stats.samples_scraped(),
                samples_post_relabel: self.stats.samples_post_relabel,
                ..limited
            });
        }
        self.stats.lines += u64::from(!tail.is_empty());
        let metadata = std::mem::take(&mut self.metadata).into_iter().collect();
        Ok(self.cache.commit(std::mem::take(&mut self.points), metadata, self.stats))
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), ScanError> {
        self.stats.bytes += chunk.len() as u64;
        let limit = self.limits.body_size_limit;
        if limit > 0 && self.stats.bytes > limit {
            return Err(self.error(&[], 0, Problem::BodySize(limit)));
        }
        let mut rest = chunk;
        if !self.tail.is_empty() {
            let Some(end) = memchr(b'\n', chunk) else { return self.keep_tail(chunk) };
            self.keep_tail(&chunk[..end])?;
            let mut line = std::mem::take(&mut self.tail);
            line.push(b'\n');
            self.whole_lines(&line)?;
            line.clear();
            self.tail = line;
            rest = &chunk[end + 1..];
        }
        let used = self.whole_lines(rest)?;
        self.keep_tail(&rest[used..])
    }

    /// Keeps the beginning of a line until the rest of it comes.
    fn keep_tail(&mut self, part: &[u8]) -> Result<(), ScanError> {
        self.check_length(self.tail.len() + part.len(), part)?;
        self.tail.extend_from_slice(part);
        Ok(())
    }

    fn check_length(&self, length: usize, line: &[u8]) -> Result<(), ScanError> {
        let limit = self.limits.line_length_limit;
        if limit > 0 && length > limit {
            let start = if self.tail.is_empty() { line } else { &self.tail };
            return Err(self.error(start, 0, Problem::LineLength(limit)));
        }
        Ok(())
    }

    fn error(&self, line: &[u8], at: usize, problem: Problem) -> ScanError {
        ScanError {
            samples_scraped: self.stats.samples_scraped(),
            samples_post_relabel: self.stats.samples_post_relabel,
            ..ScanError::new(self.stats.lines + 1, line, at, problem)
        }
    }

    /// What becomes of a bad line. Past `sample_limit` the page is read on, so that the samples it
    /// has are known, as in Prometheus.
    fn bad_line(&mut self, line: &[u8], bad: Bad) -> Result<(), ScanError> {
        match bad.problem {
            Problem::SampleLimit(_) if self.limited.is_some() => return Ok(()),
            // Counted although it fails, as in Prometheus.
            Problem::LabelLimit(_) => self.stats.samples_kept += 1,
            _ => {}
        }
        let is_read_on = matches!(bad.problem, Problem::SampleLimit(_));
        let error = self.error(line, bad.at, bad.problem);
        if !is_read_on {
            return Err(error);
        }
        self.limited = Some(error);
        Ok(())
    }

    /// Reads every line of `bytes` that ends within it, and says how far that is.
    fn whole_lines(&mut self, bytes: &[u8]) -> Result<usize, ScanError> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            // The search for the newline starts behind what is known not to hold one.
            let known = self.expected_length(rest);
            let Some(end) = memchr(b'\n', &rest[known..]) else { break };
            let raw = &rest[..known + end];
            self.check_length(raw.len(), raw)?;
            let line = without_return(raw);
            let outcome =
                if known > 0 { self.sample(self.expected, line, known) } else { self.line(line) };
            if let Err(bad) = outcome {
                self.bad_line(line, bad)?;
            }
            self.stats.lines += 1;
            at += raw.len() + 1;
        }
        Ok(at)
    }

    /// The length of the expected series if `rest` starts with it and it ends there, else 0.
    fn expected_length(&self, rest: &[u8]) -> usize {
        let Some(entry) = self.cache.entries.get(self.expected as usize) else { return 0 };
        let text = &*entry.text;
        if self.ended || !rest.starts_with(text) {
            return 0;
        }
        // A brace ends a series. A bare name may go on, or have its labels behind blanks.
        let ends = text.last() == Some(&b'}') || {
            let value = skip_blanks(rest, text.len());
            value > text.len() && rest.get(value) != Some(&b'{')
        };
        if ends { text.len() } else { 0 }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Bad> {
        let start = skip_blanks(line, 0);
        let text = &line[start..];
        if self.ended && !line.is_empty() {
            return Err(Bad { at: 0, problem: Problem::AfterEof });
        }
        let outcome = match text.first() {
            None if self.format == Format::OpenMetrics => {
                let expected = "expected a metric, a comment or # EOF, not a blank line";
                Err(Bad { at: 0, problem: Problem::Syntax(expected) })
            }
            None => Ok(()),
            Some(b'#') => self.comment(text),
            Some(_) => self.sample_line(text),
        };
        outcome.map_err(|bad| Bad { at: bad.at + start, problem: bad.problem })
    }

    fn comment(&mut self, text: &[u8]) -> Result<(), Bad> {
        if self.format == Format::OpenMetrics && text == b"# EOF" {
            self.ended = true;
            return Ok(());
        }
        let Some(meta) = MetaLine::read(text) else { return Ok(()) };
        if !self.selection.wants_family(&meta.family) {
            return Ok(());
        }
        if let Some(pending) = self.metadata.get_mut(&*meta.family) {
            return meta.write_to(pending);
        }
        let known = self.cache.family(&meta.family);
        if let Some(known) = known
            && meta.is_in(known)?
        {
            return Ok(());
        }
        let mut changed = known.cloned().unwrap_or_default();
        meta.write_to(&mut changed)?;
        self.metadata.insert(meta.family.into_owned(), changed);
        self.cache.charge(text.len()).map_err(|problem| Bad { at: 0, problem })
    }

    /// A sample line whose series was not the expected one.
    fn sample_line(&mut self, text: &[u8]) -> Result<(), Bad> {
        if !self.is_wanted(text)? {
            self.stats.samples_skipped += 1;
            return Ok(());
        }
        let end = series_end(text)?;
        let series = &text[..end];
        let entry = match self.cache.find(series) {
            Some(entry) => entry,
            None => match self.new_entry(series)? {
                Learnt::Entry(entry) => entry,
                Learnt::Unwanted => {
                    self.stats.samples_skipped += 1;
                    return Ok(());
                }
                Learnt::Dropped => {
                    read_value(text, end, self.format)?;
                    self.stats.samples_kept += 1;
                    return Ok(());
                }
            },
        };
        self.sample(entry, text, end)
    }

    /// Whether the line's family is wanted; decided once per run of lines with one name.
    fn is_wanted(&mut self, text: &[u8]) -> Result<bool, Bad> {
        let ends_name = |b: &u8| matches!(b, b'{' | b' ' | b'\t');
        if text[0] == b'{' {
            // A name in quotes: the labels are read first.
            return Ok(true);
        }
        if text.starts_with(&self.run) && text.get(self.run.len()).is_some_and(ends_name) {
            return Ok(self.run_is_wanted);
        }
        let end = text.iter().position(ends_name).unwrap_or(text.len());
        // Said even of names nobody wants, so that a page that is no exposition is not taken for
        // one with nothing of interest.
        let name = str::from_utf8(&text[..end]).ok().filter(|name| is_metric_name(name));
        let name = name.ok_or(Bad { at: 0, problem: Problem::Syntax("expected a metric name") })?;
        self.run_is_wanted = self.selection.wants(name);
        self.run.clear();
        self.run.extend_from_slice(&text[..end]);
        Ok(self.run_is_wanted)
    }

    /// Learns a series never seen.
    fn new_entry(&mut self, series: &[u8]) -> Result<Learnt, Bad> {
        let mut labels = read_series(series)?;
        if series[0] == b'{' && !self.selection.wants(labels.get(METRIC_NAME)) {
            return Ok(Learnt::Unwanted);
        }
        let admitted = (self.admit)(&mut labels) && labels.iter().next().is_some();
        let labels = if admitted {
            self.check_labels(&labels).map_err(|problem| Bad { at: 0, problem })?;
            Some(labels.build())
        } else if self.cache.is_half_full() {
            return Ok(Learnt::Dropped);
        } else {
            None
        };
        let entry = self.cache.insert(series, labels);
        entry.map(Learnt::Entry).map_err(|problem| Bad { at: 0, problem })
    }

    fn check_labels(&self, labels: &LabelsBuilder) -> Result<(), Problem> {
        let metric = labels.get(METRIC_NAME);
        if metric.is_empty() {
            return Err(Problem::NoName);
        }
        let limits = self.limits;
        let head = |text: &str| -> String { text.chars().take(50).collect() };
        let over = |length: usize, limit: usize| limit > 0 && length > limit;
        let count = labels.iter().count();
        let metric = head(metric);
        if over(count, limits.label_limit) {
            return Err(Problem::LabelLimit(format!(
                "label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {})",
                limits.label_limit
            )));
        }
        for (name, value) in labels.iter() {
            if over(name.len(), limits.label_name_length_limit) {
                return Err(Problem::LabelLimit(format!(
                    "label_name_length_limit exceeded (metric: {metric}, label name: {}, \
                     length: {}, limit: {})",
                    head(name),
                    name.len(),
                    limits.label_name_length_limit
                )));
            }
            if over(value.len(), limits.label_value_length_limit) {
                return Err(Problem::LabelLimit(format!(
                    "label_value_length_limit exceeded (metric: {metric}, label name: {}, \
                     value: {:?}, length: {}, limit: {})",
                    head(name),
                    head(value),
                    value.len(),
                    limits.label_value_length_limit
                )));
            }
        }
        Ok(())
    }

    /// Reads what follows a known series and notes the point.
    fn sample(&mut self, entry: u32, line: &[u8], series_end: usize) -> Result<(), Bad> {
        let (value, at) = read_value(line, series_end, self.format)?;
        match self.cache.entries.get_mut(self.previous as usize) {
            Some(previous) if previous.next != entry => previous.next = entry,
            None => self.cache.first = entry,
            _ => {}
        }
        let known = &mut self.cache.entries[entry as usize];
        let is_repeated = known.seen == self.number;
        known.seen = self.number;
        self.previous = entry;
        self.expected = known.next;
        self.stats.samples_kept += 1;
        if known.id == DROPPED {
            return Ok(());
        }
        let limit = self.limits.sample_limit;
        self.stats.samples_post_relabel += 1;
        if limit > 0 && self.stats.samples_post_relabel > limit {
            return Err(Bad { at: 0, problem: Problem::SampleLimit(limit) });
        }
        let point = Point { id: known.id, value, at };
        if is_repeated {
            return self.repeat(point);
        }
        self.points.push(point);
        Ok(())
    }

    /// Notes one more point of a series. Without a time it can never count, see `commit`; with one
    /// it waits for its turn there, and a page may not have too many of these.
    fn repeat(&mut self, point: Point) -> Result<(), Bad> {
        if point.at.is_none() {
            self.stats.duplicates += 1;
            return Ok(());
        }
        let limit = self.cache.points_limit();
        if self.points.len() >= limit {
            return Err(Bad { at: 0, problem: Problem::Repeats(limit) });
        }
        self.points.push(point);
        Ok(())
    }
}

/// A scan that ends without a batch leaves nothing behind, and holds on to nothing.
impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.cache.undo();
    }
}

/// What a series never seen comes to.
enum Learnt {
    /// A known one from now on.
    Entry(u32),
    /// Its name, quoted in the braces, is not wanted.
    Unwanted,
    /// Dropped by relabelling, and not worth the little room left.
    Dropped,
}

/// A line without the `\r` some servers put before the newline.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
