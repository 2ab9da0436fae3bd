//! A table of bounded size that forgets what was touched longest ago.

use std::collections::{BTreeMap, BTreeSet};

/// A row that was touched at most so many leaves ago is not moved again: it costs more than a look, and changes little.
const FRESH_LEAVES: u64 = 1024;

/// At most `MOST` rows, each with the index of the leaf that touched it, to within [`FRESH_LEAVES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recent<K: Ord, V, const MOST: usize> {
    rows: BTreeMap<K, (u64, V)>,
    by_age: BTreeSet<(u64, K)>,
}

impl<K: Ord, V, const MOST: usize> Default for Recent<K, V, MOST> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), by_age: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, V, const MOST: usize> Recent<K, V, MOST> {
    pub(super) const MOST: usize = MOST;

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.rows.get(&key).map(|(_, value)| value)
    }

    /// The row of a key, touched; a new one where there is none. Whether it was there.
    pub(super) fn touch(&mut self, index: u64, key: K) -> (&mut V, bool)
    where
        V: Default,
    {
        let is_known = self.rows.contains_key(&key);
        if !is_known {
            self.make_room();
            self.by_age.insert((index, key));
        }
        let (touched, value) = self.rows.entry(key).or_insert_with(|| (index, V::default()));
        if index.saturating_sub(*touched) > FRESH_LEAVES {
            self.by_age.remove(&(*touched, key));
            self.by_age.insert((index, key));
            *touched = index;
        }
        (value, is_known)
    }

    pub(super) fn remove_where(&mut self, is_unwanted: impl Fn(&K) -> bool) {
        self.rows.retain(|key, _| !is_unwanted(key));
        self.by_age.retain(|(_, key)| !is_unwanted(key));
    }

    /// All rows, by key, with what touched them.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (&K, u64, &V)> {
        self.rows.iter().map(|(key, (touched, value))| (key, *touched, value))
    }

    /// Puts back a row of [`rows`](Self::rows).
    pub(super) fn put_back(&mut self, key: K, touched: u64, value: V) {
        self.by_age.insert((touched, key));
        self.rows.insert(key, (touched, value));
    }

    fn make_room(&mut self) {
        if self.rows.len() >= MOST
            && let Some((_, key)) = self.by_age.pop_first()
        {
            self.rows.remove(&key);
        }
    }
}
