//! Quoted texts as Go writes them: reading PromQL strings, and writing them back.
//!
//! Double and single quotes know Go's escapes and hold no newline; backquotes know none and hold
//! anything. Escapes can make bytes that form no UTF-8 (`"\xff"`): whoever needs a text refuses
//! them, because a label here is always text.

use crate::base::quoted_bytes;

/// What is said where bytes stand that are no UTF-8, and a text is needed.
pub(super) const INVALID_TEXT: &str = "string is not valid UTF-8";

/// Reads the quoted text that `text` starts with. Returns the value and the length in bytes of
/// what was read, quotes included.
pub(crate) fn unquote(text: &str, quote: char) -> Result<(String, usize), String> {
    let (bytes, length) = unquote_bytes(text, quote)?;
    Ok((String::from_utf8(bytes).map_err(|_| INVALID_TEXT.to_owned())?, length))
}

/// As [`unquote`], whatever bytes the escapes make.
pub(super) fn unquote_bytes(text: &str, quote: char) -> Result<(Vec<u8>, usize), String> {
    let mut rest = &text[quote.len_utf8()..];
    if quote == '`' {
        let length = rest.find('`').ok_or("unterminated raw string")?;
        return Ok((rest.as_bytes()[..length].to_owned(), length + 2));
    }
    let mut bytes = Vec::new();
    while let Some(stop) = rest.find([quote, '\\', '\n']) {
        bytes.extend(&rest.as_bytes()[..stop]);
        let (stopper, after) = rest[stop..].split_at(1);
        if stopper == "\n" {
            break;
        }
        if stopper != "\\" {
            return Ok((bytes, text.len() - after.len()));
        }
        rest = &after[unescape(after, quote, &mut bytes)?..];
    }
    Err("unterminated quoted string".to_owned())
}

/// Reads the escape that stands behind a backslash, appends what it means, returns its length.
fn unescape(text: &str, quote: char, bytes: &mut Vec<u8>) -> Result<usize, String> {
    let unfinished = || "escape sequence not terminated".to_owned();
    let letter = text.chars().next().ok_or_else(unfinished)?;
    let (skip, digits, radix) = match letter {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, 3, 8),
        _ => {
            bytes.push(simple_escape(letter, quote)?);
            return Ok(1);
        }
    };
    let digits = text.get(skip..skip + digits).ok_or_else(unfinished)?;
    if let Some(other) = digits.chars().find(|c| !c.is_digit(radix)) {
        return Err(unknown_escape(other));
    }
    let code = u32::from_str_radix(digits, radix).map_err(|_| unfinished())?;
    if matches!(letter, 'u' | 'U') {
        let c = char::from_u32(code).ok_or("escape sequence is an invalid Unicode code point")?;
        bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        let byte = u8::try_from(code).map_err(|_| "octal escape sequence over 255".to_owned())?;
        bytes.push(byte);
    }
    Ok(skip + digits.len())
}

/// As Go's `%#U` shows the character.
fn unknown_escape(letter: char) -> String {
    format!("unknown escape sequence U+{:04X} '{letter}'", u32::from(letter))
}

fn simple_escape(letter: char, quote: char) -> Result<u8, String> {
    Ok(match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' if quote == '"' => b'"',
        '\'' if quote == '\'' => b'\'',
        _ => return Err(unknown_escape(letter)),
    })
}

/// Writes a text in double quotes so that it can be read again.
pub(super) fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// As [`quote`], for bytes that may be no UTF-8.
pub(super) fn quote_bytes(bytes: &[u8]) -> String {
    let quoted = quoted_bytes(bytes);
    if quoted.contains(char::REPLACEMENT_CHARACTER) {
        // It stands for bytes that were no text, and is refused unless it is an escape.
        return quoted.replace(char::REPLACEMENT_CHARACTER, "\\ufffd");
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let quote = text.chars().next().expect("cases are not empty");
        unquote(text, quote).map(|(value, length)| {
            assert_eq!(length, text.len(), "{text}");
            value
        })
    }

    #[test]
    fn escapes_are_those_of_go() {
        let cases = [
            (r#""a""#, "a"),
            (r#""\a\b\f\n\r\t\v\\\"""#, "\u{7}\u{8}\u{c}\n\r\t\u{b}\\\""),
            (r"'it\'s'", "it's"),
            (r#""\x41\101\u00e9\U0001F600""#, "AAé😀"),
            (r#""\xc3\xa9""#, "é"),
            ("`a\\n\nb`", "a\\n\nb"),
            ("'한\"'", "한\""),
        ];
        for (text, want) in cases {
            assert_eq!(read(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn bad_strings_say_why() {
        let cases = [
            (r#""a"#, "unterminated quoted string"),
            ("\"a\nb\"", "unterminated quoted string"),
            ("`a", "unterminated raw string"),
            (r#""\q""#, "unknown escape sequence U+0071 'q'"),
            (r#""\'""#, "unknown escape sequence U+0027 '''"),
            (r#""\xg0""#, "unknown escape sequence U+0067 'g'"),
            (r#""\x4"#, "escape sequence not terminated"),
            (r#""\"#, "escape sequence not terminated"),
            (r#""\400""#, "octal escape sequence over 255"),
            (r#""\ud800""#, "escape sequence is an invalid Unicode code point"),
            (r#""\xff""#, "string is not valid UTF-8"),
        ];
        for (text, want) in cases {
            assert_eq!(read(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_written_as_escapes() {
        for text in [r#""a\xc5z""#, r#""\xff\xfe""#, r#""\xe2\x82é""#] {
            let (bytes, length) = unquote_bytes(text, '"').expect("reads");
            assert_eq!((quote_bytes(&bytes).as_str(), length), (text, text.len()));
        }
    }

    #[test]
    fn what_does_not_print_is_written_as_an_escape() {
        assert_eq!(quote("a\u{a0}\u{200b}\u{f0000}"), r#""a\u00a0\u200b\U000f0000""#);
    }

    #[test]
    fn the_sign_of_lost_bytes_is_written_as_an_escape() {
        assert_eq!(quote("a\u{fffd}"), r#""a\ufffd""#);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any::<String>()) {
            prop_assert_eq!(read(&quote(&value)), Ok(value));
        }
    }
}
