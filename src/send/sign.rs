//! Standard Webhooks 1.0.0 signatures (symmetric, `v1`), made and checked.
//!
//! The signed text is `id.timestamp.body`; the key is what stands, in base64, behind `whsec_`.
//! While a secret is being replaced there are two, and every request carries a signature of each, so
//! the receiver may change over whenever it likes. Secrets are never shown: not by `Debug`, not in
//! an error.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{self, HMAC_SHA256, Key};
use thiserror::Error;

use crate::base::Timestamp;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1";
/// Shortest key (Standard Webhooks 1.0.0: 24 to 64 random bytes).
const KEY_BYTES_MIN: usize = 24;
/// Two at most: the old one and the new one.
const SECRETS_MAX: usize = 2;
/// How far a timestamp may lie from the receiver's clock (as in the reference libraries).
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Bytes of a signature, and how many of one header are looked at.
const CODE_BYTES: usize = 32;
const CODES_MAX: usize = 8;

/// One or two signing keys.
#[derive(Clone)]
pub struct Secrets(Vec<Vec<u8>>);

/// Why a secret file cannot be used. Lines are counted from 1; the secret itself is never told.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SecretError {
    /// Nothing but blank lines.
    #[error("holds no secret; write one `whsec_…` line")]
    Empty,
    /// More than the old and the new one.
    #[error(
        "holds more than two secrets; keep the new one and, while receivers change over, the old"
    )]
    TooMany,
    /// Something else.
    #[error("line {0} does not start with `whsec_`")]
    NoPrefix(usize),
    /// Not base64.
    #[error("line {0}: what follows `whsec_` is not base64")]
    NotBase64(usize),
    /// Too short to be safe.
    #[error("line {line}: the key has {bytes} bytes; it needs at least {KEY_BYTES_MIN}")]
    TooShort {
        /// Where.
        line: usize,
        /// Its length.
        bytes: usize,
    },
}

/// Why a request is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum VerifyError {
    /// A replay, or a clock that is off.
    #[error("the timestamp is more than five minutes from this clock")]
    Stale,
    /// Not ours, or changed on the way.
    #[error("no signature matches")]
    NoMatch,
}

impl Secrets {
    /// Reads a secret file: one or two lines `whsec_<base64>`; blank lines do not count.
    pub fn parse(text: &str) -> Result<Secrets, SecretError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() {
                continue;
            }
            let encoded = line.strip_prefix(PREFIX).ok_or(SecretError::NoPrefix(number))?;
            let key = STANDARD.decode(encoded).map_err(|_| SecretError::NotBase64(number))?;
            if key.len() < KEY_BYTES_MIN {
                return Err(SecretError::TooShort { line: number, bytes: key.len() });
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(SecretError::Empty),
            1..=SECRETS_MAX => Ok(Secrets(keys)),
            _ => Err(SecretError::TooMany),
        }
    }

    /// The header `webhook-signature`: one `v1,<base64>` per key. `seconds` is the header
    /// `webhook-timestamp`, Unix seconds of this attempt.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let code = hmac::sign(&Key::new(HMAC_SHA256, key), &signed(id, seconds, body));
            format!("{VERSION},{}", STANDARD.encode(code))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Whether one signature of the header was made with one of the keys, at a time near `now`.
    /// Codes are compared in constant time.
    pub fn verify(
        &self,
        (id, seconds, header): (&str, i64, &str),
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let distance = (now.as_millis() / 1000).abs_diff(seconds);
        if distance > TOLERANCE.as_secs() {
            return Err(VerifyError::Stale);
        }
        let codes = header
            .split(' ')
            .filter_map(|part| part.split_once(','))
            .filter(|(version, _)| *version == VERSION)
            .filter_map(|(_, code)| STANDARD.decode(code).ok())
            .filter(|code| code.len() == CODE_BYTES)
            // Of old and new secrets there are two; whoever writes more has us count codes for nothing.
            .take(CODES_MAX);
        let signed = signed(id, seconds, body);
        let keys: Vec<Key> = self.0.iter().map(|key| Key::new(HMAC_SHA256, key)).collect();
        for code in codes {
            if keys.iter().any(|key| hmac::verify(key, &signed, &code).is_ok()) {
                return Ok(());
            }
        }
        Err(VerifyError::NoMatch)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} hidden)", self.0.len())
    }
}

