//! `mail`: where it is handed over, who reads it, and when.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::calendar::zone;
use crate::calendar::{Schedule, Zone};
use crate::endpoint::read::path;
use crate::engine::MailPlan;
use crate::mail::{Address, MailConfig, Protection};
use crate::yaml::{Cursor, Fields, read};

/// Ours: long enough that a restart of either side is over.
const URGENT_AFTER: Duration = Duration::from_secs(600);
/// Ours: RFC 5321 allows a server minutes for each word, people none.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the section.
pub(super) fn read(at: Cursor<'_, '_>, base: &Path) -> Option<(MailConfig, MailPlan)> {
    let mut fields = Fields::open(at)?;
    let host = fields.required("smtp_host", read::name);
    let protection =
        fields.or("tls", Protection::StartTls, |at| read::one_of(at, &Protection::WORDS));
    let port = fields.or("smtp_port", protection.port(), read::integer);
    let ca_file = fields.optional("ca_file", |at| path(at, base));
    let username = fields.optional("username", read::string);
    let password_file = fields.optional("password_file", |at| path(at, base));
    let from = fields.required("from", address);
    let to = fields.list("to", address);
    let timeout = fields.or("timeout", TIMEOUT, read::positive_duration);
    let digest = fields.optional("digest", digest);
    let urgent_after = fields.or("urgent_after", URGENT_AFTER, read::positive_duration);
    if fields.has("username") != fields.has("password_file") {
        fields.cursor().error("`username` and `password_file` must be given together");
    }
    if to.is_empty() {
        fields.cursor().error("`to` names nobody");
    }
    if protection == Protection::None && !host.as_deref().is_some_and(is_loopback) {
        let hint = "write `tls: starttls` or `tls: implicit`";
        fields.cursor().error_hint("`tls: none` is for a server on this machine only", hint);
    }
    fields.finish();
    let login = username.zip(password_file);
    let config =
        MailConfig { host: host?, port, protection, ca_file, login, from: from?, to, timeout };
    Some((config, MailPlan { digest, urgent_after }))
}

fn address(mut at: Cursor<'_, '_>) -> Option<Address> {
    let text = read::string(at.again())?;
    Address::parse(&text).map_err(|error| at.error(error)).ok()
}

fn digest(at: Cursor<'_, '_>) -> Option<(Schedule, Zone)> {
    let mut fields = Fields::open(at)?;
    let schedule = fields.required("schedule", |mut at| {
        let text = read::string(at.again())?;
        Schedule::parse(&text).map_err(|error| at.error(error)).ok()
    });
    let zone = fields.or("timezone", Zone::utc(), zone);
    fields.finish();
    Some((schedule?, zone))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Problems, parse};

    fn read_text(text: &str) -> (Option<(MailConfig, MailPlan)>, String) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let mail = read(Cursor::root("a.yml", &node, &mut problems), Path::new("/etc"));
        (mail, problems.to_string())
    }

    const GOOD: &str = "smtp_host: mail.example.com, from: a@x.org, to: [b@x.org]";

    #[test]
    fn mail_is_read() {
        let (mail, problems) = read_text(&format!("{{{GOOD}}}"));
        assert_eq!(problems, "");
        let (config, plan) = mail.expect("reads");
        assert_eq!((config.port, config.protection), (587, Protection::StartTls));
        assert_eq!((plan.digest, plan.urgent_after), (None, Duration::from_secs(600)));
        let more = "tls: implicit, username: u, password_file: pw, timeout: 5s, urgent_after: 2m, \
                    digest: {schedule: '0 7 * * *', timezone: +09:00}";
        let (mail, problems) = read_text(&format!("{{{GOOD}, {more}}}"));
        assert_eq!(problems, "");
        let (config, plan) = mail.expect("reads");
        assert_eq!((config.port, config.login), (465, Some(("u".to_owned(), "/etc/pw".into()))));
        assert_eq!(plan.digest.expect("it is there").1.name(), "+09:00");
    }

    #[test]
    fn every_mistake_is_told() {
        for (more, want) in [
            (", tls: none", "for a server on this machine only"),
            (", tls: ssl", "`ssl`"),
            (", username: u", "must be given together"),
            (", password: x", "unknown key `password`"),
            (", digest: {schedule: '0 7 * *'}", "five fields"),
            (", digest: {}", "`schedule` is missing"),
            (", digest: {schedule: '@daily', timezone: Mars}", "not a time zone"),
            (", timeout: 0s", "longer than zero"),
        ] {
            let said = read_text(&format!("{{{GOOD}{more}}}")).1;
            assert!(said.contains(want) && said.contains("a.yml:1:"), "{more}: {said}");
        }
        assert!(read_text("{from: a, to: []}").1.contains("`to` names nobody"));
        assert!(read_text("{from: a}").1.contains("`a` is no address"));
        let local = "{smtp_host: '::1', tls: none, from: a@x.org, to: [b@x.org]}";
        assert_eq!(read_text(local).1, "");
    }
}
