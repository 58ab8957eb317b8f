//! Facts: what nodes tell of themselves that may be a moment old.
//!
//! Each node tells its own facts only, with a version; others keep the newest version and pass it on. What got
//! lost is found by comparing digests, so all nodes end with the same facts.
//!
//! Invariant: facts never become older, and facts of a process that is gone are not shown for the one after it.

use super::wire::{FactItem, FactVersion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::limits::GOSSIP_FACTS_MAX_BYTES;

/// The form of the facts' bytes; later forms may append fields.
const FORM: u8 = 1;

/// What a node tells of itself, soft: it may be a moment old.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Publishers are blocked for want of memory.
    pub memory_alarm: bool,
    /// Publishers are blocked for want of room on the disk.
    pub disk_alarm: bool,
    /// Clients' connections.
    pub connections: u32,
    /// Queues it knows of.
    pub queues: u32,
    /// Queues it is the home of.
    pub homes: u32,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
    /// Room on its disk, bytes.
    pub disk_free_bytes: u64,
    /// The version of the catalog it has applied.
    pub catalog_version: u64,
    /// The highest feature level it knows.
    pub feature_level: u32,
    /// Where it serves AMQP.
    pub amqp_addr: String,
    /// Where it serves HTTP.
    pub http_addr: String,
    /// When its process was started, seconds of the Unix time.
    pub started_s: u64,
    /// It serves clients.
    pub ready: bool,
}

impl NodeFacts {
    /// The bytes that are spread.
    ///
    /// # Errors
    /// When they are too long: only its addresses can make them so.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let bytes = postcard::to_extend(self, vec![FORM]).map_err(|error| format!("facts: {error}"))?;
        if bytes.len() > GOSSIP_FACTS_MAX_BYTES {
            return Err(format!(
                "facts of this node have {} bytes, more than {GOSSIP_FACTS_MAX_BYTES}: shorten amqp_addr ('{}') or \
                 http_addr ('{}')",
                bytes.len(),
                self.amqp_addr,
                self.http_addr
            ));
        }
        Ok(bytes)
    }

    /// Reads what a node spread; none when it is of a form that this build does not know.
    fn decode(bytes: &[u8]) -> Option<NodeFacts> {
        let (&FORM, rest) = bytes.split_first()? else { return None };
        postcard::take_from_bytes(rest).ok().map(|(facts, _appended)| facts)
    }
}

/// One node's facts: as they travel, and read.
struct Known {
    item: FactItem,
    facts: Option<NodeFacts>,
}

/// The newest facts of all nodes, this one included.
#[derive(Default)]
pub(crate) struct FactStore(BTreeMap<u64, Known>);

impl FactStore {
    /// Keeps an item when it is newer than what is known.
    pub fn take(&mut self, item: FactItem) -> bool {
        if self.0.get(&item.node).is_some_and(|known| known.item.version >= item.version) {
            return false;
        }
        let facts = NodeFacts::decode(&item.bytes);
        self.0.insert(item.node, Known { item, facts });
        true
    }

    /// The facts of a node's process.
    pub fn of(&self, node: u64, boot: u64) -> Option<&NodeFacts> {
        self.0.get(&node).filter(|known| known.item.boot == boot)?.facts.as_ref()
    }

    /// A node's facts as they travel.
    pub fn item(&self, node: u64) -> Option<&FactItem> {
        self.0.get(&node).map(|known| &known.item)
    }

    /// How new a node's facts are.
    pub fn version(&self, node: u64) -> Option<FactVersion> {
        self.item(node).map(|item| item.version)
    }

    /// What is known of whom.
    pub fn versions(&self) -> Vec<(u64, FactVersion)> {
        self.0.values().map(|known| (known.item.node, known.item.version)).collect()
    }

    /// Drops a node's facts.
    pub fn forget(&mut self, node: u64) {
        self.0.remove(&node);
    }

