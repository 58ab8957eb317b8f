//! Gossip's decisions, played from seeds: who is up, who is down, and who comes back.

mod playing;

use clustering::gossip::Liveness;
use clustering::identity::ClusterId;
use playing::{CLUSTER, Place, Play, ms};
use std::time::Duration;

const SEEDS: u64 = 50;

fn up(play: &mut Play, places: &[Place], limit: Duration) -> Duration {
    play.until(limit, |play| play.all_up(places)).unwrap()
}

fn is_down(member: Option<&clustering::gossip::SwimMember>) -> bool {
    member.is_some_and(|member| member.state == Liveness::Down)
}

#[test]
fn nodes_meet_through_one_seed() {
    for seed in 0..SEEDS {
        let places: Vec<Place> = (0..2 + seed as usize % 6).collect();
        let took = up(&mut Play::new(seed, places.len()), &places, ms(3_000));
        assert!(took < ms(1_000), "seed {seed}: {took:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_play() {
    let play = |seed| {
        let mut play = Play::new(seed, 4);
        play.loss = 0.1;
        play.run(ms(5_000));
        play.kill(2);
        play.run(ms(5_000));
        play.trace()
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

#[test]
fn a_killed_node_is_down_for_all_in_time() {
    let mut times = Vec::new();
    for seed in 0..200 {
        let places: Vec<Place> = (0..3 + seed as usize % 3).collect();
        let mut play = Play::new(seed, places.len());
        up(&mut play, &places, ms(3_000));
        play.run(ms(1_000 + seed * 7));
        play.kill(1);
        let rest: Vec<Place> = places.iter().copied().filter(|place| *place != 1).collect();
        times.push(play.until(ms(5_000), |play| play.each(&rest, &[1], is_down)).unwrap());
        assert!(play.all_up(&rest), "seed {seed}");
        assert!(play.downs.iter().all(|(_, down, _)| *down == 1), "seed {seed}: {:?}", play.downs);
    }
    times.sort_unstable();
    println!("down after {:?} (median), {:?} (p99), {:?}", times[100], times[197], times[199]);
    assert!(times[197] < ms(1_450), "p99 {:?}", times[197]);
}

#[test]
fn lost_and_reordered_packets_bring_nobody_down() {
    for seed in 0..SEEDS {
        let places: Vec<Place> = (0..3 + seed as usize % 3).collect();
        let mut play = Play::new(seed, places.len());
        play.loss = 0.1;
        play.delay = (Duration::from_micros(100), ms(30));
        up(&mut play, &places, ms(5_000));
        play.run(ms(15_000));
        assert_eq!(play.downs, [], "seed {seed}");
    }
}

#[test]
fn a_partition_shows_and_heals_by_itself() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 5);
        let all: [Place; 5] = [0, 1, 2, 3, 4];
        play.loss = 0.02 * (seed % 3) as f64;
        up(&mut play, &all, ms(5_000));
        let (one, other) = all.split_at(1 + seed as usize % 4);
        play.cut(one, other);
        let apart = |play: &Play| play.each(one, other, is_down) && play.each(other, one, is_down);
        play.until(ms(8_000), apart).unwrap();
        // Now and then so long that calls are rare by then.
        play.run(if seed % 10 == 0 { ms(90_000) } else { ms(3_000) });
        assert!(play.all_up(one) && play.all_up(other), "seed {seed}");
        play.heal();
        let took = up(&mut play, &all, ms(10_000));
        assert!(took < ms(3_000), "seed {seed}: {took:?}");
        let healed = play.downs.len();
        play.loss = 0.0;
        play.run(ms(5_000));
        assert!(play.all_up(&all), "seed {seed}");
        assert_eq!(play.downs.len(), healed, "seed {seed}: it flaps after healing");
    }
}

#[test]
fn one_link_that_is_cut_brings_nobody_down() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        up(&mut play, &[0, 1, 2], ms(3_000));
        play.cut(&[1], &[2]);
        play.run(ms(20_000));
        assert_eq!(play.downs, [], "seed {seed}");
    }
}

