//! The service of the examples, with a plain `redis-server`, which `HITLESS_REDIS_SERVER` names, behind two endpoints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::duplicate_mod, reason = "the service is compiled with two connections")]

mod service;

use std::path::Path;

use hitless_conformance::net::front;
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::server::{EndpointSpec, ServerConfig};

/// RULE-244
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_service_for_redis_rs_runs_unchanged() {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(Path::new(&program), &[]).unwrap();
    let endpoints = [EndpointSpec::loopback(), EndpointSpec::loopback()];
    let server = front::start(ServerConfig::default(), redis.address(), endpoints).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(service::runs_on_both(&server)).unwrap();
}
