//! A world before it begins: who lives on the host, what ails them, and what will go wrong around
//! them. Everything is drawn from the seed; the run only lets it happen.

mod more;
mod occasions;

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::policy::{InterlockConfig, Limits, Mode, WindowKind};

use super::rng::Rng;
use super::shape::Shape;
use super::spans::Spans;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
/// Nothing goes wrong any more in the last hours of a world: all that is owed must have arrived then.
pub const CALM: Duration = Duration::from_secs(2 * 3600);

/// The catalogue, and how many GiB each plan promises.
pub const PLANS: [(&str, f64); 3] = [("free", 1.0), ("pro", 2.0), ("big", 8.0)];

/// What ails a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Nature {
    /// Nothing.
    Calm,
    /// Memory grows from its start until the limit, whoever asks for what.
    Leak,
    /// It needs most of its limit from the start on.
    Full,
    /// Memory is short now and then.
    Bursts,
    /// It fills so fast that the kernel kills it again and again.
    OomLoop,
    /// What fills its limit is page cache.
    Cache,
    /// The same, and the cache is read so often that it is part of the working set, which grows.
    Reread,
    /// It waits for a CPU that others have.
    Starved,
    /// It uses its quota up.
    Throttled,
    /// It ends by itself minutes after each start.
    CrashLoop,
}

/// One container and its course.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub tenant: String,
    pub role: &'static str,
    pub nature: Nature,
    /// Working set per limit, since its start or since the world's.
    pub fill: Shape,
    pub by_start: bool,
    /// Whether the kernel kills it at its limit.
    pub dies: bool,
    /// When what ails it does, for those whom it ails at times.
    pub ill: Spans,
    /// When the whole host takes it to its limit.
    pub storm: Spans,
    /// A backup or a migration.
    pub busy: Spans,
    pub up_before: Duration,
    /// Its limit is half of what its plan promises.
    pub drifts: bool,
    /// It is nobody's, and its labels say that it is the application of this tenant.
    pub forged_as: Option<String>,
    /// Its customer cannot get in, whatever is done.
    pub shut: Spans,
}

/// What the document of tenants says of one.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// It is suspended, being moved, or gone.
    pub inactive: Spans,
    /// It does not agree to restarts …
    pub no_restart: Spans,
    /// … or to being spoken to.
    pub no_nudge: Spans,
}

impl Spec {
    /// Tenant and role: what owns history.
    pub fn service(&self) -> String {
        format!("{}/{}", self.tenant, self.role)
    }

    /// What its plan promises.
    pub fn promised_gib(&self) -> f64 {
        if self.tenant.starts_with('f') { 1.0 } else { 2.0 }
    }
}

/// A window of the calendar: by the wall clock, every day, in UTC.
#[derive(Clone, Debug)]
pub struct Daily {
    pub kind: WindowKind,
    pub hour: u64,
    pub lasts: Duration,
    /// Empty for everyone.
    pub tenants: Vec<String>,
}

/// Everything that is known before the world begins.
#[derive(Clone, Debug)]
pub struct Plan {
    pub lasts: Duration,
    pub interval: Duration,
    /// Whether samples carry their own times, as cAdvisor's do.
    pub stamps: bool,
    pub limits: Limits,
    /// How far a nudge may go, if anybody says.
    pub nudge: Option<Mode>,
    pub interlock: InterlockConfig,
    pub specs: Vec<Spec>,
    pub tenants: usize,
    /// The containers' target does not answer …
    pub down: Spans,
    /// … or repeats its last page. Only where samples carry their own times can that be seen.
    pub frozen: Spans,
    /// The host's target does not answer.
    pub node_down: Spans,
    /// Where there are three targets besides, which show nothing that matters: none of them answers.
    pub others_down: Option<Spans>,
    /// The host is short of memory.
    pub pressure: Spans,
    pub kill: Spans,
    pub calendar: Vec<Daily>,
    pub deploys: Vec<(Duration, usize)>,
    /// The process is not there.
    pub dead: Spans,
    /// It is killed right after a step that changes something, once in so many; after any other once in twenty times as many.
    pub killed_once_in: Option<u64>,
    pub disk: Spans,
    pub steps: Vec<(Duration, i64)>,
    /// The Control Plane fails in every way it can …
    pub sink: Spans,
    /// … or is slow.
    pub slow: Spans,
    /// Percent of requests that it declines, and percent of those it accepts and does not do.
    pub declines: u64,
    pub forgets: u64,
    /// Seconds from acceptance to execution, at most.
    pub executes_within: u64,
    /// Percent of its receipts that are lost, and percent that come twice.
    pub receipts_lost: u64,
    pub receipts_twice: u64,
    /// The document of tenants, where there is one.
    pub wishes: BTreeMap<String, Wishes>,
    /// Whether tenants' doors are tried, and the percentage of changes after which one stays shut.
    pub doors: Option<u64>,
}

