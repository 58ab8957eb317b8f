//! The listener: handshakes with whoever connects.
//!
//! Invariant: at most `LINK_HANDSHAKE_COUNT_MAX` connections are without a finished handshake. The oldest one
//! gives way to a new one, so that those who connect and say nothing keep nobody out. All of it happens on a
//! thread of its own, so that strangers cost the links that are up no time.

use super::fabric::Fabric;
use super::link::{Link, plain};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use types::limits::LINK_HANDSHAKE_COUNT_MAX;

/// Pause after a connection that could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

impl Fabric {
    /// Accepts until the runtime ends.
    pub(super) async fn accept(self: Arc<Fabric>, listener: TcpListener) {
        let mut handshakes: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let (socket, addr) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: others may close theirs.
                    tracing::warn!("a connection of another node could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            handshakes.retain(|handshake| !handshake.is_finished());
            if handshakes.len() >= LINK_HANDSHAKE_COUNT_MAX
                && let Some(oldest) = handshakes.pop_front()
            {
                oldest.abort();
            }
            let handshake = self.clone().handshake(socket, plain(addr));
            handshakes.push_back(tokio::spawn(handshake).abort_handle());
        }
    }

    async fn handshake(self: Arc<Fabric>, socket: TcpStream, addr: SocketAddr) {
        let me = (self.me)();
        let fabric = self.clone();
        let admit = move |node: &_, class| fabric.admit(node, class);
        match Link::accept(socket, &me, &self.config, &admit).await {
            Ok(link) => {
                let fabric = self.clone();
                self.control.spawn(async move { fabric.arrived(link) });
            }
            Err(error) => self.refusals.accepted(addr, &error),
        }
    }
}
