//! Changes of exchanges, queues and bindings, with everything that follows from them.
//!
//! Invariant: after each change the vhost's own invariant holds again, and an exchange has a new version
//! if a message published to it may go elsewhere than before.

use super::binding::{Binding, ByDestination, BySource, Destination};
use super::command::Event;
use super::line_end;
use super::queue::Queue;
use super::refusal;
use super::vhost::Vhost;
use crate::router::table::Table;
use crate::router::target::Target;
use std::sync::Arc;
use types::{AmqpError, ExchangeName, QueueName};

/// What a command carries through all its consequences.
pub(crate) struct Change<'a> {
    /// The catalog's version once the command is applied, and that of every exchange it touches.
    pub(crate) version: u64,
    pub(crate) events: &'a mut Vec<Event>,
}

impl Vhost {
    /// Gives the exchange called `name`, and those that may lead to it, the new version.
    pub(crate) fn touch(&mut self, name: &ExchangeName, version: u64) {
        let mut pending = vec![name.clone()];
        while let Some(name) = pending.pop() {
            let Some(exchange) = self.exchanges.get_mut(&name) else { continue };
            if exchange.version != version {
                Arc::make_mut(exchange).version = version;
                pending.extend(self.leading_to(&name));
            }
        }
    }

    /// Gives the new version to those that may lead to `name`, which may be missing itself.
    pub(crate) fn touch_leading_to(&mut self, name: &ExchangeName, version: u64) {
        for leading in self.leading_to(name) {
            self.touch(&leading, version);
        }
    }

    /// Exchanges with a binding to `name` or with it as their alternate.
    fn leading_to(&self, name: &ExchangeName) -> Vec<ExchangeName> {
        let mut names: Vec<ExchangeName> = self
            .bindings_to(Destination::Exchange(name.clone()))
            .map(|binding| binding.source.clone())
            .collect();
        let owners = self.alternates.range((name.clone(), ExchangeName::from(""))..);
        names.extend(owners.take_while(|(alternate, _)| alternate == name).map(|(_, owner)| owner.clone()));
        names.dedup();
        names
    }

    /// Adds a binding; false if it was there.
    pub(crate) fn bind(&mut self, binding: Binding, change: &mut Change<'_>) -> Result<bool, AmqpError> {
        let binding = named(binding)?;
        let Some(source) = self.exchange(binding.source.as_str()) else {
            return Err(refusal::no_exchange(&self.name, binding.source.as_str()));
        };
        let target = self.target(&binding.destination)?;
        source.table.check_binding(&binding)?;
        let binding = Arc::new(binding.sorted());
        let row = BySource(binding.clone());
        if self.by_source.contains(&row) {
            return Ok(false);
        }
        if let Some(source) = self.exchanges.get_mut(&binding.source) {
            Arc::make_mut(source).table.insert(&row, &target);
        }
        self.by_source.insert(row);
        self.by_destination.insert(ByDestination(binding.clone()));
        self.touch(&binding.source, change.version);
        change.events.push(Event::Bound { vhost: self.name.clone(), binding });
        Ok(true)
    }

    /// Takes a binding away; false if there was none, even for want of its ends.
    pub(crate) fn unbind(&mut self, binding: Binding, change: &mut Change<'_>) -> Result<bool, AmqpError> {
        let binding = named(binding)?;
        let probe = BySource(Arc::new(binding.sorted()));
        let Some(row) = self.by_source.get(&probe).cloned() else { return Ok(false) };
        let source = row.0.source.clone();
        self.remove_binding(row.0, change);
        self.remove_unused(vec![source], change);
        Ok(true)
    }

    /// Removes a queue with its bindings, and exchanges that lived only for these.
    pub(crate) fn remove_queue(&mut self, name: &QueueName, change: &mut Change<'_>) -> Option<Arc<Queue>> {
        let (queue, sources) = self.remove_queue_alone(name, change)?;
        self.remove_unused(sources, change);
        Some(queue)
    }

    /// Removes one queue; gives it, and the sources of bindings that went with it.
    pub(crate) fn remove_queue_alone(
        &mut self,
        name: &QueueName,
        change: &mut Change<'_>,
    ) -> Option<(Arc<Queue>, Vec<ExchangeName>)> {
        if !self.queues.contains_key(name) {
            return None;
        }
        let sources = self.remove_bindings_to(Destination::Queue(name.clone()), change);
        let queue = self.queues.remove(name)?;
        change.events.push(Event::QueueDeleted(queue.clone()));
        Some((queue, sources))
    }

    /// Removes an exchange with its bindings, and exchanges that lived only for these.
    pub(crate) fn remove_exchange(&mut self, name: &ExchangeName, change: &mut Change<'_>) {
        let unused = self.remove_exchange_alone(name, change);
        self.remove_unused(unused, change);
    }

