//! What is declared on one node is effective on all when it is answered.

use integration_tests::{Channel, Client, Cluster, arguments, refusal, text, with_cluster};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

async fn channels(cluster: &Cluster) -> [Channel; 3] {
    [
        cluster.connect(0).await.confirm_channel().await,
        cluster.connect(1).await.confirm_channel().await,
        cluster.connect(2).await.confirm_channel().await,
    ]
}

#[test]
fn what_was_declared_on_one_node_is_never_missing_on_another() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        for round in 0..300 {
            let (here, there) = (&channels[round % 3], &channels[(round + 1) % 3]);
            let name = format!("q{round}");
            here.queue(&name).await;
            let sent = there.publish_mandatory("", &name, "m").await;
            assert!(sent.is_ack() && sent.take_message().is_none(), "round {round}");
            let consumer = channels[(round + 2) % 3].take(&name).await;
            assert!(consumer.is_some(), "round {round}");
        }
    });
}

#[test]
fn bindings_and_exchanges_count_everywhere_at_once() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        channels[0].queue("q").await;
        for round in 0..150 {
            let (here, there) = (&channels[round % 3], &channels[(round + 1) % 3]);
            let name = format!("x{round}");
            here.exchange(&name, "direct").await;
            there.bind("q", &name, "k").await;
            let third = &channels[(round + 2) % 3];
            let sent = third.publish_mandatory(&name, "k", "m").await;
            assert!(sent.is_ack() && sent.take_message().is_none(), "round {round}");
            here.queue_unbind("q".into(), name.as_str().into(), "k".into(), FieldTable::default())
                .await
                .expect("unbind-ok");
            let sent = there.publish_mandatory(&name, "k", "m").await;
            assert!(sent.take_message().is_some(), "round {round}: it is unbound");
        }
    });
}

#[test]
fn a_queue_that_was_deleted_and_declared_again_is_a_new_one_everywhere() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        for round in 0..100 {
            let here = &channels[round % 3];
            here.queue("again").await;
            assert!(channels[(round + 1) % 3].publish("", "again", "m").await.is_ack());
            assert_eq!(channels[(round + 2) % 3].depth("again").await, 1, "round {round}");
            let deleter = &channels[(round + 1) % 3];
            let deleted = deleter.queue_delete("again".into(), QueueDeleteOptions::default()).await;
            assert_eq!(deleted.expect("delete-ok"), 1, "round {round}");
        }
    });
}

#[test]
fn of_declares_that_contradict_each_other_one_wins() {
    with_cluster(async |cluster| {
        for round in 0..40 {
            let name = format!("q{round}");
            let mut fresh = Vec::new();
            for node in 0..3 {
                fresh.push(cluster.connect(node).await.channel().await);
            }
            let attempt = |node: usize| {
                let limit = arguments([("x-max-length", AMQPValue::LongInt(10 + node as i32))]);
                fresh[node].declare(&name, QueueDeclareOptions::default(), limit)
            };
            let (a, b, c) = tokio::join!(attempt(0), attempt(1), attempt(2));
            let mut winners = 0;
            for outcome in [a, b, c] {
                match outcome {
                    Ok(_) => winners += 1,
                    refused => {
                        let (code, text) = refusal(refused);
                        assert_eq!(code, 406, "{text}");
                        let expected = format!(
                            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{name}' in vhost '/'"
                        );
                        assert!(text.starts_with(&expected), "{text}");
                    }
                }
            }
            assert_eq!(winners, 1, "round {round}");
        }
    });
}

#[test]
fn the_same_declare_on_all_nodes_at_once_is_no_contradiction() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        for round in 0..60 {
            let name = format!("q{round}");
            let [one, two, three] = &channels;
            tokio::join!(one.durable_queue(&name), two.durable_queue(&name), three.durable_queue(&name));
            assert!(channels[round % 3].publish("", &name, "m").await.is_ack());
            assert_eq!(channels[(round + 1) % 3].depth(&name).await, 1, "one queue, not three");
        }
    });
}

#[test]
fn an_exclusive_queue_declared_on_two_nodes_has_one_owner() {
    with_cluster(async |cluster| {
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        for round in 0..20 {
            let name = format!("q{round}");
            let (one, two) = (cluster.connect(0).await, cluster.connect(1).await);
            let (one, two) = (one.channel().await, two.channel().await);
            let none = FieldTable::default;
            let (a, b) =
                tokio::join!(one.declare(&name, exclusive, none()), two.declare(&name, exclusive, none()));
            let refused: Vec<_> = [a, b].into_iter().filter(Result::is_err).collect();
            assert_eq!(refused.len(), 1, "round {round}");
            assert!(refused.into_iter().all(|refused| refusal(refused).0 == 405));
        }
    });
}

