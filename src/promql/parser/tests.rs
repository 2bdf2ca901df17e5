//! What parses and as what, what does not and why.

use proptest::prelude::*;

use super::*;

const ALL: ParseOptions = ParseOptions { experimental_functions: true };

/// The tree as text without its spans; NaN equals NaN this way.
fn shape(expr: &Expr) -> String {
    let debug = format!("{expr:?}");
    let mut parts = debug.split("Span { start: ");
    let mut shape = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shape.push_str(part.split_once('}').expect("a span is closed").1);
    }
    shape
}

/// Parses, prints, and checks that what is printed parses to the same tree.
fn printed(text: &str) -> String {
    let expr = parse(text, &ALL).unwrap_or_else(|error| panic!("{text}: {error}"));
    let written = expr.to_string();
    let again = parse(&written, &ALL).unwrap_or_else(|error| panic!("{written}: {error}"));
    assert_eq!(shape(&again), shape(&expr), "{text} printed as {written}");
    written
}

#[test]
fn expressions_print_in_canonical_form() {
    let cases = [
        ("0x1F", "31"),
        ("1h30m", "5400"),
        ("+iNf", "+Inf"),
        ("-NaN", "NaN"),
        ("- + - 1", "1"),
        ("-1 ^ 2", "-1 ^ 2"),
        ("(-1)^2", "(-1) ^ 2"),
        ("2 ^ -1 * 3", "2 ^ -1 * 3"),
        ("'a\\'b' # comment", "\"a'b\""),
        ("x{ # comment }\na='b', # {\n#}\n}[ # [\n5m # ]\n]", "x{a=\"b\"}[5m]"),
        ("`a\\b`", "\"a\\\\b\""),
        ("foo:bar{a='b',c!=\"d\",e=~'f',g!~'h',}", "foo:bar{a=\"b\",c!=\"d\",e=~\"f\",g!~\"h\"}"),
        ("{__name__='up'}", "up"),
        ("{job='a', 'up'}", "up{job=\"a\"}"),
        ("{'foo.bar', 'a.b'='c'}", "{\"foo.bar\",\"a.b\"=\"c\"}"),
        ("{'on'}", "{\"on\"}"),
        ("{\"inf\"}", "{\"inf\"}"),
        ("{__name__=~'a.*', sum='b'}", "{__name__=~\"a.*\",sum=\"b\"}"),
        ("{__name__='a', __name__!='b'}", "{__name__=\"a\",__name__!=\"b\"}"),
        ("sum + by + offset offset 5m", "sum + by + offset offset 5m"),
        ("start{end='x'} / bottomk", "start{end=\"x\"} / bottomk"),
        ("a @ 1.5 offset -5m", "a @ 1.500 offset -5m"),
        ("a[5m] OFFSET 1w @ START()", "a[5m] @ start() offset 1w"),
        ("a @ -0.25", "a @ -0.250"),
        ("a[90]", "a[1m30s]"),
        ("a[1m + 2 * (step() - 1s)]", "a[1m + 2 * (step() - 1s)]"),
        ("a[2 ^ 3 ^ 2 - (1 - 2)]", "a[2 ^ 3 ^ 2 - (1 - 2)]"),
        ("a[Min_Of(range(), 1h):MAX_OF(1s, step())]", "a[min_of(range(), 1h):max_of(1s, step())]"),
        ("a offset 1m + 2", "a offset 1m + 2"),
        ("a offset (1m + 2)", "a offset (1m + 2)"),
        ("a offset -(1m + 2) ^ 2", "a offset -(1m + 2) ^ 2"),
        ("a offset -(-step())", "a offset -(-step())"),
        ("rate(a[1m])[1h:] @ end() offset 5", "rate(a[1m])[1h:] @ end() offset 5s"),
        ("(a + b)[1h:5m]", "(a + b)[1h:5m]"),
        ("a @ 100s", "a @ 100.000"),
        ("a[5m] @ 1m40s", "a[5m] @ 100.000"),
        ("a @ -1m offset 5m", "a @ -60.000 offset 5m"),
        ("a @ +250ms", "a @ 0.250"),
        ("count_values(\"a\\xc5z\", x)", "count_values(\"a\\xc5z\", x)"),
        ("'\\xff\\x61é'", "\"\\xffaé\""),
        ("SUM BY (b, a,) (x)", "sum by (b, a) (x)"),
        ("sum(x) without ()", "sum without () (x)"),
        ("sum by () (x)", "sum(x)"),
        ("topk(3, x) by (on, 'a.b', \"inf\")", "topk by (on, \"a.b\", \"inf\") (3, x)"),
        ("count_values('v', x)", "count_values(\"v\", x)"),
        ("limit_ratio(-0.5, x)", "limit_ratio(-0.5, x)"),
        ("rate(x[5m],)", "rate(x[5m])"),
        ("hour() + time() - PI", "hour() + time() - PI"),
        ("STEP() + min_of(1, 2)", "step() + min_of(1, 2)"),
        ("histogram_quantiles(x, 'q', 0.5, 0.9)", "histogram_quantiles(x, \"q\", 0.5, 0.9)"),
        ("histogram_sum(rate(x[5m]))", "histogram_sum(rate(x[5m]))"),
        ("info(a, {__name__='b'})", "info(a, {__name__=\"b\"})"),
        ("info(a, {data=~'.*'})", "info(a, {data=~\".*\"})"),
        ("1 > bool 2", "1 > bool 2"),
        ("a>b and c or d unless e", "a > b and c or d unless e"),
        ("a atan2 b % c", "a atan2 b % c"),
        ("a / on() b", "a / on () b"),
        ("a / ignoring() b", "a / b"),
        ("a / IGNORING(x) GROUP_LEFT b", "a / ignoring (x) group_left () b"),
        ("a == bool on(x) group_right(y,) b", "a == bool on (x) group_right (y) b"),
        ("a + on(x) fill(-1) b", "a + on (x) fill_left (-1) fill_right (-1) b"),
        ("a + fill_right(1) fill_left(2) b", "a + fill_left (2) fill_right (1) b"),
        ("fill + fill(0) other", "fill + fill_left (0) fill_right (0) other"),
        ("fill / fill_left", "fill / fill_left"),
        ("a and on(x) b", "a and on (x) b"),
    ];
    for (text, want) in cases {
        assert_eq!(printed(text), want, "{text}");
    }
}

