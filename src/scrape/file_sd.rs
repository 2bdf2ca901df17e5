//! `file_sd_configs`: target lists in files that others write.
//!
//! Files are looked at every few seconds by size and time of change (no inotify, which misses
//! network mounts and renamed directories), and read again after `refresh_interval` in any case. A
//! file that cannot be read or found keeps the targets it had, and says so once; one that is not
//! there takes its targets with it. Nothing here is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::{FileSdConfig, ScrapeConfig, file_groups};
use crate::endpoint::TargetGroup;

/// How often files are looked at, unless `refresh_interval` is shorter: soon enough for a person to
/// notice, cheap enough to forget.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Never more often than this.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// Larger files are not target lists.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The label that says which file a target comes from.
const FILE_LABEL: &str = "__meta_filepath";

/// A path whose last part may hold `*` and `?`, ending in `.json`, `.yml` or `.yaml`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePattern {
    directory: PathBuf,
    name: String,
}

/// The groups found in files, by job. Jobs without files are not in it.
pub type FileTargets = BTreeMap<String, Vec<TargetGroup>>;

/// What a look at the files found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Refreshed {
    /// Every group there is now, if any changed.
    pub targets: Option<FileTargets>,
    /// What was not told yet of files that could not be read, one line each.
    pub problems: Vec<String>,
    /// How often a file or a directory could not be read, told or not.
    pub failures: u64,
}

/// The files of every job.
#[derive(Debug)]
pub struct Discovery {
    jobs: Vec<(String, Vec<FileSd>)>,
}

/// The files of one `file_sd_configs` entry, as they were last seen.
#[derive(Debug)]
struct FileSd {
    config: FileSdConfig,
    files: BTreeMap<PathBuf, Known>,
    /// Why directories could not be listed the last time.
    unlisted: BTreeSet<String>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    read_at: Duration,
    groups: Vec<TargetGroup>,
    /// What was wrong with it the last time, and was told.
    problem: Option<String>,
}

/// Changes when a file does.
type Stamp = Option<(SystemTime, u64)>;

impl FilePattern {
    /// A pattern for `path`. The error says what cannot be a pattern.
    pub fn new(path: &Path) -> Result<FilePattern, String> {
        let shown = path.display();
        let (Some(directory), Some(name)) =
            (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(format!("`{shown}` names no file"));
        };
        let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("");
        if !["json", "yml", "yaml"].contains(&extension.to_ascii_lowercase().as_str()) {
            return Err(format!("`{shown}` must end in .json, .yml or .yaml"));
        }
        if directory.to_string_lossy().contains(['*', '?']) {
            return Err(format!("`{shown}`: `*` and `?` may stand in the last part only"));
        }
        // In Go's patterns they mean something; here they would only never match.
        if shown.to_string().contains(['[', '\\']) {
            return Err(format!(
                "`{shown}`: a pattern has `*` and `?`, but neither `[…]` nor `\\`"
            ));
        }
        Ok(FilePattern { directory: directory.to_owned(), name: name.to_owned() })
    }

    /// The files that match now. Only what is certainly not there is left out; reading tells the
    /// rest.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        if !self.name.contains(['*', '?']) {
            let path = self.directory.join(&self.name);
            let is_gone =
                fs::symlink_metadata(&path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
            return Ok(if is_gone { Vec::new() } else { vec![path] });
        }
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| self.matches(path)).collect())
    }

    fn matches(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        path.parent() == Some(&self.directory) && name.is_some_and(|name| glob(&self.name, name))
    }
}

impl Discovery {
    /// The files these jobs name. None has been looked at.
    pub fn new(jobs: &[Arc<ScrapeConfig>]) -> Discovery {
        let with_files = jobs.iter().filter(|job| !job.file_sd.is_empty());
        let files = |job: &ScrapeConfig| job.file_sd.iter().cloned().map(FileSd::new).collect();
        Discovery { jobs: with_files.map(|job| (job.job_name.clone(), files(job))).collect() }
    }

