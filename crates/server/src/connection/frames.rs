//! A connection's frames: publishes in a straight line, everything else by its channel.
//!
//! Invariant: frames are taken in order; after an error on a channel its frames are ignored until
//! close-ok, after an error on the connection all are.

use super::{Connection, Phase};
use crate::channel::port::ChannelPort;
use crate::channel::{Channel, Incoming};
use crate::fault::Fault;
use protocol::Method;
use protocol::assembly::Content;
use protocol::deliver::{Settle, parse_settle};
use protocol::frame::{Frame, FrameKind, next_frame};
use protocol::method::method_ids;
use protocol::publish::{PublishHead, whole_publish};
use std::sync::Arc;
use tokio::time::Instant;
use types::{AmqpError, Reach};

const BASIC_PUBLISH: (u16, u16) = (60, 40);

impl Connection {
    /// Does everything that is complete in `bytes`; gives how much that was.
    pub(super) async fn process(&mut self, bytes: &[u8]) -> usize {
        let used = self.take_frames(bytes).await;
        self.settle_unanswered().await;
        used
    }

    /// Waits for bindings that the client does not wait for.
    async fn settle_unanswered(&mut self) {
        if self.unanswered.is_empty() {
            return;
        }
        if let Err(fault) = self.unanswered.settle().await {
            self.fail(fault).await;
        }
        self.publisher.begin(&self.port.broker, self.session.vhost.as_str());
    }

    async fn take_frames(&mut self, bytes: &[u8]) -> usize {
        let frame_max = self.port.frame_max();
        let broker = self.port.broker.clone();
        self.publisher.begin(&broker, self.session.vhost.as_str());
        let mut at = 0;
        self.throttled = false;
        while self.phase != Phase::Closed {
            if !self.has_room_for_replies() {
                // What the client asks for next waits until it has read what it asked for before.
                self.throttled = true;
                break;
            }
            if !self.unanswered.lets_pass(&bytes[at..]) {
                self.settle_unanswered().await;
            }
            while let Some((publish, used)) = whole_publish(&bytes[at..], frame_max) {
                if self.phase != Phase::Running {
                    break;
                }
                at += used;
                if let Err(fault) = self.publish_whole(&publish) {
                    self.fail(fault).await;
                    break;
                }
            }
            let (frame, used) = match next_frame(&bytes[at..], frame_max) {
                Ok(None) => break,
                Ok(Some(found)) => found,
                Err(error) => {
                    self.finish_batch();
                    if self.phase == Phase::Running {
                        self.fail(Fault::hard(error, 0, (0, 0))).await;
                    } else {
                        self.phase = Phase::Closed;
                    }
                    return bytes.len();
                }
            };
            at += used;
            if let Err(fault) = self.frame(&frame).await {
                self.fail(fault).await;
            }
        }
        at
    }

    #[inline]
    fn publish_whole(&mut self, publish: &protocol::publish::WholePublish<'_>) -> Result<(), Fault> {
        let number = publish.channel;
        let place = |error| Fault::new(error, number, BASIC_PUBLISH);
        let channel = match self.channels.get_mut(usize::from(number)) {
            Some(Some(channel)) => channel,
            _ => {
                return Err(Fault::hard(
                    AmqpError::channel_error("expected 'channel.open'"),
                    number,
                    BASIC_PUBLISH,
                ));
            }
        };
        if channel.closing {
            return Ok(());
        }
        channel.assembly.refuse_method().map_err(place)?;
        Channel::check_size(publish.body.len(), self.config.message_size_max_bytes).map_err(place)?;
        let incoming = Incoming {
            wire: publish.head.route,
            mandatory: publish.head.mandatory,
            immediate: publish.head.immediate,
            properties: publish.properties,
            body: publish.body,
        };
        channel.publish(&mut self.publisher, &incoming).map_err(place)
    }

