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
/// Publishes on their way to a queue of another node that it has not taken yet, bytes; above it publishers wait.
pub const FORWARD_PUBLISH_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deliveries on their way to one consumer of another node, bytes (bodies and 64 for each message).
pub const FORWARD_DELIVERY_MAX_BYTES: usize = 512 * 1024;
/// What this software understands of the catalog's commands and of what passes between nodes: goes up with each
/// addition, which is used once all nodes of a cluster have it.
pub const CLUSTER_FEATURE_LEVEL: u64 = 2;
/// From this level on queues have mirrors.
pub const MIRRORS_FEATURE_LEVEL: u64 = 2;
/// Copies of a quorum queue that does not say how many.
pub const QUORUM_GROUP_DEFAULT: usize = 3;
/// A node looks so often for its cluster and after the other nodes.
pub const CLUSTER_LOOK_MS: u64 = 100;
/// How long a node waits for an answer when it joins.
pub const CLUSTER_JOIN_CALL_MS: u64 = 5_000;
/// New nodes wait so long for all that are expected; then most of them are enough to form a cluster.
pub const CLUSTER_FORM_ALL_MS: u64 = 3_000;
/// A member whose cluster does not answer for so long after its start serves the queues it has.
pub const CLUSTER_SERVE_ALONE_MS: u64 = 5_000;
/// Members that are not linked are looked for at the addresses of the operator so often.
pub const CLUSTER_REDISCOVER_MS: u64 = 2_000;
/// A member that hears nothing of its cluster for so long asks whether it was taken out, and so often.
pub const CLUSTER_DOUBT_MS: u64 = 1_000;
/// How long another node has to take a leaving one out.
pub const CLUSTER_LEAVE_MS: u64 = 20_000;
/// How long other nodes have to tell what a listing needs of them.
pub const CLUSTER_REFRESH_MS: u64 = 1_000;
/// What other nodes told for a listing is good for so long, before they are asked again.
pub const CLUSTER_REFRESH_AGAIN_MS: u64 = 500;
/// Other nodes are asked for rates for so long after the last listing that needed them.
pub const CLUSTER_WATCHED_MS: u64 = 60_000;
/// A member that does not answer in any way is taken for lost after this time.
pub const CLUSTER_LOST_AFTER_MS: u64 = 200;
/// A node that gets the catalog's changes and has been no member for so long is taken out of the catalog's group.
pub const CLUSTER_STRANGER_AFTER_MS: u64 = 5_000;
/// A mirror in sync that is waited for and acknowledges nothing for so long is proposed to leave those in sync.
pub const MIRROR_STALL_MS: u64 = 3_000;
/// What was proposed for a queue's copies without an outcome, or asked of a mirror without an answer, is repeated so often.
pub const MIRROR_AGAIN_MS: u64 = 1_000;
/// So long commits wait for a level mirror that is to join those in sync, before it is proposed.
pub const MIRROR_CATCH_UP_MS: u64 = 500;
/// A stream to a mirror that has ended while its link is there begins again after this time.
pub const MIRROR_REOPEN_MS: u64 = 200;
/// Turns that a mirror may not have acknowledged; with more its stream begins again.
pub const MIRROR_UNACKED_COUNT_MAX: usize = 65_536;
/// How long what is asked of a queue's home waits for the first link to a node that is there.
pub const FORWARD_CONNECT_MS: u64 = 2_000;
/// What clients of a queue with copies wait for another home of it when its home is out of reach, milliseconds.
pub const FAILOVER_WAIT_MS: u64 = 10_000;
/// The same once the catalog says that the home's node is lost, milliseconds.
pub const FAILOVER_HURRY_MS: u64 = 500;
/// Bytes of a mirrored queue's turns that are not committed, above which its publishers wait.
pub const MIRROR_PENDING_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of messages in one fill of a mirror.
pub const MIRROR_FILL_MAX_BYTES: usize = 256 * 1024;
/// Fills that may be under way to one mirror of a queue.
pub const MIRROR_FILLS_AHEAD: usize = 8;
/// Bytes waiting for a link above which mirrors are not filled over it.
pub const MIRROR_LINK_MAX_BYTES: usize = 4 * 1024 * 1024;
/// How often homes look at copies that they wait for, milliseconds.
pub const MIRROR_LOOK_MS: u64 = 250;
/// Steps of queues' copies in one change of the catalog.
pub const COPY_STEPS_MAX: usize = 1_000;
/// How often the homes of mirrored queues are spread anew when they are not even, milliseconds.
pub const COPY_BALANCE_MS: u64 = 10_000;
/// How long a node that stops waits for its queues' other copies to become their homes, milliseconds.
pub const COPY_LEAVE_MS: u64 = 3_000;
/// How long a node keeps what others ask of it as a queue's home before it knows that it is, milliseconds.
pub const EARLY_WAIT_MS: u64 = 2_000;
/// Openings of mirrors that are not known yet.
pub const EARLY_OPENS_MAX: usize = 65_536;
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
/// A dead letter for a queue whose home is out of reach is tried again after this time.
pub const DEAD_LETTER_RETRY_MS: u64 = 1_000;
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

