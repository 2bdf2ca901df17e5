//! Which machine Docker's containers run on, where Docker is not reached by a socket or a loopback address: a
//! proxy in front of this machine's, or another machine, whose containers have no cgroups here.

use memchr::memmem;

use crate::containers::ContainerId;

/// Where Docker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Place {
    /// Taken for this machine, until more is known.
    #[default]
    Unknown,
    /// On this machine: one of its containers was seen here.
    Here,
    /// On another machine.
    Elsewhere,
}

impl Place {
    /// What is known of it now that these are `running`. `lacks_cgroup`: one of them has had none for so long that
    /// it is missed. `mounts` is `/proc/self/mountinfo`: Docker mounts files out of a folder with the container's
    /// id into each container, so one that we run in ourselves is named there.
    pub fn look(
        self,
        running: &[&ContainerId],
        is_seen: impl Fn(&ContainerId) -> bool,
        lacks_cgroup: bool,
        mounts: impl FnOnce() -> Vec<u8>,
    ) -> Place {
        if self == Place::Here || running.iter().any(|id| is_seen(id)) {
            return Place::Here;
        }
        if self == Place::Elsewhere || !lacks_cgroup {
            return self;
        }
        let mounts = mounts();
        let is_ours = |id: &ContainerId| memmem::find(&mounts, id.as_str().as_bytes()).is_some();
        if running.iter().any(|id| is_ours(id)) { Place::Here } else { Place::Elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ContainerId {
        ContainerId::new(&digit.to_string().repeat(64)).expect("an id")
    }

    /// From `before`, with a and b running and this one seen.
    fn look(before: Place, seen: char, lacks_cgroup: bool, mounts: char) -> Place {
        let running = [id('a'), id('b')];
        let line =
            format!("1 2 0:1 /var/lib/docker/containers/{}/hosts /etc/hosts rw\n", id(mounts));
        before.look(&running.each_ref(), |one| *one == id(seen), lacks_cgroup, || line.into_bytes())
    }

    #[test]
    fn a_docker_none_of_whose_containers_is_here_nor_is_us_runs_elsewhere() {
        use Place::{Elsewhere, Here, Unknown};
        assert_eq!(look(Unknown, 'c', true, 'c'), Elsewhere);
        assert_eq!(look(Unknown, 'c', false, 'c'), Unknown, "it may have just begun");
        assert_eq!(look(Unknown, 'b', true, 'c'), Here, "the other one is missed");
        assert_eq!(look(Unknown, 'c', true, 'b'), Here, "we are one of them, behind a proxy");
        assert_eq!(look(Here, 'c', true, 'c'), Here, "it does not move");
        assert_eq!(look(Elsewhere, 'c', true, 'c'), Elsewhere);
        assert_eq!(look(Elsewhere, 'a', true, 'c'), Here, "the first one that is seen tells");
        assert_eq!(Unknown.look(&[], |_| true, false, Vec::new), Unknown);
    }
}
