//! Frames between a node and the home of a queue, drawn in docs/internals/cluster.md.
//!
//! Invariant: the first byte says what a frame is, the second its version; a frame that does not fit its form
//! ends the link. Messages travel as chunks, in the form that the log has.

use super::answer::Answer;
use super::kept::{Form, Span};
use super::mirror_frame;
use crate::words::{Malformed, Words, put_ranges, put_text, put_u32, put_u64};
use broker::message::Chunk;
use broker::queue::{Consumer, Handed, HandedRun, Picks, Range};
use engine::queue::DeleteConditions;
use std::sync::Arc;
use types::{ConsumerId, FieldTable, QueueId};

/// The version of every frame below.
const VERSION: u8 = 1;

mod kind {
    pub(super) const ENQUEUE: u8 = 1;
    pub(super) const SETTLE: u8 = 2;
    pub(super) const ADD_CONSUMER: u8 = 3;
    pub(super) const REMOVE_CONSUMER: u8 = 4;
    pub(super) const GET: u8 = 5;
    pub(super) const ASK: u8 = 6;
    pub(super) const CREDIT: u8 = 7;
    pub(super) const REPLY: u8 = 8;
    pub(super) const ALLOW: u8 = 9;
    pub(super) const HOLD: u8 = 10;
    pub(super) const ENQUEUE_KEPT: u8 = 11;
    pub(super) const ENQUEUE_AGAIN: u8 = 12;
    pub(super) const FORGET: u8 = 13;
    pub(super) const DELIVER: u8 = 33;
    pub(super) const GOT: u8 = 34;
    pub(super) const CANCELLED: u8 = 35;
    pub(super) const CONFIRMED: u8 = 36;
    pub(super) const ANSWER: u8 = 37;
    pub(super) const ROOM: u8 = 38;
    pub(super) const HELD: u8 = 39;
}

/// What becomes of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Settled,
    Returned,
    Rejected,
    /// Never seen by a client.
    PutBack,
}

/// What is asked of a queue that answers once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Purge,
    Fence,
    CommitFence,
    PrepareDelete { if_unused: bool, if_empty: bool },
}

impl Question {
    pub(super) fn conditions(if_unused: bool, if_empty: bool) -> DeleteConditions {
        DeleteConditions { if_unused, if_empty }
    }
}

/// A consumer as it is registered at the home.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) consumer: Consumer,
    pub(super) tag: String,
    pub(super) arguments: FieldTable,
    pub(super) channel: String,
    /// Messages that may be sent before more are allowed.
    pub(super) room: u64,
}

/// Messages for a queue, before they are in a frame.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) queue: QueueId,
    pub(super) cost: u64,
    pub(super) chunk: &'a Arc<Chunk>,
    pub(super) picks: &'a Picks,
}

/// What goes to a home.
#[derive(Debug)]
pub(super) enum ToHome {
    /// Messages, and where they are to be kept for further queues.
    Enqueue {
        place: Option<u8>,
        queue: QueueId,
        ticket: u64,
        cost: u64,
        chunk: Chunk,
    },
    /// Some of the messages that are kept.
    EnqueueAgain {
        place: u8,
        queue: QueueId,
        ticket: u64,
        cost: u64,
        spans: Vec<Span>,
    },
    /// Nothing has to be kept any more.
    Forget,
    Settle {
        queue: QueueId,
        consumer: ConsumerId,
        fate: Fate,
        ranges: Vec<Range>,
    },
    AddConsumer {
        request: u64,
        queue: QueueId,
        registration: Box<Registration>,
    },
    RemoveConsumer {
        request: u64,
        queue: QueueId,
        consumer: ConsumerId,
    },
    Get {
        request: u64,
        queue: QueueId,
        no_ack: bool,
    },
    Ask {
        request: u64,
        queue: QueueId,
        question: Question,
    },
    Credit {
        consumer: ConsumerId,
        bytes: u64,
    },
    Reply {
        chunk: Chunk,
    },
    /// For the mirror of a queue.
    Mirror {
        queue: QueueId,
        message: Box<engine::queue::ToMirror>,
    },
    /// More messages that may be sent to a consumer.
    Allow {
        consumer: ConsumerId,
        count: u64,
    },
    /// Nothing more may be sent to a consumer, and it is to be told what was the last.
    Hold {
        queue: QueueId,
        consumer: ConsumerId,
    },
}