    /// Removes automatic exchanges that have lost their last binding, and so on along the bindings.
    fn remove_unused(&mut self, mut sources: Vec<ExchangeName>, change: &mut Change<'_>) {
        while let Some(name) = sources.pop() {
            let is_automatic = self.exchanges.get(&name).is_some_and(|exchange| exchange.auto_delete);
            if is_automatic && !self.is_source(&name) {
                sources.extend(self.remove_exchange_alone(&name, change));
            }
        }
    }

    /// Whether any binding leads away from the exchange.
    pub(crate) fn is_source(&self, name: &ExchangeName) -> bool {
        self.by_source.get_next(&BySource::first(name)).is_some_and(|row| row.0.source == *name)
    }

    /// Removes one exchange; gives the sources of bindings that went with it.
    pub(crate) fn remove_exchange_alone(
        &mut self,
        name: &ExchangeName,
        change: &mut Change<'_>,
    ) -> Vec<ExchangeName> {
        let mut sources = self.remove_bindings_to(Destination::Exchange(name.clone()), change);
        sources.retain(|source| source != name);
        let from: Vec<Arc<Binding>> = self.bindings_from(name.as_str()).collect();
        for binding in from {
            self.forget_binding(binding, change);
        }
        self.touch_leading_to(name, change.version);
        if let Some(exchange) = self.exchanges.remove(name) {
            if let Some(alternate) = &exchange.alternate {
                self.alternates.remove(&(alternate.clone(), name.clone()));
            }
            change.events.push(Event::ExchangeDeleted(exchange));
        }
        sources
    }

    /// Removes the bindings to `destination`; gives their sources.
    fn remove_bindings_to(&mut self, destination: Destination, change: &mut Change<'_>) -> Vec<ExchangeName> {
        let bindings: Vec<Arc<Binding>> = self.bindings_to(destination).collect();
        let mut sources: Vec<ExchangeName> = Vec::new();
        for binding in bindings {
            if sources.last() != Some(&binding.source) {
                sources.push(binding.source.clone());
            }
            self.remove_binding(binding, change);
        }
        sources
    }

    /// Takes a binding out of the sets and out of its source's table.
    fn remove_binding(&mut self, binding: Arc<Binding>, change: &mut Change<'_>) {
        let target = self.target(&binding.destination).ok();
        self.forget_binding(binding.clone(), change);
        let other = self.other_binding(&binding);
        if let (Some(source), Some(target)) = (self.exchanges.get_mut(&binding.source), target) {
            Arc::make_mut(source).table.remove(&BySource(binding.clone()), &target, other.as_deref());
        }
        self.touch(&binding.source, change.version);
    }

    /// Takes a binding out of the sets.
    fn forget_binding(&mut self, binding: Arc<Binding>, change: &mut Change<'_>) {
        self.by_source.remove(&BySource(binding.clone()));
        self.by_destination.remove(&ByDestination(binding.clone()));
        change.events.push(Event::Unbound { vhost: self.name.clone(), binding });
    }

    /// Another binding with the same ends, asked for by tables where one of them counts.
    fn other_binding(&self, binding: &Binding) -> Option<Arc<Binding>> {
        let source = self.exchanges.get(&binding.source)?;
        if !matches!(source.table, Table::Ring(_)) {
            return None;
        }
        let first = BySource(Arc::new(Binding {
            source: binding.source.clone(),
            destination: binding.destination.clone(),
            routing_key: Default::default(),
            arguments: Default::default(),
        }));
        let next = self.by_source.get_next(&first)?;
        let same_ends = next.0.source == binding.source && next.0.destination == binding.destination;
        same_ends.then(|| next.0.clone())
    }

    /// What a destination's name means now; 404 when it means nothing.
    pub(crate) fn target(&self, destination: &Destination) -> Result<Target, AmqpError> {
        match destination {
            Destination::Queue(name) => match self.queues.get(name) {
                Some(queue) => Ok(Target::Queue(queue.id)),
                None => Err(refusal::no_queue(&self.name, name.as_str())),
            },
            Destination::Exchange(name) => match self.exchanges.contains_key(name) {
                true => Ok(Target::Exchange(name.clone())),
                false => Err(refusal::no_exchange(&self.name, name.as_str())),
            },
        }
    }
}

/// The binding with line ends out of its names; neither end may be the default exchange.
fn named(mut binding: Binding) -> Result<Binding, AmqpError> {
    binding.source = line_end::without(&binding.source, binding.source.as_str());
    binding.destination = match &binding.destination {
        Destination::Queue(name) => Destination::Queue(line_end::without(name, name.as_str())),
        Destination::Exchange(name) => Destination::Exchange(line_end::without(name, name.as_str())),
    };
    let is_default = binding.source.as_str().is_empty()
        || matches!(&binding.destination, Destination::Exchange(name) if name.as_str().is_empty());
    if is_default { Err(refusal::default_exchange()) } else { Ok(binding) }
}
