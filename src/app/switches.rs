//! What holds actions from outside, as files: the kill switch and the list of busy services.
//!
//! Files, because they work from a shell at night, from a backup script and from any deploy tool, and
//! need no credentials. They are looked at every two seconds, each on a thread of its own, and before
//! anything is decided at the start. A kill switch that cannot be looked at counts as thrown; nothing
//! here ever lifts a hold because of an error, of a file that hangs, or of one that is being written.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::files;
use crate::engine::{Event, Switches};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// As long as a look may take. Longer than a disk under load, and soon enough for who throws the switch.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SwitchFiles {
    /// `actions.kill_switch_file`: while it exists, no action is asked for.
    pub kill: Option<PathBuf>,
    /// `actions.busy_file`: services that must not be restarted now, one a line.
    pub busy: Option<PathBuf>,
}

impl SwitchFiles {
    /// What the files say where nothing is known from before: if the list of busy services cannot be read
    /// every service may be busy. Blocks.
    pub fn read(&self) -> Switches {
        let listed = self.busy.as_deref().map_or(Ok(BTreeSet::new()), list);
        let any_busy = listed.is_err();
        let kill = self.kill.as_deref().is_some_and(|path| is_there(path).unwrap_or(true));
        Switches { kill, busy: listed.unwrap_or_default(), any_busy }
    }
}

/// Whether a name is taken, by a link too that leads nowhere: whoever made it meant it to be there.
/// Blocks.
fn is_there(path: &Path) -> Result<bool, String> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The services of a list, one a line; blank lines and `#` comments are none, nor is a file that is not
/// there. Blocks.
fn list(path: &Path) -> Result<BTreeSet<String>, String> {
    if matches!(is_there(path), Ok(false)) {
        return Ok(BTreeSet::new());
    }
    let text = files::read(path).map_err(|unreadable| unreadable.problem(path).to_string())?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// A file that is looked at again and again, on a thread for what blocks.
#[derive(Debug)]
struct Eye<T> {
    /// Of a look that is not over: there is never a second one beside it.
    running: Option<JoinHandle<Result<T, String>>>,
    patience: Duration,
}

impl<T: Send + 'static> Eye<T> {
    fn new(patience: Duration) -> Eye<T> {
        Eye { running: None, patience }
    }

    /// What is seen, or why nothing is.
    async fn look(&mut self, path: &Path, at: fn(&Path) -> Result<T, String>) -> Result<T, Unseen> {
        // One that hung when it was looked at before is not waited for again.
        let patience = if self.running.is_some() { Duration::ZERO } else { self.patience };
        let owned = path.to_owned();
        let running =
            self.running.get_or_insert_with(|| tokio::task::spawn_blocking(move || at(&owned)));
        let Ok(seen) = tokio::time::timeout(patience, running).await else {
            return Err(Unseen::Hangs(format!("{}: a look at it hangs", path.display())));
        };
        self.running = None;
        // Fails only if the look panicked or the runtime is stopping.
        let seen = seen.unwrap_or_else(|error| Err(format!("{}: {error}", path.display())));
        seen.map_err(Unseen::Unreadable)
    }
}

/// Why nothing is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Unseen {
    Unreadable(String),
    Hangs(String),
}

/// What the files are taken to say, look by look.
#[derive(Debug)]
struct Seen {
    /// As it was told.
    told: Switches,
    /// Services in the list as it was read last, and whether it says nothing of any other.
    listed: (BTreeSet<String>, bool),
}

impl Seen {
    fn new(told: Switches) -> Seen {
        let listed = (told.busy.clone(), told.any_busy);
        Seen { told, listed }
    }

    /// Returns what is wrong, if anything is.
    fn kill(&mut self, seen: Result<bool, Unseen>) -> Option<String> {
        let (kill, why) = match seen {
            Ok(is_there) => (is_there, None),
            Err(Unseen::Unreadable(why) | Unseen::Hangs(why)) => (true, Some(why)),
        };
        self.told.kill = kill;
        why.map(|why| format!("{why}: the kill switch counts as thrown"))
    }

