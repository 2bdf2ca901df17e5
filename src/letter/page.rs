//! A page under way, in both shapes at once: what is said in one is said in the other.

use std::fmt::Write;
use std::time::Duration;

use super::Letter;
use crate::base::{Timestamp, format_rfc3339};

/// Characters of a line of plain text.
const WIDTH: usize = 76;
/// Characters of a bar in plain text.
const BAR: usize = 20;
/// Longest text taken over from others.
const TEXT_CHARS_MAX: usize = 300;

const CELL: &str = "padding:2px 10px 2px 0;text-align:left;vertical-align:top";

/// One cell of a table.
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// A share of a limit, 0 to 1; more is shown as all of it.
    Share(Option<f64>),
}

/// A page in plain text and in HTML.
#[derive(Default)]
pub(super) struct Page {
    text: String,
    html: String,
}

impl Page {
    /// A paragraph.
    pub fn line(&mut self, line: &str) {
        let line = cut(line);
        let _ = writeln!(self.text, "{}", wrap(&line, ""));
        let _ = writeln!(self.html, "<p style=\"margin:6px 0\">{}</p>", escape(&line));
    }

    /// The title of what follows.
    pub fn heading(&mut self, title: &str) {
        let title = cut(title);
        let _ = writeln!(self.text, "\n{title}\n{}", "-".repeat(title.chars().count()));
        let _ = writeln!(
            self.html,
            "<h3 style=\"margin:18px 0 6px;font-size:15px\">{}</h3>",
            escape(&title)
        );
    }

    /// A list; nothing if it is empty.
    pub fn list<'a>(&mut self, items: impl Iterator<Item = &'a str>) {
        let items: Vec<String> = items.map(cut).collect();
        if items.is_empty() {
            return;
        }
        self.html.push_str("<ul style=\"margin:0 0 0 18px;padding:0\">\n");
        for item in items {
            let _ = writeln!(self.text, "{}", wrap(&format!("* {item}"), "  "));
            let _ = writeln!(self.html, "<li>{}</li>", escape(&item));
        }
        self.html.push_str("</ul>\n");
    }

    /// A table with a title for each column. In plain text each row is a block of its own: columns
    /// of names are too wide for a telephone.
    pub fn table(&mut self, titles: &[&str], rows: &[Vec<Cell>]) {
        self.html.push_str(
            "<table cellpadding=\"0\" cellspacing=\"0\" style=\"border-collapse:collapse\">\n<tr>",
        );
        for title in titles {
            let _ = write!(self.html, "<th style=\"{CELL}\">{}</th>", escape(title));
        }
        self.html.push_str("</tr>\n");
        for row in rows {
            self.html.push_str("<tr>");
            for (index, (cell, title)) in row.iter().zip(titles).enumerate() {
                let (text, html) = match cell {
                    Cell::Text(text) => (cut(text), escape(&cut(text))),
                    Cell::Share(share) => (bar(*share), bar_cells(*share)),
                };
                let _ = write!(self.html, "<td style=\"{CELL}\">{html}</td>");
                let line = match index {
                    0 => text,
                    _ if text.is_empty() => continue,
                    _ => format!("  {title:<8} {text}"),
                };
                let _ = writeln!(self.text, "{line}");
            }
            self.html.push_str("</tr>\n");
        }
        self.html.push_str("</table>\n");
    }

    /// The letter.
    pub fn finish(self, subject: &str) -> Letter {
        let sign = concat!("plimsoll ", env!("CARGO_PKG_VERSION"));
        let html = format!(
            "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body style=\"font-family:sans-serif;font-size:14px;color:#222\">\n{body}\
             <p style=\"margin:18px 0 0;color:#888;font-size:12px\">{sign}</p>\n</body></html>\n",
            title = escape(&one_line(subject)),
            body = self.html,
        );
        Letter { subject: one_line(subject), text: format!("{}\n-- \n{sign}\n", self.text), html }
    }
}

/// `2026-11-28 21:00 UTC`
pub(super) fn minutes(at: Timestamp) -> String {
    let text = format_rfc3339(at);
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// `2 h 5 min`, `12 min`, `40 s`
pub(super) fn span(span: Duration) -> String {
    let (seconds, minutes) = (span.as_secs(), span.as_secs() / 60);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Text that may stand anywhere in HTML.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Without breaks and control characters, and not longer than a line may be.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(150).collect::<String>().trim().to_owned()
}

/// What others wrote: one line, and not for ever.
fn cut(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain,
    }
}

/// Broken at spaces; further lines begin with `indent`.
fn wrap(line: &str, indent: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in line.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            text.push('\n');
            text.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

fn percent(share: f64) -> f64 {
    (share * 100.0).clamp(0.0, 999.0).round()
}

/// `[##################--]  91 %`, in plain characters
fn bar(share: Option<f64>) -> String {
    let Some(share) = share.filter(|share| share.is_finite()) else { return String::new() };
    let filled = ((share.clamp(0.0, 1.0) * BAR as f64).round()) as usize;
    let (full, empty) = ("#".repeat(filled), "-".repeat(BAR - filled));
    format!("[{full}{empty}] {:>3} %", percent(share))
}

/// The same as cells of a table, which every program shows.
fn bar_cells(share: Option<f64>) -> String {
    let Some(share) = share.filter(|share| share.is_finite()) else { return String::new() };
    let filled = (share.clamp(0.0, 1.0) * 120.0).round() as u32;
    let colour = match share {
        share if share >= 1.0 => "#b3261e",
        share if share >= 0.9 => "#e08600",
        _ => "#4a7fb5",
    };
    let cell = |width: u32, colour: &str| match width {
        0 => String::new(),
        width => format!(
            "<td width=\"{width}\" height=\"10\" bgcolor=\"{colour}\" \
             style=\"width:{width}px;height:10px;font-size:1px;line-height:1px\">&nbsp;</td>"
        ),
    };
    format!(
        "<table cellpadding=\"0\" cellspacing=\"0\"><tr>{}{}<td style=\"padding-left:6px\">{} %</td></tr></table>",
        cell(filled, colour),
        cell(120 - filled, "#e4e4e4"),
        percent(share)
    )
}
