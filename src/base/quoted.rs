//! Text in quotes as Go writes it (`strconv.Quote`, `%q`), which is how Prometheus's messages and
//! printed queries show it.

use std::fmt::Write as _;

/// In double quotes: what is no printable character stands as an escape.
pub fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes())
}

/// As [`quoted`], for bytes that may be no UTF-8: those are written as `\xff`.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut quoted, c, '"'));
        for byte in chunk.invalid() {
            write!(quoted, "\\x{byte:02x}").expect("a string takes every write");
        }
    }
    quoted.push('"');
    quoted
}

/// One character in single quotes, as `strconv.QuoteRune` does.
pub fn quoted_char(c: char) -> String {
    let mut quoted = "'".to_owned();
    push(&mut quoted, c, '\'');
    quoted.push('\'');
    quoted
}

/// Whether Go calls a character printable: a letter, a mark, a number, a punctuation, a symbol or
/// the blank.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library escapes what is not printable by the same categories. Behind another
    // character it shows combining marks.
    let mut bytes = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut bytes[1..]).len();
    let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(c)
}

fn push(quoted: &mut String, c: char, quote: char) {
    let escaped = match c {
        '\\' => '\\',
        _ if c == quote => c,
        _ if is_printable(c) => {
            quoted.push(c);
            return;
        }
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        _ => {
            let written = match u32::from(c) {
                code @ ..=0x7f => write!(quoted, "\\x{code:02x}"),
                code @ ..=0xffff => write!(quoted, "\\u{code:04x}"),
                code => write!(quoted, "\\U{code:08x}"),
            };
            return written.expect("a string takes every write");
        }
    };
    quoted.extend(['\\', escaped]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stand_or_are_escaped_as_in_go() {
        let cases = [
            ("a b", "a b"),
            ("\"'\\", r#"\"'\\"#),
            ("\0\u{1b}\u{7f}", r"\x00\x1b\x7f"),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r"\a\b\f\n\r\t\v"),
            ("\u{80}\u{a0}\u{ad}", r"\u0080\u00a0\u00ad"),
            ("\u{200b}\u{2028}\u{3000}\u{feff}", r"\u200b\u2028\u3000\ufeff"),
            ("\u{e000}\u{f0000}\u{10ffff}", r"\ue000\U000f0000\U0010ffff"),
            ("\u{378}\u{e0001}", r"\u0378\U000e0001"),
            ("é한😀\u{fffd}", "é한😀\u{fffd}"),
            ("\u{301}e\u{301}\u{903}", "\u{301}e\u{301}\u{903}"),
        ];
        for (text, want) in cases {
            assert_eq!(quoted(text), format!("\"{want}\""), "{text:?}");
        }
        assert_eq!(quoted_bytes(b"a\xff\xc3\xa9"), "\"a\\xffé\"");
    }

    #[test]
    fn one_character_stands_in_single_quotes() {
        for (c, want) in [
            ('a', "'a'"),
            ('\'', r"'\''"),
            ('"', "'\"'"),
            ('\0', r"'\x00'"),
            ('\u{b}', r"'\v'"),
            ('\u{a0}', r"'\u00a0'"),
            ('\u{f0000}', r"'\U000f0000'"),
        ] {
            assert_eq!(quoted_char(c), want);
        }
    }
}
