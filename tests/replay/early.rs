//! How early an OOM kill is announced, from what the kernel's own files said.
//!
//! The recording has the cgroup files of every container right after each scrape, 5 s apart: what our
//! own collector would have seen, in its names. `tests/live/docker.rs` measures the same on real
//! containers at 1 s.

use super::*;

/// So long before the kill a person has time to look.
const AHEAD: Duration = Duration::from_secs(30);

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
                (
                    "plimsoll_container_memory_unreclaimable_bytes",
                    stat("total_rss") + stat("total_shmem"),
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
    let mut before = Timestamp(0);
    let mut leads = Vec::new();
    // Its nine climbs take 102 s each; those of globex-forker take 49 s and do not count.
    for kill in oom_kills("trim", "acme-worker") {
        let mut of_it = warnings.iter().filter(|warning| warning.of == "acme-worker");
        let found = of_it.find(|warning| before < warning.from && warning.from < kill);
        leads.push(found.map_or(Duration::ZERO, |warning| kill.since(warning.from)));
        before = kill;
    }
    let early = leads.iter().filter(|lead| **lead >= AHEAD).count();
    assert_eq!((early, leads.len()), (9, 9), "{leads:?}");
    // The others climbed towards their limits, and stopped at 90 to 97 %. piper-cache fills its
    // limit with page cache all the time.
    let warned = ["acme-api", "acme-worker", "aviato-spiky", "globex-forker", "hooli-app"];
    assert_eq!(driver.fired("TenantMemoryExhaustionSoon", "name"), warned);
}
