//! What a message becomes when it is dead-lettered: its headers tell where it died and why.
//!
//! Invariant: `x-death` has one entry per (queue, reason), newest first; a message that comes back to
//! a queue without ever having been rejected by a client is in a cycle and is dropped.
//! Source: RabbitMQ, "Dead Letter Exchanges".

use super::record::Record;
use crate::queue::QueueConfig;
use types::properties::OwnedProperties;
use types::{FieldTable, FieldValue, Properties};

/// Why a message left its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeathReason {
    /// basic.reject or basic.nack without requeue.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It had been delivered too often.
    DeliveryLimit,
}

impl DeathReason {
    const ALL: [DeathReason; 4] =
        [DeathReason::Rejected, DeathReason::Expired, DeathReason::MaxLength, DeathReason::DeliveryLimit];

    /// Its number in logs and between nodes.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with a number.
    pub fn of_code(code: u8) -> Option<DeathReason> {
        DeathReason::ALL.get(usize::from(code)).copied()
    }

    /// The word in `x-death`.
    pub fn as_str(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLength => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// The message to publish to the dead-letter exchange.
#[derive(Debug, PartialEq)]
pub struct DeadLetter {
    /// Properties with the deaths recorded.
    pub properties: Vec<u8>,
    /// The key to route with: the configured one or the message's own. CC keys are still in the headers
    /// unless the configured one replaces them.
    pub routing_key: Vec<u8>,
    /// Names of queues that would close a cycle and must not get it.
    pub cycle_queues: Vec<String>,
}

fn text_of(bytes: &[u8]) -> FieldValue {
    FieldValue::LongString(bytes::Bytes::copy_from_slice(bytes))
}

fn texts(table: &FieldTable, key: &str) -> Vec<bytes::Bytes> {
    let Some(FieldValue::Array(values)) = table.get(key) else { return Vec::new() };
    values
        .iter()
        .filter_map(|value| match value {
            FieldValue::LongString(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// Makes the dead-lettered form of `record`, which died in `queue` at `now_s` (seconds since 1970).
pub fn dead_letter(
    record: &Record<'_>,
    queue: &str,
    reason: DeathReason,
    config: &QueueConfig,
    now_s: u64,
) -> DeadLetter {
    let Some(mut properties) =
        Properties::parse(record.properties).ok().and_then(|view| view.to_owned().ok())
    else {
        // Headers that cannot be read cannot be added to: the message goes as it is, rather than without them.
        let key = config.dead_letter_routing_key.as_ref().map(|key| key.as_bytes().to_vec());
        return DeadLetter {
            properties: record.properties.to_vec(),
            routing_key: key.unwrap_or_else(|| record.routing_key().to_vec()),
            cycle_queues: vec![queue.to_owned()],
        };
    };
    let mut headers = properties.headers.take().unwrap_or_default();
    let cc = texts(&headers, "CC");
    let is_first = headers.get("x-death").is_none();
    let death = new_death(record, queue, reason, &cc, &properties, now_s);
    record_death(&mut headers, queue, reason, death);
    record_last(&mut headers, record, queue, reason, is_first);
    let routing_key = match &config.dead_letter_routing_key {
        Some(key) => {
            headers.remove("CC");
            key.as_bytes().to_vec()
        }
        None => record.routing_key().to_vec(),
    };
    let cycle_queues = cycle_queues(&headers, reason);
    properties.expiration = None;
    properties.headers = Some(headers);
    DeadLetter { properties: properties.encode(), routing_key, cycle_queues }
}

fn new_death(
    record: &Record<'_>,
    queue: &str,
    reason: DeathReason,
    cc: &[bytes::Bytes],
    properties: &OwnedProperties,
    now_s: u64,
) -> FieldTable {
    let mut keys = vec![text_of(record.routing_key())];
    keys.extend(cc.iter().cloned().map(FieldValue::LongString));
    let mut death: FieldTable = [
        ("count", FieldValue::I64(1)),
        ("reason", FieldValue::text(reason.as_str())),
        ("queue", FieldValue::text(queue)),
        ("time", FieldValue::Timestamp(now_s)),
        ("exchange", text_of(record.exchange())),
        ("routing-keys", FieldValue::Array(keys)),
    ]
    .into_iter()
    .collect();
    if let Some(expiration) = &properties.expiration {
        death.insert("original-expiration", text_of(expiration));
    }
    death
}

/// Counts the death up if the message died here before for the same reason, and moves it to the front.
fn record_death(headers: &mut FieldTable, queue: &str, reason: DeathReason, mut death: FieldTable) {
    let mut deaths = match headers.remove("x-death") {
        Some(FieldValue::Array(deaths)) => deaths,
        _ => Vec::new(),
    };
    let before = deaths.iter().position(|death| {
        let FieldValue::Table(death) = death else { return false };
        death.get("queue").and_then(FieldValue::as_text) == Some(queue)
            && death.get("reason").and_then(FieldValue::as_text) == Some(reason.as_str())
    });
    if let Some(at) = before
        && let FieldValue::Table(mut old) = deaths.remove(at)
    {
        let count = old.get("count").and_then(FieldValue::as_integer).unwrap_or(0);
        old.insert("count", FieldValue::I64(count.saturating_add(1)));
        death = old;
    }
    deaths.insert(0, FieldValue::Table(death));
    headers.insert("x-death", FieldValue::Array(deaths));
}

fn record_last(
    headers: &mut FieldTable,
    record: &Record<'_>,
    queue: &str,
    reason: DeathReason,
    is_first: bool,
) {
    let facts = [
        ("reason", FieldValue::text(reason.as_str())),
        ("queue", FieldValue::text(queue)),
        ("exchange", text_of(record.exchange())),
    ];
    for (name, value) in facts {
        if is_first {
            headers.insert(&format!("x-first-death-{name}"), value.clone());
        }
        headers.insert(&format!("x-last-death-{name}"), value);
    }
}

/// Queues that the message has died in before, unless a client's reject is part of its way.
fn cycle_queues(headers: &FieldTable, reason: DeathReason) -> Vec<String> {
    let Some(FieldValue::Array(deaths)) = headers.get("x-death") else { return Vec::new() };
    if reason == DeathReason::Rejected {
        return Vec::new();
    }
    let mut names = Vec::new();
    for death in deaths {
        let FieldValue::Table(death) = death else { continue };
        // The way from here back to that queue: a reject on it means a client is in the loop.
        if death.get("reason").and_then(FieldValue::as_text) == Some(DeathReason::Rejected.as_str()) {
            break;
        }
        if let Some(name) = death.get("queue").and_then(FieldValue::as_text) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RecordHead;

    fn record(properties: &[u8]) -> Record<'_> {
        Record { head: RecordHead::default(), route: b"\x02ex\x02rk", properties, body: b"" }
    }

    fn headers(letter: &DeadLetter) -> FieldTable {
        Properties::parse(&letter.properties).unwrap().headers().unwrap()
    }

    fn first_death(headers: &FieldTable) -> FieldTable {
        match headers.get("x-death") {
            Some(FieldValue::Array(deaths)) => match &deaths[0] {
                FieldValue::Table(death) => death.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_second_death_counts_up() {
        let config = QueueConfig::default();
        let sent = OwnedProperties { expiration: Some((*b"10").into()), ..Default::default() }.encode();
        let once = dead_letter(&record(&sent), "q", DeathReason::Expired, &config, 7);
        let death = first_death(&headers(&once));
        assert_eq!(death.get("count"), Some(&FieldValue::I64(1)));
        assert_eq!(death.get("original-expiration").and_then(FieldValue::as_text), Some("10"));
        assert_eq!(Properties::parse(&once.properties).unwrap().expiration(), None);
        assert_eq!(once.cycle_queues, ["q"]);
        let twice = dead_letter(&record(&once.properties), "q", DeathReason::Expired, &config, 9);
        let death = first_death(&headers(&twice));
        assert_eq!(death.get("count"), Some(&FieldValue::I64(2)));
        assert_eq!(death.get("time"), Some(&FieldValue::Timestamp(7)));
    }

    #[test]
    fn a_reject_breaks_the_cycle() {
        let config = QueueConfig::default();
        let once = dead_letter(&record(&[0, 0]), "q", DeathReason::Rejected, &config, 1);
        assert!(once.cycle_queues.is_empty());
        let twice = dead_letter(&record(&once.properties), "retry", DeathReason::Expired, &config, 2);
        assert_eq!(twice.cycle_queues, ["retry"]);
        let table = headers(&twice);
        assert_eq!(table.get("x-first-death-queue").and_then(FieldValue::as_text), Some("q"));
        assert_eq!(table.get("x-last-death-queue").and_then(FieldValue::as_text), Some("retry"));
    }

    #[test]
    fn headers_that_cannot_be_read_stay() {
        let broken = [0x20, 0, 0, 0, 0, 4, 1, b'k', b'?', 0];
        let letter = dead_letter(&record(&broken), "q", DeathReason::Expired, &QueueConfig::default(), 1);
        assert_eq!(letter.properties, broken);
        assert_eq!(letter.routing_key, b"rk");
    }

    #[test]
    fn a_key_of_the_queue_replaces_cc() {
        let cc = FieldValue::Array(vec![FieldValue::text("other")]);
        let sent =
            OwnedProperties { headers: Some([("CC", cc)].into_iter().collect()), ..Default::default() }
                .encode();
        let own = dead_letter(&record(&sent), "q", DeathReason::MaxLength, &QueueConfig::default(), 1);
        assert_eq!(own.routing_key, b"rk");
        assert!(headers(&own).get("CC").is_some());
        let config = QueueConfig { dead_letter_routing_key: Some("dead".into()), ..Default::default() };
        let keyed = dead_letter(&record(&sent), "q", DeathReason::MaxLength, &config, 1);
        assert_eq!(keyed.routing_key, b"dead");
        assert!(headers(&keyed).get("CC").is_none());
    }
}
