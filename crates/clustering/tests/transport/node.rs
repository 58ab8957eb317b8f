//! Nodes for the tests: a mesh whose sink writes down what it is told, and a service that answers.

use bytes::Bytes;
use clustering::identity::{ClusterId, NodeIdentity, WIRE_VERSION};
use clustering::secret::ClusterSecret;
use clustering::transport::{BoxFuture, FrameSink, LinkWriter, Me, Mesh, MeshSink, Service, TransportConfig};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use types::NodeId;

/// Nothing in these tests takes longer unless it is broken.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Comes back when `holds`, or fails with `what`.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a node was told.
#[derive(Default)]
pub struct Told {
    pub events: Mutex<Vec<String>>,
    pub frames: Mutex<Vec<(String, Bytes)>>,
    pub writers: Mutex<Vec<(String, bool, LinkWriter)>>,
    /// A frame that begins with "wait" is handled as long as this is locked.
    pub gate: Mutex<()>,
}

impl Told {
    fn add(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    pub fn count(&self, event: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|told| told.starts_with(event)).count()
    }
}

struct Sink(Arc<Told>);

struct Frames {
    told: Arc<Told>,
    peer: String,
    dialled: bool,
}

impl MeshSink for Sink {
    fn control_up(&self, peer: &NodeIdentity) {
        self.0.add(format!("up {} {}", peer.name, peer.boot));
    }

    fn control_down(&self, peer: &NodeIdentity, why: &str) {
        self.0.add(format!("down {} {}: {why}", peer.name, peer.boot));
    }

    fn data_up(&self, peer: &NodeIdentity, dialled: bool, writer: LinkWriter) -> Box<dyn FrameSink> {
        self.0.add(format!("data up {} {dialled}", peer.name));
        self.0.writers.lock().unwrap().push((peer.name.clone(), dialled, writer));
        Box::new(Frames { told: self.0.clone(), peer: peer.name.clone(), dialled })
    }
}

impl FrameSink for Frames {
    fn frame(&mut self, frame: Bytes) -> Result<(), String> {
        if frame.starts_with(b"nonsense") {
            return Err("a frame of nonsense".to_owned());
        }
        if frame.starts_with(b"wait") {
            drop(self.told.gate.lock().unwrap());
        }
        self.told.frames.lock().unwrap().push((self.peer.clone(), frame));
        Ok(())
    }

    fn batch_end(&mut self) {}

    fn closed(&mut self, why: &str) {
        self.told.add(format!("data down {} {}: {why}", self.peer, self.dialled));
    }
}

/// Kinds of call that the nodes answer.
pub const ECHO: u8 = 1;
pub const SLOW: u8 = 2;
pub const REFUSE: u8 = 3;
pub const PANIC: u8 = 4;
pub const WHO: u8 = 5;

struct Answers(Arc<Told>);

impl Service for Answers {
    fn call(&self, from: NodeId, kind: u8, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        self.0.add(format!("call {kind} from {from}"));
        Box::pin(async move {
            match kind {
                ECHO => Ok(body.to_vec()),
                SLOW => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    Ok(Vec::new())
                }
                REFUSE => Err(format!("no {}", body.len())),
                PANIC => panic!("on purpose"),
                WHO => Ok(from.0.to_be_bytes().to_vec()),
                _ => Err("no such call".to_owned()),
            }
        })
    }
}

/// A running node.
pub struct Node {
    pub identity: NodeIdentity,
    pub mesh: Arc<Mesh>,
    pub told: Arc<Told>,
    pub addr: SocketAddr,
}

pub fn secret() -> ClusterSecret {
    ClusterSecret::new("correct horse battery").unwrap()
}

pub fn identity(id: u64, boot: u64) -> NodeIdentity {
    NodeIdentity {
        id,
        name: format!("rabbit@{id}"),
        cluster: ClusterId(77),
        boot,
        wire: WIRE_VERSION,
        version: "0.1.0".to_owned(),
        addr: SocketAddr::from(([127, 0, 0, 1], 1)),
    }
}

impl Node {
    pub fn start(identity: NodeIdentity) -> Node {
        Node::with(identity, TransportConfig::new(secret()))
    }

    pub fn with(mut identity: NodeIdentity, config: TransportConfig) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        identity.addr = addr;
        let told = Arc::new(Told::default());
        let says = identity.clone();
        let me: Me = Arc::new(move || says.clone());
        let sink = Arc::new(Sink(told.clone()));
        let mesh = Mesh::start(config, me, listener, Arc::new(Answers(told.clone())), sink).unwrap();
        Node { identity, mesh, told, addr }
    }

    pub fn id(&self) -> NodeId {
        self.identity.node()
    }

    /// Both know each other.
    pub fn meet(&self, other: &Node) {
        self.mesh.set_peer(other.id(), other.addr);
        other.mesh.set_peer(self.id(), self.addr);
    }

    pub fn is_linked(&self, other: &Node) -> bool {
        let linked = |a: &Node, b: &Node| {
            a.mesh.is_connected(b.id()) && a.mesh.data_link(b.id()).is_some_and(|link| !link.is_closed())
        };
        linked(self, other) && linked(other, self)
    }
}

/// Runs a future on this thread.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(3 * LIMIT, work).await.expect("it takes too long") })
}
