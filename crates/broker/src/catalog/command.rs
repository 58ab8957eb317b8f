//! What can be asked of the catalog, what it answers, and what follows for the rest of the broker.

use super::binding::Binding;
use super::copies::CopyChange;
use super::exchange::Exchange;
use super::node::Node;
use super::queue::Queue;
use crate::password::PasswordHash;
use crate::queue::QueueKind;
use std::sync::Arc;
use types::{ConnectionId, ExchangeName, FieldTable, NodeId, QueueId, QueueName, UserName, VhostName};

/// A change of the catalog. Names lose their carriage returns and line feeds.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the fields are those of the AMQP method or of the HTTP request
pub enum Command {
    /// Adds a vhost with the predeclared exchanges, or overwrites what describes it.
    AddVhost {
        name: VhostName,
        description: String,
        tags: Vec<String>,
        default_queue_type: Option<QueueKind>,
    },
    DeleteVhost {
        name: VhostName,
    },
    SetTracing {
        vhost: VhostName,
        on: bool,
    },
    /// `limit` is `max-connections` or `max-queues`; a negative value means none.
    SetVhostLimit {
        vhost: VhostName,
        limit: String,
        value: i64,
    },
    /// All limits when `limit` is None.
    ClearVhostLimit {
        vhost: VhostName,
        limit: Option<String>,
    },
    /// Adds or overwrites a user; limits stay.
    PutUser {
        name: UserName,
        password_hash: Option<PasswordHash>,
        tags: Vec<String>,
    },
    DeleteUser {
        name: UserName,
    },
    /// `limit` is `max-connections` or `max-channels`; a negative value means none.
    SetUserLimit {
        user: UserName,
        limit: String,
        value: i64,
    },
    /// All limits when `limit` is None.
    ClearUserLimit {
        user: UserName,
        limit: Option<String>,
    },
    SetPermission {
        vhost: VhostName,
        user: UserName,
        configure: String,
        write: String,
        read: String,
    },
    ClearPermission {
        vhost: VhostName,
        user: UserName,
    },
    SetTopicPermission {
        vhost: VhostName,
        user: UserName,
        exchange: ExchangeName,
        write: String,
        read: String,
    },
    /// All exchanges when `exchange` is None.
    ClearTopicPermission {
        vhost: VhostName,
        user: UserName,
        exchange: Option<ExchangeName>,
    },
    SetPolicy {
        vhost: VhostName,
        name: String,
        pattern: String,
        apply_to: String,
        priority: i64,
        definition: FieldTable,
        operator: bool,
    },
    ClearPolicy {
        vhost: VhostName,
        name: String,
        operator: bool,
    },
    /// `value` is JSON text.
    SetParameter {
        vhost: VhostName,
        component: String,
        name: String,
        value: String,
    },
    ClearParameter {
        vhost: VhostName,
        component: String,
        name: String,
    },
    SetGlobalParameter {
        name: String,
        value: String,
    },
    ClearGlobalParameter {
        name: String,
    },
    DeclareExchange {
        vhost: VhostName,
        name: ExchangeName,
        kind: String,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: FieldTable,
        user: UserName,
    },
    DeleteExchange {
        vhost: VhostName,
        name: ExchangeName,
        if_unused: bool,
    },
    DeclareQueue {
        vhost: VhostName,
        name: QueueName,
        /// The client left the name to the server, so `amq.gen-...` is allowed.
        server_named: bool,
        durable: bool,
        auto_delete: bool,
        exclusive: bool,
        connection: ConnectionId,
        arguments: FieldTable,
        user: UserName,
    },
    /// With an `id`, deletes only if the name still means that queue.
    DeleteQueue {
        vhost: VhostName,
        name: QueueName,
        id: Option<QueueId>,
    },
    /// Deletes every exclusive queue of a lost connection.
    DeleteExclusive {
        connection: ConnectionId,
    },
    Bind {
        vhost: VhostName,
        binding: Binding,
    },
    Unbind {
        vhost: VhostName,
        binding: Binding,
    },
    /// The node starts again: what does not survive that goes.
    Restart,
    /// A declare of a queue or an exchange, with its home if it is new.
    DeclareAt {
        home: NodeId,
        command: Box<Command>,
    },
    /// The first node of a cluster takes everything that is declared as its own.
    FormCluster {
        cluster: u128,
        node: Node,
    },
    /// A node joins, or has started again or elsewhere.
    PutNode {
        node: Node,
    },
    /// A node does not answer any more.
    NodeLost {
        id: NodeId,
        boot: u64,
    },
    /// A node will never come back.
    ForgetNode {
        id: NodeId,
    },
    /// Steps of queues' copies; those that do not fit any more are passed over.
    ChangeCopies {
        changes: Vec<CopyChange>,
    },
}

/// What an applied command came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// `changed` is false when everything was already so.
    Done {
        /// Whether anything is different now.
        changed: bool,
    },
    /// The queue that was declared or found.
    Queue {
        /// It.
        queue: Arc<Queue>,
        /// Whether it is new.
        created: bool,
    },
    /// The exchange was declared or found.
    Exchange {
        /// Whether it is new.
        created: bool,
    },
}

impl Outcome {
    /// Whether the command changed the catalog.
    pub fn changed(&self) -> bool {
        match self {
            Outcome::Done { changed } => *changed,
            Outcome::Queue { created, .. } | Outcome::Exchange { created } => *created,
        }
    }
}

/// A fact about the catalog that the rest of the broker acts on, in the order things happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A new vhost; its predeclared exchanges are not told one by one.
    VhostAdded(VhostName),
    /// A vhost is gone, after what was in it.
    VhostDeleted(VhostName),
    /// A new queue.
    QueueDeclared(Arc<Queue>),
    /// A queue whose policy, and with it perhaps its configuration, is another one.
    QueueConfigured(Arc<Queue>),
    /// A queue is gone.
    QueueDeleted(Arc<Queue>),
    /// A new exchange.
    ExchangeDeclared(Arc<Exchange>),
    /// An exchange is gone.
    ExchangeDeleted(Arc<Exchange>),
    /// A new binding.
    Bound {
        /// Where.
        vhost: VhostName,
        /// It.
        binding: Arc<Binding>,
    },
    /// A binding is gone, by itself or with one of its ends.
    Unbound {
        /// Where.
        vhost: VhostName,
        /// It.
        binding: Arc<Binding>,
    },
    /// A queue has another home, and other copies if it is mirrored; `from` is 0 when it had none.
    QueueMoved {
        /// It, as it is now.
        queue: Arc<Queue>,
        /// Where it was.
        from: NodeId,
    },
    /// A queue has other copies, or another epoch, and the same home.
    CopiesChanged(Arc<Queue>),
    /// Nobody in sync was left, and a mirror that was not became the home, as the queue's policy has it: messages may
    /// be lost. The move is told before.
    UnsyncedPromoted(Arc<Queue>),
    /// A node is new, was lost or is back.
    NodeChanged(Arc<Node>),
    /// A node does not belong to the cluster any more.
    NodeForgotten(Arc<Node>),
    /// The firehose of a vhost is on or off.
    TracingChanged(VhostName),
    /// A user is new or another one: password, tags or limits.
    UserChanged(UserName),
    /// A user is gone; connections of this user are to be closed.
    UserDeleted(UserName),
    /// What the user may do in the vhost is different.
    PermissionsChanged {
        /// Where.
        vhost: VhostName,
        /// Who.
        user: UserName,
    },
}
