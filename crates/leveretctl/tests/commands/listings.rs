//! Lists, their columns and formats; purging and deleting queues.

use crate::server::Server;

fn with_queues() -> Server {
    let server = Server::start();
    let file = server.data_dir.join("d.json");
    let definitions = r#"{"queues":[{"name":"q1","vhost":"/","durable":true,"arguments":{"x-max-length":5}},
        {"name":"q2","vhost":"/"}],"exchanges":[{"name":"x","vhost":"/","type":"topic"}],
        "bindings":[{"source":"x","vhost":"/","destination":"q1","destination_type":"queue","routing_key":"k"}]}"#;
    std::fs::write(&file, definitions).unwrap();
    let outcome = server.words(&["import_definitions", file.to_str().unwrap()]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    server
}

#[test]
fn queues_are_listed_as_rabbitmqctl_does() {
    let server = with_queues();
    for (line, text) in [
        (
            "list_queues",
            "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\nq1\t0\nq2\t0\n",
        ),
        (
            "list_queues -q name durable arguments",
            "name\tdurable\targuments\nq1\ttrue\t[{\"x-max-length\",5}]\nq2\tfalse\t[]\n",
        ),
        ("-s list_queues name", "q1\nq2\n"),
        ("list_queues --quiet --no-table-headers name type", "q1\tclassic\nq2\tclassic\n"),
        ("list_queues --formatter json name", "[\n{\"name\":\"q1\"}\n,{\"name\":\"q2\"}\n]\n"),
        ("list_queues --formatter csv name messages", "name,messages\nq1,0\nq2,0\n"),
        (
            "list_queues -q --formatter pretty_table name",
            "┌──────┐\n│ name │\n├──────┤\n│ q1   │\n│ q2   │\n└──────┘\n",
        ),
        ("list_queues -q --offline", ""),
    ] {
        assert_eq!(server.out(line), text, "{line}");
    }
    let unknown = server.ctl("list_queues name bogus");
    assert_eq!(unknown.code, 64);
    assert!(unknown.err.contains("Info key(s) bogus are not supported"), "{}", unknown.err);
    assert_eq!(server.ctl("-p nope list_queues").code, 65);
}

#[test]
fn the_other_lists_have_their_columns() {
    let server = with_queues();
    let exchanges = server.out("list_exchanges -q");
    assert!(exchanges.starts_with("name\ttype\n\tdirect\namq.direct\tdirect\n"), "{exchanges}");
    assert!(exchanges.ends_with("x\ttopic\n"), "{exchanges}");
    let bindings = server.out("list_bindings");
    let head = "Listing bindings for vhost /...\n\
                source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n\
                \texchange\tq1\tqueue\tq1\t[]\n";
    assert!(
        bindings.starts_with(head) && bindings.ends_with("x\texchange\tq1\tqueue\tk\t[]\n"),
        "{bindings}"
    );
    assert_eq!(server.out("list_connections"), "Listing connections ...\n");
    assert_eq!(server.out("list_channels"), "Listing channels ...\n");
    assert_eq!(server.out("list_consumers"), "Listing consumers in vhost / ...\n");
    assert_eq!(server.out("list_connections --formatter json"), "[\n\n]\n");
}

#[test]
fn queues_are_purged_and_deleted() {
    let server = with_queues();
    server.broker.publish_internal(&"/".into(), "", b"q1", types_none(), b"m");
    assert_eq!(server.out("-s list_queues name messages"), "q1\t1\nq2\t0\n");
    let refused = server.ctl("delete_queue q1 --if-empty");
    assert_eq!(refused.code, 65);
    assert!(refused.err.contains("not empty"), "{}", refused.err);
    assert_eq!(server.out("purge_queue q1"), "Purging queue 'q1' in vhost '/' ...\n");
    assert_eq!(
        server.out("delete_queue q1 --if-empty"),
        "Deleting queue 'q1' on vhost '/' if queue is empty ...\n"
    );
    assert_eq!(server.out("-s list_queues"), "q2\t0\n");
    for line in ["purge_queue q1", "delete_queue q1"] {
        assert_eq!(server.ctl(line).code, 65, "{line}");
    }
}

/// Properties with nothing in them.
fn types_none() -> &'static [u8] {
    &[0, 0]
}

#[test]
fn closing_what_is_not_there_says_so() {
    let server = Server::start();
    assert_eq!(server.ctl("close_connection nobody reason").code, 65);
    let all = server.out("close_all_connections maintenance");
    assert_eq!(all, "Closing all connections in vhost /, reason: maintenance...\n");
    server.out("close_all_connections --global maintenance");
    server.out("close_all_user_connections guest maintenance");
}
