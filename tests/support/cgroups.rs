//! A tree of cgroups as the kernel would show it, in a folder: both versions, both drivers.
//!
//! The files and their formats are those of `Documentation/admin-guide/cgroup-v1` and
//! `cgroup-v2.rst`; numbers are chosen so that each figure can be told from the others.
#![allow(dead_code, reason = "each test and bench uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

/// Version and driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    V1Cgroupfs,
    V1Systemd,
    V2Cgroupfs,
    V2Systemd,
    V2Rootless,
    V2Podman,
}

impl Layout {
    pub const ALL: [Layout; 6] = [
        Layout::V1Cgroupfs,
        Layout::V1Systemd,
        Layout::V2Cgroupfs,
        Layout::V2Systemd,
        Layout::V2Rootless,
        Layout::V2Podman,
    ];

    pub fn is_v1(self) -> bool {
        matches!(self, Layout::V1Cgroupfs | Layout::V1Systemd)
    }

    /// The path of a container in its hierarchy: cAdvisor's label `id`.
    pub fn path(self, id: &str) -> String {
        match self {
            Layout::V1Cgroupfs | Layout::V2Cgroupfs => format!("/docker/{id}"),
            Layout::V1Systemd | Layout::V2Systemd => format!("/system.slice/docker-{id}.scope"),
            Layout::V2Rootless => {
                format!("/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{id}.scope")
            }
            Layout::V2Podman => format!("/machine.slice/libpod-{id}.scope"),
        }
    }
}

/// What a container does.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub usage: u64,
    pub inactive_file: u64,
    pub peak: u64,
    pub limit: Option<u64>,
    pub quota_us: Option<u64>,
    pub cpu_microseconds: u64,
    pub oom_kills: u64,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            usage: 50 << 20,
            inactive_file: 10 << 20,
            peak: 55 << 20,
            limit: Some(64 << 20),
            quota_us: Some(6250),
            cpu_microseconds: 28_363_645,
            oom_kills: 0,
        }
    }
}

/// The tree, and a `/proc` beside it.
pub struct Cgroups {
    root: PathBuf,
    layout: Layout,
}

/// The id of container number `n`.
pub fn id(n: usize) -> String {
    format!("{n:064x}")
}

impl Cgroups {
    /// An empty tree in `dir`.
    pub fn new(dir: &Path, layout: Layout) -> Cgroups {
        let cgroups = Cgroups { root: dir.to_owned(), layout };
        fs::create_dir_all(cgroups.proc_root()).expect("made");
        let proc_file = |name: &str, text: &str| {
            fs::write(cgroups.proc_root().join(name), text).expect("written");
        };
        proc_file(
            "meminfo",
            "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable: 4096 kB\nSwapTotal: 0 kB\n",
        );
        proc_file("stat", "cpu 1 2\ncpu0 1 2\ncpu1 1 2\nbtime 1795300000\n");
        proc_file("diskstats", " 254 0 vda 1 2 3\n");
        fs::create_dir_all(dir.join("proc/77")).expect("made");
        let stat = "77 (load) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4200 0 0";
        proc_file("77/stat", stat);
        if layout.is_v1() {
            for hierarchy in ["memory", "cpu,cpuacct", "blkio", "pids"] {
                fs::create_dir_all(cgroups.cgroup_root().join(hierarchy)).expect("made");
            }
        } else {
            fs::create_dir_all(cgroups.cgroup_root()).expect("made");
            let controllers = "cpuset cpu io memory pids\n";
            fs::write(cgroups.cgroup_root().join("cgroup.controllers"), controllers)
                .expect("written");
        }
        cgroups
    }

    pub fn cgroup_root(&self) -> PathBuf {
        self.root.join("cgroup")
    }

    pub fn proc_root(&self) -> PathBuf {
        self.root.join("proc")
    }

    pub fn path(&self, id: &str) -> String {
        self.layout.path(id)
    }

    /// A file of a container; `controller` counts on version 1.
    pub fn file(&self, id: &str, controller: &str, file: &str) -> PathBuf {
        let hierarchy = match (self.layout.is_v1(), controller) {
            (false, _) => "",
            (true, "cpu" | "cpuacct") => "cpu,cpuacct",
            (true, other) => other,
        };
        self.cgroup_root().join(hierarchy).join(&self.layout.path(id)[1..]).join(file)
    }

