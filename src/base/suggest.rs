//! "Did you mean …?": the closest known word to one that was not known.

/// The candidate closest to `word`, if it is close enough to be worth saying: at most a third of
/// the word's letters differ (and at least one may), by Damerau-free Levenshtein distance.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 3).max(1);
    // As many letters differ as one has more: a word of a megabyte is compared with nothing.
    let near = |candidate: &&str| candidate.chars().count().abs_diff(length) <= limit;
    candidates
        .into_iter()
        .filter(near)
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["rate", "irate", "delta", "scrape_interval"];
        assert_eq!(closest("rat", known), Some("rate"));
        assert_eq!(closest("RATE", known), Some("rate"));
        assert_eq!(closest("scrape_intervall", known), Some("scrape_interval"));
        assert_eq!(closest("quantile", known), None);
        assert_eq!(closest("", known), None);
    }
}
