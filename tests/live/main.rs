//! The whole program beside real peers from Debian's packages, on loopback.
//!
//! `cargo test --test live`, as root (a small file system is mounted and filled, a Docker of its
//! own runs). Needs prometheus, prometheus-alertmanager, prometheus-node-exporter, redis-server,
//! prometheus-redis-exporter, python3-aiosmtpd, docker.io and iproute2; `.ci/run` installs them. A peer that is missing fails its test: nothing is skipped.
#![expect(
    clippy::disallowed_methods,
    reason = "tests drive real processes, wait in real time and show the log of one that failed"
)]

mod alertmanager;
mod certificates;
mod control_plane;
mod disk;
mod docker;
mod docker_tls;
mod exporters;
mod inhibitions;
mod kernel_files;
mod mail;
mod peers;
mod plain_host;
mod promtool;
mod rest;
#[allow(dead_code, unused_imports, reason = "shared with tests/it, which uses the rest")]
#[path = "../it/support/mod.rs"]
mod support;
