//! Any text is a template or an error, and every template ends within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::base::{Labels, Timestamp};
use plimsoll::template::{Limits, Template, TemplateData};

fuzz_target!(|text: &str| {
    let template = match Template::parse("fuzz", text) {
        Ok(template) => template,
        Err(error) => {
            let lines = text.matches('\n').count() + 1;
            assert!((1..=lines).contains(&error.line) && !error.message.is_empty(), "{error:?}");
            return;
        }
    };
    let labels = Labels::from_pairs([("name", "acme-1"), ("job", "a"), ("n", "7")]);
    let none = Labels::empty();
    let data = TemplateData {
        labels: &labels,
        external_labels: &none,
        external_url: "http://localhost:9469/path",
        value: 1234.5,
        at: Timestamp(1_600_000_000_000),
    };
    let mut query = |text: &str| match text.len() % 4 {
        0 => Err("no such series".to_owned()),
        count => Ok((0..count).map(|n| (labels.clone(), n as f64)).collect()),
    };
    let limits = Limits { steps: 20_000, output_bytes: 4096 };
    if let Ok(output) = template.expand(&data, &mut query, limits) {
        assert!(output.len() <= limits.output_bytes);
    }
});
