//! TCP between nodes: links that are sealed with the cluster's secret or by mutual TLS, calls over them, and
//! the mesh that keeps them up.
//!
//! Invariant: whoever is not a node of the cluster gets no further than a failed handshake; load on data
//! links never looks like death, since signs of life have a link and a thread of their own.

mod accept;
mod calls;
mod config;
mod control;
mod data;
mod dial;
mod drain;
mod fabric;
mod handshake;
mod hello;
mod inflow;
mod intake;
mod link;
mod mesh;
mod peer;
mod reader;
mod record;
mod refusal;
mod threads;
mod wire;
mod writer;

pub use calls::CallError;
pub use config::{Me, Tls, TransportConfig, Water};
pub use control::{BoxFuture, Service};
pub use data::{FrameSink, MeshSink};
pub use handshake::Admit;
pub use hello::LinkClass;
pub use link::Link;
pub use mesh::{Mesh, ProbeError};
pub use reader::LinkReader;
pub use refusal::{HandshakeError, Refusal};
pub use writer::LinkWriter;