fn signed(id: &str, seconds: i64, body: &[u8]) -> Vec<u8> {
    let mut signed = format!("{id}.{seconds}.").into_bytes();
    signed.extend_from_slice(body);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TWO: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    /// The first is the specification's own example; the second was made with openssl.
    #[test]
    fn signs_as_the_published_vectors_say() {
        let cases = [
            (
                ONE,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                TWO,
                "evt_01JD8Q0Z3V9K6M2T4W7X5Y1ABC",
                1_795_312_800,
                r#"{"type":"tenant.memory.near_limit","timestamp":"2026-11-22T02:00:00Z","data":{"tenant_id":"acme"}}"#,
                "v1,twZOX4PqiryRsL6HGaIYDirsC08YswlPFwlyOWd49yE=",
            ),
        ];
        for (secret, id, seconds, body, want) in cases {
            let secrets = Secrets::parse(secret).expect("a secret");
            assert_eq!(secrets.sign(id, seconds, body.as_bytes()), want);
            let header = (id, seconds, want);
            assert_eq!(secrets.verify(header, body.as_bytes(), at(seconds)), Ok(()));
        }
    }

    #[test]
    fn the_reference_library_signs_alike() {
        for body in ["", "{}", "{\"한\":\"글\"}", "a.b.c\n"] {
            let oracle = standardwebhooks::Webhook::new(TWO).expect("a secret");
            let ours = Secrets::parse(TWO).expect("a secret").sign("evt_1", 99, body.as_bytes());
            assert_eq!(ours, oracle.sign("evt_1", 99, body.as_bytes()).expect("signs"));
        }
    }

    #[test]
    fn both_keys_sign_and_either_verifies() {
        let both = Secrets::parse(&format!("{ONE}\n\n {TWO} \n")).expect("two secrets");
        let header = both.sign("evt_1", 99, b"{}");
        assert_eq!(header.split(' ').count(), 2);
        for secret in [ONE, TWO] {
            let one = Secrets::parse(secret).expect("a secret");
            assert_eq!(one.verify(("evt_1", 99, &header), b"{}", at(99)), Ok(()));
        }
    }

    #[test]
    fn nothing_altered_stale_or_foreign_verifies() {
        let secrets = Secrets::parse(ONE).expect("a secret");
        let good = secrets.sign("evt_1", 1000, b"{}");
        let foreign = Secrets::parse(TWO).expect("a secret").sign("evt_1", 1000, b"{}");
        let check = |id, seconds, header: &str, body: &[u8], now, want| {
            assert_eq!(secrets.verify((id, seconds, header), body, at(now)), want, "{id} {header}");
        };
        let no = Err(VerifyError::NoMatch);
        check("evt_1", 1000, &good, b"{}", 1300, Ok(()));
        check("evt_1", 1000, &good, b"{}", 1301, Err(VerifyError::Stale));
        check("evt_1", 1000, &good, b"{}", 699, Err(VerifyError::Stale));
        check("evt_2", 1000, &good, b"{}", 1000, no);
        check("evt_1", 1001, &good, b"{}", 1000, no);
        check("evt_1", 1000, &good, b"{ }", 1000, no);
        check("evt_1", 1000, &foreign, b"{}", 1000, no);
        check("evt_1", 1000, &good.replace("v1,", "v2,"), b"{}", 1000, no);
        check("evt_1", 1000, "v1, v1,!! x", b"{}", 1000, no);
        check("evt_1", 1000, &format!("v1a,xyz {good}"), b"{}", 1000, Ok(()));
        // What is no signature costs nothing, and of more than a few no more are tried.
        check("evt_1", 1000, &format!("{}{good}", "v1, ".repeat(10_000)), b"{}", 1000, Ok(()));
        let wrong = format!("{foreign} ").repeat(CODES_MAX);
        check("evt_1", 1000, &format!("{wrong}{good}"), b"{}", 1000, no);
    }

    #[test]
    fn bad_secret_files_are_explained_without_the_secret() {
        let three = format!("{ONE}\n{ONE}\n{ONE}");
        let cases = [
            ("\n \n", SecretError::Empty),
            (&three, SecretError::TooMany),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::NoPrefix(1)),
            ("\nwhsec_MfKQ9r8G*", SecretError::NotBase64(2)),
            ("whsec_c2hvcnQ=", SecretError::TooShort { line: 1, bytes: 5 }),
        ];
        for (text, want) in cases {
            let error = Secrets::parse(text).expect_err(text);
            assert_eq!(error, want);
            assert!(!error.to_string().contains("MfKQ") && !error.to_string().contains("c2hv"));
        }
        let shown = format!("{:?}", Secrets::parse(ONE).expect("a secret"));
        assert_eq!(shown, "Secrets(1 hidden)");
    }
}
