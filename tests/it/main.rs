//! The whole program against peers that misbehave, as a process on 127.0.0.1.
//!
//! Hermetic: every peer is a thread of the test, every port is the system's choice. What is seen is
//! what a person would see: alerts at Alertmanager, webhooks at the Control Plane, the log.
#![expect(
    clippy::disallowed_methods,
    reason = "tests drive real processes, wait in real time and show the log of one that failed"
)]

mod alertmanager;
mod audit;
#[path = "../support/cgroups.rs"]
mod cgroups;
mod control_plane;
mod inputs;
mod limits;
mod operator;
mod own_eyes;
mod pages;
mod storage;
mod support;
