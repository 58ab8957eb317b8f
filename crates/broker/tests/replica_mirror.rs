//! A mirror of a queue: whose frames it takes, what it acknowledges, what it holds.

use broker::catalog::copies::Copies;
use broker::replica::{Frame, Keeping, MirrorRole, Opened, Taken};
use types::NodeId;

const HOME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const ME: NodeId = NodeId(3);

fn row(epoch: u64, version: u64, mirrors: &[NodeId]) -> Copies {
    Copies { epoch, boot: 1, version, mirrors: mirrors.to_vec(), in_sync: vec![HOME], min_in_sync: 1 }
}

/// A mirror whose stream of epoch 7 has begun with number 1, which is on disk and acknowledged.
fn running() -> MirrorRole<&'static str> {
    let mut mirror = MirrorRole::new(ME, 0);
    assert_eq!(mirror.set_copies(HOME, &row(7, 1, &[OTHER, ME])), None);
    assert_eq!(mirror.open(HOME, 7, 1, 40), Opened::State(40));
    assert_eq!(take(&mut mirror, 1, Frame::Reset), Taken::Take);
    assert_eq!(mirror.durable(7, 1), Some(1));
    mirror
}

fn take(mirror: &mut MirrorRole<&'static str>, number: u64, frame: Frame) -> Taken {
    mirror.frame(HOME, 7, number, frame, Keeping::Disk)
}

#[test]
fn an_open_waits_for_the_catalog() {
    let mut mirror = MirrorRole::<()>::new(ME, 0);
    assert_eq!(mirror.open(HOME, 7, 2, 40), Opened::Wait);
    assert_eq!(mirror.set_copies(HOME, &row(7, 1, &[ME])), None, "the version is not there yet");
    assert_eq!(mirror.set_copies(HOME, &row(7, 2, &[ME])), Some((HOME, Opened::State(40))));
    assert_eq!(mirror.set_copies(HOME, &row(7, 3, &[ME])), None, "it was answered");
    assert_eq!(mirror.open(HOME, 7, 2, 40), Opened::State(40), "an older version of the row will do");
}

#[test]
fn an_open_that_the_catalog_overtakes_is_refused() {
    let mut mirror = MirrorRole::<()>::new(ME, 0);
    assert_eq!(mirror.open(HOME, 7, 2, 40), Opened::Wait);
    assert_eq!(mirror.open(OTHER, 6, 2, 40), Opened::Wait, "an older one does not take its place");
    assert_eq!(mirror.set_copies(OTHER, &row(9, 4, &[HOME, ME])), Some((HOME, Opened::Refused(9))));
    assert_eq!(mirror.open(HOME, 7, 2, 40), Opened::Refused(9));
    assert_eq!(mirror.open(HOME, 9, 4, 40), Opened::Refused(9), "it is not the home");
}

#[test]
fn who_is_no_mirror_opens_nothing() {
    let mut mirror = MirrorRole::<()>::new(ME, 0);
    mirror.set_copies(HOME, &row(7, 2, &[OTHER]));
    assert_eq!(mirror.open(HOME, 7, 1, 40), Opened::Refused(7));
    mirror.set_copies(ME, &row(9, 3, &[HOME]));
    assert_eq!(mirror.open(HOME, 7, 1, 40), Opened::Refused(9));
}

#[test]
fn a_gap_ends_the_stream() {
    let mut mirror = running();
    assert_eq!(take(&mut mirror, 2, Frame::Turn), Taken::Take);
    assert_eq!(take(&mut mirror, 4, Frame::Fill), Taken::Gap(7));
    assert_eq!(take(&mut mirror, 3, Frame::Turn), Taken::Gap(7));
    assert_eq!(mirror.durable(7, 2), None, "an ended stream acknowledges nothing");
    assert_eq!(mirror.open(HOME, 7, 1, 40), Opened::State(40));
    assert_eq!(take(&mut mirror, 5, Frame::Turn), Taken::Gap(7), "a stream begins with a Reset");
    assert_eq!(mirror.open(HOME, 7, 1, 40), Opened::State(40));
    assert_eq!(take(&mut mirror, 6, Frame::Reset), Taken::Take);
    assert_eq!(take(&mut mirror, 7, Frame::Turn), Taken::Take);
    assert_eq!(mirror.durable(7, 6), Some(6));
}

#[test]
fn frames_of_another_epoch_or_node_are_refused() {
    let mut mirror = running();
    assert_eq!(mirror.frame(OTHER, 7, 2, Frame::Turn, Keeping::Disk), Taken::Refuse(7));
    assert_eq!(mirror.frame(HOME, 6, 2, Frame::Turn, Keeping::Disk), Taken::Refuse(7));
    mirror.set_copies(OTHER, &row(9, 1, &[HOME, ME]));
    assert_eq!(take(&mut mirror, 2, Frame::Turn), Taken::Refuse(9));
    assert_eq!(mirror.durable(7, 1), None);
}

