//! The start of a connection on its socket: protocol header, login, limits, vhost.
//!
//! Invariant: nothing is kept for a client that has not logged in but a small buffer, and all of it
//! has to happen within the handshake timeout.

use super::ConnectionFacts;
use crate::auth::Attempt;
use crate::listener::ServerConfig;
use crate::port::Port;
use broker::access;
use broker::catalog::Catalog;
use bytes::Bytes;
use engine::cluster::ClientCounts;
use engine::registry::within_limit;
use engine::{Broker, Session, clock};
use parking_lot::Mutex;
use protocol::Method;
use protocol::frame::{FrameKind, next_frame};
use protocol::handshake::{Handshake, Offer, Step, Tuned, check_protocol_header};
use rustls::ServerConnection;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use types::limits::SILENT_CLOSE_DELAY_MS;
use types::{AmqpError, FieldTable, FieldValue, UserName, VhostName};

/// Bytes read at once before a client has logged in.
const READ_BYTES: usize = 4096;
/// Largest frame before limits are negotiated, and most bytes kept.
const UNTUNED_FRAME_BYTES_MAX: u32 = 131_072;

/// A client that is in.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) facts: ConnectionFacts,
    pub(super) tuned: Tuned,
    /// Bytes that came behind connection.open.
    pub(super) partial: Vec<u8>,
    pub(super) blocked_notify: bool,
    pub(super) cancel_notify: bool,
}

/// A client that does not come in.
pub(super) enum Refusal {
    /// It is gone, or talks something else: the answer and out.
    Silent(Vec<u8>),
    /// Told by connection.close.
    Told(AmqpError, (u16, u16)),
    /// Not told, as RabbitMQ does with clients that cannot understand a close before they are in.
    Untold(AmqpError),
}

/// Bytes of the handshake as they come.
struct Input<'a> {
    port: &'a Port,
    bytes: Vec<u8>,
}

impl Input<'_> {
    /// Waits for more bytes; false at the end of the stream.
    async fn more(&mut self) -> bool {
        let mut some = [0; READ_BYTES];
        loop {
            if self.port.stalled.load(Ordering::Acquire) {
                if self.port.socket.writable().await.is_err() {
                    return false;
                }
                self.port.resume();
            }
            if self.port.socket.readable().await.is_err() {
                return false;
            }
            let read = match &self.port.tls {
                None => match self.port.socket.try_read(&mut some) {
                    Ok(0) => return false,
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => return false,
                },
                Some(tls) => {
                    let read = read_tls(self.port, tls, &mut some);
                    self.port.flush_tls();
                    match read {
                        Ok(count) => count,
                        Err(()) => return false,
                    }
                }
            };
            if read > 0 {
                self.port.received_bytes.fetch_add(read as u64, Ordering::Relaxed);
                self.bytes.extend_from_slice(&some[..read]);
                return true;
            }
        }
    }

    /// The next method of channel 0.
    async fn method(&mut self, handshake: &Handshake) -> Result<Method, Refusal> {
        loop {
            match next_frame(&self.bytes, UNTUNED_FRAME_BYTES_MAX) {
                Err(error) => return Err(self.refusal(handshake, error, (0, 0), false)),
                Ok(Some((frame, used))) => {
                    let checked = handshake.check_frame(&frame);
                    let method = match (checked, frame.kind) {
                        (Err(error), _) => Err(error),
                        (Ok(()), FrameKind::Method) => Method::decode(frame.payload).map(Some),
                        (Ok(()), _) => Ok(None),
                    };
                    self.bytes.drain(..used);
                    match method {
                        Ok(Some(method)) => return Ok(method),
                        Ok(None) => {}
                        Err(error) => return Err(self.refusal(handshake, error, (0, 0), false)),
                    }
                }
                Ok(None) => {
                    if !self.more().await {
                        return Err(Refusal::Silent(Vec::new()));
                    }
                }
            }
        }
    }

    fn refusal(
        &self,
        handshake: &Handshake,
        error: AmqpError,
        ids: (u16, u16),
        closes_on_failure: bool,
    ) -> Refusal {
        if handshake.tells(&error, closes_on_failure) {
            Refusal::Told(error, ids)
        } else {
            Refusal::Untold(error)
        }
    }
}

