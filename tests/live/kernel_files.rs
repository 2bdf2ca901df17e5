//! What one container uses and may use, as the collector shows it beside what the kernel's own files say: its
//! network, the limits that Docker does not know of, its disk.

use std::fs::{read_to_string, write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use crate::docker::{Daemon, MIB, Plimsoll, SOON_S, is_v2};
use crate::support::{wait_for, wait_until};

/// All of it, in so short a time that it can go along with another test.
pub fn what_the_kernel_s_files_say_is_shown(docker: &Daemon, plimsoll: &Plimsoll) {
    frames_between_two_containers_are_counted(docker, plimsoll);
    limits_of_docker_s_and_of_the_kernel_s_stand_side_by_side(docker, plimsoll);
    what_goes_to_a_disk_and_comes_back_is_counted(docker, plimsoll);
}

/// Waits until a series says what the kernel does at that time.
fn shown_as(plimsoll: &Plimsoll, selector: &str, kernel: impl Fn() -> Option<f64>) -> f64 {
    let shown = || plimsoll.find(selector).map(|(_, shown)| shown);
    wait_for(selector, SOON_S, || shown().filter(|shown| kernel() == Some(*shown)))
}

/// Frames of 1,000 bytes, all headers included: to the kernel the first 400 are IPv4, if bad, the others of no kind
/// that it knows, and those alone the receiving interface drops.
const SEND: &str = r#"
import socket
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
for kind in [b"\x08\x00"] * 400 + [b"\x88\xb5"] * 100:
    wire.send(b"\xff" * 6 + b"\x02" + bytes(5) + kind + bytes(986))
"#;
/// What that comes to, for who hears it and for who speaks. On a new wire the kernels of both ends say as much more
/// to each other, if they speak IPv6: a dozen packets of 90 bytes.
const TRAFFIC: [(&str, [f64; 2], f64); 4] = [
    ("bytes", [500_000.0, 500_000.0], 4096.0),
    ("packets", [500.0, 500.0], 40.0),
    ("errors", [0.0, 0.0], 0.0),
    ("packets_dropped", [100.0, 0.0], 0.0),
];

/// In the container's network; such a program is on the host and not in the image.
fn in_network_of(pid: &str, words: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["--target", pid, "--net"]).args(words);
    assert!(command.status().expect("nsenter runs").success(), "{words:?}");
}

/// What the kernel has counted on its `eth0`: received, then sent, each in the order of [`TRAFFIC`].
fn traffic(pid: &str) -> Option<[[f64; 4]; 2]> {
    let text = read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:"))?;
    let counts: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let direction = |from: usize| counts.get(from..from + 4)?.try_into().ok();
    Some([direction(0)?, direction(8)?])
}

fn frames_between_two_containers_are_counted(docker: &Daemon, plimsoll: &Plimsoll) {
    let names = ["hears", "speaks"];
    let pids = names.map(|name| {
        docker.load(name, &[], &[]);
        docker.run(&["inspect", "--format", "{{.State.Pid}}", name])
    });
    let mut wire = Command::new("ip");
    wire.args(["link", "add", "name", "eth0", "netns", &pids[0], "type", "veth"]);
    wire.args(["peer", "name", "eth0", "netns", &pids[1]]);
    assert!(wire.status().expect("ip runs").success(), "a wire between the two");
    for pid in &pids {
        in_network_of(pid, &["ip", "link", "set", "eth0", "up"]);
    }
    in_network_of(&pids[1], &["python3", "-c", SEND]);
    for (at, direction) in ["receive", "transmit"].into_iter().enumerate() {
        for (nth, (what, heard_and_spoken, chatter)) in TRAFFIC.into_iter().enumerate() {
            let metric = format!("container_network_{direction}_{what}_total");
            for (whose, (name, pid)) in names.iter().zip(&pids).enumerate() {
                let selector = format!("{metric}{{name=\"{name}\",interface=\"eth0\"}}");
                let shown = shown_as(plimsoll, &selector, || Some(traffic(pid)?[at][nth]));
                let least = if whose == at { heard_and_spoken[at] } else { 0.0 };
                assert!((least..=least + chatter).contains(&shown), "{selector}: {shown}");
            }
            // No loopback interface is among them.
            plimsoll.is(&format!("count({metric}{{name=~\"{}\"}})", names.join("|")), 2.0);
        }
    }
}

/// Of each limit what the kernel enforces, and what Docker believes; of the processor in microseconds of a period.
const LIMITS: [[&str; 2]; 3] = [
    ["container_spec_memory_limit_bytes", "plimsoll_container_memory_limit_believed_bytes"],
    [
        "container_spec_memory_reservation_limit_bytes",
        "plimsoll_container_memory_reservation_believed_bytes",
    ],
    ["container_spec_cpu_quota", "100000 * plimsoll_container_cpu_limit_believed_cores"],
];
/// Where the kernel has them, on version 1 and on version 2.
const LIMIT_FILES: [[(&str, &str); 3]; 2] = [
    [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.soft_limit_in_bytes"),
        ("cpu", "cpu.cfs_quota_us"),
    ],
    [("memory", "memory.max"), ("memory", "memory.low"), ("cpu", "cpu.max")],
];

