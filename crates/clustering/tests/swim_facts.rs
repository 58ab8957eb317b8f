//! Facts and identities in gossip, played from seeds: what nodes tell of themselves reaches all, and two processes
//! that use one id do not bring the others down.

mod playing;

use clustering::gossip::{GossipPeriods, NodeFacts, Oddity, SwimMember};
use clustering::identity::{NodeIdentity, WireVersion};
use playing::{CLUSTER, Place, Play, ms};

const SEEDS: u64 = 50;

fn facts(place: Place, round: u32) -> NodeFacts {
    NodeFacts {
        queues: round,
        memory_alarm: round % 2 == 1,
        amqp_addr: format!("host{place}:5672"),
        http_addr: format!("host{place}.a-rather-long-name-of-a-network.example:15672"),
        ready: true,
        ..NodeFacts::default()
    }
}

fn tell(play: &mut Play, place: Place, round: u32) {
    let facts = facts(place, round);
    play.act(place, |swim, now, out| swim.set_facts(&facts, now, out).unwrap());
}

fn know(play: &Play, places: &[Place], of: &[Place], round: u32) -> bool {
    of.iter().all(|told| {
        let facts = facts(*told, round);
        play.each(places, &[*told], |member| {
            member.is_some_and(|member| member.facts.as_ref() == Some(&facts))
        })
    })
}

#[test]
fn facts_reach_all_at_once() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 5);
        let all: [Place; 5] = [0, 1, 2, 3, 4];
        all.iter().for_each(|place| tell(&mut play, *place, 1));
        let took = play.until(ms(5_000), |play| play.all_up(&all) && know(play, &all, &all, 1)).unwrap();
        assert!(took < ms(1_000), "seed {seed}: {took:?}");
        play.run(ms(500));
        tell(&mut play, 3, 2);
        let took = play.until(ms(5_000), |play| know(play, &all, &[3], 2)).unwrap();
        assert!(took < ms(20), "seed {seed}: {took:?}");
        // Changes in quick succession are gathered; the last one counts.
        (3..=100).for_each(|round| tell(&mut play, 3, round));
        let took = play.until(ms(5_000), |play| know(play, &all, &[3], 100)).unwrap();
        assert!(took < ms(60), "seed {seed}: {took:?}");
    }
}

#[test]
fn facts_that_got_lost_reach_all_in_the_end() {
    for seed in 0..SEEDS {
        let all: Vec<Place> = (0..3 + seed as usize % 4).collect();
        let mut play = Play::new(seed, all.len());
        play.loss = 0.3;
        for round in 1..=20 {
            all.iter().for_each(|place| tell(&mut play, *place, round));
            play.run(ms(100));
        }
        play.until(ms(30_000), |play| know(play, &all, &all, 20)).unwrap();
    }
}

#[test]
fn facts_take_the_way_around_a_cut_link() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        let all: [Place; 3] = [0, 1, 2];
        play.until(ms(3_000), |play| play.all_up(&all)).unwrap();
        play.cut(&[1], &[2]);
        tell(&mut play, 1, 5);
        let took = play.until(ms(10_000), |play| know(play, &all, &[1], 5)).unwrap();
        assert!(took < ms(6_000), "seed {seed}: {took:?}");
    }
}

#[test]
fn facts_of_a_process_that_is_gone_are_not_shown() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        let all: [Place; 3] = [0, 1, 2];
        all.iter().for_each(|place| tell(&mut play, *place, 9));
        play.until(ms(3_000), |play| know(play, &all, &all, 9)).unwrap();
        play.kill(2);
        play.start(2, if seed % 2 == 0 { 5_000 } else { 10 }, CLUSTER, &[0]);
        let boot = play.boot(2);
        let is_new = |member: Option<&SwimMember>| member.is_some_and(|member| member.identity.boot == boot);
        play.until(ms(3_000), |play| play.each(&[0, 1], &[2], is_new)).unwrap();
        play.run(ms(2_000));
        let has_none = |member: Option<&SwimMember>| member.is_some_and(|member| member.facts.is_none());
        assert!(play.each(&[0, 1], &[2], has_none), "seed {seed}");
        tell(&mut play, 2, 10);
        let took =
            play.until(ms(5_000), |play| know(play, &all, &[2], 10) && know(play, &[2], &[0, 1], 9)).unwrap();
        assert!(took < ms(100), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_changed_identity_is_spread() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 6);
        let all: [Place; 6] = [0, 1, 2, 3, 4, 5];
        tell(&mut play, 2, 1);
        play.until(ms(3_000), |play| play.all_up(&all) && know(play, &all, &[2], 1)).unwrap();
        play.loss = 0.1;
        for name in ["rabbit@other", "rabbit@third"] {
            let me = NodeIdentity { name: name.to_owned(), ..play.swim(2).me().clone() };
            play.act(2, |swim, now, out| swim.set_me(me.clone(), now, out).unwrap());
            let is_told = |member: Option<&SwimMember>| member.is_some_and(|member| member.identity == me);
            let took = play.until(ms(5_000), |play| play.each(&all, &[2], is_told)).unwrap();
            assert!(took < ms(1_500), "seed {seed}: {took:?}");
            assert!(know(&play, &all, &[2], 1), "seed {seed}: facts stay");
        }
        play.run(ms(3_000));
        assert_eq!(play.downs, [], "seed {seed}");
    }
}