/// What the parser takes at its limit of levels it takes again as it is printed.
#[test]
fn signs_of_durations_print_without_levels_of_their_own() {
    let cases = [
        ("a[---3 ^ 2 + 10]", "a[---3 ^ 2 + 10]"),
        ("a[2 ^ --(1 + 2)]", "a[2 ^ --(1 + 2)]"),
        ("a[(-2) ^ -(3 ^ 2) + 1h]", "a[(-2) ^ -3 ^ 2 + 1h]"),
        ("a[1h - -(-(5m))]", "a[1h - --5m]"),
        ("a offset -(-(-step()))", "a offset -(--step())"),
        ("a offset -(step() ^ 2)", "a offset -(step() ^ 2)"),
        ("a offset -step() ^ 2", "a offset -step() ^ 2"),
    ];
    for (text, want) in cases {
        assert_eq!(printed(text), want, "{text}");
    }
    let signs = |count: usize| format!("a[2 ^ {}3 ^ 2 + (1 + 2)]", "-".repeat(count));
    let most = (0..100).rev().find(|count| parse(&signs(*count), &ALL).is_ok());
    printed(&signs(most.expect("some are taken")));
}

/// Patterns are bounded one by one and together, and an error says which of them is one too many.
#[test]
fn patterns_take_no_more_than_their_budget() {
    let selector = |pattern: &str, count: usize| {
        let matchers: Vec<String> =
            (0..count).map(|at| format!("l{at}=~\"{}\"", pattern.replace('#', "a1"))).collect();
        format!("v{{{}}}", matchers.join(","))
    };
    let long = |count: usize| format!("(#{}){{1000}}|", "b".repeat(count));
    let error = parse(&selector(&long(60), 250), &ALL).expect_err("is too large");
    assert_eq!((error.line, error.column), (1, 3), "{error}");
    assert!(error.message.contains("more than 1 MiB when compiled"), "{error}");
    let error = parse(&selector(&long(3), 250), &ALL).expect_err("are too large");
    assert!(error.column > 50, "some of them fit: {error}");
    assert!(error.message.contains("take more than 4 MiB when compiled"), "{error}");
    let many = format!("{} + {0}", selector("#.+", 100));
    assert!(parse(&many, &ALL).is_ok(), "two hundred usual ones fit");
    let error = parse(&selector(&"[a-z]".repeat(20_000), 1), &ALL).expect_err("is too long");
    assert!(error.message.ends_with("100000 bytes long; at most 65536"), "{error}");
    assert!(error.to_string().len() < 250, "{error}");
}

