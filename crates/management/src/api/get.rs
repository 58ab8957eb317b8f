//! `POST /api/queues/{vhost}/{queue}/get`: messages out of a queue, to look at or to take.
//!
//! Invariant: a message that was taken to be given back goes back, also when the caller hangs up in the
//! middle.

use super::queues::open;
use crate::api::Api;
use crate::auth::Anyone;
use crate::body::Body;
use crate::fields;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::access::{Access, Resource};
use broker::catalog::refusal;
use broker::message::Record;
use broker::queue::{Deliveries, Delivery, Range};
use engine::{Broker, Outlet, Queue, QueueCommand, Taken};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;
use types::limits::HTTP_BODY_MAX_BYTES;
use types::{AmqpError, ConsumerId, Properties};

/// Message bytes in one answer, however many messages were asked for.
const ANSWER_BYTES_MAX: usize = HTTP_BODY_MAX_BYTES * 4;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/api/queues/{vhost}/{queue}/get", post(get_messages))
}

/// What happens to messages once they were shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Settled,
    Requeued,
    Rejected,
}

/// How bodies are written.
#[derive(Clone, Copy)]
struct Form {
    /// Text where it can be text.
    auto: bool,
    truncate: Option<usize>,
}

async fn get_messages(
    Anyone(caller): Anyone,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    body.require(&["ackmode", "count", "encoding"])?;
    let (count, fate, form) = (count(&body)?, fate(&body)?, form(&body)?);
    let row = vhost.queue(&name).ok_or_else(|| Failure::of_channel(refusal::no_queue(&vhost.name, &name)))?;
    caller.check(&vhost, Access::Read, Resource::Queue(&name))?;
    let queue = open(&caller, row).map_err(Failure::of_channel)?;
    if row.config.single_active_consumer {
        let text = format!(
            "cannot obtain access to locked {}. basic.get operations are not supported by {} queues with single active consumer",
            refusal::queue_text(&vhost.name, &name),
            row.kind.as_str()
        );
        return Err(Failure::of_channel(AmqpError::resource_locked(text)));
    }
    let mut held = Held { broker: caller.api.broker.clone(), queue, ranges: Vec::new(), fate };
    let mut messages = Vec::new();
    let mut bytes = 0;
    while (messages.len() as u64) < count && bytes < ANSWER_BYTES_MAX {
        let Some(message) = held.next(form).await? else { break };
        bytes += message.shown_bytes;
        messages.push(message.value);
    }
    drop(held);
    reply::show(Value::Array(messages))
}

fn count(body: &Body) -> Result<u64, Failure> {
    let count = body.integer("count")?.unwrap_or(0);
    u64::try_from(count).map_err(|_| Failure::bad_request("count must not be negative"))
}

fn fate(body: &Body) -> Result<Fate, Failure> {
    match body.required_text("ackmode")? {
        "ack_requeue_true" | "reject_requeue_true" => Ok(Fate::Requeued),
        "ack_requeue_false" => Ok(Fate::Settled),
        "reject_requeue_false" => Ok(Fate::Rejected),
        other => Err(Failure::bad_request(json!(["unsupported_ackmode", other]))),
    }
}

fn form(body: &Body) -> Result<Form, Failure> {
    let auto = match body.required_text("encoding")? {
        "auto" => true,
        "base64" => false,
        other => return Err(Failure::bad_request(json!(["unsupported_encoding", other]))),
    };
    let truncate = body.integer("truncate")?.map(|bytes| usize::try_from(bytes).unwrap_or(0));
    Ok(Form { auto, truncate })
}

/// Messages that were taken from a queue, until it is told what becomes of them.
struct Held {
    broker: Arc<Broker>,
    queue: Arc<Queue>,
    ranges: Vec<Range>,
    fate: Fate,
}

