//! What complicates a world further, drawn from a stream of its own: whom tenants are, what they agree
//! to, containers that pretend, limits that are not the plan's, doors that stay shut.

use std::time::Duration;

use plimsoll::policy::Mode;

use super::super::rng::Rng;
use super::super::spans::Spans;
use super::{Nature, Plan, Wishes, maybe, spec};

impl Wishes {
    /// Every stretch in which something is so.
    pub fn spans(&self) -> impl Iterator<Item = &(Duration, Duration)> {
        self.inactive.iter().chain(self.no_restart.iter()).chain(self.no_nudge.iter())
    }
}

impl Plan {
    /// How many targets there are: the containers', the host's, and perhaps three others.
    pub fn targets(&self) -> usize {
        2 + if self.others_down.is_some() { 3 } else { 0 }
    }

    /// Adds to a world that is drawn otherwise.
    pub(super) fn complicate(&mut self, seed: u64, storm: (Duration, Duration)) {
        self.nudge = match Rng::new(seed ^ 0x6e75_6467).between(0, 100) {
            0..80 => Some(Mode::Act),
            80..90 => Some(Mode::Observe),
            _ => None,
        };
        let mut rng = Rng::new(seed ^ 0x6d6f_7265);
        let is_small = self.tenants <= 25;
        if is_small && rng.chance(30) {
            self.ask_tenants(&mut rng, storm);
        }
        if is_small && rng.chance(30) {
            self.forge(&mut rng, storm);
        }
        if is_small && rng.chance(25) {
            for spec in self.specs.iter_mut().filter(|spec| spec.role == "app") {
                spec.drifts = rng.chance(50);
            }
        }
        if is_small && rng.chance(30) {
            self.read_again(&mut rng, storm);
        }
        // Doors are tried every few minutes, so only where there are few.
        if self.tenants <= 6 && rng.chance(40) {
            self.doors = Some(rng.between(5, 60));
            for spec in self.specs.iter_mut().filter(|spec| spec.role == "app") {
                spec.shut = maybe(&mut rng, 40, 400, (10, 240), storm);
            }
        }
        if is_small && rng.chance(25) {
            self.others_down = Some(Spans::draw(&mut rng, 400, (10, 240), storm));
        }
    }

    fn ask_tenants(&mut self, rng: &mut Rng, storm: (Duration, Duration)) {
        let always = |rng: &mut Rng, percent: u64| {
            let mut spans = maybe(rng, percent, 400, (30, 600), storm);
            if rng.chance(10) {
                spans = Spans::default();
                spans.add(Duration::ZERO, storm.1 * 2);
            }
            spans
        };
        let mut names: Vec<String> = self.specs.iter().map(|spec| spec.tenant.clone()).collect();
        names.dedup();
        for name in names {
            let (inactive, no_restart) = (always(rng, 25), always(rng, 25));
            let no_nudge = always(rng, 40);
            self.wishes.insert(name, Wishes { inactive, no_restart, no_nudge });
        }
    }

    /// Containers that say they are a tenant's application, and are nobody's.
    fn forge(&mut self, rng: &mut Rng, storm: (Duration, Duration)) {
        for number in 0..rng.between(1, 3) {
            let victim =
                self.specs[rng.between(0, self.specs.len() as u64) as usize].tenant.clone();
            let nature = [Nature::Leak, Nature::Full, Nature::OomLoop, Nature::Bursts]
                [rng.between(0, 4) as usize];
            let mut forged = spec(rng, "", "", nature, storm);
            forged.name = format!("x{number}");
            forged.busy = Spans::default();
            forged.forged_as = Some(victim);
            self.specs.push(forged);
        }
    }

    /// Some that were well fill their limit with files that are read again and again.
    fn read_again(&mut self, rng: &mut Rng, storm: (Duration, Duration)) {
        for place in 0..self.specs.len() {
            let known = &self.specs[place];
            if known.nature == Nature::Calm && known.role == "app" && rng.chance(40) {
                let tenant = known.tenant.clone();
                let reread = spec(rng, &tenant, "app", Nature::Reread, storm);
                let known = &mut self.specs[place];
                (known.nature, known.fill) = (Nature::Reread, reread.fill);
            }
        }
    }
}
