//! A backend that answers from a script, and a client that says exactly what it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::alerts::{Alert, AlertState, Change, ResolveReason};
use crate::audit::{Kind, Record, Story, Teller};
use crate::base::{Batch, DeliveryId, Labels, Now, Sample, Timestamp, parse_rfc3339};
use crate::engine::{
    AlertingView, AlertmanagerView, Evaluation, GroupView, Health, OutboxCommand, Quality,
    RuleView, TargetView, View,
};
use crate::exposition::{Metadata, MetricKind};
use crate::outbox::{
    Data, Draft, Event, EventType, Listed, OperatorError, Outbox, OutboxConfig, Refusal,
};
use crate::promql::eval::{Traced, Value};
use crate::promql::{EvalOptions, Features, trace};
use crate::window::Detached;

const NOW: Timestamp = Timestamp(1_795_313_872_960);

/// Answers queries by their text and remembers what it was asked. A reload that was not scripted
/// never ends.
pub(super) struct Scripted {
    pub(super) view: Mutex<Arc<View>>,
    pub(super) asked: Mutex<Vec<QueryRequest>>,
    pub(super) reloads: Mutex<Vec<Result<(), ApiError>>>,
    pub(super) pages: Mutex<Pages>,
}

/// Pages of containers: each tells its number.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) made: usize,
    /// How long one takes.
    pub(super) takes: Duration,
    /// How many it has beside its number, which gzip does not pack.
    pub(super) bytes: usize,
}

impl Pages {
    fn text(&self) -> String {
        let mut text = format!("container_last_seen {}\n", self.made);
        let mut state = 1_u32;
        while text.len() < self.bytes {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            text.extend(char::from_u32(0x20 + state % 95));
        }
        text
    }
}

fn v_labels() -> Labels {
    Labels::from_pairs([
        ("__name__", "v"),
        ("instance", "127.0.0.1:19998"),
        ("job", "x"),
        ("tenant", "acme"),
    ])
}

fn samples(points: &[(i64, f64)]) -> Vec<Sample> {
    points.iter().map(|(at, value)| Sample { at: Timestamp(*at), value: *value }).collect()
}

fn scripted_value(request: &QueryRequest) -> Result<Value, ApiError> {
    let vector = |value| Value::Vector(vec![(v_labels(), value)]);
    Ok(match (request.text.as_str(), request.times) {
        ("1", QueryTimes::Range(_)) => Value::Matrix(vec![(
            Labels::empty(),
            samples(&[(10_000, 1.0), (20_000, 1.0), (30_000, 1.0)]),
        )]),
        ("1+1", _) => Value::Scalar(2.0),
        ("\"a\"", _) => Value::String("a".to_owned()),
        ("v[6s]", _) => Value::Matrix(vec![(
            v_labels(),
            samples(&[(1_795_313_867_826, 7.0), (1_795_313_869_826, 7.0)]),
        )]),
        ("v", _) => vector(7.0),
        // An answer of 8 MB: more than the buffers between two sockets take.
        ("large", _) => {
            let sample = |n| Sample { at: NOW, value: f64::from(n) };
            Value::Matrix(vec![(v_labels(), (0..300_000).map(sample).collect())])
        }
        ("big", _) => vector(1e21),
        ("nanv", _) => vector(f64::NAN),
        ("two", _) => Value::Vector(vec![(v_labels(), 1.0), (Labels::empty(), 2.0)]),
        (text, _) if text.contains("container_spec_") => {
            let of = |name: &str, value: f64| {
                let id = format!("/docker/{}", "a".repeat(64));
                (Labels::from_pairs([("__name__", name), ("id", &id)]), value)
            };
            Value::Vector(vec![
                of("container_spec_cpu_period", 100_000.0),
                of("container_spec_cpu_quota", 25_000.0),
                of("container_spec_memory_limit_bytes", f64::from(256 << 20)),
            ])
        }
        ("broken", _) => {
            return Err(ApiError::new(ErrorKind::Execution, "multiple matches for labels"));
        }
        _ => Value::Vector(Vec::new()),
    })
}

