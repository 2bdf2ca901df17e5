//! The HTTP server's door to a running plimsoll.
//!
//! What the engine publishes is read from the newest view. For a query the engine gives the labels
//! of the metrics it names; which of them it selects is found on a thread of its own. Their samples
//! are copied out of the window by the engine, each series once and bounded in size, and the query
//! is evaluated apart again, all under its deadline. So what a query costs a scrape or an evaluation
//! does not depend on how it is written, and is no more than the time of two such copies.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use super::receipts::SecretsWatch;
use super::run::Question;
use crate::audit::Story;
use crate::base::{HashMap, Labels, Sample, Timestamp};
use crate::engine::{Answer, Content, Event, OutboxCommand, View};
use crate::http::{
    Answering, ApiError, Backend, ErrorKind, QueryAnswer, QueryRequest, QueryTimes, SeriesAnswer,
    SeriesRequest, Signed, Turn,
};
use crate::ledger;
use crate::outbox::Listed;
use crate::promql::eval::{Severity, Traced};
use crate::promql::{self, EvalOptions, Features, LOOKBACK};
use crate::telemetry;
use crate::window::{DEFAULT_MAX_BYTES, Detached, Selector, Span, matching, metrics};

/// Samples one query may have copied: all that a window of the default size can hold, so that what is
/// kept can be asked for. cAdvisor has a series for each processor of a container: of 500 containers
/// an hour of one metric is 1.5 million samples. Copying 64 MB takes the engine some 40 ms.
const MAX_COPIED: usize = DEFAULT_MAX_BYTES / size_of::<Sample>();
/// Series one listing may find: as many as `window.max_series` allows by default.
const MAX_LISTED: usize = 200_000;
/// Different selectors of one request: dashboards have tens, and the engine looks up each name.
const MAX_SELECTORS: usize = 1000;
/// How long whoever changes the outbox waits for the disk; well below the longest answer.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// Says how a listing over its bound can be made smaller.
const TOO_MANY_SERIES: &str =
    "more than 200000 series match; narrow match[], or the time range with start and end";
/// Prometheus's words for a query over its bound.
const TOO_MANY: &str =
    "query processing would load too many samples into memory in query execution";

/// Writes plimsoll's own metrics from a view, in the text format.
pub type MetricsText = Box<dyn Fn(&View) -> String + Send + Sync>;
/// Writes every container's figures in the text format; the error says why it cannot.
pub type ContainersText = Box<dyn Fn(Timestamp) -> Answering<'static, String> + Send + Sync>;
/// Reads the configuration again; the error says why the old one stays.
pub type Reload =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The door.
pub struct Api {
    /// What a query without a time means by now.
    pub clock: Clock,
    /// What the engine publishes.
    pub views: watch::Receiver<View>,
    /// Where samples are asked for.
    pub questions: mpsc::Sender<Question>,
    /// Where the audit is kept.
    pub audit: Option<PathBuf>,
    /// Who may send receipts.
    pub secrets: SecretsWatch,
    /// For `/metrics`.
    pub metrics: MetricsText,
    /// For `/metrics/containers`.
    pub containers: ContainersText,
    /// For `/-/reload`.
    pub reload: Reload,
}

/// Somebody waits for an evaluation; when they no longer do, it ends.
#[derive(Default)]
struct Awaited {
    abandoned: Arc<AtomicBool>,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Api {
    /// Puts a question to the engine. Its ticket is given by the loop.
    pub(super) async fn ask(&self, event: Event) -> Result<Content, ApiError> {
        let stopping = || ApiError::new(ErrorKind::Stopping, "plimsoll is stopping: ask again");
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question { event, answer }).await.map_err(|_| stopping())?;
        let Answer { content, .. } = answered.await.map_err(|_| stopping())?;
        Ok(content)
    }

