//! Queries, and what a Prometheus 2.42 answered when it was asked to format them.

pub(super) const CASES: &[(&str, &str)] = &[
    (r#"v{a=~"(?i)X.*",b!~`a|b`}"#, r#"v{a=~"(?i)X.*",b!~"a|b"}"#),
    ("a+b*c", "a + b * c"),
    ("(a+b)*c", "(a + b) * c"),
    ("-(1)^2", "-(1) ^ 2"),
    ("(-1)^2", "(-1) ^ 2"),
    ("2^-1", "2 ^ -1"),
    ("-a^2", "-a ^ 2"),
    ("a^b^c", "a ^ b ^ c"),
    ("(a^b)^c", "(a ^ b) ^ c"),
    ("sum without()(a)", "sum without () (a)"),
    ("sum by()(a)", "sum(a)"),
    ("sum(a) without (b)", "sum without (b) (a)"),
    ("topk(1,a)", "topk(1, a)"),
    ("a offset -5m", "a offset -5m"),
    ("a @ 1.5 offset 1h30m", "a @ 1.500 offset 1h30m"),
    ("a[90s]", "a[1m30s]"),
    ("a[1h:]", "a[1h:]"),
    ("a[1h:5m] offset 5m", "a[1h:5m] offset 5m"),
    ("rate(a[5m] @ start())", "rate(a[5m] @ start())"),
    ("a and on() b", "a and on () b"),
    ("a or ignoring() b", "a or b"),
    ("a / on(x) group_left() b", "a / on (x) group_left () b"),
    ("a / on(x) group_right(y,z) b", "a / on (x) group_right (y, z) b"),
    (r#""\n\t\"x""#, r#""\n\t\"x""#),
    (r#"'it\'s'"#, r#""it's""#),
    (r#"`a"b`"#, r#""a\"b""#),
    ("1e3", "1000"),
    ("1e100", "1e+100"),
    ("123456", "123456"),
    ("1000000", "1e+06"),
    ("1234567.5", "1.2345675e+06"),
    ("0.00001", "1e-05"),
    ("0x10", "16"),
    (".5", "0.5"),
    ("5.", "5"),
    ("Inf", "+Inf"),
    ("-Inf", "-Inf"),
    ("+Inf", "+Inf"),
    ("NaN", "NaN"),
    (r#""日本""#, r#""日本""#),
    (r#"a{b="日\u672c"}"#, r#"a{b="日本"}"#),
    (r#"{__name__="a"}"#, r#"{__name__="a"}"#),
    (r#"{__name__="a",b="c"}"#, r#"{__name__="a",b="c"}"#),
    (r#"{__name__=~"a"}"#, r#"{__name__=~"a"}"#),
    ("a == bool 1", "a == bool 1"),
    ("a > 1 < 2", "a > 1 < 2"),
    ("a unless b or c and d", "a unless b or c and d"),
    ("(a unless b) or (c and d)", "(a unless b) or (c and d)"),
    ("a unless (b or c)", "a unless (b or c)"),
    ("absent(a)", "absent(a)"),
    ("((a))", "((a))"),
    ("(((1)))", "(((1)))"),
    ("a - -1", "a - -1"),
    ("- - 1", "1"),
    ("+1", "1"),
    ("+a", "+a"),
    ("a % b atan2 c", "a % b atan2 c"),
    (
        "histogram_quantile(.9,sum(rate(a[5m]))by(le))",
        "histogram_quantile(0.9, sum by (le) (rate(a[5m])))",
    ),
    ("a[5m:]", "a[5m:]"),
    ("avg_over_time((a)[5m:1m])", "avg_over_time((a)[5m:1m])"),
    ("avg_over_time(rate(a[5m])[1h:])", "avg_over_time(rate(a[5m])[1h:])"),
    ("max(a)by(b,c)", "max by (b, c) (a)"),
    (r#"label_replace(a,"b","$1","c","(.*)")"#, r#"label_replace(a, "b", "$1", "c", "(.*)")"#),
    (r#"a{b="c",}"#, r#"a{b="c"}"#),
    (r#"a{b!="",}"#, r#"a{b!=""}"#),
    ("quantile(0.9,a)", "quantile(0.9, a)"),
    (r#"count_values("x",a)"#, r#"count_values("x", a)"#),
    ("time()", "time()"),
    ("vector(1)", "vector(1)"),
    ("a{}", "a"),
    ("A_b:c", "A_b:c"),
    (r#"a{b=""}"#, r#"a{b=""}"#),
    (
        "sum by(a)(b) / ignoring(c) group_left sum by(d)(e)",
        "sum by (a) (b) / ignoring (c) group_left () sum by (d) (e)",
    ),
    ("++a", "++a"),
    ("+(a)", "+(a)"),
    ("-+a", "-+a"),
    ("sum(+a)", "sum(+a)"),
    ("+a^b", "+a ^ b"),
    ("+a+b", "+a + b"),
    (r#"a{z="1",b="2"}"#, r#"a{b="2",z="1"}"#),
    (r#"{z="1",__name__="a"}"#, r#"{__name__="a",z="1"}"#),
    (
        r#"sum by (job, instance) (rate(aaaaaaaaaaaaaaaaaaaaaaaaa_total{job="aaaaaaaaaaaaaaaaaaaaaaaaa",instance=~"aaaaaaaaaaaaaaaaaaaaaaaaa"}[5m] offset 1h)) / on (job) group_left sum by (job) (up)"#,
        r#"  sum by (job, instance) (
    rate(
      aaaaaaaaaaaaaaaaaaaaaaaaa_total{instance=~"aaaaaaaaaaaaaaaaaaaaaaaaa",job="aaaaaaaaaaaaaaaaaaaaaaaaa"}[5m] offset 1h
    )
  )
/ on (job) group_left ()
  sum by (job) (up)"#,
    ),
    (
        r#"topk(5, sum without (instance) (rate(aaaaaaaaaaaaaaaaaaaaaaaaa_total{job="aaaaaaaaaaaaaaaaaaaaaaaaa",instance=~"aaaaaaaaaaaaaaaaaaaaaaaaa",x="y"}[5m])) > bool 2) by (a)"#,
        r#"topk by (a) (
  5,
    sum without (instance) (
      rate(
        aaaaaaaaaaaaaaaaaaaaaaaaa_total{instance=~"aaaaaaaaaaaaaaaaaaaaaaaaa",job="aaaaaaaaaaaaaaaaaaaaaaaaa",x="y"}[5m]
      )
    )
  > bool
    2
)"#,
    ),
    (
        "(aaaaaaaaaaaaaaaaaaaaaaaaa + aaaaaaaaaaaaaaaaaaaaaaaaa) * (aaaaaaaaaaaaaaaaaaaaaaaaa - aaaaaaaaaaaaaaaaaaaaaaaaa / aaaaaaaaaaaaaaaaaaaaaaaaa) or vector(1) and aaaaaaaaaaaaaaaaaaaaaaaaa unless aaaaaaaaaaaaaaaaaaaaaaaaa",
        r#"    (aaaaaaaaaaaaaaaaaaaaaaaaa + aaaaaaaaaaaaaaaaaaaaaaaaa)
  *
    (aaaaaaaaaaaaaaaaaaaaaaaaa - aaaaaaaaaaaaaaaaaaaaaaaaa / aaaaaaaaaaaaaaaaaaaaaaaaa)
or
  vector(1) and aaaaaaaaaaaaaaaaaaaaaaaaa unless aaaaaaaaaaaaaaaaaaaaaaaaa"#,
    ),
    (
        "-(sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa) + sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa))",
        r#"-(
    sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa)
  +
    sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa)
)"#,
    ),
    (
        "-sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa + aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa)",
        r#"-sum(
    aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
  +
    aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
)"#,
    ),
    (
        "+sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa + aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa)",
        r#"+sum(
    aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
  +
    aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
)"#,
    ),
    (
        "-aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa ^ aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa",
        r#"-aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
^
  aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa"#,
    ),
    (
        "+aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa ^ aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa",
        r#"+aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
^
  aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa"#,
    ),
    (
        r#"label_replace(aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa"}, "dst", "aaaaaaaaaaaaaaaaaaaaaaaaa-$1", "src", "(.*)-aaaaaaaaaaaaaaaaaaaaaaaaa")"#,
        r#"label_replace(
  aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa"},
  "dst",
  "aaaaaaaaaaaaaaaaaaaaaaaaa-$1",
  "src",
  "(.*)-aaaaaaaaaaaaaaaaaaaaaaaaa"
)"#,
    ),
    (
        r#"max_over_time(sum(rate(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa{x="aaaaaaaaaaaaaaaaaaaaaaaaa"}[5m]))[1h:5m] offset 5m)"#,
        r#"max_over_time(
  sum(rate(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa{x="aaaaaaaaaaaaaaaaaaaaaaaaa"}[5m]))[1h:5m] offset 5m
)"#,
    ),
    (
        r#"max_over_time((sum(rate(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa{x="aaaaaaaaaaaaaaaaaaaaaaaaa"}[5m])) + aaaaaaaaaaaaaaaaaaaaaaaaa)[1h:5m] offset 5m)"#,
        r#"max_over_time(
  (
      sum(rate(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa{x="aaaaaaaaaaaaaaaaaaaaaaaaa"}[5m]))
    +
      aaaaaaaaaaaaaaaaaaaaaaaaa
  )[1h:5m] offset 5m
)"#,
    ),
    (
        r#"histogram_quantile(0.99, sum by (le, job) (rate(aaaaaaaaaaaaaaaaaaaaaaaaa_bucket{job="aaaaaaaaaaaaaaaaaaaaaaaaa", path=~"aaaaaaaaaaaaaaaaaaaaaaaaa|b"}[5m])))"#,
        r#"histogram_quantile(
  0.99,
  sum by (le, job) (
    rate(
      aaaaaaaaaaaaaaaaaaaaaaaaa_bucket{job="aaaaaaaaaaaaaaaaaaaaaaaaa",path=~"aaaaaaaaaaaaaaaaaaaaaaaaa|b"}[5m]
    )
  )
)"#,
    ),
    (
        r#"quantile_over_time(0.5, aaaaaaaaaaaaaaaaaaaaaaaaa[5m:1m]) + count_values("aaaaaaaaaaaaaaaaaaaaaaaaa", aaaaaaaaaaaaaaaaaaaaaaaaa{y="aaaaaaaaaaaaaaaaaaaaaaaaa"}) + time()"#,
        r#"    quantile_over_time(0.5, aaaaaaaaaaaaaaaaaaaaaaaaa[5m:1m])
  +
    count_values("aaaaaaaaaaaaaaaaaaaaaaaaa", aaaaaaaaaaaaaaaaaaaaaaaaa{y="aaaaaaaaaaaaaaaaaaaaaaaaa"})
+
  time()"#,
    ),
    (
        r#"aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa"} > bool ignoring (x, y) group_right (z) aaaaaaaaaaaaaaaaaaaaaaaaa{b="aaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
        r#"  aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa"}
> bool ignoring (x, y) group_right (z)
  aaaaaaaaaaaaaaaaaaaaaaaaa{b="aaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
    ),
    (
        "(((aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa + aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa)))",
        r#"(
  (
    (
        aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
      +
        aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
    )
  )
)"#,
    ),
    (
        r#"sum(aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa",b="aaaaaaaaaaaaaaaaaaaaaaaaa",c="aaaaaaaaaaaaaaaaaaaaaaaaa",d="aaaaaaaaaaaaaaaaaaaaaaaaa"})"#,
        r#"sum(
  aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa",b="aaaaaaaaaaaaaaaaaaaaaaaaa",c="aaaaaaaaaaaaaaaaaaaaaaaaa",d="aaaaaaaaaaaaaaaaaaaaaaaaa"}
)"#,
    ),
    (
        r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
        r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
    ),
    (
        r#"absent(aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa",b="aaaaaaaaaaaaaaaaaaaaaaaaa"}) or absent(aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa"})"#,
        r#"  absent(aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa",b="aaaaaaaaaaaaaaaaaaaaaaaaa"})
or
  absent(aaaaaaaaaaaaaaaaaaaaaaaaa{a="aaaaaaaaaaaaaaaaaaaaaaaaa"})"#,
    ),
    (
        "b or +sum(aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa + aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa)",
        r#"  b
or
  +sum(
      aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
    +
      aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
  )"#,
    ),
    (
        "b or + - aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa ^ aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa",
        r#"  b
or
  +-aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa
  ^
    aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaa"#,
    ),
];
