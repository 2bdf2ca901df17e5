//! What is asked of `/proc`: the machine's size, when a process started, names of block devices.
//!
//! Parsing is pure; the host's `/proc` may be mounted elsewhere.

use std::io;
use std::path::Path;

use super::failure::Failure;
use super::files::Reader;
use crate::base::{HashMap, Timestamp};

/// `starttime` in `/proc/<pid>/stat` counts in USER_HZ, which is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine; it changes rarely, so it is looked at once a minute.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Machine {
    /// Memory, bytes.
    pub memory: Option<f64>,
    /// Memory that can be had without swapping, bytes; looked at when somebody wants it.
    pub available: Option<f64>,
    /// Swap, bytes.
    pub swap: Option<f64>,
    /// Logical CPUs.
    pub cores: Option<f64>,
    /// When it was booted, seconds.
    pub booted_at: Option<f64>,
    /// Block devices by their numbers: `/dev/sda`.
    pub devices: HashMap<(u32, u32), String>,
    /// The host's network, as the kernel names it; containers in it have no network of their own.
    pub network: Option<String>,
    /// The first file that everybody may read and that cannot be.
    pub failure: Option<Failure>,
}

/// `btime` is in whole seconds, rounded down, and `uptime` is read a moment after the time is known that it is counted
/// from, or longer where this thread waits. A container that is shown an uptime of its own has another.
const SAME_BOOT_S: f64 = 2.0;

/// With less than this share of its memory available a host is short of it; its rule says the same.
const SHORT: f64 = 0.1;

impl Machine {
    /// Looks, at this time if it is known; what cannot be read is not known.
    pub fn look(reader: &mut Reader, proc_root: &Path, at: Option<Timestamp>) -> Machine {
        let mut machine = Machine::default();
        let mut text = |name: &str| {
            let bytes = reader.read_whole(&proc_root.join(name))?;
            io::Result::Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        let failed = |name: &str, error: io::Error| Failure {
            what: proc_root.join(name).display().to_string(),
            why: format!("cannot be read: {error}"),
        };
        match text("meminfo") {
            Ok(text) => {
                machine.memory = kilobytes(&text, "MemTotal:");
                machine.swap = kilobytes(&text, "SwapTotal:");
            }
            Err(error) => machine.failure = Some(failed("meminfo", error)),
        }
        match text("stat") {
            Ok(text) => (machine.cores, machine.booted_at) = cores_and_boot(&text),
            Err(error) => {
                machine.failure.get_or_insert_with(|| failed("stat", error));
            }
        }
        let exact = at.zip(text("uptime").ok()).and_then(|(at, text)| boot(at, &text));
        let is_same = |exact: f64, rough: f64| (exact - rough).abs() <= SAME_BOOT_S;
        machine.booted_at = machine.booted_at.map(|rough| {
            let exact = exact.filter(|exact| is_same(*exact, rough)).unwrap_or(rough);
            exact.clamp(rough, rough + 1.0)
        });
        machine.devices = devices(&text("diskstats").unwrap_or_default());
        machine.network = network_of(proc_root, 1);
        machine
    }

    /// Looks at the memory that is available, which changes all the time.
    pub fn look_at_memory(&mut self, reader: &mut Reader, proc_root: &Path) {
        let text = reader.read_once(&proc_root.join("meminfo")).ok();
        let text = text.and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.available = text.and_then(|text| kilobytes(text, "MemAvailable:"));
    }

    /// Whether the kernel takes memory from whoever has some.
    pub fn is_short_of_memory(&self) -> bool {
        self.available.zip(self.memory).is_some_and(|(left, all)| left < SHORT * all)
    }

    /// When a process started, seconds.
    pub fn started_at(&self, reader: &mut Reader, proc_root: &Path, pid: u32) -> Option<f64> {
        let text = reader.read_once(&proc_root.join(pid.to_string()).join("stat")).ok()?;
        Some(self.booted_at? + start_ticks(text)? / TICKS_PER_SECOND)
    }

    /// A device's name, or its numbers.
    pub fn device(&self, major: u32, minor: u32) -> String {
        self.devices.get(&(major, minor)).cloned().unwrap_or_else(|| format!("{major}:{minor}"))
    }
}

/// The network a process is in, as the kernel names it; needs the right to look at the process.
pub(super) fn network_of(proc_root: &Path, pid: u32) -> Option<String> {
    let link = std::fs::read_link(proc_root.join(pid.to_string()).join("ns/net")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// The processes of a `cgroup.procs`, in no order that tells their age: numbers are given again. 0 is one of another
/// host's pid namespace.
pub(super) fn pids(text: &[u8]) -> impl Iterator<Item = u32> {
    let lines = text.split(|byte| *byte == b'\n');
    let pids = lines.filter_map(|line| std::str::from_utf8(line).ok()?.trim().parse().ok());
    pids.filter(|pid| *pid > 0)
}

/// `MemTotal:       24587240 kB` in bytes.
fn kilobytes(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024.0)
}

/// Lines `cpu0 …` counted, and `btime N`.
fn cores_and_boot(text: &str) -> (Option<f64>, Option<f64>) {
    let is_core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cores = text.lines().filter(is_core).count();
    let boot = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    ((cores > 0).then_some(cores as f64), boot)
}

/// When a machine was booted whose `uptime` is this now, seconds: the line is `1234.56 789.01`.
fn boot(at: Timestamp, uptime: &str) -> Option<f64> {
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(at.as_seconds() - up)
}

/// Lines `   8       0 sda 1 2 3…`.
fn devices(text: &str) -> HashMap<(u32, u32), String> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let numbers = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((numbers, format!("/dev/{}", words.next()?)))
    };
    text.lines().filter_map(device).collect()
}

