//! Request lines as people type them: `GET /api/v1/query?query=up{job="x"}>0`.
//!
//! Go's server takes `"`, `<` and `>` in a URL, and so Prometheus answers such a request; the HTTP
//! library here refuses it with an empty 400. So they are written as the escapes they should have
//! been before the library sees them. Nothing else of a request is touched, and no request but a GET,
//! which has no body that could be taken for its line.

const BEGINNING: &[u8] = b"GET /";

/// How far into a request line the bytes so far went.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum RequestLine {
    /// So many bytes of [`BEGINNING`] have come.
    Beginning(usize),
    Target,
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
                    true if so_far + 1 == BEGINNING.len() => RequestLine::Target,
                    true => RequestLine::Beginning(so_far + 1),
                    false => RequestLine::Over,
                };
                None
            }
            (RequestLine::Target, b'\n') => {
                *self = RequestLine::Over;
                None
            }
            (RequestLine::Target, b'"') => Some(b"%22"),
            (RequestLine::Target, b'<') => Some(b"%3C"),
            (RequestLine::Target, b'>') => Some(b"%3E"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