    /// Which series these selectors mean, and warnings for names that are not kept. The engine
    /// tells what there is; what matches is found out elsewhere, however many conditions there are.
    /// Gives the turn back, if there is one: it is held until that is done.
    async fn find<T: Send + 'static>(
        &self,
        wanted: Vec<(Arc<Selector>, Span)>,
        turn: T,
        expired: impl Fn() -> bool + Send + 'static,
    ) -> Result<(Vec<(Labels, Span)>, Vec<String>, T), ApiError> {
        let (names, every) = metrics(&wanted);
        let asked = Event::Find { ticket: 0, names, every };
        let Content::Found { series, unkept } = self.ask(asked).await? else {
            return Err(amiss());
        };
        let find = move || (matching(&series, &wanted, expired), turn);
        let (found, turn) = apart(find).await?;
        let late = || ApiError::new(ErrorKind::Timeout, "query timed out in expression evaluation");
        let found = found.ok_or_else(late)?;
        Ok((found, unkept.iter().map(|name| not_kept(name)).collect(), turn))
    }

    /// Asks for samples.
    async fn samples(&self, event: Event, too_many: &'static str) -> Result<Detached, ApiError> {
        let Content::Samples(copy) = self.ask(event).await? else {
            return Err(amiss());
        };
        copy.ok_or_else(|| ApiError::new(ErrorKind::Execution, too_many))
    }

    async fn list_outbox(&self) -> Result<Vec<Listed>, ApiError> {
        let command = OutboxCommand::List;
        let Content::Outbox(held) = self.ask(Event::Outbox { ticket: 0, command }).await? else {
            return Err(amiss());
        };
        let held = held?;
        // Megabytes of bodies may be read here, which must not hold up the loop.
        apart(move || held.iter().map(|(state, delivery)| Listed::new(*state, delivery)).collect())
            .await
    }

    /// As [`Api::ask`], for what is answered once it is durable; says so if that takes too long.
    pub(super) async fn ask_durably(&self, event: Event) -> Result<Content, ApiError> {
        match tokio::time::timeout(COMMIT_PATIENCE, self.ask(event)).await {
            Ok(content) => content,
            Err(_) => {
                let failing = self.views.borrow().journal.failing.clone();
                let why = failing.unwrap_or_else(|| "it has not been written yet".to_owned());
                let why = format!("it is done but not durable, so a crash would undo it: {why}");
                Err(ApiError::new(ErrorKind::Timeout, why))
            }
        }
    }

    async fn work_on_outbox(&self, command: OutboxCommand) -> Result<(), ApiError> {
        match self.ask_durably(Event::Outbox { ticket: 0, command }).await? {
            Content::Changed(changed) => Ok(changed?),
            _ => Err(amiss()),
        }
    }

    /// Copies what a query selects and works on the copy on a thread of its own; gives what that
    /// yields, the warnings of the copy and the turn.
    async fn work<T: Send + 'static>(
        &self,
        request: QueryRequest,
        turn: Turn,
        work: impl FnOnce(&QueryRequest, &Detached, &EvalOptions) -> T + Send + 'static,
    ) -> Result<(T, Vec<String>, Turn), ApiError> {
        // The deadline is the client's, in real seconds, however fast a demo's clock runs.
        let stopwatch = Clock::system();
        let timeout = request.timeout;
        let awaited = Awaited::default();
        let abandoned = Arc::clone(&awaited.abandoned);
        let default_step = self.views.borrow().default_step;
        let expired = move || abandoned.load(Ordering::Relaxed) || stopwatch.monotonic() >= timeout;
        let options = EvalOptions {
            lookback: request.lookback.unwrap_or(LOOKBACK),
            default_step,
            features: self.promql(),
            expired: Some(Arc::new(expired.clone())),
            ..EvalOptions::default()
        };
        let (wanted, warnings, turn) = self.find(wanted(&request)?, turn, expired).await?;
        let asked = Event::Copy { ticket: 0, wanted, max_samples: MAX_COPIED };
        let copy = self.samples(asked, TOO_MANY).await?;
        // The turn goes with the work: it does not end with the patience of whoever asked.
        let work = move || (work(&request, &copy, &options), turn);
        let (done, turn) = apart(work).await?;
        Ok((done, warnings, turn))
    }

    async fn answer(&self, request: QueryRequest, turn: Turn) -> Result<QueryAnswer, ApiError> {
        let evaluate = |request: &QueryRequest, copy: &Detached, options: &EvalOptions| {
            let QueryRequest { text, expr, times, .. } = request;
            let evaluated = match *times {
                QueryTimes::Instant(at) => promql::instant(expr, copy, at, options),
                QueryTimes::Range(steps) => promql::range(expr, copy, steps, options),
            };
            let evaluated = evaluated.map_err(|error| ApiError::evaluation(error, text))?;
            let warnings = evaluated.annotations.render(Severity::Warning, text);
            let infos = evaluated.annotations.render(Severity::Info, text);
            Ok::<_, ApiError>((evaluated.value, warnings, infos))
        };
        let (evaluated, mut warnings, turn) = self.work(request, turn, evaluate).await?;
        let (value, mut more, infos) = evaluated?;
        warnings.append(&mut more);
        Ok(QueryAnswer { value, warnings, infos, turn })
    }

    async fn parts(&self, request: QueryRequest, turn: Turn) -> Result<Vec<Traced>, ApiError> {
        let trace = |request: &QueryRequest, copy: &Detached, options: &EvalOptions| {
            let at = match request.times {
                QueryTimes::Instant(at) => at,
                QueryTimes::Range(steps) => steps.end,
            };
            promql::trace(&request.expr, copy, at, options)
        };
        Ok(self.work(request, turn, trace).await?.0)
    }
}

