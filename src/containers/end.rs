//! Why the first process of a container ended, and when.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Why a container's first process ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The kernel killed it for lack of memory.
    Oom,
    /// By itself, with an exit code other than 0, or by a signal nobody sent through Docker.
    Crash,
    /// By itself, with exit code 0.
    Exit,
    /// `docker stop`, `docker restart` or another polite signal through Docker.
    Stop,
    /// `docker kill`, `docker rm -f`.
    Kill,
    /// Nobody saw: it was there, and at the next look it was not.
    Vanished,
}

impl End {
    /// Every end, in the order of its number.
    pub const ALL: [End; 6] =
        [End::Oom, End::Crash, End::Exit, End::Stop, End::Kill, End::Vanished];

    /// The word in series, logs and the API.
    pub fn name(self) -> &'static str {
        match self {
            End::Oom => "oom",
            End::Crash => "crash",
            End::Exit => "exit",
            End::Stop => "stop",
            End::Kill => "kill",
            End::Vanished => "vanished",
        }
    }

    /// Whether somebody asked for it.
    pub fn is_asked_for(self) -> bool {
        matches!(self, End::Stop | End::Kill)
    }
}

/// One end of a first process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Death {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub end: End,
    /// Docker's exit code; 0 if nobody saw it.
    pub exit_code: i64,
}
