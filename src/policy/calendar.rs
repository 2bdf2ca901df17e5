//! Maintenance and quiet hours: whom each window is about, and which is open now.

use crate::base::{Labels, Timestamp};
use crate::calendar::{Open, Window};

/// What an open window holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowKind {
    /// Everything that touches a tenant: somebody works on it.
    Maintenance,
    /// What speaks to customers: they sleep.
    QuietHours,
}

impl WindowKind {
    /// Both.
    pub const ALL: [WindowKind; 2] = [WindowKind::Maintenance, WindowKind::QuietHours];

    /// The word of configuration and series.
    pub fn name(self) -> &'static str {
        match self {
            WindowKind::Maintenance => "maintenance",
            WindowKind::QuietHours => "quiet_hours",
        }
    }
}

/// One window and its scope. An empty list stands for everyone.
#[derive(Clone, PartialEq, Debug)]
pub struct CalendarEntry {
    /// Its name, for people.
    pub name: String,
    /// What it holds.
    pub kind: WindowKind,
    /// Hosts it is about.
    pub hosts: Vec<String>,
    /// Tenants it is about.
    pub tenants: Vec<String>,
    /// Plans it is about.
    pub plans: Vec<String>,
    /// When it is open.
    pub window: Window,
}

/// Every window there is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Calendar(pub Vec<CalendarEntry>);

/// Whom a window would hold.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The Docker host.
    pub host: &'a str,
    /// The tenant, or `""`.
    pub tenant: &'a str,
    /// The tenant's plan, or `""`.
    pub plan: &'a str,
}

impl Calendar {
    /// The open window of this kind that ends last, if one is open for `whom`.
    pub fn open(&self, kind: WindowKind, whom: Scope<'_>, now: Timestamp) -> Option<Open> {
        let about = self.0.iter().filter(|entry| entry.kind == kind && entry.is_about(whom));
        let open = about.filter_map(|entry| {
            let until = entry.window.is_open(now)?;
            Some(Open { name: entry.name.clone(), until })
        });
        open.max_by_key(|open| open.until.map_or(i64::MAX, Timestamp::as_millis))
    }

    /// `plimsoll_calendar_open{calendar, kind}` of the windows that are about this host: 1 while
    /// one is open.
    pub fn series(&self, host: &str, now: Timestamp) -> Vec<(Labels, f64)> {
        let here = self.0.iter().filter(|entry| holds(&entry.hosts, host));
        let of = |entry: &CalendarEntry| {
            let labels = [("calendar", entry.name.as_str()), ("kind", entry.kind.name())];
            let open = entry.window.is_open(now).is_some();
            super::series("plimsoll_calendar_open", labels, f64::from(u8::from(open)))
        };
        here.map(of).collect()
    }
}

impl CalendarEntry {
    fn is_about(&self, Scope { host, tenant, plan }: Scope<'_>) -> bool {
        holds(&self.hosts, host) && holds(&self.tenants, tenant) && holds(&self.plans, plan)
    }
}

fn holds(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|one| one == name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::calendar::{Schedule, Zone};

    fn entry(name: &str, hours: u64, scope: [&[&str]; 3]) -> CalendarEntry {
        let [hosts, tenants, plans] =
            scope.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let window = Window {
            schedule: Schedule::parse("0 0 * * *").expect("a schedule"),
            duration: Duration::from_secs(hours * 3600),
            zone: Zone::utc(),
        };
        let kind = WindowKind::Maintenance;
        CalendarEntry { name: name.to_owned(), kind, hosts, tenants, plans, window }
    }

    #[test]
    fn a_window_holds_its_scope_and_nobody_else() {
        let calendar = Calendar(vec![
            entry("all", 1, [&[], &[], &[]]),
            entry("acme", 2, [&[], &["acme"], &[]]),
            entry("free-here", 3, [&["web-7"], &[], &["free", "trial"]]),
        ]);
        let open = |hour: i64, host, tenant, plan| {
            let now = Timestamp(1_795_305_600_000 + hour * 3_600_000);
            let scope = Scope { host, tenant, plan };
            calendar.open(WindowKind::Maintenance, scope, now).map(|open| open.name)
        };
        assert_eq!(open(0, "web-8", "beta", "pro").as_deref(), Some("all"));
        assert_eq!(open(0, "web-8", "acme", "pro").as_deref(), Some("acme"), "it ends last");
        assert_eq!(open(0, "web-7", "acme", "free").as_deref(), Some("free-here"));
        assert_eq!(open(1, "web-7", "beta", "pro"), None);
        assert_eq!(open(2, "web-7", "beta", "trial").as_deref(), Some("free-here"));
        assert_eq!(open(2, "web-8", "beta", "trial"), None, "another host");
        assert_eq!(open(3, "web-7", "acme", "free"), None);
        let quiet = Scope { host: "web-7", tenant: "acme", plan: "free" };
        assert_eq!(
            calendar.open(WindowKind::QuietHours, quiet, Timestamp(1_795_305_600_000)),
            None
        );
        let series = calendar.series("web-8", Timestamp(1_795_305_600_000 + 5_400_000));
        let values: Vec<f64> = series.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [0.0, 1.0], "the third is about another host");
    }
}
