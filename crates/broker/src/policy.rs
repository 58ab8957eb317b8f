//! Policies: which one applies, and what it comes to with arguments and an operator's policy.
//!
//! Invariant: at most one policy and one operator policy apply to an object; the result depends on the
//! stored policies only, never on the order they were set in.
//!
//! Merging (RabbitMQ): of numbers the smaller one counts, of what says how many copies there are (`ha-mode`,
//! `ha-params`, `min-in-sync`) the larger one; between policy and operator policy other values are the operator's;
//! between argument and policy the argument is stronger for names and words.

use crate::catalog::pattern::Pattern;
use crate::queue::{Overflow, QueueConfig, QueueKind};
use imbl::OrdMap;
use std::cmp::Ordering;
use std::sync::Arc;
use types::limits::{PRIORITY_MAX, QUORUM_DELIVERY_LIMIT_DEFAULT};
use types::{ExchangeName, FieldTable, FieldValue, RoutingKey};

/// Keys that keep a policy from applying to a classic queue.
const NOT_FOR_CLASSIC: &[&str] = &[
    "max-age",
    "stream-max-segment-size-bytes",
    "queue-leader-locator",
    "initial-cluster-size",
    "delivery-limit",
    "dead-letter-strategy",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "target-group-size",
];

/// Keys that keep a policy from applying to a quorum queue.
const NOT_FOR_QUORUM: &[&str] = &[
    "max-priority",
    "queue-mode",
    "single-active-consumer",
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "ha-promote-on-shutdown",
    "ha-promote-on-failure",
    "queue-master-locator",
    "max-age",
    "stream-max-segment-size-bytes",
    "initial-cluster-size",
];

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyTo {
    /// `all`
    All,
    /// `exchanges`
    Exchanges,
    /// `queues`
    Queues,
    /// `classic_queues`
    ClassicQueues,
    /// `quorum_queues`
    QuorumQueues,
    /// `streams`: kept, applies to nothing here.
    Streams,
}

impl ApplyTo {
    const ALL: [ApplyTo; 6] = [
        ApplyTo::All,
        ApplyTo::Exchanges,
        ApplyTo::Queues,
        ApplyTo::ClassicQueues,
        ApplyTo::QuorumQueues,
        ApplyTo::Streams,
    ];

    /// The word in `apply-to`.
    pub fn as_str(self) -> &'static str {
        match self {
            ApplyTo::All => "all",
            ApplyTo::Exchanges => "exchanges",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
        }
    }

    /// What `word` stands for.
    pub fn parse(word: &str) -> Option<ApplyTo> {
        ApplyTo::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// A policy or an operator policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Unique among the vhost's policies of its sort.
    pub name: String,
    /// Searched for in names.
    pub pattern: Pattern,
    /// What it is for.
    pub apply_to: ApplyTo,
    /// The highest one applies; of equals the one whose name comes first.
    pub priority: i64,
    /// Checked settings.
    pub definition: FieldTable,
}

impl Policy {
    /// Whether it may apply to an exchange of this name.
    pub fn applies_to_exchange(&self, name: &str) -> bool {
        matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges) && self.pattern.is_match(name)
    }

    /// Whether it may apply to a queue of this type and name.
    pub fn applies_to_queue(&self, kind: QueueKind, name: &str) -> bool {
        let (own, foreign) = match kind {
            QueueKind::Classic => (ApplyTo::ClassicQueues, NOT_FOR_CLASSIC),
            QueueKind::Quorum => (ApplyTo::QuorumQueues, NOT_FOR_QUORUM),
        };
        let is_for_kind = self.apply_to == own || matches!(self.apply_to, ApplyTo::All | ApplyTo::Queues);
        is_for_kind
            && !self.definition.iter().any(|(key, _)| foreign.contains(&key))
            && self.pattern.is_match(name)
    }
}

/// The policy that applies among `policies`.
pub fn best(
    policies: &OrdMap<String, Arc<Policy>>,
    applies: impl Fn(&Policy) -> bool,
) -> Option<&Arc<Policy>> {
    let mut best: Option<&Arc<Policy>> = None;
    for policy in policies.values() {
        if best.is_none_or(|best| policy.priority > best.priority) && applies(policy) {
            best = Some(policy);
        }
    }
    best
}

/// The settings that hold for an object: policy and operator policy merged.
pub fn effective_definition(policy: Option<&Policy>, operator: Option<&Policy>) -> FieldTable {
    let mut merged = policy.map(|policy| policy.definition.clone()).unwrap_or_default();
    let Some(operator) = operator else { return merged };
    for (key, limit) in operator.definition.iter() {
        let value = match merged.get(key) {
            Some(own) => merge(key, own, limit),
            None => limit.clone(),
        };
        merged.insert(key, value);
    }
    merged
}

/// The value of one setting, as in [`effective_definition`].
pub fn effective_value(policy: Option<&Policy>, operator: Option<&Policy>, key: &str) -> Option<FieldValue> {
    let value = |policy: Option<&'_ Policy>| policy.and_then(|policy| policy.definition.get(key)).cloned();
    match (value(policy), value(operator)) {
        (Some(own), Some(limit)) => Some(merge(key, &own, &limit)),
        (own, limit) => own.or(limit),
    }
}

