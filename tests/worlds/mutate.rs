//! Planted faults: each a way in which the engine could be wrong, played by what stands between it
//! and the world. The engine itself is never touched, and nothing of this is in what ships.
//!
//! A fault alters what the engine is told, what it is set up with, what it remembers over a restart,
//! or what becomes of its steps. What the checkers believe stays what the plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use plimsoll::base::{Change, DeliveryId, Table};
use plimsoll::engine::Setup;
use plimsoll::outbox::{ActionKind, Attempt, Delivery, Event, EventType};
use plimsoll::policy::{Mode, WindowKind};

use super::check::Check;

/// One planted fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// A third of the edges is thrown away as if it had been delivered.
    DropEdges,
    /// What is tried a second time goes out under another id.
    NewIds,
    /// An event is overtaken by those that come after it.
    Overtaken,
    /// The journal says that it has written what it has not.
    EarlyReceipts,
    /// Requests leave half an hour after they were handed over.
    LateRequests,
    /// They linger for ten minutes on their way, while the guards they passed close: one world for each.
    LingeringRequests,
    /// Restarts per tenant and day are not counted.
    NoTenantBudget,
    /// Restarts per host and hour are not counted.
    NoHostBudget,
    NoCoolDown,
    ManyAtOnce,
    NoInterlock,
    /// After a restart of the process nobody knows what was done before.
    ForgetActions,
    /// Old samples come under new times.
    FreshStamps,
    /// Nobody sees who waits for the CPU.
    HideWaiting,
    /// Nobody sees that the host is short of memory.
    HidePressure,
    /// The other targets seem to have nothing to show when they do not answer.
    HideDeadTargets,
    /// A database is taken for an application.
    DatabaseIsApp,
    /// Containers seem to have been up for hours.
    OldStarts,
    NoChangeGrace,
    NoMaintenance,
    NoQuietHours,
    /// Nobody tells of backups.
    HideBusy,
    /// Nobody tells of the kill switch.
    HideKill,
    /// How a restart ended is thrown away.
    DropOutcomes,
    /// A restart that did not help is called good.
    CallGood,
    /// What is passed on to people is thrown away.
    DropAdvice,
    /// What is passed on to people goes to the customer instead.
    SellAdvice,
    NudgeAtOnce,
    NudgeOften,
    /// After a restart of the process what was needed in the last weeks cannot be read.
    SpoilRows,
    /// After a restart of the process nobody knows whose the services are that were spoken of before.
    ForgetCustomers,
    /// Customers are spoken to, whatever was said of that.
    NudgeAnyway,
    /// They are offered what they have.
    OfferTheSame,
    /// That an offer is void is thrown away.
    DropCancellations,
    /// A receipt that comes twice has another id each time.
    NewReceipts,
    /// The document of tenants does not tell who is suspended …
    HideStates,
    /// … or who agrees to what.
    HideConsent,
    /// Containers are believed who they say they are.
    BelieveForged,
    /// Half of what a plan promises is taken for a plan.
    HideDrift,
    /// Nobody sees that what fills memory can be reclaimed.
    HideReclaimable,
    /// Every door seems to be open.
    HideDoors,
    /// That a door stays shut after a change is thrown away.
    DropGateNews,
}

/// What may turn red when requests leave late.
const ON_LEAVING: &[Check] = &[
    Check::Order,
    Check::Expired,
    Check::Interlock,
    Check::Blind,
    Check::Busy,
    Check::Maintenance,
    Check::Stale,
    Check::KillSwitch,
    Check::QuietHours,
    Check::OneAtATime,
    Check::Concluded,
    Check::LeakerEscalated,
    Check::NotActive,
    Check::NotAgreed,
    Check::ShutDoor,
];

