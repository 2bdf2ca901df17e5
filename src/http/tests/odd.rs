//! Requests that make little sense, and what a Prometheus 2.42 says to them.

use super::{bad, check, ok};

#[tokio::test]
async fn times_that_make_no_sense_are_told_as_prometheus_does() {
    let timeout =
        r#"{"status":"error","errorType":"timeout","error":"query timed out in query queue"}"#;
    let empty = "1:1: parse error: no expression found in input";
    let time = r#"invalid parameter "start": Invalid time value for 'start': cannot parse "abc" to a valid timestamp"#;
    let end = "end timestamp must not be before start timestamp";
    check(&[
        ("query?query=1&timeout=0", 503, timeout),
        ("query?query=1&timeout=-1", 503, timeout),
        ("query_range?query=1&start=0&end=1&step=1&timeout=1e-9", 503, timeout),
        (
            "query?query=1%2B1&time=1&lookback_delta=0",
            200,
            &ok(r#"{"resultType":"scalar","result":[1,"2"]}"#),
        ),
        ("query_exemplars", 400, &bad(empty)),
        (
            "query_exemplars?query=v{",
            400,
            &bad("1:3: parse error: unexpected end of input inside braces"),
        ),
        ("query_exemplars?query=v&start=abc", 400, &bad(time)),
        ("query_exemplars?query=v&start=5&end=4", 400, &bad(end)),
        ("query_exemplars?query=v&start=4&end=5", 200, &ok("[]")),
    ])
    .await;
}
