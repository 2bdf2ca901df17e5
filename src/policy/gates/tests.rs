//! Doors through their life, and what answers mean.

use super::*;

fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: Timestamp(1_795_312_800_000) + monotonic }
}

fn gate(url: &str) -> Gate {
    let seconds = Duration::from_secs;
    Gate {
        name: "login".to_owned(),
        url: url.to_owned(),
        host: None,
        status: 200,
        text: None,
        pattern: None,
        interval: seconds(30),
        interval_after_action: seconds(5),
        timeout: seconds(5),
        failures: 2,
        tenants: Vec::new(),
        roles: Vec::new(),
    }
}

fn place(tenant: &str, role: &str) -> Place {
    Place {
        tenant: tenant.to_owned(),
        service: format!("{tenant}/{role}"),
        name: format!("{tenant}-{role}"),
        role: role.to_owned(),
        plan: "free".to_owned(),
    }
}

fn page(status: u16, body: &str) -> Result<Page, Miss> {
    Ok(Page { status, body: body.as_bytes().to_vec(), is_whole: true })
}

#[test]
fn what_an_answer_means() {
    let plain = gate("http://x/");
    let text = Gate { text: Some("Login".to_owned()), ..plain.clone() };
    let pattern = Pattern::unanchored("pong$").expect("good");
    let pattern = Gate { pattern: Some(pattern), ..plain.clone() };
    let moved = Gate { status: 301, ..plain.clone() };
    let shell = "<!doctype html><html><head><title>ERP</title></head><body> &nbsp; <!-- x --></body></html>";
    let header =
        "<html><head><title>x</title></head><body><header>Acme</header><p>Hi</p></body></html>";
    let cut = Ok(Page { status: 200, body: b"long".to_vec(), is_whole: false });
    for (gate, answer, passes, value) in [
        (&plain, page(200, "hello"), true, "200"),
        (&plain, page(500, "hello"), false, "500"),
        (&plain, page(302, ""), false, "302"),
        (&plain, page(200, ""), false, "200, a blank page"),
        (&plain, page(200, " \r\n\u{feff} "), false, "200, a blank page"),
        (&plain, page(200, shell), false, "200, a blank page"),
        (&plain, page(200, "<html><body"), false, "200, a blank page"),
        (&plain, page(200, "\u{200b}\u{2060}"), false, "200, a blank page"),
        (
            &plain,
            page(200, "<p>\u{200b}\u{200d} &#8203;&ZeroWidthSpace;</p>"),
            false,
            "200, a blank page",
        ),
        (&plain, page(200, "<p>\u{200b}a</p>"), true, "200"),
        (&plain, page(200, "<html><body><div id=root></div><script src=a></script>"), true, "200"),
        (&plain, page(200, "<html><body><h1>Hi</h1>"), true, "200"),
        (&plain, page(200, "{}"), true, "200"),
        (&plain, page(200, header), true, "200"),
        (
            &plain,
            page(200, "<html><head lang=en><title>x</title></head><header></header>"),
            false,
            "200, a blank page",
        ),
        (&text, page(200, "<p>Login</p>"), true, "200"),
        (&text, page(200, "<p>Oops</p>"), false, "200 without `Login`"),
        (&text, page(200, ""), false, "200, a blank page"),
        (&text, cut, false, "200 without `Login` in its beginning"),
        (&pattern, page(200, "ping pong"), true, "200"),
        (&pattern, page(200, "pong ping"), false, "200 without `pong$`"),
        (&moved, page(301, ""), true, "301"),
        (&plain, Err(Miss::Timeout), false, "no answer within 5s"),
        (&plain, Err(Miss::Unreachable("refused".to_owned())), false, "refused"),
    ] {
        let said = format!("{answer:?}");
        assert_eq!(judge(gate, answer), Ok((passes, value.to_owned())), "{said}");
    }
    assert!(judge(&plain, Err(Miss::Unaskable("no file".to_owned()))).is_err());
}

