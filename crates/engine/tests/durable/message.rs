//! Messages that say who they are: properties and body follow from a number.

use crate::chance::Chance;
use types::properties::OwnedProperties;
use types::{FieldTable, FieldValue, Properties};

/// A message to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u64,
    pub persistent: bool,
    pub priority: u8,
    /// A time to live that no test waits for.
    pub expires: bool,
    pub body_bytes: usize,
}

const HEAD_BYTES: usize = 16;

impl Message {
    /// A persistent one of a length.
    pub fn plain(id: u64, body_bytes: usize) -> Message {
        Message { id, persistent: true, priority: 0, expires: false, body_bytes }
    }

    pub fn any(id: u64, chance: &mut Chance) -> Message {
        let body_bytes = match chance.below(40) {
            0 => 20_000 + chance.below(60_000),
            1..=5 => 2_000 + chance.below(14_000),
            _ => chance.below(800),
        };
        Message {
            id,
            persistent: chance.percent(80),
            priority: chance.below(8) as u8,
            expires: chance.percent(10),
            body_bytes: body_bytes as usize,
        }
    }

    pub fn body(&self) -> Vec<u8> {
        let flags = u64::from(self.persistent) | u64::from(self.expires) << 1 | u64::from(self.priority) << 8;
        let mut body = self.id.to_le_bytes().to_vec();
        body.extend((flags | (self.body_bytes as u64) << 16).to_le_bytes());
        let mut chance = Chance::new(self.id);
        while body.len() < HEAD_BYTES + self.body_bytes {
            body.extend(chance.next().to_le_bytes());
        }
        body.truncate(HEAD_BYTES + self.body_bytes);
        body
    }

    pub fn properties(&self) -> Vec<u8> {
        let text = |text: String| Some(text.into_bytes().into_boxed_slice());
        let headers: FieldTable =
            [("id", FieldValue::I64(self.id as i64)), ("kind", FieldValue::text("test"))]
                .into_iter()
                .collect();
        OwnedProperties {
            content_type: text("application/octet-stream".to_owned()),
            headers: Some(headers),
            delivery_mode: Some(if self.persistent { 2 } else { 1 }),
            priority: Some(self.priority),
            expiration: if self.expires { text("864000000".to_owned()) } else { None },
            message_id: text(format!("message {}", self.id)),
            ..OwnedProperties::default()
        }
        .encode()
    }

    /// The message that these bytes are, or what is wrong with them. A dead letter has more headers than
    /// it was published with, and no expiration.
    pub fn of(properties: &[u8], body: &[u8]) -> Result<Message, String> {
        let word =
            |at: usize| body.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        let (Some(id), Some(facts)) = (word(0), word(8)) else {
            return Err(format!("a body of {} bytes", body.len()));
        };
        let message = Message {
            id,
            persistent: facts & 1 != 0,
            expires: facts & 2 != 0,
            priority: (facts >> 8) as u8,
            body_bytes: (facts >> 16) as usize,
        };
        if body.len() != HEAD_BYTES + message.body_bytes || message.body() != body {
            return Err(format!("the body of {id} is not as published"));
        }
        if properties == message.properties() {
            return Ok(message);
        }
        let view = Properties::parse(properties).map_err(|error| format!("properties of {id}: {error:?}"))?;
        let headers = view.headers().map_err(|error| format!("headers of {id}: {error:?}"))?;
        let mut before = view.to_owned().map_err(|error| format!("properties of {id}: {error:?}"))?;
        let published = Properties::parse(&message.properties()).unwrap().to_owned().unwrap();
        (before.headers, before.expiration) = (published.headers.clone(), published.expiration.clone());
        let keeps = headers.get("id") == Some(&FieldValue::I64(id as i64));
        if before != published || !keeps || headers.get("x-death").is_none() {
            return Err(format!("the properties of {id} are not as published"));
        }
        Ok(message)
    }
}
