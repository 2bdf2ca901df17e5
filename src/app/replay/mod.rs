//! The real engine under virtual time: over recorded scrapes (`plimsoll replay`) and over the
//! made-up hosts of scenario files.
//!
//! [`World`] turns the crank and lets time jump to whatever comes next; what answers the engine's
//! requests is a [`Surroundings`]. A [`Report`] is what came of a run, and [`differences`] what two
//! runs do not share. Nothing here reads a clock, and nothing is sent anywhere.

mod coverage;
mod diff;
mod recording;
mod report;
mod shadow;
mod world;

pub use coverage::Coverage;
pub use diff::{Change, Difference, differences};
pub use recording::{Recording, Track, replay, replayed_to};
pub use report::{Action, Hold, How, Kill, Report, Span, TenantSummary};
pub use shadow::Standing;
pub use world::{Surroundings, Told, World};
