//! Policies, limits and parameters.

use crate::server::Server;

#[test]
fn policies_are_set_listed_and_cleared() {
    let server = Server::start();
    let set = server.out("set_policy p ^q {\"max-length\":3} --priority 2 --apply-to queues");
    let text = "Setting policy \"p\" for pattern \"^q\" to \"{\"max-length\":3}\" with priority \"2\" for vhost \"/\" ...\n";
    assert_eq!(set, text);
    assert_eq!(
        server.out("list_policies"),
        "Listing policies for vhost \"/\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n\
         /\tp\t^q\tqueues\t{\"max-length\":3}\t2\n"
    );
    server.out("set_operator_policy op ^q {\"max-length\":2}");
    assert!(server.out("list_operator_policies -q").contains("/\top\t^q\tall\t{\"max-length\":2}\t0"));
    server.out("clear_policy p");
    server.out("clear_operator_policy op");
    assert_eq!(server.out("list_policies -q"), "");
    for (line, code, text) in [
        ("clear_policy p", 69, "Parameter does not exist"),
        ("set_policy p ^q {\"foo\":3}", 65, "[{<<\"foo\">>,3}] are not recognised policy settings"),
        ("set_policy p ^q nonsense", 65, "could not parse JSON"),
    ] {
        let outcome = server.ctl(line);
        assert_eq!(outcome.code, code, "{line}");
        assert!(outcome.err.contains(text), "{line}: {}", outcome.err);
    }
}

#[test]
fn limits_are_set_listed_and_cleared() {
    let server = Server::start();
    server.out("set_vhost_limits {\"max-queues\":9,\"max-connections\":-1}");
    let limits = "vhost\tlimits\n/\t{\"max-connections\":-1,\"max-queues\":9}\n";
    assert_eq!(server.out("list_vhost_limits"), format!("Listing limits for vhost \"/\" ...\n{limits}"));
    assert_eq!(server.out("list_vhost_limits -q --global"), limits);
    server.out("clear_vhost_limits");
    assert_eq!(server.out("list_vhost_limits -q"), "");
    server.out("set_user_limits guest {\"max-channels\":9}");
    assert_eq!(server.out("list_user_limits -q --user guest"), "user\tlimits\nguest\t{\"max-channels\":9}\n");
    server.out("clear_user_limits guest all");
    assert_eq!(server.out("list_user_limits -q"), "");
    assert_eq!(server.ctl("set_vhost_limits {\"bogus\":1}").code, 65);
}

#[test]
fn parameters_are_set_listed_and_cleared() {
    let server = Server::start();
    server.out("set_parameter federation-upstream up {\"uri\":\"amqp://x\"}");
    assert_eq!(
        server.out("list_parameters -q"),
        "component\tname\tvalue\nfederation-upstream\tup\t{\"uri\":\"amqp://x\"}\n"
    );
    server.out("clear_parameter federation-upstream up");
    assert_eq!(server.ctl("clear_parameter federation-upstream up").code, 69);
    server.out("set_global_parameter g 5");
    assert_eq!(server.out("-s list_global_parameters"), "g\t5\n");
    server.out("clear_global_parameter g");
    assert_eq!(server.ctl("set_parameter bogus up {}").code, 65);
}
