//! Which cgroups are containers, and where: found by their names, whatever runtime made them.
//!
//! A container's cgroup ends in its 64-digit id: `docker/<id>` (cgroupfs driver),
//! `docker-<id>.scope` (systemd driver), `libpod-<id>.scope` (Podman), below `user.slice` when
//! rootless. The whole tree is walked at the start and once a minute; in between only the folders
//! that had containers, and those where runtimes put them, are listed. So a start or a stop costs
//! its folder's listing, never a walk. Symbolic links are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::containers::{ContainerId, id_in_cgroup};

/// Folders below this depth are not entered: rootless Docker in a container has eight.
const DEPTH_MAX: usize = 12;
/// Folders entered in one walk at most; a host of 5,000 containers has some 10,000.
const FOLDERS_MAX: usize = 100_000;
/// v1: controllers whose files are read.
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuacct", "blkio"];
/// Where runtimes put containers, listed in every cycle from the start.
const USUAL: [&str; 3] = ["docker", "system.slice", "machine.slice"];

/// The version of cgroups a host runs containers in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy.
    V2,
}

/// The tree of cgroups.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    version: Version,
    /// v1: controller → its folder below the root, where it has another name (`cpu,cpuacct`).
    folders: BTreeMap<&'static str, PathBuf>,
    /// Folders that are listed in every cycle, relative to the hierarchy.
    parents: BTreeSet<String>,
}

/// Containers by their path in the hierarchy, which begins with `/`: the label `id`.
pub(super) type Found = BTreeMap<String, ContainerId>;

impl Tree {
    /// Looks at what is mounted at `root`.
    pub fn open(root: &Path) -> io::Result<Tree> {
        let version = match root.join("cgroup.controllers").exists() {
            true => Version::V2,
            false => Version::V1,
        };
        let folders = match version {
            Version::V1 => hierarchies(root)?,
            Version::V2 => BTreeMap::new(),
        };
        let parents = USUAL.iter().map(|usual| format!("/{usual}")).collect();
        Ok(Tree { root: root.to_owned(), version, folders, parents })
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The folder of a controller's hierarchy; none if it is not mounted.
    pub fn hierarchy(&self, controller: &str) -> Option<&Path> {
        match self.version {
            Version::V1 => self.folders.get(controller).map(PathBuf::as_path),
            Version::V2 => Some(&self.root),
        }
    }

    /// Every container there is. Fails only if the top cannot be listed; a folder that vanishes, or
    /// may not be entered, has no containers.
    pub fn walk(&mut self) -> io::Result<Found> {
        let top = self.top().to_owned();
        let mut found = Found::new();
        let mut left: Vec<(String, usize)> = Vec::new();
        let mut seen = 0;
        let mut parents: BTreeSet<String> = USUAL.iter().map(|usual| format!("/{usual}")).collect();
        fs::read_dir(&top)?;
        left.push((String::new(), 0));
        while let Some((folder, depth)) = left.pop() {
            seen += 1;
            let Ok(children) = children(&top, &folder) else { continue };
            for child in children {
                let path = format!("{folder}/{child}");
                if let Some(id) = container_of(&child) {
                    parents.insert(folder.clone());
                    found.insert(path.clone(), id);
                }
                if depth < DEPTH_MAX && seen + left.len() < FOLDERS_MAX {
                    left.push((path, depth + 1));
                }
            }
        }
        self.parents = parents;
        Ok(found)
    }

    /// The containers in the folders that have them.
    pub fn list(&self) -> io::Result<Found> {
        let top = self.top();
        fs::metadata(top)?;
        let mut found = Found::new();
        for folder in &self.parents {
            let Ok(children) = children(top, folder) else { continue };
            for child in children {
                if let Some(id) = container_of(&child) {
                    found.insert(format!("{folder}/{child}"), id);
                }
            }
        }
        Ok(found)
    }

    /// Containers are looked for in the memory hierarchy: a container without memory accounting is
    /// of no use here.
    fn top(&self) -> &Path {
        self.hierarchy("memory").unwrap_or(&self.root)
    }
}

/// v1: where each controller's hierarchy is mounted. Memory must be there.
fn hierarchies(root: &Path) -> io::Result<BTreeMap<&'static str, PathBuf>> {
    let mut folders = BTreeMap::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let mounted = CONTROLLERS.iter().filter(|one| name.split(',').any(|part| part == **one));
        folders.extend(mounted.map(|controller| (*controller, root.join(name))));
    }
    if !folders.contains_key("memory") {
        let why = "neither cgroup.controllers (v2) nor a folder memory (v1) is there";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(folders)
}

