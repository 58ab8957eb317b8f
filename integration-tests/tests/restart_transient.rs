//! What is not durable is gone after a restart, and what the broker promises about the rest holds: the
//! rows of the first table in docs/durability.md.

use integration_tests::{Broker, Client, persistent, with_restarts};
use lapin::BasicProperties;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

async fn is_queue(broker: &Broker, name: &str) -> bool {
    broker.http("GET", &format!("/api/queues/%2f/{name}"), "").await.0 == 200
}

async fn is_exchange(broker: &Broker, name: &str) -> bool {
    broker.http("GET", &format!("/api/exchanges/%2f/{name}"), "").await.0 == 200
}

#[test]
fn transient_messages_of_a_durable_queue_are_gone_and_leave_no_gap() {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        with_restarts(&[], async |broker| {
            let channel = broker.connect().await.confirm_channel().await;
            channel.durable_queue("q").await;
            for number in 0..40 {
                let transient = BasicProperties::default().with_delivery_mode(1);
                let properties = match number % 4 {
                    0 => persistent(),
                    1 => transient,
                    2 => persistent(),
                    _ => BasicProperties::default(),
                };
                channel.publish_with("", "q", number.to_string().as_bytes(), properties).await;
            }
            assert_eq!(channel.depth("q").await, 40);
            broker.restart(signal);
            let channel = broker.connect().await.confirm_channel().await;
            assert_eq!(channel.depth("q").await, 20);
            channel.publish_persistent("", "q", "new").await;
            let mut expected: Vec<String> = (0..40).step_by(2).map(|number| number.to_string()).collect();
            expected.push("new".to_owned());
            assert_eq!(channel.bodies("q").await, expected, "after signal {signal}");
        });
    }
}

/// Declares one of each kind; the connection keeps the exclusive ones.
async fn declare(broker: &Broker) -> Client {
    let client = broker.connect().await;
    let channel = client.channel().await;
    let options = |durable, exclusive, auto_delete| QueueDeclareOptions {
        durable,
        exclusive,
        auto_delete,
        ..Default::default()
    };
    for (name, options) in [
        ("q.durable", options(true, false, false)),
        ("q.transient", options(false, false, false)),
        ("q.exclusive", options(true, true, false)),
        ("q.auto", options(true, false, true)),
    ] {
        channel.declare(name, options, FieldTable::default()).await.expect("queue.declare-ok");
    }
    let options =
        |durable, auto_delete| ExchangeDeclareOptions { durable, auto_delete, ..Default::default() };
    for (name, options) in [
        ("e.durable", options(true, false)),
        ("e.transient", options(false, false)),
        ("e.auto", options(true, true)),
    ] {
        channel.declare_exchange(name, "fanout", options, FieldTable::default()).await.expect("declared");
    }
    for queue in ["q.durable", "q.transient"] {
        for exchange in ["e.durable", "e.transient", "e.auto"] {
            channel.bind(queue, exchange, "").await;
        }
    }
    client
}

#[test]
fn entities_that_are_not_durable_are_gone() {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        with_restarts(&[], async |broker| {
            let client = declare(broker).await;
            let channel = client.confirm_channel().await;
            let consumer = channel.consume("q.auto", "c").await;
            for queue in ["q.durable", "q.transient", "q.exclusive", "q.auto"] {
                channel.publish_persistent("", queue, "m").await;
            }
            broker.restart(signal);
            drop(consumer);
            for (queue, stays) in [
                ("q.durable", true),
                ("q.transient", false),
                ("q.exclusive", false),
                ("q.auto", signal == libc::SIGKILL),
            ] {
                // An orderly stop closes the connections, so an auto-delete queue loses its last consumer.
                assert_eq!(is_queue(broker, queue).await, stays, "{queue} after signal {signal}");
            }
            for (exchange, stays) in [("e.durable", true), ("e.transient", false), ("e.auto", true)] {
                assert_eq!(is_exchange(broker, exchange).await, stays, "{exchange} after signal {signal}");
            }
            let channel = broker.connect().await.confirm_channel().await;
            assert_eq!(channel.bodies("q.durable").await, ["m"]);
            // Declared again, they are new ones without messages and bindings.
            channel.queue("q.transient").await;
            channel.publish("e.durable", "", "routed").await;
            assert_eq!(channel.depth("q.transient").await, 0);
            assert_eq!(channel.bodies("q.durable").await, ["routed"]);
        });
    }
}

#[test]
fn an_auto_delete_queue_goes_with_its_next_consumer() {
    with_restarts(&[], async |broker| {
        let client = declare(broker).await;
        broker.restart(libc::SIGKILL);
        drop(client);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.consumer_count("q.auto").await, 0);
        let consumer = channel.consume("q.auto", "c").await;
        channel.basic_cancel("c".into(), Default::default()).await.expect("basic.cancel-ok");
        drop(consumer);
        integration_tests::wait_for(integration_tests::WAIT, "the queue's end", async || {
            !is_queue(broker, "q.auto").await
        })
        .await;
        broker.restart(libc::SIGKILL);
        assert!(!is_queue(broker, "q.auto").await, "and it does not come back");
    });
}
