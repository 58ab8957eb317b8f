//! Listeners and the threads that serve connections.
//!
//! Invariant: a connection stays on the thread it was given to; threads get new ones in turn. Timers,
//! memory watch and management run on a thread of their own, so that load never looks like death.

use crate::auth::Authenticator;
use crate::connection;
use crate::port::Port;
use engine::Broker;
use rustls::ServerConnection;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Pause after a connection that could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How the server treats its clients.
pub struct ServerConfig {
    /// Largest channel number offered; 0 = no limit.
    pub channel_max: u16,
    /// Largest frame offered, bytes.
    pub frame_max: u32,
    /// Heartbeat offered, seconds.
    pub heartbeat_s: u16,
    /// Largest message, bytes.
    pub message_size_max_bytes: u64,
    /// A client must be in after this time.
    pub handshake_timeout_ms: u64,
    /// The `product` server property.
    pub product: String,
    /// The `version` server property.
    pub version: String,
    /// Who may log in.
    pub auth: Authenticator,
    /// Called on each serving thread once a second, with the number of seconds since the start.
    pub every_second: Arc<dyn Fn(u64) + Send + Sync>,
    /// Certificates may stand for users (EXTERNAL).
    pub external: bool,
    /// Becomes true when the node stops.
    pub shutdown: watch::Sender<bool>,
}

/// The threads that serve connections.
pub struct Server {
    broker: Arc<Broker>,
    config: Arc<ServerConfig>,
    workers: Vec<Handle>,
    threads: parking_lot::Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// Listening sockets, to wake the threads that accept.
    listeners: parking_lot::Mutex<Vec<TcpListener>>,
    next: AtomicUsize,
    stop: watch::Sender<bool>,
}

/// An IPv4 address that came over an IPv6 socket, as itself.
pub(crate) fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

async fn each_second(call: Arc<dyn Fn(u64) + Send + Sync>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for seconds in 0.. {
        second.tick().await;
        call(seconds);
    }
}

impl Server {
    /// Starts `threads` serving threads.
    pub fn start(broker: Arc<Broker>, config: ServerConfig, threads: usize) -> io::Result<Arc<Server>> {
        let (stop, _) = watch::channel(false);
        let mut workers = Vec::new();
        let mut handles = Vec::new();
        for number in 0..threads.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.push(runtime.handle().clone());
            runtime.spawn(broker.clone().run_handed_over());
            runtime.spawn(each_second(config.every_second.clone()));
            let mut stopped = stop.subscribe();
            let serve = move || {
                runtime.block_on(async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                });
                runtime.shutdown_timeout(Duration::from_millis(100));
            };
            let thread = std::thread::Builder::new().name(format!("serve-{number}")).spawn(serve)?;
            handles.push(thread);
        }
        Ok(Arc::new(Server {
            broker,
            config: Arc::new(config),
            workers,
            threads: parking_lot::Mutex::new(handles),
            listeners: parking_lot::Mutex::default(),
            next: AtomicUsize::new(0),
            stop,
        }))
    }

    /// Accepts on a bound listener until shutdown, on a thread of its own: a new connection costs no
    /// registration with a runtime that does not serve it.
    pub fn accept(
        self: &Arc<Server>,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> io::Result<()> {
        let local = listener.local_addr()?;
        self.listeners.lock().push(listener.try_clone()?);
        let server = self.clone();
        let accept = move || server.accept_until_shutdown(&listener, local, tls.as_ref());
        let thread = std::thread::Builder::new().name(format!("accept-{}", local.port())).spawn(accept)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn accept_until_shutdown(
        &self,
        listener: &TcpListener,
        local: SocketAddr,
        tls: Option<&Arc<rustls::ServerConfig>>,
    ) {
        loop {
            let accepted = listener.accept();
            if *self.config.shutdown.borrow() {
                return;
            }
            match accepted {
                Ok((socket, peer)) => self.give(socket, peer, local, tls.cloned()),
                Err(error) => {
                    // Out of file descriptors, most likely: others may close theirs.
                    tracing::warn!(%error, "a connection could not be accepted");
                    std::thread::sleep(ACCEPT_RETRY);
                }
            }
        }
    }

    /// Gives a socket to the next thread.
    fn give(
        &self,
        socket: std::net::TcpStream,
        peer: SocketAddr,
        listening: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        let broker = self.broker.clone();
        let config = self.config.clone();
        if let Err(error) = socket.set_nonblocking(true) {
            tracing::warn!(%error, "a connection could not be set up");
            return;
        }
        self.workers[at].spawn(async move {
            let Ok(socket) = TcpStream::from_std(socket) else { return };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
            let session = match tls.map(ServerConnection::new).transpose() {
                Ok(session) => session,
                Err(error) => {
                    tracing::error!(%error, "TLS session");
                    return;
                }
            };
            let local = plain(socket.local_addr().unwrap_or(listening));
            let peer = plain(peer);
            let id = broker.connections().next_id();
            let port = Arc::new(Port::new(id, broker, socket, session));
            connection::serve(port, config, peer, local).await;
        });
    }

    /// Tells every connection to close and waits until they have, at most `limit`.
    pub async fn shut_down(&self, limit: Duration) {
        self.config.shutdown.send_replace(true);
        for listener in self.listeners.lock().drain(..) {
            // Wakes accept; the listener may be gone already.
            let _ = socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both);
        }
        let gone = async {
            while self.broker.connections().count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, gone).await.is_err() {
            tracing::warn!(count = self.broker.connections().count(), "connections did not close in time");
        }
        let _ = self.stop.send(true);
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a serving thread had panicked");
            }
        }
    }
}
