//! Clients of this node and, as they were last told, of the others.
//!
//! Invariant: a connection is closed by the node it goes to.

use crate::api::Api;
use engine::ConnectionView;
use engine::cluster::RemoteConnection;
use engine::registry::{ChannelListing, ConnectionListing};
use std::sync::Arc;
use types::{ConnectionId, UserName, VhostName};

/// A client's connection.
#[derive(Clone)]
pub(crate) enum Client {
    /// To this node.
    Here(ConnectionId, Arc<dyn ConnectionView>),
    /// To another one.
    There(Arc<RemoteConnection>),
}

impl Client {
    pub(crate) fn id(&self) -> ConnectionId {
        match self {
            Client::Here(id, _) => *id,
            Client::There(other) => other.id,
        }
    }

    pub(crate) fn user(&self) -> &UserName {
        match self {
            Client::Here(_, connection) => connection.user(),
            Client::There(other) => &other.listing.user,
        }
    }

    pub(crate) fn vhost(&self) -> &VhostName {
        match self {
            Client::Here(_, connection) => connection.vhost(),
            Client::There(other) => &other.listing.vhost,
        }
    }

    pub(crate) fn listing(&self) -> ConnectionListing {
        match self {
            Client::Here(_, connection) => connection.listing(),
            Client::There(other) => other.listing.clone(),
        }
    }

    pub(crate) fn channels(&self) -> Vec<ChannelListing> {
        match self {
            Client::Here(_, connection) => connection.channels(),
            Client::There(other) => other.channels.clone(),
        }
    }

    /// The name of the node it is connected to.
    pub(crate) fn node<'a>(&'a self, api: &'a Api) -> &'a str {
        match self {
            Client::Here(..) => api.node_name(),
            Client::There(other) => &other.node,
        }
    }

    /// Closes it; the error says why its node did not.
    pub(crate) async fn close(&self, api: &Api, reason: &str) -> Result<(), String> {
        let other = match self {
            Client::Here(_, connection) => {
                connection.close(reason);
                return Ok(());
            }
            Client::There(other) => other,
        };
        let cluster = api.cluster().ok_or("this node belongs to no cluster any more")?;
        cluster.close_connection(other.node.clone(), other.id, reason.to_owned()).await
    }
}

impl Api {
    /// All clients: of this node in the order they came, then of the others.
    pub(crate) fn clients(&self) -> Vec<Client> {
        let own = self.broker.connections().all().into_iter();
        let own = own.map(|(id, connection)| Client::Here(id, connection));
        let others = self.cluster().map(|cluster| cluster.connections()).unwrap_or_default();
        own.chain(others.into_iter().map(|other| Client::There(Arc::new(other)))).collect()
    }
}
