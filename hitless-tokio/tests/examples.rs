//! The examples run, and do what they say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "nobody calls the `main` of an example")]
#![allow(
    clippy::duplicate_mod,
    reason = "examples share a module, and the service is compiled with two connections"
)]

#[cfg(feature = "redis-rs")]
#[path = "../examples/cache.rs"]
mod cache;
#[path = "../examples/client_side_cache.rs"]
mod client_side_cache;
#[path = "../examples/cluster.rs"]
mod cluster;
#[path = "../examples/credentials.rs"]
mod credentials;
#[path = "../examples/hooks_and_metrics.rs"]
mod hooks_and_metrics;
#[path = "../examples/network/main.rs"]
mod network;
#[path = "../examples/quick_start.rs"]
mod quick_start;
#[cfg(feature = "redis-rs")]
#[path = "../examples/rate_limiter.rs"]
mod rate_limiter;
#[cfg(feature = "redis-rs")]
mod service;
#[cfg(feature = "tls")]
#[path = "../examples/tls.rs"]
mod tls;
#[path = "../examples/transaction.rs"]
mod transaction;

use std::future::Future;
use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig};
// The modules of `network` are those of both adapters, and ask the crate which one it is.
use hitless_tokio as hitless;

/// Longest time for an example. Each ends by itself in a moment.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs an example to its end at a server of its own, which has two endpoints.
fn run<T, F: Future<Output = T>>(example: impl FnOnce(TcpServer<Server>) -> F) -> T {
    let mut server = Server::new(ServerConfig::default());
    for _ in 0..2 {
        server.add_endpoint(EndpointSpec::loopback());
    }
    let server = TcpServer::start(server).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, example(server)).await }).expect("it ends by itself")
}

fn url(server: &TcpServer<Server>) -> String {
    format!("redis://{}", server.addresses()[0])
}

/// RULE-243
#[test]
fn the_quick_start_runs() {
    run(async |server| quick_start::run(&url(&server)).await.unwrap());
}

/// RULE-243
#[test]
fn a_slot_that_moves_costs_one_redirect() {
    use hitless::cluster::key_slot;

    let (server, nodes) = cluster::three_nodes().unwrap();
    let url = format!("redis://{}", server.address(nodes[0]));
    let moved = run(async |_| {
        let move_slot =
            || server.with(|server, now| server.assign_slots(now, [key_slot(b"alice")], nodes[2]));
        cluster::run(&url, move_slot).await.unwrap()
    });
    assert_eq!(moved, 1);
}

/// RULE-243
#[test]
fn what_is_in_stock_is_sold_once() {
    assert_eq!(run(async |server| transaction::run(&url(&server)).await.unwrap()), 10);
}

/// RULE-243
#[test]
fn every_connection_shows_the_new_password() {
    assert_eq!(run(async |_| credentials::run().await.unwrap()), 3);
}

/// What has changed is read anew, and what the old node has said is not believed after a move; whoever gives up leaves no mark. RULE-243, RULE-273
#[test]
fn a_value_is_read_when_it_has_changed_and_after_a_move() {
    assert_eq!(run(async |_| client_side_cache::run().await.unwrap()), 5);
}

/// RULE-243
#[test]
fn the_figures_of_a_move_are_told() {
    let metrics = run(async |_| hooks_and_metrics::run().await.unwrap());
    let figures: Vec<String> = metrics.snapshot().samples().iter().map(ToString::to_string).collect();
    for figure in [
        "redis.client.maintenance.moves 1",
        "redis.client.connection.handoff.succeeded 3",
        "redis.client.request.timeouts 0",
    ] {
        assert!(figures.iter().any(|shown| shown == figure), "{figure}: {figures:#?}");
    }
}

/// RULE-243
#[test]
fn a_name_of_ones_own_leads_to_the_server() {
    let answer = run(async |server| {
        let url = format!("redis://redis.test:{}", server.addresses()[0].port());
        network::run(&url, "redis.test=127.0.0.1", false).await.unwrap()
    });
    assert_eq!(answer, hitless::Frame::simple("PONG"));
}

/// RULE-243
#[cfg(feature = "tls")]
#[test]
fn an_authority_of_ones_own_is_believed() {
    let authority = hitless_conformance::net::certificates::Authority::new("an example");
    let mut server = Server::new(ServerConfig::default());
    server.add_endpoint(EndpointSpec::loopback());
    let certificate = authority.certify(&["127.0.0.1"]).server(None);
    let server = TcpServer::start_encrypted(server, |_| certificate.clone()).unwrap();
    let url = format!("rediss://{}", server.addresses()[0]);
    run(async |_| {
        tls::run(&url, Some(authority.pem().into())).await.unwrap();
        tls::run(&url, None).await.expect_err("the system does not know it");
    });
}

/// RULE-243
#[cfg(feature = "redis-rs")]
#[test]
fn three_of_five_requests_get_through() {
    assert_eq!(run(async |server| rate_limiter::run(&url(&server)).await.unwrap()), 3);
}

/// RULE-243
#[cfg(feature = "redis-rs")]
#[test]
fn a_user_is_loaded_when_it_has_changed() {
    assert_eq!(run(async |server| cache::run(&url(&server)).await.unwrap()), 2);
}

/// RULE-244
#[cfg(feature = "redis-rs")]
#[test]
fn a_service_for_redis_rs_runs_unchanged() {
    run(async |server| service::runs_on_both(&server).await.unwrap());
}
