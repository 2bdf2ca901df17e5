//! How the demand of each service lies to the plans, for those who look: `plimsoll plans`, the digest.
//!
//! Nobody is written to for it. Made anew whenever usage was looked at, so that readers cost nothing.

use std::collections::BTreeMap;

use super::Engine;
use super::evidence::vector;
use crate::base::Timestamp;
use crate::policy::{Fit, fit, plan_binds};

/// Services of tenants, with the plan that sets their limits.
const PLANS: &str = "group by (service, plan, role) \
     (container_memory_working_set_bytes{service!=\"\",tenant!=\"\",plan!=\"\"})";

/// A service's demand beside its plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    /// The plan it is on.
    pub plan: String,
    /// How its demand lies to that plan and the others.
    pub fit: Fit,
}

impl Engine {
    /// Every service of which enough was seen, by name.
    pub(super) fn compare_plans(&self, at: Timestamp) -> BTreeMap<String, Compared> {
        let policy = &self.setup.policy;
        let found = vector(PLANS, &self.window, at, &self.setup.eval);
        let compared = found.iter().filter_map(|(labels, _)| {
            let label = |name| labels.get(name).unwrap_or_default();
            let service = self.memory.usage.get(label("service"))?;
            plan_binds(label("role")).then_some(())?;
            let plan = label("plan").to_owned();
            let fit = fit(service, &policy.plans, &plan, &policy.fitting)?;
            let is_enough = fit.confidence >= policy.fitting.confidence;
            is_enough.then(|| (label("service").to_owned(), Compared { plan, fit }))
        });
        compared.collect()
    }
}
