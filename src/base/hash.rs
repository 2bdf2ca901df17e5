//! Hash tables for lookups, and the stable fingerprint of a label set.
//!
//! The tables are seeded per process, so their order differs from run to run: nothing in the core
//! may iterate them where order can be seen. `fingerprint` is the opposite: the same on every
//! machine and in every version, because it is written to the journal and into webhooks.

use super::labels::Labels;

/// A hash map for lookups; its order means nothing and differs between runs.
pub type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
/// A hash set for lookups; its order means nothing and differs between runs.
pub type HashSet<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// Separates names from values, as in Prometheus: a byte that valid UTF-8 never contains.
const SEPARATOR: u8 = 0xff;

/// The stable 64-bit FNV-1a fingerprint of a label set, as Alertmanager computes it
/// (`model.LabelSet.Fingerprint`): name, 0xff, value, 0xff for each label in name order.
pub fn fingerprint(labels: &Labels) -> u64 {
    let mut hash = FNV_OFFSET;
    let mut feed = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    for (name, value) in labels.iter() {
        name.bytes().for_each(&mut feed);
        feed(SEPARATOR);
        value.bytes().for_each(&mut feed);
        feed(SEPARATOR);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_fnv1a_and_never_changes() {
        assert_eq!(
            fingerprint(&Labels::empty()),
            FNV_OFFSET,
            "the empty set is FNV's offset basis"
        );
        // python: h = offset; for b in b"a\xffb\xff": h = (h ^ b) * prime mod 2^64
        let cases = [
            (vec![("a", "b")], 0xd2b3_7181_9297_f98a),
            (vec![("host", "web-7"), ("alertname", "X")], 0xcdf9_08ce_78d4_2c2a),
        ];
        for (pairs, want) in cases {
            assert_eq!(fingerprint(&Labels::from_pairs(pairs)), want);
        }
    }
}
