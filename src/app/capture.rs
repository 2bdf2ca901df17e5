//! Recorded scrapes: a folder of bodies, each named by the unix milliseconds at which it was asked
//! for, `1795312441005.txt` or, compressed, `1795312441005.txt.gz`; or of groups of them, as the
//! flight recorder writes them, `1795312441005.scrapes.gz`. Other files are left alone.
//!
//! A capture is read as a target is scraped: the same scanner, samples at their own times or that
//! of the scrape, stale markers where a series vanished. It never holds two bodies at once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail, ensure};
use flate2::read::GzDecoder;

use crate::base::{HashMap, Labels, LabelsBuilder, STALE_NAN, Sample, Timestamp};
use crate::exposition::{Batch, Format, Limits, Scan, Selection, SeriesCache, m2};
use crate::recorder::group::{self, Group};
use crate::recorder::is_unfinished;
use crate::relabel;
use crate::scrape::config::ScrapeConfig;
use crate::scrape::{add_target_labels, drop_timestamps};
use crate::window::Detached;

/// A compressed body may promise a few bytes and unpack for ever.
const MAX_BODY_BYTES: u64 = 256 << 20;
/// Some 320 MB: a day of 500 containers, when a query reads one family of them.
const MAX_SAMPLES: usize = 20_000_000;
/// The last moment of the year 9999.
const TIME_MAX_MS: i64 = 253_402_300_799_999;
/// What M2 calls its label of the virtual host, as `m2.vhost_label` has it by default.
const VHOST_LABELS: [&str; 2] = ["vhost", "host"];

/// The scrapes of one folder, oldest first.
#[derive(Debug)]
pub struct Capture {
    scrapes: BTreeMap<Timestamp, Place>,
    problems: Vec<String>,
    /// The group that was read last: scrapes are asked for in their order.
    open: Mutex<Option<(Arc<Path>, Arc<Group>)>>,
}

/// Where a scrape is.
#[derive(Clone, Debug)]
enum Place {
    /// In a file of its own.
    File(PathBuf),
    /// In a group, at this place.
    Group(Arc<Path>, usize),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Place::File(path) => path,
            Place::Group(path, _) => path,
        }
    }
}

impl Capture {
    /// Lists the scrapes of a folder.
    pub fn open(folder: &Path) -> anyhow::Result<Capture> {
        let listing = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let mut scrapes = BTreeMap::new();
        let mut problems = Vec::new();
        for file in listing {
            let path = file.with_context(|| folder.display().to_string())?.path();
            if let Some(at) = scraped_at(&path) {
                scrapes.insert(at, Place::File(path));
            } else if is_group(&path) {
                let times = File::open(&path).map_err(|e| e.to_string()).and_then(group::times);
                match times.and_then(plausible) {
                    Ok(times) => {
                        let path: Arc<Path> = path.into();
                        let place = |index| Place::Group(Arc::clone(&path), index);
                        let placed = times.into_iter().enumerate();
                        scrapes.extend(placed.map(|(index, at)| (at, place(index))));
                    }
                    Err(why) => problems.push(format!("{}: {why}; left out", path.display())),
                }
            } else if is_unfinished(&path) {
                problems.push(format!("{}: was never finished; left out", path.display()));
            }
        }
        problems.sort();
        ensure!(
            !scrapes.is_empty(),
            "{}: no recorded scrape in it; they are named <unix milliseconds>.txt, .txt.gz or \
             .scrapes.gz{}",
            folder.display(),
            problems.iter().map(|problem| format!("; {problem}")).collect::<String>()
        );
        Ok(Capture { scrapes, problems, open: Mutex::new(None) })
    }

    /// Files that were left out, and why.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether a folder holds recorded scrapes.
    pub fn is_in(folder: &Path) -> anyhow::Result<bool> {
        let listing = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let is_one = |path: &Path| scraped_at(path).is_some() || is_group(path);
        Ok(listing.flatten().any(|file| is_one(&file.path())))
    }

    /// The scrape made nearest to a time.
    pub fn nearest(&self, to: Timestamp) -> Option<Timestamp> {
        let before = self.scrapes.range(..=to).next_back();
        let after = self.scrapes.range(to..).next();
        let found = before.into_iter().chain(after).map(|(at, _)| *at);
        found.min_by_key(|at| (at.0 - to.0).abs())
    }

