//! The difference of two catalogs, against what was told on the way from the one to the other.

mod catalog;

use broker::catalog::{Binding, Catalog, Command, Event};
use catalog::any::{any_beginning, any_command};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What one knows who only hears events.
#[derive(Clone, Debug, Default, PartialEq)]
struct Hearsay {
    vhosts: BTreeSet<String>,
    /// The queue's row, without what changes untold, by id.
    queues: BTreeMap<u64, String>,
    /// By vhost and name; predeclared ones are not told.
    exchanges: BTreeMap<(String, String), String>,
    bindings: BTreeSet<(String, String)>,
    users: BTreeSet<String>,
}

fn told_exchange(row: &broker::catalog::Exchange) -> Option<((String, String), String)> {
    let key = (row.vhost.to_string(), row.name.to_string());
    let text = format!("{:?} {:?} {:?} {}", row.kind, row.arguments, row.holding, row.durable);
    (!row.name.as_str().is_empty() && !row.name.as_str().starts_with("amq.")).then_some((key, text))
}

fn told_binding(binding: &Binding) -> String {
    format!("{binding:?}")
}

impl Hearsay {
    /// All there is to know.
    fn of(catalog: &Catalog) -> Hearsay {
        let mut known = Hearsay {
            users: catalog.users.keys().map(ToString::to_string).collect(),
            vhosts: catalog.vhosts.keys().map(ToString::to_string).collect(),
            ..Hearsay::default()
        };
        for vhost in catalog.vhosts.values() {
            let name = vhost.name.to_string();
            known.queues.extend(vhost.queues.values().map(|row| (row.id.0, format!("{row:?}"))));
            known.exchanges.extend(vhost.exchanges.values().filter_map(|row| told_exchange(row)));
            known.bindings.extend(vhost.bindings().map(|row| (name.clone(), told_binding(&row))));
        }
        known
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::VhostAdded(name) => assert!(self.vhosts.insert(name.to_string())),
            Event::VhostDeleted(name) => {
                assert!(self.vhosts.remove(&name.to_string()));
                let left = |row: &(String, String)| row.0 == name.as_str();
                assert!(!self.bindings.iter().any(left) && !self.exchanges.keys().any(left));
            }
            Event::QueueDeclared(row) => {
                assert_eq!(self.queues.insert(row.id.0, format!("{row:?}")), None, "declared twice");
            }
            Event::QueueConfigured(row)
            | Event::CopiesChanged(row)
            | Event::QueueMoved { queue: row, .. } => {
                let before = self.queues.insert(row.id.0, format!("{row:?}"));
                assert!(before.is_some(), "configured before it was declared");
            }
            Event::QueueDeleted(row) => assert!(self.queues.remove(&row.id.0).is_some(), "deleted twice"),
            Event::ExchangeDeclared(row) => {
                if let Some((key, text)) = told_exchange(row) {
                    assert_eq!(self.exchanges.insert(key, text), None, "declared twice");
                }
            }
            Event::ExchangeDeleted(row) => {
                if let Some((key, _)) = told_exchange(row) {
                    assert!(self.exchanges.remove(&key).is_some(), "deleted twice");
                }
            }
            Event::Bound { vhost, binding } => {
                assert!(self.bindings.insert((vhost.to_string(), told_binding(binding))), "bound twice");
            }
            Event::Unbound { vhost, binding } => {
                assert!(self.bindings.remove(&(vhost.to_string(), told_binding(binding))), "unbound twice");
            }
            Event::UserChanged(name) => drop(self.users.insert(name.to_string())),
            Event::UserDeleted(name) => assert!(self.users.remove(&name.to_string())),
            // These rows have a test of their own.
            Event::UnsyncedPromoted(_)
            | Event::NodeChanged(_)
            | Event::NodeForgotten(_)
            | Event::TracingChanged(_)
            | Event::PermissionsChanged { .. } => {}
        }
    }
}

fn permissions(catalog: &Catalog) -> BTreeMap<(String, String), String> {
    let mut rows = BTreeMap::new();
    for vhost in catalog.vhosts.values() {
        for (user, row) in &vhost.permissions {
            rows.insert((vhost.name.to_string(), user.to_string()), format!("{row:?}"));
        }
        for ((user, _), row) in &vhost.topic_permissions {
            let text: &mut String = rows.entry((vhost.name.to_string(), user.to_string())).or_default();
            text.push_str(&format!("{row:?}"));
        }
    }
    rows
}

fn apply(catalog: &mut Catalog, commands: Vec<Command>) -> Vec<Event> {
    let mut events = Vec::new();
    for command in commands {
        let _ = catalog.apply(command, &mut events);
    }
    events
}

fn add_vhost(name: &str) -> Command {
    let (description, tags) = (String::new(), Vec::new());
    Command::AddVhost { name: name.into(), description, tags, default_queue_type: None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_told_the_difference_knows_what_the_newer_catalog_has(
        beginning in any_beginning(),
        before in prop::collection::vec(any_command(), 0..60),
        after in prop::collection::vec(any_command(), 0..60),
    ) {
        let mut old = Catalog::new();
        apply(&mut old, vec![add_vhost("/"), add_vhost("v")]);
        apply(&mut old, beginning);
        apply(&mut old, before);
        let mut new = old.clone();
        let events = apply(&mut new, after);
        // The one who was there hears every event, the other one gets a copy of the end.
        let (mut there, mut away) = (Hearsay::of(&old), Hearsay::of(&old));
        events.iter().for_each(|event| there.hear(event));
        // From bytes, so that nothing is shared: as a snapshot comes.
        let copy = Catalog::decode(&new.encode()).unwrap();
        let told = old.difference(&copy);
        told.iter().for_each(|event| away.hear(event));
        prop_assert_eq!(&away, &Hearsay::of(&new));
        // What changes a row untold, like another user's policy, is in the rows of the difference only.
        prop_assert_eq!(away.queues.keys().collect::<Vec<_>>(), there.queues.keys().collect::<Vec<_>>());
        prop_assert_eq!(&away.exchanges, &there.exchanges);
        prop_assert_eq!(&away.bindings, &there.bindings);
        prop_assert_eq!(&away.users, &there.users);
        prop_assert_eq!(&away.vhosts, &there.vhosts);
        prop_assert!(copy.difference(&new).is_empty());

        let (was, is) = (permissions(&old), permissions(&new));
        for key in was.keys().chain(is.keys()).filter(|key| was.get(*key) != is.get(*key)) {
            let named = told.iter().any(|event| matches!(event, Event::PermissionsChanged { vhost, user }
                if vhost.as_str() == key.0 && user.as_str() == key.1));
            prop_assert!(named, "{:?} is not told", key);
        }
    }
}
