//! Who may do what: configure, write and read by pattern, topics, vhosts, and changes that count at once.

use integration_tests::{Broker, Channel, Client, arguments, refusal, text, wait_for, with_broker};
use lapin::types::FieldTable;

/// A user "u" with these rights in `/`, connected.
async fn user(broker: &Broker, configure: &str, write: &str, read: &str) -> Client {
    broker.http_put("/api/users/u", r#"{"password":"p","tags":""}"#).await;
    permit(broker, configure, write, read).await;
    Client::connect_to(&format!("amqp://u:p@{}/%2f", broker.amqp)).await.expect("u may connect")
}

async fn permit(broker: &Broker, configure: &str, write: &str, read: &str) {
    let body = format!(r#"{{"configure":"{configure}","write":"{write}","read":"{read}"}}"#);
    broker.http_put("/api/permissions/%2f/u", &body).await;
}

fn refused(right: &str, what: &str) -> (u16, String) {
    (403, format!("ACCESS_REFUSED - {right} access to {what} in vhost '/' refused for user 'u'"))
}

/// A channel that guest has prepared: queues and exchanges named mine-* and other-*.
async fn prepared(broker: &Broker) -> Channel {
    let channel = broker.connect().await.channel().await;
    for name in ["mine", "other"] {
        channel.queue(&format!("{name}-q")).await;
        channel.exchange(&format!("{name}-x"), "direct").await;
    }
    channel
}

#[test]
fn each_method_needs_its_right() {
    with_broker(async |broker| {
        prepared(broker).await;
        let client = user(broker, "^mine-", "^mine-", "^mine-").await;
        let allowed = client.channel().await;
        allowed.queue("mine-new").await;
        allowed.bind("mine-q", "mine-x", "k").await;
        allowed.publish("mine-x", "k", "m").await;
        assert_eq!(allowed.bodies("mine-q").await, ["m"]);
        allowed.look("other-q").await.expect("a passive declare needs no right");

        let none = FieldTable::default;
        let channel = client.channel().await;
        let declared = channel.declare("other-new", Default::default(), none()).await;
        assert_eq!(refusal(declared), refused("configure", "queue 'other-new'"));
        let channel = client.channel().await;
        let deleted = channel.queue_delete("other-q".into(), Default::default()).await;
        assert_eq!(refusal(deleted), refused("configure", "queue 'other-q'"));
        let channel = client.channel().await;
        let declared = channel.declare_exchange("other-new", "direct", Default::default(), none()).await;
        assert_eq!(refusal(declared), refused("configure", "exchange 'other-new'"));
        let channel = client.channel().await;
        let bound = channel.bind_with("other-q", "mine-x", "k", none()).await;
        assert_eq!(refusal(bound), refused("write", "queue 'other-q'"));
        let channel = client.channel().await;
        let bound = channel.bind_with("mine-q", "other-x", "k", none()).await;
        assert_eq!(refusal(bound), refused("read", "exchange 'other-x'"));
        let channel = client.channel().await;
        let got = channel.basic_get("other-q".into(), Default::default()).await;
        assert_eq!(refusal(got), refused("read", "queue 'other-q'"));
        let channel = client.channel().await;
        let consumed = channel.consume_with("other-q", "", Default::default(), none()).await;
        assert_eq!(refusal(consumed), refused("read", "queue 'other-q'"));
        let channel = client.channel().await;
        let purged = channel.queue_purge("other-q".into(), Default::default()).await;
        assert_eq!(refusal(purged), refused("read", "queue 'other-q'"));
        let channel = client.confirm_channel().await;
        let published = channel.refused_publish("other-x", "k", Default::default()).await;
        assert_eq!(published, refused("write", "exchange 'other-x'"));
        let channel = client.confirm_channel().await;
        let published = channel.refused_publish("", "mine-q", Default::default()).await;
        assert_eq!(published, refused("write", "exchange 'amq.default'"));
    });
}

#[test]
fn dead_letter_and_alternate_exchanges_need_rights_too() {
    with_broker(async |broker| {
        prepared(broker).await;
        let client = user(broker, ".*", "^mine-", "^mine-").await;
        let dead = |exchange| arguments([("x-dead-letter-exchange", text(exchange))]);
        let channel = client.channel().await;
        channel.declare("mine-1", Default::default(), dead("mine-x")).await.expect("declared");
        let declared = channel.declare("mine-2", Default::default(), dead("other-x")).await;
        assert_eq!(refusal(declared), refused("write", "exchange 'other-x'"));
        let channel = client.channel().await;
        let declared = channel.declare("other-2", Default::default(), dead("mine-x")).await;
        assert_eq!(refusal(declared), refused("read", "queue 'other-2'"));
        let channel = client.channel().await;
        let alternate = arguments([("alternate-exchange", text("other-x"))]);
        let declared = channel.declare_exchange("mine-3", "direct", Default::default(), alternate).await;
        assert_eq!(refusal(declared), refused("write", "exchange 'other-x'"));
    });
}

#[test]
fn a_change_counts_at_once_also_for_remembered_routes() {
    with_broker(async |broker| {
        let guest = prepared(broker).await;
        guest.bind("mine-q", "mine-x", "k").await;
        let client = user(broker, "", ".*", "").await;
        let channel = client.confirm_channel().await;
        for _ in 0..3 {
            assert!(channel.publish("mine-x", "k", "m").await.is_ack());
        }
        permit(broker, "", "", "").await;
        let published = channel.refused_publish("mine-x", "k", Default::default()).await;
        assert_eq!(published, refused("write", "exchange 'mine-x'"));
        permit(broker, "", ".*", "").await;
        let channel = client.confirm_channel().await;
        assert!(channel.publish("mine-x", "k", "m").await.is_ack());
        assert_eq!(guest.depth("mine-q").await, 4);
    });
}

#[test]
fn topics_have_rights_of_their_own() {
    with_broker(async |broker| {
        prepared(broker).await;
        let client = user(broker, ".*", ".*", ".*").await;
        let body = r#"{"exchange":"amq.topic","write":"^{username}\\.","read":"^a\\."}"#;
        broker.http_put("/api/topic-permissions/%2f/u", body).await;
        let channel = client.confirm_channel().await;
        assert!(channel.publish("amq.topic", "u.x", "m").await.is_ack());
        let (code, text) = channel.refused_publish("amq.topic", "v.x", Default::default()).await;
        assert_eq!(code, 403);
        assert!(text.contains("access to topic 'v.x' in exchange"), "{text}");
        let channel = client.channel().await;
        channel.bind("mine-q", "amq.topic", "a.#").await;
        let (code, text) =
            refusal(channel.bind_with("mine-q", "amq.topic", "b.#", FieldTable::default()).await);
        assert_eq!(code, 403);
        assert!(text.contains("access to topic 'b.#' in exchange"), "{text}");
    });
}

#[test]
fn a_vhost_needs_an_entry_and_keeps_its_things_to_itself() {
    with_broker(async |broker| {
        prepared(broker).await;
        broker.http_put("/api/users/u", r#"{"password":"p","tags":""}"#).await;
        broker.http_put("/api/vhosts/v", "").await;
        let uri = |vhost: &str| format!("amqp://u:p@{}/{vhost}", broker.amqp);
        let refused = refusal(Client::connect_to(&uri("v")).await.map(|_| ()));
        assert_eq!(refused, (530, "NOT_ALLOWED - access to vhost 'v' refused for user 'u'".to_owned()));
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        broker.http_put("/api/permissions/v/u", all).await;
        let client = Client::connect_to(&uri("v")).await.expect("u may connect");
        let missing = refusal(client.channel().await.look("mine-q").await);
        assert_eq!(missing, (404, "NOT_FOUND - no queue 'mine-q' in vhost 'v'".to_owned()));
        client.channel().await.exchange("x", "topic").await;
    });
}

#[test]
fn deleted_users_and_vhosts_lose_their_connections() {
    with_broker(async |broker| {
        let client = user(broker, ".*", ".*", ".*").await;
        assert_eq!(broker.http("DELETE", "/api/users/u", "").await.0, 204);
        wait_for(integration_tests::WAIT, "the user's connection to go", async || {
            !client.status().connected()
        })
        .await;
        assert!(Client::connect_to(&format!("amqp://u:p@{}/%2f", broker.amqp)).await.is_err());
        broker.http_put("/api/vhosts/v", "").await;
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        broker.http_put("/api/permissions/v/guest", all).await;
        let uri = format!("amqp://guest:guest@{}/v", broker.amqp);
        let client = Client::connect_to(&uri).await.expect("guest may connect");
        assert_eq!(broker.http("DELETE", "/api/vhosts/v", "").await.0, 204);
        wait_for(integration_tests::WAIT, "the vhost's connection to go", async || {
            !client.status().connected()
        })
        .await;
    });
}
