//! What the cgroup files of the recorded host held, laid out as files again.

use std::fs;

use serde_json::Value;

use super::cgroups::Cgroups;

/// Writes what was recorded of one container's files, and makes its folders. Not recorded were the
/// kernel's own memory, block devices, the split of CPU time, and quotas.
pub fn lay_out(cgroups: &Cgroups, id: &str, truth: &Value) {
    let text = |key: &str| truth[key].as_str().expect(key).to_owned();
    let pairs = |key: &str| {
        let map = truth[key].as_object().expect(key);
        let line = |(key, value): (&String, &Value)| {
            format!("{key} {}\n", value.as_str().expect("a number"))
        };
        map.iter().map(line).collect::<String>()
    };
    for (controller, file, text) in [
        ("memory", "memory.usage_in_bytes", text("usage")),
        ("memory", "memory.limit_in_bytes", text("limit")),
        ("memory", "memory.soft_limit_in_bytes", text("soft")),
        ("memory", "memory.memsw.limit_in_bytes", text("memsw_limit")),
        ("memory", "memory.max_usage_in_bytes", text("max")),
        ("memory", "memory.failcnt", text("failcnt")),
        ("memory", "memory.stat", pairs("stat")),
        ("memory", "memory.oom_control", text("oom").replace(';', "\n")),
        ("cpu", "cpu.stat", pairs("cpu")),
        ("cpuacct", "cpuacct.usage", text("cpuacct")),
    ] {
        let path = cgroups.file(id, controller, file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
}
