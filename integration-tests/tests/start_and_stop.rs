//! The process: flags, variables, the configuration file, bad values, signals.

use integration_tests::{Broker, with_broker, with_broker_args};
use std::process::Output;
use std::time::{Duration, Instant};

/// Runs the binary to its end.
fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Broker::command();
    command.stdout(std::process::Stdio::piped()).args(args).envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

fn refusal_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

#[test]
fn a_bad_value_is_one_line_and_exit_code_one() {
    let dir = std::env::temp_dir();
    let missing = dir.join("leveret-no-such-file.toml");
    let table: [(&[&str], &[&str]); 8] = [
        (&["--amqp-addr", "nowhere"], &["amqp-addr", "nowhere", "0.0.0.0:5672"]),
        (&["--http-addr", "1.2.3"], &["http-addr", "1.2.3"]),
        (&["--frame-max", "100"], &["frame-max", "100", "4096"]),
        (&["--memory-high-watermark", "7"], &["memory-high-watermark", "7"]),
        (&["--log-format", "xml"], &["log-format", "xml", "json"]),
        (&["--amqps-addr", "127.0.0.1:0"], &["amqps-addr", "tls-cert", "tls-key"]),
        (&["--data-dir", "/proc/none"], &["data-dir", "/proc/none"]),
        (&["--config", missing.to_str().expect("a path")], &["leveret-no-such-file.toml"]),
    ];
    for (args, words) in table {
        let text = refusal_of(&run(args, &[]));
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?} must name {word}: {text}");
        }
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    let dir = std::env::temp_dir().join(format!("leveret-port-{}", std::process::id()));
    let data = dir.to_str().expect("a path");
    for key in ["amqp-addr", "http-addr"] {
        let flag = format!("--{key}");
        let other = if key == "amqp-addr" { "--http-addr" } else { "--amqp-addr" };
        let text = refusal_of(&run(&[&flag, &addr, other, "127.0.0.1:0", "--data-dir", data], &[]));
        assert!(text.contains(key) && text.contains(&addr) && text.contains("in use"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn help_and_version_explain() {
    let output = run(&["--help"], &[]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for flag in
        ["--node-name", "--data-dir", "--amqp-addr", "--http-addr", "--log-level", "LEVERET_NODE_NAME"]
    {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(run(&["--version"], &[]).status.success());
    let unknown = run(&["--no-such-flag"], &[]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("--no-such-flag"));
}

#[test]
fn flags_come_before_variables_before_the_file() {
    let dir = std::env::temp_dir().join(format!("leveret-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join("own.toml");
    std::fs::write(&file, "heartbeat = 11\nchannel-max = 12\nframe-max = 8192\nnode-name = \"from-file\"\n")
        .expect("a file");
    let config = file.to_str().expect("a path").to_owned();
    // A bad value in a place that is overruled does no harm: it tells which place was read.
    let bad = |args: &[&str], variables: &[(&str, &str)]| {
        let all: Vec<&str> = ["--config", &config].iter().chain(args).copied().collect();
        refusal_of(&run(&all, variables))
    };
    assert!(bad(&["--frame-max", "1"], &[("LEVERET_FRAME_MAX", "2")]).contains("frame-max is 1"));
    assert!(bad(&[], &[("LEVERET_FRAME_MAX", "2")]).contains("frame-max is 2"));
    with_broker_args(&["--config", &config, "--heartbeat", "5"], async |broker| {
        let mut peer = integration_tests::Peer::connect(broker.amqp).await;
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        let tune = peer.next_method().await;
        let mut fields = tune.fields();
        assert_eq!((fields.short(), fields.long(), fields.short()), (12, 8192, 5));
        assert!(broker.log().contains("node from-file"));
    });
    std::fs::write(&file, "no-such-key = 1\n").expect("a file");
    let text = bad(&[], &[]);
    assert!(text.contains("no-such-key") && text.contains("own.toml"), "{text}");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn the_start_line_tells_version_addresses_and_data() {
    with_broker_args(&["--node-name", "here"], async |broker| {
        let log = broker.log();
        let line = log.lines().next().expect("a line");
        assert!(line.contains("Leveret 0.") && line.contains("node here"), "{line}");
        assert!(line.contains(&format!("AMQP {}", broker.amqp)), "{line}");
        assert!(line.contains(&broker.data_dir().display().to_string()), "{line}");
        assert!(broker.data_dir().is_dir());
    });
}

#[test]
fn a_stop_tells_clients_and_is_quick() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        with_broker(async |broker| {
            let mut peers = Vec::new();
            for _ in 0..5 {
                peers.push(broker.peer().await);
            }
            let start = Instant::now();
            broker.signal(signal);
            for peer in &mut peers {
                let close = peer.next_close().await;
                assert_eq!((close.channel, close.code), (0, 320));
                let expected = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
                assert_eq!(close.text, expected);
            }
            let status = broker.wait(Duration::from_secs(5)).expect("it ends");
            assert!(status.success());
            let took = start.elapsed();
            assert!(took < Duration::from_millis(1_500), "all clients had said goodbye: {took:?}");
        });
    }
}

#[test]
fn clients_that_do_not_answer_are_not_waited_for_long() {
    with_broker(async |broker| {
        let mut rude = broker.peer().await;
        rude.channel(1).await;
        let half = integration_tests::Peer::connect(broker.amqp).await;
        let start = Instant::now();
        broker.signal(libc::SIGTERM);
        let status = broker.wait(Duration::from_secs(8)).expect("it ends");
        assert!(status.success());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        drop((rude, half));
    });
}
