//! The simulated Docker host: containers whose numbers are functions of time, as cAdvisor and M2
//! would tell them.
//!
//! Pure: every question brings the time it is asked at, and the only thing that can be done to the
//! host is to restart a container. Families, labels and explicit timestamps are those of cAdvisor
//! v0.60, so that the program reads here what it will read in earnest.

use std::fmt::Write;
use std::time::Duration;

use crate::base::{Labels, Timestamp, fingerprint};

const GIB: f64 = (1u64 << 30) as f64;
/// Containers run for three days when the story begins.
const UP_BEFORE: Duration = Duration::from_secs(3 * 24 * 3600);
/// CFS accounts in periods of 100 ms.
const PERIODS_PER_SECOND: f64 = 10.0;
/// M2 makes so many documents in twenty minutes, of so many bytes each: about the example of its
/// own tuning guide.
const DOCUMENTS_PER_20M: f64 = 38_350.0;
const DOCUMENT_BYTES: f64 = 9946.6;

/// The container that leaks.
pub const LEAKING: &str = "acme-web";

/// A value over time: points `(seconds, value)`, straight lines between them.
type Course = &'static [(f64, f64)];

/// Slow growth; then an import runs and it climbs for more than the minute the early warning looks
/// back, until only the limit is left.
const LEAK: Course = &[(0.0, 0.34), (570.0, 0.48), (645.0, 0.93), (780.0, 0.975)];
/// The same program, restarted.
const FRESH: Course = &[(0.0, 0.08), (30.0, 0.19), (600.0, 0.21)];

/// One container. Memory in shares of its limit, CPU in shares of its quota.
struct Container {
    name: &'static str,
    image: &'static str,
    limit_bytes: f64,
    quota_cores: f64,
    working_set: Course,
    page_cache: f64,
    cpu_used: f64,
    throttled_periods: f64,
    started_at: Timestamp,
    restarted: bool,
}

/// The host.
pub struct World {
    began: Timestamp,
    containers: Vec<Container>,
}

/// How full a container is, in shares of its limit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fill {
    /// What it cannot give back.
    pub working_set: f64,
    /// That and page cache.
    pub usage: f64,
}

impl World {
    /// The host as it is when the story begins.
    pub fn new(began: Timestamp) -> World {
        let container = |name, image, limit_gib: f64, quota_cores| Container {
            name,
            image,
            limit_bytes: limit_gib * GIB,
            quota_cores,
            working_set: &[(0.0, 0.35)],
            page_cache: 0.08,
            cpu_used: 0.3,
            throttled_periods: 0.0,
            started_at: began - UP_BEFORE,
            restarted: false,
        };
        let containers = vec![
            Container {
                working_set: LEAK,
                page_cache: 0.01,
                ..container(LEAKING, "acme/shop:5.2", 2.0, 1.5)
            },
            Container {
                cpu_used: 0.96,
                throttled_periods: 0.62,
                ..container("initech-api", "initech/api:1.9", 1.0, 0.5)
            },
            Container {
                working_set: &[(0.0, 0.24)],
                page_cache: 0.73,
                ..container("piper-cache", "redis:8", 2.0, 1.5)
            },
            container("hooli-web", "hooli/search:11", 4.0, 4.0),
        ];
        World { began, containers }
    }

    /// Restarts a container: the same one, from zero. Returns whether there is one of that name.
    pub fn restart(&mut self, name: &str, now: Timestamp) -> bool {
        let found = self.containers.iter_mut().find(|container| container.name == name);
        found.map(|container| (container.started_at, container.restarted) = (now, true)).is_some()
    }

    /// How full a container is; `None` if there is none of that name.
    pub fn fill(&self, name: &str, now: Timestamp) -> Option<Fill> {
        let container = self.containers.iter().find(|container| container.name == name)?;
        Some(container.fill(self.began, now))
    }

