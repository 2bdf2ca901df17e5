//! Request lines as people type them: `GET /api/v1/query?query=up{job="x"}>0`.
//!
//! Go's server takes `"`, `<` and `>` in a URL, and so Prometheus answers such a request; the HTTP
//! library here refuses it with an empty 400. So they are written as the escapes they should have
//! been before the library sees them. Of a target that is longer than [`MAX_URL_BYTES`] the end is left
//! out: the library would answer with nothing but a status, and so there is somebody left to say why. Nothing else of a request is touched, and no request but a GET,
//! which has no body that could be taken for its line.

const BEGINNING: &[u8] = b"GET /";
/// The library takes 65,534 bytes; an escape more does not make it more.
pub(super) const MAX_URL_BYTES: usize = 60 << 10;

/// How far into a request line the bytes so far went.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum RequestLine {
    /// So many bytes of [`BEGINNING`] have come.
    Beginning(usize),
    /// So many bytes of the target have been handed on.
    Target(usize),
    /// The line is over, or it is no GET.
    Over,
}

impl RequestLine {
    pub(super) const NEW: RequestLine = RequestLine::Beginning(0);

    /// Takes the next bytes of a request; gives what they should have been, if it differs.
    pub(super) fn escaped(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out: Option<Vec<u8>> = None;
        for (at, byte) in bytes.iter().enumerate() {
            let escape = self.take(*byte);
            match (&mut out, escape) {
                (None, None) => {}
                (None, Some(escape)) => out = Some([&bytes[..at], escape].concat()),
                (Some(out), None) => out.push(*byte),
                (Some(out), Some(escape)) => out.extend_from_slice(escape),
            }
            if out.is_none() && *self == RequestLine::Over {
                break;
            }
        }
        out
    }

    fn take(&mut self, byte: u8) -> Option<&'static [u8]> {
        match (*self, byte) {
            (RequestLine::Beginning(so_far), _) => {
                *self = match BEGINNING.get(so_far) == Some(&byte) {
                    true if so_far + 1 == BEGINNING.len() => RequestLine::Target(1),
                    true => RequestLine::Beginning(so_far + 1),
                    false => RequestLine::Over,
                };
                None
            }
            (RequestLine::Target(_), b'\n' | b' ') => {
                *self = RequestLine::Over;
                None
            }
            (RequestLine::Target(length), _) if length > MAX_URL_BYTES => Some(b""),
            (RequestLine::Target(length), _) => {
                let escape: Option<&[u8]> = match byte {
                    b'"' => Some(b"%22"),
                    b'<' => Some(b"%3C"),
                    b'>' => Some(b"%3E"),
                    _ => None,
                };
                *self = RequestLine::Target(length + escape.map_or(1, <[u8]>::len));
                escape
            }
            (RequestLine::Over, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of a long target is missing, that of the request is not.
    #[test]
    fn a_target_is_cut_off() {
        let query = "\"x".repeat(MAX_URL_BYTES);
        let request = format!("GET /q?{query} HTTP/1.1\r\nX: 1\r\n\r\n");
        for piece in [1000, usize::MAX] {
            let got = escaped(request.as_bytes(), piece);
            let got = String::from_utf8(got).expect("text");
            let target = got
                .strip_prefix("GET ")
                .and_then(|rest| rest.strip_suffix(" HTTP/1.1\r\nX: 1\r\n\r\n"));
            let length = target.expect("the whole request").len();
            assert!((MAX_URL_BYTES + 1..MAX_URL_BYTES + 5).contains(&length), "{length}");
        }
    }

    /// However the bytes are cut into reads.
    fn escaped(request: &[u8], piece: usize) -> Vec<u8> {
        let mut line = RequestLine::NEW;
        let pieces = request.chunks(piece);
        pieces.flat_map(|bytes| line.escaped(bytes).unwrap_or_else(|| bytes.to_vec())).collect()
    }

    #[test]
    fn only_the_line_of_a_get_is_escaped() {
        let cases: [(&str, &str); 4] = [
            (
                "GET /q?a=v{b=\"c\"}<>1 HTTP/1.1\r\nX: \"<>\"\r\n\r\n",
                "GET /q?a=v{b=%22c%22}%3C%3E1 HTTP/1.1\r\nX: \"<>\"\r\n\r\n",
            ),
            ("POST /q?a=\"b\" HTTP/1.1\r\n\r\n", "POST /q?a=\"b\" HTTP/1.1\r\n\r\n"),
            ("query=\"GET /\">1\n", "query=\"GET /\">1\n"),
            ("GET /plain HTTP/1.1\r\n\r\n\"", "GET /plain HTTP/1.1\r\n\r\n\""),
        ];
        for (request, want) in cases {
            for piece in [1, 3, 7, 1000] {
                let got = escaped(request.as_bytes(), piece);
                assert_eq!(String::from_utf8_lossy(&got), want, "{piece} bytes at a time");
            }
        }
    }
}