#[test]
fn what_waits_for_the_disk_is_not_acknowledged() {
    let mut mirror = running();
    assert_eq!(take(&mut mirror, 2, Frame::Turn), Taken::Take);
    assert_eq!(mirror.frame(HOME, 7, 3, Frame::Turn, Keeping::Memory), Taken::Take);
    assert_eq!(mirror.ack(), None, "frame 2 is not on disk");
    assert_eq!(take(&mut mirror, 4, Frame::Fill), Taken::Take);
    assert_eq!(mirror.durable(6, 4), None, "that was another epoch's frame");
    assert_eq!(mirror.durable(7, 2), Some(3), "frame 3 needs no disk");
    assert_eq!(mirror.durable(7, 4), Some(4));
    assert_eq!(mirror.frame(HOME, 7, 5, Frame::Turn, Keeping::Memory), Taken::Take);
    assert_eq!((mirror.ack(), mirror.ack()), (Some(5), None));
}

#[test]
fn what_is_held_is_applied_when_it_is_committed() {
    let mut mirror = running();
    for (position, what) in [(3, "c"), (1, "a"), (2, "b")] {
        mirror.hold(position, what);
    }
    assert_eq!(mirror.committed(7, 2), ["a", "b"]);
    assert_eq!(mirror.committed(6, 3), [""; 0], "that is another epoch's position");
    // A stream of the same epoch that begins again sends again what is not committed.
    mirror.link_down(HOME);
    assert_eq!(mirror.open(HOME, 7, 1, 40), Opened::State(40));
    assert_eq!(take(&mut mirror, 9, Frame::Reset), Taken::Take);
    mirror.hold(3, "c");
    assert_eq!(mirror.held_count(), 1);
    assert_eq!(mirror.committed(7, 3), ["c"]);
}

#[test]
fn a_new_home_has_what_it_held_and_a_new_homes_reset_lets_go_of_it() {
    let mut mirror = running();
    mirror.hold(1, "a");
    // It is still there when the copy becomes the home in an epoch after one that never reached it.
    mirror.set_copies(OTHER, &row(9, 1, &[HOME, ME]));
    assert_eq!(mirror.held_count(), 1);
    mirror.set_copies(ME, &row(11, 1, &[HOME, OTHER]));
    assert_eq!(mirror.take_held(), ["a"]);

    let mut mirror = running();
    mirror.hold(1, "a");
    mirror.set_copies(OTHER, &row(9, 1, &[HOME, ME]));
    assert_eq!(mirror.open(OTHER, 9, 1, 40), Opened::State(40));
    assert_eq!(mirror.committed(9, 5), [""; 0], "positions of epoch 9 are other positions");
    assert_eq!(mirror.frame(OTHER, 9, 1, Frame::Reset, Keeping::Disk), Taken::Take);
    assert_eq!(mirror.held_count(), 0);
}

#[test]
fn a_copy_does_not_go_back_to_an_epoch_before_its_own() {
    // The node started again, and its catalog is behind what its copy was part of.
    let mut mirror = MirrorRole::<()>::new(ME, 9);
    mirror.set_copies(HOME, &row(7, 3, &[ME]));
    assert_eq!(mirror.open(HOME, 7, 3, 40), Opened::Refused(9));
    assert_eq!(mirror.frame(HOME, 7, 1, Frame::Reset, Keeping::Disk), Taken::Refuse(9));
    mirror.set_copies(OTHER, &row(9, 1, &[HOME, ME]));
    assert_eq!(mirror.open(OTHER, 9, 1, 40), Opened::State(40));
}

#[test]
fn a_reset_lets_go_of_what_an_earlier_stream_held() {
    let mut mirror = running();
    assert_eq!(take(&mut mirror, 2, Frame::Turn), Taken::Take);
    mirror.hold(1, "a return");
    mirror.link_down(HOME);
    assert_eq!(mirror.open(HOME, 7, 1, 41), Opened::State(41));
    assert_eq!(take(&mut mirror, 42, Frame::Reset), Taken::Take);
    assert_eq!(mirror.held_count(), 0, "it comes once more, or the Reset says what became of it");
    assert_eq!(take(&mut mirror, 43, Frame::Turn), Taken::Take);
    mirror.hold(1, "the return once more");
    assert_eq!(mirror.committed(7, 1), ["the return once more"]);
}
