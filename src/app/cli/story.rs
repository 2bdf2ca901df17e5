//! `story`: what happened last night, incident by incident, for people.

use super::super::config::Environment;
use super::args::{Format, PastArgs};
use super::audit::{folder, time_ago};
use super::out::{Ink, Out};
use super::{exit, finish};
use crate::audit::{Incident, Kind, Moment, Standing, Story};
use crate::ledger;

pub fn story(args: &PastArgs, environment: &Environment, out: &mut Out<'_>) -> u8 {
    let outcome = tell(args, environment, out);
    finish(outcome, out)
}

fn tell(args: &PastArgs, environment: &Environment, out: &mut Out<'_>) -> anyhow::Result<u8> {
    let since = time_ago(&args.since)?;
    let dir = match folder(&args.file.config, environment, out) {
        Ok(dir) => dir,
        Err(code) => return Ok(code),
    };
    let told = ledger::story(&dir, (since, args.tenant.clone()), || true)?;
    match out.format {
        Format::Json => out.json(&told),
        Format::Text => show(&told, &args.since, out),
    }
    if let Some(warning) = told.warning() {
        out.say(&warning);
        return Ok(exit::PROBLEMS);
    }
    Ok(exit::OK)
}

fn show(story: &Story, since: &str, out: &mut Out<'_>) {
    if story.incidents.is_empty() {
        return out.say(&format!("nothing happened within {since}"));
    }
    if story.left_out > 0 {
        out.say(&format!("{} older incidents are left out; ask for less", story.left_out));
    }
    for (index, incident) in story.incidents.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let head = head(incident, out);
        out.raw(format!("{gap}{head}\n").as_bytes());
        let mut shown = day(&incident.started_at);
        for (index, moment) in incident.moments.iter().enumerate() {
            if index == 1 && incident.left_out > 0 {
                out.raw(format!("  … {} are left out here\n", incident.left_out).as_bytes());
            }
            if day(&moment.at) != shown {
                shown = day(&moment.at);
                out.raw(format!("  {shown}\n").as_bytes());
            }
            let line = line(moment, out);
            out.raw(format!("{line}\n").as_bytes());
        }
    }
}

/// `2026-11-22 03:10:05  acme/app  WillOom, critical, of acme: resolved at 03:22:10`
fn head(incident: &Incident, out: &Out<'_>) -> String {
    let (ink, standing) = match incident.standing {
        Standing::Firing => (Ink::Bad, "still firing".to_owned()),
        Standing::Unknown => (Ink::Note, "unknown".to_owned()),
        Standing::Resolved => {
            let ended_at = incident.ended_at.as_deref().unwrap_or_default();
            let is_same_day = day(ended_at) == day(&incident.started_at);
            let day = if is_same_day { String::new() } else { format!("{} ", day(ended_at)) };
            (Ink::Good, format!("resolved at {day}{}", clock(ended_at)))
        }
        Standing::Noted => (Ink::Note, String::new()),
    };
    let mut about = vec![incident.subject.clone()];
    about.extend(incident.alert.clone());
    about.extend(incident.severity.clone());
    about.extend(incident.tenant.as_ref().map(|tenant| format!("tenant {tenant}")));
    let (day, clock) = (day(&incident.started_at), clock(&incident.started_at));
    let text = format!("{day} {clock}  {}", about.join(" · "));
    if standing.is_empty() {
        return Out::on_a_line(&text);
    }
    format!("{}  {}", Out::on_a_line(&text), out.inked(ink, &standing))
}

fn line(moment: &Moment, out: &Out<'_>) -> String {
    let text = Out::on_a_line(&moment.text);
    let ink = match moment.kind {
        Kind::AlertFiring | Kind::HostIncidentStarted | Kind::DeliveryRefused | Kind::AuditGap => {
            Some(Ink::Bad)
        }
        Kind::AlertResolved | Kind::HostIncidentEnded => Some(Ink::Good),
        Kind::ActionDecided | Kind::ActionHeld | Kind::ActionOutcome => Some(Ink::Note),
        _ => None,
    };
    let text = ink.map_or_else(|| text.clone(), |ink| out.inked(ink, &text));
    format!("  {}  {text}", clock(&moment.at))
}

/// The day of an RFC 3339 time.
fn day(at: &str) -> &str {
    at.get(..10).unwrap_or_default()
}

/// The time of the day of an RFC 3339 time.
fn clock(at: &str) -> &str {
    at.get(11..19).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_begins_no_line_and_moves_no_cursor() {
        let forged = "acme\r\n2026-01-01 00:00:00  globex \x1b[2J\u{9b}1A";
        let incident = Incident {
            trace_id: None,
            alert: Some(forged.to_owned()),
            severity: Some(forged.to_owned()),
            tenant: Some(forged.to_owned()),
            subject: forged.to_owned(),
            started_at: "2026-11-22T03:10:05.000Z".to_owned(),
            ended_at: None,
            standing: Standing::Firing,
            moments: Vec::new(),
            left_out: 0,
        };
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let out =
            Out { data: &mut data, talk: &mut talk, format: Format::Text, colours: (false, false) };
        let moment = |kind| Moment {
            at: "2026-11-22T03:10:05.000Z".to_owned(),
            kind,
            text: forged.to_owned(),
        };
        let told = [
            head(&incident, &out),
            head(&Incident { standing: Standing::Noted, ..incident.clone() }, &out),
            line(&moment(Kind::AlertFiring), &out),
            line(&moment(Kind::DeliveryAccepted), &out),
        ];
        for text in told {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    fn moment(at: &str, text: &str) -> Moment {
        Moment { at: at.to_owned(), kind: Kind::AlertUnknown, text: text.to_owned() }
    }

    fn shown(story: &Story) -> String {
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let mut out =
            Out { data: &mut data, talk: &mut talk, format: Format::Text, colours: (false, false) };
        show(story, "24h", &mut out);
        String::from_utf8(data).expect("text")
    }

    #[test]
    fn a_line_of_another_day_says_which() {
        let incident = Incident {
            trace_id: Some("trace_1".to_owned()),
            alert: Some("WillOom".to_owned()),
            severity: None,
            tenant: None,
            subject: "acme/app".to_owned(),
            started_at: "2026-11-22T23:59:05.000Z".to_owned(),
            ended_at: Some("2026-11-24T00:10:00.000Z".to_owned()),
            standing: Standing::Resolved,
            moments: vec![
                moment("2026-11-22T23:59:35.000Z", "one"),
                moment("2026-11-23T00:00:00.000Z", "two"),
                moment("2026-11-23T23:59:59.000Z", "three"),
                moment("2026-11-24T00:10:00.000Z", "four"),
            ],
            left_out: 7,
        };
        let late = Incident {
            moments: vec![moment("2026-11-23T00:00:00.000Z", "only")],
            ended_at: Some("2026-11-22T23:59:59.000Z".to_owned()),
            left_out: 0,
            ..incident.clone()
        };
        let story = Story { incidents: vec![incident, late], ..Story::default() };
        let want = "\
2026-11-22 23:59:05  acme/app · WillOom  resolved at 2026-11-24 00:10:00
  23:59:35  one
  … 7 are left out here
  2026-11-23
  00:00:00  two
  23:59:59  three
  2026-11-24
  00:10:00  four

2026-11-22 23:59:05  acme/app · WillOom  resolved at 23:59:59
  2026-11-23
  00:00:00  only
";
        assert_eq!(shown(&story), want);
    }
}