/// The value that holds when both a user's and an operator's policy have one.
fn merge(key: &str, own: &FieldValue, operator: &FieldValue) -> FieldValue {
    let chosen = match key {
        "ha-mode" => match (mode_rank(own), mode_rank(operator)) {
            (own_rank, operator_rank) if own_rank >= operator_rank => own,
            _ => operator,
        },
        "ha-params" => match (own, operator, own.as_integer(), operator.as_integer()) {
            (.., Some(a), Some(b)) => {
                if a > b {
                    own
                } else {
                    operator
                }
            }
            (.., Some(_), None) => own,
            (.., None, Some(_)) => operator,
            (FieldValue::Array(a), FieldValue::Array(b), ..) if a.len() > b.len() => own,
            _ => operator,
        },
        // The operator's is the least that the user may ask for.
        "min-in-sync" => match (own.as_integer(), operator.as_integer()) {
            (Some(a), Some(b)) if a > b => own,
            _ => operator,
        },
        "message-ttl"
        | "max-length"
        | "max-length-bytes"
        | "max-in-memory-length"
        | "max-in-memory-bytes"
        | "expires"
        | "delivery-limit"
        | "target-group-size" => match (own.as_integer(), operator.as_integer()) {
            (Some(a), Some(b)) if key == "delivery-limit" => match stricter_limit(a, b) {
                Ordering::Greater => operator,
                _ => own,
            },
            (Some(a), Some(b)) if a <= b => own,
            _ => operator,
        },
        _ => operator,
    };
    chosen.clone()
}

fn mode_rank(mode: &FieldValue) -> u8 {
    match mode.as_text() {
        Some("all") => 3,
        Some("exactly") => 2,
        Some("nodes") => 1,
        _ => 0,
    }
}

/// Compares delivery limits; a negative one means none and is the weakest.
fn stricter_limit(a: i64, b: i64) -> Ordering {
    let rank = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    rank(a).cmp(&rank(b))
}

/// The alternate exchange that a policy gives.
pub fn alternate_exchange(policy: Option<&Policy>) -> Option<ExchangeName> {
    policy?.definition.get("alternate-exchange").and_then(FieldValue::as_text).map(ExchangeName::from)
}

/// The settings of a queue: its arguments, policy and operator policy merged.
pub fn queue_config(
    kind: QueueKind,
    arguments: &FieldTable,
    policy: Option<&Arc<Policy>>,
    operator: Option<&Arc<Policy>>,
) -> QueueConfig {
    let definition = effective_definition(policy.map(|policy| &**policy), operator.map(|policy| &**policy));
    let settings = Settings { arguments, definition: &definition };
    QueueConfig {
        message_ttl_ms: settings.smaller("message-ttl"),
        expires_ms: settings.smaller("expires"),
        max_length: settings.smaller("max-length"),
        max_length_bytes: settings.smaller("max-length-bytes"),
        overflow: settings.overflow(kind),
        dead_letter_exchange: settings
            .text("dead-letter-exchange")
            .map(|name| ExchangeName::from(name.as_str())),
        dead_letter_routing_key: settings.bytes("dead-letter-routing-key").map(RoutingKey::from),
        max_priority: settings.max_priority(kind),
        single_active_consumer: settings.argument("single-active-consumer").and_then(FieldValue::as_bool)
            == Some(true),
        delivery_limit: settings.delivery_limit(kind),
        consumer_timeout_ms: settings.smaller("consumer-timeout"),
        release_by: None,
    }
}

/// Arguments and policy settings side by side: `x-name` among the first is `name` among the second.
struct Settings<'a> {
    arguments: &'a FieldTable,
    definition: &'a FieldTable,
}

impl Settings<'_> {
    fn argument(&self, key: &str) -> Option<&FieldValue> {
        self.arguments.get(&format!("x-{key}"))
    }

    fn smaller(&self, key: &str) -> Option<u64> {
        let number = |value: Option<&FieldValue>| value.and_then(FieldValue::as_integer);
        let both = [number(self.argument(key)), number(self.definition.get(key))];
        both.into_iter().flatten().filter_map(|number| u64::try_from(number).ok()).min()
    }

    fn bytes(&self, key: &str) -> Option<&[u8]> {
        match self.argument(key).or_else(|| self.definition.get(key))? {
            FieldValue::LongString(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.bytes(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn overflow(&self, kind: QueueKind) -> Overflow {
        let policy = self.definition.get("overflow");
        let value = match kind {
            QueueKind::Classic => self.argument("overflow").or(policy),
            QueueKind::Quorum => policy.or(self.argument("overflow")),
        };
        match (value.and_then(FieldValue::as_text), kind) {
            (Some("reject-publish"), _) => Overflow::RejectPublish,
            (Some("reject-publish-dlx"), QueueKind::Classic) => Overflow::RejectPublishDlx,
            _ => Overflow::DropHead,
        }
    }

    fn max_priority(&self, kind: QueueKind) -> Option<u8> {
        let number = self.argument("max-priority").and_then(FieldValue::as_integer)?;
        (kind == QueueKind::Classic).then(|| u8::try_from(number).unwrap_or(PRIORITY_MAX))
    }

    fn delivery_limit(&self, kind: QueueKind) -> Option<u64> {
        let number = |value: Option<&FieldValue>| value.and_then(FieldValue::as_integer);
        let both = [number(self.argument("delivery-limit")), number(self.definition.get("delivery-limit"))];
        match both.into_iter().flatten().min_by(|a, b| stricter_limit(*a, *b)) {
            None => (kind == QueueKind::Quorum).then_some(QUORUM_DELIVERY_LIMIT_DEFAULT),
            Some(limit) => u64::try_from(limit).ok(),
        }
    }
}