/// Reads TLS records and gives the plain bytes in them; Ok(0) = none yet, Err = the end.
pub(super) fn read_tls(port: &Port, tls: &Mutex<ServerConnection>, into: &mut [u8]) -> Result<usize, ()> {
    let mut session = tls.lock();
    match session.reader().read(into) {
        Ok(count) if count > 0 => return Ok(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        _ => return Err(()),
    }
    let mut sealed = [0; 16 * 1024];
    let count = match port.socket.try_read(&mut sealed) {
        Ok(0) => return Err(()),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
        Err(_) => return Err(()),
    };
    let mut rest = &sealed[..count];
    let mut read = 0;
    while !rest.is_empty() {
        session.read_tls(&mut rest).map_err(|_| ())?;
        session.process_new_packets().map_err(|error| tracing::info!(%error, "TLS failed"))?;
        match session.reader().read(&mut into[read..]) {
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(()),
        }
    }
    Ok(read)
}

/// Brings a client in, or says why not.
pub(super) async fn open(
    port: &Arc<Port>,
    config: &Arc<ServerConfig>,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<Opened, Refusal> {
    let mut input = Input { port, bytes: Vec::new() };
    read_protocol_header(&mut input).await?;
    let offer =
        Offer { channel_max: config.channel_max, frame_max: config.frame_max, heartbeat: config.heartbeat_s };
    let mut handshake = Handshake::new(offer);
    let with_certificates = port.tls.is_some() && config.external;
    put(port, start(config, port.broker.config(), config.auth.mechanisms(with_certificates)));
    let (user, client) = log_in(&mut input, &mut handshake, config, peer).await?;
    let offer = handshake.offer();
    let (channel_max, frame_max, heartbeat) = (offer.channel_max, offer.frame_max, offer.heartbeat);
    put(port, Method::ConnectionTune { channel_max, frame_max, heartbeat });
    handshake.tune_sent();
    let tuned = {
        let method = input.method(&handshake).await?;
        match handshake.expect(&method) {
            Ok(Step::TuneOk(tuned)) => tuned,
            Ok(_) => return Err(Refusal::Silent(Vec::new())),
            Err(error) => return Err(input.refusal(&handshake, error, method.class_method(), client.closes)),
        }
    };
    port.frame_max.store(tuned.frame_max, Ordering::Relaxed);
    handshake.tuned();
    let vhost = open_vhost(&mut input, &handshake, &user, &client).await?;
    handshake.opened();
    let name = format!("{peer} -> {local}");
    tracing::debug!(connection = %name, %user, %vhost, "connection opened");
    let facts = ConnectionFacts {
        name,
        user: user.clone(),
        vhost: vhost.clone(),
        peer,
        local,
        mechanism: client.mechanism,
        client_properties: client.properties,
        channel_max: tuned.channel_max,
        frame_max: tuned.frame_max,
        heartbeat_s: tuned.heartbeat,
        connected_at_ms: clock::wall_ms(),
        port: port.clone(),
        blocked: AtomicBool::new(false),
        channels: Mutex::default(),
    };
    Ok(Opened {
        session: Session { connection: port.id, user, vhost },
        facts,
        tuned,
        partial: input.bytes,
        blocked_notify: client.blocked_notify,
        cancel_notify: client.cancel_notify,
    })
}

async fn read_protocol_header(input: &mut Input<'_>) -> Result<(), Refusal> {
    loop {
        if let Some(header) = input.bytes.first_chunk::<8>() {
            let checked = check_protocol_header(header).map_err(|reply| Refusal::Silent(reply.to_vec()));
            if checked.is_ok() {
                input.bytes.drain(..8);
            } else {
                let first = String::from_utf8_lossy(&input.bytes[..8]).into_owned();
                tracing::info!(first, "a client of another protocol was sent away");
            }
            return checked;
        }
        if !input.more().await {
            return Err(Refusal::Silent(Vec::new()));
        }
    }
}

/// What a client says of itself.
struct Client {
    properties: FieldTable,
    mechanism: String,
    /// Wants connection.close after a refused login.
    closes: bool,
    blocked_notify: bool,
    cancel_notify: bool,
}

async fn log_in(
    input: &mut Input<'_>,
    handshake: &mut Handshake,
    config: &ServerConfig,
    peer: SocketAddr,
) -> Result<(UserName, Client), Refusal> {
    let method = input.method(handshake).await?;
    let (properties, mechanism, response) = match handshake.expect(&method) {
        Ok(Step::StartOk { client_properties, mechanism, response }) => {
            (client_properties.clone(), mechanism.to_owned(), response.to_vec())
        }
        Ok(_) => return Err(Refusal::Silent(Vec::new())),
        Err(error) => return Err(input.refusal(handshake, error, method.class_method(), false)),
    };
    let capable = |name: &str| match properties.get("capabilities") {
        Some(FieldValue::Table(capabilities)) => capabilities.get(name) == Some(&FieldValue::Bool(true)),
        _ => false,
    };
    let client = Client {
        closes: capable("authentication_failure_close"),
        blocked_notify: capable("connection.blocked"),
        cancel_notify: capable("consumer_cancel_notify"),
        mechanism,
        properties,
    };
    let certificate_name = input.port.tls.as_ref().and_then(|tls| {
        let session = tls.lock();
        let certificate = session.peer_certificates()?.first()?;
        crate::tls::common_name(certificate)
    });
    let attempt =
        Attempt { mechanism: &client.mechanism, response: &response, peer: peer.ip(), certificate_name };
    let judged = config.auth.judge(&input.port.broker.catalog(), &attempt);
    match judged {
        Ok(user) => {
            handshake.credentials_came();
            Ok((user.name.clone(), client))
        }
        Err(error) => Err(input.refusal(handshake, error, (0, 0), client.closes)),
    }
}

async fn open_vhost(
    input: &mut Input<'_>,
    handshake: &Handshake,
    user: &UserName,
    client: &Client,
) -> Result<VhostName, Refusal> {
    let method = input.method(handshake).await?;
    let ids = method.class_method();
    let name = match handshake.expect(&method) {
        Ok(Step::Open { virtual_host }) => virtual_host,
        Ok(_) => return Err(Refusal::Silent(Vec::new())),
        Err(error) => return Err(input.refusal(handshake, error, ids, client.closes)),
    };
    let broker = &input.port.broker;
    let elsewhere = clients_elsewhere(broker, user, name).await;
    let catalog = broker.catalog();
    may_open(&catalog, (broker.connections(), elsewhere), user, name)
        .map_err(|error| input.refusal(handshake, error, ids, client.closes))
}

/// How many clients other nodes have; nobody is asked where nothing is limited.
async fn clients_elsewhere(broker: &Broker, user: &UserName, name: &str) -> ClientCounts {
    let vhost = {
        let catalog = broker.catalog();
        let of_user = catalog.users.get(user.as_str()).and_then(|row| row.limits.max_connections);
        let vhost = catalog.vhost(name);
        let of_vhost = vhost.and_then(|vhost| vhost.limits.max_connections);
        let is_limited = [of_user, of_vhost].iter().flatten().any(|limit| *limit > 0);
        vhost.filter(|_| is_limited).map(|vhost| vhost.name.clone())
    };
    match (broker.cluster(), vhost) {
        (Some(cluster), Some(vhost)) => cluster.clients(vhost, user.clone()).await,
        _ => ClientCounts::default(),
    }
}

/// Checks the vhost, the right to it, and the limits of both: clients of this node and those elsewhere count.
fn may_open(
    catalog: &Catalog,
    (connections, elsewhere): (&engine::registry::Connections, ClientCounts),
    user: &UserName,
    name: &str,
) -> Result<VhostName, AmqpError> {
    let vhost = catalog.vhost(name);
    let row = catalog
        .users
        .get(user.as_str())
        .ok_or_else(|| AmqpError::access_refused(format!("user '{user}' does not exist any more")))?;
    access::check_vhost(vhost.map(|vhost| &**vhost), name, row)?;
    let Some(vhost) = vhost else {
        return Err(AmqpError::not_allowed(format!("vhost {name} not found")));
    };
    let limits = (vhost.limits.max_connections, row.limits.max_connections);
    if limits == (None, None) {
        return Ok(vhost.name.clone());
    }
    let here = connections.clients(&vhost.name, user);
    if let Some(limit) = limits.0
        && !within_limit(Some(limit), here.vhost.saturating_add(elsewhere.vhost))
    {
        return Err(AmqpError::not_allowed(format!(
            "access to vhost '{name}' refused for user '{user}': connection limit ({limit}) is reached"
        )));
    }
    if let Some(limit) = limits.1
        && !within_limit(Some(limit), here.user.saturating_add(elsewhere.user))
    {
        return Err(AmqpError::not_allowed(format!(
            "connection refused for user '{user}': user connection limit ({limit}) is reached"
        )));
    }
    Ok(vhost.name.clone())
}

/// Sends a client away.
pub(super) async fn refuse(port: &Port, refusal: Refusal) {
    match refusal {
        Refusal::Silent(answer) => {
            port.out().frames().extend_from_slice(&answer);
            port.flush();
        }
        Refusal::Told(error, (class_id, method_id)) => {
            tracing::warn!(%error, "connection refused");
            let close = Method::ConnectionClose {
                reply_code: error.code.code(),
                reply_text: error.reply_text(),
                class_id,
                method_id,
            };
            put(port, close);
            // Long enough for the client to read it and answer.
            let mut input = Input { port, bytes: Vec::new() };
            let wait = Duration::from_millis(SILENT_CLOSE_DELAY_MS);
            let _ = tokio::time::timeout(wait, async {
                while input.more().await && !is_close_ok(&input.bytes) {}
            })
            .await;
        }
        Refusal::Untold(error) => {
            tracing::warn!(%error, "connection refused without a word");
            tokio::time::sleep(Duration::from_millis(SILENT_CLOSE_DELAY_MS)).await;
        }
    }
}

fn is_close_ok(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == [0, 10, 0, 51]) || bytes.len() > READ_BYTES * 4
}

fn put(port: &Port, method: Method) {
    method.put(port.out().frames(), 0);
    port.flush();
}

/// connection.start with what clients read: product, version, capabilities.
fn start(config: &ServerConfig, broker: &engine::BrokerConfig, mechanisms: &str) -> Method {
    const CAPABILITIES: [&str; 9] = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    let capabilities = CAPABILITIES.iter().map(|name| (*name, FieldValue::Bool(true))).collect();
    let server_properties = [
        ("capabilities", FieldValue::Table(capabilities)),
        ("cluster_name", FieldValue::text(&broker.cluster_name)),
        ("copyright", FieldValue::text("The Leveret authors")),
        ("information", FieldValue::text("Licensed under the Apache License 2.0.")),
        ("platform", FieldValue::text("Rust")),
        ("product", FieldValue::text(&config.product)),
        ("version", FieldValue::text(&config.version)),
    ]
    .into_iter()
    .collect();
    Method::ConnectionStart {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: Bytes::copy_from_slice(mechanisms.as_bytes()),
        locales: Bytes::from_static(b"en_US"),
    }
}