    /// When those scrapes were made that are next to a time: so many up to it, and so many after it.
    pub fn around(&self, at: Timestamp, count: usize) -> (Vec<Timestamp>, Vec<Timestamp>) {
        let mut before: Vec<Timestamp> =
            self.scrapes.range(..=at).rev().take(count).map(|(at, _)| *at).collect();
        before.reverse();
        let after = self.scrapes.range(at..).map(|(at, _)| *at).filter(|other| *other > at);
        (before, after.take(count).collect())
    }

    /// When each scrape was made, oldest first.
    pub fn times(&self) -> impl DoubleEndedIterator<Item = Timestamp> {
        self.scrapes.keys().copied()
    }

    /// The body of the scrape made at that time.
    pub fn body(&self, at: Timestamp) -> anyhow::Result<Vec<u8>> {
        let place = self.scrapes.get(&at).with_context(|| format!("no scrape was made at {at}"))?;
        let path = match place {
            Place::File(path) => path,
            Place::Group(path, index) => return Ok(self.group(path)?.page(*index)),
        };
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let reader: Box<dyn Read> = match path.extension().is_some_and(|end| end == "gz") {
            true => Box::new(GzDecoder::new(file)),
            false => Box::new(file),
        };
        let mut body = Vec::new();
        let read = reader.take(MAX_BODY_BYTES + 1).read_to_end(&mut body);
        read.with_context(|| path.display().to_string())?;
        if body.len() as u64 > MAX_BODY_BYTES {
            bail!("{}: larger than {MAX_BODY_BYTES} bytes", path.display());
        }
        Ok(body)
    }

    fn group(&self, path: &Arc<Path>) -> anyhow::Result<Arc<Group>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, group)) = &*open
            && known == path
        {
            return Ok(Arc::clone(group));
        }
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let group = Group::read(file).map_err(|why| anyhow!("{}: {why}", path.display()))?;
        let group = Arc::new(group);
        *open = Some((Arc::clone(path), Arc::clone(&group)));
        Ok(group)
    }

    /// Every selected series with its samples, as scraped from a target with these labels. The
    /// second list says which scrapes could not be read, and why: they count as failed.
    pub fn read(
        &self,
        selection: &Selection,
        target: &Labels,
    ) -> anyhow::Result<(Detached, Vec<String>)> {
        let mut cache = SeriesCache::new();
        let reader = PageReader::new(target.clone());
        let mut film = Film::default();
        let mut problems = self.problems.clone();
        for at in self.times() {
            let named = |why: String| format!("{}: {why}", self.scrapes[&at].path().display());
            let body = self.body(at).map_err(|why| format!("{why:#}"));
            match body.and_then(|b| reader.read(&mut cache, selection, &b).map_err(named)) {
                Ok(batch) => film.take(at, &batch),
                Err(why) => {
                    problems.push(why);
                    film.end_all();
                }
            }
            ensure!(
                film.samples <= MAX_SAMPLES,
                "more than {MAX_SAMPLES} samples are read; name metrics in the query instead of \
                 selecting them by pattern"
            );
        }
        Ok((film.detach(), problems))
    }
}

/// Reads the pages of one target as the scraper would.
#[derive(Clone, Debug)]
pub struct PageReader {
    labels: Labels,
    vhost_labels: Vec<String>,
    job: Option<Arc<ScrapeConfig>>,
}

impl PageReader {
    /// A target with these labels, of no job in particular.
    pub fn new(labels: Labels) -> PageReader {
        PageReader { labels, vhost_labels: VHOST_LABELS.map(str::to_owned).to_vec(), job: None }
    }

    /// The same under the rules of a job, and with the names M2 may give its virtual host.
    pub fn of_job(self, job: Option<Arc<ScrapeConfig>>, vhost_labels: &[String]) -> PageReader {
        PageReader { job, vhost_labels: vhost_labels.to_vec(), ..self }
    }

