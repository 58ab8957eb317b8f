//! Arguments of queues and exchanges: checking them when something is created, comparing them when it is
//! declared again, and telling their values in RabbitMQ's words.
//!
//! Unknown `x-` arguments are let through and not compared; a known one of another queue type is refused.

use crate::queue::QueueKind;
use types::limits::PRIORITY_MAX;
use types::{AmqpError, ExchangeName, FieldTable, FieldValue};

/// Longest `x-expires` and `x-message-ttl`: ten years (RabbitMQ 3.13).
const EXPIRY_MS_MAX: i64 = 315_360_000_000;

/// Arguments that a classic queue knows, in the order in which they are compared.
const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
    // Beyond RabbitMQ: every queue may have a limit.
    "x-delivery-limit",
];

/// Arguments that a quorum queue knows.
const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];

/// Arguments that only streams know.
const STREAM: &[&str] =
    &["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes", "x-initial-cluster-size"];

type Check = fn(&FieldValue, &FieldTable) -> Result<(), String>;

/// Checks in the order in which they are made.
const CHECKS: &[(&str, Check)] = &[
    ("x-expires", |value, _| match integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        number => expiry(number),
    }),
    ("x-message-ttl", |value, _| expiry(integer(value)?)),
    ("x-dead-letter-exchange", |value, _| text(value).map(|_| ())),
    ("x-dead-letter-routing-key", |value, arguments| {
        match (text(value)?, arguments.get("x-dead-letter-exchange")) {
            (_, None) => Err("routing_key_but_no_dlx_defined".to_owned()),
            _ => Ok(()),
        }
    }),
    ("x-dead-letter-strategy", |value, _| {
        word(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
    }),
    ("x-max-length", |value, _| not_negative(value).map(|_| ())),
    ("x-max-length-bytes", |value, _| not_negative(value).map(|_| ())),
    ("x-max-in-memory-length", |value, _| not_negative(value).map(|_| ())),
    ("x-max-in-memory-bytes", |value, _| not_negative(value).map(|_| ())),
    ("x-max-priority", |value, _| match not_negative(value)? {
        number if number > i64::from(PRIORITY_MAX) => Err(format!("{{max_value_exceeded,{number}}}")),
        _ => Ok(()),
    }),
    ("x-overflow", |value, _| {
        word(value, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
    }),
    ("x-queue-mode", |value, _| match text(value)?.as_str() {
        "default" | "lazy" => Ok(()),
        other => Err(format!("\"unsupported queue mode '{other}'\"")),
    }),
    ("x-queue-version", |value, _| match not_negative(value)? {
        1 | 2 => Ok(()),
        number => Err(format!("\"unsupported queue version '{number}'\"")),
    }),
    ("x-single-active-consumer", |value, _| match value {
        FieldValue::Bool(_) => Ok(()),
        other => Err(unacceptable(other)),
    }),
    ("x-quorum-initial-group-size", |value, _| match not_negative(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => Ok(()),
    }),
    ("x-delivery-limit", |value, _| integer(value).map(|_| ())),
    ("x-queue-leader-locator", |value, _| {
        const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders", "min-masters"];
        word(value, LOCATORS, "invalid_queue_locator_arg")
    }),
];

/// The arguments that a queue of type `kind` knows.
pub fn keys_of(kind: QueueKind) -> &'static [&'static str] {
    match kind {
        QueueKind::Classic => CLASSIC,
        QueueKind::Quorum => QUORUM,
    }
}

/// The queue type as RabbitMQ's refusals call it.
fn module_of(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "rabbit_classic_queue",
        QueueKind::Quorum => "rabbit_quorum_queue",
    }
}

/// Checks the arguments of a new queue, which `queue` names, and gives its type.
pub fn check_queue_arguments(arguments: &FieldTable, queue: &str) -> Result<QueueKind, AmqpError> {
    let invalid = |key: &str, reason: String| {
        AmqpError::precondition_failed(format!("invalid arg '{key}' for {queue}: {reason}"))
    };
    let kind = queue_kind(arguments).map_err(|reason| invalid("x-queue-type", reason))?;
    let known = keys_of(kind);
    for (key, check) in CHECKS.iter().filter(|(key, _)| known.contains(key)) {
        if let Some(value) = arguments.get(key) {
            check(value, arguments).map_err(|reason| invalid(key, reason))?;
        }
    }
    let is_foreign = |key: &&str| {
        !known.contains(key) && (CLASSIC.contains(key) || QUORUM.contains(key) || STREAM.contains(key))
    };
    match arguments.iter().map(|(key, _)| key).find(is_foreign) {
        None => Ok(kind),
        Some(key) => Err(AmqpError::precondition_failed(format!(
            "invalid arg '{key}' for {queue} of queue type {}",
            module_of(kind)
        ))),
    }
}

/// Refuses a server-named queue of a type that must have a name of its own.
pub fn check_server_named(arguments: &FieldTable) -> Result<(), AmqpError> {
    match queue_kind(arguments) {
        Ok(QueueKind::Quorum) => Err(AmqpError::precondition_failed(format!(
            "Cannot declare a server-named queue for type {}",
            module_of(QueueKind::Quorum)
        ))),
        _ => Ok(()),
    }
}

