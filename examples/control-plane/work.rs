//! What was accepted is carried out, one after the other, and its receipt is sent until it is taken.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::docker::State;
use super::ledger::{Entry, Open};
use super::{ControlPlane, now};

/// Between two tries: twice as long each time, this at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A restart that Docker was asked for before a crash has happened by then, or never will.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Works until the program ends.
pub async fn run(control_plane: Arc<ControlPlane>, mut queue: mpsc::UnboundedReceiver<String>) {
    while let Some(id) = queue.recv().await {
        let open = control_plane.ledger.lock().expect("no thread panics with it").task(&id);
        let Some(open) = open else { continue };
        let done = match &open.done {
            Some(done) => Some(done.clone()),
            None => carry_out(&control_plane, &id, &open).await,
        };
        let Some((succeeded, reason)) = done else {
            println!("{id}: plimsoll took it back");
            continue;
        };
        if open.done.is_none() {
            let done = Entry::Done { id: id.clone(), succeeded, reason: reason.clone() };
            write(&control_plane, &done).await;
        }
        // A receipt that is not taken yet holds up nobody.
        tokio::spawn(tell(Arc::clone(&control_plane), id, succeeded, reason));
    }
}

/// Restarts the container that was meant; says whether, and why not. Docker is asked once: after a
/// crash nobody knows what became of the first time, since a container may take long to stop. `None`
/// if plimsoll took the request back before Docker was asked.
async fn carry_out(control_plane: &ControlPlane, id: &str, open: &Open) -> Option<(bool, String)> {
    let failed = |reason: &str| Some((false, reason.to_owned()));
    let until = if open.started { now() + SETTLED_AFTER } else { open.task.expires_at };
    loop {
        let late = now() >= until;
        match control_plane.docker.inspect(&open.task.container).await {
            Ok(state) => match (verdict(open, state.as_ref()), late) {
                (Step::Restart, false) => break,
                (Step::Restart, true) => return failed("it expired before it could be done"),
                (Step::Over(succeeded, reason), _) => return Some((succeeded, reason.to_owned())),
                (Step::Wait, true) => return failed("Docker was asked, and did not do it"),
                (Step::Wait, false) => {}
            },
            Err(_) if late => return failed("Docker could not be asked in time"),
            Err(error) => println!("{id}: Docker cannot be asked: {error:#}"),
        }
        sleep(Duration::from_secs(1)).await;
        if !is_open(control_plane, id) {
            return None;
        }
    }
    if !start(control_plane, id).await {
        return None;
    }
    match control_plane.docker.restart(&open.task.container).await {
        Ok(()) => Some((true, String::new())),
        Err(error) => failed(&format!("{error:#}")),
    }
}

fn is_open(control_plane: &ControlPlane, id: &str) -> bool {
    control_plane.ledger.lock().expect("no thread panics with it").task(id).is_some()
}

/// Writes down that Docker is about to be asked, unless plimsoll took the request back: one or the
/// other comes first.
async fn start(control_plane: &ControlPlane, id: &str) -> bool {
    loop {
        let begun = {
            let mut ledger = control_plane.ledger.lock().expect("no thread panics with it");
            let open = ledger.task(id).is_some();
            open.then(|| ledger.append(now(), &Entry::Started { id: id.to_owned() }))
        };
        match begun {
            None => return false,
            Some(Ok(())) => return true,
            Some(Err(error)) => println!("the ledger cannot be written: {error:#}"),
        }
        sleep(Duration::from_secs(5)).await;
    }
}

