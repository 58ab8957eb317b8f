//! What happened between two catalogs, for whoever gets the later one as a whole.
//!
//! Invariant: whoever has followed the earlier catalog by its events and is told these knows the queues,
//! exchanges, bindings, users and vhosts of the later one. What came and went in between is not told.

use super::binding::BySource;
use super::exchange::{Exchange, PREDECLARED};
use super::{Catalog, Event, Vhost};
use imbl::ordmap::DiffItem;
use imbl::ordset::DiffItem as SetItem;
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeSet;
use std::sync::Arc;
use types::{UserName, VhostName};

impl Catalog {
    /// The events that lead from this catalog to a newer one. What goes comes before what is new, in each
    /// vhost by itself.
    pub fn difference(&self, newer: &Catalog) -> Vec<Event> {
        let mut events = Vec::new();
        for (name, vhost) in &self.vhosts {
            match newer.vhosts.get(name) {
                Some(new) => compare_vhosts(vhost, new, &mut events),
                None => forget_vhost(vhost, &mut events),
            }
        }
        for (name, vhost) in newer.vhosts.iter().filter(|(name, _)| !self.vhosts.contains_key(*name)) {
            events.push(Event::VhostAdded(name.clone()));
            compare_vhosts(&Vhost::new(name, 0), vhost, &mut events);
        }
        for item in self.nodes.diff(&newer.nodes) {
            events.push(match item {
                DiffItem::Remove(_, node) => Event::NodeForgotten(node.clone()),
                DiffItem::Add(_, node) | DiffItem::Update { new: (_, node), .. } => {
                    Event::NodeChanged(node.clone())
                }
            });
        }
        for item in self.users.diff(&newer.users) {
            events.push(match item {
                DiffItem::Remove(name, _) => Event::UserDeleted(name.clone()),
                DiffItem::Add(name, _) | DiffItem::Update { new: (name, _), .. } => {
                    Event::UserChanged(name.clone())
                }
            });
        }
        events
    }
}

fn forget_vhost(vhost: &Vhost, events: &mut Vec<Event>) {
    let name = &vhost.name;
    events.extend(vhost.bindings().map(|binding| Event::Unbound { vhost: name.clone(), binding }));
    events.extend(vhost.queues.values().cloned().map(Event::QueueDeleted));
    events.extend(vhost.exchanges.values().cloned().map(Event::ExchangeDeleted));
    let users = vhost.permissions.keys().chain(vhost.topic_permissions.keys().map(|(user, _)| user));
    permissions(name, users.cloned().collect(), events);
    events.push(Event::VhostDeleted(name.clone()));
}

fn compare_vhosts(old: &Vhost, new: &Vhost, events: &mut Vec<Event>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    if old.tracing != new.tracing {
        come.push(Event::TracingChanged(new.name.clone()));
    }
    compare_bindings(&new.name, &old.by_source, &new.by_source, &mut gone, &mut come);
    let mut declared = Vec::new();
    for item in old.queues.diff(&new.queues) {
        match item {
            DiffItem::Remove(_, queue) => gone.push(Event::QueueDeleted(queue.clone())),
            DiffItem::Add(_, queue) => declared.push(Event::QueueDeclared(queue.clone())),
            DiffItem::Update { old: (_, old), new: (_, new) } if old.id != new.id => {
                gone.push(Event::QueueDeleted(old.clone()));
                declared.push(Event::QueueDeclared(new.clone()));
            }
            DiffItem::Update { old: (_, old), new: (_, new) } if old.home != new.home => {
                declared.push(Event::QueueMoved { queue: new.clone(), from: old.home });
                declared.push(Event::QueueConfigured(new.clone()));
            }
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                if old.copies != new.copies {
                    declared.push(Event::CopiesChanged(new.clone()));
                }
                declared.push(Event::QueueConfigured(new.clone()));
            }
        }
    }
    for item in old.exchanges.diff(&new.exchanges) {
        match item {
            DiffItem::Remove(_, exchange) => gone.push(Event::ExchangeDeleted(exchange.clone())),
            DiffItem::Add(_, exchange) => declared.push(Event::ExchangeDeclared(exchange.clone())),
            DiffItem::Update { old: (_, old), new: (_, new) } if !is_same(old, new) => {
                gone.push(Event::ExchangeDeleted(old.clone()));
                declared.push(Event::ExchangeDeclared(new.clone()));
            }
            DiffItem::Update { old: (_, old), new: (_, new) } if old.home != new.home => {
                if let Some(queue) = new.holding_queue() {
                    declared.push(Event::QueueMoved { queue, from: old.home });
                }
            }
            DiffItem::Update { .. } => {}
        }
    }
    events.extend(gone);
    events.extend(declared);
    events.extend(come);
    let mut users = changed_users(&old.permissions, &new.permissions, Clone::clone);
    users.extend(changed_users(&old.topic_permissions, &new.topic_permissions, |(user, _)| user.clone()));
    permissions(&new.name, users, events);
}

fn compare_bindings(
    vhost: &VhostName,
    old: &OrdSet<BySource>,
    new: &OrdSet<BySource>,
    gone: &mut Vec<Event>,
    come: &mut Vec<Event>,
) {
    for item in old.diff(new) {
        match item {
            SetItem::Add(row) => come.push(Event::Bound { vhost: vhost.clone(), binding: row.0.clone() }),
            SetItem::Remove(row) => {
                gone.push(Event::Unbound { vhost: vhost.clone(), binding: row.0.clone() });
            }
        }
    }
}

/// Whether both rows are the exchange of one declaration: what it leads to, and its policy, may differ.
fn is_same(old: &Exchange, new: &Exchange) -> bool {
    let declared =
        |row: &Exchange| (row.kind.clone(), row.durable, row.auto_delete, row.internal, row.holding);
    let is_predeclared = PREDECLARED.iter().any(|(name, _, _)| *name == old.name.as_str());
    is_predeclared || (declared(old) == declared(new) && old.arguments == new.arguments)
}

fn changed_users<K: Ord + Clone, V: PartialEq>(
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
    user: impl Fn(&K) -> UserName,
) -> BTreeSet<UserName> {
    let key = |item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => {
            user(key)
        }
    };
    old.diff(new).map(key).collect()
}

fn permissions(vhost: &VhostName, users: BTreeSet<UserName>, events: &mut Vec<Event>) {
    events.extend(users.into_iter().map(|user| Event::PermissionsChanged { vhost: vhost.clone(), user }));
}
