//! Lists of which a part is odd, and lists that are asked for because a line of the stream was.

use super::*;

/// One of a list, with a label of so many bytes.
fn entry(id: &str, name: &str, label_bytes: usize) -> String {
    let label = "x".repeat(label_bytes);
    format!(r#"{{"Id":"{id}","Names":["/{name}"],"Labels":{{"a":"{label}"}},"State":"running"}}"#)
}

/// What is told of a daemon that lists this.
async fn told_of(list: String) -> Vec<String> {
    let mut bench = Bench::with(vec![Script::Stay(event(200, "oom"))], follow_briefly);
    *bench.daemon.listed.lock().expect("held briefly") = Some(list);
    bench.until("oom 200").await
}

#[tokio::test]
async fn containers_with_megabytes_of_labels_hide_themselves_alone() {
    let huge = |nth: usize| entry(&format!("{BROKEN:.60}{nth:04}"), "huge", 4 << 20);
    let all: Vec<String> = (0..5).map(huge).chain([entry(ID, "web", 10)]).collect();
    let told = told_of(format!("[{}]", all.join(","))).await;
    assert_eq!(told, ["connected 20.10", "listed web running", "oom 200"]);
}

#[tokio::test]
async fn one_odd_entry_of_a_list_hides_no_other() {
    let null = entry(BROKEN, "null", 1).replace(r#"["/null"]"#, "null");
    let bad = entry(&"e".repeat(64), "bad", 1).replace(r#""running""#, "[3]");
    let all = [null, bad, r#"{"Id":"e"}"#.to_owned(), "17".to_owned(), entry(ID, "web", 1)];
    let told = told_of(format!("[{}]", all.join(", "))).await;
    assert_eq!(told[1], "listed bbbbbbbbbbbb running web running web running");
}

/// It may have told that a container is gone.
#[tokio::test]
async fn after_a_line_that_was_not_read_the_list_is_asked_for_again() {
    for line in [format!("{}\n", "x".repeat(3 << 20)), "{\"Type\":\n".to_owned()] {
        let text = [event(200, "oom"), line.repeat(3), event(201, "oom")].concat();
        let mut bench = Bench::with(vec![Script::Stay(text)], follow_briefly);
        let listed = async {
            bench.until("listed").await;
            *bench.daemon.listed.lock().expect("held briefly") = Some("[]".to_owned());
            bench.until("listed").await
        };
        let told = tokio::time::timeout(Duration::from_secs(20), listed).await;
        assert_eq!(told.expect("another list").last().map(String::as_str), Some("listed"));
    }
}

/// However long it takes here: containers are looked at before what happened is told.
#[tokio::test]
async fn everything_is_told_once_nothing_that_was_read_waits() {
    let start = |n: i64| event(200 + n, "start").replace(ID, &format!("{BUSY:.60}{n:04}"));
    let text: String = (0..4).map(start).chain((300..600).map(|n| event(n, "oom"))).collect();
    let mut bench = Bench::with(vec![Script::Stay(text)], follow_briefly);
    bench.daemon.is_busy.store(true, Ordering::SeqCst);
    let told = bench.until("told all").await;
    assert!(told.contains(&"oom 599".to_owned()), "{told:?}");
    let quiet = tokio::time::timeout(Duration::from_millis(500), bench.until("told all")).await;
    assert!(quiet.is_err(), "once a list");
}
