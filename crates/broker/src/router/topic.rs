//! Topic bindings as a trie of words: `*` is one word, `#` any number of them.
//!
//! Invariant: no node is without targets and children, except the root. Nodes are shared between clones;
//! a change copies the path to it. Matching walks all places of the trie at once, word by word, so many
//! `#` cost a sum and not a product.
//!
//! Words are what stands between dots; they may be empty. The empty key has no word at all.

use super::compact_map::CompactMap;
use super::target::{Target, Targets};
use std::sync::Arc;

type Word = Arc<[u8]>;

#[derive(Clone, Debug)]
pub(crate) struct TopicTrie {
    root: Arc<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    literal: CompactMap<Word, Arc<Node>>,
    star: Option<Arc<Node>>,
    hash: Option<Arc<Node>>,
    /// Reached by `#`, so further words change nothing.
    is_hash: bool,
    targets: Targets,
}

impl Node {
    fn new(is_hash: bool) -> Arc<Node> {
        Arc::new(Node {
            literal: CompactMap::new(),
            star: None,
            hash: None,
            is_hash,
            targets: Targets::new(),
        })
    }

    fn is_bare(&self) -> bool {
        self.targets.is_empty() && self.literal.is_empty() && self.star.is_none() && self.hash.is_none()
    }

    /// The child for `word` of a binding key, added if it is not there.
    fn child(&mut self, word: &[u8]) -> &mut Arc<Node> {
        match word {
            b"*" => self.star.get_or_insert_with(|| Node::new(false)),
            b"#" => self.hash.get_or_insert_with(|| Node::new(true)),
            _ => self.literal.get_or_insert_with(word.into(), || Node::new(false)),
        }
    }
}

fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let absent = if key.is_empty() { 1 } else { 0 };
    key.split(|&byte| byte == b'.').skip(absent)
}

/// The words of a binding key; `#.#` means what `#` means.
fn pattern_words(key: &[u8]) -> Vec<&[u8]> {
    let mut list: Vec<&[u8]> = words(key).collect();
    list.dedup_by(|a, b| *a == b"#" && *b == b"#");
    list
}

impl TopicTrie {
    pub(crate) fn new() -> TopicTrie {
        TopicTrie { root: Node::new(false) }
    }

    pub(crate) fn insert(&mut self, pattern: &[u8], target: &Target) {
        let mut node = &mut self.root;
        for word in pattern_words(pattern) {
            node = Arc::make_mut(node).child(word);
        }
        Arc::make_mut(node).targets.add(target);
    }

    pub(crate) fn remove(&mut self, pattern: &[u8], target: &Target) {
        remove_below(&mut self.root, &pattern_words(pattern), target);
    }

    /// Shows every target whose pattern fits `key`; one may come more than once.
    pub(crate) fn each_match(&self, key: &[u8], mut visit: impl FnMut(&Target)) {
        let mut here: Vec<&Node> = Vec::new();
        enter(&self.root, &mut here);
        let mut next = Vec::new();
        for word in words(key) {
            for node in here.drain(..) {
                if node.is_hash {
                    enter(node, &mut next);
                }
                if let Some(child) = node.literal.get(word) {
                    enter(child, &mut next);
                }
                if let Some(child) = &node.star {
                    enter(child, &mut next);
                }
            }
            // A `#` is reached from before it and from itself: once is enough. The order of addresses
            // shows nowhere, since the router sorts what it found.
            next.sort_unstable_by_key(|node| std::ptr::from_ref::<Node>(node) as usize);
            next.dedup_by_key(|node| std::ptr::from_ref::<Node>(node) as usize);
            std::mem::swap(&mut here, &mut next);
        }
        for node in here {
            node.targets.for_each(|target, _| visit(target));
        }
    }
}

/// Adds `node` to the places reached, and what a `#` after it reaches with no word.
fn enter<'a>(node: &'a Node, reached: &mut Vec<&'a Node>) {
    reached.push(node);
    if let Some(hash) = &node.hash {
        // Patterns hold no `#.#`, so this ends here.
        reached.push(hash);
    }
}

