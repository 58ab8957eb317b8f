//! The router: which queues does a message reach?
//!
//! Invariant: routing reads one immutable vhost and nothing else, so the same vhost, message and random
//! number give the same routes. No lock; what is found is sorted by queue id.
//!
//! Follows RabbitMQ 3.13: every exchange on the way sees all routing keys of the message (its own and
//! those of the `CC` and `BCC` headers); an alternate exchange is taken when an exchange has no matching
//! binding; an exchange is passed once.

pub(crate) mod compact_map;
mod headers;
pub(crate) mod ring;
mod slots;
pub(crate) mod table;
pub(crate) mod target;
mod topic;

use crate::catalog::exchange::{Exchange, ExchangeKind, HashBy};
use crate::catalog::vhost::Vhost;
use headers::HeaderView;
use std::collections::BTreeSet;
use table::Table;
use target::Target;
use types::{ExchangeName, FieldTable, FieldValue, Properties, QueueId};

/// Longest delay of an `x-delayed-message` exchange; a longer one counts as none, as in RabbitMQ.
const DELAY_MS_MAX: i64 = u32::MAX as i64;

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct RoutingInput<'a> {
    /// As published.
    pub routing_key: &'a [u8],
    /// None when the message is known to have no headers and no property that routing asks for.
    pub properties: Option<&'a Properties<'a>>,
    /// For exchanges that pick one of their bindings.
    pub random: u64,
}

/// What routing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Each queue once, by id.
    pub queues: Vec<QueueId>,
    /// `x-delayed-message` exchanges where the message has to wait; the caller parks it for each.
    pub delayed: Vec<ExchangeName>,
    /// `x-recent-history` exchanges that were passed and must remember the message.
    pub recent_history: Vec<ExchangeName>,
    /// Whether the routes follow from exchange and routing key alone, until the exchange's version changes.
    /// False after the default exchange too: its routes change with every queue. A cached route is for
    /// messages of which [`names_more_keys`] says no.
    pub cacheable: bool,
}

impl Routes {
    fn clear(&mut self) {
        self.queues.clear();
        self.delayed.clear();
        self.recent_history.clear();
        self.cacheable = true;
    }
}

/// Routes through `exchange` into `routes`, whose old contents go.
pub fn route(vhost: &Vhost, exchange: &Exchange, input: &RoutingInput<'_>, routes: &mut Routes) {
    Walk::new(vhost, input, routes).run(exchange, false);
}

/// The same for a delayed message whose time has come at `exchange`.
pub fn route_due(vhost: &Vhost, exchange: &Exchange, input: &RoutingInput<'_>, routes: &mut Routes) {
    Walk::new(vhost, input, routes).run(exchange, true);
}

/// How long the message has to wait at `exchange`; None when it does not or the exchange delays nothing.
pub fn delay_ms(exchange: &Exchange, properties: &Properties<'_>) -> Option<u64> {
    if !matches!(exchange.kind, ExchangeKind::Delayed { .. }) {
        return None;
    }
    properties.headers_raw()?;
    delay_of(&properties.headers().ok()?)
}

fn delay_of(headers: &FieldTable) -> Option<u64> {
    let value = headers.get("x-delay")?;
    let delay = value.as_integer().or_else(|| value.as_text()?.trim().parse().ok())?;
    (1..=DELAY_MS_MAX).contains(&delay).then_some(delay as u64)
}

/// Whether the headers may hold `CC` or `BCC`, seen without decoding them; routes found for the exchange
/// and routing key alone do not serve such a message.
pub fn names_more_keys(properties: &Properties<'_>) -> bool {
    let Some(raw) = properties.headers_raw() else { return false };
    let named = |key: &[u8]| raw.windows(key.len()).any(|window| window == key);
    named(b"\x02CCA") || named(b"\x03BCCA")
}

struct Walk<'a, 'r> {
    vhost: &'a Vhost,
    input: &'a RoutingInput<'a>,
    /// Decoded once, when the first exchange or key asks for them.
    headers: Option<FieldTable>,
    /// Keys of `CC` and `BCC`.
    more_keys: Vec<Box<[u8]>>,
    pending: Vec<&'a Exchange>,
    seen: BTreeSet<ExchangeName>,
    routes: &'r mut Routes,
}

impl<'a, 'r> Walk<'a, 'r> {
    fn new(vhost: &'a Vhost, input: &'a RoutingInput<'a>, routes: &'r mut Routes) -> Walk<'a, 'r> {
        routes.clear();
        let mut walk = Walk {
            vhost,
            input,
            headers: None,
            more_keys: Vec::new(),
            pending: Vec::new(),
            seen: BTreeSet::new(),
            routes,
        };
        if input.properties.is_some_and(names_more_keys) {
            walk.read_more_keys();
        }
        walk
    }

    fn run(mut self, first: &'a Exchange, is_due: bool) {
        self.step(first, first, is_due);
        while let Some(exchange) = self.pending.pop() {
            self.step(exchange, first, false);
        }
        self.routes.queues.sort_unstable();
        self.routes.queues.dedup();
    }

    /// Passes one exchange: notes the queues it leads to, and the exchanges to pass later.
    fn step(&mut self, exchange: &'a Exchange, first: &'a Exchange, is_due: bool) {
        let mut kind = &exchange.kind;
        if let ExchangeKind::Delayed { inner } = kind {
            self.routes.cacheable = false;
            self.decode_headers();
            if !is_due && self.headers.as_ref().is_some_and(|headers| delay_of(headers).is_some()) {
                self.routes.delayed.push(exchange.name.clone());
                return;
            }
            kind = inner;
        }
        let found = if exchange.name.as_str().is_empty() {
            self.default_exchange()
        } else {
            self.matches(exchange, kind)
        };
        let alternate = if found.is_any { None } else { exchange.alternate.clone() };
        for name in found.exchanges.into_iter().chain(alternate) {
            self.plan(name, first);
        }
    }

