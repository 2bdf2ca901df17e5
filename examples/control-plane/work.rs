//! What was accepted is carried out, and its receipt is sent until it is taken.

use std::sync::Arc;
use std::time::Duration;

use plimsoll::base::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::docker::{SETTLED_AFTER, State};
use super::ledger::{Done, Ended, Entry, KEPT, Open, Outcome, TAKEN_BACK};
use super::{ControlPlane, Said, log, now};

/// Between two looks at a container.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who has not seen by then what Docker did sees no more what came of it: plimsoll watches a day at most.
const WATCHED: Duration = Duration::from_secs(86_400);
/// Between two tries of a receipt: twice as long each time, this at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Works on one delivery until it is over. Each goes its own way: a container that takes long to stop,
/// or a receipt that is not taken, holds up nobody.
pub fn begin(control_plane: &Arc<ControlPlane>, id: String) {
    let control_plane = Arc::clone(control_plane);
    tokio::spawn(async move {
        let Some(open) = control_plane.ledger().task(&id) else { return };
        let Ended { at, done } = match open.ended {
            Some(ended) => ended,
            None => {
                let Some(done) = carry_out(&control_plane, &id).await else { return };
                let entry = Entry::Done { id: id.clone(), done: done.clone() };
                Ended { at: write(&control_plane, &entry).await, done }
            }
        };
        match receipt(&id, &done) {
            Some(receipt) => tell(&control_plane, &id, &receipt, at + KEPT).await,
            None => log(&format!("{id}: {}", done.reason)),
        }
    });
}

