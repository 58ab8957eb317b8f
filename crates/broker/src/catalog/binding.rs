//! A binding, and the two orders in which a vhost keeps its bindings.
//!
//! Invariant: both orders hold the same bindings. A binding is the same as another when source,
//! destination, routing key and arguments are, whatever order its arguments came in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::cmp::Ordering;
use std::sync::Arc;
use types::{ExchangeName, FieldTable, FieldValue, QueueName, RoutingKey};

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// To a queue.
    Queue(QueueName),
    /// To an exchange.
    Exchange(ExchangeName),
}

/// A rule that leads messages from an exchange to a queue or to another exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange messages come from.
    pub source: ExchangeName,
    /// Where they go.
    pub destination: Destination,
    /// The binding key.
    pub routing_key: RoutingKey,
    /// Arguments, which headers exchanges match by.
    pub arguments: FieldTable,
}

impl Binding {
    /// The binding's name in the HTTP API: `~`, `key` or `key~hash`.
    pub fn properties_key(&self) -> String {
        let key = quote(self.routing_key.as_bytes());
        if self.arguments.is_empty() {
            return if key.is_empty() { "~".to_owned() } else { key };
        }
        let hash = fnv(&encoded(&self.arguments));
        format!("{key}~{}", URL_SAFE_NO_PAD.encode(hash.to_be_bytes()))
    }

    /// The same binding with its arguments in the order of their keys.
    pub(crate) fn sorted(mut self) -> Binding {
        let mut entries: Vec<(&str, FieldValue)> =
            self.arguments.iter().map(|(key, value)| (key, value.clone())).collect();
        entries.sort_by_key(|(key, _)| *key);
        self.arguments = entries.into_iter().collect();
        self
    }

    /// The first possible binding from `source`.
    fn first_from(source: &ExchangeName) -> Binding {
        Binding {
            source: source.clone(),
            destination: Destination::Queue(QueueName::from("")),
            routing_key: RoutingKey::default(),
            arguments: FieldTable::new(),
        }
    }

    /// The first possible binding to `destination`.
    fn first_to(destination: &Destination) -> Binding {
        Binding { destination: destination.clone(), ..Binding::first_from(&ExchangeName::from("")) }
    }
}

/// Percent-encodes as form fields are, and `~` too, which separates the parts of a properties key.
fn quote(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(byte.into()),
            b' ' => text.push('+'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn encoded(arguments: &FieldTable) -> Vec<u8> {
    let mut bytes = Vec::new();
    arguments.encode(&mut bytes);
    bytes
}

/// 32-bit FNV-1a.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// By arguments last: nearly all bindings have none, so the encoding is rarely needed.
fn compare_rules(a: &Binding, b: &Binding) -> Ordering {
    a.routing_key.cmp(&b.routing_key).then_with(|| match (a.arguments.is_empty(), b.arguments.is_empty()) {
        (false, false) => encoded(&a.arguments).cmp(&encoded(&b.arguments)),
        (a, b) => b.cmp(&a),
    })
}

macro_rules! ordered {
    ($(#[$doc:meta])* $name:ident, $first:expr, $probe:ident: $bound:ty, |$a:ident, $b:ident| $order:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name(pub(crate) Arc<Binding>);

        impl $name {
            /// The place where rows of `bound` begin.
            pub(crate) fn first($probe: &$bound) -> $name {
                $name(Arc::new($first))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &$name) -> Ordering {
                let ($a, $b) = (&*self.0, &*other.0);
                $order
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &$name) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $name {}
    };
}

ordered! {
    /// A binding in the order of sources, then destinations.
    BySource, Binding::first_from(source), source: ExchangeName, |a, b| {
        a.source
            .cmp(&b.source)
            .then_with(|| a.destination.cmp(&b.destination))
            .then_with(|| compare_rules(a, b))
    }
}
ordered! {
    /// A binding in the order of destinations, then sources.
    ByDestination, Binding::first_to(destination), destination: Destination, |a, b| {
        a.destination
            .cmp(&b.destination)
            .then_with(|| a.source.cmp(&b.source))
            .then_with(|| compare_rules(a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(key: &str, arguments: &[(&str, FieldValue)]) -> Binding {
        Binding {
            source: "x".into(),
            destination: Destination::Queue("q".into()),
            routing_key: key.into(),
            arguments: arguments.iter().cloned().collect(),
        }
    }

    #[test]
    fn properties_keys_are_those_of_the_http_api() {
        assert_eq!(binding("", &[]).properties_key(), "~");
        assert_eq!(binding("a.b", &[]).properties_key(), "a.b");
        assert_eq!(binding("a b/~#", &[]).properties_key(), "a+b%2F%7E%23");
        let with_arguments = binding("k", &[("x", FieldValue::I32(1))]).properties_key();
        assert!(with_arguments.starts_with("k~") && with_arguments.len() == 8, "{with_arguments}");
        assert!(binding("", &[("x", FieldValue::I32(1))]).properties_key().starts_with('~'));
    }

    #[test]
    fn the_order_of_arguments_does_not_make_another_binding() {
        let (one, two) = (("a", FieldValue::I32(1)), ("b", FieldValue::text("2")));
        let there = BySource(Arc::new(binding("k", &[one.clone(), two.clone()]).sorted()));
        let back = BySource(Arc::new(binding("k", &[two, one.clone()]).sorted()));
        assert_eq!(there, back);
        assert_ne!(there, BySource(Arc::new(binding("k", &[one]).sorted())));
        assert_ne!(there, BySource(Arc::new(binding("k", &[]).sorted())));
    }
}
