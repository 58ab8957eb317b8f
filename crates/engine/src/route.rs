//! Where a publish goes: looked up once per exchange and routing key, then remembered by the channel.
//!
//! Invariant: a remembered route is used only while the exchange's version and the session's rights
//! are what they were when it was looked up.

use crate::metrics::Counter;
use crate::node::Broker;
use crate::outlet::Outlet;
use crate::queue::Queue;
use crate::registry::Session;
use crate::reply_to::is_reply_name;
use broker::access::{self, Access, Resource};
use broker::catalog::{Catalog, Exchange, ExchangeKind, Vhost};
use broker::router::{self, Routes, RoutingInput};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use types::{AmqpError, ExchangeName, Properties};

/// A resolved route.
pub struct Route {
    /// Exchange and routing key as two short strings, as on the wire.
    pub wire: Arc<[u8]>,
    /// Queues that get the message.
    pub queues: Vec<Arc<Queue>>,
    /// A direct reply-to consumer that gets it.
    pub reply: Option<Arc<dyn Outlet>>,
    /// Queues of `x-delayed-message` exchanges that hold a copy first, and for how many milliseconds.
    pub delays: Vec<(Arc<Queue>, u64)>,
    /// It is only held, and nobody is bound who would get it if it were released now.
    pub held_in_vain: bool,
    /// Exchanges that remember it.
    pub history: Vec<ExchangeName>,
    /// Whether another message with the same exchange and key goes the same way.
    pub cacheable: bool,
    exchange_version: u64,
}

impl Route {
    /// Whether nobody gets the message.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.reply.is_none() && self.delays.is_empty()
    }

    /// Whether it only takes appending to queues.
    pub fn is_plain(&self) -> bool {
        self.reply.is_none() && self.delays.is_empty() && self.history.is_empty()
    }

    /// Whether nobody gets the message because the homes of all its queues are down.
    pub fn is_cut_off(&self) -> bool {
        !self.queues.is_empty()
            && self.reply.is_none()
            && self.delays.is_empty()
            && self.queues.iter().all(|queue| !queue.is_reachable())
    }

    /// Whether a queue of it was deleted since.
    pub fn is_stale(&self) -> bool {
        self.queues.iter().any(|queue| queue.is_gone())
    }
}

fn no_exchange(name: &str, session: &Session) -> AmqpError {
    AmqpError::not_found(format!("no exchange '{name}' in vhost '{}'", session.vhost))
}

fn split(wire: &[u8]) -> (&[u8], &[u8]) {
    let exchange_bytes = wire.first().map_or(0, |length| usize::from(*length));
    let exchange = wire.get(1..1 + exchange_bytes).unwrap_or_default();
    (exchange, wire.get(2 + exchange_bytes..).unwrap_or_default())
}

impl Broker {
    /// Checks the session's rights and finds the queues for a message published with `wire`
    /// (exchange and routing key as two short strings). Source: RabbitMQ's order of checks at publish.
    pub fn route(
        &self,
        catalog: &Catalog,
        session: &Session,
        wire: &[u8],
        properties: Option<&Properties<'_>>,
    ) -> Result<Route, AmqpError> {
        let (name, key) = split(wire);
        let name = String::from_utf8_lossy(name);
        let (vhost, exchange) = may_publish(catalog, session, &name, key)?;
        let mut routes = Routes::default();
        let input = RoutingInput { routing_key: key, properties, random: random() };
        router::route(vhost, exchange, &input, &mut routes);
        let delays = self.delays(vhost, &routes, properties);
        let is_default = name.is_empty();
        let reply = (is_default && is_reply_name(key)).then(|| self.reply_outlet(key)).flatten();
        let queues: Vec<_> = routes.queues.iter().filter_map(|id| self.queue(*id)).collect();
        // The default exchange has no version of its own: a route to a queue holds while the queue does,
        // one without a queue is looked up again.
        let cacheable = if is_default { !queues.is_empty() } else { routes.cacheable };
        let held_in_vain = !delays.is_empty() && queues.is_empty() && reply.is_none() && {
            let mut due = Routes::default();
            routes.delayed.iter().filter_map(|name| vhost.exchange(name.as_str())).all(|exchange| {
                router::route_due(vhost, exchange, &input, &mut due);
                due.queues.is_empty()
            })
        };
        Ok(Route {
            wire: wire.into(),
            held_in_vain,
            cacheable: cacheable && reply.is_none() && delays.is_empty(),
            queues,
            reply,
            delays,
            history: routes.recent_history,
            exchange_version: exchange.version,
        })
    }

    /// Whether a remembered route still holds in this catalog.
    pub fn still_holds(&self, catalog: &Catalog, session: &Session, route: &Route) -> bool {
        let (name, key) = split(&route.wire);
        let Ok(name) = std::str::from_utf8(name) else { return false };
        match may_publish(catalog, session, name, key) {
            Ok((_, exchange)) => exchange.version == route.exchange_version && !route.is_stale(),
            Err(_) => false,
        }
    }

    /// How long each delayed exchange on the way holds the message, and in which queue.
    pub(crate) fn delays(
        &self,
        vhost: &Vhost,
        routes: &Routes,
        properties: Option<&Properties<'_>>,
    ) -> Vec<(Arc<Queue>, u64)> {
        let Some(properties) = properties else { return Vec::new() };
        let held = |name: &ExchangeName| {
            let exchange = vhost.exchange(name.as_str())?;
            let delay_ms = router::delay_ms(exchange, properties)?;
            Some((self.holding_queue(exchange)?, delay_ms))
        };
        routes.delayed.iter().filter_map(held).collect()
    }

    /// Counts a batch's publishes.
    pub fn count_published(&self, count: u64, routed: u64, with_confirm: u64) {
        let add = |counter: &Counter, count| {
            if count > 0 {
                counter.add(count);
            }
        };
        add(&self.metrics().received, count);
        add(&self.metrics().routed, routed);
        add(&self.metrics().received_confirm, with_confirm);
    }
}

fn may_publish<'a>(
    catalog: &'a Catalog,
    session: &Session,
    name: &str,
    key: &[u8],
) -> Result<(&'a Vhost, &'a Exchange), AmqpError> {
    let vhost = catalog.vhost(session.vhost.as_str()).ok_or_else(|| no_exchange(name, session))?;
    let user = catalog.users.get(session.user.as_str()).ok_or_else(|| {
        AmqpError::access_refused(format!("user '{}' does not exist any more", session.user))
    })?;
    access::check(vhost, user, Access::Write, Resource::Exchange(name))?;
    let exchange = vhost.exchange(name).ok_or_else(|| no_exchange(name, session))?;
    if exchange.internal {
        return Err(AmqpError::access_refused(format!(
            "cannot publish to internal exchange '{name}' in vhost '{}'",
            session.vhost
        )));
    }
    let by_topic = match &exchange.kind {
        ExchangeKind::Topic => true,
        ExchangeKind::Delayed { inner } => matches!(**inner, ExchangeKind::Topic),
        _ => false,
    };
    if by_topic {
        access::check_topic(vhost, user, name, Access::Write, key)?;
    }
    Ok((vhost, exchange))
}

/// A number nobody can foresee without seeing others: for `x-random`, salts and names.
pub fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()) | 1);
    }
    STATE.with(|state| {
        // splitmix64
        let seed = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}
