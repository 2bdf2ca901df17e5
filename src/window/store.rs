//! All series of the window, found by labels, by metric name and by dense id.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::detached::Detached;
use super::matcher::Selector;
use super::retention::Retention;
use super::series::{Appended, Keeps, Series};
use super::source::{Selected, Source, Span};
use crate::base::{HashMap, Labels, Sample, Timestamp, is_stale};

/// A series of the window: dense, and good until the series is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SeriesId(pub u32);

/// The hard caps: beyond them new series are refused and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// `window.max_series`
    pub max_series: usize,
    /// `window.max_bytes`
    pub max_bytes: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { max_series: 200_000, max_bytes: DEFAULT_MAX_BYTES }
    }
}

/// What `window.max_bytes` is where nobody says otherwise.
pub const DEFAULT_MAX_BYTES: usize = 64 << 20;

/// Why a new series was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There are `window.max_series` already.
    #[error("the window holds `window.max_series` = {0} series already")]
    TooManySeries(usize),
    /// The window holds `window.max_bytes` already.
    #[error("the window holds `window.max_bytes` = {0} bytes already")]
    TooManyBytes(usize),
}

/// What the window holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Series.
    pub series: usize,
    /// Bytes on the heap, near enough.
    pub bytes: usize,
}

/// Recent samples per series.
///
/// Ids are dense and are reused only after [`Window::forget_expired`] has returned them, so who
/// keeps ids must drop the ones it returns.
#[derive(Debug)]
pub struct Window {
    caps: Caps,
    retention: Retention,
    series: Vec<Option<Series>>,
    free: Vec<SeriesId>,
    by_labels: HashMap<Labels, SeriesId>,
    by_name: HashMap<Arc<str>, Vec<SeriesId>>,
    bytes: usize,
    /// Selections that rules made, until a series comes or goes. Ids only, so a hit costs a lookup.
    selections: RefCell<HashMap<String, Arc<[SeriesId]>>>,
    /// Series of a metric by the value of one label, made when first asked for, until a series
    /// comes or goes: evidence and annotations ask about one container at a time.
    lookups: RefCell<HashMap<String, HashMap<String, Lookup>>>,
}

/// Ids by label value.
type Lookup = HashMap<String, Vec<SeriesId>>;

/// Heap cost of a series beside its samples and labels: slot, two index entries, table slack.
const SERIES_OVERHEAD_BYTES: usize = size_of::<Series>() + 64;
/// Samples are kept this much longer than asked: a group may evaluate late, at its own slot.
const SLACK: Duration = Duration::from_secs(15);
/// Selections remembered at once; rules have tens of selectors, so this only guards against misuse.
const MAX_SELECTIONS: usize = 4096;

impl Window {
    /// An empty window.
    pub fn new(caps: Caps, retention: Retention) -> Window {
        Window {
            caps,
            retention,
            series: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::default(),
            by_name: HashMap::default(),
            bytes: 0,
            selections: RefCell::default(),
            lookups: RefCell::default(),
        }
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        Usage { series: self.by_labels.len(), bytes: self.bytes }
    }

    /// Takes new caps and retention (a reload). Series over a lower cap stay until they end.
    pub fn configure(&mut self, caps: Caps, retention: Retention) {
        self.caps = caps;
        self.retention = retention;
        for series in self.series.iter_mut().flatten() {
            series.keeps = keeps(&self.retention, &series.labels);
        }
    }

    /// The id of a series, made if it is new.
    pub fn series(&mut self, labels: &Labels) -> Result<SeriesId, Refused> {
        if let Some(id) = self.id(labels) {
            return Ok(id);
        }
        if self.by_labels.len() >= self.caps.max_series {
            return Err(Refused::TooManySeries(self.caps.max_series));
        }
        if self.bytes >= self.caps.max_bytes {
            return Err(Refused::TooManyBytes(self.caps.max_bytes));
        }
        let series = Series::new(labels.clone(), keeps(&self.retention, labels));
        self.bytes += SERIES_OVERHEAD_BYTES + series.heap_bytes();
        let id = self.free.pop().unwrap_or_else(|| {
            self.series.push(None);
            SeriesId(u32::try_from(self.series.len() - 1).expect("max_series fits u32"))
        });
        self.series[id.0 as usize] = Some(series);
        self.by_labels.insert(labels.clone(), id);
        let name = labels.metric_name();
        match self.by_name.get_mut(name) {
            Some(ids) => ids.push(id),
            None => drop(self.by_name.insert(Arc::from(name), vec![id])),
        }
        self.forget_selections();
        Ok(id)
    }

