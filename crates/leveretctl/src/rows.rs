//! Columns of listings: which there are, which are shown unasked, and where their values stand in the
//! API's bodies.

use crate::failure::Failure;
use crate::output::{Table, arguments};
use serde_json::Value;

/// The columns of one kind of listing.
pub(crate) struct Columns {
    /// Shown when none are asked for.
    pub(crate) default: &'static [&'static str],
    /// All that can be asked for.
    pub(crate) known: &'static [&'static str],
}

pub(crate) const QUEUES: Columns = Columns {
    default: &["name", "messages"],
    known: &[
        "name",
        "durable",
        "auto_delete",
        "arguments",
        "policy",
        "operator_policy",
        "effective_policy_definition",
        "pid",
        "owner_pid",
        "exclusive",
        "exclusive_consumer_pid",
        "exclusive_consumer_tag",
        "messages_ready",
        "messages_unacknowledged",
        "messages",
        "messages_ready_ram",
        "messages_unacknowledged_ram",
        "messages_ram",
        "messages_persistent",
        "message_bytes",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "message_bytes_ram",
        "message_bytes_persistent",
        "head_message_timestamp",
        "disk_reads",
        "disk_writes",
        "consumers",
        "consumer_utilisation",
        "consumer_capacity",
        "memory",
        "slave_pids",
        "synchronised_slave_pids",
        "mirror_pids",
        "synchronised_mirror_pids",
        "state",
        "type",
        "leader",
        "members",
        "online",
        "node",
        "home",
    ],
};

pub(crate) const EXCHANGES: Columns = Columns {
    default: &["name", "type"],
    known: &["name", "type", "durable", "auto_delete", "internal", "arguments", "policy"],
};

pub(crate) const BINDINGS: Columns = Columns {
    default: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
    known: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
};

pub(crate) const CONNECTIONS: Columns = Columns {
    default: &["user", "peer_host", "peer_port", "state"],
    known: &[
        "pid",
        "name",
        "port",
        "host",
        "peer_port",
        "peer_host",
        "ssl",
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_cipher",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
        "state",
        "channels",
        "protocol",
        "auth_mechanism",
        "user",
        "vhost",
        "timeout",
        "frame_max",
        "channel_max",
        "client_properties",
        "connected_at",
        "recv_oct",
        "recv_cnt",
        "send_oct",
        "send_cnt",
        "send_pend",
        "user_provided_name",
        "node",
    ],
};

pub(crate) const CHANNELS: Columns = Columns {
    default: &["pid", "user", "consumer_count", "messages_unacknowledged"],
    known: &[
        "pid",
        "connection",
        "name",
        "number",
        "user",
        "vhost",
        "transactional",
        "confirm",
        "consumer_count",
        "messages_unacknowledged",
        "messages_uncommitted",
        "acks_uncommitted",
        "messages_unconfirmed",
        "prefetch_count",
        "global_prefetch_count",
        "state",
        "node",
    ],
};

pub(crate) const CONSUMERS: Columns = Columns {
    default: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ],
    known: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "activity_status",
        "arguments",
    ],
};

impl Columns {
    /// The table of `items` with the columns that were asked for.
    pub(crate) fn table(&self, asked: &[String], items: &[Value]) -> Result<Table, Failure> {
        let asked: Vec<&str> =
            asked.iter().flat_map(|name| name.split(',')).filter(|name| !name.is_empty()).collect();
        let unknown: Vec<&str> = asked.iter().filter(|name| !self.known.contains(name)).copied().collect();
        if !unknown.is_empty() {
            return Err(Failure::usage(format!(
                "(argument validation): Info key(s) {} are not supported",
                unknown.join(", ")
            )));
        }
        let mut table = Table::new(if asked.is_empty() { self.default } else { &asked });
        table.rows =
            items.iter().map(|item| table.columns.iter().map(|name| value(item, name)).collect()).collect();
        Ok(table)
    }
}

/// The value of a column.
fn value(item: &Value, column: &str) -> Value {
    let pointer = match column {
        "source_name" => "/source",
        "destination_name" => "/destination",
        "destination_kind" => "/destination_type",
        "queue_name" => "/queue/name",
        "channel_pid" => "/channel_details/name",
        "connection" => "/connection_details/name",
        "home" => "/node",
        "slave_pids" | "mirror_pids" => "/slave_nodes",
        "synchronised_slave_pids" | "synchronised_mirror_pids" => "/synchronised_slave_nodes",
        "owner_pid" => "/owner_pid_details/name",
        // Nothing here has an Erlang pid; a connection's or channel's name serves where one is needed.
        "pid" => "/name",
        "source_kind" => return Value::from("exchange"),
        "arguments" | "client_properties" => return arguments(&item[column]),
        other => return item[other].clone(),
    };
    item.pointer(pointer).cloned().unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mirrors_are_shown_under_both_of_their_names() {
        let item = json!({"name": "q", "slave_nodes": ["n2", "n3"], "synchronised_slave_nodes": ["n3"]});
        for column in ["slave_pids", "mirror_pids"] {
            assert_eq!(value(&item, column), json!(["n2", "n3"]));
        }
        assert_eq!(value(&item, "synchronised_mirror_pids"), json!(["n3"]));
    }

    #[test]
    fn columns_are_checked_and_found() {
        let items =
            [json!({"source": "", "destination": "q", "destination_type": "queue", "routing_key": "q",
            "arguments": {}})];
        let table = BINDINGS.table(&[], &items).unwrap();
        assert_eq!(
            table.rows[0],
            [json!(""), json!("exchange"), json!("q"), json!("queue"), json!("q"), json!("[]")]
        );
        let error = QUEUES.table(&["name".to_owned(), "bogus".to_owned()], &[]).unwrap_err();
        assert!(error.to_string().contains("bogus"));
        assert_eq!(QUEUES.table(&["name,memory".to_owned()], &[]).unwrap().columns, ["name", "memory"]);
    }

    #[test]
    fn what_is_shown_unasked_can_be_asked_for() {
        for columns in [QUEUES, EXCHANGES, BINDINGS, CONNECTIONS, CHANNELS, CONSUMERS] {
            assert!(columns.default.iter().all(|name| columns.known.contains(name)));
        }
    }
}
