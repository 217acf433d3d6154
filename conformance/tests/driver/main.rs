//! The driver in virtual time and without chance: tasks run in the order of their wake-ups, bytes arrive at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blocking;
mod cluster;
mod credentials;
mod floods;
mod flush;
mod hooks;
mod leases;
mod redis_rs;
mod room;
mod sharded;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig};
use hitless_conformance::sim::{Executor, Fixture, Network};
use hitless_core::config::{ConfigBuilder, maintenance};
use hitless_core::driver::{Builder, Client, Error, Reply, Runtime as _};
use hitless_core::endpoint::Target;
use hitless_core::error::{CloseCause, ConnectError, Delivery, ProtocolError, RequestError};
use hitless_core::event::{Event, Ignored};
use hitless_core::mode::Mode;
use hitless_core::request::{Pipeline, Replay, Request, SendError};
use resp3_codec::{Frame, Limit, Limits, cmd};

const SECOND: Duration = Duration::from_secs(1);

/// A server that listens at the usual port, and at two more to which moves lead.
fn fixture() -> Fixture {
    let mut server = Server::new(ServerConfig::default());
    for port in [6379, 2, 3] {
        server.add_endpoint(EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    let fixture = Fixture::new(server);
    fixture.set_name("redis.example.com", vec![Ipv4Addr::LOCALHOST.into()]);
    fixture
}

fn builder(fixture: &Fixture) -> Builder<Executor, Network> {
    let settings = ConfigBuilder::from_url("redis://127.0.0.1").unwrap();
    let quiet = maintenance::Config::builder().mode(Mode::Disabled).build().unwrap();
    Builder::from_settings(fixture.runtime(), fixture.network(), settings).maintenance(quiet).pool_size(1)
}

fn connected() -> (Fixture, Client<Executor>) {
    let mut fixture = fixture();
    let client = fixture.block_on(builder(&fixture).connect()).unwrap();
    (fixture, client)
}

fn echo(text: &str) -> Request {
    Request::command(cmd("ECHO").arg(text)).unwrap()
}

/// No socket, no task, no timer: INV-15
fn assert_nothing_is_left(fixture: &Fixture) {
    assert_eq!(fixture.leftovers(), (0, 0, 0), "sockets, tasks, timers");
}

#[test]
fn a_call_is_answered() {
    let (mut fixture, client) = connected();
    fixture.block_on(client.call(cmd("SET").arg("k").arg("v"))).unwrap();
    assert_eq!(fixture.block_on(client.call(cmd("GET").arg("k"))).unwrap(), Frame::bulk("v"));
    let error = fixture.block_on(client.call(cmd("NOSUCH"))).unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.code() == "ERR"), "{error:?}");
    assert_eq!(error.delivery(), None);
    let error = fixture.block_on(client.call(cmd("SELECT").arg(1))).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

/// The process is stopped while replies come: they are read before anything is timed out. RULE-144
#[test]
fn what_has_arrived_is_read_before_anything_is_timed_out() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let replies: Vec<_> = (0..3).map(|i| client.send(echo(&i.to_string())).unwrap()).collect();
    let late = client.send(echo("late")).unwrap();
    fixture.run();
    fixture.say(b"$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n");
    fixture.stop(30 * SECOND);
    for (i, reply) in replies.into_iter().enumerate() {
        assert_eq!(fixture.block_on(reply).unwrap()[0], Frame::bulk(i.to_string()));
    }
    let error = fixture.block_on(late).unwrap_err();
    assert!(matches!(error, RequestError::TimedOut { delivery: Delivery::Unknown, .. }), "{error:?}");
    assert_eq!(client.stats().serving, 1, "the link is not dead");
}

/// The process is stopped in the middle of a handshake: the answer that has come meanwhile is read before the dial is given up.
/// RULE-144
#[test]
fn a_handshake_that_was_answered_in_time_is_not_given_up() {
    let mut fixture = fixture();
    let builder = builder(&fixture).connect_timeout(SECOND);
    let mut connecting = Box::pin(builder.connect());
    assert!(poll_once(connecting.as_mut()).is_pending());
    while fixture.writes() == 0 {
        assert!(fixture.step(), "the handshake is written");
    }
    fixture.stop(2 * SECOND);
    fixture.block_on(connecting).unwrap();
    assert_eq!(fixture.dialled().len(), 1);
}

