//! Direct reply-to: requests with `amq.rabbitmq.reply-to`, answers without a queue.

use integration_tests::{Channel, Deliveries, refusal, with_broker};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Consumer};

const REPLIES: &str = "amq.rabbitmq.reply-to";

async fn consume_replies(channel: &Channel) -> Consumer {
    let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
    channel.consume_with(REPLIES, "", no_ack, FieldTable::default()).await.expect("basic.consume-ok")
}

fn asking() -> BasicProperties {
    BasicProperties::default().with_reply_to(REPLIES.into()).with_correlation_id("7".into())
}

#[test]
fn an_answer_finds_its_asker() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let asker = client.channel().await;
        let mut replies = consume_replies(&asker).await;
        let server = broker.connect().await.channel().await;
        server.queue("service").await;
        let mut requests = server.consume("service", "").await;
        for round in 0..20 {
            asker.publish_with("", "service", b"question", asking()).await;
            let request = requests.delivery().await;
            let name = request.properties.reply_to().clone().expect("a name");
            assert!(name.as_str().starts_with("amq.rabbitmq.reply-to."), "{name}");
            let looked = server.look(name.as_str()).await.expect("it can be looked at");
            assert_eq!((looked.message_count(), looked.consumer_count()), (0, 1));
            let answer = BasicProperties::default().with_correlation_id("7".into());
            server.publish_with("", name.as_str(), format!("answer {round}").as_bytes(), answer).await;
            let reply = replies.delivery().await;
            assert_eq!(reply.data, format!("answer {round}").as_bytes());
            assert_eq!(reply.properties.correlation_id().as_ref().map(|id| id.as_str()), Some("7"));
            assert_eq!(reply.exchange.as_str(), "");
        }
    });
}

#[test]
fn when_the_asker_is_gone_so_is_the_name() {
    with_broker(async |broker| {
        let asker = broker.connect().await;
        let channel = asker.channel().await;
        let _replies = consume_replies(&channel).await;
        let client = broker.connect().await;
        let server = client.confirm_channel().await;
        server.queue("service").await;
        channel.publish_with("", "service", b"question", asking()).await;
        let request = server.take_soon("service").await;
        let name = request.properties.reply_to().clone().expect("a name");
        assert!(server.publish_mandatory("", name.as_str(), "answer").await.take_message().is_none());
        asker.end().await;
        let lost = server.publish_mandatory("", name.as_str(), "too late").await;
        assert_eq!(lost.take_message().expect("it comes back").reply_code, 312);
        assert_eq!(refusal(server.look(name.as_str()).await).0, 404);
    });
}

#[test]
fn misuse_is_refused() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let with_ack = channel.consume_with(REPLIES, "", Default::default(), FieldTable::default()).await;
        let expected = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
        assert_eq!(refusal(with_ack), (406, expected.to_owned()));
        let channel = client.channel().await;
        let _replies = consume_replies(&channel).await;
        let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let again = channel.consume_with(REPLIES, "", no_ack, FieldTable::default()).await;
        assert_eq!(refusal(again), (406, "PRECONDITION_FAILED - reply consumer already set".to_owned()));
        let channel = client.confirm_channel().await;
        let refused = channel.refused_publish("", "any", asking()).await;
        assert_eq!(refused, (406, "PRECONDITION_FAILED - fast reply consumer does not exist".to_owned()));
    });
}

#[test]
fn a_made_up_name_leads_nowhere() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        let lost = channel.publish_mandatory("", "amq.rabbitmq.reply-to.made-up", "m").await;
        assert!(lost.take_message().is_some());
        let refused = refusal(channel.look("amq.rabbitmq.reply-to.made-up").await);
        let expected = "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.made-up' in vhost '/'";
        assert_eq!(refused, (404, expected.to_owned()));
    });
}
