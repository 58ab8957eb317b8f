//! The table of methods: every class and method of AMQP 0-9-1 and of RabbitMQ's extensions, once.
//!
//! A row is `class, method, Variant, "name", sender [+ content] [{ fields }] [then [reserved]];`. Reserved
//! fields stand behind the others in every method that has some; they are read over, and written empty.
//!
//! Invariant: fields stand in wire order, and rows in the order of their ids.
//! Source: AMQP 0-9-1 section 1, RabbitMQ's `amqp-rabbitmq-0.9.1.json`.

use super::field::{Fault, Field, Reader, Writer};
use bytes::Bytes;
use types::FieldTable;

/// Who may send a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
    Both,
}

macro_rules! has_content {
    () => {
        false
    };
    (content) => {
        true
    };
}

macro_rules! methods {
    ($(
        $class:literal, $id:literal, $variant:ident, $name:literal, $sender:ident $(+ $content:ident)?
        $({ $($field:ident: $type:ty),* })? $(then [$($reserved:ty),*])?;
    )*) => {
        /// A method with its fields. Names are the specification's.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Method {
            $($variant $({ $($field: $type),* })?,)*
        }

        impl Method {
            /// Class and method id.
            pub fn class_method(&self) -> (u16, u16) {
                match self { $(Method::$variant { .. } => ($class, $id),)* }
            }

            /// Class and method name with a dot between.
            pub fn name(&self) -> &'static str {
                match self { $(Method::$variant { .. } => $name,)* }
            }

            /// Whether a content header follows.
            pub fn has_content(&self) -> bool {
                match self { $(Method::$variant { .. } => has_content!($($content)?),)* }
            }

            fn sender(&self) -> Sender {
                match self { $(Method::$variant { .. } => Sender::$sender,)* }
            }

            /// Whether a client may send this to a broker.
            pub fn from_client(&self) -> bool {
                self.sender() != Sender::Server
            }

            /// Whether a broker may send this to a client.
            pub fn from_server(&self) -> bool {
                self.sender() != Sender::Client
            }

            /// The fields behind these ids; None when there is no such method.
            pub(super) fn take(ids: (u16, u16), from: &mut Reader<'_>) -> Result<Option<Method>, Fault> {
                Ok(Some(match ids {
                    $(($class, $id) => {
                        let method = Method::$variant { $($($field: Field::take(from)?,)*)? };
                        $($(<$reserved as Field>::take(from)?;)*)?
                        method
                    })*
                    _ => return Ok(None),
                }))
            }

            /// Appends the fields.
            #[allow(unused_variables)] // some methods have no fields
            pub(super) fn put_fields(&self, to: &mut Writer<'_>) {
                match self {
                    $(Method::$variant { $($($field),*)? } => {
                        $($($field.put(to);)*)?
                        $($(<$reserved>::default().put(to);)*)?
                    })*
                }
            }
        }

        /// The name behind these ids.
        pub fn method_name(class: u16, method: u16) -> Option<&'static str> {
            Some(match (class, method) {
                $(($class, $id) => $name,)*
                _ => return None,
            })
        }

        /// For each method of the table, how to make any value of it.
        #[cfg(test)]
        pub(crate) fn any_of_each() -> Vec<proptest::strategy::BoxedStrategy<Method>> {
            use crate::tests::any::Any;
            use proptest::strategy::{Just, Strategy};
            vec![$(
                (Just(()), $($(<$type as Any>::any(),)*)?)
                    .prop_map(|((), $($($field,)*)?)| Method::$variant { $($($field),*)? })
                    .boxed(),
            )*]
        }
    };
}

