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

/// Size of a log's very first file; later ones double up to `WAL_FILE_BYTES`.
pub const WAL_FIRST_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Size of a file of the log.
pub const WAL_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// The smallest size a file of the log may be set to.
pub const WAL_FILE_MIN_BYTES: u64 = 4 * 1024;
/// Above this in files of the log that are still needed, checkpoints are asked for.
pub const WAL_BUDGET_BYTES: u64 = 96 * 1024 * 1024;
/// One write and sync of the log covers at most about this much.
pub const WAL_BATCH_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Entries nobody waits for are written at the latest after this.
pub const WAL_LAZY_MS: u64 = 50;
/// Or when this much has gathered.
pub const WAL_LAZY_BYTES: usize = 1024 * 1024;
/// Files of the log that are kept written through, ahead of need.
pub const WAL_SPARE_COUNT: usize = 2;
/// How long the log waits before it tries again to make a file on a full disk.
pub const WAL_ROOM_RETRY_MS: u64 = 200;
/// How long the log's thread looks for more work before it sleeps.
pub const WAL_SPIN_US: u64 = 120;

/// Largest `x-max-priority`.
pub const PRIORITY_MAX: u8 = 255;
/// Delivery limit of a quorum queue without one of its own.
pub const QUORUM_DELIVERY_LIMIT_DEFAULT: u64 = 20;
/// Messages that an `x-recent-history` exchange keeps without an argument.
pub const RECENT_HISTORY_COUNT_DEFAULT: usize = 20;

/// Bodies leave memory above this share of it.
pub const PAGING_SHARE: f64 = 0.02;
/// The least memory for messages that can be configured.
pub const MESSAGE_MEMORY_MIN_BYTES: u64 = 1024 * 1024;
/// But never below this.
pub const PAGING_LIMIT_MIN_BYTES: u64 = 16 * 1024 * 1024;
/// And always above this: what is read back in order is not worth more.
pub const PAGING_LIMIT_MAX_BYTES: u64 = 24 * 1024 * 1024;
/// Messages at the head of a queue with consumers that stay in memory.
pub const PAGE_HEAD_KEEP_BYTES: u64 = 2 * 1024 * 1024;
/// A queue with less in memory keeps it, and a block is not smaller.
pub const PAGE_LEAST_BYTES: u64 = 64 * 1024;
/// Bodies of one queue that are on their way to blocks at a time.
pub const PAGE_WRITING_MAX_BYTES: u64 = 12 * 1024 * 1024;
/// Blocks of one queue are read so far ahead of its consumers.
pub const PAGE_READ_AHEAD_BYTES: u64 = 2 * 1024 * 1024;
/// Queues look so often for blocks that are mostly dead.
pub const HOUSEKEEPING_SECONDS: u64 = 5;
/// Publishers wait while this much has been appended to the log and is not yet on disk.
pub const WAL_PENDING_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Dead letters of one queue that are being published at a time.
pub const DEAD_LETTER_WINDOW: usize = 512;
/// Publishers are blocked while the disk has less room (RabbitMQ's disk_free_limit).
pub const DISK_FREE_LIMIT_BYTES: u64 = 50_000_000;

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
/// Most messages in one block: no more fit into what a block is made of.
pub const BLOCK_MESSAGE_COUNT_MAX: u32 = 65_536;
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

/// The leader of a cluster's catalog is heard of at least this often.
pub const CATALOG_HEARTBEAT_MS: u64 = 100;
/// A node that has heard of no leader for twice a time between these two asks to be it.
pub const CATALOG_ELECTION_MIN_MS: u64 = 200;
/// The longer of the two; must be longer than two heartbeats.
pub const CATALOG_ELECTION_MAX_MS: u64 = 350;
/// Most nodes that vote on the catalog; further ones follow.
pub const CATALOG_VOTERS_MAX: usize = 7;
/// The log of the catalog is made shorter after this many entries.
pub const CATALOG_LOG_ENTRIES: u64 = 5_000;
/// Or after this many bytes of them.
pub const CATALOG_LOG_BYTES: usize = 8 * 1024 * 1024;
/// Entries that are kept for nodes that are a little behind.
pub const CATALOG_LOG_KEPT_ENTRIES: u64 = 1_000;
/// Changes of the catalog that are committed, or sent to another node, at once.
pub const CATALOG_BATCH_MAX_BYTES: usize = 1024 * 1024;
/// Largest single change of a cluster's catalog.
pub const CATALOG_COMMAND_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Changes in such a batch.
pub const CATALOG_BATCH_COUNT_MAX: usize = 1_024;
/// Batches on their way at the same time.
pub const CATALOG_BATCHES_IN_FLIGHT: usize = 2;
/// A catalog is sent to another node in pieces of this size.
pub const CATALOG_SNAPSHOT_PIECE_BYTES: u64 = 1024 * 1024;
/// A piece must be there, and the last one installed, after this time.
pub const CATALOG_SNAPSHOT_PIECE_MS: u64 = 10_000;
/// Changes of one node that wait for their outcome; further ones wait to be proposed.
pub const CATALOG_PROPOSALS_MAX: usize = 2_048;
/// A change fails when the cluster has had no majority for this time.
pub const CATALOG_NO_MAJORITY_MS: u64 = 3_000;
/// A change fails after this time whatever the reason.
pub const CATALOG_PROPOSAL_MAX_MS: u64 = 30_000;
/// Outcomes of one process that are kept for changes that are proposed again.
pub const CATALOG_OUTCOMES_MAX: usize = 8_192;
/// Processes whose outcomes are kept.
pub const CATALOG_SESSIONS_MAX: usize = 256;
/// How long a node may count on what the catalog's leader told it, from the time when it asked.
pub const LEASE_MS: u64 = 1_500;
/// How much the clocks of two nodes may differ over the time of a lease.
pub const LEASE_DRIFT_MS: u64 = 200;
/// A node asks this often for a new lease.
pub const LEASE_RENEWAL_MS: u64 = 300;

const _: () = assert!(CATALOG_ELECTION_MIN_MS > CATALOG_HEARTBEAT_MS);
const _: () = assert!(CATALOG_ELECTION_MAX_MS > CATALOG_ELECTION_MIN_MS);
const _: () = assert!(CATALOG_PROPOSALS_MAX < CATALOG_OUTCOMES_MAX);
const _: () = assert!(4 * LEASE_RENEWAL_MS < LEASE_MS);
const _: () = assert!(FRAME_SIZE_MIN_BYTES <= FRAME_SIZE_DEFAULT_BYTES);
const _: () = assert!(OUTBOX_LOW_WATER_BYTES < OUTBOX_HIGH_WATER_BYTES);
const _: () = assert!(MESSAGE_SIZE_MAX_BYTES < BLOCK_SIZE_MAX_BYTES as u64);
const _: () = assert!(BLOCK_ROUND_MAX_BYTES as u64 <= BLOCK_FILE_BYTES);
const _: () = assert!(READ_BUFFER_BYTES >= 2 * FRAME_SIZE_DEFAULT_BYTES as usize);
const _: () = assert!(MESSAGE_SIZE_DEFAULT_BYTES <= MESSAGE_SIZE_MAX_BYTES);
const _: () = assert!(CHUNK_SIZE_MAX_BYTES <= QUEUE_MAILBOX_MAX_BYTES);
const _: () = assert!(WAL_FILE_MIN_BYTES <= WAL_FIRST_FILE_BYTES && WAL_FIRST_FILE_BYTES <= WAL_FILE_BYTES);
