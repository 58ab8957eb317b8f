//! Data links at work: frames go to whoever consumes them, on a data thread.
//!
//! Invariant: for each peer and direction one consumer at a time gets frames; the next one is asked for after
//! the last one was told that its link closed.

use super::link::Link;
use super::reader::LinkReader;
use super::writer::LinkWriter;
use crate::identity::NodeIdentity;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// Consumes the frames of one data link, on its data thread. It may run queues; while it does, nothing is
/// read, and the sender feels it.
pub trait FrameSink: Send {
    /// A frame came. It is a slice of a buffer of some 500 KiB: who keeps a small one for long copies it.
    ///
    /// # Errors
    /// The frame makes no sense: what it is. The link is closed and the text is logged.
    fn frame(&mut self, frame: Bytes) -> Result<(), String>;

    /// All frames that one read brought were given; may come without any.
    fn batch_end(&mut self);

    /// The link is over, why; nothing comes after it.
    fn closed(&mut self, why: &str);
}

/// What is told of links. Never called under a lock.
pub trait MeshSink: Send + Sync {
    /// The control link with a peer is up. On the thread of the control links: must not block.
    fn control_up(&self, peer: &NodeIdentity);

    /// It is down. Calls that waited were told before. Data links with the peer are being closed.
    fn control_down(&self, peer: &NodeIdentity, why: &str);

    /// A data link is up, after the control link is. `dialled`: this node opened it and is the client of the
    /// peer's queues; otherwise the peer is the client of ours. Returns what consumes its frames. Called on
    /// the link's data thread.
    fn data_up(&self, peer: &NodeIdentity, dialled: bool, writer: LinkWriter) -> Box<dyn FrameSink>;
}

/// A data link that is up or will be.
pub(super) struct DataLink {
    pub(super) peer: NodeIdentity,
    pub(super) since: Instant,
    writer: OnceLock<LinkWriter>,
    closed: AtomicBool,
}

impl DataLink {
    pub(super) fn new(peer: NodeIdentity) -> DataLink {
        let (since, writer) = (Instant::now(), OnceLock::new());
        DataLink { peer, since, writer, closed: AtomicBool::new(false) }
    }

    /// Its writing end, once it is up.
    pub(super) fn writer(&self) -> Option<LinkWriter> {
        self.writer.get().filter(|writer| !writer.is_closed()).cloned()
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.get() {
            writer.close();
        }
    }

    /// Serves the link until it is over, and says why it is. On the data thread; `turn` is this direction's.
    pub(super) async fn run(
        &self,
        link: Link,
        turn: Arc<tokio::sync::Mutex<()>>,
        sink: Arc<dyn MeshSink>,
    ) -> String {
        let _turn = turn.lock().await;
        let dialled = link.dialled;
        let (reader, writer) = match link.split() {
            Ok(ends) => ends,
            Err(error) => return error.to_string(),
        };
        let _ = self.writer.set(writer.clone());
        // `close` either sees the writer or is seen here.
        if self.closed.load(Ordering::SeqCst) {
            return "it was closed".to_owned();
        }
        let mut frames = sink.data_up(&self.peer, dialled, writer.clone());
        let why = serve(reader, frames.as_mut()).await;
        writer.close();
        frames.closed(&why);
        why
    }
}

async fn serve(mut reader: LinkReader, frames: &mut dyn FrameSink) -> String {
    loop {
        let mut wrong = None;
        let mut each = |frame: Bytes| {
            if wrong.is_none() {
                wrong = frames.frame(frame).err();
            }
        };
        let read = reader.read(&mut each).await;
        frames.batch_end();
        match (read, wrong) {
            (_, Some(wrong)) => {
                tracing::error!("a data link is closed because of what it brought: {wrong}");
                return wrong;
            }
            (Ok(true), None) => {}
            (Ok(false), None) => return "the connection was closed".to_owned(),
            (Err(error), None) => return error.to_string(),
        }
        // Other links of this thread have their turn as well.
        tokio::task::yield_now().await;
    }
}
