//! AMQP 0-9-1 on bytes, as little of it as a load generator needs.
//!
//! Invariant: nothing here does I/O, and nothing here allocates per message.

pub mod encode;
pub mod properties;
pub mod read;
pub mod scan;

/// A method's class and number in one word, as it stands on the wire.
pub type MethodId = u32;

const fn id(class: u16, method: u16) -> MethodId {
    ((class as u32) << 16) | method as u32
}

pub const CONNECTION_START: MethodId = id(10, 10);
pub const CONNECTION_START_OK: MethodId = id(10, 11);
pub const CONNECTION_TUNE: MethodId = id(10, 30);
pub const CONNECTION_TUNE_OK: MethodId = id(10, 31);
pub const CONNECTION_OPEN: MethodId = id(10, 40);
pub const CONNECTION_OPEN_OK: MethodId = id(10, 41);
pub const CONNECTION_CLOSE: MethodId = id(10, 50);
pub const CONNECTION_CLOSE_OK: MethodId = id(10, 51);
pub const CONNECTION_BLOCKED: MethodId = id(10, 60);
pub const CONNECTION_UNBLOCKED: MethodId = id(10, 61);
pub const CHANNEL_OPEN: MethodId = id(20, 10);
pub const CHANNEL_OPEN_OK: MethodId = id(20, 11);
pub const CHANNEL_CLOSE: MethodId = id(20, 40);
pub const CHANNEL_CLOSE_OK: MethodId = id(20, 41);
pub const EXCHANGE_DECLARE: MethodId = id(40, 10);
pub const EXCHANGE_DECLARE_OK: MethodId = id(40, 11);
pub const EXCHANGE_DELETE: MethodId = id(40, 20);
pub const EXCHANGE_DELETE_OK: MethodId = id(40, 21);
pub const QUEUE_DECLARE: MethodId = id(50, 10);
pub const QUEUE_DECLARE_OK: MethodId = id(50, 11);
pub const QUEUE_BIND: MethodId = id(50, 20);
pub const QUEUE_BIND_OK: MethodId = id(50, 21);
pub const QUEUE_PURGE: MethodId = id(50, 30);
pub const QUEUE_PURGE_OK: MethodId = id(50, 31);
pub const QUEUE_DELETE: MethodId = id(50, 40);
pub const QUEUE_DELETE_OK: MethodId = id(50, 41);
pub const BASIC_QOS: MethodId = id(60, 10);
pub const BASIC_QOS_OK: MethodId = id(60, 11);
pub const BASIC_CONSUME: MethodId = id(60, 20);
pub const BASIC_CONSUME_OK: MethodId = id(60, 21);
pub const BASIC_CANCEL: MethodId = id(60, 30);
pub const BASIC_PUBLISH: MethodId = id(60, 40);
pub const BASIC_RETURN: MethodId = id(60, 50);
pub const BASIC_DELIVER: MethodId = id(60, 60);
pub const BASIC_GET: MethodId = id(60, 70);
pub const BASIC_GET_OK: MethodId = id(60, 71);
pub const BASIC_GET_EMPTY: MethodId = id(60, 72);
pub const BASIC_ACK: MethodId = id(60, 80);
pub const BASIC_REJECT: MethodId = id(60, 90);
pub const BASIC_NACK: MethodId = id(60, 120);
pub const CONFIRM_SELECT: MethodId = id(85, 10);
pub const CONFIRM_SELECT_OK: MethodId = id(85, 11);
pub const TX_SELECT: MethodId = id(90, 10);
pub const TX_SELECT_OK: MethodId = id(90, 11);
pub const TX_COMMIT: MethodId = id(90, 20);
pub const TX_COMMIT_OK: MethodId = id(90, 21);
pub const TX_ROLLBACK: MethodId = id(90, 30);
pub const TX_ROLLBACK_OK: MethodId = id(90, 31);

pub const CLASS_BASIC: u16 = 60;

pub const FRAME_METHOD: u8 = 1;
pub const FRAME_HEADER: u8 = 2;
pub const FRAME_BODY: u8 = 3;
pub const FRAME_HEARTBEAT: u8 = 8;
pub const FRAME_END: u8 = 0xCE;
/// Type, channel and length in front, the end mark behind.
pub const FRAME_OVERHEAD_BYTES: usize = 8;
pub const FRAME_HEAD_BYTES: usize = 7;

pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The largest frame this client offers and accepts.
pub const FRAME_BYTES_MAX: u32 = 131_072;

/// "class.method" for error texts.
pub fn method_name(method: MethodId) -> String {
    format!("{}.{}", method >> 16, method & 0xFFFF)
}
