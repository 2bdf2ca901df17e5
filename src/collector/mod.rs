//! The collector: this host's containers measured with our own eyes, straight from their cgroups.
//!
//! cAdvisor is the heaviest part of this kind of monitoring, looks away for up to 89 seconds and
//! misses what happens in between. Here a container costs a handful of `pread`s a cycle, two while it
//! does nothing (`kept`), and one a second in between for the peaks, a third as often while it does
//! nothing; names, labels and meaning of the series are cAdvisor's, so
//! rules and dashboards work on either. Both versions of cgroups, every driver, rootless and nested
//! layouts. Who the containers are is Docker's to say (`containers::Inventory`); without Docker they
//! go by their ids.
//!
//! What is parsed and how is pure (`sources`, `figures`, `columns`); reading is thin (`files`,
//! `tree`, `tracked`). It never writes, never enters a container, never asks Docker anything, and
//! shows no figure it does not know.

mod choice;
mod collect;
mod columns;
mod config;
mod failure;
mod figures;
mod files;
mod handle;
mod host;
mod inbox;
mod kept;
mod kills;
mod life;
mod machine;
mod naming;
mod parse;
mod place;
mod series;
mod sources;
mod tracked;
mod tree;
mod unseen;
mod whereabouts;

pub use collect::{Collector, Effort, Settings};
pub use config::CollectorConfig;
pub use handle::Handle;
pub use host::CollectError;
