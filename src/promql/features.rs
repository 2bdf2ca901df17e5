//! What is switched on beyond Prometheus's defaults, by Prometheus's names of feature flags.

use super::parser::ParseOptions;

/// Which features are on; by default none, as in Prometheus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// `promql-experimental-functions`: functions, aggregations and modifiers that may change.
    pub experimental_functions: bool,
    /// `promql-delayed-name-removal`: metric names go at the end of a query instead of at once.
    pub delayed_name_removal: bool,
}

impl Features {
    /// What a query may be written with.
    pub fn parsing(self) -> ParseOptions {
        ParseOptions { experimental_functions: self.experimental_functions }
    }

    /// What either has switched on.
    pub fn or(self, other: Features) -> Features {
        Features {
            experimental_functions: self.experimental_functions || other.experimental_functions,
            delayed_name_removal: self.delayed_name_removal || other.delayed_name_removal,
        }
    }
}
