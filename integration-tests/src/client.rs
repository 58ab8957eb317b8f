//! lapin with the words that tests need: short calls that fail the test when they fail.

use crate::wait::{WAIT, soon, wait_for};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind};
use std::net::SocketAddr;
use std::ops::Deref;

/// A lapin connection.
#[derive(Debug)]
pub struct Client(pub Connection);

impl Deref for Client {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Client {
    /// Connects as guest to `/`.
    pub async fn connect(addr: SocketAddr) -> Client {
        Client::connect_to(&format!("amqp://{addr}/%2f")).await.expect("guest may connect")
    }

    /// Connects to a URI.
    pub async fn connect_to(uri: &str) -> lapin::Result<Client> {
        soon("a connection", Connection::connect(uri, ConnectionProperties::default())).await.map(Client)
    }

    /// Opens a channel.
    pub async fn channel(&self) -> Channel {
        Channel(soon("a channel", self.0.create_channel()).await.expect("channel.open-ok"))
    }

    /// Opens a channel that confirms.
    pub async fn confirm_channel(&self) -> Channel {
        let channel = self.channel().await;
        let selected = soon("confirm.select-ok", channel.confirm_select(ConfirmSelectOptions::default()));
        selected.await.expect("confirm.select-ok");
        channel
    }

    /// Closes it, with a goodbye.
    pub async fn end(self) {
        soon("connection.close-ok", self.0.close(200, "OK".into())).await.expect("connection.close-ok");
    }
}

/// A lapin channel.
#[derive(Clone, Debug)]
pub struct Channel(pub lapin::Channel);

impl Deref for Channel {
    type Target = lapin::Channel;

    fn deref(&self) -> &lapin::Channel {
        &self.0
    }
}

/// A field table.
pub fn arguments<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.into(), value);
    }
    table
}

/// Properties of a persistent message, and nothing else.
pub fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

/// A long string as a field value.
pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// A delivery's body as text.
pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

/// The bodies of deliveries.
pub fn bodies_of(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

/// A header of a delivery.
pub fn header(delivery: &Delivery, name: &str) -> Option<AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name).cloned()
}

/// The reply code and text with which the broker refused.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: lapin::Result<T>) -> (u16, String) {
    let error = result.expect_err("the broker refuses");
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => (error.get_id(), error.get_message().to_string()),
        other => panic!("not a refusal of the broker: {other:?}"),
    }
}

impl Channel {
    /// Declares a transient queue that is neither exclusive nor deleted by itself.
    pub async fn queue(&self, name: &str) {
        self.queue_with(name, FieldTable::default()).await;
    }

    /// The same with arguments.
    pub async fn queue_with(&self, name: &str, arguments: FieldTable) {
        let declared = self.declare(name, QueueDeclareOptions::default(), arguments).await;
        declared.expect("queue.declare-ok");
    }

    /// Declares a durable queue.
    pub async fn durable_queue(&self, name: &str) {
        self.durable_queue_with(name, FieldTable::default()).await;
    }

    /// The same with arguments.
    pub async fn durable_queue_with(&self, name: &str, arguments: FieldTable) {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        self.declare(name, durable, arguments).await.expect("queue.declare-ok");
    }

    /// Declares a queue.
    pub async fn declare(
        &self,
        name: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> lapin::Result<lapin::Queue> {
        soon("queue.declare-ok", self.queue_declare(name.into(), options, arguments)).await
    }

    /// What a passive declare says.
    pub async fn look(&self, name: &str) -> lapin::Result<lapin::Queue> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        self.declare(name, options, FieldTable::default()).await
    }

    /// Messages that are ready in a queue.
    pub async fn depth(&self, name: &str) -> u32 {
        self.look(name).await.expect("the queue is there").message_count()
    }

    /// Consumers of a queue.
    pub async fn consumer_count(&self, name: &str) -> u32 {
        self.look(name).await.expect("the queue is there").consumer_count()
    }

    /// Declares a transient exchange.
    pub async fn exchange(&self, name: &str, kind: &str) {
        self.exchange_with(name, kind, FieldTable::default()).await;
    }

    /// The same with arguments.
    pub async fn exchange_with(&self, name: &str, kind: &str, arguments: FieldTable) {
        let declared = self.declare_exchange(name, kind, ExchangeDeclareOptions::default(), arguments).await;
        declared.expect("exchange.declare-ok");
    }

    /// Declares an exchange.
    pub async fn declare_exchange(
        &self,
        name: &str,
        kind: &str,
        options: ExchangeDeclareOptions,
        arguments: FieldTable,
    ) -> lapin::Result<()> {
        let kind = ExchangeKind::Custom(kind.to_owned());
        soon("exchange.declare-ok", self.exchange_declare(name.into(), kind, options, arguments)).await
    }