    /// A service that is added counts at once. Who writes the list may be in the middle: one that is gone
    /// counts until the next look agrees.
    fn busy(&mut self, seen: Result<BTreeSet<String>, Unseen>) -> Option<String> {
        let why = match seen {
            Ok(services) => {
                let (before, any_before) = std::mem::replace(&mut self.listed, (services, false));
                self.told.busy = before.union(&self.listed.0).cloned().collect();
                self.told.any_busy = any_before;
                return None;
            }
            Err(Unseen::Hangs(why)) => {
                (self.told.any_busy, self.listed.1) = (true, true);
                why
            }
            Err(Unseen::Unreadable(why)) => why,
        };
        let stands = match self.told.any_busy {
            true => "every service counts as busy",
            false => "the list of busy services stays as it was",
        };
        Some(format!("{why}: {stands}"))
    }
}

/// The task that looks at the files.
#[derive(Debug, Default)]
pub struct SwitchWatch {
    running: Option<JoinHandle<()>>,
}

impl SwitchWatch {
    /// Looks at these files from now on; `told` is what they said last. What the first look says is told
    /// in any case: what others told meanwhile may be older.
    pub fn follow(&mut self, files: SwitchFiles, told: Switches, inbox: mpsc::Sender<Event>) {
        self.stop();
        self.running = Some(tokio::spawn(watch(files, told, inbox)));
    }

    fn stop(&mut self) {
        if let Some(task) = self.running.take() {
            task.abort();
        }
    }
}

impl Drop for SwitchWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn watch(files: SwitchFiles, told: Switches, inbox: mpsc::Sender<Event>) {
    let mut seen = Seen::new(told);
    let (mut at_kill, mut at_busy) = (Eye::new(PATIENCE), Eye::new(PATIENCE));
    let mut known_wrong: Vec<String> = Vec::new();
    let mut is_first = true;
    loop {
        tokio::time::sleep(EVERY).await;
        let before = seen.told.clone();
        let kill = async {
            match &files.kill {
                Some(path) => at_kill.look(path, is_there).await,
                None => Ok(false),
            }
        };
        let busy = async {
            match &files.busy {
                Some(path) => at_busy.look(path, list).await,
                None => Ok(BTreeSet::new()),
            }
        };
        let (kill, busy) = tokio::join!(kill, busy);
        let wrong: Vec<String> = [seen.kill(kill), seen.busy(busy)].into_iter().flatten().collect();
        for error in wrong.iter().filter(|error| !known_wrong.contains(*error)) {
            tracing::error!(error, "a file that holds actions cannot be read");
        }
        known_wrong = wrong;
        if seen.told == before && !is_first {
            continue;
        }
        is_first = false;
        if inbox.send(Event::Switches(seen.told.clone())).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(services: &[&str]) -> BTreeSet<String> {
        services.iter().map(|service| (*service).to_owned()).collect()
    }

    #[test]
    fn files_say_what_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let files = |name: &str| SwitchFiles { kill: Some(path(name)), busy: Some(path(name)) };
        assert_eq!(SwitchFiles::default().read(), Switches::default());
        assert_eq!(files("gone").read(), Switches::default(), "no files, no holds");
        std::fs::write(path("busy"), "# backup\nacme/app\n\n beta/app # migrate\n")
            .expect("writes");
        let want = Switches { kill: true, busy: names(&["acme/app", "beta/app"]), any_busy: false };
        assert_eq!(files("busy").read(), want);
        std::os::unix::fs::symlink("nowhere", path("dangling")).expect("links");
        // A link that leads nowhere; a file where a folder should be: they cannot be looked at, so they hold.
        for name in ["dangling", "busy/inner"] {
            let read = files(name).read();
            assert!(read.kill && read.any_busy, "{name}: {read:?}");
        }
    }

    /// A pipe: whoever opens it waits until somebody writes to it.
    #[expect(clippy::disallowed_methods, reason = "only mkfifo makes a file that hangs")]
    fn pipe(folder: &Path) -> PathBuf {
        let pipe = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs");
        assert!(made.success());
        pipe
    }

