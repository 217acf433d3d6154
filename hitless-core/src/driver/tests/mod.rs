//! The driver on a runtime of its own, in virtual time, against a server in memory.

mod flush;
mod hooks;
mod room;
mod runtime;
mod server;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use resp3_codec::{Frame, cmd};

use self::runtime::World;
use self::server::Server;
use super::{Builder, Client, Error, Runtime};
use crate::config::{ConfigBuilder, maintenance};
use crate::endpoint::{Peer, Target};
use crate::error::{CloseCause, ConnectError, Delivery, RequestError};
use crate::event::{Event, Ignored};
use crate::mode::Mode;
use crate::request::{Pipeline, Replay, Request, SendError};

const SECOND: Duration = Duration::from_secs(1);

fn builder(world: &World, server: &Server) -> Builder<World, Server> {
    let settings = ConfigBuilder::from_url("redis://127.0.0.1").unwrap();
    let quiet = maintenance::Config::builder().mode(Mode::Disabled).build().unwrap();
    Builder::from_settings(world.clone(), server.clone(), settings).maintenance(quiet).pool_size(1)
}

fn connected() -> (World, Server, Client<World>) {
    let (world, server) = (World::new(), Server::default());
    let client = world.block_on(builder(&world, &server).connect()).unwrap();
    (world, server, client)
}

fn echo(text: &str) -> Request {
    Request::command(cmd("ECHO").arg(text)).unwrap()
}

/// INV-15: no socket, no alarm, no task.
fn assert_nothing_is_left(world: &World, server: &Server) {
    assert_eq!((server.state().open, world.tasks(), world.next_alarm()), (0, 0, None));
}

#[test]
fn a_call_is_answered() {
    let (world, _server, client) = connected();
    world.block_on(client.call(cmd("SET").arg("k").arg("v"))).unwrap();
    assert_eq!(world.block_on(client.call(cmd("GET").arg("k"))).unwrap(), Frame::bulk("v"));
    let error = world.block_on(client.call(cmd("NOSUCH"))).unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.code() == "ERR"), "{error:?}");
    assert_eq!(error.delivery(), None);
    let error = world.block_on(client.call(cmd("SELECT").arg(1))).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

/// No name is looked up while the client is described. The connector is told the address, and the name by which the server
/// there is verified. RULE-22
#[test]
fn a_host_name_is_looked_up_first() {
    let (world, server) = (World::new(), Server::default());
    let settings = ConfigBuilder::from_url("redis://redis.example.com").unwrap();
    let opening = Builder::from_settings(world.clone(), server.clone(), settings).pool_size(1).connect();
    assert!(server.state().resolved.is_empty(), "a client that is being described looks nothing up");
    world.block_on(opening).unwrap();
    assert_eq!(server.state().resolved, ["redis.example.com"]);
    let address = Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
    assert_eq!(server.state().dialled, [Target::new(address, Some("redis.example.com".into()))]);
}

#[test]
fn an_unknown_host_is_a_connect_error() {
    let (world, server) = (World::new(), Server::default());
    server.state().unknown_host = true;
    let settings = ConfigBuilder::from_url("redis://redis.example.com").unwrap();
    let opening = Builder::from_settings(world.clone(), server.clone(), settings).connect();
    let error = world.block_on(opening).unwrap_err();
    assert!(matches!(error, Error::Connect(ConnectError::Resolve(_))), "{error:?}");
    world.run();
    assert_nothing_is_left(&world, &server);
}

#[test]
fn a_refused_dial_is_a_connect_error_and_leaves_nothing() {
    let (world, server) = (World::new(), Server::default());
    server.state().refuse = true;
    let error = world.block_on(builder(&world, &server).connect()).unwrap_err();
    assert!(matches!(error, Error::Connect(ConnectError::Connect(_))), "{error:?}");
    world.run();
    assert_nothing_is_left(&world, &server);
}

