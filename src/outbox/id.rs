//! Ids derived from what they name: the same decision gets the same id, without a random generator.
//!
//! A receiver de-duplicates by them, so they must not change over retries and restarts, and the
//! core may not roll dice. Everything here is SHA-256 over parts with a separator between them.

use std::fmt::Write;

use ring::digest::{Context, SHA256};

use crate::base::{DeliveryId, Timestamp};

/// Crockford's base 32: no I, L, O, U.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a delivery id up to the end of its time: the prefix and ten of Crockford's.
const TIMED: usize = 14;
/// A byte that valid UTF-8 never contains, so no two lists of parts hash alike.
const SEPARATOR: u8 = 0xff;

/// A delivery id: `evt_` and a ULID (48 bits of wall milliseconds, 80 bits of digest), so ids sort
/// roughly by time and hold no `.`. The parts are fingerprint, revision, event type and a nonce of
/// this boot, or whatever else makes the event unique.
pub fn delivery_id(at: Timestamp, parts: &[&str]) -> DeliveryId {
    let digest = digest(parts);
    let millis = u128::from(at.as_millis().max(0).unsigned_abs() & 0xffff_ffff_ffff);
    let random =
        digest.as_ref()[..10].iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let bits = millis << 80 | random;
    let letters = (0..26).rev().map(|i| char::from(CROCKFORD[(bits >> (5 * i) & 31) as usize]));
    DeliveryId(format!("evt_{}", letters.collect::<String>()))
}

/// The id of what follows from another delivery, and from nothing else: of the same time as that.
pub(super) fn following_id(first: &DeliveryId, what: &str) -> DeliveryId {
    let own = delivery_id(Timestamp(0), &[&first.0, what]).0;
    let times = first.0.get(..TIMED).zip(own.get(TIMED..));
    DeliveryId(times.map(|(time, digest)| format!("{time}{digest}")).unwrap_or(own))
}

/// `action.dedup_key`: one per rule, alert, episode and kind of action. It stays the same if the
/// sidecar restarts or a second one watches, so one episode costs at most one restart.
pub fn dedup_key(rule: &str, fingerprint: &str, starts_at: Timestamp, kind: &str) -> String {
    hex(digest(&[rule, fingerprint, &starts_at.to_string(), kind]).as_ref())
}

/// `trace_id`: one per alert and episode, for the Control Plane's trace and audit tables.
pub fn trace_id(fingerprint: &str, starts_at: Timestamp) -> String {
    format!("trace_{}", hex(&digest(&[fingerprint, &starts_at.to_string()]).as_ref()[..16]))
}

/// A checksum of texts, for comparing what should be the same elsewhere: 64 hex digits.
pub fn checksum(parts: &[&str]) -> String {
    hex(digest(parts).as_ref())
}

fn digest(parts: &[&str]) -> impl AsRef<[u8]> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[SEPARATOR]);
    }
    context.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_ids_are_ulids_and_differ_by_every_part() {
        let at = Timestamp(1_795_312_800_000);
        let id = delivery_id(at, &["fp", "1", "alert.firing", "boot"]);
        assert_eq!(id, delivery_id(at, &["fp", "1", "alert.firing", "boot"]));
        assert_eq!(id.0.len(), 30);
        // python: the 48-bit time alone is "01M80FPM80" in Crockford's alphabet
        assert_eq!(&id.0[..14], "evt_01M80FPM80", "the time leads, so ids sort by it");
        assert!(id.0[4..].bytes().all(|b| CROCKFORD.contains(&b)));
        for other in [
            ["fpx", "1", "alert.firing", "boot"],
            ["fp", "2", "alert.firing", "boot"],
            ["fp", "1", "alert.resolved", "boot"],
            ["fp", "1", "alert.firing", "boot2"],
            ["fp1", "", "alert.firing", "boot"],
        ] {
            assert_ne!(id, delivery_id(at, &other), "{other:?}");
        }
    }

    #[test]
    fn dedup_keys_follow_the_episode_and_nothing_else() {
        let key = dedup_key("rule", "fp", Timestamp(1000), "restart");
        assert_eq!(key.len(), 64);
        assert_ne!(key, dedup_key("rule", "fp", Timestamp(1001), "restart"));
        assert_ne!(key, dedup_key("rule", "fp", Timestamp(1000), "nudge"));
        assert_eq!(trace_id("fp", Timestamp(1000)).len(), "trace_".len() + 32);
    }
}