    #[test]
    fn a_list_that_would_hang_or_never_end_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [pipe(folder.path()), PathBuf::from("/dev/zero")] {
            let why = list(&path).expect_err("it is no list");
            assert!(why.ends_with("is not a regular file"), "{why}");
        }
    }

    #[test]
    fn a_service_is_added_at_once_and_leaves_when_two_looks_agree() {
        let mut seen = Seen::new(Switches { busy: names(&["a", "b"]), ..Switches::default() });
        for (listed, want) in [
            (&["a", "b"][..], &["a", "b"][..]),
            // It is written anew: cut off first, then half there.
            (&[], &["a", "b"]),
            (&["a"], &["a"]),
            (&["a", "b", "c"], &["a", "b", "c"]),
            (&["c"], &["a", "b", "c"]),
            (&["c"], &["c"]),
        ] {
            assert_eq!(seen.busy(Ok(names(listed))), None);
            assert_eq!(seen.told.busy, names(want), "{listed:?}");
        }
        let unreadable = || Err(Unseen::Unreadable("x".to_owned()));
        assert_eq!(seen.busy(Ok(names(&[]))), None);
        for _ in 0..3 {
            let stays = "x: the list of busy services stays as it was";
            assert_eq!(seen.busy(unreadable()).as_deref(), Some(stays));
            assert_eq!((&seen.told.busy, seen.told.any_busy), (&names(&["c"]), false));
        }
        let hangs = seen.busy(Err(Unseen::Hangs("y".to_owned())));
        assert_eq!(hangs.as_deref(), Some("y: every service counts as busy"));
        assert!(seen.told.any_busy);
        assert!(seen.busy(unreadable()).is_some() && seen.told.any_busy, "and stays so");
        let any = [(); 3].map(|()| {
            assert_eq!(seen.busy(Ok(names(&[]))), None);
            seen.told.any_busy
        });
        assert_eq!(any, [true, false, false]);
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_thrown() {
        let mut seen = Seen::new(Switches::default());
        for (said, want) in [
            (Ok(true), true),
            (Ok(false), false),
            (Err(Unseen::Unreadable("x".to_owned())), true),
            (Err(Unseen::Hangs("x".to_owned())), true),
            (Ok(false), false),
        ] {
            let is_wrong = said.is_err();
            assert_eq!((seen.kill(said).is_some(), seen.told.kill), (is_wrong, want));
        }
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_given_up_and_looked_after_by_one_thread() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = pipe(folder.path());
        let waits: fn(&Path) -> Result<bool, String> =
            |path| std::fs::read(path).map(|_| true).map_err(|error| error.to_string());
        let mut eye = Eye::new(Duration::from_millis(20));
        let second: fn(&Path) -> Result<bool, String> = |path| {
            std::fs::write(path.with_file_name("second"), "").expect("writes");
            Ok(false)
        };
        for look in [waits, second] {
            assert!(matches!(eye.look(&pipe, look).await, Err(Unseen::Hangs(_))));
        }
        std::fs::write(&pipe, "").expect("somebody reads it");
        eye.patience = Duration::from_secs(60);
        let mut seen = eye.look(&pipe, |_| Ok(true)).await;
        for _ in 0..6000 {
            if seen.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = eye.look(&pipe, |_| Ok(true)).await;
        }
        assert_eq!(seen, Ok(true), "as soon as it does not hang");
        assert!(!folder.path().join("second").exists(), "there was a second look beside it");
        let panics = eye.look(&pipe, |_| panic!("planned")).await;
        assert!(matches!(panics, Err(Unseen::Unreadable(_))), "{panics:?}");
        assert_eq!(eye.look(&pipe, |_| Ok(true)).await, Ok(true), "nor does a panic end it");
    }

    /// A watch of before a reload may have told what was true before.
    #[tokio::test]
    async fn a_new_watch_tells_what_its_first_look_says() {
        let (inbox, mut events) = mpsc::channel(4);
        let mut switches = SwitchWatch::default();
        switches.follow(SwitchFiles::default(), Switches::default(), inbox);
        let told = tokio::time::timeout(2 * EVERY, events.recv()).await.expect("it tells");
        assert!(matches!(told, Some(Event::Switches(said)) if said == Switches::default()));
        let more = tokio::time::timeout(EVERY + EVERY / 4, events.recv()).await;
        assert!(more.is_err(), "and no more than news: {more:?}");
    }
}
