//! `/api/v1/plimsoll/plans`: what each tenant was promised, what is enforced, and what it uses.
//!
//! Promises are the catalogue in force; what is enforced and used is asked of the window, by queries
//! anyone can repeat.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::backend::{QueryAnswer, QueryRequest, QueryTimes, Turn};
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::{QUERY_TIMEOUT, Server, Shared};
use crate::base::{Labels, Timestamp};
use crate::engine::{CPU_USED, Compared, View};
use crate::policy::{Load, Plan, Standing, TenantState, plan_binds, standing};
use crate::promql::eval::Value;
use crate::promql::{ParseOptions, parse};

/// Figures of containers that belong to somebody, each a query; `$$` groups and selects.
const FIGURES: [(Figure, &str); 5] = [
    (Figure::Used, "max $by (container_memory_working_set_bytes$$)"),
    (Figure::Limit, "max $by (container_spec_memory_limit_bytes$$)"),
    (Figure::Soft, "max $by (container_spec_memory_reservation_limit_bytes$$)"),
    (Figure::Cores, CPU_USED),
    (
        Figure::Quota,
        "max $by (container_spec_cpu_quota$$ > 0) / max $by (container_spec_cpu_period$$)",
    ),
];
const BY: &str = "by (name, tenant, plan, role, service)";
const OWNED: &str = "{name!=\"\",tenant!=\"\"}";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Used,
    Limit,
    Soft,
    Cores,
    Quota,
}

type Figures = BTreeMap<Labels, BTreeMap<Figure, f64>>;

#[derive(Serialize)]
struct Answer<'a> {
    plans: Vec<Sold<'a>>,
    containers: Vec<Row<'a>>,
    documents: Vec<Document<'a>>,
    refused: Vec<Refused<'a>>,
}

#[derive(Serialize)]
struct Sold<'a> {
    plan: &'a str,
    order: u32,
    #[serde(flatten)]
    limits: Limits,
}

#[derive(Serialize)]
struct Row<'a> {
    tenant: &'a str,
    plan: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    container: &'a str,
    service: &'a str,
    role: &'a str,
    believed: Option<Limits>,
    enforced: Limits,
    used: Amount,
    headroom: Amount,
    /// How the demand of the last weeks lies to the plans; `null` while too little was seen.
    fit: Option<Fitting<'a>>,
    verdict: &'static str,
}

#[derive(Serialize)]
struct Fitting<'a> {
    /// The smallest plan that fits; `null`: no plan helps.
    plan: Option<&'a str>,
    direction: &'static str,
    confidence: f64,
    sentence: &'a str,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Limits {
    mem_limit_bytes: Option<f64>,
    mem_soft_bytes: Option<f64>,
    cpu_limit_cores: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Amount {
    memory_bytes: Option<f64>,
    cpu_cores: Option<f64>,
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    age_seconds: Option<f64>,
    error: Option<&'a str>,
    failures: u64,
}

#[derive(Serialize)]
struct Refused<'a> {
    container: &'a str,
    reason: &'a str,
}

pub(super) async fn plans(State(server): State<Shared>) -> Result<Response, ApiError> {
    let (view, now) = (server.backend.view(), server.backend.now());
    let (mut figures, mut notes) = (Figures::new(), Notes::default());
    for (figure, query) in FIGURES {
        let answer = ask(&server, query, now).await?;
        notes.warnings.extend(answer.warnings);
        let Value::Vector(found) = answer.value else { continue };
        for (labels, value) in found {
            figures.entry(labels).or_default().insert(figure, value);
        }
    }
    notes.warnings.sort();
    notes.warnings.dedup();
    forget_rates(&mut figures);
    Ok(format::success(&answer(&view, &figures), &notes))
}

/// A rate goes on for as long as it looks back. Whoever has nothing else had its labels until its owner
/// or plan was changed, or is gone.
fn forget_rates(figures: &mut Figures) {
    figures.retain(|_, known| known.keys().any(|figure| *figure != Figure::Cores));
}

