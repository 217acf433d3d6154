//! The example `poll_loop` of `hitless-core`, against a server that moves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../hitless-core/examples/poll_loop/event_loop.rs"]
mod event_loop;

use std::time::Duration;

use event_loop::{EventLoop, News, now};
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointId, EndpointSpec, Moving, Server, ServerConfig, Target};
use hitless_core::config::Config;
use hitless_core::endpoint::{Endpoint, Host};
use hitless_core::event::Event;
use hitless_core::request::Request;
use resp3_codec::{Frame, cmd};

const SECOND: Duration = Duration::from_secs(1);
/// The longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with two endpoints, and a loop that is connected to the first of them by a name.
fn start(pool_size: u32) -> (TcpServer<Server>, [EndpointId; 2], EventLoop) {
    let mut server = Server::new(ServerConfig::default());
    let endpoints = [(); 2].map(|()| server.add_endpoint(EndpointSpec::loopback()));
    let server = TcpServer::start(server).expect("loopback can be bound");
    let address = server.address(endpoints[0]);
    // Written like an address, so that every system can look it up, but a name to the client.
    let host = Host::Name(address.ip().to_string().into());
    let config = Config::builder(Endpoint::Tcp { host, port: address.port() }).pool_size(pool_size);
    let event_loop = EventLoop::new(config.build().unwrap(), 1).unwrap();
    (server, endpoints, event_loop)
}

/// Takes turns until one of them brings what is wanted, and returns everything that they brought.
fn turn_until(event_loop: &mut EventLoop, mut is_wanted: impl FnMut(&News) -> bool) -> Vec<News> {
    let (until, mut brought) = (now() + PATIENCE, Vec::new());
    while !brought.iter().any(&mut is_wanted) {
        assert!(now() < until, "it takes for ever: {brought:?}");
        brought.extend(event_loop.turn(Some(until)).unwrap());
    }
    brought
}

fn incr(event_loop: &mut EventLoop) -> (i64, Vec<News>) {
    let request = Request::command(cmd("INCR").arg("n")).unwrap();
    let sent = event_loop.client.send(now(), request).unwrap();
    let mut value = None;
    let brought = turn_until(event_loop, |news| {
        if let News::Completed(request, outcome) = news
            && *request == sent
        {
            value = outcome.as_ref().expect("no error").first().and_then(Frame::as_int);
        }
        value.is_some()
    });
    (value.expect("a number"), brought)
}

fn is_finish(news: &News) -> bool {
    matches!(news, News::Event(Event::MoveFinished { moved: 3, stayed: 0, .. }))
}

/// INV-03, INV-05
#[test]
fn a_hand_written_loop_moves_without_an_error() {
    let (server, [a, b], mut event_loop) = start(3);
    turn_until(&mut event_loop, |news| matches!(news, News::Started(Ok(()))));
    let (mut count, mut finished) = (0, false);
    while count < 100 || !finished {
        count += 1;
        let (value, brought) = incr(&mut event_loop);
        assert_eq!(value, count, "each ran once, in order");
        finished |= brought.iter().any(is_finish);
        if count == 50 {
            server.with(|server, now| server.moving(now, a, Moving::new(Target::Endpoint(b), SECOND * 5)));
        }
    }
    event_loop.client.shutdown(now(), now() + SECOND);
    turn_until(&mut event_loop, |news| matches!(news, News::Terminated));
    assert_eq!(server.with(|server, _| (server.ledger().accepted(a), server.ledger().accepted(b))), (3, 3));
    assert_eq!(server.with(|server, _| server.ledger().executions("INCR", b"n").count() as i64), count);
}

/// More than one read and one write hold, so that the loop must come back for the rest.
#[test]
fn a_hand_written_loop_carries_large_values() {
    let (_server, _, mut event_loop) = start(1);
    turn_until(&mut event_loop, |news| matches!(news, News::Started(Ok(()))));
    let value = vec![b'v'; 8 << 20];
    let set = Request::command(cmd("SET").arg("k").arg(&value[..])).unwrap();
    event_loop.client.send(now(), set).unwrap();
    let get = event_loop.client.send(now(), Request::command(cmd("GET").arg("k")).unwrap()).unwrap();
    let is_reply = |news: &News| matches!(news, News::Completed(request, _) if *request == get);
    for news in turn_until(&mut event_loop, is_reply) {
        if let News::Completed(request, outcome) = news
            && request == get
        {
            assert!(outcome.expect("no error")[0].as_bytes() == Some(&value[..]), "the value comes back");
        }
    }
}

#[test]
fn a_hand_written_loop_says_that_nobody_answers() {
    let (server, _, mut event_loop) = start(1);
    drop(server);
    let brought = turn_until(&mut event_loop, |news| matches!(news, News::Terminated));
    assert!(brought.iter().any(|news| matches!(news, News::Started(Err(_)))), "{brought:?}");
}
