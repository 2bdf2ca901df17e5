//! Receipts at the door: is it signed, is it fresh, is it a receipt? The rest is the engine's to say.

use std::time::Duration;

use tokio::sync::watch;

use super::api::Api;
use crate::base::{Timestamp, format_duration};
use crate::engine::{Content, Event};
use crate::http::{ApiError, ErrorKind, Signed};
use crate::outbox::{Refusal, Statement};
use crate::send::{Secrets, VerifyError};

/// The secrets in force; `None` where there is no Control Plane.
pub type SecretsWatch = watch::Receiver<Option<Secrets>>;

/// Ids are shown in logs and kept in the journal.
const ID_CHARS_MAX: usize = 128;

impl Api {
    /// Takes a receipt, or says why not; done once it is durable.
    pub(super) async fn receipt(&self, signed: Signed) -> Result<(), ApiError> {
        let secrets = self.secrets.borrow().clone();
        let Some(secrets) = secrets else {
            let why = "receipts are taken only where `control_plane` is configured";
            return Err(ApiError::new(ErrorKind::NotFound, why));
        };
        let now = self.clock.now().wall;
        let (event, detail) = match check(&secrets, &signed, now) {
            Ok(statement) => {
                let id = signed.id;
                (Event::Statement { ticket: 0, id, statement }, None)
            }
            Err((refusal, detail)) => {
                let id: String = signed.id.chars().take(ID_CHARS_MAX).collect();
                let told = detail.clone();
                (Event::StatementRefused { ticket: 0, id, refusal, detail: told }, detail)
            }
        };
        match self.ask_durably(event).await? {
            Content::Changed(Ok(())) => Ok(()),
            Content::Refused(refusal) => {
                let error = ApiError::from(refusal);
                let why = detail.map(|detail| format!("{}: {detail}", error.message));
                Err(ApiError { message: why.unwrap_or(error.message), ..error })
            }
            _ => Err(super::api::amiss()),
        }
    }
}

/// What is wrong with the body is told only to those who can sign it.
fn check(
    secrets: &Secrets,
    signed: &Signed,
    now: Timestamp,
) -> Result<Statement, (Refusal, Option<String>)> {
    let Signed { id, timestamp, signature, body } = signed;
    let body = body.as_ref().ok_or((Refusal::TooLarge, None))?;
    let missing = "webhook-id, webhook-timestamp and webhook-signature are needed";
    let malformed = |why: &str| (Refusal::Malformed, Some(why.to_owned()));
    let seconds: i64 = timestamp.parse().map_err(|_| malformed(missing))?;
    let is_id = |c: char| c.is_ascii_graphic() && c != '.';
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(is_id) || signature.is_empty() {
        return Err(malformed(missing));
    }
    secrets.verify((id, seconds, signature), body, now).map_err(|error| match error {
        VerifyError::Stale => (Refusal::Stale, Some(apart(seconds, now))),
        VerifyError::NoMatch => (Refusal::Signature, None),
    })?;
    Statement::read(body).map_err(|why| malformed(&why))
}

/// How far the sender's clock, or its receipt, is from ours.
fn apart(seconds: i64, now: Timestamp) -> String {
    let theirs = Timestamp(seconds.saturating_mul(1000));
    let (ahead, behind) = (theirs.since(now), now.since(theirs));
    let (apart, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let apart = Duration::from_secs(apart.as_secs());
    format!("webhook-timestamp is {} {word} this clock", format_duration(apart))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const GOOD: &[u8] = br#"{"delivery_id":"evt_1","decision":"accepted"}"#;

    fn secrets() -> Secrets {
        Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret")
    }

    fn signed(body: &[u8], seconds: i64) -> Signed {
        Signed {
            id: "msg_1".to_owned(),
            timestamp: seconds.to_string(),
            signature: secrets().sign("msg_1", seconds, body),
            body: Some(body.to_vec()),
        }
    }

    #[test]
    fn only_what_is_signed_fresh_and_whole_gets_in() {
        let said = |signed: &Signed| check(&secrets(), signed, NOW).map_err(|(refusal, _)| refusal);
        let good = signed(GOOD, 1_800_000_000);
        assert_eq!(said(&good).expect("good").delivery_id, "evt_1");
        let cases = [
            (Signed { body: None, ..good.clone() }, Refusal::TooLarge),
            (Signed { body: Some(b"{}".to_vec()), ..good.clone() }, Refusal::Signature),
            (Signed { id: "msg_2".to_owned(), ..good.clone() }, Refusal::Signature),
            (Signed { signature: "v1,AAAA".to_owned(), ..good.clone() }, Refusal::Signature),
            (Signed { signature: String::new(), ..good.clone() }, Refusal::Malformed),
            (Signed { id: String::new(), ..good.clone() }, Refusal::Malformed),
            (Signed { id: "a.b".to_owned(), ..good.clone() }, Refusal::Malformed),
            (Signed { timestamp: "now".to_owned(), ..good.clone() }, Refusal::Malformed),
            (signed(GOOD, 1_800_000_301), Refusal::Stale),
            (signed(GOOD, 1_799_999_699), Refusal::Stale),
            (signed(b"{\"decision\":\"accepted\"}", 1_800_000_000), Refusal::Malformed),
        ];
        for (signed, want) in cases {
            assert_eq!(said(&signed), Err(want), "{signed:?}");
        }
        let detail = |seconds| {
            let refused = check(&secrets(), &signed(GOOD, seconds), NOW);
            refused.expect_err("it is stale").1.unwrap_or_default()
        };
        assert_eq!(detail(1_800_003_600), "webhook-timestamp is 1h ahead of this clock");
        assert_eq!(detail(1_799_999_390), "webhook-timestamp is 10m10s behind this clock");
        assert!(detail(i64::MAX).contains("ahead") && detail(i64::MIN).contains("behind"));
    }
}
