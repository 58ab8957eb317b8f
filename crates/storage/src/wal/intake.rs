//! Where appenders leave entries for the log's thread.
//!
//! Invariant: sequences are given under one lock, in the order of the entries in the queue. Nothing is
//! taken in any more once the log failed or ended.

use super::batch::Pending;
use super::entry::{Entry, Sequence};
use super::signal::Signal;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is to run once a sequence is durable.
pub(super) type Action = Box<dyn FnOnce() + Send>;

/// Shared by appenders and the log's thread.
pub(super) struct Intake {
    queue: Mutex<Queue>,
    /// There is something the thread should look at now.
    attention: AtomicBool,
    pub signal: Signal,
    last: AtomicU64,
    synced: AtomicU64,
    pending_bytes: AtomicU64,
    /// Notified when `synced` grows and when the log ends.
    moved: Condvar,
    lazy: Duration,
    lazy_bytes: usize,
}

#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Pending>,
    lazy_bytes: usize,
    /// When the oldest entry that nobody waits for was left here.
    lazy_since: Option<Instant>,
    urgent: bool,
    actions: BTreeMap<(Sequence, u64), Action>,
    action_count: u64,
    stopping: bool,
    /// Why nothing is taken in any more.
    ended: Option<End>,
}

/// How a log ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// It was stopped and all is durable.
    Stopped,
    /// It failed.
    Failed(String),
}

/// What the log's thread finds to do.
pub(super) struct Found {
    /// Entries or a flush are due: write what was taken.
    pub due: bool,
    pub stopping: bool,
    /// When entries nobody waits for become due.
    pub lazy_due: Option<Instant>,
    /// An action waits for something that is durable already.
    pub action_due: bool,
}

impl Intake {
    pub fn new(last: Sequence, lazy: Duration, lazy_bytes: usize) -> Self {
        Self {
            queue: Mutex::default(),
            attention: AtomicBool::new(false),
            signal: Signal::default(),
            last: AtomicU64::new(last),
            synced: AtomicU64::new(last),
            pending_bytes: AtomicU64::new(0),
            moved: Condvar::new(),
            lazy,
            lazy_bytes,
        }
    }

    pub fn last(&self) -> Sequence {
        self.last.load(Ordering::Acquire)
    }

    pub fn synced(&self) -> Sequence {
        self.synced.load(Ordering::Acquire)
    }

    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Leaves entries; gives the sequence of the last one.
    pub fn push(&self, entries: Vec<Entry>, urgent: bool) -> Sequence {
        let bytes: usize = entries.iter().map(Entry::bytes).sum();
        let count = entries.len() as u64;
        let mut queue = self.queue.lock();
        let last = self.last.load(Ordering::Relaxed) + count;
        self.last.store(last, Ordering::Release);
        if count == 0 || queue.ended.is_some() {
            return last;
        }
        self.pending_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        queue.entries.extend(entries.into_iter().map(|entry| Pending { entry, urgent }));
        if urgent {
            queue.urgent = true;
        } else {
            queue.lazy_bytes += bytes;
            if queue.lazy_since.is_none() {
                queue.lazy_since = Some(Instant::now());
            }
        }
        let due = urgent || queue.lazy_bytes >= self.lazy_bytes;
        drop(queue);
        if due {
            self.call();
        } else {
            // The thread must learn that there is a time limit now.
            self.signal.wake_if_asleep();
        }
        last
    }

    /// Makes the thread look.
    pub fn call(&self) {
        // Sequentially consistent, like all of `attention` and of the signal's state: this thread
        // stores the one and reads the other, the sleeping one does it the other way round, and one
        // of the two must see the other's store.
        self.attention.store(true, Ordering::SeqCst);
        self.signal.wake();
    }

    /// Whether somebody called since the last look.
    pub fn is_called(&self) -> bool {
        self.attention.load(Ordering::SeqCst)
    }

