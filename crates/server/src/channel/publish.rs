//! basic.publish: the hot way in.
//!
//! Invariant: publishes of a connection go into one batch in the order they came; whatever else the
//! connection does, the batch is handed over first.

use super::port::{contains, without_bcc};
use super::trace::TRACE_EXCHANGE;
use super::{Channel, Mode};
use crate::channel::port::ChannelPort;
use broker::message::{RECORD_HEAD_BYTES, Record, RecordHead};
use engine::{Broker, Outlet, PublishBatch, Queue, Route, record_head};
use protocol::assembly::Content;
use protocol::deliver;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::limits::BODY_COPY_MAX_BYTES;
use types::{AmqpError, FieldValue, Properties, ReplyCode};

/// What one publish brings.
pub(crate) struct Incoming<'a> {
    pub(crate) wire: &'a [u8],
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
    pub(crate) properties: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Incoming<'a> {
    pub(crate) fn of(content: &'a Content) -> Incoming<'a> {
        Incoming {
            wire: &content.route,
            mandatory: content.mandatory,
            immediate: content.immediate,
            properties: content.properties(),
            body: content.body(),
        }
    }
}

/// Where a publish goes, what its record's head says, and its properties if they had to be rewritten.
type Resolved = (Arc<Route>, RecordHead, Option<Vec<u8>>);

/// Publishes of one channel that wait for confirms: runs of how many, and to how many queues each.
struct Unregistered {
    port: Arc<ChannelPort>,
    runs: Vec<(u64, u32)>,
}

/// A connection's publishes on their way to the queues.
#[derive(Default)]
pub(crate) struct Publisher {
    pub(crate) batch: PublishBatch,
    /// Properties seen last, with what they say; most publishers send the same again and again.
    last_properties: Vec<u8>,
    last_head: RecordHead,
    last_with_keys: bool,
    /// The catalog's version in this batch.
    pub(crate) catalog_version: u64,
    /// The firehose is on for this vhost.
    pub(crate) traced: bool,
    /// Publishes of the batch that asked for confirms, which the confirm machines do not know yet.
    unregistered: Vec<Unregistered>,
    /// Publishes since the counters were last brought up to date.
    pub(crate) count: u64,
    /// Of those, routed to a queue.
    pub(crate) routed: u64,
    pub(crate) with_confirm: u64,
    /// A queue that wants its publishers to wait.
    pub(crate) slow: Option<Arc<Queue>>,
}

impl Publisher {
    /// Sees what the catalog says before a batch begins.
    pub(crate) fn begin(&mut self, broker: &Broker, vhost: &str) {
        let catalog = broker.catalog();
        if catalog.version != self.catalog_version {
            self.catalog_version = catalog.version;
            self.traced = catalog.vhost(vhost).is_some_and(|vhost| vhost.tracing);
        }
    }

    /// Notes a publish of a channel that goes to so many queues.
    #[inline]
    fn expect_confirm(&mut self, port: &Arc<ChannelPort>, queues: u32) {
        self.with_confirm += 1;
        let known = self.unregistered.iter_mut().rev().find(|waiting| Arc::ptr_eq(&waiting.port, port));
        let Some(waiting) = known else {
            self.unregistered.push(Unregistered { port: port.clone(), runs: vec![(1, queues)] });
            return;
        };
        match waiting.runs.last_mut() {
            Some((count, same)) if *same == queues => *count += 1,
            _ => waiting.runs.push((1, queues)),
        }
    }

    /// Hands the batch over to its queues. The confirm machines hear of the publishes before any queue
    /// can commit them; those that no queue has to commit are confirmed right after.
    pub(crate) fn hand_over(&mut self, broker: &Broker) {
        self.hand_over_by(|batch| batch.flush(broker));
    }

    fn hand_over_by(&mut self, send: impl FnOnce(&mut PublishBatch) -> Option<Arc<Queue>>) {
        for waiting in &self.unregistered {
            let mut state = waiting.port.state.lock();
            for (count, queues) in &waiting.runs {
                state.confirms.publish(*count, *queues);
            }
        }
        if let Some(slow) = send(&mut self.batch) {
            self.slow = Some(slow);
        }
        for waiting in self.unregistered.drain(..) {
            let mut state = waiting.port.state.lock();
            if !state.closed {
                waiting.port.put_confirms(&mut state);
            }
        }
    }

