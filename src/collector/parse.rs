//! The kernel's few file formats: one number, `key value` lines, `key=value` words.
//!
//! Pure and strict: what does not read is an error that says what stood there, never a guess.

use std::fmt;

/// What stood where a number was expected, cut to a length fit for a log line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Malformed(pub String);

/// As much of a bad text as a log line bears.
const SHOWN: usize = 60;

impl Malformed {
    pub fn new(text: &[u8]) -> Malformed {
        let shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
        Malformed(shown.escape_debug().to_string())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => f.write_str("nothing stands where the kernel writes a number"),
            text => write!(f, "`{text}` is not what the kernel writes there"),
        }
    }
}

/// A whole number in decimal digits, as far as 64 bits reach.
pub(super) fn number(text: &[u8]) -> Result<u64, Malformed> {
    let bad = || Malformed::new(text);
    if text.is_empty() {
        return Err(bad());
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        let grown = (digit < 10).then(|| sum.checked_mul(10)?.checked_add(u64::from(digit)));
        grown.flatten().ok_or_else(bad)
    })
}

/// A file of one number.
pub(super) fn single(text: &[u8]) -> Result<u64, Malformed> {
    number(text.trim_ascii())
}

/// A file of one number, or `max`, which is `None`.
pub(super) fn single_or_max(text: &[u8]) -> Result<Option<u64>, Malformed> {
    or_max(text.trim_ascii())
}

/// A number, or `max`, which is `None`.
pub(super) fn or_max(text: &[u8]) -> Result<Option<u64>, Malformed> {
    if text == b"max" { Ok(None) } else { number(text).map(Some) }
}

/// The lines that are not empty.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Calls `take` for each `key value` line. Every line must be one; keys nobody knows are the
/// newer kernel's, and are left to `take` to ignore.
pub(super) fn pairs(text: &[u8], mut take: impl FnMut(&[u8], f64)) -> Result<(), Malformed> {
    for line in lines(text) {
        let at = memchr::memchr(b' ', line).ok_or_else(|| Malformed::new(line))?;
        take(&line[..at], number(line[at + 1..].trim_ascii())? as f64);
    }
    Ok(())
}

/// Puts the numbers of `key value` lines where `slot` wants them in `into`. Of numbers that nobody
/// wants, in `memory.stat` most, only the ends are looked at.
pub(super) fn fill<F>(
    mut text: &[u8],
    into: &mut F,
    slot: for<'f> fn(&[u8], &'f mut F) -> Option<&'f mut Option<f64>>,
) -> Result<(), Malformed> {
    while !text.is_empty() {
        let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let line = &text[..end];
        text = text.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        let at = memchr::memchr(b' ', line).ok_or_else(|| Malformed::new(line))?;
        let value = &line[at + 1..];
        let is_number =
            [value.first(), value.last()].iter().all(|b| b.is_some_and(u8::is_ascii_digit));
        if !is_number {
            return Err(Malformed::new(line));
        }
        if let Some(slot) = slot(&line[..at], into) {
            *slot = Some(number(value)? as f64);
        }
    }
    Ok(())
}

/// `8:16` as major and minor number.
pub(super) fn device_number(text: &[u8]) -> Result<(u32, u32), Malformed> {
    let bad = || Malformed::new(text);
    let at = memchr::memchr(b':', text).ok_or_else(bad)?;
    let part = |text: &[u8]| number(text).ok().and_then(|n| u32::try_from(n).ok());
    part(&text[..at]).zip(part(&text[at + 1..])).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        for (text, want) in [
            ("0\n", Some(0)),
            ("9223372036854771712\n", Some(9_223_372_036_854_771_712)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("\n", None),
            ("-1", None),
            ("+1", None),
            ("1 2", None),
            ("max", None),
            ("1e3", None),
        ] {
            assert_eq!(single(text.as_bytes()).ok(), want, "{text}");
        }
        assert_eq!(single_or_max(b"max\n"), Ok(None));
        assert_eq!(single_or_max(b"5\n"), Ok(Some(5)));
        assert!(single_or_max(b"maximum").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let said = |text: &str| single(text.as_bytes()).map_err(|bad| bad.to_string());
        assert_eq!(said("x\n"), Err("`x` is not what the kernel writes there".to_owned()));
        for empty in ["", "\n"] {
            let want = "nothing stands where the kernel writes a number";
            assert_eq!(said(empty), Err(want.to_owned()), "{empty:?}");
        }
    }

    #[test]
    fn pairs_are_lines_of_two_words() {
        let read = |text: &str| {
            let mut found = Vec::new();
            let all = pairs(text.as_bytes(), |key, value| {
                found.push(format!("{}={value}", String::from_utf8_lossy(key)));
            });
            all.map(|()| found.join(" "))
        };
        assert_eq!(read("anon 5\nfile 0\n\n").expect("reads"), "anon=5 file=0");
        assert_eq!(read("").expect("an empty file has no keys"), "");
        for bad in ["anon\n", "anon five\n", "anon 5 6\n", "\u{0}\u{0}"] {
            let error = read(bad).expect_err(bad);
            assert!(error.to_string().contains("not what the kernel writes"), "{error}");
        }
        assert!(read(&"x".repeat(5000)).expect_err("no pair").0.len() <= SHOWN);
    }

    #[test]
    fn wanted_numbers_are_filled_in_and_the_rest_is_not_read() {
        fn slot<'f>(key: &[u8], into: &'f mut [Option<f64>; 2]) -> Option<&'f mut Option<f64>> {
            let [anon, file] = into;
            match key {
                b"anon" => Some(anon),
                b"file" => Some(file),
                _ => None,
            }
        }
        let read = |text: &str| {
            let mut found = [None; 2];
            fill(text.as_bytes(), &mut found, slot).map(|()| found)
        };
        assert_eq!(read("anon 5\nnewer 1:2\n\nfile 7"), Ok([Some(5.0), Some(7.0)]));
        assert_eq!(read("newer 1\n"), Ok([None, None]));
        for bad in [
            "anon\n",
            "anon five\n",
            "anon 5 6\n",
            "anon  5\n",
            "\u{0}\u{0}",
            "newer\n",
            "newer x\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn devices_have_two_numbers() {
        assert_eq!(device_number(b"259:12"), Ok((259, 12)));
        for bad in ["8", "8:", ":0", "8:x", "8:0:0", "99999999999:0"] {
            assert!(device_number(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
