//! This process as the kernel has it: what `/metrics` tells of it, and how many files it may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::Timestamp;
use crate::telemetry::Process;

/// `USER_HZ`: the kernel's unit of processor time towards programs, 100 on every architecture
/// Docker runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Raises the soft limit of open files to the hard one, as Go's runtime does; the low soft one is
/// there for programs that call `select`. The collector keeps files open up to half of it.
pub fn raise_open_files() -> rustix::io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
}

/// Reads `/proc/self`; what cannot be read is absent.
pub fn look(started_at: Timestamp) -> Process {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    Process {
        started_at,
        cpu_seconds: read("stat").as_deref().and_then(cpu_seconds),
        resident_bytes: read("status").as_deref().and_then(resident_bytes),
        max_fds: getrlimit(Resource::Nofile).current,
        open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
    }
}

/// User and system time: fields 14 and 15 of `stat`. The second field, the program's name, stands
/// in parentheses and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let behind_name = stat.rsplit_once(')')?.1;
    let mut ticks = behind_name.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let process = look(Timestamp(1));
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.cpu_seconds.is_some() && process.open_fds.is_some_and(|fds| fds > 2));
        assert!(process.max_fds >= process.open_fds, "{process:?}");
    }

    #[test]
    fn as_many_files_may_be_open_as_the_hard_limit_allows() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(512), maximum };
        setrlimit(Resource::Nofile, few).expect("fewer are always allowed");
        raise_open_files().expect("up to the hard limit is allowed");
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