fn queue_kind(arguments: &FieldTable) -> Result<QueueKind, String> {
    let Some(value) = arguments.get("x-queue-type") else { return Ok(QueueKind::Classic) };
    match text(value)?.as_str() {
        "classic" => Ok(QueueKind::Classic),
        "quorum" => Ok(QueueKind::Quorum),
        "stream" => {
            Err("\"unsupported queue type 'stream'; supported are 'classic' and 'quorum'\"".to_owned())
        }
        other => Err(format!("\"unsupported queue type '{other}'\"")),
    }
}

/// The exchange that an argument names; `resource` is what the argument belongs to.
pub fn exchange_name(
    arguments: &FieldTable,
    key: &str,
    resource: &str,
) -> Result<Option<ExchangeName>, AmqpError> {
    match arguments.get(key) {
        None => Ok(None),
        Some(FieldValue::LongString(name)) => {
            Ok(Some(ExchangeName::from(String::from_utf8_lossy(name).as_ref())))
        }
        Some(other) => Err(AmqpError::precondition_failed(format!(
            "invalid type '{}' for arg '{key}' in {resource}",
            other.type_name()
        ))),
    }
}

fn integer(value: &FieldValue) -> Result<i64, String> {
    value.as_integer().ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

fn not_negative(value: &FieldValue) -> Result<i64, String> {
    match integer(value)? {
        number if number < 0 => Err(format!("{{value_negative,{number}}}")),
        number => Ok(number),
    }
}

fn expiry(number: i64) -> Result<(), String> {
    match number {
        ..0 => Err(format!("{{value_negative,{number}}}")),
        0..=EXPIRY_MS_MAX => Ok(()),
        _ => Err(format!("{{value_too_large,{number}}}")),
    }
}

fn text(value: &FieldValue) -> Result<String, String> {
    match value {
        FieldValue::LongString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        other => Err(unacceptable(other)),
    }
}

fn word(value: &FieldValue, words: &[&str], refusal: &str) -> Result<(), String> {
    if words.contains(&text(value)?.as_str()) { Ok(()) } else { Err(refusal.to_owned()) }
}

fn unacceptable(value: &FieldValue) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

/// 406 for a property or argument that is not what it was.
pub fn inequivalent(key: &str, resource: &str, received: &str, current: &str) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "inequivalent arg '{key}' for {resource}: received {received} but current is {current}"
    ))
}

/// Compares a property of an existing thing with what is declared now.
pub fn check_same_flag(key: &str, resource: &str, current: bool, received: bool) -> Result<(), AmqpError> {
    if current == received {
        return Ok(());
    }
    Err(inequivalent(key, resource, &format!("'{received}'"), &format!("'{current}'")))
}

/// Compares the arguments under `keys` of an existing thing with those declared now.
pub fn check_same_arguments(
    current: &FieldTable,
    received: &FieldTable,
    resource: &str,
    keys: &[&str],
) -> Result<(), AmqpError> {
    for key in keys {
        match (current.get(key), received.get(key)) {
            (None, None) => {}
            (Some(old), Some(new)) if same(old, new) => {}
            // Both there: RabbitMQ tells the values without their types.
            (Some(old), Some(new)) => return Err(inequivalent(key, resource, &quoted(new), &quoted(old))),
            (Some(only), None) | (None, Some(only))
                if *key == "x-queue-type" && only.as_text() == Some("classic") => {}
            (old, new) => return Err(inequivalent(key, resource, &described(new), &described(old))),
        }
    }
    Ok(())
}

fn same(a: &FieldValue, b: &FieldValue) -> bool {
    match (a.as_integer(), b.as_integer()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn bare(value: &FieldValue) -> String {
    match value {
        FieldValue::LongString(bytes) | FieldValue::Binary(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        other => term(other),
    }
}

fn quoted(value: &FieldValue) -> String {
    format!("'{}'", bare(value))
}

fn described(value: Option<&FieldValue>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{}' of type '{}'", bare(value), value.type_name()),
    }
}

/// A word as an Erlang atom in quotes: atoms that are not plain words have quotes of their own.
pub fn atom_term(word: &str) -> String {
    if word.contains('-') { format!("''{word}''") } else { format!("'{word}'") }
}

/// A value as Erlang prints it.
pub fn term(value: &FieldValue) -> String {
    let list = |values: Vec<String>| format!("[{}]", values.join(","));
    match value {
        FieldValue::Bool(value) => value.to_string(),
        FieldValue::F32(value) => format!("{value:?}"),
        FieldValue::F64(value) => format!("{value:?}"),
        FieldValue::Timestamp(value) => value.to_string(),
        FieldValue::Decimal(scale, value) => format!("{{{scale},{value}}}"),
        FieldValue::LongString(bytes) | FieldValue::Binary(bytes) => binary_term(bytes),
        FieldValue::Array(values) => list(values.iter().map(term).collect()),
        FieldValue::Table(table) => list(
            table
                .iter()
                .map(|(key, value)| format!("{{{},{}}}", binary_term(key.as_bytes()), term(value)))
                .collect(),
        ),
        FieldValue::Void => "undefined".to_owned(),
        integer => integer.as_integer().unwrap_or_default().to_string(),
    }
}

/// Bytes as Erlang prints a binary.
pub fn binary_term(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "<<>>".to_owned(),
        Ok(text) if !text.chars().any(char::is_control) => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("<<\"{escaped}\"{}>>", if text.is_ascii() { "" } else { "/utf8" })
        }
        _ => format!("<<{}>>", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
    }
}