/// The connector is told the address, and the name by which the server there is verified. RULE-22
#[test]
fn a_host_name_is_looked_up_first() {
    let mut fixture = fixture();
    let settings = ConfigBuilder::from_url("redis://redis.example.com").unwrap();
    let opening =
        Builder::from_settings(fixture.runtime(), fixture.network(), settings).pool_size(1).connect();
    assert_eq!(fixture.lookups("redis.example.com"), 0, "a client that is being described looks nothing up");
    fixture.block_on(opening).unwrap();
    assert_eq!(fixture.lookups("redis.example.com"), 1);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 6379));
    assert_eq!(fixture.dialled(), [Target::new(address.into(), Some("redis.example.com".into()))]);
}

#[test]
fn an_unknown_host_is_a_connect_error() {
    let mut fixture = fixture();
    let settings = ConfigBuilder::from_url("redis://nowhere.example.com").unwrap();
    let opening = Builder::from_settings(fixture.runtime(), fixture.network(), settings).connect();
    let error = fixture.block_on(opening).unwrap_err();
    let Error::Connect(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.last(), ConnectError::Resolve(_)), "{error:?}");
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// What is set for TCP is told to the network at each dial, those of leases included. RULE-237
#[test]
fn the_options_of_tcp_reach_the_connector() {
    let mut fixture = fixture();
    let builder = builder(&fixture).tcp_keepalive(7 * SECOND).tcp_keepalive_interval(2 * SECOND);
    let builder = builder.tcp_keepalive_retries(9).tcp_user_timeout(None);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.block_on(client.lease()).unwrap();
    let dialled = fixture.dialled();
    assert!(dialled.len() > 1);
    for Target { tcp, .. } in dialled {
        assert_eq!((tcp.keepalive, tcp.keepalive_interval), (Some(7 * SECOND), 2 * SECOND));
        assert_eq!((tcp.keepalive_retries, tcp.user_timeout), (9, None));
    }
}

#[test]
fn a_refused_dial_is_a_connect_error_and_leaves_nothing() {
    let mut fixture = fixture();
    fixture.refuse_dials();
    let error = fixture.block_on(builder(&fixture).connect()).unwrap_err();
    let Error::Connect(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.last(), ConnectError::Connect(_)), "{error:?}");
    fixture.run();
    assert_nothing_is_left(&fixture);
}