    /// What cAdvisor would answer.
    pub fn cadvisor(&self, now: Timestamp) -> String {
        let mut text = String::new();
        for family in &FAMILIES {
            let Family { name, kind, stamp, value } = family;
            let stamp = if *stamp { format!(" {}", now.as_millis()) } else { String::new() };
            writeln!(text, "# HELP {name} As cAdvisor v0.60 exports it.\n# TYPE {name} {kind}")
                .expect("a string takes everything");
            for container in &self.containers {
                let labels = container.labels(*name == "container_cpu_usage_seconds_total");
                let value = value(container, self.began, now);
                writeln!(text, "{name}{{{labels}}} {value}{stamp}")
                    .expect("a string takes everything");
            }
        }
        text.push_str("# TYPE container_scrape_error gauge\ncontainer_scrape_error 0\n");
        text.push_str("# TYPE machine_cpu_cores gauge\nmachine_cpu_cores 8\n");
        text.push_str(&format!(
            "# TYPE machine_memory_bytes gauge\nmachine_memory_bytes {}\n",
            16.0 * GIB
        ));
        text
    }

    /// What M2 would answer. It has been up for a while, so its cache is warm.
    pub fn m2(&self, now: Timestamp) -> String {
        let up = now.since(self.began - UP_BEFORE).as_secs_f64();
        let documents = (up * DOCUMENTS_PER_20M / 1200.0).floor();
        let bytes = (documents * DOCUMENT_BYTES).floor();
        let requests = (up * 200.0).floor();
        let (hits, misses) = ((requests * 0.84).floor(), documents);
        let vhost = "vhost=\"www.globex.example\"";
        format!(
            "# TYPE m2_sys_uptime gauge\nm2_sys_uptime {up:.0}\n\
             # TYPE m2_pagefx_complete_total counter\nm2_pagefx_complete_total{{{vhost}}} {documents}\n\
             # TYPE m2_pagedesk_dest_size_bytes counter\nm2_pagedesk_dest_size_bytes{{{vhost}}} {bytes}\n\
             # TYPE m2_http_frontend_requests_total counter\n\
             m2_http_frontend_requests_total{{{vhost},src=\"in\"}} {requests}\n\
             # TYPE m2_cache_tcp_hit counter\nm2_cache_tcp_hit{{{vhost}}} {hits}\n\
             # TYPE m2_cache_tcp_miss counter\nm2_cache_tcp_miss{{{vhost}}} {misses}\n"
        )
    }
}

impl Container {
    fn fill(&self, began: Timestamp, now: Timestamp) -> Fill {
        let working_set = if self.restarted {
            at(FRESH, now.since(self.started_at))
        } else {
            at(self.working_set, now.since(began))
        };
        Fill { working_set, usage: (working_set + self.page_cache).min(1.0) }
    }

    fn up(&self, now: Timestamp) -> f64 {
        now.since(self.started_at).as_secs_f64()
    }

    /// cAdvisor's labels; the family of CPU time has one more.
    fn labels(&self, cpu: bool) -> String {
        let id = fingerprint(&Labels::from_pairs([("name", self.name)]));
        let cpu = if cpu { "cpu=\"total\"," } else { "" };
        format!(
            "container_label_com_docker_compose_project=\"web-7\",{cpu}id=\"/docker/{}\",image=\"{}\",name=\"{}\"",
            format!("{id:016x}").repeat(4),
            self.image,
            self.name
        )
    }
}

/// The value of a course after some time; its ends hold for ever.
fn at(course: Course, time: Duration) -> f64 {
    let time = time.as_secs_f64();
    let later = course.iter().position(|(when, _)| *when > time);
    match later {
        Some(0) => course[0].1,
        Some(next) => {
            let ((t0, v0), (t1, v1)) = (course[next - 1], course[next]);
            v0 + (v1 - v0) * (time - t0) / (t1 - t0)
        }
        None => course.last().map_or(0.0, |(_, value)| *value),
    }
}

/// One metric of every container.
struct Family {
    name: &'static str,
    kind: &'static str,
    /// Whether samples carry the time they were taken at.
    stamp: bool,
    value: fn(&Container, Timestamp, Timestamp) -> f64,
}

