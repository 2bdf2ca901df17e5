//! How early an OOM kill is announced, from what the kernel's own files said.
//!
//! The recording has the cgroup files of every container right after each scrape, 5 s apart: what our
//! own collector would have seen, in its names; but for memory that no reclaim frees, of which the
//! recording lacks the kernel's. `tests/live/docker.rs` measures the same on real
//! containers at 1 s.

use super::*;

/// So long before the kill a person has time to look.
const AHEAD: Duration = Duration::from_secs(30);

/// And so long before one that follows a climb of less than a minute.
const AHEAD_OF_FAST: Duration = Duration::from_secs(20);

/// How long before each kill of a container it was warned of, after the kill before: zero if it was not.
fn leads(container: &str, warnings: &[Episode]) -> Vec<Duration> {
    let mut before = Timestamp(0);
    let mut lead = |kill: Timestamp| {
        let mut of_it = warnings.iter().filter(|warning| warning.of == container);
        let found = of_it.find(|warning| before < warning.from && warning.from < kill);
        before = kill;
        found.map_or(Duration::ZERO, |warning| kill.since(warning.from))
    };
    oom_kills("trim", container).into_iter().map(&mut lead).collect()
}

/// The names of containers by the first 12 digits of their id, and when each was started.
fn started(events: &[Value]) -> BTreeMap<String, (String, Vec<Timestamp>)> {
    let mut all: BTreeMap<String, (String, Vec<Timestamp>)> = BTreeMap::new();
    for event in events.iter().filter(|event| event["Action"] == "start") {
        let id = event["Actor"]["ID"].as_str().expect("an id")[..12].to_owned();
        let name = event["Actor"]["Attributes"]["name"].as_str().expect("a name").to_owned();
        let at = Timestamp(event["timeNano"].as_i64().expect("a time") / 1_000_000);
        all.entry(id).or_insert_with(|| (name, Vec::new())).1.push(at);
    }
    all
}

/// The pages that the collector would have shown, by the time the files were read.
fn pages() -> BTreeMap<Timestamp, Vec<u8>> {
    let events = std::fs::read_to_string(data("trim/docker-events.jsonl")).expect("recorded");
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    let started = started(&events);
    let file = std::fs::File::open(data("trim/cgroup-truth.jsonl.gz")).expect("recorded");
    let mut truths = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut truths).expect("is gzip");
    let mut pages = BTreeMap::new();
    for line in truths.lines() {
        let truth: Value = serde_json::from_str(line).expect("is JSON");
        let at = Timestamp(truth["ms"].as_i64().expect("a time"));
        let mut page = String::new();
        for (id, held) in truth["c"].as_object().expect("containers") {
            let Some((name, starts)) = started.get(id) else { continue };
            let labels = format!("id=\"/docker/{id}\",name=\"{name}\"");
            let of = |value: &Value| -> f64 { value.as_str().map_or(0.0, |n| n.parse().expect(n)) };
            let stat = |key: &str| of(&held["stat"][key]);
            let limit = Some(of(&held["limit"])).filter(|limit| *limit < 1e18).unwrap_or(0.0);
            let started_at = starts.iter().rfind(|start| **start <= at).unwrap_or(&starts[0]);
            for (metric, value) in [
                (
                    "container_memory_working_set_bytes",
                    of(&held["usage"]) - stat("total_inactive_file"),
                ),
                ("container_spec_memory_limit_bytes", limit),
                ("container_start_time_seconds", (started_at.0 / 1000) as f64),
            ] {
                page += &format!("{metric}{{{labels}}} {value}\n");
            }
        }
        pages.insert(at, page.into_bytes());
    }
    pages
}

#[test]
fn kills_after_a_climb_of_a_minute_are_announced_half_a_minute_ahead() {
    let pages = pages();
    let first = *pages.keys().next().expect("a page");
    let last = *pages.keys().next_back().expect("a page");
    // The files were read some 40 ms after each slot.
    let phase = Duration::from_millis(((first.0 - 60) % 5000) as u64);
    let mut driver = Driver::new(cast::recorded_host(100), phase, first - Duration::from_secs(1));
    let script = move |at: Timestamp| {
        let (made, page) = pages.range(at..).next()?;
        (made.since(at) < Duration::from_millis(300)).then(|| page.clone())
    };
    driver.add_target("collector", "localhost", Box::new(script));
    driver.run(INTERVAL, last + Duration::from_secs(1));

    let warnings = driver.episodes("TenantMemoryExhaustionSoon", "name");
    // Its nine climbs take 102 s each.
    let early = leads("acme-worker", &warnings);
    assert!(early.len() == 9 && early.iter().all(|lead| *lead >= AHEAD), "{early:?}");
    // Its seven climbs take 49 s: too short to be told of so early, and told of.
    let late = leads("globex-forker", &warnings);
    println!("acme-worker {early:?}, globex-forker {late:?}");
    assert!(late.len() == 7 && late.iter().all(|lead| *lead >= AHEAD_OF_FAST), "{late:?}");
    // cAdvisor looked away from two of these climbs altogether.
    let by_cadvisor = replay("trim", 100).episodes("TenantMemoryExhaustionSoon", "name");
    let told = leads("globex-forker", &by_cadvisor);
    println!("by cAdvisor's samples: {told:?}");
    assert_eq!(told.iter().filter(|lead| !lead.is_zero()).count(), 5, "{told:?}");
    // The others climbed towards their limits, and stopped at 90 to 97 %. piper-cache fills its
    // limit with page cache all the time.
    let warned = ["acme-api", "acme-worker", "aviato-spiky", "globex-forker", "hooli-app"];
    assert_eq!(driver.fired("TenantMemoryExhaustionSoon", "name"), warned);
}