async fn ask(server: &Server, query: &str, at: Timestamp) -> Result<QueryAnswer, ApiError> {
    let text = query.replace("$by", BY).replace("$$", OWNED);
    let parsed = parse(&text, &ParseOptions::default());
    let expr = parsed.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    let times = QueryTimes::Instant(at);
    let request = QueryRequest { text, expr, times, lookback: None, timeout: QUERY_TIMEOUT };
    let late = |_| ApiError::new(ErrorKind::Timeout, "query timed out in query queue");
    let turn = Arc::clone(&server.queries).acquire_owned();
    let turn = tokio::time::timeout(QUERY_TIMEOUT, turn).await.map_err(late)?;
    let turn = Turn::new(turn.expect("nobody closes the semaphore"));
    server.backend.query(request, turn).await
}

fn answer<'a>(view: &'a View, figures: &'a Figures) -> Answer<'a> {
    let owners = &*view.owners;
    let mut containers: Vec<Row<'_>> =
        figures.iter().map(|(labels, figures)| row(view, labels, figures)).collect();
    containers.sort_by_key(|row| (row.tenant, row.container));
    let sold = |plan: &'a Plan| Sold { plan: &plan.name, order: plan.order, limits: promise(plan) };
    let documents = view.documents.iter().map(|document| Document {
        name: document.name,
        age_seconds: document.age.map(|age| age.as_secs_f64()),
        error: document.error.as_deref(),
        failures: document.failures,
    });
    let refused = owners.refused.iter();
    Answer {
        plans: owners.plans.iter().map(sold).collect(),
        containers,
        documents: documents.collect(),
        refused: refused.map(|(container, reason)| Refused { container, reason }).collect(),
    }
}

fn row<'a>(view: &'a View, labels: &'a Labels, figures: &BTreeMap<Figure, f64>) -> Row<'a> {
    let owners = &*view.owners;
    let label = |name| labels.get(name).unwrap_or_default();
    let get = |figure| figures.get(&figure).copied();
    let load = Load {
        mem_limit_bytes: get(Figure::Limit),
        cpu_limit_cores: get(Figure::Quota),
        mem_used_bytes: get(Figure::Used),
        cpu_used_cores: get(Figure::Cores),
    };
    let (tenant, plan) = (label("tenant"), label("plan"));
    let binds = plan_binds(label("role"));
    let promised = owners.plans.get(plan).filter(|_| binds);
    let room = |limit: Option<f64>, used: Option<f64>| {
        limit.filter(|limit| *limit > 0.0).zip(used).map(|(limit, used)| limit - used)
    };
    Row {
        tenant,
        plan,
        state: owners.tenants.get(tenant).and_then(|known| known.state).map(TenantState::name),
        container: label("name"),
        service: label("service"),
        role: label("role"),
        believed: promised.map(promise),
        enforced: Limits {
            mem_limit_bytes: load.mem_limit_bytes,
            mem_soft_bytes: get(Figure::Soft),
            cpu_limit_cores: load.cpu_limit_cores,
        },
        used: Amount { memory_bytes: load.mem_used_bytes, cpu_cores: load.cpu_used_cores },
        headroom: Amount {
            memory_bytes: room(load.mem_limit_bytes, load.mem_used_bytes),
            cpu_cores: room(load.cpu_limit_cores, load.cpu_used_cores),
        },
        fit: fitting(view, label("service"), plan).filter(|_| binds),
        verdict: verdict(
            standing(&load, promised, owners.thresholds.memory),
            plan,
            promised.is_some() || !binds,
        ),
    }
}

/// Of a plan that was changed since, nothing is known yet.
fn fitting<'a>(view: &'a View, service: &str, plan: &str) -> Option<Fitting<'a>> {
    let Compared { fit, .. } = view.fits.get(service).filter(|known| known.plan == plan)?;
    Some(Fitting {
        plan: fit.plan.as_deref(),
        direction: fit.direction.name(),
        confidence: fit.confidence,
        sentence: &fit.sentence,
    })
}