impl Backend for Scripted {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().expect("not poisoned"))
    }

    fn promql(&self) -> Features {
        self.view().promql
    }

    fn query(&self, request: QueryRequest, turn: Turn) -> Answering<'_, QueryAnswer> {
        Box::pin(async move {
            if request.text == "slow" {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            let value = scripted_value(&request)?;
            let note = |of: &str| if request.text == of { vec!["note".to_owned()] } else { vec![] };
            let (warnings, infos) = (note("warned"), note("informed"));
            self.asked.lock().expect("not poisoned").push(request);
            Ok(QueryAnswer { value, warnings, infos, turn })
        })
    }

    fn trace(&self, request: QueryRequest, _turn: Turn) -> Answering<'_, Vec<Traced>> {
        Box::pin(async move {
            let QueryTimes::Instant(at) = request.times else { panic!("one time is traced") };
            let value = |value| Ok(Value::Vector(vec![(v_labels(), value)]));
            Ok(trace(&request.expr, &Detached::default(), at, &EvalOptions::default())
                .into_iter()
                .map(|part| Traced { value: value(part.depth as f64), ..part })
                .collect())
        })
    }

    fn series(&self, request: SeriesRequest) -> Answering<'_, SeriesAnswer> {
        let up = Labels::from_pairs([("__name__", "up"), ("job", "y")]);
        let all = [v_labels(), up];
        let series = all.into_iter().filter(|labels| {
            request.start.is_none_or(|start| start <= NOW)
                && (request.selectors.is_empty()
                    || request.selectors.iter().any(|selector| selector.matches(labels)))
        });
        let series = series.collect();
        Box::pin(async move { Ok(SeriesAnswer { series, warnings: Vec::new() }) })
    }

    fn outbox(&self) -> Answering<'_, Vec<Listed>> {
        Box::pin(async {
            let event = Event::new(EventType::AlertFiring, NOW, Data::default());
            let mut outbox = Outbox::new(OutboxConfig::default());
            let now = Now { monotonic: Duration::ZERO, wall: NOW };
            let id = DeliveryId("evt_1".to_owned());
            let _rows = outbox.push(Draft { id, event }, now, Batch(1));
            Ok(outbox.list().map(|(state, delivery)| Listed::new(state, delivery)).collect())
        })
    }

    fn change_outbox(&self, command: OutboxCommand) -> Answering<'_, ()> {
        Box::pin(async move {
            match command {
                OutboxCommand::Retry(id) => Err(OperatorError::InFlight(id).into()),
                OutboxCommand::Drop(id) if id.0 != "evt_1" => {
                    Err(OperatorError::Unknown(id).into())
                }
                _ => Ok(()),
            }
        })
    }

    fn story(&self, since: Timestamp, tenant: Option<String>, _turn: Turn) -> Answering<'_, Story> {
        let is_torn = tenant.as_deref() == Some("torn");
        let mut teller = Teller::new(since, tenant);
        (0..u64::from(is_torn) * 2).for_each(|_| teller.miss());
        for (seconds, tenant) in [(7200, "acme"), (3600, "beta"), (60, "acme")] {
            let at = NOW - Duration::from_secs(seconds);
            teller.take(&Record {
                trace_id: Some(format!("trace_{seconds}")),
                tenant: Some(tenant.to_owned()),
                alert: Some("A".to_owned()),
                ..Record::new(at, Kind::AlertFiring)
            });
        }
        Box::pin(async move { Ok(teller.finish()) })
    }

    fn take_receipt(&self, signed: Signed) -> Answering<'_, ()> {
        Box::pin(async move {
            match signed.body {
                None => Err(Refusal::TooLarge.into()),
                Some(body) if body != b"{}" => Err(Refusal::Malformed.into()),
                Some(_) if signed.signature != "v1,x" => Err(Refusal::Signature.into()),
                Some(_) => Ok(()),
            }
        })
    }

    fn metrics_text(&self) -> String {
        "plimsoll_up 1\n".to_owned()
    }

    fn containers_text(&self) -> Answering<'_, String> {
        Box::pin(async {
            let (text, takes) = {
                let mut pages = self.pages.lock().expect("not poisoned");
                pages.made += 1;
                (pages.text(), pages.takes)
            };
            tokio::time::sleep(takes).await;
            Ok(text)
        })
    }

    fn reload(&self) -> Answering<'_, ()> {
        let next = self.reloads.lock().expect("not poisoned").pop();
        Box::pin(async move {
            match next {
                Some(result) => result,
                None => std::future::pending().await,
            }
        })
    }
}

pub(super) fn scripted() -> Arc<Scripted> {
    Arc::new(Scripted {
        view: Mutex::new(Arc::new(view())),
        asked: Mutex::default(),
        reloads: Mutex::default(),
        pages: Mutex::default(),
    })
}

fn at(text: &str) -> Timestamp {
    parse_rfc3339(text).expect("a time")
}

fn high(state: AlertState) -> Alert {
    let labels = Labels::from_pairs([("alertname", "High"), ("severity", "warning")]);
    Alert {
        annotations: Labels::from_pairs([("summary", "v=7 on acme")]),
        state,
        fired_at: Some(at("2026-11-22T02:17:32.730Z")),
        resolved: (state == AlertState::Resolved).then_some((NOW, ResolveReason::ConditionCleared)),
        ..Alert::pending(labels, 7.0, at("2026-11-22T02:17:22.730Z"))
    }
}