    fn write(&self, id: &str, controller: &str, file: &str, text: &str) {
        let path = self.file(id, controller, file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Makes a container, or gives it another load.
    pub fn put(&self, id: &str, load: Load) {
        match self.layout.is_v1() {
            true => self.put_v1(id, load),
            false => self.put_v2(id, load),
        }
        self.populate(id, 2);
    }

    /// So many processes run in a container.
    pub fn populate(&self, id: &str, processes: u32) {
        let events = format!("populated {}\nfrozen 0\n", u8::from(processes > 0));
        match self.layout.is_v1() {
            true => self.write(id, "pids", "pids.current", &format!("{processes}\n")),
            false => self.write(id, "", "cgroup.events", &events),
        }
    }

    fn put_v1(&self, id: &str, load: Load) {
        let file = |controller: &str, name: &str, text: String| {
            self.write(id, controller, name, &format!("{text}\n"));
        };
        let memory = |name: &str, value: u64| file("memory", name, value.to_string());
        memory("memory.usage_in_bytes", load.usage);
        memory("memory.max_usage_in_bytes", load.peak);
        memory("memory.limit_in_bytes", load.limit.unwrap_or(9_223_372_036_854_771_712));
        memory("memory.memsw.limit_in_bytes", load.limit.unwrap_or(9_223_372_036_854_771_712));
        memory(
            "memory.soft_limit_in_bytes",
            load.limit.map_or(9_223_372_036_854_771_712, |limit| limit / 2),
        );
        memory("memory.failcnt", 3);
        memory("memory.kmem.usage_in_bytes", 471_040);
        let inactive = load.inactive_file;
        file(
            "memory",
            "memory.stat",
            format!(
                "cache 1\nrss 2\ninactive_file 3\nhierarchical_memory_limit 4\ntotal_cache {}\ntotal_rss 30000000\n\
                 total_shmem 4096\ntotal_mapped_file 8192\ntotal_dirty 0\ntotal_swap 0\ntotal_pgpgin 9\n\
                 total_pgfault 1911\ntotal_pgmajfault 1\ntotal_inactive_anon 5\ntotal_active_anon 6\n\
                 total_inactive_file {inactive}\ntotal_active_file 180224\ntotal_unevictable 0",
                inactive + 184_320
            ),
        );
        let kills = load.oom_kills;
        file(
            "memory",
            "memory.oom_control",
            format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}"),
        );
        file("memory", "cgroup.procs", "77\n78".to_owned());
        file("cpu", "cpu.cfs_quota_us", load.quota_us.map_or("-1".to_owned(), |q| q.to_string()));
        file("cpu", "cpu.cfs_period_us", "100000".to_owned());
        file("cpu", "cpu.shares", "1024".to_owned());
        file(
            "cpu",
            "cpu.stat",
            "nr_periods 960\nnr_throttled 95\nthrottled_time 1724314000\nnr_bursts 25\nburst_time 500000000"
                .to_owned(),
        );
        file("cpuacct", "cpuacct.usage", (load.cpu_microseconds * 1000).to_string());
        file("cpuacct", "cpuacct.stat", "user 1200\nsystem 100".to_owned());
        let block = "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\nTotal 12288";
        file("blkio", "blkio.throttle.io_service_bytes_recursive", block.to_owned());
        let block = "254:0 Read 1\n254:0 Write 2\nTotal 3";
        file("blkio", "blkio.throttle.io_serviced_recursive", block.to_owned());
    }

    fn put_v2(&self, id: &str, load: Load) {
        let file = |name: &str, text: String| self.write(id, "", name, &format!("{text}\n"));
        let or_max = |value: Option<u64>| value.map_or("max".to_owned(), |value| value.to_string());
        file("memory.current", load.usage.to_string());
        file("memory.peak", load.peak.to_string());
        file("memory.max", or_max(load.limit));
        file("memory.low", load.limit.map_or(0, |limit| limit / 2).to_string());
        file("memory.min", "0".to_owned());
        file("memory.swap.max", load.limit.map_or("max".to_owned(), |_| "0".to_owned()));
        file("memory.swap.current", "0".to_owned());
        let inactive = load.inactive_file;
        file(
            "memory.stat",
            format!(
                "anon 30000000\nfile {}\nkernel 471040\nkernel_stack 49152\npagetables 61440\npercpu 1152\nsock 0\n\
                 vmalloc 0\nshmem 4096\nfile_mapped 8192\nfile_dirty 0\nfile_writeback 0\ninactive_anon 5\nactive_anon 6\n\
                 inactive_file {inactive}\nactive_file 180224\nunevictable 0\nslab_reclaimable 1\nslab_unreclaimable 2\nslab 3\n\
                 workingset_refault_anon 0\nworkingset_refault_file 195\npgscan 0\npgsteal 0\npgfault 1911\npgmajfault 1\nthp_fault_alloc 0",
                inactive + 184_320
            ),
        );
        let kills = load.oom_kills;
        file(
            "memory.events",
            format!("low 3\nhigh 5\nmax 7\noom {}\noom_kill {kills}\noom_group_kill 0", kills + 4),
        );
        file("cgroup.procs", "77\n78".to_owned());
        file("cpu.max", format!("{} 100000", or_max(load.quota_us)));
        file("cpu.weight", "100".to_owned());
        file(
            "cpu.stat",
            format!(
                "usage_usec {}\nuser_usec 12000000\nsystem_usec 1000000\ncore_sched.force_idle_usec 0\nnr_periods 960\n\
                 nr_throttled 95\nthrottled_usec 1724314\nnr_bursts 25\nburst_usec 500000",
                load.cpu_microseconds
            ),
        );
        for (name, some, full) in
            [("cpu", 1_500_000, 250_000), ("memory", 2_000_000, 1_000_000), ("io", 30, 20)]
        {
            let line = |what: &str, total: u64| {
                format!("{what} avg10=0.00 avg60=0.00 avg300=0.00 total={total}")
            };
            let text = format!("{}\n{}", line("some", some), line("full", full));
            file(&format!("{name}.pressure"), text);
        }
        let io = "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0";
        file("io.stat", io.to_owned());
    }

    /// Moves a container's folders aside, so that the next ones of its name are others.
    pub fn put_away(&self, id: &str) {
        for controller in ["memory", "cpu", "blkio", "pids"] {
            let file = self.file(id, controller, "x");
            let dir = file.parent().expect("a folder");
            let away = dir.with_file_name("away");
            fs::remove_dir_all(&away).ok();
            fs::rename(dir, away).ok();
        }
    }

    /// Removes a container from every hierarchy.
    pub fn remove(&self, id: &str) {
        for controller in ["memory", "cpu", "blkio", "pids"] {
            let dir = self.file(id, controller, "x");
            fs::remove_dir_all(dir.parent().expect("a folder")).ok();
        }
    }
}