#[test]
fn giving_up_while_connecting_closes_what_was_opened() {
    let mut fixture = fixture();
    fixture.swallow_dials();
    {
        let opening = pin!(builder(&fixture).connect());
        assert!(opening.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        fixture.run();
        assert!(fixture.leftovers().1 > 0);
    }
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// A reply that nobody waits for is skipped in its place. INV-02
#[test]
fn dropping_a_reply_keeps_the_order_of_the_others() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let replies: Vec<_> = (0..10).map(|i| client.send(echo(&i.to_string())).unwrap()).collect();
    fixture.run();
    assert_eq!(fixture.received().len(), 10, "all of them are written");
    let kept: Vec<_> = replies.into_iter().enumerate().filter(|(i, _)| i % 3 == 0).collect();
    for i in 0..10 {
        fixture.say(format!("$1\r\n{i}\r\n").as_bytes());
    }
    for (i, reply) in kept {
        assert_eq!(fixture.block_on(reply).unwrap()[0], Frame::bulk(i.to_string()));
    }
    assert_eq!(client.stats().requests, 0);
}

#[test]
fn what_was_cancelled_before_it_was_written_is_never_written() {
    let (mut fixture, client) = connected();
    drop(client.send(echo("never")).unwrap());
    let reply = client.send(echo("written")).unwrap();
    fixture.block_on(reply).unwrap();
    assert_eq!(fixture.received(), ["ECHO"]);
}

#[test]
fn requests_that_were_accepted_together_go_out_in_one_write() {
    let (mut fixture, client) = connected();
    let before = fixture.writes();
    let replies: Vec<_> = (0..100).map(|_| client.send(echo("x")).unwrap()).collect();
    for reply in replies {
        fixture.block_on(reply).unwrap();
    }
    assert_eq!(fixture.writes() - before, 1);
}

/// The server is never idle while somebody has something to ask: those who have a reply send again before the next part of
/// what the server has sent is handed over.
#[test]
fn replies_are_handed_over_in_parts() {
    let (mut fixture, client) = connected();
    let before = fixture.writes();
    for _ in 0..64 {
        let client = client.clone();
        fixture.runtime().spawn(async move {
            for _ in 0..2 {
                client.call(cmd("PING")).await.unwrap();
            }
        });
    }
    fixture.run();
    assert_eq!(fixture.received().len(), 128);
    let writes = fixture.writes() - before;
    assert!((4..=8).contains(&writes), "{writes} writes: all together, then about a quarter at a time");
}

/// The caller has no use for a part of what a pipeline brings.
#[test]
fn the_replies_of_a_pipeline_are_handed_over_together() {
    let polls = |commands| {
        let (mut fixture, client) = connected();
        let pipeline = (0..commands).fold(Pipeline::new(), |pipeline, _| pipeline.command(cmd("PING")));
        let request = pipeline.into_request().unwrap().expect("there are commands");
        let before = fixture.polls();
        let reply = client.send(request).unwrap();
        fixture.run();
        let polls = fixture.polls() - before;
        assert_eq!(fixture.block_on(reply).unwrap().len(), commands);
        polls
    };
    assert_eq!(polls(60), polls(2));
}

/// A task that goes on by itself costs a wake-up of another thread, where the runtime has several. Each command of a caller that is
/// alone takes two polls of the connection's task: one writes it, and one reads its reply. RULE-449
#[test]
fn a_command_that_is_alone_yields_to_nobody() {
    let (mut fixture, client) = connected();
    fixture.block_on(client.call(cmd("PING"))).unwrap();
    let before = fixture.polls();
    for _ in 0..10 {
        let reply = client.send(echo("x")).unwrap();
        fixture.run();
        fixture.block_on(reply).unwrap();
    }
    assert_eq!(fixture.polls() - before, 2 * 10);
}

/// The runtime is gone, and still everybody gets an answer. INV-01
#[test]
fn when_the_runtime_goes_away_everybody_who_waits_is_told() {
    let (mut fixture, client) = connected();
    let mut events = client.events();
    fixture.answer_nothing();
    let written = client.send(echo("written")).unwrap();
    fixture.run();
    let unsent = client.send(echo("unsent")).unwrap();
    fixture.die();
    for reply in [written, unsent] {
        let outcome = poll_once(reply);
        assert!(matches!(outcome, Poll::Ready(Err(RequestError::ShutDown { .. }))), "{outcome:?}");
    }
    assert!(matches!(client.send(echo("late")), Err(SendError::ShuttingDown(_))));
    assert!(poll_once(client.shutdown(SECOND)).is_ready());
    let all = std::iter::from_fn(|| events.try_next()).count();
    assert!(all > 0 && poll_once(events.next()).is_ready(), "the stream of events has ended");
    assert_eq!(fixture.leftovers().0, 0);
}

#[test]
fn a_runtime_that_is_gone_before_the_pool_opens_is_a_connect_error() {
    let fixture = fixture();
    fixture.die();
    let outcome = poll_once(builder(&fixture).connect());
    let Poll::Ready(Err(Error::Connect(ConnectError::TaskEnded))) = outcome else { panic!("{outcome:?}") };
}

#[test]
fn a_graceful_shutdown_finishes_what_is_under_way() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let reply = client.send(echo("slow")).unwrap();
    fixture.run();
    let mut shutdown = pin!(client.shutdown(SECOND));
    assert!(shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(matches!(client.send(echo("late")), Err(SendError::ShuttingDown(_))));
    fixture.say(b"$4\r\nslow\r\n");
    assert_eq!(fixture.block_on(reply).unwrap()[0], Frame::bulk("slow"));
    fixture.block_on(shutdown);
    assert_nothing_is_left(&fixture);
}

/// The grace is an upper bound, and no timer outlives the client. PITFALL-13
#[test]
fn a_shutdown_ends_with_its_grace() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let reply = client.send(echo("never answered")).unwrap();
    fixture.run();
    let before = fixture.now();
    fixture.block_on(client.shutdown(SECOND));
    assert_eq!(fixture.now() - before, SECOND);
    assert_nothing_is_left(&fixture);
    let outcome = fixture.block_on(reply);
    assert_eq!(outcome, Err(RequestError::ShutDown { delivery: Delivery::Unknown }));
}