fn metadata() -> BTreeMap<String, Metadata> {
    let of = |kind, help: &str| Metadata { kind, help: help.to_owned(), unit: String::new() };
    BTreeMap::from([
        ("c_total".to_owned(), of(MetricKind::Counter, "")),
        ("h".to_owned(), of(MetricKind::Histogram, "")),
        ("v".to_owned(), of(MetricKind::Gauge, "test gauge")),
    ])
}

fn quality() -> Quality {
    Quality {
        newest: Some(at("2026-11-22T02:17:37.826Z")),
        lagging: Some(at("2026-11-22T02:17:30.826Z")),
        expected: 36,
        present: 18,
        repeated: 2,
        resets: 1,
    }
}

fn evaluation(seconds: i64) -> Evaluation {
    let labels = Labels::from_pairs([("job", "x")]);
    Evaluation {
        slot: Timestamp(seconds * 1000),
        at: Timestamp(seconds * 1000 + 500),
        took: Duration::from_millis(1),
        series_fetched: 3,
        error: None,
        results: 9,
        values: vec![(labels.clone(), 7.0)],
        changed: 1,
        changes: vec![(labels, Change::Firing)],
    }
}

fn view() -> View {
    let rule = |name: &str, query: &str, alerting| RuleView {
        name: name.to_owned(),
        query: query.to_owned(),
        labels: Vec::new(),
        health: Health::Good,
        last_error: None,
        last_evaluation: Some(at("2026-11-22T02:17:52.731Z")),
        evaluation_time: Duration::from_nanos(362_454),
        series_fetched: 1,
        never_fires: false,
        recent: vec![Arc::new(evaluation(1)), Arc::new(evaluation(2))],
        alerting,
    };
    let alerting = AlertingView {
        hold: Duration::from_secs(10),
        keep_firing: Duration::ZERO,
        annotations: vec![("summary".to_owned(), "v={{ $value }}".to_owned())],
        alerts: vec![high(AlertState::Firing), high(AlertState::Resolved)],
    };
    let mut alert = rule("High", "v > 5", Some(alerting));
    alert.labels = vec![("severity".to_owned(), "warning".to_owned())];
    let group = |name: &str, rules| {
        Arc::new(GroupView {
            name: name.to_owned(),
            file: "r.yml".to_owned(),
            interval: Duration::from_secs(5),
            limit: 0,
            last_evaluation: None,
            evaluation_time: Duration::from_millis(1),
            missed: 0,
            evaluations: 0,
            failures: 0,
            rules,
        })
    };
    let target = TargetView {
        job: "x".to_owned(),
        url: "http://127.0.0.1:19998/metrics".to_owned(),
        discovered: Labels::from_pairs([("__address__", "127.0.0.1:19998"), ("job", "x")]),
        labels: Labels::from_pairs([("instance", "127.0.0.1:19998"), ("job", "x")]),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        health: Health::Bad,
        last_error: Some("connection refused".to_owned()),
        last_scrape: Some(at("2026-11-22T02:17:51.826Z")),
        failing_since: Some(at("2026-11-22T02:17:41.826Z")),
        quality: quality(),
        last_scrape_duration: Duration::from_micros(2917),
        samples: 3,
        metadata: Arc::new(metadata()),
    };
    View {
        groups: vec![
            group("g", vec![rule("job:v:sum", "sum by (job) (v)", None), alert]),
            group("h", vec![rule("r", "v", None)]),
        ],
        targets: vec![Arc::new(target)],
        dropped_targets: vec![Labels::from_pairs([("job", "gone")])],
        alertmanagers: vec![AlertmanagerView {
            url: "http://127.0.0.1:19999/api/v2/alerts".to_owned(),
            trouble: None,
            refused: Vec::new(),
        }],
        ..View::default()
    }
}

/// A server on a free port, for as long as the test's runtime lives.
pub(super) async fn start(backend: Arc<Scripted>, options: Options) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(serve(listener, backend, options, std::future::pending()));
    address
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: String,
}

pub(super) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    form: Option<&str>,
) -> Reply {
    let body = form.unwrap_or("");
    let form_type = form.map_or("", |_| "Content-Type: application/x-www-form-urlencoded\r\n");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{form_type}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("connects");
    // A refused body may close the connection before all of it is sent.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.expect("a reply");
    let reply = String::from_utf8(reply).expect("text");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    let header = |name: &str| {
        let lines = head.lines().map(str::to_ascii_lowercase);
        let mut of_name = lines.filter_map(|line| line.strip_prefix(name).map(str::to_owned));
        of_name.next_back().unwrap_or_default()
    };
    Reply {
        status: head.split(' ').nth(1).expect("a status").parse().expect("a number"),
        content_type: header("content-type: "),
        body: body.to_owned(),
    }
}
