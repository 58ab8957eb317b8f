//! Time and tasks: an executor whose clock is a number.
//!
//! Invariant: what happens next depends on nothing but what was scheduled: the earliest first, of equals the one
//! scheduled first. A task of a process that is paused waits; one of a process that has ended is dropped.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A start of a node; 0: nobody's.
pub type ProcessId = u64;

/// Something to be done at a time.
pub type Action = Box<dyn FnOnce()>;

struct Due {
    at: Duration,
    number: u64,
    action: Action,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

struct Task {
    owner: ProcessId,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

#[derive(Default)]
struct State {
    now: Duration,
    number: u64,
    due: BinaryHeap<Reverse<Due>>,
    tasks: BTreeMap<u64, Task>,
    ended: BTreeSet<ProcessId>,
    paused: BTreeMap<ProcessId, Vec<u64>>,
}

type Woken = Arc<Mutex<VecDeque<u64>>>;

struct TaskWaker {
    task: u64,
    woken: Woken,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.task);
    }
}

/// The executor.
#[derive(Default)]
pub struct Schedule {
    state: RefCell<State>,
    woken: Woken,
}

impl Schedule {
    /// The time since the play began.
    pub fn now(&self) -> Duration {
        self.state.borrow().now
    }

    /// Does something later.
    pub fn after(&self, pause: Duration, action: impl FnOnce() + 'static) {
        let mut state = self.state.borrow_mut();
        state.number += 1;
        let (at, number) = (state.now + pause, state.number);
        state.due.push(Reverse(Due { at, number, action: Box::new(action) }));
    }

    /// Begins a task of a process.
    pub fn spawn(&self, owner: ProcessId, future: impl Future<Output = ()> + 'static) {
        let mut state = self.state.borrow_mut();
        state.number += 1;
        let task = state.number;
        state.tasks.insert(task, Task { owner, future: Box::pin(future) });
        drop(state);
        self.wake(task);
    }

    fn wake(&self, task: u64) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }

    /// A process has ended: its tasks are dropped.
    pub fn end(&self, process: ProcessId) {
        let mut state = self.state.borrow_mut();
        state.ended.insert(process);
        state.paused.remove(&process);
        let tasks = std::mem::take(&mut state.tasks);
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            tasks.into_iter().partition(|(_, task)| task.owner == process);
        state.tasks = kept;
        drop(state);
        drop(gone);
    }

    /// A process stands still.
    pub fn pause(&self, process: ProcessId) {
        self.state.borrow_mut().paused.entry(process).or_default();
    }

    /// A process goes on.
    pub fn resume(&self, process: ProcessId) {
        let held = self.state.borrow_mut().paused.remove(&process);
        held.into_iter().flatten().for_each(|task| self.wake(task));
    }

    /// The next thing happens, unless it is later than `until`; then the time is `until`, and the answer false.
    pub fn step(&self, until: Duration) -> bool {
        let task = self.woken.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(task) = task {
            self.poll(task);
            return true;
        }
        let mut state = self.state.borrow_mut();
        if state.due.peek().is_none_or(|Reverse(due)| due.at > until) {
            state.now = state.now.max(until);
            return false;
        }
        let Some(Reverse(due)) = state.due.pop() else { return false };
        state.now = state.now.max(due.at);
        drop(state);
        (due.action)();
        true
    }

    fn poll(&self, id: u64) {
        let mut state = self.state.borrow_mut();
        let Some(owner) = state.tasks.get(&id).map(|task| task.owner) else { return };
        if let Some(held) = state.paused.get_mut(&owner) {
            held.push(id);
            return;
        }
        let Some(mut task) = state.tasks.remove(&id) else { return };
        drop(state);
        let waker = Waker::from(Arc::new(TaskWaker { task: id, woken: self.woken.clone() }));
        let done = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.state.borrow_mut();
        if !done && !state.ended.contains(&owner) {
            state.tasks.insert(id, task);
            return;
        }
        drop(state);
        drop(task);
    }

    /// Comes back after a pause.
    pub fn sleep(self: &Rc<Self>, pause: Duration) -> Sleep {
        Sleep { schedule: self.clone(), until: self.now() + pause, is_armed: false }
    }
}

/// A pause.
pub struct Sleep {
    schedule: Rc<Schedule>,
    until: Duration,
    is_armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.schedule.now();
        if now >= self.until {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.is_armed, true) {
            let waker = context.waker().clone();
            self.schedule.after(self.until - now, move || waker.wake());
        }
        Poll::Pending
    }
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// Where an answer will be.
pub struct Promise<T>(Rc<RefCell<Slot<T>>>);

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Promise(self.0.clone())
    }
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Promise(Rc::new(RefCell::new(Slot { value: None, waker: None })))
    }
}

impl<T> Promise<T> {
    /// The answer is there; one that came before stays.
    pub fn keep(&self, value: T) {
        let mut slot = self.0.borrow_mut();
        slot.value.get_or_insert(value);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The answer, or None after `limit`.
    pub async fn within(self, limit: Sleep) -> Option<T> {
        let (mut limit, slot) = (limit, self.0);
        std::future::poll_fn(move |context| {
            let mut slot = slot.borrow_mut();
            if let Some(value) = slot.value.take() {
                return Poll::Ready(Some(value));
            }
            if Pin::new(&mut limit).poll(context).is_ready() {
                return Poll::Ready(None);
            }
            slot.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
