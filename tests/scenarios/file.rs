//! Scenario files: what happens on a host, and what must and must not be done about it. The format
//! is described in docs/scenarios.md; every problem is told with its line and column.

use std::collections::BTreeMap;
use std::iter;
use std::path::Path;
use std::time::Duration;

use plimsoll::app::config::Config;
use plimsoll::base::parse_duration;
use plimsoll::yaml::{
    Cursor, Fields, Key, Kind, Level, Node, Position, Problem, Problems, parse, read,
};

use super::shape::Shape;

/// From when to when, since the start.
pub type Stretch = (Duration, Duration);

/// One scenario.
pub struct Scenario {
    pub title: String,
    pub lasts: Duration,
    pub interval: Duration,
    /// Top-level keys of plimsoll.yaml, as text; what is not there is [`super::host::config`]'s.
    pub config: String,
    /// Rule files beside or, with `rules_alone`, in place of the shipped ones.
    pub rules: String,
    pub rules_alone: bool,
    pub containers: BTreeMap<String, Container>,
    /// Gauges, by `name{labels}`.
    pub series: BTreeMap<String, Shape>,
    /// Rates per second of counters, by `name{labels}`.
    pub counters: BTreeMap<String, Shape>,
    pub target: Target,
    /// Targets besides, by their jobs: what anybody may write.
    pub pages: BTreeMap<String, Page>,
    /// Doors of tenants that do not answer `200` and `ok` all the time, by `tenant/gate`.
    pub doors: BTreeMap<String, Door>,
    pub control_plane: ControlPlane,
    pub alertmanager_down: Vec<Stretch>,
    pub events: Vec<(Duration, Happening)>,
    pub expect: Expect,
}