impl Held {
    async fn next(&mut self, form: Form) -> Result<Option<Message>, Failure> {
        let (broker, queue, fate) = (self.broker.clone(), self.queue.clone(), self.fate);
        let outlet = Arc::new(GetOutlet { form, broker, queue, fate, got: Mutex::default() });
        let (done, answer) = oneshot::channel();
        let get = QueueCommand::Get { no_ack: fate == Fate::Settled, outlet: outlet.clone(), done };
        self.broker.post(&self.queue, get);
        self.broker.flush();
        answer.await.map_err(|_| match self.queue.is_away() {
            true => Failure::of_channel(self.queue.no_answer()),
            false => Failure::no_object(),
        })?;
        let message = outlet.got.lock().take();
        self.ranges.extend(message.iter().map(|message| (message.index, message.index + 1)));
        Ok(message)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let ranges = std::mem::take(&mut self.ranges);
        if let Some(command) = self.fate.command(ranges) {
            self.broker.post(&self.queue, command);
            self.broker.flush();
        }
    }
}

impl Fate {
    /// What a queue is told of messages that were shown.
    fn command(self, ranges: Vec<Range>) -> Option<QueueCommand> {
        match self {
            _ if ranges.is_empty() => None,
            Fate::Settled => None,
            Fate::Requeued => Some(QueueCommand::Return(ConsumerId::default(), ranges)),
            Fate::Rejected => Some(QueueCommand::Reject(ConsumerId::default(), ranges)),
        }
    }
}

struct Message {
    index: u64,
    shown_bytes: usize,
    value: Value,
}

/// Where a queue puts the message that was asked for.
struct GetOutlet {
    form: Form,
    broker: Arc<Broker>,
    queue: Arc<Queue>,
    fate: Fate,
    got: Mutex<Option<Message>>,
}

impl Outlet for GetOutlet {
    fn deliver(&self, _: &Arc<Queue>, _: ConsumerId, _: bool, _: &Deliveries<'_>) -> Taken {
        Taken::default()
    }

    fn got(&self, _queue: &Arc<Queue>, _no_ack: bool, delivery: Option<Delivery<'_>>, remaining: u64) {
        if let Some(delivery) = delivery {
            *self.got.lock() = Some(message(&delivery, remaining, self.form));
        }
    }

    fn cancelled(&self, _: ConsumerId) {}

    fn confirmed(&self, _: &[(u64, u64)], _: &[u64]) {}

    fn reply(&self, _: &Record<'_>) -> bool {
        false
    }

    fn flush(&self) {}
}

impl Drop for GetOutlet {
    /// The caller hung up before the message came: nobody has seen it, so it goes back.
    fn drop(&mut self) {
        let Some(message) = self.got.lock().take() else { return };
        if let Some(command) = Fate::Requeued.command(vec![(message.index, message.index + 1)])
            && self.fate != Fate::Settled
        {
            self.broker.post(&self.queue, command);
        }
    }
}

fn message(delivery: &Delivery<'_>, remaining: u64, form: Form) -> Message {
    let record = &delivery.record;
    let shown = &record.body[..record.body.len().min(form.truncate.unwrap_or(usize::MAX))];
    // A cut may fall into a character; what was text before is then shown as base64, as in RabbitMQ.
    let (payload, encoding) = match std::str::from_utf8(shown) {
        Ok(text) if form.auto => (text.to_owned(), "string"),
        _ => (STANDARD.encode(shown), "base64"),
    };
    let properties =
        Properties::parse(record.properties).and_then(|view| view.to_owned()).unwrap_or_default();
    let value = json!({
        "payload_bytes": record.body.len(),
        "redelivered": delivery.returns > 0,
        "exchange": String::from_utf8_lossy(record.exchange()),
        "routing_key": String::from_utf8_lossy(record.routing_key()),
        "message_count": remaining,
        "properties": fields::properties_to_json(properties),
        "payload": payload,
        "payload_encoding": encoding,
    });
    Message { index: delivery.index, shown_bytes: payload.len(), value }
}
