//! An incident as a unit test of the rules that told it, in promtool's format.
//!
//! The samples come from a recording, lived through by the real engine, or from the window of a
//! running plimsoll. They are put on a grid, because the format knows no other times, and the rules
//! are rehearsed over just these: what fires then is what the test expects. A case in which the
//! incident does not fire is no case, and is refused.

mod reads;
mod rehearse;
mod samples;
mod text;

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use serde_json::Value;

pub use reads::{Wanted, wanted};
pub use samples::{When, from_recording, from_running};
pub use text::write;

use self::rehearse::{Grid, Rehearsed, rehearse};
use crate::base::{Labels, Sample, Timestamp, parse_rfc3339};

/// What happened before the alert, beside what its rules look back to.
const BEFORE: Duration = Duration::from_secs(60);
/// How long after its begin, or its end, the case goes on.
const AFTER: Duration = Duration::from_secs(60);
/// An incident that goes on is cut here.
const LONGEST: Duration = Duration::from_secs(2 * 3600);
/// Labels that say who an alert is about: series of others are left out.
const SUBJECTS: [&str; 6] = ["name", "container", "service", "tenant", "vhost", "instance"];

/// Told of a case that holds in `plimsoll test rules` alone, in its file and on the terminal.
pub const NOT_BEFORE_3: &str =
    "promtool before 3 fails this test: there, a step at the beginning of a range is part of it.";

/// One episode of one alert.
#[derive(Clone, PartialEq, Debug)]
pub struct Incident {
    /// Of its records and webhooks.
    pub trace_id: String,
    /// The alert.
    pub alert: String,
    /// When its condition became true.
    pub started_at: Timestamp,
    /// When it began to fire; `None`: the story does not reach back to that.
    pub fired_at: Option<Timestamp>,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
}

/// Which incident.
#[derive(Clone, Debug)]
pub enum Which {
    /// The one whose `trace_id` begins like this.
    Id(String),
    /// The newest of this alert.
    Newest(String),
}

/// A case that can be written down.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) incident: Incident,
    pub(super) wanted: Wanted,
    pub(super) grid: Grid,
    pub(super) rehearsed: Rehearsed,
}

impl Case {
    /// Whether promtool says the same before Prometheus 3.
    pub fn holds_before_3(&self) -> bool {
        self.rehearsed.holds_before_3
    }

    /// Its rule files, as the configuration names them.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.wanted.files().into_iter()
    }
}

/// A series and its samples.
pub type Series = (Labels, Vec<Sample>);

/// Finds an incident in a story as `plimsoll story --format json` tells it.
pub fn find(story: &Value, which: &Which) -> anyhow::Result<Incident> {
    let incidents = || story["incidents"].as_array().into_iter().flatten().rev();
    let is_it = |incident: &&Value| match which {
        Which::Id(id) => incident["trace_id"].as_str().is_some_and(|known| known.starts_with(id)),
        Which::Newest(alert) => incident["alert"] == **alert && fired_at(incident).is_some(),
    };
    let found = incidents().find(is_it).ok_or_else(|| match which {
        Which::Id(id) => {
            anyhow!("no incident `{id}`; `plimsoll story --format json` lists trace_id")
        }
        Which::Newest(alert) => anyhow!("`{alert}` has not fired in that time"),
    })?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let time = |key: &str| found[key].as_str().and_then(parse_rfc3339);
    let started_at = time("started_at").context("the incident has no time")?;
    ensure!(!text("alert").is_empty(), "this incident is about no alert");
    Ok(Incident {
        trace_id: text("trace_id"),
        alert: text("alert"),
        started_at,
        fired_at: fired_at(found),
        ended_at: time("ended_at"),
    })
}

fn fired_at(incident: &Value) -> Option<Timestamp> {
    let moments = incident["moments"].as_array()?.iter();
    let firing = moments.filter(|moment| moment["kind"] == "alert.firing");
    firing.filter_map(|moment| moment["at"].as_str().and_then(parse_rfc3339)).next()
}

impl Incident {
    /// When it began to fire, as far as that is known.
    pub fn onset(&self) -> Timestamp {
        self.fired_at.unwrap_or(self.started_at)
    }

    /// From when to when samples matter.
    pub fn span(&self, wanted: &Wanted) -> (Timestamp, Timestamp) {
        let from = self.started_at - wanted.back - BEFORE;
        let end = self.ended_at.unwrap_or(self.onset()) + AFTER;
        (from, end.min(self.onset() + LONGEST))
    }
}

/// Makes a case of an incident and the samples around it.
pub fn case(incident: Incident, wanted: Wanted, series: Vec<Series>) -> anyhow::Result<Case> {
    let (_, end) = incident.span(&wanted);
    ensure!(!series.is_empty(), "there is no sample of what `{}` reads", incident.alert);
    let whole = Grid::of(&series, end, &wanted)?;
    let all = rehearse(&whole, &wanted, &incident)?;
    let who = all.alert.clone().ok_or_else(|| {
        anyhow!(
            "`{}` does not fire over these samples: they may not reach back far enough, or what it \
             reads was not recorded",
            incident.alert
        )
    })?;
    same_onset(&incident, &wanted, &whole, &all)?;
    let is_others = |labels: &Labels| {
        SUBJECTS.iter().any(|name| {
            labels.get(name).zip(who.get(name)).is_some_and(|(theirs, own)| theirs != own)
        })
    };
    let mut fewer = whole.clone();
    fewer.series.retain(|(labels, _)| !is_others(labels));
    // What is about others may matter all the same: a sum over the host, a rank.
    let (grid, rehearsed) = match rehearse(&fewer, &wanted, &incident) {
        Ok(own) if own.tells_the_same(&all, &who) => (fewer, own),
        _ => (whole, all),
    };
    Ok(Case { incident, wanted, grid, rehearsed })
}

/// Samples that were lost make another incident of it: one that begins at another time.
fn same_onset(
    incident: &Incident,
    wanted: &Wanted,
    grid: &Grid,
    all: &Rehearsed,
) -> anyhow::Result<()> {
    let Some(happened) = incident.fired_at else { return Ok(()) };
    let apart = |at: Timestamp| happened.since(at).max(at.since(happened));
    let onsets = all.onsets.iter().map(|at| grid.start + *at);
    let Some(rehearsed) = onsets.min_by_key(|at| apart(*at)) else { return Ok(()) };
    // Slots of the two lie up to an evaluation apart, and a sample up to a step from its place.
    ensure!(
        apart(rehearsed) <= wanted.interval + grid.step,
        "`{}` fired at {happened}, and over these samples at {rehearsed}: some are missing, or the rules \
         have changed; a recording (`recorder`, --dir) holds more than the window",
        incident.alert
    );
    Ok(())
}

#[cfg(test)]
mod tests;
