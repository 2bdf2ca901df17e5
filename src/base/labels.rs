//! A label set, packed into one shared string.
//!
//! A host has tens of thousands of series and every evaluation makes new label sets, so a set is
//! one allocation: its pairs in name order, each name and value behind its length. Equality and
//! hashing are those of one string; a clone is a counter. A label with an empty value is an absent
//! label, as everywhere in Prometheus, so a set never holds one. Annotations are kept in the same
//! way; those are texts, and an empty one is there ([`Labels::of_texts`]).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quoted;

/// The label that carries a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable, sorted set of label pairs without empty values and without repeated names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

/// Whether `text` is a classic label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(text: &str) -> bool {
    is_metric_name(text) && !text.contains(':')
}

/// Whether `text` is a classic metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_metric_name(text: &str) -> bool {
    let head = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b':';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(head) && bytes.all(|b| head(b) || b.is_ascii_digit())
}

impl Labels {
    /// The set without labels.
    pub fn empty() -> Labels {
        Labels(Arc::from(""))
    }

    /// A set from pairs in any order. Empty values are dropped; of a repeated name the last wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Labels {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// A set from pairs that are sorted by name, without repeats; empty values are dropped.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
        // A container's labels; growing step by step would cost more than the set itself.
        let mut packed = String::with_capacity(256);
        let mut previous: Option<&str> = None;
        for (name, value) in pairs {
            debug_assert!(previous.is_none_or(|p| p < name), "pairs come sorted by name");
            previous = Some(name);
            if !value.is_empty() {
                push_part(&mut packed, name);
                push_part(&mut packed, value);
            }
        }
        Labels(Arc::from(packed))
    }

    /// Texts by name, of which one may be empty, from pairs in any order; of a repeated name the
    /// last wins.
    pub fn of_texts<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Labels {
        let mut texts = BTreeMap::new();
        texts.extend(pairs.into_iter().map(|(name, text)| (name.as_ref().to_owned(), text)));
        let mut packed = String::new();
        for (name, text) in &texts {
            push_part(&mut packed, name);
            push_part(&mut packed, text.as_ref());
        }
        Labels(Arc::from(packed))
    }

    /// The pairs, in name order.
    pub fn iter(&self) -> Pairs<'_> {
        Pairs { rest: &self.0 }
    }

    /// The value of a label, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The metric name, or `""`.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels for which `keep` holds.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        Labels::from_sorted(self.iter().filter(|(name, _)| keep(name)))
    }

    /// The set without the metric name. Free of cost where there is none.
    pub fn without_name(&self) -> Labels {
        if self.metric_name().is_empty() {
            return self.clone();
        }
        self.filtered(|name| name != METRIC_NAME)
    }

    /// The set with one label set (or, with an empty value, removed).
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.build()
    }

    /// Where the set stands in memory: clones of one set stand in one place, other sets elsewhere.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// The packed text, for a checkpoint; [`Labels::from_packed`] reads it back.
    pub fn as_packed(&self) -> &str {
        &self.0
    }

    /// Reads [`Labels::as_packed`] back; `None` if the text is not a packed, sorted label set.
    pub fn from_packed(packed: &str) -> Option<Labels> {
        let mut rest = packed;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        while !rest.is_empty() {
            let pair = (checked_part(&mut rest)?, checked_part(&mut rest)?);
            if pair.1.is_empty() || pairs.last().is_some_and(|last| last.0 >= pair.0) {
                return None;
            }
            pairs.push(pair);
        }
        Some(Labels(Arc::from(packed)))
    }

    /// Bytes this set holds on the heap, for the window's byte cap.
    pub fn heap_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }
}

/// Builds a set label by label.
#[derive(Clone, Default, Debug)]
pub struct LabelsBuilder {
    /// Sorted by name, no empty values.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut LabelsBuilder {
        match (self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)), value.is_empty()) {
            (Ok(at), true) => drop(self.pairs.remove(at)),
            (Ok(at), false) => value.clone_into(&mut self.pairs[at].1),
            (Err(_), true) => {}
            (Err(at), false) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut LabelsBuilder {
        self.set(name, "")
    }

    /// The value of a label as it stands, or `""`.
    pub fn get(&self, name: &str) -> &str {
        self.pairs
            .binary_search_by(|(n, _)| n.as_str().cmp(name))
            .map_or("", |at| self.pairs[at].1.as_str())
    }

    /// The pairs as they stand, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> LabelsBuilder {
        LabelsBuilder { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
}

/// The pairs of a set in name order.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        if self.rest.is_empty() {
            return None;
        }
        Some((take_part(&mut self.rest), take_part(&mut self.rest)))
    }
}

