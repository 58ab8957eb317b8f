//! The mesh: one control link with every known node, a data link in each direction, and calls over them.
//!
//! Invariant: what happens to one peer's links touches no other's.

use super::calls::CallError;
use super::config::{Me, TransportConfig};
use super::control::{ControlLink, Service};
use super::data::MeshSink;
use super::fabric::Fabric;
use super::hello::LinkClass;
use super::link::Link;
use super::peer::Peer;
use super::refusal::{HandshakeError, Refusal};
use super::threads::Threads;
use super::writer::LinkWriter;
use crate::identity::{ClusterId, NodeIdentity, WireVersion};
use bytes::Bytes;
use parking_lot::Mutex;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use types::NodeId;

/// How long a stop waits until consumers of data links were told.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Why it is not known who is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// A node that has another secret.
    WrongSecret,
    /// A node of another cluster.
    OtherCluster {
        /// Its name.
        name: String,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// A node that speaks another major version.
    Version(WireVersion),
    /// This node itself.
    Myself,
    /// Another process with this node's id.
    SameId {
        /// Its name.
        name: String,
    },
    /// Nobody answers there.
    Unreachable(String),
    /// Something else is wrong: what.
    Refused(String),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::WrongSecret => HandshakeError::WrongSecret.fmt(f),
            ProbeError::OtherCluster { name, cluster } => {
                write!(f, "{name} belongs to another cluster, {:032x}", cluster.0)
            }
            ProbeError::Version(wire) => HandshakeError::Version(*wire).fmt(f),
            ProbeError::Myself => f.write_str("it is this node itself"),
            ProbeError::SameId { name } => write!(f, "two nodes have the id of this one: {name} is there"),
            ProbeError::Unreachable(why) | ProbeError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ProbeError {}

impl From<HandshakeError> for ProbeError {
    fn from(error: HandshakeError) -> ProbeError {
        match error {
            HandshakeError::WrongSecret => ProbeError::WrongSecret,
            HandshakeError::Version(wire) => ProbeError::Version(wire),
            HandshakeError::Io(why) => ProbeError::Unreachable(why),
            HandshakeError::RefusedByPeer(name, Refusal::OtherCluster(cluster)) => {
                ProbeError::OtherCluster { name, cluster }
            }
            HandshakeError::RefusedByPeer(_, Refusal::Myself) => ProbeError::Myself,
            HandshakeError::RefusedByPeer(name, Refusal::SameId(_)) => ProbeError::SameId { name },
            error => ProbeError::Refused(error.to_string()),
        }
    }
}

/// The links of this node with all others.
pub struct Mesh {
    fabric: Arc<Fabric>,
    threads: Mutex<Threads>,
    /// Peers that were given a data thread.
    placed: AtomicUsize,
}

impl Mesh {
    /// Starts the threads and listens. `listener` is bound already.
    ///
    /// # Errors
    /// A text: which setting cannot be, or what the operating system refuses.
    pub fn start(
        config: TransportConfig,
        me: Me,
        listener: std::net::TcpListener,
        service: Arc<dyn Service>,
        sink: Arc<dyn MeshSink>,
    ) -> Result<Arc<Mesh>, String> {
        config.check()?;
        let cannot = |error: std::io::Error| format!("links between nodes cannot be started: {error}");
        let mut threads = Threads::new();
        let control = threads.start("leveret-control").map_err(cannot)?;
        let accept = threads.start("leveret-accept").map_err(cannot)?;
        let data = (0..config.data_threads.max(1)).map(|at| threads.start(&format!("leveret-data-{at}")));
        let data = data.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let listener = {
            let _entered = accept.enter();
            TcpListener::from_std(listener).map_err(cannot)?
        };
        let fabric = Arc::new(Fabric::new(config, me, service, sink, control, data));
        accept.spawn(fabric.clone().accept(listener));
        Ok(Arc::new(Mesh { fabric, threads: Mutex::new(threads), placed: AtomicUsize::new(0) }))
    }

    /// A node of the cluster and where it is reached; also when its address changes.
    pub fn set_peer(&self, node: NodeId, addr: SocketAddr) {
        let fabric = &self.fabric;
        if fabric.is_me(node) || fabric.stopped.load(Ordering::Acquire) {
            return;
        }
        let mut peers = fabric.peers.lock();
        if let Some(peer) = peers.get(&node.0).cloned() {
            drop(peers);
            let mut state = peer.state();
            if state.addr != addr {
                state.addr = addr;
                drop(state);
                peer.note_change();
            }
            return;
        }
        // Two threads in turn: one for each direction.
        let thread = self.placed.fetch_add(2, Ordering::Relaxed);
        let peer = Arc::new(Peer::new(node, addr, thread));
        peers.insert(node.0, peer.clone());
        drop(peers);
        fabric.control.spawn(fabric.clone().keep_control(peer.clone()));
        fabric.control.spawn(fabric.clone().keep_data(peer));
    }

    /// The node is no member any more: its links are closed and it gets none again.
    pub fn forget_peer(&self, node: NodeId) {
        let peer = self.fabric.peers.lock().remove(&node.0);
        if let Some(peer) = peer {
            let fabric = self.fabric.clone();
            self.fabric.control.spawn(async move { fabric.end(&peer, "it is forgotten") });
        }
    }

    /// Runs on the control thread, so that the clock and the sockets are that thread's.
    async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.fabric.control.spawn(work).await.ok()
    }

    async fn visit(fabric: &Fabric, addr: SocketAddr) -> Result<Link, HandshakeError> {
        let me = (fabric.me)();
        let visited = Link::dial(addr, LinkClass::Visit, None, &me, &fabric.config).await;
        visited.inspect_err(|error| fabric.refusals.dialled(addr, error))
    }

    /// Asks who is at an address.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn probe(&self, addr: SocketAddr) -> Result<NodeIdentity, ProbeError> {
        let fabric = self.fabric.clone();
        let visited = self.on_control(async move { Mesh::visit(&fabric, addr).await.map(|link| link.peer) });
        let stopped = || ProbeError::Unreachable("this node stops".to_owned());
        Ok(visited.await.ok_or_else(stopped)??)
    }

    /// Calls a node. From any runtime with a clock.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call(
        &self,
        node: NodeId,
        kind: u8,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let link = self.fabric.peer(node.0).and_then(|peer| peer.control());
        link.ok_or(CallError::NotConnected)?.call(kind, &body, timeout).await
    }

    /// Calls the node at an address, whether it is known or not, over a link for this one call; also says
    /// who answered.
    ///
    /// # Errors
    /// Why there is no answer; a handshake that fails is `Refused`.
    pub async fn call_addr(
        &self,
        addr: SocketAddr,
        kind: u8,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<(NodeIdentity, Bytes), CallError> {
        let fabric = self.fabric.clone();
        let call = async move {
            let link = Mesh::visit(&fabric, addr).await.map_err(|error| match error {
                HandshakeError::Io(_) => CallError::NotConnected,
                error => CallError::Refused(error.to_string()),
            })?;
            let peer = link.peer.clone();
            let (reader, writer) = link.split().map_err(|_| CallError::NotConnected)?;
            let link = Arc::new(ControlLink::new(peer, true, writer));
            let running = tokio::spawn({
                let (link, fabric) = (link.clone(), fabric.clone());
                async move { link.run(reader, &fabric.service, fabric.life()).await }
            });
            let answer = link.call(kind, &body, timeout).await;
            link.close();
            let _ = running.await;
            Ok((link.peer.clone(), answer?))
        };
        let limited = async move { tokio::time::timeout(timeout, call).await };
        let called = self.on_control(limited).await.ok_or(CallError::NotConnected)?;
        called.unwrap_or(Err(CallError::TimedOut))
    }

    /// The control link with the node is up.
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.fabric.peer(node.0).is_some_and(|peer| peer.control().is_some())
    }

    /// The data link that this node opened to the other one, if it is up.
    pub fn data_link(&self, node: NodeId) -> Option<LinkWriter> {
        let peer = self.fabric.peer(node.0)?;
        let link = peer.state().data[1].clone()?;
        link.writer()
    }

    /// Closes all links, tells the sink, ends the threads and waits for them. Does nothing the second time.
    /// Not from a thread of the mesh.
    pub fn stop(&self) {
        if self.fabric.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        let peers: Vec<Arc<Peer>> = self.fabric.peers.lock().drain().map(|(_, peer)| peer).collect();
        let fabric = self.fabric.clone();
        let (told, was_told) = std::sync::mpsc::sync_channel(1);
        self.fabric.control.spawn(async move {
            let all = async {
                for peer in &peers {
                    fabric.end(peer, "this node stops");
                }
                for peer in &peers {
                    Fabric::data_over(peer).await;
                }
            };
            let _ = tokio::time::timeout(STOP_LIMIT, all).await;
            let _ = told.send(());
        });
        let _ = was_told.recv_timeout(STOP_LIMIT * 2);
        self.threads.lock().stop();
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.stop();
    }
}
