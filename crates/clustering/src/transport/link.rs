//! Links: streams of frames between two nodes that have proved who they are.
//!
//! Invariant: a `Link` exists only after a whole handshake.

use super::config::{TransportConfig, Water};
use super::drain::{Drain, Seal};
use super::handshake::{Admit, Agreed, Side};
use super::hello::LinkClass;
use super::inflow::Inflow;
use super::reader::LinkReader;
use super::record::{Opener, Sealer};
use super::refusal::HandshakeError;
use super::wire::{Wire, write_on};
use super::writer::LinkWriter;
use crate::identity::NodeIdentity;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use types::limits::{
    CALL_BODY_MAX_BYTES, CALL_REFUSAL_MAX_BYTES, LINK_DATA_FRAME_MAX_BYTES, LINK_READ_BYTES,
};

/// What a control link reads at a time.
const CONTROL_READ_BYTES: usize = LINK_READ_BYTES / 2;
/// A call's or an answer's bytes around its body.
const CALL_HEAD_BYTES: usize = 16;
/// What both sides derive from their TLS session, so that a handshake belongs to it.
const SESSION_LABEL: &[u8] = b"EXPORTER-leveret-link";
const SESSION_BYTES: usize = 32;

/// A connection to another node of which both sides know who the other one is.
pub struct Link {
    /// The other node.
    pub peer: NodeIdentity,
    /// What it is for.
    pub class: LinkClass,
    /// This side opened the connection.
    pub dialled: bool,
    // Of no runtime until it is split: the thread that made the handshake need not be the one that uses it.
    socket: std::net::TcpStream,
    sealing: Sealing,
    water: Water,
    record_bytes: usize,
}

enum Sealing {
    Own(Box<(Sealer, Opener)>),
    Tls(Box<rustls::Connection>),
}

async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    let late = |_| HandshakeError::Io(format!("{what} took longer than {limit:?}"));
    tokio::time::timeout(limit, work).await.map_err(late)?
}

fn tls_failed(error: io::Error) -> HandshakeError {
    HandshakeError::Tls(error.to_string())
}

/// A name that stands for the same peer whether it came over IPv4 or IPv6.
pub(super) fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl Link {
    /// Connects to `addr` and goes through the handshake as the one who dials. `expect` is the id of the node
    /// that should be there, if that is known.
    ///
    /// # Errors
    /// Why there is no link.
    pub async fn dial(
        addr: SocketAddr,
        class: LinkClass,
        expect: Option<u64>,
        me: &NodeIdentity,
        config: &TransportConfig,
    ) -> Result<Link, HandshakeError> {
        let connecting = async { Ok(TcpStream::connect(addr).await?) };
        let mut socket = within(config.dial_timeout, "the connection", connecting).await?;
        socket.set_nodelay(true)?;
        let handshake = async {
            let Some(tls) = &config.tls else {
                let side = Side { me, secret: &config.secret, session: &[] };
                let agreed = side.dial(&mut socket, class, expect).await?;
                return Link::new(agreed, true, socket, None, config);
            };
            let name = tls.name.clone().unwrap_or_else(|| ServerName::from(addr.ip().to_canonical()));
            let connector = TlsConnector::from(tls.client.clone());
            let mut stream = connector.connect(name, socket).await.map_err(tls_failed)?;
            let session = stream.get_ref().1.export_keying_material([0; SESSION_BYTES], SESSION_LABEL, None);
            let session = session.map_err(|error| HandshakeError::Tls(error.to_string()))?;
            let side = Side { me, secret: &config.secret, session: &session };
            let agreed = side.dial(&mut stream, class, expect).await?;
            let (socket, session) = stream.into_inner();
            Link::new(agreed, true, socket, Some(session.into()), config)
        };
        within(config.handshake_timeout, "the handshake", handshake).await
    }

    /// Goes through the handshake with who has connected. `admit` says whether that node may have a link.
    ///
    /// # Errors
    /// Why there is no link.
    pub async fn accept(
        mut socket: TcpStream,
        me: &NodeIdentity,
        config: &TransportConfig,
        admit: Admit<'_>,
    ) -> Result<Link, HandshakeError> {
        socket.set_nodelay(true)?;
        let handshake = async {
            let Some(tls) = &config.tls else {
                let side = Side { me, secret: &config.secret, session: &[] };
                let agreed = side.accept(&mut socket, admit).await?;
                return Link::new(agreed, false, socket, None, config);
            };
            let acceptor = TlsAcceptor::from(tls.server.clone());
            let mut stream = acceptor.accept(socket).await.map_err(tls_failed)?;
            let session = stream.get_ref().1.export_keying_material([0; SESSION_BYTES], SESSION_LABEL, None);
            let session = session.map_err(|error| HandshakeError::Tls(error.to_string()))?;
            let side = Side { me, secret: &config.secret, session: &session };
            let agreed = side.accept(&mut stream, admit).await?;
            let (socket, session) = stream.into_inner();
            Link::new(agreed, false, socket, Some(session.into()), config)
        };
        within(config.handshake_timeout, "the handshake", handshake).await
    }

    fn new(
        agreed: Agreed,
        dialled: bool,
        socket: TcpStream,
        session: Option<rustls::Connection>,
        config: &TransportConfig,
    ) -> Result<Link, HandshakeError> {
        let Agreed { peer, class, sealer, opener } = agreed;
        let sealing = match session {
            Some(session) => Sealing::Tls(Box::new(session)),
            None => Sealing::Own(Box::new((sealer, opener))),
        };
        let water = match class {
            LinkClass::Data => config.data_water,
            LinkClass::Control | LinkClass::Visit => config.control_water,
        };
        let socket = socket.into_std()?;
        Ok(Link { peer, class, dialled, socket, sealing, water, record_bytes: config.record_bytes })
    }

    /// Starts to use the link: its two ends, and a task that writes what the socket does not take at once.
    /// The task runs on the runtime this is called in; the ends may be used from any thread.
    ///
    /// # Errors
    /// When the socket cannot be watched, for want of file descriptors most likely.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn split(self) -> io::Result<(LinkReader, LinkWriter)> {
        let (read_bytes, frame_max_bytes) = match self.class {
            LinkClass::Data => (LINK_READ_BYTES, LINK_DATA_FRAME_MAX_BYTES),
            LinkClass::Control | LinkClass::Visit => {
                let most = CALL_BODY_MAX_BYTES.max(CALL_REFUSAL_MAX_BYTES) + CALL_HEAD_BYTES;
                (CONTROL_READ_BYTES, most)
            }
        };
        let socket = TcpStream::from_std(self.socket)?;
        let (seal, opener, tls) = match self.sealing {
            Sealing::Own(keys) => (Seal::Own(keys.0), Some(keys.1), None),
            Sealing::Tls(session) => (Seal::Tls, None, Some(*session)),
        };
        let drain = Drain::new(seal, self.record_bytes);
        let wire = Arc::new(Wire::new(socket, tls, drain, self.water, frame_max_bytes));
        tokio::spawn(write_on(wire.clone()));
        let inflow = Inflow::new(read_bytes, frame_max_bytes);
        Ok((LinkReader::new(wire.clone(), opener, inflow), LinkWriter::new(wire)))
    }
}
