//! The TCP shell of the test server, through real sockets.

mod server_client;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use hitless_conformance::clock;
use hitless_conformance::net::tcp::{TcpServer, on_one_port};
use hitless_conformance::server::script::{Dialogue, ScriptedServer};
use hitless_conformance::server::{
    CloseHow, Detail, EndpointId, EndpointSpec, Moving, Notice, Server, ServerConfig, Target,
};
use resp3_codec::{Frame, cmd};
use server_client::TestClient;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (TcpServer<Server>, EndpointId, EndpointId) {
    let mut server = Server::new(ServerConfig::default());
    let a = server.add_endpoint(EndpointSpec::loopback());
    let b = server.add_endpoint(EndpointSpec::loopback());
    (TcpServer::start(server).expect("loopback can be bound"), a, b)
}

#[test]
fn both_endpoints_serve_one_data_set() {
    let (server, a, b) = start();
    let [mut at_a, mut at_b] = [a, b].map(|endpoint| TestClient::dial(server.address(endpoint)));
    for expected in [1, 3, 5] {
        assert_eq!(at_a.call(cmd("INCR").arg("n")), Frame::Integer(expected));
        assert_eq!(at_b.call(cmd("INCR").arg("n")), Frame::Integer(expected + 1));
    }
    assert_eq!(server.with(|server, _| server.ledger().executions("INCR", b"n").count()), 6);
}

#[test]
fn a_large_pipeline_that_is_not_read_blocks_nobody() {
    let (server, a, _) = start();
    let mut client = TestClient::dial(server.address(a));
    let value = vec![b'x'; 1 << 20];
    client.call(cmd("SET").arg("k").arg(&value[..]));
    for _ in 0..64 {
        client.send(cmd("GET").arg("k"));
    }
    let mut other = TestClient::dial(server.address(a));
    assert_eq!(other.call(cmd("PING")), Frame::simple("PONG"));
    for _ in 0..64 {
        assert_eq!(client.frame().as_bytes().map(<[u8]>::len), Some(1 << 20));
    }
}

#[test]
fn a_blocked_client_is_served_by_another_connection() {
    let (server, a, b) = start();
    let mut waiter = TestClient::dial(server.address(a));
    waiter.send(cmd("BLPOP").arg("q").arg(0));
    let mut pusher = TestClient::dial(server.address(b));
    pusher.call(cmd("RPUSH").arg("q").arg("x"));
    assert_eq!(waiter.frame(), Frame::Array(vec![Frame::bulk("q"), Frame::bulk("x")]));
    waiter.send(cmd("BLPOP").arg("q").arg("0.01"));
    assert_eq!(waiter.frame(), Frame::NullArray);
}

