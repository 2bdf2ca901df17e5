//! Why an action was held, and what would lift the hold.
//!
//! One closed list, because a hold is shown in logs, metrics, the API and the story, and an operator
//! must find the same word in all of them.

/// Why an action was held. The name is the same in logs, metrics and the API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HoldReason {
    /// The rule asks for none.
    NoneAsked,
    /// The alert cannot be judged at the moment.
    AlertUnknown,
    /// The newest sample is too old.
    StaleEvidence,
    /// A figure the decision rests on is missing.
    MissingEvidence,
    /// No figure says that anything is wrong.
    NothingWrong,
    /// Nobody owns it, or many do, or nobody has said what it is.
    NotAttributable,
    /// The alert's labels name another owner than its container has, or the name it goes by and the
    /// container that was measured are two.
    OwnerDiffers,
    /// Databases, Redis, M2, shared and other containers are never restarted.
    RoleForbids,
    /// Many tenants share the container: it is not restarted for one of them.
    SharedContainer,
    /// The host belongs to another tenant.
    ForeignTenant,
    /// The tenant is not in a state in which anything is done for it.
    TenantNotActive,
    /// The tenant did not agree to this action.
    NotOptedIn,
    /// An operator has stopped all actions on this host.
    KillSwitch,
    /// So much of the host suffers at once that the host is the patient.
    HostIncident,
    /// A maintenance window is open.
    Maintenance,
    /// It is an hour at which customers are not spoken to.
    QuietHours,
    /// A backup or a migration is under way.
    Busy,
    /// It has only just started.
    StartGrace,
    /// It was deployed or changed a moment ago: the change is the suspect.
    RecentChange,
    /// Others that were given its image fell ill too: the image is the suspect.
    BadImage,
    /// What fills the memory is page cache, which the kernel takes back by itself.
    PageCache,
    /// The kernel killed, and that was all: memory is far from its limit again.
    Recovered,
    /// Asked for already in this episode.
    AlreadyAsked,
    /// It ran out before the Control Plane took it, which has not even heard of that yet.
    Unheard,
    /// The last one was too recent.
    CoolDown,
    /// The tenant had its share of restarts today.
    TenantBudget,
    /// The host had its share of restarts in this hour.
    HostBudget,
    /// Another restart is under way on this host.
    HostBusy,
    /// The host itself is short of memory or CPU: the tenant is not to blame.
    HostPressure,
    /// The tenant starves below its own quota: a neighbour is to blame.
    Neighbour,
    /// Health checks fail already; a restart would hide why.
    GatesFailing,
    /// Its workers start anew by themselves, and soon.
    RecycleDue,
    /// Not often enough yet.
    TooFewEpisodes,
    /// What was offered while it waits is not what would be offered now.
    OfferOutdated,
    /// What the tenant needs does not fit the next plan either.
    NextPlanTooSmall,
    /// The present plan, or a smaller one, would have fitted the demand of the last weeks.
    PresentPlanFits,
    /// Decided and recorded, but the mode is `observe`.
    Observe,
}

/// Each reason, its stable name, and what lifts it.
const TABLE: [(HoldReason, &str, &str); 37] = [
    (HoldReason::NoneAsked, "none_asked", "a rule label `action` that asks for something"),
    (HoldReason::AlertUnknown, "alert_unknown", "the alert's inputs coming back"),
    (HoldReason::StaleEvidence, "stale_evidence", "a fresh sample of the container"),
    (HoldReason::MissingEvidence, "missing_evidence", "the metrics the decision rests on"),
    (
        HoldReason::NothingWrong,
        "nothing_wrong",
        "figures beyond a threshold of `actions.diagnosis`",
    ),
    (
        HoldReason::NotAttributable,
        "not_attributable",
        "a tenant rule that names its owner and its role",
    ),
    (
        HoldReason::OwnerDiffers,
        "owner_differs",
        "labels that name the owner its container has, by one who measures it",
    ),
    (HoldReason::RoleForbids, "role_forbids", "nothing: this role is never restarted"),
    (
        HoldReason::SharedContainer,
        "shared_container",
        "nothing: a restart would hit every tenant in it",
    ),
    (
        HoldReason::ForeignTenant,
        "foreign_tenant",
        "a rule that names the tenant the host belongs to",
    ),
    (HoldReason::TenantNotActive, "tenant_not_active", "the tenant becoming active"),
    (HoldReason::NotOptedIn, "not_opted_in", "the tenant's consent (`opt_in`)"),
    (HoldReason::KillSwitch, "kill_switch", "removing the kill-switch file"),
    (HoldReason::HostIncident, "host_incident", "the end of the host incident"),
    (HoldReason::Maintenance, "maintenance", "the end of the maintenance window"),
    (HoldReason::QuietHours, "quiet_hours", "the end of the quiet hours"),
    (HoldReason::Busy, "busy", "the end of the backup or migration"),
    (HoldReason::StartGrace, "start_grace", "the container growing older than the start grace"),
    (HoldReason::RecentChange, "recent_change", "the change growing older"),
    (HoldReason::BadImage, "bad_image", "another image, or a week"),
    (HoldReason::PageCache, "page_cache", "memory that cannot be reclaimed"),
    (HoldReason::Recovered, "recovered", "another kill, or memory that fills up again"),
    (HoldReason::AlreadyAsked, "already_asked", "a new episode"),
    (HoldReason::Unheard, "unheard", "the Control Plane answering"),
    (HoldReason::CoolDown, "cool_down", "the end of the cool-down"),
    (HoldReason::TenantBudget, "tenant_budget", "a day passing since its first restart"),
    (HoldReason::HostBudget, "host_budget", "an hour passing since its first restart"),
    (HoldReason::HostBusy, "host_busy", "the outcome of the restart under way"),
    (HoldReason::HostPressure, "host_pressure", "the end of the pressure on the host"),
    (HoldReason::Neighbour, "neighbour", "the neighbour using less"),
    (HoldReason::GatesFailing, "gates_failing", "health, login and API passing again"),
    (
        HoldReason::RecycleDue,
        "recycle_due",
        "the workers' next start, or the alert outlasting one turn",
    ),
    (
        HoldReason::TooFewEpisodes,
        "too_few_episodes",
        "more episodes within `actions.nudge_episodes_within`",
    ),
    (HoldReason::OfferOutdated, "offer_outdated", "an offer of what there is now"),
    (HoldReason::NextPlanTooSmall, "next_plan_too_small", "a plan that fits"),
    (HoldReason::PresentPlanFits, "present_plan_fits", "more of the time with more demand"),
    (HoldReason::Observe, "observe", "mode `notify` or `act`"),
];

impl HoldReason {
    /// Every reason, for metrics that start at zero.
    pub fn all() -> impl Iterator<Item = HoldReason> {
        TABLE.iter().map(|(reason, ..)| *reason)
    }

    /// The stable name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What would lift the hold, for people. [`super::Circumstances::lifts`] says when, too.
    pub fn lifted_by(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (HoldReason, &'static str, &'static str) {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_list_and_names_are_their_own() {
        for (index, (reason, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let names: BTreeSet<&str> = HoldReason::all().map(HoldReason::name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert_eq!(HoldReason::Observe as usize + 1, TABLE.len(), "the last one is in the table");
    }
}
