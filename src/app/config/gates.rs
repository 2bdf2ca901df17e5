//! `gates`: doors of tenants that are tried, and how they are reached.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;

use crate::endpoint::read::http_options;
use crate::endpoint::{HttpOptions, holds_credentials};
use crate::policy::{Gate, PLACEHOLDERS, unknown_placeholder};
use crate::regex::Pattern;
use crate::yaml::{Cursor, Fields, read};

/// Ours: a login that is gone is seen within two of them, and 200 tenants cost 20 requests a second.
const INTERVAL: Duration = Duration::from_secs(30);
/// Ours: a worker is up in seconds, and its window is ten minutes.
const INTERVAL_AFTER_ACTION: Duration = Duration::from_secs(5);
/// More often is a unit that was forgotten, and would be an attack on the tenants.
const INTERVAL_ALLOWED: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);
/// Ours: a customer who waits longer is gone.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Ours: one answer may be lost on the way.
const FAILURES: u32 = 2;

/// Reads the list; beside the gates, credentials and certificates by their names.
pub(super) fn read(
    mut at: Cursor<'_, '_>,
    base: &Path,
) -> Option<(Vec<Gate>, BTreeMap<String, HttpOptions>)> {
    let mut options = BTreeMap::new();
    let gates = at.each_item(|at| {
        let (gate, http) = gate(at, base, &options)?;
        options.insert(gate.name.clone(), http);
        Some(gate)
    })?;
    Some((gates, options))
}

fn gate(
    at: Cursor<'_, '_>,
    base: &Path,
    known: &BTreeMap<String, HttpOptions>,
) -> Option<(Gate, HttpOptions)> {
    let mut fields = Fields::open(at)?;
    let name = fields.required("name", |mut at| {
        let name = read::string(at.again())?;
        if name.is_empty() || known.contains_key(&name) {
            at.error_hint(
                format!("`{name}` is there twice, or empty"),
                "every gate has a name of its own",
            );
            return None;
        }
        Some(name)
    });
    let url = fields.required("url", address);
    let host = fields.optional("host_header", template);
    let status = fields.or("status", 200, |mut at| {
        let status: u16 = read::integer(at.again())?;
        let is_status = (100..600).contains(&status);
        if !is_status {
            at.error(format!("{status} is not an HTTP status"));
        }
        is_status.then_some(status)
    });
    let text = fields.optional("text", read::string);
    let pattern = fields.optional("pattern", |mut at| {
        let text = read::string(at.again())?;
        Pattern::unanchored(&text).map_err(|error| at.error(error)).ok()
    });
    let pace = |at: Cursor<'_, '_>| read::duration_within(at, INTERVAL_ALLOWED);
    let interval = fields.or("interval", INTERVAL, pace);
    let after = fields.or("interval_after_action", INTERVAL_AFTER_ACTION, pace);
    let timeout = fields.or("timeout", TIMEOUT, read::positive_duration);
    let failures = fields.or("failures", FAILURES, |mut at| {
        let failures = read::integer(at.again())?;
        if failures == 0 {
            at.error("no failure at all cannot be a failure; write 1 or more");
            return None;
        }
        Some(failures)
    });
    let tenants = fields.list("tenants", read::string);
    let roles = fields.list("roles", read::string);
    let http = http_options(&mut fields, base);
    fields.finish();
    let gate = Gate {
        name: name?,
        url: url?,
        host,
        status,
        text,
        pattern,
        interval,
        interval_after_action: after.min(interval),
        timeout,
        failures,
        tenants,
        roles,
    };
    Some((gate, http))
}

/// An address with placeholders: a URL whatever stands in them, without credentials.
fn address(mut at: Cursor<'_, '_>) -> Option<String> {
    let text = template(at.again())?;
    let filled = PLACEHOLDERS
        .iter()
        .fold(text.clone(), |text, word| text.replace(&format!("{{{word}}}"), "x"));
    let url = match Url::parse(&filled) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        _ => {
            let hint = "write for example `https://{tenant}.example.com/login`";
            at.error_hint("is not an HTTP address", hint);
            return None;
        }
    };
    if holds_credentials(&url) {
        at.error_hint("holds credentials", "write `basic_auth: {username: …, password_file: …}`");
        return None;
    }
    Some(text)
}

fn template(mut at: Cursor<'_, '_>) -> Option<String> {
    let text = read::string(at.again())?;
    if let Some(unknown) = unknown_placeholder(&text) {
        let known: Vec<String> = PLACEHOLDERS.iter().map(|word| format!("{{{word}}}")).collect();
        at.error_hint(
            format!("`{{{unknown}}}` stands for nothing"),
            format!("known: {}", known.join(", ")),
        );
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Problems, parse};

    fn read_text(text: &str) -> (Option<Vec<Gate>>, String) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let gates = read(Cursor::root("a.yml", &node, &mut problems), Path::new("/etc"));
        (gates.map(|(gates, _)| gates), problems.to_string())
    }

    #[test]
    fn gates_are_read() {
        let text = "- {name: health, url: 'http://{name}:8000/api/method/ping', text: pong}\n\
                    - {name: login, url: 'https://{tenant}.example.com/login', pattern: 'Log ?in', interval: 3s, \
                       status: 200, timeout: 2s, failures: 3, tenants: [acme], \
                       basic_auth: {username: probe, password_file: pw}}\n";
        let (gates, problems) = read_text(text);
        assert_eq!(problems, "");
        let gates = gates.expect("reads");
        assert_eq!(gates[0].failures, 2);
        assert_eq!(
            gates[1].interval_after_action,
            Duration::from_secs(3),
            "never rarer than usual"
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        for (gate, want) in [
            ("{url: 'http://x/'}", "`name` is missing"),
            ("{name: a}", "`url` is missing"),
            ("{name: a, url: 'ftp://x/'}", "is not an HTTP address"),
            ("{name: a, url: 'http://{tenent}.x/'}", "`{tenent}` stands for nothing"),
            ("{name: a, url: 'http://{tenant.x/'}", "stands for nothing"),
            ("{name: a, url: 'http://u:p@x/'}", "holds credentials"),
            ("{name: a, url: 'http://x/', status: 20}", "20 is not an HTTP status"),
            ("{name: a, url: 'http://x/', pattern: '('}", "pattern"),
            ("{name: a, url: 'http://x/', failures: 0}", "1 or more"),
            ("{name: a, url: 'http://x/', interval: 1ms}", "1ms is too short; write 100ms to 1d"),
            (
                "{name: a, url: 'http://x/', interval_after_action: 1ms}",
                "1ms is too short; write 100ms to 1d",
            ),
            ("{name: a, url: 'http://x/', txt: y}", "did you mean `text`?"),
        ] {
            let said = read_text(&format!("- {gate}")).1;
            assert!(said.contains(want) && said.contains("a.yml:1:"), "{gate}: {said}");
            assert!(!said.contains("u:p"), "{said}");
        }
        let twice = "- {name: a, url: 'http://x/'}\n- {name: a, url: 'http://x/'}";
        assert!(read_text(twice).1.contains("a.yml:2:10: [1].name"), "{}", read_text(twice).1);
    }
}
