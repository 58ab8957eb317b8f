//! A sorted map that is small while it holds little.
//!
//! Invariant: keys are unique and iterate in order. Up to `FEW_COUNT_MAX` entries stand in one vector,
//! more in a tree that shares its structure with its clones; a tree's smallest node alone would cost
//! more than a kilobyte, and a topic trie has a map in every node.

use imbl::OrdMap;
use std::borrow::Borrow;

const FEW_COUNT_MAX: usize = 24;

#[derive(Clone, Debug)]
pub(crate) enum CompactMap<K: Ord, V> {
    Few(Vec<(K, V)>),
    Many(OrdMap<K, V>),
}

impl<K: Ord + Clone, V: Clone> CompactMap<K, V> {
    pub(crate) fn new() -> CompactMap<K, V> {
        CompactMap::Few(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            CompactMap::Few(entries) => entries.is_empty(),
            CompactMap::Many(entries) => entries.is_empty(),
        }
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            CompactMap::Few(entries) => {
                let at = entries.binary_search_by(|(own, _)| own.borrow().cmp(key)).ok()?;
                Some(&entries[at].1)
            }
            CompactMap::Many(entries) => entries.get(key),
        }
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            CompactMap::Few(entries) => {
                let at = entries.binary_search_by(|(own, _)| own.borrow().cmp(key)).ok()?;
                Some(&mut entries[at].1)
            }
            CompactMap::Many(entries) => entries.get_mut(key),
        }
    }

    /// The value under `key`, put there first if there was none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        if let CompactMap::Few(entries) = self
            && entries.len() == FEW_COUNT_MAX
            && entries.binary_search_by(|(own, _)| own.cmp(&key)).is_err()
        {
            *self = CompactMap::Many(entries.drain(..).collect());
        }
        match self {
            CompactMap::Few(entries) => {
                let at = match entries.binary_search_by(|(own, _)| own.cmp(&key)) {
                    Ok(at) => at,
                    Err(at) => {
                        entries.insert(at, (key, value()));
                        at
                    }
                };
                &mut entries[at].1
            }
            CompactMap::Many(entries) => entries.entry(key).or_insert_with(value),
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        match self {
            CompactMap::Few(entries) => {
                if let Ok(at) = entries.binary_search_by(|(own, _)| own.borrow().cmp(key)) {
                    entries.remove(at);
                }
            }
            CompactMap::Many(entries) => {
                entries.remove(key);
            }
        }
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        match self {
            CompactMap::Few(entries) => entries.iter().for_each(|(key, value)| visit(key, value)),
            CompactMap::Many(entries) => entries.iter().for_each(|(key, value)| visit(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_change_of_form() {
        let mut map = CompactMap::new();
        for key in (0..100u32).rev() {
            *map.get_or_insert_with(key, || 0) += key;
            *map.get_or_insert_with(key, || 0) += 1;
        }
        assert!(matches!(map, CompactMap::Many(_)));
        assert_eq!(map.get(&7), Some(&8));
        for key in 0..99 {
            map.remove(&key);
        }
        let mut left = Vec::new();
        map.for_each(|key, value| left.push((*key, *value)));
        assert_eq!(left, [(99, 100)]);
        map.remove(&99);
        assert!(map.is_empty() && map.get_mut(&99).is_none());
    }
}
