//! Which cgroups are containers, and where: found by their names, whatever runtime made them.
//!
//! A container's cgroup ends in its 64-digit id: `docker/<id>` (cgroupfs driver),
//! `docker-<id>.scope` (systemd driver), `libpod-<id>.scope` (Podman), below `user.slice` when
//! rootless. The whole tree is walked at the start and once a minute; in between only the folders
//! that had containers, and those where runtimes put them, are listed. So a start or a stop costs
//! its folder's listing, never a walk. A new folder is learnt from the first process
//! of its first container, where Docker tells that ([`whereabouts`](super::whereabouts)). Symbolic links are
//! not followed.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::failure::Failures;
use super::files::is_gone;
use crate::base::HashMap;
use crate::containers::{ContainerId, id_in_cgroup};

/// Folders below this depth are not entered: rootless Docker in a container has eight.
const DEPTH_MAX: usize = 12;
/// Folders entered in one walk at most; a host of 5,000 containers has some 10,000.
const FOLDERS_MAX: usize = 100_000;
/// v1: controllers whose files are read.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuacct", "blkio", "pids"];
/// Where runtimes put containers, listed in every cycle from the start.
pub(super) const USUAL: [&str; 3] = ["docker", "system.slice", "machine.slice"];

/// The version of cgroups a host runs containers in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy.
    V2,
}

/// Which version is mounted at `root`.
pub(super) fn version_at(root: &Path) -> Version {
    match root.join("cgroup.controllers").exists() {
        true => Version::V2,
        false => Version::V1,
    }
}

/// The tree of cgroups.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    version: Version,
    /// v1: controller → its folder below the root, where it has another name (`cpu,cpuacct`).
    folders: BTreeMap<&'static str, PathBuf>,
    /// Folders that are listed in every cycle, relative to the hierarchy.
    parents: BTreeMap<String, Known>,
    /// Counts the listings.
    round: u64,
    /// What listing has cost so far.
    pub listed: Listed,
    /// Folders that could not be listed in the last look, or were not entered in the last walk.
    pub unlisted: Failures,
    /// Of these who was not entered.
    skipped: Failures,
    /// Folders entered in one walk at most.
    folders_max: usize,
}

/// The names of the containers in a folder, and the listing that saw each last.
type Known = HashMap<OsString, u64>;

/// Folders that were listed, and what was in them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listed {
    pub folders: u64,
    pub entries: u64,
}

/// Who came and who went between two looks, by path in the hierarchy, which begins with `/`: the
/// label `id`.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Who came.
    pub come: Vec<(String, ContainerId)>,
    /// Who went.
    pub gone: Vec<String>,
}

impl Tree {
    /// Looks at what is mounted at `root`.
    pub fn open(root: &Path) -> io::Result<Tree> {
        let version = version_at(root);
        let folders = match version {
            Version::V1 => hierarchies(root)?,
            Version::V2 => BTreeMap::new(),
        };
        Ok(Tree {
            root: root.to_owned(),
            version,
            folders,
            parents: usual(),
            round: 0,
            listed: Listed::default(),
            unlisted: Failures::default(),
            skipped: Failures::default(),
            folders_max: FOLDERS_MAX,
        })
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

    /// Every container there is. Fails only if the top cannot be listed. A folder that has vanished has
    /// no containers; of one that cannot be listed those stay that were known: nobody saw them go. It
    /// is tried again with every listing, and told in `unlisted` for as long. So is one that is not entered
    /// for its depth or because there are too many, unless a container made it. What is nearest to the top
    /// is entered first: no container keeps others from being found.
    pub fn walk(&mut self) -> io::Result<BTreeMap<String, ContainerId>> {
        let top = self.top().to_owned();
        let mut found = BTreeMap::new();
        let mut left: VecDeque<(String, usize, bool)> = VecDeque::new();
        let mut seen = 0;
        let mut parents = usual();
        fs::read_dir(&top)?;
        (self.unlisted, self.skipped) = (Failures::default(), Failures::default());
        left.push_back((String::new(), 0, false));
        while let Some((folder, depth, is_inside)) = left.pop_front() {
            seen += 1;
            let children = match children(&top, &folder, &mut self.listed) {
                Ok(children) => children,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    self.keep_below(&folder, &mut parents, &mut found);
                    parents.entry(folder.clone()).or_default();
                    self.unlisted.note(&folder, cannot_be_listed(&error));
                    continue;
                }
            };
            for child in children {
                let path = format!("{folder}/{child}");
                let container = container_of(&child);
                let is_inside = is_inside || container.is_some();
                if let Some(id) = container {
                    let known: &mut Known = parents.entry(folder.clone()).or_default();
                    known.insert(OsString::from(child), self.round);
                    found.insert(path.clone(), id);
                }
                if depth < DEPTH_MAX && seen + left.len() < self.folders_max {
                    left.push_back((path, depth + 1, is_inside));
                } else if !is_inside {
                    self.keep_below(&path, &mut parents, &mut found);
                    let why = format!(
                        "is not entered: deeper than {DEPTH_MAX} folders, or beyond {} of them",
                        self.folders_max
                    );
                    self.skipped.note(&path, why);
                }
            }
        }
        let mut told = self.skipped.clone();
        told.count += self.unlisted.count;
        told.named.append(&mut self.unlisted.named);
        self.unlisted = told;
        self.parents = parents;
        Ok(found)
    }