impl Backend for Api {
    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    fn view(&self) -> Arc<View> {
        Arc::new(self.views.borrow().clone())
    }

    fn promql(&self) -> Features {
        self.views.borrow().promql
    }

    fn query(&self, request: QueryRequest, turn: Turn) -> Answering<'_, QueryAnswer> {
        Box::pin(self.answer(request, turn))
    }

    fn trace(&self, request: QueryRequest, turn: Turn) -> Answering<'_, Vec<Traced>> {
        Box::pin(self.parts(request, turn))
    }

    fn series(&self, request: SeriesRequest) -> Answering<'_, SeriesAnswer> {
        Box::pin(async move {
            let span = Span {
                after: request
                    .start
                    .map_or(Timestamp(i64::MIN), |at| Timestamp(at.0.saturating_sub(1))),
                upto: request.end.unwrap_or(Timestamp(i64::MAX)),
            };
            let mut selectors = request.selectors;
            if selectors.is_empty() {
                selectors.push(Arc::new(Selector::new(Vec::new())));
            }
            let wanted = merged(selectors.into_iter().map(|selector| (selector, span)));
            let wanted = few(wanted, ErrorKind::BadData, "match[]")?;
            let (stopwatch, timeout, awaited) =
                (Clock::system(), request.timeout, Awaited::default());
            let abandoned = Arc::clone(&awaited.abandoned);
            let expired =
                move || abandoned.load(Ordering::Relaxed) || stopwatch.monotonic() >= timeout;
            let (wanted, warnings, _turn) = self.find(wanted, request.turn, expired).await?;
            let asked = Event::List { ticket: 0, wanted, max_series: MAX_LISTED };
            let copy = self.samples(asked, TOO_MANY_SERIES).await?;
            Ok(SeriesAnswer { series: copy.labels().cloned().collect(), warnings })
        })
    }

    fn outbox(&self) -> Answering<'_, Vec<Listed>> {
        Box::pin(self.list_outbox())
    }

    fn change_outbox(&self, command: OutboxCommand) -> Answering<'_, ()> {
        Box::pin(self.work_on_outbox(command))
    }

    fn story(&self, since: Timestamp, tenant: Option<String>, turn: Turn) -> Answering<'_, Story> {
        Box::pin(async move {
            let Some(dir) = self.audit.clone() else { return Ok(Story::default()) };
            let awaited = Awaited::default();
            let abandoned = Arc::clone(&awaited.abandoned);
            let reading = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                ledger::story(&dir, (since, tenant), || !abandoned.load(Ordering::Relaxed))
            });
            let amiss = |error: &dyn std::fmt::Display| {
                ApiError::new(ErrorKind::Internal, format!("the audit cannot be read: {error}"))
            };
            let read = reading.await.map_err(|error| amiss(&error))?;
            read.map_err(|error| amiss(&error))
        })
    }

    fn take_receipt(&self, signed: Signed) -> Answering<'_, ()> {
        Box::pin(self.receipt(signed))
    }

    fn metrics_text(&self) -> String {
        (self.metrics)(&self.views.borrow())
    }

    fn containers_text(&self) -> Answering<'_, String> {
        Box::pin(async {
            let page = (self.containers)(self.clock.now().wall).await?;
            Ok(page + &telemetry::fates_text(&self.views.borrow()))
        })
    }

    fn reload(&self) -> Answering<'_, ()> {
        Box::pin(async move {
            (self.reload)().await.map_err(|why| ApiError::new(ErrorKind::Internal, why))
        })
    }
}

