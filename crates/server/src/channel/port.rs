//! A channel's shared part: deliveries and confirms come in from queues on any thread.
//!
//! Invariant: delivery tags leave in order, because the channel's lock is held from taking a tag until
//! its frames are in the outbox. Lock order: queue, channel, outbox; never the other way round.

use crate::outbox::Outbox;
use crate::port::Port;
use broker::channel::{Confirms, Held, SettledGroup, Unacked, UnknownTag};
use broker::message::Record;
use broker::queue::{Deliveries, Delivery};
use engine::{Outlet, Queue, QueueCommand, Taken};
use parking_lot::Mutex;
use protocol::Method;
use protocol::deliver;
use protocol::frame::FRAME_END;
use std::borrow::Cow;
use std::sync::Arc;
use types::limits::{BODY_COPY_MAX_BYTES, OUTBOX_HIGH_WATER_BYTES};
use types::{ConsumerId, FieldValue, Properties};

/// A consumer of this channel.
pub(crate) struct ChannelConsumer {
    pub(crate) id: ConsumerId,
    pub(crate) tag: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) slot: u32,
    /// Milliseconds after which an unsettled delivery closes the channel.
    pub(crate) timeout_ms: Option<u64>,
}

/// Deliveries that must be settled by a time: the first tag of a batch, and when it left.
struct Clocked {
    tag: u64,
    until_ms: u64,
    timeout_ms: u64,
}

/// What queues and the connection's task share.
#[derive(Default)]
pub(crate) struct ChannelState {
    pub(crate) unacked: Unacked,
    pub(crate) confirms: Confirms,
    pub(crate) consumers: Vec<ChannelConsumer>,
    /// Queues that deliveries came from, by slot.
    queues: Vec<Arc<Queue>>,
    /// Unsettled deliveries allowed on the whole channel; 0 = any number.
    pub(crate) global_prefetch: u32,
    /// Consumers that wait for the channel's prefetch.
    stalled: Vec<(Arc<Queue>, ConsumerId)>,
    clocked: std::collections::VecDeque<Clocked>,
    /// A consume-ok that goes out before that consumer's first delivery.
    pub(crate) pending_ok: Option<(ConsumerId, Method)>,
    /// The consumer of direct replies.
    pub(crate) reply_tag: Option<String>,
    /// Deliveries are paused by channel.flow, or the channel is closed.
    pub(crate) closed: bool,
    pub(crate) delivered: u64,
    pub(crate) acknowledged: u64,
}

impl ChannelState {
    /// The slot of a queue among those this channel got deliveries from.
    pub(crate) fn slot(&mut self, queue: &Arc<Queue>) -> u32 {
        let at = self.queues.iter().position(|known| Arc::ptr_eq(known, queue)).unwrap_or_else(|| {
            self.queues.push(queue.clone());
            self.queues.len() - 1
        });
        at as u32
    }

    pub(crate) fn queue(&self, slot: u32) -> Option<Arc<Queue>> {
        self.queues.get(slot as usize).cloned()
    }

    /// Messages that a consumer may get before the channel's prefetch is used up; None: any number.
    #[inline]
    fn room(&self, no_ack: bool) -> Option<u64> {
        let limited = !no_ack && self.global_prefetch > 0;
        let held = self.unacked.consumer_count() as u64;
        limited.then(|| u64::from(self.global_prefetch).saturating_sub(held))
    }

    /// A consumer waits for the channel's prefetch.
    fn stall(&mut self, queue: &Arc<Queue>, consumer: ConsumerId) {
        if !self.stalled.iter().any(|(_, known)| *known == consumer) {
            self.stalled.push((queue.clone(), consumer));
        }
    }

    /// The deadline that was missed, if one was: its timeout.
    pub(crate) fn missed_deadline(&mut self, now_ms: u64) -> Option<u64> {
        let oldest = self.unacked.oldest_tag()?;
        while self.clocked.get(1).is_some_and(|next| next.tag <= oldest) {
            self.clocked.pop_front();
        }
        let front = self.clocked.front()?;
        (front.tag <= oldest && front.until_ms <= now_ms).then_some(front.timeout_ms)
    }
}

