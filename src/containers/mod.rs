//! The containers of this host as Docker knows them: who they are, what limits they were given.
//!
//! Pure: [`Inventory`] is told what was listed, inspected or happened, and answers by id and by
//! name. Ids are incarnations and never come back; a name outlives the container that bears it.
//! Nothing here asks Docker (`docker` does), and nothing here reads a cgroup (`collector` does).

mod container;
mod end;
mod evidence;
mod fate;
mod happening;
mod heard;
mod held;
mod inventory;
mod life;
mod oom;
mod reading;
mod rows;
mod runs;
mod stint;

pub use container::{
    Container, ContainerId, Health, Limits, Restart, RestartPolicy, Status, id_in_cgroup,
};
pub use end::{Death, End};
pub use fate::{Fate, Fates};
pub use happening::{Happening, Report, What};
pub use heard::Heard;
pub use inventory::{Before, Inventory};
pub use life::CHILD_AFTER;
pub use oom::{KillsById, ON_ITS_WAY, OomLedger, STUCK, Who};
pub use reading::Reading;
pub use rows::Rows;
pub use runs::{Runs, Untold};
pub use stint::Counts;

#[cfg(test)]
mod tests;