#[test]
fn giving_up_while_connecting_closes_what_was_opened() {
    let (world, server) = (World::new(), Server::default());
    server.state().black_hole = true;
    {
        let opening = pin!(builder(&world, &server).connect());
        assert!(opening.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        world.run();
        assert!(world.tasks() > 0);
    }
    world.run();
    assert_nothing_is_left(&world, &server);
}

/// INV-02: a reply that nobody waits for is skipped in its place.
#[test]
fn dropping_a_reply_keeps_the_order_of_the_others() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let replies: Vec<_> = (0..10).map(|i| client.send(echo(&i.to_string())).unwrap()).collect();
    world.run();
    assert_eq!(server.state().received.len(), 10, "all of them are written");
    let kept: Vec<_> = replies.into_iter().enumerate().filter(|(i, _)| i % 3 == 0).collect();
    for i in 0..10 {
        server.say(format!("$1\r\n{i}\r\n").as_bytes());
    }
    for (i, reply) in kept {
        assert_eq!(world.block_on(reply).unwrap()[0], Frame::bulk(i.to_string()));
    }
    assert_eq!(client.stats().requests, 0);
}

#[test]
fn what_was_cancelled_before_it_was_written_is_never_written() {
    let (world, server, client) = connected();
    drop(client.send(echo("never")).unwrap());
    let reply = client.send(echo("written")).unwrap();
    world.block_on(reply).unwrap();
    assert_eq!(server.state().received, ["ECHO"]);
}

#[test]
fn requests_that_were_accepted_together_go_out_in_one_write() {
    let (world, server, client) = connected();
    let before = server.state().writes;
    let replies: Vec<_> = (0..100).map(|_| client.send(echo("x")).unwrap()).collect();
    for reply in replies {
        world.block_on(reply).unwrap();
    }
    assert_eq!(server.state().writes - before, 1);
}

/// The server is never idle while somebody has something to ask: those who have a reply send again before the next part of
/// what the server has sent is handed over.
#[test]
fn replies_are_handed_over_in_parts() {
    let (world, server, client) = connected();
    let before = server.state().writes;
    for _ in 0..64 {
        let client = client.clone();
        world.spawn(async move {
            for _ in 0..2 {
                client.call(cmd("PING")).await.unwrap();
            }
        });
    }
    world.run();
    assert_eq!(server.state().received.len(), 128);
    let writes = server.state().writes - before;
    assert!((4..=8).contains(&writes), "{writes} writes: all together, then about a quarter at a time");
}

/// The caller has no use for a part of what a pipeline brings.
#[test]
fn the_replies_of_a_pipeline_are_handed_over_together() {
    let polls = |commands| {
        let (world, _server, client) = connected();
        let pipeline = (0..commands).fold(Pipeline::new(), |pipeline, _| pipeline.command(cmd("PING")));
        let request = pipeline.into_request().unwrap().expect("there are commands");
        let before = world.polls();
        let reply = client.send(request).unwrap();
        world.run();
        let polls = world.polls() - before;
        assert_eq!(world.block_on(reply).unwrap().len(), commands);
        polls
    };
    assert_eq!(polls(60), polls(1));
}

/// INV-01: the runtime is gone, and still everybody gets an answer.
#[test]
fn when_the_runtime_goes_away_everybody_who_waits_is_told() {
    let (world, server, client) = connected();
    let mut events = client.events();
    server.state().stalled = true;
    let written = client.send(echo("written")).unwrap();
    world.run();
    let unsent = client.send(echo("unsent")).unwrap();
    world.die();
    for reply in [written, unsent] {
        let outcome = poll_once(reply);
        assert!(matches!(outcome, Poll::Ready(Err(RequestError::ShutDown { .. }))), "{outcome:?}");
    }
    assert!(matches!(client.send(echo("late")), Err(SendError::ShuttingDown(_))));
    assert!(poll_once(client.shutdown(SECOND)).is_ready());
    let all = std::iter::from_fn(|| events.try_next()).count();
    assert!(all > 0 && poll_once(events.next()).is_ready(), "the stream of events has ended");
    assert_eq!(server.state().open, 0);
}

