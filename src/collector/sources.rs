//! Which file yields which figures, on either version of cgroups: the collector's formulas.
//!
//! Pure. The meanings are cAdvisor's (`container/libcontainer/handler.go`, measured against it in
//! `tests/collector_truth.rs`), the formats the kernel's (`Documentation/admin-guide/cgroup-v1`,
//! `cgroup-v2.rst`). Where cAdvisor is known to be wrong on v2 the kernel's meaning wins: the soft
//! limit is `memory.low`, which is what Docker writes for `--memory-reservation`.

use super::figures::{Figures, Pressure, Traffic};
use super::parse::{
    Malformed, device_number, fill, lines, number, or_max, pairs, single, single_or_max, words,
};

/// Which figures are asked for, one bit for each that has a file of its own.
pub(super) type Parts = u32;

pub(super) const USAGE: Parts = 1;
pub(super) const STAT: Parts = 1 << 1;
pub(super) const SWAP: Parts = 1 << 2;
pub(super) const KERNEL: Parts = 1 << 3;
pub(super) const HIGH_WATER: Parts = 1 << 4;
pub(super) const FAILCNT: Parts = 1 << 5;
pub(super) const LIMIT: Parts = 1 << 6;
pub(super) const SOFT_LIMIT: Parts = 1 << 7;
pub(super) const SWAP_LIMIT: Parts = 1 << 8;
pub(super) const EVENTS: Parts = 1 << 9;
pub(super) const CPU_USAGE: Parts = 1 << 10;
pub(super) const CPU_SPLIT: Parts = 1 << 11;
pub(super) const CFS: Parts = 1 << 12;
pub(super) const QUOTA: Parts = 1 << 13;
pub(super) const PERIOD: Parts = 1 << 14;
pub(super) const SHARES: Parts = 1 << 15;
pub(super) const CPU_PRESSURE: Parts = 1 << 16;
pub(super) const MEMORY_PRESSURE: Parts = 1 << 17;
pub(super) const IO_PRESSURE: Parts = 1 << 18;
pub(super) const BLOCK_BYTES: Parts = 1 << 19;
pub(super) const BLOCK_COUNTS: Parts = 1 << 20;
/// Limits: they change when somebody sets them, and Docker tells of most such changes.
pub(super) const LIMITS: Parts = LIMIT | SOFT_LIMIT | SWAP_LIMIT | QUOTA | PERIOD | SHARES;
/// Read from `/proc`, not from the cgroup.
pub(super) const NETWORK: Parts = 1 << 21;
/// Of the machine, from `/proc/meminfo`; no container has it.
pub(super) const AVAILABLE: Parts = 1 << 22;

/// Limits above this are "no limit": v1 writes the largest number of whole pages (cAdvisor).
const NO_LIMIT_FROM: u64 = 1 << 62;
const NANOSECONDS: f64 = 1e9;
const MICROSECONDS: f64 = 1e6;
/// `cpuacct.stat` counts in USER_HZ, which is 100 on every Linux.
const TICKS: f64 = 100.0;
/// Interfaces that are not the container's way out (cAdvisor, `isIgnoredDevice`).
const IGNORED_INTERFACES: [&str; 3] = ["lo", "veth", "docker"];

/// One file and what it is good for.
pub(super) struct Source {
    /// v1: the hierarchy it lives in. On v2 there is one.
    pub controller: &'static str,
    /// Its name.
    pub file: &'static str,
    /// What it yields.
    pub parts: Parts,
    /// Takes its text in.
    pub read: fn(&[u8], &mut Figures) -> Result<(), Malformed>,
}

macro_rules! source {
    ($controller:literal, $file:literal, $parts:expr, $read:expr) => {
        Source { controller: $controller, file: $file, parts: $parts, read: $read }
    };
}

/// So many files at the head of either table are a container's pulse: while they say what they said,
/// hardly anything can have changed elsewhere (`kept`). They are read first, so that what happens
/// while the others are read shows in the next pulse.
pub(super) const PULSE: usize = 2;

