//! Whether plimsoll is there: its heartbeats stand in the ledger, and so does their absence.

use std::sync::Arc;
use std::time::Duration;

use plimsoll::base::Timestamp;
use tokio::time::sleep;

use super::ledger::Entry;
use super::{ControlPlane, Said, log, now};

/// So many of them may be missed.
const MISSED: u32 = 3;
/// What is late by less is said in time.
const LOOKS_PER_INTERVAL: u32 = 4;

/// Says who is silent, and who is heard of again, for as long as this program runs. A real one wakes
/// somebody up here.
pub async fn listen(control_plane: Arc<ControlPlane>, interval: Duration) {
    let (since, mut said) = (now(), Said::default());
    loop {
        sleep(interval / LOOKS_PER_INTERVAL).await;
        if let Err(error) = look(&control_plane, (now(), since), MISSED * interval) {
            said.log(format!("the ledger cannot be written: {error:#}"));
        }
    }
}

fn look(
    control_plane: &ControlPlane,
    (now, since): (Timestamp, Timestamp),
    patience: Duration,
) -> anyhow::Result<()> {
    let mut ledger = control_plane.ledger();
    for sign in ledger.signs(now, since, patience) {
        ledger.append(now, &sign)?;
        match sign {
            Entry::Silent { id, .. } => {
                log(&format!("no heartbeat of {id} for {MISSED} intervals"));
            }
            Entry::Heard { id } => log(&format!("{id} is heard of again")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);
    const PATIENCE: Duration = Duration::from_secs(180);

    fn at(second: u64) -> Timestamp {
        START + Duration::from_secs(second)
    }

    fn beat(control_plane: &ControlPlane, second: u64) {
        let entry = Entry::Taken {
            id: format!("evt_{second}"),
            event: json!({"type": "sidecar.heartbeat", "data": {"host": "web-7"}}),
            answer: json!({}),
            task: None,
            cancels: None,
        };
        control_plane.ledger().append(at(second), &entry).unwrap();
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let home = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::in_folder(home.path());
        let told = |second: u64| {
            let before = std::fs::read_to_string(home.path().join("ledger.jsonl")).unwrap().len();
            look(&control_plane, (at(second), START), PATIENCE).unwrap();
            std::fs::read_to_string(home.path().join("ledger.jsonl")).unwrap()[before..].to_owned()
        };
        assert_eq!(told(600), "", "who was never heard of is not missed");
        beat(&control_plane, 600);
        assert_eq!(told(779), "");
        let silent = told(780);
        assert!(silent.contains(r#""what":"silent""#) && silent.contains("web-7"), "{silent}");
        assert_eq!(told(5000), "");
        beat(&control_plane, 5001);
        assert!(told(5002).contains(r#""what":"heard""#));
        assert_eq!(told(5003), "");
    }

    #[test]
    fn who_could_not_be_heard_is_not_called_silent() {
        let home = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::in_folder(home.path());
        beat(&control_plane, 0);
        let told = |second, since| {
            let signs = control_plane.ledger().signs(at(second), at(since), PATIENCE);
            signs.len()
        };
        // This program was away for an hour.
        assert_eq!((told(3700, 3600), told(3779, 3600), told(3780, 3600)), (0, 0, 1));
    }
}