    /// The labels of the target.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Scans a whole page against what the target sent before.
    pub fn read(
        &self,
        cache: &mut SeriesCache,
        selection: &Selection,
        body: &[u8],
    ) -> Result<Batch, String> {
        let job = self.job.as_deref();
        let limits = job.map_or_else(Limits::default, |job| job.limits.clone());
        let honor = job.is_some_and(|job| job.honor_labels);
        let rules = job.map_or(&[][..], |job| &job.metric_relabel);
        let mut admit = |labels: &mut LabelsBuilder| {
            m2::normalise(labels, &self.vhost_labels);
            add_target_labels(labels, &self.labels, honor);
            relabel::apply(rules, labels)
        };
        let mut scan = Scan::begin(cache, selection, Format::Text, &limits, &mut admit);
        scan.feed(body).map_err(|error| error.to_string())?;
        let mut batch = scan.finish().map_err(|error| error.to_string())?;
        if job.is_some_and(|job| !job.honor_timestamps) {
            drop_timestamps(&mut batch);
        }
        Ok(batch)
    }
}

/// Whether the flight recorder wrote it.
fn is_group(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(".scrapes.gz"))
}

/// The time in a file's name.
fn scraped_at(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    plain.strip_suffix(".txt")?.parse().ok().map(Timestamp).filter(is_plausible)
}

/// A time of the common era: with any other nothing can be computed.
fn is_plausible(at: &Timestamp) -> bool {
    (0..=TIME_MAX_MS).contains(&at.0)
}

fn plausible(times: Vec<Timestamp>) -> Result<Vec<Timestamp>, String> {
    match times.iter().find(|at| !is_plausible(at)) {
        Some(at) => Err(format!("has a scrape at {} ms, which is no time", at.0)),
        None => Ok(times),
    }
}

/// The samples of a capture while it is read.
#[derive(Default)]
struct Film {
    epoch: u64,
    /// By the scanner's ids, which mean something within one epoch.
    live: HashMap<u32, usize>,
    series: Vec<(Labels, Vec<Sample>)>,
    samples: usize,
}

impl Film {
    fn take(&mut self, at: Timestamp, batch: &Batch) {
        if batch.epoch != self.epoch {
            self.end_all();
            self.live.clear();
            self.epoch = batch.epoch;
        }
        for (id, labels) in &batch.new {
            self.live.insert(*id, self.series.len());
            self.series.push((labels.clone(), Vec::new()));
        }
        for point in &batch.points {
            let Some(index) = self.live.get(&point.id) else { continue };
            let samples = &mut self.series[*index].1;
            let sample = Sample { at: point.at.unwrap_or(at), value: point.value };
            // A time that is there already, or an older one, is no news.
            if samples.last().is_none_or(|last| last.at < sample.at) {
                samples.push(sample);
                self.samples += 1;
            }
        }
        for id in &batch.vanished {
            if let Some(index) = self.live.get(id) {
                end(&mut self.series[*index].1);
            }
        }
    }

    fn end_all(&mut self) {
        let mut indexes: Vec<usize> = self.live.values().copied().collect();
        indexes.sort_unstable();
        indexes.into_iter().for_each(|index| end(&mut self.series[index].1));
    }

    fn detach(self) -> Detached {
        let mut detached = Detached::default();
        for (labels, samples) in &self.series {
            detached.add(labels, samples);
        }
        detached
    }
}

