//! The rows of judgement's memory: every part of it reads and writes its own, told by their prefix.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{Change, Table};

/// The rows under a prefix, by the rest of their key, and which of them could not be read. Others are
/// skipped.
pub(super) fn read<T: DeserializeOwned>(
    prefix: &str,
    rows: impl IntoIterator<Item = Change>,
) -> (Vec<(String, T)>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for Change { table, key, value } in rows {
        let (Table::Guards, Some(value)) = (table, value) else { continue };
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        match serde_json::from_slice(&value) {
            Ok(value) => found.push((rest.to_owned(), value)),
            Err(error) => problems.push(format!("row {key} of table guards: {error}")),
        }
    }
    (found, problems)
}

/// A row; without a value it goes.
pub(super) fn row<T: Serialize + ?Sized>(prefix: &str, rest: &str, value: Option<&T>) -> Change {
    let write =
        |value: &T| serde_json::to_vec(value).expect("plain words and numbers always write");
    Change { table: Table::Guards, key: format!("{prefix}{rest}"), value: value.map(write) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_its_own_rows_and_tells_which_it_cannot() {
        let bad = Change { value: Some(b"?".to_vec()), ..row::<u32>("a/", "bad", None) };
        let other = Change { table: Table::Alerts, ..row("a/", "alert", Some(&1)) };
        let rows = [row("a/", "x", Some(&7)), row("b/", "y", Some(&8)), bad, other];
        let (found, problems) =
            read::<u32>("a/", rows.into_iter().chain([row::<u32>("a/", "gone", None)]));
        assert_eq!(found, [("x".to_owned(), 7)]);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.starts_with("row a/bad of table guards: "), "{problem}");
    }
}
