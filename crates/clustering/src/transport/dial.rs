//! Keeping links up: dialling, and dialling again.
//!
//! Invariant: a node that cannot be reached is dialled at most once in `redial_max`, one attempt at a time
//! for each class of link.

use super::fabric::Fabric;
use super::hello::LinkClass;
use super::link::Link;
use super::peer::Peer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use types::limits::LINK_DIAL_COURTESY_MS;

/// Pauses between attempts: none, then longer and longer ones.
struct Backoff {
    pause: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    fn new(fabric: &Fabric) -> Backoff {
        let (min, max) = (fabric.config.redial_min, fabric.config.redial_max);
        Backoff { pause: Duration::ZERO, min, max }
    }

    /// An attempt came to nothing, or to a link that lived for a moment only.
    fn failed(&mut self) {
        self.pause = (self.pause * 2).clamp(self.min, self.max);
    }

    /// A link is over that was up since then.
    fn ended(&mut self, since: Instant) {
        if since.elapsed() > self.max {
            self.pause = Duration::ZERO;
        } else {
            self.failed();
        }
    }

    fn reset(&mut self) {
        self.pause = Duration::ZERO;
    }
}

/// What the one who dials does next.
enum Next {
    /// The peer is forgotten.
    End,
    /// There is a link since then, or there can be none yet.
    Wait(Option<Instant>),
    Dial(std::net::SocketAddr),
}

/// Waits for the peer to change; false when it is over.
async fn change(changes: &mut watch::Receiver<u64>) -> bool {
    changes.changed().await.is_ok()
}

impl Fabric {
    /// Keeps a control link with the peer up until it is forgotten.
    pub(super) async fn keep_control(self: Arc<Fabric>, peer: Arc<Peer>) {
        let mut changes = peer.changes();
        let mut backoff = Backoff::new(&self);
        let mut up_since = None;
        let mut last_addr = None;
        loop {
            changes.borrow_and_update();
            let next = {
                let state = peer.state();
                match &state.control {
                    _ if state.forgotten => Next::End,
                    Some(link) => Next::Wait(Some(link.since)),
                    None => Next::Dial(state.addr),
                }
            };
            let addr = match next {
                Next::End => return,
                Next::Wait(since) => {
                    up_since = since;
                    change(&mut changes).await;
                    continue;
                }
                Next::Dial(addr) => addr,
            };
            if let Some(since) = up_since.take() {
                backoff.ended(since);
            }
            if last_addr.replace(addr).is_some_and(|last| last != addr) {
                backoff.reset();
            }
            // Mostly the lower id's dial is there before the higher one begins.
            let courtesy = if peer.node.0 < self.id { LINK_DIAL_COURTESY_MS } else { 0 };
            let attempt = async {
                sleep(backoff.pause + Duration::from_millis(courtesy)).await;
                self.dial(LinkClass::Control, &peer, addr).await
            };
            let link = tokio::select! {
                link = attempt => link,
                // It has another address now, a link came from it, or it is forgotten.
                _ = change(&mut changes) => continue,
            };
            if !link.is_some_and(|link| self.install_control(link)) {
                backoff.failed();
            }
        }
    }

    /// Keeps this node's data link to the peer up whenever the control link is.
    pub(super) async fn keep_data(self: Arc<Fabric>, peer: Arc<Peer>) {
        let mut changes = peer.changes();
        let mut backoff = Backoff::new(&self);
        let mut up_since = None;
        loop {
            changes.borrow_and_update();
            let next = {
                let state = peer.state();
                match (&state.control, &state.data[1]) {
                    _ if state.forgotten => Next::End,
                    (_, Some(link)) => Next::Wait(Some(link.since)),
                    (None, None) => Next::Wait(None),
                    (Some(_), None) => Next::Dial(state.addr),
                }
            };
            let addr = match next {
                Next::End => return,
                Next::Wait(since) => {
                    if since.is_none() {
                        backoff.reset();
                    }
                    up_since = since;
                    change(&mut changes).await;
                    continue;
                }
                Next::Dial(addr) => addr,
            };
            if let Some(since) = up_since.take() {
                backoff.ended(since);
            }
            let attempt = async {
                sleep(backoff.pause).await;
                self.dial(LinkClass::Data, &peer, addr).await
            };
            let link = tokio::select! {
                link = attempt => link,
                _ = change(&mut changes) => continue,
            };
            backoff.failed();
            if let Some(link) = link {
                self.install_data(link);
            }
        }
    }

    async fn dial(&self, class: LinkClass, peer: &Peer, addr: std::net::SocketAddr) -> Option<Link> {
        let me = (self.me)();
        match Link::dial(addr, class, Some(peer.node.0), &me, &self.config).await {
            Ok(link) => Some(link),
            Err(error) => {
                self.refusals.dialled(addr, &error);
                None
            }
        }
    }
}