    /// Looks at every file at monotonic time `now`. Blocks on the file system.
    pub fn refresh(&mut self, now: Duration) -> Refreshed {
        let (mut changed, mut refreshed) = (false, Refreshed::default());
        for (_, files) in &mut self.jobs {
            for file in files {
                changed |= file.refresh(now, &mut refreshed);
            }
        }
        let groups = |files: &[FileSd]| files.iter().flat_map(FileSd::groups).cloned().collect();
        let all = || self.jobs.iter().map(|(job, files)| (job.clone(), groups(files))).collect();
        refreshed.targets = changed.then(all);
        refreshed
    }

    /// How often to look: [`POLL_INTERVAL`], or as often as the most impatient entry says.
    fn poll_interval(&self) -> Duration {
        let all = self.jobs.iter().flat_map(|(_, files)| files);
        let asked = all.map(|file| file.config.refresh_interval).min();
        asked.unwrap_or(POLL_INTERVAL).clamp(SHORTEST_POLL, POLL_INTERVAL)
    }

    /// Looks at every [`POLL_INTERVAL`], or more often if asked to, and tells what changed, until nobody listens. Ends at once
    /// if no job names a file.
    pub async fn watch(mut self, tell: mpsc::Sender<Refreshed>) {
        let started = Instant::now();
        while !self.jobs.is_empty() {
            tokio::select! {
                () = tell.closed() => return,
                () = tokio::time::sleep(self.poll_interval()) => {}
            }
            let look = tokio::task::spawn_blocking(move || {
                let refreshed = self.refresh(started.elapsed());
                (self, refreshed)
            });
            // Fails only if the look panicked or the runtime is stopping.
            let Ok((discovery, refreshed)) = look.await else { return };
            self = discovery;
            if refreshed != Refreshed::default() && tell.send(refreshed).await.is_err() {
                return;
            }
        }
    }
}

impl FileSd {
    /// Knows no file yet.
    fn new(config: FileSdConfig) -> FileSd {
        FileSd { config, files: BTreeMap::new(), unlisted: BTreeSet::new() }
    }

    /// The files there are, in order of name. What is known of a directory that cannot be listed
    /// counts as there.
    fn present(&mut self, refreshed: &mut Refreshed) -> BTreeSet<PathBuf> {
        let (mut present, mut unlisted) = (BTreeSet::new(), BTreeSet::new());
        for pattern in &self.config.files {
            match pattern.files() {
                Ok(found) => present.extend(found),
                Err(error) => {
                    let known = self.files.keys().filter(|path| pattern.matches(path));
                    present.extend(known.cloned());
                    let shown = pattern.directory.display();
                    unlisted.insert(format!(
                        "target files in {shown}: {error}; the last good targets are kept"
                    ));
                }
            }
        }
        refreshed.failures += unlisted.len() as u64;
        refreshed.problems.extend(unlisted.difference(&self.unlisted).cloned());
        self.unlisted = unlisted;
        present
    }

    /// Looks at the files at monotonic time `now`: whether the targets may have changed. Adds what
    /// could not be read. Blocks on the file system.
    fn refresh(&mut self, now: Duration, refreshed: &mut Refreshed) -> bool {
        let present = self.present(refreshed);
        let known = self.files.len();
        self.files.retain(|path, _| present.contains(path));
        let mut changed = self.files.len() != known;
        for path in present {
            let stamp = stamp(&path);
            let old = self.files.get_mut(&path);
            if let Some(old) = &old
                && old.stamp == stamp
                && now.saturating_sub(old.read_at) < self.config.refresh_interval
            {
                continue;
            }
            let mut known = Known { stamp, read_at: now, groups: Vec::new(), problem: None };
            match read_groups(&path) {
                Ok(groups) => {
                    changed |= old.is_none_or(|old| old.groups != groups);
                    known.groups = groups;
                }
                Err(error) => {
                    let kept = if old.is_some() {
                        "its last good targets are kept"
                    } else {
                        "it has no targets yet"
                    };
                    let was_told = old.as_ref().is_some_and(|old| {
                        old.stamp == stamp && old.problem.as_ref() == Some(&error)
                    });
                    refreshed.failures += 1;
                    if !was_told {
                        refreshed.problems.push(format!("{error}; {kept}"));
                    }
                    known.groups =
                        old.map(|old| std::mem::take(&mut old.groups)).unwrap_or_default();
                    known.problem = Some(error);
                }
            }
            self.files.insert(path, known);
        }
        changed
    }

