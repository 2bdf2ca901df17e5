//! The flight recorder beside the loop: begun, replaced and ended with the configuration.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::engine::{Event, RecorderState};
use crate::recorder::{Recorder, RecorderConfig};

/// Starts a recorder, if one is wanted. One that cannot start costs recordings and nothing else: it
/// is told, and counted as failing.
pub fn start(
    config: Option<RecorderConfig>,
    before: Option<&Recorder>,
    inbox: &mpsc::Sender<Event>,
) -> Option<Arc<Recorder>> {
    let tell = inbox.clone();
    // A full inbox loses this word; the next write says as much again.
    let notify = move |state| drop(tell.try_send(Event::Recorded(Some(state))));
    let begun = config.is_some().then(RecorderState::default);
    inbox.try_send(Event::Recorded(begun)).ok();
    match Recorder::start(config?, before, notify) {
        Ok(recorder) => Some(Arc::new(recorder)),
        Err(error) => {
            tracing::warn!(%error, "nothing is recorded");
            let failing = Some(error.to_string());
            let state = RecorderState { failures: 1, failing, ..RecorderState::default() };
            inbox.try_send(Event::Recorded(Some(state))).ok();
            None
        }
    }
}

/// The recorder of a new configuration; the one there is, if nothing has changed for it.
pub fn renew(
    running: Option<Arc<Recorder>>,
    config: Option<RecorderConfig>,
    inbox: &mpsc::Sender<Event>,
) -> Option<Arc<Recorder>> {
    match running {
        Some(running) if config.as_ref() == Some(running.config()) && !running.has_failed() => {
            Some(running)
        }
        running => {
            // What it still writes is no news of the one that follows, or of none.
            if let Some(running) = &running {
                running.be_silent();
            }
            start(config, running.as_deref(), inbox)
        }
    }
}
