//! What is wrong with a template that parses: in Go's words, at Go's place.

use super::expand;

const FAILURES: &[(&str, &str)] = &[
    ("{{ $x = 1 }}", "1:8: executing \"__alert_A\" at <1>: undefined variable: $x"),
    ("{{ $x := $x }}", "1:9: executing \"__alert_A\" at <$x>: undefined variable: $x"),
    (
        "{{ range $x = .Labels }}{{ $x }}{{ end }}",
        "1:14: executing \"__alert_A\" at <.Labels>: undefined variable: $x",
    ),
    (
        "{{ humanize \"1e400\" }}",
        "1:3: executing \"__alert_A\" at <humanize \"1e400\">: error calling humanize: strconv.ParseFloat: parsing \"1e400\": value out of range",
    ),
    (
        "{{ humanize \"one\" }}",
        "1:3: executing \"__alert_A\" at <humanize \"one\">: error calling humanize: strconv.ParseFloat: parsing \"one\": invalid syntax",
    ),
    (
        "a\nbc {{ query \"bad\" }}",
        "2:6: executing \"__alert_A\" at <query \"bad\">: error calling query: 1:1: parse error: bad",
    ),
    (
        "{{ query \"none\" | first }}",
        "1:18: executing \"__alert_A\" at <first>: error calling first: first() called on vector with no elements",
    ),
    (
        "{{ $value | toUpper }}",
        "1:12: executing \"__alert_A\" at <toUpper>: wrong type for value; expected string; got float64",
    ),
    (
        "{{ toUpper }}",
        "1:3: executing \"__alert_A\" at <toUpper>: wrong number of args for toUpper: want 1 got 0",
    ),
    (
        "{{ .Nosuch }}",
        "1:3: executing \"__alert_A\" at <.Nosuch>: can't evaluate field Nosuch in type struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
    ),
    (
        "{{ $labels.name.more }}",
        "1:10: executing \"__alert_A\" at <$labels.name.more>: can't evaluate field more in type string",
    ),
    (
        "{{ index (query \"metric\") 9 }}",
        "1:3: executing \"__alert_A\" at <index (query \"metric\") 9>: error calling index: index out of range: 9",
    ),
    (
        "{{ index \"a\" 1 }}",
        "1:3: executing \"__alert_A\" at <index \"a\" 1>: error calling index: reflect: string index out of range",
    ),
    (
        "{{ index \"a\" 2 }}",
        "1:3: executing \"__alert_A\" at <index \"a\" 2>: error calling index: index out of range: 2",
    ),
    (
        "{{ define \"x\" }}{{ .a.b }}{{ end }}\n{{ template \"x\" 1 }}",
        "1:21: executing \"x\" at <.a.b>: can't evaluate field a in type int",
    ),
    (
        "{{ template   \"nope\" }}",
        "1:14: executing \"__alert_A\" at <{{template \"nope\"}}>: template \"nope\" not defined",
    ),
    (
        "{{ template \"nope\" .  }}",
        "1:12: executing \"__alert_A\" at <{{template \"nope\" .}}>: template \"nope\" not defined",
    ),
    (
        "{{ gt \"a\" 1 }}",
        "1:3: executing \"__alert_A\" at <gt \"a\" 1>: error calling gt: incompatible types for comparison",
    ),
    (
        "{{ lt .Labels 1 }}",
        "1:3: executing \"__alert_A\" at <lt .Labels 1>: error calling lt: invalid type for comparison",
    ),
    (
        "{{ range $value }}{{ end }}",
        "1:9: executing \"__alert_A\" at <$value>: range can't iterate over 0.9345",
    ),
    (
        "{{ template \"x\" }}",
        "1:12: executing \"__alert_A\" at <{{template \"x\"}}>: template \"x\" not defined",
    ),
    (
        "{{ .Value 1 }}",
        "1:3: executing \"__alert_A\" at <.Value>: Value is not a method but has arguments",
    ),
    (
        "{{ (query \"metric\" | first).Value.x }}",
        "1:21: executing \"__alert_A\" at <first>: can't evaluate field x in type float64",
    ),
    // Behind parentheses it is what was looked at last; seen of promtool 2.42.
    ("{{ (5).x }}", "1:4: executing \"__alert_A\" at <5>: can't evaluate field x in type int"),
    (
        "{{ (query \"metric\").x }}",
        "1:10: executing \"__alert_A\" at <\"metric\">: can't evaluate field x in type template.queryResult",
    ),
    (
        "{{ ($labels).name.b }}",
        "1:4: executing \"__alert_A\" at <$labels>: can't evaluate field b in type string",
    ),
    (
        "{{ ($labels.name).b }}",
        "1:11: executing \"__alert_A\" at <$labels.name>: can't evaluate field b in type string",
    ),
    (
        "{{ (index $labels \"name\").b }}",
        "1:18: executing \"__alert_A\" at <\"name\">: can't evaluate field b in type string",
    ),
    (
        "{{ (($labels).name).b }}",
        "1:5: executing \"__alert_A\" at <$labels>: can't evaluate field b in type string",
    ),
    (
        "{{ ((\"a\")).b }}",
        "1:5: executing \"__alert_A\" at <\"a\">: can't evaluate field b in type string",
    ),
    ("{{ toUpper 1 }}", "1:11: executing \"__alert_A\" at <1>: expected string; found 1"),
    (
        "{{ toUpper $value }}",
        "1:11: executing \"__alert_A\" at <$value>: wrong type for value; expected string; got float64",
    ),
    ("{{ toUpper nil }}", "1:11: executing \"__alert_A\" at <nil>: cannot assign nil to string"),
    (
        "{{ first \"x\" }}",
        "1:9: executing \"__alert_A\" at <\"x\">: can't handle \"x\" for arg of type template.queryResult",
    ),
    (
        "{{ match \"a\" }}",
        "1:3: executing \"__alert_A\" at <match>: wrong number of args for match: want 2 got 1",
    ),
    (
        "{{ index $labels 1 }}",
        "1:3: executing \"__alert_A\" at <index $labels 1>: error calling index: value has type int; should be string",
    ),
    (
        "{{ slice \"abc\" 1 2 3 }}",
        "1:3: executing \"__alert_A\" at <slice \"abc\" 1 2 3>: error calling slice: cannot 3-index slice a string",
    ),
    (
        "{{ lt true false }}",
        "1:3: executing \"__alert_A\" at <lt true false>: error calling lt: invalid type for comparison",
    ),
    (
        "{{ eq $externalLabels 1 }}",
        "1:3: executing \"__alert_A\" at <eq $externalLabels 1>: error calling eq: non-comparable type map[region:sg]: map[string]string",
    ),
    (
        "{{ parseDuration \"x\" }}",
        "1:3: executing \"__alert_A\" at <parseDuration \"x\">: error calling parseDuration: not a valid duration string: \"x\"",
    ),
    (
        "{{ $labels.name 1 }}",
        "1:3: executing \"__alert_A\" at <$labels.name>: name is not a method but has arguments",
    ),
    ("{{ nil }}", "1:3: executing \"__alert_A\" at <nil>: nil is not a command"),
    (
        "{{ match \"(\" \"a\" }}",
        "1:3: executing \"__alert_A\" at <match \"(\" \"a\">: error calling match: ",
    ),
    (
        "{{ slice \"한\" 1 }}",
        "1:3: executing \"__alert_A\" at <slice \"한\" 1>: error calling slice: slice cuts a character",
    ),
];

#[test]
fn failures_say_where_and_why() {
    for (text, want) in FAILURES {
        let error = expand(text).expect_err(text);
        let want = format!("error executing template __alert_A: template: __alert_A:{want}");
        assert!(error.starts_with(&want), "{text}\n got {error}\nwant {want}");
        assert!(want.ends_with(": ") || error == want, "{text}\n got {error}\nwant {want}");
    }
}