/// cgroup v1. The first is the one that is sampled between collections.
pub(super) const V1: [Source; 17] = [
    source!("memory", "memory.usage_in_bytes", USAGE, |t, f| put(&mut f.usage, single(t)?)),
    source!("cpuacct", "cpuacct.usage", CPU_USAGE, |t, f| {
        f.cpu_seconds = Some(single(t)? as f64 / NANOSECONDS);
        Ok(())
    }),
    source!("memory", "memory.stat", STAT | SWAP, v1_memory_stat),
    source!("memory", "memory.limit_in_bytes", LIMIT, |t, f| limit(&mut f.limit, t)),
    source!("memory", "memory.soft_limit_in_bytes", SOFT_LIMIT, |t, f| limit(&mut f.soft_limit, t)),
    source!("memory", "memory.memsw.limit_in_bytes", SWAP_LIMIT, |t, f| limit(
        &mut f.swap_limit,
        t
    )),
    source!("memory", "memory.max_usage_in_bytes", HIGH_WATER, |t, f| put(
        &mut f.high_water,
        single(t)?
    )),
    source!("memory", "memory.failcnt", FAILCNT, |t, f| put(&mut f.failcnt, single(t)?)),
    source!("memory", "memory.kmem.usage_in_bytes", KERNEL, |t, f| put(&mut f.kernel, single(t)?)),
    source!("memory", "memory.oom_control", EVENTS, v1_oom_control),
    source!("cpu", "cpu.stat", CFS, v1_cpu_stat),
    source!("cpuacct", "cpuacct.stat", CPU_SPLIT, v1_cpuacct_stat),
    source!("cpu", "cpu.cfs_quota_us", QUOTA, v1_quota),
    source!("cpu", "cpu.cfs_period_us", PERIOD, |t, f| put(&mut f.period, single(t)?)),
    source!("cpu", "cpu.shares", SHARES, |t, f| put(&mut f.shares, single(t)?)),
    source!("blkio", "blkio.throttle.io_service_bytes_recursive", BLOCK_BYTES, v1_block_bytes),
    source!("blkio", "blkio.throttle.io_serviced_recursive", BLOCK_COUNTS, v1_block_counts),
];

/// cgroup v2. The first is the one that is sampled between collections.
pub(super) const V2: [Source; 15] = [
    source!("", "memory.current", USAGE, |t, f| put(&mut f.usage, single(t)?)),
    source!("", "cpu.stat", CPU_USAGE | CPU_SPLIT | CFS, v2_cpu_stat),
    source!("", "memory.stat", STAT | KERNEL, v2_memory_stat),
    source!("", "memory.max", LIMIT, |t, f| limit_or_max(&mut f.limit, t)),
    source!("", "memory.low", SOFT_LIMIT, |t, f| limit_or_max(&mut f.soft_limit, t)),
    source!("", "memory.swap.max", SWAP_LIMIT, v2_swap_max),
    source!("", "memory.swap.current", SWAP, |t, f| put(&mut f.swap, single(t)?)),
    source!("", "memory.peak", HIGH_WATER, |t, f| put(&mut f.high_water, single(t)?)),
    source!("", "memory.events", EVENTS, v2_memory_events),
    source!("", "cpu.max", QUOTA | PERIOD, v2_cpu_max),
    source!("", "cpu.weight", SHARES, v2_cpu_weight),
    source!("", "cpu.pressure", CPU_PRESSURE, |t, f| pressure(&mut f.cpu_pressure, t)),
    source!("", "memory.pressure", MEMORY_PRESSURE, |t, f| pressure(&mut f.memory_pressure, t)),
    source!("", "io.pressure", IO_PRESSURE, |t, f| pressure(&mut f.io_pressure, t)),
    source!("", "io.stat", BLOCK_BYTES | BLOCK_COUNTS, v2_io_stat),
];

fn put(figure: &mut Option<f64>, value: u64) -> Result<(), Malformed> {
    *figure = Some(value as f64);
    Ok(())
}

fn limit(figure: &mut Option<f64>, text: &[u8]) -> Result<(), Malformed> {
    let value = single(text)?;
    put(figure, if value > NO_LIMIT_FROM { 0 } else { value })
}

fn limit_or_max(figure: &mut Option<f64>, text: &[u8]) -> Result<(), Malformed> {
    put(figure, single_or_max(text)?.filter(|value| *value <= NO_LIMIT_FROM).unwrap_or(0))
}

/// cAdvisor makes `max` a 0, which is what "no swap" is: beside it stands what can be told apart.
fn v2_swap_max(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    figures.swap_max = Some(single_or_max(text)?.map_or(f64::INFINITY, |value| value as f64));
    limit_or_max(&mut figures.swap_limit, text)
}