/// What is repeated of a query is enough to know it again.
#[test]
fn errors_repeat_little_of_the_query() {
    let long = "a".repeat(100_000);
    let digits = "7".repeat(100_000);
    let queries = [
        format!("up {long}"),
        format!("up {digits}"),
        format!("up \"{long}\""),
        format!("{digits}z"),
        format!("{digits}m"),
        format!("{digits}.7"),
        format!("{long}(up)"),
        format!("up{{{long}}}"),
        format!("{long}{{__name__=\"{long}\"}}"),
        format!("up{{a=~\"{long}(\"}}"),
        format!("up + on ({long}) group_left ({long}) up"),
    ];
    for query in queries {
        let error = parse(&query, &ALL).expect_err(&query[..20]).to_string();
        assert!(error.len() < 400, "{}: {} bytes", &query[..20], error.len());
    }
}

/// Parentheses around every operator show how the text was grouped.
fn grouped(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary(b) => {
            format!("({} {} {})", grouped(&b.lhs), b.op.symbol(), grouped(&b.rhs))
        }
        ExprKind::Unary(sign, inner) => format!("({}{})", sign.symbol(), grouped(inner)),
        _ => expr.to_string(),
    }
}

#[test]
fn operators_bind_as_in_the_table() {
    let cases = [
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "(-(a ^ b))"),
        ("-a * b", "((-a) * b)"),
        ("+a ^ b", "(+(a ^ b))"),
        ("+a * -+b", "((+a) * (-(+b)))"),
        ("+1 + b", "(1 + b)"),
        ("a ^ -b ^ c * d", "((a ^ (-(b ^ c))) * d)"),
        ("a + b * c ^ d", "(a + (b * (c ^ d)))"),
        ("a * b atan2 c % d", "(((a * b) atan2 c) % d)"),
        ("a + b > c - d", "((a + b) > (c - d))"),
        ("a == b != c", "((a == b) != c)"),
        ("a or b and c unless d > e", "(a or ((b and c) unless (d > e)))"),
        ("a or b or c", "((a or b) or c)"),
        ("-a offset 5m", "(-a offset 5m)"),
    ];
    for (text, want) in cases {
        let expr = parse(text, &ALL).expect(text);
        assert_eq!(grouped(&expr), want, "{text}");
    }
}

