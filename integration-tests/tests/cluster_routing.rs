//! Messages that go on by themselves: dead letters, alternate exchanges, delays and replies, across nodes.

use integration_tests::{
    Channel, Cluster, Deliveries, arguments, bodies_of, header, refusal, text, with_cluster,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use std::time::{Duration, Instant};

async fn channels(cluster: &Cluster) -> [Channel; 3] {
    [
        cluster.connect(0).await.confirm_channel().await,
        cluster.connect(1).await.confirm_channel().await,
        cluster.connect(2).await.confirm_channel().await,
    ]
}

fn dead_letters_to(queue: &str) -> FieldTable {
    arguments([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))])
}

#[test]
fn rejected_messages_go_to_a_dead_letter_queue_of_another_node() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        second.durable_queue("dead").await;
        first.durable_queue_with("q", dead_letters_to("dead")).await;
        for number in 0..500 {
            assert!(third.publish_persistent("", "q", &number.to_string()).await.is_ack());
        }
        let mut consumer = third.consume("q", "c").await;
        for _ in 0..500 {
            consumer.delivery().await.reject(Default::default()).await.expect("reject");
        }
        third.await_depth("dead", 500).await;
        let dead = first.take_all("dead").await;
        let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        assert_eq!(bodies_of(&dead), expected);
        assert_eq!(header(&dead[0], "x-first-death-reason"), Some(text("rejected")));
        assert_eq!(header(&dead[0], "x-first-death-queue"), Some(text("q")));
    });
}

#[test]
fn messages_go_round_between_nodes_without_end_and_without_loss() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        let mut to_b = dead_letters_to("b");
        to_b.insert("x-message-ttl".into(), AMQPValue::LongInt(20));
        first.durable_queue_with("a", to_b).await;
        second.durable_queue_with("b", dead_letters_to("a")).await;
        for number in 0..20 {
            assert!(third.publish_persistent("", "a", &number.to_string()).await.is_ack());
        }
        // From b they are sent back to a by hand, where they expire to b again.
        for _ in 0..3 {
            third.await_depth("b", 20).await;
            let mut back = Vec::new();
            while let Some(message) = third.get("b").await {
                back.push(message);
            }
            for message in &back {
                message.reject(Default::default()).await.expect("reject");
            }
        }
        third.await_depth("b", 20).await;
        let mut bodies: Vec<u32> =
            third.bodies("b").await.iter().map(|body| body.parse().expect("a number")).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn expired_messages_leave_the_home_in_time() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        second.durable_queue("dead").await;
        first.durable_queue_with("q", dead_letters_to("dead")).await;
        let began = Instant::now();
        let soon = BasicProperties::default().with_expiration("300".into());
        third.publish_with("", "q", b"brief", soon).await;
        third.publish("", "q", "lasting").await;
        third.await_depth("dead", 1).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(295), "{took:?}");
        assert_eq!(third.bodies("dead").await, ["brief"]);
        assert_eq!(third.bodies("q").await, ["lasting"]);
    });
}

#[test]
fn a_full_queue_refuses_publishes_over_the_hop() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        let mut fields = arguments([("x-max-length", AMQPValue::LongInt(2))]);
        fields.insert("x-overflow".into(), text("reject-publish"));
        first.durable_queue_with("q", fields).await;
        let mut outcomes = Vec::new();
        for body in ["a", "b", "c", "d"] {
            outcomes.push(second.publish_persistent("", "q", body).await.is_ack());
        }
        assert_eq!(outcomes, [true, true, false, false]);
        assert_eq!(third.take("q").await.expect("a message").data, b"a");
        assert!(third.publish("", "q", "e").await.is_ack());
        assert!(!second.publish("", "q", "f").await.is_ack());
        assert_eq!(second.bodies("q").await, ["b", "e"]);
    });
}

#[test]
fn what_is_dropped_at_the_head_is_dead_lettered_to_another_node() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        second.durable_queue("dead").await;
        let mut fields = dead_letters_to("dead");
        fields.insert("x-max-length".into(), AMQPValue::LongInt(3));
        first.durable_queue_with("q", fields).await;
        for body in ["a", "b", "c", "d", "e"] {
            assert!(third.publish("", "q", body).await.is_ack(), "{body}");
        }
        third.await_depth("dead", 2).await;
        assert_eq!(third.bodies("dead").await, ["a", "b"]);
        assert_eq!(second.bodies("q").await, ["c", "d", "e"]);
    });
}

#[test]
fn the_unrouted_goes_to_an_alternate_exchange_with_queues_elsewhere() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        first.exchange("rest", "fanout").await;
        second.exchange_with("main", "direct", arguments([("alternate-exchange", text("rest"))])).await;
        third.bound_queue("others", "rest", "").await;
        for channel in [&first, &second, &third] {
            assert_eq!(channel.publish_mandatory("main", "odd", "m").await, Confirmation::Ack(None));
        }
        assert_eq!(second.bodies("others").await, ["m", "m", "m"]);
    });
}

