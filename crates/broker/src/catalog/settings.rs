//! Commands about what a vhost is set to: limits, tracing, parameters and policies.

use super::Catalog;
use super::account::unknown_limit;
use super::command::Event;
use super::definition;
use super::exchange::Exchange;
use super::pattern::Pattern;
use super::queue::Queue;
use super::topology::Change;
use super::vhost::{Limits, Vhost};
use crate::policy::{self, ApplyTo, Policy};
use crate::queue::QueueKind;
use std::sync::Arc;
use types::{AmqpError, ExchangeName, FieldTable, QueueName};

/// A policy as an operator gives it.
pub(crate) struct PolicyWish {
    pub(crate) name: String,
    pub(crate) pattern: String,
    pub(crate) apply_to: String,
    pub(crate) priority: i64,
    pub(crate) definition: FieldTable,
}

impl PolicyWish {
    fn check(self, operator: bool) -> Result<Policy, AmqpError> {
        let pattern = Pattern::new(&self.pattern).map_err(|reason| {
            definition::failed(format!("pattern should be regular expression but is invalid: {reason}"))
        })?;
        let apply_to = ApplyTo::parse(&self.apply_to).ok_or_else(|| {
            definition::failed(format!(
                "apply-to '{}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                 'streams', 'exchanges', or 'all'",
                self.apply_to
            ))
        })?;
        definition::check(&self.definition, operator)?;
        Ok(Policy {
            name: self.name,
            pattern,
            apply_to,
            priority: self.priority,
            definition: self.definition,
        })
    }
}

impl Catalog {
    pub(crate) fn set_global_parameter(&mut self, name: String, value: String) -> bool {
        self.global_parameters.insert(name, value.clone()).is_none_or(|old| old != value)
    }
}

impl Vhost {
    /// Sets a limit by its name, or clears it; all of them when no name is given.
    pub(crate) fn set_limit(&mut self, limit: Option<&str>, value: Option<i64>) -> Result<bool, AmqpError> {
        let mut limits = self.limits.clone();
        match limit {
            None => limits = Limits::default(),
            Some("max-connections") => limits.max_connections = value,
            Some("max-queues") => limits.max_queues = value,
            Some(other) => return Err(unknown_limit(other, value)),
        }
        let changed = limits != self.limits;
        self.limits = limits;
        Ok(changed)
    }

    pub(crate) fn set_parameter(&mut self, key: (String, String), value: String) -> bool {
        self.parameters.insert(key, value.clone()).is_none_or(|old| old != value)
    }

    pub(crate) fn set_policy(
        &mut self,
        wish: PolicyWish,
        operator: bool,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let policy = wish.check(operator)?;
        let policies = if operator { &mut self.operator_policies } else { &mut self.policies };
        if policies.get(&policy.name).is_some_and(|old| **old == policy) {
            return Ok(false);
        }
        policies.insert(policy.name.clone(), Arc::new(policy));
        self.apply_policies(change);
        Ok(true)
    }

    pub(crate) fn clear_policy(&mut self, name: &str, operator: bool, change: &mut Change<'_>) -> bool {
        let policies = if operator { &mut self.operator_policies } else { &mut self.policies };
        let gone = policies.remove(name).is_some();
        if gone {
            self.apply_policies(change);
        }
        gone
    }

    /// The policy that applies to an exchange. None reaches the default exchange: it has no alternate.
    pub(crate) fn policy_of_exchange(&self, name: &ExchangeName) -> Option<&Arc<Policy>> {
        let name = name.as_str();
        policy::best(&self.policies, |policy| !name.is_empty() && policy.applies_to_exchange(name))
    }

    /// The policy and the operator policy that apply to a queue.
    pub(crate) fn policies_of_queue(
        &self,
        kind: QueueKind,
        name: &QueueName,
    ) -> (Option<&Arc<Policy>>, Option<&Arc<Policy>>) {
        let applies = |policy: &Policy| policy.applies_to_queue(kind, name.as_str());
        (policy::best(&self.policies, applies), policy::best(&self.operator_policies, applies))
    }

    /// Looks for every queue and exchange again which policies apply.
    fn apply_policies(&mut self, change: &mut Change<'_>) {
        let queues: Vec<Arc<Queue>> =
            self.queues.values().filter_map(|queue| self.queue_with_policies(queue)).collect();
        for queue in queues {
            self.queues.insert(queue.name.clone(), queue.clone());
            change.events.push(Event::QueueConfigured(queue));
        }
        let exchanges: Vec<Arc<Exchange>> =
            self.exchanges.values().filter_map(|exchange| self.exchange_with_policy(exchange)).collect();
        for exchange in exchanges {
            self.replace_exchange(exchange, change);
        }
    }

    /// The queue with the policies that apply now; None when nothing is different.
    fn queue_with_policies(&self, queue: &Queue) -> Option<Arc<Queue>> {
        let (policy, operator_policy) = self.policies_of_queue(queue.kind, &queue.name);
        if is_same(policy, queue.policy.as_ref()) && is_same(operator_policy, queue.operator_policy.as_ref())
        {
            return None;
        }
        Some(Arc::new(Queue {
            config: policy::queue_config(queue.kind, &queue.arguments, policy, operator_policy),
            policy: policy.cloned(),
            operator_policy: operator_policy.cloned(),
            ..queue.clone()
        }))
    }

    /// The exchange with the policy that applies now; None when it is the same one.
    fn exchange_with_policy(&self, exchange: &Exchange) -> Option<Arc<Exchange>> {
        let policy = self.policy_of_exchange(&exchange.name);
        if is_same(policy, exchange.policy.as_ref()) {
            return None;
        }
        let alternate = match exchange.arguments.get("alternate-exchange") {
            Some(_) => exchange.alternate.clone(),
            None => policy::alternate_exchange(policy.map(|policy| &**policy)),
        };
        Some(Arc::new(Exchange { policy: policy.cloned(), alternate, ..exchange.clone() }))
    }

    fn replace_exchange(&mut self, exchange: Arc<Exchange>, change: &mut Change<'_>) {
        let name: ExchangeName = exchange.name.clone();
        // Read again: an exchange before this one in the list may have touched its version.
        let Some(old) = self.exchanges.get(&name).cloned() else { return };
        let replacement = Exchange { version: old.version, ..(*exchange).clone() };
        let (before, after) = (old.alternate.clone(), replacement.alternate.clone());
        self.exchanges.insert(name.clone(), Arc::new(replacement));
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.alternates.remove(&(before, name.clone()));
        }
        if let Some(after) = after {
            self.alternates.insert((after, name.clone()));
        }
        self.touch(&name, change.version);
    }
}

fn is_same(a: Option<&Arc<Policy>>, b: Option<&Arc<Policy>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