/// Text, and the error it gives; one that ends with `: ` is only the beginning.
const ERRORS: &[(&str, &str)] = &[
    ("", "1:1: parse error: no expression found in input"),
    ("# only a comment", "1:1: parse error: no expression found in input"),
    ("rat(x[5m])", "1:1: parse error: unknown function with name \"rat\""),
    ("RATE(x[5m])", "1:1: parse error: unknown function with name \"RATE\""),
    ("zzzzzz(x)", "1:1: parse error: unknown function with name \"zzzzzz\""),
    ("'한국' +\n  sun(x)", "2:3: parse error: unknown function with name \"sun\""),
    ("v{l='한국'} + sun(x)", "1:17: parse error: unknown function with name \"sun\""),
    ("1 +", "1:4: parse error: unexpected end of input"),
    ("*1", "1:1: parse error: unexpected <op:*>"),
    ("a b", "1:3: parse error: unexpected identifier \"b\""),
    ("a 5m", "1:3: parse error: unexpected duration \"5m\""),
    ("(a", "1:3: parse error: unclosed left parenthesis"),
    ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
    ("a + on", "1:7: parse error: unexpected end of input in grouping opts, expected \"(\""),
    ("a + group_left() b", "1:5: parse error: unexpected <group_left>"),
    (
        "sum by (1) (x)",
        "1:9: parse error: unexpected number \"1\" in grouping opts, expected label",
    ),
    (
        "sum by (a b) (x)",
        "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\"",
    ),
    (
        "sum by (a:b) (x)",
        "1:9: parse error: unexpected metric identifier \"a:b\" in grouping opts, expected label",
    ),
    ("sum(x) by (a) by (b)", "1:15: parse error: unexpected <by>"),
    (
        "x{a}",
        "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator",
    ),
    ("x{a=b}", "1:5: parse error: unexpected identifier \"b\" in label matching, expected string"),
    (
        "x{a='b' c='d'}",
        "1:9: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
    ),
    ("{", "1:2: parse error: unexpected end of input inside braces"),
    ("x{a=\"b\", ", "1:10: parse error: unexpected end of input inside braces"),
    ("x{,}", "1:3: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
    ("x{b='',a=~'('}", "1:8: parse error: error parsing regexp: missing closing ): `(`"),
    ("x{a!b}", "1:4: parse error: unexpected character after '!' inside braces: 'b'"),
    (" ", "1:1: parse error: no expression found in input"),
    ("x{__name__='y'}", "1:1: parse error: metric name must not be set twice: \"x\" or \"y\""),
    ("{'x', 'y'}", "1:1: parse error: metric name must not be set twice: \"x\" or \"y\""),
    ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    (
        "rate({a=~'.*'}[5m])",
        "1:6: parse error: vector selector must contain at least one non-empty matcher",
    ),
    (
        "x[]",
        "1:3: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    ),
    ("x[0]", "1:3: parse error: duration must be greater than 0"),
    ("x[1m - 60]", "1:3: parse error: duration must be greater than 0"),
    ("x[-5m]", "1:3: parse error: duration must be greater than 0"),
    ("x[5m:0s]", "1:6: parse error: duration must be greater than 0"),
    ("x[1 / 0]", "1:3: parse error: division by zero"),
    ("x[1e12]", "1:3: parse error: duration out of range"),
    ("x[1.5h]", "1:3: parse error: bad number or duration syntax: \"1.5h\""),
    (
        "x offset",
        "1:9: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    ("x offset 1m offset 1m", "1:1: parse error: offset may not be set multiple times"),
    (
        "1 offset 1m",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    (
        "(x) @ 1",
        "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    ("x @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
    ("x @ y", "1:5: parse error: unexpected identifier \"y\" in @, expected timestamp"),
    ("x @ NaN", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"),
    ("x @ -1e30", "1:1: parse error: timestamp out of bounds for @ modifier: "),
    ("x offset 1m[5m]", "1:12: parse error: no offset modifiers allowed before range"),
    ("x @ 1[5m]", "1:6: parse error: no @ modifiers allowed before range"),
    ("(x + y)[5m]", "1:8: parse error: ranges only allowed for vector selectors"),
    ("x[5m][5m]", "1:6: parse error: ranges only allowed for vector selectors"),
    (
        "x[5m:][5m:]",
        "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
    ),
    ("x[5m:1m:]", "1:8: parse error: unexpected colon ':'"),
    (
        "x[5m, 1m]",
        "1:5: parse error: unexpected \",\" in subquery or range, expected \":\" or \"]\"",
    ),
    (
        "x[5m:y]",
        "1:6: parse error: unexpected identifier \"y\" in subquery selector, expected number, duration, step(), or range()",
    ),
    ("by (x)", "1:4: parse error: unexpected \"(\""),
    ("Unless(x)", "1:7: parse error: unexpected \"(\""),
    ("sum by (a)", "1:11: parse error: unexpected end of input in aggregation"),
    ("sum by (a) x", "1:12: parse error: unexpected identifier \"x\" in aggregation"),
    ("x @ start", "1:10: parse error: unexpected end of input in @, expected timestamp"),
    ("x @ end(1)", "1:9: parse error: unexpected number \"1\" in @, expected timestamp"),
    ("x On (a) y", "1:3: parse error: unexpected <On>"),
    ("x End", "1:3: parse error: unexpected \"End\""),
    ("x SUM (y)", "1:3: parse error: unexpected <aggr:SUM>"),
    ("x 'a'", "1:3: parse error: unexpected string \"'a'\""),
    (
        "x{a='b' or c='d'}",
        "1:9: parse error: unexpected identifier \"or\" in label matching, expected \",\" or \"}\"",
    ),
    (
        "x{a=~'b'=~'c'}",
        "1:9: parse error: unexpected <op:=~> in label matching, expected \",\" or \"}\"",
    ),
    ("x{#}", "1:5: parse error: unexpected end of input inside braces"),
    (
        "1[5m:1m]",
        "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
    ),
    (
        "rate(x)",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    ),
    ("rate()", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 0"),
    (
        "round(x, 1, 2)",
        "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
    ),
    (
        "label_join(x)",
        "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1",
    ),
    (
        "label_join(x, 'a', 'b', 'c', 1)",
        "1:30: parse error: expected type string in call to function \"label_join\", got scalar",
    ),
    (
        "info(a, b{c='d'})",
        "1:9: parse error: expected label selectors only, got vector selector instead",
    ),
    (
        "sum(1)",
        "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
    ),
    ("topk('a', x)", "1:6: parse error: expected type scalar in aggregation parameter, got string"),
    ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
    (
        "sum(a, b)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
    ),
    (
        "topk(x)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    ),
    ("1 == 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
    ("a and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
    ("a and on(x) group_left b", "1:1: parse error: no grouping allowed for \"and\" operation"),
    (
        "a + on(x) group_left(x) b",
        "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
    ),
    ("1 + on(x) a", "1:1: parse error: vector matching only allowed between instant vectors"),
    (
        "a + 'b'",
        "1:5: parse error: binary expression must contain only scalar and instant vector types",
    ),
    (
        "a[5m] + 1",
        "1:1: parse error: binary expression must contain only scalar and instant vector types",
    ),
    ("a or fill(0) b", "1:1: parse error: filling in missing series not allowed for set operators"),
    (
        "a + fill(0) 1",
        "1:1: parse error: filling in missing series only allowed between instant vectors",
    ),
    (
        "+\"str\"",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    ),
    (
        "+x[5m]",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
    ),
    (
        "-'a'",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    ),
    (
        "rate(x[5m] smoothed)",
        "1:12: parse error: the modifier smoothed is experimental and not supported",
    ),
    ("x ANCHORED", "1:3: parse error: the modifier anchored is experimental and not supported"),
    (
        "a >/ b",
        "1:3: parse error: the operator >/ works on native histograms only, which are not supported",
    ),
];

#[test]
fn errors_say_where_and_what() {
    for (text, want) in ERRORS {
        let error = parse(text, &ALL).expect_err(text).to_string();
        let met = if want.ends_with(": ") { error.starts_with(want) } else { error == *want };
        assert!(met, "{text}\n got {error}\nwant {want}");
    }
}

#[test]
fn experimental_parts_are_an_option() {
    let cases = [
        ("mad_over_time(x[5m])", "1:1: parse error: function \"mad_over_time\" is not enabled"),
        ("limitk(1, x)", "1:1: parse error: limitk() is experimental and not enabled"),
        (
            "a + fill(0) b",
            "1:5: parse error: binop fill modifiers are experimental and not enabled",
        ),
    ];
    for (text, want) in cases {
        let error = parse(text, &ParseOptions::default()).expect_err(text);
        assert_eq!(error.to_string(), want);
        assert!(parse(text, &ALL).is_ok(), "{text}");
    }
    assert!(parse("x[step()]", &ParseOptions::default()).is_ok(), "stable since 3.14");
}

#[test]
fn spans_are_the_bytes_of_each_node() {
    let text = "- sum by (a) ( rate(x{b='한'}[5m] offset 1m) ) + (1)";
    let mut seen = Vec::new();
    parse(text, &ALL).expect(text).walk(&mut |node| {
        seen.push(text[node.span.start..node.span.end].to_owned());
    });
    let want = [
        text,
        "- sum by (a) ( rate(x{b='한'}[5m] offset 1m) )",
        "sum by (a) ( rate(x{b='한'}[5m] offset 1m) )",
        "rate(x{b='한'}[5m] offset 1m)",
        "x{b='한'}[5m] offset 1m",
        "(1)",
        "1",
    ];
    assert_eq!(seen, want);
}

/// A debug build of the parser, the printer and the drop of the tree fit the 2 MiB of a worker.
#[test]
fn depth_is_bounded_and_fits_the_stack() {
    let deep = MAX_DEPTH - 1;
    let nests = |n: usize| {
        [
            format!("{}x{}", "(".repeat(n), ")".repeat(n)),
            format!("{}x", "-".repeat(n)),
            format!("{}x", "+".repeat(n)),
            format!("x{}", " ^ x".repeat(n)),
            format!("{}x{}", "abs(".repeat(n), ")".repeat(n)),
            format!("{}x{}", "sum(".repeat(n), ")".repeat(n)),
            format!("{}x{}", "abs(".repeat(n / 2), "[1m:])".repeat(n / 2)),
            format!("x[{}1{}]", "(".repeat(n / 2), ")".repeat(n / 2)),
            format!("x[1{}]", "+1".repeat(n / 2)),
        ]
    };
    for text in nests(deep) {
        match parse(&text, &ALL) {
            Ok(expr) => assert_eq!(parse(&expr.to_string(), &ALL).map(drop), Ok(())),
            Err(error) => assert!(error.message.starts_with("expected type"), "{error}"),
        }
    }
    for text in nests(MAX_DEPTH).iter().take(6) {
        assert!(parse(text, &ALL).is_err(), "one level too many: {text}");
    }
    for text in nests(100_000) {
        let error = parse(&text, &ALL).expect_err("too deep").to_string();
        assert!(error.contains("nested more than 100 levels"), "{error}");
    }
}

/// What programs write is long and flat: none of it may take stack by its length.
#[test]
fn long_chains_of_operators_take_no_stack() {
    let operators = |op: &str| format!("x{}", format!(" {op} x").repeat(10_000));
    let chains = [
        operators("or"),
        operators("+"),
        operators("- on (a) group_left ()"),
        operators("unless x and"),
        format!("1{}", " + 1".repeat(10_000)),
        format!("sum(max_over_time(({})[5m:]))", operators("or")),
    ];
    for text in chains {
        let expr = parse(&text, &ALL).unwrap_or_else(|error| panic!("{error}"));
        let mut nodes = 0;
        expr.walk(&mut |_| nodes += 1);
        assert!(nodes > 10_000);
        let printed = expr.to_string();
        let again = parse(&printed, &ALL).expect("what is printed parses");
        assert_eq!(again.to_string(), printed);
        assert!(format!("{expr:?}").len() > printed.len());
        let mut copy = expr.clone();
        assert!(copy == expr);
        copy.span.end += 1;
        assert!(copy != expr);
        let mut selectors = 0;
        expr.walk(&mut |node| selectors += usize::from(matches!(node.kind, ExprKind::Vector(_))));
        let reached = crate::promql::reach(&expr, crate::promql::QueryTimes::default());
        assert_eq!(reached.len(), selectors);
    }
    let sum = |count: usize| format!("1{}", "+1".repeat(count));
    assert!(parse(&sum(MAX_OPERATORS), &ALL).is_ok());
    let error = parse(&sum(MAX_OPERATORS + 1), &ALL).expect_err("too long").to_string();
    assert_eq!(error, "1:40002: parse error: expression has more than 20000 operators");
}

#[test]
fn the_whole_table_of_words_is_known() {
    for op in crate::promql::ast::AggregateOp::ALL {
        assert_eq!(crate::promql::ast::AggregateOp::find(op.name()), Some(op));
    }
}

/// Words and symbols that meet often enough to reach every rule of the grammar.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a",
        "sum",
        "by",
        "without",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "5m",
        "1",
        "-",
        "+",
        "^",
        "*",
        "==",
        "bool",
        "on",
        "ignoring",
        "group_left",
        "and",
        "or",
        "offset",
        "@",
        "start()",
        "step()",
        "end",
        "'x'",
        "\"y\"",
        "a='b'",
        "=~",
        "rate(",
        "[5m]",
        "topk(2,",
        "min_of(",
        "fill(1)",
        "inf",
        "0x1",
        "#\n",
        "`",
        "한",
        "info(",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        if let Err(error) = parse(&text, &ALL) {
            prop_assert!(text.is_char_boundary(error.span.start) && error.span.end <= text.len());
        }
    }

    #[test]
    fn soup_of_tokens_never_panics_and_round_trips(text in soup()) {
        if parse(&text, &ALL).is_ok() {
            printed(&text);
        }
    }
}
