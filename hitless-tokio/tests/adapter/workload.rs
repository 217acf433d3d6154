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
#[path = "../../examples/workload/target.rs"]
mod target;

use std::sync::mpsc;
use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig};

use clap::Parser as _;

use self::load::Worker;
use self::options::Options;
use self::record::{Epoch, Record};
use self::summary::Summary;
use self::target::Target;
use crate::block_on;
use crate::hitless::{self, Client};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As the examples have it.
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = Result<(), Failure>> {
    crate::spawn(task);
    async { Ok(()) }
}

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
        let client = options(&["--url", &url]).unwrap().opening().unwrap().connect().await.unwrap();
        assert_eq!(client.call(hitless::cmd("PING")).await.unwrap(), hitless::Frame::simple("PONG"));
    });
    assert!(options(&["--url", &url, "--host", "127.0.0.1"]).is_err());
    let encrypted = options(&["--url", "rediss://127.0.0.1"]).unwrap().opening();
    assert_eq!(encrypted.is_ok(), cfg!(feature = "tls"));
}

/// With `--cluster` the server that is named is one of several: the keys of the workers are at all of them.
#[test]
fn a_cluster_is_found_by_one_of_its_servers() {
    let mut server = Server::new(ServerConfig::default());
    let nodes: Vec<_> = (0..3).map(|_| server.add_endpoint(EndpointSpec::loopback())).collect();
    server.form_cluster(&nodes);
    let server = TcpServer::start(server).unwrap();
    let port = server.address(nodes[1]).port().to_string();
    let arguments = ["workload", "--run-id", "run", "--out", "x.csv", "--cluster", "--port", &port];
    let options = Options::try_parse_from(arguments).unwrap();
    block_on(async {
        let target = options.opening().unwrap().connect().await.unwrap();
        let (records, received) = mpsc::channel();
        for number in 0..8 {
            let worker = Worker::new(number, "run", target.clone(), Epoch::now(), records.clone());
            let mut worker = worker.with_pair("run");
            for _ in 0..6 {
                worker.step().await;
            }
        }
        let records: Vec<Record> = received.try_iter().collect();
        assert_eq!(records.len(), 48);
        assert!(records.iter().all(|record| record.status == "ok" && record.value != "mismatch"));
        target.shutdown(Duration::from_secs(5)).await;
    });
    let executed = |node| {
        server.with(|server, _| {
            server.ledger().received_at(node).filter(|(_, request)| request.is("INCR")).count()
        })
    };
    assert!(nodes.iter().all(|node| executed(*node) > 0));
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

/// Two keys of one slot are written and read together; what is read is compared with each other, and with what was written.
#[test]
fn pairs_are_read_together() {
    let server = super::serve();
    let url = format!("redis://{}", server.addresses()[0]);
    let records = block_on(async {
        let client = Client::connect(&url).await.unwrap();
        let (records, received) = mpsc::channel();
        let target = Target::Server(client.clone());
        let mut worker = Worker::new(7, "run", target, Epoch::now(), records).with_pair("run");
        let foreign = [&["MSET", "{p:run:7}:a", "x", "{p:run:7}:b", "x"][..], &["DEL", "{p:run:7}:b"]];
        for interference in [None, Some(foreign[0]), Some(foreign[1])] {
            for _ in 0..5 {
                worker.step().await;
            }
            if let Some([name, args @ ..]) = interference {
                client.call(hitless::cmd(name).args(args)).await.unwrap();
            }
            worker.step().await;
        }
        received.try_iter().collect::<Vec<_>>()
    });
    let outcomes: Vec<String> = records.iter().map(outcome).collect();
    assert_eq!(outcomes[..6], ["I,ok,1", "S,ok,", "I,ok,2", "G,ok,", "P,ok,", "Q,ok,"]);
    assert_eq!([&outcomes[11], &outcomes[17]], ["Q,ok,mismatch", "Q,ok,torn"]);
    let mut summary = Summary::default();
    records.iter().for_each(|record| summary.add(record));
    assert!(summary.to_string().contains("MGET         1 mismatches, 1 torn"), "{summary}");
}

/// Ten operations of one worker, with whom others interfere.
async fn operate() -> Vec<Record> {
    let mut server = Server::new(ServerConfig::default());
    let endpoint = server.add_endpoint(EndpointSpec::loopback());
    let server = TcpServer::start(server).unwrap();
    let url = format!("redis://{}", server.address(endpoint));
    let timeout = Duration::from_secs(2);
    let client =
        Client::builder(&url).unwrap().pool_size(1).command_timeout(timeout).connect().await.unwrap();
    let (records, received) = mpsc::channel();
    let mut worker = Worker::new(7, "run", Target::Server(client.clone()), Epoch::now(), records);

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
