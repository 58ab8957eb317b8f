//! An exchange as the catalog knows it, and its types.

use super::binding::Binding;
use super::queue::Queue;
use crate::policy::Policy;
use crate::queue::{QueueConfig, QueueKind};
use crate::router::table::Table;
use std::sync::Arc;
use types::limits::RECENT_HISTORY_COUNT_DEFAULT;
use types::{
    AmqpError, ExchangeName, FieldTable, FieldValue, NodeId, QueueId, QueueName, UserName, VhostName,
};

/// The type of exchanges that hold messages until their time.
pub(crate) const DELAYED: &str = "x-delayed-message";

/// Exchanges that every vhost has from the start: name, type, internal.
pub(crate) const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// A declared exchange with the bindings it is the source of.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Where it lives.
    pub vhost: VhostName,
    /// Its name, unique in the vhost; empty for the default exchange.
    pub name: ExchangeName,
    /// How it matches.
    pub kind: ExchangeKind,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Takes messages from other exchanges only.
    pub internal: bool,
    /// As declared.
    pub arguments: FieldTable,
    /// Where messages go that match nothing here; the argument beats the policy.
    pub alternate: Option<ExchangeName>,
    /// The policy that applies.
    pub policy: Option<Arc<Policy>>,
    /// Who declared it.
    pub user: UserName,
    /// The log of the messages that a delayed exchange holds.
    pub holding: Option<QueueId>,
    /// The node that has that log; 0 where there is no cluster or no log.
    pub home: NodeId,
    /// Changes whenever routing through this exchange may give another result, and is never used again.
    /// The default exchange's does not change with queues: its routes are never cacheable.
    pub version: u64,
    pub(crate) table: Table,
}

impl Exchange {
    /// Refuses a binding that the exchange's type cannot use.
    ///
    /// # Errors
    /// 406 with RabbitMQ's words.
    pub fn check_binding(&self, binding: &Binding) -> Result<(), AmqpError> {
        self.table.check_binding(binding)
    }

    /// The queue in which a delayed exchange holds messages until their time; nobody sees it by name.
    pub fn holding_queue(&self) -> Option<Arc<Queue>> {
        let id = self.holding?;
        Some(Arc::new(Queue {
            id,
            vhost: self.vhost.clone(),
            name: QueueName::from(self.name.as_str()),
            durable: self.durable,
            auto_delete: false,
            exclusive: None,
            kind: QueueKind::Classic,
            arguments: FieldTable::default(),
            config: QueueConfig { release_by: Some(self.name.clone()), ..QueueConfig::default() },
            policy: None,
            operator_policy: None,
            user: self.user.clone(),
            copies: None,
            home: self.home,
        }))
    }
}

impl PartialEq for Exchange {
    /// Versions tell how exchanges are bound, so the table need not be compared.
    fn eq(&self, other: &Exchange) -> bool {
        (&self.vhost, &self.name, self.version, &self.kind)
            == (&other.vhost, &other.name, other.version, &other.kind)
            && (self.durable, self.auto_delete, self.internal, self.holding, self.home)
                == (other.durable, other.auto_delete, other.internal, other.holding, other.home)
            && (&self.arguments, &self.alternate, &self.policy)
                == (&other.arguments, &other.alternate, &other.policy)
    }
}

/// What a consistent-hash exchange hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The routing key.
    RoutingKey,
    /// The header of this name (`hash-header`).
    Header(Box<str>),
    /// `hash-property` = `correlation_id`
    CorrelationId,
    /// `hash-property` = `message_id`
    MessageId,
    /// `hash-property` = `timestamp`
    Timestamp,
}

/// How an exchange chooses among its bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// Same key.
    Direct,
    /// All.
    Fanout,
    /// Patterns of words.
    Topic,
    /// Headers tables.
    Headers,
    /// One, by a hash, in proportion to weights.
    ConsistentHash {
        /// What is hashed.
        by: HashBy,
    },
    /// One at random.
    Random,
    /// One at random; RabbitMQ prefers a queue of the node, all of ours are.
    LocalRandom,
    /// One, by the routing key's hash.
    ModulusHash,
    /// All, and a new binding gets the last messages.
    RecentHistory {
        /// How many messages are kept.
        length: usize,
    },
    /// As `inner`, once the time in `x-delay` is over.
    Delayed {
        /// The type in `x-delayed-type`.
        inner: Box<ExchangeKind>,
    },
}

