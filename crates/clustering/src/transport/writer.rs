//! The writing end of a link.
//!
//! Invariant: a frame is put in whole or not at all; once `put` said true it is written unless the link dies.

use super::intake::FRAME_HEAD_BYTES;
use super::wire::Wire;
use std::sync::Arc;

/// The writing end of a link. Clones write to the same link.
#[derive(Clone)]
pub struct LinkWriter {
    wire: Arc<Wire>,
}

/// A frame that is being filled in; taken out again when it does not come to its end.
struct Unfinished<'a> {
    plain: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.plain.truncate(self.start);
        }
    }
}

impl LinkWriter {
    pub(super) fn new(wire: Arc<Wire>) -> LinkWriter {
        LinkWriter { wire }
    }

    /// Appends one frame; `fill` appends its bytes to the buffer and touches nothing that is there already.
    /// From any thread; waits for nobody but another `put`. The frame goes out with the next `flush` at the
    /// latest.
    ///
    /// False when the link is closed. A frame longer than the link takes closes it, since leaving it out
    /// would lose it silently.
    pub fn put(&self, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut out = self.wire.out();
        if out.closed {
            return false;
        }
        let start = out.plain.len();
        let mut frame = Unfinished { plain: &mut out.plain, start, finished: false };
        frame.plain.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        fill(frame.plain);
        let at = start + FRAME_HEAD_BYTES;
        let length = frame.plain.len().checked_sub(at).filter(|length| *length <= self.wire.frame_max_bytes);
        let (Some(length), Some(head)) = (length, frame.plain.get_mut(start..at)) else {
            let bytes = frame.plain.len() - start.min(frame.plain.len());
            drop(frame);
            drop(out);
            let most = self.wire.frame_max_bytes;
            tracing::error!("a link is closed: a frame of {bytes} bytes was put in, {most} are possible");
            self.close();
            return false;
        };
        head.copy_from_slice(&(length as u32).to_le_bytes());
        frame.finished = true;
        drop(frame);
        self.wire.count(FRAME_HEAD_BYTES + length);
        true
    }

    /// Writes as much as the socket takes, from the calling thread; the rest is left to the link's own task.
    pub fn flush(&self) {
        self.wire.flush();
    }

    /// Bytes that were put in and are not written yet; 0 when the link is closed.
    pub fn buffered_bytes(&self) -> usize {
        self.wire.buffered_bytes()
    }

    /// More waits than should be put in.
    pub fn is_full(&self) -> bool {
        self.buffered_bytes() > self.wire.water.high_bytes
    }

    /// Comes back when less than low water waits, or the link is closed.
    pub async fn room(&self) {
        loop {
            let mut notified = std::pin::pin!(self.wire.room.notified());
            notified.as_mut().enable();
            if self.is_closed() || self.buffered_bytes() < self.wire.water.low_bytes {
                return;
            }
            notified.await;
        }
    }

    /// Sets what is called each time the link falls below low water after it was above high water. It is
    /// called by the thread that writes, so it must be short; it may `put` and `flush`. It is not called when
    /// the link closes. Who stops writing has to look at `buffered_bytes` again after it has noted that it
    /// waits: the call may have come in between.
    pub fn on_room(&self, call: Box<dyn Fn() + Send + Sync>) {
        self.wire.set_on_room(call.into());
    }

    /// Closes the link; what waits is dropped.
    pub fn close(&self) {
        self.wire.close();
    }

    /// The link is closed: nothing more is taken.
    pub fn is_closed(&self) -> bool {
        self.wire.is_closed()
    }
}
