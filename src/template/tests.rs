//! What templates expand to, what they refuse, and that they always end.

use proptest::prelude::*;

use super::*;

mod failures;
mod moment;
mod printf;

fn results(text: &str) -> Result<Vec<(Labels, f64)>, String> {
    let series = |instance: &str, value: f64| {
        (Labels::from_pairs([("__name__", "m"), ("instance", instance)]), value)
    };
    match text {
        "none" => Ok(Vec::new()),
        "metric" => Ok(vec![series("b", 21.0), series("a", 11.0)]),
        "bytes" => Ok(vec![series("a", 996_147_200.0)]),
        "strvalue" => Ok(vec![(Labels::from_pairs([("__value__", "text")]), 1.0)]),
        "many" => Ok((0..5000).map(|at| series("x", f64::from(at))).collect()),
        _ => Err(format!("1:1: parse error: {text}")),
    }
}

fn expand_with(text: &str, value: f64, limits: Limits) -> Result<String, String> {
    let labels = Labels::from_pairs([("name", "web-1"), ("host", "a.b:80"), ("dashed-name", "d")]);
    let external = Labels::from_pairs([("region", "sg")]);
    let data = TemplateData {
        labels: &labels,
        external_labels: &external,
        external_url: "http://host:9090/path/prefix?x=1",
        value,
        at: Timestamp(1_435_065_584_128),
    };
    let template = Template::parse("__alert_A", text).map_err(|error| error.to_string())?;
    template.expand(&data, &mut results, limits)
}

fn expand(text: &str) -> Result<String, String> {
    expand_with(text, 0.9345, Limits::default())
}

fn check(cases: &[(&str, &str)]) {
    for (text, want) in cases {
        assert_eq!(expand(text).as_deref(), Ok(*want), "{text}");
    }
}

