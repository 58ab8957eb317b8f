//! The catalog: everything that is declared, as a machine that changes by commands alone.
//!
//! Invariant: the same commands in the same order give the same catalog and the same events; a refused
//! command changes nothing. A clone costs a few counters, shares all structure and never changes: it is
//! the topology that connections read without a lock.

mod account;
pub(crate) mod binding;
mod command;
pub mod copies;
mod declaration;
mod definition;
mod difference;
mod durability;
mod encoding;
pub(crate) mod exchange;
mod line_end;
mod node;
pub(crate) mod pattern;
mod queue;
pub mod refusal;
mod restart;
mod settings;
mod topology;
pub(crate) mod user;
pub(crate) mod vhost;

pub use binding::{Binding, Destination};
pub use command::{Command, Event, Outcome};
pub use exchange::{Exchange, ExchangeKind, HashBy};
pub use node::{Node, Remains};
pub use pattern::Pattern;
pub use queue::{Queue, check_exclusive};
pub use user::{Permission, TopicPattern, TopicPermission, User, UserLimits};
pub use vhost::{Limits, Vhost, default_binding};

use crate::queue::QueueKind;
use account::Patterns;
use declaration::{ExchangeWish, QueueWish};
use exchange::DELAYED;
use imbl::{OrdMap, OrdSet};
use settings::PolicyWish;
use std::sync::Arc;
use topology::Change;
use types::{AmqpError, ConnectionId, NodeId, QueueId, QueueName, UserName, VhostName};

/// All that is declared on the broker.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Users by name.
    pub users: OrdMap<UserName, Arc<User>>,
    /// Vhosts by name.
    pub vhosts: OrdMap<VhostName, Arc<Vhost>>,
    /// JSON text by name.
    pub global_parameters: OrdMap<String, String>,
    /// The cluster's id; 0 where there is none.
    pub cluster: u128,
    /// The cluster's nodes.
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    /// One more with every command that changed something.
    pub version: u64,
    /// The id that the last new queue got.
    last_queue_id: u64,
    exclusive_queues: OrdSet<(ConnectionId, VhostName, QueueName)>,
}

impl Catalog {
    /// Nothing declared: no users, no vhosts.
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// The vhost called `name`.
    pub fn vhost(&self, name: &str) -> Option<&Arc<Vhost>> {
        self.vhosts.get(name)
    }