/// A stale marker a millisecond after the last sample, as in the window.
fn end(samples: &mut Vec<Sample>) {
    if let Some(last) = samples.last().copied()
        && !crate::base::is_stale(last.value)
    {
        samples.push(Sample { at: Timestamp(last.at.0 + 1), value: STALE_NAN });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Selector, Source, Span};

    fn pack(path: &Path, body: &str) {
        use std::io::Write;
        let file = File::create(path).expect("created");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(body.as_bytes()).expect("written");
        encoder.finish().expect("finished");
    }

    #[test]
    fn scrapes_are_read_in_their_order_with_stale_markers() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        pack(&path("2000.txt.gz"), "a{x=\"1\"} 2\nb 7 1500\n");
        fs::write(path("1000.txt"), "a{x=\"1\"} 1\nb 7 1500\nskipped 1\n").expect("written");
        fs::write(path("3000.txt"), "b 8 2500\n").expect("written");
        fs::write(path("4000.txt"), "b } 9\n").expect("written");
        // A disk that was full, or a copy that was cut.
        fs::write(path("5000.txt.gz"), &fs::read(path("2000.txt.gz")).expect("read")[..12])
            .expect("written");
        pack(&path("6000.txt.gz"), "b 9\n");
        fs::write(path("README.md"), "not a scrape").expect("written");
        let capture = Capture::open(dir.path()).expect("opens");
        assert_eq!(
            capture.times().map(|at| at.0).collect::<Vec<_>>(),
            [1000, 2000, 3000, 4000, 5000, 6000]
        );
        let only = Selection::only(["a".to_owned(), "b".to_owned()], Vec::new());
        let target = Labels::from_pairs([("job", "capture")]);
        let (read, problems) = capture.read(&only, &target).expect("reads");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].contains("5000.txt.gz: "), "{problems:?}");
        assert!(problems[0].contains("4000.txt: "), "{problems:?}");
        let all = Span { after: Timestamp(0), upto: Timestamp(9000) };
        let found = read.select(&Selector::new(Vec::new()), all);
        let shown: Vec<String> = found
            .iter()
            .map(|series| {
                let points = series.samples.iter().map(|s| format!("{}={}", s.at.0, s.value));
                format!("{} {}", series.labels, points.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a{job=\"capture\", x=\"1\"} 1000=1 2000=2 2001=NaN",
                "b{job=\"capture\"} 1500=7 2500=8 2501=NaN 6000=9"
            ]
        );
    }

    #[test]
    fn groups_and_single_scrapes_are_one_capture_and_half_a_group_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let mut writer = group::GroupWriter::default();
        for (at, page) in [(2000, "a 2\n"), (3000, "a 3\nb 1 2500\n")] {
            writer.add_page(Timestamp(at), page.as_bytes(), &Selection::all());
        }
        let file = writer.finish().expect("in memory");
        fs::write(path("1000.txt"), "a 1\n").expect("written");
        fs::write(path("2000.scrapes.gz"), &file).expect("written");
        fs::write(path("4000.scrapes.gz"), &file[..file.len() / 2]).expect("written");
        fs::write(path("5000.scrapes.gz.part"), &file).expect("written");
        assert!(Capture::is_in(dir.path()).expect("listed"));
        let capture = Capture::open(dir.path()).expect("opens");
        assert_eq!(capture.times().map(|at| at.0).collect::<Vec<_>>(), [1000, 2000, 3000]);
        assert_eq!(capture.body(Timestamp(3000)).expect("reads"), b"a 3\nb 1 2500\n");
        let [half, never] = capture.problems() else { panic!("{:?}", capture.problems()) };
        assert!(half.contains("4000.scrapes.gz: is not whole"), "{half}");
        assert!(never.contains("5000.scrapes.gz.part: was never finished"), "{never}");
        fs::remove_file(path("1000.txt")).expect("gone");
        fs::remove_file(path("2000.scrapes.gz")).expect("gone");
        let error = Capture::open(dir.path()).expect_err("nothing is left").to_string();
        assert!(error.contains("4000.scrapes.gz: is not whole"), "{error}");
    }

    #[test]
    fn a_time_that_is_none_is_left_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["1000.txt", "-1.txt", "9223372036854775807.txt", "253402300800000.txt"] {
            fs::write(path(name), "a 1\n").expect("written");
        }
        let mut writer = group::GroupWriter::default();
        writer.add_page(Timestamp(i64::MAX), b"a 2\n", &Selection::all());
        fs::write(path("2000.scrapes.gz"), writer.finish().expect("in memory")).expect("written");
        let capture = Capture::open(dir.path()).expect("opens");
        assert_eq!(capture.times().collect::<Vec<_>>(), [Timestamp(1000)]);
        let [problem] = capture.problems() else { panic!("{:?}", capture.problems()) };
        assert!(problem.contains("which is no time; left out"), "{problem}");
    }

    #[test]
    fn an_empty_folder_says_how_scrapes_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = Capture::open(dir.path()).expect_err("is empty").to_string();
        assert!(error.contains("<unix milliseconds>.txt"), "{error}");
    }
}