/// Field 22 of `/proc/<pid>/stat`; the name in parentheses may hold anything.
fn start_ticks(text: &[u8]) -> Option<f64> {
    let after = memchr::memrchr(b')', text)?;
    let rest = std::str::from_utf8(&text[after + 1..]).ok()?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn of_many_devices_the_last_is_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let device = |n: usize| format!(" 254 {n} vd{n} 1 2 3\n");
        let text: String = (0..500).map(device).collect();
        std::fs::write(dir.path().join("diskstats"), text).expect("written");
        let mut reader = Reader::of(|file, buffer, at| {
            let page = buffer.len().min(4096);
            file.read_at(&mut buffer[..page], at)
        });
        let machine = Machine::look(&mut reader, dir.path(), None);
        assert_eq!((machine.devices.len(), &*machine.device(254, 499)), (500, "/dev/vd499"));
    }

    /// A start that is early by up to a second can lie before the end of the run before.
    #[test]
    fn starts_are_told_to_the_hundredth_of_a_second() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("stat"), "cpu0 1\nbtime 1000\n").expect("written");
        let mut reader = Reader::new(0);
        let now = Timestamp(1_500_000);
        for (uptime, want) in [
            ("499.25 1.00\n", 1000.75),
            // It was read late, and early by a clock that was moved since.
            ("501.50 1.00\n", 1000.0),
            ("498.50 1.00\n", 1001.0),
            ("3.00 1.00\n", 1000.0),
            ("x", 1000.0),
        ] {
            std::fs::write(dir.path().join("uptime"), uptime).expect("written");
            let machine = Machine::look(&mut reader, dir.path(), Some(now));
            assert_eq!(machine.booted_at, Some(want), "{uptime}");
        }
    }

    #[test]
    fn proc_is_read_as_the_kernel_writes_it() {
        let meminfo = "MemTotal:       24587240 kB\nMemFree: 1 kB\nSwapTotal:             0 kB\n";
        assert_eq!(kilobytes(meminfo, "MemTotal:"), Some(24_587_240.0 * 1024.0));
        assert_eq!(kilobytes(meminfo, "SwapTotal:"), Some(0.0));
        assert_eq!(kilobytes(meminfo, "Nothing:"), None);
        let stat = "cpu  1 2 3\ncpu0 1 2\ncpu1 1 2\nintr 5\nbtime 1795300000\n";
        assert_eq!(cores_and_boot(stat), (Some(2.0), Some(1_795_300_000.0)));
        assert_eq!(cores_and_boot("garbage"), (None, None));
        let found = devices("   8       0 sda 1 2\n 254  16 vdb 3\nx\n");
        assert_eq!(found.get(&(254, 16)).map(String::as_str), Some("/dev/vdb"));
        assert_eq!(found.len(), 2);
        let process = b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 1";
        assert_eq!(start_ticks(process), Some(12_345.0));
        assert_eq!(start_ticks(b"42 (cut"), None);
        for (text, want) in [("17\n18\n", &[17, 18][..]), ("", &[]), ("0\n4\n", &[4]), ("x\n", &[])]
        {
            assert_eq!(pids(text.as_bytes()).collect::<Vec<_>>(), want, "{text:?}");
        }
    }
}