    fn plan(&mut self, name: ExchangeName, first: &Exchange) {
        if name == first.name || self.seen.contains(&name) {
            return;
        }
        if let Some(exchange) = self.vhost.exchange(name.as_str()) {
            self.pending.push(exchange);
        }
        self.seen.insert(name);
    }

    /// Every queue is bound to the default exchange by its name.
    fn default_exchange(&mut self) -> Found {
        self.routes.cacheable = false;
        let mut found = Found::default();
        for key in keys(self.input, &self.more_keys) {
            let queue = std::str::from_utf8(key).ok().and_then(|name| self.vhost.queue(name));
            if let Some(queue) = queue {
                found.is_any = true;
                self.routes.queues.push(queue.id);
            }
        }
        found
    }

    fn matches(&mut self, exchange: &Exchange, kind: &ExchangeKind) -> Found {
        self.prepare(exchange, kind);
        let mut found = Found::default();
        let queues = &mut self.routes.queues;
        let mut note = |target: &Target| {
            found.is_any = true;
            match target {
                Target::Queue(id) => queues.push(*id),
                Target::Exchange(name) => found.exchanges.push(name.clone()),
            }
        };
        match &exchange.table {
            Table::Headers(_) => {
                let none = FieldTable::new();
                let view = HeaderView::new(self.headers.as_ref().unwrap_or(&none));
                exchange.table.each_for_headers(&view, note);
            }
            Table::Ring(ring) => {
                let value = hashed_value(kind, self.input, self.headers.as_ref());
                ring.pick(&value).into_iter().for_each(note);
            }
            Table::Slots(slots) => {
                let number = match kind {
                    ExchangeKind::ModulusHash => ring::hash(self.input.routing_key),
                    _ => self.input.random,
                };
                slots.pick(number).into_iter().for_each(note);
            }
            Table::All(_) => exchange.table.each_for_key(self.input.routing_key, note),
            Table::Direct(_) | Table::Topic(_) => {
                for key in keys(self.input, &self.more_keys) {
                    exchange.table.each_for_key(key, &mut note);
                }
            }
        }
        found
    }

    /// Decodes headers if `kind` asks for them, and notes what makes the result a matter of this message.
    fn prepare(&mut self, exchange: &Exchange, kind: &ExchangeKind) {
        match kind {
            ExchangeKind::Headers | ExchangeKind::ConsistentHash { by: HashBy::Header(_) } => {
                self.routes.cacheable = false;
                self.decode_headers();
            }
            ExchangeKind::ConsistentHash { by: HashBy::RoutingKey } | ExchangeKind::ModulusHash => {}
            ExchangeKind::ConsistentHash { .. } | ExchangeKind::Random | ExchangeKind::LocalRandom => {
                self.routes.cacheable = false;
            }
            ExchangeKind::RecentHistory { .. } => {
                self.routes.cacheable = false;
                self.decode_headers();
                let no_store =
                    self.headers.as_ref().and_then(|headers| headers.get("x-recent-history-no-store"));
                if no_store != Some(&FieldValue::Bool(true)) {
                    self.routes.recent_history.push(exchange.name.clone());
                }
            }
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Delayed { .. } => {}
        }
    }

    fn decode_headers(&mut self) {
        if self.headers.is_none() {
            let decoded = self.input.properties.and_then(|properties| properties.headers().ok());
            self.headers = Some(decoded.unwrap_or_default());
        }
    }

    fn read_more_keys(&mut self) {
        self.decode_headers();
        let Some(headers) = &self.headers else { return };
        for name in ["CC", "BCC"] {
            let Some(FieldValue::Array(values)) = headers.get(name) else { continue };
            self.routes.cacheable = false;
            for value in values {
                if let FieldValue::LongString(key) = value {
                    self.more_keys.push(key.as_ref().into());
                }
            }
        }
    }
}

/// What one exchange matched, apart from queues.
#[derive(Default)]
struct Found {
    is_any: bool,
    exchanges: Vec<ExchangeName>,
}

fn keys<'a>(input: &RoutingInput<'a>, more: &'a [Box<[u8]>]) -> impl Iterator<Item = &'a [u8]> {
    std::iter::once(input.routing_key).chain(more.iter().map(|key| &**key))
}

/// The bytes that choose a bucket. A message without the header or property always has the same one.
fn hashed_value(kind: &ExchangeKind, input: &RoutingInput<'_>, headers: Option<&FieldTable>) -> Vec<u8> {
    let ExchangeKind::ConsistentHash { by } = kind else { return Vec::new() };
    let property = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
    let properties = input.properties;
    let value = match by {
        HashBy::RoutingKey => Some(input.routing_key.to_vec()),
        HashBy::Header(name) => headers.and_then(|headers| headers.get(name)).map(header_bytes),
        HashBy::CorrelationId => property(properties.and_then(Properties::correlation_id)),
        HashBy::MessageId => property(properties.and_then(Properties::message_id)),
        HashBy::Timestamp => {
            properties.and_then(Properties::timestamp).map(|seconds| seconds.to_string().into_bytes())
        }
    };
    value.unwrap_or_default()
}

/// A header's value as bytes; integers of any width give the same.
fn header_bytes(value: &FieldValue) -> Vec<u8> {
    if let Some(number) = value.as_integer() {
        return number.to_string().into_bytes();
    }
    match value {
        FieldValue::LongString(bytes) | FieldValue::Binary(bytes) => bytes.to_vec(),
        other => {
            let mut bytes = Vec::new();
            other.encode(&mut bytes);
            bytes
        }
    }
}
