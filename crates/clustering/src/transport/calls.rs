//! Calls over a control link: how they look, and those that wait for an answer.
//!
//! A frame on a control link begins with its kind: a ping has nothing more; a request has the call's number
//! (u64, little endian), the kind of call and the body; an answer has the number and the body; a refusal has
//! the number and a text.
//!
//! Invariant: a call that waits is answered, refused, given up by its caller, or told that the link closed.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use types::limits::{CALL_IN_FLIGHT_COUNT_MAX, CALL_REFUSAL_MAX_BYTES};

const PING: u8 = 0;
const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
const REFUSAL: u8 = 3;

/// Why a call has no answer. Only `Refused` says that the other node did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// There is no link to the node.
    NotConnected,
    /// No answer came in time.
    TimedOut,
    /// The link closed before an answer came.
    Closed,
    /// The other node, or this one, refused: why.
    Refused(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotConnected => f.write_str("there is no link to the node"),
            CallError::TimedOut => f.write_str("the node did not answer in time"),
            CallError::Closed => f.write_str("the link to the node closed before it answered"),
            CallError::Refused(why) => write!(f, "the node refused: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

/// What a frame of a control link says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ping,
    Request { number: u64, kind: u8, body: Bytes },
    Answer { number: u64, body: Bytes },
    Refusal { number: u64, why: String },
}

impl Said {
    /// Reads a frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(frame: &Bytes) -> Result<Said, String> {
        let (kind, rest) = frame.split_first().ok_or("an empty frame on a control link")?;
        if *kind == PING {
            return Ok(Said::Ping);
        }
        let number = rest.first_chunk().ok_or("a frame on a control link ends too early")?;
        let number = u64::from_le_bytes(*number);
        let body = frame.slice(9..);
        match (*kind, body.first()) {
            (REQUEST, Some(kind)) => Ok(Said::Request { number, kind: *kind, body: body.slice(1..) }),
            (REQUEST, None) => Err("a call of no kind".to_owned()),
            (ANSWER, _) => Ok(Said::Answer { number, body }),
            (REFUSAL, _) => {
                let text = &body[..body.len().min(CALL_REFUSAL_MAX_BYTES)];
                Ok(Said::Refusal { number, why: String::from_utf8_lossy(text).into_owned() })
            }
            (kind, _) => Err(format!("a frame of kind {kind} on a control link")),
        }
    }
}

/// Writes a sign of life.
pub(super) fn write_ping(into: &mut Vec<u8>) {
    into.push(PING);
}

/// Writes a call.
pub(super) fn write_request(into: &mut Vec<u8>, number: u64, kind: u8, body: &[u8]) {
    into.push(REQUEST);
    into.extend_from_slice(&number.to_le_bytes());
    into.push(kind);
    into.extend_from_slice(body);
}

/// Writes what came of a call.
pub(super) fn write_result(into: &mut Vec<u8>, number: u64, result: &Result<Vec<u8>, String>) {
    let (kind, body) = match result {
        Ok(body) => (ANSWER, body.as_slice()),
        Err(why) => (REFUSAL, &why.as_bytes()[..why.len().min(CALL_REFUSAL_MAX_BYTES)]),
    };
    into.push(kind);
    into.extend_from_slice(&number.to_le_bytes());
    into.extend_from_slice(body);
}

type Answer = Result<Bytes, CallError>;

/// Calls of one link that wait for an answer.
pub(super) struct Calls {
    /// None when the link is closed.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    next: AtomicU64,
    permits: Semaphore,
}

/// A call that waits. Dropped, it waits no more.
pub(super) struct Waiting<'a> {
    calls: &'a Calls,
    pub(super) number: u64,
    answer: oneshot::Receiver<Answer>,
    _permit: SemaphorePermit<'a>,
}

impl Calls {
    pub(super) fn new() -> Calls {
        Calls {
            waiting: Mutex::new(Some(HashMap::new())),
            next: AtomicU64::new(0),
            permits: Semaphore::new(CALL_IN_FLIGHT_COUNT_MAX),
        }
    }

