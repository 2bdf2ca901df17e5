//! A recording as it lies on disk, and its replay.
//!
//! A folder of scrapes is one target (see [`Capture`]); a folder of such folders is several, each
//! with a file `target.json` that has its labels. `docker-events.jsonl` beside them, one event of
//! `docker events --format '{{json .}}'` a line, is what Docker told meanwhile.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;

use super::coverage::Coverage;
use super::report::Report;
use super::world::{Surroundings, World};
use crate::app::capture::{Capture, PageReader};
use crate::app::config::Config;
use crate::app::documents::Documents;
use crate::base::{Labels, Now, Timestamp, format_rfc3339};
use crate::containers::{Happening, Report as Told};
use crate::docker::read_event;
use crate::engine::{Event, Setup};
use crate::window::{Detached, Selector, Span};

/// The labels of a folder's target.
const TARGET_FILE: &str = "target.json";
/// What Docker told, plain or compressed, in one file or in several with a time between the two.
const DOCKER_FILES: (&str, [&str; 2]) = ("docker-events.", ["jsonl", "jsonl.gz"]);
/// Docker tells a few lines a minute; a file of this size is something else.
const MAX_EVENTS_BYTES: u64 = 256 << 20;
/// The job of a target that says nothing of itself, if the configuration does not have exactly one.
const JOB: &str = "replay";
/// Slots of all targets share a phase of a minute, as on a live host.
const PHASE_MS: i64 = 60_000;
/// The engine starts a moment before the first scrape and ends a moment after the last.
const MARGIN: Duration = Duration::from_secs(1);
/// Scrapes on either side of a slot that say how far apart they lay then.
const NEIGHBOURS: usize = 5;

/// The scrapes of one target.
#[derive(Debug)]
pub struct Track {
    /// `job`, `instance`, …
    pub labels: Labels,
    /// How far apart its scrapes lie.
    pub interval: Duration,
    capture: Capture,
}

/// A recorded host.
#[derive(Debug)]
pub struct Recording {
    /// Its targets.
    pub tracks: Vec<Track>,
    docker: Vec<Happening>,
    /// Targets and what Docker told that could not be read.
    problems: Vec<String>,
}

impl Recording {
    /// The folder of one target, or of several with a folder each.
    ///
    /// Lists what a folder holds. `job` names the job of targets that do not say theirs.
    pub fn open(folder: &Path, job: Option<&str>) -> anyhow::Result<Recording> {
        let mut folders = vec![folder.to_owned()];
        if !Capture::is_in(folder)? {
            folders = subfolders(folder)?;
            folders.retain(|folder| Capture::is_in(folder).unwrap_or(false));
        }
        ensure!(
            !folders.is_empty(),
            "{}: no recorded scrape in it or its folders; scrapes are named <unix \
             milliseconds>.txt, .txt.gz or .scrapes.gz",
            folder.display()
        );
        let (mut tracks, mut docker, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for folder in folders {
            match Track::open(&folder, job.unwrap_or(JOB)) {
                Ok(track) => tracks.push(track),
                Err(why) => problems.push(format!("{why:#}; left out")),
            }
        }
        ensure!(!tracks.is_empty(), "{}", problems.join("; "));
        for path in docker_files(folder)? {
            let (told, problem) = happenings(&path);
            docker.extend(told);
            problems.extend(problem.map(|why| format!("{}{why}", path.display())));
        }
        docker.sort_by_key(|happening| happening.at_nanos);
        Ok(Recording { tracks, docker, problems })
    }

    /// Files that were left out, and why.
    pub fn problems(&self) -> impl Iterator<Item = &String> {
        self.tracks.iter().flat_map(|track| track.capture.problems()).chain(&self.problems)
    }

    /// When the first scrape was made, and the last.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let times = || self.tracks.iter().flat_map(|track| track.capture.times());
        let first = times().min().expect("a capture has scrapes");
        (first, times().max().expect("a capture has scrapes"))
    }

    /// The labels of its targets.
    pub fn targets(&self) -> impl Iterator<Item = &Labels> {
        self.tracks.iter().map(|track| &track.labels)
    }

