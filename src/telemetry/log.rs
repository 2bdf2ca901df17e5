//! One fact, one log line.
//!
//! The level says whose duty it is: `error` – someone must act; `warn` – trouble that is being
//! repeated, waited for or made up for by itself, and its end; `info` – an alert changed or an
//! action was decided; `debug` – the same trouble again. Values are fields, the message is a
//! sentence that never changes, so that lines can be counted by it.

use tracing::{debug, error, info, warn};

use crate::engine::{Fact, Loss};
use crate::outbox::{self, Delivery};
use crate::policy::{GateKey, SHUT_MAX, Shut};

/// Writes the log line of a fact.
pub fn record(fact: &Fact) {
    match fact {
        Fact::ScrapeFailed { .. }
        | Fact::ScrapeRecovered { .. }
        | Fact::SeriesRefused { .. }
        | Fact::SeriesFit { .. }
        | Fact::RuleFailed { .. }
        | Fact::RuleNeverFires { .. }
        | Fact::SlotsMissed { .. } => of_measuring(fact),
        Fact::AlertPending { .. }
        | Fact::AlertFiring { .. }
        | Fact::AlertResolved { .. }
        | Fact::AlertUnknown { .. }
        | Fact::AlertKnown { .. }
        | Fact::Decided { .. }
        | Fact::Held { .. }
        | Fact::Outcome { .. }
        | Fact::ReceiptTaken { .. }
        | Fact::ReceiptRefused { .. }
        | Fact::ReceiptsLeftOut { .. }
        | Fact::HostIncident { .. } => of_judgement(fact),
        Fact::GateFails { .. }
        | Fact::GatePasses { .. }
        | Fact::GateUnaskable { .. }
        | Fact::ChangeFailed { .. }
        | Fact::ShutGateUnkept { .. } => of_gates(fact),
        Fact::DocumentTaken { .. }
        | Fact::DocumentRefused { .. }
        | Fact::DocumentRecovered { .. }
        | Fact::ClaimRefused { .. } => of_owners(fact),
        Fact::ContainerEnded { .. } | Fact::OomKilled { .. } | Fact::CrashLoop { .. } => {
            of_containers(fact);
        }
        Fact::DockerConnected { .. }
        | Fact::DockerLost { .. }
        | Fact::DockerBreaks { .. }
        | Fact::DockerLasts { .. } => of_docker(fact),
        Fact::Outbox(fact) => of_outbox(fact),
        Fact::AlertmanagerFailed { .. }
        | Fact::AlertRefused { .. }
        | Fact::EndHeld { .. }
        | Fact::AlertmanagerRecovered { .. }
        | Fact::MailSent { .. }
        | Fact::MailFailed { .. }
        | Fact::JournalFailing { .. }
        | Fact::JournalRecovered
        | Fact::AuditFailing { .. }
        | Fact::AuditRecovered { .. }
        | Fact::ClockStepped { .. }
        | Fact::Recovered { .. }
        | Fact::RowUnreadable { .. }
        | Fact::ReloadFailed { .. }
        | Fact::Reloaded { .. } => of_operation(fact),
    }
}

fn of_measuring(fact: &Fact) {
    match fact {
        Fact::ScrapeFailed { target, error, first: true } => {
            warn!(target_name = target, error, "a target does not answer");
        }
        Fact::ScrapeFailed { target, error, first: false } => {
            debug!(target_name = target, error, "a target still does not answer");
        }
        Fact::ScrapeRecovered { target } => {
            warn!(target_name = target, "a target answers again");
        }
        Fact::SeriesRefused { target, count, first: true } => error!(
            target_name = target,
            count,
            hint = "raise window.max_series or window.max_bytes, or keep less",
            "the window is full: new series were refused"
        ),
        Fact::SeriesRefused { target, count, first: false } => {
            debug!(target_name = target, count, "the window is still full");
        }
        Fact::SeriesFit { target } => {
            warn!(target_name = target, "the window has room for all series of a target again");
        }
        Fact::RuleFailed { rule, error, first: true } => {
            error!(%rule, error, "a rule cannot be evaluated");
        }
        Fact::RuleFailed { rule, error, first: false } => {
            debug!(%rule, error, "a rule still cannot be evaluated");
        }
        Fact::RuleNeverFires { rule } => warn!(
            %rule,
            hint = "is the exporter there, and does it still call the metric so?",
            "a rule has found no series for an hour: it never fires"
        ),
        Fact::SlotsMissed { group, missed } => {
            warn!(group, missed, "a group was not evaluated in time");
        }
        _ => {}
    }
}

