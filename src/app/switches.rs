//! What holds actions from outside, as files: the kill switch and the list of busy services.
//!
//! Files, because they work from a shell at night, from a backup script and from any deploy tool, and
//! need no credentials. They are looked at every two seconds and before anything is decided at the
//! start. A kill switch that cannot be looked at counts as thrown; nothing here ever lifts a hold
//! because of an error.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
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
    /// What the files say now; `before` stands where one cannot be read. Blocks.
    pub fn read(&self, before: &Switches) -> Switches {
        let kill = self.kill.as_ref().is_some_and(|path| {
            path.try_exists().unwrap_or_else(|error| {
                tracing::error!(%error, path = %path.display(), "the kill switch counts as thrown");
                true
            })
        });
        let busy = self.busy.as_ref().map_or(Ok(String::new()), std::fs::read_to_string);
        let busy = match busy {
            Ok(text) => services(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                tracing::error!(%error, "the list of busy services stays as it was");
                before.busy.clone()
            }
        };
        Switches { kill, busy }
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
            loop {
                tokio::time::sleep(EVERY).await;
                let (watched, before) = (files.clone(), told.clone());
                let look = tokio::task::spawn_blocking(move || watched.read(&before));
                // Fails only if the look panicked or the runtime is stopping.
                let Ok(said) = look.await else { return };
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
        let before = Switches { busy: BTreeSet::from(["old".to_owned()]), kill: false };
        assert_eq!(files.read(&before), Switches::default(), "no files, no holds");
        std::fs::write(folder.path().join("stop"), "").expect("writes");
        std::fs::write(folder.path().join("busy"), "# backup\nacme/app\n\n beta/app # migrate\n")
            .expect("writes");
        let said = files.read(&before);
        assert!(said.kill);
        assert_eq!(said.busy.into_iter().collect::<Vec<_>>(), ["acme/app", "beta/app"]);
        // A file where a folder should be: it cannot be looked at, so it holds.
        let lost = SwitchFiles { kill: path("stop/inner"), busy: path("stop/inner") };
        let said = lost.read(&before);
        assert!(said.kill, "what cannot be looked at counts as thrown");
        assert_eq!(said.busy, before.busy);
        assert_eq!(SwitchFiles::default().read(&before), Switches::default());
    }
}
