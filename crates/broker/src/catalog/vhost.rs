//! A vhost: everything declared in it, as one immutable picture.
//!
//! Invariant: cloning costs a few counters whatever the size. Both binding sets hold the same bindings,
//! both ends of each exist, and an exchange's table holds exactly the bindings from it.

use super::binding::{Binding, ByDestination, BySource, Destination};
use super::exchange::{Exchange, ExchangeKind, PREDECLARED};
use super::queue::Queue;
use super::user::{Permission, TopicPermission};
use crate::policy::Policy;
use crate::queue::QueueKind;
use crate::router::table::Table;
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;
use types::{ExchangeName, FieldTable, NodeId, QueueName, RoutingKey, UserName, VhostName};

/// The user who is said to have declared what nobody declared.
pub(crate) const INTERNAL_USER: &str = "rmq-internal";

/// Limits of a vhost; a negative number means none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// `max-connections`
    pub max_connections: Option<i64>,
    /// `max-queues`
    pub max_queues: Option<i64>,
}

/// A virtual host.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the maps say by their types what they hold
pub struct Vhost {
    pub name: VhostName,
    pub description: String,
    pub tags: Vec<String>,
    /// For durable queues declared without a type.
    pub default_queue_type: Option<QueueKind>,
    /// Whether the firehose is on.
    pub tracing: bool,
    pub limits: Limits,
    /// The default exchange among them, under the empty name.
    pub exchanges: OrdMap<ExchangeName, Arc<Exchange>>,
    pub queues: OrdMap<QueueName, Arc<Queue>>,
    pub policies: OrdMap<String, Arc<Policy>>,
    pub operator_policies: OrdMap<String, Arc<Policy>>,
    pub permissions: OrdMap<UserName, Arc<Permission>>,
    pub topic_permissions: OrdMap<(UserName, ExchangeName), Arc<TopicPermission>>,
    /// JSON text by component and name.
    pub parameters: OrdMap<(String, String), String>,
    pub(crate) by_source: OrdSet<BySource>,
    pub(crate) by_destination: OrdSet<ByDestination>,
    /// Alternate exchanges and the exchanges that name them; the alternate need not exist.
    pub(crate) alternates: OrdSet<(ExchangeName, ExchangeName)>,
}

impl Vhost {
    pub(crate) fn new(name: &VhostName, version: u64) -> Vhost {
        let predeclared = PREDECLARED.into_iter().map(|(exchange, kind, internal)| {
            let exchange = predeclared(name, exchange, kind, internal, version);
            (exchange.name.clone(), Arc::new(exchange))
        });
        Vhost {
            name: name.clone(),
            description: String::new(),
            tags: Vec::new(),
            default_queue_type: None,
            tracing: false,
            limits: Limits::default(),
            exchanges: predeclared.collect(),
            queues: OrdMap::new(),
            policies: OrdMap::new(),
            operator_policies: OrdMap::new(),
            permissions: OrdMap::new(),
            topic_permissions: OrdMap::new(),
            parameters: OrdMap::new(),
            by_source: OrdSet::new(),
            by_destination: OrdSet::new(),
            alternates: OrdSet::new(),
        }
    }

    /// The exchange called `name`.
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name)
    }

    /// The queue called `name`.
    pub fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// Every binding that somebody made, by source. Those of the default exchange are not among them.
    pub fn bindings(&self) -> impl Iterator<Item = Arc<Binding>> {
        self.by_source.iter().map(|row| row.0.clone())
    }

    /// How many bindings there are.
    pub fn binding_count(&self) -> usize {
        self.by_source.len()
    }

    /// Bindings that lead to the queue called `name`.
    pub fn bindings_of_queue(&self, name: &str) -> impl Iterator<Item = Arc<Binding>> {
        self.bindings_to(Destination::Queue(QueueName::from(name)))
    }

    /// Bindings that lead to the exchange called `name`.
    pub fn bindings_to_exchange(&self, name: &str) -> impl Iterator<Item = Arc<Binding>> {
        self.bindings_to(Destination::Exchange(ExchangeName::from(name)))
    }

    /// Bindings that lead away from the exchange called `name`.
    pub fn bindings_from(&self, name: &str) -> impl Iterator<Item = Arc<Binding>> {
        let source = ExchangeName::from(name);
        self.by_source
            .range(BySource::first(&source)..)
            .take_while(move |row| row.0.source == source)
            .map(|row| row.0.clone())
    }

    pub(crate) fn bindings_to(&self, destination: Destination) -> impl Iterator<Item = Arc<Binding>> {
        self.by_destination
            .range(ByDestination::first(&destination)..)
            .take_while(move |row| row.0.destination == destination)
            .map(|row| row.0.clone())
    }
}

fn predeclared(vhost: &VhostName, name: &str, kind: ExchangeKind, internal: bool, version: u64) -> Exchange {
    Exchange {
        vhost: vhost.clone(),
        name: name.into(),
        table: Table::new(&kind),
        kind,
        durable: true,
        auto_delete: false,
        internal,
        arguments: FieldTable::new(),
        alternate: None,
        policy: None,
        user: INTERNAL_USER.into(),
        holding: None,
        home: NodeId::default(),
        version,
    }
}

/// The binding that every queue has to the default exchange, which no vhost stores.
pub fn default_binding(queue: &Queue) -> Binding {
    Binding {
        source: "".into(),
        destination: Destination::Queue(queue.name.clone()),
        routing_key: RoutingKey::from(queue.name.as_str()),
        arguments: FieldTable::new(),
    }
}
