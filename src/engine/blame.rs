//! Who presses on the host, when a tenant suffers from it: the others, by their share.
//!
//! A hold that blames the host or a neighbour is of little use without a name. Shares are of what
//! all services together use: memory that cannot simply be dropped, or CPU time.

use super::Engine;
use super::evidence::vector;
use crate::base::{Labels, Timestamp};
use crate::outbox::Offender;
use crate::policy::{HoldReason, Incident};

const MEMORY: &str = "sum by (service, tenant) (container_memory_working_set_bytes{service!=\"\"})";
pub(super) const CPU: &str =
    "sum by (service, tenant) (rate(container_cpu_usage_seconds_total{service!=\"\"}[5m]))";
/// So many are named.
const NAMED: usize = 5;
/// A smaller share is not worth a name.
const LEAST_SHARE: f64 = 0.05;

/// For people: `: globex/app has 62 % of the memory, initech/app 20 %`.
pub(super) fn named(offenders: &[Offender]) -> String {
    let percent = |offender: &Offender| (offender.share * 100.0).round();
    let of = |(nth, offender): (usize, &Offender)| match nth {
        0 => format!(
            ": {} has {} % of the {}",
            offender.service,
            percent(offender),
            offender.resource
        ),
        _ => format!(", {} {} %", offender.service, percent(offender)),
    };
    offenders.iter().enumerate().map(of).collect()
}

impl Engine {
    /// The services of others than the victim's tenant that use most of what the hold says is short; nobody
    /// for a hold that blames no other.
    pub(super) fn offenders(
        &self,
        reason: HoldReason,
        victim: &Incident,
        at: Timestamp,
    ) -> Vec<Offender> {
        let (resource, query) = match reason {
            HoldReason::HostPressure => ("memory", MEMORY),
            HoldReason::Neighbour => ("cpu", CPU),
            _ => return Vec::new(),
        };
        let used = vector(query, &self.window, at, &self.setup.eval);
        let total: f64 = used.iter().map(|(_, value)| value).sum();
        let (tenant, service) = (victim.label("tenant"), victim.label("service"));
        // What it does to itself is nobody else's doing.
        let is_own = |labels: &Labels| match tenant {
            "" => labels.get("service") == Some(service),
            _ => labels.get("tenant") == Some(tenant),
        };
        let others = used.iter().filter(|(labels, _)| !is_own(labels));
        let mut ranked: Vec<Offender> = others
            .map(|(labels, value)| Offender {
                service: labels.get("service").unwrap_or_default().to_owned(),
                tenant_id: labels.get("tenant").map(str::to_owned),
                resource: resource.to_owned(),
                share: value / total,
            })
            .filter(|offender| offender.share >= LEAST_SHARE)
            .collect();
        ranked.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.service.cmp(&b.service)));
        ranked.truncate(NAMED);
        ranked
    }
}