/// What comes from a home.
#[derive(Debug)]
pub(super) enum FromHome {
    Deliver {
        queue: QueueId,
        consumer: ConsumerId,
        handed: Handed,
    },
    Got {
        request: u64,
        remaining: u64,
        handed: Option<Handed>,
    },
    Cancelled {
        queue: QueueId,
        consumer: ConsumerId,
    },
    /// Numbers of publishes, as they were given out; those refused among them.
    Confirmed {
        ranges: Vec<(u64, u64)>,
        refused: Vec<u64>,
    },
    Answer {
        request: u64,
        answer: Answer,
    },
    /// From the mirror of a queue.
    Mirror {
        queue: QueueId,
        message: Box<engine::queue::ToHome>,
    },
    Room {
        queue: QueueId,
        bytes: u64,
    },
    /// Nothing more comes for a consumer until that is allowed.
    Held {
        queue: QueueId,
        consumer: ConsumerId,
    },
}

fn head(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[kind, VERSION]);
}

pub(super) fn head_of(out: &mut Vec<u8>, kind: u8, first: u64, second: u64) {
    head(out, kind);
    put_u64(out, first);
    put_u64(out, second);
}

/// Messages for a queue, in one of three forms. `ticket` is the number of the first one; 0: nobody waits.
pub(super) fn put_enqueue(out: &mut Vec<u8>, form: &Form, ticket: u64, enqueue: &Outgoing<'_>) {
    let kind = match form {
        Form::Alone => kind::ENQUEUE,
        Form::Kept(_) => kind::ENQUEUE_KEPT,
        Form::Again(..) => kind::ENQUEUE_AGAIN,
    };
    let Outgoing { queue, cost, chunk, picks } = *enqueue;
    head_of(out, kind, queue.0, ticket);
    put_u64(out, cost);
    if let Form::Kept(place) | Form::Again(place, _) = form {
        out.push(*place);
    }
    if let Form::Again(_, spans) = form {
        put_u32(out, spans.len() as u32);
        for (first, count) in spans {
            put_u32(out, *first);
            put_u32(out, *count);
        }
    } else if picks.len() == chunk.len() {
        chunk.encode(out);
    } else {
        let ordinals = (0..picks.len()).map(|position| picks.ordinal(position));
        chunk.extract(ordinals).encode(out);
    }
}

/// Nothing has to be kept any more.
pub(super) fn put_forget(out: &mut Vec<u8>) {
    head(out, kind::FORGET);
}

pub(super) fn put_settle(
    out: &mut Vec<u8>,
    queue: QueueId,
    consumer: ConsumerId,
    fate: Fate,
    ranges: &[Range],
) {
    head_of(out, kind::SETTLE, queue.0, consumer.0);
    out.push(match fate {
        Fate::Settled => 0,
        Fate::Returned => 1,
        Fate::Rejected => 2,
        Fate::PutBack => 3,
    });
    put_ranges(out, ranges);
}

pub(super) fn put_add_consumer(out: &mut Vec<u8>, request: u64, queue: QueueId, registration: &Registration) {
    head_of(out, kind::ADD_CONSUMER, request, queue.0);
    let Registration { consumer, tag, arguments, channel, room } = registration;
    put_u64(out, consumer.id.0);
    put_u64(out, consumer.priority as u64);
    out.extend_from_slice(&[u8::from(consumer.no_ack), u8::from(consumer.exclusive)]);
    put_u32(out, consumer.prefetch);
    put_u64(out, *room);
    put_text(out, tag);
    put_text(out, channel);
    arguments.encode(out);
}

pub(super) fn put_remove_consumer(out: &mut Vec<u8>, request: u64, queue: QueueId, consumer: ConsumerId) {
    head_of(out, kind::REMOVE_CONSUMER, request, queue.0);
    put_u64(out, consumer.0);
}

pub(super) fn put_get(out: &mut Vec<u8>, request: u64, queue: QueueId, no_ack: bool) {
    head_of(out, kind::GET, request, queue.0);
    out.push(no_ack.into());
}

pub(super) fn put_ask(out: &mut Vec<u8>, request: u64, queue: QueueId, question: Question) {
    head_of(out, kind::ASK, request, queue.0);
    out.push(match question {
        Question::Purge => 0,
        Question::Fence => 1,
        Question::CommitFence => 2,
        Question::PrepareDelete { if_unused, if_empty } => 4 | u8::from(if_unused) | u8::from(if_empty) << 1,
    });
}

pub(super) fn put_credit(out: &mut Vec<u8>, consumer: ConsumerId, bytes: u64) {
    head_of(out, kind::CREDIT, consumer.0, bytes);
}

/// So many more messages may be sent; `ANY_NUMBER`: as many as there are.
pub(super) fn put_allow(out: &mut Vec<u8>, consumer: ConsumerId, count: u64) {
    head_of(out, kind::ALLOW, consumer.0, count);
}

