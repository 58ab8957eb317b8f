//! The mesh's links as ways to homes and from guests.
//!
//! Invariant: a link belongs to one forwarding session; when either ends, so does the other.

use crate::catalog::{Call, Rpc};
use crate::forward::{ForwardHomes, Guest, HomeLink, Way};
use crate::identity::NodeIdentity;
use crate::transport::{CallError, FrameSink, LinkWriter, Mesh, MeshSink};
use bytes::Bytes;
use engine::Broker;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use types::NodeId;

/// A data link as a way.
struct LinkWay(LinkWriter);

impl Way for LinkWay {
    fn put(&self, fill: &mut dyn FnMut(&mut Vec<u8>)) -> bool {
        self.0.put(fill)
    }

    fn flush(&self) {
        self.0.flush();
    }

    fn buffered_bytes(&self) -> usize {
        self.0.buffered_bytes()
    }

    fn close(&self) {
        self.0.close();
    }
}

/// What is done with links that come and go.
pub(super) struct Links {
    pub(super) homes: Arc<ForwardHomes>,
    pub(super) broker: Arc<Broker>,
}

impl MeshSink for Links {
    fn control_up(&self, peer: &NodeIdentity) {
        tracing::debug!(node = %peer.name, addr = %peer.addr, "control link is up");
    }

    fn control_down(&self, peer: &NodeIdentity, why: &str) {
        tracing::debug!(node = %peer.name, addr = %peer.addr, "control link is down: {why}");
    }

    fn data_up(&self, peer: &NodeIdentity, dialled: bool, writer: LinkWriter) -> Box<dyn FrameSink> {
        let way = Arc::new(LinkWay(writer.clone()));
        if dialled {
            return Box::new(self.homes.link_up(peer.node(), way, &self.broker));
        }
        let guest = Guest::new(self.broker.clone(), peer.node(), way);
        writer.on_room(Box::new(guest.on_room()));
        Box::new(guest)
    }
}

/// The two ends of forwarding take frames alike.
macro_rules! frame_sinks {
    ($($end:ty),*) => {
        $(impl FrameSink for $end {
            fn frame(&mut self, frame: Bytes) -> Result<(), String> {
                <$end>::frame(self, &frame)
            }

            fn batch_end(&mut self) {
                <$end>::batch_end(self);
            }

            fn closed(&mut self, _why: &str) {
                <$end>::closed(self);
            }
        })*
    };
}

frame_sinks!(HomeLink, Guest);

/// The mesh as the catalog's way to other nodes.
#[derive(Default)]
pub(super) struct MeshCalls(OnceLock<Weak<Mesh>>);

impl MeshCalls {
    pub(super) fn connect(&self, mesh: &Arc<Mesh>) {
        let _ = self.0.set(Arc::downgrade(mesh));
    }
}

impl Rpc for MeshCalls {
    fn call(&self, node: NodeId, kind: u8, body: Vec<u8>, timeout: Duration) -> Call<'_> {
        Box::pin(async move {
            let mesh = self.0.get().and_then(Weak::upgrade).ok_or(CallError::NotConnected)?;
            mesh.call(node, kind, body, timeout).await
        })
    }
}