#[test]
fn a_runtime_that_is_gone_before_the_pool_opens_is_a_connect_error() {
    let (world, server) = (World::new(), Server::default());
    world.die();
    let outcome = poll_once(builder(&world, &server).connect());
    let Poll::Ready(Err(Error::Connect(ConnectError::ShutDown))) = outcome else { panic!("{outcome:?}") };
}

#[test]
fn a_graceful_shutdown_finishes_what_is_under_way() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let reply = client.send(echo("slow")).unwrap();
    world.run();
    let mut shutdown = pin!(client.shutdown(SECOND));
    assert!(shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(matches!(client.send(echo("late")), Err(SendError::ShuttingDown(_))));
    server.say(b"$4\r\nslow\r\n");
    assert_eq!(world.block_on(reply).unwrap()[0], Frame::bulk("slow"));
    world.block_on(shutdown);
    assert_nothing_is_left(&world, &server);
}

/// PITFALL-13: the grace is an upper bound, and no timer outlives the client.
#[test]
fn a_shutdown_ends_with_its_grace() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let reply = client.send(echo("never answered")).unwrap();
    world.run();
    let before = Runtime::now(&world);
    world.block_on(client.shutdown(SECOND));
    assert_eq!(Runtime::now(&world) - before, SECOND);
    assert_nothing_is_left(&world, &server);
    let outcome = world.block_on(reply);
    assert_eq!(outcome, Err(RequestError::ShutDown { delivery: Delivery::Unknown }));
}

#[test]
fn the_last_handle_takes_the_client_with_it() {
    let (world, server, client) = connected();
    let other = client.clone();
    let reply = client.send(echo("x")).unwrap();
    drop(client);
    drop(other);
    world.block_on(reply).unwrap();
    world.run();
    assert_nothing_is_left(&world, &server);
}

/// INV-12: a client without work sleeps.
#[test]
fn an_idle_client_does_not_wake_up() {
    let (world, _server, client) = connected();
    world.block_on(client.call(cmd("PING"))).unwrap();
    // The alarms that are still set ring once, for nothing.
    world.pass(60 * SECOND);
    let polls = world.polls();
    world.pass(3600 * SECOND);
    assert_eq!((world.polls() - polls, world.next_alarm()), (0, None));
}

#[test]
fn a_request_times_out_and_says_that_it_may_have_run() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let request = echo("x").timeout(SECOND).replay(Replay::Never);
    let error = world.block_on(client.request(request)).unwrap_err();
    assert_eq!(error.delivery(), Some(Delivery::Unknown));
    assert!(error.to_string().contains("Unknown"), "{error}");
}

#[test]
fn a_pipeline_is_one_unit() {
    let (world, _server, client) = connected();
    let commands = [cmd("SET").arg("a").arg("1"), cmd("NOSUCH"), cmd("GET").arg("a")];
    let replies = world.block_on(client.pipeline(commands)).unwrap();
    assert_eq!(replies, [Frame::simple("OK"), Frame::error("ERR unknown command"), Frame::bulk("1")]);
    assert_eq!(world.block_on(client.pipeline(Pipeline::new())).unwrap(), []);
}

#[test]
fn an_atomic_pipeline_returns_what_exec_returns() {
    let (world, server, client) = connected();
    let pipeline = Pipeline::atomic().command(cmd("SET").arg("a").arg("2")).command(cmd("GET").arg("a"));
    let replies = world.block_on(client.pipeline(pipeline)).unwrap();
    assert_eq!(replies, [Frame::simple("OK"), Frame::bulk("2")]);
    assert_eq!(server.state().received, ["MULTI", "SET", "GET", "EXEC"]);
}

#[test]
fn a_large_value_goes_and_comes_in_many_pieces() {
    let (world, _server, client) = connected();
    let value = Bytes::from((0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect::<Vec<u8>>());
    world.block_on(client.call(cmd("SET").arg("k").arg(value.clone()))).unwrap();
    assert_eq!(world.block_on(client.call(cmd("GET").arg("k"))).unwrap(), Frame::Bulk(value));
}

#[test]
fn replies_that_have_arrived_are_delivered_although_writing_is_broken() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let first = client.send(echo("first").replay(Replay::Never)).unwrap();
    world.run();
    server.state().broken_writes = true;
    let second = client.send(echo("second").replay(Replay::Never)).unwrap();
    world.run();
    server.say(b"$5\r\nfirst\r\n");
    server.end();
    assert_eq!(world.block_on(first).unwrap()[0], Frame::bulk("first"));
    let outcome = world.block_on(second);
    let Err(RequestError::ConnectionLost { cause: CloseCause::Io(_), .. }) = outcome else {
        panic!("{outcome:?}")
    };
}

