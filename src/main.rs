//! argv in, exit code out; everything else is in the library.
#![forbid(unsafe_code)]

fn main() {}
