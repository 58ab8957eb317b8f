//! The firehose: what a channel publishes and gets, shown to `amq.rabbitmq.trace`.
//!
//! Invariant: what the firehose itself publishes or delivers is not shown again.

use super::port::ChannelPort;
use crate::port::Trace;
use broker::message::Record;
use engine::Queue;
use types::properties::OwnedProperties;
use types::{FieldValue, Properties};

/// Where the firehose publishes.
pub(crate) const TRACE_EXCHANGE: &[u8] = b"amq.rabbitmq.trace";

impl ChannelPort {
    /// Shows a delivery once the queue's turn is over.
    pub(super) fn trace_delivery(&self, queue: &Queue, record: &Record<'_>, returns: u32) {
        let row = queue.row();
        let broker = &self.port.broker;
        let tracing = broker.catalog().vhost(self.vhost.as_str()).is_some_and(|vhost| vhost.tracing);
        // What the firehose itself delivers is not shown again.
        if !tracing || record.exchange() == TRACE_EXCHANGE {
            return;
        }
        let more = vec![("redelivered", FieldValue::I32(i32::from(returns > 0)))];
        self.port.add_trace(Trace {
            vhost: self.vhost.clone(),
            key: format!("deliver.{}", row.name),
            properties: self.trace_properties(record, row.user.as_str(), more),
            body: record.body.to_vec(),
        });
    }

    /// The properties of a firehose message about `record`; `more` are headers besides the usual ones.
    pub(crate) fn trace_properties(
        &self,
        record: &Record<'_>,
        user: &str,
        more: Vec<(&'static str, FieldValue)>,
    ) -> Vec<u8> {
        let text = |bytes: &[u8]| FieldValue::LongString(bytes::Bytes::copy_from_slice(bytes));
        let view = Properties::parse(record.properties).ok();
        let sent = view.and_then(|view| view.to_owned().ok()).unwrap_or_default();
        let mut headers: types::FieldTable = [
            ("exchange_name", text(record.exchange())),
            ("routing_keys", FieldValue::Array(vec![text(record.routing_key())])),
            ("properties", FieldValue::Table(as_table(sent))),
            ("node", FieldValue::text(&self.port.broker.config().node_name)),
            ("vhost", FieldValue::text(self.vhost.as_str())),
            ("connection", FieldValue::text(&self.port.name())),
            ("channel", FieldValue::I32(self.number.into())),
            ("user", FieldValue::text(user)),
        ]
        .into_iter()
        .collect();
        more.into_iter().for_each(|(name, value)| headers.insert(name, value));
        OwnedProperties { headers: Some(headers), ..Default::default() }.encode()
    }
}

/// Properties as a table, for showing them in a header.
fn as_table(properties: OwnedProperties) -> types::FieldTable {
    let mut table = types::FieldTable::new();
    let texts = [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.kind),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            table.insert(name, FieldValue::LongString(bytes::Bytes::copy_from_slice(&value)));
        }
    }
    let numbers = [("delivery_mode", properties.delivery_mode), ("priority", properties.priority)];
    for (name, value) in numbers {
        if let Some(value) = value {
            table.insert(name, FieldValue::I32(value.into()));
        }
    }
    if let Some(seconds) = properties.timestamp {
        table.insert("timestamp", FieldValue::Timestamp(seconds));
    }
    if let Some(headers) = properties.headers {
        table.insert("headers", FieldValue::Table(headers));
    }
    table
}