/// A channel as its queues see it.
pub(crate) struct ChannelPort {
    pub(crate) port: Arc<Port>,
    pub(crate) number: u16,
    pub(crate) vhost: types::VhostName,
    /// The client understands basic.cancel from the broker.
    pub(crate) cancel_notify: bool,
    pub(crate) state: Mutex<ChannelState>,
}

impl ChannelPort {
    /// Appends a method to the outbox.
    pub(crate) fn put(&self, method: &Method) {
        method.put(self.port.out().frames(), self.number);
    }

    /// Sends the consume-ok of a new consumer if no delivery has brought it along, or drops it.
    pub(crate) fn put_pending_ok(&self, registered: bool) {
        let pending = self.state.lock().pending_ok.take();
        if let (Some((_, ok)), true) = (pending, registered) {
            self.put(&ok);
        }
    }

    /// Sends the confirms that are due.
    pub(crate) fn put_confirms(&self, state: &mut ChannelState) {
        let replies = state.confirms.take_replies();
        if replies.is_empty() {
            return;
        }
        self.port.broker.metrics().confirmed.add(state.confirms.take_confirmed());
        let mut out = self.port.out();
        let frames = out.frames();
        for reply in replies {
            if reply.nack {
                deliver::put_nack(frames, self.number, reply.tag, reply.multiple, true);
            } else {
                deliver::put_ack(frames, self.number, reply.tag, reply.multiple);
            }
        }
    }

    /// Takes deliveries out of the ring, and gives stalled consumers their turn.
    pub(crate) fn settle(&self, tag: u64, multiple: bool) -> Result<Vec<SettledGroup>, UnknownTag> {
        let mut state = self.state.lock();
        let groups = state.unacked.settle(tag, multiple)?;
        state.acknowledged += groups.iter().map(SettledGroup::count).sum::<u64>();
        Ok(groups)
    }

    /// Consumers that waited for the channel's prefetch and may go on.
    pub(crate) fn take_stalled(&self) -> Vec<(Arc<Queue>, ConsumerId)> {
        std::mem::take(&mut self.state.lock().stalled)
    }

    /// Tells the queues of settled deliveries.
    /// The queues that settled messages are of.
    pub(crate) fn queues_of(&self, groups: &[SettledGroup]) -> Vec<Arc<Queue>> {
        let state = self.state.lock();
        groups.iter().filter_map(|group| state.queue(group.queue_slot)).collect()
    }

    pub(crate) fn post_groups(
        &self,
        groups: Vec<SettledGroup>,
        command: impl Fn(ConsumerId, Vec<broker::queue::Range>) -> QueueCommand,
    ) {
        for group in groups {
            let queue = self.state.lock().queue(group.queue_slot);
            if let Some(queue) = queue {
                self.port.broker.post(&queue, command(group.consumer, group.ranges));
            }
        }
        for (queue, consumer) in self.take_stalled() {
            self.port.broker.post(&queue, QueueCommand::Unblock(consumer));
        }
    }

    /// Stops deliveries; gives the consumers.
    pub(crate) fn close(&self) -> Vec<ChannelConsumer> {
        let mut state = self.state.lock();
        state.closed = true;
        std::mem::take(&mut state.consumers)
    }

    /// Sends everything the client holds back to its queues.
    pub(crate) fn give_back(&self) {
        let groups = self.state.lock().unacked.drain();
        self.post_groups(groups, QueueCommand::Return);
    }

    /// Puts one message's frames into the outbox.
    fn put_delivery(
        &self,
        out: &mut Outbox,
        tag: &[u8],
        delivery_tag: u64,
        delivery: &Delivery<'_>,
        counted: bool,
    ) {
        let record = &delivery.record;
        let redelivered = delivery.redelivered;
        let frame_max = self.port.frame_max();
        let properties = delivered_properties(delivery, counted);
        if record.body.len() <= BODY_COPY_MAX_BYTES {
            let frames = out.frames();
            deliver::put_delivery(
                frames,
                self.number,
                tag,
                delivery_tag,
                redelivered,
                record.route,
                &properties,
                record.body,
                frame_max,
            );
            return;
        }
        let frames = out.frames();
        deliver::put_deliver(frames, self.number, tag, delivery_tag, redelivered, record.route);
        deliver::put_content_header(frames, self.number, &properties, record.body.len() as u64);
        self.put_large_body(out, delivery, frame_max);
    }

