//! One container that is being followed: its handles, its series, and what has to be remembered of
//! it between two collections.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::figures::Figures;
use super::files::{Handle, Reader, is_gone};
use super::kept::{Kept, Moment, tell_rest};
use super::kills::Kills;
use super::life::{Life, is_populated};
use super::machine::{Machine, network_of, pids};
use super::parse::single;
use super::series::Slots;
use super::sources::{
    AVAILABLE, EVENTS, LIMITS, NETWORK, PULSE, Parts, Source, USAGE, V1, V2, network,
};
use super::tree::{Tree, Version};
use crate::base::{Labels, START_SKEW_S, Timestamp};
use crate::containers::{Container, ContainerId, Limits};

/// From this share of its memory limit a container is read whole each time: whoever raises a limit
/// that is nearly reached must not see the container restarted for the old one.
const NEAR_THE_LIMIT: f64 = 0.85;
/// A process is looked for this often; a cgroup whose processes are all in its children has none.
pub(super) const TRIES_FOR_START: u8 = 3;
/// Processes of one container that are asked when they started, for the oldest.
const PROCESSES_ASKED: usize = 1000;

/// Why a container is not read any more.
pub(super) enum Away {
    /// Its cgroup is not there.
    Gone,
    /// Nothing runs in it.
    Over,
}

/// Where things are read, shared by all containers of a host.
pub(super) struct Eyes<'a> {
    pub reader: &'a mut Reader,
    pub tree: &'a Tree,
    pub machine: &'a Machine,
    pub proc_root: &'a Path,
    pub now: Moment,
    /// Handles that each file in the order of the version's table leaves free for those before it,
    /// the last number for all that follow.
    pub spare: [usize; PULSE + 1],
    /// Whether there are handles enough for files that are seldom read, too.
    pub keeps_all: bool,
}

/// A container.
#[derive(Debug)]
pub(super) struct Tracked {
    pub id: ContainerId,
    /// When its cgroup was found.
    pub since: Timestamp,
    /// Whether it was there when this host was first looked at.
    pub was_there: bool,
    /// The labels all its series carry; none while its name is waited for.
    pub labels: Option<Labels>,
    /// Whether the name among them is Docker's.
    pub named: bool,
    pub slots: Slots,
    handles: Vec<Handle>,
    /// The most memory seen since the last collection, bytes.
    sampled: Option<f64>,
    /// What it used when the last collection found it at rest, bytes; none once it moves.
    resting_at: Option<f64>,
    /// The kernel's high-water mark at the last collection; none before the first, so that an old
    /// peak is not taken for a new one.
    high_water: Option<f64>,
    /// When its first process started, seconds; for a container Docker does not tell of.
    pub started_at: Option<f64>,
    /// It has a process, and that could not be looked at.
    pub is_start_hidden: bool,
    tries: u8,
    /// Its cgroup was removed and made anew since this was asked last: the kernel counts from 0 again.
    pub is_another_run: bool,
    /// Kills in it are counted where nobody reads.
    pub counts_elsewhere: bool,
    /// The number of its cgroup when that was seen empty.
    emptied: Option<u64>,
    /// The number of its cgroup when its first file was opened last: no handle says that it is another.
    number: Option<u64>,
    /// The kernel's count of kills in this cgroup that was taken last.
    told_kills: Option<f64>,
    life: Life,
    kept: Kept,
    /// What Docker last believed.
    believed: Option<Limits>,
    /// What could not be read in the last reading: all of it, and why the first.
    pub failed: Parts,
    pub failure: Option<Failure>,
}

/// The files of a version.
pub(super) fn sources(version: Version) -> &'static [Source] {
    match version {
        Version::V1 => &V1,
        Version::V2 => &V2,
    }
}

impl Tracked {
    /// A container found now; `is_new` if it was not there at the last look.
    pub fn new(id: ContainerId, since: Timestamp, is_new: bool) -> Tracked {
        Tracked {
            kept: Kept::new(&id),
            id,
            since,
            was_there: !is_new,
            labels: None,
            named: false,
            slots: Slots::default(),
            handles: Vec::new(),
            sampled: None,
            resting_at: None,
            high_water: is_new.then_some(0.0),
            started_at: None,
            is_start_hidden: false,
            tries: 0,
            is_another_run: false,
            counts_elsewhere: false,
            emptied: None,
            number: None,
            told_kills: None,
            life: Life::default(),
            believed: None,
            failed: 0,
            failure: None,
        }
    }

