//! Checking what a policy sets.
//!
//! Invariant: a stored definition holds known keys with values of their types only.

use crate::argument::{binary_term, term};
use types::{AmqpError, FieldTable, FieldValue};

/// What a value has to be.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// At least this.
    Integer(i64),
    Between(i64, i64),
    OneOf(&'static [&'static str]),
    MaxAge,
    /// Nothing is known of it here.
    Any,
}

/// Keys of policies, with what their values are and how a refusal calls them.
const KEYS: &[(&str, Form, &str)] = &[
    ("alternate-exchange", Form::Text, "alternate exchange name"),
    ("consumer-disconnected-timeout", Form::Integer(0), "consumer disconnected timeout"),
    ("consumer-timeout", Form::Integer(0), "consumer timeout"),
    ("dead-letter-exchange", Form::Text, "dead letter exchange name"),
    ("dead-letter-routing-key", Form::Text, "dead letter routing key"),
    ("dead-letter-strategy", Form::OneOf(&["at-most-once", "at-least-once"]), "dead letter strategy"),
    ("delayed-retry-max", Form::Integer(0), "delayed retry maximum"),
    ("delayed-retry-min", Form::Integer(0), "delayed retry minimum"),
    ("delayed-retry-type", Form::OneOf(&["disabled", "all", "failed", "returned"]), "delayed retry type"),
    ("delivery-limit", Form::Integer(i64::MIN), "delivery limit"),
    ("expires", Form::Integer(1), "queue expiry"),
    ("federation-upstream", Form::Text, "federation upstream"),
    ("federation-upstream-pattern", Form::Text, "federation upstream pattern"),
    ("federation-upstream-set", Form::Text, "federation upstream set"),
    ("initial-cluster-size", Form::Integer(0), "cluster size"),
    ("max-age", Form::MaxAge, "max age"),
    ("max-in-memory-bytes", Form::Integer(0), "maximum memory in bytes"),
    ("max-in-memory-length", Form::Integer(0), "maximum memory in bytes"),
    ("max-length", Form::Integer(0), "maximum length"),
    ("max-length-bytes", Form::Integer(0), "maximum length in bytes"),
    ("message-ttl", Form::Integer(0), "message TTL"),
    ("min-in-sync", Form::Integer(1), "minimum of copies in sync"),
    ("overflow", Form::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]), "overflow value"),
    (
        "queue-leader-locator",
        Form::OneOf(&["client-local", "balanced", "random", "least-leaders"]),
        "queue leader locator value",
    ),
    ("queue-master-locator", Form::OneOf(&["min-masters", "client-local", "random"]), "queue master locator"),
    ("queue-mode", Form::OneOf(&["default", "lazy"]), "queue-mode value"),
    ("queue-version", Form::Between(1, 2), "queue-version value"),
    ("routing-key", Form::Text, "routing key"),
    ("shards-per-node", Form::Integer(0), "shards per node"),
    ("stream-filter-size-bytes", Form::Between(16, 255), "filter size. Valid range is 16-255"),
    ("stream-max-segment-size-bytes", Form::Integer(0), "segment size"),
    ("target-group-size", Form::Integer(1), "target group size"),
    ("ha-mode", Form::Any, ""),
    ("ha-params", Form::Any, ""),
    ("ha-sync-mode", Form::Any, ""),
    ("ha-sync-batch-size", Form::Any, ""),
    ("ha-promote-on-shutdown", Form::Any, ""),
    ("ha-promote-on-failure", Form::Any, ""),
];

/// Keys that an operator policy may set.
const OPERATOR_KEYS: &[&str] = &[
    "expires",
    "message-ttl",
    "max-length",
    "max-length-bytes",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "delivery-limit",
    "queue-version",
    "overflow",
    "target-group-size",
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "min-in-sync",
];

/// 406 in the form of RabbitMQ's parameter validation, which the HTTP API hands on with status 400.
pub(crate) fn failed(reason: impl std::fmt::Display) -> AmqpError {
    AmqpError::precondition_failed(format!("Validation failed\n\n{reason}\n"))
}