/// What follows from how the container is.
#[derive(PartialEq, Debug)]
enum Step {
    Restart,
    /// It may still be stopping.
    Wait,
    Over(bool, &'static str),
}

fn verdict(open: &Open, state: Option<&State>) -> Step {
    let Some(state) = state else { return Step::Over(false, "the container is gone") };
    let anew = state.started_at > open.task.asked_at;
    match (open.started, anew, state.running) {
        (true, true, _) => Step::Over(true, "it was restarted"),
        (true, false, _) => Step::Wait,
        (false, true, _) => Step::Over(false, "it was started anew since this was asked"),
        // Somebody stopped it, and a restart would undo that.
        (false, false, false) => Step::Over(false, "it does not run"),
        (false, false, true) => Step::Restart,
    }
}

/// Sends the receipt until plimsoll has it. One id is one receipt, so a repeat is harmless.
async fn tell(control_plane: Arc<ControlPlane>, id: String, succeeded: bool, reason: String) {
    let outcome = if succeeded { "succeeded" } else { "failed" };
    let body = json!({"delivery_id": id, "decision": "done", "outcome": outcome,
        "change_id": format!("change-{id}"), "reason": reason});
    let receipt = (format!("receipt-{id}-done"), body.to_string());
    let client = Client::builder().timeout(Duration::from_secs(15)).no_proxy().build();
    let client = client.expect("the system's certificates can be read");
    let mut pause = Duration::from_secs(1);
    loop {
        match post(&control_plane, &client, &receipt).await {
            // 409: taken before, and the answer was lost. The others will never be taken.
            Ok(status @ (200..=299 | 400 | 404 | 409 | 413)) => {
                return write(&control_plane, &Entry::Told { id, status }).await;
            }
            Ok(status) => println!("{id}: the receipt was answered {status}"),
            Err(error) => println!("{id}: the receipt was not answered: {error}"),
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// One try, signed at this moment.
async fn post(
    control_plane: &ControlPlane,
    client: &Client,
    (id, body): &(String, String),
) -> anyhow::Result<u16> {
    let seconds = now().as_millis() / 1000;
    let signature = control_plane.keys[0].sign(id, seconds, body.as_bytes())?;
    let request = client
        .post(&control_plane.receipts_url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature);
    Ok(request.body(body.clone()).send().await?.status().as_u16())
}

/// A disk that is full stops the work, not the memory of it.
async fn write(control_plane: &ControlPlane, entry: &Entry) {
    loop {
        let written = control_plane.ledger.lock().expect("no thread panics").append(now(), entry);
        let Err(error) = written else { return };
        println!("the ledger cannot be written: {error:#}");
        sleep(Duration::from_secs(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use plimsoll::base::Timestamp;

    use super::super::ledger::Task;
    use super::*;

    #[test]
    fn only_what_was_meant_is_restarted() {
        let (asked_at, expires_at) = (Timestamp(1000), Timestamp(9000));
        let (dedup_key, container) = (String::new(), String::new());
        let task = Task { dedup_key, container, asked_at, expires_at };
        let fresh = Open { task, started: false, done: None };
        let begun = Open { started: true, ..fresh.clone() };
        let state = |running, at| State { running, started_at: Timestamp(at) };
        let succeeds = |open: &Open, state: Option<State>| match verdict(open, state.as_ref()) {
            Step::Over(succeeded, _) => Some(succeeded),
            Step::Restart | Step::Wait => None,
        };
        assert_eq!(verdict(&fresh, Some(&state(true, 500))), Step::Restart);
        assert_eq!(verdict(&begun, Some(&state(true, 500))), Step::Wait, "it may be stopping");
        assert_eq!(succeeds(&begun, Some(state(true, 1500))), Some(true));
        assert_eq!(succeeds(&fresh, Some(state(true, 1500))), Some(false), "somebody else did it");
        assert_eq!(succeeds(&fresh, Some(state(false, 500))), Some(false), "somebody stopped it");
        assert_eq!(succeeds(&fresh, None), Some(false));
    }

    #[tokio::test]
    async fn what_is_taken_back_before_docker_is_asked_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = super::super::ledger::Ledger::open(&path).unwrap();
        let taken = |id: &str, task, cancels| Entry::Taken {
            id: id.to_owned(),
            event: json!({}),
            answer: json!({}),
            task,
            cancels,
        };
        let (asked_at, expires_at) = (Timestamp(1000), Timestamp(9000));
        for key in ["kept", "void"] {
            let (dedup_key, container) = (key.to_owned(), String::new());
            let task = Some(Task { dedup_key, container, asked_at, expires_at });
            ledger.append(asked_at, &taken(key, task, None)).unwrap();
        }
        ledger.append(asked_at, &taken("evt_3", None, Some("void".to_owned()))).unwrap();
        let control_plane = ControlPlane {
            keys: Vec::new(),
            ledger: std::sync::Mutex::new(ledger),
            docker: super::super::docker::Docker::at(&dir.path().join("docker.sock")).unwrap(),
            receipts_url: String::new(),
            work: mpsc::unbounded_channel().0,
        };
        assert!(start(&control_plane, "kept").await);
        assert!(!start(&control_plane, "void").await);
    }
}
