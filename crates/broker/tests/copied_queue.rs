//! A queue with three copies, played from a number: turns at the home, frames that come late or never, homes that are
//! lost at any point, copies that start again from their own logs, and levelling.
//!
//! Invariant: what was committed and no client has settled is at every later home, under its index; after levelling all
//! copies are the same.

use broker::message::{Chunk, ChunkBuilder, DeathReason, RecordHead};
use broker::queue::{
    BlockAt, Encoded, Fill, Followed, IndexSet, LogCommand, Missing, NextFill, PageOut, Picks, QueueConfig,
    QueueMachine, Reach, RecoveredQueue, reach,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const ROUTE: &[u8] = b"\0\x01q";

/// Chance from one number (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count.max(1)
    }
}

/// A turn on its way to the followers.
#[derive(Clone)]
struct Turn {
    position: u64,
    next: u64,
    records: Vec<Encoded>,
    late: Vec<Encoded>,
}

/// What is on its way to a follower, in order.
enum Frame {
    Turn(Turn),
    Commit(u64),
    Fill(Fill),
}

/// A follower that is not in sync and is made level while turns go on.
struct Joining {
    at: usize,
    missing: Missing,
    is_filled: bool,
}

/// One node's copy, with what is on its disk.
struct Copy {
    machine: QueueMachine,
    log: Vec<Encoded>,
    /// So many records of the log survive a power cut.
    synced: usize,
    /// Blocks that are over once so many records are on disk.
    freed: Vec<(usize, BlockAt)>,
    held: Vec<(u64, LogCommand)>,
    inbox: VecDeque<Frame>,
    /// Turns up to here have come.
    has: u64,
}

fn config() -> QueueConfig {
    let max_priority = Some(3);
    QueueConfig { dead_letter_exchange: Some("dlx".into()), max_priority, ..QueueConfig::default() }
}

