//! Who waits for whom: queries are few at a time, and nobody else waits for them.

use std::time::Duration;

use super::super::scripted::{ask, scripted, start};
use super::super::*;

/// Whatever a request wants parsed waits for its turn like a query: parsing can take long too.
#[tokio::test(start_paused = true)]
async fn what_is_parsed_takes_a_turn() {
    let address = start(scripted(), Options::default()).await;
    let slow = "/api/v1/query?query=slow";
    let running: Vec<_> = (0..QUERIES_AT_ONCE)
        .map(|_| tokio::spawn(async move { ask(address, "GET", slow, None).await }))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let paths = [
        "query?query=(&timeout=5s",
        "query_range?query=(&start=0&end=1&step=1&timeout=5s",
        "format_query?query=v",
        "parse_query?query=v",
        "labels?match[]=v",
        "label/job/values?match[]=v",
        "series?match[]=v",
        "rules?match[]=v",
        "targets/metadata?match_target={job=%22x%22}",
        "plimsoll/explain?rule=High&group=g",
    ];
    let mut asking = Vec::new();
    for path in paths {
        let ask =
            async move { (path, ask(address, "GET", &format!("/api/v1/{path}"), None).await) };
        asking.push(tokio::spawn(ask));
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    for (asking, path) in asking.iter().zip(paths) {
        assert_eq!(asking.is_finished(), path.ends_with("timeout=5s"), "{path}");
    }
    for asking in asking {
        let (path, reply) = asking.await.expect("ends");
        if path.ends_with("timeout=5s") {
            assert!(
                reply.body.contains("query timed out in query queue"),
                "{path}: {}",
                reply.body
            );
        } else {
            assert_eq!(reply.status, 200, "{path} has its turn at last: {}", reply.body);
        }
    }
    for running in running {
        assert_eq!(running.await.expect("ends").status, 503);
    }
}

/// Patterns take their time on a thread of their own: the server, which has one, answers meanwhile. Parsed on
/// that one, health is asked twice at most until the answer is there, whatever else the machine does; else
/// some twenty times on a quiet machine, and more often than that in one try of ten on any.
#[tokio::test]
async fn the_server_answers_while_it_parses() {
    let matcher = |at: usize| format!("l{at}=~\"(?:a{at}bbbbbbbbbbbb){{1000}}|\"");
    let matchers: Vec<String> = (0..250).map(matcher).collect();
    let query = format!("v{{{}}}", matchers.join(",")).replace('+', "%2B");
    for path in ["query", "format_query", "parse_query", "series"] {
        let form = format!("{}={query}", if path == "series" { "match[]" } else { "query" });
        let path = format!("/api/v1/{path}");
        let mut answered = 0;
        for _ in 0..10 {
            answered = answered_meanwhile(&path, &form).await;
            if answered > 4 {
                break;
            }
        }
        assert!(answered > 4, "{path}: {answered}");
    }
}

/// How often the server said that it is well while it read what it refuses in the end.
async fn answered_meanwhile(path: &str, form: &str) -> usize {
    let address = start(scripted(), Options::default()).await;
    let (path, form) = (path.to_owned(), form.to_owned());
    let heavy = tokio::spawn(async move { ask(address, "POST", &path, Some(&form)).await });
    let mut answered = 0;
    while !heavy.is_finished() {
        assert_eq!(ask(address, "GET", "/-/healthy", None).await.status, 200);
        answered += 1;
    }
    let refused = heavy.await.expect("ends");
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("more than 4 MiB when compiled"), "{}", refused.body);
    answered
}
