//! The modules of plimsoll that read what others wrote, compiled for the fuzz targets.
//!
//! They are the files of the package above, mounted one by one: all are pure, and without the HTTP
//! stack, TLS and the journal the instrumented build is ready in a minute. The name is the real
//! one, so targets and what they share with the tests say `plimsoll::` as everyone does.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the modules that are not here use more of these")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/regex/mod.rs"]
pub mod regex;

#[path = "../../src/exposition/mod.rs"]
pub mod exposition;
#[path = "../../src/relabel/mod.rs"]
pub mod relabel;
#[path = "../../src/window/mod.rs"]
pub mod window;
#[path = "../../src/yaml/mod.rs"]
pub mod yaml;

#[path = "../../src/promql/mod.rs"]
pub mod promql;

#[path = "../../src/template/mod.rs"]
pub mod template;

#[path = "../../src/rules/mod.rs"]
pub mod rules;
