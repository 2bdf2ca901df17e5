//! What is agreed about a body before its first byte: its dialect and its limits.

/// The dialect of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// The Prometheus text format: timestamps in milliseconds.
    #[default]
    Text,
    /// OpenMetrics: timestamps in seconds, and `# EOF` is the last line.
    OpenMetrics,
}

impl Format {
    /// The dialect a `Content-Type` stands for. Exporters send all sorts of types with good text,
    /// so an unknown or absent one is [`Format::Text`]; only types that cannot be the text format
    /// are refused.
    pub fn from_content_type(content_type: Option<&str>) -> Result<Format, String> {
        let written = content_type.unwrap_or("");
        let media = written.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let refused = match media.as_str() {
            "application/openmetrics-text" => return Ok(Format::OpenMetrics),
            "text/html" | "application/xhtml+xml" => "an HTML page",
            "application/json" | "text/json" => "JSON",
            "application/vnd.google.protobuf"
            | "application/x-protobuf"
            | "application/protobuf" => "protobuf",
            other if other.ends_with("+json") => "JSON",
            _ => return Ok(Format::Text),
        };
        Err(format!(
            "the target answered with {refused} (Content-Type `{written}`), \
             not with the Prometheus text format"
        ))
    }
}

/// Bounds of one scrape, by their names in a scrape configuration; 0 is no limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the uncompressed body.
    pub body_size_limit: u64,
    /// Samples kept after relabelling.
    pub sample_limit: u64,
    /// Labels of one series, `__name__` and target labels included.
    pub label_limit: usize,
    /// Bytes of a label's name.
    pub label_name_length_limit: usize,
    /// Bytes of a label's value.
    pub label_value_length_limit: usize,
    /// Bytes of one line of the body; Prometheus, which holds whole bodies, has no such limit.
    pub line_length_limit: usize,
    /// Series a target may be remembered by, and half as many samples with times as may repeat
    /// them: a page is distrusted before it is held. Not of a job: from `window.max_series`.
    pub series_limit: usize,
    /// Bytes of the series of all targets that share a [`super::Room`]: `window.max_bytes`.
    pub series_bytes_limit: usize,
}

impl Limits {
    /// The same for a window of these caps. Twice the series that the window takes, so that a page of
    /// a few too many is still judged by those that found room. In bytes the same as the window, over
    /// all targets: with its samples a series takes more there than it does here.
    #[must_use]
    pub fn within(self, max_series: usize, max_bytes: usize) -> Limits {
        Limits { series_limit: max_series.saturating_mul(2), series_bytes_limit: max_bytes, ..self }
    }
}

impl Default for Limits {
    /// As Prometheus, but a body has an end: five times what cAdvisor writes with default flags
    /// for 500 containers (43.6 MB).
    fn default() -> Limits {
        Limits {
            body_size_limit: 256 << 20,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            line_length_limit: 16 << 20,
            series_limit: 0,
            series_bytes_limit: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let cases = [
            (None, Some(Format::Text)),
            (Some(""), Some(Format::Text)),
            (
                Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),
                Some(Format::Text),
            ),
            (Some("application/octet-stream"), Some(Format::Text)),
            (Some("Application/OpenMetrics-Text ; version=1.0.0"), Some(Format::OpenMetrics)),
            (Some("text/html; charset=utf-8"), None),
            (Some("application/json"), None),
            (Some("application/problem+json"), None),
            (
                Some("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily"),
                None,
            ),
        ];
        for (content_type, want) in cases {
            let got = Format::from_content_type(content_type);
            assert_eq!(got.as_ref().ok().copied(), want, "{content_type:?}");
            if let (Err(error), Some(content_type)) = (got, content_type) {
                assert!(error.contains(content_type), "{error}");
            }
        }
    }
}
