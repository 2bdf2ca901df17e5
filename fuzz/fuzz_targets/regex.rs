//! Any pattern is refused or compiled within bounds, matches without trouble, and means the same
//! in brackets. The first line is the pattern, the second the replacement, the rest the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::regex::Pattern;

/// Replacements grow with the number of matches; callers bound the text.
const TEXT_CHARS: usize = 1000;

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (source, replacement, text) = (line(), line(), line());
    let text: String = text.chars().take(TEXT_CHARS).collect();
    if let Ok(pattern) = Pattern::new(source) {
        assert_eq!(pattern.source(), source);
        let found = pattern.is_match(&text);
        let expanded = pattern.expand(&text, replacement);
        assert_eq!(expanded.is_some(), found);
        // What is compared instead of compiled must mean what the compiled pattern means.
        if let Ok(bracketed) = Pattern::new(&format!("(?:{source})(?:)")) {
            assert_eq!(bracketed.is_match(&text), found, "in brackets");
            assert_eq!(bracketed.expand(&text, replacement), expanded, "in brackets");
        }
    }
    if let Ok(pattern) = Pattern::unanchored(source) {
        let replaced = pattern.replace_all(&text, replacement);
        assert!(pattern.is_match(&text) || replaced == text);
    }
});
