//! Topic exchanges: words, `*` for one word, `#` for any number of words.

use integration_tests::{arguments, text, with_broker};

/// Pattern, keys that match, keys that do not.
const PATTERNS: &[(&str, &[&str], &[&str])] = &[
    ("#", &["", "a", "a.b", "..", "a..b"], &[]),
    ("*", &["a"], &["", "a.b", "."]),
    ("a.b", &["a.b"], &["a", "a.b.c", "A.b", "a.b."]),
    ("a.*", &["a.b", "a."], &["a", "a.b.c", "b.a"]),
    ("*.b", &["a.b", ".b"], &["b", "a.b.b"]),
    ("a.#", &["a", "a.b", "a.b.c"], &["b", "ab", "b.a"]),
    ("#.c", &["c", "a.c", "a.b.c"], &["cc", "c.a"]),
    ("a.#.z", &["a.z", "a.b.z", "a.b.c.z"], &["a", "z", "a.z.b", "b.a.z"]),
    ("*.#", &["a", "a.b", "."], &[""]),
    ("#.#", &["", "a", "a.b.c"], &[]),
    ("*.*.*", &["a.b.c", ".."], &["a.b", "a.b.c.d"]),
    ("a.*.#", &["a.b", "a.b.c.d"], &["a", "b.a"]),
    ("#.a.#", &["a", "x.a", "a.x", "x.y.a.z"], &["x", "aa", "x.aa.y"]),
    ("", &[""], &["a", "."]),
    ("a.**", &["a.**"], &["a.b", "a.b.c"]),
    ("lazy.#", &["lazy", "lazy.orange.male.rabbit"], &["quick.lazy"]),
];

#[test]
fn each_pattern_takes_the_keys_it_should() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("t", "topic").await;
        for (pattern, _, _) in PATTERNS {
            channel.bound_queue(&format!("q-{pattern}"), "t", pattern).await;
        }
        let mut keys: Vec<&str> =
            PATTERNS.iter().flat_map(|row| row.1.iter().chain(row.2)).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in &keys {
            channel.publish("t", key, key).await;
        }
        for (pattern, matching, others) in PATTERNS {
            let got = channel.bodies(&format!("q-{pattern}")).await;
            for key in *matching {
                assert!(got.iter().any(|body| body == key), "{pattern:?} must take {key:?}: {got:?}");
            }
            for key in *others {
                assert!(!got.iter().any(|body| body == key), "{pattern:?} must not take {key:?}");
            }
        }
    });
}

#[test]
fn several_matching_patterns_bring_one_copy() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.bound_queue("q", "amq.topic", "a.*").await;
        for pattern in ["a.#", "#", "*.b", "a.b", "#.b"] {
            channel.bind("q", "amq.topic", pattern).await;
        }
        channel.bind_with("q", "amq.topic", "a.b", arguments([("x", text("y"))])).await.expect("bound");
        channel.publish("amq.topic", "a.b", "m").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}

#[test]
fn an_unbound_pattern_leaves_the_others_alone() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let patterns = ["a.#", "a.*", "a.b.c", "#"];
        for pattern in patterns {
            channel.bound_queue(pattern, "amq.topic", pattern).await;
        }
        let mut left: Vec<&str> = patterns.to_vec();
        for gone in ["a.*", "a.#", "#"] {
            let unbound =
                channel.queue_unbind(gone.into(), "amq.topic".into(), gone.into(), Default::default());
            unbound.await.expect("queue.unbind-ok");
            left.retain(|pattern| *pattern != gone);
            channel.publish("amq.topic", "a.b.c", gone).await;
            for pattern in patterns {
                let takes = left.contains(&pattern) && pattern != "a.*";
                let got = channel.bodies(pattern).await.len();
                assert_eq!(got, usize::from(takes), "{pattern} after {gone} was unbound");
            }
        }
    });
}

#[test]
fn a_key_of_many_words_is_matched_in_time() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.bound_queue("q", "amq.topic", "#.a.#.a.#.a.#.b").await;
        let key = "a.".repeat(120) + "c";
        channel.publish("amq.topic", &key, "no").await;
        let key = "a.".repeat(120) + "b";
        channel.publish("amq.topic", &key, "yes").await;
        assert_eq!(channel.bodies("q").await, ["yes"]);
    });
}
