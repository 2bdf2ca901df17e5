//! The local executor (`actions.executor: docker`): for hosts without a Control Plane, it carries a
//! restart out by Docker's API.
//!
//! It takes the place of the webhook at the end of the edge lane, so everything before stays as it is:
//! guards, budgets, the commit before the act, expiry, the audit. It touches one container, the one
//! whose id the decision names, and only while it goes by the name the decision knows it by and is still
//! the incarnation that was measured. It asks Docker once for each decision, even if a crash hides the
//! answer, and not at all once the request has expired or the attempt has taken too long. What Docker says is the receipt; whether it helped is watched like any other restart. It never execs, stops, starts or
//! removes anything, and knows no command but `restart`.

mod asked;
mod daemon;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::{Now, Timestamp};
use crate::containers::ContainerId;
use crate::outbox::{Action, Answer, Attempt, Event, EventType, Outcome};

use self::asked::{Asked, Mark};
pub use self::daemon::Daemon;
use self::daemon::{LOOK_WITHIN, Restarted, Seen};

/// What Docker was asked for before a crash, or without an answer, has happened by then or never will;
/// counted from when the container must have stopped.
const SETTLED_AFTER: Duration = Duration::from_secs(90);

/// The hand.
#[derive(Debug)]
pub struct Executor {
    /// `None` where no daemon is known any more: what it was asked for is known all the same.
    daemon: Option<Daemon>,
    asked: Asked,
}

/// What a request is about, and until when.
struct Task {
    container: ContainerId,
    name: String,
    /// When the incarnation that was measured was started, by what measured it.
    measured: Option<Timestamp>,
    decided_at: Timestamp,
    expires_at: Timestamp,
}

impl Executor {
    /// `dir` holds a mark for each decision that Docker was asked about; it is made when needed.
    pub fn new(daemon: Option<Daemon>, dir: PathBuf) -> Executor {
        Executor { daemon, asked: Asked::new(dir) }
    }

    /// Carries out what one delivery asks for; the attempt began then by this clock. The outcome is the
    /// receipt: done, declined with a reason, or to be tried again while Docker cannot be reached.
    pub async fn carry_out(
        &self,
        attempt: &Attempt,
        began: Now,
        clock: impl Fn() -> Now,
    ) -> Outcome {
        let Ok(event) = serde_json::from_str::<Event>(&attempt.body) else {
            return declined("it cannot be read");
        };
        let Some(action) = event.data.action.as_ref().filter(|_| event.asks_for_restart()) else {
            // News for a Control Plane, of which there is none.
            return Outcome::Accepted(Answer::default());
        };
        let task = match task(&event, action) {
            Ok(task) => task,
            Err(why) => return declined(why),
        };
        let Some(daemon) = &self.daemon else {
            return later("no section `docker` says where Docker listens".to_owned());
        };
        let id = &attempt.id.0;
        let asked_at = match self.asked.when(id).await {
            Ok(asked_at) => asked_at,
            Err(why) => return later(why),
        };
        match daemon.inspect(&task.container).await {
            Err(why) => return later(why),
            // It may have been restarted before it went.
            Ok(None) if asked_at.is_some() => {
                return unanswered("the container is gone since Docker was asked".to_owned());
            }
            Ok(None) => return declined("the container is gone"),
            Ok(Some(seen)) => {
                if let Some(outcome) = verdict(&task, &seen, asked_at, clock().wall) {
                    return outcome;
                }
            }
        }
        match self.asked.mark(id).await {
            Ok(Mark::New) => {}
            Ok(Mark::Known) => return unanswered("Docker was asked already".to_owned()),
            Err(why) => return later(why),
        }
        if let Some(outcome) = too_late(&task, began, clock()) {
            self.asked.unmark(id).await;
            return outcome;
        }
        match daemon.restart(&task.container).await {
            Restarted::Done => done(&task),
            // It may be of a part of it only, as of a network: then it was stopped, and lies there.
            Restarted::Gone(why) => match daemon.inspect(&task.container).await {
                Ok(None) => declined("the container is gone"),
                Ok(Some(_)) => failed(&task, why),
                Err(why) => unanswered(why),
            },
            Restarted::Refused(why) => failed(&task, why),
            Restarted::Forbidden(why) => declined(&why),
            // It may still happen: the next look tells.
            Restarted::Unanswered(why) => unanswered(why),
        }
    }