/// What the rules read, and two families they do not.
const FAMILIES: [Family; 16] = [
    stamped("container_last_seen", "gauge", |_, _, now| now.as_seconds().floor()),
    stamped("container_memory_usage_bytes", "gauge", |c, began, now| {
        (c.fill(began, now).usage * c.limit_bytes).floor()
    }),
    stamped("container_memory_working_set_bytes", "gauge", |c, began, now| {
        (c.fill(began, now).working_set * c.limit_bytes).floor()
    }),
    stamped("container_memory_cache", "gauge", |c, _, _| (c.page_cache * c.limit_bytes).floor()),
    stamped("container_oom_events_total", "counter", |_, _, _| 0.0),
    stamped("container_cpu_usage_seconds_total", "counter", |c, _, now| {
        c.up(now) * c.quota_cores * c.cpu_used
    }),
    stamped("container_cpu_cfs_periods_total", "counter", |c, _, now| {
        (c.up(now) * PERIODS_PER_SECOND).floor()
    }),
    stamped("container_cpu_cfs_throttled_periods_total", "counter", |c, _, now| {
        (c.up(now) * PERIODS_PER_SECOND * c.throttled_periods).floor()
    }),
    stamped("container_cpu_cfs_throttled_seconds_total", "counter", |c, _, now| {
        c.up(now) * c.throttled_periods * 0.8
    }),
    stamped("container_fs_usage_bytes", "gauge", |_, _, _| 3.1e8),
    fixed("container_spec_memory_limit_bytes", |c, _, _| c.limit_bytes),
    fixed("container_spec_memory_swap_limit_bytes", |_, _, _| 0.0),
    fixed("container_spec_memory_reservation_limit_bytes", |_, _, _| 0.0),
    fixed("container_spec_cpu_quota", |c, _, _| c.quota_cores * 100_000.0),
    fixed("container_spec_cpu_period", |_, _, _| 100_000.0),
    fixed("container_start_time_seconds", |c, _, _| c.started_at.as_seconds().floor()),
];

const fn stamped(
    name: &'static str,
    kind: &'static str,
    value: fn(&Container, Timestamp, Timestamp) -> f64,
) -> Family {
    Family { name, kind, stamp: true, value }
}

const fn fixed(name: &'static str, value: fn(&Container, Timestamp, Timestamp) -> f64) -> Family {
    Family { name, kind: "gauge", stamp: false, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Timestamp = Timestamp(1_800_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        BEGAN + Duration::from_secs(seconds)
    }

    fn sample(text: &str, name: &str, container: &str) -> f64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{")) && line.contains(container))
            .unwrap_or_else(|| panic!("{name} of {container}"));
        let value = line.rsplit("} ").next().and_then(|rest| rest.split(' ').next());
        value.and_then(|value| value.parse().ok()).expect("a number")
    }

    #[test]
    fn a_course_is_straight_between_its_points_and_flat_beyond() {
        let course: Course = &[(10.0, 1.0), (20.0, 3.0)];
        for (time, want) in [(0, 1.0), (10, 1.0), (15, 2.0), (20, 3.0), (99, 3.0)] {
            assert_eq!(at(course, Duration::from_secs(time)), want, "{time}");
        }
    }

    #[test]
    fn a_restart_gives_memory_back_and_counts_from_zero() {
        let mut world = World::new(BEGAN);
        let before = world.cadvisor(after(700));
        assert!(world.fill(LEAKING, after(700)).expect("is there").working_set > 0.9);
        assert!(world.restart(LEAKING, after(700)) && !world.restart("nobody", after(700)));
        assert!(world.fill(LEAKING, after(705)).expect("is there").working_set < 0.2);
        let later = world.cadvisor(after(705));
        for name in ["container_cpu_usage_seconds_total", "container_cpu_cfs_periods_total"] {
            assert!(sample(&later, name, LEAKING) < sample(&before, name, LEAKING), "{name}");
        }
        let started = sample(&later, "container_start_time_seconds", LEAKING);
        assert_eq!(started, after(700).as_seconds());
        let id = |text: &str| Some(text.split("id=\"").nth(1)?.split('"').next()?.to_owned());
        assert_eq!(id(&before), id(&later), "docker restart keeps the container");
    }

    #[test]
    fn the_cache_is_full_of_what_can_be_reclaimed() {
        let fill = World::new(BEGAN).fill("piper-cache", after(60)).expect("is there");
        assert!(fill.usage >= 0.95 && fill.working_set < 0.3, "{fill:?}");
    }
}