/// The selectors of a query, each with the span of samples its evaluation may look at.
///
/// The span is never shorter than that. It is longer where that costs little: it has no end, since
/// `offset -5m` looks behind the time of the query and most queries end now, and `@` makes it the
/// whole window, which is short.
fn wanted(request: &QueryRequest) -> Result<Vec<(Arc<Selector>, Span)>, ApiError> {
    let (start, times) = match request.times {
        QueryTimes::Instant(at) => (at, promql::QueryTimes::default()),
        QueryTimes::Range(steps) => {
            let step_millis = i64::try_from(steps.step.as_millis()).unwrap_or(i64::MAX);
            let range_millis = steps.end.0.saturating_sub(steps.start.0);
            (steps.start, promql::QueryTimes { step_millis, range_millis })
        }
    };
    // A selector's reach counts with the usual lookback.
    let further = request.lookback.unwrap_or(LOOKBACK).saturating_sub(LOOKBACK);
    let span = |back: Option<Duration>| {
        let back = back.map(|back| back.saturating_add(further));
        let millis = back.and_then(|back| i64::try_from(back.as_millis()).ok());
        let after = millis.map_or(i64::MIN, |millis| start.0.saturating_sub(millis));
        Span { after: Timestamp(after), upto: Timestamp(i64::MAX) }
    };
    let reaches = promql::reach(&request.expr, times);
    let wanted = merged(reaches.into_iter().map(|reach| (reach.selector, span(reach.back))));
    few(wanted, ErrorKind::Execution, "selectors")
}

/// Each selector once, with the span that holds those of all who want it, in the order of the first.
fn merged(wanted: impl Iterator<Item = (Arc<Selector>, Span)>) -> Vec<(Arc<Selector>, Span)> {
    let mut places: HashMap<String, usize> = HashMap::default();
    let mut merged: Vec<(Arc<Selector>, Span)> = Vec::new();
    for (selector, span) in wanted {
        if let Some(place) = places.get(selector.text()) {
            merged[*place].1 = merged[*place].1.union(span);
            continue;
        }
        places.insert(selector.text().to_owned(), merged.len());
        merged.push((selector, span));
    }
    merged
}

/// Refuses more different selectors than anybody means.
fn few(
    wanted: Vec<(Arc<Selector>, Span)>,
    kind: ErrorKind,
    what: &str,
) -> Result<Vec<(Arc<Selector>, Span)>, ApiError> {
    if wanted.len() <= MAX_SELECTORS {
        return Ok(wanted);
    }
    let why = format!("{} different {what} are more than {MAX_SELECTORS}", wanted.len());
    Err(ApiError::new(kind, why))
}

/// Work that takes a while, on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let working = tokio::task::spawn_blocking(work);
    working.await.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))
}

/// Each question has its own kind of answer.
pub(super) fn amiss() -> ApiError {
    ApiError::new(ErrorKind::Internal, "the engine answered another question")
}

