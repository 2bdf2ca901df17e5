//! The series: names, types, help texts and labels are cAdvisor's, value by value.
//!
//! One line of this table is one series per container (or per device or interface of it). Series of
//! our own begin with `plimsoll_`. What cAdvisor exports as a constant 0 on one version of cgroups
//! (pressure on v1, `failcnt` on v2) has no series there.

use super::figures::{Device, Figures, Interface};
use super::sources::{
    BLOCK_BYTES, BLOCK_COUNTS, CFS, CPU_PRESSURE, CPU_SPLIT, CPU_USAGE, EVENTS, FAILCNT,
    HIGH_WATER, IO_PRESSURE, KERNEL, LIMIT, MEMORY_PRESSURE, NETWORK, PERIOD, Parts, QUOTA, SHARES,
    SOFT_LIMIT, STAT, SWAP, SWAP_LIMIT, USAGE,
};
use crate::base::Timestamp;
use crate::containers::{Container, Health, Limits};
use crate::telemetry::Kind;

/// A container at one moment.
pub(super) struct Seen<'a> {
    pub figures: &'a Figures,
    /// What Docker says of it, if it says anything.
    pub container: Option<&'a Container>,
    /// What its health check says, as long as Docker is heard.
    pub health: Option<Health>,
    /// When.
    pub at: Timestamp,
    /// The most memory it used since the last collection, bytes.
    pub peak: Option<f64>,
    /// OOM kills that the kernel counted in its cgroups, over restarts of the container.
    pub oom_kills: Option<f64>,
    /// OOM kills, also those that took the cgroup that counted them with them.
    pub oom_events: Option<f64>,
    /// When its first process started, seconds.
    pub started_at: Option<f64>,
    /// What a file yields that could not be read.
    pub failed: Parts,
}

/// How a column's values are made.
pub(super) enum Value {
    /// One for each container, if it is known.
    One(fn(&Seen<'_>) -> Option<f64>),
    /// One for each block device, with its name and numbers.
    PerDevice(fn(&Device) -> f64),
    /// One for each block device, with its name.
    PerDisk(fn(&Device) -> f64),
    /// One for each network interface.
    PerInterface(fn(&Interface) -> f64),
}

/// One series of each container.
pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// Labels beside the container's.
    pub labels: &'static [(&'static str, &'static str)],
    /// The files it needs.
    pub parts: Parts,
    pub value: Value,
}

impl Column {
    /// Whether a file that it needs could not be read. Of such a file not even its good lines count:
    /// it is not what the kernel writes.
    pub fn fails(&self, seen: &Seen<'_>) -> bool {
        self.parts & seen.failed != 0
    }

