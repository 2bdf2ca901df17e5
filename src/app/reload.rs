//! Reading the configuration again, while everything goes on.
//!
//! A new configuration is read and built beside the running one; only when all of it stands is it
//! handed to the loop. A bad file changes nothing but `prometheus_config_last_reload_successful`; nor
//! does one that hangs: every file is read on a thread for what blocks, and not waited for longer than
//! [`PATIENCE`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use super::config::{Config, StorageConfig, WebConfig};
use super::setup::{self, Parts};
use crate::yaml::Level;

/// As long as all files of a configuration may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A new configuration, built, or why there is none.
pub type Reloaded = Result<Box<Parts>, String>;

/// Reads the configuration file again when it is told to.
#[derive(Clone)]
pub struct Reloader {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// What the host is called where the file does not say.
    machine: String,
    fixed: Fixed,
    /// Whether a file has ever been in force: the defaults do not take its place when it is gone.
    had_file: AtomicBool,
    /// One reload after the other; held over the reading, so that the last file read wins.
    results: Mutex<mpsc::Sender<Reloaded>>,
    patience: Duration,
    /// Held by the thread that reads, if need be longer than anyone waits: there is never a second.
    reading: Arc<Mutex<()>>,
}

/// What only a restart can change.
#[derive(PartialEq)]
struct Fixed {
    storage: StorageConfig,
    listen: SocketAddr,
    enable_lifecycle: bool,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        let WebConfig { listen, enable_lifecycle, .. } = config.web;
        Fixed { storage: config.storage.clone(), listen, enable_lifecycle }
    }
}

impl Reloader {
    /// For the file at `path`, which `config` was read from; `machine` is the name of a host that is given none.
    pub fn new(
        path: PathBuf,
        machine: String,
        config: &Config,
        results: mpsc::Sender<Reloaded>,
    ) -> Reloader {
        let shared = Shared {
            path,
            machine,
            fixed: Fixed::of(config),
            had_file: AtomicBool::new(!config.is_built_in),
            results: Mutex::new(results),
            patience: PATIENCE,
            reading: Arc::default(),
        };
        Reloader { shared: Arc::new(shared) }
    }

    /// Reads the file and hands the result to the loop; done once it is taken. The error is what is wrong with the file;
    /// the loop hears it, too, and the old configuration stays.
    pub async fn reload(&self) -> Result<(), String> {
        let results = self.shared.results.lock().await;
        let built = self.build().await;
        let outcome = built.as_ref().map(|_| ()).map_err(Clone::clone);
        let stopping = || "plimsoll is stopping".to_owned();
        results.send(built.map(Box::new)).await.map_err(|_| stopping())?;
        // There is room for one: it is free again once the loop has taken these.
        results.reserve().await.map(drop).map_err(|_| stopping())?;
        outcome
    }

    async fn build(&self) -> Result<Parts, String> {
        let shared = Arc::clone(&self.shared);
        let Ok(turn) = Arc::clone(&shared.reading).try_lock_owned() else {
            return Err("a file of the reload before this one is still not read".to_owned());
        };
        let work = tokio::task::spawn_blocking(move || {
            let built = shared.build();
            drop(turn);
            built
        });
        match tokio::time::timeout(self.shared.patience, work).await {
            Ok(built) => built.map_err(|error| format!("reading failed: {error}"))?,
            Err(_) => {
                let seconds = self.shared.patience.as_secs_f64();
                Err(format!("a file of the configuration hangs: not all were read in {seconds} s"))
            }
        }
    }
}

