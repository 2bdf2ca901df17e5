//! YAML with positions: a spanned tree, readers over it, and every problem at once.
//!
//! Configuration and rule files are written by people in a hurry, so a file is read to its end and
//! each problem names file, line, column and, where there is one, the word that was meant. A serde
//! layer would stop at the first error and forget where a value stood; this reads the parser's
//! events into [`Node`]s and lets each component take its own keys with [`Fields`].
//!
//! Scalars stay the text that was written: `1.10` in a label map is `1.10`. Nothing here opens a
//! file or knows any component's keys.
//!
//! ```
//! use plimsoll::yaml::{Cursor, Fields, Problems, parse, read};
//!
//! let mut problems = Problems::default();
//! let node = parse("a.yml", "interval: 5s\nlimt: 3\n", &mut problems).expect("reads");
//! let mut fields = Fields::open(Cursor::root("a.yml", &node, &mut problems)).expect("a map");
//! let interval = fields.optional("interval", read::duration);
//! let limit = fields.optional("limit", read::integer::<u32>);
//! fields.finish();
//! assert_eq!((interval.map(|d| d.as_secs()), limit), (Some(5), None));
//! assert_eq!(
//!     problems.to_string(),
//!     "a.yml:2:1: unknown key `limt`; did you mean `limit`?\n"
//! );
//! ```

mod fields;
mod node;
mod parse;
mod problem;
pub mod read;

pub use fields::{Cursor, Fields};
pub use node::{Key, Kind, Node, Position, Scalar};
pub use parse::parse;
pub use problem::{Level, Problem, Problems};