fn of_judgement(fact: &Fact) {
    match fact {
        Fact::AlertPending { labels, value } => info!(%labels, value, "an alert is pending"),
        Fact::AlertFiring { labels, annotations, value, .. } => {
            let summary = annotations.get("summary").unwrap_or_default();
            info!(%labels, value, summary, "an alert fires");
        }
        Fact::AlertResolved { labels, started_at, reason } => {
            info!(%labels, %started_at, ?reason, "an alert has ended");
        }
        Fact::AlertUnknown { labels, doubt, .. } => {
            warn!(%labels, why = %doubt, "an alert is unknown: its inputs are missing");
        }
        Fact::AlertKnown { labels, .. } => warn!(%labels, "the inputs of an alert are back"),
        Fact::Decided { labels, action, dry_run, subject, why, .. } => {
            info!(%labels, action, dry_run, subject, why, "an action was decided");
        }
        Fact::Held { labels, action, reason, lifted_by, .. } => {
            let reason = reason.name();
            info!(%labels, action, reason, lifted_by, "an action was decided and held");
        }
        Fact::Outcome { request, outcome, why } => {
            let subject = &request.subject;
            info!(subject, outcome, why, "an action has an outcome");
        }
        Fact::ReceiptTaken { id, delivery, asked, said, over } => {
            let (decision, subject) =
                (said.decision.as_deref().unwrap_or_default(), &asked.subject);
            match over {
                Some(over) => {
                    let what = "a receipt came after the request was over: it changes nothing";
                    warn!(id, %delivery, subject, decision, over, "{what}");
                }
                None => info!(id, %delivery, subject, decision, "a receipt was taken"),
            }
        }
        Fact::ReceiptRefused { id, refusal, detail, left_out } => {
            warn!(id, reason = refusal.name(), detail, left_out, "a receipt was refused");
        }
        Fact::ReceiptsLeftOut { count } => {
            warn!(count, "more receipts were refused than are told one by one");
        }
        Fact::HostIncident { started: true, reason, tenants } => {
            error!(reason, ?tenants, "a host incident began: actions on tenants are frozen");
        }
        Fact::HostIncident { started: false, .. } => warn!("the host incident is over"),
        _ => {}
    }
}

fn of_gates(fact: &Fact) {
    match fact {
        Fact::GateFails { key, previous, current } => {
            let GateKey { gate, tenant, service, name } = key;
            warn!(gate, tenant, service, name, previous, current, "a tenant's gate fails");
        }
        Fact::GatePasses { key, current } => {
            let GateKey { gate, tenant, service, name } = key;
            warn!(gate, tenant, service, name, current, "a tenant's gate passes again");
        }
        Fact::GateUnaskable { key, why } => {
            let GateKey { gate, tenant, service, name } = key;
            error!(gate, tenant, service, name, why, "a gate cannot be asked");
        }
        Fact::ChangeFailed { shut, current, held, is_anew } => {
            let Shut { service, what, previous, door, .. } = &**shut;
            let (gate, held, anew) = (&door.gate, held.map(|reason| reason.name()), is_anew);
            warn!(
                service,
                what, gate, previous, current, held, anew, "a gate failed after a change"
            );
        }
        Fact::ShutGateUnkept { shut } => {
            let (service, gate) = (&shut.service, &shut.door.gate);
            let message =
                "a gate that failed after a change will not be told anew: too many are kept";
            warn!(service, gate, room = SHUT_MAX, "{message}");
        }
        _ => {}
    }
}

