//! What clients do during a play: declare, delete, publish, come and go.
//!
//! Invariant: a message counts as confirmed only when it is on the disk of its queue's home.

use crate::invariants::Seen;
use crate::machine::Place;
use crate::world::{Node, World};
use broker::catalog::{Command, Queue};
use clustering::node::{Locator, Place as Placing};
use std::rc::Rc;
use std::sync::Arc;
use types::{ConnectionId, FieldTable, NodeId};

/// Names that queues have.
const NAMES: usize = 12;

/// Clients of one machine, for as long as `lasts` says.
pub async fn clients(world: Rc<World>, place: Place, lasts: impl Fn() -> bool) {
    while lasts() {
        let pause = world.dice.ms(20, 400);
        world.schedule.sleep(pause).await;
        let process = world.machine(place, |machine| {
            let process = machine.process.as_ref()?;
            (process.is_serving && !process.is_paused).then_some(process.id)
        });
        let Some(Some(process)) = process else { continue };
        let node = Node { world: world.clone(), place, process };
        // Each in a task of the node's: it ends with the node, and a slow one holds nobody up.
        world.schedule.spawn(process, async move {
            let _ = node.client().await;
        });
    }
}

impl Node {
    async fn client(&self) -> Option<()> {
        match self.world.dice.below(10) {
            0..=2 => self.declare().await,
            3 => self.delete().await,
            4 => self.disconnect().await,
            _ => self.publish().await,
        }
    }

    async fn declare(&self) -> Option<()> {
        let dice = &self.world.dice;
        let (durable, exclusive) = (dice.permille(600), dice.permille(200));
        let connection = self.with(|process, _| {
            process.connections += u64::from(exclusive);
            ConnectionId((process.boot << 16) | process.connections)
        })?;
        let declare = Command::DeclareQueue {
            vhost: "/".into(),
            name: format!("q{}", dice.below(NAMES)).as_str().into(),
            server_named: false,
            durable,
            auto_delete: false,
            exclusive,
            connection,
            arguments: FieldTable::new(),
            user: "guest".into(),
        };
        let locator = [Locator::ClientLocal, Locator::Balanced, Locator::Random];
        let random = dice.any();
        let command = self.with(|process, disk| {
            let linked =
                process.links.keys().copied().filter(|node| process.catalog.nodes.contains_key(node));
            let placing = Placing {
                me: disk.node,
                default: dice.one(&locator).copied().unwrap_or_default(),
                reachable: linked.chain([disk.node]).collect(),
                random,
            };
            placing.command(declare, &process.catalog)
        })?;
        // A refusal is an answer too, and so is "not known".
        let _ = self.propose(command).await?;
        Some(())
    }

    fn any_queue(&self) -> Option<Arc<Queue>> {
        let queues: Vec<Arc<Queue>> = self.with(|process, _| process.catalog.queues().cloned().collect())?;
        self.world.dice.one(&queues).cloned()
    }

    async fn delete(&self) -> Option<()> {
        let Some(queue) = self.any_queue() else { return Some(()) };
        let command =
            Command::DeleteQueue { vhost: "/".into(), name: queue.name.clone(), id: Some(queue.id) };
        let _ = self.propose(command).await?;
        Some(())
    }

    async fn disconnect(&self) -> Option<()> {
        let (boot, last) = self.with(|process, _| (process.boot, process.connections))?;
        let number = 1 + self.world.dice.any() % last.max(1);
        let connection = ConnectionId((boot << 16) | number);
        let _ = self.propose(Command::DeleteExclusive { connection }).await?;
        Some(())
    }

    async fn publish(&self) -> Option<()> {
        let Some(queue) = self.any_queue().filter(|queue| queue.durable) else { return Some(()) };
        let (me, is_linked) =
            self.with(|process, disk| (disk.node, process.links.contains_key(&queue.home)))?;
        if queue.home != me && !is_linked {
            return Some(());
        }
        self.sleep(0, 3).await;
        let message = self.world.number();
        let Some(home) = self.world.awake(queue.home) else { return Some(()) };
        let is_stored = self.world.machine(home, |machine| {
            let hosts = machine.process.as_ref().is_some_and(|home| home.hosted.contains_key(&queue.id));
            let log = machine.disk.messages.get_mut(&queue.id).filter(|_| hosts);
            log.is_some_and(|log| log.insert(message))
        });
        if is_stored == Some(true) {
            self.world.show(&Seen::Confirmed { queue: queue.id, message, home: queue.home });
        }
        Some(())
    }
}

impl World {
    /// Has a node forget one that does not run, as an operator does.
    pub fn forget(self: &Rc<World>, by: Place, gone: NodeId) {
        self.at_process(by, move |node| {
            let (schedule, process) = (node.world.schedule.clone(), node.process);
            schedule.spawn(process, async move {
                if !node.answers(gone) {
                    // Taking it out of the group is seen to by the leader.
                    let _ = node.propose(Command::ForgetNode { id: gone }).await;
                }
            });
        });
    }
}