    /// The id of a series, if there is one of these labels.
    pub fn id(&self, labels: &Labels) -> Option<SeriesId> {
        self.by_labels.get(labels).copied()
    }

    /// Adds a sample. Returns false if it is older than the newest one and was dropped; a sample of
    /// the same time replaces the value.
    pub fn append(&mut self, id: SeriesId, sample: Sample) -> bool {
        self.take(id, sample) != Appended::TooOld
    }

    /// As [`Window::append`]; says more of what became of the sample.
    pub fn take(&mut self, id: SeriesId, sample: Sample) -> Appended {
        let Some(series) = self.series.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            debug_assert!(false, "id {id:?} was forgotten, and its holder was told");
            return Appended::TooOld;
        };
        let before = series.heap_bytes();
        let appended = series.append(sample);
        self.bytes = self.bytes + series.heap_bytes() - before;
        appended
    }

    /// Writes the stale marker one millisecond after the series' last sample.
    pub fn end(&mut self, id: SeriesId) {
        if let Some(series) = self.series.get_mut(id.0 as usize).and_then(Option::as_mut) {
            let before = series.heap_bytes();
            series.end();
            self.bytes = self.bytes + series.heap_bytes() - before;
        }
    }

    /// Whether the series has a sample and has not ended.
    pub fn is_live(&self, id: SeriesId) -> bool {
        self.newest(id).is_some_and(|sample| !is_stale(sample.value))
    }

    /// The labels of a series.
    pub fn labels(&self, id: SeriesId) -> Option<&Labels> {
        Some(&self.series.get(id.0 as usize)?.as_ref()?.labels)
    }

    /// The newest sample of a series.
    pub fn newest(&self, id: SeriesId) -> Option<Sample> {
        self.series.get(id.0 as usize)?.as_ref()?.newest()
    }

    /// Forgets samples past their retention, and series that have none left; returns the ids of
    /// those, which may be given out again from now on.
    pub fn forget_expired(&mut self, now: Timestamp) -> Vec<SeriesId> {
        let mut forgotten = Vec::new();
        for (index, slot) in self.series.iter_mut().enumerate() {
            let Some(series) = slot else { continue };
            if series.expire(now) {
                continue;
            }
            let id = SeriesId(u32::try_from(index).expect("ids are u32"));
            self.bytes -= SERIES_OVERHEAD_BYTES + series.heap_bytes();
            self.by_labels.remove(&series.labels);
            if let Some(ids) = self.by_name.get_mut(series.labels.metric_name()) {
                ids.retain(|other| *other != id);
            }
            *slot = None;
            forgotten.push(id);
        }
        if !forgotten.is_empty() {
            self.by_name.retain(|_, ids| !ids.is_empty());
            self.free.extend(forgotten.iter().rev());
            self.forget_selections();
        }
        forgotten
    }

    /// Moves every sample in time: the wall clock has stepped by `by_ms`.
    pub fn rebase(&mut self, by_ms: i64) {
        self.series.iter_mut().flatten().for_each(|series| series.shift(by_ms));
    }

    /// The series that have a sample and have not ended, in id order.
    pub fn live(&self) -> impl Iterator<Item = (SeriesId, &Labels)> {
        let of_slot = |(index, slot)| {
            let series: &Series = Option::as_ref(slot)?;
            let id = SeriesId(u32::try_from(index).expect("ids are u32"));
            self.is_live(id).then_some((id, &series.labels))
        };
        self.series.iter().enumerate().filter_map(of_slot)
    }

    /// The slots from this one on, in the order of ids: labels and samples of each that is in use.
    pub(super) fn slots_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = Option<(&Labels, &[Sample])>> {
        let slots = self.series.iter().skip(first);
        slots.map(|slot| slot.as_ref().map(|series| (&series.labels, series.samples())))
    }

    /// The labels of the series of these metrics, or of every series.
    pub fn catalogue(&self, names: Option<&BTreeSet<String>>) -> Vec<Labels> {
        let Some(names) = names else {
            return self.series.iter().flatten().map(|series| series.labels.clone()).collect();
        };
        let ids = names.iter().filter_map(|name| self.by_name.get(name.as_str())).flatten();
        ids.filter_map(|id| self.labels(*id).cloned()).collect()
    }

    /// A copy of what a query needs, so that it can be evaluated elsewhere: these series, each
    /// named once. `None` if it would hold more than `max_samples`.
    pub fn copy(&self, wanted: &[(Labels, Span)], max_samples: usize) -> Option<Detached> {
        self.copied(wanted, max_samples, |samples| samples)
    }

    /// As [`Window::copy`], with the newest sample alone of each series.
    pub fn copy_newest(&self, wanted: &[(Labels, Span)], max_series: usize) -> Option<Detached> {
        self.copied(wanted, max_series, |samples| &samples[samples.len() - 1..])
    }

    fn copied(
        &self,
        wanted: &[(Labels, Span)],
        max_samples: usize,
        part: impl Fn(&[Sample]) -> &[Sample],
    ) -> Option<Detached> {
        let mut copy = Detached::default();
        for (labels, span) in wanted {
            let Some(id) = self.id(labels) else { continue };
            for Selected { labels, samples } in self.pick(&[id], *span) {
                copy.add(labels, part(samples));
                if copy.samples() > max_samples {
                    return None;
                }
            }
        }
        Some(copy)
    }

    /// Whether there is a series of that metric name.
    pub fn holds(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn forget_selections(&mut self) {
        self.selections.get_mut().clear();
        self.lookups.get_mut().clear();
    }

    /// The fewest series of a metric that one of the selector's fixed labels leaves, by indices that are made
    /// on first use; `None` if it fixes no label. `host` leaves all of a host, `name` leaves one.
    fn narrowest(&self, name: &str, selector: &Selector) -> Option<Vec<SeriesId>> {
        let mut lookups = self.lookups.borrow_mut();
        if !lookups.contains_key(name) {
            lookups.insert(name.to_owned(), HashMap::default());
        }
        let of_metric = lookups.get_mut(name)?;
        for (label, _) in selector.fixed_labels() {
            if !of_metric.contains_key(label) {
                of_metric.insert(label.to_owned(), self.index(name, label));
            }
        }
        let left = |(label, value): (&str, &str)| {
            of_metric.get(label).and_then(|lookup| lookup.get(value)).map_or(&[][..], Vec::as_slice)
        };
        selector.fixed_labels().map(left).min_by_key(|ids| ids.len()).map(<[SeriesId]>::to_vec)
    }

    /// The series of a metric by the value of this label, where they have it.
    fn index(&self, name: &str, label: &str) -> Lookup {
        let mut lookup = Lookup::default();
        for id in self.by_name.get(name).into_iter().flatten() {
            let series = self.series[id.0 as usize].as_ref();
            if let Some(value) = series.and_then(|series| series.labels.get(label)) {
                lookup.entry(value.to_owned()).or_default().push(*id);
            }
        }
        lookup
    }

    fn find(&self, selector: &Selector) -> Arc<[SeriesId]> {
        let matches = |id: &SeriesId| {
            let series = self.series[id.0 as usize].as_ref();
            series.is_some_and(|series| selector.matches(&series.labels))
        };
        let narrowed = selector.metric_name().and_then(|name| self.narrowest(name, selector));
        if let Some(ids) = narrowed {
            return ids.into_iter().filter(matches).collect();
        }
        match selector.metric_name() {
            Some(name) => match self.by_name.get(name) {
                Some(ids) => ids.iter().copied().filter(matches).collect(),
                None => Arc::default(),
            },
            None => (0..self.series.len() as u32).map(SeriesId).filter(matches).collect(),
        }
    }

    fn pick(&self, ids: &[SeriesId], span: Span) -> Vec<Selected<'_>> {
        let mut picked = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(series) = &self.series[id.0 as usize] else { continue };
            let samples = span.of(series.samples());
            if !samples.is_empty() {
                picked.push(Selected { labels: &series.labels, samples });
            }
        }
        picked
    }
}

