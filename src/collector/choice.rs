//! Which cgroup is a container's, where more than one bears its id.
//!
//! A name is no proof: whoever may make cgroups below their own, a Docker in a container or a user with a
//! delegated slice, may give one the id of another's container, and Kata puts its overhead into a
//! second one. Counts and names go by the id, so two cgroups under one would mix.

use crate::base::HashMap;
use crate::containers::ContainerId;

use super::tree::{USUAL, container_of};

/// The cgroup of each container.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    of: HashMap<&'a ContainerId, &'a str>,
    /// The first cgroup that is left for another of its id, and that other.
    pub left: Option<(&'a str, &'a str)>,
}

/// Chooses one cgroup for each container. What lies in a container that Docker knows is that container's
/// own business, whatever it is called: a Docker that knows what is inside does not know what is outside.
pub(super) fn choose<'a>(
    cgroups: impl Iterator<Item = (&'a str, &'a ContainerId)>,
    is_known: impl Fn(&ContainerId) -> bool,
) -> Choice<'a> {
    let mut choice = Choice::default();
    for (path, id) in cgroups {
        if is_inside(path, &is_known) {
            continue;
        }
        let best = *choice.of.entry(id).or_insert(path);
        if best == path {
            continue;
        }
        let (better, worse) = if rank(path) < rank(best) { (path, best) } else { (best, path) };
        choice.of.insert(id, better);
        choice.left.get_or_insert((worse, better));
    }
    choice
}

impl Choice<'_> {
    /// Whether this is the container's cgroup.
    pub fn is(&self, path: &str, id: &ContainerId) -> bool {
        self.of.get(id) == Some(&path)
    }
}

/// Whether a cgroup lies in that of a container that Docker knows.
pub(super) fn is_inside(path: &str, is_known: impl Fn(&ContainerId) -> bool) -> bool {
    outer(path).any(|id| is_known(&id))
}

/// The containers in whose cgroups a cgroup lies.
fn outer(path: &str) -> impl Iterator<Item = ContainerId> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.split('/').filter_map(container_of)
}

/// The least is chosen: what no container made, what is nearest to the top, where runtimes put it.
fn rank(path: &str) -> (bool, usize, bool, &str) {
    let is_usual = USUAL.iter().any(|usual| path[1..].split('/').next() == Some(usual));
    (outer(path).next().is_some(), path.matches('/').count(), !is_usual, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_cgroups_of_one_id_the_one_that_is_hardest_to_forge_is_followed() {
        let [v, h] = ['a', 'b'].map(|digit| digit.to_string().repeat(64));
        let id = ContainerId::new(&v).expect("an id");
        let real = format!("/system.slice/docker-{v}.scope");
        for (one, other, followed, why) in [
            (&*real, &*format!("/docker/{h}/docker/{v}"), &*real, "a Docker in a container"),
            (&real, &format!("/user.slice/me/docker-{v}.scope"), &real, "a delegated slice"),
            (&real, &format!("/kata_overhead/{v}"), &real, "Kata's overhead"),
            (&format!("/{h}/{v}"), &format!("/a/b/c/{v}"), &format!("/a/b/c/{v}"), "not nested"),
            (&real, &format!("/docker/{v}"), &format!("/docker/{v}"), "always the same"),
        ] {
            for cgroups in [[one, other], [other, one]] {
                let choice = choose(cgroups.into_iter().map(|path| (path, &id)), |_| false);
                let left = if followed == one { other } else { one };
                assert_eq!(choice.of[&id], followed, "{why}");
                assert_eq!(choice.left, Some((left, followed)), "{why}");
                assert!(choice.is(followed, &id) && !choice.is(left, &id));
            }
        }
        let twice = choose([(&*real, &id), (&*real, &id)].into_iter(), |_| false);
        assert_eq!((twice.of.len(), twice.left), (1, None), "one that was found twice is one");
    }

    #[test]
    fn what_is_in_a_container_that_docker_knows_is_that_containers() {
        let [inner, outer] = ["a", "b"].map(|digit| digit.repeat(64));
        let ids = [&inner, &outer].map(|id| ContainerId::new(id).expect("an id"));
        for folder in [format!("/docker/{outer}"), format!("/system.slice/docker-{outer}.scope/x")]
        {
            let path = format!("{folder}/docker/{inner}");
            let followed = |known: Option<&ContainerId>| {
                let choice = choose([(&*path, &ids[0])].into_iter(), |id| Some(id) == known);
                choice.is(&path, &ids[0])
            };
            assert!(!followed(Some(&ids[1])), "{path}");
            assert!(followed(Some(&ids[0])), "the Docker that is asked is inside: {path}");
            assert!(followed(None), "nobody is asked: {path}");
        }
    }
}