/// Checks the definition of a policy, or of an operator policy.
pub(crate) fn check(definition: &FieldTable, operator: bool) -> Result<(), AmqpError> {
    if definition.is_empty() {
        return Err(failed("no policy provided"));
    }
    let known = |key: &str| {
        let entry = KEYS.iter().find(|(own, ..)| *own == key)?;
        (!operator || OPERATOR_KEYS.contains(&key)).then_some(entry)
    };
    let mut unknown = Vec::new();
    for (key, value) in definition.iter() {
        match known(key) {
            None => unknown.push(format!("{{{},{}}}", binary_term(key.as_bytes()), term(value))),
            Some((_, form, name)) if !fits(value, *form) => {
                return Err(failed(format!("{} is not a valid {name}", term(value))));
            }
            Some(_) => {}
        }
    }
    check_mirroring(definition).map_err(failed)?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(failed(format!("[{}] are not recognised policy settings", unknown.join(",\n "))))
}

fn fits(value: &FieldValue, form: Form) -> bool {
    match form {
        Form::Text => matches!(value, FieldValue::LongString(_)),
        Form::Integer(least) => value.as_integer().is_some_and(|number| number >= least),
        Form::Between(least, most) => {
            value.as_integer().is_some_and(|number| (least..=most).contains(&number))
        }
        Form::OneOf(words) => value.as_text().is_some_and(|word| words.contains(&word)),
        Form::MaxAge => value.as_text().is_some_and(is_max_age),
        Form::Any => true,
    }
}

/// A count and a unit: `7D`.
fn is_max_age(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    count.bytes().any(|digit| digit != b'0') && matches!(unit, "Y" | "M" | "D" | "h" | "m" | "s")
}

/// The keys of mirrored queues hang together.
fn check_mirroring(definition: &FieldTable) -> Result<(), String> {
    let Some(mode) = definition.get("ha-mode") else {
        return match definition.iter().any(|(key, _)| key.starts_with("ha-")) {
            false => Ok(()),
            true => {
                Err("ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown"
                    .to_owned())
            }
        };
    };
    check_mirror_count(mode, definition.get("ha-params"))?;
    for (key, words) in [
        ("ha-sync-mode", ["manual", "automatic"]),
        ("ha-promote-on-shutdown", ["always", "when-synced"]),
        ("ha-promote-on-failure", ["always", "when-synced"]),
    ] {
        let is_wrong = |value: &&FieldValue| !value.as_text().is_some_and(|word| words.contains(&word));
        if let Some(value) = definition.get(key).filter(is_wrong) {
            return Err(format!("{key} must be \"{}\" or \"{}\", got {}", words[0], words[1], term(value)));
        }
    }
    match definition.get("ha-sync-batch-size") {
        Some(size) if !fits(size, Form::Integer(1)) => {
            Err(format!("ha-sync-batch-size takes an integer greater than 0, {} given", term(size)))
        }
        _ => Ok(()),
    }
}

fn check_mirror_count(mode: &FieldValue, count: Option<&FieldValue>) -> Result<(), String> {
    let given = count.map_or_else(|| "none".to_owned(), term);
    match (mode.as_text(), count) {
        (Some("all"), None) => Ok(()),
        (Some("all"), Some(_)) => Err(format!("ha-mode=\"all\" does not take parameters, {given} given")),
        (Some("exactly"), Some(count)) if fits(count, Form::Integer(1)) => Ok(()),
        (Some("exactly"), _) => Err(format!("ha-mode=\"exactly\" takes an integer, {given} given")),
        (Some("nodes"), Some(FieldValue::Array(nodes))) if nodes.is_empty() => {
            Err("ha-mode=\"nodes\" list must be non-empty".to_owned())
        }
        (Some("nodes"), Some(FieldValue::Array(nodes))) => {
            match nodes.iter().find(|node| !fits(node, Form::Text)) {
                None => Ok(()),
                Some(other) => Err(format!(
                    "ha-mode=\"nodes\" takes a list of strings, {} was not a string",
                    term(other)
                )),
            }
        }
        (Some("nodes"), _) => Err(format!("ha-mode=\"nodes\" takes a list, {given} given")),
        _ => Err(format!("{} is not a valid ha-mode value", term(mode))),
    }
}
