//! What queries may use, and how their errors are shown.

use super::*;

const ENABLE: [&str; 2] = ["--enable-feature", "promql-experimental-functions"];

#[test]
fn experimental_functions_are_off_until_they_are_switched_on() {
    let (dir, write) = folder();
    write("1000.txt", "v 1\nv{t=\"a\"} 3\n");
    let dir = dir.path().display().to_string();
    let rules = write("r.yml", "groups: [{name: g, rules: [{record: r, expr: 'limitk(1, v)'}]}]\n");
    let config =
        write("p.yml", "promql: {experimental_functions: true}\nscrape_configs: [{job_name: j}]\n");
    let test = "rule_files: [r.yml]\ntests: [{input_series: [{series: v, values: 1}], promql_expr_test: \
                [{expr: 'mad_over_time(v[1m])', exp_samples: [{value: 0}]}]}]\n";
    let test = write("t.yml", test);
    let config = ["--config", &config];
    let commands: [(&[&str], &[&str]); 4] = [
        (&["check", "rules", &rules], &ENABLE),
        (&["check", "rules", &rules], &config),
        (&["test", "rules", &test], &ENABLE),
        (&["query", "sort_by_label(v, 't')", "--dir", &dir, "--time", "1"], &ENABLE),
    ];
    for (words, switch) in commands {
        let ran = run(words);
        let said = ran.out + &ran.err;
        assert_eq!(ran.code, 2, "{words:?}: {said}");
        let hint = "hint: experimental: set `promql.experimental_functions: true` in the \
                    configuration, or give the command `--enable-feature \
                    promql-experimental-functions`\n";
        assert!(said.contains("not enabled") && said.contains(hint), "{words:?}: {said}");
        let ran = run(&[words, switch].concat());
        assert_eq!(ran.code, 0, "{words:?} {switch:?}: {}{}", ran.out, ran.err);
    }
    let ran = run(&["check", "rules", &rules, "--enable-feature", "promql-experimental"]);
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("promql-delayed-name-removal"), "{}", ran.err);
    let ran = run(&[&["query", "v"][..], &ENABLE].concat());
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("section `promql`"), "{}", ran.err);
}

