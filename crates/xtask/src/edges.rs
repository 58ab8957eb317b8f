//! Which crate may import which: the layers of the workspace as one table.
//!
//! A new edge is the rarest kind of change. Only normal dependencies count; tests may use anything.

/// A crate and the workspace crates it may import.
pub(crate) const EDGES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("protocol", &["types"]),
    ("broker", &["types"]),
    ("storage", &["types"]),
    ("engine", &["types", "broker", "storage"]),
    ("clustering", &["types", "broker", "storage", "engine"]),
    ("server", &["types", "protocol", "broker", "engine"]),
    ("management", &["types", "broker", "engine"]),
    ("leveret", &["types", "protocol", "broker", "storage", "engine", "clustering", "server", "management"]),
    ("leveretctl", &["types"]),
    ("bench", &[]),
    ("sim", &["types", "broker", "storage", "engine", "clustering"]),
    ("integration-tests", &[]),
    ("xtask", &[]),
];

/// A crate and what it must do without: the pure ones have no runtime, no locks, no clock, no chance.
pub(crate) const BANS: &[(&str, &[&str])] = &[
    ("types", IMPURE),
    ("protocol", IMPURE),
    ("broker", IMPURE),
    ("sim", IMPURE),
    ("bench", &["lapin", "amq-protocol"]),
];

const IMPURE: &[&str] = &[
    "tokio",
    "tokio-util",
    "futures",
    "async-trait",
    "socket2",
    "mio",
    "libc",
    "parking_lot",
    "dashmap",
    "arc-swap",
    "crossbeam",
    "rand",
    "getrandom",
    "fastrand",
    "uuid",
    "chrono",
    "time",
    "tracing",
    "log",
];
