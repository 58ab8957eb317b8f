//! The queue: a pure state machine over a log.
//!
//! The logged part (`log_state`: which messages live, how often they were returned) changes by
//! commands only; consumers, credit and what is checked out are volatile and never influence it.
//! Time comes in as data, what must happen outside goes out as data.

mod checkout;
pub mod config;
mod consumers;
mod expiry;
mod follow;
mod gate;
mod handed;
mod index_set;
mod level;
mod log_state;
mod machine;
mod page_job;
mod paging;
mod picks;
mod place;
mod reach;
mod ready;
mod record;
mod recovery;
mod segment;
mod stored;
mod stored_entry;
mod tail;

pub use checkout::{Deliveries, Delivery, Offer};
pub use config::{Overflow, QueueConfig, QueueKind};
pub use consumers::{Consumer, ConsumerError};
pub use follow::Followed;
pub use handed::{Handed, HandedRun};
pub use index_set::{IndexSet, Range};
pub use level::{Fill, FillError, Missing, NextFill, Reset};
pub use log_state::{LogCommand, LogState};
pub use machine::{QueueCounts, QueueMachine, QueueTotals};
pub use page_job::PageJob;
pub use paging::{BLOCK_BYTES, PageOut};
pub use picks::Picks;
pub use reach::{Reach, reach};
pub use record::Encoded;
pub use recovery::RecoveredQueue;
pub use stored::BlockAt;
pub use stored_entry::StoredEntry;