#[test]
fn the_last_handle_takes_the_client_with_it() {
    let (mut fixture, client) = connected();
    let other = client.clone();
    let reply = client.send(echo("x")).unwrap();
    drop(client);
    drop(other);
    fixture.block_on(reply).unwrap();
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// A client without work sleeps. INV-12
#[test]
fn an_idle_client_does_not_wake_up() {
    let (mut fixture, client) = connected();
    fixture.block_on(client.call(cmd("PING"))).unwrap();
    // The alarms that are still set ring once, for nothing.
    fixture.pass(60 * SECOND);
    let polls = fixture.polls();
    fixture.pass(3600 * SECOND);
    assert_eq!((fixture.polls() - polls, fixture.leftovers().2), (0, 0));
}

#[test]
fn a_request_times_out_and_says_that_it_may_have_run() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let request = echo("x").timeout(SECOND).replay(Replay::Never);
    let error = fixture.block_on(client.request(request)).unwrap_err();
    assert_eq!(error.delivery(), Some(Delivery::Unknown));
    assert!(error.to_string().contains("Unknown"), "{error}");
}

#[test]
fn a_pipeline_is_one_unit() {
    let (mut fixture, client) = connected();
    let commands = [cmd("SET").arg("a").arg("1"), cmd("NOSUCH"), cmd("GET").arg("a")];
    let replies = fixture.block_on(client.pipeline(commands)).unwrap();
    assert_eq!(
        replies,
        [
            Frame::simple("OK"),
            Frame::error("ERR unknown command 'NOSUCH', with args beginning with: "),
            Frame::bulk("1")
        ]
    );
    assert_eq!(fixture.block_on(client.pipeline(Pipeline::new())).unwrap(), []);
}

#[test]
fn an_atomic_pipeline_returns_what_exec_returns() {
    let (mut fixture, client) = connected();
    let pipeline = Pipeline::atomic().command(cmd("SET").arg("a").arg("2")).command(cmd("GET").arg("a"));
    let replies = fixture.block_on(client.pipeline(pipeline)).unwrap();
    assert_eq!(replies, [Frame::simple("OK"), Frame::bulk("2")]);
    assert_eq!(fixture.received(), ["MULTI", "SET", "GET", "EXEC"]);
}

#[test]
fn a_large_value_goes_and_comes_in_many_pieces() {
    let (mut fixture, client) = connected();
    let value = Bytes::from((0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect::<Vec<u8>>());
    fixture.block_on(client.call(cmd("SET").arg("k").arg(value.clone()))).unwrap();
    assert_eq!(fixture.block_on(client.call(cmd("GET").arg("k"))).unwrap(), Frame::Bulk(value));
}

#[test]
fn replies_that_have_arrived_are_delivered_although_writing_is_broken() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let first = client.send(echo("first").replay(Replay::Never)).unwrap();
    fixture.run();
    fixture.break_writes();
    let second = client.send(echo("second").replay(Replay::Never)).unwrap();
    fixture.run();
    fixture.say(b"$5\r\nfirst\r\n");
    fixture.end();
    assert_eq!(fixture.block_on(first).unwrap()[0], Frame::bulk("first"));
    let outcome = fixture.block_on(second);
    let Err(RequestError::ConnectionLost { cause: CloseCause::Io(_), .. }) = outcome else {
        panic!("{outcome:?}")
    };
}

