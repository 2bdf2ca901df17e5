//! `html`, `js` and `urlquery`: Go's escapes for text inside other languages.

use std::fmt::Write as _;

use crate::base::is_printable;

/// `html.EscapeString` with a replacement for NUL, as `text/template` does it.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// `template.JSEscapeString`.
pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("a string takes every write");
            }
            c if c < ' ' || (!c.is_ascii() && !is_printable(c)) => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("a string takes every write");
            }
            _ => out.push(c),
        }
    }
    out
}

/// `url.QueryEscape`.
pub(super) fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => write!(out, "%{byte:02X}").expect("a string takes every write"),
        }
    }
    out
}
