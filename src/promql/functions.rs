//! The table of PromQL's functions: name, what goes in, what comes out.
//!
//! Only signatures stand here, for the parser and the completions; what each does is in
//! [`super::eval`], found by name.

use super::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function's signature.
#[derive(PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name, in lower case.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// Optional arguments at the end: 0 none, n up to n, -1 the last may be repeated.
    pub variadic: i8,
    /// What it yields.
    pub returns: ValueType,
    /// Behind the option for experimental functions.
    pub experimental: bool,
}

/// The function of that name; names are case-sensitive.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const fn stable(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i8,
    returns: ValueType,
) -> Function {
    Function { name, args, variadic, returns, experimental: false }
}

/// Every function, in alphabetical order (`promql/parser/functions.go` of 3.14).
pub static FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], 0, Vector),
    stable("absent", &[Vector], 0, Vector),
    stable("label_replace", &[Vector, String, String, String, String], 0, Vector),
    stable("rate", &[Matrix], 0, Vector),
    stable("time", &[], 0, Scalar),
];
