//! `actions`: a mode for each kind, the numbers that hold actions back, and the files that do.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::app::switches::SwitchFiles;
use crate::endpoint::read::path;
use crate::outbox::ActionKind;
use crate::policy::{
    FitConfig, InterlockConfig, Limits, Mode, PolicyConfig, Thresholds, VerifyConfig,
};
use crate::yaml::{Cursor, Fields, read};

/// What fires again within an hour is one episode, and services are remembered for a month.
const EPISODES_WITHIN: RangeInclusive<Duration> = HOUR..=MONTH;
/// Less than an hour forgets what a day is like; services are remembered for a month.
const HALF_LIFE: RangeInclusive<Duration> = HOUR..=MONTH;
const HOUR: Duration = Duration::from_secs(3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// `actions`: a mode of its own for each kind, and the numbers that hold actions back. Says whether
/// the local executor carries restarts out.
pub(super) fn read(
    at: Cursor<'_, '_>,
    base: &Path,
    (policy, switches): (&mut PolicyConfig, &mut SwitchFiles),
) -> Option<bool> {
    let mut fields = Fields::open(at)?;
    let mut modes: BTreeMap<ActionKind, Mode> = BTreeMap::new();
    for (key, kind) in [
        ("restart", ActionKind::Restart),
        ("nudge", ActionKind::Nudge),
        ("advise", ActionKind::Advise),
        ("rollback_advice", ActionKind::RollbackAdvice),
    ] {
        modes.extend(fields.optional(key, mode).map(|mode| (kind, mode)));
    }
    policy.modes.extend(modes);
    policy.limits = limits(&mut fields);
    switches.kill = fields.optional("kill_switch_file", |at| path(at, base));
    switches.busy = fields.optional("busy_file", |at| path(at, base));
    policy.opt_in = fields.optional("opt_in", super::owners::kinds);
    fields.optional("interlock", |at| interlock(at, &mut policy.interlock));
    fields.optional("diagnosis", |at| diagnosis(at, &mut policy.thresholds));
    fields.optional("plan_fit", |at| plan_fit(at, &mut policy.fitting));
    fields.optional("verify", |at| verify(at, &mut policy.verify));
    let hands = [("none", false), ("docker", true)];
    let executes = fields.or("executor", false, |at| read::one_of(at, &hands));
    fields.finish();
    Some(executes)
}

/// `observe`, `notify` or `act`.
pub(super) fn mode(mut at: Cursor<'_, '_>) -> Option<Mode> {
    let text = read::string(at.again())?;
    let mode = Mode::parse(&text);
    if mode.is_none() {
        at.error_hint(format!("`{text}` is not a mode"), "write `observe`, `notify` or `act`");
    }
    mode
}

fn limits(fields: &mut Fields<'_, '_>) -> Limits {
    let default = Limits::default();
    let duration = read::positive_duration;
    Limits {
        restart_cool_down: fields.or("restart_cool_down", default.restart_cool_down, duration),
        nudge_cool_down: fields.or("nudge_cool_down", default.nudge_cool_down, duration),
        advise_cool_down: fields.or("advise_cool_down", default.advise_cool_down, duration),
        restarts_per_tenant_day: fields.or(
            "restarts_per_tenant_day",
            default.restarts_per_tenant_day,
            read::integer,
        ),
        restarts_per_host_hour: fields.or(
            "restarts_per_host_hour",
            default.restarts_per_host_hour,
            read::integer,
        ),
        restarts_without_effect: fields.or(
            "restarts_without_effect",
            default.restarts_without_effect,
            read::integer,
        ),
        restarts_at_once: fields.or("restarts_at_once", default.restarts_at_once, read::integer),
        start_grace: fields.or("start_grace", default.start_grace, read::duration),
        after_change: fields.or("after_change", default.after_change, read::duration),
        expiry: fields.or("expiry", default.expiry, duration),
        plan_floor_bytes: fields.or("plan_floor", default.plan_floor_bytes, read::bytes),
        nudge_episodes: fields.or("nudge_episodes", default.nudge_episodes, read::integer),
        episodes_within: fields.or("nudge_episodes_within", default.episodes_within, |at| {
            read::duration_within(at, EPISODES_WITHIN)
        }),
        evidence_age: fields.or("evidence_age", default.evidence_age, duration),
        recycle_within: fields.or("recycle_within", default.recycle_within, read::duration),
    }
}

/// When the host itself counts as ill.
fn interlock(at: Cursor<'_, '_>, config: &mut InterlockConfig) -> Option<()> {
    let mut fields = Fields::open(at)?;
    config.tenants = fields.or("tenants", config.tenants, read::integer);
    config.share = fields.or("share", config.share, share);
    config.within = fields.or("within", config.within, read::positive_duration);
    config.calm = fields.or("calm", config.calm, read::duration);
    fields.finish();
    Some(())
}

/// From where on something ails a container.
fn diagnosis(at: Cursor<'_, '_>, config: &mut Thresholds) -> Option<()> {
    let mut fields = Fields::open(at)?;
    config.memory = fields.or("memory", config.memory, share);
    config.throttled = fields.or("throttled", config.throttled, share);
    config.saturated = fields.or("saturated", config.saturated, share);
    config.starved = fields.or("starved", config.starved, share);
    config.host_memory = fields.or("host_memory", config.host_memory, share);
    fields.finish();
    Some(())
}

/// When demand fits a plan.
fn plan_fit(at: Cursor<'_, '_>, config: &mut FitConfig) -> Option<()> {
    let mut fields = Fields::open(at)?;
    config.memory = fields.or("memory", config.memory, some_share);
    config.tolerated = fields.or("tolerated", config.tolerated, some_share);
    config.half_life =
        fields.or("half_life", config.half_life, |at| read::duration_within(at, HALF_LIFE));
    config.confidence = fields.or("confidence", config.confidence, some_share);
    fields.finish();
    Some(())
}

fn some_share(mut at: Cursor<'_, '_>) -> Option<f64> {
    let value = share(at.again())?;
    if value == 0.0 {
        at.error_hint("nothing is below 0", "write a number above 0, up to 1");
        return None;
    }
    Some(value)
}

fn share(mut at: Cursor<'_, '_>) -> Option<f64> {
    let value = read::float(at.again())?;
    let good = (0.0..=1.0).contains(&value);
    if !good {
        at.error_hint(format!("{value} is not a share"), "write a number from 0 to 1");
    }
    good.then_some(value)
}

/// How long the effect of a restart is watched.
fn verify(at: Cursor<'_, '_>, config: &mut VerifyConfig) -> Option<()> {
    let mut fields = Fields::open(at)?;
    config.within = fields.or("within", config.within, read::positive_duration);
    config.settle = fields.or("settle", config.settle, read::duration);
    config.relapse = fields.or("relapse", config.relapse, read::duration);
    config.gate_grace = fields.or("gate_grace", config.gate_grace, read::duration);
    fields.finish();
    Some(())
}
