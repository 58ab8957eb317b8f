//! Tests of a running broker from outside, with lapin and over raw sockets.
//!
//! [`with_broker`] starts the real binary as a child process, gives it to a test and looks at the end
//! whether it is still well; [`Client`] is lapin with the words tests need, [`Peer`] a bare socket.

mod backlog;
mod binary;
mod client;
mod cluster;
mod frame;
mod history;
mod hosts;
mod http;
mod mirrors;
mod process;
mod test_dir;
mod wait;
mod waiting;
mod wire;

pub use backlog::{number_of, numbered};
pub use binary::broker_binary;
pub use client::{
    Channel, Client, Deliveries, arguments, bodies_of, body, header, persistent, refusal, text,
};
pub use cluster::{Cluster, NOTICE, SECRET, with_cluster, with_cluster_of, with_hosts};
pub use frame::{Frame, FrameReader, Payload, frame, open_channel, publish_frames};
pub use history::{History, Outcome};
pub use hosts::Hosts;
pub use process::{Broker, with_broker, with_broker_args, with_restarts};
pub use test_dir::TestDir;
pub use wait::{TEST_TIME_LIMIT, WAIT, soon, wait_for};
pub use waiting::Waiting;
pub use wire::{Close, Peer};