#[test]
fn the_next_process_replaces_the_one_before_at_once() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        play.keep_sent = true;
        up(&mut play, &[0, 1, 2], ms(3_000));
        play.run(ms(500));
        let old: Vec<_> = play.sent.iter().filter(|(from, ..)| *from == 2).cloned().collect();
        play.keep_sent = false;
        play.kill(2);
        if seed % 2 == 0 {
            play.run(ms(3_000));
        }
        // Every third time the clock was set back by more than the process had run.
        let generation = if seed % 3 == 0 { 10 } else { 5_000 };
        play.start(2, generation, CLUSTER, &[1]);
        let boot = play.boot(2);
        let is_new = |play: &Play| {
            let is = |member: Option<&clustering::gossip::SwimMember>| {
                member.is_some_and(|member| member.identity.boot == boot && member.state == Liveness::Up)
            };
            play.each(&[0, 1], &[2], is) && play.all_up(&[0, 1, 2])
        };
        let took = play.until(ms(5_000), is_new).unwrap();
        assert!(took < ms(1_000), "seed {seed}: {took:?}");
        for (_, to, body) in old {
            play.deliver_later(usize::from(to.port() - 1_000), playing::addr(2), body);
        }
        let downs = play.downs.len();
        for _ in 0..100 {
            play.run(ms(20));
            assert!(is_new(&play), "seed {seed}: the old process is heard");
        }
        assert_eq!(play.downs.len(), downs, "seed {seed}");
    }
}

#[test]
fn a_paused_node_is_down_and_comes_back_without_blaming_others() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        up(&mut play, &[0, 1, 2], ms(3_000));
        play.run(ms(seed * 11));
        play.pause(2);
        let took = play.until(ms(5_000), |play| play.each(&[0, 1], &[2], is_down)).unwrap();
        assert!(took < ms(1_600), "seed {seed}: {took:?}");
        play.run(ms(seed % 5 * 1_000));
        play.resume(2);
        let took = up(&mut play, &[0, 1, 2], ms(5_000));
        assert!(took < ms(1_000), "seed {seed}: {took:?}");
        play.run(ms(5_000));
        assert!(play.all_up(&[0, 1, 2]), "seed {seed}");
        let blamed: Vec<_> = play.downs.iter().filter(|(_, down, _)| *down != 2).collect();
        assert!(blamed.is_empty(), "seed {seed}: {blamed:?}");
    }
}

#[test]
fn short_pauses_bring_nobody_down() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        up(&mut play, &[0, 1, 2], ms(3_000));
        for round in 0..20 {
            let place = (seed as usize + round) % 3;
            play.pause(place);
            play.run(ms(500));
            play.resume(place);
            play.run(ms(100));
        }
        assert_eq!(play.downs, [], "seed {seed}");
    }
}

#[test]
fn a_pause_of_the_whole_machine_brings_nobody_down() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        up(&mut play, &[0, 1, 2], ms(3_000));
        play.run(ms(seed * 13));
        (0..3).for_each(|place| play.pause(place));
        play.run(ms(20_000));
        for place in 0..3 {
            play.resume((place + seed as usize) % 3);
            play.run(ms(20));
        }
        play.run(ms(5_000));
        assert_eq!(play.downs, [], "seed {seed}");
        assert!(play.all_up(&[0, 1, 2]), "seed {seed}");
    }
}

#[test]
fn a_pause_of_the_whole_machine_is_not_held_against_a_suspect() {
    let mut suspected = 0;
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 3);
        up(&mut play, &[0, 1, 2], ms(3_000));
        play.run(ms(seed * 13));
        play.pause(2);
        play.run(ms(500));
        suspected += u64::from(!play.all_up(&[0, 1, 2]));
        (0..2).for_each(|place| play.pause(place));
        play.run(ms(5_000));
        (0..2).for_each(|place| play.resume(place));
        play.run(ms(120));
        play.resume(2);
        play.run(ms(5_000));
        assert_eq!(play.downs, [], "seed {seed}");
        assert!(play.all_up(&[0, 1, 2]), "seed {seed}");
    }
    assert!(suspected > SEEDS / 2, "only {suspected} plays had a suspect");
}

#[test]
fn who_leaves_is_down_at_once_and_stays_so() {
    for seed in 0..SEEDS {
        let mut play = Play::new(seed, 5);
        let rest: [Place; 4] = [0, 1, 3, 4];
        up(&mut play, &[0, 1, 2, 3, 4], ms(3_000));
        play.act(2, |swim, now, out| swim.leave(now, out));
        let took = play.until(ms(3_000), |play| play.each(&rest, &[2], is_down)).unwrap();
        assert!(took < ms(50), "seed {seed}: {took:?}");
        for _ in 0..50 {
            play.run(ms(100));
            assert!(play.each(&rest, &[2], is_down) && play.all_up(&rest), "seed {seed}");
        }
        play.start(2, 9_000, CLUSTER, &[0]);
        up(&mut play, &[0, 1, 2, 3, 4], ms(1_000));
    }
}

