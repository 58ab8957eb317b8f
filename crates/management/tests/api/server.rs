//! A broker with the API on a port of its own, and a small HTTP client.

use broker::catalog::{Catalog, Command};
use broker::password;
use engine::{Broker, BrokerConfig, Seat};
use management::{Management, ManagementConfig};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub struct Server {
    pub broker: Arc<Broker>,
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    /// Set for a node that says it is not in service.
    pub stopping: Arc<AtomicBool>,
    runtime: Option<tokio::runtime::Runtime>,
    management: Option<Management>,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

pub fn first_catalog() -> Catalog {
    let all = || ".*".to_owned();
    let commands = [
        Command::AddVhost {
            name: "/".into(),
            description: "Default virtual host".to_owned(),
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
        Server::start_in(first_catalog(), None)
    }

    /// With a catalog, and in a cluster if there is a seat.
    pub fn start_in(catalog: Catalog, seat: Option<Seat>) -> Server {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let data_dir = std::env::temp_dir().join(format!("leveret-api-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&data_dir).unwrap();
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
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let settings = ManagementConfig {
            version: "3.13.7".to_owned(),
            product_version: "0.0.0".to_owned(),
            loopback_users: vec!["guest".to_owned()],
            listeners: vec!["AMQP 127.0.0.1:5672".to_owned(), format!("HTTP {address}")],
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
        Server { broker, address, data_dir, stopping, runtime: Some(runtime), management: Some(management) }
    }

    /// Sends bytes as they are.
    pub fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).unwrap();
        let text = String::from_utf8(raw).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
        Answer { status, head: head.to_owned(), body: if body == "" { Value::Null } else { body } }
    }

    pub fn send(&self, login: &str, method: &str, path: &str, body: &str) -> Answer {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: {login}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// As guest.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send("Basic Z3Vlc3Q6Z3Vlc3Q=", method, path, body)
    }

    /// As guest, with the status that must come.
    pub fn expect(&self, status: u16, method: &str, path: &str, body: Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, path, &text);
        assert_eq!(answer.status, status, "{method} {path} {text}: {:?}", answer.body);
        answer.body
    }

    pub fn get(&self, path: &str) -> Value {
        self.expect(200, "GET", path, Value::Null)
    }

    pub fn put(&self, path: &str, body: Value) {
        self.expect(201, "PUT", path, body);
    }

    /// A refusal: its status, `error` and `reason`.
    pub fn refused(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let answer = self.ask(method, path, body);
        let text = |key: &str| match &answer.body[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (answer.status, text("error"), text("reason"))
    }

    /// Adds a user whose password is `p`; gives the login.
    pub fn user(&self, name: &str, tags: &str) -> String {
        self.put(&format!("/api/users/{name}"), json!({"password": "p", "tags": tags}));
        let mut encoded = String::new();
        for chunk in format!("{name}:p").as_bytes().chunks(3) {
            const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let bits =
                chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for at in 0..4 {
                let letter = char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]);
                encoded.push(if at <= chunk.len() { letter } else { '=' });
            }
        }
        format!("Basic {encoded}")
    }

    /// Looks again until `is_so`, for at most ten seconds.
    pub fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let value = self.get(path);
            if is_so(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{path} stays {value}");
            std::thread::yield_now();
        }
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

/// The values under `key` of each row.
pub fn column<'a>(rows: &'a Value, key: &str) -> Vec<&'a Value> {
    rows.as_array().unwrap_or_else(|| panic!("no list: {rows}")).iter().map(|row| &row[key]).collect()
}