    /// How many scrapes there are.
    pub fn scrapes(&self) -> usize {
        self.tracks.iter().map(|track| track.capture.times().count()).sum()
    }
}

impl Track {
    fn open(folder: &Path, job: &str) -> anyhow::Result<Track> {
        let capture = Capture::open(folder)?;
        let about = folder.join(TARGET_FILE);
        let labels = if about.exists() {
            let text = fs::read(&about).with_context(|| about.display().to_string())?;
            let read = serde_json::from_slice::<std::collections::BTreeMap<String, String>>(&text);
            let labels = read.with_context(|| about.display().to_string())?;
            Labels::from_pairs(labels.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        } else {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            Labels::from_pairs([("job", job), ("instance", &name)])
        };
        let interval = spacing(&capture);
        Ok(Track { labels, interval, capture })
    }

    /// What a slot's scrape says: that of the one nearest to it, at most half an interval away. Where
    /// scrapes lay further apart than most do (the interval was another one then), the last one stands until
    /// the next.
    fn page(&self, slot: Timestamp) -> Result<Vec<u8>, String> {
        let half = self.interval / 2;
        let is_near = |at: &Timestamp| at.since(slot).max(slot.since(*at)) <= half;
        let at = match self.capture.nearest(slot).filter(is_near) {
            Some(near) => near,
            None => self.standing(slot)?,
        };
        self.capture.body(at).map_err(|error| format!("{error:#}"))
    }

    /// The last scrape before a slot, if none is missing between that and the next. The error names the
    /// gap, not the slot: it is one, however many slots it has.
    fn standing(&self, slot: Timestamp) -> Result<Timestamp, String> {
        let (before, after) = self.capture.around(slot, NEIGHBOURS);
        let (last, next) = (before.last().copied(), after.first().copied());
        let times: Vec<Timestamp> = before.into_iter().chain(after).collect();
        let mut apart: Vec<Duration> = times.windows(2).map(|two| two[1].since(two[0])).collect();
        apart.sort_unstable();
        let usual = apart.get(apart.len() / 2).copied().unwrap_or_default();
        let stands = |last: &Timestamp| next.unwrap_or(slot).since(*last) <= usual * 3 / 2;
        let shown = |at: Option<Timestamp>| at.map(format_rfc3339).unwrap_or_default();
        last.filter(stands).ok_or_else(|| match (last, next) {
            (Some(_), Some(_)) => {
                format!("no scrape was recorded between {} and {}", shown(last), shown(next))
            }
            (Some(_), None) => format!("no scrape was recorded after {}", shown(last)),
            (None, _) => format!("no scrape was recorded before {}", shown(next)),
        })
    }
}

/// The usual distance between scrapes, in whole seconds: the median.
fn spacing(capture: &Capture) -> Duration {
    let times: Vec<Timestamp> = capture.times().collect();
    let mut apart: Vec<u64> =
        times.windows(2).map(|two| two[1].since(two[0]).as_millis() as u64).collect();
    apart.sort_unstable();
    let median = apart.get(apart.len() / 2).copied().unwrap_or(1000);
    Duration::from_secs(((median + 500) / 1000).max(1))
}

fn subfolders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found = Vec::new();
    for entry in listing {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn docker_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let (start, ends) = DOCKER_FILES;
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(start) && ends.iter().any(|end| name.ends_with(end))
    };
    let mut found: Vec<PathBuf> =
        listing.flatten().map(|file| file.path()).filter(is_one).collect();
    found.sort();
    Ok(found)
}

/// Everything Docker told, from a file of events; and where it cannot be read, and why. A line that is
/// damaged costs itself, and a file that a running recorder has removed meanwhile costs no replay.
fn happenings(path: &Path) -> (Vec<Happening>, Option<String>) {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| {
        let packed = path.extension().is_some_and(|end| end == "gz");
        let reader: Box<dyn Read> =
            if packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        reader.take(MAX_EVENTS_BYTES).read_to_end(&mut text)
    });
    let mut problem = read.err().map(|error| format!(": {error}; the rest is left out"));
    let (mut all, mut damaged) = (Vec::new(), 0);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match read_event(line) {
            Ok(told) => all.extend(told),
            Err(why) => {
                damaged += 1;
                problem.get_or_insert_with(|| format!(":{}: {why}; left out", index + 1));
            }
        }
    }
    if damaged > 1 {
        problem = problem.map(|why| format!("{why}; {damaged} lines cannot be read"));
    }
    (all, problem)
}