/// A container as it is at the start.
#[derive(Clone)]
pub struct Container {
    pub tenant: String,
    pub plan: String,
    pub role: String,
    pub memory_limit: Option<u64>,
    pub cpu_limit: Option<f64>,
    /// Shares of the memory limit (of a gigabyte, if there is none).
    pub working_set: Shape,
    /// The same, since the last start, once it was restarted; absent: the course goes on.
    pub after_restart: Option<Shape>,
    pub cache: Shape,
    /// Share of the quota, or cores without one.
    pub cpu: Shape,
    /// Share of periods.
    pub throttled: Shape,
    /// Share of the time a task waits for the CPU.
    pub waiting: Option<Shape>,
    /// Not there outside this time.
    pub there: Stretch,
    pub up_before: Duration,
    /// The kernel kills it when its working set reaches the limit.
    pub killed_at_limit: bool,
    /// Docker labels, written by whoever started it.
    pub labels: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Target {
    /// It does not answer.
    pub down: Vec<Stretch>,
    /// It repeats its last page, samples and their times.
    pub frozen: Vec<Stretch>,
    /// Samples carry times of their own.
    pub stamps: bool,
    /// There is none at all.
    pub absent: bool,
}

/// A page of another target than the one that measures containers.
pub struct Page {
    /// Of the target.
    pub labels: Vec<(String, String)>,
    /// Gauges, by `name{labels}`.
    pub series: BTreeMap<String, Shape>,
    /// When it does not answer.
    pub down: Vec<Stretch>,
}

/// What somebody finds who tries a gate of `gates`.
pub struct Door {
    /// Nobody answers.
    pub shut: Vec<Stretch>,
    /// A page without anything on it.
    pub blank: Vec<Stretch>,
    /// What stands on the page otherwise.
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Accepts,
    Declines,
    Refuses,
}

pub struct ControlPlane {
    pub answers: Answers,
    /// Restarts are carried out so long after they were accepted; `None`: never.
    pub executes: Option<Duration>,
    pub down: Vec<Stretch>,
    /// It does what is asked, and its answer is lost.
    pub lost: Vec<Stretch>,
}

#[derive(Clone)]
pub enum Happening {
    /// Somebody restarts a container.
    Restart(String),
    /// The kernel kills in it; its first process survives if `child`.
    Oom {
        name: String,
        child: bool,
    },
    /// A new container of the same name.
    Recreate(String),
    /// A new container of the same name, of another image.
    Deploy {
        name: String,
        image: String,
    },
    /// Docker says that it was stopped or that it died.
    Docker {
        name: String,
        what: &'static str,
        exit_code: i64,
    },
    /// Its limit is changed.
    Limit {
        name: String,
        bytes: u64,
    },
    Kill(bool),
    Busy(Vec<String>),
    Clock(i64),
    Crash(Duration),
    Disk(bool),
    /// Another configuration: text in the place of the scenario's own.
    Reload(String),
    /// The document of plans or of tenants is read: its text, or why it cannot be.
    Document {
        of_tenants: bool,
        text: Result<String, String>,
    },
}

/// How often something may happen, and when.
#[derive(Clone, Debug)]
pub struct Want {
    /// Where it stands, for messages.
    pub line: usize,
    /// Alert, action, hold reason, event type.
    pub what: String,
    /// Labels, or subject, that must be there.
    pub of: BTreeMap<String, String>,
    pub times: (usize, usize),
    pub at: Option<(Duration, Duration)>,
    pub until: Option<(Duration, Duration)>,
    /// It is what happens today, and a careful human would not have done it.
    pub wrong: bool,
}

#[derive(Default)]
pub struct Expect {
    pub alerts: Vec<Want>,
    pub actions: Vec<Want>,
    pub holds: Vec<Want>,
    pub events: Vec<Want>,
    pub outcomes: Vec<Want>,
    pub heard: Vec<Want>,
    /// Alerts that nobody mentioned are a failure.
    pub no_other_alerts: bool,
}

/// Reads one file.
pub fn load(name: &str, text: &str) -> Result<Scenario, String> {
    let mut problems = Problems::default();
    let node = parse(name, text, &mut problems);
    let scenario = node.as_ref().and_then(|node| scenario(Cursor::root(name, node, &mut problems)));
    if let (Some(node), Some(scenario)) = (&node, &scenario) {
        let events = node.get("events").map_or(&[][..], Node::items);
        let reloads = events.iter().filter_map(|event| event.get("reload")).map(Some);
        for written in iter::once(node.get("config")).chain(reloads) {
            check_configuration((name, node), scenario, written, &mut problems);
        }
    }
    match scenario {
        Some(scenario) if !problems.has_errors() => Ok(scenario),
        _ => Err(problems.to_string()),
    }
}

/// What is wrong in a configuration, told where the scenario has it; a page is one of a job.
fn check_configuration(
    (name, scenario_node): (&str, &Node),
    scenario: &Scenario,
    written: Option<&Node>,
    problems: &mut Problems,
) {
    let text = written.and_then(Node::text).unwrap_or_default();
    let pages = match scenario_node.get("pages").map(|pages| &pages.kind) {
        Some(Kind::Map(pages)) => &pages[..],
        _ => &[],
    };
    let whole = super::host::config(scenario, text);
    let mut told = Problems::default();
    let config = Config::read("plimsoll.yaml", &whole, Path::new("/"), &mut told);
    for problem in told.iter().filter(|problem| problem.level == Level::Error) {
        let lines = whole.split_inclusive('\n');
        let before: usize = lines.take(problem.line - 1).map(str::len).sum();
        let line = whole[before..].chars().take(problem.column - 1);
        let offset = before + line.map(char::len_utf8).sum::<usize>();
        // What it does not say is made of the rest of the scenario.
        let inside = (offset + text.len()).checked_sub(whole.len());
        let written = written.unwrap_or(scenario_node);
        let Position { line, column, .. } =
            inside.map_or(written.at, |offset| written.position_of(offset));
        problems.push(Problem { file: name.to_owned(), line, column, ..problem.clone() });
    }
    let jobs = config.map(|config| config.jobs).unwrap_or_default();
    for (page, _) in pages {
        if !jobs.iter().any(|job| job.job_name == page.text) {
            let why = format!("pages.{}: the configuration has no such job", page.text);
            problems.push(Problem::in_file(name, page.at, why));
        }
    }
}

fn scenario(at: Cursor<'_, '_>) -> Option<Scenario> {
    let mut fields = Fields::open(at)?;
    let title = fields.required("scenario", read::string);
    let lasts = fields.required("lasts", read::positive_duration);
    let scenario = Scenario {
        title: title.unwrap_or_default(),
        lasts: lasts.unwrap_or_default(),
        interval: fields.or("interval", Duration::from_secs(30), read::positive_duration),
        config: fields.or("config", String::new(), read::string),
        rules: fields.or("rules", String::new(), read::string),
        rules_alone: fields.or("rules_alone", false, read::boolean),
        containers: map(&mut fields, "containers", container),
        series: map(&mut fields, "series", |_, at| shape(at)),
        counters: map(&mut fields, "counters", |_, at| shape(at)),
        target: fields.optional("target", target).unwrap_or_default(),
        pages: map(&mut fields, "pages", |_, at| page(at)),
        doors: map(&mut fields, "doors", |_, at| door(at)),
        control_plane: fields.optional("control_plane", control_plane).unwrap_or(ControlPlane {
            answers: Answers::Accepts,
            executes: Some(Duration::from_secs(10)),
            down: Vec::new(),
            lost: Vec::new(),
        }),
        alertmanager_down: fields
            .optional("alertmanager", |at| {
                let mut fields = Fields::open(at)?;
                let down = stretches(&mut fields, "down");
                fields.finish();
                Some(down)
            })
            .unwrap_or_default(),
        events: fields.list("events", happening),
        expect: fields.required("expect", expect).unwrap_or_default(),
    };
    fields.finish();
    Some(scenario)
}

fn map<T>(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    mut read: impl FnMut(&str, Cursor<'_, '_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let entries = fields.optional(key, |mut at| {
        at.each_entry(|key: &Key, at| Some((key.text.clone(), read(&key.text, at)?)))
    });
    entries.unwrap_or_default().into_iter().collect()
}

/// A number, a segment, or a list of segments.
fn shape(mut at: Cursor<'_, '_>) -> Option<Shape> {
    let segments = match at.node.kind {
        Kind::Seq(_) => read::strings(at.again())?,
        _ => vec![read::string(at.again())?],
    };
    Shape::parse(&segments).map_err(|why| at.error(why)).ok()
}

/// `10m..20m`, since the start.
fn stretch(mut at: Cursor<'_, '_>) -> Option<Stretch> {
    let text = read::string(at.again())?;
    let two = text.split_once("..").and_then(|(from, to)| {
        let to = if to.is_empty() { Ok(Duration::MAX) } else { parse_duration(to) };
        Some((parse_duration(from).ok()?, to.ok()?))
    });
    if two.is_none() {
        at.error_hint(format!("`{text}` is not a time"), "write `10m..20m`, or `10m..`");
    }
    two
}

fn stretches(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<Stretch> {
    fields.list(key, stretch)
}

fn container(name: &str, at: Cursor<'_, '_>) -> Option<Container> {
    let mut fields = Fields::open(at)?;
    // A name like acme-app belongs to acme and is its app, unless it is said otherwise.
    let (tenant, role) = name.split_once('-').unwrap_or(("", ""));
    let container = Container {
        tenant: fields.or("tenant", tenant.to_owned(), read::string),
        plan: fields.or("plan", "pro".to_owned(), read::string),
        role: fields.or("role", role.to_owned(), read::string),
        memory_limit: fields.optional("memory_limit", read::bytes),
        cpu_limit: fields.optional("cpu_limit", read::float),
        working_set: fields.or("working_set", Shape::level(0.3), shape),
        after_restart: fields.optional("after_restart", shape),
        cache: fields.or("cache", Shape::level(0.05), shape),
        cpu: fields.or("cpu", Shape::level(0.2), shape),
        throttled: fields.or("throttled", Shape::level(0.0), shape),
        waiting: fields.optional("waiting", shape),
        there: fields.or("there", (Duration::ZERO, Duration::MAX), stretch),
        up_before: fields.or("up_before", Duration::from_secs(259_200), read::duration),
        killed_at_limit: fields.or("killed_at_limit", false, read::boolean),
        labels: map(&mut fields, "labels", |_, at| read::string(at)).into_iter().collect(),
    };
    fields.finish();
    Some(container)
}

fn target(at: Cursor<'_, '_>) -> Option<Target> {
    let mut fields = Fields::open(at)?;
    let target = Target {
        down: stretches(&mut fields, "down"),
        frozen: stretches(&mut fields, "frozen"),
        stamps: fields.or("stamps", false, read::boolean),
        absent: fields.or("absent", false, read::boolean),
    };
    fields.finish();
    Some(target)
}

fn page(at: Cursor<'_, '_>) -> Option<Page> {
    let mut fields = Fields::open(at)?;
    let page = Page {
        labels: map(&mut fields, "labels", |_, at| read::string(at)).into_iter().collect(),
        series: map(&mut fields, "series", |_, at| shape(at)),
        down: stretches(&mut fields, "down"),
    };
    fields.finish();
    Some(page)
}

fn door(at: Cursor<'_, '_>) -> Option<Door> {
    let mut fields = Fields::open(at)?;
    let door = Door {
        shut: stretches(&mut fields, "shut"),
        blank: stretches(&mut fields, "blank"),
        text: fields.or("text", "ok".to_owned(), read::string),
    };
    fields.finish();
    Some(door)
}

fn control_plane(at: Cursor<'_, '_>) -> Option<ControlPlane> {
    let mut fields = Fields::open(at)?;
    let words = [
        ("accepts", Answers::Accepts),
        ("declines", Answers::Declines),
        ("refuses", Answers::Refuses),
    ];
    let executes = fields.or("executes", true, read::boolean);
    let after = fields.or("after", Duration::from_secs(10), read::duration);
    let control_plane = ControlPlane {
        answers: fields.or("answers", Answers::Accepts, |at| read::one_of(at, &words)),
        executes: executes.then_some(after),
        down: stretches(&mut fields, "down"),
        lost: stretches(&mut fields, "lost"),
    };
    fields.finish();
    Some(control_plane)
}

/// What Docker may tell of a container.
const DOCKER_WORDS: [&str; 8] =
    ["create", "start", "oom", "die", "kill", "stop", "restart", "destroy"];

fn happening(at: Cursor<'_, '_>) -> Option<(Duration, Happening)> {
    let mut fields = Fields::open(at)?;
    let when = fields.required("at", read::duration);
    let name = fields.optional("container", read::string).unwrap_or_default();
    let exit_code = fields.or("exit_code", 0, read::integer);
    let words = DOCKER_WORDS.map(|word| (word, word));
    let docker = fields.optional("docker", |at| read::one_of(at, &words));
    let mut found: Vec<Happening> = Vec::new();
    let mut take = |what: Option<Happening>| found.extend(what);
    take(fields.optional("restart", read::string).map(Happening::Restart));
    take(fields.optional("recreate", read::string).map(Happening::Recreate));
    take(fields.optional("oom", read::string).map(|name| Happening::Oom { name, child: false }));
    take(
        fields.optional("oom_child", read::string).map(|name| Happening::Oom { name, child: true }),
    );
    take(
        fields
            .optional("memory_limit", read::bytes)
            .map(|bytes| Happening::Limit { name: name.clone(), bytes }),
    );
    let deploy = |image| Happening::Deploy { name: name.clone(), image };
    take(fields.optional("image", read::string).map(deploy));
    take(docker.map(|what| Happening::Docker { name: name.clone(), what, exit_code }));
    take(fields.optional("kill_switch", read::boolean).map(Happening::Kill));
    take(fields.optional("busy", read::strings).map(Happening::Busy));
    take(fields.optional("clock_seconds", read::integer).map(Happening::Clock));
    take(fields.optional("crash", read::duration).map(Happening::Crash));
    take(fields.optional("disk_works", read::boolean).map(Happening::Disk));
    take(fields.optional("reload", read::string).map(Happening::Reload));
    for (key, of_tenants) in [("plans", false), ("tenants", true)] {
        let read = |text| Happening::Document { of_tenants, text: Ok(text) };
        take(fields.optional(key, read::string).map(read));
    }
    let which = [("plans", false), ("tenants", true)];
    let away =
        |of_tenants| Happening::Document { of_tenants, text: Err("connection refused".to_owned()) };
    take(fields.optional("unreadable", |at| read::one_of(at, &which)).map(away));
    if found.len() != 1 {
        fields.cursor().error("an event says exactly one thing that happens");
    }
    fields.finish();
    when.zip(found.pop())
}

fn expect(at: Cursor<'_, '_>) -> Option<Expect> {
    let mut fields = Fields::open(at)?;
    let expect = Expect {
        alerts: fields.list("alerts", |at| want(at, "alert")),
        actions: fields.list("actions", |at| want(at, "action")),
        holds: fields.list("holds", |at| want(at, "reason")),
        events: fields.list("events", |at| want(at, "type")),
        outcomes: fields.list("outcomes", |at| want(at, "outcome")),
        heard: fields.list("heard", |at| want(at, "alert")),
        no_other_alerts: fields.or("no_other_alerts", false, read::boolean),
    };
    fields.finish();
    Some(expect)
}

fn want(at: Cursor<'_, '_>, key: &'static str) -> Option<Want> {
    let line = at.node.at.line;
    let mut fields = Fields::open(at)?;
    let what = fields.required(key, read::string);
    let within = fields.or("within", Duration::from_secs(60), read::duration);
    let around = |at: Option<Duration>| at.map(|at| (at.saturating_sub(within), at + within));
    let want = Want {
        line,
        what: what.unwrap_or_default(),
        times: fields.or("times", (1, usize::MAX), times),
        at: around(fields.optional("at", read::duration)),
        until: around(fields.optional("until", read::duration)),
        wrong: fields.or("wrong", false, read::boolean),
        of: fields.optional("of", read::labels).unwrap_or_default().into_iter().collect(),
    };
    fields.finish();
    Some(want)
}

/// `2`, or `1..3`.
fn times(mut at: Cursor<'_, '_>) -> Option<(usize, usize)> {
    let text = read::string(at.again())?;
    let number = |text: &str| text.parse::<usize>().ok();
    let found = match text.split_once("..") {
        Some((low, high)) => number(low).zip(number(high)),
        None => number(&text).map(|count| (count, count)),
    };
    if found.is_none() {
        at.error_hint(format!("`{text}` is not a count"), "write `2` or `1..3`");
    }
    found
}

#[test]
fn mistakes_are_told_with_line_and_column() {
    let text = "scenario: x\nlasts: 1h\ncontainers:\n  a-app: {working_sett: 1}\nexpect: {}\n";
    let error = load("a.yml", text).err().expect("is wrong");
    assert!(
        error.contains("a.yml:4:11") && error.contains("did you mean `working_set`"),
        "{error}"
    );
    let text = "scenario: x\nlasts: 1h\nevents: [{at: 5m}]\nexpect: {}\n";
    let error = load("a.yml", text).err().expect("is wrong");
    assert!(error.contains("exactly one thing"), "{error}");
}

#[test]
fn a_mistake_in_a_configuration_is_told_where_the_scenario_has_it() {
    for (text, want) in [
        (
            "config: |\n  host: web-8\n  actions: {nuge: act}\n",
            "a.yml:5:13: actions: unknown key `nuge`",
        ),
        ("events:\n  - {at: 40m, reload: 'mode: acts'}\n", "a.yml:4:30: mode: `acts`"),
        (
            "events:\n  - at: 40m\n    reload: |\n      # Two of them.\n      mode: act\n      mde: act\n",
            "a.yml:8:7: unknown key `mde`",
        ),
        (
            "pages: {tenant: {series: {x: 1}}}\nconfig: 'scrape_configs: [{job_name: tennant}]'\n",
            "a.yml:3:9: pages.tenant: the configuration has no such job",
        ),
        (
            "pages: {tenant: {series: {x: 1}}}\n",
            "a.yml:3:9: pages.tenant: the configuration has no such job",
        ),
    ] {
        let text = format!("scenario: x\nlasts: 1h\n{text}expect: {{}}\n");
        let error = load("a.yml", &text).err().expect(&text);
        assert!(error.lines().next().is_some_and(|line| line.starts_with(want)), "{error}");
    }
}
