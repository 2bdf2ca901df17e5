//! What one reading of a container's files yields: values in the units of cAdvisor's series.
//!
//! `None` is "not known here": the kernel has no such file, or it could not be read. A figure that
//! is not known makes no series, because a constant 0 would be believed.

/// What a container's pulse was, to be compared with the next.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pulse([Option<f64>; 9]);

/// One container's values.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Figures {
    /// Bytes charged, page cache included.
    pub usage: Option<f64>,
    /// Bytes of page cache that was not used of late: what the kernel gives back first.
    pub inactive_file: Option<f64>,
    pub active_file: Option<f64>,
    /// Anonymous memory, bytes.
    pub anon: Option<f64>,
    /// Page cache, tmpfs and shared memory included, bytes.
    pub cache: Option<f64>,
    pub mapped_file: Option<f64>,
    /// tmpfs and shared memory, bytes: counted as cache, and yet no cache.
    pub shmem: Option<f64>,
    pub swap: Option<f64>,
    /// Memory the kernel holds for it, bytes.
    pub kernel: Option<f64>,
    /// The high-water mark since the cgroup was made, bytes.
    pub high_water: Option<f64>,
    /// How often usage met the limit (cgroup v1 only).
    pub failcnt: Option<f64>,
    pub pgfault: Option<f64>,
    pub pgmajfault: Option<f64>,
    /// Hard limit, bytes; 0 is none.
    pub limit: Option<f64>,
    /// Soft limit, bytes; 0 is none.
    pub soft_limit: Option<f64>,
    /// v1: memory and swap together; v2: swap alone. Bytes; 0 is none on v1, and either "no swap" or none on v2.
    pub swap_limit: Option<f64>,
    /// What it may swap (cgroup v2 only), bytes; infinity is without limit.
    pub swap_max: Option<f64>,
    /// Counts of `memory.events` (cgroup v2 only), but for `oom_kill`.
    pub low_events: Option<f64>,
    pub high_events: Option<f64>,
    pub max_events: Option<f64>,
    pub oom_events: Option<f64>,
    /// Processes killed for lack of memory since the cgroup was made.
    pub oom_kills: Option<f64>,
    pub cpu_seconds: Option<f64>,
    pub user_seconds: Option<f64>,
    pub system_seconds: Option<f64>,
    pub periods: Option<f64>,
    pub throttled_periods: Option<f64>,
    pub throttled_seconds: Option<f64>,
    pub burst_periods: Option<f64>,
    pub burst_seconds: Option<f64>,
    /// Microseconds per period; `None` without a limit.
    pub quota: Option<f64>,
    pub period: Option<f64>,
    pub shares: Option<f64>,
    pub cpu_pressure: Pressure,
    pub memory_pressure: Pressure,
    pub io_pressure: Pressure,
    /// By device, in the kernel's order.
    pub devices: Vec<Device>,
    pub interfaces: Vec<Interface>,
}

/// Seconds for which work stood still (cgroup v2 only).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Pressure {
    /// At least one task waited.
    pub some: Option<f64>,
    /// All tasks waited.
    pub full: Option<f64>,
}

/// What went to and from one block device since the cgroup was made.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Device {
    pub major: u32,
    pub minor: u32,
    pub read_bytes: f64,
    pub written_bytes: f64,
    pub reads: f64,
    pub writes: f64,
}

/// One network interface of a container's own network.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Interface {
    pub name: String,
    pub received: Traffic,
    pub sent: Traffic,
}

/// One direction of an interface.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Traffic {
    pub bytes: f64,
    pub packets: f64,
    pub errors: f64,
    pub dropped: f64,
}

impl Figures {
    /// Takes the limits over from an earlier reading.
    pub fn take_limits(&mut self, from: &Figures) {
        self.limit = from.limit;
        self.soft_limit = from.soft_limit;
        self.swap_limit = from.swap_limit;
        self.swap_max = from.swap_max;
        self.quota = from.quota;
        self.period = from.period;
        self.shares = from.shares;
    }

    /// What the files of the pulse say: memory in use, and all that is told of processor time.
    pub fn pulse(&self) -> Pulse {
        Pulse([
            self.usage,
            self.cpu_seconds,
            self.user_seconds,
            self.system_seconds,
            self.periods,
            self.throttled_periods,
            self.throttled_seconds,
            self.burst_periods,
            self.burst_seconds,
        ])
    }

    /// Usage without the page cache that is given back first (cAdvisor, `setMemoryStats`).
    pub fn working_set(&self) -> Option<f64> {
        Some((self.usage? - self.inactive_file?).max(0.0))
    }

    /// What no reclaim can free: anonymous memory, the kernel's own, tmpfs and shared memory.
    pub fn unreclaimable(&self) -> Option<f64> {
        Some(self.anon? + self.kernel? + self.shmem?)
    }

    /// The device with these numbers, made if it is new.
    pub fn device(&mut self, major: u32, minor: u32) -> &mut Device {
        let found = self.devices.iter().position(|d| (d.major, d.minor) == (major, minor));
        let at = found.unwrap_or_else(|| {
            self.devices.push(Device { major, minor, ..Device::default() });
            self.devices.len() - 1
        });
        &mut self.devices[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_figures_need_all_they_are_made_of() {
        let mut figures = Figures { usage: Some(100.0), ..Figures::default() };
        assert_eq!(figures.working_set(), None);
        figures.inactive_file = Some(30.0);
        assert_eq!(figures.working_set(), Some(70.0));
        figures.inactive_file = Some(130.0);
        assert_eq!(figures.working_set(), Some(0.0), "the files are not read at one moment");
        figures.anon = Some(5.0);
        figures.kernel = Some(2.0);
        assert_eq!(figures.unreclaimable(), None);
        figures.shmem = Some(1.0);
        assert_eq!(figures.unreclaimable(), Some(8.0));
    }
}