    /// Waits until somebody calls. Only for the log's thread.
    pub fn wait_for_call(&self) {
        self.signal.sleep(None, || self.is_called());
        self.attention.store(false, Ordering::SeqCst);
    }

    /// Has `action` run by the log's thread; on this one if the log was stopped.
    pub fn after(&self, sequence: Sequence, action: Action) {
        let mut queue = self.queue.lock();
        match &queue.ended {
            Some(End::Failed(_)) => return,
            Some(End::Stopped) => {
                drop(queue);
                if sequence <= self.synced() {
                    action();
                }
                return;
            }
            None => {}
        }
        let number = queue.action_count;
        queue.action_count += 1;
        queue.actions.insert((sequence, number), action);
        drop(queue);
        if sequence <= self.synced() {
            self.call();
        }
    }

    /// Waits until all that was left so far is durable.
    pub fn flush(&self) -> Result<(), String> {
        let mut queue = self.queue.lock();
        let target = self.last();
        while self.synced() < target {
            match &queue.ended {
                Some(End::Failed(why)) => return Err(why.clone()),
                Some(End::Stopped) => return Err("the log was stopped before".to_owned()),
                None => {}
            }
            queue.urgent = true;
            self.call();
            self.moved.wait(&mut queue);
        }
        Ok(())
    }

    /// Asks the thread to write all and end.
    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.call();
    }

    pub fn is_stopping(&self) -> bool {
        self.queue.lock().stopping
    }

    /// Looks for work. If some is due, or if `anyway`, all entries are moved to `taken`.
    pub fn look(&self, taken: &mut VecDeque<Pending>, anyway: bool) -> Found {
        // Before the look: whoever calls after it finds the flag taken back and sets it again.
        self.attention.store(false, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        let mut lazy_due = queue.lazy_since.map(|since| since + self.lazy);
        let late = lazy_due.is_some_and(|due| due <= Instant::now());
        let due = queue.urgent || queue.stopping || late || queue.lazy_bytes >= self.lazy_bytes;
        if due || anyway {
            taken.append(&mut queue.entries);
            (queue.urgent, queue.lazy_bytes, queue.lazy_since, lazy_due) = (false, 0, None, None);
        }
        let action_due = self.first_action(&queue).is_some();
        Found { due, stopping: queue.stopping, lazy_due, action_due }
    }

    /// Whether the thread must not sleep: somebody called, or left what is due or has a time limit.
    pub fn has_work(&self, knows_lazy: bool) -> bool {
        let queue = self.queue.lock();
        let due = queue.urgent || queue.stopping || queue.lazy_bytes >= self.lazy_bytes;
        self.is_called() || due || (queue.lazy_since.is_some() && !knows_lazy)
    }

    fn first_action(&self, queue: &MutexGuard<'_, Queue>) -> Option<(Sequence, u64)> {
        let first = queue.actions.first_key_value().map(|(key, _)| *key)?;
        (first.0 <= self.synced()).then_some(first)
    }

    /// All up to `sequence`, of `bytes`, is durable. Gives the actions that waited for it.
    pub fn advance(&self, sequence: Sequence, bytes: u64) -> Vec<Action> {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        self.synced.store(sequence, Ordering::Release);
        let mut actions = Vec::new();
        while let Some(key) = self.first_action(&queue) {
            actions.extend(queue.actions.remove(&key));
        }
        drop(queue);
        self.moved.notify_all();
        actions
    }

    /// Takes in nothing any more. Gives how the log ended, which is as it ended first.
    pub fn end(&self, end: End) -> End {
        let mut queue = self.queue.lock();
        let end = queue.ended.get_or_insert(end).clone();
        let (entries, actions) = (std::mem::take(&mut queue.entries), std::mem::take(&mut queue.actions));
        drop(queue);
        // Outside of the lock: dropping them may run anything.
        drop((entries, actions));
        self.moved.notify_all();
        end
    }

    pub fn ended(&self) -> Option<End> {
        self.queue.lock().ended.clone()
    }
}