#[test]
fn what_is_not_resp_ends_the_connection() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let reply = client.send(echo("x").replay(Replay::Never)).unwrap();
    fixture.run();
    fixture.refuse_dials();
    fixture.say(b"$1\r\nx\r\n\x01\r\n");
    assert_eq!(fixture.block_on(reply).unwrap()[0], Frame::bulk("x"), "the frame before it is good");
    fixture.run();
    assert_eq!(fixture.leftovers().0, 0);
}

/// What a script nests, and however long an error it writes: it is the reply, and the connection goes on. RULE-120
#[test]
fn the_replies_of_scripts_may_be_deep_and_long() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let replies = [(); 3].map(|()| client.send(echo("x").replay(Replay::Never)).unwrap());
    fixture.run();
    let error = format!("ERR {}", "x".repeat(100 << 10));
    fixture.say("*1\r\n".repeat(512).as_bytes());
    fixture.say(format!("+core\r\n-{error}\r\n+OK\r\n").as_bytes());
    let [deep, long, next] = replies.map(|reply| fixture.block_on(reply).unwrap().remove(0));
    let mut levels = 0;
    let mut inner = &deep;
    while let Some([element]) = inner.as_array() {
        (levels, inner) = (levels + 1, element);
    }
    assert_eq!((levels, inner), (512, &Frame::simple("core")));
    assert_eq!(long.as_bytes(), Some(error.as_bytes()));
    assert_eq!(next, Frame::simple("OK"));
}

/// The limits of the configuration are those of every connection. RULE-120
#[test]
fn a_reply_beyond_the_configured_limits_ends_the_connection() {
    let mut fixture = fixture();
    // The handshake has replies of its own, which are not flat.
    let limits = Limits::default().depth(8);
    let client = fixture.block_on(builder(&fixture).reply_limits(limits).connect()).unwrap();
    fixture.answer_nothing();
    let replies = [(); 2].map(|()| client.send(echo("x").replay(Replay::Never)).unwrap());
    fixture.run();
    let nested = |levels| "*1\r\n".repeat(levels) + "+core\r\n";
    fixture.say((nested(8) + &nested(9)).as_bytes());
    let [within, beyond] = replies.map(|reply| fixture.block_on(reply));
    assert!(within.is_ok(), "{within:?}");
    let exceeded = ProtocolError::Limit { limit: Limit::Depth, allowed: 8 };
    let Err(RequestError::ConnectionLost { cause: CloseCause::Protocol(cause), .. }) = beyond else {
        panic!("{beyond:?}")
    };
    assert_eq!(cause, exceeded);
}

/// RULE-31
#[test]
fn pushes_go_to_their_observers_and_are_no_replies() {
    let (mut fixture, client) = connected();
    let mut pushes = client.pushes();
    fixture.say(b">2\r\n+hello\r\n:1\r\n");
    assert_eq!(fixture.block_on(client.call(cmd("PING"))).unwrap(), Frame::simple("PONG"));
    let push = fixture.block_on(pushes.next()).unwrap().unwrap();
    assert_eq!(push.elements, [Frame::simple("hello"), Frame::Integer(1)]);
}

/// A MOVING that is read together with the server's FIN may be old: nobody follows it. PITFALL-30, RULE-42
#[test]
fn an_announcement_that_arrives_with_the_end_of_the_stream_starts_no_move() {
    let (mut fixture, client) = connected();
    let mut events = client.events();
    fixture.say(b">4\r\n$6\r\nMOVING\r\n:1\r\n:15\r\n$13\r\n10.9.9.9:6379\r\n");
    fixture.end();
    fixture.run();
    let seen: Vec<_> = std::iter::from_fn(|| events.try_next()).flatten().collect();
    assert!(seen.iter().any(|event| {
        matches!(event, Event::NotificationIgnored { reason: Ignored::ConnectionEnding, .. })
    }));
    assert!(!seen.iter().any(|event| matches!(event, Event::MoveStarted { .. })), "{seen:?}");
}

