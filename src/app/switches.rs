//! What holds actions from outside, as files: the kill switch and the list of busy services.
//!
//! Files, because they work from a shell at night, from a backup script and from any deploy tool, and
//! need no credentials. They are looked at every two seconds and before anything is decided at the
//! start. A kill switch that cannot be looked at counts as thrown; nothing here ever lifts a hold
//! because of an error.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::{Event, Switches};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SwitchFiles {
    /// `actions.kill_switch_file`: while it exists, no action is asked for.
    pub kill: Option<PathBuf>,
    /// `actions.busy_file`: services that must not be restarted now, one a line.
    pub busy: Option<PathBuf>,
}

impl SwitchFiles {
    /// What the files say now, and what is wrong with them. Where the list of busy services cannot be
    /// read `before` stands, and if that is not known every service may be busy. Blocks.
    pub fn read(&self, before: Option<&Switches>) -> (Switches, Vec<String>) {
        let mut wrong = Vec::new();
        let kill = self.kill.as_ref().is_some_and(|path| {
            is_there(path).unwrap_or_else(|error| {
                wrong
                    .push(format!("{}: {error}: the kill switch counts as thrown", path.display()));
                true
            })
        });
        let path = self.busy.as_deref();
        let there = path.filter(|path| !matches!(is_there(path), Ok(false)));
        let text = there.map_or(Ok(String::new()), std::fs::read_to_string);
        let (busy, any_busy) = match text {
            Ok(text) => (services(&text), false),
            Err(error) => {
                let stands = match before {
                    Some(_) => "the list of busy services stays as it was",
                    None => "every service counts as busy",
                };
                let path = path.unwrap_or(Path::new("")).display();
                wrong.push(format!("{path}: {error}: {stands}"));
                before.map_or((BTreeSet::new(), true), |said| (said.busy.clone(), said.any_busy))
            }
        };
        (Switches { kill, busy, any_busy }, wrong)
    }
}

/// Whether a name is taken, by a link too that leads nowhere: whoever made it meant it to be there.
fn is_there(path: &Path) -> std::io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// One service a line; blank lines and `#` comments are none.
fn services(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The task that looks at the files.
#[derive(Debug, Default)]
pub struct SwitchWatch {
    running: Option<JoinHandle<()>>,
}

impl SwitchWatch {
    /// Looks at these files from now on; `told` is what they said last.
    pub fn follow(&mut self, files: SwitchFiles, mut told: Switches, inbox: mpsc::Sender<Event>) {
        self.stop();
        let task = tokio::spawn(async move {
            let mut known_wrong = Vec::new();
            loop {
                tokio::time::sleep(EVERY).await;
                let (watched, before) = (files.clone(), told.clone());
                let look = tokio::task::spawn_blocking(move || watched.read(Some(&before)));
                // Fails only if the look panicked or the runtime is stopping.
                let Ok((said, wrong)) = look.await else { return };
                for error in wrong.iter().filter(|error| !known_wrong.contains(*error)) {
                    tracing::error!(error, "a file that holds actions cannot be read");
                }
                known_wrong = wrong;
                if said == told {
                    continue;
                }
                told = said.clone();
                if inbox.send(Event::Switches(said)).await.is_err() {
                    return;
                }
            }
        });
        self.running = Some(task);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_what_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| Some(folder.path().join(name));
        let files = SwitchFiles { kill: path("stop"), busy: path("busy") };
        let before = Switches { busy: BTreeSet::from(["old".to_owned()]), ..Switches::default() };
        let read = |files: &SwitchFiles| files.read(Some(&before)).0;
        assert_eq!(read(&files), Switches::default(), "no files, no holds");
        std::fs::write(folder.path().join("stop"), "").expect("writes");
        std::fs::write(folder.path().join("busy"), "# backup\nacme/app\n\n beta/app # migrate\n")
            .expect("writes");
        let said = read(&files);
        assert!(said.kill);
        assert_eq!(said.busy.into_iter().collect::<Vec<_>>(), ["acme/app", "beta/app"]);
        let dangling = path("dangling");
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).expect("links");
        let nowhere = SwitchFiles { kill: dangling.clone(), busy: dangling };
        let (said, wrong) = nowhere.read(Some(&before));
        assert!(said.kill && said.busy == before.busy, "a link that leads nowhere");
        assert_eq!(wrong.len(), 1);
        // A file where a folder should be: it cannot be looked at, so it holds.
        let lost = SwitchFiles { kill: path("stop/inner"), busy: path("stop/inner") };
        let (said, wrong) = lost.read(Some(&before));
        assert!(said.kill, "what cannot be looked at counts as thrown");
        assert_eq!((&said.busy, said.any_busy, wrong.len()), (&before.busy, false, 2));
        // Where nothing is known from before, at a start or a reload, anyone may be busy; and stays so.
        let (unread, _) = lost.read(None);
        assert!(unread.any_busy && lost.read(Some(&unread)).0.any_busy);
        assert!(!files.read(Some(&unread)).0.any_busy);
        assert_eq!(read(&SwitchFiles::default()), Switches::default());
    }
}