    /// Reads what `parts` ask for. A container that was restarted under its id is read anew.
    pub fn read(
        &mut self,
        eyes: &mut Eyes<'_>,
        path: &str,
        parts: Parts,
        figures: &mut Figures,
    ) -> Result<(), Away> {
        if self.life.is_over {
            if !is_populated(eyes.reader, eyes.tree, path) {
                return self.read_last_word(eyes, path, parts, figures);
            }
            // Who comes back may be given the empty cgroup, whose count goes on, or another.
            if self.emptied.take() != number_of(eyes.tree, path) {
                self.be_another_run();
            }
        }
        if self.lacks(0) {
            let number = number_of(eyes.tree, path);
            if self.number.zip(number).is_some_and(|(before, now)| before != now) {
                self.begin_anew(eyes.reader);
                self.be_another_run();
            }
            self.number = number;
        }
        let read = match self.read_files(eyes, path, parts, figures) {
            Err(Away::Gone) => {
                self.begin_anew(eyes.reader);
                self.be_another_run();
                self.read_files(eyes, path, parts, figures)
            }
            read => read,
        };
        if let Err(Away::Over) = read {
            self.begin_anew(eyes.reader);
            self.life.end();
            self.emptied = number_of(eyes.tree, path);
            return self.read_last_word(eyes, path, parts, figures);
        }
        read
    }

    /// An empty cgroup still tells how many of its processes were killed. It is read for that once, and taken if
    /// that is news: whoever is read again lives on. Nothing else it says is of the container, and missed for as
    /// long.
    fn read_last_word(
        &mut self,
        eyes: &mut Eyes<'_>,
        path: &str,
        parts: Parts,
        figures: &mut Figures,
    ) -> Result<(), Away> {
        if self.life.has_spoken || parts & EVENTS == 0 {
            return Err(Away::Over);
        }
        *figures = Figures::default();
        (self.failed, self.failure) = (0, None);
        let sources = sources(eyes.tree.version());
        for (at, source) in sources.iter().enumerate().filter(|(_, s)| s.parts & EVENTS != 0) {
            self.read_file(eyes, (path, at, source), figures)?;
        }
        self.leave_out_part(eyes, path, figures);
        self.close(eyes.reader);
        if figures.oom_kills == self.told_kills {
            self.life.has_spoken = true;
            return Err(Away::Over);
        }
        self.failed |= parts & !EVENTS;
        Ok(())
    }

    /// Whether nothing runs in it. Its cgroup was read for that.
    pub fn is_over(&self) -> bool {
        self.life.is_over
    }

    /// What was read of it was taken: one that is over has said its last word.
    pub fn was_taken(&mut self, figures: &Figures) {
        self.life.has_spoken = self.life.is_over;
        self.told_kills = figures.oom_kills.or(self.told_kills);
    }

    /// What was read of it was lost: its last word, too.
    pub fn was_lost(&mut self) {
        (self.life.has_spoken, self.told_kills) = (false, None);
    }

    /// Its cgroup was removed and made anew.
    fn be_another_run(&mut self) {
        (self.is_another_run, self.counts_elsewhere) = (true, false);
        self.told_kills = None;
    }

    /// What it is read as next is another run.
    fn begin_anew(&mut self, reader: &mut Reader) {
        self.close(reader);
        self.kept.clear();
        (self.life, self.number) = (Life::default(), None);
        (self.high_water, self.sampled) = (Some(0.0), None);
        (self.started_at, self.tries) = (None, 0);
    }

    /// Docker's word on its limits. Another one than before, and all of it is read at once.
    pub fn believe(&mut self, container: Option<&Container>) {
        let whole = container.filter(|container| !container.is_glimpse);
        let limits = whole.map(|container| container.limits);
        if limits != self.believed {
            self.believed = limits;
            self.kept.clear();
        }
    }