/// The addresses that are asked for, whatever the time.
fn addresses(gate: Gate, places: &[Place]) -> Vec<String> {
    let mut gates = Gates::default();
    gates.configure(&[gate]);
    gates.show(at(0), places);
    gates.due(at(60), "web-7", &BTreeSet::new()).into_iter().map(|probe| probe.url).collect()
}

#[test]
fn each_gate_is_asked_where_it_says() {
    let host = [place("acme", "app"), place("acme", "db"), place("b/../?#@c", "app")];
    let of = |url: &str| addresses(gate(url), &host);
    assert_eq!(of("http://x/"), ["http://x/"]);
    assert_eq!(of("http://{tenant}.x/"), ["http://acme.x/", "http://b%2F..%2F%3F%23%40c.x/"]);
    assert_eq!(of("http://{name}/")[0], "http://acme-app/", "a database is not asked");
    assert_eq!(of("http://{name}/").len(), 2);
    assert_eq!(of("http://{host}/{plan}/{service}")[0], "http://web-7/free/acme%2Fapp");
    let named = Gate { tenants: vec!["gone".to_owned()], ..gate("http://{tenant}.x/") };
    assert_eq!(addresses(named, &host), ["http://gone.x/"], "also without a container");
    let roles = Gate { roles: vec!["db".to_owned()], ..gate("http://{name}/") };
    assert_eq!(addresses(roles, &host), ["http://acme-db/"]);
    assert_eq!(unknown_placeholder("http://{tenant}/{x}"), Some("x".to_owned()));
    assert_eq!(unknown_placeholder("http://{tenant}/"), None);
}

/// Asks once at this time and answers; what turned.
/// A way up in an address leads to somebody else's door, however it is written.
#[test]
fn a_tenant_whose_name_is_a_way_up_is_asked_nowhere() {
    let places = [place("acme", "app"), place("..", "app"), place(".", "app")];
    let url = "https://apps.example/{tenant}/login";
    assert_eq!(addresses(gate(url), &places), ["https://apps.example/acme/login"]);
    let hosted = Gate { host: Some("{tenant}.example".to_owned()), ..gate("https://127.0.0.1/") };
    assert_eq!(addresses(hosted, &places).len(), 1);
    let mut gates = Gates::default();
    gates.configure(&[gate(url)]);
    gates.show(at(0), &places);
    assert_eq!(gates.unasked(), 2, "and it is said");
    assert_eq!(addresses(gate("https://apps.example/login"), &places).len(), 1, "nobody's door");
}

fn ask(gates: &mut Gates, second: u64, answer: Result<Page, Miss>) -> Option<Turn> {
    let probe = gates.due(at(second), "", &BTreeSet::new()).pop().expect("it is due");
    gates.take((&probe.key, probe.number), answer, at(second + 1))
}

#[test]
fn a_failure_is_told_when_it_is_no_accident_and_once() {
    let mut gates = Gates::default();
    gates.configure(&[gate("http://{tenant}/")]);
    gates.show(at(0), &[place("acme", "app")]);
    assert_eq!(ask(&mut gates, 30, page(200, "hello")), None);
    assert_eq!(ask(&mut gates, 60, page(200, "")), None, "one may be lost");
    assert!(gates.fails("acme", "acme/app") && !gates.fails("other", "other/app"));
    let turn = ask(&mut gates, 90, page(502, "")).expect("the second");
    assert!(!turn.passes);
    assert_eq!((turn.previous.as_deref(), turn.current.as_str()), (Some("200"), "502"));
    assert_eq!(ask(&mut gates, 120, Err(Miss::Timeout)), None, "told once");
    // What is wrong on our side says nothing about the tenant.
    assert_eq!(ask(&mut gates, 150, Err(Miss::Unaskable("no file".to_owned()))), None);
    assert_eq!(gates.unasked(), 1);
    let (_, reading) = gates.readings().next().expect("kept");
    assert_eq!((reading.failures, reading.value.as_str()), (3, "no answer within 5s"));
    let turn = ask(&mut gates, 180, page(200, "hello")).expect("open again");
    assert!(turn.passes);
    assert_eq!(gates.unasked(), 0);
}

