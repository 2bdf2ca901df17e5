//! Letters: what a mail says, in plain text and in HTML, from what the engine knows.
//!
//! Pure functions, so that golden files can hold them. Charts are bars made of table cells and of
//! block characters, because programs that show mail leave out SVG, scripts and style sheets. All that
//! others have written (names of tenants, summaries of alerts, words of servers) is escaped, and a
//! subject is one line. Nothing here sends.

mod digest;
mod page;

use self::page::{Page, minutes, span};
use crate::base::Timestamp;
use crate::engine::{Mail, Sink};

/// Alerts that are named in an urgent mail.
const ALERTS_NAMED: usize = 20;

/// A mail as it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// For programs and people without HTML.
    pub text: String,
    /// For the others.
    pub html: String,
}

/// Writes a mail.
pub fn write(mail: &Mail) -> Letter {
    match mail {
        Mail::Digest(digest) => digest::write(digest),
        Mail::Outage { host, sink, since, until, why, firing, waiting } => {
            let (subject, mut page) = match until {
                None => unreachable(host, *sink, *since, why),
                Some(until) => reachable(host, *sink, (*since, *until)),
            };
            if *sink == Sink::ControlPlane {
                page.line(&format!("Webhooks that wait: {waiting}."));
            }
            page.heading(&format!("Alerts that fire now: {}", firing.len()));
            page.list(firing.iter().take(ALERTS_NAMED).map(String::as_str));
            if firing.len() > ALERTS_NAMED {
                page.line(&format!("And {} more.", firing.len() - ALERTS_NAMED));
            }
            page.finish(&subject)
        }
        Mail::Test { host } => {
            let subject = format!("[plimsoll {host}] A test");
            let mut page = Page::default();
            page.line("A test from `plimsoll send-test mail`; nothing is wrong.");
            page.finish(&subject)
        }
    }
}

fn name(sink: Sink) -> &'static str {
    match sink {
        Sink::Alertmanager => "Alertmanager",
        Sink::ControlPlane => "the Control Plane",
    }
}

fn unreachable(host: &str, sink: Sink, since: Timestamp, why: &str) -> (String, Page) {
    let subject = format!("[plimsoll {host}] URGENT: {} cannot be reached", name(sink));
    let mut page = Page::default();
    page.line(&format!("From {host}, {} cannot be reached since {}.", name(sink), minutes(since)));
    page.line(&format!("The last attempt said: {why}"));
    page.line(match sink {
        Sink::Alertmanager => {
            "Until it is back nobody is paged. The alerts below are shown in plimsoll's API, and the \
             Control Plane gets them as webhooks if there is one."
        }
        Sink::ControlPlane => {
            "Until it is back no action is carried out. Webhooks wait and are delivered in order; \
             requests that expire meanwhile are withdrawn."
        }
    });
    page.line("One mail follows when it is back; none in between.");
    (subject, page)
}

fn reachable(host: &str, sink: Sink, (since, until): (Timestamp, Timestamp)) -> (String, Page) {
    let subject = format!("[plimsoll {host}] {} is back", name(sink));
    let mut page = Page::default();
    page.line(&format!(
        "From {host}, {} can be reached again. It was away from {} to {} ({}).",
        name(sink),
        minutes(since),
        minutes(until),
        span(until.since(since))
    ));
    (subject, page)
}

#[cfg(test)]
mod tests;
