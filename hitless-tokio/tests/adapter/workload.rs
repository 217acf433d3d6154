//! What the workload example writes down.

#![allow(dead_code, reason = "the example uses what is not tested here")]

#[path = "../../examples/workload/load.rs"]
mod load;
#[path = "../../examples/workload/options.rs"]
mod options;
#[path = "../../examples/workload/record.rs"]
mod record;
#[path = "../../examples/workload/summary.rs"]
mod summary;

use std::sync::mpsc;
use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig};

use clap::Parser as _;

use self::load::Worker;
use self::options::Options;
use self::record::{Epoch, Record};
use self::summary::Summary;
use crate::block_on;
use crate::hitless::{self, Client};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A URL stands in place of the options that say where the server is, and is refused beside them. What it says of TLS counts.
#[test]
fn a_url_says_where_the_server_is() {
    let options = |arguments: &[&str]| {
        let always = ["workload", "--run-id", "x", "--out", "x.csv"];
        Options::try_parse_from(always.iter().chain(arguments))
    };
    let server = super::serve();
    let url = format!("redis://{}", server.addresses()[0]);
    block_on(async {
        let client = options(&["--url", &url]).unwrap().builder().unwrap().connect().await.unwrap();
        assert_eq!(client.call(hitless::cmd("PING")).await.unwrap(), hitless::Frame::simple("PONG"));
    });
    assert!(options(&["--url", &url, "--host", "127.0.0.1"]).is_err());
    let encrypted = options(&["--url", "rediss://127.0.0.1"]).unwrap().builder();
    assert_eq!(encrypted.is_ok(), cfg!(feature = "tls"));
}

/// `op,status,value` of a record.
fn outcome(record: &Record) -> String {
    let line = record.to_string();
    let fields: Vec<&str> = line.split(',').collect();
    assert_eq!(fields.len(), 6, "{line}");
    assert!(fields[0].parse::<f64>().unwrap() > 1.0e9, "{line}");
    assert!(fields[1].parse::<u64>().is_ok(), "{line}");
    assert_eq!(fields[4], "7", "{line}");
    [fields[2], fields[3], fields[5]].join(",")
}

#[test]
fn each_operation_is_one_line() {
    let records = block_on(operate());
    let outcomes: Vec<String> = records.iter().map(outcome).collect();
    let (last, answered) = outcomes.split_last().unwrap();
    assert_eq!(
        answered,
        ["I,ok,1", "S,ok,", "I,ok,2", "G,ok,", "I,ok,3", "S,ok,", "I,ok,4", "G,ok,mismatch", "I,ok,6"]
    );
    let status = last.split(',').nth(1).unwrap();
    assert!(last.starts_with("S,TimedOut:") && status.contains("Unknown"), "{last}");
    assert!(status.chars().count() <= 90, "{status}");

    let mut summary = Summary::default();
    records.iter().for_each(|record| summary.add(record));
    let summary = summary.to_string();
    assert!(summary.contains("9 succeeded, 1 failed"), "{summary}");
    assert!(summary.contains("0 lost, 1 executed twice"), "{summary}");
    assert!(summary.contains("1 mismatches"), "{summary}");
}

/// Ten operations of one worker, with whom others interfere.
async fn operate() -> Vec<Record> {
    let mut server = Server::new(ServerConfig::default());
    let endpoint = server.add_endpoint(EndpointSpec::loopback());
    let server = TcpServer::start(server).unwrap();
    let url = format!("redis://{}", server.address(endpoint));
    let timeout = Duration::from_millis(250);
    let client =
        Client::builder(&url).unwrap().pool_size(1).command_timeout(timeout).connect().await.unwrap();
    let (records, received) = mpsc::channel();
    let mut worker = Worker::new(7, "run", client.clone(), Epoch::now(), records);

    for _ in 0..4 {
        worker.step().await;
    }
    // Somebody else writes the worker's key, and its counter.
    for _ in 0..3 {
        worker.step().await;
    }
    client.call(hitless::cmd("SET").arg("k:run:7").arg("foreign")).await.unwrap();
    worker.step().await;
    client.call(hitless::cmd("INCR").arg("ctr:run:7")).await.unwrap();
    worker.step().await;
    // The server is silent, but it may have run what it was told.
    server.with(|server, _| server.set_reply_delay(endpoint, Duration::from_secs(3600), None));
    worker.step().await;

    received.try_iter().collect()
}