#[test]
fn users_permissions_and_vhosts_count_on_every_node_when_answered() {
    with_cluster(async |cluster| {
        for round in 0..15 {
            let (here, there) = (round % 3, (round + 1) % 3);
            let (vhost, user) = (format!("v{round}"), format!("u{round}"));
            let api = cluster.node(here);
            api.http_put(&format!("/api/vhosts/{vhost}"), "{}").await;
            api.http_put(&format!("/api/users/{user}"), r#"{"password":"p","tags":""}"#).await;
            let uri = format!("amqp://{user}:p@{}/{vhost}", cluster.node(there).amqp);
            assert!(Client::connect_to(&uri).await.is_err(), "no rights yet");
            let rights = r#"{"configure":"^mine","write":".*","read":".*"}"#;
            api.http_put(&format!("/api/permissions/{vhost}/{user}"), rights).await;
            let client = Client::connect_to(&uri).await.expect("may connect at once");
            client.channel().await.queue("mine").await;
            let channel = client.channel().await;
            let refused = refusal(channel.declare("other", Default::default(), FieldTable::default()).await);
            assert_eq!(refused.0, 403);
            let more = r#"{"configure":".*","write":".*","read":".*"}"#;
            cluster.node((round + 2) % 3).http_put(&format!("/api/permissions/{vhost}/{user}"), more).await;
            client.channel().await.queue("other").await;
            let (status, _) = api.http("DELETE", &format!("/api/users/{user}"), "").await;
            assert_eq!(status, 204);
            assert!(Client::connect_to(&uri).await.is_err(), "gone everywhere");
        }
    });
}

#[test]
fn policies_count_on_every_node_when_answered() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        for (node, channel) in channels.iter().enumerate() {
            channel.durable_queue(&format!("p{node}")).await;
        }
        for round in 1..=6_u32 {
            let body = format!(
                r#"{{"pattern":"^p","definition":{{"max-length":{round},"overflow":"reject-publish"}},"apply-to":"queues"}}"#
            );
            let api = cluster.node(round as usize % 3);
            api.http_put("/api/policies/%2f/limit", &body).await;
            for queue in 0..3 {
                let (name, publisher) = (format!("p{queue}"), &channels[(queue + 1) % 3]);
                let mut taken = 0;
                while publisher.publish("", &name, "m").await.is_ack() {
                    taken += 1;
                    assert!(taken <= round, "more than the policy lets in");
                }
                assert_eq!(channels[queue].depth(&name).await, round);
            }
        }
    });
}

#[test]
fn an_exchanges_policy_counts_on_every_node() {
    with_cluster(async |cluster| {
        let channels = channels(cluster).await;
        channels[0].exchange("main", "direct").await;
        channels[1].exchange("rest", "fanout").await;
        channels[2].durable_queue("others").await;
        channels[2].bind("others", "rest", "").await;
        let lost = channels[1].publish_mandatory("main", "odd", "m").await;
        assert!(lost.take_message().is_some());
        let body =
            r#"{"pattern":"^main$","definition":{"alternate-exchange":"rest"},"apply-to":"exchanges"}"#;
        cluster.node(2).http_put("/api/policies/%2f/ae", body).await;
        for channel in &channels {
            let sent = channel.publish_mandatory("main", "odd", "m").await;
            assert!(sent.is_ack() && sent.take_message().is_none());
        }
        assert_eq!(channels[0].depth("others").await, 3);
    });
}

#[test]
fn a_declare_with_other_arguments_is_refused_on_every_node() {
    with_cluster(async |cluster| {
        let fields = arguments([("x-dead-letter-exchange", text("dead"))]);
        cluster.connect(0).await.channel().await.durable_queue_with("q", fields.clone()).await;
        for node in 0..3 {
            let client = cluster.connect(node).await;
            client.channel().await.durable_queue_with("q", fields.clone()).await;
            let channel = client.channel().await;
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            let (code, text) = refusal(channel.declare("q", durable, FieldTable::default()).await);
            assert_eq!(code, 406);
            let expected = "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'q'";
            assert!(text.starts_with(expected), "{text}");
        }
    });
}