    fn put_large_body(&self, out: &mut Outbox, delivery: &Delivery<'_>, frame_max: u32) {
        let Some(start) = delivery.chunk.offset_of(delivery.record.body) else { return };
        let payload_max = match frame_max {
            0 => usize::MAX,
            frame_max => frame_max as usize - types::limits::FRAME_OVERHEAD_BYTES,
        };
        let end = start + delivery.record.body.len();
        let mut at = start;
        while at < end {
            let stop = end.min(at.saturating_add(payload_max));
            let head = deliver::body_frame_head(self.number, (stop - at) as u32);
            out.frames().extend_from_slice(&head);
            out.put_shared(delivery.chunk.clone(), at..stop);
            out.frames().push(FRAME_END);
            at = stop;
        }
    }
}

/// The properties a consumer sees: those sent, without BCC, and with the count of deliveries where
/// the queue keeps one.
fn delivered_properties<'a>(delivery: &Delivery<'a>, counted: bool) -> Cow<'a, [u8]> {
    let raw = delivery.record.properties;
    let has_headers = raw.first().is_some_and(|flags| flags & 0x20 != 0);
    let add_count = counted && delivery.returns > 0;
    if !add_count {
        return if has_headers { without_bcc(raw) } else { Cow::Borrowed(raw) };
    }
    let Some(mut properties) = Properties::parse(raw).ok().and_then(|view| view.to_owned().ok()) else {
        return Cow::Borrowed(raw);
    };
    let mut headers = properties.headers.take().unwrap_or_default();
    headers.remove("BCC");
    headers.insert("x-delivery-count", FieldValue::I64(delivery.returns.into()));
    properties.headers = Some(headers);
    Cow::Owned(properties.encode())
}

/// Properties as others than the publisher see them.
pub(crate) fn without_bcc(raw: &[u8]) -> Cow<'_, [u8]> {
    if !contains(raw, b"\x03BCC") {
        return Cow::Borrowed(raw);
    }
    let Some(mut properties) = Properties::parse(raw).ok().and_then(|view| view.to_owned().ok()) else {
        return Cow::Borrowed(raw);
    };
    if let Some(headers) = &mut properties.headers {
        headers.remove("BCC");
    }
    Cow::Owned(properties.encode())
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

impl Outlet for ChannelPort {
    fn deliver(
        &self,
        queue: &Arc<Queue>,
        consumer: ConsumerId,
        no_ack: bool,
        deliveries: &Deliveries<'_>,
    ) -> Taken {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.closed {
            return Taken { blocked: true, ..Taken::default() };
        }
        let Some(entry) = state.consumers.iter().find(|entry| entry.id == consumer) else {
            return Taken { blocked: true, ..Taken::default() };
        };
        let mut room = state.room(no_ack).unwrap_or(u64::MAX);
        let counted = queue.counts_deliveries();
        let first_tag = state.unacked.next_tag();
        let mut taken = Taken::default();
        let mut out = self.port.out();
        if out.closed {
            return Taken { blocked: true, ..Taken::default() };
        }
        if state.pending_ok.as_ref().is_some_and(|(id, _)| *id == consumer)
            && let Some((_, ok)) = state.pending_ok.take()
        {
            ok.put(out.frames(), self.number);
        }
        let tag = entry.tag.as_bytes();
        deliveries.walk(|delivery| {
            if room == 0 || out.bytes() >= OUTBOX_HIGH_WATER_BYTES {
                taken.blocked = true;
                return false;
            }
            room -= 1;
            let delivery_tag = first_tag + u64::from(taken.count);
            self.put_delivery(&mut out, tag, delivery_tag, &delivery, counted);
            if !no_ack {
                let held = Held { queue_slot: entry.slot, consumer, index: delivery.index };
                state.unacked.hold(held);
            }
            taken.count += 1;
            taken.bytes += delivery.record.body.len() as u64;
            true
        });
        if no_ack {
            state.unacked.skip(taken.count.into());
        } else if let (Some(timeout_ms), true) = (entry.timeout_ms, taken.count > 0) {
            let until_ms = engine::clock::now_ms() + timeout_ms;
            state.clocked.push_back(Clocked { tag: first_tag, until_ms, timeout_ms });
        }
        state.delivered += u64::from(taken.count);
        if taken.blocked {
            if room == 0 {
                taken.over_limit = true;
                state.stall(queue, consumer);
            } else {
                out.waiting.push((queue.clone(), consumer));
            }
        }
        drop(out);
        if queue.is_traced() {
            deliveries.first(taken.count).for_each(|delivery| {
                self.trace_delivery(queue, &delivery.record, delivery.returns);
            });
        }
        taken
    }