    /// The groups of all files, in order of name.
    fn groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.files.values().flat_map(|known| &known.groups)
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read_groups(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let shown = path.display().to_string();
    let bad = |error| format!("target file {shown}: {error}");
    let length = fs::metadata(path).map_err(bad)?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("target file {shown}: longer than {MAX_FILE_BYTES} bytes"));
    }
    let text = fs::read_to_string(path).map_err(bad)?;
    let mut groups = file_groups(&shown, &text).map_err(|error| format!("target file {error}"))?;
    for group in &mut groups {
        group.labels = group.labels.with(FILE_LABEL, &shown);
    }
    Ok(groups)
}

/// Whether `name` matches a pattern of `*` (any characters) and `?` (any one).
fn glob(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let tail = rest.as_str();
            name.char_indices().any(|(at, _)| glob(tail, &name[at..])) || glob(tail, "")
        }
        Some(wanted) => {
            let mut letters = name.chars();
            letters.next().is_some_and(|letter| wanted == '?' || wanted == letter)
                && glob(rest.as_str(), letters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names() {
        for (pattern, name, want) in [
            ("a.json", "a.json", true),
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("*.json", "a.yml", false),
            ("t-?.yml", "t-1.yml", true),
            ("t-?.yml", "t-12.yml", false),
            ("*-*.yml", "a-b-c.yml", true),
            ("*é?.yml", "caféx.yml", true),
        ] {
            assert_eq!(glob(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for (path, words) in [
            ("/a/b.txt", "must end in"),
            ("/a/*/b.json", "last part only"),
            ("/d?r/b.json", "last part only"),
            ("/a/[ab].json", "neither"),
            ("/[a]/b.json", "neither"),
            ("/a/\\*.json", "neither"),
            ("/", "names no file"),
        ] {
            let error = FilePattern::new(Path::new(path)).expect_err(path);
            assert!(error.contains(words), "{error}");
        }
    }

    fn watcher(dir: &Path) -> FileSd {
        FileSd::new(FileSdConfig {
            files: vec![FilePattern::new(&dir.join("*.json")).expect("good")],
            refresh_interval: Duration::from_secs(300),
        })
    }

    /// Whether the targets may have changed, and what is told.
    fn refresh(files: &mut FileSd, seconds: u64) -> (bool, Vec<String>) {
        let mut refreshed = Refreshed::default();
        let changed = files.refresh(Duration::from_secs(seconds), &mut refreshed);
        (changed, refreshed.problems)
    }

    fn targets(files: &FileSd) -> Vec<String> {
        files.groups().flat_map(|group| group.targets.clone()).collect()
    }

    #[test]
    fn files_come_change_break_and_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a.json"), dir.path().join("b.json"));
        let mut files = watcher(dir.path());
        assert_eq!(refresh(&mut files, 0), (false, vec![]), "an empty directory is no problem");

        fs::write(&a, r#"[{"targets": ["h:1"], "labels": {"env": "prod"}}]"#).expect("written");
        fs::write(&b, r#"[{"targets": ["h:2", "h:3"]}]"#).expect("written");
        assert_eq!(refresh(&mut files, 5), (true, vec![]));
        assert_eq!(targets(&files), ["h:1", "h:2", "h:3"]);
        let labels = &files.groups().next().expect("a group").labels;
        assert_eq!(labels.get("env"), Some("prod"));
        assert_eq!(labels.get(FILE_LABEL), a.to_str());
        assert_eq!(refresh(&mut files, 10), (false, vec![]), "nothing changed");

        fs::write(&a, r#"[{"targets": ["h:1", "#).expect("written");
        let (changed, problems) = refresh(&mut files, 15);
        assert!(!changed, "a broken file keeps its targets");
        assert_eq!(targets(&files), ["h:1", "h:2", "h:3"]);
        let [problem] = &problems[..] else { panic!("one problem: {problems:?}") };
        assert!(problem.contains("a.json:1:"), "names file and line: {problem}");
        assert!(problem.contains("kept"), "{problem}");
        assert_eq!(refresh(&mut files, 20), (false, vec![]), "said once per change");
        assert_eq!(refresh(&mut files, 320), (false, vec![]), "also when it is read again");
        for (second, text) in [(325, ""), (330, " \n"), (335, "# none"), (340, "{}")] {
            fs::write(&a, text).expect("written");
            let (changed, problems) = refresh(&mut files, second);
            assert!(!changed && problems.len() == 1, "{text:?}: {changed} {problems:?}");
            assert!(problems[0].contains("a.json:"), "{text:?}: {problems:?}");
        }
        assert_eq!(targets(&files), ["h:1", "h:2", "h:3"]);

        fs::write(&a, r#"[{"targets": ["h:9"]}]"#).expect("written");
        fs::remove_file(&b).expect("removed");
        assert_eq!(refresh(&mut files, 345), (true, vec![]));
        assert_eq!(targets(&files), ["h:9"]);
    }

    #[test]
    fn every_failed_reading_is_counted_though_it_is_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("a.json"), "[").expect("written");
        let mut files = watcher(dir.path());
        let mut looks = (0..4).map(|look| {
            let mut refreshed = Refreshed::default();
            files.refresh(Duration::from_secs(300 * look), &mut refreshed);
            (refreshed.problems.len(), refreshed.failures)
        });
        assert_eq!(looks.next(), Some((1, 1)));
        assert!(looks.all(|look| look == (0, 1)));
    }

    /// What stands in for a directory that may not be read: the tests may run as root.
    #[test]
    fn what_cannot_be_listed_or_read_is_not_gone() {
        for pattern in ["*.json", "a.json"] {
            let dir = tempfile::tempdir().expect("a directory");
            let below = dir.path().join("sd");
            fs::create_dir(&below).expect("made");
            let path = below.join("a.json");
            fs::write(&path, r#"[{"targets": ["h:1"]}]"#).expect("written");
            let pattern = FilePattern::new(&below.join(pattern)).expect("good");
            let refresh_interval = Duration::from_secs(300);
            let mut files = FileSd::new(FileSdConfig { files: vec![pattern], refresh_interval });
            assert_eq!(refresh(&mut files, 0), (true, vec![]));
            fs::remove_dir_all(&below).expect("removed");
            fs::write(&below, "").expect("a file where the directory was");
            let (changed, problems) = refresh(&mut files, 5);
            assert!(!changed && !problems.is_empty(), "{changed} {problems:?}");
            assert!(problems.iter().all(|problem| problem.contains("kept")), "{problems:?}");
            assert_eq!(refresh(&mut files, 10), (false, vec![]), "said once");
            assert_eq!(targets(&files), ["h:1"]);
            fs::remove_file(&below).expect("removed");
            assert_eq!(refresh(&mut files, 15), (true, vec![]), "now it is gone");
        }
    }

    #[test]
    fn a_file_that_is_too_long_keeps_its_targets() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.json");
        let text = r#"[{"targets": ["h:1"]}]"#;
        fs::write(&path, text).expect("written");
        let mut files = watcher(dir.path());
        refresh(&mut files, 0);
        // It would be read as well as before: blanks are JSON.
        let padded = |length: u64| text.to_owned() + &" ".repeat(length as usize - text.len());
        fs::write(&path, padded(MAX_FILE_BYTES + 1).replace("h:1", "h:2")).expect("written");
        let (changed, problems) = refresh(&mut files, 5);
        assert!(!changed && problems[0].contains("longer than"), "{problems:?}");
        assert_eq!(targets(&files), ["h:1"]);
        fs::write(&path, padded(MAX_FILE_BYTES).replace("h:1", "h:2")).expect("written");
        assert_eq!(refresh(&mut files, 10), (true, vec![]));
    }

    #[test]
    fn files_are_read_again_after_the_interval_even_if_they_look_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.json");
        fs::write(&path, r#"[{"targets": ["h:1"]}]"#).expect("written");
        let mut files = watcher(dir.path());
        refresh(&mut files, 0);
        let modified = fs::metadata(&path).expect("there").modified().expect("has a time");
        fs::write(&path, r#"[{"targets": ["h:2"]}]"#).expect("written");
        let file = fs::File::options().write(true).open(&path).expect("opens");
        file.set_modified(modified).expect("the clock of the file is set back");
        assert_eq!(refresh(&mut files, 299), (false, vec![]));
        assert_eq!(refresh(&mut files, 300), (true, vec![]));
        assert_eq!(targets(&files), ["h:2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_told_until_nobody_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.json");
        let config = watcher(dir.path()).config;
        let discovery = Discovery { jobs: vec![("j".to_owned(), vec![FileSd::new(config)])] };
        let (tell, mut heard) = mpsc::channel(1);
        let watch = tokio::spawn(discovery.watch(tell));
        for (text, want) in [
            (r#"[{"targets": ["h:1"]}]"#, Some(1)),
            ("[", None),
            (r#"[{"targets": ["h:1", "h:2"]}]"#, Some(2)),
        ] {
            fs::write(&path, text).expect("written");
            let refreshed = heard.recv().await.expect("told");
            let found = refreshed.targets.map(|targets| targets["j"][0].targets.len());
            assert_eq!(found, want, "{text}");
            assert_eq!(refreshed.problems.len(), usize::from(want.is_none()), "{text}");
        }
        drop(heard);
        watch.await.expect("ends");
        let nobody = mpsc::channel(1).0;
        Discovery::new(&[]).watch(nobody).await;
    }

    #[test]
    fn files_are_looked_at_as_often_as_the_most_impatient_entry_says() {
        let discovery = |seconds: &[f64]| {
            let file = |s: &f64| {
                FileSd::new(FileSdConfig {
                    files: Vec::new(),
                    refresh_interval: Duration::from_secs_f64(*s),
                })
            };
            Discovery { jobs: vec![("j".to_owned(), seconds.iter().map(file).collect())] }
        };
        for (asked, want) in
            [(&[300.0][..], 5.0), (&[300.0, 1.0], 1.0), (&[0.000_001], 0.1), (&[], 5.0)]
        {
            let got = discovery(asked).poll_interval();
            assert_eq!(got, Duration::from_secs_f64(want), "{asked:?}");
        }
    }

    #[test]
    fn unknown_keys_and_wrong_shapes_keep_the_old_targets() {
        for text in ["{}", r#"[{"target": ["a"]}]"#, r#"["a"]"#, "\u{0}", "[{targets: [[a]]}]"] {
            assert!(file_groups("f.yml", text).is_err(), "{text}");
        }
        assert_eq!(file_groups("f.yml", ""), Ok(vec![]), "an empty file is an empty list");
        for text in ["", "[{targets: [a]}]", "[]\n[]"] {
            let error = file_groups("f.json", text).expect_err(text);
            assert!(error.starts_with("f.json:"), "{text:?}: {error}");
        }
        assert_eq!(file_groups("f.json", "[]"), Ok(vec![]));
    }
}