/// As above, wherever a batch would end. PITFALL-30, RULE-42
#[test]
fn a_batch_does_not_end_between_an_announcement_and_the_end_of_the_stream() {
    for ahead in 0..70 {
        let (mut fixture, client) = connected();
        let mut events = client.events();
        fixture.say(&b">1\r\n+x\r\n".repeat(ahead));
        fixture.say(b">4\r\n$6\r\nMOVING\r\n:1\r\n:15\r\n$13\r\n10.9.9.9:6379\r\n");
        fixture.end();
        fixture.run();
        let moves = std::iter::from_fn(|| events.try_next()).flatten();
        let moves = moves.filter(|event| matches!(event, Event::MoveStarted { .. })).count();
        assert_eq!(moves, 0, "{ahead} pushes ahead");
    }
}

/// A server that never pauses gets its connection a turn, not the thread; and nothing more is read before what has arrived
/// is handed over. INV-14
#[test]
fn the_work_of_one_poll_is_bounded() {
    for is_alone in [false, true] {
        let (mut fixture, client) = connected();
        if is_alone {
            fixture.block_on(client.call(cmd("PING"))).unwrap();
        }
        fixture.say(&b">1\r\n+x\r\n".repeat(100_000));
        let before = fixture.polls();
        fixture.run();
        let polls = fixture.polls() - before;
        assert!((10..1_000).contains(&polls), "{polls} polls, alone: {is_alone}");
    }
}

/// The end of the stream arrives behind a push, or behind a late reply to a caller that is alone: what is sent then did not run, and is said not to
/// have been sent. RULE-449
#[test]
fn nothing_is_written_into_a_stream_that_has_ended() {
    for last in [&b">1\r\n+x\r\n"[..], b":1\r\n"] {
        let (mut fixture, client) = connected();
        fixture.answer_nothing();
        let late = fixture.block_on(client.call(cmd("ECHO").arg("late"))).unwrap_err();
        assert_eq!(late.delivery(), Some(Delivery::Unknown));
        let mut pushes = client.pushes();
        fixture.refuse_dials();
        fixture.say(last);
        fixture.end();
        let error = fixture.block_on(async {
            if last[0] == b'>' {
                pushes.next().await.unwrap().unwrap();
            }
            client.call(cmd("ECHO").arg("behind it")).await.unwrap_err()
        });
        assert_eq!(error.delivery(), Some(Delivery::NotSent), "{error}");
        assert_eq!(fixture.received(), ["ECHO"], "the late one");
    }
}

/// As above, where two requests had been written together: the second one was given up, and its reply comes late, at any moment before the next request
/// is written. RULE-449
#[test]
fn nothing_is_written_behind_a_late_reply_to_one_of_two() {
    for steps in 0.. {
        let (mut fixture, client) = connected();
        fixture.answer_nothing();
        let answered = client.send(echo("answered")).unwrap();
        let late = client.send(echo("late")).unwrap();
        fixture.run();
        fixture.say(b":1\r\n");
        fixture.block_on(answered).unwrap();
        let late = fixture.block_on(late).unwrap_err();
        assert_eq!(late.delivery(), Delivery::Unknown);
        fixture.run();
        fixture.refuse_dials();
        let writes = fixture.writes();
        let behind_it = client.send(echo("behind it")).unwrap();
        for _ in 0..steps {
            assert!(fixture.step());
        }
        if fixture.writes() > writes {
            assert!(steps > 1, "it waits for others to join it");
            break;
        }
        fixture.say(b":2\r\n");
        fixture.end();
        let error = fixture.block_on(behind_it).unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent, "{error} after {steps} steps");
        assert_eq!(fixture.received(), ["ECHO", "ECHO"], "the first two");
    }
}

#[test]
fn an_observer_of_the_builder_sees_the_pool_open() {
    let mut fixture = fixture();
    let builder = builder(&fixture);
    let mut events = builder.events();
    let client = fixture.block_on(builder.connect()).unwrap();
    assert!(matches!(events.try_next(), Some(Ok(Event::ConnectionReady { .. }))));
    drop(client);
    let mut last = None;
    while let Some(event) = fixture.block_on(events.next()) {
        last = Some(event.unwrap());
    }
    assert_eq!(last, Some(Event::Terminated));
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
