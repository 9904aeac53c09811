//! The known word that a mistyped one was probably meant to be.

/// The known word with the fewest edits from `word`; `None` where even that one has more than a
/// third of its letters wrong. Upper and lower case are one.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let (edits, best) = known.into_iter().map(|one| (distance(&word, &one.to_lowercase()), one)).min_by_key(|(edits, _)| *edits)?;
    (edits <= best.len().div_ceil(3)).then_some(best)
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for letter in from.chars() {
        let mut row = vec![last.first().map_or(0, |first| first + 1)];
        for (place, other) in to.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
            let mut edits = (at(&last, place) + usize::from(letter != *other)).min(at(&last, place + 1) + 1).min(at(&row, place) + 1);
            let swapped = place > 0 && previous == Some(*other) && to.get(place - 1) == Some(&letter);
            if swapped {
                edits = edits.min(at(&before_last, place - 1) + 1);
            }
            row.push(edits);
        }
        before_last = std::mem::replace(&mut last, row);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        let known = ["url", "path", "directory", "label", "labelType", "sshPrivKey", "sshPassPhrase", "secret"];
        for (word, meant) in [
            ("ulr", "url"),
            ("directry", "directory"),
            ("labeltype", "labelType"),
            ("ssh_priv_key", "sshPrivKey"),
            ("sshPassphrase", "sshPassPhrase"),
            ("secrets", "secret"),
            ("pth", "path"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
        for word in ["", "webhook", "x"] {
            assert_eq!(nearest(word, known), None, "{word}");
        }
        assert_eq!(nearest("url", []), None);
    }

    #[test]
    fn the_distance_counts_edits() {
        for (from, to, edits) in [("", "", 0), ("a", "", 1), ("", "abc", 3), ("ulr", "url", 1), ("kitten", "sitting", 3), ("ab", "ba", 1)] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
