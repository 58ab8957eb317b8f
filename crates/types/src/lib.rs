//! The shared vocabulary of the broker: ids, names, field tables, properties, reply codes and limits.
//!
//! Invariant: values only. Nothing here does I/O, reads a clock, spawns a task or knows of frames.
#![deny(missing_docs)]

pub mod error;
pub mod id;
pub mod limits;
pub mod name;
pub mod properties;
pub mod reply_code;
pub mod table;

pub use error::{AmqpError, Reach};
pub use id::{ChannelNumber, ConnectionId, ConsumerId, LogIndex, NodeId, QueueId};
pub use name::{ExchangeName, QueueName, RoutingKey, UserName, VhostName};
pub use properties::Properties;
pub use reply_code::ReplyCode;
pub use table::{FieldTable, FieldValue};
