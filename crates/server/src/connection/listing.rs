//! What listings show of a connection.

use crate::channel::ChannelFacts;
use crate::channel::port::ChannelPort;
use crate::port::Port;
use engine::ConnectionView;
use engine::registry::{ChannelListing, ConnectionListing};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use types::{FieldTable, UserName, VhostName};

/// A channel's shared part and its facts.
pub(crate) type ListedChannel = (Arc<ChannelPort>, Arc<ChannelFacts>);

/// Facts that do not change, and those that others may read while they do.
pub(crate) struct ConnectionFacts {
    pub(crate) name: String,
    pub(crate) user: UserName,
    pub(crate) vhost: VhostName,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) mechanism: String,
    pub(crate) client_properties: FieldTable,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat_s: u16,
    pub(crate) connected_at_ms: u64,
    pub(crate) port: Arc<Port>,
    pub(crate) blocked: AtomicBool,
    pub(crate) channels: Mutex<BTreeMap<u16, ListedChannel>>,
}

impl ConnectionFacts {
    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }
}

impl ConnectionView for ConnectionFacts {
    fn listing(&self) -> ConnectionListing {
        ConnectionListing {
            name: self.name.clone(),
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            peer: self.peer,
            local: self.local,
            tls: self.port.tls.is_some(),
            auth_mechanism: self.mechanism.clone(),
            client_properties: self.client_properties.clone(),
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat_s: self.heartbeat_s,
            connected_at_ms: self.connected_at_ms,
            received_bytes: self.port.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.port.sent_bytes.load(Ordering::Relaxed),
            state: if self.blocked.load(Ordering::Relaxed) { "blocked" } else { "running" },
            channels: self.channels.lock().len() as u32,
        }
    }

    fn channels(&self) -> Vec<ChannelListing> {
        let channels = self.channels.lock();
        let listing = |(number, (port, facts)): (&u16, &ListedChannel)| {
            let state = port.state.lock();
            let mode = facts.mode.load(Ordering::Relaxed);
            ChannelListing {
                number: *number,
                name: port.listing_name(&self.name),
                confirm: mode == 1,
                transactional: mode == 2,
                prefetch: facts.prefetch.load(Ordering::Relaxed) as u32,
                global_prefetch: state.global_prefetch,
                consumers: state.consumers.len() as u32,
                unacknowledged: state.unacked.count() as u64,
                unconfirmed: state.confirms.unconfirmed(),
                published: facts.published.load(Ordering::Relaxed),
                delivered: state.delivered,
                acknowledged: state.acknowledged,
            }
        };
        channels.iter().map(listing).collect()
    }

    fn close(&self, reason: &str) {
        self.port.force_close(reason);
    }

    fn user(&self) -> &UserName {
        &self.user
    }

    fn vhost(&self) -> &VhostName {
        &self.vhost
    }
}
