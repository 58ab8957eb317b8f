//! What other nodes ask of this one, over control links.
//!
//! Invariant: a kind means one message for ever; each body of the kinds here begins with a version byte.

use super::member::Shared;
use crate::identity::{ClusterId, NodeIdentity};
use crate::transport::{BoxFuture, Service};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::{OnceLock, Weak};
use types::NodeId;

/// Kinds of messages; those of the catalog are 1 to 31.
pub(super) mod kind {
    /// A node wants to join.
    pub(crate) const JOIN: u8 = 32;
    /// A node asks for this node's vote on who forms the cluster.
    pub(crate) const BALLOT: u8 = 33;
    /// What is in the queues here.
    pub(crate) const QUEUES: u8 = 34;
    /// Who is connected here.
    pub(crate) const CONNECTIONS: u8 = 35;
    /// Close a connection.
    pub(crate) const CLOSE: u8 = 36;
    /// The asking node wants to be taken out.
    pub(crate) const LEAVE: u8 = 37;
    /// The asking node, which says its name, wants to know whether it is a member.
    pub(crate) const BELONGS: u8 = 38;
    /// The asking node wants to know where it is believed to be.
    pub(crate) const PLACE: u8 = 39;
    /// What the node has counted.
    pub(crate) const COUNTERS: u8 = 40;
    /// How many connections the node has of a vhost and of a user.
    pub(crate) const CLIENTS: u8 = 41;
}

/// First byte of each body of the kinds above.
const FORMAT: u8 = 1;

/// A node that wants to join.
#[derive(Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) node: NodeIdentity,
    pub(super) feature_level: u64,
}

/// Where it may join.
#[derive(Serialize, Deserialize)]
pub(super) struct Joined {
    pub(super) cluster: ClusterId,
    /// The members and their addresses.
    pub(super) members: Vec<(u64, SocketAddr)>,
}

/// A body in postcard behind the version byte.
pub(super) fn body<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|error| error.to_string())
}

/// What stands behind the version byte.
pub(super) fn fields<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    postcard::from_bytes(rest(body)?).map_err(|error| format!("a message that cannot be read: {error}"))
}

/// The body without its version byte.
pub(super) fn rest(body: &[u8]) -> Result<&[u8], String> {
    match body.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        Some((other, _)) => Err(format!("a message of version {other}: {FORMAT} is known")),
        None => Err("an empty message".to_owned()),
    }
}

/// A body that is not in postcard.
pub(super) fn raw(bytes: &[u8]) -> Vec<u8> {
    [&[FORMAT], bytes].concat()
}

/// Answers other nodes once the node is there.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) node: OnceLock<Weak<Shared>>,
}

impl Service for Desk {
    fn call(&self, from: NodeId, kind: u8, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let node = self.node.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let node = node.ok_or("the node is starting or stopping")?;
            match kind {
                1..=31 => match node.group.get() {
                    Some(group) => group.handle(from, kind, body).await,
                    None => Err("the node is starting".to_owned()),
                },
                kind::JOIN => node.admit(fields(&body)?).await.and_then(|joined| self::body(&joined)),
                kind::BALLOT => node.cast(fields(&body)?).await.and_then(|ballot| self::body(&ballot)),
                kind::QUEUES => on_worker(move || Ok(raw(&node.tell_queues()))).await,
                kind::CONNECTIONS => on_worker(move || Ok(raw(&node.tell_connections()))).await,
                kind::COUNTERS => Ok(raw(&node.tell_counters())),
                kind::CLIENTS => {
                    let (vhost, user): (String, String) = fields(&body)?;
                    node.tell_clients(&vhost, &user).and_then(|counts| self::body(&counts))
                }
                kind::CLOSE => {
                    let (id, reason): (u64, String) = fields(&body)?;
                    node.close_own_connection(id, &reason).and_then(|()| self::body(&()))
                }
                kind::LEAVE => {
                    let leaving: u64 = fields(&body)?;
                    if leaving != from.0 {
                        return Err("a node can only take itself out".to_owned());
                    }
                    // Goes on when the link to the leaving node ends.
                    let work = tokio::spawn(async move { node.let_go(from).await });
                    work.await.map_err(|_| "the node is stopping".to_owned())??;
                    self::body(&())
                }
                kind::BELONGS => {
                    let name: String = fields(&body)?;
                    node.tell_whether_it_belongs(from, &name).await.and_then(|told| self::body(&told))
                }
                kind::PLACE => self::body(&node.place_of(from)),
                other => Err(format!("a message of the unknown kind {other}")),
            }
        })
    }
}

/// Listings take locks of queues: not on the thread of the control links.
async fn on_worker(
    work: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<Vec<u8>, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "the node is stopping".to_owned())?
}