    async fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let number = frame.channel;
        frame.check_place().map_err(|error| Fault::hard(error, number, (0, 0)))?;
        if self.phase == Phase::Closing {
            return self.frame_while_closing(frame);
        }
        match frame.kind {
            FrameKind::Heartbeat => Ok(()),
            FrameKind::Header | FrameKind::Body => self.content_frame(frame),
            FrameKind::Method if number == 0 => {
                let method = Method::decode(frame.payload).map_err(|error| Fault::new(error, 0, (0, 0)))?;
                Box::pin(self.connection_method(method)).await
            }
            FrameKind::Method => {
                if let Some(settle) = parse_settle(frame.payload) {
                    return self.settle_frame(number, settle, frame);
                }
                if method_ids(frame.payload) == Some(BASIC_PUBLISH) {
                    return self.publish_head(number, frame.payload);
                }
                let ids = method_ids(frame.payload).unwrap_or_default();
                let method =
                    Method::decode(frame.payload).map_err(|error| Fault::hard(error, number, ids))?;
                Box::pin(self.channel_method(number, method)).await
            }
        }
    }

    /// While the close handshake runs only the peer's close and close-ok count.
    fn frame_while_closing(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        if frame.kind == FrameKind::Method && frame.channel == 0 {
            match Method::decode(frame.payload) {
                // Nothing comes after it, so the socket can go at once.
                Ok(Method::ConnectionCloseOk) => {
                    self.phase = Phase::Closed;
                    self.close_by = Some(Instant::now());
                }
                Ok(Method::ConnectionClose { .. }) => {
                    Method::ConnectionCloseOk.put(self.port.out().frames(), 0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn channel(&mut self, number: u16, ids: (u16, u16)) -> Result<&mut Channel, Fault> {
        match self.channels.get_mut(usize::from(number)) {
            Some(Some(channel)) => Ok(channel),
            _ => Err(Fault::hard(AmqpError::channel_error("expected 'channel.open'"), number, ids)),
        }
    }

    fn settle_frame(&mut self, number: u16, settle: Settle, frame: &Frame<'_>) -> Result<(), Fault> {
        let ids = method_ids(frame.payload).unwrap_or_default();
        if !self.publisher.batch.is_empty() {
            self.hand_over();
        }
        let channel = self.channel(number, ids)?;
        if channel.closing {
            return Ok(());
        }
        channel.assembly.refuse_method().map_err(|error| Fault::new(error, number, BASIC_PUBLISH))?;
        channel.settle(settle).map_err(|error| Fault::new(error, number, ids))
    }

    /// A publish whose content follows in frames of its own.
    fn publish_head(&mut self, number: u16, payload: &[u8]) -> Result<(), Fault> {
        self.publishing = true;
        let place = |error| Fault::new(error, number, BASIC_PUBLISH);
        let head = PublishHead::parse(payload).map_err(place)?;
        let channel = self.channel(number, BASIC_PUBLISH)?;
        if channel.closing {
            return Ok(());
        }
        channel.assembly.start(head).map_err(place)
    }

    fn content_frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let number = frame.channel;
        self.publishing = true;
        let size_max = self.config.message_size_max_bytes;
        let channel = self.channel(number, (0, 0))?;
        if channel.closing {
            return Ok(());
        }
        let ids = if channel.assembly.is_idle() { (0, 0) } else { BASIC_PUBLISH };
        let place = |error| Fault::new(error, number, ids);
        let headroom = crate::channel::HEADROOM_BYTES;
        let content = channel.assembly.frame(frame.kind, frame.payload, size_max, headroom).map_err(place)?;
        match content {
            None => Ok(()),
            Some(content) => self.publish_content(number, content).map_err(place),
        }
    }

    fn publish_content(&mut self, number: u16, content: Content) -> Result<(), AmqpError> {
        let Connection { channels, publisher, .. } = self;
        let Some(Some(channel)) = channels.get_mut(usize::from(number)) else { return Ok(()) };
        channel.publish_content(publisher, content)
    }

    async fn connection_method(&mut self, method: Method) -> Result<(), Fault> {
        let ids = method.class_method();
        self.finish_batch();
        match method {
            Method::ConnectionClose { .. } => {
                for channel in &mut self.channels {
                    if let Some(mut channel) = channel.take() {
                        channel.close().await;
                        self.port.broker.metrics().channels_closed.add(1);
                    }
                }
                // Exclusive queues are gone before the client hears that it is over.
                self.port.broker.forget_connection(self.port.id).await;
                Method::ConnectionCloseOk.put(self.port.out().frames(), 0);
                self.phase = Phase::Closed;
                Ok(())
            }
            Method::ConnectionCloseOk => Ok(()),
            Method::ConnectionUpdateSecret { new_secret, reason } => {
                // Only mechanisms with expiring credentials use it; for passwords there is nothing to renew.
                tracing::info!(connection = %self.facts.name, bytes = new_secret.len(), reason, "secret updated");
                Method::ConnectionUpdateSecretOk.put(self.port.out().frames(), 0);
                Ok(())
            }
            other => {
                tracing::debug!(method = other.name(), "not for a running connection");
                let error = AmqpError::channel_error("unexpected method in connection state running");
                Err(Fault::hard(error, 0, ids))
            }
        }
    }

    async fn channel_method(&mut self, number: u16, method: Method) -> Result<(), Fault> {
        let ids = method.class_method();
        self.hand_over();
        match method {
            Method::ChannelOpen => return self.open_channel(number),
            Method::ChannelClose { .. } => {
                if let Some(slot) = self.channels.get_mut(usize::from(number))
                    && let Some(mut channel) = slot.take()
                {
                    self.facts.channels.lock().remove(&number);
                    channel.close().await;
                    self.port.broker.metrics().channels_closed.add(1);
                } else {
                    let error = AmqpError::channel_error("expected 'channel.open'");
                    return Err(Fault::hard(error, number, ids));
                }
                Method::ChannelCloseOk.put(self.port.out().frames(), number);
                return Ok(());
            }
            Method::ChannelCloseOk => {
                if let Some(slot) = self.channels.get_mut(usize::from(number)) {
                    *slot = None;
                    self.facts.channels.lock().remove(&number);
                }
                return Ok(());
            }
            _ => {}
        }
        let Connection { channels, publisher, unanswered, port, session, .. } = self;
        let Some(Some(channel)) = channels.get_mut(usize::from(number)) else {
            return Err(Fault::hard(AmqpError::channel_error("expected 'channel.open'"), number, ids));
        };
        if channel.closing {
            return Ok(());
        }
        channel.assembly.refuse_method().map_err(|error| Fault::new(error, number, BASIC_PUBLISH))?;
        let outcome = channel.perform(method, publisher, unanswered).await;
        // A declare or bind of this client counts for its next publish.
        publisher.begin(&port.broker, session.vhost.as_str());
        outcome
    }

    fn open_channel(&mut self, number: u16) -> Result<(), Fault> {
        let ids = (20, 10);
        let at = usize::from(number);
        if let Some(Some(_)) = self.channels.get(at) {
            return Err(Fault::hard(AmqpError::channel_error("second 'channel.open' seen"), number, ids));
        }
        if self.channel_max > 0 && number > self.channel_max {
            let text = format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({})",
                self.facts.channels.lock().len(),
                self.channel_max
            );
            return Err(Fault::hard(AmqpError::not_allowed(text), number, (0, 0)));
        }
        self.check_user_channels(number)?;
        if self.channels.len() <= at {
            self.channels.resize_with(at + 1, || None);
        }
        let port = ChannelPort {
            port: self.port.clone(),
            number,
            vhost: self.session.vhost.clone(),
            cancel_notify: self.cancel_notify,
            state: Default::default(),
        };
        let channel = Channel::new(port, self.session.clone());
        let listed = (Arc::clone(&channel.port), channel.facts.clone());
        self.facts.channels.lock().insert(number, listed);
        self.channels[at] = Some(Box::new(channel));
        self.port.broker.metrics().channels_opened.add(1);
        Method::ChannelOpenOk.put(self.port.out().frames(), number);
        Ok(())
    }

    fn check_user_channels(&self, number: u16) -> Result<(), Fault> {
        let broker = &self.port.broker;
        let user = &self.session.user;
        let limit = broker.catalog().users.get(user.as_str()).and_then(|user| user.limits.max_channels);
        let Some(limit) = limit.filter(|limit| *limit >= 0) else { return Ok(()) };
        let open: usize = broker
            .connections()
            .all()
            .iter()
            .filter(|(_, connection)| connection.user() == user)
            .map(|(_, connection)| connection.listing().channels as usize)
            .sum();
        if (open as i64) < limit {
            return Ok(());
        }
        let text = format!(
            "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
        );
        Err(Fault::hard(AmqpError::not_allowed(text), number, (0, 0)))
    }

    /// Tells the client of an error and closes what it reaches.
    pub(super) async fn fail(&mut self, fault: Fault) {
        if self.phase != Phase::Running {
            return;
        }
        self.finish_batch();
        match fault.reach() {
            Reach::Connection => self.close_with(fault.error, fault.class_method),
            Reach::Channel => {
                let number = fault.channel;
                self.start_channel_close(fault);
                if let Some(Some(channel)) = self.channels.get_mut(usize::from(number)) {
                    channel.close().await;
                }
            }
        }
    }

    /// Sends channel.close and ignores the channel until its close-ok.
    fn start_channel_close(&mut self, fault: Fault) {
        let number = fault.channel;
        let Some(Some(channel)) = self.channels.get_mut(usize::from(number)) else {
            self.close_with(fault.error, fault.class_method);
            return;
        };
        tracing::warn!(connection = %self.facts.name, channel = number, error = %fault.error, "channel error");
        channel.closing = true;
        // No confirm or delivery may follow the close.
        channel.port.state.lock().closed = true;
        let close = Method::ChannelClose {
            reply_code: fault.error.code.code(),
            reply_text: fault.error.reply_text(),
            class_id: fault.class_method.0,
            method_id: fault.class_method.1,
        };
        close.put(self.port.out().frames(), number);
    }
}
