//! Users, vhosts and permissions.

use crate::server::{Server, run};

#[test]
fn users_come_and_go() {
    let server = Server::start();
    let added = server.out("add_user u1 secret");
    assert!(added.starts_with("Adding user \"u1\" ...\nDone. Don't forget to grant"), "{added}");
    assert_eq!(
        server.out("set_user_tags u1 monitoring own"),
        "Setting tags for user \"u1\" to [monitoring, own] ...\n"
    );
    assert_eq!(
        server.out("list_users"),
        "Listing users ...\nuser\ttags\nguest\t[administrator]\nu1\t[monitoring, own]\n"
    );
    assert_eq!(server.out("authenticate_user u1 secret"), "Authenticating user \"u1\" ...\nSuccess\n");
    let wrong = server.ctl("authenticate_user u1 wrong");
    assert_eq!(wrong.code, 65);
    assert!(wrong.err.contains("failed to authenticate user \"u1\""), "{}", wrong.err);
    server.out("change_password u1 other");
    server.out("authenticate_user u1 other");
    assert!(server.out("list_users").contains("u1\t[monitoring, own]"), "tags stay");
    server.out("clear_password u1");
    assert_eq!(server.ctl("authenticate_user u1 other").code, 65);
    server.out("delete_user u1");
    assert_eq!(server.out("list_users -q"), "user\ttags\nguest\t[administrator]\n");
}

#[test]
fn a_password_can_come_from_standard_input() {
    let server = Server::start();
    let added = run(&server.data_dir, &["add_user", "u1"], "typed\n");
    assert_eq!(added.code, 0, "{}", added.err);
    server.out("authenticate_user u1 typed");
    assert_eq!(run(&server.data_dir, &["add_user", "u2"], "").code, 65);
}

#[test]
fn failures_have_rabbitmqs_texts_and_codes() {
    let server = Server::start();
    server.out("add_user u1 p");
    for (line, code, text) in [
        ("add_user u1 p", 70, "User \"u1\" already exists"),
        ("delete_user nobody", 67, "User \"nobody\" does not exist"),
        ("set_user_tags nobody x", 67, "User \"nobody\" does not exist"),
        ("set_permissions nobody . . .", 67, "User \"nobody\" does not exist"),
        ("set_permissions -p nope u1 . . .", 65, "Virtual host 'nope' does not exist"),
        ("set_permissions u1 ( . .", 65, "invalid regular expression '('"),
        ("delete_vhost nope", 65, "Virtual host 'nope' does not exist"),
        ("list_user_permissions nobody", 67, "User \"nobody\" does not exist"),
    ] {
        let outcome = server.ctl(line);
        assert_eq!(outcome.code, code, "{line}: {}", outcome.err);
        assert!(outcome.err.starts_with("Error:\n") && outcome.err.contains(text), "{line}: {}", outcome.err);
    }
}

#[test]
fn permissions_are_set_listed_and_cleared() {
    let server = Server::start();
    server.out("add_user u1 p");
    server.out("add_vhost v1");
    assert_eq!(
        server.out("set_permissions -p v1 u1 ^c .* .*"),
        "Setting permissions for user \"u1\" in vhost \"v1\" ...\n"
    );
    assert_eq!(
        server.out("list_permissions -p v1"),
        "Listing permissions for vhost \"v1\" ...\nuser\tconfigure\twrite\tread\nu1\t^c\t.*\t.*\n"
    );
    assert_eq!(
        server.out("list_user_permissions u1"),
        "Listing permissions for user \"u1\" ...\nvhost\tconfigure\twrite\tread\nv1\t^c\t.*\t.*\n"
    );
    server.out("clear_permissions -p v1 u1");
    server.out("clear_permissions -p v1 u1");
    assert_eq!(server.out("list_permissions -q -p v1"), "");
    server.out("set_topic_permissions u1 amq.topic ^a .*");
    assert_eq!(
        server.out("list_topic_permissions -q"),
        "user\texchange\twrite\tread\nu1\tamq.topic\t^a\t.*\n"
    );
    server.out("clear_topic_permissions u1 amq.topic");
    assert_eq!(server.out("list_topic_permissions -q"), "");
}

#[test]
fn vhosts_come_and_go() {
    let server = Server::start();
    assert_eq!(
        server.out("add_vhost v1 --description d --default-queue-type quorum"),
        "Adding vhost \"v1\" ...\n"
    );
    assert_eq!(server.out("list_vhosts"), "Listing vhosts ...\nname\n/\nv1\n");
    assert_eq!(
        server.out("-s list_vhosts name description default_queue_type"),
        "/\t\tundefined\nv1\td\tquorum\n"
    );
    server.out("trace_on -p v1");
    assert_eq!(server.out("-s list_vhosts name tracing"), "/\tfalse\nv1\ttrue\n");
    server.out("trace_off -p v1");
    assert_eq!(server.out("-s list_vhosts name tracing"), "/\tfalse\nv1\tfalse\n");
    server.out("delete_vhost v1");
    assert_eq!(server.out("-s list_vhosts"), "/\n");
}
