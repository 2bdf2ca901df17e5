//! One target's scrapes: the page streamed into the scanner, with the series cache between them.

use std::sync::Arc;

use super::error::{ScrapeError, ScrapeErrorKind as Kind};
use super::fetch::{Ask, Page, open};
use super::target::Target;
use crate::base::{HashSet, Labels, LabelsBuilder};
use crate::endpoint::Pool;
use crate::exposition::{
    Batch, Format, Problem, Room, Scan, ScanError, Selection, SeriesCache, m2,
};
use crate::relabel;

/// Put before a label of the page that the target has as well, until the name is free.
const EXPORTED_PREFIX: &str = "exported_";

/// How a target is scraped: what a reload may change.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: Arc<Target>,
    pub(super) pool: Arc<Pool>,
    /// What is kept of its pages.
    pub(super) selection: Arc<Selection>,
    /// Whether pages are handed on.
    pub(super) keep_pages: bool,
    /// Names that M2 may give the virtual host.
    pub(super) vhost_labels: Arc<[String]>,
    /// Another number means that what is cached may be wrong.
    pub(super) generation: u64,
}

/// What is known of a target's series between scrapes.
#[derive(Debug)]
pub(super) struct Session {
    cache: SeriesCache,
    generation: u64,
    /// Whether the last scrape got an answer, so that its connection may be kept.
    answered: bool,
}

impl Session {
    /// Knows nothing yet. What it will know takes of this room.
    pub(super) fn within(room: &Arc<Room>) -> Session {
        Session { cache: SeriesCache::within(room), generation: 0, answered: false }
    }

    /// Scrapes once. A failed scrape leaves the session as it was. `kept` gets the page's bytes, if
    /// they are wanted; it becomes `None` for a page that cannot be kept.
    pub(super) async fn scrape(
        &mut self,
        plan: &Plan,
        kept: &mut Option<Vec<u8>>,
    ) -> Result<Batch, ScrapeError> {
        if self.generation != plan.generation {
            self.cache.reset();
            self.generation = plan.generation;
        }
        let target = &plan.target;
        let ask = Ask {
            url: &target.url,
            socket: target.socket.as_ref(),
            http: &target.job.http,
            timeout: target.timeout,
            body_limit_bytes: target.job.limits.body_size_limit,
            may_be_kept: std::mem::take(&mut self.answered),
        };
        let opened = open(&plan.pool, ask).await;
        let no_answer =
            |error: &ScrapeError| matches!(error.kind, Kind::Setup | Kind::Connect | Kind::Timeout);
        self.answered = !opened.as_ref().is_err_and(no_answer);
        self.read(opened?, plan, kept).await
    }

    async fn read(
        &mut self,
        mut page: Page,
        plan: &Plan,
        kept: &mut Option<Vec<u8>>,
    ) -> Result<Batch, ScrapeError> {
        let job = &plan.target.job;
        let format = match Format::from_content_type(page.content_type().as_deref()) {
            Ok(format) => format,
            Err(_) if job.any_content_type => Format::Text,
            Err(error) => {
                let hint = "if it is text after all, set fallback_scrape_protocol: \
                            PrometheusText0.0.4";
                return Err(ScrapeError::new(Kind::ContentType, format!("{error}; {hint}")));
            }
        };
        if format != Format::Text {
            // Recordings are read in the text format, which counts time in other units.
            *kept = None;
        }
        let mut admit = |labels: &mut LabelsBuilder| {
            m2::normalise(labels, &plan.vhost_labels);
            add_target_labels(labels, &plan.target.labels, job.honor_labels);
            relabel::apply(&job.metric_relabel, labels)
        };
        let mut scan =
            Scan::begin(&mut self.cache, &plan.selection, format, &job.limits, &mut admit);
        while let Some(chunk) = page.next().await? {
            scan.feed(chunk.as_ref()).map_err(scan_error)?;
            keep(kept, chunk.as_ref());
        }
        let mut batch = scan.finish().map_err(scan_error)?;
        if !job.honor_timestamps {
            drop_timestamps(&mut batch);
        }
        Ok(batch)
    }
}

/// Larger pages are not handed on: they would take more memory than everything else together.
const MAX_KEPT_BYTES: usize = 32 << 20;

fn keep(kept: &mut Option<Vec<u8>>, chunk: &[u8]) {
    if let Some(bytes) = kept {
        bytes.extend_from_slice(chunk);
        if bytes.len() > MAX_KEPT_BYTES {
            *kept = None;
        }
    }
}

/// Gives a series its target's labels (`scrape/scrape.go`, `mutateSampleLabels`): with
/// `honor_labels` the page wins, else its own label moves to `exported_…`.
pub fn add_target_labels(labels: &mut LabelsBuilder, target: &Labels, honor_labels: bool) {
    let mut moved = Vec::new();
    for (name, value) in target.iter() {
        let own = labels.get(name);
        if !own.is_empty() && honor_labels {
            continue;
        }
        if !own.is_empty() {
            moved.push((name, own.to_owned()));
        }
        labels.set(name, value);
    }
    // Shorter names first, so that who gets which name does not depend on the order of labels.
    moved.sort_by_key(|(name, _)| name.len());
    for (name, own) in moved {
        let mut free = format!("{EXPORTED_PREFIX}{name}");
        while !labels.get(&free).is_empty() {
            free.insert_str(0, EXPORTED_PREFIX);
        }
        labels.set(&free, &own);
    }
}

/// For `honor_timestamps: false`. Repeats with newer times were different samples; without times
/// only the first of a series can stay.
pub fn drop_timestamps(batch: &mut Batch) {
    if batch.points.iter().all(|point| point.at.is_none()) {
        return;
    }
    let mut seen = HashSet::default();
    batch.points.retain_mut(|point| {
        point.at = None;
        seen.insert(point.id)
    });
}

fn scan_error(error: ScanError) -> ScrapeError {
    let kind = match error.problem {
        Problem::BodySize(_) => Kind::BodyLimit,
        Problem::SampleLimit(_) => Kind::SampleLimit,
        Problem::SeriesLimit(_) | Problem::SeriesBytes(_) | Problem::Repeats(_) => {
            Kind::SeriesLimit
        }
        Problem::LabelLimit(_) => Kind::LabelLimit,
        _ => Kind::Malformed,
    };
    let samples = (error.samples_scraped, error.samples_post_relabel);
    ScrapeError { samples, ..ScrapeError::new(kind, error.to_string()) }
}