fn remove_below(node: &mut Arc<Node>, words: &[&[u8]], target: &Target) {
    let node = Arc::make_mut(node);
    let Some((&word, rest)) = words.split_first() else {
        node.targets.take(target);
        return;
    };
    let child = match word {
        b"*" => node.star.as_mut(),
        b"#" => node.hash.as_mut(),
        _ => node.literal.get_mut(word),
    };
    let Some(child) = child else { return };
    remove_below(child, rest, target);
    if child.is_bare() {
        match word {
            b"*" => node.star = None,
            b"#" => node.hash = None,
            _ => node.literal.remove(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use types::QueueId;

    /// The definition itself, tried in every way.
    fn fits(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&b"#", rest)) => (0..=key.len()).any(|skip| fits(rest, &key[skip..])),
            Some((&b"*", rest)) => !key.is_empty() && fits(rest, &key[1..]),
            Some((word, rest)) => key.first() == Some(word) && fits(rest, &key[1..]),
        }
    }

    fn naive(pattern: &str, key: &str) -> bool {
        let pattern: Vec<&[u8]> = words(pattern.as_bytes()).collect();
        let key: Vec<&[u8]> = words(key.as_bytes()).collect();
        fits(&pattern, &key)
    }

    fn matches(trie: &TopicTrie, key: &str) -> Vec<u64> {
        let mut found = Vec::new();
        trie.each_match(key.as_bytes(), |target| {
            if let Target::Queue(id) = target {
                found.push(id.0);
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn words_may_be_empty_and_the_empty_key_has_none() {
        for (pattern, key, fits) in [
            ("", "", true),
            ("#", "", true),
            ("*", "", false),
            ("*", "a", true),
            ("*.*", ".", true),
            ("*", ".", false),
            ("#", "..", true),
            ("a.#", "a", true),
            ("a.#", "a.", true),
            ("#.b.#.c", "b.b.x.c", true),
            ("#.#", "x", true),
            ("a*", "ab", false),
            ("a*", "a*", true),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
        ] {
            let mut trie = TopicTrie::new();
            trie.insert(pattern.as_bytes(), &Target::Queue(QueueId(1)));
            assert_eq!(!matches(&trie, key).is_empty(), fits, "{pattern:?} {key:?}");
            assert_eq!(naive(pattern, key), fits, "naive {pattern:?} {key:?}");
        }
    }

    #[test]
    fn many_hashes_stay_cheap() {
        let mut trie = TopicTrie::new();
        let pattern = ["#", "a"].repeat(60).join(".");
        trie.insert(pattern.as_bytes(), &Target::Queue(QueueId(1)));
        assert!(matches(&trie, &["a"; 120].join(".")) == [1]);
        assert!(matches(&trie, &["a"; 59].join(".")).is_empty());
    }

    fn key_text() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#", ""]), 0..6)
            .prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_the_definition_finds(
            patterns in prop::collection::vec(key_text(), 1..12),
            removed in prop::collection::vec(any::<bool>(), 12),
            key in key_text(),
        ) {
            let mut trie = TopicTrie::new();
            for (id, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern.as_bytes(), &Target::Queue(QueueId(id as u64)));
            }
            let before = trie.clone();
            let all: Vec<u64> = (0..patterns.len() as u64).filter(|&id| naive(&patterns[id as usize], &key)).collect();
            for (id, pattern) in patterns.iter().enumerate().filter(|(id, _)| removed[*id]) {
                trie.remove(pattern.as_bytes(), &Target::Queue(QueueId(id as u64)));
            }
            let kept: Vec<u64> = all.iter().copied().filter(|&id| !removed[id as usize]).collect();
            prop_assert_eq!(matches(&before, &key), all);
            prop_assert_eq!(matches(&trie, &key), kept);
            for (id, pattern) in patterns.iter().enumerate().filter(|(id, _)| !removed[*id]) {
                trie.remove(pattern.as_bytes(), &Target::Queue(QueueId(id as u64)));
            }
            prop_assert!(trie.root.is_bare());
        }
    }
}