    fn read_files(
        &mut self,
        eyes: &mut Eyes<'_>,
        path: &str,
        parts: Parts,
        figures: &mut Figures,
    ) -> Result<(), Away> {
        let sources = sources(eyes.tree.version());
        self.handles.resize_with(sources.len(), Handle::default);
        (self.failed, self.failure) = (0, None);
        *figures = Figures::default();
        let (first, others) = sources.split_at(PULSE);
        for (at, source) in first.iter().enumerate().filter(|(_, s)| s.parts & parts != 0) {
            self.read_file(eyes, (path, at, source), figures)?;
        }
        let pulse = figures.pulse();
        if self.life.is_in_doubt(figures.usage, pulse) {
            if !is_populated(eyes.reader, eyes.tree, path) {
                return Err(Away::Over);
            }
            self.life.saw(pulse);
        }
        let before = self.kept.take(parts);
        let standing = before.as_ref().map_or(0, |b| self.kept.standing(b, &pulse, eyes.now));
        if let Some(before) = &before {
            before.fill(standing, figures);
        }
        let due = parts & !standing;
        for (at, source) in others.iter().enumerate().filter(|(_, s)| s.parts & due != 0) {
            self.read_file(eyes, (path, PULSE + at, source), figures)?;
        }
        if due & EVENTS != 0 {
            self.leave_out_part(eyes, path, figures);
        }
        self.life.count(figures.oom_kills);
        let is_near = |(usage, limit): (f64, f64)| usage >= NEAR_THE_LIMIT * limit;
        let reads_again = figures.usage.zip(figures.limit).is_some_and(is_near);
        let keeps =
            (parts & LIMITS != 0 || tell_rest(parts)) && self.failure.is_none() && !reads_again;
        let is_at_rest =
            keeps && self.kept.put(before, (parts, standing), figures, (pulse, eyes.now));
        if parts & USAGE != 0 {
            self.note_usage(figures.usage);
        }
        if tell_rest(parts) {
            self.resting_at = figures.usage.filter(|_| is_at_rest);
        }
        Ok(())
    }

    /// A count that is not all of the container's is none, from when it has been that to the end of the run: nobody
    /// knows what was counted elsewhere meanwhile.
    fn leave_out_part(&mut self, eyes: &mut Eyes<'_>, path: &str, figures: &mut Figures) {
        let has_count = figures.oom_kills.is_some();
        self.counts_elsewhere |= has_count && counts_elsewhere(eyes.tree, path);
        figures.oom_kills = figures.oom_kills.filter(|_| !self.counts_elsewhere);
    }

    /// Takes in what it uses now, bytes. Whoever uses another amount than at rest has begun to move.
    fn note_usage(&mut self, usage: Option<f64>) {
        self.sampled = larger(self.sampled, usage);
        self.resting_at = self.resting_at.filter(|resting_at| usage == Some(*resting_at));
    }

    /// Whether the last collection found it at rest, and its memory has been what it was since.
    pub fn is_at_rest(&self) -> bool {
        self.resting_at.is_some()
    }