/// The `total_` keys count the children in, as everything else does.
fn v1_memory_stat(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    fill(text, figures, |key, figures| {
        Some(match key {
            b"total_rss" => &mut figures.anon,
            b"total_cache" => &mut figures.cache,
            b"total_mapped_file" => &mut figures.mapped_file,
            b"total_shmem" => &mut figures.shmem,
            b"total_swap" => &mut figures.swap,
            b"total_inactive_file" => &mut figures.inactive_file,
            b"total_active_file" => &mut figures.active_file,
            b"total_pgfault" => &mut figures.pgfault,
            b"total_pgmajfault" => &mut figures.pgmajfault,
            _ => return None,
        })
    })
}

fn v1_oom_control(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    pairs(text, |key, value| {
        if key == b"oom_kill" {
            figures.oom_kills = Some(value);
        }
    })
}

fn v1_cpu_stat(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    pairs(text, |key, value| match key {
        b"nr_periods" => figures.periods = Some(value),
        b"nr_throttled" => figures.throttled_periods = Some(value),
        b"throttled_time" => figures.throttled_seconds = Some(value / NANOSECONDS),
        b"nr_bursts" => figures.burst_periods = Some(value),
        b"burst_time" => figures.burst_seconds = Some(value / NANOSECONDS),
        _ => {}
    })
}

fn v1_cpuacct_stat(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    pairs(text, |key, value| match key {
        b"user" => figures.user_seconds = Some(value / TICKS),
        b"system" => figures.system_seconds = Some(value / TICKS),
        _ => {}
    })
}

/// -1 is no quota.
fn v1_quota(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    figures.quota = match text.trim_ascii() {
        b"-1" => None,
        digits => Some(number(digits)? as f64),
    };
    Ok(())
}

fn v1_block_bytes(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    v1_block(text, |device, is_read, value| {
        let device = figures.device(device.0, device.1);
        *(if is_read { &mut device.read_bytes } else { &mut device.written_bytes }) = value;
    })
}

fn v1_block_counts(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    v1_block(text, |device, is_read, value| {
        let device = figures.device(device.0, device.1);
        *(if is_read { &mut device.reads } else { &mut device.writes }) = value;
    })
}

/// Lines `8:0 Read 4096`; the last is `Total N` without a device.
fn v1_block(text: &[u8], mut take: impl FnMut((u32, u32), bool, f64)) -> Result<(), Malformed> {
    for line in lines(text) {
        let mut words = words(line);
        let (Some(device), Some(what), value) = (words.next(), words.next(), words.next()) else {
            return Err(Malformed::new(line));
        };
        let Some(value) = value else { continue };
        let is_read = match what {
            b"Read" => true,
            b"Write" => false,
            _ => continue,
        };
        take(device_number(device)?, is_read, number(value)? as f64);
    }
    Ok(())
}

/// `kernel` exists since Linux 5.18; before, what it sums up is added here.
fn v2_memory_stat(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    struct Stat<'f> {
        figures: &'f mut Figures,
        kernel: Option<f64>,
        parts: [Option<f64>; 5],
    }
    let mut stat = Stat { figures, kernel: None, parts: [None; 5] };
    fill(text, &mut stat, |key, Stat { figures, kernel, parts }| {
        Some(match key {
            b"anon" => &mut figures.anon,
            b"file" => &mut figures.cache,
            b"file_mapped" => &mut figures.mapped_file,
            b"shmem" => &mut figures.shmem,
            b"inactive_file" => &mut figures.inactive_file,
            b"active_file" => &mut figures.active_file,
            b"pgfault" => &mut figures.pgfault,
            b"pgmajfault" => &mut figures.pgmajfault,
            b"kernel" => kernel,
            b"kernel_stack" => &mut parts[0],
            b"pagetables" => &mut parts[1],
            b"percpu" => &mut parts[2],
            b"slab" => &mut parts[3],
            b"sock" => &mut parts[4],
            _ => return None,
        })
    })?;
    let Stat { figures, kernel, parts } = stat;
    figures.kernel = kernel.or_else(|| parts.into_iter().flatten().reduce(|a, b| a + b));
    Ok(())
}

fn v2_memory_events(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    pairs(text, |key, value| {
        let figure = match key {
            b"low" => &mut figures.low_events,
            b"high" => &mut figures.high_events,
            b"max" => &mut figures.max_events,
            b"oom" => &mut figures.oom_events,
            b"oom_kill" => &mut figures.oom_kills,
            _ => return,
        };
        *figure = Some(value);
    })
}

