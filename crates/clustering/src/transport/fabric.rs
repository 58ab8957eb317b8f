//! The mesh from the inside: links come, replace each other and go.
//!
//! Invariant: links are installed and taken out on the control thread only, one after the other, so what the
//! sink is told of a peer is in order: control up, data up, control down.

use super::config::{Me, TransportConfig};
use super::control::{ControlLink, Life, Service};
use super::data::{DataLink, MeshSink};
use super::hello::LinkClass;
use super::link::Link;
use super::peer::{Candidate, Peer, Verdict, verdict};
use super::refusal::{HandshakeError, Refusal, RefusalLog};
use crate::identity::NodeIdentity;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::runtime::Handle;
use types::NodeId;
use types::limits::LINK_VISIT_COUNT_MAX;

pub(super) struct Fabric {
    pub(super) config: TransportConfig,
    pub(super) me: Me,
    /// This node's id, which never changes.
    pub(super) id: u64,
    pub(super) service: Arc<dyn Service>,
    sink: Arc<dyn MeshSink>,
    pub(super) control: Handle,
    data: Vec<Handle>,
    pub(super) peers: Mutex<HashMap<u64, Arc<Peer>>>,
    pub(super) stopped: AtomicBool,
    pub(super) refusals: RefusalLog,
    visits: AtomicUsize,
}

impl Fabric {
    pub(super) fn new(
        config: TransportConfig,
        me: Me,
        service: Arc<dyn Service>,
        sink: Arc<dyn MeshSink>,
        control: Handle,
        data: Vec<Handle>,
    ) -> Fabric {
        let id = me().id;
        Fabric {
            config,
            me,
            id,
            service,
            sink,
            control,
            data,
            peers: Mutex::default(),
            stopped: AtomicBool::new(false),
            refusals: RefusalLog::default(),
            visits: AtomicUsize::new(0),
        }
    }

    pub(super) fn peer(&self, node: u64) -> Option<Arc<Peer>> {
        self.peers.lock().get(&node).cloned()
    }

    fn is_lower(&self, peer: &Peer) -> bool {
        self.id < peer.node.0
    }

    pub(super) fn life(&self) -> Life {
        Life { ping: self.config.ping, silence: self.config.silence }
    }