#[test]
fn a_tenant_whose_action_is_watched_is_asked_more_often() {
    let mut gates = Gates::default();
    gates.configure(&[gate("http://{tenant}/")]);
    gates.show(at(0), &[place("acme", "app"), place("initech", "app")]);
    let hurried = BTreeSet::from(["acme".to_owned()]);
    let mut asked: BTreeMap<String, u64> = BTreeMap::new();
    for second in 0..60 {
        for probe in gates.due(at(second), "", &hurried) {
            *asked.entry(probe.key.tenant.clone()).or_default() += 1;
            gates.take((&probe.key, probe.number), page(200, "x"), at(second));
        }
    }
    assert_eq!(asked, BTreeMap::from([("acme".to_owned(), 12), ("initech".to_owned(), 2)]));
}

#[test]
fn no_host_is_flooded_and_no_answer_is_waited_for_for_ever() {
    let mut gates = Gates::default();
    gates.configure(&[gate("http://{tenant}/")]);
    let crowd: Vec<Place> = (0..40).map(|n| place(&format!("t{n}"), "app")).collect();
    gates.show(at(0), &crowd);
    let first = gates.due(at(30), "", &BTreeSet::new());
    assert_eq!(first.len(), AT_ONCE);
    assert_eq!(gates.next_wakeup(), Some(at(30 + 5 + 10).monotonic), "nothing else can be done");
    assert!(gates.due(at(44), "", &BTreeSet::new()).is_empty());
    assert_eq!(gates.due(at(45), "", &BTreeSet::new()).len(), AT_ONCE, "lost ones make room");
    let late = &first[0];
    assert_eq!(gates.take((&late.key, late.number), page(500, ""), at(46)), None);
    let (key, number) = (GateKey::default(), 1);
    assert_eq!(gates.take((&key, number), page(500, ""), at(46)), None, "nobody asked");
    // Who left is forgotten after an hour.
    gates.show(at(50), &crowd[..1]);
    assert_eq!(gates.of("t7", "").count(), 1);
    gates.show(at(3700), &crowd[..1]);
    assert_eq!((gates.of("t7", "").count(), gates.of("t0", "").count()), (0, 1));
}

#[test]
fn doors_that_hang_keep_nobody_from_being_tried() {
    let mut gates = Gates::default();
    gates.configure(&[gate("http://{tenant}/")]);
    let names: Vec<String> = (0..9 * AT_ONCE).map(|n| format!("t{n:03}")).collect();
    let crowd: Vec<_> = names.iter().map(|name| place(name, "app")).collect();
    gates.show(at(0), &crowd);
    // None of them ever answers, and each is due again before the last has had its turn.
    let mut tried = BTreeSet::new();
    for second in (30..30 + 10 * 20).step_by(5) {
        tried.extend(gates.due(at(second), "", &BTreeSet::new()).into_iter().map(|p| p.key.tenant));
    }
    assert_eq!(tried.len(), names.len());
    let last = names.last().expect("there are some").clone();
    let hurried = BTreeSet::from([last.clone()]);
    gates.due(at(400), "", &hurried);
    let next = gates.due(at(450), "", &hurried);
    assert_eq!(next.first().map(|probe| &probe.key.tenant), Some(&last), "it is hurried");
}

#[test]
fn a_reload_keeps_what_is_known_of_gates_that_stay() {
    let other = Gate { name: "api".to_owned(), ..gate("http://{tenant}/api") };
    let mut gates = Gates::default();
    gates.configure(&[gate("http://{tenant}/"), other.clone()]);
    gates.show(at(0), &[place("acme", "app")]);
    for probe in gates.due(at(30), "", &BTreeSet::new()) {
        gates.take((&probe.key, probe.number), page(200, "x"), at(30));
    }
    assert_eq!(gates.readings().count(), 2);
    gates.configure(std::slice::from_ref(&other));
    assert_eq!(gates.readings().map(|(key, _)| key.gate.clone()).collect::<Vec<_>>(), ["api"]);
    gates.configure(&[Gate { status: 201, ..other }]);
    assert_eq!(gates.readings().count(), 0, "another question");
}
