//! A control link at work: calls both ways, and signs of life.
//!
//! Invariant: nothing here waits for anything but the socket and the clock, so a link that is silent is
//! noticed in time however much is being called.

use super::calls::{self, CallError, Calls, Said};
use super::reader::LinkReader;
use super::writer::LinkWriter;
use crate::identity::NodeIdentity;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use types::NodeId;
use types::limits::{CALL_BODY_MAX_BYTES, CALL_IN_FLIGHT_COUNT_MAX, CALL_SERVING_MAX_BYTES};

/// A future of any kind.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What answers the calls of other nodes.
pub trait Service: Send + Sync {
    /// Answers a call. It is called on the thread of the control links, and the future runs there: neither
    /// may block or compute for long. Dropped when the node stops.
    fn call(&self, from: NodeId, kind: u8, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>>;
}

/// When a link shows that it lives, and when it is taken for dead.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) ping: Duration,
    pub(super) silence: Duration,
}

/// A control link that is up, or was.
pub(super) struct ControlLink {
    pub(super) peer: NodeIdentity,
    pub(super) dialled: bool,
    pub(super) since: Instant,
    writer: LinkWriter,
    calls: Calls,
    /// Calls of the other side that are being answered, and the bytes of their bodies.
    serving: AtomicUsize,
    serving_bytes: AtomicUsize,
}

/// A call of the other side that is being answered: it gets an answer whatever happens to the service.
struct Served {
    link: Arc<ControlLink>,
    number: u64,
    body_bytes: usize,
    result: Result<Vec<u8>, String>,
}

impl Served {
    fn finish(mut self, result: Result<Vec<u8>, String>) {
        self.result = result;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let too_long = self.result.as_ref().is_ok_and(|body| body.len() > CALL_BODY_MAX_BYTES);
        if too_long {
            self.result = Err(format!("the answer is longer than {CALL_BODY_MAX_BYTES} bytes"));
        }
        self.link.writer.put(|frame| calls::write_result(frame, self.number, &self.result));
        self.link.writer.flush();
        self.link.serving.fetch_sub(1, Ordering::AcqRel);
        self.link.serving_bytes.fetch_sub(self.body_bytes, Ordering::AcqRel);
    }
}

impl ControlLink {
    pub(super) fn new(peer: NodeIdentity, dialled: bool, writer: LinkWriter) -> ControlLink {
        let (since, calls) = (Instant::now(), Calls::new());
        let (serving, serving_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        ControlLink { peer, dialled, since, writer, calls, serving, serving_bytes }
    }

    /// Calls the other side. From any thread, in a runtime with a clock.
    pub(super) async fn call(&self, kind: u8, body: &[u8], limit: Duration) -> Result<Bytes, CallError> {
        let length = body.len();
        if length > CALL_BODY_MAX_BYTES {
            let why = format!("the call has {length} bytes: {CALL_BODY_MAX_BYTES} are possible");
            return Err(CallError::Refused(why));
        }
        let answered = async {
            let mut waiting = self.calls.begin().await?;
            while self.writer.is_full() {
                self.writer.room().await;
            }
            let number = waiting.number;
            if !self.writer.put(|frame| calls::write_request(frame, number, kind, body)) {
                return Err(CallError::Closed);
            }
            self.writer.flush();
            waiting.answer().await
        };
        timeout(limit, answered).await.unwrap_or(Err(CallError::TimedOut))
    }

    /// Closes the link; calls that wait are told.
    pub(super) fn close(&self) {
        self.writer.close();
        self.calls.close();
    }

    /// Works until the link is over, and says why it is.
    pub(super) async fn run(
        self: &Arc<ControlLink>,
        mut reader: LinkReader,
        service: &Arc<dyn Service>,
        life: Life,
    ) -> String {
        let mut heard = Instant::now();
        let mut ping_at = heard;
        let why = loop {
            let now = Instant::now();
            if now >= ping_at {
                self.writer.put(calls::write_ping);
                self.writer.flush();
                ping_at = now + life.ping;
            }
            let mut wrong = None;
            let mut each = |frame: Bytes| {
                if wrong.is_none() {
                    wrong = self.frame(&frame, service).err();
                }
            };
            tokio::select! {
                // Reading first: what has come while this thread was kept from running counts.
                biased;
                read = reader.read(&mut each) => match (read, wrong) {
                    (_, Some(wrong)) => break wrong,
                    (Ok(true), None) => heard = Instant::now(),
                    (Ok(false), None) => break "the connection was closed".to_owned(),
                    (Err(error), None) => break error.to_string(),
                },
                () = sleep_until(heard + life.silence) => {
                    break format!("nothing was heard for {:?}", life.silence);
                }
                () = sleep_until(ping_at) => {}
            }
            // Other links of this thread have their turn as well.
            tokio::task::yield_now().await;
        };
        self.close();
        why
    }

    fn frame(self: &Arc<ControlLink>, frame: &Bytes, service: &Arc<dyn Service>) -> Result<(), String> {
        match Said::read(frame)? {
            Said::Ping => {}
            Said::Request { number, kind, body } => self.serve(number, kind, body, service),
            Said::Answer { number, body } => self.calls.end(number, Ok(body)),
            Said::Refusal { number, why } => self.calls.end(number, Err(CallError::Refused(why))),
        }
        Ok(())
    }

    fn serve(self: &Arc<ControlLink>, number: u64, kind: u8, body: Bytes, service: &Arc<dyn Service>) {
        let result = Err("the call was given up".to_owned());
        let body_bytes = body.len();
        let count = self.serving.fetch_add(1, Ordering::AcqRel);
        let bytes = self.serving_bytes.fetch_add(body_bytes, Ordering::AcqRel);
        let served = Served { link: self.clone(), number, body_bytes, result };
        if count >= CALL_IN_FLIGHT_COUNT_MAX || bytes >= CALL_SERVING_MAX_BYTES {
            let why = format!("{count} calls of this node with {bytes} bytes are being answered already");
            served.finish(Err(why));
            return;
        }
        let service = service.clone();
        let from = self.peer.node();
        tokio::spawn(async move {
            let result = service.call(from, kind, body).await;
            while served.link.writer.is_full() {
                served.link.writer.room().await;
            }
            served.finish(result);
        });
    }
}
