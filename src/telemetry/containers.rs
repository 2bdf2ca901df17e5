//! What Docker tells of containers, for the page that stands in the place of cAdvisor's.
//!
//! A cgroup goes with the process whose death it would count, so a page of cgroups' files never shows that
//! one was killed for lack of memory and started again. These counts go by the name of a container, over
//! all its incarnations.

use std::collections::BTreeMap;

use super::page::{Kind, Page};
use crate::containers::End;
use crate::engine::{ContainerView, View};

/// OOM kills, ends and crash loops of the containers that Docker knows, in the text exposition format.
pub fn fates_text(view: &View) -> String {
    // Two may bear one name for a moment; what is counted is the name's.
    let by_name =
        view.containers.iter().map(|container| (container.known_as.as_str(), &**container));
    let by_name: BTreeMap<&str, &ContainerView> = by_name.collect();
    let mut page = Page::default();
    let help = "Kernel kills for lack of memory, each counted once whoever saw it.";
    let mut kills = page.family("plimsoll_oom_total", Kind::Counter, help);
    for (name, container) in &by_name {
        for (scope, count) in [("pid1", container.oom.pid1), ("child", container.oom.child)] {
            kills.add(&[("name", name), ("scope", scope)], count as f64);
        }
    }
    let help = "Ends of a container's first process, by reason.";
    let mut ends = page.family("plimsoll_container_ends_total", Kind::Counter, help);
    for (name, container) in &by_name {
        for (end, count) in End::ALL.into_iter().zip(container.ends) {
            ends.add(&[("name", name), ("reason", end.name())], count as f64);
        }
    }
    // While Docker is not heard, too: whoever reads this would take its absence for the end of a loop.
    let help = "Whether a container is started again and again, as Docker said last.";
    let mut loops = page.family("plimsoll_container_crash_loop", Kind::Gauge, help);
    for (name, container) in &by_name {
        let is_looping = container.state == "crash_loop";
        loops.add(&[("name", name)], f64::from(u8::from(is_looping)));
    }
    page.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::Timestamp;
    use crate::containers::{Container, ContainerId, Counts};
    use crate::engine::DockerState;

    fn view(is_heard: bool) -> View {
        let container = |digit: &str, state| {
            let id = ContainerId::new(&digit.repeat(64)).expect("64 digits");
            Arc::new(ContainerView {
                container: Arc::new(Container::new(id, "renamed", Timestamp(0))),
                known_as: "acme-web".to_owned(),
                tenant: None,
                service: None,
                state,
                ends: [3, 1, 0, 0, 0, 0],
                last_end: None,
                oom: Counts { pid1: 3, child: 1 },
            })
        };
        let docker = DockerState { is_heard, is_silent: !is_heard, why: None, heard_until: None };
        let containers = vec![container("a", "crash_loop"), container("b", "crash_loop")];
        View { containers, docker: Some(docker), ..View::default() }
    }

    #[test]
    fn every_name_shows_its_kills_ends_and_loops_once() {
        let page = fates_text(&view(true));
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let ends = |reason| {
            format!("plimsoll_container_ends_total{{name=\"acme-web\",reason=\"{reason}\"}}")
        };
        let want = [
            "plimsoll_oom_total{name=\"acme-web\",scope=\"pid1\"} 3".to_owned(),
            "plimsoll_oom_total{name=\"acme-web\",scope=\"child\"} 1".to_owned(),
            ends("oom") + " 3",
            ends("crash") + " 1",
            ends("exit") + " 0",
            ends("stop") + " 0",
            ends("kill") + " 0",
            ends("vanished") + " 0",
            "plimsoll_container_crash_loop{name=\"acme-web\"} 1".to_owned(),
        ];
        assert_eq!(samples, want);
        assert_eq!(fates_text(&view(false)), page, "whoever reads it must not take it for over");
        assert_eq!(fates_text(&View::default()).lines().filter(|l| !l.starts_with('#')).count(), 0);
    }
}
