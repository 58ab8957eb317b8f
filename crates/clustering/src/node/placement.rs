//! Where a new queue gets its home.
//!
//! Invariant: an exclusive queue lives on the node of its connection, whatever was asked for; a home is a
//! member that is up. A pure choice: load, reachability and chance come in as data.

use broker::catalog::{Catalog, Command};
use broker::policy;
use broker::queue::QueueKind;
use types::{FieldTable, FieldValue, NodeId};

/// How a home is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Locator {
    /// The node that the client is connected to.
    #[default]
    ClientLocal,
    /// The node with the fewest homes; from `BALANCED_UP_TO` queues on any node.
    Balanced,
    /// Any node.
    Random,
}

/// From so many queues on, balanced means random, as in RabbitMQ.
const BALANCED_UP_TO: usize = 1_000;

impl Locator {
    /// Reads RabbitMQ's words for it, those of 3.13 and those since.
    pub fn parse(word: &str) -> Option<Locator> {
        match word {
            "client-local" => Some(Locator::ClientLocal),
            "balanced" | "min-masters" | "least-leaders" => Some(Locator::Balanced),
            "random" => Some(Locator::Random),
            _ => None,
        }
    }
}

/// The keys of arguments, in the order in which they count.
const ARGUMENTS: [&str; 2] = ["x-queue-leader-locator", "x-queue-master-locator"];
/// The keys of policies.
const POLICY_KEYS: [&str; 2] = ["queue-leader-locator", "queue-master-locator"];

/// What a choice rests on besides the catalog.
pub struct Place {
    /// This node.
    pub me: NodeId,
    /// What holds where nothing else was said.
    pub default: Locator,
    /// Nodes that can be reached now, this one among them.
    pub reachable: Vec<NodeId>,
    /// Chance.
    pub random: u64,
}

impl Place {
    /// Gives a declare its home; other commands stay as they are.
    pub fn command(&self, command: Command, catalog: &Catalog) -> Command {
        let locator = match &command {
            Command::DeclareQueue { exclusive: true, .. } => Locator::ClientLocal,
            Command::DeclareQueue { vhost, name, arguments, .. } => {
                if catalog.vhost(vhost.as_str()).is_some_and(|vhost| vhost.queue(name.as_str()).is_some()) {
                    // It has its home; this one would not count.
                    Locator::ClientLocal
                } else {
                    self.locator(arguments, catalog, vhost.as_str(), name.as_str())
                }
            }
            Command::DeclareExchange { .. } => self.default,
            _ => return command,
        };
        Command::DeclareAt { home: self.home(locator, catalog), command: Box::new(command) }
    }

    fn locator(&self, arguments: &FieldTable, catalog: &Catalog, vhost: &str, name: &str) -> Locator {
        let word = |table: &FieldTable, keys: &[&str]| {
            let found =
                keys.iter().find_map(|key| table.get(key).and_then(FieldValue::as_text).map(str::to_owned));
            found.and_then(|word| Locator::parse(&word))
        };
        let of_policy = || {
            let is_quorum = arguments.get("x-queue-type").and_then(FieldValue::as_text) == Some("quorum");
            let kind = if is_quorum { QueueKind::Quorum } else { QueueKind::Classic };
            let policies = &catalog.vhost(vhost)?.policies;
            let policy = policy::best(policies, |policy| policy.applies_to_queue(kind, name))?;
            word(&policy.definition, &POLICY_KEYS)
        };
        word(arguments, &ARGUMENTS).or_else(of_policy).unwrap_or(self.default)
    }

