//! A queue's consumers: who may get the next message.
//!
//! Invariant: ordered by priority, then by registration. With a single active consumer only that one is
//! served, and it stays the one until it leaves; an exclusive consumer is alone. Volatile: nothing here is logged.

use types::ConsumerId;

/// A registered consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its id on this node.
    pub id: ConsumerId,
    /// `x-priority`; higher is served first.
    pub priority: i64,
    /// No acknowledgements: a message is settled when it is delivered.
    pub no_ack: bool,
    /// Nobody else may consume.
    pub exclusive: bool,
    /// Messages it may hold unsettled; 0 = any number.
    pub prefetch: u32,
    /// Messages it holds unsettled.
    pub in_flight: u32,
    /// Its connection takes no more until it says so.
    pub blocked: bool,
}

impl Consumer {
    /// Messages it may get now.
    pub(super) fn credit(&self) -> u64 {
        match (self.blocked, self.no_ack || self.prefetch == 0) {
            (true, _) => 0,
            (false, true) => u64::MAX,
            (false, false) => u64::from(self.prefetch.saturating_sub(self.in_flight)),
        }
    }
}

/// Why a consumer was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerError {
    /// Another consumer is exclusive, or this one wants to be and is not alone.
    InExclusiveUse,
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    list: Vec<Consumer>,
    /// The single active consumer: stays it until it leaves, whoever else comes.
    active: Option<ConsumerId>,
    /// Whose turn it is: position of the next consumer within the list.
    turn: usize,
}

impl Consumers {
    pub(super) fn add(&mut self, consumer: Consumer, single_active: bool) -> Result<(), ConsumerError> {
        let taken = self.list.iter().any(|other| other.exclusive);
        if taken || (consumer.exclusive && (single_active || !self.list.is_empty())) {
            return Err(ConsumerError::InExclusiveUse);
        }
        let at = self.list.partition_point(|other| other.priority >= consumer.priority);
        self.active = self.active.or(Some(consumer.id));
        self.list.insert(at, consumer);
        if at < self.turn {
            self.turn += 1;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> bool {
        let Some(at) = self.list.iter().position(|consumer| consumer.id == id) else { return false };
        self.list.remove(at);
        if at < self.turn {
            self.turn -= 1;
        }
        if self.active == Some(id) {
            self.active = self.list.first().map(|first| first.id);
        }
        true
    }

    /// The single active consumer.
    pub(super) fn active(&self) -> Option<ConsumerId> {
        self.active
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.list.iter()
    }

    pub(super) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.list.iter_mut().find(|consumer| consumer.id == id)
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.active = None;
        self.turn = 0;
    }

    /// Those who are served next with their credit, beginning with whose turn it is: all with credit
    /// of the highest priority that has any.
    pub(super) fn eligible(&self, single_active: bool) -> Vec<Eligible> {
        if single_active {
            let active = self.list.iter().find(|consumer| Some(consumer.id) == self.active);
            return active.filter(|active| active.credit() > 0).map(entry).into_iter().collect();
        }
        let Some(first) = self.list.iter().position(|consumer| consumer.credit() > 0) else {
            return Vec::new();
        };
        let priority = self.list[first].priority;
        let group = |consumer: &&Consumer| consumer.priority == priority && consumer.credit() > 0;
        let (early, late) = self.list.split_at(self.turn.min(self.list.len()));
        late.iter().filter(group).chain(early.iter().filter(group)).map(entry).collect()
    }

    /// The next turn begins behind `id`.
    pub(super) fn served(&mut self, id: ConsumerId) {
        if let Some(at) = self.list.iter().position(|consumer| consumer.id == id) {
            self.turn = at + 1;
        }
    }
}

/// A consumer that can take messages now.
#[derive(Clone, Copy)]
pub(super) struct Eligible {
    pub(super) id: ConsumerId,
    pub(super) no_ack: bool,
    pub(super) credit: u64,
}

fn entry(consumer: &Consumer) -> Eligible {
    Eligible { id: consumer.id, no_ack: consumer.no_ack, credit: consumer.credit() }
}