    /// Whether Docker was asked for what a delivery wants, or may have been: then nobody else is to be
    /// asked, whatever the configuration says by now.
    pub async fn has_begun(&self, attempt: &Attempt) -> bool {
        let restarts = attempt.event_type == EventType::RestartRequested;
        restarts && !matches!(self.asked.when(&attempt.id.0).await, Ok(None))
    }
}

fn task(event: &Event, action: &Action) -> Result<Task, &'static str> {
    let named = event.data.evidence.as_ref().and_then(|evidence| evidence.container.as_ref());
    let id = named.and_then(|container| container.id.as_deref());
    let id = id.ok_or("the decision names no container by its id")?;
    let container = ContainerId::new(id).ok_or("what the decision names is no container's id")?;
    let name = named.and_then(|container| container.name.clone());
    let name = name.ok_or("the decision does not name its container")?;
    let measured = named.and_then(|container| container.started_at).map(|at| at.0);
    let (decided_at, expires_at) = (event.timestamp.0, action.expires_at.0);
    Ok(Task { container, name, measured, decided_at, expires_at })
}

/// Docker and a disk may have taken long: a request that has expired meanwhile, or an attempt that whoever
/// made it is about to give up, is not to end in a restart.
fn too_late(task: &Task, began: Now, now: Now) -> Option<Outcome> {
    if task.expires_at <= now.wall {
        return Some(declined("it has expired"));
    }
    let is_late = now.monotonic.saturating_sub(began.monotonic) > LOOK_WITHIN;
    let why = format!("the look and the mark took longer than {} s", LOOK_WITHIN.as_secs());
    is_late.then(|| later(why))
}

/// What follows from how the container is and when Docker was asked; `None` if it is now to be
/// restarted.
fn verdict(
    task: &Task,
    seen: &Seen,
    asked_at: Option<Timestamp>,
    at: Timestamp,
) -> Option<Outcome> {
    // A wall clock that has stepped back decides before the start it has measured; and what measures may
    // tell for ever when the container was made (cAdvisor before v0.57). So it takes both.
    let is_other = task.measured.is_none_or(|measured| !seen.started_at.is_same_start(measured));
    let is_anew = is_other && seen.started_at > task.decided_at;
    let settled_after = seen.stops_within.saturating_add(SETTLED_AFTER);
    Some(match asked_at {
        Some(_) if is_anew => done(task),
        Some(asked_at) if at.since(asked_at) < settled_after => {
            unanswered("Docker was asked and the container may still be stopping".to_owned())
        }
        Some(_) => failed(task, "Docker was asked and did not do it".to_owned()),
        None if task.expires_at <= at => declined("it has expired"),
        None if seen.name != task.name => {
            declined(&format!("the container of this id is called `{}`", seen.name))
        }
        None if is_anew => declined("the container was started anew since the decision"),
        // Somebody stopped or paused it: a restart would undo that.
        None if !seen.is_running => declined("the container does not run"),
        None => return None,
    })
}

fn done(task: &Task) -> Outcome {
    Outcome::Accepted(Answer { outcome: Some("succeeded".to_owned()), ..answer("done", task) })
}

fn failed(task: &Task, why: String) -> Outcome {
    let outcome = Some("failed".to_owned());
    Outcome::Accepted(Answer { outcome, reason: Some(why), ..answer("done", task) })
}

fn answer(decision: &str, task: &Task) -> Answer {
    let change_id = Some(format!("docker-{}", task.container.short()));
    Answer { decision: Some(decision.to_owned()), change_id, ..Answer::default() }
}

fn declined(why: &str) -> Outcome {
    let (decision, reason) = (Some("declined".to_owned()), Some(why.to_owned()));
    Outcome::Accepted(Answer { decision, reason, ..Answer::default() })
}

fn later(why: String) -> Outcome {
    Outcome::RetryLater { after: None, why }
}

/// It may happen yet, or have happened.
fn unanswered(why: String) -> Outcome {
    Outcome::Unanswered { after: None, why }
}

#[cfg(test)]
mod tests;
