//! The front of a real `redis-server`; `HITLESS_REDIS_SERVER` names the program.

mod server_client;

use std::path::PathBuf;
use std::time::Duration;

use hitless_conformance::net::front::{self, Front};
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::server::{
    EndpointId, EndpointSpec, Moving, Notice, ServerConfig, ServerMachine, Target,
};
use resp3_codec::{Frame, cmd};
use server_client::TestClient;

const SECOND: Duration = Duration::from_secs(1);

fn start(options: &[&str]) -> (RedisProcess, Front, EndpointId, EndpointId) {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(&PathBuf::from(program), options).expect("it starts");
    let specs = [EndpointSpec::loopback(), EndpointSpec::loopback()];
    let front = front::start(ServerConfig::default(), redis.address(), specs).expect("loopback can be bound");
    let endpoints = front.with(|server, _| server.endpoints());
    (redis, front, endpoints[0], endpoints[1])
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn requests_reach_the_real_server_and_maintenance_is_ours() {
    let (redis, front, a, b) = start(&[]);
    let mut client = TestClient::dial(front.address(a));
    client.opt_in();
    assert_eq!(client.call(cmd("INCR").arg("n")), Frame::Integer(1));
    assert_eq!(TestClient::dial(redis.address()).call(cmd("GET").arg("n")), Frame::bulk("1"));

    front.with(|server, now| server.moving(now, a, Moving::new(Target::Endpoint(b), SECOND * 3)));
    assert!(
        matches!(client.frame(), Frame::Push(words) if words[3] == Frame::bulk(front.address(b).to_string()))
    );
    assert_eq!(client.call(cmd("INCR").arg("n")), Frame::Integer(2));
    client.expect_end();
    assert!(std::net::TcpStream::connect(front.address(a)).is_err());
    let mut moved = TestClient::dial(front.address(b));
    moved.opt_in();
    assert_eq!(moved.call(cmd("INCR").arg("n")), Frame::Integer(3));
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn large_values_pipelines_and_subscriptions_pass() {
    let (_redis, front, a, _) = start(&[]);
    let mut client = TestClient::dial(front.address(a));
    client.opt_in();
    let value = vec![b'x'; 3 << 20];
    client.call(cmd("SET").arg("k").arg(&value[..]));
    for _ in 0..8 {
        client.send(cmd("GET").arg("k"));
    }
    for _ in 0..8 {
        assert_eq!(client.frame(), Frame::bulk(value.clone()));
    }
    let mut subscriber = TestClient::dial(front.address(a));
    subscriber.opt_in();
    assert!(matches!(subscriber.call(cmd("SUBSCRIBE").arg("c")), Frame::Push(_)));
    client.call(cmd("PUBLISH").arg("c").arg("m"));
    assert_eq!(subscriber.frame(), Frame::Push(["message", "c", "m"].map(Frame::bulk).to_vec()));
    assert_eq!(client.call(cmd("QUIT")), Frame::simple("OK"));
    client.expect_end();
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn replies_are_slow_when_told_and_the_password_is_the_real_servers() {
    let (_redis, front, a, _) = start(&["--requirepass", "secret"]);
    let mut client = TestClient::dial(front.address(a));
    assert!(client.call(cmd("PING")).is_error());
    assert!(client.call(cmd("CLIENT").arg("MAINT_NOTIFICATIONS").arg("ON")).is_error());
    let hello = cmd("HELLO").arg(3).arg("AUTH").arg("default").arg("secret");
    assert!(matches!(client.call(hello), Frame::Map(_)));
    assert_eq!(client.call(cmd("CLIENT").arg("MAINT_NOTIFICATIONS").arg("ON")), Frame::simple("OK"));
    front.with(|server, _| server.set_reply_delay(a, SECOND * 2, None));
    let sent = hitless_conformance::clock::now();
    client.send(cmd("PING"));
    front.with(|server, now| server.migrating(now, Notice::new(SECOND)));
    assert!(matches!(client.frame(), Frame::Push(_)));
    assert_eq!(client.frame(), Frame::simple("PONG"));
    assert!(hitless_conformance::clock::now() - sent >= SECOND * 2);
}
