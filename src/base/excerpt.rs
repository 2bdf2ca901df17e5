//! Input in messages: enough of it to be known again, never all of it.

use std::borrow::Cow;

/// How many bytes of somebody's input a message repeats.
const MAX_BYTES: usize = 100;

/// The text, or its first hundred bytes and `…`.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_BYTES {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(MAX_BYTES);
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(excerpt(&"a".repeat(100)), "a".repeat(100));
        assert_eq!(excerpt(&"a".repeat(101)), format!("{}…", "a".repeat(100)));
        assert_eq!(excerpt(&"한".repeat(50)), format!("{}…", "한".repeat(33)));
    }
}