    /// What the properties say, and whether their headers may name more routing keys.
    #[inline]
    fn inspect(&mut self, channel: &Channel, properties: &[u8]) -> Result<(RecordHead, bool), AmqpError> {
        if properties == self.last_properties {
            return Ok((self.last_head, self.last_with_keys));
        }
        let view = Properties::parse(properties).map_err(|error| AmqpError::syntax_error(error.reason))?;
        channel.check_user_id(&view)?;
        let head = record_head(&view)?;
        let headers = view.headers_raw();
        let with_keys = headers.is_some_and(|raw| contains(raw, b"\x02CC") || contains(raw, b"\x03BCC"));
        if with_keys {
            check_more_keys(&view)?;
        }
        self.last_properties.clear();
        self.last_properties.extend_from_slice(properties);
        (self.last_head, self.last_with_keys) = (head, with_keys);
        Ok((head, with_keys))
    }
}

impl Channel {
    /// Takes one publish whose content is complete.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        publisher: &mut Publisher,
        incoming: &Incoming<'_>,
    ) -> Result<(), AmqpError> {
        if incoming.immediate {
            return Err(AmqpError::not_implemented("immediate=true"));
        }
        if let Some(route) = self.routes.last(incoming.wire, publisher.catalog_version)
            && incoming.properties == publisher.last_properties
            && !publisher.last_with_keys
            && !publisher.traced
            && !route.queues.is_empty()
            && route.is_plain()
            && !(incoming.mandatory && route.is_cut_off())
            && !matches!(self.mode, Mode::Transactional(_))
        {
            let route = route.clone();
            let head = publisher.last_head;
            self.add(publisher, &route, head, incoming);
            return Ok(());
        }
        self.publish_slowly(publisher, incoming)
    }

    /// All the checks and ways that a publish like the one before it does not need.
    #[cold]
    fn publish_slowly(
        &mut self,
        publisher: &mut Publisher,
        incoming: &Incoming<'_>,
    ) -> Result<(), AmqpError> {
        if let Mode::Transactional(_) = self.mode {
            publisher.inspect(self, incoming.properties)?;
            let rewritten = self.rewrite_reply_to(incoming.properties)?;
            let properties = rewritten.as_deref().unwrap_or(incoming.properties);
            return self.publish_in_transaction(&Incoming { properties, ..*incoming });
        }
        let (route, head, rewritten) = self.resolve(publisher, incoming)?;
        let properties = rewritten.as_deref().unwrap_or(incoming.properties);
        self.publish_routed(publisher, &route, head, &Incoming { properties, ..*incoming });
        Ok(())
    }

    /// Takes a publish whose content came in several frames. A large one is not copied again.
    pub(crate) fn publish_content(
        &mut self,
        publisher: &mut Publisher,
        content: Content,
    ) -> Result<(), AmqpError> {
        let incoming = Incoming::of(&content);
        let is_small = incoming.body.len() <= BODY_COPY_MAX_BYTES;
        if is_small || incoming.immediate || matches!(self.mode, Mode::Transactional(_)) {
            return self.publish(publisher, &incoming);
        }
        self.hand_over(publisher);
        let (route, head, rewritten) = self.resolve(publisher, &incoming)?;
        let in_vain = incoming.mandatory && (route.held_in_vain || route.is_cut_off());
        if rewritten.is_some() || in_vain || !route.is_plain() || route.queues.is_empty() {
            let properties = rewritten.as_deref().unwrap_or(incoming.properties);
            self.publish_routed(publisher, &route, head, &Incoming { properties, ..incoming });
            return Ok(());
        }
        let body_bytes = incoming.body.len() as u32;
        let head = RecordHead { body_bytes, properties_bytes: content.properties_len as u32, ..head };
        publisher.routed += 1;
        let number = self.register(publisher, route.queues.len() as u32);
        let confirm = number.map(|number| (&self.outlet, number));
        let broker = &self.port.port.broker;
        publisher.hand_over_by(|batch| batch.send_alone(broker, &route, head, content.buffer, confirm));
        Ok(())
    }

    /// Checks a publish and finds its route; gives other properties where they had to be rewritten.
    fn resolve(&mut self, publisher: &mut Publisher, incoming: &Incoming<'_>) -> Result<Resolved, AmqpError> {
        let (head, with_keys) = publisher.inspect(self, incoming.properties)?;
        let rewritten = self.rewrite_reply_to(incoming.properties)?;
        if rewritten.is_some() {
            // The next one with the same properties has to be rewritten as well.
            publisher.last_properties.clear();
        }
        let properties = rewritten.as_deref().unwrap_or(incoming.properties);
        let view = Properties::parse(properties).map_err(|error| AmqpError::syntax_error(error.reason))?;
        let broker = self.port.port.broker.clone();
        let route = if with_keys {
            self.routes.look_up(&broker, &self.session, incoming.wire, &view)?
        } else {
            self.routes.find(&broker, &self.session, incoming.wire, Some(&view))?
        };
        if publisher.traced {
            self.trace_publish(&broker, &Incoming { properties, ..*incoming }, &route);
        }
        Ok((route, head, rewritten))
    }

    pub(crate) fn publish_routed(
        &mut self,
        publisher: &mut Publisher,
        route: &Arc<Route>,
        head: RecordHead,
        incoming: &Incoming<'_>,
    ) {
        let returned = incoming.mandatory && (route.held_in_vain || route.is_cut_off());
        if returned || (route.is_empty() && route.history.is_empty()) {
            self.unroutable(publisher, incoming);
            return;
        }
        if !route.is_plain() {
            // Direct replies, delays and histories: what is before them in the batch goes first.
            self.hand_over(publisher);
            if route.is_empty() {
                self.publish_aside(route, incoming, None);
                self.unroutable(publisher, incoming);
                return;
            }
            publisher.routed += 1;
            let number = self.register(publisher, (route.queues.len() + route.delays.len()) as u32);
            // The confirm machine hears of it before a queue that holds it can commit.
            self.hand_over(publisher);
            self.publish_aside(route, incoming, number);
            if !route.queues.is_empty() {
                let confirm = number.map(|number| (self.awaiting(), number));
                publisher.batch.push(route, head, incoming.properties, incoming.body, confirm);
            }
            return;
        }
        self.add(publisher, route, head, incoming);
    }

    fn publish_aside(&self, route: &Route, incoming: &Incoming<'_>, number: Option<u64>) {
        let confirm = number.map(|number| (self.awaiting(), number));
        let vhost = &self.session.vhost;
        self.broker().publish_aside(vhost, route, incoming.properties, incoming.body, confirm);
    }

    #[inline]
    fn add(
        &mut self,
        publisher: &mut Publisher,
        route: &Arc<Route>,
        head: RecordHead,
        incoming: &Incoming<'_>,
    ) {
        publisher.routed += 1;
        let confirm = self.register(publisher, route.queues.len() as u32);
        let confirm = confirm.map(|number| (self.awaiting(), number));
        publisher.batch.push(route, head, incoming.properties, incoming.body, confirm);
        if publisher.batch.is_full() {
            self.hand_over(publisher);
        }
    }

    /// Numbers a publish if the channel is in confirm mode.
    #[inline]
    fn register(&mut self, publisher: &mut Publisher, queues: u32) -> Option<u64> {
        publisher.count += 1;
        self.published += 1;
        self.facts.published.store(self.published, Ordering::Relaxed);
        if !matches!(self.mode, Mode::Confirm) {
            // A commit hears of what did not arrive; numbers mean nothing to it.
            return self.committing.as_ref().map(|_| 0);
        }
        self.last_publish += 1;
        publisher.expect_confirm(&self.port, queues);
        Some(self.last_publish)
    }

    /// Who hears what becomes of publishes: a transaction while it is committed, else the channel.
    #[inline]
    fn awaiting(&self) -> &Arc<dyn Outlet> {
        self.committing.as_ref().unwrap_or(&self.outlet)
    }

    fn unroutable(&mut self, publisher: &mut Publisher, incoming: &Incoming<'_>) {
        let metrics = self.broker().metrics();
        if incoming.mandatory {
            metrics.unroutable_returned.add(1);
            let mut out = self.port.port.out();
            let frames = out.frames();
            let frame_max = self.port.port.frame_max();
            let properties = without_bcc(incoming.properties);
            deliver::put_return(frames, self.number, ReplyCode::NoRoute, "NO_ROUTE", incoming.wire);
            deliver::put_content_header(frames, self.number, &properties, incoming.body.len() as u64);
            deliver::put_body(frames, self.number, incoming.body, frame_max);
        } else {
            metrics.unroutable_dropped.add(1);
            if !self.broker().is_current() {
                return self.refuse(publisher);
            }
        }
        self.register(publisher, 0);
    }

    /// Nobody here gets the message, but a queue that this node does not know of might: no confirm.
    fn refuse(&mut self, publisher: &mut Publisher) {
        let Some(number) = self.register(publisher, 1) else { return };
        // The confirm machine hears of the publish first.
        self.hand_over(publisher);
        let waiting = self.awaiting();
        waiting.cut_off(&[(number, number)]);
        self.port.port.broker.touch(waiting);
    }

    /// Hands over what is gathered, of this channel and of others of the connection.
    pub(crate) fn hand_over(&mut self, publisher: &mut Publisher) {
        publisher.hand_over(&self.port.port.broker);
    }

    fn check_user_id(&self, properties: &Properties<'_>) -> Result<(), AmqpError> {
        let Some(claimed) = properties.user_id() else { return Ok(()) };
        let user = &self.session.user;
        if claimed == user.as_str().as_bytes() {
            return Ok(());
        }
        let catalog = self.broker().catalog();
        let impersonator = catalog
            .users
            .get(user.as_str())
            .is_some_and(|user| user.tags.iter().any(|tag| tag == "impersonator"));
        if impersonator {
            return Ok(());
        }
        Err(AmqpError::precondition_failed(format!(
            "user_id property set to '{}' but authenticated user was '{user}'",
            String::from_utf8_lossy(claimed)
        )))
    }

    /// `reply-to: amq.rabbitmq.reply-to` becomes this channel's own reply name.
    fn rewrite_reply_to(&self, properties: &[u8]) -> Result<Option<Vec<u8>>, AmqpError> {
        let view = Properties::parse(properties).map_err(|error| AmqpError::syntax_error(error.reason))?;
        if view.reply_to() != Some(engine::reply_to::REPLY_QUEUE.as_bytes()) {
            return Ok(None);
        }
        let Some(name) = &self.reply_name else {
            return Err(AmqpError::precondition_failed("fast reply consumer does not exist"));
        };
        let mut owned = view.to_owned().map_err(|error| AmqpError::syntax_error(error.reason))?;
        owned.reply_to = Some(name.as_bytes().into());
        Ok(Some(owned.encode()))
    }

    fn trace_publish(&self, broker: &Broker, incoming: &Incoming<'_>, route: &Route) {
        let record = Record {
            head: RecordHead::default(),
            route: incoming.wire,
            properties: incoming.properties,
            body: incoming.body,
        };
        if record.exchange() == TRACE_EXCHANGE {
            return;
        }
        let key = format!("publish.{}", String::from_utf8_lossy(record.exchange()));
        let name = |queue: &Arc<Queue>| FieldValue::text(queue.row().name.as_str());
        let routed = FieldValue::Array(route.queues.iter().map(name).collect());
        let user = self.session.user.as_str();
        let properties = self.port.trace_properties(&record, user, vec![("routed_queues", routed)]);
        broker.trace(&self.session.vhost, key, properties, incoming.body);
    }

    /// Refuses a message that is larger than configured.
    pub(crate) fn check_size(body_bytes: usize, size_max: u64) -> Result<(), AmqpError> {
        if body_bytes as u64 > size_max {
            return Err(AmqpError::precondition_failed(format!(
                "message size {body_bytes} is larger than configured max size {size_max}"
            )));
        }
        Ok(())
    }
}

/// `CC` and `BCC` have to be arrays.
fn check_more_keys(properties: &Properties<'_>) -> Result<(), AmqpError> {
    let headers = properties.headers().map_err(|error| AmqpError::syntax_error(error.reason))?;
    for name in ["CC", "BCC"] {
        match headers.get(name) {
            None | Some(FieldValue::Array(_)) => {}
            Some(other) => {
                let kind = other.type_name();
                let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
                return Err(AmqpError::precondition_failed(text));
            }
        }
    }
    Ok(())
}

/// Room that the assembly leaves for a record's head.
pub(crate) const HEADROOM_BYTES: usize = RECORD_HEAD_BYTES;

impl ChannelPort {
    /// The name of the channel in listings.
    pub(crate) fn listing_name(&self, connection: &str) -> String {
        format!("{connection} ({})", self.number)
    }
}
