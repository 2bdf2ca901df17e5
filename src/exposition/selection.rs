//! Which metric names anything can read: the rest of a body is stepped over.

use crate::base::HashSet;
use crate::regex::Pattern;

/// What a family's sample names add to the family's own name.
const SUFFIXES: [&str; 6] = ["_bucket", "_sum", "_count", "_total", "_created", "_info"];

/// The metric names that are kept, compiled from the loaded rules and `window.keep`.
///
/// Names are those of the exposition, before relabelling. A [`super::SeriesCache`] must be
/// `reset` when the selection of its target changes.
#[derive(Clone, Debug)]
pub struct Selection {
    /// `None` keeps everything.
    only: Option<Only>,
}

#[derive(Clone, Debug)]
struct Only {
    names: HashSet<String>,
    /// The names, and each without its suffix: whose `# TYPE`, `# HELP` and `# UNIT` are kept.
    families: HashSet<String>,
    patterns: Vec<Pattern>,
}

impl Selection {
    /// Everything is kept.
    pub fn all() -> Selection {
        Selection { only: None }
    }

    /// These names are kept, and those a pattern matches.
    pub fn only(names: impl IntoIterator<Item = String>, patterns: Vec<Pattern>) -> Selection {
        let names: HashSet<String> = names.into_iter().collect();
        let mut families = names.clone();
        for name in &names {
            let bases = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
            families.extend(bases.map(str::to_owned));
        }
        Selection { only: Some(Only { names, families, patterns }) }
    }

    /// Whether samples of this name are kept.
    pub fn wants(&self, name: &str) -> bool {
        let Some(only) = &self.only else { return true };
        only.names.contains(name) || only.patterns.iter().any(|pattern| pattern.is_match(name))
    }

    /// Whether any sample of this family may be kept.
    pub(super) fn wants_family(&self, family: &str) -> bool {
        let Some(only) = &self.only else { return true };
        if only.families.contains(family) || self.wants(family) {
            return true;
        }
        // An allocation per metadata line, but only where patterns are in use.
        !only.patterns.is_empty()
            && SUFFIXES.iter().any(|suffix| {
                let name = format!("{family}{suffix}");
                only.patterns.iter().any(|pattern| pattern.is_match(&name))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_patterns_and_their_families() {
        let pattern = Pattern::new("m2_.*_bucket").expect("compiles");
        let names = ["up".to_owned(), "x_seconds_count".to_owned()];
        let selection = Selection::only(names, vec![pattern]);
        for (name, sample, family) in [
            ("up", true, true),
            ("x_seconds_count", true, true),
            ("x_seconds", false, true),
            ("x_seconds_sum", false, false),
            ("m2_a_bucket", true, true),
            ("m2_a", false, true),
            ("go_info", false, false),
        ] {
            assert_eq!(selection.wants(name), sample, "{name}");
            assert_eq!(selection.wants_family(name), family, "family {name}");
            assert!(Selection::all().wants(name) && Selection::all().wants_family(name));
        }
    }
}
