//! Pages, order, columns and names over the socket.

use crate::server::{Server, column};
use serde_json::{Value, json};

#[test]
fn lists_come_in_pages() {
    let server = Server::start();
    for name in ["a1", "b1", "a2"] {
        server.put(&format!("/api/queues/%2F/{name}"), Value::Null);
    }
    let page = server.get("/api/queues?page=1&page_size=1&columns=name");
    let expected = json!({"filtered_count": 3, "item_count": 1, "items": [{"name": "a1"}], "page": 1,
        "page_count": 3, "page_size": 1, "total_count": 3});
    assert_eq!(page, expected);
    for (query, names) in [
        ("page=1&name=a", vec!["a1", "a2"]),
        ("page=1&name=%5Eb&use_regex=true", vec!["b1"]),
        ("page=1&sort=name&sort_reverse=true&page_size=2", vec!["b1", "a2"]),
        ("page=2&sort=name&sort_reverse=true&page_size=2", vec!["a1"]),
    ] {
        let page = server.get(&format!("/api/queues?{query}"));
        assert_eq!(column(&page["items"], "name"), names, "{query}");
    }
    let refused = server.refused("GET", "/api/queues?page=5&page_size=1", "");
    let text = "Page out of range, page: 5 page size: 1, len: 3";
    assert_eq!(refused, (400, "page_out_of_range".into(), text.into()));
}

#[test]
fn statistics_can_be_left_out() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    let plain = server.get("/api/queues/%2F/q?disable_stats=true");
    assert!(plain.get("messages").is_none() && plain.get("message_stats").is_none());
    let totals = server.get("/api/queues?disable_stats=true&enable_queue_totals=true");
    assert_eq!(totals[0]["messages"], 0);
    assert!(totals[0].get("message_stats").is_none());
    let columns = server.get("/api/queues?columns=name,message_stats.publish");
    assert_eq!(columns, json!([{"name": "q", "message_stats": {"publish": 0}}]));
}
