//! Every limit and default of the broker, each with its unit, in one place.
//!
//! Invariant: relations between limits are checked when the crate is compiled.

/// Longest AMQP short string.
pub const SHORT_STRING_BYTES_MAX: usize = 255;
/// Smallest frame-max a client may negotiate (RabbitMQ 3.13).
pub const FRAME_SIZE_MIN_BYTES: u32 = 4_096;
/// Default frame-max offered to clients.
pub const FRAME_SIZE_DEFAULT_BYTES: u32 = 131_072;
/// Bytes of a frame around its payload: type, channel, size and end mark.
pub const FRAME_OVERHEAD_BYTES: usize = 8;
/// Default channel-max offered to clients.
pub const CHANNEL_COUNT_DEFAULT: u16 = 2_047;
/// Default heartbeat offered to clients.
pub const HEARTBEAT_DEFAULT_SECONDS: u16 = 60;
/// A client must have finished its handshake after this time.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// How long a refused client without `authentication_failure_close` waits for its socket to close.
pub const SILENT_CLOSE_DELAY_MS: u64 = 3_000;
/// How long the broker waits for a close-ok before it drops the socket.
pub const CLOSE_TIMEOUT_MS: u64 = 5_000;
/// Largest message body by default (RabbitMQ 3.13).
pub const MESSAGE_SIZE_DEFAULT_BYTES: u64 = 134_217_728;
/// Largest message body that can be configured.
pub const MESSAGE_SIZE_MAX_BYTES: u64 = 536_870_912;
/// Deepest nesting of tables and arrays that is decoded.
pub const TABLE_DEPTH_MAX: usize = 200;

/// Bytes one thread reads from a socket at once.
pub const READ_BUFFER_BYTES: usize = 512 * 1024;
/// Above this a message's body is handed to the socket by reference instead of being copied.
pub const BODY_COPY_MAX_BYTES: usize = 16 * 1024;
/// Publishes are gathered into chunks of up to this size.
pub const CHUNK_SIZE_MAX_BYTES: usize = 256 * 1024;
/// A consumer's connection takes no more deliveries while this much waits for its socket.
pub const OUTBOX_HIGH_WATER_BYTES: usize = 1024 * 1024;
/// Deliveries go on once the outbox has fallen below this.
pub const OUTBOX_LOW_WATER_BYTES: usize = 256 * 1024;
/// A connection that is owed this much in replies is no longer read.
pub const OUTBOX_REPLY_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Publishers wait while this much has been handed to a queue and not yet been taken by it.
pub const QUEUE_MAILBOX_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes a queue hands out in one turn before it lets its thread do other work.
pub const QUEUE_TURN_MAX_BYTES: usize = 1024 * 1024;
/// Messages of one turn shared between several consumers.
pub const QUEUE_SHARE_COUNT_MAX: usize = 1_024;
/// Publishers of a queue wait, a moment at a time, while its consumers read but this much is ready.
pub const CONSUMER_BIAS_BYTES: usize = 4 * 1024 * 1024;
/// The longest such moment.
pub const CONSUMER_BIAS_MS: u64 = 5;
/// Routes remembered by one connection.
pub const ROUTE_CACHE_COUNT_MAX: usize = 4_096;

/// Largest `x-max-priority`.
pub const PRIORITY_MAX: u8 = 255;
/// Delivery limit of a quorum queue without one of its own.
pub const QUORUM_DELIVERY_LIMIT_DEFAULT: u64 = 20;
/// Messages that an `x-recent-history` exchange keeps without an argument.
pub const RECENT_HISTORY_COUNT_DEFAULT: usize = 20;

/// Length at which a file of the block store is full.
pub const BLOCK_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of blocks that are written, and synced, in one go.
pub const BLOCK_ROUND_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Largest block.
pub const BLOCK_SIZE_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// Length of the file that a durable block store removes to make room when the disk is full.
pub const BLOCK_RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// A block store whose disk is full tries again after this time.
pub const BLOCK_RETRY_MS: u64 = 200;
/// A block store that was given nothing for this time gives its buffer's memory back.
pub const BLOCK_IDLE_MS: u64 = 10_000;
/// Files that a block store keeps open for reading.
pub const BLOCK_OPEN_FILE_COUNT_MAX: usize = 16;
/// Bytes of blocks whose owners are asked at the same time to put them elsewhere; one file may exceed it.
pub const BLOCK_RELOCATE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Share of the machine's memory at which publishers are blocked.
pub const MEMORY_HIGH_WATERMARK: f64 = 0.6;
/// Largest body of an HTTP request.
pub const HTTP_BODY_MAX_BYTES: usize = 20 * 1024 * 1024;
/// How long a shutdown waits for clients to answer connection.close.
pub const SHUTDOWN_TIMEOUT_MS: u64 = 3_000;

const _: () = assert!(FRAME_SIZE_MIN_BYTES <= FRAME_SIZE_DEFAULT_BYTES);
const _: () = assert!(OUTBOX_LOW_WATER_BYTES < OUTBOX_HIGH_WATER_BYTES);
const _: () = assert!(MESSAGE_SIZE_MAX_BYTES < BLOCK_SIZE_MAX_BYTES as u64);
const _: () = assert!(BLOCK_ROUND_MAX_BYTES as u64 <= BLOCK_FILE_BYTES);
const _: () = assert!(READ_BUFFER_BYTES >= 2 * FRAME_SIZE_DEFAULT_BYTES as usize);
const _: () = assert!(MESSAGE_SIZE_DEFAULT_BYTES <= MESSAGE_SIZE_MAX_BYTES);
const _: () = assert!(CHUNK_SIZE_MAX_BYTES <= QUEUE_MAILBOX_MAX_BYTES);
