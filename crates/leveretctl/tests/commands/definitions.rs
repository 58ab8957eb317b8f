//! Definitions out and in.

use crate::server::{Server, run};

#[test]
fn an_export_can_be_imported_elsewhere() {
    let (first, second) = (Server::start(), Server::start());
    first.out("add_vhost v1");
    let file = first.data_dir.join("out.json");
    let name = file.to_str().unwrap();
    assert_eq!(first.words(&["export_definitions", name]).code, 0);
    let outcome = second.words(&["import_definitions", name]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(second.out("-s list_vhosts"), "/\nv1\n");
    let (a, b) = (first.out("export_definitions -"), second.out("export_definitions -"));
    assert!(a.starts_with('{') && a == b);
    let typed = run(&second.data_dir, &["import_definitions"], r#"{"vhosts":[{"name":"v2"}]}"#);
    assert_eq!(typed.code, 0, "{}", typed.err);
    assert_eq!(second.out("-s list_vhosts"), "/\nv1\nv2\n");
}

#[test]
fn bad_files_are_refused() {
    let server = Server::start();
    for (input, code) in [("zz", 65), (r#"{"queues":[{"name":"q","vhost":"nope"}]}"#, 65)] {
        assert_eq!(run(&server.data_dir, &["import_definitions"], input).code, code, "{input}");
    }
    assert_eq!(server.ctl("import_definitions /nonexistent/file").code, 65);
    assert_eq!(server.ctl("export_definitions - --format erlang").code, 64);
}