#[test]
fn names_are_removed_when_the_command_line_says() {
    let (dir, write) = folder();
    write("1000.txt", "v 1\n");
    let dir = dir.path().display().to_string();
    let query = "sum by (kept) (label_replace(-v, 'kept', '$1', '__name__', '(.*)'))";
    let words = ["query", query, "--dir", &dir, "--time", "1"];
    let ran = run(&words);
    assert_eq!((ran.code, ran.out.as_str()), (0, "-1\n"), "{}", ran.err);
    let delayed = ["--enable-feature", "promql-delayed-name-removal"];
    let ran = run(&[&words[..], &delayed].concat());
    assert_eq!((ran.code, ran.out.as_str()), (0, "{kept=\"v\"}  -1\n"), "{}", ran.err);
    let test = format!(
        "tests: [{{input_series: [{{series: v, values: 1}}], promql_expr_test: [{{expr: \"{query}\", \
         exp_samples: [{{labels: '{{kept=\"v\"}}', value: -1}}]}}]}}]\n"
    );
    let words = ["test", "rules", &write("t.yml", &test)];
    assert_eq!(run(&words).code, 1);
    let ran = run(&[&words[..], &delayed].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn recorded_scrapes_can_be_queried() {
    let (dir, write) = folder();
    write("1000.txt", "v{t=\"a\"} 1\nv{t=\"b\"} 5\n");
    write("16000.txt", "v{t=\"a\"} 3\nv{t=\"b\"} 5\n");
    write("17000.txt", "v{t=\"a\" 3\n");
    let dir = dir.path().display().to_string();
    let ran = run(&["query", "sum(v)", "--dir", &dir, "--time", "16"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "8\n"), "{}", ran.err);
    assert!(ran.err.contains("17000.txt: "), "the one that cannot be read is named: {}", ran.err);
    let ran = run(&[
        "query",
        "sum by (t) (v > 1)",
        "--dir",
        &dir,
        "--time",
        "16",
        "--range",
        "15s",
        "--csv",
    ]);
    let want = "t,time,value\r\na,16.000,3\r\nb,1.000,5\r\nb,16.000,5\r\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, want), "{}", ran.err);
    let ran = run(&["query", "1 + 1", "--dir", &dir, "--time", "5", "--format", "json"]);
    let data: serde_json::Value = serde_json::from_str(&ran.out).expect("is JSON");
    assert_eq!(data, serde_json::json!({"resultType": "scalar", "result": [5.0, "2"]}));
    let ran = run(&["query", "sum(v", "--dir", &dir]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("\n  sum(v\n"), "{}", ran.err);
    for (words, said) in [
        (&["--time", "noon"][..], "--time: \"noon\" is neither"),
        (&["--range", "0s"], "--range: must be above zero"),
        (&["--range", "-5m"], "--range: must be above zero"),
        (&["--range", "5m", "--step", "-1s"], "--step: must be above zero"),
        (&["--range", "1h", "--step", "x"], "--step: "),
        (&["--range", "10y", "--step", "1s"], "exceeded maximum resolution"),
    ] {
        let ran = run(&[&["query", "v", "--dir", &dir][..], words].concat());
        assert_eq!(ran.code, 1, "{words:?}");
        assert!(ran.err.contains(said), "{words:?}: {}", ran.err);
    }
}

#[test]
fn a_query_in_a_text_may_use_what_queries_may() {
    let (_dir, write) = folder();
    let rules = "groups: [{name: g, rules: [{alert: A, expr: v, annotations: {summary: \
                 '{{ query \"limitk(1, v)\" | len }}'}}]}]\n";
    write("r.yml", rules);
    let test = |summary: &str| {
        format!(
            "rule_files: [r.yml]\ntests: [{{input_series: [{{series: v, values: 1}}], alert_rule_test: \
             [{{alertname: A, exp_alerts: [{{exp_annotations: {{summary: '{summary}'}}}}]}}]}}]\n"
        )
    };
    let ran = run(&[&["test", "rules", &write("t.yml", &test("1"))][..], &ENABLE].concat());
    assert_eq!(ran.code, 0, "{}", ran.out);
    let ran = run(&["test", "rules", &write("t.yml", &test("1"))]);
    assert!(ran.out.contains("limitk() is experimental and not enabled"), "{}", ran.out);
}

/// One body for every request there is, with a status of its own.
fn refusing(body: &'static str) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        while !is_whole(&bytes) {
            let read = stream.read(&mut chunk).expect("a request");
            bytes.extend_from_slice(&chunk[..read]);
        }
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 422 No\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).expect("written");
    });
    (address, server)
}