impl Shared {
    /// Reads the file and all it names. Blocks.
    fn build(&self) -> Result<Parts, String> {
        let (config, problems) = match self.had_file.load(Ordering::Relaxed) {
            true => Config::load(&self.path),
            false => Config::load_or_default(&self.path),
        };
        for problem in problems.iter().filter(|problem| problem.level == Level::Warning) {
            super::warn(problem);
        }
        let Some(config) = config else {
            let errors = problems.iter().filter(|problem| problem.level == Level::Error);
            return Err(errors.map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        };
        if self.fixed != Fixed::of(&config) {
            tracing::warn!(
                "changes of `storage`, `web.listen` and `web.enable_lifecycle` take effect at the next start"
            );
        }
        let host = config.policy.host.as_ref().unwrap_or(&self.machine);
        let built = setup::build(&config, host).map_err(|error| format!("{error:#}"))?;
        self.had_file.fetch_or(!config.is_built_in, Ordering::Relaxed);
        Ok(built)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::config::DEFAULT_FILE;
    use super::*;

    fn reloader(path: &Path) -> (Reloader, mpsc::Receiver<Reloaded>) {
        let (sender, receiver) = mpsc::channel(1);
        let (config, problems) = Config::load(path);
        let config = config.unwrap_or_else(|| panic!("{problems}"));
        (Reloader::new(path.to_owned(), "h".to_owned(), &config, sender), receiver)
    }

    #[tokio::test]
    async fn a_bad_file_is_told_with_its_line_and_a_good_one_arrives_built() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("plimsoll.yaml");
        std::fs::write(&path, "host: a\n").expect("written");
        let (reloader, mut results) = reloader(&path);

        std::fs::write(&path, "host: a\nmode: obey\nwep: {}\n").expect("written");
        let (reloaded, heard) = tokio::join!(reloader.reload(), results.recv());
        let error = reloaded.expect_err("the file is bad");
        assert!(error.contains("plimsoll.yaml:2:7: ") && error.contains(":3:1: "), "{error}");
        assert_eq!(heard.expect("the loop hears of it").err(), Some(error));

        // Without a name of its own the host is called as the machine, whatever it was called before.
        for (text, host) in [("host: b\n", "b"), ("mode: observe\n", "h")] {
            std::fs::write(&path, text).expect("written");
            let (reloaded, heard) = tokio::join!(reloader.reload(), results.recv());
            reloaded.expect("the file is good");
            assert_eq!(heard.expect("the loop gets it").expect("built").setup.host, host);
        }

        drop(results);
        let error = reloader.reload().await.expect_err("nobody takes it");
        assert_eq!(error, "plimsoll is stopping");
    }

    /// The folder that tests run in has no `plimsoll.yaml`.
    #[tokio::test]
    async fn a_file_that_is_gone_at_a_reload_takes_nothing_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("plimsoll.yaml");
        std::fs::write(&path, "host: a\n").expect("written");
        let (mut with_file, mut results) = reloader(&path);
        Arc::get_mut(&mut with_file.shared).expect("nobody else has it").path = DEFAULT_FILE.into();
        let (reloaded, _) = tokio::join!(with_file.reload(), results.recv());
        let error = reloaded.expect_err("a file was in force");
        assert!(error.contains("cannot be read"), "{error}");

        let (config, _) = Config::load_or_default(Path::new(DEFAULT_FILE));
        let (sender, mut results) = mpsc::channel(1);
        let config = config.expect("the defaults are good");
        let without = Reloader::new(DEFAULT_FILE.into(), "h".to_owned(), &config, sender);
        let (reloaded, _) = tokio::join!(without.reload(), results.recv());
        assert_eq!(reloaded, Ok(()), "they were in force");
    }

    #[test]
    fn only_what_waits_for_the_next_start_is_told() {
        let of = |text: &str| {
            let read = Config::read("p.yml", text, Path::new(""), &mut Default::default());
            Fixed::of(&read.expect("it reads"))
        };
        let base = of("web: {external_url: 'http://a/'}");
        assert!(base == of("web: {external_url: 'http://b/'}"), "in force at once");
        for text in [
            "web: {listen: '127.0.0.1:1'}",
            "web: {enable_lifecycle: true}",
            "storage: {path: /a}",
            "storage: {audit_files: 3}",
        ] {
            assert!(base != of(text), "{text}");
        }
    }

    /// A pipe where a target file should be: whoever opens it waits until somebody writes.
    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "only mkfifo makes a file that hangs")]
    async fn a_file_that_hangs_is_waited_for_by_one_thread_and_for_a_while() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, pipe) = (dir.path().join("plimsoll.yaml"), dir.path().join("t.json"));
        let job = "scrape_configs: [{job_name: j, file_sd_configs: [{files: ['t.json']}]}]\n";
        std::fs::write(&path, job).expect("written");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs");
        assert!(made.success());
        let (mut reloader, mut results) = reloader(&path);
        let shared = Arc::get_mut(&mut reloader.shared).expect("nobody else has it");
        shared.patience = Duration::from_secs(1);
        for words in ["hangs", "still not read"] {
            let (reloaded, heard) = tokio::join!(reloader.reload(), results.recv());
            let error = reloaded.expect_err("it hangs");
            assert!(error.contains(words), "{error}");
            assert_eq!(heard.expect("the loop hears of it").err(), Some(error));
        }
        std::fs::write(&pipe, "[]").expect("somebody reads it");
        std::fs::remove_file(&pipe).expect("removed");
        let mut outcome = Err(String::new());
        for _ in 0..600 {
            let (reloaded, _) = tokio::join!(reloader.reload(), results.recv());
            outcome = reloaded;
            if outcome.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(outcome, Ok(()), "as soon as it does not hang");
    }
}
