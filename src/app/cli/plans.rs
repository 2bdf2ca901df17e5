//! `plans`: who was promised what, what is enforced, what is used, and what is left.

use serde_json::Value;

use super::args::{Format, PlansArgs};
use super::ask::ask;
use super::out::{Ink, Out};
use super::{exit, finish, runtime};

const HEAD: [&str; 9] =
    ["TENANT", "PLAN", "CONTAINER", "BELIEVED", "ENFORCED", "USED", "HEADROOM", "FIT", "VERDICT"];
/// Verdicts nobody need look at.
const QUIET: [&str; 1] = ["fits"];

pub fn plans(args: &PlansArgs, out: &mut Out<'_>) -> u8 {
    let path = "/api/v1/plimsoll/plans";
    let asked = runtime().and_then(|runtime| runtime.block_on(ask(&args.url, path, &[])));
    let outcome = asked.map(|(data, notes)| {
        notes.iter().for_each(|note| out.say(&format!("note: {note}")));
        say_troubles(&data, out);
        match out.format {
            Format::Json => out.json(&data),
            Format::Text => {
                let rows = list(&data["containers"]).iter().map(cells).collect::<Vec<_>>();
                let shown = table(&rows, out);
                out.raw(shown.as_bytes());
            }
        }
        exit::OK
    });
    finish(outcome, out)
}

/// Documents that cannot be read, and claims that are refused.
fn say_troubles(data: &Value, out: &mut Out<'_>) {
    for document in list(&data["documents"]) {
        let Some(error) = document["error"].as_str() else { continue };
        let age = match document["age_seconds"].as_f64() {
            Some(age) => format!("what is in force is {age:.0} s old"),
            None => "it was never read".to_owned(),
        };
        out.say(&format!("note: the document of {}: {error}; {age}", text(&document["name"])));
    }
    for refused in list(&data["refused"]) {
        let (container, reason) = (text(&refused["container"]), text(&refused["reason"]));
        out.say(&format!("note: {container}: {reason}"));
    }
}

fn cells(row: &Value) -> [String; 9] {
    let tenant = match row["state"].as_str().filter(|state| *state != "active") {
        Some(state) => format!("{} ({state})", text(&row["tenant"])),
        None => text(&row["tenant"]).to_owned(),
    };
    let limits = |limits: &Value| amounts(&limits["mem_limit_bytes"], &limits["cpu_limit_cores"]);
    let used = |used: &Value| amounts(&used["memory_bytes"], &used["cpu_cores"]);
    [
        tenant,
        text(&row["plan"]).to_owned(),
        text(&row["container"]).to_owned(),
        limits(&row["believed"]),
        limits(&row["enforced"]),
        used(&row["used"]),
        used(&row["headroom"]),
        fit(&row["fit"]),
        text(&row["verdict"]).to_owned(),
    ]
}

/// Which plan would have fitted the demand of the last weeks, and how much of it was seen.
fn fit(fit: &Value) -> String {
    let plan = text(&fit["plan"]);
    let words = match fit["direction"].as_str() {
        Some("stay") => "the present plan".to_owned(),
        Some("up") => format!("needs {plan}"),
        Some("down") => format!("{plan} would do"),
        Some(_) => "no plan helps".to_owned(),
        None => return "-".to_owned(),
    };
    let seen = fit["confidence"].as_f64().unwrap_or_default() * 100.0;
    format!("{words} ({seen:.0} % sure)")
}

/// Memory and cores: `512 MiB, 0.50 cores`.
fn amounts(bytes: &Value, cores: &Value) -> String {
    let bytes = bytes.as_f64().map(|bytes| format!("{:.0} MiB", bytes / f64::from(1 << 20)));
    let cores = cores.as_f64().map(|cores| format!("{cores:.2} cores"));
    let known: Vec<String> = bytes.into_iter().chain(cores).collect();
    if known.is_empty() { "-".to_owned() } else { known.join(", ") }
}

fn table(rows: &[[String; 9]], out: &Out<'_>) -> String {
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([HEAD[column].len()]).max().unwrap_or_default()
        })
        .collect();
    let line = |cells: &[String; 9]| {
        let (verdict, rest) = cells.split_last().expect("nine cells");
        let padded = rest.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        let shown = Out::on_a_line(&padded.collect::<String>());
        let verdict = Out::on_a_line(verdict);
        let quiet = QUIET.contains(&verdict.as_str()) || verdict == HEAD[8];
        let verdict = if quiet { verdict } else { out.inked(Ink::Bad, &verdict) };
        format!("{shown}{verdict}\n")
    };
    let head = line(&HEAD.map(str::to_owned));
    head + &rows.iter().map(line).collect::<String>()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_reads_like_a_sentence() {
        let row = json!({
            "tenant": "acme", "plan": "free", "state": "suspended", "container": "acme-1",
            "believed": {"mem_limit_bytes": 1_073_741_824.0, "cpu_limit_cores": 0.5},
            "enforced": {"mem_limit_bytes": 536_870_912.0, "cpu_limit_cores": null},
            "used": {"memory_bytes": 268_435_456.0, "cpu_cores": 0.125},
            "headroom": {"memory_bytes": null, "cpu_cores": null},
            "fit": {"plan": "mini", "direction": "down", "confidence": 0.951, "sentence": "on mini, …"},
            "verdict": "limit differs",
        });
        let want = [
            "acme (suspended)",
            "free",
            "acme-1",
            "1024 MiB, 0.50 cores",
            "512 MiB",
            "256 MiB, 0.12 cores",
            "-",
            "mini would do (95 % sure)",
            "limit differs",
        ];
        assert_eq!(cells(&row), want.map(str::to_owned));
    }

    #[test]
    fn what_others_wrote_begins_no_row_and_moves_no_cursor() {
        let forged = "acme\r\nglobex  pro \x1b[2J\u{9b}1A";
        let row = HEAD.map(|_| forged.to_owned());
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let (format, colours) = (Format::Text, (false, false));
        let out = Out { data: &mut data, talk: &mut talk, format, colours };
        let fits = [forged; 8].map(str::to_owned).into_iter().chain(["fits".to_owned()]);
        let fits: Vec<String> = fits.collect();
        let shown = table(&[fits.try_into().expect("nine cells"), row], &out);
        let lines: Vec<&str> = shown.split('\n').collect();
        assert_eq!(
            (lines[0].split_whitespace().next(), lines.len()),
            (Some(HEAD[0]), 4),
            "{shown}"
        );
        let first = lines[1];
        assert!(!first.chars().any(char::is_control), "{first:?}");
    }
}