#[test]
fn halves_that_forgot_each_other_meet_through_seeds() {
    for seed in 0..10 {
        let mut play = Play::new(seed, 4);
        up(&mut play, &[0, 1, 2, 3], ms(3_000));
        play.cut(&[0, 1], &[2, 3]);
        play.run(ms(3_000));
        for (place, node) in [(0, 3), (0, 4), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (3, 2)] {
            play.act(place, |swim, now, out| swim.forget(node, now, out));
        }
        play.run(ms(15_000));
        assert!(play.each(&[0, 1], &[2, 3], |member| member.is_none()), "seed {seed}");
        assert!(play.all_up(&[0, 1]) && play.all_up(&[2, 3]), "seed {seed}: forgetting keeps the others");
        play.heal();
        let took = up(&mut play, &[0, 1, 2, 3], ms(15_000));
        assert!(took < ms(11_000), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_seed_that_comes_late_is_found() {
    for seed in 0..SEEDS {
        let mut play = Play::empty(seed, 3);
        play.start(1, 1_000, CLUSTER, &[0]);
        play.start(2, 1_000, CLUSTER, &[0, 1]);
        play.run(ms(7_000 + seed * 31));
        play.start(0, 1_000, CLUSTER, &[]);
        let took = up(&mut play, &[0, 1, 2], ms(15_000));
        assert!(took < ms(10_500), "seed {seed}: {took:?}");
        // Nobody else to meet: calls never pause for more than two seconds.
        let mut play = Play::empty(seed, 2);
        play.start(1, 1_000, CLUSTER, &[0]);
        play.run(ms(30_000 + seed * 31));
        play.start(0, 1_000, CLUSTER, &[]);
        let took = up(&mut play, &[0, 1], ms(15_000));
        assert!(took < ms(2_100), "seed {seed}: {took:?}");
    }
}

#[test]
fn nodes_of_another_cluster_do_not_meet_and_joining_ones_do() {
    for seed in 0..SEEDS {
        let other = ClusterId(88);
        let mut play = Play::empty(seed, 5);
        for (place, cluster) in [(0, CLUSTER), (1, CLUSTER), (2, other), (3, other), (4, ClusterId(0))] {
            play.start(place, 1_000, cluster, &[0, 2]);
        }
        let none = |member: Option<&clustering::gossip::SwimMember>| member.is_none();
        // The joining node meets both clusters, and is no bridge between them.
        play.until(ms(3_000), |play| play.all_up(&[0, 1, 4]) && play.all_up(&[2, 3, 4])).unwrap();
        play.run(ms(5_000));
        assert!(play.each(&[0, 1], &[2, 3], none) && play.each(&[2, 3], &[0, 1], none), "seed {seed}");
        assert!(play.swim(0).stats().other_cluster > 0 && !play.oddities.is_empty(), "seed {seed}");
        let me = clustering::identity::NodeIdentity { cluster: CLUSTER, ..play.swim(4).me().clone() };
        play.act(4, |swim, now, out| swim.set_me(me.clone(), now, out).unwrap());
        let knows = |play: &Play| {
            play.each(&[0, 1], &[4], |member| member.is_some_and(|member| member.identity == me))
                && play.each(&[2, 3], &[4], none)
                && play.each(&[4], &[2, 3], none)
        };
        let took = play.until(ms(3_000), knows).unwrap();
        assert!(took < ms(500), "seed {seed}: {took:?}");
        for _ in 0..50 {
            play.run(ms(100));
            assert!(knows(&play) && play.all_up(&[0, 1, 4]) && play.all_up(&[2, 3]), "seed {seed}");
        }
        assert_eq!(play.downs, [], "seed {seed}");
    }
}

/// A node that is declared down while it suspects another one loses the deadline of that suspicion.
#[test]
fn no_suspicion_lasts_for_ever() {
    for seed in 0..60 {
        let mut play = Play::new(seed, 3);
        play.run(ms(2_000));
        play.cut(&[0], &[1, 2]);
        play.run(ms(100 + 10 * (seed % 30)));
        play.heal();
        play.cut(&[1], &[0, 2]);
        play.run(ms(300 + 20 * (seed % 37)));
        play.heal();
        let all_up = play.until(ms(10_000), |play| play.all_up(&[0, 1, 2]));
        assert!(all_up.is_ok(), "seed {seed}: {all_up:?}");
        play.run(ms(10_000));
        assert!(play.all_up(&[0, 1, 2]), "seed {seed}");
    }
}