    /// Begins a call, as soon as fewer than the most are in flight.
    pub(super) async fn begin(&self) -> Result<Waiting<'_>, CallError> {
        let permit = self.permits.acquire().await.map_err(|_| CallError::Closed)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().as_mut().ok_or(CallError::Closed)?.insert(number, sender);
        Ok(Waiting { calls: self, number, answer, _permit: permit })
    }

    /// An answer came. One that nobody waits for any more is dropped.
    pub(super) fn end(&self, number: u64, answer: Answer) {
        let sender = self.waiting.lock().as_mut().and_then(|waiting| waiting.remove(&number));
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    /// The link is closed: nobody gets an answer any more.
    pub(super) fn close(&self) {
        self.permits.close();
        let waiting = self.waiting.lock().take();
        for (_, sender) in waiting.into_iter().flatten() {
            let _ = sender.send(Err(CallError::Closed));
        }
    }
}

impl Waiting<'_> {
    /// Comes back with the answer.
    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.answer).await.unwrap_or(Err(CallError::Closed))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.calls.waiting.lock().as_mut() {
            waiting.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut frame = Vec::new();
        write(&mut frame);
        frame.into()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Said::read(&written(write_ping)), Ok(Said::Ping));
        let request = written(|frame| write_request(frame, 7, 3, b"body"));
        let said = Said::Request { number: 7, kind: 3, body: Bytes::from_static(b"body") };
        assert_eq!(Said::read(&request), Ok(said));
        assert_eq!(&request[..], b"\x01\x07\0\0\0\0\0\0\0\x03body");
        let answer = written(|frame| write_result(frame, 8, &Ok(Vec::new())));
        assert_eq!(Said::read(&answer), Ok(Said::Answer { number: 8, body: Bytes::new() }));
        let refusal = written(|frame| write_result(frame, 9, &Err("x".repeat(100_000))));
        assert_eq!(refusal.len(), 9 + CALL_REFUSAL_MAX_BYTES);
        let Ok(Said::Refusal { number: 9, why }) = Said::read(&refusal) else { panic!("no refusal") };
        assert_eq!(why.len(), CALL_REFUSAL_MAX_BYTES);
    }

    #[test]
    fn what_is_no_frame_is_told() {
        for (frame, wrong) in [
            (&b""[..], "empty"),
            (b"\x01\0\0\0", "too early"),
            (b"\x01\0\0\0\0\0\0\0\0", "no kind"),
            (b"\x09\0\0\0\0\0\0\0\0x", "kind 9"),
        ] {
            let error = Said::read(&Bytes::from_static(frame)).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[tokio::test]
    async fn calls_end_once_and_leave_nothing_behind() {
        let calls = Calls::new();
        let mut first = calls.begin().await.unwrap();
        let second = calls.begin().await.unwrap();
        let mut third = calls.begin().await.unwrap();
        calls.end(first.number, Ok(Bytes::from_static(b"1")));
        calls.end(first.number, Ok(Bytes::from_static(b"again")));
        assert_eq!(first.answer().await, Ok(Bytes::from_static(b"1")));
        drop(second);
        assert_eq!(calls.waiting.lock().as_ref().unwrap().len(), 1);
        calls.close();
        assert_eq!(third.answer().await, Err(CallError::Closed));
        assert!(matches!(calls.begin().await, Err(CallError::Closed)));
    }

    #[tokio::test]
    async fn calls_in_flight_are_bounded() {
        let calls = Calls::new();
        let mut held = Vec::new();
        for _ in 0..CALL_IN_FLIGHT_COUNT_MAX {
            held.push(calls.begin().await.unwrap());
        }
        let more = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(more, calls.begin()).await.is_err());
        held.pop();
        assert!(tokio::time::timeout(more, calls.begin()).await.is_ok());
    }
}