    /// What somebody with this digest does not have.
    pub fn newer_than(&self, have: &[(u64, FactVersion)], complete: bool) -> Vec<FactItem> {
        let have: BTreeMap<u64, FactVersion> = have.iter().copied().collect();
        let is_news = |item: &&FactItem| match have.get(&item.node) {
            Some(version) => *version < item.version,
            None => complete,
        };
        self.0.values().map(|known| &known.item).filter(is_news).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(node: u64, boot: u64, born: u64, count: u64, facts: &NodeFacts) -> FactItem {
        FactItem { node, boot, version: FactVersion { born, count }, bytes: facts.encode().unwrap() }
    }

    fn with_queues(queues: u32) -> NodeFacts {
        NodeFacts { queues, amqp_addr: "127.0.0.1:5672".to_owned(), ready: true, ..NodeFacts::default() }
    }

    #[test]
    fn newer_facts_stay_whatever_comes_later() {
        let mut store = FactStore::default();
        assert!(store.take(item(1, 7, 100, 2, &with_queues(2))));
        assert!(!store.take(item(1, 7, 100, 1, &with_queues(1))), "older");
        assert!(!store.take(item(1, 7, 100, 2, &with_queues(9))), "the same version");
        assert_eq!(store.of(1, 7), Some(&with_queues(2)));
        assert!(store.take(item(1, 8, 200, 1, &with_queues(5))), "the next process");
        assert!(!store.take(item(1, 7, 100, 3, &with_queues(3))), "the process before");
        assert_eq!(store.of(1, 8), Some(&with_queues(5)));
        assert_eq!(store.of(1, 7), None);
    }

    #[test]
    fn a_digest_tells_what_is_missing() {
        let mut store = FactStore::default();
        for node in 1..=3 {
            store.take(item(node, 1, 100, node, &with_queues(1)));
        }
        let nodes = |items: Vec<FactItem>| items.iter().map(|item| item.node).collect::<Vec<_>>();
        assert_eq!(nodes(store.newer_than(&[], true)), [1, 2, 3]);
        assert_eq!(nodes(store.newer_than(&store.versions(), true)), [0; 0]);
        let have = [(2, FactVersion { born: 100, count: 1 }), (3, FactVersion { born: 100, count: 9 })];
        assert_eq!(nodes(store.newer_than(&have, true)), [1, 2]);
        assert_eq!(nodes(store.newer_than(&have, false)), [2], "the digest did not name all");
        store.forget(2);
        assert_eq!(nodes(store.newer_than(&have, false)), [0; 0]);
    }

    #[test]
    fn facts_of_later_builds_are_read_and_of_unknown_forms_are_passed_on() {
        let mut store = FactStore::default();
        let mut longer = item(1, 1, 100, 1, &with_queues(4));
        longer.bytes.extend_from_slice(b"appended");
        assert!(store.take(longer.clone()));
        assert_eq!(store.of(1, 1), Some(&with_queues(4)));
        let unknown =
            FactItem { version: FactVersion { born: 100, count: 2 }, bytes: vec![FORM + 1, 3], ..longer };
        assert!(store.take(unknown.clone()));
        assert_eq!(store.of(1, 1), None);
        assert_eq!(store.item(1), Some(&unknown));
    }

    #[test]
    fn facts_that_are_too_long_are_refused_with_their_key() {
        let long = NodeFacts { http_addr: "h".repeat(GOSSIP_FACTS_MAX_BYTES), ..NodeFacts::default() };
        let why = long.encode().unwrap_err();
        assert!(why.contains("http_addr") && why.contains("more than 600"), "{why}");
    }

    #[test]
    fn the_form_of_facts_stays() {
        let facts = NodeFacts {
            memory_alarm: true,
            connections: 300,
            memory_bytes: 1 << 40,
            http_addr: "h:1".to_owned(),
            started_s: 1_800_000_000,
            ..with_queues(7)
        };
        let text: String = facts.encode().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            text,
            "010100ac0207008080808080200000000e3132372e302e302e313a3536373203683a3180a4a7da0601"
        );
    }
}