impl Plan {
    /// What this seed has in store.
    pub fn draw(seed: u64, hours: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x776f_726c_6473);
        let lasts = HOUR * u32::try_from(hours).expect("a world is short");
        // Most hosts are small and looked at seldom: what a guard needs is then there all the same,
        // and a thousand of them take minutes.
        let tenants = match rng.between(0, 200) {
            0..110 => rng.between(1, 6),
            110..176 => rng.between(6, 11),
            176..195 => rng.between(11, 26),
            195..198 => rng.between(26, 200),
            _ => 200,
        } as usize;
        let interval = match (tenants, rng.between(0, 100)) {
            (..=10, 0..2) => 15,
            (..=10, 2..8) => 60,
            (..=10, 8..45) | (11..=25, 0..15) => 120,
            _ => 300,
        };
        let interval = Duration::from_secs(interval);
        let storm = (lasts / 50, lasts - CALM);
        let mut plan = Plan {
            lasts,
            interval,
            stamps: rng.chance(60),
            limits: limits(&mut rng),
            nudge: None,
            interlock: InterlockConfig {
                share: 0.1 * rng.between(1, 5) as f64,
                ..Default::default()
            },
            specs: Vec::new(),
            tenants,
            down: maybe(&mut rng, 40, 600, (2, 50), storm),
            frozen: Spans::default(),
            node_down: maybe(&mut rng, 20, 600, (2, 50), storm),
            others_down: None,
            pressure: maybe(&mut rng, 40, 400, (10, 240), storm),
            kill: maybe(&mut rng, 20, 600, (10, 240), storm),
            calendar: calendar(&mut rng, tenants),
            deploys: Vec::new(),
            dead: maybe(&mut rng, 40, 500, (1, 40), storm),
            killed_once_in: rng.chance(40).then(|| rng.between(200, 2000)),
            disk: maybe(&mut rng, 25, 600, (1, 60), storm),
            steps: Vec::new(),
            sink: maybe(&mut rng, 45, 300, (1, 60), storm),
            slow: maybe(&mut rng, 30, 300, (5, 120), storm),
            declines: if rng.chance(25) { rng.between(5, 60) } else { 0 },
            forgets: if rng.chance(25) { rng.between(5, 60) } else { 0 },
            executes_within: rng.between(5, 300),
            receipts_lost: rng.between(0, 40),
            receipts_twice: rng.between(0, 40),
            wishes: BTreeMap::new(),
            doors: None,
        };
        plan.frozen = match plan.stamps {
            true => maybe(&mut rng, 40, 500, (5, 90), storm),
            false => Spans::default(),
        };
        let (mut at, clock) = (storm.0, rng.chance(20));
        while clock && at < storm.1 {
            // Less than an interval is slewing, which is followed.
            let by = rng.between(360_000, 3_600_000) as i64;
            plan.steps.push((at, if rng.chance(50) { by } else { -by }));
            at += rng.seconds(600, 30_000);
        }
        plan.settle(&mut rng, storm);
        plan.complicate(seed, storm);
        plan
    }

    /// Lets the tenants move in.
    fn settle(&mut self, rng: &mut Rng, storm: (Duration, Duration)) {
        let is_fast = self.interval <= 2 * MINUTE;
        for number in 0..self.tenants {
            let plan = if rng.chance(50) { "f" } else { "p" };
            let tenant = format!("{plan}{number}");
            let roles: &[&str] = match rng.between(0, 100) {
                0..12 => &["app", "worker"],
                12..24 => &["app", "db"],
                _ => &["app"],
            };
            for role in roles {
                let nature = nature(rng, is_fast, self.tenants);
                let spec = spec(rng, &tenant, role, nature, storm);
                if rng.chance(6) {
                    self.deploys.push((between(rng, storm), self.specs.len()));
                }
                // Now and then it is a deploy that makes ill.
                for (from, _) in spec.ill.iter().filter(|_| rng.chance(30)) {
                    self.deploys.push((*from, self.specs.len()));
                }
                self.specs.push(spec);
            }
        }
        let mut at = storm.0 + rng.seconds(60, 20_000);
        while rng.chance(45) && at + HOUR < storm.1 {
            self.catastrophe(rng, at);
            at += rng.seconds(7200, 40_000);
        }
    }

    /// Many tenants fall ill within a minute.
    fn catastrophe(&mut self, rng: &mut Rng, at: Duration) {
        let share = rng.between(10, 101);
        let until = at + rng.seconds(600, 3600);
        for spec in &mut self.specs {
            if spec.role == "app" && rng.chance(share) {
                spec.storm.add(at, until);
            }
        }
    }
}