impl ExchangeKind {
    /// The type's word on the wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash { .. } => "x-consistent-hash",
            ExchangeKind::Random => "x-random",
            ExchangeKind::LocalRandom => "x-local-random",
            ExchangeKind::ModulusHash => "x-modulus-hash",
            ExchangeKind::RecentHistory { .. } => "x-recent-history",
            ExchangeKind::Delayed { .. } => DELAYED,
        }
    }

    /// The type called `word`, with what `arguments` say about it. A known word with bad arguments is
    /// refused only here, so check it when the exchange is created and not when it is declared again.
    pub fn parse(word: &str, arguments: &FieldTable) -> Result<ExchangeKind, AmqpError> {
        Ok(match word {
            "direct" => ExchangeKind::Direct,
            "fanout" => ExchangeKind::Fanout,
            "topic" => ExchangeKind::Topic,
            "headers" => ExchangeKind::Headers,
            "x-consistent-hash" => ExchangeKind::ConsistentHash { by: hash_by(arguments)? },
            "x-random" => ExchangeKind::Random,
            "x-local-random" => ExchangeKind::LocalRandom,
            "x-modulus-hash" => ExchangeKind::ModulusHash,
            "x-recent-history" => ExchangeKind::RecentHistory { length: history_length(arguments)? },
            DELAYED => ExchangeKind::Delayed { inner: Box::new(delayed_type(arguments)?) },
            _ => return Err(unknown_type(word)),
        })
    }

    /// Whether it holds messages until their time.
    pub fn is_delayed(&self) -> bool {
        matches!(self, ExchangeKind::Delayed { .. })
    }
}

/// 406 for a type that nobody knows.
pub(crate) fn unknown_type(word: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("unknown exchange type '{word}'"))
}

const WORDS: [&str; 10] = [
    "direct",
    "fanout",
    "headers",
    "topic",
    "x-consistent-hash",
    DELAYED,
    "x-local-random",
    "x-modulus-hash",
    "x-random",
    "x-recent-history",
];

/// Whether `word` names a type at all.
pub(crate) fn is_known_type(word: &str) -> bool {
    WORDS.contains(&word)
}

fn hash_by(arguments: &FieldTable) -> Result<HashBy, AmqpError> {
    let unsupported = |value: &FieldValue| {
        let text = value.as_text().map_or_else(|| crate::argument::term(value), str::to_owned);
        AmqpError::precondition_failed(format!("Unsupported property: {text}"))
    };
    match (arguments.get("hash-header"), arguments.get("hash-property")) {
        (None, None) => Ok(HashBy::RoutingKey),
        (Some(_), Some(_)) => {
            Err(AmqpError::precondition_failed("hash-header and hash-property are mutually exclusive"))
        }
        (Some(header), None) => match header.as_text() {
            Some(name) => Ok(HashBy::Header(name.into())),
            None => Err(unsupported(header)),
        },
        (None, Some(property)) => match property.as_text() {
            Some("correlation_id") => Ok(HashBy::CorrelationId),
            Some("message_id") => Ok(HashBy::MessageId),
            Some("timestamp") => Ok(HashBy::Timestamp),
            _ => Err(unsupported(property)),
        },
    }
}

fn history_length(arguments: &FieldTable) -> Result<usize, AmqpError> {
    let Some(value) = arguments.get("x-recent-history-length") else {
        return Ok(RECENT_HISTORY_COUNT_DEFAULT);
    };
    let length =
        value.as_integer().and_then(|length| usize::try_from(length).ok()).filter(|&length| length > 0);
    length.ok_or_else(|| {
        AmqpError::precondition_failed(format!(
            "Invalid argument {}, 'x-recent-history-length' must be a positive integer",
            crate::argument::term(value)
        ))
    })
}

fn delayed_type(arguments: &FieldTable) -> Result<ExchangeKind, AmqpError> {
    match arguments.get("x-delayed-type").and_then(FieldValue::as_text) {
        // A delay within a delay would only end the recursion later.
        Some(DELAYED) | None => Err(AmqpError::precondition_failed(
            "Invalid argument, 'x-delayed-type' must be an existing exchange type",
        )),
        Some(word) => ExchangeKind::parse(word, arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_word_is_a_type_with_that_word() {
        let arguments: FieldTable = [("x-delayed-type", FieldValue::text("topic"))].into_iter().collect();
        for word in WORDS {
            assert_eq!(ExchangeKind::parse(word, &arguments).unwrap().as_str(), word);
        }
    }
}
