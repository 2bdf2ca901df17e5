//! plimsoll: the load line for a Docker host that carries paying tenants.
//!
//! One process per host reads container and cache metrics, evaluates Prometheus rule files in its
//! own memory, posts alerts to Alertmanager and asks the Control Plane, by signed webhook, to
//! restart a container or nudge a tenant.
//!
//! The modules stand in layers; each imports only from the ones above it in this list
//! (`tests/tidy.rs` checks it). Everything down to `engine` is pure: it takes `now` and events and
//! returns what to do, and never reads a clock, awaits, locks or touches a socket.
#![forbid(unsafe_code)]

pub mod base;
pub mod regex;

pub mod calendar;
pub mod exposition;
pub mod relabel;
pub mod window;
pub mod yaml;

pub mod promql;

pub mod audit;
pub mod containers;
pub mod outbox;
pub mod template;

pub mod rules;

pub mod alerts;

pub mod policy;

pub mod engine;

pub mod endpoint;
pub mod letter;
pub mod ruletest;
pub mod telemetry;

pub mod collector;
pub mod docker;
pub mod executor;
pub mod http;
pub mod journal;
pub mod ledger;
pub mod mail;
pub mod probe;
pub mod recorder;
pub mod scrape;
pub mod send;

pub mod app;
