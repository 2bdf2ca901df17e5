//! The watch over Docker: started, and started anew when a reload says something else.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::base::Timestamp;
use crate::docker::{DockerConfig, watch};
use crate::engine::Event;

/// The task that watches, if one does.
#[derive(Debug, Default)]
pub struct DockerWatch {
    running: Option<(DockerConfig, JoinHandle<()>)>,
}

impl DockerWatch {
    /// Watches as `wanted` says, from `since` on; a watch that stands as it stood goes on.
    pub fn follow(
        &mut self,
        wanted: Option<DockerConfig>,
        since: Option<Timestamp>,
        inbox: mpsc::Sender<Event>,
    ) {
        if self.running.as_ref().map(|(config, _)| config) == wanted.as_ref() {
            return;
        }
        self.stop();
        self.running = wanted.map(|config| {
            let task = tokio::spawn(watch(config.clone(), since, inbox));
            (config, task)
        });
    }

    fn stop(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
    }
}

impl Drop for DockerWatch {
    fn drop(&mut self) {
        self.stop();
    }
}