    /// Reads the file `at` this place in the version's table, and notes why if it cannot.
    fn read_file(
        &mut self,
        eyes: &mut Eyes<'_>,
        (path, at, source): (&str, usize, &Source),
        figures: &mut Figures,
    ) -> Result<(), Away> {
        let path = path.trim_start_matches('/');
        let handle = &mut self.handles[at];
        let read = match eyes.reader.again(handle) {
            Some(read) => read,
            None => {
                let Some(top) = eyes.tree.hierarchy(source.controller) else { return Ok(()) };
                let is_seldom_read = source.parts & LIMITS != 0 && !eyes.keeps_all;
                let spare = if is_seldom_read { usize::MAX } else { eyes.spare[at.min(PULSE)] };
                eyes.reader.open(handle, &[top, Path::new(path), Path::new(source.file)], spare)
            }
        };
        if read.as_ref().is_err_and(is_gone) {
            return self.lose_file(eyes.reader, at);
        }
        let failure = match read {
            Ok(Some(text)) => (source.read)(text, figures).map_err(|bad| bad.to_string()),
            Ok(None) if at == 0 && !is_there(eyes.tree, path, source) => return Err(Away::Gone),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = failure {
            let file = folder(eyes.tree, path, source).unwrap_or_default().join(source.file);
            self.note_failure(source.parts, &file, &why);
        }
        Ok(())
    }

    /// A file is gone, and with it the cgroup, unless its first file is still the same: pressure can be
    /// switched off for one cgroup that lives on (`cgroup.pressure`).
    fn lose_file(&mut self, reader: &mut Reader, at: usize) -> Result<(), Away> {
        if at == 0 || !matches!(reader.again(&mut self.handles[0]), Some(Ok(Some(_)))) {
            return Err(Away::Gone);
        }
        reader.close(&mut self.handles[at..=at]);
        self.handles[at] = Handle::Absent;
        Ok(())
    }

    fn note_failure(&mut self, parts: Parts, file: &Path, why: &str) {
        self.failed |= parts;
        self.failure.get_or_insert_with(|| Failure {
            what: file.display().to_string(),
            why: format!("cannot be read: {why}"),
        });
    }

    /// Reads the counters of its network, if it has one of its own.
    pub fn read_network(
        &mut self,
        eyes: &mut Eyes<'_>,
        (path, pid): (&str, Option<u32>),
        figures: &mut Figures,
    ) {
        let Some(pid) = pid.or_else(|| first_pid(eyes, path)) else { return };
        let own = network_of(eyes.proc_root, pid);
        // What cannot be told from the host's network is not shown as the container's.
        if own.is_none() || eyes.machine.network.is_none() || own == eyes.machine.network {
            return;
        }
        let process = eyes.proc_root.join(pid.to_string());
        let file = process.join("net/dev");
        let failure = match eyes.reader.read_whole(&file) {
            Ok(text) => network(text, figures).err().map(|bad| bad.to_string()),
            Err(error) => Some(error.to_string()),
        };
        // A process that ended meanwhile leaves half a file, or none: there is no network to tell of.
        if let Some(why) = failure {
            figures.interfaces.clear();
            if process.exists() {
                self.note_failure(NETWORK, &file, &why);
            }
        }
    }

    /// Looks at its memory alone, for the peak.
    pub fn sample(&mut self, eyes: &mut Eyes<'_>, path: &str) {
        if self.life.is_over {
            return;
        }
        if let Some(handle) = self.handles.first_mut()
            && let Some(Ok(Some(text))) = eyes.reader.again(handle)
            && let Ok(usage) = single(text)
        {
            self.note_usage(Some(usage as f64));
            return;
        }
        // What fails here fails in the next collection, which tells.
        let _ = self.read(eyes, path, USAGE, &mut Figures::default());
    }

    /// The most memory it used since the last collection, of what was seen and what the kernel
    /// marked.
    pub fn peak(&self, figures: &Figures) -> Option<f64> {
        let marked = figures.high_water.zip(self.high_water).filter(|(now, last)| now > last);
        larger(self.sampled, marked.map(|(now, _)| now))
    }

    /// A collection is over: the next peak begins.
    pub fn begin_peak(&mut self, figures: &Figures) {
        self.sampled = None;
        if figures.high_water.is_some() {
            self.high_water = figures.high_water;
        }
    }

    /// OOM kills, of which the kernel counted `kernel` and everybody together `counted`. Where the kernel counts
    /// elsewhere what others saw is all that is known.
    pub fn oom_events(
        &self,
        kernel: Option<f64>,
        (counted, before): (Option<&u64>, Option<&Kills>),
        is_read: bool,
    ) -> Option<f64> {
        let counted = counted.map_or(0.0, |kills| *kills as f64);
        let before = || before.map_or(0.0, |kills| kills.carried + kills.last);
        let kernel = kernel.or_else(|| (is_read && self.counts_elsewhere).then(before))?;
        Some(kernel.max(counted))
    }

    /// Whose run it is that is read, and whether that is another one than before.
    pub fn run(&mut self) -> (&ContainerId, &mut bool) {
        (&self.id, &mut self.is_another_run)
    }

    /// Whether nothing of these parts could be read.
    pub fn has_failed(&self, parts: Parts) -> bool {
        self.failed & USAGE != 0 || parts & !(self.failed | AVAILABLE) == 0
    }

    /// When the run that is read began, seconds: by Docker, or by its process, while Docker is not heard or may not
    /// have told yet that another run has begun. Where nothing runs any more nobody says: a start is of what runs.
    pub fn began(
        &mut self,
        (eyes, path): (&mut Eyes<'_>, &str),
        (container, is_heard): (Option<&Container>, bool),
        kills: Option<&Kills>,
    ) -> Option<f64> {
        if self.life.is_over {
            return None;
        }
        let started = container.and_then(|c| c.started_at).map(|at| at.0 as f64 / 1000.0);
        let is_its = |said: &f64| kills.is_none_or(|kills| kills.may_be_of(*said));
        let is_told = is_heard && started.as_ref().is_some_and(is_its);
        let seen = if is_told { None } else { self.find_start(eyes, path) };
        let is_over = |said: &f64| seen.is_some_and(|seen| seen > said + START_SKEW_S as f64);
        started.filter(|said| !is_over(said)).or(seen)
    }

    /// When its first process started, the oldest that it has, asked of `/proc` until it is known.
    fn find_start(&mut self, eyes: &mut Eyes<'_>, path: &str) -> Option<f64> {
        if self.started_at.is_none() && self.tries < TRIES_FOR_START {
            self.tries += 1;
            let pids = pids_in(eyes, path).filter(|pids| !pids.is_empty())?;
            let start = |pid: &u32| eyes.machine.started_at(eyes.reader, eyes.proc_root, *pid);
            self.started_at = pids.iter().filter_map(start).reduce(f64::min);
            self.is_start_hidden = self.started_at.is_none() && self.tries == TRIES_FOR_START;
        }
        self.started_at
    }

    /// Whether the file at this place in the version's table is yet to be opened, or was not kept.
    pub fn lacks(&self, at: usize) -> bool {
        matches!(self.handles.get(at), None | Some(Handle::Closed))
    }

    /// Closes its handles; files that were absent may be there when they are opened again.
    pub fn close(&mut self, reader: &mut Reader) {
        reader.close(&mut self.handles);
    }

    /// Files that were absent are looked for again.
    pub fn forget_absent(&mut self) {
        let absent = self.handles.iter_mut().filter(|handle| matches!(handle, Handle::Absent));
        absent.for_each(|handle| *handle = Handle::Closed);
    }
}

/// The folder of a source's file.
fn folder(tree: &Tree, path: &str, source: &Source) -> Option<PathBuf> {
    tree.hierarchy(source.controller).map(|top| top.join(path))
}

fn is_there(tree: &Tree, path: &str, source: &Source) -> bool {
    folder(tree, path, source).is_some_and(|folder| folder.exists())
}

/// What tells a cgroup from the next of its name.
fn number_of(tree: &Tree, path: &str) -> Option<u64> {
    let folder = tree.hierarchy("memory")?.join(path.trim_start_matches('/'));
    std::fs::metadata(folder).ok().map(|folder| folder.ino())
}

/// Whether a cgroup has cgroups of its own in which kills are counted that are in none of its figures: on version
/// 1 each counts for itself, as where a Docker or systemd runs in a container. A folder has a link for each of its
/// folders, and two more.
fn counts_elsewhere(tree: &Tree, path: &str) -> bool {
    let Some(top) = tree.hierarchy("memory").filter(|_| tree.version() == Version::V1) else {
        return false;
    };
    let folder = std::fs::metadata(top.join(path.trim_start_matches('/')));
    folder.is_ok_and(|folder| folder.nlink() > 2)
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| a.max(b)).or(a).or(b)
}

/// The file that lists the processes of a cgroup.
fn processes(tree: &Tree, path: &str) -> Option<PathBuf> {
    Some(tree.hierarchy("memory")?.join(path.trim_start_matches('/')).join("cgroup.procs"))
}

/// Any process of a cgroup.
fn first_pid(eyes: &mut Eyes<'_>, path: &str) -> Option<u32> {
    let file = processes(eyes.tree, path)?;
    pids(eyes.reader.read_once(&file).ok()?).next()
}

/// Processes of a cgroup, so many at most as are asked when they started.
fn pids_in(eyes: &mut Eyes<'_>, path: &str) -> Option<Vec<u32>> {
    let file = processes(eyes.tree, path)?;
    Some(pids(eyes.reader.read_whole(&file).ok()?).take(PROCESSES_ASKED).collect())
}

/// Everything there is, for a page.
pub(super) fn all_parts(version: Version) -> Parts {
    sources(version).iter().fold(NETWORK, |all, source| all | source.parts)
}