impl Mutation {
    /// Each with a world in which it showed itself, the checkers that must turn red, and those that
    /// may besides.
    pub const ALL: [(Mutation, u64, &[Check], &[Check]); 52] = {
        use Check::*;
        use Mutation::*;
        [
            (DropEdges, 0, &[EdgeLost], &[NudgeGoverned]),
            (NewIds, 0, &[SecondId], &[]),
            (Overtaken, 0, &[Order], &[EdgeLost]),
            (EarlyReceipts, 0, &[BeforeCommit], &[EdgeLost, SecondId]),
            (LateRequests, 0, &[Expired], ON_LEAVING),
            (LingeringRequests, 2, &[Interlock], ON_LEAVING),
            (LingeringRequests, 2, &[Blind], ON_LEAVING),
            (LingeringRequests, 201, &[Maintenance], ON_LEAVING),
            (LingeringRequests, 8, &[Stale], ON_LEAVING),
            (LingeringRequests, 0, &[KillSwitch], ON_LEAVING),
            (LingeringRequests, 0, &[Busy], ON_LEAVING),
            (LingeringRequests, 2, &[QuietHours], ON_LEAVING),
            (LingeringRequests, 0, &[ShutDoor], ON_LEAVING),
            (LingeringRequests, 0, &[NotActive], ON_LEAVING),
            (LingeringRequests, 0, &[NotAgreed], ON_LEAVING),
            (NoTenantBudget, 0, &[TenantBudget], &[LeakerEscalated]),
            (NoHostBudget, 1, &[HostBudget], &[]),
            (NoCoolDown, 0, &[CoolDown], &[]),
            (ManyAtOnce, 2, &[OneAtATime], &[]),
            (NoInterlock, 4, &[Interlock], &[]),
            (
                ForgetActions,
                3,
                &[TenantBudget],
                &[
                    CoolDown,
                    HostBudget,
                    OneAtATime,
                    NudgeGoverned,
                    LeakerEscalated,
                    SecondId,
                    Concluded,
                ],
            ),
            (FreshStamps, 2, &[Stale], &[Victim, EdgeLost, LeakNudged, LeakerEscalated]),
            (HideWaiting, 1, &[Victim], &[]),
            (HidePressure, 2, &[Pressure], &[]),
            (HideDeadTargets, 1, &[Blind], &[]),
            (DatabaseIsApp, 26, &[Role], &[]),
            (OldStarts, 1, &[StartGrace], &[]),
            (NoChangeGrace, 184, &[RecentChange], &[]),
            (NoMaintenance, 3, &[Maintenance], &[]),
            (NoQuietHours, 81, &[QuietHours], &[]),
            (HideBusy, 9, &[Busy], &[]),
            (HideKill, 6, &[KillSwitch], &[]),
            (DropOutcomes, 0, &[Concluded], &[]),
            (CallGood, 5, &[TrueVerdict], &[SilentPass]),
            (DropAdvice, 7, &[LeakerEscalated], &[Order, EdgeLost, RefusedTold]),
            (DropAdvice, 6, &[RefusedTold], &[Order, EdgeLost, LeakerEscalated]),
            (
                SellAdvice,
                0,
                &[LeakNudged],
                &[
                    NudgeGoverned,
                    QuietHours,
                    Pressure,
                    LeakerEscalated,
                    OffByDefault,
                    CalledOff,
                    PlanFits,
                ],
            ),
            (NudgeAtOnce, 2, &[NudgeGoverned], &[]),
            (NudgeOften, 2, &[NudgeGoverned], &[]),
            (SpoilRows, 1, &[Sound], &[]),
            (ForgetCustomers, 1, &[NudgeGoverned], &[]),
            (NudgeAnyway, 1, &[OffByDefault], &[]),
            (OfferTheSame, 2, &[PlanFits], &[]),
            (DropCancellations, 2, &[CalledOff], &[Order]),
            (NewReceipts, 0, &[ReceiptTwice], &[]),
            (HideStates, 15, &[NotActive], &[]),
            (HideConsent, 2, &[NotAgreed], &[]),
            (BelieveForged, 0, &[Foreign], &[Role, StartGrace, LeakerEscalated]),
            (HideDrift, 105, &[Drift], &[PlanFits]),
            (HideReclaimable, 5, &[PageCache], &[]),
            (HideDoors, 20, &[ShutDoor, SilentPass], &[GateTold]),
            (DropGateNews, 7, &[GateTold], &[]),
        ]
    };

    /// Alters what the engine is set up with.
    pub fn alter_setup(self, setup: &mut Setup) {
        let limits = &mut setup.policy.limits;
        let calendar = &mut setup.policy.calendar.0;
        match self {
            Mutation::NoTenantBudget => limits.restarts_per_tenant_day = 1000,
            Mutation::NoHostBudget => limits.restarts_per_host_hour = 1000,
            Mutation::NoCoolDown => limits.restart_cool_down = Duration::ZERO,
            Mutation::ManyAtOnce => limits.restarts_at_once = 1000,
            Mutation::NoInterlock => setup.policy.interlock.tenants = 1000,
            Mutation::NoChangeGrace => limits.after_change = Duration::ZERO,
            Mutation::NudgeAtOnce => limits.nudge_episodes = 1,
            Mutation::NudgeAnyway => drop(setup.policy.modes.insert(ActionKind::Nudge, Mode::Act)),
            Mutation::NudgeOften => limits.nudge_cool_down = Duration::from_secs(60),
            Mutation::NoMaintenance => calendar.retain(|e| e.kind != WindowKind::Maintenance),
            Mutation::BelieveForged => {
                setup.identity.iter_mut().for_each(|identity| identity.trust_labels = true);
            }
            Mutation::NoQuietHours => calendar.retain(|e| e.kind != WindowKind::QuietHours),
            _ => {}
        }
    }

    /// What a process that starts finds of this row.
    pub fn recalled(self, mut row: Change) -> Option<Change> {
        if self == Mutation::SpoilRows && row.key.starts_with("usage/") {
            row.value = Some(b"?".to_vec());
        }
        if !row.key.starts_with("actions/") {
            return Some(row);
        }
        if self == Mutation::ForgetCustomers {
            row.value = row.value.as_deref().map(without_customers);
        }
        (self != Mutation::ForgetActions).then_some(row)
    }