    /// Takes over whoever was known in a folder that cannot be listed.
    fn keep_below(
        &self,
        folder: &str,
        parents: &mut BTreeMap<String, Known>,
        found: &mut BTreeMap<String, ContainerId>,
    ) {
        let within = |path: &str| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for (parent, known) in self.parents.iter().filter(|(parent, _)| within(parent)) {
            for name in known.keys().filter_map(|name| name.to_str()) {
                let id = container_of(name).map(|id| (format!("{parent}/{name}"), id));
                found.extend(id);
            }
            parents.insert(parent.clone(), known.clone());
        }
    }

    /// Who came and who went in the folders that have containers. A name that is known costs one
    /// look into a table.
    pub fn list(&mut self) -> io::Result<Found> {
        let top = self.top().to_owned();
        fs::metadata(&top)?;
        self.round += 1;
        self.unlisted = self.skipped.clone();
        let round = self.round;
        let mut found = Found::default();
        for (folder, known) in &mut self.parents {
            match look(&top, folder, (known, round), (&mut found.come, &mut self.listed)) {
                Ok(()) => {}
                // Of a folder that vanished while it was listed nobody is left.
                Err(error) if is_gone(&error) => {
                    found.come.retain(|(path, _)| !path.starts_with(&format!("{folder}/")));
                    known.values_mut().for_each(|seen| *seen = 0);
                }
                // Nobody saw who went. Reading them tells.
                Err(error) => {
                    known.values_mut().for_each(|seen| *seen = round);
                    self.unlisted.note(folder, cannot_be_listed(&error));
                }
            }
            if known.values().any(|seen| *seen != round) {
                let gone = known.extract_if(|_, seen| *seen != round);
                let path = |name: &OsString| format!("{folder}/{}", name.to_string_lossy());
                found.gone.extend(gone.map(|(name, _)| path(&name)));
            }
        }
        Ok(found)
    }

    /// There is a container in this folder: it is listed from now on, until a walk finds none there.
    pub fn learn(&mut self, folder: String) {
        self.parents.entry(folder).or_default();
    }

    /// A container was let go of: if it is listed again it came.
    pub fn forget(&mut self, path: &str) {
        if let Some((folder, name)) = path.rsplit_once('/')
            && let Some(known) = self.parents.get_mut(folder)
        {
            known.remove(OsStr::new(name));
        }
    }

    /// Containers are looked for in the memory hierarchy: a container without memory accounting is
    /// of no use here.
    fn top(&self) -> &Path {
        self.hierarchy("memory").unwrap_or(&self.root)
    }
}

fn cannot_be_listed(error: &io::Error) -> String {
    format!("cannot be listed: {error}")
}

/// The usual folders, in which nobody is known yet.
fn usual() -> BTreeMap<String, Known> {
    USUAL.iter().map(|usual| (format!("/{usual}"), Known::default())).collect()
}

