//! What whole-program tests stand on: the program as a process, and peers that behave as told.
//!
//! Everything listens on 127.0.0.1 and a port the system chooses, lives in a temporary folder, and
//! ends with the value that stands for it. Nothing here knows what a test is about.

mod alertmanager;
pub mod client;
mod control_plane;
mod incident;
mod page;
#[path = "../../support/port.rs"]
mod port;
mod process;
pub mod server;
pub mod smtp;

pub use alertmanager::FakeAlertmanager;
pub use client::{free_address, get, query};
pub use control_plane::{ControlPlane, Heard, SECRET};
pub use incident::{BESIDE, an_incident};
pub use page::Page;
pub use process::{Home, Plan, Process};
pub use server::{Reply, answer};

use std::time::{Duration, Instant};

/// Waits until `probe` has something, at most `seconds`; then it fails with what was expected.
pub fn wait_for<T>(what: &str, seconds: u64, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "not within {seconds} s: {what}");
        pause(20);
    }
}

/// Waits until `probe` is true.
pub fn wait_until(what: &str, seconds: u64, mut probe: impl FnMut() -> bool) {
    wait_for(what, seconds, || probe().then_some(()));
}

/// Lets time pass, for what must not happen meanwhile.
pub fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
