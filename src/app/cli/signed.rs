//! A query that begins with a sign: `plimsoll query -v --csv`.

use std::ffi::OsString;

use clap::CommandFactory;

use super::args::Args;

/// What was typed, with such a query behind `--` at the end, where it is not taken for an option.
pub fn queries_behind_dashes(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    if let Some(at) = signed_query(&words) {
        let query = words.remove(at);
        words.extend(["--".into(), query]);
    }
    words
}

/// Where the query stands, if it begins with a sign and the command is `query`.
fn signed_query(words: &[OsString]) -> Option<usize> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str());
    let mut at = 1;
    while let Some(option) = text(at).filter(|word| word.starts_with("--")) {
        at += if option == "--format" { 2 } else { 1 };
    }
    text(at).filter(|command| *command == "query")?;
    let args = Args::command();
    let query = args.find_subcommand("query")?;
    // Their values may begin with a sign too.
    let signed: Vec<&str> = query
        .get_arguments()
        .filter(|arg| arg.is_allow_hyphen_values_set())
        .filter_map(|arg| arg.get_long())
        .collect();
    at += 1;
    loop {
        let word = text(at)?;
        match word.strip_prefix('-') {
            Some("-") => return None,
            Some(name) if name.strip_prefix('-').is_some_and(|long| signed.contains(&long)) => {
                at += 2;
            }
            Some("" | "h" | "V") => at += 1,
            Some(rest) if !rest.starts_with('-') => return Some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_query_that_begins_with_one_sign_moves() {
        for (typed, want) in [
            ("p query -v", "p query -- -v"),
            ("p query -v --csv --dir d", "p query --csv --dir d -- -v"),
            ("p --format json query --time -5 -v", "p --format json query --time -5 -- -v"),
            ("p --format=json query --csv -1", "p --format=json query --csv -- -1"),
            ("p query -h", "p query -h"),
            ("p query -V", "p query -V"),
            ("p query -", "p query -"),
            ("p query --tiem 5 v", "p query --tiem 5 v"),
            ("p query --range -5m --step=-1 v", "p query --range -5m --step=-1 v"),
            ("p query --csv -- -v", "p query --csv -- -v"),
            ("p explain query -v", "p explain query -v"),
            ("p", "p"),
        ] {
            let words = queries_behind_dashes(typed.split(' ').map(OsString::from));
            assert_eq!(words.join(" ".as_ref()), want, "{typed}");
        }
    }
}
