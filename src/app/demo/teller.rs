//! Lines of the story: virtual time on the left, who, and what. For people, or one JSON object per
//! line.

use std::io::Write;

use crate::base::{Timestamp, format_rfc3339};

/// Who a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The narrator.
    Demo,
    /// The simulated host.
    Host,
    /// The program.
    Plimsoll,
    /// The fake Alertmanager.
    Alertmanager,
    /// The fake Control Plane.
    ControlPlane,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Demo => "demo",
            Who::Host => "host",
            Who::Plimsoll => "plimsoll",
            Who::Alertmanager => "alertmanager",
            Who::ControlPlane => "control-plane",
        }
    }

    /// The ANSI colour of its name.
    fn colour(self) -> &'static str {
        match self {
            Who::Demo => "1",
            Who::Host => "36",
            Who::Plimsoll => "32",
            Who::Alertmanager => "33",
            Who::ControlPlane => "35",
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// For a terminal.
    Coloured,
    /// For a file or a pipe.
    Plain,
    /// For a machine.
    Json,
}

/// Columns of text before a line is broken.
const WIDTH: usize = 92;

/// Writes the story down.
pub struct Teller<W> {
    out: W,
    style: Style,
    began: Timestamp,
}

impl<W: Write> Teller<W> {
    /// A teller whose clock shows 00:00 at `began`.
    pub fn new(out: W, style: Style, began: Timestamp) -> Teller<W> {
        Teller { out, style, began }
    }

    /// Tells one thing. Whoever closes the pipe has heard enough: that is no failure of the story.
    pub fn say(&mut self, at: Timestamp, who: Who, text: &str) {
        let written = match self.style {
            Style::Json => writeln!(
                self.out,
                "{}",
                serde_json::json!({
                    "time": format_rfc3339(at),
                    "elapsed_seconds": at.since(self.began).as_secs_f64(),
                    "who": who.name(),
                    "text": text,
                })
            ),
            Style::Coloured | Style::Plain => self.write_lines(at, who, text),
        };
        written.and_then(|()| self.out.flush()).ok();
    }

    fn write_lines(&mut self, at: Timestamp, who: Who, text: &str) -> std::io::Result<()> {
        let elapsed = at.since(self.began).as_secs();
        let clock = format!("{:02}:{:02}", elapsed / 60, elapsed % 60);
        let (dim, paint, end) = match self.style {
            Style::Coloured => ("\x1b[2m", format!("\x1b[{}m", who.colour()), "\x1b[0m"),
            Style::Plain | Style::Json => ("", String::new(), ""),
        };
        for (index, line) in wrap(text, WIDTH).iter().enumerate() {
            if index == 0 {
                writeln!(self.out, "{dim}{clock}{end}  {paint}{:<13}{end}  {line}", who.name())?;
            } else {
                writeln!(self.out, "{:22}{line}", "")?;
            }
        }
        Ok(())
    }
}

/// Breaks a text between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("starts with one line and only grows");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(style: Style, text: &str) -> String {
        let mut out = Vec::new();
        let mut teller = Teller::new(&mut out, style, Timestamp(0));
        teller.say(Timestamp(65_000), Who::Host, text);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_line_has_time_who_and_what() {
        assert_eq!(told(Style::Plain, "a b"), "01:05  host           a b\n");
        assert!(told(Style::Coloured, "a b").contains("\x1b[36mhost"));
        let json: serde_json::Value =
            serde_json::from_str(&told(Style::Json, "a \"b\"")).expect("JSON");
        assert_eq!((&json["who"], &json["elapsed_seconds"]), (&"host".into(), &65.0.into()));
        assert_eq!(json["text"], "a \"b\"");
    }

    #[test]
    fn long_lines_break_between_words_and_stay_in_their_column() {
        let text = "word ".repeat(40);
        let told = told(Style::Plain, &text);
        assert!(told.lines().count() == 3, "{told}");
        assert!(told.lines().skip(1).all(|line| line.starts_with(&" ".repeat(22))));
        assert!(told.lines().all(|line| line.chars().count() <= 22 + WIDTH), "{told}");
    }
}