#[test]
fn an_evaluation_that_fails_points_at_its_part_here_and_there() {
    let (dir, write) = folder();
    write("1000.txt", "v 1\n");
    let dir = dir.path().display().to_string();
    let want =
        "error: 1:10: Parameter value is NaN\n  sum(topk(NaN, v))\n           ^^^\n  hint: pick\n";
    let here = want.replace("pick", "it must be a number, which `0 / 0` is not");
    let ran = run(&["query", "sum(topk(NaN, v))", "--dir", &dir]);
    assert_eq!((ran.code, ran.err), (1, here));
    let (url, server) = refusing(
        r#"{"status":"error","errorType":"execution","error":"Parameter value is NaN","position":{"line":1,"column":10,"length":3},"hint":"pick"}"#,
    );
    let ran = run(&["query", "sum(topk(NaN, v))", "--url", &url]);
    server.join().expect("served");
    assert_eq!((ran.code, ran.err.as_str()), (1, want));
    let (url, server) = refusing(
        r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: limitk() is experimental and not enabled","hint":"switch it on"}"#,
    );
    let ran = run(&["query", "sum(limitk(1, v))", "--url", &url]);
    server.join().expect("served");
    let want = "error: invalid parameter \"query\": 1:5: parse error: limitk() is experimental and not \
                enabled\n  sum(limitk(1, v))\n      ^\n  hint: switch it on\n";
    assert_eq!((ran.code, ran.err.as_str()), (1, want));
    // The columns of texts count bytes, the mark stands under characters.
    let query = "v{l='한국'} or sum(topk(NaN, v))";
    let want = "error: 1:27: Parameter value is NaN\n  v{l='한국'} or sum(topk(NaN, v))\n                        ^^^\n  hint: pick\n";
    let ran = run(&["query", query, "--dir", &dir]);
    let here = want.replace("pick", "it must be a number, which `0 / 0` is not");
    assert_eq!((ran.code, ran.err), (1, here));
    let (url, server) = refusing(
        r#"{"status":"error","errorType":"execution","error":"Parameter value is NaN","position":{"line":1,"column":23,"length":3},"hint":"pick"}"#,
    );
    let ran = run(&["query", query, "--url", &url]);
    server.join().expect("served");
    assert_eq!((ran.code, ran.err.as_str()), (1, want));
    let (url, server) = refusing(
        r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:22: parse error: limitk() is experimental and not enabled"}"#,
    );
    let ran = run(&["query", "v{l='한국'} or sum(limitk(1, v))", "--url", &url]);
    server.join().expect("served");
    assert!(ran.err.ends_with("limitk(1, v))\n                   ^\n"), "{}", ran.err);
    let query = "label_replace(v, 'a', '', 'b', '*')";
    let ran = run(&["query", query, "--dir", &dir]);
    assert!(ran.err.contains("^^^\n  hint: patterns are RE2; "), "{}", ran.err);
}

#[test]
fn a_query_may_begin_with_a_sign() {
    let (dir, write) = folder();
    write("1000.txt", "v 1\n");
    let dir = dir.path().display().to_string();
    for words in [
        &["query", "--dir", &dir, "--", "-v"][..],
        &["query", "-v", "--dir", &dir],
        &["query", "--time", "1", "--dir", &dir, "-v"],
        &["query", "--dir", &dir, "--", "---v"],
    ] {
        let ran = run(words);
        assert!(ran.code == 0 && ran.out.ends_with("}  -1\n"), "{words:?}: {}{}", ran.out, ran.err);
    }
    for (word, help) in [("--v", "unexpected argument '--v'"), ("--tiem", "--time"), ("-h", "")] {
        let ran = run(&["query", word, "--dir", &dir]);
        let code = if word == "-h" { 0 } else { 64 };
        assert!(ran.code == code && ran.err.contains(help), "{word}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_rule_or_test_that_fails_points_into_its_file() {
    let (_dir, write) = folder();
    let rules = "groups:\n- name: g\n  rules:\n  - record: r\n    expr: |\n      sum(v) +\n        topk(NaN, v)\n";
    let file = write("r.yml", rules);
    let test = write(
        "t.yml",
        "rule_files: [r.yml]\ntests:\n- input_series: [{series: v, values: 1}]\n  promql_expr_test: \
         [{expr: v}]\n",
    );
    let ran = run(&["test", "rules", &test]);
    assert_eq!(ran.code, 1);
    let want = format!(
        "\n  Parameter value is NaN ({file}:7:14); it must be a number, which `0 / 0` is not; the test ends \
         here\n  {file}:7:14:\n  7 |         \
         topk(NaN, v)\n    |              ^\n"
    );
    assert!(ran.out.contains(&want), "{}", ran.out);
    let test = write(
        "u.yml",
        "tests:\n- input_series: [{series: v, values: 1}]\n  promql_expr_test: \
         [{expr: 'sum(topk(NaN, v))'}]\n",
    );
    let ran = run(&["test", "rules", &test]);
    let want = format!(
        "  Parameter value is NaN; it must be a number, which `0 / 0` is not\n  {test}:3:39:\n  3 |   promql_expr_test: [{{expr: 'sum(topk(NaN, \
         v))'}}]\n    |                                       ^\n"
    );
    assert!(ran.out.contains(&want), "{}", ran.out);
    let ran = run(&["test", "rules", &test, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json[0]["tests"][0]["failures"][0]["place"]["column"], 39);
}
