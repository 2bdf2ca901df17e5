//! The server over real sockets, before a scripted backend. Expected bodies are those of a
//! Prometheus 2.42 that was asked the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::scripted::{ask, scripted, start};
use super::*;
use crate::base::Timestamp;
use crate::engine::View;
use crate::promql::eval::Steps;

mod connections;
mod containers;
mod inputs;
mod odd;
mod room;
mod turns;

/// Asks the API with GET and compares status and body, byte by byte.
async fn check(cases: &[(&str, u16, &str)]) {
    let address = start(scripted(), Options::default()).await;
    for (path, status, body) in cases {
        let reply = ask(address, "GET", &format!("/api/v1/{path}"), None).await;
        assert_eq!((reply.status, reply.body.as_str()), (*status, *body), "{path}");
        assert_eq!(reply.content_type, "application/json", "{path}");
    }
}

const V: &str = r#"{"__name__":"v","instance":"127.0.0.1:19998","job":"x","tenant":"acme"}"#;

fn ok(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

fn bad(error: &str) -> String {
    format!(r#"{{"status":"error","errorType":"bad_data","error":{error:?}}}"#)
}

/// An error of which there is more to say than Prometheus does.
fn hinted(error: &str, hint: &str) -> String {
    let body = bad(error);
    format!("{},\"hint\":{hint:?}}}", body.strip_suffix('}').expect("an object"))
}

#[tokio::test]
async fn what_helps_stands_behind_prometheus_words() {
    let split = "let a recording rule evaluate a part of it, or select by a pattern instead of many \
                 operators";
    let re2 = "patterns are RE2; for the character itself write `\\\\.` (in backquotes `\\.`), and so \
               for `* + ? ( ) [ ] { } ^ $ |`";
    let deep = format!("query?query={}1{}", "(".repeat(100), ")".repeat(100));
    for (path, error, hint) in [
        (
            "query?query=sum(rate(v[1m])",
            "1:16: parse error: unclosed left parenthesis",
            "the `(` at 1:4 is not closed: write `)`",
        ),
        (
            "query?query=v))",
            "1:3: parse error: unexpected right parenthesis ')'",
            "no `(` is open here: take the `)` away",
        ),
        (
            deep.as_str(),
            "1:101: parse error: expression is nested more than 100 levels deep",
            split,
        ),
        (
            "query?query=RATE(v[1m])",
            "1:1: parse error: unknown function with name \"RATE\"",
            "did you mean `rate`?",
        ),
        (
            "query?query=v{a=~'*'}",
            "1:3: parse error: error parsing regexp: missing argument to repetition operator: `*`",
            re2,
        ),
    ] {
        let error = format!("invalid parameter \"query\": {error}");
        check(&[(path, 400, &hinted(&error, hint))]).await;
    }
}

#[tokio::test]
async fn queries_are_answered_in_prometheus_shapes() {
    let result =
        |kind: &str, result: &str| ok(&format!(r#"{{"resultType":"{kind}","result":{result}}}"#));
    let vector = |value: &str| {
        result("vector", &format!(r#"[{{"metric":{V},"value":[1795313872.960,"{value}"]}}]"#))
    };
    let points = r#"[[1795313867.826,"7"],[1795313869.826,"7"]]"#;
    let matrix = result("matrix", &format!(r#"[{{"metric":{V},"values":{points}}}]"#));
    let range = r#"[{"metric":{},"values":[[10,"1"],[20,"1"],[30,"1"]]}]"#;
    let with = |what: &str| {
        let empty = result("vector", "[]");
        format!("{},\"{what}\":[\"note\"]}}", empty.strip_suffix('}').expect("an object"))
    };
    let cut = result("vector", &format!(r#"[{{"metric":{V},"value":[1,"1"]}}]"#));
    let cut = format!(
        "{},\"warnings\":[\"results truncated due to limit\"]}}",
        cut.strip_suffix('}').expect("an object")
    );
    check(&[
        ("query?query=1%2B1", 200, &result("scalar", r#"[1795313872.96,"2"]"#)),
        ("query?query=%22a%22", 200, &result("string", r#"[1795313872.96,"a"]"#)),
        ("query?query=v", 200, &vector("7")),
        ("query?query=big", 200, &vector("1e+21")),
        ("query?query=nanv", 200, &vector("NaN")),
        ("query?query=nosuch", 200, &result("vector", "[]")),
        ("query?query=v[6s]", 200, &matrix),
        ("query_range?query=1&start=10&end=30&step=10", 200, &result("matrix", range)),
        ("query?query=warned", 200, &with("warnings")),
        ("query?query=informed", 200, &with("infos")),
        ("query?query=two&time=1&limit=1", 200, &cut),
        ("query_exemplars?query=test", 200, &ok("[]")),
        ("format_query?query=sum(rate(v[5m]))by(a)", 200, &ok(r#""sum by (a) (rate(v[5m]))""#)),
        (
            "query?query=broken",
            422,
            r#"{"status":"error","errorType":"execution","error":"multiple matches for labels"}"#,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_tree_is_shown_however_long_its_chains() {
    let address = start(scripted(), Options::default()).await;
    let path = format!("/api/v1/parse_query?query=v{}", "%2Bv".repeat(5000));
    let reply = ask(address, "GET", &path, None).await;
    assert_eq!((reply.status, reply.body.matches("binaryExpr").count()), (200, 5000));
}

const BAD_PARAMETERS: &[(&str, &str)] = &[
    (
        "query?query=up%20%3D%3D",
        r#"invalid parameter "query": 1:6: parse error: unexpected end of input"#,
    ),
    ("query", r#"invalid parameter "query": 1:1: parse error: no expression found in input"#),
    (
        "query?query=rate(v)",
        r#"invalid parameter "query": 1:6: parse error: expected type range vector in call to function "rate", got instant vector"#,
    ),
    (
        "query?query=v&time=abc",
        r#"invalid parameter "time": Invalid time value for 'time': cannot parse "abc" to a valid timestamp"#,
    ),
    (
        "query?query=v&timeout=x",
        r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#,
    ),
    (
        "query?query=v&limit=x",
        r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#,
    ),
    ("query?query=v&limit=-1", r#"invalid parameter "limit": limit must be non-negative"#),
    (
        "query_range?query=v&start=1&end=2&step=0",
        r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
    ),
    (
        "query_range?query=v&start=1&end=2&step=-5",
        r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
    ),
    (
        "query_range?query=v&start=1&end=2&step=0.0005",
        r#"invalid parameter "step": a step of less than a millisecond is not accepted: samples have whole milliseconds"#,
    ),
    (
        "query_range?query=v&start=1&end=2",
        r#"invalid parameter "step": cannot parse "" to a valid duration"#,
    ),
    (
        "query_range?query=v&end=2&step=1",
        r#"invalid parameter "start": cannot parse "" to a valid timestamp"#,
    ),
    (
        "query_range?query=v&start=5&end=2&step=1",
        r#"invalid parameter "end": end timestamp must not be before start time"#,
    ),
    (
        "query_range?query=v&start=0&end=100000&step=1",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    ),
    ("label/bad-name/values", r#"invalid label name: "bad-name""#),
    ("series", "no match[] parameter provided"),
    (
        "series?match[]={}",
        r#"invalid parameter "match[]": match[] must contain at least one non-empty matcher"#,
    ),
    (
        "series?match[]=v&start=x",
        r#"invalid parameter "start": Invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
    ),
    ("metadata?limit=x", "limit must be a number"),
    ("rules?type=foo", r#"invalid parameter "type": not supported value "foo""#),
    (
        "rules?group_next_token=x",
        r#"invalid parameter "group_limit": group_limit needs to be set in order to paginate over the groups"#,
    ),
    (
        "rules?group_limit=1&group_next_token=x",
        r#"invalid parameter "group_next_token": invalid group_next_token 'x'. were rule groups changed?"#,
    ),
];

#[tokio::test]
async fn bad_parameters_are_told_in_prometheus_words() {
    let cases: Vec<(&str, String)> =
        BAD_PARAMETERS.iter().map(|(path, text)| (*path, bad(text))).collect();
    let cases: Vec<(&str, u16, &str)> =
        cases.iter().map(|(path, body)| (*path, 400, body.as_str())).collect();
    check(&cases).await;
}

#[tokio::test]
async fn experimental_functions_are_what_the_configuration_in_force_says() {
    let backend = scripted();
    let address = start(Arc::clone(&backend), Options::default()).await;
    let paths = [
        "query?query=limitk(1,v)",
        "query_range?query=limitk(1,v)&start=0&end=1&step=1",
        "format_query?query=limitk(1,v)",
        "parse_query?query=limitk(1,v)",
    ];
    for on in [false, true, false] {
        {
            let mut view = backend.view.lock().expect("not poisoned");
            Arc::make_mut(&mut view).promql.experimental_functions = on;
        }
        for path in paths {
            let reply = ask(address, "GET", &format!("/api/v1/{path}"), None).await;
            assert_eq!(reply.status, if on { 200 } else { 400 }, "{path}");
            assert_eq!(reply.body.contains("limitk() is experimental and not enabled"), !on);
        }
    }
}

#[tokio::test]
async fn eleven_thousand_points_are_allowed() {
    let backend = scripted();
    let address = start(Arc::clone(&backend), Options::default()).await;
    let path = "/api/v1/query_range?query=1&start=0&end=11000&step=1s";
    assert_eq!(ask(address, "GET", path, None).await.status, 200);
    let path = "/api/v1/query_range?query=1&start=0&end=11001&step=1s";
    assert_eq!(ask(address, "GET", path, None).await.status, 400);
}

#[tokio::test]
async fn labels_and_series_are_sorted_and_cut() {
    let names = ok(r#"["__name__","instance","job","tenant"]"#);
    let cut =
        r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#;
    check(&[
        ("labels", 200, &names),
        ("labels?limit=4", 200, &names),
        ("labels?limit=0", 200, &names),
        ("labels?limit=1", 200, cut),
        ("labels?match[]=up", 200, &ok(r#"["__name__","job"]"#)),
        ("label/__name__/values", 200, &ok(r#"["up","v"]"#)),
        ("label/job/values?match[]=v", 200, &ok(r#"["x"]"#)),
        ("label/tenant/values?start=2030-01-01T00:00:00Z", 200, &ok("[]")),
        ("label/nosuch/values", 200, &ok("[]")),
        ("labels?start=5&end=4", 200, &ok("[]")),
        ("series?match[]=v&start=5&end=4", 200, &ok("[]")),
        ("series?match[]=v", 200, &ok(&format!("[{V}]"))),
        (
            "series?match[]=v&match[]={job=~%22y%22}",
            200,
            &ok(&format!(r#"[{{"__name__":"up","job":"y"}},{V}]"#)),
        ),
        ("label/U__te_6e_ant/values", 200, &ok(r#"["acme"]"#)),
    ])
    .await;
}

#[tokio::test]
async fn rules_alerts_and_targets_are_shown() {
    let alert = r#"{"labels":{"alertname":"High","severity":"warning"},"annotations":{"summary":"v=7 on acme"},"state":"firing","activeAt":"2026-11-22T02:17:22.730Z","value":"7e+00"}"#;
    let run =
        r#""health":"ok","evaluationTime":0.000362454,"lastEvaluation":"2026-11-22T02:17:52.731Z""#;
    let record = |name: &str, query: &str| {
        format!(r#"{{"name":"{name}","query":"{query}",{run},"type":"recording"}}"#)
    };
    let high = |alerts: &str| {
        format!(
            r#"{{"state":"firing","name":"High","query":"v > 5","duration":10,"keepFiringFor":0,"labels":{{"severity":"warning"}},"annotations":{{"summary":"v={{{{ $value }}}}"}},"alerts":[{alerts}],{run},"type":"alerting"}}"#
        )
    };
    let group = |name: &str, rules: &[String]| {
        format!(
            r#"{{"name":"{name}","file":"r.yml","rules":[{}],"interval":5,"limit":0,"evaluationTime":0.001,"lastEvaluation":"0001-01-01T00:00:00Z"}}"#,
            rules.join(",")
        )
    };
    let groups = |groups: &[String]| ok(&format!(r#"{{"groups":[{}]}}"#, groups.join(",")));
    let sum = record("job:v:sum", "sum by (job) (v)");
    let h = group("h", &[record("r", "v")]);
    let page = ok(&format!(
        r#"{{"groups":[{}],"groupNextToken":"722e796d6c3b68"}}"#,
        group("g", &[sum.clone(), high(alert)])
    ));
    let only_high = groups(&[group("g", &[high(alert)])]);
    let target = r#"{"discoveredLabels":{"__address__":"127.0.0.1:19998","job":"x"},"labels":{"instance":"127.0.0.1:19998","job":"x"},"scrapePool":"x","scrapeUrl":"http://127.0.0.1:19998/metrics","globalUrl":"http://127.0.0.1:19998/metrics","lastError":"connection refused","lastScrape":"2026-11-22T02:17:51.826Z","lastScrapeDuration":0.002917,"health":"down","scrapeInterval":"2s","scrapeTimeout":"2s"}"#;
    let dropped = r#"{"discoveredLabels":{"job":"gone"}}"#;
    let targets = |active: &str, dropped: &str| {
        ok(&format!(r#"{{"activeTargets":[{active}],"droppedTargets":[{dropped}]}}"#))
    };
    check(&[
        ("rules", 200, &groups(&[group("g", &[sum.clone(), high(alert)]), h.clone()])),
        ("rules?type=alert", 200, &only_high),
        ("rules?type=Alert", 200, &only_high),
        ("rules?type=record&rule_group[]=g", 200, &groups(&[group("g", std::slice::from_ref(&sum))])),
        ("rules?rule_name[]=High&exclude_alerts=true", 200, &groups(&[group("g", &[high("")])])),
        ("rules?match[]={severity=%22warning%22}", 200, &only_high),
        ("rules?file[]=other.yml", 200, &groups(&[])),
        ("rules?group_limit=1", 200, &page),
        ("rules?group_limit=1&group_next_token=722e796d6c3b68", 200, &groups(&[h])),
        ("alerts", 200, &ok(&format!(r#"{{"alerts":[{alert}]}}"#))),
        ("targets", 200, &targets(target, dropped)),
        ("targets?state=active", 200, &targets(target, "")),
        ("targets?state=dropped", 200, &targets("", dropped)),
        ("targets?state=DROPPED", 200, &targets("", dropped)),
        ("targets?scrapePool=other", 200, &targets("", "")),
        ("targets?state=any", 200, &targets(target, dropped)),
        ("targets?state=foo", 200, &targets("", "")),
        ("scrape_pools", 200, &ok(r#"{"scrapePools":["x"]}"#)),
        ("alertmanagers", 200, &ok(r#"{"activeAlertmanagers":[{"url":"http://127.0.0.1:19999/api/v2/alerts"}],"droppedAlertmanagers":[]}"#)),
        ("status/buildinfo", 200, &ok(&format!(r#"{{"version":"3.14.0","revision":"plimsoll {}","branch":"plimsoll","buildUser":"","buildDate":"","goVersion":""}}"#, env!("CARGO_PKG_VERSION")))),
    ])
    .await;
}

#[tokio::test]
async fn metadata_is_shown_by_family_and_by_target() {
    let of = |family: &str, kind: &str, help: &str| {
        format!(r#""{family}":[{{"type":"{kind}","help":"{help}","unit":""}}]"#)
    };
    let (c, h) = (of("c_total", "counter", ""), of("h", "histogram", ""));
    let v = of("v", "gauge", "test gauge");
    let families = |all: &[&str]| ok(&format!("{{{}}}", all.join(",")));
    let target = r#"{"target":{"instance":"127.0.0.1:19998","job":"x"},"#;
    let counter = format!(r#"{target}"metric":"c_total","type":"counter","help":"","unit":""}}"#);
    let gauge = format!(r#"{target}"type":"gauge","help":"test gauge","unit":""}}"#);
    let unread = "invalid parameter \"match_target\": 1:4: parse error: unexpected \"(\"";
    check(&[
        ("metadata", 200, &families(&[&c, &h, &v])),
        ("metadata?metric=v", 200, &families(&[&v])),
        ("metadata?metric=nosuch", 200, &families(&[])),
        ("metadata?limit=2", 200, &families(&[&c, &h])),
        ("metadata?limit=0", 200, &families(&[])),
        ("metadata?limit_per_metric=1&metric=v", 200, &families(&[&v])),
        ("metadata?limit_per_metric=x", 400, &bad("limit_per_metric must be a number")),
        ("targets/metadata?limit=1", 200, &ok(&format!("[{counter}]"))),
        ("targets/metadata?metric=v", 200, &ok(&format!("[{gauge}]"))),
        ("targets/metadata?metric=v&match_target={job=%22x%22}", 200, &ok(&format!("[{gauge}]"))),
        ("targets/metadata?match_target={job=%22y%22}", 200, &ok("[]")),
        ("targets/metadata?limit=x", 400, &bad("limit must be a number")),
        ("targets/metadata?match_target=sum(up)", 400, &bad(unread)),
    ])
    .await;
}

/// What a client may get wrong beyond words: numbers that are none, times beyond all calendars,
/// texts beyond all measure.
#[tokio::test]
async fn absurd_parameters_are_refused() {
    let address = start(scripted(), Options::default()).await;
    let parens = |count: usize| format!("{}1{}", "(".repeat(count), ")".repeat(count));
    let long = "1%2B".repeat(240_000) + "1";
    let cases: [(&str, String, u16, &str); 15] = [
        ("query", "query=1&time=NaN".into(), 400, "cannot parse \\\"NaN\\\" to a valid timestamp"),
        ("query", "query=1&time=-Inf".into(), 400, "to a valid timestamp"),
        ("query", "query=1&time=1e300".into(), 400, "to a valid timestamp"),
        ("query", "query=1&timeout=NaN".into(), 400, "to a valid duration"),
        ("query", "query=1&lookback_delta=NaN".into(), 400, "to a valid duration"),
        ("query_range", "query=1&start=NaN&end=1&step=1".into(), 400, "to a valid timestamp"),
        ("query_range", "query=1&start=0&end=1&step=NaN".into(), 400, "to a valid duration"),
        ("query_range", "query=1&start=0&end=1&step=Inf".into(), 400, "overflows int64"),
        ("query_range", "query=1&start=0&end=1&step=-1".into(), 400, "zero or negative"),
        ("query_range", "query=1&start=0&end=1e15&step=1".into(), 400, "exceeded maximum"),
        ("query_range", "query=1&start=-9e14&end=9e14&step=1s".into(), 400, "exceeded maximum"),
        ("query", format!("query={}", parens(10_000)), 400, "nest"),
        ("query", format!("query={}", "(".repeat(10_000)), 400, "parse error"),
        ("query", format!("query={long}"), 400, "parse error"),
        ("query", "query=%ff".into(), 400, "invalid parameter \\\"query\\\": 1:1: parse error"),
    ];
    for (path, form, status, words) in cases {
        let reply = ask(address, "POST", &format!("/api/v1/{path}"), Some(&form)).await;
        let form = &form[..form.len().min(60)];
        assert_eq!(reply.status, status, "{path} {form}: {}", reply.body);
        assert!(reply.body.contains(r#""errorType":"bad_data""#), "{path} {form}: {}", reply.body);
        assert!(reply.body.contains(words), "{path} {form}: {}", reply.body);
        assert!(reply.body.len() < 1000, "{path} {form}: the error repeats what was sent");
    }
}

#[tokio::test]
async fn a_rule_is_explained_by_its_evaluations_and_their_parts() {
    let address = start(scripted(), Options::default()).await;
    let explain = async |query: &str| {
        let reply = ask(address, "GET", &format!("/api/v1/plimsoll/explain?{query}"), None).await;
        let body: serde_json::Value = serde_json::from_str(&reply.body).expect("is JSON");
        (reply.status, body)
    };
    let (status, body) = explain("rule=High&group=g").await;
    assert_eq!(status, 200, "{body}");
    let rule = &body["data"]["rules"][0];
    assert_eq!((&rule["type"], &rule["for"]), (&"alerting".into(), &10.into()));
    assert_eq!(rule["alerts"][1]["state"], "resolved");
    let newest = &rule["evaluations"][0];
    assert_eq!(newest["time"], "1970-01-01T00:00:02.000Z");
    assert_eq!((&newest["results"], &newest["seriesFetched"]), (&9.into(), &3.into()));
    assert_eq!(newest["values"][0]["value"], "7");
    assert_eq!(newest["changes"][0]["change"], "firing");
    let parts: Vec<(&str, &str)> = newest["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .map(|part| (part["expr"].as_str(), part["values"][0]["value"].as_str()))
        .map(|(expr, value)| (expr.expect("a text"), value.expect("a value")))
        .collect();
    assert_eq!(parts, [("v > 5", "0"), ("v", "1")]);
    assert!(rule["evaluations"][1]["parts"].is_null(), "only the newest unless more are asked for");
    let (_, body) = explain("rule=High&limit=2").await;
    assert!(body["data"]["rules"][0]["evaluations"][1]["parts"].is_array(), "{body}");
    let cases = [
        ("rule=Hgh", 404, "no rule is called \"Hgh\", did you mean \"High\"?"),
        ("rule=High&group=h", 404, "no rule is called \"High\" in group \"h\""),
        ("", 400, "invalid parameter \"rule\": the name of an alert or record is needed"),
        (
            "rule=High&limit=x",
            400,
            "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax",
        ),
    ];
    for (query, code, words) in cases {
        let (status, body) = explain(query).await;
        assert_eq!((status, body["error"].as_str()), (code, Some(words)), "{query}");
    }
}

#[tokio::test]
async fn a_form_is_read_and_wins_over_the_url() {
    let backend = scripted();
    let address = start(Arc::clone(&backend), Options::default()).await;
    let form = "query=v+%2B+1&time=5&timeout=90s&lookback_delta=1m";
    let reply = ask(address, "POST", "/api/v1/query?time=6", Some(form)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let form = "query=1&start=0&end=1&step=0.5&timeout=2";
    let reply = ask(address, "POST", "/api/v1/query_range", Some(form)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let asked = backend.asked.lock().expect("not poisoned");
    assert_eq!(asked[0].text, "v + 1");
    assert_eq!(asked[0].times, QueryTimes::Instant(Timestamp(5000)));
    assert_eq!(asked[0].timeout, QUERY_TIMEOUT, "a client cannot ask for more than the server's");
    assert_eq!(asked[0].lookback, Some(Duration::from_secs(60)));
    let steps =
        Steps { start: Timestamp(0), end: Timestamp(1000), step: Duration::from_millis(500) };
    assert_eq!(asked[1].times, QueryTimes::Range(steps));
    assert_eq!(asked[1].timeout, Duration::from_secs(2));
}

#[tokio::test]
async fn health_metrics_and_reload() {
    let backend = scripted();
    let closed = start(Arc::clone(&backend), Options::default()).await;
    let options = Options { enable_lifecycle: true };
    let open = start(Arc::clone(&backend), options).await;
    let no = Err(ApiError::new(ErrorKind::Internal, "line 3: unknown key"));
    *backend.reloads.lock().expect("not poisoned") = vec![no, Ok(())];
    let not_ready =
        "plimsoll is not ready: not every target has answered or timed out since the start.\n";
    let cases = [
        (closed, "GET", "/-/healthy", 200, "plimsoll is healthy.\n"),
        (closed, "HEAD", "/-/healthy", 200, ""),
        (closed, "GET", "/-/ready", 503, not_ready),
        (closed, "POST", "/-/reload", 403, "Lifecycle API is not enabled."),
        (closed, "PUT", "/-/reload", 403, "Lifecycle API is not enabled."),
        (open, "GET", "/-/reload", 405, "Only POST or PUT requests allowed\n"),
        (open, "POST", "/-/reload", 200, ""),
        (open, "PUT", "/-/reload", 500, "failed to reload config: line 3: unknown key\n"),
        (open, "GET", "/nosuch", 404, "404 page not found\n"),
        (open, "GET", "/api/v1/nosuch", 404, "404 page not found\n"),
        (open, "GET", "/api/v1/label//values", 404, "404 page not found\n"),
        (open, "GET", "/api/v1/status/flags", 404, "404 page not found\n"),
        (open, "POST", "/api/v1/rules", 405, "Method Not Allowed\n"),
    ];
    for (address, method, path, status, body) in cases {
        let reply = ask(address, method, path, None).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {path}");
    }
    let reply = ask(closed, "GET", "/metrics", None).await;
    let own = "plimsoll_up 1\n# HELP plimsoll_http_unsent_bytes ";
    assert!(reply.status == 200 && reply.body.starts_with(own), "{}", reply.body);
    assert_eq!(reply.content_type, "text/plain; version=0.0.4; charset=utf-8");
    let now_ready = View { ready: true, ..View::default() };
    *backend.view.lock().expect("not poisoned") = Arc::new(now_ready);
    assert_eq!(ask(closed, "GET", "/-/ready", None).await.status, 200);
}

#[tokio::test]
async fn the_outbox_is_read_freely_and_changed_with_permission() {
    let closed = start(scripted(), Options::default()).await;
    let options = Options { enable_lifecycle: true };
    let open = start(scripted(), options).await;
    let reply = ask(closed, "GET", "/api/v1/plimsoll/outbox", None).await;
    let rows =
        r#"{"status":"success","data":[{"id":"evt_1","state":"waiting","type":"alert.firing""#;
    assert!(reply.status == 200 && reply.body.starts_with(rows), "{}", reply.body);
    let cases = [
        (closed, "POST", "retry?id=evt_1", 403, "set `web.enable_lifecycle: true`"),
        (closed, "POST", "drop?id=evt_1", 403, "forbidden"),
        (open, "GET", "drop?id=evt_1", 405, ""),
        (open, "POST", "drop?id=evt_1", 200, r#""data":{"id":"evt_1"}"#),
        (open, "POST", "drop?id=evt_2", 404, "no delivery `evt_2` waits or is dead"),
        (open, "POST", "retry?id=evt_1", 409, "in flight; try again"),
        (open, "POST", "drop", 400, "the id of one delivery is needed"),
        (open, "POST", "drop?id=", 400, "invalid parameter"),
        (open, "POST", "drop?id=evt_1&id=evt_2", 400, "the id of one delivery is needed"),
    ];
    for (address, method, path, status, words) in cases {
        let reply = ask(address, method, &format!("/api/v1/plimsoll/outbox/{path}"), None).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        assert!(reply.body.contains(words), "{method} {path}: {}", reply.body);
    }
}

#[tokio::test]
async fn a_slow_query_times_out() {
    let address = start(scripted(), Options::default()).await;
    let reply = ask(address, "GET", "/api/v1/query?query=slow&timeout=50ms", None).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("query timed out in expression evaluation"), "{}", reply.body);
    assert!(reply.body.contains(r#""errorType":"timeout""#));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_an_error() {
    let options = Options { enable_lifecycle: true };
    let address = start(scripted(), options).await;
    let reply = ask(address, "POST", "/-/reload", None).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("the request was not answered in time"), "{}", reply.body);
}

#[tokio::test]
async fn queries_wait_for_their_turn() {
    let address = start(scripted(), Options::default()).await;
    let slow = "/api/v1/query?query=slow&timeout=400ms";
    let running: Vec<_> = (0..QUERIES_AT_ONCE)
        .map(|_| tokio::spawn(async move { ask(address, "GET", slow, None).await }))
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reply = ask(address, "GET", "/api/v1/query?query=1&timeout=50ms", None).await;
    assert_eq!(reply.status, 503, "no turn in time");
    assert!(reply.body.contains("query timed out in query queue"), "{}", reply.body);
    assert_eq!(ask(address, "GET", "/api/v1/alerts", None).await.status, 200, "others go on");
    for running in running {
        assert_eq!(running.await.expect("ends").status, 503);
    }
    assert_eq!(ask(address, "GET", "/api/v1/query?query=1", None).await.status, 200);
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let address = start(scripted(), Options::default()).await;
    let form = format!("query={}", "x".repeat(MAX_BODY_BYTES));
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = format!(
        "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sends");
    let _ = stream.write_all(form.as_bytes()).await;
    let mut reply = vec![0; 200];
    let length = stream.read(&mut reply).await.expect("a reply");
    let reply = String::from_utf8_lossy(&reply[..length]).into_owned();
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
}
