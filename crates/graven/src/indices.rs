//! Indices and sizes as they are typed: `17`, and lists such as `3,17,90-120`.

use std::num::ParseIntError;

use graven_merkle::{LeafIndex, MAX_MULTI_INDICES, TreeSize};

/// Indices to prove together, strictly increasing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indices(pub(crate) Vec<LeafIndex>);

/// An index.
pub(crate) fn index(text: &str) -> Result<LeafIndex, String> {
    LeafIndex::new(number(text)?).ok_or_else(|| "an index is below 2^63 - 1".to_owned())
}

/// A tree size.
pub(crate) fn size(text: &str) -> Result<TreeSize, String> {
    TreeSize::new(number(text)?).ok_or_else(|| "a tree size is at most 2^63 - 1".to_owned())
}

/// A list of indices and ranges of them, both ends included.
pub(crate) fn list(text: &str) -> Result<Indices, String> {
    let mut indices: Vec<LeafIndex> = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first.trim())?, index(last.trim())?);
        if last < first {
            return Err(format!("{part} is reversed: write the smaller index first"));
        }
        if indices.last().is_some_and(|before| *before >= first) {
            return Err(format!("{part} is out of order: sort the indices and name each once"));
        }
        let room = u64::try_from(MAX_MULTI_INDICES - indices.len()).unwrap_or(0);
        if last.get() - first.get() >= room {
            return Err(format!("one proof covers at most {MAX_MULTI_INDICES} entries: ask for fewer"));
        }
        indices.extend((first.get()..=last.get()).filter_map(LeafIndex::new));
    }
    Ok(Indices(indices))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error: ParseIntError| format!("{text:?} is no index or size: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Vec<u64>, String> {
        list(text).map(|indices| indices.0.iter().map(|index| index.get()).collect())
    }

    #[test]
    fn lists_are_indices_and_ranges() {
        assert_eq!(listed("3").unwrap(), [3]);
        assert_eq!(listed("3,17, 90-93").unwrap(), [3, 17, 90, 91, 92, 93]);
        assert_eq!(listed("0-1023").unwrap().len(), 1024);
    }

    #[test]
    fn lists_are_sorted_bounded_and_made_of_numbers() {
        for (text, says) in [
            ("", "no index"),
            ("3,", "no index"),
            ("-3", "no index"),
            ("x", "no index"),
            ("5,5", "out of order"),
            ("9,3", "out of order"),
            ("3-9,9", "out of order"),
            ("9-3", "reversed"),
            ("0-1024", "at most 1024"),
            ("0-1023,2000", "at most 1024"),
            ("0-9223372036854775807", "below 2^63"),
        ] {
            let said = listed(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
