//! `calendar`: maintenance windows and quiet hours.

use std::collections::BTreeSet;
use std::path::Path;

use super::owners::known_plan;
use crate::base::closest;
use crate::calendar::{Schedule, Window, Zone};
use crate::policy::{Calendar, CalendarEntry, Plans, WindowKind};
use crate::yaml::{Cursor, Fields, read};

/// Where systems keep the files of time zones.
const ZONE_FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];

/// Whom a window may name: what is not known is not checked.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// The plans there are.
    pub plans: Option<&'a Plans>,
    /// The tenants there are.
    pub tenants: Option<&'a BTreeSet<String>>,
}

/// Reads the list of windows.
pub(super) fn read(mut at: Cursor<'_, '_>, known: Known<'_>) -> Option<Calendar> {
    let mut names: Vec<String> = Vec::new();
    let entries = at.each_item(|at| {
        let entry = entry(at, &names, known)?;
        names.push(entry.name.clone());
        Some(entry)
    });
    entries.map(Calendar)
}

fn entry(at: Cursor<'_, '_>, names: &[String], known: Known<'_>) -> Option<CalendarEntry> {
    let mut fields = Fields::open(at)?;
    let name = fields.required("name", |mut at| {
        let name = read::name(at.again())?;
        if names.contains(&name) {
            at.error(format!("`{name}` is there twice"));
        }
        Some(name)
    });
    let kind = fields
        .required("kind", |at| read::one_of(at, &WindowKind::ALL.map(|kind| (kind.name(), kind))));
    let schedule = fields.required("cron", |mut at| {
        let text = read::string(at.again())?;
        Schedule::parse(&text).map_err(|error| at.error(error)).ok()
    });
    let duration = fields.required("duration", |mut at| {
        let duration = read::positive_duration(at.again())?;
        if duration > Window::LONGEST {
            at.error_hint("is longer than a week", "write several windows");
        }
        Some(duration)
    });
    let zone = fields.or("timezone", Zone::utc(), zone);
    let hosts = fields.list("hosts", read::string);
    let tenants = fields.list("tenants", |at| tenant(at, known.tenants));
    let plans = fields.list("plans", |at| known_plan(at, known.plans));
    fields.finish();
    let window = Window { schedule: schedule?, duration: duration?, zone };
    Some(CalendarEntry { name: name?, kind: kind?, hosts, tenants, plans, window })
}

/// A tenant; one that nobody else knows of may be a slip, and the window would hold nobody.
fn tenant(mut at: Cursor<'_, '_>, known: Option<&BTreeSet<String>>) -> Option<String> {
    let name = read::string(at.again())?;
    if let Some(known) = known.filter(|known| !known.contains(&name)) {
        let near = closest(&name, known.iter().map(String::as_str));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        at.warning(format!("no tenant is called `{name}` under `tenants`{hint}"));
    }
    Some(name)
}

/// `UTC`, an offset, a rule in POSIX's notation with summer time, or the name of a zone this system knows.
pub(super) fn zone(mut at: Cursor<'_, '_>) -> Option<Zone> {
    let text = read::string(at.again())?;
    if let Some(zone) = Zone::parse(&text) {
        return Some(zone);
    }
    if let Some([one, other]) = Zone::two_readings(&text) {
        let hint = format!("write `{one}`, or `{other}` if the sign is POSIX's");
        at.error_hint(format!("`{text}` may mean two time zones"), hint);
        return None;
    }
    let Some(folder) = ZONE_FOLDERS.map(Path::new).into_iter().find(|folder| folder.is_dir())
    else {
        let hint = "install tzdata, or write an offset as `+09:00`";
        at.error_hint(format!("`{text}`: this system has no time zone files"), hint);
        return None;
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "/_-+".contains(c);
    let plain = text.chars().all(is_name) && !text.starts_with('/');
    match plain.then(|| std::fs::read(folder.join(&text))) {
        Some(Ok(bytes)) => Zone::from_file(&text, &bytes).map_err(|error| at.error(error)).ok(),
        _ => {
            let hint = match nearest(folder, &text) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "write `Area/City`, `UTC` or an offset as `+09:00`".to_owned(),
            };
            at.error_hint(format!("`{text}` is not a time zone"), hint);
            None
        }
    }
}

/// The zone of the same area whose name is nearly this one.
fn nearest(folder: &Path, name: &str) -> Option<String> {
    let (area, city) = name.rsplit_once('/')?;
    let entries = std::fs::read_dir(folder.join(area)).ok()?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Some(format!("{area}/{}", closest(city, names.iter().map(String::as_str))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Problems, parse};

    /// The calendar that is read, and the problems without the file's name.
    fn read_text(text: &str) -> (Option<Calendar>, String) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let (plans, tenants) = (Plans::default(), BTreeSet::from(["acme".to_owned()]));
        let known = Known { plans: Some(&plans), tenants: Some(&tenants) };
        let calendar = read(Cursor::root("a.yml", &node, &mut problems), known);
        (calendar, problems.to_string())
    }

    #[test]
    fn windows_are_read() {
        let text = "- {name: patches, kind: maintenance, cron: '0 3 * * SUN', duration: 2h}\n\
                    - {name: nights, kind: quiet_hours, cron: '0 22 * * *', duration: 10h, \
                       timezone: +09:00, hosts: [web-7], tenants: [acme], plans: [free, pro]}\n";
        let (calendar, problems) = read_text(text);
        assert_eq!(problems, "");
        let Calendar(entries) = calendar.expect("reads");
        let [patches, nights] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((patches.kind, nights.kind), (WindowKind::Maintenance, WindowKind::QuietHours));
        assert_eq!(patches.window.zone, Zone::utc());
        assert_eq!(nights.window.zone.name(), "+09:00");
        assert_eq!((nights.hosts.len(), nights.tenants.len(), nights.plans.len()), (1, 1, 2));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let entry = |more: &str| {
            let text = format!("- {{name: a, {more}}}");
            read_text(&text).1
        };
        let good = "kind: maintenance, cron: '0 3 * * *', duration: 1h";
        assert_eq!(entry(good), "");
        for (more, want) in [
            ("kind: maintainance, cron: '0 3 * * *', duration: 1h", "did you mean `maintenance`?"),
            ("kind: maintenance, cron: '0 3 * *', duration: 1h", "must be five fields"),
            ("kind: maintenance, cron: '0 3 * * *', duration: 8d", "longer than a week"),
            ("kind: maintenance, cron: '0 3 * * *'", "`duration` is missing"),
            (&format!("{good}, timezone: ../../etc/passwd"), "time zone"),
            (&format!("{good}, timezone: 'no zone'"), "time zone"),
            (
                &format!("{good}, timezone: UTC+9"),
                "`UTC+9` may mean two time zones; write `+09:00`, or `-09:00` if the sign is POSIX's",
            ),
            (&format!("{good}, tenant: acme"), "did you mean `tenants`?"),
            (
                &format!("{good}, plans: [free, por]"),
                "a.yml:1:79: [0].plans[1]: `por` is not a plan",
            ),
            (
                &format!("{good}, tenants: [acme, acem]"),
                "a.yml:1:81: warning: [0].tenants[1]: no tenant is called `acem` under `tenants`; \
                 did you mean `acme`?",
            ),
        ] {
            let said = entry(more);
            assert!(said.contains(want) && said.contains("a.yml:1:"), "{more}: {said}");
        }
        let twice = format!("- {{name: a, {good}}}\n- {{name: a, {good}}}");
        assert!(read_text(&twice).1.contains("a.yml:2:10: [1].name: `a` is there twice"));
    }
}