#[test]
fn data_and_variables() {
    check(&[
        ("plain } text {", "plain } text {"),
        ("", ""),
        ("{{ $labels.name }} {{ .Labels.name }} {{ $.Labels.name }}", "web-1 web-1 web-1"),
        ("[{{ $labels.nosuch }}]", "[]"),
        ("{{ index $labels \"dashed-name\" }}{{ index $labels \"nosuch\" }}", "d"),
        ("{{ $value }} {{ .Value }}", "0.9345 0.9345"),
        ("{{ $externalLabels.region }}{{ .ExternalLabels.region }}", "sgsg"),
        ("{{ $externalURL }}", "http://host:9090/path/prefix?x=1"),
        ("{{ externalURL }} {{ pathPrefix }}", "http://host:9090/path/prefix?x=1 /path/prefix"),
        ("{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}", "12"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        (
            "{{ now }} {{ now | humanizeTimestamp }}",
            "1.435065584128e+09 2015-06-23 13:19:44.128 +0000 UTC",
        ),
        ("{{ .Labels }}", "map[dashed-name:d host:a.b:80 name:web-1]"),
        (
            "{{ 1e6 }} {{ 0x10 }} {{ 'a' }} {{ 1_000 }} {{ 010 }} {{ -1.50 }} {{ true }}",
            "1e+06 16 97 1000 8 -1.5 true",
        ),
        ("{{ \"a\\tb\\u00e9\" }}{{ `\\n` }}", "a\tbé\\n"),
        ("{{ (index (query \"metric\") 0).Value }}", "21"),
        (
            "{{ . }} {{ printf \"%+v\" . }}",
            "{map[dashed-name:d host:a.b:80 name:web-1] map[region:sg] http://host:9090/path/prefix?x=1 0.9345} {Labels:map[dashed-name:d host:a.b:80 name:web-1] ExternalLabels:map[region:sg] ExternalURL:http://host:9090/path/prefix?x=1 Value:0.9345}",
        ),
        (
            "{{ index (query \"strvalue\") 0 }} {{ printf \"%v\" (query \"strvalue\" | first) }} {{ printf \"%s\" (query \"strvalue\") }}",
            "{map[__value__:text] 1} &{map[__value__:text] 1} [%!s(*template.sample=&{map[__value__:text] 1})]",
        ),
        ("{{ html nil }}|{{ print nil }}|{{ args }}", "&lt;no value&gt;|<nil>|map[]"),
    ]);
}

#[test]
fn actions() {
    check(&[
        ("a {{- 1 -}} b", "a1b"),
        ("{{ 1 | print | }}{{ (2 | ) }}", "12"),
        ("{{ $x := ($y := 1) }}{{ $x }}{{ $y }}", "11"),
        (
            "{{ define \"a\" }} {{ end }}{{ define \"a\" }}x{{ end }}{{ define \"a\" }} {{ end }}{{ template \"a\" }}",
            "x",
        ),
        ("{{ \"0x1p3\" | humanize }}", "8"),
        ("a {{ 1 }} b", "a 1 b"),
        ("x {{/* comment }} */}} y {{- /* c */ -}} z", "x  yz"),
        ("{{ if gt $value 0.9 }}high{{ else if gt $value 0.5 }}mid{{ else }}low{{ end }}", "high"),
        ("{{ if gt $value 1.0 }}a{{ else if gt $value 0.5 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if gt $value 1 }}a{{ else }}b{{ end }}", "b"),
        (
            "{{ if $labels.nosuch }}a{{ else }}b{{ end }}{{ if 0 }}a{{ end }}{{ if not nil }}n{{ end }}",
            "bn",
        ),
        ("{{ with $labels.name }}{{ . }}{{ end }}{{ with \"\" }}a{{ else }}b{{ end }}", "web-1b"),
        ("{{ with \"\" }}a{{ else with \"x\" }}{{ . }}{{ else }}c{{ end }}", "x"),
        ("{{ with $x := 5 }}{{ $x }}{{ . }}{{ end }}", "55"),
        ("{{ range query \"metric\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", "b=21;a=11;"),
        ("{{ range $i, $e := query \"metric\" }}{{ $i }}{{ $e.Value }} {{ end }}", "021 111 "),
        ("{{ range $e := query \"metric\" }}{{ $e.Value }} {{ end }}", "21 11 "),
        (
            "{{ range $k, $v := $labels }}{{ $k }}:{{ $v }} {{ end }}",
            "dashed-name:d host:a.b:80 name:web-1 ",
        ),
        ("{{ range query \"none\" }}a{{ else }}empty{{ end }}", "empty"),
        (
            "{{ range $i := 5 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ if eq $i 3 }}{{ break }}{{ end }}{{ $i }}{{ end }}",
            "02",
        ),
        ("{{ $s := 0 }}{{ range query \"metric\" }}{{ $s = .Value }}{{ end }}{{ $s }}", "11"),
        (
            "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" 1 }}{{ template \"t\" }}",
            "<1><<no value>>",
        ),
        ("{{ block \"b\" $value }}[{{ . }}]{{ end }}{{ template \"b\" 2 }}", "[0.9345][2]"),
        (
            "{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ .arg2 }}{{ end }}{{ template \"x\" (args 1 \"b\") }}",
            "1-b<no value>",
        ),
        ("{{\n if\n true }}a{{ end\n}}", "a"),
        ("{{ (1 | printf \"%d\") | printf \"%s!\" }}", "1!"),
    ]);
}

#[test]
fn functions_of_go() {
    check(&[
        ("{{ and 1 0 2 }}{{ and 1 2 }}{{ or 0 \"\" 3 }}{{ or 0 \"\" }}|{{ not 0 }}", "023|true"),
        ("{{ or 1 (query \"bad\") }}{{ and 0 (query \"bad\") }}", "10"),
        ("{{ eq 1 2 1 }}{{ eq \"a\" \"b\" }}{{ ne 1 2 }}{{ eq true true }}", "truefalsetruetrue"),
        (
            "{{ lt 1 2 }}{{ le 2 2 }}{{ gt 1.5 1.0 }}{{ ge \"b\" \"a\" }}{{ lt 1 1.5 }}",
            "truetruetruetruetrue",
        ),
        ("{{ len \"abé\" }}{{ len $labels }}{{ len (query \"metric\") }}", "432"),
        (
            "{{ slice \"abcd\" 1 3 }}{{ slice \"abcd\" 2 }}{{ len (slice (query \"metric\") 1) }}",
            "bccd1",
        ),
        ("{{ print 1 2 \"a\" 3 }}|{{ print \"a\" \"b\" }}|{{ println 1 \"a\" }}", "1 2a3|ab|1 a\n"),
        ("{{ html \"<a href='x'>&\" }}", "&lt;a href=&#39;x&#39;&gt;&amp;"),
        ("{{ js \"it's <b>\" }}", "it\\'s \\u003Cb\\u003E"),
        ("{{ js \"a\\u00a0\\u200b\\u007f\" }}", "a\\u00A0\\u200B\u{7f}"),
        (
            "{{ printf \"%q\" \"a\\u00a0\\u200b\\u007f\\ufffd\" }}",
            "\"a\\u00a0\\u200b\\x7f\u{fffd}\"",
        ),
        ("{{ urlquery \"a b&c/ü\" }} {{ \"x y\" | urlQueryEscape }}", "a+b%26c%2F%C3%BC x+y"),
        (
            "{{ printf \"%.2f %5.1f|%-5s|%05d|%+d\" $value 2.25 \"a\" 42 7 }}",
            "0.93   2.2|a    |00042|+7",
        ),
        (
            "{{ printf \"%s %d %v %q %t %x %c %%\" \"s\" 3 1e6 \"q\" true 255 65 }}",
            "s 3 1e+06 \"q\" true ff A %",
        ),
        ("{{ printf \"%d %s\" 1.5 2 }}", "%!d(float64=1.5) %!s(int=2)"),
        (
            "{{ printf \"%d\" }}{{ printf \"a\" 1 }}{{ printf \"%\" }}",
            "%!d(MISSING)a%!(EXTRA int=1)%!(NOVERB)",
        ),
        (
            "{{ printf \"%*d|%.3g|%e|%g\" 4 1 1234.5 1234.5 1e-7 }}",
            "   1|1.23e+03|1.234500e+03|1e-07",
        ),
        (
            "{{ printf \"%v %s\" $labels.name .Labels }}",
            "web-1 map[dashed-name:d host:a.b:80 name:web-1]",
        ),
    ]);
}

#[test]
fn functions_of_prometheus() {
    check(&[
        ("{{ with query \"bytes\" }}{{ . | first | value | humanize1024 }}B{{ end }}", "950MiB"),
        ("{{ query \"metric\" | first | label \"instance\" }}", "b"),
        ("{{ query \"metric\" | sortByLabel \"instance\" | first | value }}", "11"),
        ("{{ query \"strvalue\" | first | strvalue }}", "text"),
        (
            "{{ $labels.name | toUpper }} {{ toLower \"AbC\" }} {{ title \"aa bb-CC d_e\" }}",
            "WEB-1 abc Aa Bb-CC D_e",
        ),
        ("{{ match \"a+\" \"baab\" }}{{ match \"^a\" \"b\" }}", "truefalse"),
        ("{{ reReplaceAll \"(a)b\" \"x$1\" \"ab cab\" }}", "xa cxa"),
        (
            "{{ \"host:80\" | stripPort }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"host\" }}",
            "host ::1 host",
        ),
        (
            "{{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"a.b\" }} {{ stripDomain \"1.2.3.4:5\" }}",
            "a:80 a 1.2.3.4:5",
        ),
        ("{{ graphLink \"up{a='b'}\" }}", "/graph?g0.expr=up%7Ba%3D%27b%27%7D&g0.tab=0"),
        ("{{ tableLink \"up\" }} {{ safeHtml \"<b>\" }}", "/graph?g0.expr=up&g0.tab=1 <b>"),
        (
            "{{ parseDuration \"1h30m\" }} {{ toDuration 90 }} {{ toTime 0 }}",
            "5400 1m30s 1970-01-01 00:00:00 +0000 UTC",
        ),
        (
            "{{ humanize 0 }} {{ humanize 1234567 }} {{ humanize -0.00123 }} {{ humanize 999.99 }}",
            "0 1.235M -1.23m 1000",
        ),
        (
            "{{ humanize \"1500\" }} {{ humanize 1e30 }} {{ humanize 0.5 }} {{ humanize 100 }}",
            "1.5k 1e+06Y 500m 100",
        ),
        ("{{ humanize1024 0.5 }} {{ humanize1024 1 }} {{ humanize1024 1048576 }}", "0.5 1 1Mi"),
        (
            "{{ humanizePercentage $value }} {{ humanizePercentage 1 }} {{ \"0.12345\" | humanizePercentage }}",
            "93.45% 100% 12.35%",
        ),
        (
            "{{ humanizeDuration 0 }} {{ humanizeDuration 1.5 }} {{ humanizeDuration 61 }} {{ humanizeDuration 3661.9 }}",
            "0s 1.5s 1m 1s 1h 1m 1s",
        ),
        (
            "{{ humanizeDuration -86465 }} {{ humanizeDuration 0.0015 }} {{ humanizeDuration \"5\" }}",
            "-1d 0h 1m 5s 1.5ms 5s",
        ),
        ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
    ]);
    let special = "{{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }}";
    for (value, want) in [
        (f64::NAN, "NaN NaN NaN NaN% NaN"),
        (f64::INFINITY, "+Inf +Inf +Inf +Inf% +Inf"),
        (f64::NEG_INFINITY, "-Inf -Inf -Inf -Inf% -Inf"),
    ] {
        assert_eq!(expand_with(special, value, Limits::default()).as_deref(), Ok(want));
    }
}

/// Go tells how far it read; whoever mends it looks for where that began.
#[test]
fn bad_templates_say_where_to_look_and_what_helps() {
    let end = Some("what begins here needs `{{ end }}`");
    let cases = [
        ("{{ 1 }}\na {{ .\n\n", 10, Some("close it with `}}`")),
        ("a {{ \"{{\" ", 2, Some("close it with `}}`")),
        ("a {{/* b\n", 2, Some("close it with `*/}}`")),
        ("a {{ \"b }}", 2, Some("the quote that begins the text must end it too")),
        ("a {{ if true }} {{ .}} b", 2, end),
        ("a {{ if true }} {{ else }} b", 16, end),
        ("a {{ range $labels }}{{ with 1 }}b{{ end }}", 2, end),
        ("a {{ define \"b\" }}", 2, end),
        ("a {{ nosuch }}", 5, None),
    ];
    for (text, offset, hint) in cases {
        let error = Template::parse("t", text).expect_err(text);
        assert_eq!((error.offset, error.hint), (offset, hint), "{text}: {error}");
    }
}

#[test]
fn bad_templates_say_why() {
    let cases = [
        ("{{ . ", "1: unclosed action"),
        ("{{ $labels.x ", "1: unclosed action"),
        ("a\nb {{ .", "2: unclosed action"),
        ("{{", "1: unclosed action"),
        ("{{ \"a }}", "1: unterminated quoted string"),
        ("{{ `a }}", "1: unterminated raw quoted string"),
        ("{{/* a", "1: unclosed comment"),
        ("{{/* a */ b }}", "1: comment ends before closing delimiter"),
        ("{{ nosuch 1 }}", "1: function \"nosuch\" not defined"),
        ("{{ tmpl \"x\" }}", "1: function \"tmpl\" not defined"),
        ("{{ $x }}", "1: undefined variable \"$x\""),
        ("{{ define \"a\" }}{{ $labels }}{{ end }}", "1: undefined variable \"$labels\""),
        ("{{ if true }}", "1: unexpected EOF"),
        ("{{ if }}a{{ end }}", "1: missing value for if"),
        ("{{ }}", "1: missing value for command"),
        ("{{ 1 | | print }}", "1: unexpected \"|\" in command"),
        ("{{ | print }}", "1: unexpected \"|\" in command"),
        ("{{ 1 | 2 }}", "1: non executable command in pipeline stage 2"),
        ("{{ end }}", "1: unexpected {{end}}"),
        ("{{ else }}", "1: unexpected {{else}}"),
        ("{{ break }}", "1: {{break}} outside {{range}}"),
        ("{{ (1 }}", "1: unclosed left paren"),
        ("{{ 1) }}", "1: unexpected \")\" in command"),
        ("{{ .a# }}", "1: bad character U+0023 '#'"),
        ("{{ # }}", "1: unexpected \"#\" in command"),
        ("{{ 1 # }}", "1: unexpected \"#\" in operand"),
        ("{{ € }}", "1: unrecognized character in action: U+20AC '€'"),
        ("{{ 08 }}", "1: integer overflow: \"08\""),
        ("{{ 9223372036854775808 }}", "1: integer overflow: \"9223372036854775808\""),
        ("{{ 1e }}", "1: illegal number syntax: \"1e\""),
        ("{{ 0x }}", "1: illegal number syntax: \"0x\""),
        ("{{ 1_ }}", "1: illegal number syntax: \"1_\""),
        ("{{ 1__0 }}", "1: illegal number syntax: \"1__0\""),
        ("{{ 1e1000 }}", "1: illegal number syntax: \"1e1000\""),
        ("{{1-}}", "1: bad number syntax: \"1-\""),
        ("{{ range 1 }}{{ break x }}{{ end }}", "1: unexpected \"x\" in {{break}}"),
        ("{{ if 1 }}{{ define \"x\" }}{{ end }}{{ end }}", "1: unexpected <define> in command"),
        ("{{ ..a }}", "1: unexpected . after term \".\""),
        ("{{ 1x }}", "1: bad number syntax: \"1x\""),
        ("{{ : }}", "1: expected :="),
        ("{{ range $a, $b, $c := 1 }}{{ end }}", "1: too many declarations in range"),
        (
            "{{ define \"a\" }}1{{ end }}\n{{ define \"a\" }}2{{ end }}",
            "2: template: multiple definition of template \"a\"",
        ),
        (
            "{{ define \"__alert_C\" }}1{{ end }}",
            "1: template: multiple definition of template \"__alert_C\"",
        ),
        ("{{ if $x = 1 }}{{ end }}{{ $x }}", "1: undefined variable \"$x\""),
        ("{{ template 1 }}", "1: unexpected \"1\" in template clause"),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", "1: expected end; found {{else}}"),
        ("{{ 1.x }}", "1: bad number syntax: \"1.x\""),
        ("{{ \"a\".x }}", "1: unexpected . after term \"\\\"a\\\"\""),
    ];
    for (text, want) in cases {
        let error = Template::parse("__alert_C", text).expect_err(text).to_string();
        assert_eq!(error, format!("template: __alert_C:{want}"), "{text}");
    }
}

#[test]
fn nothing_runs_or_grows_without_bound() {
    let doubling = "{{ $s := \"ab\" }}{{ range $i := 99 }}{{ $s = print $s $s }}{{ end }}{{ $s }}";
    let nested =
        "{{ $m := args 1 }}{{ range $i := 99 }}{{ $m = args $m $m }}{{ end }}{{ print $m }}";
    let recursive = "{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}";
    let cases = [
        ("{{ range $i := 1000000000 }}{{ end }}", "takes more than 100000 steps"),
        ("{{ range $i := 900 }}{{ range $j := 900 }}{{ end }}{{ end }}", "takes more than"),
        ("{{ range $i := 99999 }}{{ $x := print \"0123456789\" }}{{ end }}", "takes more than"),
        ("{{ range $i := 9999 }}0123456789{{ end }}", "the text is longer than 65536 bytes"),
        (doubling, "the result is longer than 65536 bytes"),
        (nested, "nested more than 16 levels deep"),
        (recursive, "exceeded maximum template depth (50)"),
        ("{{ range $i := 999 }}{{ $x := query \"metric\" }}{{ end }}", "takes more than"),
        ("{{ range $i := 999 }}{{ $x := match \"a\" \"b\" }}{{ end }}", "takes more than"),
        ("{{ range $i := 99 }}{{ $x := query \"many\" }}{{ end }}", "takes more than"),
        (
            "{{ $s := printf \"%1000d\" 1 }}{{ $t := print $s $s $s $s $s $s $s $s $s }}{{ reReplaceAll \"0*\" $t $t }}",
            "too long",
        ),
    ];
    for (text, want) in cases {
        let error = expand(text).expect_err(text);
        assert!(error.contains(want), "{text}\n got {error}\nwant {want}");
    }
    for wide in
        ["%999999d", "%[2]*[1]d", "%.999999f", "%.999999d", "%-999999s", "%#.999999x", "%999999q"]
    {
        let error = expand(&format!("{{{{ printf \"{wide}\" 1 999999 }}}}"));
        assert!(error.is_err_and(|error| error.contains("longer than 65536 bytes")), "{wide}");
    }
    for (open, close) in [("{{ if 1 }}", "{{ end }}"), ("(", ")"), ("{{ if 1 }}{{ else ", "")] {
        let text = format!("{}1{}", open.repeat(5000), close.repeat(5000));
        let text = if open == "(" { format!("{{{{ {text} }}}}") } else { text };
        assert!(Template::parse("t", &text).is_err(), "{open} nests too deep");
    }
}

/// Pieces that meet often enough to reach every rule of the language.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "$x",
        "$labels",
        "$value",
        ".",
        ".Labels",
        ".Value.x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ",",
        "1",
        "0.5",
        "\"a\"",
        "`b`",
        "print",
        "printf \"%d\"",
        "query",
        "first",
        "humanize",
        "eq",
        "args",
        "nil",
        "/*",
        "*/",
        "text",
        "한",
        "'",
        "index",
        "{{ if $value }}",
        "{{ end }}",
        "{{ range 3 }}",
        "{{ $x := 1 }}",
        "slice \"abc\"",
    ]);
    prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), braces in soup()) {
        let limits = Limits { steps: 5000, output_bytes: 4096 };
        for text in [text.as_str(), braces.as_str(), &format!("{{{{ {text} }}}}")] {
            if let Ok(out) = expand_with(text, 1.0, limits) {
                prop_assert!(out.len() <= 4096);
            }
        }
    }
}