/// Room below a limit says nothing where nobody knows what the plan promises.
fn verdict(standing: Standing, plan: &str, is_known: bool) -> &'static str {
    match standing {
        Standing::Fits if !plan.is_empty() && !is_known => Standing::Unknown.name(),
        standing => standing.name(),
    }
}

fn promise(plan: &Plan) -> Limits {
    Limits {
        mem_limit_bytes: Some(plan.mem_limit_bytes as f64),
        mem_soft_bytes: Some(plan.mem_soft_bytes as f64),
        cpu_limit_cores: Some(plan.cpu_limit_cores),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::OwnersView;
    use crate::policy::{Direction, Fit, Tenant};

    #[test]
    fn every_query_parses() {
        for (_, query) in FIGURES {
            let text = query.replace("$by", BY).replace("$$", OWNED);
            assert!(parse(&text, &ParseOptions::default()).is_ok(), "{text}");
        }
    }

    #[test]
    fn who_has_only_a_rate_is_there_no_more() {
        let of = |plan| Labels::from_pairs([("name", "a"), ("tenant", "acme"), ("plan", plan)]);
        let mut figures = Figures::from([
            (of("free"), BTreeMap::from([(Figure::Cores, 0.2)])),
            (of("pro"), BTreeMap::from([(Figure::Cores, 0.2), (Figure::Used, 1.0)])),
        ]);
        forget_rates(&mut figures);
        assert_eq!(figures.into_keys().collect::<Vec<_>>(), [of("pro")]);
    }

    #[test]
    fn a_row_has_what_was_promised_what_is_enforced_and_what_is_left() {
        let gib = 1_073_741_824.0;
        let of = |name, plan, role| {
            let whose = [("tenant", "acme"), ("service", "acme/app")];
            let pairs = [("name", name), ("plan", plan), ("role", role)];
            Labels::from_pairs(pairs.into_iter().chain(whose))
        };
        let figures = BTreeMap::from([
            (Figure::Used, 0.25 * gib),
            (Figure::Limit, gib),
            (Figure::Cores, 0.125),
            (Figure::Quota, 0.5),
        ]);
        let suspended = Tenant { state: Some(TenantState::Suspended), ..Tenant::default() };
        let owners = OwnersView {
            tenants: BTreeMap::from([("acme".to_owned(), suspended)]),
            ..OwnersView::default()
        };
        let fit = Fit {
            plan: Some("free".to_owned()),
            direction: Direction::Down,
            confidence: 0.95,
            sentence: "on free, …".to_owned(),
        };
        let of_plan = |plan: &str| Compared { plan: plan.to_owned(), fit: fit.clone() };
        let fits = BTreeMap::from([("acme/app".to_owned(), of_plan("pro"))]);
        let view = View { owners: Arc::new(owners), fits: Arc::new(fits), ..View::default() };
        let all = Figures::from([
            (of("b", "free", "app"), figures.clone()),
            (of("a", "pro", "app"), figures.clone()),
            (of("c", "pro", "db"), figures.clone()),
            (of("e", "unheard of", "app"), figures.clone()),
            (of("f", "unheard of", "db"), figures),
            (of("d", "unheard of", "app"), BTreeMap::from([(Figure::Used, gib)])),
        ]);
        let answer = answer(&view, &all);
        assert_eq!(answer.plans.len(), 3);
        let verdicts: Vec<_> = answer.containers.iter().map(|r| (r.container, r.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("a", "limit differs"),
                ("b", "fits"),
                ("c", "fits"),
                ("d", "unknown"),
                ("e", "unknown"),
                ("f", "fits"),
            ]
        );
        let fits = answer.containers.iter().map(|row| Some(row.fit.as_ref()?.direction));
        assert_eq!(fits.collect::<Vec<_>>(), [Some("down"), None, None, None, None, None]);
        let b = &answer.containers[1];
        assert_eq!(b.headroom, Amount { memory_bytes: Some(0.75 * gib), cpu_cores: Some(0.375) });
        assert_eq!(b.believed.and_then(|limits| limits.mem_limit_bytes), Some(gib));
        assert_eq!((b.state, answer.containers[2].believed), (Some("suspended"), None));
    }
}
