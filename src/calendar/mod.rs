//! When something happens by the clock on the wall: cron expressions, time zones, windows of time.
//!
//! Maintenance and quiet hours are written by people, in their own time zone, and must mean what
//! they meant on the two days a year on which clocks are changed. Pure: the time is passed in, and
//! the bytes of a zone's file as well.

mod schedule;
mod tzif;
mod window;
mod zone;

pub use schedule::Schedule;
pub use window::{Open, Window};
pub use zone::Zone;
