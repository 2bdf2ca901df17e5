//! Reading the configuration again, while everything goes on.
//!
//! A new configuration is read and built beside the running one; only when all of it stands is it
//! handed to the loop. A bad file changes nothing but `prometheus_config_last_reload_successful`.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::config::{Config, StorageConfig, WebConfig};
use super::setup::{self, Parts};
use crate::yaml::Level;

/// A new configuration, built, or why there is none.
pub type Reloaded = Result<Box<Parts>, String>;

/// Reads the configuration file again when it is told to.
#[derive(Clone)]
pub struct Reloader {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    host: String,
    /// What only a restart can change.
    fixed: (StorageConfig, WebConfig),
    /// One reload after the other; held over the reading, so that the last file read wins.
    results: Mutex<mpsc::Sender<Reloaded>>,
}

impl Reloader {
    /// For the file at `path`, which `config` was read from; `host` is the name in use.
    pub fn new(
        path: PathBuf,
        host: String,
        config: &Config,
        results: mpsc::Sender<Reloaded>,
    ) -> Reloader {
        let fixed = (config.storage.clone(), config.web.clone());
        Reloader { shared: Arc::new(Shared { path, host, fixed, results: Mutex::new(results) }) }
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
        let read = tokio::task::spawn_blocking(move || Config::load_or_default(&shared.path));
        let (config, problems) = read.await.map_err(|error| format!("reading failed: {error}"))?;
        for problem in problems.iter().filter(|problem| problem.level == Level::Warning) {
            super::warn(problem);
        }
        let Some(config) = config else {
            let errors = problems.iter().filter(|problem| problem.level == Level::Error);
            return Err(errors.map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        };
        if self.shared.fixed != (config.storage.clone(), config.web.clone()) {
            tracing::warn!("changes under `storage` and `web` take effect at the next start");
        }
        let host = config.policy.host.as_ref().unwrap_or(&self.shared.host);
        setup::build(&config, host).map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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

        std::fs::write(&path, "host: b\n").expect("written");
        let (reloaded, heard) = tokio::join!(reloader.reload(), results.recv());
        reloaded.expect("the file is good");
        assert_eq!(heard.expect("the loop gets it").expect("built").setup.host, "b");

        drop(results);
        let error = reloader.reload().await.expect_err("nobody takes it");
        assert_eq!(error, "plimsoll is stopping");
    }
}