struct Play {
    dice: Dice,
    copies: Vec<Copy>,
    home: usize,
    joining: Option<Joining>,
    epoch: u64,
    turns: VecDeque<Turn>,
    position: u64,
    committed: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
    /// Bodies by index, as they were appended in the present line of epochs.
    bodies: BTreeMap<u64, Vec<u8>>,
    files: u64,
    /// Everything below is committed.
    safe: u64,
    /// What clients have settled, or the queue itself has let go of.
    over: BTreeSet<u64>,
    taken: Vec<u64>,
    number: u64,
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut play = Play {
            dice: Dice(seed),
            copies: (0..3).map(|_| Copy::new()).collect(),
            home: 0,
            joining: None,
            epoch: 0,
            turns: VecDeque::new(),
            position: 0,
            committed: 0,
            blocks: BTreeMap::new(),
            bodies: BTreeMap::new(),
            files: 0,
            safe: 0,
            over: BTreeSet::new(),
            taken: Vec::new(),
            number: 0,
        };
        play.copies.iter_mut().for_each(|copy| copy.machine.follow(0));
        play.lead(0);
        play
    }

    fn home(&mut self) -> &mut QueueMachine {
        &mut self.copies[self.home].machine
    }

    fn publish(&mut self) {
        let count = 1 + self.dice.below(4);
        let mut builder = ChunkBuilder::default();
        let (mut bytes, first) = (0, self.home().state().next);
        for at in 0..count {
            self.number += 1;
            let body = format!("message {}", self.number).into_bytes();
            let priority = if self.dice.below(4) == 0 { self.dice.below(4) as u8 } else { 0 };
            let persistent = self.dice.below(3) > 0;
            let head = RecordHead { persistent, priority, ..RecordHead::default() };
            builder.push(head, &Arc::from(ROUTE), &[0, 0], &body);
            bytes += body.len() as u64;
            self.bodies.insert(first + at, body);
        }
        let chunk = Arc::new(builder.finish());
        self.home().enqueue(chunk, Picks::Span(0, count as u32), bytes, 0);
        if self.dice.below(20) == 0 {
            // As a full queue does whose policy is to dead-letter what it refuses.
            self.home().refuse((first, first + count), 0);
        }
    }

    fn take(&mut self) {
        self.load_all(self.home);
        let home = &mut self.copies[self.home].machine;
        let Some(offer) = home.next_for_get() else { return };
        let mut got = Vec::new();
        home.deliveries(&offer.ranges).walk(|delivery| {
            got.push((delivery.index, delivery.record.body.to_vec()));
            true
        });
        let (index, body) = got.pop().expect("it is in memory");
        home.got(&offer, body.len() as u64, false);
        assert!(index < self.safe, "{index} was handed out before it was committed");
        assert_eq!(self.bodies[&index], body, "the message at {index}");
        self.taken.push(index);
    }

    fn answer(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let at = self.dice.below(self.taken.len() as u64) as usize;
        let index = self.taken.swap_remove(at);
        let (consumer, range) = (Default::default(), [(index, index + 1)]);
        match self.dice.below(4) {
            0 => self.home().take_back(consumer, &range, 0),
            1 => {
                self.home().reject(consumer, &range, 0);
                let letters = self.home().dead_letters(10);
                let known = [DeathReason::Rejected, DeathReason::MaxLength];
                assert!(letters.iter().all(|(_, reason)| known.contains(reason)));
                if self.dice.below(2) == 0 {
                    self.over.extend(letters.iter().map(|(index, _)| *index));
                    self.home().dead_lettered(letters.into_iter().map(|(index, _)| index));
                } else {
                    self.home().letters_came_back(letters.into_iter().map(|(index, _)| index));
                }
            }
            _ => {
                self.home().settle(consumer, &range);
                self.over.insert(index);
            }
        }
    }

    /// The end of a turn: as the engine does it.
    fn end_turn(&mut self) {
        let copy = &mut self.copies[self.home];
        let records = copy.machine.take_records();
        if records.is_empty() {
            return;
        }
        self.position += 1;
        let mut turn =
            Turn { position: self.position, next: copy.machine.state().next, records: vec![], late: vec![] };
        for record in records {
            match reach(&record.0) {
                Reach::Own => copy.log.push(record),
                Reach::OwnWhenCommitted => turn.late.push(record),
                Reach::AtOnce => {
                    turn.records.push(record.clone());
                    copy.log.push(record);
                }
                Reach::WhenCommitted => {
                    turn.records.push(record.clone());
                    turn.late.push(record);
                }
            }
        }
        copy.has = self.position;
        for (at, follower) in self.copies.iter_mut().enumerate() {
            if at != self.home {
                follower.inbox.push_back(Frame::Turn(turn.clone()));
            }
        }
        self.turns.push_back(turn);
    }

    /// A follower takes the next frame.
    fn hear(&mut self, at: usize) {
        let is_joining = self.joins(at);
        let copy = &mut self.copies[at];
        match copy.inbox.pop_front() {
            Some(Frame::Turn(turn)) => {
                for (record, chunk) in turn.records {
                    match copy.machine.followed(&record, chunk).expect("a record of the home") {
                        Followed::Applied => {}
                        Followed::Held(command) => copy.held.push((turn.position, command)),
                    }
                }
                copy.has = if is_joining { 0 } else { turn.position };
            }
            Some(Frame::Commit(position)) => copy.apply(position),
            Some(Frame::Fill(fill)) => {
                copy.machine.fill(fill).expect("there is room for what is missing");
            }
            None => return,
        }
        copy.write();
        self.compare(at);
    }

    fn joins(&self, at: usize) -> bool {
        self.joining.as_ref().is_some_and(|joining| joining.at == at)
    }

    /// What every copy in sync has is committed.
    fn commit(&mut self) {
        let in_sync = (0..3).filter(|at| !self.joins(*at));
        let committed = in_sync.map(|at| self.copies[at].has).min().unwrap_or(0);
        let copy = &mut self.copies[self.home];
        while self.turns.front().is_some_and(|turn| turn.position <= committed)
            && let Some(turn) = self.turns.pop_front()
        {
            copy.machine.commit_records(&turn.late);
            copy.log.extend(turn.late);
            copy.machine.commit_below(turn.next);
            self.safe = self.safe.max(turn.next);
        }
        if committed > self.committed {
            self.committed = committed;
            let others = self.copies.iter_mut().enumerate().filter(|(at, _)| *at != self.home);
            others.for_each(|(_, copy)| copy.inbox.push_back(Frame::Commit(committed)));
        }
    }

    /// A follower falls out of sync and begins anew: with what it has, or with nothing.
    fn leave(&mut self, at: usize) {
        if at == self.home || self.joining.is_some() {
            return;
        }
        self.restart(at);
        if self.dice.below(2) == 0 {
            self.copies[at] = Copy::new();
            self.copies[at].machine.follow(0);
        }
        let missing = self.reset(at);
        self.joining = Some(Joining { at, missing, is_filled: false });
        self.copies[at].has = 0;
        // What is not committed comes once more, without its messages.
        for turn in &self.turns {
            let records: Vec<Encoded> = turn
                .late
                .iter()
                .filter(|(record, _)| reach(record) == Reach::WhenCommitted)
                .cloned()
                .collect();
            let turn = Turn { records, late: Vec::new(), ..turn.clone() };
            self.copies[at].inbox.push_back(Frame::Turn(turn));
        }
    }

    /// The follower that is made level gets a little more, or is level.
    fn join(&mut self) {
        let Some(mut joining) = self.joining.take() else { return };
        let copy = &mut self.copies[joining.at];
        if joining.is_filled && copy.inbox.is_empty() {
            copy.has = self.position;
            return self.compare(joining.at);
        }
        let room = 20 + self.dice.below(400) as usize;
        match self.copies[self.home].machine.next_fill(&mut joining.missing, room) {
            NextFill::Fill(fill) => self.copies[joining.at].inbox.push_back(Frame::Fill(fill)),
            NextFill::NeedsLoad(blocks) => self.load(self.home, blocks),
            NextFill::Done => joining.is_filled = true,
        }
        self.joining = Some(joining);
    }

    /// All that is on its way arrives.
    fn calm_down(&mut self) {
        self.end_turn();
        loop {
            (0..3).filter(|at| *at != self.home).collect::<Vec<_>>().into_iter().for_each(|at| self.hear(at));
            self.join();
            self.commit();
            let waits = self.copies.iter().any(|copy| !copy.inbox.is_empty());
            if self.joining.is_none() && self.turns.is_empty() && !waits {
                break;
            }
        }
        (0..3).for_each(|at| self.compare(at));
    }

    /// While nothing is on its way a follower in sync is as the home is.
    fn compare(&self, at: usize) {
        let home = &self.copies[self.home].machine;
        let copy = &self.copies[at];
        if self.joins(at) || !self.turns.is_empty() || !copy.inbox.is_empty() || home.has_news_for_log() {
            return;
        }
        assert!(copy.held.is_empty(), "all that was held is committed");
        let (ours, theirs) = (home.state(), copy.machine.state());
        assert_eq!(theirs.live, ours.live, "what lives");
        assert_eq!(theirs.returns, ours.returns, "returns");
        assert_eq!(theirs.discarding, ours.discarding, "dead letters");
    }

    fn page(&mut self, at: usize) {
        let machine = &mut self.copies[at].machine;
        for job in machine.page_out(PageOut::Pressure { keep: 0, least: 0 }, u64::MAX) {
            let mut bytes = Vec::new();
            job.fill(&mut bytes);
            self.files += 1;
            let file = self.files;
            let block = BlockAt { file, offset: 0, length: bytes.len() as u32 };
            self.blocks.insert(file, bytes);
            machine.paged(&job, block);
        }
        if at != self.home {
            self.copies[at].write();
        }
    }

    /// What a copy wrote so far is on disk: as much as it has told others that it has, or all.
    fn sync(&mut self, at: usize, all: bool) {
        let copy = &mut self.copies[at];
        let written = copy.log.len();
        let waits = at == self.home && !self.turns.is_empty();
        if !waits && !copy.machine.has_news_for_log() {
            copy.freed.extend(copy.machine.take_freed().into_iter().map(|block| (written, block)));
        }
        let counts = |(record, _): &Encoded| matches!(reach(record), Reach::AtOnce | Reach::Own);
        let told = copy.log.iter().rposition(counts).map_or(0, |last| last + 1);
        copy.synced = copy.synced.max(if all { written } else { told });
        let synced = copy.synced;
        let over: Vec<BlockAt> =
            copy.freed.extract_if(.., |(from, _)| *from <= synced).map(|(_, at)| at).collect();
        for block in over {
            assert!(self.blocks.remove(&block.file).is_some(), "a block is given back once");
        }
    }

    fn load(&mut self, at: usize, blocks: Vec<(u64, BlockAt)>) {
        for (first, block) in blocks {
            let chunk = Chunk::decode(self.blocks[&block.file].clone()).expect("a block");
            assert!(self.copies[at].machine.loaded(first, block, Arc::new(chunk)));
        }
    }

    fn load_all(&mut self, at: usize) {
        let wanted = self.copies[at].machine.wants(u64::MAX, 1_000);
        self.load(at, wanted);
    }

    /// A copy starts again with what its log has; what nobody counted on may be gone from that.
    fn restart(&mut self, at: usize) {
        self.sync(at, false);
        let copy = &mut self.copies[at];
        let kept = self.dice.below((copy.log.len() - copy.synced) as u64 + 1) as usize;
        copy.log.truncate(copy.synced + kept);
        copy.freed.clear();
        let mut recovered = RecoveredQueue::default();
        for (position, (record, chunk)) in self.copies[at].log.iter().enumerate() {
            recovered.apply(record, chunk.as_ref(), position as u64 + 1).expect("a record of its own");
        }
        let (machine, lost) = recovered.finish(config(), 0);
        assert_eq!(lost, 0, "messages without bytes");
        let copy = &mut self.copies[at];
        copy.machine = machine;
        copy.machine.follow(0);
        copy.held.clear();
        copy.inbox.clear();
    }

    /// The home is lost, or gives way; another copy that has all that is committed goes on.
    fn fail_over(&mut self) {
        let committed = self.committed;
        let old = self.home;
        if self.dice.below(2) == 0 {
            self.restart(old);
        } else {
            self.copies[old].machine.follow(0);
            let late: Vec<Encoded> = self.turns.iter().flat_map(|turn| turn.late.clone()).collect();
            let copy = &mut self.copies[old];
            copy.log.extend(copy.machine.take_records());
            copy.log.extend(late);
        }
        for at in 0..3 {
            if self.dice.below(4) == 0 && at != old && !self.joins(at) {
                // It had told that it holds what is committed, but may have forgotten what it only held.
                self.copies[at].apply(committed);
                self.restart(at);
            }
        }
        let able: Vec<usize> =
            (0..3).filter(|at| self.copies[*at].has >= committed && !self.joins(*at)).collect();
        let chosen = self.dice.below(able.len() as u64) as usize;
        self.lead(able[chosen]);
    }

    fn lead(&mut self, at: usize) {
        self.home = at;
        self.joining = None;
        self.epoch += 1 + self.dice.below(3);
        (self.position, self.committed) = (0, 0);
        self.turns.clear();
        self.taken.clear();
        let copy = &mut self.copies[at];
        for (_, command) in std::mem::take(&mut copy.held) {
            copy.machine.follow_command(command);
        }
        copy.machine.lead(0);
        copy.machine.begin_epoch(self.epoch);
        copy.write();
        let next = copy.machine.state().next;
        for (other, copy) in self.copies.iter_mut().enumerate() {
            (copy.has, copy.inbox) = (0, VecDeque::new());
            if other != at {
                copy.machine.follow(0);
            }
        }
        self.bodies.retain(|index, _| *index < next);
        for other in (0..3).filter(|other| *other != at) {
            self.level(other);
        }
        self.home().commit_below(next);
        self.safe = next;
        self.check();
    }

    /// Makes a follower level; the home goes on between the fills only in its reading of blocks.
    fn level(&mut self, at: usize) {
        let mut missing = self.reset(at);
        self.fill(at, &mut missing);
    }

    /// A follower lets go of what the home does not have; what it misses.
    fn reset(&mut self, at: usize) -> Missing {
        let theirs = &self.copies[at].machine;
        let mut live = IndexSet::default();
        theirs.state().live.ranges().for_each(|range| live.insert(range));
        let (history, next) = (theirs.history().clone(), theirs.state().next);
        let (reset, missing) = self.copies[self.home].machine.reset_for(&history, next, &live);
        self.copies[at].held.clear();
        self.copies[at].machine.reset(reset);
        self.copies[at].write();
        missing
    }

    /// No copy has to begin empty: others may count on what it has.
    fn fill(&mut self, at: usize, missing: &mut Missing) {
        loop {
            let room = 20 + self.dice.below(400) as usize;
            match self.copies[self.home].machine.next_fill(missing, room) {
                NextFill::Fill(fill) => {
                    self.copies[at].machine.fill(fill).expect("there is room for what is missing");
                    self.copies[at].write();
                    self.copies[at].machine.validate();
                }
                NextFill::NeedsLoad(blocks) => self.load(self.home, blocks),
                NextFill::Done => return,
            }
        }
    }

    /// After levelling all are the same, and nothing that was committed is missing.
    fn check(&mut self) {
        for copy in &self.copies {
            copy.machine.validate();
        }
        let home = self.copies[self.home].machine.state();
        for copy in &self.copies {
            let state = copy.machine.state();
            assert_eq!(state.live, home.live, "what lives");
            assert_eq!(state.returns, home.returns, "returns");
            assert_eq!(state.discarding, home.discarding, "dead letters");
            assert_eq!((&state.history, state.next), (&home.history, home.next), "epochs");
        }
        let missing: Vec<u64> = (0..self.safe)
            .filter(|index| !self.over.contains(index) && !home.live.contains(*index))
            .collect();
        assert!(missing.is_empty(), "committed and not settled, but missing: {missing:?}");
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..30 => self.publish(),
            30..50 => self.take(),
            50..65 => self.answer(),
            65..91 => {
                let at = self.dice.below(3) as usize;
                if at != self.home {
                    self.hear(at);
                }
            }
            91..92 => {
                self.end_turn();
                self.commit();
                let at = self.dice.below(3) as usize;
                self.leave(at);
            }
            92..95 => self.join(),
            95..98 => {
                let at = self.dice.below(3) as usize;
                match self.dice.below(3) {
                    0 => self.page(at),
                    1 => self.calm_down(),
                    _ => self.sync(at, true),
                }
            }
            _ => {
                self.end_turn();
                self.commit();
                if self.dice.below(3) == 0 {
                    self.fail_over();
                }
            }
        }
        if self.dice.below(2) == 0 {
            self.end_turn();
            self.commit();
        }
        self.copies.iter().for_each(|copy| copy.machine.validate());
    }
}