#[test]
fn identities_that_cannot_be_used_are_refused() {
    let mut play = Play::new(1, 2);
    let good = play.swim(1).me().clone();
    let refused = |play: &mut Play, me: NodeIdentity| {
        let mut why = None;
        play.act(1, |swim, now, out| why = swim.set_me(me, now, out).err());
        why.unwrap()
    };
    let why = refused(&mut play, NodeIdentity { name: "n".repeat(129), ..good.clone() });
    assert!(why.contains("node name") && why.contains("129 bytes") && why.contains("at most 128"), "{why}");
    let why = refused(&mut play, NodeIdentity { version: "1".repeat(33), ..good.clone() });
    assert!(why.contains("node version"), "{why}");
    let why = refused(&mut play, NodeIdentity { addr: "0.0.0.0:5".parse().unwrap(), ..good.clone() });
    assert!(why.contains("0.0.0.0:5"), "{why}");
    let why = refused(&mut play, NodeIdentity { boot: 1, ..good.clone() });
    assert!(why.contains("boot"), "{why}");
    let why = refused(&mut play, NodeIdentity { id: 0, ..good.clone() });
    assert!(why.contains("node id is 0"), "{why}");
    assert_eq!(play.swim(1).me(), &good);
}

#[test]
fn names_of_the_longest_kind_fit() {
    let mut play = Play::new(3, 6);
    let all: [Place; 6] = [0, 1, 2, 3, 4, 5];
    for place in all {
        let me =
            NodeIdentity { name: "n".repeat(128), version: "v".repeat(32), ..play.swim(place).me().clone() };
        play.act(place, |swim, now, out| swim.set_me(me, now, out).unwrap());
        tell(&mut play, place, 1);
    }
    play.until(ms(5_000), |play| play.all_up(&all) && know(play, &all, &all, 1)).unwrap();
    play.cut(&[1], &[2]);
    play.run(ms(10_000));
    assert_eq!(play.downs, [], "indirect probes carry three names");
    assert!((0..6).all(|place| play.swim(place).stats().errors == 0));
}

#[test]
fn nodes_of_another_wire_version_do_not_meet() {
    let mut play = Play::new(1, 3);
    let wire = WireVersion { major: 2, minor: 0 };
    let me = NodeIdentity { wire, ..play.swim(2).me().clone() };
    play.act(2, |swim, now, out| swim.set_me(me, now, out).unwrap());
    play.run(ms(3_000));
    assert!(play.all_up(&[0, 1]));
    assert!(play.each(&[0, 1], &[2], |member| member.is_none()));
    assert!(play.swim(0).stats().other_wire > 0);
    let told = play.oddities.iter().any(|oddity| oddity.to_string().contains("speaks wire version 2.0"));
    assert!(told, "{:?}", play.oddities);
}