fn between(rng: &mut Rng, within: (Duration, Duration)) -> Duration {
    rng.seconds(within.0.as_secs(), within.1.as_secs().max(within.0.as_secs() + 1))
}

fn maybe(
    rng: &mut Rng,
    percent: u64,
    apart: u64,
    lasts: (u64, u64),
    within: (Duration, Duration),
) -> Spans {
    match rng.chance(percent) {
        true => Spans::draw(rng, apart, lasts, within),
        false => Spans::default(),
    }
}

/// Mostly the defaults; where not, both stricter and laxer ones.
fn limits(rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    if rng.chance(40) {
        limits.restart_cool_down = MINUTE * rng.between(5, 61) as u32;
        limits.restarts_per_tenant_day = rng.between(1, 5) as usize;
        limits.restarts_per_host_hour = rng.between(1, 7) as usize;
        limits.start_grace = MINUTE * rng.between(2, 11) as u32;
        limits.after_change = MINUTE * rng.between(5, 31) as u32;
    }
    if rng.chance(30) {
        limits.nudge_cool_down = HOUR * rng.between(4, 24) as u32;
        limits.nudge_episodes = rng.between(2, 5);
    }
    limits
}

fn calendar(rng: &mut Rng, tenants: usize) -> Vec<Daily> {
    let mut all = Vec::new();
    if rng.chance(25) {
        let lasts = MINUTE * rng.between(30, 300) as u32;
        let some = |rng: &mut Rng| (0..tenants).filter(|_| rng.chance(50)).collect::<Vec<_>>();
        let few = if rng.chance(50) { some(rng) } else { Vec::new() };
        let tenants = few.iter().flat_map(|n| [format!("f{n}"), format!("p{n}")]).collect();
        let kind = WindowKind::Maintenance;
        all.push(Daily { kind, hour: rng.between(0, 24), lasts, tenants });
    }
    if rng.chance(35) {
        let lasts = HOUR * rng.between(4, 12) as u32;
        let kind = WindowKind::QuietHours;
        all.push(Daily { kind, hour: rng.between(0, 24), lasts, tenants: Vec::new() });
    }
    all
}

/// What ails one of so many.
fn nature(rng: &mut Rng, is_fast: bool, tenants: usize) -> Nature {
    let ill = if tenants > 30 { 4 } else { 60 };
    if !rng.chance(ill) {
        return Nature::Calm;
    }
    let slow = [Nature::Leak, Nature::Full, Nature::Bursts, Nature::OomLoop, Nature::Cache];
    let fast = [Nature::Starved, Nature::Throttled, Nature::CrashLoop];
    match rng.between(0, if is_fast { 13 } else { 10 }) {
        0..4 => Nature::Leak,
        n @ 4..10 => slow[(n % 5) as usize],
        n => fast[(n - 10) as usize],
    }
}

fn spec(
    rng: &mut Rng,
    tenant: &str,
    role: &'static str,
    nature: Nature,
    storm: (Duration, Duration),
) -> Spec {
    let (mut ill, mut dies, mut by_start) = (Spans::default(), false, true);
    let fill = match nature {
        Nature::Calm | Nature::Starved | Nature::Throttled => {
            format!("{:.2}", 0.01 * rng.between(10, 80) as f64)
        }
        Nature::Cache => "0.4".to_owned(),
        Nature::Reread => format!("0.35..0.97 over {}m", rng.between(60, 500)),
        Nature::Leak => {
            dies = true;
            format!("0.3..1 over {}m", rng.between(25, 400))
        }
        Nature::Full => "0.93".to_owned(),
        Nature::OomLoop => {
            dies = true;
            format!("0.5..1 over {}m", rng.between(6, 30))
        }
        Nature::CrashLoop => "0.95".to_owned(),
        Nature::Bursts => {
            by_start = false;
            let (every, high) = (rng.between(120, 600), rng.between(10, 90));
            format!("burst 0.4/0.95 every {every}m high {high}m")
        }
    };
    let at_times = [Nature::Starved, Nature::Throttled, Nature::CrashLoop, Nature::OomLoop];
    if at_times.contains(&nature) {
        ill = Spans::draw(rng, 200, (20, 240), storm);
    }
    Spec {
        name: format!("{tenant}-{role}"),
        tenant: tenant.to_owned(),
        role,
        nature,
        fill: Shape::parse(&[fill]).expect("a course"),
        by_start,
        dies,
        ill,
        storm: Spans::default(),
        busy: maybe(rng, 10, 300, (10, 200), storm),
        up_before: rng.seconds(0, 20_000),
        drifts: false,
        forged_as: None,
        shut: Spans::default(),
    }
}