fn of_owners(fact: &Fact) {
    match fact {
        Fact::DocumentTaken { document, count, doubt: None } => {
            info!(document, count, "a document was taken over");
        }
        Fact::DocumentTaken { document, count, doubt: Some(doubt) } => {
            warn!(document, count, doubt, "a document was taken over");
        }
        Fact::DocumentRefused { document, error, first: true, age } => {
            let age_seconds = age.map(|age| age.as_secs());
            error!(document, error, age_seconds, "a document was refused: the last one stays");
        }
        Fact::DocumentRefused { document, error, first: false, .. } => {
            debug!(document, error, "a document is still refused");
        }
        Fact::DocumentRecovered { document } => warn!(document, "a document can be read again"),
        Fact::ClaimRefused { container, why } => {
            warn!(container, why, "a claim to a container was refused");
        }
        _ => {}
    }
}

fn of_containers(fact: &Fact) {
    match fact {
        Fact::ContainerEnded { name, id, reason, exit_code } => {
            info!(name, id, reason, exit_code, "a container ended");
        }
        Fact::OomKilled { name, scope, unsaid: Some(kills), .. } => {
            warn!(name, scope, kills, "the kernel killed in a container for lack of memory");
        }
        Fact::OomKilled { name, scope, kills, unsaid: None } => {
            debug!(name, scope, kills, "the kernel killed in a container again");
        }
        Fact::CrashLoop { name, is_looping: true } => warn!(name, "a container is in a crash loop"),
        Fact::CrashLoop { name, is_looping: false } => info!(name, "a crash loop is over"),
        _ => {}
    }
}

fn of_docker(fact: &Fact) {
    match fact {
        Fact::DockerConnected { version, is_news: true } => info!(version, "Docker answers"),
        Fact::DockerConnected { version, is_news: false } => {
            debug!(version, "Docker answers again")
        }
        Fact::DockerLost { error, loss: Loss::First } => warn!(
            error,
            hint = "containers' names, ends and events are not known until it answers",
            "Docker does not answer"
        ),
        Fact::DockerLost { error, loss: Loss::Otherwise } => {
            warn!(error, "Docker still does not answer, for another reason");
        }
        Fact::DockerLost { error, loss: Loss::Again } => {
            debug!(error, "Docker still does not answer");
        }
        Fact::DockerBreaks { error, breaks } => warn!(
            error,
            breaks,
            hint = "a proxy in between may cut quiet streams; what happened meanwhile is told after each break",
            "Docker answers, and its connections break again and again"
        ),
        Fact::DockerLasts { breaks } => {
            warn!(breaks, "a connection to Docker lasts again");
        }
        _ => {}
    }
}