    /// Whether a node that has proved who it is may have a link. From the thread that accepts.
    pub(super) fn admit(&self, node: &NodeIdentity, class: LinkClass) -> Result<(), Refusal> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Refusal::Other("the node stops".to_owned()));
        }
        if class == LinkClass::Visit {
            return Ok(());
        }
        let peer = self.peer(node.id).ok_or(Refusal::Unknown)?;
        let state = peer.state();
        if state.replaced.contains(&node.boot) {
            return Err(Refusal::SameId(node.id));
        }
        let existing = state.control.as_ref();
        let ours = existing.is_some_and(|link| link.dialled && link.peer.boot == node.boot);
        if class == LinkClass::Control && ours && self.is_lower(&peer) {
            return Err(Refusal::Duplicate);
        }
        Ok(())
    }

    /// A link of whatever class came to this node. On the control thread.
    pub(super) fn arrived(self: &Arc<Fabric>, link: Link) {
        match link.class {
            LinkClass::Control => {
                self.install_control(link);
            }
            LinkClass::Data => self.install_data(link),
            LinkClass::Visit => self.serve_visit(link),
        }
    }

    /// Takes a control link into use; false when it is not wanted. On the control thread.
    pub(super) fn install_control(self: &Arc<Fabric>, link: Link) -> bool {
        let Some(peer) = self.peer(link.peer.id) else { return false };
        let (identity, dialled) = (link.peer.clone(), link.dialled);
        let mut state = peer.state();
        if state.forgotten || self.stopped.load(Ordering::Acquire) {
            return false;
        }
        let existing = state.control.as_ref();
        let existing = existing.map(|link| Candidate {
            boot: link.peer.boot,
            dialled: link.dialled,
            is_fresh: link.since.elapsed() < self.config.silence,
        });
        let new = Candidate { boot: identity.boot, dialled, is_fresh: true };
        let verdict = verdict(existing, new, self.is_lower(&peer), &state.replaced);
        tracing::debug!(peer = identity.name, dialled, ?verdict, "a control link");
        match verdict {
            Verdict::Keep => return false,
            Verdict::SameId => {
                drop(state);
                let error = HandshakeError::Refused(identity.name, Refusal::SameId(identity.id));
                self.refusals.accepted(identity.addr, &error);
                return false;
            }
            Verdict::Up | Verdict::Replace | Verdict::Redialled | Verdict::Restarted => {}
        }
        let (reader, writer) = match link.split() {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!("the control link with {} cannot be used: {error}", identity.name);
                return false;
            }
        };
        let link = Arc::new(ControlLink::new(identity, dialled, writer));
        let old = state.control.replace(link.clone());
        state.note_boot(link.peer.boot);
        let is_silent = verdict == Verdict::Replace;
        let data = if is_silent { Vec::new() } else { state.take_data(Some(link.peer.boot)) };
        drop(state);
        // Its turn comes after this one, so what the sink is told stays in order.
        let (fabric, its_peer, running) = (self.clone(), peer.clone(), link.clone());
        self.control.spawn(async move {
            let why = running.run(reader, &fabric.service, fabric.life()).await;
            fabric.control_ended(&its_peer, &running, &why);
        });
        peer.note_change();
        data.iter().for_each(|data| data.close());
        if let Some(old) = &old {
            old.close();
        }
        if !is_silent {
            if let Some(old) = old {
                let anew = verdict == Verdict::Restarted;
                self.tell_down(
                    &old.peer,
                    if anew { "its process was started anew" } else { "it dialled again" },
                );
            }
            tracing::info!("the link with {} at {} is up", link.peer.name, link.peer.addr);
            self.sink.control_up(&link.peer);
        }
        self.start_early(&peer);
        true
    }

    fn tell_down(&self, peer: &NodeIdentity, why: &str) {
        tracing::info!("the link with {} at {} is down: {why}", peer.name, peer.addr);
        self.sink.control_down(peer, why);
    }

    /// A control link is over. On the control thread.
    pub(super) fn control_ended(&self, peer: &Peer, link: &Arc<ControlLink>, why: &str) {
        let mut state = peer.state();
        if !state.control.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            return;
        }
        state.control = None;
        let data = state.take_data(None);
        drop(state);
        link.close();
        data.iter().for_each(|data| data.close());
        self.tell_down(&link.peer, why);
        peer.note_change();
    }

    /// A data link that came before the control link.
    fn start_early(self: &Arc<Fabric>, peer: &Arc<Peer>) {
        let early = peer.state().early.take();
        if let Some(link) = early {
            self.install_data(link);
        }
    }

    /// Takes a data link into use, now or when the control link is up. On the control thread.
    pub(super) fn install_data(self: &Arc<Fabric>, link: Link) {
        let Some(peer) = self.peer(link.peer.id) else { return };
        let direction = usize::from(link.dialled);
        let mut state = peer.state();
        if state.forgotten || self.stopped.load(Ordering::Acquire) {
            return;
        }
        if state.linked_boot() != Some(link.peer.boot) {
            // The peer may have seen the control link a moment earlier, or have been started anew.
            if !link.dialled && !state.replaced.contains(&link.peer.boot) {
                state.early = Some(link);
            }
            return;
        }
        let data = Arc::new(DataLink::new(link.peer.clone()));
        let old = state.data[direction].replace(data.clone());
        drop(state);
        if let Some(old) = old {
            old.close();
        }
        let turn = peer.data_turns[direction].clone();
        let (sink, serving) = (self.sink.clone(), data.clone());
        let thread = &self.data[(peer.thread + direction) % self.data.len()];
        let served = thread.spawn(async move { serving.run(link, turn, sink).await });
        peer.note_change();
        let fabric = self.clone();
        self.control.spawn(async move {
            let why = served.await.unwrap_or_else(|_| "what consumed it has panicked".to_owned());
            fabric.data_ended(&peer, direction, &data, &why);
        });
    }

    fn data_ended(&self, peer: &Peer, direction: usize, link: &Arc<DataLink>, why: &str) {
        let mut state = peer.state();
        let current = state.data[direction].as_ref();
        if current.is_some_and(|current| Arc::ptr_eq(current, link)) {
            state.data[direction] = None;
            drop(state);
            link.close();
            tracing::info!("a data link with {} is down: {why}", link.peer.name);
            peer.note_change();
        }
    }

    fn serve_visit(self: &Arc<Fabric>, link: Link) {
        if self.visits.fetch_add(1, Ordering::AcqRel) >= LINK_VISIT_COUNT_MAX {
            self.visits.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("{} at {} has to come again: too many visit", link.peer.name, link.peer.addr);
            return;
        }
        let fabric = self.clone();
        self.control.spawn(async move {
            let (peer, dialled) = (link.peer.clone(), link.dialled);
            if let Ok((reader, writer)) = link.split() {
                let link = Arc::new(ControlLink::new(peer, dialled, writer));
                let why = link.run(reader, &fabric.service, fabric.life()).await;
                tracing::debug!("{} has ended its visit: {why}", link.peer.name);
            }
            fabric.visits.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Ends what there is with a peer that is no longer in the list. On the control thread.
    pub(super) fn end(&self, peer: &Peer, why: &str) {
        let mut state = peer.state();
        state.forgotten = true;
        let control = state.control.take();
        let data = state.take_data(None);
        drop(state);
        data.iter().for_each(|data| data.close());
        if let Some(control) = control {
            control.close();
            self.tell_down(&control.peer, why);
        }
        peer.note_change();
    }

    /// The peer's data turns: whoever gets both knows that its consumers were told that they are over.
    pub(super) async fn data_over(peer: &Peer) {
        for turn in &peer.data_turns {
            drop(turn.lock().await);
        }
    }

    /// The node is this one.
    pub(super) fn is_me(&self, node: NodeId) -> bool {
        node.0 == self.id
    }
}