methods! {
    10, 10, ConnectionStart, "connection.start", Server {
        version_major: u8, version_minor: u8, server_properties: FieldTable, mechanisms: Bytes, locales: Bytes
    };
    10, 11, ConnectionStartOk, "connection.start-ok", Client {
        client_properties: FieldTable, mechanism: String, response: Bytes, locale: String
    };
    10, 20, ConnectionSecure, "connection.secure", Server { challenge: Bytes };
    10, 21, ConnectionSecureOk, "connection.secure-ok", Client { response: Bytes };
    10, 30, ConnectionTune, "connection.tune", Server { channel_max: u16, frame_max: u32, heartbeat: u16 };
    10, 31, ConnectionTuneOk, "connection.tune-ok", Client { channel_max: u16, frame_max: u32, heartbeat: u16 };
    10, 40, ConnectionOpen, "connection.open", Client { virtual_host: String } then [String, bool];
    10, 41, ConnectionOpenOk, "connection.open-ok", Server then [String];
    10, 50, ConnectionClose, "connection.close", Both {
        reply_code: u16, reply_text: String, class_id: u16, method_id: u16
    };
    10, 51, ConnectionCloseOk, "connection.close-ok", Both;
    10, 60, ConnectionBlocked, "connection.blocked", Server { reason: String };
    10, 61, ConnectionUnblocked, "connection.unblocked", Server;
    10, 70, ConnectionUpdateSecret, "connection.update-secret", Client { new_secret: Bytes, reason: String };
    10, 71, ConnectionUpdateSecretOk, "connection.update-secret-ok", Server;

    20, 10, ChannelOpen, "channel.open", Client then [String];
    20, 11, ChannelOpenOk, "channel.open-ok", Server then [Bytes];
    20, 20, ChannelFlow, "channel.flow", Both { active: bool };
    20, 21, ChannelFlowOk, "channel.flow-ok", Both { active: bool };
    20, 40, ChannelClose, "channel.close", Both {
        reply_code: u16, reply_text: String, class_id: u16, method_id: u16
    };
    20, 41, ChannelCloseOk, "channel.close-ok", Both;

    30, 10, AccessRequest, "access.request", Client {
        realm: String, exclusive: bool, passive: bool, active: bool, write: bool, read: bool
    };
    30, 11, AccessRequestOk, "access.request-ok", Server { ticket: u16 };

    40, 10, ExchangeDeclare, "exchange.declare", Client {
        ticket: u16, exchange: String, kind: String, passive: bool, durable: bool, auto_delete: bool,
        internal: bool, nowait: bool, arguments: FieldTable
    };
    40, 11, ExchangeDeclareOk, "exchange.declare-ok", Server;
    40, 20, ExchangeDelete, "exchange.delete", Client {
        ticket: u16, exchange: String, if_unused: bool, nowait: bool
    };
    40, 21, ExchangeDeleteOk, "exchange.delete-ok", Server;
    40, 30, ExchangeBind, "exchange.bind", Client {
        ticket: u16, destination: String, source: String, routing_key: String, nowait: bool,
        arguments: FieldTable
    };
    40, 31, ExchangeBindOk, "exchange.bind-ok", Server;
    40, 40, ExchangeUnbind, "exchange.unbind", Client {
        ticket: u16, destination: String, source: String, routing_key: String, nowait: bool,
        arguments: FieldTable
    };
    40, 51, ExchangeUnbindOk, "exchange.unbind-ok", Server;

    50, 10, QueueDeclare, "queue.declare", Client {
        ticket: u16, queue: String, passive: bool, durable: bool, exclusive: bool, auto_delete: bool,
        nowait: bool, arguments: FieldTable
    };
    50, 11, QueueDeclareOk, "queue.declare-ok", Server {
        queue: String, message_count: u32, consumer_count: u32
    };
    50, 20, QueueBind, "queue.bind", Client {
        ticket: u16, queue: String, exchange: String, routing_key: String, nowait: bool, arguments: FieldTable
    };
    50, 21, QueueBindOk, "queue.bind-ok", Server;
    50, 30, QueuePurge, "queue.purge", Client { ticket: u16, queue: String, nowait: bool };
    50, 31, QueuePurgeOk, "queue.purge-ok", Server { message_count: u32 };
    50, 40, QueueDelete, "queue.delete", Client {
        ticket: u16, queue: String, if_unused: bool, if_empty: bool, nowait: bool
    };
    50, 41, QueueDeleteOk, "queue.delete-ok", Server { message_count: u32 };
    50, 50, QueueUnbind, "queue.unbind", Client {
        ticket: u16, queue: String, exchange: String, routing_key: String, arguments: FieldTable
    };
    50, 51, QueueUnbindOk, "queue.unbind-ok", Server;

    60, 10, BasicQos, "basic.qos", Client { prefetch_size: u32, prefetch_count: u16, global: bool };
    60, 11, BasicQosOk, "basic.qos-ok", Server;
    60, 20, BasicConsume, "basic.consume", Client {
        ticket: u16, queue: String, consumer_tag: String, no_local: bool, no_ack: bool, exclusive: bool,
        nowait: bool, arguments: FieldTable
    };
    60, 21, BasicConsumeOk, "basic.consume-ok", Server { consumer_tag: String };
    60, 30, BasicCancel, "basic.cancel", Both { consumer_tag: String, nowait: bool };
    60, 31, BasicCancelOk, "basic.cancel-ok", Both { consumer_tag: String };
    60, 40, BasicPublish, "basic.publish", Client + content {
        ticket: u16, exchange: String, routing_key: String, mandatory: bool, immediate: bool
    };
    60, 50, BasicReturn, "basic.return", Server + content {
        reply_code: u16, reply_text: String, exchange: String, routing_key: String
    };
    60, 60, BasicDeliver, "basic.deliver", Server + content {
        consumer_tag: String, delivery_tag: u64, redelivered: bool, exchange: String, routing_key: String
    };
    60, 70, BasicGet, "basic.get", Client { ticket: u16, queue: String, no_ack: bool };
    60, 71, BasicGetOk, "basic.get-ok", Server + content {
        delivery_tag: u64, redelivered: bool, exchange: String, routing_key: String, message_count: u32
    };
    60, 72, BasicGetEmpty, "basic.get-empty", Server then [String];
    60, 80, BasicAck, "basic.ack", Both { delivery_tag: u64, multiple: bool };
    60, 90, BasicReject, "basic.reject", Client { delivery_tag: u64, requeue: bool };
    60, 100, BasicRecoverAsync, "basic.recover-async", Client { requeue: bool };
    60, 110, BasicRecover, "basic.recover", Client { requeue: bool };
    60, 111, BasicRecoverOk, "basic.recover-ok", Server;
    60, 120, BasicNack, "basic.nack", Both { delivery_tag: u64, multiple: bool, requeue: bool };

    85, 10, ConfirmSelect, "confirm.select", Client { nowait: bool };
    85, 11, ConfirmSelectOk, "confirm.select-ok", Server;

    90, 10, TxSelect, "tx.select", Client;
    90, 11, TxSelectOk, "tx.select-ok", Server;
    90, 20, TxCommit, "tx.commit", Client;
    90, 21, TxCommitOk, "tx.commit-ok", Server;
    90, 30, TxRollback, "tx.rollback", Client;
    90, 31, TxRollbackOk, "tx.rollback-ok", Server;
}
