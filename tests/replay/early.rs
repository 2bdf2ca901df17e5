//! How early an OOM kill is announced, from what the kernel's own files said.
//!
//! The recording has the cgroup files of every container right after each scrape, 5 s apart, and the collector
//! reads them; but for memory that no reclaim frees, of which the recording lacks the kernel's.
//! `tests/live/docker.rs` measures the same on real containers at 1 s.

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

#[test]
fn kills_after_a_climb_of_a_minute_are_announced_half_a_minute_ahead() {
    let (mut driver, end) = collected::driver(cast::recorded_host(100));
    driver.run(INTERVAL, end);
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
