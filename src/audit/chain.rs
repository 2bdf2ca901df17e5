//! The chain: how a record becomes a line, and how a line is believed.

use std::fmt::Write;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::Record;

/// What stands for the hash of the record before the first.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// No line is longer. 17 texts of 500 characters and 50 names, each character six bytes at worst.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// There is no number for another record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the newest record has the highest number there is")]
pub struct ChainEnd;

/// What stands between what is hashed and the hash.
const SEAM: &str = ",\"hash\":\"";
const HEX: usize = 64;
/// Behind the hash.
const END: &str = "\"}";

/// Where the chain has got to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The number of the newest record; 0 for none.
    pub sequence: u64,
    /// Its hash, or [`GENESIS`].
    pub head: String,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { sequence: 0, head: GENESIS.to_owned() }
    }
}

#[derive(Serialize)]
struct Sealed<'a> {
    n: u64,
    #[serde(flatten)]
    record: &'a Record,
    prev: &'a str,
}

impl Chain {
    /// The number of the next record.
    pub fn next(&self) -> Result<u64, ChainEnd> {
        self.sequence.checked_add(1).ok_or(ChainEnd)
    }

    /// The line of the next record, without a line break.
    pub fn seal(&mut self, record: &Record) -> Result<String, ChainEnd> {
        let (n, record) = (self.next()?, record.bounded());
        let sealed = Sealed { n, record: &record, prev: &self.head };
        let mut line = serde_json::to_string(&sealed).expect("a record is plain data");
        line.pop();
        let head = hash(line.as_bytes());
        line.push_str(SEAM);
        line.push_str(&head);
        line.push_str(END);
        debug_assert!(line.len() <= LINE_BYTES_MAX, "the parts of a record are bounded");
        *self = Chain { sequence: n, head };
        Ok(line)
    }
}

/// A line that was read and whose hash is its own.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Link {
    /// Its number.
    pub n: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
    /// The hash of the record before it.
    pub prev: String,
    /// Its own.
    pub hash: String,
}

/// Why a line is not believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LinkError {
    /// Not a line of an audit at all.
    #[error("not a record: {0}")]
    Unreadable(String),
    /// Its bytes are not those that were hashed.
    #[error("its hash is not that of its bytes: it was changed")]
    Changed,
}

impl Link {
    /// Reads a line, without its line break. That it fits the record before it is for
    /// [`super::Check`] to say.
    pub fn read(line: &[u8]) -> Result<Link, LinkError> {
        let unreadable = |why: &str| LinkError::Unreadable(why.to_owned());
        if line.len() > LINE_BYTES_MAX {
            return Err(unreadable("the line is too long"));
        }
        let link: Link = serde_json::from_slice(line)
            .map_err(|error| LinkError::Unreadable(error.to_string()))?;
        let hashed = line.len().checked_sub(SEAM.len() + HEX + END.len());
        let (hashed, tail) = line.split_at(hashed.ok_or_else(|| unreadable("too short"))?);
        let want = format!("{SEAM}{}{END}", hash(hashed));
        if tail != want.as_bytes() { Err(LinkError::Changed) } else { Ok(link) }
    }

    /// The chain up to and with this record.
    pub fn chain(&self) -> Chain {
        Chain { sequence: self.n, head: self.hash.clone() }
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::with_capacity(HEX), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;
    use crate::base::Timestamp;

    fn record(tenant: &str) -> Record {
        Record { tenant: Some(tenant.to_owned()), ..Record::new(Timestamp(0), Kind::ActionHeld) }
    }

    /// The hash was made with `printf '%s' '{…,"prev":"000…"' | sha256sum`.
    #[test]
    fn a_line_is_its_record_between_its_number_and_its_hashes() {
        let mut chain = Chain::default();
        let line = chain.seal(&record("acme")).expect("a number");
        let hashed = format!(
            "{{\"n\":1,\"at\":\"1970-01-01T00:00:00.000Z\",\"kind\":\"action.held\",\
             \"tenant\":\"acme\",\"prev\":\"{GENESIS}\""
        );
        let head = "72df217928d0b0f3a91809856127f15dd440df63b48203849f6f30cfe813e45f";
        assert_eq!(line, format!("{hashed},\"hash\":\"{head}\"}}"));
        assert_eq!(chain, Chain { sequence: 1, head: head.to_owned() });
        let link = Link::read(line.as_bytes()).expect("our own line");
        assert_eq!((link.n, &link.record, link.chain()), (1, &record("acme"), chain.clone()));
        let next = Link::read(chain.seal(&record("b")).expect("a number").as_bytes())
            .expect("our own line");
        assert_eq!((next.n, next.prev.as_str()), (2, head));
    }

    #[test]
    fn no_byte_of_a_line_can_change() {
        let line = Chain::default().seal(&record("acme 말")).expect("a number");
        for at in 0..line.len() {
            for bit in [1, 0x20, 0x80] {
                let mut bytes = line.clone().into_bytes();
                bytes[at] ^= bit;
                assert!(Link::read(&bytes).is_err(), "byte {at}, bit {bit:x}");
            }
        }
        for longer in [format!("{line} "), format!(" {line}"), line.replace(":", ": ")] {
            assert!(Link::read(longer.as_bytes()).is_err(), "{longer}");
        }
        assert!(Link::read(b"").is_err() && Link::read(b"{}").is_err());
    }

    #[test]
    fn the_longest_record_fits_a_line() {
        let long = || Some("\u{1}".repeat(10_000));
        let worst = Record {
            trace_id: long(),
            alert: long(),
            fingerprint: long(),
            severity: long(),
            subject: long(),
            action: long(),
            mode: long(),
            cause: long(),
            delivery_id: long(),
            event: long(),
            decision: long(),
            change_id: long(),
            outcome: long(),
            reason: long(),
            lifted_by: long(),
            summary: long(),
            tenants: vec!["\u{1}".repeat(10_000); 1000],
            ..record(&"\u{1}".repeat(10_000))
        };
        let line = Chain::default().seal(&worst).expect("a number");
        assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
        assert!(Link::read(line.as_bytes()).is_ok());
    }
    /// Whoever can write the files can write the highest number.
    #[test]
    fn behind_the_highest_number_comes_no_record() {
        let mut chain = Chain { sequence: u64::MAX - 1, head: GENESIS.to_owned() };
        let line = chain.seal(&record("acme")).expect("the last number");
        assert_eq!(Link::read(line.as_bytes()).expect("our own line").n, u64::MAX);
        let before = chain.clone();
        assert_eq!((chain.seal(&record("acme")), chain), (Err(ChainEnd), before));
    }

    /// Whoever goes back to an older version still has the audit of the newer one.
    #[test]
    fn a_record_of_another_version_is_a_link() {
        let line = Chain::default().seal(&record("acme")).expect("a number");
        let newer = line.replace("action.held", "action.dreamt\",\"new\":{\"a\":1},\"b\":\"c");
        let (hashed, _) = newer.split_once(SEAM).expect("a seam");
        let line = format!("{hashed}{SEAM}{}{END}", hash(hashed.as_bytes()));
        let link = Link::read(line.as_bytes()).expect("a record");
        assert_eq!(
            (link.record.kind, link.record.tenant.as_deref()),
            (Kind::Unknown, Some("acme"))
        );
    }
}