/// Lengths are written six bits at a time, low first, bit 6 saying that more follow: every byte is
/// ASCII, so the packed text stays valid UTF-8 and needs no checking when it is read.
fn push_part(packed: &mut String, part: &str) {
    let mut length = part.len();
    while length >= 0x40 {
        packed.push(char::from((length & 0x3f) as u8 | 0x40));
        length >>= 6;
    }
    packed.push(char::from(length as u8));
    packed.push_str(part);
}

fn take_part<'a>(rest: &mut &'a str) -> &'a str {
    let (used, length) = part_length(rest);
    let (part, after) = rest[used..].split_at(length);
    *rest = after;
    part
}

/// As [`take_part`], for text that may be anything.
fn checked_part<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (used, length) = part_length(rest);
    let (part, after) = rest.get(used..)?.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// How many bytes the length takes, and the length. Five digits (1 GiB) are more than a label holds.
fn part_length(text: &str) -> (usize, usize) {
    let mut length = 0;
    for (used, byte) in text.bytes().take(5).enumerate() {
        length |= usize::from(byte & 0x3f) << (6 * used);
        if byte & 0x40 == 0 {
            return (used + 1, length);
        }
    }
    (text.len() + 1, 0)
}

impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

/// As Prometheus writes a series: `name{a="b", c="d"}`, `{}` when empty.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        f.write_str(name)?;
        let others: Vec<String> = self
            .iter()
            .filter(|(n, _)| *n != METRIC_NAME)
            .map(|(n, value)| format!("{n}={}", quoted(value)))
            .collect();
        if name.is_empty() || !others.is_empty() {
            write!(f, "{{{}}}", others.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = Labels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of label names to values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut builder = LabelsBuilder::default();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    builder.set(&name, &value);
                }
                Ok(builder.build())
            }
        }
        deserializer.deserialize_map(MapVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_are_sorted_and_hold_no_empty_values() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels, Labels::from_pairs([("a", "1"), ("b", "3")]));
        assert_eq!(labels.with("a", ""), Labels::from_pairs([("b", "3")]));
    }

    #[test]
    fn texts_may_be_empty_and_labels_not() {
        let texts = Labels::of_texts([("b", ""), ("a", "1"), ("b", "2"), ("c", "")]);
        assert_eq!(texts.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "")]);
        assert_ne!(texts, Labels::from_pairs([("a", "1"), ("b", "2"), ("c", "")]));
        assert_eq!(serde_json::to_string(&texts).expect("JSON"), r#"{"a":"1","b":"2","c":""}"#);
    }

    #[test]
    fn display_is_prometheus_notation() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b"), ("x", "한")]);
        assert_eq!(labels.to_string(), "up{job=\"a\\\"b\", x=\"한\"}");
        assert_eq!(labels.without_name().to_string(), "{job=\"a\\\"b\", x=\"한\"}");
        assert_eq!(Labels::empty().to_string(), "{}");
        assert_eq!(Labels::from_pairs([("__name__", "up")]).to_string(), "up");
    }

    #[test]
    fn order_is_by_pairs_not_by_packed_bytes() {
        let short = Labels::from_pairs([("a", "zz")]);
        let long = Labels::from_pairs([("a", "aaa")]);
        assert!(long < short, "`aaa` sorts before `zz` although it is longer");
    }

    #[test]
    fn names_are_classic_names() {
        assert!(is_metric_name("job:up:rate5m") && !is_label_name("a:b"));
        assert!(!is_metric_name("9a") && !is_metric_name("") && !is_metric_name("a.b"));
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(pairs in prop::collection::btree_map(
            "[a-z_]{1,80}", prop::collection::vec(any::<char>(), 1..200), 0..12)) {
            let pairs: Vec<(String, String)> =
                pairs.into_iter().map(|(n, v)| (n, v.into_iter().collect())).collect();
            let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n, v)));
            let back: Vec<(String, String)> =
                labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(&back, &pairs);
            prop_assert_eq!(Labels::from_packed(labels.as_packed()), Some(labels.clone()));
            prop_assert_eq!(serde_json::from_str::<Labels>(
                &serde_json::to_string(&labels).expect("writes")).expect("reads"), labels);
        }
    }
    proptest! {
        #[test]
        fn reading_packed_text_back_never_panics(text in ".{0,40}") {
            if let Some(labels) = Labels::from_packed(&text) {
                prop_assert_eq!(labels.iter().count(), labels.len());
            }
        }
    }
}