/// Whoever changes a limit behind Docker's back: Docker believes what it did before.
fn limits_of_docker_s_and_of_the_kernel_s_stand_side_by_side(docker: &Daemon, plimsoll: &Plimsoll) {
    // So near its limit that it is read whole each time, or what the kernel enforces would show within a minute.
    let memory = ["--memory", "64m", "--memory-swap", "128m", "--memory-reservation", "32m"];
    docker.load("limited", &[&memory[..], &["--cpus", "0.1"]].concat(), &["burn", "57"]);
    let are = |enforced: [f64; 3], believed: [f64; 3]| {
        for ((metrics, enforced), believed) in LIMITS.iter().zip(enforced).zip(believed) {
            for (metric, value) in metrics.iter().zip([enforced, believed]) {
                plimsoll.is(&format!("{metric}{{name=\"limited\"}}"), value);
            }
        }
    };
    let of_docker = [64.0 * MIB, 32.0 * MIB, 10_000.0];
    are(of_docker, of_docker);
    plimsoll.until("container_memory_usage_bytes{name=\"limited\"}", |bytes| bytes > 55.0 * MIB);
    let by_hand = [66.0 * MIB, 16.0 * MIB, 20_000.0];
    for ((controller, file), value) in LIMIT_FILES[usize::from(is_v2())].into_iter().zip(by_hand) {
        let file = docker.cgroup(controller, "limited").join(file);
        write(&file, value.to_string()).expect("the kernel takes it");
    }
    are(by_hand, of_docker);
    docker.run(&["rm", "--force", "limited"]);
}

/// A disk that nobody else writes to.
struct Disk {
    _file: NamedTempFile,
    name: String,
    /// Its numbers, as the kernel's files name it.
    numbers: (u64, u64),
}

impl Disk {
    fn make(bytes: u64) -> Disk {
        let file = NamedTempFile::new().expect("a file");
        file.as_file().set_len(bytes).expect("grows");
        let mut command = Command::new("losetup");
        command.args(["--find", "--show"]).arg(file.path()).stderr(Stdio::inherit());
        let made = command.output().expect("losetup runs");
        let name = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let device = std::fs::metadata(&name).expect("losetup makes a disk of a file").rdev();
        Disk { _file: file, name, numbers: (device >> 8, device & 0xff) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("losetup").args(["--detach", &self.name]).status().ok();
    }
}

/// What the kernel has counted in a cgroup for this disk: bytes read and written, and how often.
fn transfers(cgroup: &Path, disk: &Disk) -> Option<[f64; 4]> {
    let (major, minor) = disk.numbers;
    let after = |file: &str, start: &str, word: &str| -> Option<f64> {
        let text = read_to_string(cgroup.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(start))?;
        line.split_whitespace().find_map(|it| it.strip_prefix(word))?.parse().ok()
    };
    let of_v1 = |(file, what): (&str, &str)| {
        let file = format!("blkio.throttle.{file}_recursive");
        after(&file, &format!("{major}:{minor} {what}"), "")
    };
    let of_v2 = |word: &str| after("io.stat", &format!("{major}:{minor} "), word);
    let [bytes, times] = ["io_service_bytes", "io_serviced"];
    let all = match is_v2() {
        true => ["rbytes=", "wbytes=", "rios=", "wios="].map(of_v2),
        false => [(bytes, "Read"), (bytes, "Write"), (times, "Read"), (times, "Write")].map(of_v1),
    };
    let known: Vec<f64> = all.into_iter().flatten().collect();
    known.try_into().ok()
}

/// The container has the disk to itself, and a limit that it does not reach: on version 1 Linux 6.18
/// counts for no other disks than those on which something is limited.
fn what_goes_to_a_disk_and_comes_back_is_counted(docker: &Daemon, plimsoll: &Plimsoll) {
    let disk = Disk::make(8 << 20);
    let limit = format!("{}:1tb", disk.name);
    let options = ["--device", &disk.name, "--device-write-bps", &limit];
    docker.load("writer", &options, &["write", "6", &disk.name]);
    let cgroup = docker.cgroup("blkio", "writer");
    // To the byte, as nobody reads ahead of the end of the disk, and no block is written twice.
    let bytes = [8.0 * MIB, 6.0 * MIB];
    let is_done = || transfers(&cgroup, &disk).is_some_and(|counted| counted[..2] == bytes);
    wait_until("the kernel has counted all of it", SOON_S, is_done);
    let (major, minor) = disk.numbers;
    let of_disk = format!("name=\"writer\",device=\"{}\"", disk.name);
    let of_numbers = format!("{of_disk},major=\"{major}\",minor=\"{minor}\"");
    for (at, selector) in [
        (0, format!("container_fs_reads_bytes_total{{{of_disk}}}")),
        (1, format!("container_fs_writes_bytes_total{{{of_disk}}}")),
        (2, format!("container_fs_reads_total{{{of_disk}}}")),
        (3, format!("container_fs_writes_total{{{of_disk}}}")),
        (0, format!("container_blkio_device_usage_total{{{of_numbers},operation=\"Read\"}}")),
        (1, format!("container_blkio_device_usage_total{{{of_numbers},operation=\"Write\"}}")),
    ] {
        let shown = shown_as(plimsoll, &selector, || Some(transfers(&cgroup, &disk)?[at]));
        assert!(bytes.get(at).is_none_or(|bytes| shown == *bytes), "{selector}: {shown}");
    }
    docker.run(&["rm", "--force", "writer"]);
}