    /// What is told instead of this delivery.
    fn rewritten(self, delivery: Delivery) -> Option<Delivery> {
        let mut event: Event = delivery.event().expect("the engine wrote it");
        match (self, event.event_type) {
            // Advice as if it were a nudge.
            (Mutation::SellAdvice, EventType::AdviceGiven) => {
                event.event_type = EventType::UpgradeSuggested;
                event.data.action.iter_mut().for_each(|action| action.kind = ActionKind::Nudge);
            }
            (Mutation::CallGood, EventType::ActionFailed) => {
                let result = event.data.verification.as_mut().map(|done| &mut done.result);
                let result = result.filter(|result| result.as_deref() == Some("ineffective"))?;
                *result = Some("effective".to_owned());
                event.event_type = EventType::ActionVerified;
            }
            (Mutation::OfferTheSame, EventType::UpgradeSuggested) => {
                let present = event.data.plan.clone().unwrap_or_default();
                let params = event.data.action.as_mut().map(|action| &mut action.params)?;
                params.insert("to".to_owned(), present.into());
            }
            _ => return None,
        }
        let body = Arc::from(event.to_body());
        Some(Delivery { event_type: event.event_type, body, ..delivery })
    }

    /// Whether the delivery is thrown away.
    fn throws_away(self, delivery: &Delivery) -> bool {
        match self {
            Mutation::DropEdges => {
                delivery.event_type == EventType::AlertFiring && delivery.sequence.is_multiple_of(3)
            }
            Mutation::DropOutcomes => {
                let kind = delivery.event_type;
                kind == EventType::ActionVerified || kind == EventType::ActionFailed
            }
            Mutation::DropCancellations => {
                let kind = || delivery.event().and_then(|event| event.data.action).map(|a| a.kind);
                delivery.event_type == EventType::ActionExpired && kind() == Some(ActionKind::Nudge)
            }
            Mutation::DropAdvice => delivery.event_type == EventType::AdviceGiven,
            Mutation::DropGateNews => delivery.event_type == EventType::ChangeVerificationFailed,
            _ => false,
        }
    }
}

/// What to do with an attempt.
pub enum Fate {
    /// It leaves as it should.
    Leaves,
    /// The engine is told that it was taken, and nobody gets it.
    Vanishes,
    /// The engine is told that it was taken; it leaves that much later.
    Waits(Duration),
    /// It leaves, and so does a copy under another id.
    Doubles(DeliveryId),
}

/// A fault at work.
#[derive(Default)]
pub struct Mutant {
    pub mutation: Option<Mutation>,
    thrown: BTreeSet<DeliveryId>,
    rewritten: BTreeMap<DeliveryId, Arc<str>>,
}

impl Mutant {
    pub fn new(mutation: Option<Mutation>) -> Mutant {
        Mutant { mutation, ..Mutant::default() }
    }

    /// Alters changes on their way to the journal.
    pub fn alter_changes(&mut self, changes: &mut Vec<Change>) {
        let Some(mutation) = self.mutation else { return };
        changes.retain_mut(|change| {
            let (Table::Outbox, Some(row)) = (change.table, &mut change.value) else { return true };
            let delivery: Delivery = serde_json::from_slice(row).expect("a row is a delivery");
            if mutation.throws_away(&delivery) {
                self.thrown.insert(delivery.id);
                return false;
            }
            if let Some(other) = mutation.rewritten(delivery) {
                *row = serde_json::to_vec(&other).expect("a delivery is JSON");
                self.rewritten.insert(other.id, other.body);
            }
            true
        });
    }

    /// Alters an attempt on its way out.
    pub fn alter_attempt(&self, attempt: &mut Attempt) -> Fate {
        if let Some(body) = self.rewritten.get(&attempt.id) {
            attempt.body = Arc::clone(body);
        }
        if self.thrown.contains(&attempt.id) {
            return Fate::Vanishes;
        }
        let is_edge = !attempt.event_type.is_request();
        match self.mutation {
            Some(Mutation::LateRequests) if !is_edge => Fate::Waits(Duration::from_secs(1800)),
            Some(Mutation::LingeringRequests) if !is_edge => Fate::Waits(Duration::from_secs(600)),
            Some(Mutation::Overtaken) if attempt.event_type == EventType::AlertFiring => {
                Fate::Waits(Duration::from_secs(3000))
            }
            Some(Mutation::NewIds) if attempt.number > 1 => {
                Fate::Doubles(DeliveryId(format!("{}-{}", attempt.id, attempt.number)))
            }
            _ => Fate::Leaves,
        }
    }
}

/// The row of what was done for a service, as if no nudge were about anybody.
fn without_customers(row: &[u8]) -> Vec<u8> {
    let mut all: Vec<serde_json::Value> = serde_json::from_slice(row).expect("a row is a list");
    for done in all.iter_mut().filter(|done| done["kind"] == ActionKind::Nudge.name()) {
        done["tenant"] = "".into();
    }
    serde_json::to_vec(&all).expect("it is JSON")
}
