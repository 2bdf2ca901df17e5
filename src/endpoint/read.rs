//! Reads what scrape jobs and Alertmanagers have in common from the configuration: credentials,
//! TLS, lists of addresses, relabelling rules.
//!
//! Relative paths are relative to the configuration file, as in Prometheus.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::{Auth, HttpOptions, Secret, TlsOptions, holds_credentials};
use crate::base::Labels;
use crate::relabel::{Rule, RuleSpec};
use crate::yaml::{Cursor, Fields, read};

/// A list of addresses with labels they share: an entry of `static_configs`, or of a file that
/// `file_sd_configs` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetGroup {
    /// `host:port`, or `unix:///path/to.sock:/metrics`.
    pub targets: Vec<String>,
    /// Labels for all of them.
    pub labels: Labels,
}

/// Keys of Prometheus's HTTP client configuration that plimsoll lacks, and what is lost.
const UNSUPPORTED: [(&str, &str); 9] = [
    ("oauth2", "requests go without its token"),
    ("bearer_token", "write `authorization: {credentials_file: …}`"),
    ("bearer_token_file", "write `authorization: {credentials_file: …}`"),
    ("proxy_url", "plimsoll connects directly"),
    ("proxy_from_environment", "plimsoll connects directly"),
    ("no_proxy", "plimsoll connects directly to every address"),
    ("proxy_connect_header", "plimsoll connects directly"),
    ("http_headers", "the headers are not sent"),
    ("enable_http2", "HTTP/1.1 is used"),
];

/// Reads the HTTP client's keys of a job or an Alertmanager.
pub fn http_options(fields: &mut Fields<'_, '_>, base: &Path) -> HttpOptions {
    let basic = fields.optional("basic_auth", |at| basic_auth(at, base));
    let token = fields.optional("authorization", |at| authorization(at, base));
    let tls = fields.optional("tls_config", |at| tls_config(at, base)).unwrap_or_default();
    if fields.has("basic_auth") && fields.has("authorization") {
        fields.cursor().error("at most one of `basic_auth` and `authorization` may be given");
    }
    fields.optional("follow_redirects", |mut at| {
        if read::boolean(at.again())? {
            at.warning("redirects are never followed: credentials would follow them");
        }
        Some(())
    });
    for (key, lost) in UNSUPPORTED {
        fields.unsupported(key, lost);
    }
    HttpOptions { auth: basic.or(token).unwrap_or_default(), tls }
}

/// Reads one group of targets.
pub fn target_group(at: Cursor<'_, '_>) -> Option<TargetGroup> {
    let mut fields = Fields::open(at)?;
    let targets = fields.list("targets", |mut at| {
        let target = read::string(at.again())?;
        if target.is_empty() {
            at.error_hint("is empty", "write `host:port`");
            return None;
        }
        Some(target)
    });
    let labels = fields.optional("labels", read::labels).unwrap_or_default();
    fields.finish();
    Some(TargetGroup { targets, labels: Labels::from_pairs(labels) })
}

/// Reads a list of relabelling rules: `relabel_configs`, `metric_relabel_configs`,
/// `alert_relabel_configs`. A rule that does not read is left out, and reported.
pub fn relabel_rules(mut at: Cursor<'_, '_>) -> Option<Vec<Rule>> {
    at.each_item(|at| {
        let mut fields = Fields::open(at)?;
        let mut action_at = None;
        let spec = RuleSpec {
            source_labels: fields.optional("source_labels", read::strings),
            separator: fields.optional("separator", read::string),
            regex: fields.optional("regex", read::string),
            modulus: fields.optional("modulus", read::integer),
            target_label: fields.optional("target_label", read::string),
            replacement: fields.optional("replacement", read::string),
            action: fields.optional("action", |at| {
                action_at = Some(at.node.at);
                read::string(at)
            }),
        };
        let rule = Rule::new(spec).map_err(|error| {
            let at = fields.cursor();
            let place = action_at.filter(|_| error.starts_with("unknown relabel action"));
            let problem = at.problem(place.unwrap_or(at.node.at), error);
            at.push(problem);
        });
        let rule = rule.ok();
        fields.finish();
        rule
    })
}

/// A path, relative to the directory `base`.
pub fn path(mut at: Cursor<'_, '_>, base: &Path) -> Option<PathBuf> {
    let text = read::string(at.again())?;
    if text.is_empty() {
        at.error_hint("is empty", "write a path, or leave the key out");
        return None;
    }
    Some(base.join(text))
}

/// An address without credentials; `key` is where they belong.
pub fn bare_url(mut at: Cursor<'_, '_>, key: &str) -> Option<Url> {
    let text = read::url(at.again())?;
    let url = Url::parse(&text);
    let shown = read::shown_url(&text);
    let url = url.map_err(|error| at.error(format!("{shown} is not a URL: {error}"))).ok()?;
    if holds_credentials(&url) {
        at.error_hint("holds credentials", format!("write them under `{key}`"));
        return None;
    }
    Some(url)
}

fn basic_auth(at: Cursor<'_, '_>, base: &Path) -> Option<Auth> {
    let mut fields = Fields::open(at)?;
    let username = match fields.optional("username", read::string) {
        Some(name) => Some(Secret::Inline(name)),
        None => fields.optional("username_file", |at| path(at, base)).map(Secret::File),
    };
    let password = secret(&mut fields, "password", "password_file", base);
    if !fields.has("username") && !fields.has("username_file") {
        fields.cursor().error("`username` is missing");
    }
    fields.finish();
    Some(Auth::Basic { username: username?, password })
}