fn not_kept(name: &str) -> String {
    format!(
        "metric {name:?} is not read by a rule and not in window.keep, so it is not kept; add it \
         to window.keep to query it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Labels, METRIC_NAME};
    use crate::promql::eval::{Steps, Value};
    use crate::promql::{ParseOptions, parse};
    use crate::window::{Caps, MatchOp, Matcher, Retention, Window};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn request(text: &str, times: QueryTimes) -> QueryRequest {
        let options = ParseOptions { experimental_functions: true };
        QueryRequest {
            text: text.to_owned(),
            expr: parse(text, &options).expect(text),
            times,
            lookback: None,
            timeout: Duration::from_secs(30),
        }
    }

    fn turn() -> Turn {
        let permit = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned();
        Turn::new(permit.expect("nobody else asks"))
    }

    /// A door with an engine behind it that answers every question with `copy`.
    fn api(copy: Option<Detached>, unkept: &[&str]) -> Api {
        let (questions, mut asked) = mpsc::channel::<Question>(1);
        let unkept: Vec<String> = unkept.iter().map(|name| (*name).to_owned()).collect();
        tokio::spawn(async move {
            while let Some(Question { event, answer }) = asked.recv().await {
                let content = match event {
                    Event::Find { .. } => Content::Found {
                        series: copy.iter().flat_map(Detached::labels).cloned().collect(),
                        unkept: unkept.clone(),
                    },
                    _ => Content::Samples(copy.clone()),
                };
                answer.send(Answer { ticket: 0, content }).ok();
            }
        });
        Api {
            audit: None,
            secrets: watch::channel(None).1,
            clock: Clock::system(),
            views: watch::channel(View { default_step: Duration::from_secs(5), ..View::default() })
                .1,
            questions,
            metrics: Box::new(|view| format!("at {}\n", view.at.0)),
            containers: Box::new(|_| {
                Box::pin(async { Err(ApiError::new(ErrorKind::Unavailable, "off")) })
            }),
            reload: Box::new(|| Box::pin(async { Err("no".to_owned()) })),
        }
    }

    #[tokio::test]
    async fn the_page_of_containers_ends_with_what_docker_tells() {
        let mut api = api(None, &[]);
        assert!(api.containers_text().await.is_err(), "it is off");
        api.containers = Box::new(|_| Box::pin(async { Ok("first 1\n".to_owned()) }));
        let text = api.containers_text().await.expect("a page");
        assert!(text.starts_with("first 1\n# HELP plimsoll_oom_total "), "{text}");
    }

    /// A listing of the series of so many selectors.
    fn listing(selectors: usize) -> SeriesRequest {
        let selector =
            |n: usize| Arc::new(Selector::new(vec![Matcher::equal("tenant", "acme"), not("x", n)]));
        SeriesRequest {
            selectors: (0..selectors).map(selector).collect(),
            start: None,
            end: None,
            timeout: Duration::from_secs(30),
            turn: None,
        }
    }

    fn not(name: &str, n: usize) -> Matcher {
        Matcher { op: MatchOp::NotEqual, ..Matcher::equal(name, &n.to_string()) }
    }

    #[test]
    fn equal_selectors_are_found_and_copied_once() {
        let found = wanted(&request(&["a"; 19_000].join("+"), QueryTimes::Instant(NOW)));
        assert_eq!(found.expect("one").len(), 1);
        let text = "a + rate(a[1h]) + rate(b[1m])";
        let found = wanted(&request(text, QueryTimes::Instant(NOW))).expect("two");
        let got: Vec<(&str, i64)> = found
            .iter()
            .map(|(selector, span)| (selector.text(), (NOW.0 - span.after.0) / 1000))
            .collect();
        assert_eq!(got, [(r#"{__name__="a"}"#, 3600), (r#"{__name__="b"}"#, 60)]);
    }

    #[tokio::test]
    async fn more_selectors_than_anybody_means_are_refused() {
        let api = api(Some(one_series()), &[]);
        let text =
            |n: u32| (0..n).map(|n| format!("a{{x!=\"{n}\"}}")).collect::<Vec<_>>().join("+");
        let at = QueryTimes::Instant(NOW);
        api.query(request(&text(1000), at), turn()).await.expect("as many as are allowed");
        let error = api.query(request(&text(1001), at), turn()).await.expect_err("too many");
        assert_eq!(error.message, "1001 different selectors are more than 1000");
        assert_eq!(error.kind, ErrorKind::Execution);
        api.series(listing(1000)).await.expect("as many as are allowed");
        let error = api.series(listing(1001)).await.expect_err("too many");
        assert_eq!(error.message, "1001 different match[] are more than 1000");
        assert_eq!(error.kind, ErrorKind::BadData);
    }

    #[tokio::test]
    async fn a_listing_ends_when_its_time_is_over() {
        let late = SeriesRequest { timeout: Duration::ZERO, ..listing(2) };
        let error = api(Some(one_series()), &[]).series(late).await.expect_err("late");
        assert_eq!(error.kind, ErrorKind::Timeout);
    }

    fn one_series() -> Detached {
        let mut copy = Detached::default();
        let labels = Labels::from_pairs([(METRIC_NAME, "a"), ("tenant", "acme")]);
        let sample = |back: i64| Sample { at: Timestamp(NOW.0 - back), value: 7.0 };
        copy.add(&labels, &[sample(30_000), sample(0)]);
        copy
    }

    #[test]
    fn a_copy_reaches_as_far_back_as_the_query_looks() {
        let whole = i64::MIN;
        let range = QueryTimes::Range(Steps {
            start: Timestamp(NOW.0 - 60_000),
            end: NOW,
            step: Duration::from_secs(10),
        });
        let instant = QueryTimes::Instant(NOW);
        // How many seconds before NOW the span begins.
        let cases: [(&str, QueryTimes, &[i64]); 10] = [
            ("1", instant, &[]),
            ("a", instant, &[300]),
            ("a", range, &[360]),
            ("rate(a[1m])", instant, &[60]),
            ("rate(a[1m] offset 1m)", range, &[180]),
            ("a offset -1h", range, &[60]),
            ("a @ 17", instant, &[whole]),
            ("rate(a[1m] @ end())", range, &[120]),
            ("rate(a[range()]) / b", range, &[120, 360]),
            ("max_over_time(a[10m:1m])", instant, &[900]),
        ];
        for (text, times, want) in cases {
            let found = wanted(&request(text, times)).expect("few selectors");
            let seconds = |after: Timestamp| match after.0 {
                i64::MIN => whole,
                after => (NOW.0 - after) / 1000,
            };
            let got: Vec<i64> = found.iter().map(|(_, span)| seconds(span.after)).collect();
            assert_eq!(got, want, "{text}");
            assert!(found.iter().all(|(_, span)| span.upto == Timestamp(i64::MAX)), "{text}");
        }
        let lookback = Some(Duration::from_secs(400));
        let found = wanted(&QueryRequest { lookback, ..request("a", instant) });
        let found = found.expect("one selector");
        assert_eq!(found[0].1.after, Timestamp(NOW.0 - 400_000), "the client looks back further");
    }

    /// A panel over all that is kept by default, of a cAdvisor that tells of four processors each.
    #[tokio::test]
    async fn a_panel_of_500_containers_over_an_hour_is_no_heavy_query() {
        let (hour, retention) = (3_600_000, Duration::from_secs(3600));
        let caps = Caps { max_bytes: usize::MAX, ..Caps::default() };
        let mut window = Window::new(caps, Retention { least: retention, ..Retention::default() });
        for n in 0..2_000 {
            let (name, cpu) = ((n / 4).to_string(), (n % 4).to_string());
            let labels = [(METRIC_NAME, "a"), ("name", &name), ("cpu", &cpu)];
            let id = window.series(&Labels::from_pairs(labels)).expect("below the caps");
            for at in (NOW.0 - hour..=NOW.0).step_by(5_000) {
                window.append(id, Sample { at: Timestamp(at), value: at as f64 });
            }
        }
        let steps =
            Steps { start: Timestamp(NOW.0 - hour), end: NOW, step: Duration::from_secs(15) };
        let panel = request("sum by (name) (rate(a[5m]))", QueryTimes::Range(steps));
        let found = matching(&window.catalogue(None), &wanted(&panel).expect("one"), || false);
        let copy = window.copy(&found.expect("in time"), MAX_COPIED);
        let answer = api(copy, &[]).query(panel, turn()).await.expect("evaluated");
        let Value::Matrix(series) = answer.value else { panic!("a range of values") };
        assert_eq!(series.len(), 500);
    }

    #[tokio::test]
    async fn a_subquery_without_a_step_has_that_of_the_configuration_in_force() {
        let (view, views) = watch::channel(View::default());
        let api = Api { views, ..api(Some(one_series()), &[]) };
        for (seconds, want) in [(5, 12.0), (20, 3.0)] {
            let default_step = Duration::from_secs(seconds);
            view.send_replace(View { default_step, ..View::default() });
            let text = "count_over_time(vector(1)[1m:])";
            let answer = api.query(request(text, QueryTimes::Instant(NOW)), turn()).await;
            let want = Value::Vector(vec![(Labels::empty(), want)]);
            assert_eq!(answer.expect("evaluated").value, want, "{seconds}");
        }
    }

    #[tokio::test]
    async fn queries_are_evaluated_on_the_copy() {
        let api = api(Some(one_series()), &["b"]);
        let answer = api.query(request("sum(a) + 1", QueryTimes::Instant(NOW)), turn()).await;
        let answer = answer.expect("evaluated");
        assert_eq!(answer.value, Value::Vector(vec![(Labels::empty(), 8.0)]));
        assert_eq!(
            answer.warnings,
            ["metric \"b\" is not read by a rule and not in window.keep, so it is not kept; add \
                 it to window.keep to query it"]
        );
        let answer = api.query(request("rate(a[5m])", QueryTimes::Instant(NOW)), turn()).await;
        let infos = answer.expect("evaluated").infos;
        assert!(infos[0].starts_with("PromQL info: metric might not be a counter"), "{infos:?}");
        let series = api.series(listing(0)).await.expect("listed").series;
        assert_eq!(series.len(), 1);
        assert_eq!(api.metrics_text(), "at 0\n");
        assert_eq!(api.reload().await.expect_err("scripted").message, "no");
    }

    /// Else readers that come and go would fill the host's cores with work nobody waits for.
    #[tokio::test]
    async fn a_query_ends_when_its_reader_goes_away() {
        let turns = Arc::new(tokio::sync::Semaphore::new(1));
        let turn = Turn::new(Arc::clone(&turns).try_acquire_owned().expect("it is free"));
        let api = api(Some(one_series()), &[]);
        let steps = Steps {
            start: NOW,
            end: NOW + Duration::from_secs(10_000),
            step: Duration::from_secs(1),
        };
        let heavy = "quantile_over_time(0.5, (vector(time()) % 7)[1h:1s])";
        let asked = api.query(request(heavy, QueryTimes::Range(steps)), turn);
        // Long enough to have begun; the reader would wait 30 s.
        assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err());
        let freed = tokio::time::timeout(Duration::from_secs(20), turns.acquire()).await;
        assert!(freed.is_ok(), "the turn ends with the evaluation");
    }

    #[tokio::test]
    async fn queries_over_a_bound_fail_with_prometheus_words() {
        let now = QueryTimes::Instant(NOW);
        let error = api(None, &[]).query(request("a", now), turn()).await.expect_err("too many");
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Execution, TOO_MANY));
        let late = QueryRequest { timeout: Duration::ZERO, ..request("a", now) };
        let error = api(Some(one_series()), &[]).query(late, turn()).await.expect_err("late");
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert_eq!(error.message, "query timed out in expression evaluation");
        let stopped = Api { questions: mpsc::channel(1).0, ..api(None, &[]) };
        let error = stopped.query(request("a", now), turn()).await.expect_err("nobody answers");
        assert_eq!(error.kind, ErrorKind::Stopping);
    }
}
