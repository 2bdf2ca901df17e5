//! An Alertmanager's own counters, read from its `/metrics`: what it tried to deliver, what arrived.
//!
//! Read when an incident is new to the instance and when one ends, never otherwise. A page that
//! cannot be read is no fault: the caller goes on as if it had not asked.

use std::time::Duration;

use super::alertmanager::AlertmanagerClient;
use crate::alerts::Tally;

/// Begun notifications (`notify.Metrics`, Alertmanager 0.25; since 0.16).
const NOTIFICATIONS: &str = "alertmanager_notifications_total";
/// Requests to receivers, and those that failed (since 0.22).
const REQUESTS: &str = "alertmanager_notification_requests_total";
const REQUESTS_FAILED: &str = "alertmanager_notification_requests_failed_total";

/// An end waits for this page, so it may not take as long as a post.
const PATIENCE: Duration = Duration::from_secs(2);

impl AlertmanagerClient {
    /// Reads the instance's counters from `GET /metrics`.
    pub async fn fetch_tally(&self) -> Result<Tally, String> {
        let page = self.get("metrics", PATIENCE).await?;
        let page = str::from_utf8(&page).map_err(|error| format!("its metrics: {error}"))?;
        tally(page)
    }
}

/// The counters of a page, each added up over its series.
fn tally(page: &str) -> Result<Tally, String> {
    let requests = sum(page, REQUESTS)?;
    Ok(Tally {
        tried: sum(page, NOTIFICATIONS)? + requests,
        delivered: requests.saturating_sub(sum(page, REQUESTS_FAILED)?),
    })
}

fn sum(page: &str, name: &str) -> Result<u64, String> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with(['{', ' ']);
        is_it.then(|| rest.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()))
    });
    let values: Option<Vec<f64>> = values.collect();
    match values {
        // Counters of requests are whole and far below 2^53.
        Some(values) if !values.is_empty() => Ok(values.iter().sum::<f64>() as u64),
        Some(_) => Err(format!("its metrics have no {name}")),
        None => Err(format!("its metrics have a {name} that is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up() {
        // As 0.25 shows them, and as newer ones do, with more labels.
        let page = "\
# TYPE alertmanager_notification_requests_failed_total counter
alertmanager_notification_requests_failed_total{integration=\"email\"} 0
alertmanager_notification_requests_failed_total{integration=\"webhook\",receiver_name=\"a b\"} 19
alertmanager_notification_requests_total{integration=\"email\"} 2
alertmanager_notification_requests_total{integration=\"webhook\",receiver_name=\"a b\"} 20
alertmanager_notifications_total{integration=\"email\"} 2
alertmanager_notifications_total{integration=\"webhook\"} 3
alertmanager_notifications_total_of_something_else 7
";
        assert_eq!(tally(page), Ok(Tally { tried: 27, delivered: 3 }));
        let older = "alertmanager_notifications_total{integration=\"email\"} 2\n";
        assert!(tally(older).expect_err("no requests").contains(REQUESTS));
        let odd = page.replace(" 20", " many");
        assert!(tally(&odd).expect_err("no number").contains("no number"));
        assert!(tally("<html>").is_err());
    }
}