impl Source for Window {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        if selector.metric_name().is_some() && selector.fixed_labels().next().is_some() {
            // As quick as a remembered selection, and there may be one for each container.
            return self.pick(&self.find(selector), span);
        }
        let mut selections = self.selections.borrow_mut();
        if let Some(ids) = selections.get(selector.text()) {
            return self.pick(ids, span);
        }
        let ids = self.find(selector);
        if selections.len() < MAX_SELECTIONS {
            selections.insert(selector.text().to_owned(), Arc::clone(&ids));
        }
        self.pick(&ids, span)
    }
}

fn keeps(retention: &Retention, labels: &Labels) -> Keeps {
    let ms = |kept: Duration| i64::try_from((kept + SLACK).as_millis()).unwrap_or(i64::MAX / 4);
    let all = retention.of(labels.metric_name());
    Keeps { all_ms: ms(all), newest_ms: ms(all.max(retention.newest)) }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::Matcher;
    use super::*;
    use crate::base::METRIC_NAME;

    const CAPS: Caps = Caps { max_series: 100, max_bytes: 1 << 20 };

    fn window(least_seconds: u64) -> Window {
        let least = Duration::from_secs(least_seconds);
        Window::new(CAPS, Retention { least, ..Retention::default() })
    }

    fn labels(name: &str, n: u32) -> Labels {
        Labels::from_pairs([(METRIC_NAME, name), ("n", &n.to_string())])
    }

    fn put(window: &mut Window, name: &str, n: u32, at_ms: i64) -> SeriesId {
        let id = window.series(&labels(name, n)).expect("below the caps");
        window.append(id, Sample { at: Timestamp(at_ms), value: f64::from(n) });
        id
    }

    fn up(window: &Window) -> Vec<String> {
        let selector = Selector::new(vec![Matcher::equal(METRIC_NAME, "up")]);
        let span = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
        window.select(&selector, span).iter().map(|s| s.labels.to_string()).collect()
    }

    #[test]
    fn selections_follow_the_series_that_come_and_go() {
        let mut window = window(60);
        put(&mut window, "up", 1, 0);
        put(&mut window, "down", 1, 0);
        assert_eq!(up(&window), [r#"up{n="1"}"#]);
        put(&mut window, "up", 2, 50_000);
        assert_eq!(up(&window), [r#"up{n="1"}"#, r#"up{n="2"}"#], "a new series is seen");
        let forgotten = window.forget_expired(Timestamp(80_000));
        assert_eq!(forgotten.len(), 2, "both series of time 0 are past 60 s + slack");
        assert_eq!(up(&window), [r#"up{n="2"}"#]);
        let reused = put(&mut window, "up", 3, 80_000);
        assert!(forgotten.contains(&reused), "a forgotten id is given out again");
        assert_eq!(up(&window), [r#"up{n="2"}"#, r#"up{n="3"}"#]);
    }

    #[test]
    fn a_fixed_label_finds_the_same_series_as_a_scan() {
        let mut window = window(60);
        let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
        let of = |window: &Window, n: &str| -> Vec<String> {
            let matchers = vec![Matcher::equal(METRIC_NAME, "up"), Matcher::equal("n", n)];
            let selected = window.select(&Selector::new(matchers), all);
            selected.iter().map(|s| s.labels.to_string()).collect()
        };
        put(&mut window, "up", 1, 0);
        put(&mut window, "down", 2, 0);
        assert_eq!((of(&window, "1"), of(&window, "2")), (vec![r#"up{n="1"}"#.to_owned()], vec![]));
        put(&mut window, "up", 2, 50_000);
        assert_eq!(of(&window, "2"), [r#"up{n="2"}"#], "the index follows");
        window.forget_expired(Timestamp(80_000));
        assert_eq!(of(&window, "1"), [""; 0]);
    }

    #[test]
    fn of_several_fixed_labels_the_one_that_leaves_fewest_is_looked_up() {
        let mut window = window(60);
        for n in 0..100 {
            let n = n.to_string();
            let labels = [(METRIC_NAME, "up"), ("host", "web-7"), ("n", n.as_str())];
            let id = window.series(&Labels::from_pairs(labels)).expect("there is room");
            window.append(id, Sample { at: Timestamp(0), value: 1.0 });
        }
        let equal = |pairs: &[(&str, &str)]| {
            let all = pairs.iter().chain(&[(METRIC_NAME, "up")]);
            Selector::new(all.map(|(name, value)| Matcher::equal(name, value)).collect())
        };
        for (fixed, looked_at, found) in [
            (&[("host", "web-7"), ("n", "7")][..], 1, 1),
            (&[("n", "7"), ("host", "web-8")], 0, 0),
            (&[("host", "web-7")], 100, 100),
        ] {
            let selector = equal(fixed);
            assert_eq!(window.narrowest("up", &selector).map(|ids| ids.len()), Some(looked_at));
            assert_eq!(window.find(&selector).len(), found, "{fixed:?}");
        }
        assert!(window.narrowest("up", &equal(&[])).is_none());
    }

    #[test]
    fn caps_refuse_and_name_the_setting() {
        let mut window = window(60);
        window.configure(Caps { max_series: 1, max_bytes: 1 << 20 }, Retention::default());
        put(&mut window, "up", 1, 0);
        put(&mut window, "up", 1, 1);
        let refused = window.series(&labels("up", 2)).expect_err("one is the cap");
        assert!(refused.to_string().contains("window.max_series"), "{refused}");
        window.configure(Caps { max_series: 9, max_bytes: 10 }, Retention::default());
        let refused = window.series(&labels("up", 2)).expect_err("bytes are used up");
        assert!(refused.to_string().contains("window.max_bytes"), "{refused}");
    }

    #[test]
    fn bytes_return_to_zero_when_all_is_forgotten() {
        let mut window = window(1);
        for n in 0..50 {
            for at in 0..100 {
                put(&mut window, "up", n, at * 100);
            }
        }
        assert!(window.usage().bytes > 50 * 16 * 10);
        window.forget_expired(Timestamp(i64::MAX / 2));
        assert_eq!(window.usage(), Usage::default());
    }

    #[test]
    fn rebase_moves_every_sample() {
        let mut window = window(60);
        let id = put(&mut window, "up", 1, 100_000);
        window.rebase(-40_000);
        assert_eq!(window.newest(id).map(|s| s.at), Some(Timestamp(60_000)));
        assert!(window.append(id, Sample { at: Timestamp(60_001), value: 1.0 }));
    }

    #[test]
    fn copies_are_bounded() {
        let mut window = window(600);
        for at in 0..10 {
            put(&mut window, "up", 1, at * 1000);
        }
        put(&mut window, "down", 1, 0);
        let selector = Selector::new(vec![Matcher::equal(METRIC_NAME, "up")]);
        let span = Span { after: Timestamp(2000), upto: Timestamp(8000) };
        let names = BTreeSet::from(["up".to_owned(), "none".to_owned()]);
        assert_eq!(window.catalogue(Some(&names)), [labels("up", 1)]);
        assert_eq!(window.catalogue(None), [labels("up", 1), labels("down", 1)]);
        let wanted = [(labels("up", 1), span), (labels("up", 7), span)];
        let copy = window.copy(&wanted, 6).expect("six samples");
        assert_eq!(copy.samples(), 6, "left-open, right-closed");
        assert!(window.copy(&wanted, 5).is_none());
        let newest = window.copy_newest(&wanted, 1).expect("one series");
        assert_eq!(newest.select(&selector, span)[0].samples.len(), 1);
        assert!(window.copy_newest(&wanted, 0).is_none());
        assert!(window.holds("up") && !window.holds("none"));
    }
}
