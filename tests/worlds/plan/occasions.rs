//! Occasions for planted faults that a world rarely has by itself.

use std::time::Duration;

use plimsoll::policy::{Mode, WindowKind};

use super::super::check::Check;
use super::super::mutate::Mutation;
use super::super::shape::Shape;
use super::super::spans::Spans;
use super::{CALM, Daily, MINUTE, Nature, Plan, Spec, Wishes};

impl Plan {
    /// Makes occasions for a fault to turn these checkers red.
    pub fn make_occasions(&mut self, mutation: Mutation, must: &[Check]) {
        match mutation {
            // A service rarely needs two restarts within an hour: here the second one waits for hours.
            Mutation::NoCoolDown => self.limits.restart_cool_down = Duration::from_secs(4 * 3600),
            // A nudge within one of a few short stretches is rare: here the host is always short.
            Mutation::HidePressure => {
                self.pressure = Spans::default();
                self.pressure.add(Duration::ZERO, self.lasts);
            }
            // Two services of one tenant that are both spoken of: here the first of those has bursts
            // everywhere, alone on its host, whose process dies often.
            Mutation::ForgetCustomers => self.customer_of_two(),
            // Few fall ill of a deploy so that something is done within minutes: here all do.
            Mutation::NoChangeGrace => {
                let ill = |(number, spec): (usize, &Spec)| {
                    let spans = spec.ill.iter().chain(spec.storm.iter());
                    spans.map(|(from, _)| (*from, number)).collect::<Vec<_>>()
                };
                self.deploys = self.specs.iter().enumerate().flat_map(ill).collect();
            }
            Mutation::LingeringRequests => self.close_often(must),
            _ => {}
        }
    }

    /// Makes the first tenant with two services short of memory in both, and all else well.
    fn customer_of_two(&mut self) {
        let all = &self.specs;
        let tenant =
            all.windows(2).find(|two| two[0].tenant == two[1].tenant).map(|two| &two[0].tenant);
        let tenant = tenant.cloned().unwrap_or_default();
        for spec in &mut self.specs {
            let is_theirs = spec.tenant == tenant;
            let fill = if is_theirs { "burst 0.4/0.95 every 150m high 60m" } else { "0.3" };
            spec.nature = if is_theirs { Nature::Bursts } else { Nature::Calm };
            spec.fill = Shape::parse(&[fill.to_owned()]).expect("a course");
            (spec.by_start, spec.dies, spec.drifts) = (false, false, false);
            spec.storm = Spans::default();
        }
        self.limits.nudge_episodes = 2;
        self.limits.nudge_cool_down = Duration::from_secs(7 * 86_400);
        self.nudge = Some(Mode::Act);
        self.killed_once_in = Some(40);
        self.calendar.clear();
        self.wishes.clear();
    }

    /// A request that is on its way when a guard closes is rare: here the one in question closes every
    /// 40 minutes.
    fn close_often(&mut self, must: &[Check]) {
        let mut often = Spans::default();
        let minutes = |n: u32| MINUTE * n;
        // What lingers must have arrived when the world ends.
        (0..((self.lasts - CALM).as_secs() / 60) as u32).step_by(40).for_each(|at| {
            often.add(minutes(at + 30), minutes(at + 39));
        });
        match must {
            [Check::KillSwitch] => self.kill = often,
            [Check::Stale] => self.down = often,
            [Check::Busy] => self.specs.iter_mut().for_each(|spec| spec.busy = often.clone()),
            [Check::QuietHours] => {
                let kind = WindowKind::QuietHours;
                let daily = |hour| Daily { kind, hour, lasts: 20 * MINUTE, tenants: Vec::new() };
                self.calendar = (0..24).map(daily).collect();
                self.nudge = Some(Mode::Act);
            }
            [Check::ShutDoor] => {
                // No change shuts one besides.
                self.doors = Some(0);
                self.specs.iter_mut().for_each(|spec| spec.shut = often.clone());
            }
            [Check::NotActive] => {
                self.wish(&Wishes { inactive: often, ..Wishes::default() });
            }
            [Check::NotAgreed] => {
                let (no_restart, no_nudge) = (often.clone(), often);
                self.wish(&Wishes { no_restart, no_nudge, ..Wishes::default() });
            }
            _ => {}
        }
    }

    /// The document says this of every tenant.
    fn wish(&mut self, wishes: &Wishes) {
        let owned = self.specs.iter().filter(|spec| spec.forged_as.is_none());
        let names = owned.map(|spec| spec.tenant.clone());
        self.wishes = names.map(|name| (name, wishes.clone())).collect();
    }
}