/// Most plaintext in one sealed record between nodes: what is behind it waits no longer than for this.
pub const LINK_RECORD_MAX_BYTES: usize = 64 * 1024;
/// Sealed bytes that a link gets ready for its socket at a time.
pub const LINK_STAGE_BYTES: usize = 256 * 1024;
/// Records after which each direction of a link goes on with a new key.
pub const LINK_REKEY_RECORD_COUNT: u64 = 1 << 20;
/// A thread that flushes a link leaves the rest to the link's own task after this much.
pub const LINK_FLUSH_TURN_BYTES: usize = 1024 * 1024;
/// What a data link reads from its socket at a time.
pub const LINK_READ_BYTES: usize = 256 * 1024;
/// Longest frame on a data link.
pub const LINK_DATA_FRAME_MAX_BYTES: usize = 256 * 1024 * 1024;
/// A data link with this much waiting for its socket should be given no more.
pub const LINK_DATA_HIGH_WATER_BYTES: usize = 1024 * 1024;
/// And is given more again below this.
pub const LINK_DATA_LOW_WATER_BYTES: usize = 256 * 1024;
/// Calls between nodes wait while a control link has this much waiting for its socket.
pub const LINK_CONTROL_HIGH_WATER_BYTES: usize = 32 * 1024 * 1024;
/// And go on below this.
pub const LINK_CONTROL_LOW_WATER_BYTES: usize = 8 * 1024 * 1024;
/// Longest body of a call between nodes, or of its answer.
pub const CALL_BODY_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Calls in flight from one node to another.
pub const CALL_IN_FLIGHT_COUNT_MAX: usize = 1_024;
/// Calls of one node are refused while bodies of this size are being answered.
pub const CALL_SERVING_MAX_BYTES: usize = 128 * 1024 * 1024;
/// Longest text of a refused call that is sent back.
pub const CALL_REFUSAL_MAX_BYTES: usize = 4 * 1024;
/// A control link sends something at least this often.
pub const LINK_PING_MS: u64 = 300;
/// A control link on which nothing was heard for this long is closed.
pub const LINK_SILENCE_MS: u64 = 1_000;
/// A connection between nodes must have proved who it is after this time.
pub const LINK_HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// A connection to another node must be open after this time.
pub const LINK_DIAL_TIMEOUT_MS: u64 = 2_000;
/// Handshakes that a node goes through at once; the oldest gives way to a new one.
pub const LINK_HANDSHAKE_COUNT_MAX: usize = 64;
/// Longest message of a handshake.
pub const LINK_HANDSHAKE_MESSAGE_MAX_BYTES: usize = 4 * 1024;
/// Links at a time from nodes that only ask something before they are known.
pub const LINK_VISIT_COUNT_MAX: usize = 64;
/// First pause before a node that could not be reached is dialled again.
pub const LINK_REDIAL_MIN_MS: u64 = 50;
/// Longest such pause.
pub const LINK_REDIAL_MAX_MS: u64 = 1_000;
/// The node with the higher id leaves the first dial to the other one for this long.
pub const LINK_DIAL_COURTESY_MS: u64 = 150;
/// Refusals from one address are logged once in this time.
pub const LINK_REFUSAL_LOG_SECONDS: u64 = 10;
/// Addresses remembered for that.
pub const LINK_REFUSAL_LOG_COUNT_MAX: usize = 1_024;