pub(super) fn put_hold(out: &mut Vec<u8>, queue: QueueId, consumer: ConsumerId) {
    head_of(out, kind::HOLD, queue.0, consumer.0);
}

/// A direct reply; the routing key says for whom.
pub(super) fn put_reply(out: &mut Vec<u8>, chunk: &Chunk) {
    head(out, kind::REPLY);
    chunk.encode(out);
}

fn put_handed(out: &mut Vec<u8>, runs: &[HandedRun], chunk: &Chunk) {
    put_u32(out, runs.len() as u32);
    for run in runs {
        put_u64(out, run.first);
        put_u32(out, run.count);
        put_u32(out, run.returns);
        out.push(run.redelivered.into());
    }
    chunk.encode(out);
}

pub(super) fn put_deliver(
    out: &mut Vec<u8>,
    queue: QueueId,
    consumer: ConsumerId,
    runs: &[HandedRun],
    chunk: &Chunk,
) {
    head_of(out, kind::DELIVER, queue.0, consumer.0);
    put_handed(out, runs, chunk);
}

pub(super) fn put_got(out: &mut Vec<u8>, request: u64, remaining: u64, message: Option<(HandedRun, &Chunk)>) {
    head_of(out, kind::GOT, request, remaining);
    if let Some((run, chunk)) = message {
        put_handed(out, &[run], chunk);
    }
}

pub(super) fn put_cancelled(out: &mut Vec<u8>, queue: QueueId, consumer: ConsumerId) {
    head_of(out, kind::CANCELLED, queue.0, consumer.0);
}

pub(super) fn put_confirmed(out: &mut Vec<u8>, ranges: &[(u64, u64)], refused: &[u64]) {
    head(out, kind::CONFIRMED);
    put_u32(out, ranges.len() as u32);
    for (first, last) in ranges {
        put_u64(out, *first);
        put_u64(out, *last);
    }
    put_u32(out, refused.len() as u32);
    refused.iter().for_each(|number| put_u64(out, *number));
}

pub(super) fn put_answer(out: &mut Vec<u8>, request: u64, answer: &Answer) {
    head(out, kind::ANSWER);
    put_u64(out, request);
    answer.put(out);
}

pub(super) fn put_room(out: &mut Vec<u8>, queue: QueueId, bytes: u64) {
    head_of(out, kind::ROOM, queue.0, bytes);
}

pub(super) fn put_held(out: &mut Vec<u8>, queue: QueueId, consumer: ConsumerId) {
    head_of(out, kind::HELD, queue.0, consumer.0);
}

/// Opens a frame: its kind and what follows.
fn open(frame: &[u8]) -> Result<(u8, Words<'_>), Malformed> {
    let mut words = Words(frame);
    let kind = words.u8()?;
    match words.u8()? {
        VERSION => Ok((kind, words)),
        _ => Err(Malformed("frame of a version that is not known")),
    }
}

fn read_registration(words: &mut Words<'_>) -> Result<Registration, Malformed> {
    let consumer = Consumer {
        id: ConsumerId(words.u64()?),
        priority: words.u64()? as i64,
        no_ack: words.bool()?,
        exclusive: words.bool()?,
        prefetch: words.u32()?,
        in_flight: 0,
        blocked: false,
    };
    let room = words.u64()?;
    let (tag, channel, arguments) = (words.text()?, words.text()?, words.table()?);
    Ok(Registration { consumer, tag, arguments, channel, room })
}

fn read_chunk(words: &mut Words<'_>) -> Result<Chunk, Malformed> {
    Chunk::decode(words.rest().to_vec()).map_err(|_| Malformed("messages"))
}

fn read_handed(words: &mut Words<'_>) -> Result<Handed, Malformed> {
    let runs = words.rows(17, |words| {
        let run = HandedRun {
            first: words.u64()?,
            count: words.u32()?,
            returns: words.u32()?,
            redelivered: words.bool()?,
        };
        let fits = run.first.checked_add(run.count.into()).is_some();
        if fits { Ok(run) } else { Err(Malformed("index beyond all numbers")) }
    })?;
    Handed::new(Arc::new(read_chunk(words)?), runs).ok_or(Malformed("as many indexes as messages"))
}

