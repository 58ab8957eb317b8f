//! A broker with the API, and the command line that talks to it.

use broker::catalog::{Catalog, Command};
use broker::password;
use engine::{Broker, BrokerConfig, Seat};
use management::{Management, ManagementConfig};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub struct Server {
    pub broker: Arc<Broker>,
    pub data_dir: PathBuf,
    /// Set for a node that says it is not in service.
    pub stopping: Arc<AtomicBool>,
    pub address: String,
    runtime: Option<tokio::runtime::Runtime>,
    management: Option<Management>,
}

/// What a command wrote, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn data_dir() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("leveret-ctl-{}-{count}", process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs the binary with a data directory; `words` are split at spaces.
pub fn run(data_dir: &PathBuf, words: &[&str], input: &str) -> Outcome {
    let mut child = process::Command::new(env!("CARGO_BIN_EXE_leveretctl"))
        .args(words)
        .env("LEVERET_DATA_DIR", data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn catalog() -> Catalog {
    let all = || ".*".to_owned();
    let commands = [
        Command::AddVhost {
            name: "/".into(),
            description: String::new(),
            tags: Vec::new(),
            default_queue_type: None,
        },
        Command::PutUser {
            name: "guest".into(),
            password_hash: Some(password::hash("guest", [1, 2, 3, 4])),
            tags: vec!["administrator".to_owned()],
        },
        Command::SetPermission {
            vhost: "/".into(),
            user: "guest".into(),
            configure: all(),
            write: all(),
            read: all(),
        },
    ];
    let mut catalog = Catalog::new();
    for command in commands {
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    catalog
}

impl Server {
    pub fn start() -> Server {
        Server::start_in(catalog(), None)
    }

    /// With a catalog, and in a cluster if there is a seat.
    pub fn start_in(catalog: Catalog, seat: Option<Seat>) -> Server {
        let data_dir = data_dir();
        let config = BrokerConfig {
            node_name: "leveret@test".to_owned(),
            cluster_name: "leveret@test".to_owned(),
            memory_limit_bytes: 1 << 40,
            paging_limit_bytes: u64::MAX,
            disk_limit_bytes: 0,
            seat,
        };
        let broker = Broker::new(config, catalog);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(broker.clone().run_timer());
        runtime.spawn(broker.clone().run_deletions());
        runtime.spawn(broker.clone().run_handed_over());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopping = Arc::new(AtomicBool::new(false));
        let settings = ManagementConfig {
            version: "3.13.7".to_owned(),
            product_version: "0.0.0".to_owned(),
            loopback_users: vec!["guest".to_owned()],
            // There is no AMQP server; what the checks want to know is whether something listens.
            listeners: vec![format!("AMQP {address}"), format!("HTTP {address}")],
            data_dir: Some(data_dir.clone()),
            in_service: Arc::new({
                let stopping = stopping.clone();
                move || match stopping.load(Ordering::Relaxed) {
                    false => Ok(()),
                    true => Err("the node is stopping".to_owned()),
                }
            }),
        };
        let management = Management::start(broker.clone(), listener, settings).unwrap();
        Server { broker, data_dir, stopping, address, runtime: Some(runtime), management: Some(management) }
    }

    /// Runs a command whose words have no spaces in them.
    pub fn ctl(&self, line: &str) -> Outcome {
        self.words(&line.split(' ').collect::<Vec<_>>())
    }

    pub fn words(&self, words: &[&str]) -> Outcome {
        run(&self.data_dir, words, "")
    }

    /// What a command that must succeed has written.
    pub fn out(&self, line: &str) -> String {
        let outcome = self.ctl(line);
        assert_eq!(outcome.code, 0, "{line}: {}{}", outcome.out, outcome.err);
        outcome.out
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let (Some(runtime), Some(management)) = (self.runtime.take(), self.management.take()) {
            runtime.block_on(management.stop());
            runtime.shutdown_background();
        }
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }
}