    fn home(&self, locator: Locator, catalog: &Catalog) -> NodeId {
        let up = |id: &&NodeId| catalog.is_up(**id);
        let nodes: Vec<NodeId> = self.reachable.iter().filter(up).copied().collect();
        let count = catalog.vhosts.values().map(|vhost| vhost.queues.len()).sum::<usize>();
        let any =
            || usize::try_from(self.random).ok().and_then(|at| nodes.get(at % nodes.len().max(1))).copied();
        let chosen = match locator {
            Locator::ClientLocal => Some(self.me),
            Locator::Balanced if count < BALANCED_UP_TO => {
                let homes = |node: &NodeId| catalog.homes().filter(|(_, home)| home == node).count();
                // Of equals the client's own.
                nodes.iter().copied().min_by_key(|node| (homes(node), *node != self.me))
            }
            Locator::Balanced | Locator::Random => any(),
        };
        chosen.unwrap_or(self.me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::catalog::Node;
    use types::ConnectionId;

    fn catalog(homes: &[u64]) -> Catalog {
        let mut catalog = Catalog::new();
        let node = |id: u64| Node {
            id: NodeId(id),
            name: format!("n{id}"),
            addr: String::new(),
            boot: id,
            up: id != 4,
            feature_level: 1,
        };
        let vhost = Command::AddVhost {
            name: "/".into(),
            description: String::new(),
            tags: vec![],
            default_queue_type: None,
        };
        let mut apply = |command| drop(catalog.apply(command, &mut Vec::new()).unwrap());
        apply(vhost);
        apply(Command::FormCluster { cluster: 1, node: node(1) });
        (2..=4).for_each(|id| apply(Command::PutNode { node: node(id) }));
        for (at, home) in homes.iter().enumerate() {
            let command = Box::new(queue(&format!("q{at}"), FieldTable::new(), false));
            apply(Command::DeclareAt { home: NodeId(*home), command });
        }
        catalog
    }

    fn queue(name: &str, arguments: FieldTable, exclusive: bool) -> Command {
        Command::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            server_named: false,
            durable: true,
            auto_delete: false,
            exclusive,
            connection: ConnectionId(1),
            arguments,
            user: "u".into(),
        }
    }

    fn home(place: &Place, catalog: &Catalog, arguments: FieldTable, exclusive: bool) -> u64 {
        match place.command(queue("new", arguments, exclusive), catalog) {
            Command::DeclareAt { home, .. } => home.0,
            other => panic!("{other:?}"),
        }
    }

    fn asking(key: &str, word: &str) -> FieldTable {
        let mut arguments = FieldTable::new();
        arguments.insert(key, FieldValue::text(word));
        arguments
    }

    fn place(default: Locator, random: u64) -> Place {
        Place { me: NodeId(2), default, reachable: [1, 2, 3, 4].map(NodeId).to_vec(), random }
    }

    #[test]
    fn arguments_go_before_policies_before_the_default() {
        let mut catalog = catalog(&[2, 2, 1]);
        let local = place(Locator::ClientLocal, 0);
        assert_eq!(home(&local, &catalog, FieldTable::new(), false), 2);
        assert_eq!(home(&local, &catalog, asking("x-queue-master-locator", "min-masters"), false), 3);
        let policy = Command::SetPolicy {
            vhost: "/".into(),
            name: "p".into(),
            pattern: "^new".into(),
            apply_to: "all".into(),
            priority: 0,
            // RabbitMQ takes queue-leader-locator in a policy for quorum queues only.
            definition: asking("queue-master-locator", "min-masters"),
            operator: false,
        };
        catalog.apply(policy, &mut Vec::new()).unwrap();
        assert_eq!(home(&local, &catalog, FieldTable::new(), false), 3);
        assert_eq!(home(&local, &catalog, asking("x-queue-leader-locator", "client-local"), false), 2);
        assert_eq!(home(&local, &catalog, FieldTable::new(), true), 2, "exclusive queues stay");
    }

    #[test]
    fn only_nodes_that_are_up_and_reachable_are_chosen() {
        let catalog = catalog(&[1, 2, 3]);
        let all: std::collections::BTreeSet<u64> = (0..30)
            .map(|random| home(&place(Locator::Random, random), &catalog, FieldTable::new(), false))
            .collect();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [1, 2, 3], "4 is down");
        let alone = Place { reachable: vec![], ..place(Locator::Random, 7) };
        assert_eq!(home(&alone, &catalog, FieldTable::new(), false), 2);
    }

    #[test]
    fn a_queue_that_is_there_keeps_what_it_has() {
        let catalog = catalog(&[3]);
        let again = place(Locator::Random, 0).command(queue("q0", FieldTable::new(), false), &catalog);
        assert!(matches!(again, Command::DeclareAt { home: NodeId(2), .. }));
        let other = Command::Restart;
        assert_eq!(place(Locator::Random, 0).command(other.clone(), &catalog), other);
    }
}
