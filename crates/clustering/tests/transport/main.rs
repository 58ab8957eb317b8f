//! The transport between nodes, over real sockets of this machine.

mod by_hand;
mod certificates;
mod links;
mod log;
mod mesh;
mod node;
mod proxy;
mod strangers;
mod tls;
mod trouble;