    /// Whether it fails, and would be there otherwise: there are no periods without a quota.
    pub fn is_missed(&self, seen: &Seen<'_>) -> bool {
        let needs_quota = self.parts & CFS != 0;
        let has_quota = seen.failed & QUOTA != 0 || seen.figures.quota.is_some();
        self.fails(seen) && (has_quota || !needs_quota)
    }
}

use Value::{One, PerDevice, PerDisk, PerInterface};

/// cAdvisor exports these only for a container with a quota.
fn limited(seen: &Seen<'_>, value: fn(&Figures) -> Option<f64>) -> Option<f64> {
    seen.figures.quota.and_then(|_| value(seen.figures))
}

/// What Docker believes, if it has said so; 0 is no limit, as in cAdvisor's series of limits.
fn believed(seen: &Seen<'_>, limit: fn(&Limits) -> Option<f64>) -> Option<f64> {
    let container = seen.container.filter(|container| !container.is_glimpse)?;
    Some(limit(&container.limits).unwrap_or(0.0))
}

/// Families, each with its columns: labels of its own, the files it needs, its value.
macro_rules! columns {
    ($($kind:ident $name:ident $help:literal {
        $([$($label:literal => $text:literal),*] ($parts:expr) $value:expr;)+
    })+) => {
        &[$($(Column {
            name: stringify!($name),
            kind: columns!(@ $kind),
            help: $help,
            labels: &[$(($label, $text)),*],
            parts: $parts,
            value: $value,
        },)+)+]
    };
    (@ counter) => { Kind::Counter };
    (@ gauge) => { Kind::Gauge };
}

/// All series; those of one family stand side by side.
pub(super) static COLUMNS: &[Column] = columns! {
    counter container_blkio_device_usage_total "Blkio Device bytes usage" {
        ["operation" => "Read"] (BLOCK_BYTES) PerDevice(|d| d.read_bytes);
        ["operation" => "Write"] (BLOCK_BYTES) PerDevice(|d| d.written_bytes);
    }
    counter container_cpu_cfs_burst_periods_total "Number of periods when burst occurs." {
        [] (CFS | QUOTA) One(|s| limited(s, |f| f.burst_periods));
    }
    counter container_cpu_cfs_burst_seconds_total "Total time duration the container has been bursted." {
        [] (CFS | QUOTA) One(|s| limited(s, |f| f.burst_seconds));
    }
    counter container_cpu_cfs_periods_total "Number of elapsed enforcement period intervals." {
        [] (CFS | QUOTA) One(|s| limited(s, |f| f.periods));
    }
    counter container_cpu_cfs_throttled_periods_total "Number of throttled period intervals." {
        [] (CFS | QUOTA) One(|s| limited(s, |f| f.throttled_periods));
    }
    counter container_cpu_cfs_throttled_seconds_total "Total time duration the container has been throttled." {
        [] (CFS | QUOTA) One(|s| limited(s, |f| f.throttled_seconds));
    }
    counter container_cpu_system_seconds_total "Cumulative system cpu time consumed in seconds." {
        [] (CPU_SPLIT) One(|s| s.figures.system_seconds);
    }
    counter container_cpu_usage_seconds_total "Cumulative cpu time consumed in seconds." {
        ["cpu" => "total"] (CPU_USAGE) One(|s| s.figures.cpu_seconds);
    }
    counter container_cpu_user_seconds_total "Cumulative user cpu time consumed in seconds." {
        [] (CPU_SPLIT) One(|s| s.figures.user_seconds);
    }
    counter container_fs_reads_bytes_total "Cumulative count of bytes read" {
        [] (BLOCK_BYTES) PerDisk(|d| d.read_bytes);
    }
    counter container_fs_reads_total "Cumulative count of reads completed" {
        [] (BLOCK_COUNTS) PerDisk(|d| d.reads);
    }
    counter container_fs_writes_bytes_total "Cumulative count of bytes written" {
        [] (BLOCK_BYTES) PerDisk(|d| d.written_bytes);
    }
    counter container_fs_writes_total "Cumulative count of writes completed" {
        [] (BLOCK_COUNTS) PerDisk(|d| d.writes);
    }
    gauge container_health_state "The result of the container's health check" {
        [] (0) One(|s| s.health.map(Health::state));
    }
    gauge container_last_seen "Last time a container was seen by the exporter" {
        [] (0) One(|s| Some((s.at.0 / 1000) as f64));
    }
    gauge container_memory_cache "Number of bytes of page cache memory." {
        [] (STAT) One(|s| s.figures.cache);
    }
    counter container_memory_events_high_total "Cumulative count of memory.high throttle events for the container" {
        [] (EVENTS) One(|s| s.figures.high_events);
    }
    counter container_memory_events_max_total "Cumulative count of memory.max limit hit events for the container" {
        [] (EVENTS) One(|s| s.figures.max_events);
    }
    counter container_memory_failcnt "Number of memory usage hits limits" {
        [] (FAILCNT) One(|s| s.figures.failcnt);
    }
    counter container_memory_failures_total "Cumulative count of memory allocation failures." {
        ["failure_type" => "pgfault", "scope" => "hierarchy"] (STAT) One(|s| s.figures.pgfault);
        ["failure_type" => "pgmajfault", "scope" => "hierarchy"] (STAT) One(|s| s.figures.pgmajfault);
    }
    gauge container_memory_kernel_usage "Size of kernel memory allocated in bytes." {
        [] (KERNEL) One(|s| s.figures.kernel);
    }
    gauge container_memory_mapped_file "Size of memory mapped files in bytes." {
        [] (STAT) One(|s| s.figures.mapped_file);
    }
    gauge container_memory_max_usage_bytes "Maximum memory usage recorded in bytes" {
        [] (HIGH_WATER) One(|s| s.figures.high_water);
    }
    gauge container_memory_rss "Size of RSS in bytes." {
        [] (STAT) One(|s| s.figures.anon);
    }
    gauge container_memory_swap "Container swap usage in bytes." {
        [] (SWAP) One(|s| s.figures.swap);
    }
    gauge container_memory_total_active_file_bytes "Current total active file in bytes." {
        [] (STAT) One(|s| s.figures.active_file);
    }
    gauge container_memory_total_inactive_file_bytes "Current total inactive file in bytes." {
        [] (STAT) One(|s| s.figures.inactive_file);
    }
    gauge container_memory_usage_bytes "Current memory usage in bytes, including all memory regardless of when it was accessed" {
        [] (USAGE) One(|s| s.figures.usage);
    }
    gauge container_memory_working_set_bytes "Current working set in bytes." {
        [] (USAGE | STAT) One(|s| s.figures.working_set());
    }
    counter container_network_receive_bytes_total "Cumulative count of bytes received" {
        [] (NETWORK) PerInterface(|i| i.received.bytes);
    }
    counter container_network_receive_errors_total "Cumulative count of errors encountered while receiving" {
        [] (NETWORK) PerInterface(|i| i.received.errors);
    }
    counter container_network_receive_packets_dropped_total "Cumulative count of packets dropped while receiving" {
        [] (NETWORK) PerInterface(|i| i.received.dropped);
    }
    counter container_network_receive_packets_total "Cumulative count of packets received" {
        [] (NETWORK) PerInterface(|i| i.received.packets);
    }
    counter container_network_transmit_bytes_total "Cumulative count of bytes transmitted" {
        [] (NETWORK) PerInterface(|i| i.sent.bytes);
    }
    counter container_network_transmit_errors_total "Cumulative count of errors encountered while transmitting" {
        [] (NETWORK) PerInterface(|i| i.sent.errors);
    }
    counter container_network_transmit_packets_dropped_total "Cumulative count of packets dropped while transmitting" {
        [] (NETWORK) PerInterface(|i| i.sent.dropped);
    }
    counter container_network_transmit_packets_total "Cumulative count of packets transmitted" {
        [] (NETWORK) PerInterface(|i| i.sent.packets);
    }
    counter container_oom_events_total "Count of out of memory events observed for the container" {
        [] (EVENTS) One(|s| s.oom_events);
    }
    counter container_pressure_cpu_stalled_seconds_total "Total time duration no tasks in the container could make progress due to CPU congestion." {
        [] (CPU_PRESSURE) One(|s| s.figures.cpu_pressure.full);
    }
    counter container_pressure_cpu_waiting_seconds_total "Total time duration tasks in the container have waited due to CPU congestion." {
        [] (CPU_PRESSURE) One(|s| s.figures.cpu_pressure.some);
    }
    counter container_pressure_io_stalled_seconds_total "Total time duration no tasks in the container could make progress due to IO congestion." {
        [] (IO_PRESSURE) One(|s| s.figures.io_pressure.full);
    }
    counter container_pressure_io_waiting_seconds_total "Total time duration tasks in the container have waited due to IO congestion." {
        [] (IO_PRESSURE) One(|s| s.figures.io_pressure.some);
    }
    counter container_pressure_memory_stalled_seconds_total "Total time duration no tasks in the container could make progress due to memory congestion." {
        [] (MEMORY_PRESSURE) One(|s| s.figures.memory_pressure.full);
    }
    counter container_pressure_memory_waiting_seconds_total "Total time duration tasks in the container have waited due to memory congestion." {
        [] (MEMORY_PRESSURE) One(|s| s.figures.memory_pressure.some);
    }
    gauge container_spec_cpu_period "CPU period of the container." {
        [] (PERIOD) One(|s| s.figures.period);
    }
    gauge container_spec_cpu_quota "CPU quota of the container." {
        [] (QUOTA) One(|s| s.figures.quota);
    }
    gauge container_spec_cpu_shares "CPU share of the container." {
        [] (SHARES) One(|s| s.figures.shares);
    }
    gauge container_spec_memory_limit_bytes "Memory limit for the container." {
        [] (LIMIT) One(|s| s.figures.limit);
    }
    gauge container_spec_memory_reservation_limit_bytes "Memory reservation limit for the container." {
        [] (SOFT_LIMIT) One(|s| s.figures.soft_limit);
    }
    gauge container_spec_memory_swap_limit_bytes "Memory swap limit for the container." {
        [] (SWAP_LIMIT) One(|s| s.figures.swap_limit);
    }
    gauge container_start_time_seconds "Start time of the container since unix epoch in seconds." {
        [] (0) One(|s| s.started_at);
    }
    gauge plimsoll_container_cpu_limit_believed_cores "CPU limit that Docker believes the container has; 0 is none." {
        [] (0) One(|s| believed(s, Limits::cpu_cores));
    }
    counter plimsoll_container_memory_events_total "Cumulative count of events in the kernel's memory.events; kills go on over the cgroups of a container." {
        ["event" => "low"] (EVENTS) One(|s| s.figures.low_events);
        ["event" => "oom"] (EVENTS) One(|s| s.figures.oom_events);
        ["event" => "oom_kill"] (EVENTS) One(|s| s.oom_kills);
    }
    gauge plimsoll_container_memory_limit_believed_bytes "Memory limit that Docker believes the container has; 0 is none." {
        [] (0) One(|s| believed(s, |l| l.memory_bytes.map(|b| b as f64)));
    }
    gauge plimsoll_container_memory_peak_bytes "The most memory the container used since the collection before, page cache included." {
        [] (USAGE | HIGH_WATER) One(|s| s.peak);
    }
    gauge plimsoll_container_memory_reservation_believed_bytes "Soft memory limit that Docker believes the container has; 0 is none." {
        [] (0) One(|s| believed(s, |l| l.memory_soft_bytes.map(|b| b as f64)));
    }
    gauge plimsoll_container_memory_swap_limit_believed_bytes "Limit of memory and swap together that Docker believes the container has; 0 is none." {
        [] (0) One(|s| believed(s, |l| l.memory_swap_bytes.map(|b| b as f64)));
    }
    gauge plimsoll_container_memory_swap_max_bytes "What the kernel lets the container swap, on cgroup v2; +Inf is without limit." {
        [] (SWAP_LIMIT) One(|s| s.figures.swap_max);
    }
    gauge plimsoll_container_memory_unreclaimable_bytes "Memory that no reclaim can free: anonymous, the kernel's, tmpfs and shared memory." {
        [] (STAT | KERNEL) One(|s| s.figures.unreclaimable());
    }
    gauge plimsoll_container_read_failed "Whether a file of the container's cgroup could not be read." {
        [] (0) One(|s| Some(f64::from(u8::from(s.failed != 0))));
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_together_and_no_series_twice() {
        let mut seen = std::collections::BTreeSet::new();
        let mut families = std::collections::BTreeSet::new();
        let mut last = "";
        for column in COLUMNS {
            assert!(seen.insert((column.name, column.labels)), "{} twice", column.name);
            assert!(column.name == last || families.insert(column.name), "{}", column.name);
            last = column.name;
            assert!(!column.help.contains(['\\', '\n']), "{}", column.name);
        }
        assert!(COLUMNS.len() <= 128, "presence is kept in 128 bits");
    }
}
