//! Who is connected: what listings show and operators close.
//!
//! Invariant: a connection is listed from the end of its handshake until its task ends.

use crate::cluster::ClientCounts;
use broker::catalog::Catalog;
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{ConnectionId, FieldTable, UserName, VhostName};

/// On whose behalf something is done.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection, for exclusive queues.
    pub connection: ConnectionId,
    /// The user.
    pub user: UserName,
    /// The vhost.
    pub vhost: VhostName,
}

/// A connection as listings show it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ConnectionListing {
    pub name: String,
    pub user: UserName,
    pub vhost: VhostName,
    pub peer: std::net::SocketAddr,
    pub local: std::net::SocketAddr,
    pub tls: bool,
    pub auth_mechanism: String,
    pub client_properties: FieldTable,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat_s: u16,
    pub connected_at_ms: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub state: &'static str,
    pub channels: u32,
}

/// A channel as listings show it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ChannelListing {
    pub number: u16,
    pub name: String,
    pub confirm: bool,
    pub transactional: bool,
    pub prefetch: u32,
    pub global_prefetch: u32,
    pub consumers: u32,
    pub unacknowledged: u64,
    pub unconfirmed: u64,
    pub published: u64,
    pub delivered: u64,
    pub acknowledged: u64,
}

/// What the rest of the broker may ask of a connection.
pub trait ConnectionView: Send + Sync {
    /// Its facts.
    fn listing(&self) -> ConnectionListing;
    /// Its channels.
    fn channels(&self) -> Vec<ChannelListing>;
    /// Ends it with 320 CONNECTION_FORCED and `reason`.
    fn close(&self, reason: &str);
    /// Its user, without a listing's cost.
    fn user(&self) -> &UserName;
    /// Its vhost.
    fn vhost(&self) -> &VhostName;
}

/// All connections of this node.
pub struct Connections {
    /// A number of this start of the node in the upper half, so that ids of several nodes differ.
    first_id: u64,
    by_id: DashMap<ConnectionId, Arc<dyn ConnectionView>>,
    last: AtomicU64,
}

impl Default for Connections {
    fn default() -> Connections {
        let first_id = crate::route::random() << 32;
        Connections { first_id, by_id: DashMap::new(), last: AtomicU64::new(0) }
    }
}

impl Connections {
    /// A new connection's id.
    pub fn next_id(&self) -> ConnectionId {
        ConnectionId(self.first_id | (self.last.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Lists a connection.
    pub fn add(&self, id: ConnectionId, connection: Arc<dyn ConnectionView>) {
        self.by_id.insert(id, connection);
    }

    /// Takes it off the list.
    pub fn remove(&self, id: ConnectionId) {
        self.by_id.remove(&id);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// One of them.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<dyn ConnectionView>> {
        self.by_id.get(&id).map(|entry| entry.value().clone())
    }

    /// All of them, in the order they came.
    pub fn all(&self) -> Vec<(ConnectionId, Arc<dyn ConnectionView>)> {
        let mut all: Vec<_> = self.by_id.iter().map(|entry| (*entry.key(), entry.value().clone())).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    /// How many there are of a vhost and of a user.
    pub fn clients(&self, vhost: &VhostName, user: &UserName) -> ClientCounts {
        let mut counts = ClientCounts::default();
        for connection in &self.by_id {
            counts.vhost += u64::from(connection.vhost() == vhost);
            counts.user += u64::from(connection.user() == user);
        }
        counts
    }

    /// Closes those that match.
    pub fn close_where(&self, reason: &str, matches: impl Fn(&dyn ConnectionView) -> bool) {
        for (_, connection) in self.all() {
            if matches(&*connection) {
                connection.close(reason);
            }
        }
    }
}

/// Whether one more is allowed; a negative limit is none.
pub fn within_limit(limit: Option<i64>, count: u64) -> bool {
    limit.and_then(|limit| u64::try_from(limit).ok()).is_none_or(|limit| count < limit)
}

/// Looks a session's vhost up; it may have been deleted since.
pub fn vhost_of<'a>(catalog: &'a Catalog, session: &Session) -> Option<&'a Arc<broker::catalog::Vhost>> {
    catalog.vhost(session.vhost.as_str())
}
