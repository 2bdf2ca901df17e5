//! What an answer means: a page that was asked for and came, or one that is missing, wrong or blank.

use super::Gate;
use crate::base::format_duration;
use crate::regex::Pattern;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Its body, at least the beginning of it.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Miss {
    /// None came in time.
    Timeout,
    /// Nobody was there, or did not speak HTTP.
    Unreachable(String),
    /// It could not even be asked: an address, a credential or a certificate of ours is at fault.
    Unaskable(String),
}

/// Longest piece of an expected text that is repeated in a value.
const QUOTED_CHARS_MAX: usize = 40;

/// Whether an answer is as expected, and what it was. The error is our own.
pub fn judge(gate: &Gate, answer: Result<Page, Miss>) -> Result<(bool, String), String> {
    let page = match answer {
        Ok(page) => page,
        Err(Miss::Timeout) => {
            return Ok((false, format!("no answer within {}", format_duration(gate.timeout))));
        }
        Err(Miss::Unreachable(why)) => return Ok((false, why)),
        Err(Miss::Unaskable(why)) => return Err(why),
    };
    let status = page.status;
    if status != gate.status {
        return Ok((false, status.to_string()));
    }
    let body = String::from_utf8_lossy(&page.body);
    // 204 and 205 have no body by definition, and redirects need none.
    let has_body = (200..300).contains(&status) && status != 204 && status != 205;
    if has_body && is_blank(&body) {
        return Ok((false, format!("{status}, a blank page")));
    }
    let beginning = if page.is_whole { "" } else { " in its beginning" };
    let text = gate.text.as_deref().filter(|text| !body.contains(text));
    let pattern = gate.pattern.as_ref().filter(|pattern| !pattern.is_match(&body));
    match text.or(pattern.map(Pattern::source)) {
        Some(text) => {
            let quoted: String = text.chars().take(QUOTED_CHARS_MAX).collect();
            Ok((false, format!("{status} without `{quoted}`{beginning}")))
        }
        None => Ok((true, status.to_string())),
    }
}

/// Characters of no width, which nobody sees: soft hyphen, zero width space and joiners, marks of
/// direction, word joiner, mark of byte order.
const UNSEEN: [char; 9] = [
    '\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{2063}',
    '\u{feff}',
];
/// The same and spaces, as HTML may write them.
const UNSEEN_ENTITIES: [&str; 12] = [
    "&nbsp;",
    "&#160;",
    "&#xa0;",
    "&#8203;",
    "&#x200b;",
    "&zerowidthspace;",
    "&zwnj;",
    "&zwj;",
    "&shy;",
    "&#173;",
    "&#xfeff;",
    "&#65279;",
];

/// Elements that show something, or make something to show, without a word of text.
const SHOWING: [&str; 9] =
    ["<script", "<img", "<svg", "<input", "<iframe", "<object", "<embed", "<video", "<canvas"];

/// Whether nobody would see anything: nothing but space, or HTML without text and pictures.
fn is_blank(body: &str) -> bool {
    let body = body.trim_matches(|c: char| c.is_whitespace() || UNSEEN.contains(&c));
    if body.is_empty() {
        return true;
    }
    if !body.starts_with('<') || body.starts_with("<?xml") {
        return false;
    }
    let lower = body.to_ascii_lowercase();
    if SHOWING.iter().any(|element| lower.contains(element)) {
        return false;
    }
    let text = without_element(without_element(without(lower, "<!--", "-->"), "head"), "style");
    let mut rest = text.as_str();
    loop {
        let Some(open) = rest.find('<') else { return is_space(rest) };
        if !is_space(&rest[..open]) {
            return false;
        }
        let Some(close) = rest[open..].find('>') else { return true };
        rest = &rest[open + close + 1..];
    }
}

fn is_space(text: &str) -> bool {
    let text =
        UNSEEN_ENTITIES.iter().fold(text.to_owned(), |text, entity| text.replace(entity, " "));
    text.chars().all(|c| c.is_whitespace() || UNSEEN.contains(&c))
}

/// A text without the parts between two marks, these included.
fn without(mut text: String, from: &str, to: &str) -> String {
    while let Some(start) = text.find(from) {
        cut(&mut text, start, to);
    }
    text
}

/// A page without the elements of this name and what is in them. `<header>` is no `<head>`.
fn without_element(mut text: String, name: &str) -> String {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut from = 0;
    while let Some(found) = text[from..].find(&open) {
        let (start, behind) = (from + found, from + found + open.len());
        let goes_on = |c: char| c != '>' && c != '/' && !c.is_whitespace();
        if text[behind..].starts_with(goes_on) {
            from = behind;
        } else {
            cut(&mut text, start, &close);
            from = start;
        }
    }
    text
}

/// Cuts out what lies between `start` and the end of the next `to`, or all that follows.
fn cut(text: &mut String, start: usize, to: &str) {
    let end = text[start..].find(to).map_or(text.len(), |end| start + end + to.len());
    text.replace_range(start..end, "");
}
