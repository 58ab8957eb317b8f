//! The whole catalog out of bytes.
//!
//! Invariant: rows are taken as they stand, whatever limits and checks hold for new ones; what follows from
//! them (tables, orders of bindings, alternates, the policies that apply, configurations, owners) is
//! computed anew. What cannot be a catalog is refused: a row twice, a binding without its ends, an id or a
//! version that was not yet given.

use super::field::Field;
use super::snapshot::{CLUSTER_FORMAT, COPIES_FORMAT, FORMAT};
use crate::catalog::account::topic_pattern;
use crate::catalog::binding::{Binding, ByDestination, BySource};
use crate::catalog::copies::Copies;
use crate::catalog::declaration::ALTERNATE;
use crate::catalog::exchange::{Exchange, ExchangeKind};
use crate::catalog::vhost::Vhost;
use crate::catalog::{Catalog, Node, Pattern, Permission, Queue, TopicPattern, TopicPermission, User};
use crate::codec::{DecodeError, Reader};
use crate::policy::{self, Policy};
use crate::router::table::Table;
use imbl::{OrdMap, OrdSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{
    ConnectionId, ExchangeName, FieldTable, FieldValue, NodeId, QueueId, QueueName, UserName, VhostName,
};

impl Catalog {
    /// Reads what [`Catalog::encode`] wrote: an equal catalog, with the same ids, versions and routes.
    ///
    /// # Errors
    /// When the bytes are not one whole catalog of a known format, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Catalog, DecodeError> {
        let mut restore = Restore::new(bytes);
        let catalog = restore.catalog()?;
        restore.reader.finish()?;
        Ok(catalog)
    }
}

struct Restore<'a> {
    reader: Reader<'a>,
    /// Compiled ones by their text: a few serve most rows.
    patterns: BTreeMap<&'a str, Pattern>,
    version: u64,
    last_queue_id: u64,
    queue_ids: BTreeSet<QueueId>,
    exclusive_queues: OrdSet<(ConnectionId, VhostName, QueueName)>,
}

impl<'a> Restore<'a> {
    fn new(bytes: &'a [u8]) -> Restore<'a> {
        Restore {
            reader: Reader::new(bytes),
            patterns: BTreeMap::new(),
            version: 0,
            last_queue_id: 0,
            queue_ids: BTreeSet::new(),
            exclusive_queues: OrdSet::new(),
        }
    }

    fn catalog(&mut self) -> Result<Catalog, DecodeError> {
        let found = self.reader.clone().u8()?;
        let is_cluster = matches!(found, CLUSTER_FORMAT | COPIES_FORMAT);
        let format = if is_cluster { found } else { FORMAT };
        super::check_format(&mut self.reader, format, "a catalog")?;
        self.version = self.read()?;
        self.last_queue_id = self.read()?;
        let users = self.rows(|restore| {
            let user: User = restore.read()?;
            Ok((user.name.clone(), Arc::new(user)))
        })?;
        let global_parameters = self.rows(|restore| Ok((restore.read()?, restore.read()?)))?;
        let vhosts = self.rows(|restore| {
            let vhost = restore.vhost()?;
            Ok((vhost.name.clone(), Arc::new(vhost)))
        })?;
        let mut catalog = Catalog {
            cluster: 0,
            nodes: OrdMap::new(),
            users,
            vhosts,
            global_parameters,
            version: self.version,
            last_queue_id: self.last_queue_id,
            exclusive_queues: std::mem::take(&mut self.exclusive_queues),
        };
        if is_cluster {
            self.cluster(&mut catalog)?;
        }
        if format == COPIES_FORMAT {
            self.copies(&mut catalog)?;
        }
        Ok(catalog)
    }

    /// The cluster's own rows: every log must have a home, and every home a node.
    fn cluster(&mut self, catalog: &mut Catalog) -> Result<(), DecodeError> {
        let at = self.reader.position();
        catalog.cluster = self.read()?;
        if !catalog.is_cluster() {
            return self.reader.refuse(at, "a cluster without an id");
        }
        catalog.nodes = self.rows(|restore| {
            let node: Node = restore.read()?;
            Ok((node.id, Arc::new(node)))
        })?;
        let mut homes: BTreeMap<QueueId, NodeId> = BTreeMap::new();
        for _ in 0..self.reader.count(2)? {
            let at = self.reader.position();
            let home: NodeId = self.read()?;
            if !catalog.nodes.contains_key(&home) {
                return self.reader.refuse(at, format!("home {home} is no node of the cluster"));
            }
            homes.extend(self.read::<Vec<QueueId>>()?.into_iter().map(|id| (id, home)));
        }
        if let Some((id, _)) = catalog.homes().find(|(id, _)| !homes.contains_key(id)) {
            return self.reader.refuse(at, format!("queue id {id} has no home"));
        }
        catalog.set_homes(|id| homes.get(&id).copied().unwrap_or_default());
        Ok(())
    }

    /// The copies of mirrored queues: of queues that are there, on nodes that are there, the home in sync.
    fn copies(&mut self, catalog: &mut Catalog) -> Result<(), DecodeError> {
        let at = self.reader.position();
        let mut copies: BTreeMap<QueueId, Copies> = BTreeMap::new();
        for _ in 0..self.reader.count(Copies::BYTES_MIN)? {
            let at = self.reader.position();
            let id: QueueId = self.read()?;
            if copies.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return self.reader.refuse(at, "copies of a queue twice or out of order");
            }
            copies.insert(id, self.read()?);
        }
        match catalog.set_copies(copies) {
            Ok(()) => Ok(()),
            Err(why) => self.reader.refuse(at, why),
        }
    }

