//! The flight recorder beside the loop: begun, replaced and ended with the configuration.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::engine::{Event, RecorderState};
use crate::recorder::{Recorder, RecorderConfig};

/// Starts a recorder, if one is wanted. One that cannot start costs recordings and nothing else: it
/// is told, and counted as failing.
pub fn start(config: Option<RecorderConfig>, inbox: &mpsc::Sender<Event>) -> Option<Arc<Recorder>> {
    let tell = inbox.clone();
    // A full inbox loses this word; the next write says as much again.
    let notify = move |state| drop(tell.try_send(Event::Recorded(Some(state))));
    let Some(config) = config else {
        inbox.try_send(Event::Recorded(None)).ok();
        return None;
    };
    let path = config.path.display().to_string();
    let mut state = RecorderState::default();
    let started = match Recorder::start(config, notify) {
        Ok(recorder) => Some(Arc::new(recorder)),
        Err(error) => {
            tracing::warn!(%error, path, "nothing is recorded");
            state.failures = 1;
            state.failing = Some(error.to_string());
            None
        }
    };
    inbox.try_send(Event::Recorded(Some(state))).ok();
    started
}

/// The recorder of a new configuration; the one there is, if nothing has changed for it.
pub fn renew(
    running: Option<Arc<Recorder>>,
    config: Option<RecorderConfig>,
    inbox: &mpsc::Sender<Event>,
) -> Option<Arc<Recorder>> {
    match running {
        Some(running) if config.as_ref() == Some(running.config()) => Some(running),
        _ => start(config, inbox),
    }
}
