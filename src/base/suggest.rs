//! "Did you mean …?": the closest known word to one that was not known.

/// The candidate closest to `word`, if it is close enough to be worth saying: at most a third of
/// the word's letters differ (and at least one may); two neighbours that changed places count as one.
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

/// Characters that are missing, too many, others, or that changed places with their neighbour (the
/// distance of optimal string alignment), with the last three rows of the table.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, cb) in b.iter().enumerate() {
            let substitute = last[j] + usize::from(ca != cb);
            row[j + 1] = substitute.min(row[j] + 1).min(last[j + 1] + 1);
            let swapped = i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb;
            if swapped {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
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
        assert_eq!(closest("raet", known), Some("rate"));
        assert_eq!(closest("quantile", known), None);
        assert_eq!(closest("Hihg", ["Low", "High"]), Some("High"));
        assert_eq!(closest("ab", ["ba"]), Some("ba"));
        assert_eq!(closest("abc", ["cab"]), None);
        assert_eq!(closest("", known), None);
    }
}