/// Bindings of a client that waits for none of them which are on their way at once.
pub const UNANSWERED_BINDS_MAX: usize = 64;

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
/// Largest datagram between nodes, with its seal: no path is expected to cut it into pieces.
pub const GOSSIP_PACKET_MAX_BYTES: usize = 1_200;
/// Longest name of a node.
pub const NODE_NAME_MAX_BYTES: usize = 128;
/// Longest text of a node's version.
pub const NODE_VERSION_MAX_BYTES: usize = 32;
/// A node asks one other node so often whether it is there.
pub const GOSSIP_PROBE_MS: u64 = 150;
/// So long it waits for the answer before it asks others to ask.
pub const GOSSIP_RTT_MS: u64 = 60;
/// A suspected node has so long to say that it is there.
pub const GOSSIP_SUSPECT_MS: u64 = 650;
/// A node that was declared down is asked once more; so long it is still shown as suspected.
pub const GOSSIP_DEBOUNCE_MS: u64 = 100;
/// Changes are passed on so often.
pub const GOSSIP_SPREAD_MS: u64 = 100;
/// Nodes that are down are called so often.
pub const GOSSIP_RETRY_MS: u64 = 500;
/// A node's facts are compared with another's so often.
pub const GOSSIP_DIGEST_MS: u64 = 1_000;
/// Changed facts are pushed at most so often.
pub const GOSSIP_PUSH_MS: u64 = 50;
/// A node that has met nobody calls its seeds after this time, then with growing pauses.
pub const GOSSIP_SEED_FIRST_MS: u64 = 200;
/// The longest such pause.
pub const GOSSIP_SEED_MAX_MS: u64 = 2_000;
/// A node that has met others calls the seeds that are not among them so often.
pub const GOSSIP_SEED_AGAIN_MS: u64 = 10_000;
/// When the gossip's thread wakes up later than this, it was held up: the time is not held against others.
pub const GOSSIP_STALL_MS: u64 = 50;
/// A node that has been down for so long is forgotten.
pub const GOSSIP_FORGET_SECONDS: u64 = 24 * 60 * 60;
/// Seeds that are remembered.
pub const GOSSIP_SEED_COUNT_MAX: usize = 256;
/// Nodes that gossip knows at most.
pub const GOSSIP_MEMBER_COUNT_MAX: usize = 256;
/// Longest facts of a node.
pub const GOSSIP_FACTS_MAX_BYTES: usize = 600;
/// How long one name of a list of nodes may take to be looked up.
pub const DISCOVERY_LOOKUP_MS: u64 = 5_000;

const _: () = assert!(FRAME_SIZE_MIN_BYTES <= FRAME_SIZE_DEFAULT_BYTES);
const _: () = assert!(OUTBOX_LOW_WATER_BYTES < OUTBOX_HIGH_WATER_BYTES);
const _: () = assert!(MESSAGE_SIZE_MAX_BYTES < BLOCK_SIZE_MAX_BYTES as u64);
const _: () = assert!(BLOCK_ROUND_MAX_BYTES as u64 <= BLOCK_FILE_BYTES);
const _: () = assert!(READ_BUFFER_BYTES >= 2 * FRAME_SIZE_DEFAULT_BYTES as usize);
const _: () = assert!(MESSAGE_SIZE_DEFAULT_BYTES <= MESSAGE_SIZE_MAX_BYTES);
const _: () = assert!(CHUNK_SIZE_MAX_BYTES <= QUEUE_MAILBOX_MAX_BYTES);
const _: () = assert!(WAL_FILE_MIN_BYTES <= WAL_FIRST_FILE_BYTES && WAL_FIRST_FILE_BYTES <= WAL_FILE_BYTES);
const _: () = assert!(LINK_DATA_LOW_WATER_BYTES < LINK_DATA_HIGH_WATER_BYTES);
const _: () = assert!(LINK_CONTROL_LOW_WATER_BYTES < LINK_CONTROL_HIGH_WATER_BYTES);
const _: () = assert!(LINK_RECORD_MAX_BYTES <= LINK_STAGE_BYTES && LINK_RECORD_MAX_BYTES < LINK_READ_BYTES);
const _: () = assert!(LINK_PING_MS * 2 < LINK_SILENCE_MS && LINK_REDIAL_MIN_MS <= LINK_REDIAL_MAX_MS);
const _: () = assert!(GOSSIP_RTT_MS < GOSSIP_PROBE_MS && GOSSIP_SEED_FIRST_MS <= GOSSIP_SEED_MAX_MS);
const _: () = assert!(GOSSIP_FACTS_MAX_BYTES + NODE_NAME_MAX_BYTES + 256 < GOSSIP_PACKET_MAX_BYTES);