impl Copy {
    fn new() -> Copy {
        Copy {
            machine: QueueMachine::new(config(), true, 0),
            log: Vec::new(),
            synced: 0,
            freed: Vec::new(),
            held: Vec::new(),
            inbox: VecDeque::new(),
            has: 0,
        }
    }

    fn apply(&mut self, committed: u64) {
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|(position, _)| *position <= committed);
        self.held = later;
        now.into_iter().for_each(|(_, command)| self.machine.follow_command(command));
        self.write();
    }

    /// What the machine did goes to its own log.
    fn write(&mut self) {
        self.log.extend(self.machine.take_records());
    }
}

#[test]
fn whatever_happens_to_homes_and_copies_the_queue_is_the_same() {
    let seeds: u64 = std::env::var("COPIES_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut play = Play::new(seed);
            (0..400).for_each(|_| play.step());
            play.fail_over();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_return_that_is_not_committed_counts_once_after_a_checkpoint() {
    let mut home = QueueMachine::new(config(), true, 0);
    home.set_gated(true);
    home.begin_epoch(3);
    publish(&mut home, 1);
    home.commit_below(1);
    let mut log = home.take_records();
    let offer = home.next_for_get().expect("it is ready");
    home.got(&offer, 4, false);
    home.take_back(Default::default(), &[(0, 1)], 0);
    let late: Vec<Encoded> =
        home.take_records().into_iter().filter(|(record, _)| reach(record) == Reach::WhenCommitted).collect();
    assert!(!late.is_empty());
    log.push((home.snapshot(0), None));
    home.commit_records(&late);
    log.extend(late);
    let committed = home.snapshot(0);
    for snapshot in [None, Some((committed, None))] {
        log.extend(snapshot);
        assert_eq!(recovered(&log).state().returns, BTreeMap::from([(0, 1)]));
    }
}

fn publish(machine: &mut QueueMachine, count: u32) {
    let mut builder = ChunkBuilder::default();
    let head = RecordHead { persistent: true, ..RecordHead::default() };
    for _ in 0..count {
        builder.push(head, &Arc::from(ROUTE), &[0, 0], b"body");
    }
    machine.enqueue(Arc::new(builder.finish()), Picks::Span(0, count), 4 * u64::from(count), 0);
}

fn recovered(log: &[Encoded]) -> QueueMachine {
    let mut recovered = RecoveredQueue::default();
    for (position, (record, chunk)) in log.iter().enumerate() {
        recovered.apply(record, chunk.as_ref(), position as u64 + 1).expect("a record of its own");
    }
    recovered.finish(config(), 0).0
}

#[test]
fn a_copy_from_before_the_queue_was_alone_agrees_with_nothing() {
    let mut home = QueueMachine::new(config(), true, 0);
    home.set_gated(true);
    home.begin_epoch(3);
    publish(&mut home, 2);
    let mut log = home.take_records();
    // The old copy has more of that epoch than the home has after its power failed.
    let (old, old_next) = (home.history().clone(), 5);
    let mut live = IndexSet::default();
    live.insert((0, old_next));
    let mut home = recovered(&log);
    home.set_gated(false);
    home.end_epochs();
    publish(&mut home, 8);
    log.extend(home.take_records());
    log.push((home.snapshot(0), None));
    let mut home = recovered(&log);
    assert_eq!((home.state().live.count(), home.state().next), (10, 10));
    home.set_gated(true);
    home.begin_epoch(9);
    let (reset, missing) = home.reset_for(&old, old_next, &live);
    assert_eq!((reset.cut, missing.count()), (0, 10), "indexes 2 to 5 are others' messages by now");
}