fn of_outbox(fact: &outbox::Fact) {
    match fact {
        outbox::Fact::Delivered { delivery, answer } => {
            let Delivery { id, event_type, key, attempts, .. } = &**delivery;
            let tenant = key;
            let decision = answer.decision.as_deref().unwrap_or_default();
            let reason = answer.reason.as_deref();
            match answer.is_unclear {
                true => warn!(
                    %id, %event_type, tenant, attempts, decision, reason,
                    "a webhook was accepted with an answer that is unclear"
                ),
                false => info!(
                    %id, %event_type, tenant, attempts, decision, reason, "a webhook was accepted"
                ),
            }
        }
        outbox::Fact::Taken { delivery } => {
            let Delivery { id, event_type, key, attempts, .. } = &**delivery;
            info!(%id, %event_type, tenant = key, attempts, "a receipt says that a webhook was taken");
        }
        outbox::Fact::Retrying { delivery, after, why } => {
            let Delivery { id, attempts, .. } = &**delivery;
            warn!(%id, attempts, ?after, why, "a webhook failed and will be repeated");
        }
        outbox::Fact::DeadLettered { delivery, .. } => {
            let Delivery { id, event_type, key, last_error, .. } = &**delivery;
            error!(
                %id, %event_type, tenant = key, why = last_error.as_deref().unwrap_or_default(),
                hint = "`plimsoll outbox list` shows it, `plimsoll outbox retry` sends it again",
                "a webhook was refused for good"
            );
        }
        outbox::Fact::Paused { why } => error!(
            why,
            hint = "mend control_plane.url or the secret, then reload (restart, where systemd's LoadCredential holds it); nothing is lost",
            "the Control Plane refuses us: webhooks wait"
        ),
        outbox::Fact::Resumed => warn!("the Control Plane takes webhooks again"),
        outbox::Fact::Expired { request, withdrawn: Some(why), replacement, .. } => {
            let Delivery { id, event_type, key, .. } = &**request;
            warn!(
                %id, %event_type, tenant = key, %replacement, why,
                "a request for an action was withdrawn before it was taken"
            );
        }
        outbox::Fact::Expired { request, replacement, .. } => {
            let Delivery { id, event_type, key, .. } = &**request;
            warn!(
                %id, %event_type, tenant = key, %replacement,
                "a request for an action expired undelivered and was withdrawn"
            );
        }
        outbox::Fact::Unheard { delivery, why } => {
            let Delivery { id, event_type, key, .. } = &**delivery;
            info!(%id, %event_type, tenant = key, why, "a webhook is given up");
        }
        outbox::Fact::Retried { id } => info!(%id, "an operator asked to send a webhook again"),
        outbox::Fact::Dropped { delivery, .. } => {
            let Delivery { id, event_type, key, .. } = &**delivery;
            warn!(%id, %event_type, tenant = key, "an operator dropped a webhook");
        }
        outbox::Fact::Overflowed { dropped, gap, .. } => {
            error!(dropped, %gap, "the outbox was full: the oldest webhooks were given up");
        }
    }
}