/// What answers in a replay: the recorded pages. Receivers take everything.
struct Recorded<'a>(&'a [Track]);

impl Surroundings for Recorded<'_> {
    const KEEPS_HEARD: bool = false;

    fn page(&mut self, place: usize, now: Now) -> Result<Vec<u8>, String> {
        self.0[place].page(now.wall)
    }
}

/// Replays a recording under a setup: the engine lives through it at its own times, with these documents.
/// Where nothing was recorded for long it is off meanwhile. `watch` is told how much of it is over, from 0
/// to 1.
pub fn replay(
    recording: &Recording,
    config: &Config,
    documents: &Documents,
    setup: impl Fn() -> Setup + 'static,
    mut watch: impl FnMut(f64),
) -> Report {
    let limits = setup().policy.limits;
    let (first, last) = recording.span();
    let times: Vec<Vec<Timestamp>> =
        recording.tracks.iter().map(|track| track.capture.times().collect()).collect();
    let coverage = Coverage::of(&times);
    let mut world = world(recording, config, setup, first);
    let start = first - MARGIN;
    let tell = |world: &mut World<Recorded<'_>>, after: Duration| {
        documents.events().into_iter().for_each(|event| world.at(after, event));
    };
    tell(&mut world, Duration::ZERO);
    for (from, to) in &coverage.off {
        let again = (*to - MARGIN).since(start);
        world.kill((*from + MARGIN).since(start), again);
        tell(&mut world, again);
    }
    let whole = last.since(start) + MARGIN;
    world.run(whole, |after| watch(after.as_secs_f64() / whole.as_secs_f64()));
    Report::of(&world, &limits, &coverage)
}

/// What a replay of the part between two times, with these documents, holds in its window at the end: the series that are
/// `wanted`, and those the engine made itself. `None` if they are more than `max_samples`.
pub fn replayed_to(
    recording: &Recording,
    (config, documents): (&Config, &Documents),
    setup: impl Fn() -> Setup + 'static,
    (from, end): (Timestamp, Timestamp),
    (wanted, max_samples): (Vec<(Arc<Selector>, Span)>, usize),
) -> Option<Detached> {
    let (first, last) = recording.span();
    let (first, last) = (first.max(from), last.min(end));
    let mut world = world(recording, config, setup, first);
    documents.events().into_iter().for_each(|event| world.at(Duration::ZERO, event));
    world.run(last.since(first - MARGIN) + MARGIN, |_| ());
    world.copy(&wanted, max_samples)
}

/// The world of a recording, from a time on.
fn world<'a>(
    recording: &'a Recording,
    config: &Config,
    setup: impl Fn() -> Setup + 'static,
    first: Timestamp,
) -> World<Recorded<'a>> {
    let phase = Duration::from_millis(recording.span().0.0.rem_euclid(PHASE_MS) as u64);
    let in_phase = move || {
        let mut setup = setup();
        setup.pace.phase = phase;
        setup
    };
    let start = first - MARGIN;
    let mut world = World::new(in_phase, start, Recorded(&recording.tracks));
    for track in &recording.tracks {
        let job = config.jobs.iter().find(|job| track.labels.get("job") == Some(&*job.job_name));
        let reader = PageReader::new(track.labels.clone())
            .of_job(job.cloned().map(Arc::new), &config.policy.vhost_labels);
        world.add_target(reader, track.interval);
    }
    for happening in recording.docker.iter().filter(|happening| happening.at() >= start) {
        let after = happening.at().since(start);
        world.at(after, Event::Docker(Told::Happened(happening.clone())));
    }
    world
}
