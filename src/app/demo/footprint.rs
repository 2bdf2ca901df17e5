//! What this process has cost so far, as Linux tells it. Elsewhere nobody knows.

/// CPU time and the most memory ever resident.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Footprint {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Peak resident set.
    pub peak_bytes: u64,
}

/// Ticks of `/proc/self/stat` per second: 100 on every Linux that Rust runs on (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads it.
pub fn footprint() -> Option<Footprint> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(&stat, &status)
}

fn parse(stat: &str, status: &str) -> Option<Footprint> {
    // The program's name stands in brackets and may hold anything; fields count from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Footprint { cpu_seconds: (user + system) / TICKS_PER_SECOND, peak_bytes: kib * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 99 0 0 0 120 30 0 0 20 0 3 0 5 1 2";
        let got = parse(stat, "Name:\ta) b\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n");
        assert_eq!(got, Some(Footprint { cpu_seconds: 1.5, peak_bytes: 2 << 20 }));
        assert_eq!(parse("", ""), None);
    }
}
