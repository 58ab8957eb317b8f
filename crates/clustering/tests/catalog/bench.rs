//! How fast changes are made. Ignored: it measures, `--ignored --nocapture` shows it; best with `--release`.

use crate::cluster::Cluster;
use crate::node::declare;
use clustering::catalog::kind;
use std::time::{Duration, Instant};

async fn declares(cluster: &Cluster, channels: usize, round: usize, each: usize) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..channels)
        .map(|channel| {
            let store = cluster.nodes[channel % cluster.nodes.len()].store.clone();
            tokio::spawn(async move {
                for number in 0..each {
                    store.propose(declare(&format!("q{round}.{channel}.{number}"))).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    (channels * each) as f64 / start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn declares_per_second() {
    let cluster = Cluster::three().await;
    for (round, channels) in [1, 30, 30, 30, 300].into_iter().enumerate() {
        let each = if channels == 1 { 300 } else { 12_000 / channels };
        let before = cluster.net.count(kind::APPEND);
        let rate = declares(&cluster, channels, round, each).await;
        let appends = cluster.net.count(kind::APPEND) - before;
        println!("{channels} channels on 3 nodes: {rate:.0} declares/s, {appends} appends");
    }
    let node = &cluster.nodes[cluster.follower()];
    let mut times: Vec<Duration> = Vec::new();
    for number in 0..300 {
        let start = Instant::now();
        node.declare(&format!("one{number}")).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!("one declare on a follower: p50 {:?}, p99 {:?}", times[150], times[297]);
    cluster.stop();
}
