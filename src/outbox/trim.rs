//! Cuts an event's texts until its body fits.
//!
//! A rule's annotation or a hostile container label may be arbitrarily long, and a body over the
//! limit would be refused for ever. Free text goes first, in steps; labels last. Numbers, ids, the
//! alert's name and the action are never touched.

use std::collections::BTreeMap;

use serde_json::Value;

use super::event::Event;

/// Put where text was cut, so that a reader sees it.
pub(super) const MARK: &str = "…[cut]";
/// Lengths, in bytes, to which texts are cut, one after the other until the body fits.
const STEPS: [usize; 5] = [4096, 1024, 256, 64, 16];

/// The event as JSON in fewer than `max` bytes.
pub(super) fn body_under(event: &Event, max: usize) -> String {
    let whole = to_json(event);
    if whole.len() < max {
        return whole;
    }
    let mut event = event.clone();
    for step in STEPS {
        cut_texts(&mut event, step);
        let body = to_json(&event);
        if body.len() < max {
            return body;
        }
    }
    // Thousands of short texts: say that there were some, keep what the receiver keys on.
    let data = &mut event.data;
    for map in [&mut data.annotations, &mut data.links, &mut data.labels] {
        *map = BTreeMap::from([("cut".to_owned(), format!("{} entries{MARK}", map.len()))]);
    }
    if let Some(action) = &mut data.action {
        action.params.retain(|_, value| !value.is_array() && !value.is_object());
    }
    data.incident.iter_mut().for_each(|incident| incident.tenants.clear());
    to_json(&event)
}

fn to_json(event: &Event) -> String {
    serde_json::to_string(event).expect("maps with text keys and finite trees always write")
}

fn cut_texts(event: &mut Event, max: usize) {
    let data = &mut event.data;
    data.annotations.values_mut().for_each(|text| cut(text, max));
    data.links.values_mut().for_each(|text| cut(text, max));
    data.reason.iter_mut().for_each(|text| cut(text, max));
    data.labels.values_mut().for_each(|text| cut(text, max));
    if let Some(evidence) = &mut data.evidence {
        evidence.expr.iter_mut().for_each(|text| cut(text, max));
    }
    if let Some(action) = &mut data.action {
        action.params.values_mut().for_each(|value| cut_value(value, max));
    }
}

fn cut_value(value: &mut Value, max: usize) {
    match value {
        Value::String(text) => cut(text, max),
        Value::Array(values) => values.iter_mut().for_each(|value| cut_value(value, max)),
        Value::Object(map) => map.values_mut().for_each(|value| cut_value(value, max)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts at a character's border, so the rest stays valid UTF-8.
fn cut(text: &mut String, max: usize) {
    if text.len() > max + MARK.len() {
        text.truncate(text.floor_char_boundary(max));
        text.push_str(MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::outbox::event::{BODY_BYTES_MAX, Data, EventType, Evidence};

    fn check(data: Data, keeps: impl Fn(&Data)) {
        let body = Event::new(EventType::AlertFiring, Timestamp(0), data).to_body();
        assert!(body.len() < BODY_BYTES_MAX, "{} bytes", body.len());
        let event: Event = serde_json::from_str(&body).expect("still an event");
        assert_eq!(event.data.alert.as_deref(), Some("TenantMemoryWillOom"), "names stay whole");
        keeps(&event.data);
    }

    fn named() -> Data {
        Data { alert: Some("TenantMemoryWillOom".to_owned()), ..Data::default() }
    }

    #[test]
    fn bodies_fit_whatever_the_texts() {
        let annotations = BTreeMap::from([
            ("description".to_owned(), "한".repeat(20_000)),
            ("summary".to_owned(), "short".to_owned()),
        ]);
        check(Data { annotations, ..named() }, |data| {
            assert!(data.annotations["description"].ends_with(MARK), "the cut shows");
            assert_eq!(data.annotations["summary"], "short", "what is short is not cut");
        });
        let evidence = Evidence { expr: Some("\u{1}".repeat(9000)), ..Evidence::default() };
        check(Data { evidence: Some(Box::new(evidence)), ..named() }, |_| {});
        let labels = (0..3000).map(|i| (format!("label_{i}"), "x".to_owned())).collect();
        check(Data { labels, ..named() }, |data| {
            assert_eq!(data.labels["cut"], format!("3000 entries{MARK}"));
        });
    }

    #[test]
    fn a_body_that_fits_is_not_touched() {
        let reason = "r".repeat(15_000);
        let data = Data { reason: Some(reason.clone()), ..named() };
        check(data, |data| assert_eq!(data.reason.as_ref(), Some(&reason)));
    }
}
