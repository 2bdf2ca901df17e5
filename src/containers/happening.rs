//! What Docker tells, one report at a time, in the order it tells it.

use super::container::{Container, ContainerId, Health};
use crate::base::Timestamp;

/// One thing heard from Docker.
#[derive(Clone, PartialEq, Debug)]
pub enum Report {
    /// The daemon answers.
    Connected {
        /// The daemon's version.
        version: String,
    },
    /// The daemon does not answer, or no longer.
    Lost {
        /// Why, for people.
        why: String,
        /// Whether somebody is there: not where there is no socket, or nobody listens at it.
        is_there: bool,
    },
    /// Every container there is, after a connection was made or a line of the stream was not read.
    Listed(Vec<Container>),
    /// So many lines of the stream that could not be read, since this was told last.
    Unread(u64),
    /// Whatever happened before the last list has been told.
    ToldAll,
    /// One container, looked at after something happened to it.
    Inspected(Box<Container>),
    /// Something happened to a container.
    Happened(Happening),
}

/// An event of Docker's stream about a container.
#[derive(Clone, PartialEq, Debug)]
pub struct Happening {
    /// Which incarnation.
    pub id: ContainerId,
    /// Its name at that time.
    pub name: String,
    /// When, by Docker's clock, to the nanosecond: it tells events of one container apart.
    pub at_nanos: i64,
    /// What.
    pub what: What,
}

impl Happening {
    /// When, in milliseconds.
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at_nanos.div_euclid(1_000_000))
    }
}

/// What can happen to a container, as far as anyone here asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// It was made.
    Create,
    /// It was started, by hand or by its restart policy.
    Start,
    /// The kernel killed a process in it for lack of memory.
    Oom,
    /// Its first process ended.
    Die {
        /// How: 128 + n for signal n.
        exit_code: i64,
    },
    /// Somebody sent it a signal through Docker (`docker stop` begins like this).
    Kill {
        /// Which; 0 if it could not be read.
        signal: u8,
    },
    /// `docker stop` has done its work.
    Stop,
    /// `docker restart` has done its work.
    Restart,
    /// Its processes were frozen.
    Pause,
    /// They run on.
    Unpause,
    /// Its health check changed its mind.
    HealthStatus(Health),
    /// Its limits or its restart policy were changed.
    Update,
    /// It got another name.
    Rename {
        /// The name it had.
        from: String,
    },
    /// It was removed.
    Destroy,
}

impl What {
    /// Docker's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            What::Create => "create",
            What::Start => "start",
            What::Oom => "oom",
            What::Die { .. } => "die",
            What::Kill { .. } => "kill",
            What::Stop => "stop",
            What::Restart => "restart",
            What::Pause => "pause",
            What::Unpause => "unpause",
            What::HealthStatus(_) => "health_status",
            What::Update => "update",
            What::Rename { .. } => "rename",
            What::Destroy => "destroy",
        }
    }
}
