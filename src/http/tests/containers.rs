//! What the API tells of containers.

use super::*;
use crate::containers::{Container, ContainerId, Counts, Death, End, Limits, Status};
use crate::engine::{ContainerView, DockerState};

#[tokio::test]
async fn a_container_is_told_with_its_fate_its_kills_and_both_kinds_of_limits() {
    let id = ContainerId::new(&"a".repeat(64)).expect("64 digits");
    let mut container = Container::new(id, "renamed", Timestamp(1000));
    container.status = Status::Restarting;
    container.image = "app:1".to_owned();
    container.restart_count = 4;
    container.limits =
        Limits { memory_bytes: Some(512 << 20), cpu_quota_us: Some(50_000), ..Limits::default() };
    let view = ContainerView {
        container: Arc::new(container),
        known_as: "acme-web".to_owned(),
        tenant: Some("acme".to_owned()),
        service: None,
        state: "crash_loop",
        ends: [2, 3, 0, 0, 0, 0],
        last_end: Some(Death { at: Timestamp(2000), end: End::Oom, exit_code: 137 }),
        oom: Counts { pid1: 2, child: 1 },
    };
    let backend = scripted();
    *backend.view.lock().expect("not poisoned") = Arc::new(View {
        containers: vec![Arc::new(view)],
        docker: Some(heard()),
        ..View::default()
    });
    let address = start(backend, Options::default()).await;
    let reply = ask(address, "GET", "/api/v1/plimsoll/containers", None).await;
    let body: serde_json::Value = serde_json::from_str(&reply.body).expect("is JSON");
    let want = serde_json::json!({"docker": true, "containers": [{
        "name": "renamed", "knownAs": "acme-web", "id": "a".repeat(64), "image": "app:1",
        "tenant": "acme", "state": "crash_loop", "health": "none",
        "startedAt": "0001-01-01T00:00:00Z", "restartPolicy": "no", "restartCount": 4,
        "ends": {"oom": 2, "crash": 3},
        "lastEnd": {"at": "1970-01-01T00:00:02.000Z", "reason": "oom", "exitCode": 137},
        "oomKills": {"pid1": 2, "child": 1},
        "limits": {
            "believed": {"memoryBytes": 512 << 20, "cpuCores": 0.5},
            "enforced": {"memoryBytes": 256 << 20, "cpuCores": 0.25},
        },
    }]});
    assert_eq!(body["data"], want);
}

fn heard() -> DockerState {
    DockerState { is_heard: true, is_silent: false, why: None, heard_until: None }
}