    /// Binds a queue.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.bind_with(queue, exchange, key, FieldTable::default()).await.expect("queue.bind-ok");
    }

    /// The same with arguments.
    pub async fn bind_with(
        &self,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: FieldTable,
    ) -> lapin::Result<()> {
        let options = QueueBindOptions::default();
        soon("queue.bind-ok", self.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments))
            .await
    }

    /// Declares a queue and binds it.
    pub async fn bound_queue(&self, queue: &str, exchange: &str, key: &str) {
        self.queue(queue).await;
        self.bind(queue, exchange, key).await;
    }

    /// Publishes; with confirms on, waits for the outcome.
    pub async fn publish(&self, exchange: &str, key: &str, body: &str) -> Confirmation {
        self.publish_with(exchange, key, body.as_bytes(), BasicProperties::default()).await
    }

    /// The same with properties.
    pub async fn publish_with(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Confirmation {
        let sent = self.send(exchange, key, BasicPublishOptions::default(), body, properties).await;
        sent.expect("the broker takes the message")
    }

    /// Publishes a persistent message.
    pub async fn publish_persistent(&self, exchange: &str, key: &str, body: &str) -> Confirmation {
        self.publish_with(exchange, key, body.as_bytes(), persistent()).await
    }

    /// Publishes a mandatory message.
    pub async fn publish_mandatory(&self, exchange: &str, key: &str, body: &str) -> Confirmation {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent = self.send(exchange, key, options, body.as_bytes(), BasicProperties::default()).await;
        sent.expect("the broker takes the message")
    }

    /// Publishes on a confirm channel what the broker refuses; gives its reply code and text.
    pub async fn refused_publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
    ) -> (u16, String) {
        refusal(self.send(exchange, key, BasicPublishOptions::default(), b"refused", properties).await)
    }

    /// Publishes, in any way.
    pub async fn send(
        &self,
        exchange: &str,
        key: &str,
        options: BasicPublishOptions,
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<Confirmation> {
        let published = self.basic_publish(exchange.into(), key.into(), options, body, properties).await?;
        soon("a confirm", published).await
    }

    /// Gets a message that must be acknowledged.
    pub async fn get(&self, queue: &str) -> Option<Delivery> {
        self.get_with(queue, false).await
    }

    /// Gets a message that is gone then.
    pub async fn take(&self, queue: &str) -> Option<Delivery> {
        self.get_with(queue, true).await
    }

    async fn get_with(&self, queue: &str, no_ack: bool) -> Option<Delivery> {
        let got = soon("basic.get-ok", self.basic_get(queue.into(), BasicGetOptions { no_ack })).await;
        got.expect("basic.get-ok or get-empty").map(|message| message.delivery)
    }

    /// Takes everything that is ready.
    pub async fn take_all(&self, queue: &str) -> Vec<Delivery> {
        let mut all = Vec::new();
        while let Some(delivery) = self.take(queue).await {
            all.push(delivery);
        }
        all
    }

    /// Takes everything that is ready and gives the bodies.
    pub async fn bodies(&self, queue: &str) -> Vec<String> {
        bodies_of(&self.take_all(queue).await)
    }

    /// Takes a message that may still be on its way.
    pub async fn take_soon(&self, queue: &str) -> Delivery {
        self.await_depth(queue, 1).await;
        self.take(queue).await.expect("a message is ready")
    }

    /// Waits until so many messages are ready.
    #[track_caller]
    pub fn await_depth(&self, queue: &str, depth: u32) -> impl Future<Output = ()> {
        wait_for(WAIT, "the depth of a queue", async move || self.depth(queue).await == depth)
    }

    /// Consumes with acknowledgement.
    pub async fn consume(&self, queue: &str, tag: &str) -> Consumer {
        let consumer = self.consume_with(queue, tag, Default::default(), FieldTable::default()).await;
        consumer.expect("basic.consume-ok")
    }

    /// Consumes, in any way.
    pub async fn consume_with(
        &self,
        queue: &str,
        tag: &str,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> lapin::Result<Consumer> {
        soon("basic.consume-ok", self.basic_consume(queue.into(), tag.into(), options, arguments)).await
    }

    /// Sets the prefetch count of the consumers that follow.
    pub async fn prefetch(&self, count: u16) {
        let qos = soon("basic.qos-ok", self.basic_qos(count, BasicQosOptions::default()));
        qos.await.expect("basic.qos-ok");
    }

    /// A round trip: what was sent before has been seen, what was owed before has come.
    pub async fn sync(&self) {
        let flow = soon("channel.flow-ok", self.channel_flow(ChannelFlowOptions { active: true }));
        assert!(flow.await.expect("channel.flow-ok"));
    }
}

/// What a consumer of lapin is asked in tests.
pub trait Deliveries {
    /// The next delivery.
    fn delivery(&mut self) -> impl Future<Output = Delivery>;
    /// The next deliveries.
    fn deliveries(&mut self, count: usize) -> impl Future<Output = Vec<Delivery>>;
    /// Whether the broker has cancelled it.
    fn ended(&mut self) -> impl Future<Output = bool>;
    /// What has come and was not looked at.
    fn waiting(&mut self) -> Vec<Delivery>;
}

impl Deliveries for Consumer {
    async fn delivery(&mut self) -> Delivery {
        let next = soon("a delivery", self.next()).await;
        next.expect("the consumer is there").expect("the channel is open")
    }

    async fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            all.push(self.delivery().await);
        }
        all
    }

    async fn ended(&mut self) -> bool {
        soon("the end of the consumer", self.next()).await.is_none()
    }

    fn waiting(&mut self) -> Vec<Delivery> {
        let mut all = Vec::new();
        while let Some(Some(Ok(delivery))) = self.next().now_or_never() {
            all.push(delivery);
        }
        all
    }
}