/// Lists a folder: who is known is marked as seen in this round, the others are added to `come`.
fn look(
    top: &Path,
    folder: &str,
    (known, round): (&mut Known, u64),
    (come, listed): (&mut Vec<(String, ContainerId)>, &mut Listed),
) -> io::Result<()> {
    listed.folders += 1;
    for entry in fs::read_dir(top.join(folder.trim_start_matches('/')))? {
        let entry = entry?;
        listed.entries += 1;
        let name = entry.file_name();
        if let Some(seen) = known.get_mut(&name) {
            *seen = round;
        } else if let Some(text) = name.to_str()
            && let Some(id) = container_of(text)
            && entry.file_type()?.is_dir()
        {
            come.push((format!("{folder}/{text}"), id));
            known.insert(name, round);
        }
    }
    Ok(())
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
fn children(top: &Path, folder: &str, listed: &mut Listed) -> io::Result<Vec<String>> {
    let path = top.join(folder.trim_start_matches('/'));
    let mut names = Vec::new();
    listed.folders += 1;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        listed.entries += 1;
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
pub(super) fn container_of(name: &str) -> Option<ContainerId> {
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
        let none = tree.list().expect("lists");
        assert!(none.come.is_empty() && none.gone.is_empty(), "{none:?}");

        make(&format!("{rootless}/docker-{}.scope", id('f')));
        make(&format!("far/away/{}", id('9')));
        fs::remove_dir_all(root.join(format!("docker/{}", id('a')))).expect("removed");
        let mut next = tree.list().expect("lists");
        next.gone.sort();
        let a = format!("/docker/{}", id('a'));
        assert_eq!(
            next.gone,
            [a.clone(), format!("{a}/docker/{}", id('e'))],
            "with what was in it"
        );
        let f = format!("/{rootless}/docker-{}.scope", id('f'));
        assert_eq!(next.come.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&f]);
        assert_eq!(tree.walk().expect("walks").len(), 5, "a walk finds what is elsewhere");
        tree.forget(&f);
        let again = tree.list().expect("lists");
        assert_eq!((again.come.len(), again.gone.len()), (1, 0), "let go of, and there again");
    }

    #[test]
    fn nobody_goes_from_a_folder_that_cannot_be_listed() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::write(root.join("cgroup.controllers"), "cpu memory\n").expect("written");
        let nested = format!("docker/{}/docker/{}", id('a'), id('e'));
        let far = format!("far/away/{}", id('9'));
        for path in [&nested, &far] {
            fs::create_dir_all(root.join(path)).expect("made");
        }
        let mut tree = Tree::open(root).expect("version 2");
        let all = tree.walk().expect("walks");
        assert_eq!(all.len(), 3);
        for folder in ["docker", "far"] {
            fs::rename(root.join(folder), root.join("aside")).expect("moved");
            // What is no folder can be listed no more than what is forbidden.
            fs::write(root.join(folder), "").expect("written");
            let next = tree.list().expect("lists");
            assert!(next.come.is_empty() && next.gone.is_empty(), "{next:?}");
            let Failures { count, named } = tree.unlisted.clone();
            assert!(named[0].what.starts_with(&format!("/{folder}")), "{named:?}");
            assert_eq!(count, if folder == "docker" { 2 } else { 1 }, "with what is below it");
            fs::remove_file(root.join(folder)).expect("removed");
            fs::rename(root.join("aside"), root.join(folder)).expect("moved");
        }
        let walked = |tree: &Tree, folder: &str| {
            let (mut parents, mut found) = (usual(), BTreeMap::new());
            tree.keep_below(folder, &mut parents, &mut found);
            (found.into_keys().collect::<Vec<_>>(), parents.len())
        };
        let (a, e) = (format!("/docker/{}", id('a')), format!("/{nested}"));
        assert_eq!(walked(&tree, "/docker"), (vec![a, e], 4), "a walk keeps who is below it");
        assert_eq!(walked(&tree, "/doc"), (vec![], 3));
        fs::remove_dir_all(root.join("docker")).expect("removed");
        assert_eq!(tree.list().expect("lists").gone.len(), 2, "what vanished has nobody");
        assert_eq!(tree.unlisted, Failures::default());
    }

    #[test]
    fn what_a_walk_does_not_enter_is_told_unless_a_container_made_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::write(root.join("cgroup.controllers"), "cpu memory\n").expect("written");
        let deep = "/d".repeat(13);
        let make = |path: &str| fs::create_dir_all(root.join(&path[1..])).expect("made");
        let (a, e) = (format!("/docker/{}", id('a')), format!("{deep}/x/{}", id('e')));
        make(&format!("{a}{deep}/x"));
        let mut tree = Tree::open(root).expect("version 2");
        assert_eq!(tree.walk().expect("walks").len(), 1);
        assert_eq!(tree.unlisted, Failures::default(), "it is the container's own");
        make(&e);
        for look in [Tree::walk, |tree: &mut Tree| tree.list().map(|_| BTreeMap::new())] {
            look(&mut tree).expect("looks");
            let Failures { count, named } = &tree.unlisted;
            assert_eq!((*count, &*named[0].what), (1, &*deep), "in every look");
        }
        fs::remove_dir_all(root.join("d")).expect("removed");
        // Containers that make any number of cgroups hide nobody.
        let near = ['1', '2', '3'].map(|digit| format!("/{digit}/far/{}", id(digit)));
        for (top, near) in ["/1", "/2", "/3"].iter().zip(&near) {
            make(near);
            (0..50).for_each(|n| make(&format!("{top}/{}/{n}/x", id('a'))));
        }
        let mut tree = Tree { folders_max: 40, ..Tree::open(root).expect("version 2") };
        let found = tree.walk().expect("walks");
        assert!(near.iter().all(|near| found.contains_key(near)), "{found:?}");
        assert_eq!(tree.unlisted.count, 0, "{:?}", tree.unlisted);
        tree.folders_max = 3;
        let found = tree.walk().expect("walks");
        assert!(near.iter().all(|near| found.contains_key(near)), "they were known: {found:?}");
        assert!(tree.unlisted.count > 0);
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
