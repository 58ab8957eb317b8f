//! What a node of a cluster is started with.
//!
//! Invariant: addresses are bound before anything is started, so that a port in use is told with its key.

use super::placement::Locator;
use crate::discovery::Discovery;
use crate::gossip::GossipPeriods;
use crate::secret::ClusterSecret;
use crate::transport::Tls;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// A node's place in a cluster, as the operator gave it.
#[derive(Clone)]
pub struct ClusterConfig {
    /// The node's name.
    pub node_name: String,
    /// Where it listens for other nodes, TCP and UDP.
    pub addr: SocketAddr,
    /// Where others reach it, when that is another address: `HOST:PORT`.
    pub advertise: Option<String>,
    /// Where others may be found; None: this node is the first one.
    pub join: Option<Discovery>,
    /// What all nodes know.
    pub secret: ClusterSecret,
    /// Certificates for the links.
    pub tls: Option<Tls>,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its software's version.
    pub version: String,
    /// Where clients find it, for status pages.
    pub amqp_addr: String,
    /// Where its HTTP API is.
    pub http_addr: String,
    /// Where new queues live when nothing else was said.
    pub locator: Locator,
    /// Leave a cluster that has lost its majority and form another one, once.
    pub recover: bool,
    /// Times of the failure detector.
    pub periods: GossipPeriods,
    /// How long a node that does not answer stays a member that is up.
    pub lost_after: Duration,
}

/// The sockets between nodes.
pub(super) struct Sockets {
    pub(super) tcp: TcpListener,
    pub(super) udp: UdpSocket,
    /// Where others reach them.
    pub(super) addr: SocketAddr,
}

/// Tries for a port that is free for both protocols.
const PORT_TRIES: usize = 20;

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(256)?;
    Ok(socket.into())
}

fn bind_both(addr: SocketAddr) -> std::io::Result<(TcpListener, UdpSocket)> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let tcp = listen(addr)?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) if addr.port() == 0 => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

impl Sockets {
    pub(super) fn bind(config: &ClusterConfig) -> Result<Sockets, String> {
        let addr = config.addr;
        let (tcp, udp) = bind_both(addr).map_err(|error| {
            format!(
                "cluster-addr is {addr}: cannot listen there: {error}; choose another with --cluster-addr"
            )
        })?;
        let port = tcp.local_addr().map_err(|error| format!("cluster-addr is {addr}: {error}"))?.port();
        let addr = match &config.advertise {
            Some(text) => {
                let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
                found.ok_or_else(|| {
                    format!("cluster-advertise is '{text}': it must be HOST:PORT, and the host must have an address")
                })?
            }
            None => SocketAddr::new(own_address(addr.ip()), port),
        };
        Ok(Sockets { tcp, udp, addr })
    }
}

/// The address others reach this machine at: the one that is listened on, or what its own name stands for.
fn own_address(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let found = (name.trim(), 0).to_socket_addrs().ok().into_iter().flatten();
    let mut addrs: Vec<IpAddr> = found.map(|addr| addr.ip()).collect();
    addrs.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    addrs.first().copied().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}