    /// All queues, those that hold the messages of delayed exchanges apart.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.vhosts.values().flat_map(|vhost| vhost.queues.values())
    }

    /// Whether a queue had or has this id.
    pub fn was_given(&self, id: QueueId) -> bool {
        (1..=self.last_queue_id).contains(&id.0)
    }

    /// Whether a connection has queues for itself.
    pub fn owns_queues(&self, connection: ConnectionId) -> bool {
        let first = (connection, VhostName::from(""), QueueName::from(""));
        self.exclusive_queues.range(first..).next().is_some_and(|row| row.0 == connection)
    }

    /// Changes the catalog; on `Err` nothing has changed and no event was added.
    pub fn apply(&mut self, command: Command, events: &mut Vec<Event>) -> Result<Outcome, AmqpError> {
        let version = self.version + 1;
        let outcome = self.dispatch(command, &mut Change { version, events })?;
        if outcome.changed() {
            self.version = version;
        }
        Ok(outcome)
    }

    fn dispatch(&mut self, command: Command, change: &mut Change<'_>) -> Result<Outcome, AmqpError> {
        let changed = match command {
            Command::DeclareExchange { .. }
            | Command::DeleteExchange { .. }
            | Command::DeclareQueue { .. }
            | Command::DeleteQueue { .. }
            | Command::DeleteExclusive { .. }
            | Command::Bind { .. }
            | Command::Unbind { .. } => return self.change_topology(command, NodeId::default(), change),
            Command::DeclareAt { home, command } => return self.declare_at(home, *command, change),
            Command::FormCluster { cluster, node } => self.form_cluster(cluster, node, change)?,
            Command::PutNode { node } => self.put_node(node, change)?,
            Command::NodeLost { id, boot } => self.lose_node(id, boot, change),
            Command::ForgetNode { id } => self.forget_node(id, change)?,
            Command::ChangeCopies { changes } => self.change_copies(changes, change),
            Command::AddVhost { name, description, tags, default_queue_type } => {
                self.add_vhost(name, description, tags, default_queue_type, change)
            }
            Command::DeleteVhost { name } => self.delete_vhost(&name, change)?,
            Command::PutUser { name, password_hash, tags } => {
                self.put_user(name, password_hash, tags, change)
            }
            Command::DeleteUser { name } => self.delete_user(&name, change)?,
            Command::SetUserLimit { user, limit, value } => {
                self.set_user_limit(&user, Some(&limit), Some(value), change)?
            }
            Command::ClearUserLimit { user, limit } => {
                self.set_user_limit(&user, limit.as_deref(), None, change)?
            }
            Command::SetPermission { vhost, user, configure, write, read } => {
                self.set_permission(&vhost, user, &Patterns { configure, write, read }, change)?
            }
            Command::ClearPermission { vhost, user } => self.clear_permission(&vhost, &user, change)?,
            Command::SetTopicPermission { vhost, user, exchange, write, read } => {
                self.set_topic_permission(&vhost, user, exchange, (&write, &read), change)?
            }
            Command::ClearTopicPermission { vhost, user, exchange } => {
                self.clear_topic_permission(&vhost, &user, exchange.as_ref(), change)?
            }
            Command::SetGlobalParameter { name, value } => self.set_global_parameter(name, value),
            Command::ClearGlobalParameter { name } => self.global_parameters.remove(&name).is_some(),
            Command::Restart => self.restart(change),
            settings => self.change_settings(settings, change)?,
        };
        Ok(Outcome::Done { changed })
    }

    fn change_settings(&mut self, command: Command, change: &mut Change<'_>) -> Result<bool, AmqpError> {
        Ok(match command {
            Command::SetTracing { vhost, on } => {
                let row = self.vhost_mut(&vhost)?;
                let changed = std::mem::replace(&mut row.tracing, on) != on;
                if changed {
                    change.events.push(Event::TracingChanged(vhost));
                }
                changed
            }
            Command::SetVhostLimit { vhost, limit, value } => {
                self.vhost_mut(&vhost)?.set_limit(Some(&limit), Some(value))?
            }
            Command::ClearVhostLimit { vhost, limit } => {
                self.vhost_mut(&vhost)?.set_limit(limit.as_deref(), None)?
            }
            Command::SetPolicy { vhost, name, pattern, apply_to, priority, definition, operator } => {
                let wish = PolicyWish { name, pattern, apply_to, priority, definition };
                self.vhost_mut(&vhost)?.set_policy(wish, operator, change)?
            }
            Command::ClearPolicy { vhost, name, operator } => {
                self.vhost_mut(&vhost)?.clear_policy(&name, operator, change)
            }
            Command::SetParameter { vhost, component, name, value } => {
                self.vhost_mut(&vhost)?.set_parameter((component, name), value)
            }
            Command::ClearParameter { vhost, component, name } => {
                self.vhost_mut(&vhost)?.parameters.remove(&(component, name)).is_some()
            }
            // All others were taken by `dispatch`.
            _ => false,
        })
    }

    /// Declares with a home, which must be a node of the cluster.
    fn declare_at(
        &mut self,
        home: NodeId,
        command: Command,
        change: &mut Change<'_>,
    ) -> Result<Outcome, AmqpError> {
        if !self.nodes.contains_key(&home) {
            let text = format!("node {home} does not belong to the cluster any more");
            return Err(AmqpError::precondition_failed(text));
        }
        match command {
            Command::DeclareExchange { .. } | Command::DeclareQueue { .. } => {
                self.change_topology(command, home, change)
            }
            other => self.dispatch(other, change),
        }
    }

    fn change_topology(
        &mut self,
        command: Command,
        home: NodeId,
        change: &mut Change<'_>,
    ) -> Result<Outcome, AmqpError> {
        let changed = match command {
            Command::DeclareExchange {
                vhost,
                name,
                kind,
                durable,
                auto_delete,
                internal,
                arguments,
                user,
            } => {
                let wish = ExchangeWish { name, kind, durable, auto_delete, internal, arguments, user };
                let holding = QueueId(self.last_queue_id + 1);
                let delayed = wish.kind == DELAYED;
                let created = self.vhost_mut(&vhost)?.declare_exchange(wish, holding, home, change)?;
                if created && delayed {
                    self.last_queue_id = holding.0;
                }
                return Ok(Outcome::Exchange { created });
            }
            Command::DeclareQueue {
                vhost,
                name,
                server_named,
                durable,
                auto_delete,
                exclusive,
                connection,
                arguments,
                user,
            } => {
                let owner = exclusive.then_some(connection);
                let wish = QueueWish { name, server_named, durable, auto_delete, owner, arguments, user };
                return self.declare_queue(&vhost, wish, home, change);
            }
            Command::DeleteExchange { vhost, name, if_unused } => {
                self.vhost_mut(&vhost)?.delete_exchange(&name, if_unused, change)?
            }
            Command::DeleteQueue { vhost, name, id } => {
                let name = line_end::without(&name, name.as_str());
                self.delete_queue(&vhost, &name, id, change)?
            }
            Command::DeleteExclusive { connection } => self.delete_exclusive(connection, change)?,
            Command::Bind { vhost, binding } => self.vhost_mut(&vhost)?.bind(binding, change)?,
            Command::Unbind { vhost, binding } => self.vhost_mut(&vhost)?.unbind(binding, change)?,
            // All others were taken by `dispatch`.
            _ => false,
        };
        Ok(Outcome::Done { changed })
    }

    fn add_vhost(
        &mut self,
        name: VhostName,
        description: String,
        tags: Vec<String>,
        default_queue_type: Option<QueueKind>,
        change: &mut Change<'_>,
    ) -> bool {
        let is_new = !self.vhosts.contains_key(&name);
        if is_new {
            self.vhosts.insert(name.clone(), Arc::new(Vhost::new(&name, change.version)));
            change.events.push(Event::VhostAdded(name.clone()));
        }
        let Ok(vhost) = self.vhost_mut(&name) else { return false };
        let is_same = vhost.description == description
            && vhost.tags == tags
            && vhost.default_queue_type == default_queue_type;
        (vhost.description, vhost.tags, vhost.default_queue_type) = (description, tags, default_queue_type);
        is_new || !is_same
    }

    /// Removes a vhost with everything in it.
    fn delete_vhost(&mut self, name: &VhostName, change: &mut Change<'_>) -> Result<bool, AmqpError> {
        let Some(vhost) = self.vhosts.remove(name) else { return Err(refusal::no_vhost(name)) };
        for binding in vhost.bindings() {
            change.events.push(Event::Unbound { vhost: name.clone(), binding });
        }
        for queue in vhost.queues.values() {
            self.forget_exclusive(queue);
            change.events.push(Event::QueueDeleted(queue.clone()));
        }
        let exchanges = vhost.exchanges.values().cloned();
        change.events.extend(exchanges.map(Event::ExchangeDeleted));
        for user in vhost.permissions.keys() {
            change.events.push(Event::PermissionsChanged { vhost: name.clone(), user: user.clone() });
        }
        change.events.push(Event::VhostDeleted(name.clone()));
        Ok(true)
    }

    fn declare_queue(
        &mut self,
        vhost: &VhostName,
        wish: QueueWish,
        home: NodeId,
        change: &mut Change<'_>,
    ) -> Result<Outcome, AmqpError> {
        let id = QueueId(self.last_queue_id + 1);
        let declared = change.events.len();
        let (mut queue, created) = self.vhost_mut(vhost)?.declare_queue(wish, id, home, change)?;
        if created {
            self.last_queue_id = id.0;
            if let Some(owner) = queue.exclusive {
                self.exclusive_queues.insert((owner, vhost.clone(), queue.name.clone()));
            }
            queue = self.mirror_new(queue, declared, change);
        }
        Ok(Outcome::Queue { queue, created })
    }

    /// Gives a new queue the copies that are wanted of it; what was told of it tells of them.
    fn mirror_new(&mut self, queue: Arc<Queue>, told_at: usize, change: &mut Change<'_>) -> Arc<Queue> {
        let Some((home, copies)) = self.first_copies(&queue, change.version) else { return queue };
        let row = Arc::new(Queue { home, copies: copies.map(Arc::new), ..(*queue).clone() });
        if let Ok(vhost) = self.vhost_mut(&queue.vhost) {
            vhost.queues.insert(row.name.clone(), row.clone());
        }
        for event in &mut change.events[told_at..] {
            if let Event::QueueDeclared(told) = event
                && told.id == row.id
            {
                *told = row.clone();
            }
        }
        row
    }

    /// Deletes a queue; false if the name means none, or another one than `id`.
    fn delete_queue(
        &mut self,
        vhost: &VhostName,
        name: &QueueName,
        id: Option<QueueId>,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let vhost = self.vhost_mut(vhost)?;
        let is_other = |queue: &Arc<Queue>| id.is_some_and(|id| queue.id != id);
        if vhost.queues.get(name).is_none_or(is_other) {
            return Ok(false);
        }
        let queue = vhost.remove_queue(name, change);
        if let Some(queue) = &queue {
            self.forget_exclusive(queue);
        }
        Ok(queue.is_some())
    }

    fn delete_exclusive(
        &mut self,
        connection: ConnectionId,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let first = (connection, VhostName::from(""), QueueName::from(""));
        let owned: Vec<(ConnectionId, VhostName, QueueName)> =
            self.exclusive_queues.range(first..).take_while(|row| row.0 == connection).cloned().collect();
        let mut changed = false;
        for (_, vhost, name) in &owned {
            changed |= self.delete_queue(vhost, name, None, change)?;
        }
        Ok(changed)
    }

    fn forget_exclusive(&mut self, queue: &Queue) {
        if let Some(owner) = queue.exclusive {
            self.exclusive_queues.remove(&(owner, queue.vhost.clone(), queue.name.clone()));
        }
    }

    fn vhost_mut(&mut self, name: &VhostName) -> Result<&mut Vhost, AmqpError> {
        self.vhosts.get_mut(name).map(Arc::make_mut).ok_or_else(|| refusal::no_vhost(name))
    }
}
