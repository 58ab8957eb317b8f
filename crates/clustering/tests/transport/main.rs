//! The transport between nodes, over real sockets of this machine.

mod mesh;
mod node;
