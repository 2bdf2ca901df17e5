//! A nudge is called off when its cause ends: a customer who is no longer short of anything is not to
//! be sold more.
//!
//! One that still waits is withdrawn. One that was delivered cannot be taken back, so the Control
//! Plane hears that it is void, as `action.expired` under the request's own `dedup_key`; if it has
//! written to the customer already, it said so in a receipt, and is not told.

use std::collections::BTreeMap;

use super::Engine;
use crate::alerts::Alert;
use crate::base::{DeliveryId, Now, fingerprint};
use crate::outbox::{
    Action, ActionKind, Data, Draft, Event, EventType, WireTime, trace_id, withdrawal_id,
};

impl Engine {
    pub(super) fn cancel_nudge(&mut self, now: Now, alert: &Alert, dedup_key: &str) {
        let asked = self.memory.guards.open(dedup_key);
        // What was only observed was never said.
        let Some((asked, mode)) = asked.and_then(|asked| asked.mode.map(|mode| (asked, mode)))
        else {
            return;
        };
        let why = format!("its cause has ended, {} is resolved", alert.name());
        let id = DeliveryId(asked.delivery_id);
        let batch = self.batch();
        let Some(outbox) = &mut self.outbox else { return };
        if let Some(turn) = outbox.withdraw(&id, &why, now, batch) {
            return self.take_turn(now, turn);
        }
        let (whose, _) = self.whose(&alert.labels);
        let label = |name: &str| whose.get(name).map(str::to_owned);
        let key = format!("{:016x}", fingerprint(&alert.labels));
        let data = Data {
            alert: Some(alert.name().to_owned()),
            starts_at: Some(WireTime(alert.starts_at())),
            host: label("host"),
            tenant_id: label("tenant"),
            plan: label("plan"),
            service: label("service"),
            action: Some(Action {
                kind: ActionKind::Nudge,
                mode,
                expires_at: WireTime(now.wall),
                dedup_key: dedup_key.to_owned(),
                params: BTreeMap::new(),
            }),
            reason: Some(format!("request {id} is void: {why}")),
            trace_id: Some(trace_id(&key, alert.starts_at())),
            fingerprint: Some(key),
            ..Data::default()
        };
        let event = Event::new(EventType::ActionExpired, now.wall, data);
        self.push_event(now, Draft { id: withdrawal_id(&id), event });
    }
}
