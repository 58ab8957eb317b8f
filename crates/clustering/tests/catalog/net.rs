//! Ways between nodes of one process that can be cut, in both directions or one, and made slow.

use bytes::Bytes;
use clustering::catalog::{Call, CallError, CatalogGroup, Rpc};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use types::NodeId;

#[derive(Default)]
struct State {
    groups: HashMap<u64, Weak<CatalogGroup>>,
    /// Links that are closed: calls fail at once.
    down: HashSet<(u64, u64)>,
    /// What is said from the one to the other is lost.
    lost: HashSet<(u64, u64)>,
    delay: Duration,
    /// Messages by kind.
    counts: HashMap<u8, u64>,
}

/// All ways.
#[derive(Clone, Default)]
pub struct Net {
    state: Arc<Mutex<State>>,
}

impl Net {
    /// What a node sends with.
    pub fn from(&self, node: u64) -> Arc<dyn Rpc> {
        Arc::new(Sender { net: self.clone(), from: node })
    }

    pub fn set(&self, node: u64, group: &Arc<CatalogGroup>) {
        self.state.lock().unwrap().groups.insert(node, Arc::downgrade(group));
    }

    pub fn set_delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// Closes the links between two sets of nodes.
    pub fn split(&self, one: &[u64], other: &[u64]) {
        let mut state = self.state.lock().unwrap();
        for a in one {
            for b in other {
                state.down.insert((*a, *b));
                state.down.insert((*b, *a));
            }
        }
    }

    /// Loses what is said from one node to another, without anybody being told.
    pub fn lose(&self, from: u64, to: u64) {
        self.state.lock().unwrap().lost.insert((from, to));
    }

    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.down.clear();
        state.lost.clear();
    }

    pub fn count(&self, kind: u8) -> u64 {
        self.state.lock().unwrap().counts.get(&kind).copied().unwrap_or(0)
    }

    fn is_lost(&self, from: u64, to: u64) -> bool {
        self.state.lock().unwrap().lost.contains(&(from, to))
    }

    fn connect(&self, from: u64, to: u64, kind: u8) -> Result<(Arc<CatalogGroup>, Duration), CallError> {
        let mut state = self.state.lock().unwrap();
        *state.counts.entry(kind).or_default() += 1;
        if state.down.contains(&(from, to)) {
            return Err(CallError::NotConnected);
        }
        let group = state.groups.get(&to).and_then(Weak::upgrade).ok_or(CallError::NotConnected)?;
        Ok((group, state.delay))
    }
}

struct Sender {
    net: Net,
    from: u64,
}

impl Sender {
    async fn deliver(&self, to: u64, kind: u8, body: Vec<u8>) -> Result<Bytes, CallError> {
        let (group, delay) = self.net.connect(self.from, to, kind)?;
        if self.net.is_lost(self.from, to) {
            return std::future::pending().await;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let served = group.handle(NodeId(self.from), kind, body.into());
        drop(group);
        let answer = served.await;
        if self.net.is_lost(to, self.from) {
            return std::future::pending().await;
        }
        answer.map(Bytes::from).map_err(CallError::Refused)
    }
}

impl Rpc for Sender {
    fn call(&self, node: NodeId, kind: u8, body: Vec<u8>, timeout: Duration) -> Call<'_> {
        Box::pin(async move {
            match tokio::time::timeout(timeout, self.deliver(node.0, kind, body)).await {
                Ok(answer) => answer,
                Err(_) => Err(CallError::TimedOut),
            }
        })
    }
}