    fn room(&self, queue: &Arc<Queue>, consumer: ConsumerId, no_ack: bool) -> Option<u64> {
        let mut state = self.state.lock();
        let room = state.room(no_ack)?;
        if room == 0 {
            state.stall(queue, consumer);
        }
        Some(room)
    }

    fn got(&self, queue: &Arc<Queue>, no_ack: bool, delivery: Option<Delivery<'_>>, remaining: u64) {
        let mut state = self.state.lock();
        let mut out = self.port.out();
        let Some(delivery) = delivery else {
            Method::BasicGetEmpty.put(out.frames(), self.number);
            return;
        };
        let tag = state.unacked.next_tag();
        if no_ack {
            state.unacked.skip(1);
        } else {
            let queue_slot = state.slot(queue);
            state.unacked.hold(Held { queue_slot, consumer: ConsumerId::default(), index: delivery.index });
        }
        state.delivered += 1;
        let record = &delivery.record;
        let properties = delivered_properties(&delivery, queue.counts_deliveries());
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        let frames = out.frames();
        deliver::put_get_ok(frames, self.number, tag, delivery.redelivered, record.route, remaining);
        deliver::put_content_header(frames, self.number, &properties, record.body.len() as u64);
        if record.body.len() <= BODY_COPY_MAX_BYTES {
            deliver::put_body(frames, self.number, record.body, self.port.frame_max());
        } else {
            self.put_large_body(&mut out, &delivery, self.port.frame_max());
        }
        drop(out);
        drop(state);
        if queue.is_traced() {
            self.trace_delivery(queue, record, delivery.returns);
        }
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn cancelled(&self, consumer: ConsumerId) {
        let mut state = self.state.lock();
        let Some(at) = state.consumers.iter().position(|entry| entry.id == consumer) else { return };
        let entry = state.consumers.remove(at);
        if self.cancel_notify && !state.closed {
            let cancel = Method::BasicCancel { consumer_tag: entry.tag, nowait: true };
            cancel.put(self.port.out().frames(), self.number);
        }
    }

    fn confirmed(&self, ranges: &[(u64, u64)], refused: &[u64]) {
        let mut state = self.state.lock();
        refused.iter().for_each(|number| state.confirms.refused(*number));
        ranges.iter().for_each(|(first, last)| state.confirms.committed(*first, *last));
        if !state.closed {
            self.put_confirms(&mut state);
        }
    }

    fn reply(&self, record: &Record<'_>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        let Some(tag) = state.reply_tag.clone() else { return false };
        let delivery_tag = state.unacked.next_tag();
        state.unacked.skip(1);
        let mut out = self.port.out();
        let frames = out.frames();
        let frame_max = self.port.frame_max();
        deliver::put_deliver(frames, self.number, tag.as_bytes(), delivery_tag, false, record.route);
        deliver::put_content_header(frames, self.number, record.properties, record.body.len() as u64);
        deliver::put_body(frames, self.number, record.body, frame_max);
        true
    }

    fn flush(&self) {
        self.port.flush();
    }
}
