//! The Control Plane as it is: slow, dead, forgetful or of two minds; it carries restarts out once and
//! sends receipts that are lost or come twice.

use std::time::Duration;

use plimsoll::engine::Event;
use plimsoll::outbox::{self, Answer, Attempt, Outcome, Reply, Statement};

use super::super::mutate::{Fate, Mutation};
use super::{Coming, MILLISECOND, Run, SEND_TIMEOUT};

impl Run {
    pub(super) fn deliver(&mut self, mut attempt: Attempt) {
        let accepted = Outcome::Accepted(Answer::default());
        match self.mutant.alter_attempt(&mut attempt) {
            Fate::Leaves => {}
            Fate::Vanishes => return self.reply(MILLISECOND, &attempt, accepted),
            Fate::Waits(after) => {
                self.reply(MILLISECOND, &attempt, accepted);
                return self.later(after, Coming::Leaves(attempt));
            }
            Fate::Doubles(id) => {
                let copy = Attempt { id, ..attempt.clone() };
                self.later(MILLISECOND, Coming::Delivery(copy));
            }
        }
        self.check.sent(self.now, &attempt);
        let timed_out = || Outcome::Unanswered { after: None, why: "timed out".to_owned() };
        let is_bad = self.plan.sink.at(self.now.monotonic);
        let is_slow = self.plan.slow.at(self.now.monotonic);
        if is_bad || is_slow {
            self.check.count(if is_bad { "sink dead" } else { "sink slow" });
        }
        let quick = if is_slow { self.rng.seconds(2, 14) } else { self.rng.millis(2, 200) };
        match (is_bad, self.rng.between(0, 100)) {
            (false, 0..97) => {
                let answer = self.answer(&attempt);
                self.reply(quick, &attempt, Outcome::Accepted(answer));
                self.later(quick, Coming::Delivery(attempt));
            }
            // It arrives, and the sender never knows.
            (false, _) | (true, 0..20) => {
                self.reply(SEND_TIMEOUT, &attempt, timed_out());
                self.later(quick, Coming::Delivery(attempt));
            }
            (true, 20..60) => self.reply(SEND_TIMEOUT, &attempt, timed_out()),
            (true, 60..80) => {
                let after = Some(self.rng.seconds(1, 60));
                let outcome = Outcome::RetryLater { after, why: "429".to_owned() };
                self.reply(quick, &attempt, outcome);
            }
            (true, 80..95) => {
                self.reply(quick, &attempt, Outcome::Misconfigured { why: "401".to_owned() });
            }
            // The sending task is lost; and it may arrive long after it was given up.
            (true, _) => {
                let late = self.rng.seconds(1, 100);
                self.later(late, Coming::Delivery(attempt));
            }
        }
    }

    fn reply(&mut self, after: Duration, attempt: &Attempt, outcome: Outcome) {
        let reply = Reply { id: attempt.id.clone(), number: attempt.number, outcome };
        self.tell(after, Event::Delivered(reply));
    }

    /// What the Control Plane makes of a restart, decided once.
    fn decide(&mut self, key: &str) -> &'static str {
        if let Some(known) = self.done.get(key) {
            return known;
        }
        let (declines, forgets) = (self.plan.declines, self.plan.forgets);
        let decision = match self.rng.between(0, 100) {
            n if n < declines => "declined",
            _ if self.rng.chance(forgets) => "forgotten",
            _ => "accepted",
        };
        self.done.insert(key.to_owned(), decision);
        decision
    }

    /// The answer to a webhook that is taken.
    fn answer(&mut self, attempt: &Attempt) -> Answer {
        if !attempt.event_type.is_request() {
            return Answer::default();
        }
        let event: outbox::Event = serde_json::from_str(&attempt.body).expect("an event");
        let Some(action) = event.data.action else { return Answer::default() };
        let decision = match self.decide(&action.dedup_key) {
            "declined" => "declined",
            _ => "accepted",
        };
        if decision == "declined" {
            self.check.refused(self.now, &attempt.id.0);
        }
        Answer { decision: Some(decision.to_owned()), ..Answer::default() }
    }

    /// A webhook reaches the Control Plane: a restart is carried out once, in time, and receipted.
    pub(super) fn arrive(&mut self, attempt: &Attempt) {
        self.check.arrived(self.now, attempt);
        if attempt.event_type != outbox::EventType::RestartRequested {
            return;
        }
        let event: outbox::Event = serde_json::from_str(&attempt.body).expect("an event");
        let Some(action) = event.data.action else { return };
        let decision = self.decide(&action.dedup_key);
        if decision == "declined" || self.now.wall > action.expires_at.0 {
            return;
        }
        if self.done.insert(action.dedup_key, "done") == Some("done") || decision == "forgotten" {
            return;
        }
        let number = event.data.labels.get("name").and_then(|name| self.host.find(name));
        let Some(number) = number else { return };
        let after = Duration::from_secs(self.rng.between(1, self.plan.executes_within));
        let id = attempt.id.0.clone();
        self.later(after, Coming::Execute(number, id.clone()));
        let answer = Answer {
            decision: Some("done".to_owned()),
            outcome: Some("succeeded".to_owned()),
            ..Answer::default()
        };
        if self.rng.chance(self.plan.receipts_lost) {
            self.check.count("receipt lost");
            return;
        }
        let times = if self.rng.chance(self.plan.receipts_twice) { 2 } else { 1 };
        if times == 2 {
            self.check.count("receipt doubled");
        }
        for copy in 0..times {
            let late = after + self.rng.seconds(1, 100);
            self.receipt(late, (&id, copy), &answer);
        }
    }

    fn receipt(&mut self, after: Duration, (delivery, copy): (&str, u32), answer: &Answer) {
        let own = format!("receipt of {delivery}");
        self.ticket += 1;
        self.receipts.insert(self.ticket, own.clone());
        let id = match self.mutant.mutation {
            Some(Mutation::NewReceipts) => format!("{own} {copy}"),
            _ => own,
        };
        let statement = Statement { delivery_id: delivery.to_owned(), answer: answer.clone() };
        let event = Event::Statement { ticket: self.ticket, id, statement };
        self.tell(after, event);
    }
}
