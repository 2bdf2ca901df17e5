//! The texts of alerts: rendered anew when something they say has changed, and only then.

use super::*;

const RULES: &str = "groups: [{name: g, rules: [\
    {alert: A, expr: x, labels: {size: '{{ $value }}'}, \
     annotations: {y: '{{ with query \"y\" }}{{ . | first | value }}{{ else }}none{{ end }}'}}, \
    {alert: Clock, expr: x, annotations: {at: '{{ now }}'}}, \
    {alert: Bad, expr: x, annotations: {bad: '{{ query \"y +\" | len }}'}}]}]";

/// The annotations of the one alert that each rule has firing.
fn said(world: &World) -> Vec<Labels> {
    let view = world.engine.view(at(world.second, 0));
    let rules = view.groups[0].rules.iter();
    let alerts = rules.map(|rule| {
        let alerts = &rule.alerting.as_ref().expect("an alert").alerts;
        let mut firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing);
        let alert = firing.next().expect("it fires");
        assert!(firing.next().is_none(), "only one fires");
        alert.annotations.clone()
    });
    alerts.collect()
}

#[test]
fn texts_are_kept_while_they_would_read_the_same_and_no_longer() {
    let mut world = World::new(RULES, acting());
    // The page, what the text that asks says then, and whether it stays the same piece of memory.
    let script = [
        ("x 1\ny 5\n", "5", false),
        ("x 1\ny 5\n", "5", true),
        ("x 1\ny 5\nz 1\n", "5", true),
        ("x 1\ny 6\n", "6", false),
        ("x 1\ny 6\n", "6", true),
        ("x 2\ny 6\n", "6", false),
        ("x 2\ny NaN\n", "NaN", false),
        ("x 2\ny NaN\n", "NaN", true),
        ("x 2\n", "none", false),
        ("x 2\n", "none", true),
    ];
    let mut before: Option<Vec<Labels>> = None;
    for (n, (page, text, is_kept)) in script.into_iter().enumerate() {
        world.slot(Some(page));
        let now = said(&world);
        assert_eq!(now[0].get("y"), Some(text), "round {n}");
        let bad = now[2].get("bad").expect("it says so");
        assert!(bad.starts_with("<error expanding template: "), "{bad}");
        if let Some(before) = before.replace(now.clone()) {
            assert_eq!(before[0].address() == now[0].address(), is_kept, "round {n}");
            assert_ne!(before[1], now[1], "round {n}: a text that reads the clock goes on");
        }
    }
}

/// Else the text would be empty where Prometheus has a number.
#[test]
fn what_only_a_text_asks_is_kept() {
    let setup = setup(RULES, acting());
    let selection = setup.selection();
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.selection = selection;
    for _ in 0..2 {
        world.slot(Some("x 1\ny 5\nz 1\n"));
    }
    assert_eq!(said(&world)[0].get("y"), Some("5"));
    let window = &world.engine.window;
    assert!(window.holds("y") && !window.holds("z"));
}

/// To Prometheus, too, an annotation that says nothing is one.
#[test]
fn an_empty_annotation_is_there() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: x, labels: {b: '{{ $labels.none }}'}, \
                 annotations: {a: '{{ $labels.none }}', c: d}}]}]";
    let mut world = World::new(rules, acting());
    world.slot(Some("x 1\n"));
    let said = said(&world);
    assert_eq!(said[0].iter().collect::<Vec<_>>(), [("a", ""), ("c", "d")]);
    let view = world.engine.view(at(world.second, 0));
    let rule = view.groups[0].rules[0].alerting.as_ref().expect("an alert");
    assert_eq!(rule.alerts[0].labels.get("b"), None);
}

#[test]
fn what_no_alert_needs_is_forgotten() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: x, annotations: \
                 {y: '{{ with printf \"y{i=%q}\" $labels.i | query }}{{ . | len }}{{ end }}'}}]}]";
    let mut world = World::new(rules, acting());
    for n in 0..150 {
        world.slot(Some(&format!("x{{i=\"{n}\"}} 1\n")));
        let texts = &world.engine.groups[0].rules[0].texts;
        let (kept, queries) = texts.size();
        assert!(kept <= 40 && queries <= 80, "after {n}: {kept} texts, {queries} queries");
    }
}

/// What is logged, and what the API shows of a rule, says where in its file.
#[test]
fn a_rule_that_fails_says_where() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: 'sum(label_replace(foo, \"a\", \"\", \"b\", \"(\"))'}]}]";
    let mut world = World::recovered(setup(rules, acting()), Vec::new(), 0);
    world.slot(Some("foo 2\n"));
    let group = world.engine.groups[0].view();
    let want = "invalid regular expression in label_replace(): ( (r.yml:1:84); patterns are RE2; ";
    let said = group.rules[0].last_error.clone().expect("it fails");
    assert!(said.starts_with(want), "{said}");
    assert_eq!(group.rules[0].recent.last().and_then(|last| last.error.clone()), Some(said));
}
