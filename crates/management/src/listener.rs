//! The socket of the API: how many connections it takes and how long one may be silent.
//!
//! Invariant: at most `CONNECTIONS_MAX` sockets are open, and one that sends nothing for `IDLE_MAX` is
//! closed, so strangers cannot use up the node's memory or descriptors.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

const CONNECTIONS_MAX: usize = 1_024;
const IDLE_MAX: Duration = Duration::from_secs(300);
/// How long accepting rests after a failure such as running out of descriptors.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end, and where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    remote: IpAddr,
    /// None when the socket no longer knows: then nobody is taken to be on this machine.
    local: Option<IpAddr>,
}

impl Peer {
    /// IPv4 addresses stay what they are when they come over an IPv6 socket.
    fn new(remote: IpAddr, local: Option<IpAddr>) -> Peer {
        Peer { remote: remote.to_canonical(), local: local.map(|ip| ip.to_canonical()) }
    }

    /// Whether it came over the loopback.
    pub(crate) fn is_loopback(&self) -> bool {
        self.remote.is_loopback()
    }

    /// Whether it is on this machine: over the loopback, or from the very address it connected to, which
    /// is what the system chooses when the API listens on another address of the machine only.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.is_loopback() || self.local == Some(self.remote)
    }
}

impl Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Peer {
        let local = stream.io().stream.local_addr().ok();
        Peer::new(stream.remote_addr().ip(), local.map(|address| address.ip()))
    }
}

/// A listener with a limit.
pub(crate) struct Limited {
    inner: TcpListener,
    slots: Arc<Semaphore>,
}

impl Limited {
    pub(crate) fn new(inner: TcpListener) -> Limited {
        Limited { inner, slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for Limited {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        loop {
            // The semaphore is never closed; without a slot one would only be missing here.
            let slot = self.slots.clone().acquire_owned().await.ok();
            match self.inner.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let idle = Box::pin(tokio::time::sleep(IDLE_MAX));
                    return (Timed { stream, idle, _slot: slot }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A socket that fails when nothing has come for long.
pub(crate) struct Timed {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                this.idle.as_mut().reset(Instant::now() + IDLE_MAX);
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                ready!(this.idle.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        let table = [
            ("127.0.0.1", Some("127.0.0.1"), true, true),
            ("127.0.0.2", Some("127.0.0.1"), true, true),
            ("::1", Some("::1"), true, true),
            ("::ffff:127.0.0.1", Some("::ffff:127.0.0.1"), true, true),
            ("10.0.0.5", Some("10.0.0.5"), false, true),
            ("::ffff:10.0.0.5", Some("10.0.0.5"), false, true),
            ("10.0.0.6", Some("10.0.0.5"), false, false),
            ("::ffff:172.18.0.1", Some("::ffff:172.18.0.2"), false, false),
            ("10.0.0.5", None, false, false),
            ("2001:db8::1", Some("::1"), false, false),
        ];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (remote, local, over_loopback, here) in table {
            let peer = Peer::new(ip(remote), local.map(ip));
            assert_eq!((peer.is_loopback(), peer.is_on_this_machine()), (over_loopback, here), "{peer:?}");
        }
    }
}
