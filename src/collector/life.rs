//! Whether anything still runs in a container's cgroup.
//!
//! Docker removes a cgroup as soon as its container has ended, unless it hangs: then the folder stays,
//! empty, and its files tell of a container that uses nothing. Read on, that resolves alerts and hides
//! whom a kill hit. So an empty cgroup is a container that has ended.
//!
//! The kernel says so in `cgroup.events` (v2) and in `pids.current` of the hierarchy `pids` (v1): both
//! count what runs in nested cgroups, and processes of a pid namespace that this process cannot see,
//! which `cgroup.procs` does not. Where neither can be read a container counts as alive.
//!
//! A look costs opening a file, so it is taken only when there is reason: to end takes processor time
//! and gives memory back, or a process was killed. A container that was seen alive and has the same pulse since
//! is alive.

use super::figures::Pulse;
use super::files::Reader;
use super::tree::{Tree, Version};

/// Less memory than this share of what it used a moment ago: whoever ends gives back what is not cache.
const SUDDEN_FALL: f64 = 0.75;

/// What is known of a container's being alive.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Memory used, bytes, and pulse at the last reading.
    last: Option<(Option<f64>, Pulse)>,
    /// Its pulse when something was seen to run in it.
    seen: Option<Pulse>,
    /// It has just given back most of its memory: what still runs in it may be about to end.
    has_fallen: bool,
    /// The kernel's count of kills in it.
    kills: Option<f64>,
    /// Nothing ran in it when it was looked at last.
    pub is_over: bool,
    /// And what it told of kills was taken.
    pub has_spoken: bool,
}

impl Life {
    /// Whether it must be looked at, given what was just read.
    pub fn is_in_doubt(&mut self, usage: Option<f64>, pulse: Pulse) -> bool {
        let (before, last) = self.last.replace((usage, pulse)).unzip();
        self.has_fallen =
            before.flatten().zip(usage).is_some_and(|(before, now)| now < SUDDEN_FALL * before);
        let Some(seen) = self.seen else { return true };
        self.has_fallen || (last == Some(pulse) && seen != pulse)
    }

    /// Something runs in it, or nobody can say. Whoever may be about to end is looked at once more.
    pub fn saw(&mut self, pulse: Pulse) {
        let seen = (!self.has_fallen).then_some(pulse);
        (self.seen, self.is_over, self.has_spoken) = (seen, false, false);
    }

    /// Where a process was killed something may still run: it is looked at next time.
    pub fn count(&mut self, kills: Option<f64>) {
        if self.kills.zip(kills).is_some_and(|(before, now)| now > before) {
            self.seen = None;
        }
        self.kills = kills.or(self.kills);
    }

    /// Nothing runs in it. What is read next is of another run.
    pub fn end(&mut self) {
        *self = Life { is_over: true, ..Life::default() };
    }
}

/// Whether anything runs in the cgroup of this path; true where nobody can say.
pub(super) fn is_populated(reader: &mut Reader, tree: &Tree, path: &str) -> bool {
    let file = match tree.version() {
        Version::V1 => "pids.current",
        Version::V2 => "cgroup.events",
    };
    let Some(top) = tree.hierarchy("pids") else { return true };
    let file = top.join(path.trim_start_matches('/')).join(file);
    let Ok(text) = reader.read_once(&file) else { return true };
    match tree.version() {
        Version::V1 => text.trim_ascii() != b"0",
        Version::V2 => !text.split(|byte| *byte == b'\n').any(|line| line == b"populated 0"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::figures::Figures;
    use super::*;

    fn pulse(usage: f64, cpu_seconds: f64) -> (Option<f64>, Pulse) {
        let figures =
            Figures { usage: Some(usage), cpu_seconds: Some(cpu_seconds), ..Figures::default() };
        (figures.usage, figures.pulse())
    }

    #[test]
    fn a_container_is_looked_at_when_it_may_have_ended_and_only_then() {
        let mut life = Life::default();
        let mut looks = |usage, cpu_seconds| {
            let (usage, pulse) = pulse(usage, cpu_seconds);
            let looks = life.is_in_doubt(usage, pulse);
            if looks {
                life.saw(pulse);
            }
            looks
        };
        for (what, usage, cpu_seconds, want) in [
            ("a first time", 100.0, 1.0, true),
            ("nothing happened", 100.0, 1.0, false),
            ("it works", 110.0, 2.0, false),
            ("it gives back a little", 90.0, 3.0, false),
            ("it is still", 90.0, 3.0, true),
            ("it is still, and was seen to be", 90.0, 3.0, false),
            ("it gives back most", 20.0, 4.0, true),
            ("it may have been about to end", 20.0, 4.0, true),
            ("again nothing happened", 20.0, 4.0, false),
        ] {
            assert_eq!(looks(usage, cpu_seconds), want, "{what}");
        }
        let (usage, pulse) = pulse(20.0, 4.0);
        assert!(!life.is_in_doubt(usage, pulse));
        life.end();
        assert!(life.is_over && life.is_in_doubt(usage, pulse), "of another run");
        life.saw(pulse);
        assert!(!life.is_over);
        for (kills, want) in
            [(Some(2.0), false), (Some(2.0), false), (Some(3.0), true), (None, false)]
        {
            life.count(kills);
            assert_eq!(life.is_in_doubt(usage, pulse), want, "{kills:?}");
            life.saw(pulse);
        }
    }

    #[test]
    fn the_kernel_says_what_runs_and_where_it_cannot_be_read_something_does() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        let mut reader = Reader::new(8);
        let is_populated = |reader: &mut Reader| {
            let tree = Tree::open(root).expect("cgroups");
            is_populated(reader, &tree, "/docker/a")
        };
        fs::create_dir_all(root.join("memory/docker/a")).expect("made");
        assert!(is_populated(&mut reader), "v1 without the controller");
        fs::create_dir_all(root.join("pids/docker/a")).expect("made");
        assert!(is_populated(&mut reader), "v1 without the file");
        for (text, want) in [("0\n", false), ("3\n", true), ("10\n", true)] {
            fs::write(root.join("pids/docker/a/pids.current"), text).expect("written");
            assert_eq!(is_populated(&mut reader), want, "{text:?}");
        }
        fs::write(root.join("cgroup.controllers"), "memory pids\n").expect("written");
        fs::create_dir_all(root.join("docker/a")).expect("made");
        assert!(is_populated(&mut reader), "v2 without the file");
        for (text, want) in [("populated 0\nfrozen 0\n", false), ("populated 1\nfrozen 0\n", true)]
        {
            fs::write(root.join("docker/a/cgroup.events"), text).expect("written");
            assert_eq!(is_populated(&mut reader), want, "{text:?}");
        }
    }
}
