//! A channel's machines: what the client holds unsettled, and what the publisher waits for.

mod confirms;
mod unacked;

pub use confirms::{ConfirmReply, Confirms};
pub use unacked::{Held, SettledGroup, Unacked, UnknownTag, group};