/// The names of the folders in a folder.
fn children(top: &Path, folder: &str) -> io::Result<Vec<String>> {
    let path = top.join(folder.trim_start_matches('/'));
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// The container whose cgroup has this name. Podman's and CRI-O's monitor of a container carries
/// the container's id, but is not it.
fn container_of(name: &str) -> Option<ContainerId> {
    if name.contains("conmon") { None } else { id_in_cgroup(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn containers_are_known_by_the_name_of_their_cgroup() {
        let a = id('a');
        for (name, is_one) in [
            (a.clone(), true),
            (format!("docker-{a}.scope"), true),
            (format!("libpod-{a}.scope"), true),
            (format!("libpod-{a}"), true),
            (format!("cri-containerd-{a}.scope"), true),
            (format!("libpod-conmon-{a}.scope"), false),
            (format!("crio-conmon-{a}.scope"), false),
            (format!("docker-{a}.mount"), false),
            ("docker".to_owned(), false),
            ("docker.service".to_owned(), false),
            (a[..63].to_owned(), false),
            (a.to_uppercase(), false),
        ] {
            assert_eq!(container_of(&name).is_some(), is_one, "{name}");
        }
    }

    #[test]
    fn every_layout_is_found_and_new_ones_where_others_are() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::write(root.join("cgroup.controllers"), "cpu memory\n").expect("written");
        let make = |path: &str| fs::create_dir_all(root.join(path)).expect("made");
        let rootless = "user.slice/user-1000.slice/user@1000.service/app.slice";
        make(&format!("docker/{}", id('a')));
        make(&format!("system.slice/docker-{}.scope", id('b')));
        make(&format!("{rootless}/docker-{}.scope", id('c')));
        make(&format!("machine.slice/libpod-{}.scope/container", id('d')));
        make(&format!("machine.slice/libpod-conmon-{}.scope", id('d')));
        make(&format!("docker/{}/docker/{}", id('a'), id('e')));
        make("system.slice/ssh.service");
        let mut tree = Tree::open(root).expect("version 2");
        assert_eq!(tree.version(), Version::V2);
        let first = tree.walk().expect("walks");
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert!(names.contains(&format!("/{rootless}/docker-{}.scope", id('c')).as_str()));
        assert_eq!(tree.list().expect("lists"), first);

        make(&format!("{rootless}/docker-{}.scope", id('f')));
        make(&format!("far/away/{}", id('9')));
        fs::remove_dir_all(root.join(format!("docker/{}", id('a')))).expect("removed");
        let next = tree.list().expect("lists");
        assert_eq!(next.len(), 4, "one more, and the first is gone with what was in it");
        assert_eq!(tree.walk().expect("walks").len(), 5, "a walk finds what is elsewhere");
        assert_eq!(tree.list().expect("lists").len(), 5);
    }

    #[test]
    fn version_1_finds_its_hierarchies_and_nothing_at_all_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = Tree::open(dir.path()).expect_err("nothing is mounted");
        assert!(error.to_string().contains("cgroup.controllers"), "{error}");
        assert!(Tree::open(&dir.path().join("missing")).is_err());
        for hierarchy in ["memory", "cpu,cpuacct"] {
            fs::create_dir_all(dir.path().join(hierarchy)).expect("made");
        }
        let tree = Tree::open(dir.path()).expect("version 1");
        assert_eq!(tree.version(), Version::V1);
        for controller in ["cpu", "cpuacct"] {
            assert_eq!(tree.hierarchy(controller), Some(dir.path().join("cpu,cpuacct").as_path()));
        }
        assert_eq!(tree.hierarchy("blkio"), None);
    }
}
