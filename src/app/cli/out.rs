//! Where words go: data to stdout, talk to stderr, colours only to a terminal.

use std::io::{self, Write};

use serde::Serialize;

use super::args::Format;
use super::frame::frames;
use crate::yaml::{Level, Problem, Problems};

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// What a coloured word means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ink {
    /// Something is wrong.
    Bad,
    /// Something is as it should be.
    Good,
    /// Something to look at.
    Note,
}

/// The two streams of a command.
pub struct Out<'a> {
    /// What was asked for.
    pub data: &'a mut dyn Write,
    /// Everything else.
    pub talk: &'a mut dyn Write,
    /// How data is written.
    pub format: Format,
    /// Whether each of the two is a terminal that wants colours.
    pub colours: (bool, bool),
}

impl Out<'_> {
    /// Writes a line of data.
    pub fn line(&mut self, text: &str) {
        write(self.data, &format!("{}\n", visible(text)));
    }

    /// Writes data as it is.
    pub fn raw(&mut self, bytes: &[u8]) {
        write(self.data, &String::from_utf8_lossy(bytes));
    }

    /// Text for [`Out::raw`], safe for a terminal, coloured if data goes to one.
    pub fn inked(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            _ if !self.colours.0 => return visible(text),
            Ink::Bad => RED,
            Ink::Good => GREEN,
            Ink::Note => CYAN,
        };
        format!("{code}{}{PLAIN}", visible(text))
    }

    /// Text for [`Out::raw`], safe for a terminal.
    pub fn plain(text: &str) -> String {
        visible(text)
    }

    /// The same for a part of a line: what others wrote begins no line of its own.
    pub fn on_a_line(text: &str) -> String {
        visible(&text.replace(['\n', '\r'], " "))
    }

    /// Writes one JSON document.
    pub fn json(&mut self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).expect("answers are plain data");
        write(self.data, &format!("{text}\n"));
    }

    /// Says a line.
    pub fn say(&mut self, text: &str) {
        write(self.talk, &format!("{}\n", visible(text)));
    }

    /// Says what went wrong, with all its causes.
    pub fn fail(&mut self, error: &anyhow::Error) {
        let (red, plain) = if self.colours.1 { (RED, PLAIN) } else { ("", "") };
        write(self.talk, &format!("{red}error{plain}: {}\n", visible(&format!("{error:#}"))));
    }

    /// Shows problems as data, each with the line it is about.
    pub fn show_problems(&mut self, problems: &Problems) {
        for (problem, frame) in problems.iter().zip(frames(problems)) {
            write(self.data, &shown(problem, &frame, self.colours.0));
        }
    }

    /// Shows problems as talk.
    pub fn say_problems<'p>(&mut self, problems: impl IntoIterator<Item = &'p Problem>) {
        problems.into_iter().for_each(|p| write(self.talk, &shown(p, "", self.colours.1)));
    }
}

/// A problem as editors and people read it.
fn shown(problem: &Problem, frame: &str, colour: bool) -> String {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (level, word) = match problem.level {
        Level::Error => (paint(RED), "error"),
        Level::Warning => (paint(YELLOW), "warning"),
    };
    let plain = paint(PLAIN);
    let Problem { file, line, column, message, hint, .. } = problem;
    let message = visible(message);
    let mut text = format!("{file}:{line}:{column}: {level}{word}{plain}: {message}\n");
    text.push_str(&visible(frame));
    if let Some(hint) = hint {
        text.push_str(&format!("  {}hint{plain}: {}\n", paint(CYAN), visible(hint)));
    }
    text
}

/// Text that others wrote may hold control characters; a terminal must not obey them.
fn visible(text: &str) -> String {
    let is_safe = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_safe(character) {
            safe.push(character);
        } else {
            safe.extend(character.escape_default());
        }
    }
    safe
}

/// Whoever closed the pipe has read enough; nothing can be said to a stream that fails otherwise.
fn write(stream: &mut dyn Write, text: &str) {
    let _: io::Result<()> = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Position;

    #[test]
    fn what_others_wrote_begins_no_line_of_its_own() {
        let forged = "acme\r\n2026-01-01T00:00:00Z 8 delivery.accepted\x1b[2J";
        let want = "acme  2026-01-01T00:00:00Z 8 delivery.accepted\\u{1b}[2J";
        assert_eq!(Out::on_a_line(forged), want);
    }

    #[test]
    fn problems_are_coloured_only_for_a_terminal() {
        let at = Position { line: 4, column: 7 };
        let error = Problem::in_file("a.yml", at, "bad \x1b[2J").hint("mend it");
        assert_eq!(shown(&error, "", false), "a.yml:4:7: error: bad \\u{1b}[2J\n  hint: mend it\n");
        assert_eq!(
            shown(&error.warning(), "", true),
            "a.yml:4:7: \x1b[1;33mwarning\x1b[0m: bad \\u{1b}[2J\n  \x1b[36mhint\x1b[0m: mend it\n"
        );
    }
}
