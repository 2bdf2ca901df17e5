//! Whose a container is, what they agreed to, and whether they are given what they pay for.

use plimsoll::base::Now;
use plimsoll::outbox::{ActionKind, Event};

use super::super::plan::Plan;
use super::guards::Request;
use super::{Check, Red};

/// What a tenant says against a request, until it leaves.
pub fn against(now: Now, request: &Request, plan: &Plan) -> Vec<(Check, String)> {
    let mut faults = Vec::new();
    if let Some(wishes) = plan.wishes.get(&request.tenant) {
        let (is_active, agreed) = wishes.at(now.monotonic);
        if !is_active {
            faults.push((Check::NotActive, "the tenant is suspended".to_owned()));
        }
        if !agreed.contains(&request.kind) {
            faults.push((Check::NotAgreed, "the tenant did not agree".to_owned()));
        }
    }
    let drifts = plan.specs.iter().any(|spec| spec.service() == request.service && spec.drifts);
    if drifts && request.kind == ActionKind::Nudge {
        faults.push((Check::Drift, "it has half of what its plan promises".to_owned()));
    }
    faults
}

/// Whether something is told of a container that is nobody's as if it were somebody's, or asked for it.
pub fn foreign(plan: &Plan, now: Now, event: &Event, red: &mut Red) {
    let data = &event.data;
    let Some(name) = data.labels.get("name") else { return };
    let Some(forged) = plan.specs.iter().find(|spec| spec.name == *name) else { return };
    let Some(victim) = &forged.forged_as else { return };
    let service = data.service.as_deref().unwrap_or_default();
    let is_anothers = plan.specs.iter().any(|spec| spec.service() == service);
    if data.tenant_id.is_some() || is_anothers || data.action.is_some() {
        red.add(Check::Foreign, || {
            let kind = event.event_type.name();
            format!("{:?}: {kind} of {name}, which only says that it is {victim}'s", now.monotonic)
        });
    }
}