fn of_operation(fact: &Fact) {
    match fact {
        Fact::AlertmanagerFailed { instance, error, first: true } => {
            error!(alertmanager = instance, error, "an Alertmanager takes no alerts");
        }
        Fact::AlertmanagerFailed { instance, error, first: false } => {
            debug!(alertmanager = instance, error, "an Alertmanager still takes no alerts");
        }
        Fact::AlertRefused { instance, labels, reason, why } => error!(
            alertmanager = instance, %labels, reason, why,
            hint = "mend the rule's labels or annotations; the other alerts were taken",
            "an Alertmanager refuses an alert for good"
        ),
        Fact::AlertmanagerRecovered { instance } => {
            warn!(alertmanager = instance, "an Alertmanager takes alerts again");
        }
        Fact::EndHeld { labels, instance } => warn!(
            alertmanager = instance, %labels,
            "an alert has ended, but Alertmanager cannot deliver: it stays firing there until it can"
        ),
        Fact::MailSent { kind } => info!(kind, "a mail was sent"),
        Fact::MailFailed { kind, reason, why, first: true } => {
            error!(kind, reason, why, "a mail could not be sent: it is tried again");
        }
        Fact::MailFailed { kind, reason, why, first: false } => {
            debug!(kind, reason, why, "a mail could not be sent again");
        }
        Fact::JournalFailing { error } => {
            error!(error, "the journal cannot be written: webhooks wait");
        }
        Fact::JournalRecovered => warn!("the journal can be written again"),
        Fact::AuditFailing { error, first: true } => {
            error!(error, "the audit cannot be written: its records wait");
        }
        Fact::AuditFailing { error, first: false } => {
            debug!(error, "the audit still cannot be written");
        }
        Fact::AuditRecovered { lost: 0 } => warn!("the audit can be written again"),
        Fact::AuditRecovered { lost } => {
            error!(lost, "the audit can be written again; records were given up meanwhile");
        }
        Fact::ClockStepped { by_ms } => warn!(by_ms, "the wall clock stepped"),
        Fact::Recovered { alerts, deliveries, down_for } => {
            info!(alerts, deliveries, ?down_for, "state was taken over from the journal");
        }
        Fact::RowUnreadable { problem } => {
            error!(problem, "a row of the journal cannot be read and is left where it is");
        }
        Fact::ReloadFailed { error } => {
            error!(error, "a new configuration was refused: the old one stays");
        }
        Fact::Reloaded { groups, rules } => {
            info!(groups, rules, "the configuration was taken over");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use crate::policy::HoldReason;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::alerts::{Doubt, ResolveReason};
    use crate::base::{DeliveryId, Labels, RuleId, Timestamp};
    use crate::engine::Judged;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Lines;

        fn make_writer(&'a self) -> Lines {
            self.clone()
        }
    }

    /// The one line a fact makes: its level, its message, one field that tells it apart.
    fn check(fact: &Fact, level: &str, message: &str, (field, want): (&str, &str)) {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || record(fact));
        let text = String::from_utf8(lines.0.lock().expect("written").clone()).expect("JSON");
        assert_eq!(text.lines().count(), 1, "{fact:?}: {text}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["level"], level, "{text}");
        assert_eq!(line["fields"]["message"], message, "{text}");
        let got = &line["fields"][field];
        let shown = got.as_str().map_or_else(|| got.to_string(), str::to_owned);
        assert_eq!(shown, want, "{text}");
    }

    #[test]
    fn a_kill_says_how_many_were_not_said_before_and_a_storm_is_for_whoever_looks() {
        let killed =
            |unsaid| Fact::OomKilled { name: "web".into(), scope: "child", kills: 1, unsaid };
        let message = "the kernel killed in a container for lack of memory";
        check(&killed(Some(600)), "WARN", message, ("kills", "600"));
        check(&killed(None), "DEBUG", "the kernel killed in a container again", ("kills", "1"));
    }

    #[test]
    fn measuring_and_operation_tell_whose_duty_it_is() {
        let (target, error) = ("cadvisor/a:1".to_owned(), "refused".to_owned());
        let failed =
            |first| Fact::ScrapeFailed { target: target.clone(), error: error.clone(), first };
        let name = ("target_name", "cadvisor/a:1");
        check(&failed(true), "WARN", "a target does not answer", name);
        check(&failed(false), "DEBUG", "a target still does not answer", name);
        let fact = Fact::ScrapeRecovered { target: target.clone() };
        check(&fact, "WARN", "a target answers again", name);
        let refused = |first| Fact::SeriesRefused { target: target.clone(), count: 7, first };
        let message = "the window is full: new series were refused";
        check(&refused(true), "ERROR", message, ("count", "7"));
        check(&refused(false), "DEBUG", "the window is still full", ("count", "7"));
        let fact = Fact::SeriesFit { target: target.clone() };
        check(&fact, "WARN", "the window has room for all series of a target again", name);
        let rule = RuleId(Arc::from("a.yml;g;r;0"));
        let failed = |first| Fact::RuleFailed { rule: rule.clone(), error: error.clone(), first };
        check(&failed(true), "ERROR", "a rule cannot be evaluated", ("rule", "a.yml;g;r;0"));
        check(&failed(false), "DEBUG", "a rule still cannot be evaluated", ("error", "refused"));
        let fact = Fact::SlotsMissed { group: "g".to_owned(), missed: 2 };
        check(&fact, "WARN", "a group was not evaluated in time", ("missed", "2"));
        let instance = "http://am:9093/".to_owned();
        let failed = |first| Fact::AlertmanagerFailed {
            instance: instance.clone(),
            error: error.clone(),
            first,
        };
        let name = ("alertmanager", "http://am:9093/");
        check(&failed(true), "ERROR", "an Alertmanager takes no alerts", name);
        check(&failed(false), "DEBUG", "an Alertmanager still takes no alerts", name);
        let fact = Fact::AlertRefused {
            instance: instance.clone(),
            labels: Labels::from_pairs([("alertname", "High")]),
            reason: "bad_alert",
            why: "400".to_owned(),
        };
        check(&fact, "ERROR", "an Alertmanager refuses an alert for good", ("reason", "bad_alert"));
        let fact = Fact::AlertmanagerRecovered { instance };
        check(&fact, "WARN", "an Alertmanager takes alerts again", name);
        let fact = Fact::JournalFailing { error };
        let message = "the journal cannot be written: webhooks wait";
        check(&fact, "ERROR", message, ("error", "refused"));
        let fact = Fact::ClockStepped { by_ms: -5000 };
        check(&fact, "WARN", "the wall clock stepped", ("by_ms", "-5000"));
        let fact = Fact::RowUnreadable { problem: "row 1".to_owned() };
        let message = "a row of the journal cannot be read and is left where it is";
        check(&fact, "ERROR", message, ("problem", "row 1"));
        let fact = Fact::ReloadFailed { error: "a.yml:1:2: no".to_owned() };
        let message = "a new configuration was refused: the old one stays";
        check(&fact, "ERROR", message, ("error", "a.yml:1:2: no"));
        let fact = Fact::Reloaded { groups: 2, rules: 9 };
        check(&fact, "INFO", "the configuration was taken over", ("rules", "9"));
    }

    #[test]
    fn alerts_actions_and_webhooks_carry_their_names() {
        let labels = Labels::from_pairs([("alertname", "A"), ("tenant", "acme")]);
        let shown = ("labels", "{alertname=\"A\", tenant=\"acme\"}");
        let fact = Fact::AlertPending { labels: labels.clone(), value: 1.0 };
        check(&fact, "INFO", "an alert is pending", shown);
        let annotations = Labels::from_pairs([("summary", "acme is full")]);
        let started_at = Timestamp(0);
        let labels_too = labels.clone();
        let fact = Fact::AlertFiring { labels: labels_too, annotations, value: 0.95, started_at };
        check(&fact, "INFO", "an alert fires", ("summary", "acme is full"));
        let reason = ResolveReason::ConditionCleared;
        let fact = Fact::AlertResolved { labels: labels.clone(), started_at: Timestamp(0), reason };
        check(&fact, "INFO", "an alert has ended", ("reason", "ConditionCleared"));
        let doubt = Doubt::RangeNotCovered;
        let fact = Fact::AlertUnknown { labels: labels.clone(), started_at, doubt };
        let message = "an alert is unknown: its inputs are missing";
        check(
            &fact,
            "WARN",
            message,
            ("why", "the rule looks back to before the start or a reload"),
        );
        let judged = Box::new(Judged {
            whose: labels.clone(),
            started_at,
            cause: "leak",
            evidence: outbox::Evidence::default(),
            delivery: None,
        });
        let fact = Fact::Held {
            labels,
            action: "restart",
            reason: HoldReason::CoolDown,
            lifted_by: HoldReason::CoolDown.lifted_by().to_owned(),
            judged,
        };
        check(&fact, "INFO", "an action was decided and held", ("reason", "cool_down"));
        let fact = Fact::AuditFailing { error: "full".to_owned(), first: true };
        let message = "the audit cannot be written: its records wait";
        check(&fact, "ERROR", message, ("error", "full"));
        let fact = Fact::AuditRecovered { lost: 3 };
        let message = "the audit can be written again; records were given up meanwhile";
        check(&fact, "ERROR", message, ("lost", "3"));
    }

    #[test]
    fn each_trouble_with_docker_is_said_aloud_once() {
        let error = "No such file".to_owned();
        let lost = |loss| Fact::DockerLost { error: error.clone(), loss };
        let answers = |is_news| Fact::DockerConnected { version: "20.10".to_owned(), is_news };
        let of_error = ("error", error.as_str());
        check(&lost(Loss::First), "WARN", "Docker does not answer", of_error);
        let otherwise = "Docker still does not answer, for another reason";
        check(&lost(Loss::Otherwise), "WARN", otherwise, of_error);
        check(&lost(Loss::Again), "DEBUG", "Docker still does not answer", of_error);
        check(&answers(true), "INFO", "Docker answers", ("version", "20.10"));
        check(&answers(false), "DEBUG", "Docker answers again", ("version", "20.10"));
        let fact = Fact::DockerBreaks { error: error.clone(), breaks: 3 };
        let breaks = "Docker answers, and its connections break again and again";
        check(&fact, "WARN", breaks, ("breaks", "3"));
        let fact = Fact::DockerLasts { breaks: 7 };
        check(&fact, "WARN", "a connection to Docker lasts again", ("breaks", "7"));
    }

    #[test]
    fn a_gate_that_will_not_be_told_anew_says_which_and_how_many_are() {
        let shut = Box::new(Shut {
            dedup_key: String::new(),
            door: GateKey { gate: "login".to_owned(), ..GateKey::default() },
            service: "acme/app".to_owned(),
            tenant: "acme".to_owned(),
            what: "deploy".to_owned(),
            since: Timestamp(0),
            previous: "200".to_owned(),
            trace_id: String::new(),
            request: None,
            change_id: None,
            replaced: None,
            was_held: false,
            was_unwatched: false,
        });
        let fact = Fact::ShutGateUnkept { shut };
        let message = "a gate that failed after a change will not be told anew: too many are kept";
        check(&fact, "WARN", message, ("gate", "login"));
        check(&fact, "WARN", message, ("room", "1000"));
    }

    #[test]
    fn a_webhook_that_was_taken_says_what_was_answered() {
        let delivery = Delivery {
            id: DeliveryId("evt_1".to_owned()),
            sequence: 1,
            key: String::new(),
            event_type: outbox::EventType::AlertFiring,
            supersedes: String::new(),
            body: Arc::from("{}"),
            decided_at: Timestamp(0),
            expires_at: None,
            attempts: 3,
            refusals: 0,
            last_error: None,
            for_executor: false,
        };
        let delivered = |decision: Option<&str>, reason: Option<&str>, is_unclear| {
            let (decision, reason) = (decision.map(str::to_owned), reason.map(str::to_owned));
            let rest = outbox::Answer::default();
            let answer = outbox::Answer { decision, reason, is_unclear, ..rest };
            Fact::Outbox(outbox::Fact::Delivered { delivery: Box::new(delivery.clone()), answer })
        };
        check(&delivered(None, None, false), "INFO", "a webhook was accepted", ("id", "evt_1"));
        let fact = delivered(Some("declined"), Some("busy"), false);
        check(&fact, "INFO", "a webhook was accepted", ("decision", "declined"));
        let fact = delivered(None, Some("stored"), false);
        check(&fact, "INFO", "a webhook was accepted", ("reason", "stored"));
        let message = "a webhook was accepted with an answer that is unclear";
        for decision in [None, Some("declined")] {
            let fact = delivered(decision, Some("not read: ok"), true);
            check(&fact, "WARN", message, ("reason", "not read: ok"));
        }
        let fact = Fact::Outbox(outbox::Fact::Retrying {
            delivery: Box::new(delivery),
            after: std::time::Duration::from_secs(5),
            why: "503".to_owned(),
        });
        check(&fact, "WARN", "a webhook failed and will be repeated", ("id", "evt_1"));
        let fact = Fact::Outbox(outbox::Fact::Paused { why: "401".to_owned() });
        check(&fact, "ERROR", "the Control Plane refuses us: webhooks wait", ("why", "401"));
    }
}
