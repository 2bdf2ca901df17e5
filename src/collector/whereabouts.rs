//! Where a container's cgroup is, by its first process: of a folder that nobody knows yet, as of the
//! first container of a rootless user or of a `--cgroup-parent`, so nobody has to wait for the next walk.
//!
//! Only the folder is believed, and only where the container's id stands in the path: who is in it its
//! listing tells.

use super::tree::container_of;
use crate::containers::ContainerId;

/// The folder in which this container's cgroup is, by the `/proc/<pid>/cgroup` of one of its processes; none
/// if that is not within reach, as from a cgroup namespace of our own.
pub(super) fn folder_of(id: &ContainerId, text: &[u8]) -> Option<String> {
    let lines = std::str::from_utf8(text).ok()?.lines();
    let paths = lines.filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_ours = controllers.is_empty() || controllers.split(',').any(|one| one == "memory");
        is_ours.then_some(path)
    });
    paths.filter(|path| !path.split('/').any(|part| part == "..")).find_map(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        let at = parts.iter().position(|part| container_of(part).as_ref() == Some(id))?;
        Some(parts[..at].join("/"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_container_is_read_from_its_process() {
        let id = ContainerId::new(&"a".repeat(64)).expect("an id");
        let a = id.as_str();
        let other = "b".repeat(64);
        for (text, want) in [
            (format!("0::/system.slice/docker-{a}.scope\n"), Some("/system.slice")),
            (format!("0::/tenants/{a}/init/deep\n"), Some("/tenants")),
            (format!("9:cpu:/x/{a}\n5:memory:/lxc/{a}\n0::/\n"), Some("/lxc")),
            (format!("0::/{a}"), Some("")),
            (format!("0::/../{a}\n"), None),
            (format!("0::/docker/{other}\n"), None),
            (format!("0::/machine.slice/libpod-conmon-{a}.scope\n"), None),
            ("9:cpu,cpuacct:/docker\nno line\n".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(folder_of(&id, text.as_bytes()).as_deref(), want, "{text}");
        }
    }
}