    fn read<T: Field>(&mut self) -> Result<T, DecodeError> {
        T::read(&mut self.reader)
    }

    /// Rows in the order of their keys, none of them twice.
    fn rows<K: Ord + Clone, V: Clone>(
        &mut self,
        read: impl Fn(&mut Restore<'a>) -> Result<(K, V), DecodeError>,
    ) -> Result<OrdMap<K, V>, DecodeError> {
        let count = self.reader.count(1)?;
        let mut rows: OrdMap<K, V> = OrdMap::new();
        for _ in 0..count {
            let at = self.reader.position();
            let (key, row) = read(self)?;
            if rows.get_max().is_some_and(|(last, _)| *last >= key) {
                return self.reader.refuse(at, "a row twice or out of order");
            }
            rows.insert(key, row);
        }
        Ok(rows)
    }

    fn vhost(&mut self) -> Result<Vhost, DecodeError> {
        let mut vhost =
            Vhost { description: String::new(), exchanges: OrdMap::new(), ..Vhost::new(&self.read()?, 0) };
        vhost.description = self.read()?;
        vhost.tags = self.read()?;
        vhost.default_queue_type = self.read()?;
        vhost.tracing = self.read()?;
        vhost.limits = self.read()?;
        vhost.policies = self.rows(Restore::policy)?;
        vhost.operator_policies = self.rows(Restore::policy)?;
        vhost.permissions = self.rows(Restore::permission)?;
        vhost.topic_permissions = self.rows(|restore| restore.topic_permission(&vhost.name))?;
        vhost.parameters = self.rows(|restore| Ok(((restore.read()?, restore.read()?), restore.read()?)))?;
        vhost.exchanges = self.rows(|restore| restore.exchange(&vhost))?;
        let alternates = vhost.exchanges.values().filter_map(|exchange| {
            exchange.alternate.as_ref().map(|alternate| (alternate.clone(), exchange.name.clone()))
        });
        vhost.alternates = alternates.collect();
        vhost.queues = self.rows(|restore| restore.queue(&vhost))?;
        self.note_exclusive(&vhost);
        self.bindings(&mut vhost)?;
        Ok(vhost)
    }

    fn pattern(&mut self) -> Result<Pattern, DecodeError> {
        let at = self.reader.position();
        let text = self.reader.text()?;
        if let Some(known) = self.patterns.get(text) {
            return Ok(known.clone());
        }
        match Pattern::new(text) {
            Ok(pattern) => {
                self.patterns.insert(text, pattern.clone());
                Ok(pattern)
            }
            Err(reason) => self.reader.refuse(at, format!("invalid regular expression '{text}': {reason}")),
        }
    }

    fn policy(&mut self) -> Result<(String, Arc<Policy>), DecodeError> {
        let policy = Policy {
            name: self.read()?,
            pattern: self.pattern()?,
            apply_to: self.read()?,
            priority: self.read()?,
            definition: self.read()?,
        };
        Ok((policy.name.clone(), Arc::new(policy)))
    }

    fn permission(&mut self) -> Result<(UserName, Arc<Permission>), DecodeError> {
        let row = Permission {
            user: self.read()?,
            configure: self.pattern()?,
            write: self.pattern()?,
            read: self.pattern()?,
        };
        Ok((row.user.clone(), Arc::new(row)))
    }

    #[allow(clippy::type_complexity)] // a row and its key
    fn topic_permission(
        &mut self,
        vhost: &VhostName,
    ) -> Result<((UserName, ExchangeName), Arc<TopicPermission>), DecodeError> {
        let (user, exchange): (UserName, ExchangeName) = (self.read()?, self.read()?);
        let write = self.topic_pattern(&user, vhost)?;
        let read = self.topic_pattern(&user, vhost)?;
        let row = TopicPermission { user: user.clone(), exchange: exchange.clone(), write, read };
        Ok(((user, exchange), Arc::new(row)))
    }

    fn topic_pattern(&mut self, user: &UserName, vhost: &VhostName) -> Result<TopicPattern, DecodeError> {
        let at = self.reader.position();
        let text = self.reader.text()?;
        topic_pattern(text, user, vhost).or_else(|error| self.reader.refuse(at, error.explanation))
    }

    fn exchange(&mut self, vhost: &Vhost) -> Result<(ExchangeName, Arc<Exchange>), DecodeError> {
        let at = self.reader.position();
        let name: ExchangeName = self.read()?;
        let kind: ExchangeKind = self.read()?;
        let (durable, auto_delete, internal) = (self.read()?, self.read()?, self.read()?);
        let arguments: FieldTable = self.read()?;
        let (user, version) = (self.read()?, self.read()?);
        if version > self.version {
            let reason = format!("exchange of version {version}, the catalog's is {}", self.version);
            return self.reader.refuse(at, reason);
        }
        let holding: Option<QueueId> = self.read()?;
        if holding.is_some() != kind.is_delayed() {
            return self.reader.refuse(at, "delayed messages of an exchange that is not delayed");
        }
        if let Some(id) = holding {
            self.take_id(id, at)?;
        }
        let policy = vhost.policy_of_exchange(&name).cloned();
        let alternate = match arguments.get(ALTERNATE) {
            Some(FieldValue::LongString(name)) => {
                Some(ExchangeName::from(String::from_utf8_lossy(name).as_ref()))
            }
            _ => policy::alternate_exchange(policy.as_deref()),
        };
        let exchange = Exchange {
            vhost: vhost.name.clone(),
            table: Table::new(&kind),
            name: name.clone(),
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            alternate,
            policy,
            user,
            holding,
            home: NodeId::default(),
            version,
        };
        Ok((name, Arc::new(exchange)))
    }

    /// Every queue has an id of its own.
    fn take_id(&mut self, id: QueueId, at: usize) -> Result<(), DecodeError> {
        if id.0 == 0 || id.0 > self.last_queue_id || !self.queue_ids.insert(id) {
            let reason = format!("queue id {id} twice or not in 1 to {}", self.last_queue_id);
            return self.reader.refuse(at, reason);
        }
        Ok(())
    }

    fn queue(&mut self, vhost: &Vhost) -> Result<(QueueName, Arc<Queue>), DecodeError> {
        let at = self.reader.position();
        let name: QueueName = self.read()?;
        let id: QueueId = self.read()?;
        let (durable, auto_delete): (bool, bool) = (self.read()?, self.read()?);
        let exclusive: Option<ConnectionId> = self.read()?;
        let (kind, arguments, user) = (self.read()?, self.read()?, self.read()?);
        self.take_id(id, at)?;
        if durable && exclusive.is_some() {
            return self.reader.refuse(at, "an exclusive queue that is durable");
        }
        let (policy, operator_policy) = vhost.policies_of_queue(kind, &name);
        let queue = Queue {
            id,
            vhost: vhost.name.clone(),
            config: policy::queue_config(kind, &arguments, policy, operator_policy),
            policy: policy.cloned(),
            operator_policy: operator_policy.cloned(),
            name: name.clone(),
            durable,
            auto_delete,
            exclusive,
            kind,
            arguments,
            user,
            copies: None,
            home: NodeId::default(),
        };
        Ok((name, Arc::new(queue)))
    }

    fn note_exclusive(&mut self, vhost: &Vhost) {
        for queue in vhost.queues.values() {
            if let Some(owner) = queue.exclusive {
                self.exclusive_queues.insert((owner, vhost.name.clone(), queue.name.clone()));
            }
        }
    }

    /// The bindings of each exchange, which go into its table in the order in which they stand.
    fn bindings(&mut self, vhost: &mut Vhost) -> Result<(), DecodeError> {
        let sources: Vec<(ExchangeName, ExchangeKind)> =
            vhost.exchanges.values().map(|exchange| (exchange.name.clone(), exchange.kind.clone())).collect();
        let mut by_destination = Vec::new();
        for (source, kind) in sources {
            let mut table = Table::new(&kind);
            let mut rows = Vec::new();
            for _ in 0..self.reader.count(Binding::BYTES_MIN)? {
                rows.push(self.binding(vhost, &source, &mut table)?);
            }
            // Mostly in order already.
            rows.sort();
            if rows.windows(2).any(|pair| pair[0] == pair[1]) {
                return self.reader.refuse(self.reader.position(), format!("a binding of '{source}' twice"));
            }
            by_destination.extend(rows.iter().map(|row| ByDestination(row.0.clone())));
            for row in rows {
                vhost.by_source.insert(row);
            }
            if let Some(exchange) = vhost.exchanges.get_mut(&source) {
                Arc::make_mut(exchange).table = table;
            }
        }
        by_destination.sort_unstable();
        vhost.by_destination = by_destination.into_iter().collect();
        Ok(())
    }

    fn binding(
        &mut self,
        vhost: &Vhost,
        source: &ExchangeName,
        table: &mut Table,
    ) -> Result<BySource, DecodeError> {
        let at = self.reader.position();
        let binding = Binding {
            source: source.clone(),
            destination: self.read()?,
            routing_key: self.read()?,
            arguments: self.read()?,
        };
        let target = vhost.target(&binding.destination);
        let target = target.or_else(|error| self.reader.refuse(at, error.explanation))?;
        let row = BySource(Arc::new(if binding.arguments.is_empty() { binding } else { binding.sorted() }));
        table.insert(&row, &target);
        Ok(row)
    }
}