#[test]
fn two_processes_with_one_id_are_told_of_and_do_no_harm() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 4);
        play.until(ms(3_000), |play| play.all_up(&[0, 1, 2, 3])).unwrap();
        // Node 3 is started a second time elsewhere, with a copy of its data directory.
        let me = NodeIdentity { id: 3, ..play.swim(3).me().clone() };
        let settings = clustering::gossip::SwimSettings {
            me,
            generation: 1_000 + seed % 3,
            seed,
            periods: GossipPeriods::default(),
            seeds: vec![playing::addr(0), playing::addr(1)],
        };
        play.replace(3, settings);
        play.run(ms(20_000));
        assert!(play.all_up(&[0, 1]), "seed {seed}");
        assert!(play.oddities.iter().any(|oddity| matches!(oddity, Oddity::SameId { .. })), "seed {seed}");
        let blamed: Vec<_> = play.downs.iter().filter(|(by, down, _)| *by < 2 && *down < 2).collect();
        assert!(blamed.is_empty(), "seed {seed}: {blamed:?}");
        // The copy goes: the first one is heard again.
        play.kill(3);
        play.until(ms(30_000), |play| play.all_up(&[0, 1, 2])).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing() {
    let mut play = Play::new(5, 2);
    play.keep_sent = true;
    tell(&mut play, 0, 1);
    play.until(ms(3_000), |play| play.all_up(&[0, 1])).unwrap();
    play.run(ms(2_000));
    play.keep_sent = false;
    let bodies: Vec<Vec<u8>> =
        play.sent.iter().filter(|(from, ..)| *from == 1).map(|sent| sent.2.clone()).collect();
    let mut cut = 0;
    for body in bodies.iter().take(40) {
        for length in 0..body.len() {
            let before = play.swim(0).stats().malformed;
            let from = playing::addr(1);
            play.act(0, |swim, now, out| swim.packet(&body[..length], from, now, out));
            cut += play.swim(0).stats().malformed - before;
        }
        play.run(ms(50));
    }
    assert!(cut > 1_000, "{cut}");
    play.run(ms(2_000));
    assert!(play.all_up(&[0, 1]));
    assert!(play.oddities.iter().any(|oddity| matches!(oddity, Oddity::Malformed { .. })));
}

#[test]
fn damaged_packets_stop_nobody() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 4);
        let all: [Place; 4] = [0, 1, 2, 3];
        all.iter().for_each(|place| tell(&mut play, *place, 1));
        play.damage = 0.2;
        play.run(ms(10_000));
        play.damage = 0.0;
        let took = play.until(ms(30_000), |play| play.all_up(&all)).unwrap();
        // This node's claims to an id that a damaged packet took are limited to a few in ten seconds.
        assert!(took < ms(25_000), "seed {seed}: {took:?}");
        // Facts that were damaged last until the next ones.
        play.run(ms(5_000));
        all.iter().for_each(|place| tell(&mut play, *place, 2));
        let took = play.until(ms(30_000), |play| know(play, &all, &all, 2)).unwrap();
        assert!(took < ms(5_000), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_leave_that_comes_late_ends_no_later_life() {
    let mut play = Play::new(1, 3);
    let all: [Place; 3] = [0, 1, 2];
    play.until(ms(3_000), |play| play.all_up(&all)).unwrap();
    play.keep_sent = true;
    let me = play.swim(2).me().clone();
    play.act(2, |swim, now, out| swim.leave(now, out));
    play.run(ms(100));
    let said = play.sent.split_off(0);
    assert!(said.len() >= 6, "it is said more than once");
    // The same process comes back.
    let (seed, periods) = (5, GossipPeriods::default());
    let settings = clustering::gossip::SwimSettings {
        me,
        generation: 2_000,
        seed,
        periods,
        seeds: vec![playing::addr(0)],
    };
    play.replace(2, settings);
    play.until(ms(3_000), |play| play.all_up(&all)).unwrap();
    let downs = play.downs.len();
    for (_, to, body) in said {
        play.deliver_later(usize::from(to.port() - 1_000), playing::addr(2), body);
    }
    play.run(ms(3_000));
    assert!(play.all_up(&all));
    assert_eq!(play.downs.len(), downs);
}

#[test]
fn a_node_that_has_been_down_for_long_is_forgotten() {
    let mut play = Play::empty(1, 3);
    let forget = ms(20_000);
    for place in 0..3 {
        let settings = clustering::gossip::SwimSettings {
            me: playing::identity(place, 7 + place as u64, CLUSTER),
            generation: 1_000,
            seed: place as u64,
            periods: GossipPeriods { forget, ..GossipPeriods::default() },
            seeds: vec![playing::addr(0)],
        };
        play.replace(place, settings);
    }
    play.until(ms(3_000), |play| play.all_up(&[0, 1, 2])).unwrap();
    play.kill(2);
    play.run(ms(15_000));
    assert!(play.each(&[0, 1], &[2], |member| member.is_some()));
    play.run(ms(8_000));
    assert!(play.each(&[0, 1], &[2], |member| member.is_none()) && play.all_up(&[0, 1]));
}