#[test]
fn a_move_is_told_carried_out_and_ended() {
    let (server, a, b) = start();
    let mut client = TestClient::dial(server.address(a));
    client.opt_in();
    let moving = Moving::new(Target::Endpoint(b), SECOND * 3).with_seq(1);
    server.with(|server, now| server.moving(now, a, moving));
    let target = Frame::bulk(server.address(b).to_string());
    let told = vec![Frame::bulk("MOVING"), Frame::Integer(1), Frame::Integer(3), target];
    assert_eq!(client.frame(), Frame::Push(told));
    assert_eq!(client.call(cmd("PING")), Frame::simple("PONG"));
    client.expect_end();
    let refused = TcpStream::connect(server.address(a)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(TestClient::dial(server.address(b)).call(cmd("PING")), Frame::simple("PONG"));
    server.with(|server, _| server.restore(a));
    assert_eq!(TestClient::dial(server.address(a)).call(cmd("PING")), Frame::simple("PONG"));
}

#[test]
fn a_refusal_begins_and_ends_in_time() {
    let (server, a, _) = start();
    for _ in 0..20 {
        let until = server.with(|server, now| {
            server.refuse_dials(now, a, Some(now + SECOND / 50));
            now + SECOND / 50
        });
        let mut client = loop {
            match TcpStream::connect(server.address(a)) {
                Ok(stream) => break TestClient::over(stream),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            }
        };
        assert!(clock::now() >= until);
        assert_eq!(client.call(cmd("PING")), Frame::simple("PONG"));
    }
}

#[test]
fn a_black_hole_answers_when_it_is_over() {
    let (server, a, _) = start();
    server.with(|server, now| server.black_hole(now, a, None));
    let mut client = TestClient::dial(server.address(a));
    client.send(cmd("PING"));
    assert!(client.is_silent_for(SECOND / 20));
    server.with(|server, _| server.restore(a));
    assert_eq!(client.frame(), Frame::simple("PONG"));
}

#[test]
fn a_killed_connection_ends_in_order_or_by_a_reset() {
    let (server, a, _) = start();
    for (how, kind) in [(CloseHow::Fin, None), (CloseHow::Reset, Some(ErrorKind::ConnectionReset))] {
        let mut client = TestClient::dial(server.address(a));
        client.call(cmd("PING"));
        server.with(|server, now| server.kill_all(now, a, how));
        assert_eq!(client.end(), kind, "{how:?}");
    }
}

#[test]
fn slow_replies_come_late_and_notifications_do_not() {
    let (server, a, _) = start();
    let mut client = TestClient::dial(server.address(a));
    client.opt_in();
    let delay = SECOND * 2;
    server.with(|server, _| server.set_reply_delay(a, delay, None));
    let sent = clock::now();
    client.send(cmd("PING"));
    server.with(|server, now| server.migrating(now, Notice::new(SECOND)));
    assert!(matches!(client.frame(), Frame::Push(_)));
    assert_eq!(client.frame(), Frame::simple("PONG"));
    assert!(clock::now() - sent >= delay);
}

#[test]
fn dropping_the_server_ends_everything() {
    let (server, a, b) = start();
    let address = server.address(a);
    server.with(|server, now| server.refuse_dials(now, b, None));
    let mut client = TestClient::dial(address);
    client.call(cmd("PING"));
    drop(server);
    client.expect_end();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_scripted_server_plays_behind_the_same_sockets() {
    let mut script = ScriptedServer::new();
    let pong = Dialogue::new().expect("PING").bytes(b"+PO").wait(SECOND / 100).bytes(b"NG\r\n");
    let endpoint = script.add_endpoint("127.0.0.1:0".parse().unwrap(), [pong.close(CloseHow::Reset)]);
    let server = TcpServer::start(script).unwrap();
    let mut client = TestClient::dial(server.address(endpoint));
    assert_eq!(client.call(cmd("PING")), Frame::simple("PONG"));
    assert_eq!(client.end(), Some(ErrorKind::ConnectionReset));
    assert_eq!(server.with(|script, _| script.verdict()), Ok(()));
}

#[test]
fn endpoints_can_share_a_port_and_another_one_is_tried_when_it_is_taken() {
    let mut attempts = 0;
    let server = on_one_port(|port| {
        attempts += 1;
        let in_the_way = (attempts == 1).then(|| std::net::TcpListener::bind(("127.0.0.2", port)).unwrap());
        let mut server = Server::new(ServerConfig::default());
        for host in [1, 2] {
            server.add_endpoint(EndpointSpec::new(([127, 0, 0, host], port).into()));
        }
        let result = TcpServer::start(server);
        drop(in_the_way);
        result
    });
    let addresses = server.as_ref().unwrap().addresses();
    assert_eq!(addresses[0].port(), addresses[1].port());
    assert!(attempts >= 2);
    for address in addresses {
        assert_eq!(TestClient::dial(address).call(cmd("PING")), Frame::simple("PONG"));
    }
}

/// Not a benchmark: a guard against a shell that polls or writes reply by reply.
#[test]
fn ten_pipelined_connections_are_served_without_delay() {
    let mut server = Server::new(ServerConfig::default().with_detail(Detail::Connections));
    let a = server.add_endpoint(EndpointSpec::loopback());
    let server = TcpServer::start(server).unwrap();
    let address = server.address(a);
    let began = clock::now();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                let mut client = TestClient::dial(address);
                for _ in 0..200 {
                    (0..10).for_each(|_| client.send(cmd("INCR").arg("n")));
                    (0..10).for_each(|_| assert!(matches!(client.frame(), Frame::Integer(_))));
                }
            });
        }
    });
    let took = clock::now() - began;
    assert_eq!(TestClient::dial(address).call(cmd("GET").arg("n")), Frame::bulk("20000"));
    assert!(took < 5 * SECOND, "{took:?}");
}