#[test]
fn one_message_reaches_queues_on_all_nodes() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        for (node, channel) in channels.iter().enumerate() {
            for number in 0..3 {
                let name = format!("q{node}-{number}");
                channel.durable_queue(&name).await;
                channel.bind(&name, "amq.fanout", "").await;
            }
        }
        for round in 0..60 {
            assert!(channels[round % 3].publish_persistent("amq.fanout", "", "m").await.is_ack());
        }
        for node in 0..3 {
            for number in 0..3 {
                let name = format!("q{node}-{number}");
                assert_eq!(channels[(node + 1) % 3].depth(&name).await, 60, "{name}: confirmed is there");
            }
        }
    });
}

#[test]
fn delayed_messages_come_to_queues_of_other_nodes() {
    with_cluster(async |cluster| {
        let [first, second, third] = channels(cluster).await;
        let inner = arguments([("x-delayed-type", text("direct"))]);
        first.exchange_with("delayed", "x-delayed-message", inner).await;
        second.durable_queue("q").await;
        second.bind("q", "delayed", "k").await;
        for publisher in [&first, &second, &third] {
            for delay in [400, 200] {
                let headers = arguments([("x-delay", AMQPValue::LongInt(delay))]);
                let properties = BasicProperties::default().with_headers(headers);
                let body = delay.to_string();
                let sent = publisher.publish_with("delayed", "k", body.as_bytes(), properties).await;
                assert!(sent.is_ack());
            }
        }
        third.await_depth("q", 6).await;
        let mut bodies = third.bodies("q").await;
        bodies.sort();
        assert_eq!(bodies, ["200", "200", "200", "400", "400", "400"]);
    });
}

const REPLIES: &str = "amq.rabbitmq.reply-to";

#[test]
fn answers_find_their_asker_on_another_node() {
    with_cluster(async |cluster| {
        let asker = cluster.connect(1).await;
        let asking = asker.channel().await;
        let no_ack = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
        let replies = asking.consume_with(REPLIES, "", no_ack, FieldTable::default()).await;
        let mut replies = replies.expect("basic.consume-ok");
        let [_, _, server] = channels(cluster).await;
        // The queue on one node, who asks on the second, who answers on the third.
        cluster.connect(0).await.channel().await.durable_queue("service").await;
        let mut requests = server.consume("service", "").await;
        let mut last = String::new();
        for round in 0..100 {
            let question = BasicProperties::default().with_reply_to(REPLIES.into());
            asking.publish_with("", "service", b"question", question).await;
            let request = requests.delivery().await;
            let name = request.properties.reply_to().clone().expect("a name");
            let sent = server.publish_mandatory("", name.as_str(), &format!("answer {round}")).await;
            assert!(sent.is_ack() && sent.take_message().is_none(), "round {round}");
            assert_eq!(replies.delivery().await.data, format!("answer {round}").as_bytes());
            last = name.to_string();
        }
        server.look(&last).await.expect("it can be looked at from another node");
        asker.end().await;
        let gone = cluster.connect(1).await.channel().await;
        assert_eq!(refusal(gone.look(&last).await).0, 404);
    });
}

#[test]
fn order_holds_for_each_channel_and_queue_over_the_hop() {
    with_cluster(async |cluster| {
        let home = cluster.connect(0).await.channel().await;
        home.durable_queue("q").await;
        let mut work = Vec::new();
        for publisher in 0..6 {
            let channel = cluster.connect(publisher % 3).await.confirm_channel().await;
            work.push(tokio::spawn(async move {
                for number in 0..300 {
                    let body = format!("{publisher} {number}");
                    // In turn, so that both kinds pass each other if they can.
                    let sent = match number % 2 {
                        0 => channel.publish_persistent("", "q", &body).await,
                        _ => channel.publish("", "q", &body).await,
                    };
                    assert!(sent.is_ack());
                }
            }));
        }
        let reader = cluster.connect(2).await.channel().await;
        let mut consumer = reader.consume("q", "c").await;
        let mut next = [0_usize; 6];
        for delivery in consumer.deliveries(6 * 300).await {
            let body = integration_tests::body(&delivery);
            let (publisher, number) = body.split_once(' ').expect("two numbers");
            let publisher: usize = publisher.parse().expect("a number");
            assert_eq!(number.parse::<usize>().expect("a number"), next[publisher], "of {publisher}");
            next[publisher] += 1;
        }
        for publisher in work {
            publisher.await.expect("all was confirmed");
        }
    });
}
