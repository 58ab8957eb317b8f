//! The way to queues whose home is another node: publishes, settlements and questions go there, deliveries,
//! confirms and answers come back, over one link for each direction of "client of your queues".
//!
//! Invariant: what is asked of one queue reaches it in the order it was asked. Nothing is confirmed here: a
//! publish counts as accepted when its home says so, and as refused when the link ends before. What was
//! delivered over a link that ended goes back to its queue.

mod answer;
mod away;
mod away_consumer;
mod drift;
mod frame;
mod guest;
mod guest_outlet;
mod home;
mod homes;
mod kept;
mod mirror_frame;
mod reply;
#[cfg(test)]
mod tests;

pub use guest::Guest;
pub use home::HomeLink;
pub use homes::{ForwardHomes, Placement};

/// A way out to another node: frames in order, as one link carries them.
pub trait Way: Send + Sync {
    /// Appends a frame that `fill` writes; false when the link has ended. Never waits.
    fn put(&self, fill: &mut dyn FnMut(&mut Vec<u8>)) -> bool;

    /// Sends what was put.
    fn flush(&self);

    /// Bytes that were put and have not left.
    fn buffered_bytes(&self) -> usize;

    /// Ends the link.
    fn close(&self);
}