impl ToHome {
    pub(super) fn read(frame: &[u8]) -> Result<ToHome, Malformed> {
        let (kind, mut words) = open(frame)?;
        let words = &mut words;
        let queue = |words: &mut Words<'_>| words.u64().map(QueueId);
        let consumer = |words: &mut Words<'_>| words.u64().map(ConsumerId);
        let read = match kind {
            kind::ENQUEUE | kind::ENQUEUE_KEPT => {
                let (queue, ticket, cost) = (queue(words)?, words.u64()?, words.u64()?);
                let place = if kind == kind::ENQUEUE_KEPT { Some(words.u8()?) } else { None };
                ToHome::Enqueue { place, queue, ticket, cost, chunk: read_chunk(words)? }
            }
            kind::ENQUEUE_AGAIN => {
                let (queue, ticket, cost, place) = (queue(words)?, words.u64()?, words.u64()?, words.u8()?);
                let spans = words.rows(8, |words| Ok((words.u32()?, words.u32()?)))?;
                ToHome::EnqueueAgain { place, queue, ticket, cost, spans }
            }
            kind::FORGET => ToHome::Forget,
            kind::SETTLE => {
                let (queue, consumer) = (queue(words)?, consumer(words)?);
                let fate = match words.u8()? {
                    0 => Fate::Settled,
                    1 => Fate::Returned,
                    2 => Fate::Rejected,
                    3 => Fate::PutBack,
                    _ => return Err(Malformed("fate")),
                };
                ToHome::Settle { queue, consumer, fate, ranges: words.ranges()? }
            }
            kind::ADD_CONSUMER => {
                let (request, queue) = (words.u64()?, queue(words)?);
                let registration = Box::new(read_registration(words)?);
                ToHome::AddConsumer { request, queue, registration }
            }
            kind::REMOVE_CONSUMER => ToHome::RemoveConsumer {
                request: words.u64()?,
                queue: queue(words)?,
                consumer: consumer(words)?,
            },
            kind::GET => ToHome::Get { request: words.u64()?, queue: queue(words)?, no_ack: words.bool()? },
            kind::ASK => {
                let (request, queue) = (words.u64()?, queue(words)?);
                let question = match words.u8()? {
                    0 => Question::Purge,
                    1 => Question::Fence,
                    2 => Question::CommitFence,
                    flags @ 4..=7 => {
                        Question::PrepareDelete { if_unused: flags & 1 != 0, if_empty: flags & 2 != 0 }
                    }
                    _ => return Err(Malformed("question")),
                };
                ToHome::Ask { request, queue, question }
            }
            kind::CREDIT => ToHome::Credit { consumer: consumer(words)?, bytes: words.u64()? },
            kind::REPLY => ToHome::Reply { chunk: read_chunk(words)? },
            kind::ALLOW => ToHome::Allow { consumer: consumer(words)?, count: words.u64()? },
            kind::HOLD => ToHome::Hold { queue: queue(words)?, consumer: consumer(words)? },
            kind => match mirror_frame::read_to_mirror(kind, words)? {
                Some((queue, message)) => ToHome::Mirror { queue, message: Box::new(message) },
                None => return Err(Malformed("kind of a frame to a home")),
            },
        };
        words.end().map(|()| read)
    }
}

impl FromHome {
    pub(super) fn read(frame: &[u8]) -> Result<FromHome, Malformed> {
        let (kind, mut words) = open(frame)?;
        let words = &mut words;
        let read = match kind {
            kind::DELIVER => {
                let (queue, consumer) = (QueueId(words.u64()?), ConsumerId(words.u64()?));
                FromHome::Deliver { queue, consumer, handed: read_handed(words)? }
            }
            kind::GOT => {
                let (request, remaining) = (words.u64()?, words.u64()?);
                let handed = if words.0.is_empty() { None } else { Some(read_handed(words)?) };
                FromHome::Got { request, remaining, handed }
            }
            kind::CANCELLED => {
                FromHome::Cancelled { queue: QueueId(words.u64()?), consumer: ConsumerId(words.u64()?) }
            }
            kind::CONFIRMED => {
                let ranges = words.rows(16, |words| {
                    let range = (words.u64()?, words.u64()?);
                    if range.0 <= range.1 { Ok(range) } else { Err(Malformed("range")) }
                })?;
                FromHome::Confirmed { ranges, refused: words.rows(8, Words::u64)? }
            }
            kind::ANSWER => FromHome::Answer { request: words.u64()?, answer: Answer::read(words)? },
            kind::ROOM => FromHome::Room { queue: QueueId(words.u64()?), bytes: words.u64()? },
            kind::HELD => FromHome::Held { queue: QueueId(words.u64()?), consumer: ConsumerId(words.u64()?) },
            kind => match mirror_frame::read_to_home(kind, words)? {
                Some((queue, message)) => FromHome::Mirror { queue, message: Box::new(message) },
                None => return Err(Malformed("kind of a frame from a home")),
            },
        };
        words.end().map(|()| read)
    }
}