/// Restarts the container that was meant; says what became of it. Docker is asked once: whether its
/// answer was lost or this program crashed meanwhile, the container shows later what happened.
async fn carry_out(control_plane: &ControlPlane, id: &str) -> Option<Done> {
    let mut said = Said::default();
    loop {
        let open = control_plane.ledger().task(id)?;
        if let Some(ended) = open.ended {
            return Some(ended.done);
        }
        let container = &open.task.container;
        let look = control_plane.docker.inspect(container).await;
        if let Err(error) = &look {
            said.log(format!("{id}: Docker cannot be asked: {error:#}"));
        }
        match verdict(&open, look.as_ref().ok().map(Option::as_ref), now()) {
            Step::Over(outcome, why) => return Some(Done::new(outcome, why)),
            Step::Wait => {}
            Step::Restart(state) => match claim(control_plane, id, state, now) {
                Ok(Claim::Declined(why)) => return Some(Done::new(Outcome::Declined, why)),
                Ok(Claim::Granted) => match control_plane.docker.restart(container, state).await {
                    Ok(done) => return Some(done),
                    Err(error) => log(&format!("{id}: what Docker did shows later: {error:#}")),
                },
                Err(error) => said.log(format!("{id}: the ledger cannot be written: {error:#}")),
            },
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What follows from how far it has come and how the container is.
#[derive(Debug)]
enum Step<'a> {
    Restart(&'a State),
    /// For Docker, or for a container that may still be stopping.
    Wait,
    Over(Outcome, &'static str),
}

const EXPIRED: &str = "it expired before it could be done";

/// `look` is `None` if Docker cannot be asked, and `Some(None)` if there is no such container.
fn verdict<'a>(open: &Open, look: Option<Option<&'a State>>, now: Timestamp) -> Step<'a> {
    use Outcome::{Declined, Failed, Succeeded, Unknown};
    let Some(started) = open.started else {
        return match look {
            _ if now >= open.task.expires_at => Step::Over(Declined, EXPIRED),
            None => Step::Wait,
            Some(None) => Step::Over(Declined, "the container is gone"),
            Some(Some(state)) if state.started_at > open.task.asked_at => {
                Step::Over(Declined, "the container was started anew since this was asked")
            }
            // Somebody stopped it, and a restart would undo that.
            Some(Some(state)) if !state.running => {
                Step::Over(Declined, "the container does not run")
            }
            Some(Some(state)) => Step::Restart(state),
        };
    };
    let since = now.since(started.at);
    match look {
        Some(Some(state)) if state.started_at != started.ran_since => {
            Step::Over(Succeeded, "it was restarted")
        }
        Some(None) => Step::Over(Unknown, "Docker was asked, and then the container was gone"),
        _ if since >= WATCHED => Step::Over(Unknown, "Docker was asked, and does not say more"),
        Some(Some(state)) if since >= state.stops_within + SETTLED_AFTER => {
            Step::Over(Failed, "Docker was asked and did not do it")
        }
        _ => Step::Wait,
    }
}

/// Whether Docker may be asked now.
#[derive(PartialEq, Debug)]
enum Claim {
    Granted,
    Declined(&'static str),
}

/// Writes down that Docker is about to be asked, unless something stands against it by now; all under
/// one lock, so of two tasks, or of a task and its withdrawal, one comes first.
fn claim(
    control_plane: &ControlPlane,
    id: &str,
    state: &State,
    now: impl Fn() -> Timestamp,
) -> anyhow::Result<Claim> {
    let mut ledger = control_plane.ledger();
    let Some(Open { task, ended: None, .. }) = ledger.task(id) else {
        return Ok(Claim::Declined(TAKEN_BACK));
    };
    if now() >= task.expires_at {
        return Ok(Claim::Declined(EXPIRED));
    }
    if ledger.is_busy(&task) {
        return Ok(Claim::Declined("another restart of this container was asked for meanwhile"));
    }
    let id = id.to_owned();
    ledger.append(now(), &Entry::Started { id: id.clone(), ran_since: state.started_at })?;
    if now() < task.expires_at {
        return Ok(Claim::Granted);
    }
    // The disk took long. If it does not take this now, it takes that the task was declined, later.
    ledger.append(now(), &Entry::Spared { id }).ok();
    Ok(Claim::Declined(EXPIRED))
}

/// What plimsoll is told; nothing if nobody knows.
fn receipt(id: &str, Done { outcome, reason }: &Done) -> Option<Value> {
    let done = |outcome: &str| {
        json!({"delivery_id": id, "decision": "done", "outcome": outcome, "reason": reason,
            "change_id": format!("change-{id}")})
    };
    match outcome {
        Outcome::Succeeded => Some(done("succeeded")),
        Outcome::Failed => Some(done("failed")),
        Outcome::Declined => {
            Some(json!({"delivery_id": id, "decision": "declined", "reason": reason}))
        }
        Outcome::Unknown => None,
    }
}

/// Sends the receipt until plimsoll has it. One id is one receipt, so a repeat is harmless. No refusal is
/// the last word: a proxy may say anything, and plimsoll says 404 while its configuration has no
/// `control_plane`.
async fn tell(control_plane: &ControlPlane, id: &str, receipt: &Value, until: Timestamp) {
    let (mut said, mut pause) = (Said::default(), Duration::from_secs(1));
    let status = loop {
        let why = match post(control_plane, &format!("receipt-{id}"), receipt.to_string()).await {
            // 409: taken before, and the answer was lost.
            Ok(status @ (200..=299 | 409)) => break Some(status),
            Ok(status) => format!("the receipt was answered {status}"),
            Err(error) => format!("the receipt was not answered: {error:#}"),
        };
        said.log(format!("{id}: {why}"));
        if now() >= until {
            log(&format!("{id}: the receipt is given up"));
            break None;
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    };
    write(control_plane, &Entry::Told { id: id.to_owned(), status }).await;
}

/// One try, signed at this moment.
async fn post(control_plane: &ControlPlane, id: &str, body: String) -> anyhow::Result<u16> {
    let seconds = now().as_millis() / 1000;
    let signature = control_plane.keys[0].sign(id, seconds, body.as_bytes())?;
    let request = control_plane
        .http
        .post(&control_plane.receipts_url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature);
    Ok(request.body(body).send().await?.status().as_u16())
}

/// A disk that is full stops the work, not the memory of it. Returns when it was written.
async fn write(control_plane: &ControlPlane, entry: &Entry) -> Timestamp {
    let mut said = Said::default();
    loop {
        let at = now();
        let written = control_plane.ledger().append(at, entry);
        let Err(error) = written else { return at };
        said.log(format!("the ledger cannot be written: {error:#}"));
        sleep(Duration::from_secs(5)).await;
    }
}

#[cfg(test)]
mod tests;