fn authorization(at: Cursor<'_, '_>, base: &Path) -> Option<Auth> {
    let mut fields = Fields::open(at)?;
    let scheme = fields.or("type", "Bearer".to_owned(), read::string);
    let credentials = secret(&mut fields, "credentials", "credentials_file", base);
    if !fields.has("credentials") && !fields.has("credentials_file") {
        fields.cursor().error("`credentials_file` is missing");
    }
    if scheme.trim().eq_ignore_ascii_case("basic") {
        fields.cursor().error_hint("type `Basic` cannot be used here", "write `basic_auth`");
    }
    fields.finish();
    Some(Auth::Token { scheme: scheme.trim().to_owned(), credentials: credentials? })
}

/// A secret from `file_key`, or written out under `key`, which earns a warning.
fn secret(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    file_key: &'static str,
    base: &Path,
) -> Option<Secret> {
    let file = fields.optional(file_key, |at| path(at, base)).map(Secret::File);
    let inline = fields.optional(key, |mut at| {
        at.warning(format!(
            "a secret in the configuration; put it into a file and name that in `{file_key}`"
        ));
        read::string(at)
    });
    if file.is_some() && inline.is_some() {
        fields.cursor().error(format!("at most one of `{key}` and `{file_key}` may be given"));
    }
    file.or(inline.map(Secret::Inline))
}

/// Reads `tls_config`.
pub fn tls_config(at: Cursor<'_, '_>, base: &Path) -> Option<TlsOptions> {
    let mut fields = Fields::open(at)?;
    let options = TlsOptions {
        ca_file: fields.optional("ca_file", |at| path(at, base)),
        cert_file: fields.optional("cert_file", |at| path(at, base)),
        key_file: fields.optional("key_file", |at| path(at, base)),
        server_name: fields.optional("server_name", read::string),
        insecure_skip_verify: fields.or("insecure_skip_verify", false, read::boolean),
    };
    if fields.has("cert_file") != fields.has("key_file") {
        fields.cursor().error("`cert_file` and `key_file` must be given together");
    }
    for (key, lost) in [
        ("ca", "put it into a file and name that in `ca_file`"),
        ("cert", "put it into a file and name that in `cert_file`"),
        ("key", "put it into a file and name that in `key_file`"),
        ("min_version", "TLS 1.2 and 1.3 are used"),
        ("max_version", "TLS 1.2 and 1.3 are used"),
    ] {
        fields.unsupported(key, lost);
    }
    fields.finish();
    Some(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Problems, parse};

    /// The options, and the problems without the file's name.
    fn check(text: &str, want: HttpOptions, want_problems: &[&str]) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let mut fields = Fields::open(Cursor::root("a.yml", &node, &mut problems)).expect(text);
        let options = http_options(&mut fields, Path::new("/etc/plimsoll"));
        fields.finish();
        assert_eq!(options, want, "{text}");
        let problems = problems.to_string();
        let got: Vec<&str> = problems.lines().collect();
        assert_eq!(got.len(), want_problems.len(), "{problems}");
        for (got, want) in got.iter().zip(want_problems) {
            assert!(got.contains(want), "`{want}` in: {got}");
        }
    }

    #[test]
    fn http_options_are_read() {
        let none = HttpOptions::default;
        let file = |name: &str| Secret::File(Path::new("/etc/plimsoll").join(name));
        let basic = |password| Auth::Basic { username: Secret::Inline("u".to_owned()), password };
        check("", none(), &[]);
        check(
            "basic_auth: {username: u, password_file: pw}",
            HttpOptions { auth: basic(Some(file("pw"))), ..none() },
            &[],
        );
        check(
            "basic_auth: {username: u, password: hunter2}",
            HttpOptions { auth: basic(Some(Secret::Inline("hunter2".to_owned()))), ..none() },
            &["1:37: warning: basic_auth.password: a secret in the configuration"],
        );
        let credentials = Secret::File("/run/token".into());
        check(
            "authorization: {credentials_file: /run/token}",
            HttpOptions {
                auth: Auth::Token { scheme: "Bearer".to_owned(), credentials },
                ..none()
            },
            &[],
        );
        check(
            "authorization: {type: Basic, credentials_file: a}",
            HttpOptions {
                auth: Auth::Token { scheme: "Basic".to_owned(), credentials: file("a") },
                ..none()
            },
            &["write `basic_auth`"],
        );
        check("authorization: {}", none(), &["`credentials_file` is missing"]);
        check(
            "basic_auth: {password_file: a}\nauthorization: {}",
            none(),
            &["`username` is missing", "`credentials_file` is missing", "at most one of"],
        );
        let tls = TlsOptions {
            ca_file: Some("/etc/plimsoll/ca.pem".into()),
            server_name: Some("x".to_owned()),
            ..TlsOptions::default()
        };
        check("tls_config: {ca_file: ca.pem, server_name: x}", HttpOptions { tls, ..none() }, &[]);
        let tls = TlsOptions { cert_file: Some("/c".into()), ..TlsOptions::default() };
        check(
            "tls_config: {cert_file: /c}",
            HttpOptions { tls, ..none() },
            &["must be given together"],
        );
        check(
            "proxy_url: http://p\nfollow_redirects: true\nbasic_aut: {}",
            none(),
            &["never followed", "`proxy_url` is not supported", "did you mean `basic_auth`?"],
        );
    }
}
