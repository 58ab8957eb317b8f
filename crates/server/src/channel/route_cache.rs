//! Routes a channel has looked up, by exchange and routing key as they stand on the wire.
//!
//! Invariant: a route is used only after it was checked against the catalog version of the current
//! batch; checking is a look at the exchange's version, not a new lookup.

use engine::{Broker, Route, Session};
use std::collections::HashMap;
use std::sync::Arc;
use types::AmqpError;
use types::Properties;
use types::limits::ROUTE_CACHE_COUNT_MAX;

struct Entry {
    route: Arc<Route>,
    checked_at: u64,
}

/// The cache of one channel.
#[derive(Default)]
pub(crate) struct RouteCache {
    last: Option<Entry>,
    others: HashMap<Box<[u8]>, Entry>,
}

impl RouteCache {
    /// The route of the last publish, if it has this exchange and key and was checked at this version.
    #[inline]
    pub(crate) fn last(&self, wire: &[u8], catalog_version: u64) -> Option<&Arc<Route>> {
        match &self.last {
            Some(entry) if entry.checked_at == catalog_version && *entry.route.wire == *wire => {
                Some(&entry.route)
            }
            _ => None,
        }
    }

    /// Finds a route that is remembered and still holds, or looks it up.
    pub(crate) fn find(
        &mut self,
        broker: &Broker,
        session: &Session,
        wire: &[u8],
        properties: Option<&Properties<'_>>,
    ) -> Result<Arc<Route>, AmqpError> {
        let catalog = broker.catalog();
        if self.last.as_ref().is_none_or(|last| *last.route.wire != *wire) {
            let next = self.others.remove(wire);
            let last = std::mem::replace(&mut self.last, next);
            if let Some(last) = last {
                if self.others.len() >= ROUTE_CACHE_COUNT_MAX {
                    self.others.clear();
                }
                self.others.insert((*last.route.wire).into(), last);
            }
        }
        if let Some(last) = &mut self.last {
            if last.checked_at == catalog.version || broker.still_holds(&catalog, session, &last.route) {
                last.checked_at = catalog.version;
                return Ok(last.route.clone());
            }
            self.last = None;
        }
        let route = Arc::new(broker.route(&catalog, session, wire, properties)?);
        if route.cacheable {
            self.last = Some(Entry { route: route.clone(), checked_at: catalog.version });
        }
        Ok(route)
    }

    /// Looks a route up for a message whose headers have a say in it.
    pub(crate) fn look_up(
        &self,
        broker: &Broker,
        session: &Session,
        wire: &[u8],
        properties: &Properties<'_>,
    ) -> Result<Arc<Route>, AmqpError> {
        broker.route(&broker.catalog(), session, wire, Some(properties)).map(Arc::new)
    }
}
