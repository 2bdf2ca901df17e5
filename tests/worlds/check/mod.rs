//! What must hold, one checker per guard and promise. They see what goes into the engine, the steps
//! that come out, and the truth of the world; never the engine's own state or its arithmetic.
//!
//! `edges` judges what was told, `guards` what was asked for, `outcomes` what became of it.

mod book;
mod doors;
mod edges;
mod guards;
mod outcomes;
mod owners;
mod refused;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use plimsoll::base::{Change, Now, Table};
use plimsoll::engine::{Event, Fact};
use plimsoll::outbox::{self, ActionKind, Attempt, Delivery, Outcome, Reply};
use plimsoll::policy::WindowKind;

use self::book::Book;
use self::doors::Doors;
pub use self::doors::Knock;
use self::edges::Edges;
use self::guards::Guards;
use super::host::{Host, Shown, Sight};
use super::plan::Plan;

/// The promises, and the list of them.
macro_rules! checks {
    ($($(#[$about:meta])* $check:ident,)*) => {
        /// One promise.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Check {
            $($(#[$about])* $check,)*
        }

        impl Check {
            /// Every one: a planted fault must be able to turn each red.
            pub const ALL: &[Check] = &[$(Check::$check),*];
        }
    };
}

checks! {
    /// No edge is lost: what was committed arrives, each alert's edges make sense in their order, and
    /// at the end the Control Plane believes of each container what is true.
    EdgeLost,
    /// Nothing is told under two ids, and no id with two bodies.
    SecondId,
    /// What is about one tenant arrives in the order in which it was decided.
    Order,
    /// Nothing leaves before it is durable.
    BeforeCommit,
    /// No request leaves after it has expired.
    Expired,
    TenantBudget,
    HostBudget,
    CoolDown,
    OneAtATime,
    /// Many tenants ill at once are one host incident, and nobody is touched while it lasts. This and
    /// what follows holds from the decision until a request leaves.
    Interlock,
    /// Nobody is touched while most targets are dead.
    Blind,
    /// Nobody is touched on old evidence.
    Stale,
    /// Nobody is touched because others take its CPU.
    Victim,
    /// Nobody is asked to pay while the host itself is short of memory.
    Pressure,
    Role,
    StartGrace,
    RecentChange,
    Maintenance,
    QuietHours,
    Busy,
    KillSwitch,
    /// How each restart ended is told.
    Concluded,
    /// What is called effective was started anew, has let go of its memory, and ails no more.
    TrueVerdict,
    /// A leak that restarts do not cure, or may not cure any more today, reaches a person.
    LeakerEscalated,
    /// A leak that nobody may restart reaches a person.
    RefusedTold,
    /// Nobody is asked to pay for a leak.
    LeakNudged,
    /// Often enough, far enough apart, one for a tenant, whichever of its services it is about.
    NudgeGoverned,
    /// Nobody is spoken to where nobody has said that customers may be.
    OffByDefault,
    /// The plan that is offered is bigger, and has room for what is needed now.
    PlanFits,
    /// What is offered is called off when its cause has ended.
    CalledOff,
    /// A receipt counts once.
    ReceiptTwice,
    /// Nothing is done for a tenant that is suspended, being moved, or gone.
    NotActive,
    /// Nothing is done that a tenant did not agree to.
    NotAgreed,
    /// Who only says who it is, is nobody: nothing is done to it, and nothing of it is told of another.
    Foreign,
    /// Nobody is asked to pay while it is not given what it pays for.
    Drift,
    /// Nobody is touched for memory that the kernel takes back by itself.
    PageCache,
    /// Nobody is restarted whose customer cannot get in.
    ShutDoor,
    /// No restart is called good while the customer cannot get in.
    SilentPass,
    /// A door that stays shut after a restart or a deploy is told, and no other.
    GateTold,
    /// The engine neither spins nor fails a rule, nor leaves a row of its own unread.
    Sound,
}

/// Faults found: by checker, the first few in words.
#[derive(Clone, Debug, Default)]
pub struct Red(pub BTreeMap<Check, Vec<String>>);

const KEPT: usize = 3;

impl Red {
    pub fn add(&mut self, check: Check, what: impl FnOnce() -> String) {
        let all = self.0.entry(check).or_default();
        if all.len() < KEPT {
            all.push(what());
        }
    }
}

/// What the checkers know of the world as the engine was last told of it.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub sights: Vec<Sight>,
    /// When the host's own target last answered, and since when the host was short of memory then.
    pub node: Option<(Duration, Option<Duration>)>,
    /// When the process last started.
    pub alive_since: Duration,
    /// Steps of the wall clock so far.
    pub stepped: Vec<Duration>,
    /// When nobody had looked at the containers for long, until when that was.
    pub blind_until: Duration,
    pub last_look: Duration,
    /// Since when each target that is dead has not answered.
    pub dead_since: BTreeMap<usize, Duration>,
}

impl Truth {
    /// Whether most targets have been dead for so long that the engine must have seen it in a round.
    pub fn is_blind(&self, now: Now, plan: &Plan) -> bool {
        let within = plan.interlock.within + plan.interval;
        let dead = self.dead_since.values().filter(|since| now.monotonic > **since + within);
        2 * dead.count() > plan.targets()
    }
}

/// All checkers.
pub struct Checker {
    plan: Rc<Plan>,
    pub red: Red,
    /// How often each thing that matters happened: a check of what never happens proves nothing.
    pub counts: BTreeMap<&'static str, u64>,
    truth: Truth,
    book: Book,
    edges: Edges,
    guards: Guards,
    doors: Doors,
}

impl Checker {
    pub fn new(plan: &Rc<Plan>) -> Checker {
        Checker {
            plan: Rc::clone(plan),
            red: Red::default(),
            counts: BTreeMap::new(),
            truth: Truth::default(),
            book: Book::default(),
            edges: Edges::default(),
            guards: Guards::default(),
            doors: Doors::default(),
        }
    }

    /// Something that matters happened in the world.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A process has started with these rows.
    pub fn started<'a>(&mut self, now: Now, rows: impl Iterator<Item = &'a Change>) {
        self.truth.alive_since = now.monotonic;
        self.truth.sights.clear();
        self.truth.node = None;
        self.truth.dead_since.clear();
        self.doors.forget();
        self.book.restart(now, rows);
        self.count("starts");
    }

    /// The process has died; these changes were never committed.
    pub fn crashed(&mut self, lost: impl Iterator<Item = Change>) {
        for change in lost {
            if let (Table::Outbox, Some(row)) = (change.table, &change.value) {
                let id = delivery(row).id;
                self.edges.lost(&id);
                self.guards.lost(&id);
            }
        }
    }

    pub fn stepped(&mut self, now: Now) {
        self.truth.stepped.push(now.monotonic);
        // How long a target is dead is told by the wall clock.
        self.truth.dead_since.clear();
        self.count("clock steps");
    }

    /// The engine is told of a good scrape.
    pub fn scraped(&mut self, now: Now, shown: Shown) {
        match shown {
            Shown::Containers(sights) => {
                if now.monotonic > self.truth.last_look + 3 * self.plan.interval {
                    self.truth.blind_until = now.monotonic;
                }
                self.truth.last_look = now.monotonic;
                self.truth.sights = sights;
            }
            Shown::Node(pressed) => self.truth.node = Some((now.monotonic, pressed)),
            Shown::Nothing => {}
        }
    }

    /// A target has answered, or has not.
    pub fn answered(&mut self, now: Now, target: usize, well: bool) {
        match well {
            true => drop(self.truth.dead_since.remove(&target)),
            false => drop(self.truth.dead_since.entry(target).or_insert(now.monotonic)),
        }
        if self.truth.is_blind(now, &self.plan) {
            self.count("blind");
        }
    }

    /// The engine wants these changes durable.
    pub fn decided(&mut self, now: Now, changes: &[Change]) {
        // What a round does to alerts comes before what is decided about them.
        self.book.take(now, changes);
        let rows = changes.iter().filter(|change| change.table == Table::Outbox);
        let deliveries: Vec<Delivery> =
            rows.filter_map(|change| change.value.as_deref()).map(delivery).collect();
        for delivery in &deliveries {
            if let Some(event) = self.edges.decided(now, delivery, &mut self.red) {
                self.take_event(now, delivery, &event);
            }
        }
        self.must_be_frozen(now);
    }

    fn take_event(&mut self, now: Now, delivery: &Delivery, event: &outbox::Event) {
        *self.counts.entry(event.event_type.name()).or_default() += 1;
        self.guards.note(now, event);
        owners::foreign(&self.plan, now, event, &mut self.red);
        self.doors.note(now, event, (&self.guards, &self.truth), &mut self.red);
        let view = guards::View {
            plan: &self.plan,
            truth: &self.truth,
            book: &self.book,
            doors: &self.doors,
        };
        outcomes::note(&mut self.guards, now, event, &view, &mut self.red);
        self.guards.judge(now, (delivery, event), &view, &mut self.red);
    }

    /// Many tenants fell ill in this step, and the host is not told to be the patient.
    fn must_be_frozen(&mut self, now: Now) {
        let together = self.book.fell_ill_together(now);
        let many = self.plan.interlock;
        let is_many =
            together >= many.tenants && together as f64 > many.share * self.tenants_seen() as f64;
        if is_many && !self.guards.host_is_ill() {
            self.red.add(Check::Interlock, || {
                format!(
                    "{:?}: {together} tenants fell ill at once, no host incident",
                    now.monotonic
                )
            });
        }
    }

    /// Tenants the engine can know of.
    fn tenants_seen(&self) -> usize {
        self.plan.tenants
    }

    /// The journal has these changes.
    pub fn committed(&mut self, changes: &[Change]) {
        for change in changes {
            if let (Table::Outbox, Some(row)) = (change.table, &change.value) {
                let id = delivery(row).id;
                self.edges.committed(&id);
                self.guards.committed(&id, &mut self.red);
            }
        }
    }

    /// A webhook leaves the house.
    pub fn sent(&mut self, now: Now, attempt: &Attempt) {
        self.edges.sent(now, attempt, &mut self.red);
        let view = guards::View {
            plan: &self.plan,
            truth: &self.truth,
            book: &self.book,
            doors: &self.doors,
        };
        self.guards.sent(now, attempt, &view, &mut self.red);
    }

    /// A webhook reaches the Control Plane.
    pub fn arrived(&mut self, now: Now, attempt: &Attempt) {
        self.edges.arrived(now, attempt, &mut self.red);
        self.guards.request(&attempt.id.0, |request| request.arrived = true);
    }

    /// The engine is told something: that a request was taken, for one.
    pub fn told(&mut self, now: Now, event: &Event) {
        let id = match event {
            Event::Delivered(Reply { id, outcome: Outcome::Accepted(_), .. }) => &id.0,
            Event::Statement { statement, .. } => &statement.delivery_id,
            _ => return,
        };
        let receipted = matches!(event, Event::Statement { .. });
        self.guards.request(id, |request| {
            request.accepted.get_or_insert(now.monotonic);
            request.receipted |= receipted;
        });
    }

    /// Whether the wall clock has stepped since.
    pub fn stepped_since(&self, at: Duration) -> bool {
        self.truth.stepped.last().is_some_and(|step| *step >= at)
    }

    /// What an operator or the Control Plane has switched.
    pub fn switched(&mut self, kill: bool, busy: Vec<String>) {
        self.guards.switched(kill, busy);
    }

    pub fn executed(&mut self, now: Now, id: &str) {
        self.guards.request(id, |request| request.executed = Some(now.monotonic));
        self.count("executed");
    }

    /// The engine is told how a door was found.
    pub fn knocked(&mut self, now: Now, knock: Knock) {
        self.doors.heard(now, knock);
    }

    /// The engine has been told that the receiver will not do it, or could not.
    pub fn refused(&mut self, now: Now, id: &str) {
        self.guards.request(id, |request| {
            request.conclude(now.monotonic, true);
            request.void = request.kind == ActionKind::Restart;
        });
    }

    /// The engine said of a receipt that it counts.
    pub fn receipt_taken(&mut self, id: &str, times: u32) {
        self.count("receipts");
        if times > 1 {
            self.red.add(Check::ReceiptTwice, || format!("receipt {id} counts {times} times"));
        }
    }

    pub fn fact(&mut self, now: Now, fact: &Fact) {
        match fact {
            Fact::Held { reason, .. } => self.count(reason.name()),
            Fact::RuleFailed { .. } | Fact::RowUnreadable { .. } | Fact::SeriesRefused { .. } => {
                self.red.add(Check::Sound, || format!("{:?}: {fact:?}", now.monotonic));
            }
            _ => {}
        }
    }

    pub fn unsound(&mut self, what: String) {
        self.red.add(Check::Sound, || what);
    }

    /// Looked at once an interval: what is owed by now.
    pub fn look(&mut self, now: Now) {
        outcomes::concluded(&self.guards, now, &self.plan, &mut self.red);
        let view = guards::View {
            plan: &self.plan,
            truth: &self.truth,
            book: &self.book,
            doors: &self.doors,
        };
        self.doors.owed(&self.guards, now, &view, &mut self.red);
        outcomes::escalated(&mut self.guards, now, &view, &mut self.red);
        outcomes::called_off(&mut self.guards, now, &view, &mut self.red);
        refused::told(&mut self.guards, now, &view, &mut self.red);
    }

    /// The world is over.
    pub fn finish(&mut self, now: Now, host: &Host) {
        self.edges.finish(now, &mut self.red);
        for (number, spec) in self.plan.specs.iter().enumerate() {
            let told = self.edges.is_told_firing("WillOom", &spec.name);
            let fills = |at: Duration| host.fill(number, at);
            let steady = |holds: &dyn Fn(f64) -> bool| {
                let back = (0..6).map(|n| now.monotonic - n * self.plan.interval);
                // What it was before its last start is not what `fill` says of then.
                let young = now.monotonic.as_secs_f64() - host.containers[number].started
                    < 8.0 * self.plan.interval.as_secs_f64();
                !young && back.map(fills).all(holds)
            };
            if steady(&|fill| fill >= 0.92) && !told {
                self.red.add(Check::EdgeLost, || format!("{}: nobody was told", spec.name));
            }
            if steady(&|fill| fill < 0.88) && told {
                self.red.add(Check::EdgeLost, || format!("{}: its end was not told", spec.name));
            }
        }
    }
}

/// Whether a window of that kind is open for a tenant.
pub fn is_open(plan: &Plan, kind: WindowKind, tenant: &str, now: Now) -> bool {
    let second = now.wall.as_millis() / 1000;
    plan.calendar.iter().filter(|daily| daily.kind == kind).any(|daily| {
        let since = (second - daily.hour as i64 * 3600).rem_euclid(86_400);
        let about = daily.tenants.is_empty() || daily.tenants.iter().any(|own| own == tenant);
        about && (since as u64) < daily.lasts.as_secs()
    })
}

fn delivery(row: &[u8]) -> Delivery {
    serde_json::from_slice(row).expect("a row of the outbox is a delivery")
}
