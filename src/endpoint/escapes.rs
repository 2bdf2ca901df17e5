//! What a text says once its escapes are read, and where each part of that stood: JSON's and
//! JavaScript's, HTML's, and those of URLs and forms.
//!
//! A text is read layer by layer, since what is escaped may be escaped again: a URL in HTML in JSON.
//! Each layer takes time and room in proportion to the text, whatever stands in it.

/// Escapes within escapes that are read. More than URL, HTML and JSON in one another nobody writes.
const LAYERS_MAX: usize = 4;
/// Bytes of an escape that is read at most: `&#x0000026;` and `\u{0000026}` have padding.
const ESCAPE_BYTES_MAX: usize = 12;
/// HTML's names for what stands in secrets and URLs (HTML Living Standard, named character references).
const ENTITIES: [(&str, char); 24] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("sol", '/'),
    ("bsol", '\\'),
    ("equals", '='),
    ("plus", '+'),
    ("percnt", '%'),
    ("num", '#'),
    ("quest", '?'),
    ("colon", ':'),
    ("semi", ';'),
    ("commat", '@'),
    ("dollar", '$'),
    ("excl", '!'),
    ("ast", '*'),
    ("comma", ','),
    ("period", '.'),
    ("lowbar", '_'),
    ("grave", '`'),
    ("lpar", '('),
    ("rpar", ')'),
];

/// A text with some of its escapes read. Its bytes are kept as characters of the same number, for an
/// escape may name a byte that is no character by itself.
pub struct Layer {
    /// Byte for byte.
    pub text: String,
    /// Where in the original each byte of `text` began; one more for the end.
    starts: Vec<usize>,
}

impl Layer {
    /// From where to where that stood in the original.
    pub fn origin(&self, from: usize, upto: usize) -> (usize, usize) {
        (self.starts[from], self.starts[upto])
    }

    fn push(&mut self, byte: u8, start: usize) {
        let byte = char::from(byte);
        self.text.push(byte);
        self.starts.extend([start].repeat(byte.len_utf8()));
    }
}

/// A text as it is, then with its escapes read, and so on until there are none.
pub fn layers(text: &str) -> Vec<Layer> {
    let mut plain = Layer { text: String::new(), starts: Vec::new() };
    text.bytes().enumerate().for_each(|(at, byte)| plain.push(byte, at));
    plain.starts.push(text.len());
    let mut layers = vec![plain];
    while layers.len() < LAYERS_MAX {
        let Some(next) = layers.last().and_then(read) else { break };
        layers.push(next);
    }
    layers
}

/// One layer of escapes less; `None` where there is none.
fn read(layer: &Layer) -> Option<Layer> {
    let mut next = Layer { text: String::new(), starts: Vec::new() };
    let (mut at, mut found) = (0, false);
    while let Some(first) = layer.text[at..].chars().next() {
        let start = layer.starts[at];
        match escape(&layer.text[at..]) {
            Some((bytes, length)) => {
                bytes.iter().for_each(|byte| next.push(*byte, start));
                (at, found) = (at + length, true);
            }
            None => {
                next.push(first as u8, start);
                at += first.len_utf8();
            }
        }
    }
    next.starts.extend(layer.starts.last());
    found.then_some(next)
}

/// What the escape says with which the text begins, and how long it is.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let byte = |text: &str| u8::from_str_radix(text, 16).ok().map(|byte| vec![byte]);
    let hex = |from: usize, upto: usize| {
        text.get(from..upto).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let bytes = text.as_bytes();
    match (bytes.first()?, bytes.get(1)) {
        (b'+', _) => Some((b" ".to_vec(), 1)),
        (b'%', _) => Some((byte(hex(1, 3)?)?, 3)),
        (b'&', _) => entity(text),
        (b'\\', Some(b'x')) => Some((byte(hex(2, 4)?)?, 4)),
        (b'\\', Some(b'u')) if text[2..].starts_with('{') => {
            let end = text.bytes().take(ESCAPE_BYTES_MAX).position(|b| b == b'}')?;
            let code = u32::from_str_radix(hex(3, end)?, 16).ok()?;
            Some((utf8(char::from_u32(code)?), end + 1))
        }
        (b'\\', Some(b'u')) => {
            let unit = |digits| u16::from_str_radix(digits, 16).ok();
            let first = unit(hex(2, 6)?)?;
            let second = text.get(6..8).filter(|next| *next == "\\u").and_then(|_| hex(8, 12));
            let units = [Some(first), second.and_then(unit)].into_iter().flatten();
            let read = char::decode_utf16(units).next()?.ok()?;
            Some((utf8(read), 6 * read.len_utf16()))
        }
        (b'\\', Some(b'n' | b't' | b'r' | b'b' | b'f')) => Some((b" ".to_vec(), 2)),
        (b'\\', Some(literal @ (b'"' | b'\'' | b'/' | b'\\'))) => Some((vec![*literal], 2)),
        _ => None,
    }
}

/// `&amp;`, `&#38;` or `&#x26;`.
fn entity(text: &str) -> Option<(Vec<u8>, usize)> {
    let end = text.bytes().take(ESCAPE_BYTES_MAX).position(|b| b == b';')?;
    let name = text.get(1..end)?;
    let read = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((utf8(read), end + 1))
}

fn utf8(read: char) -> Vec<u8> {
    read.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_layer_by_layer() {
        for (text, want) in [
            ("plain", vec!["plain"]),
            (r#"a\u0026b\/\"\\\x26\u{26}"#, vec![r#"a\u0026b\/\"\\\x26\u{26}"#, r#"a&b/"\&&"#]),
            ("&amp;&#38;&#x26;&#X026;&sol;", vec!["&amp;&#38;&#x26;&#X026;&sol;", "&&&&/"]),
            ("a%2fb%2Fc+d", vec!["a%2fb%2Fc+d", "a/b/c d"]),
            (r"%255Cu0026", vec![r"%255Cu0026", r"%5Cu0026", r"\u0026", "&"]),
            (r"%zz%2 &none; &#xD800; \ud800 \u12 \", vec![r"%zz%2 &none; &#xD800; \ud800 \u12 \"]),
        ] {
            let got: Vec<String> = layers(text).into_iter().map(|layer| layer.text).collect();
            assert_eq!(got, want, "{text}");
        }
        let layers = layers(r"<\ud83d\ude00%F0%9F%98%80é>");
        assert_eq!(layers.len(), 2);
        let bytes: Vec<u8> = layers[1].text.chars().map(|byte| byte as u8).collect();
        assert_eq!(bytes, "<😀😀é>".as_bytes());
    }

    /// All of up to five pieces of escapes, one behind the other.
    #[test]
    fn half_escapes_stay_as_they_are_and_every_place_is_one_of_the_text() {
        let pieces = ["\\", "u", "x", "{", "}", "&", "#", ";", "%", "2", "é"];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer = |text: &String| pieces.map(|piece| format!("{text}{piece}"));
            texts = texts.iter().flat_map(longer).collect();
            for text in texts.iter().step_by(texts.len() / 5000 + 1) {
                for layer in layers(text) {
                    assert_eq!(layer.origin(0, layer.text.len()), (0, text.len()), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_place_in_a_layer_is_a_place_in_the_original() {
        let text = r"é \u0026amp; z";
        for layer in layers(text) {
            let at = layer.text.find('z').expect("it is there");
            assert_eq!(layer.origin(at, at + 1), (text.len() - 1, text.len()), "{}", layer.text);
        }
        let last = layers(text).pop().expect("a layer");
        let at = last.text.find('&').expect("it is there");
        assert_eq!(last.origin(at, at + 1), (3, 13));
    }
}
