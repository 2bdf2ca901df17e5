//! Why the daemon did not answer, in words that help, and what follows from it.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::MOST_BYTES;
use crate::endpoint::explain;

/// What is said of an answer that no daemon gives.
const NO_DOCKER: &str = "this is no Docker API";

/// A question that was not answered, or a stream that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// For people.
    pub why: String,
    /// For us.
    pub kind: Kind,
}

/// What failed, as far as it is dealt with differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// There is no socket, or nobody listens at it.
    Absent,
    /// Whoever answers does not stop.
    TooLong,
    /// Anything else: somebody is there.
    Other,
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { why, kind: Kind::Other }
    }
}

impl Failure {
    /// More than is ever taken.
    pub fn too_long(why: String) -> Failure {
        Failure { why, kind: Kind::TooLong }
    }

    /// A question was not sent, or its answer had no head: why, and what would help.
    pub fn unsent(error: reqwest::Error) -> Failure {
        let of_system =
            |error: &(dyn Error + 'static)| Some(error.downcast_ref::<io::Error>()?.kind());
        let is_nobody =
            |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        let is_absent = error.is_connect() && chain(&error).filter_map(of_system).any(is_nobody);
        let help = chain(&error).find_map(help);
        let mut why = explain(error);
        // The client tells this in words alone.
        let help = help.or_else(|| {
            let other = "a daemon with TLS needs `docker.tls_config`";
            why.contains("invalid HTTP").then(|| format!("{NO_DOCKER} ({other})"))
        });
        if let Some(help) = help {
            why = format!("{why}; {help}");
        }
        Failure { why, kind: if is_absent { Kind::Absent } else { Kind::Other } }
    }

    /// The same, of the question that it is about.
    pub fn at(self, path: &str) -> Failure {
        Failure { why: format!("{path}: {}", self.why), kind: self.kind }
    }
}

/// An answer that does not read where the first one is expected.
pub(super) fn no_docker(path: &str, why: impl std::fmt::Display) -> String {
    format!("{path}: {why}; {NO_DOCKER}")
}

/// An answer of more bytes than any has.
pub(super) fn too_long(path: &str) -> String {
    format!("{path}: an answer of more than {MOST_BYTES} bytes")
}

/// No answer in time.
pub(super) fn late(path: &str, within: Duration) -> String {
    format!("{path}: no answer within {within:?}")
}

/// Why the daemon did not answer with what was asked.
pub(super) fn refused(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(200).collect();
    match status {
        403 => format!(
            "refused (403): a socket proxy must allow version, containers and events {text}"
        ),
        _ => format!("status {status} {text}"),
    }
    .trim_end()
    .to_owned()
}

/// An error and what it is made of. An error of a stream hides the one that it is made of.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        hidden.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

/// What would help where the system gives no right to something, or one of both sides does not believe the
/// other.
fn help(error: &(dyn Error + 'static)) -> Option<String> {
    let of_system = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let help = match (of_system, error.downcast_ref()) {
        (Some(io::ErrorKind::PermissionDenied), _) => {
            "plimsoll's user must be in the group of the socket (mostly `docker`), or ask a socket proxy"
        }
        (_, Some(rustls::Error::InvalidCertificate(_))) => {
            "`docker.tls_config.ca_file` must be who signed what the daemon shows (`--tlscert`)"
        }
        (_, Some(rustls::Error::AlertReceived(_))) => {
            "`docker.tls_config.cert_file` must be signed by whom the daemon believes (`--tlscacert`)"
        }
        _ => return None,
    };
    Some(help.to_owned())
}