fn v2_cpu_stat(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    pairs(text, |key, value| match key {
        b"usage_usec" => figures.cpu_seconds = Some(value / MICROSECONDS),
        b"user_usec" => figures.user_seconds = Some(value / MICROSECONDS),
        b"system_usec" => figures.system_seconds = Some(value / MICROSECONDS),
        b"nr_periods" => figures.periods = Some(value),
        b"nr_throttled" => figures.throttled_periods = Some(value),
        b"throttled_usec" => figures.throttled_seconds = Some(value / MICROSECONDS),
        b"nr_bursts" => figures.burst_periods = Some(value),
        b"burst_usec" => figures.burst_seconds = Some(value / MICROSECONDS),
        _ => {}
    })
}

/// `6250 100000`, or `max 100000` without a quota.
fn v2_cpu_max(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    let mut words = words(text);
    let (Some(quota), Some(period), None) = (words.next(), words.next(), words.next()) else {
        return Err(Malformed::new(text));
    };
    figures.quota = or_max(quota)?.map(|quota| quota as f64);
    put(&mut figures.period, number(period)?)
}

/// Back to the shares that were asked for, as cAdvisor counts (`handler.go`, weight 1..10000 to
/// shares 2..262144).
fn v2_cpu_weight(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    put(&mut figures.shares, 2 + (single(text)?.saturating_sub(1)).saturating_mul(262_142) / 9_999)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234` and the same for `full`, in microseconds.
fn pressure(figure: &mut Pressure, text: &[u8]) -> Result<(), Malformed> {
    for line in lines(text) {
        let total = words(line).find_map(|word| word.strip_prefix(b"total="));
        let total = number(total.ok_or_else(|| Malformed::new(line))?)? as f64 / MICROSECONDS;
        match words(line).next() {
            Some(b"some") => figure.some = Some(total),
            Some(b"full") => figure.full = Some(total),
            _ => {}
        }
    }
    Ok(())
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`, one line per device; a device that did
/// nothing has its number alone. Linux 5.15 and 5.16 end no line after such a number, so that the next
/// device follows in it.
fn v2_io_stat(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    for line in lines(text) {
        let mut words = words(line);
        let (major, minor) = device_number(words.next().unwrap_or_default())?;
        let mut device = figures.device(major, minor);
        for word in words {
            let Some(at) = memchr::memchr(b'=', word) else {
                let (major, minor) = device_number(word)?;
                device = figures.device(major, minor);
                continue;
            };
            let figure = match &word[..at] {
                b"rbytes" => &mut device.read_bytes,
                b"wbytes" => &mut device.written_bytes,
                b"rios" => &mut device.reads,
                b"wios" => &mut device.writes,
                _ => continue,
            };
            *figure = number(&word[at + 1..])? as f64;
        }
    }
    Ok(())
}

/// `/proc/<pid>/net/dev`: two lines of heading, then `eth0: ` and eight numbers for each direction.
pub(super) fn network(text: &[u8], figures: &mut Figures) -> Result<(), Malformed> {
    for line in lines(text).skip(2) {
        let bad = || Malformed::new(line);
        let at = memchr::memchr(b':', line).ok_or_else(bad)?;
        let name = String::from_utf8_lossy(&line[..at]).into_owned();
        if IGNORED_INTERFACES.iter().any(|ignored| name.starts_with(ignored)) {
            continue;
        }
        let numbers: Vec<f64> = words(&line[at + 1..])
            .map(|word| number(word).map(|value| value as f64))
            .collect::<Result<_, _>>()?;
        let direction = |from: usize| {
            let [bytes, packets, errors, dropped] = *numbers.get(from..from + 4)? else {
                return None;
            };
            Some(Traffic { bytes, packets, errors, dropped })
        };
        let (received, sent) = direction(0).zip(direction(8)).ok_or_else(bad)?;
        figures.interfaces.push(super::figures::Interface { name, received, sent });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one file's text yields, as the debug text of the figures that are not default.
    fn check(sources: &[Source], file: &str, text: &str, want: &[(&str, f64)]) {
        let source = sources.iter().find(|source| source.file == file).expect(file);
        let mut figures = Figures::default();
        (source.read)(text.as_bytes(), &mut figures).unwrap_or_else(|bad| panic!("{file}: {bad}"));
        let shown = format!("{figures:?}");
        for (name, value) in want {
            assert!(shown.contains(&format!("{name}: Some({value:?})")), "{name}: {shown}");
        }
        let known = shown.matches("Some(").count();
        assert_eq!(known, want.len(), "{file}: {shown}");
    }

    #[test]
    fn files_of_version_1() {
        check(&V1, "memory.usage_in_bytes", "5337088\n", &[("usage", 5_337_088.0)]);
        check(
            &V1,
            "memory.stat",
            "cache 798720\nrss 1\nhierarchical_memory_limit 67108864\ntotal_cache 798720\ntotal_rss 3678208\n\
             total_shmem 4096\ntotal_mapped_file 696320\ntotal_swap 0\ntotal_pgfault 1911\ntotal_pgmajfault 1\n\
             total_inactive_file 618496\ntotal_active_file 180224\ntotal_unevictable 0\n",
            &[
                ("cache", 798_720.0),
                ("anon", 3_678_208.0),
                ("shmem", 4096.0),
                ("mapped_file", 696_320.0),
                ("swap", 0.0),
                ("pgfault", 1911.0),
                ("pgmajfault", 1.0),
                ("inactive_file", 618_496.0),
                ("active_file", 180_224.0),
            ],
        );
        check(&V1, "memory.limit_in_bytes", "9223372036854771712\n", &[("limit", 0.0)]);
        check(&V1, "memory.limit_in_bytes", "67108864\n", &[("limit", 67_108_864.0)]);
        check(&V1, "memory.soft_limit_in_bytes", "33554432\n", &[("soft_limit", 33_554_432.0)]);
        check(
            &V1,
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
            &[("oom_kills", 7.0)],
        );
        check(&V1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", &[]);
        check(
            &V1,
            "cpu.stat",
            "nr_periods 960\nnr_throttled 95\nthrottled_time 1724314000\nnr_bursts 25\nburst_time 500000000\n",
            &[
                ("periods", 960.0),
                ("throttled_periods", 95.0),
                ("throttled_seconds", 1.724_314),
                ("burst_periods", 25.0),
                ("burst_seconds", 0.5),
            ],
        );
        check(&V1, "cpuacct.usage", "22477239\n", &[("cpu_seconds", 0.022_477_239)]);
        check(
            &V1,
            "cpuacct.stat",
            "user 12\nsystem 1\n",
            &[("user_seconds", 0.12), ("system_seconds", 0.01)],
        );
        check(&V1, "cpu.cfs_quota_us", "-1\n", &[]);
        check(&V1, "cpu.cfs_quota_us", "6250\n", &[("quota", 6250.0)]);
    }

    #[test]
    fn files_of_version_2() {
        check(
            &V2,
            "memory.stat",
            "anon 100\nfile 200\nkernel 30\nkernel_stack 10\nslab 5\nshmem 7\nfile_mapped 3\ninactive_file 50\n\
             active_file 60\npgfault 4\npgmajfault 2\nworkingset_refault_file 9\n",
            &[
                ("anon", 100.0),
                ("cache", 200.0),
                ("kernel", 30.0),
                ("shmem", 7.0),
                ("mapped_file", 3.0),
                ("inactive_file", 50.0),
                ("active_file", 60.0),
                ("pgfault", 4.0),
                ("pgmajfault", 2.0),
            ],
        );
        check(&V2, "memory.stat", "kernel_stack 10\npagetables 20\nslab 5\n", &[("kernel", 35.0)]);
        check(&V2, "memory.max", "max\n", &[("limit", 0.0)]);
        check(&V2, "memory.low", "33554432\n", &[("soft_limit", 33_554_432.0)]);
        check(&V2, "memory.low", "0\n", &[("soft_limit", 0.0)]);
        let unlimited = f64::INFINITY;
        for (text, limit, max) in [("0\n", 0.0, 0.0), ("9\n", 9.0, 9.0), ("max\n", 0.0, unlimited)]
        {
            check(&V2, "memory.swap.max", text, &[("swap_limit", limit), ("swap_max", max)]);
        }
        check(
            &V2,
            "memory.events",
            "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 0\n",
            &[
                ("low_events", 1.0),
                ("high_events", 2.0),
                ("max_events", 3.0),
                ("oom_events", 4.0),
                ("oom_kills", 5.0),
            ],
        );
        check(
            &V2,
            "cpu.stat",
            "usage_usec 2000000\nuser_usec 1500000\nsystem_usec 500000\nnr_periods 4\nnr_throttled 2\n\
             throttled_usec 250000\nnr_bursts 0\nburst_usec 0\ncore_sched.force_idle_usec 0\n",
            &[
                ("cpu_seconds", 2.0),
                ("user_seconds", 1.5),
                ("system_seconds", 0.5),
                ("throttled_seconds", 0.25),
                ("throttled_periods", 2.0),
                ("burst_periods", 0.0),
                ("burst_seconds", 0.0),
                ("periods", 4.0),
            ],
        );
        check(&V2, "cpu.max", "max 100000\n", &[("period", 100_000.0)]);
        check(&V2, "cpu.max", "6250 100000\n", &[("quota", 6250.0), ("period", 100_000.0)]);
        check(&V2, "cpu.weight", "39\n", &[("shares", 998.0)]);
        check(&V2, "cpu.weight", "10000\n", &[("shares", 262_144.0)]);
        check(
            &V2,
            "memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n",
            &[("some", 1.5), ("full", 0.25)],
        );
    }

    #[test]
    fn block_devices_and_interfaces() {
        let device = |read_bytes, written_bytes, reads, writes| super::super::figures::Device {
            major: 8,
            minor: 16,
            read_bytes,
            written_bytes,
            reads,
            writes,
        };
        let mut figures = Figures::default();
        v1_block_bytes(b"8:16 Read 10\n8:16 Write 20\n8:16 Sync 5\nTotal 30\n", &mut figures)
            .expect("reads");
        v1_block_counts(b"8:16 Read 1\n8:16 Write 2\nTotal 3\n", &mut figures).expect("reads");
        assert_eq!(figures.devices, [device(10.0, 20.0, 1.0, 2.0)]);
        let mut figures = Figures::default();
        v2_io_stat(
            b"8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:0\n",
            &mut figures,
        )
        .expect("reads");
        assert_eq!(figures.devices[0], device(10.0, 20.0, 1.0, 2.0));
        assert_eq!((figures.devices[1].major, figures.devices.len()), (254, 2));

        let mut figures = Figures::default();
        v2_io_stat(b"7:1 7:0 8:16 rbytes=10 wbytes=20 rios=1 wios=2\n254:0 \n", &mut figures)
            .expect("as Linux 5.15 writes it");
        assert_eq!(figures.devices.len(), 4);
        assert!(figures.devices.contains(&device(10.0, 20.0, 1.0, 2.0)), "{:?}", figures.devices);
        assert!(v2_io_stat(b"8:16 rbytes\n", &mut figures).is_err());

        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n  \
            eth0:1296      16    1    2    0     0          0         0      400       5    3    4    0     0       0          0\n";
        let mut figures = Figures::default();
        network(text.as_bytes(), &mut figures).expect("reads");
        let [eth0] = &figures.interfaces[..] else { panic!("{figures:?}") };
        let traffic = |bytes, packets, errors, dropped| Traffic { bytes, packets, errors, dropped };
        assert_eq!(eth0.name, "eth0");
        assert_eq!(eth0.received, traffic(1296.0, 16.0, 1.0, 2.0));
        assert_eq!(eth0.sent, traffic(400.0, 5.0, 3.0, 4.0));
    }

    #[test]
    fn a_file_that_is_not_the_kernels_is_refused_and_never_panics() {
        let texts: [&[u8]; 9] = [
            b"x",
            b"-7\n",
            b"a b\n",
            b"8:0 Read x\n",
            b"8:0 rbytes=\n",
            b"some avg10=0.00\n",
            b"\xff\xfe 1 2 3",
            b"1 2 3 4",
            b"h\nh\neth0 1 2\n",
        ];
        for source in V1.iter().chain(&V2) {
            for text in texts {
                let _ = (source.read)(text, &mut Figures::default());
            }
            let garbage = (source.read)(b"\x00garbage\n", &mut Figures::default());
            assert!(garbage.is_err(), "{}", source.file);
        }
        assert!(network(b"h\nh\neth0: 1 2\n", &mut Figures::default()).is_err());
        assert!(network(b"h\nh\neth0 1 2\n", &mut Figures::default()).is_err());
    }
}
