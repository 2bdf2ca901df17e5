//! A record as a sentence, for `plimsoll audit show`, the story and the API: the same everywhere.

use super::record::{Kind, Record};

/// What is to be done about a change that shut a gate.
const TAKE_BACK: &str = "it should be taken back";

/// What would be done, what would have been done, and what it is called.
fn verbs(action: Option<&str>) -> (&'static str, &'static str, &'static str) {
    match action {
        Some("restart") => ("restart", "restarted", "restart"),
        Some("nudge") => ("offer a bigger plan to", "offered a bigger plan to", "nudge"),
        Some("advise") => ("advise about", "advised about", "advice"),
        Some("rollback_advice") => ("roll back a change of", "rolled back a change of", "rollback"),
        _ => ("act on", "acted on", "action"),
    }
}

impl Record {
    /// What happened, in one sentence without a time.
    pub fn sentence(&self) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let because = |word: &str| match &self.reason {
            Some(reason) => format!("{word}{reason}"),
            None => String::new(),
        };
        let (alert, event, subject) = (text(&self.alert), text(&self.event), self.who());
        let (verb, past, noun) = verbs(self.action.as_deref());
        let count = self.count.unwrap_or_default();
        match self.kind {
            Kind::AlertFiring => match &self.summary {
                Some(summary) => format!("{alert} fires: {summary}"),
                None => format!("{alert} fires"),
            },
            Kind::AlertResolved => format!("{alert} is resolved{}", because(": ")),
            Kind::AlertUnknown => format!("{alert} is unknown{}", because(": ")),
            Kind::AlertKnown => format!("the inputs of {alert} are back, and it still fires"),
            Kind::ActionDecided if self.mode.as_deref() == Some("dry_run") => {
                let (cause, why) = (self.diagnosis(), because(": "));
                format!("tells, as a dry run, to {verb} {subject}{cause}{why}")
            }
            Kind::ActionDecided => {
                format!("asks to {verb} {subject}{}{}", self.diagnosis(), because(": "))
            }
            Kind::ActionHeld => format!(
                "would have {past} {subject}{}, held: {}; lifted by {}",
                self.diagnosis(),
                text(&self.reason),
                text(&self.lifted_by)
            ),
            Kind::ActionOutcome => {
                format!("the {noun} of {subject}: {}{}", text(&self.outcome), because(": "))
            }
            Kind::DeliveryAccepted => match &self.decision {
                Some(decision) => {
                    format!("{event} delivered, answered {decision}{}", because(": "))
                }
                None => format!("{event} delivered{}", because(": ")),
            },
            Kind::DeliveryFailed => {
                let attempts = self.attempts.unwrap_or_default();
                format!("attempt {attempts} at {event} failed{}", because(": "))
            }
            Kind::DeliveryRefused => format!("{event} was refused for good{}", because(": ")),
            Kind::DeliveryExpired => format!("{event} expired before it was taken: withdrawn"),
            Kind::DeliveryWithdrawn => {
                format!("{event} was withdrawn before it was taken{}", because(": "))
            }
            Kind::DeliveryRetried => "an operator asked for another try".to_owned(),
            Kind::DeliveryDropped => format!("an operator gave {event} up"),
            Kind::DeliveryLost => format!("{count} deliveries were given up: too many waited"),
            Kind::ReceiptTaken | Kind::ReceiptRefused => self.of_receipt(noun),
            Kind::SinkPaused => format!("the Control Plane refuses us{}", because(": ")),
            Kind::SinkResumed => "the Control Plane takes webhooks again".to_owned(),
            Kind::GateFailed | Kind::GatePassed | Kind::ChangeFailed => self.of_gate(noun),
            _ => self.of_operation(),
        }
    }

    /// What the Control Plane says later, or somebody in its name.
    fn of_receipt(&self, noun: &str) -> String {
        let because = self.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        if self.kind == Kind::ReceiptTaken {
            let outcome = self.outcome.as_ref().map_or(String::new(), |word| format!(" ({word})"));
            let (subject, decision) = (self.who(), self.decision.as_deref().unwrap_or_default());
            return format!(
                "the Control Plane says of the {noun} of {subject}: {decision}{outcome}{because}"
            );
        }
        if because.is_empty() {
            let count = self.count.unwrap_or_default();
            return format!("{count} more receipts were refused in a minute and left out");
        }
        let more = self.count.map(|more| format!("; {more} before it were left out"));
        format!("a receipt was refused{because}{}{}", self.more(), more.unwrap_or_default())
    }

    /// More of a reason, behind it.
    fn more(&self) -> String {
        self.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"))
    }

    /// What a tenant's door says.
    fn of_gate(&self, noun: &str) -> String {
        let (subject, gate) = (self.who(), self.outcome.as_deref().unwrap_or_default());
        let why = self.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        match self.kind {
            Kind::GateFailed => format!("the gate {gate} of {subject} fails{why}"),
            Kind::GatePassed => format!("the gate {gate} of {subject} passes again{why}"),
            _ => {
                let (after, then) = match self.action.as_deref() {
                    // A start is nothing that could be taken back.
                    Some("start") => (format!("others started {subject}"), "somebody should look"),
                    Some("deploy") => (format!("others deployed {subject}"), TAKE_BACK),
                    _ => (format!("the {noun} of {subject}"), TAKE_BACK),
                };
                format!("after {after} a gate fails{why}; {then}")
            }
        }
    }

    /// What is about no alert.
    fn of_operation(&self) -> String {
        let because = |word: &str| match &self.reason {
            Some(reason) => format!("{word}{reason}"),
            None => String::new(),
        };
        let count = self.count.unwrap_or_default();
        match self.kind {
            Kind::HostIncidentStarted => format!(
                "a host incident began, actions are frozen{} ({})",
                because(": "),
                self.tenants.join(", ")
            ),
            Kind::HostIncidentEnded => "the host incident is over".to_owned(),
            Kind::SidecarStarted => format!(
                "plimsoll started and took over {count} alert{}{}",
                if count == 1 { "" } else { "s" },
                because("; ")
            ),
            Kind::ConfigReloaded => format!("a configuration with {count} rules was taken over"),
            Kind::ConfigRefused => format!("a configuration was refused{}", because(": ")),
            Kind::DocumentTaken => format!(
                "{} were taken over from their document ({count}){}",
                self.who(),
                because("; ")
            ),
            Kind::DocumentRefused => {
                format!(
                    "the document of {} was refused{}{}",
                    self.who(),
                    because(": "),
                    self.more()
                )
            }
            Kind::DocumentRecovered => format!("the document of {} can be read again", self.who()),
            Kind::ClaimRefused => format!("a claim to {} was refused{}", self.who(), because(": ")),
            Kind::AuditResumed => format!("the audit goes on{} ({count} bytes)", because(": ")),
            Kind::AuditGap => format!("{count} records are missing here{}", because(": ")),
            Kind::Unknown => "something that this version of plimsoll does not know".to_owned(),
            other => other.name().to_owned(),
        }
    }

    /// Whom it is about: the service, the tenant or whatever is known.
    pub fn who(&self) -> String {
        let named = self.subject.as_deref().or(self.tenant.as_deref());
        named.unwrap_or("this host").to_owned()
    }

    fn diagnosis(&self) -> String {
        match self.cause.as_deref() {
            None | Some("unclear") => String::new(),
            Some(cause) => format!(" ({})", cause.replace('_', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn every_kind_has_words_and_holds_say_what_lifts_them() {
        let some = |text: &str| Some(text.to_owned());
        let record = |kind| Record {
            alert: some("WillOom"),
            tenant: some("acme"),
            subject: some("acme/app"),
            action: some("restart"),
            cause: some("leak"),
            reason: some("observe"),
            lifted_by: some("mode `notify` or `act`"),
            ..Record::new(Timestamp(0), kind)
        };
        let held = record(Kind::ActionHeld).sentence();
        let want =
            "would have restarted acme/app (leak), held: observe; lifted by mode `notify` or `act`";
        assert_eq!(held, want);
        let decided = Record { mode: some("request"), reason: None, ..record(Kind::ActionDecided) };
        assert_eq!(decided.sentence(), "asks to restart acme/app (leak)");
        let (action, reason) = (some("advise"), some("its restarts of today are spent"));
        let advised = Record { action, reason, ..decided }.sentence();
        let want = "asks to advise about acme/app (leak): its restarts of today are spent";
        assert_eq!(advised, want);
        let shut = |action: &str| {
            let (action, reason) = (some(action), some("door: 502 (before: 200)"));
            Record { action, reason, ..record(Kind::ChangeFailed) }.sentence()
        };
        for (what, whose, then) in [
            ("restart", "the restart of", "it should be taken back"),
            ("deploy", "others deployed", "it should be taken back"),
            ("start", "others started", "somebody should look"),
        ] {
            let door = "a gate fails: door: 502 (before: 200)";
            assert_eq!(shut(what), format!("after {whose} acme/app {door}; {then}"));
        }
        for kind in Kind::ALL {
            assert!(!record(*kind).sentence().is_empty(), "{kind}");
            assert!(!Record::new(Timestamp(0), *kind).sentence().is_empty(), "{kind}");
        }
    }
}
