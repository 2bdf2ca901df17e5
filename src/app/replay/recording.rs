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

use super::report::Report;
use super::world::{Surroundings, World};
use crate::app::capture::{Capture, PageReader};
use crate::app::config::Config;
use crate::base::{Labels, Now, TargetId, Timestamp, format_rfc3339};
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
        let tracks = folders.iter().map(|folder| Track::open(folder, job.unwrap_or(JOB)));
        let tracks = tracks.collect::<anyhow::Result<Vec<Track>>>()?;
        let mut docker = Vec::new();
        for path in docker_files(folder)? {
            docker.extend(happenings(&path)?);
        }
        docker.sort_by_key(|happening| happening.at_nanos);
        Ok(Recording { tracks, docker })
    }

    /// Files that were left out, and why.
    pub fn problems(&self) -> impl Iterator<Item = &String> {
        self.tracks.iter().flat_map(|track| track.capture.problems())
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

    /// The scrape nearest to a slot, at most half an interval away.
    fn page(&self, slot: Timestamp) -> Result<Vec<u8>, String> {
        let half = self.interval.as_millis() as i64 / 2;
        let near = self.capture.nearest(slot).filter(|at| (at.0 - slot.0).abs() <= half);
        let at =
            near.ok_or_else(|| format!("no scrape was recorded at {}", format_rfc3339(slot)))?;
        self.capture.body(at).map_err(|error| format!("{error:#}"))
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

/// Everything Docker told, from a file of events.
fn happenings(path: &Path) -> anyhow::Result<Vec<Happening>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let packed = path.extension().is_some_and(|end| end == "gz");
    let reader: Box<dyn Read> =
        if packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut text = Vec::new();
    let read = reader.take(MAX_EVENTS_BYTES).read_to_end(&mut text);
    read.with_context(|| path.display().to_string())?;
    let mut all = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let read = read_event(line).map_err(anyhow::Error::msg);
        all.extend(read.with_context(|| format!("{}:{}", path.display(), index + 1))?);
    }
    Ok(all)
}

/// What answers in a replay: the recorded pages. Receivers take everything.
struct Recorded<'a>(&'a [Track]);

impl Surroundings for Recorded<'_> {
    fn page(&mut self, target: TargetId, now: Now) -> Result<Vec<u8>, String> {
        self.0[target.0 as usize].page(now.wall)
    }
}

/// Replays a recording under a setup: the engine lives through it at its own times. `watch` is told
/// how much of it is over, from 0 to 1.
pub fn replay(
    recording: &Recording,
    config: &Config,
    setup: impl Fn() -> Setup + 'static,
    mut watch: impl FnMut(f64),
) -> Report {
    let limits = setup().policy.limits;
    let (first, last) = recording.span();
    let mut world = world(recording, config, setup, first);
    let whole = last.since(first - MARGIN) + MARGIN;
    world.run(whole, |after| watch(after.as_secs_f64() / whole.as_secs_f64()));
    Report::of(&world, &limits)
}

/// What a replay of the part between two times holds in its window at the end: the series that are
/// `wanted`, and those the engine made itself. `None` if they are more than `max_samples`.
pub fn replayed_to(
    recording: &Recording,
    config: &Config,
    setup: impl Fn() -> Setup + 'static,
    (from, end): (Timestamp, Timestamp),
    (wanted, max_samples): (Vec<(Arc<Selector>, Span)>, usize),
) -> Option<Detached> {
    let (first, last) = recording.span();
    let (first, last) = (first.max(from), last.min(end));
    let mut world = world(recording, config, setup, first);
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