#[test]
fn what_is_not_resp_ends_the_connection() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let reply = client.send(echo("x").replay(Replay::Never)).unwrap();
    world.run();
    server.state().refuse = true;
    server.say(b"$1\r\nx\r\n\x01\r\n");
    assert_eq!(world.block_on(reply).unwrap()[0], Frame::bulk("x"), "the frame before it is good");
    world.run();
    assert_eq!(server.state().open, 0);
}

/// RULE-31
#[test]
fn pushes_go_to_their_observers_and_are_no_replies() {
    let (world, server, client) = connected();
    let mut pushes = client.pushes();
    server.say(b">2\r\n+hello\r\n:1\r\n");
    assert_eq!(world.block_on(client.call(cmd("PING"))).unwrap(), Frame::simple("OK"));
    let push = world.block_on(pushes.next()).unwrap().unwrap();
    assert_eq!(push.elements, [Frame::simple("hello"), Frame::Integer(1)]);
}

/// PITFALL-30, RULE-42: a MOVING that is read together with the server's FIN may be old: nobody follows it.
#[test]
fn an_announcement_that_arrives_with_the_end_of_the_stream_starts_no_move() {
    let (world, server, client) = connected();
    let mut events = client.events();
    server.say(b">4\r\n$6\r\nMOVING\r\n:1\r\n:15\r\n$13\r\n10.9.9.9:6379\r\n");
    server.end();
    world.run();
    let seen: Vec<_> = std::iter::from_fn(|| events.try_next()).flatten().collect();
    assert!(seen.iter().any(|event| {
        matches!(event, Event::NotificationIgnored { reason: Ignored::ConnectionEnding, .. })
    }));
    assert!(!seen.iter().any(|event| matches!(event, Event::MoveStarted { .. })), "{seen:?}");
}

/// PITFALL-30, RULE-42: as above, wherever a batch would end.
#[test]
fn a_batch_does_not_end_between_an_announcement_and_the_end_of_the_stream() {
    for ahead in 0..70 {
        let (world, server, client) = connected();
        let mut events = client.events();
        server.say(&b">1\r\n+x\r\n".repeat(ahead));
        server.say(b">4\r\n$6\r\nMOVING\r\n:1\r\n:15\r\n$13\r\n10.9.9.9:6379\r\n");
        server.end();
        world.run();
        let moves = std::iter::from_fn(|| events.try_next()).flatten();
        let moves = moves.filter(|event| matches!(event, Event::MoveStarted { .. })).count();
        assert_eq!(moves, 0, "{ahead} pushes ahead");
    }
}

/// INV-14: a server that never pauses gets its connection a turn, not the thread; and nothing more is read before what has arrived
/// is handed over.
#[test]
fn the_work_of_one_poll_is_bounded() {
    let (world, server, _client) = connected();
    server.say(&b">1\r\n+x\r\n".repeat(100_000));
    let before = world.polls();
    world.run();
    let polls = world.polls() - before;
    assert!((10..1_000).contains(&polls), "{polls} polls");
}

#[test]
fn an_observer_of_the_builder_sees_the_pool_open() {
    let (world, server) = (World::new(), Server::default());
    let builder = builder(&world, &server);
    let mut events = builder.events();
    let client = world.block_on(builder.connect()).unwrap();
    assert!(matches!(events.try_next(), Some(Ok(Event::ConnectionReady { .. }))));
    drop(client);
    let mut last = None;
    while let Some(event) = world.block_on(events.next()) {
        last = Some(event.unwrap());
    }
    assert_eq!(last, Some(Event::Terminated));
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
