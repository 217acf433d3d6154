//! What caches in the application are told.

use super::leases::{answered, lease};
use super::*;
use crate::config::{Protocol, Tracking};
use crate::handshake::{ErrorCode, HandshakeError, Stage};
use crate::tests::accepted_handshake;

/// A client whose pool tracks and is being opened.
pub(super) fn tracking(pool: u32, tracking: Tracking) -> World {
    World::with(|builder| builder.pool_size(pool).tracking(tracking))
}

/// Connects what is dialled next, up to the answer to CLIENT TRACKING.
fn begin(world: &mut World) -> ConnId {
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    conn
}

/// What was written to `conn` in its handshake.
fn written(world: &mut World, conn: ConnId) -> String {
    let lines = world.pending.remove(&conn).unwrap_or_default();
    let words = lines.iter().map(|line| String::from_utf8_lossy(line).trim().to_owned());
    words.filter(|word| !word.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
}

/// Connects what is dialled next, and the server turns tracking on.
pub(super) fn connect(world: &mut World) -> ConnId {
    let conn = begin(world);
    assert!(written(world, conn).starts_with("CLIENT TRACKING ON"));
    hand_in(world, conn, Frame::simple("OK"));
    conn
}

fn hand_in(world: &mut World, conn: ConnId, frame: Frame) {
    world.client.handle_frames(world.now, conn, [frame]);
    world.drain();
}

/// A client with this pool, each connection of which has answered something.
fn used(pool: u32) -> (World, Vec<ConnId>) {
    let mut world = tracking(pool, Tracking::default_mode());
    let conns = (0..pool).map(|_| connect(&mut world)).collect();
    for _ in 0..pool {
        world.send_apart("read", Replay::IfUnsent);
    }
    for conn in &conns {
        assert_eq!(world.pending[conn].len(), 1, "each has one");
        world.answer(*conn);
    }
    assert_eq!(told(&mut world), []);
    (world, conns)
}

/// What was told since the last call.
pub(super) fn told(world: &mut World) -> Vec<Invalidation> {
    let others = std::mem::take(&mut world.others);
    let invalidations = others.into_iter().filter_map(|action| match action {
        Action::Invalidated(invalidation) => Some(invalidation),
        _ => None,
    });
    invalidations.collect()
}

fn keys(names: &[&'static str]) -> Invalidation {
    Invalidation::Keys(names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect())
}

/// An `invalidate` push.
pub(super) fn push(names: &[&'static str]) -> Frame {
    let names = names.iter().map(|name| Frame::bulk(*name)).collect();
    Frame::Push(vec![Frame::bulk("invalidate"), Frame::Array(names)])
}

fn failure(world: &World) -> &ConnectError {
    match world.started.as_ref().expect("it has ended") {
        Err(ConnectError::GaveUp { last, .. }) => last,
        other => panic!("{other:?}"),
    }
}

/// RULE-270
#[test]
fn tracking_is_on_before_a_connection_serves() {
    let mut world = tracking(1, Tracking::default_mode());
    let conn = begin(&mut world);
    assert_eq!(written(&mut world, conn), "CLIENT TRACKING ON");
    assert_eq!(world.started, None, "the server has not turned it on");
    world.send("read");
    assert_eq!(world.pending.get(&conn).map_or(0, Vec::len), 0, "nothing may be read before");
    hand_in(&mut world, conn, Frame::simple("OK"));
    assert_eq!(world.started, Some(Ok(())));
    assert_eq!(world.pending[&conn].len(), 1);

    let mut world = tracking(1, Tracking::broadcast(["user:", "shop:"]));
    let conn = begin(&mut world);
    assert_eq!(written(&mut world, conn), "CLIENT TRACKING ON BCAST PREFIX user: PREFIX shop:");

    let mut world = tracking(1, Tracking::broadcast_all());
    let conn = begin(&mut world);
    assert_eq!(written(&mut world, conn), "CLIENT TRACKING ON BCAST");
}

/// The successor of a connection tracks before it takes over. RULE-270, RULE-92
#[test]
fn a_successor_tracks_before_it_takes_over() {
    let (mut world, conns) = used(1);
    world.push(conns[0], &["MOVING", "1", "15", "127.0.0.1:2"]);
    let to = begin(&mut world);
    world.send("read");
    assert_eq!(world.pending[&conns[0]].len(), 1, "the old one serves");
    assert!(written(&mut world, to).starts_with("CLIENT TRACKING ON"));
    assert_eq!(told(&mut world), []);
    hand_in(&mut world, to, Frame::simple("OK"));
    world.send("read");
    assert_eq!(world.pending[&to].len(), 1);
    assert_eq!(told(&mut world), [Invalidation::All]);
}

/// A cache would keep what is outdated. RULE-271
#[test]
fn a_server_that_refuses_to_track_is_an_error_that_says_so() {
    let mut world = tracking(1, Tracking::default_mode());
    let conn = begin(&mut world);
    world.pending.remove(&conn);
    hand_in(&mut world, conn, Frame::error("ERR unknown subcommand 'TRACKING'"));
    let code = ErrorCode::of(b"ERR");
    let refused = ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Tracking, code });
    assert_eq!(*failure(&world), refused);
    assert!(refused.to_string().contains("refused CLIENT TRACKING"), "{refused}");

    let mut world = tracking(1, Tracking::default_mode());
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    world.drain();
    let unknown = || Frame::error("ERR unknown command 'HELLO'");
    // All of the first write is unknown to it, and then it takes what RESP2 has.
    let ok = || Frame::simple("OK");
    world.client.handle_frames(world.now, conn, [unknown(), unknown(), unknown(), unknown()]);
    world.drain();
    assert_eq!(world.started, None);
    hand_in(&mut world, conn, ok());
    let old = ConnectError::Handshake(HandshakeError::TrackingNeedsResp3);
    assert_eq!(*failure(&world), old);
    assert!(old.to_string().contains("no RESP3"), "{old}");
}

/// RESP2 is not tried, which would be refused as well, for another reason. RULE-271
#[test]
fn a_hello_that_is_refused_in_odd_words_is_the_error() {
    let mut world = tracking(1, Tracking::default_mode());
    while world.started.is_none() {
        for (conn, address) in std::mem::take(&mut world.dials) {
            world.client.handle_connected(world.now, conn, address);
            world.drain();
            let asks = written(&mut world, conn);
            let replies: &[Frame] = if asks.starts_with("HELLO") {
                &[Frame::error("ERR busy now")]
            } else {
                &[Frame::simple("OK"), Frame::simple("PONG")]
            };
            world.client.handle_frames(world.now, conn, replies.iter().cloned());
            world.drain();
        }
        world.pass(SECOND);
    }
    let code = Some(ErrorCode::of(b"ERR"));
    assert_eq!(*failure(&world), ConnectError::Handshake(HandshakeError::HelloRefused { code }));
}

/// RULE-271
#[test]
fn settings_that_cannot_track_are_refused() {
    let build = |configure: fn(ConfigBuilder) -> ConfigBuilder| {
        configure(Config::builder(Endpoint::parse("127.0.0.1:1", 6379).unwrap())).build()
    };
    let problem = |configure| match build(configure).unwrap_err() {
        crate::config::ConfigError::Tracking { problem } => problem,
        other => panic!("{other}"),
    };
    let resp2 = problem(|it| it.tracking(Tracking::default_mode()).protocol(Protocol::Resp2));
    assert!(resp2.contains("RESP3"), "{resp2}");
    let overlap = problem(|it| it.tracking(Tracking::broadcast(["user:7", "user:"])));
    assert!(overlap.contains("prefixes"), "{overlap}");
    let twice = |it: ConfigBuilder| {
        let by_hand = cmd("client").arg("tracking").arg("on");
        it.tracking(Tracking::default_mode()).setup(by_hand)
    };
    assert!(problem(twice).contains("`setup`"));
    assert!(build(|it| it.tracking(Tracking::broadcast(["user:", "shop:"]))).is_ok());
    assert!(build(|it| it.invalidation_capacity(0)).is_err());
}

/// What is read on a lease is not watched: connections that are lent come and go, and each end would empty the cache. RULE-277
#[test]
fn a_connection_that_is_lent_does_not_track() {
    let mut world = tracking(1, Tracking::default_mode());
    connect(&mut world);
    let lent = lease(&mut world);
    let conn = answered(&mut world, lent, "read", None);
    hand_in(&mut world, conn, push(&["k"]));
    world.close(conn);
    assert_eq!(told(&mut world), []);
}

/// Whoever has a reply can read all that the server said before it. RULE-273
#[test]
fn an_invalidation_comes_before_the_replies_that_follow_it() {
    let (mut world, conns) = used(1);
    let asked = [world.send("first"), world.send("second")];
    let frames = [Frame::bulk("first"), push(&["a", "b"]), Frame::bulk("second"), push(&["c"])];
    world.client.handle_frames(world.now, conns[0], frames);
    let mut said = Vec::new();
    while let Some(action) = world.client.poll_action() {
        match action {
            Action::Complete { request, .. } => {
                said.push(asked.iter().position(|id| *id == request).unwrap().to_string());
            }
            Action::Invalidated(invalidation) => said.push(format!("{invalidation:?}")),
            Action::Push { elements, .. } => {
                assert_eq!(elements[0], Frame::bulk("invalidate"), "it is a push as well");
            }
            _ => {}
        }
    }
    let told = [keys(&["a", "b"]), keys(&["c"])].map(|keys| format!("{keys:?}"));
    assert_eq!(said, ["0".to_owned(), told[0].clone(), "1".to_owned(), told[1].clone()]);
}

/// The old server may answer, and tell, what it owes after the move: its end is told once more. RULE-92, RULE-274
#[test]
fn what_the_old_connection_still_answers_is_invalid_at_its_end() {
    let (mut world, conns) = used(1);
    let late = world.send("late");
    world.push(conns[0], &["MOVING", "1", "15", "127.0.0.1:2"]);
    connect(&mut world);
    assert_eq!(told(&mut world), [Invalidation::All], "the new one serves");
    hand_in(&mut world, conns[0], push(&["k"]));
    assert_eq!(told(&mut world), [keys(&["k"])], "the old one is still heard");
    world.answer(conns[0]);
    assert_eq!(world.reply_of(late), "late");
    assert_eq!(world.closed, conns);
    assert_eq!(told(&mut world), [Invalidation::All]);
}

/// A question that was written to the old server is answered behind the cut-over: its mark is gone by then, also if that server had
/// answered nothing before. RULE-92, RULE-274
#[test]
fn what_an_old_server_is_going_to_answer_is_invalid() {
    let mut world = tracking(1, Tracking::default_mode());
    let old = connect(&mut world);
    world.send("first");
    world.push(old, &["MOVING", "1", "15", "127.0.0.1:2"]);
    connect(&mut world);
    assert_eq!(told(&mut world), [Invalidation::All], "the new one serves");
    world.answer(old);
    assert_eq!(told(&mut world), [Invalidation::All], "the old one has ended");
}

/// Shards that are replaced behind a connection that stays may not know what was read there. RULE-278, RULE-92
#[test]
fn everything_is_invalid_when_shards_are_replaced() {
    let migrated = [Frame::bulk("MIGRATED"), Frame::Integer(1)];
    let failed_over = [Frame::bulk("FAILED_OVER"), Frame::Integer(1)];
    let triplets = ["127.0.0.1:1", "127.0.0.1:2", "1-9"].map(Frame::bulk).to_vec();
    let slots = [Frame::bulk("SMIGRATED"), Frame::Integer(1), Frame::Array(vec![Frame::Array(triplets)])];
    // Of one that cannot be read it is known what it tells the end of.
    let malformed = [Frame::bulk("MIGRATED"), Frame::bulk("?")];
    for completion in [migrated.to_vec(), failed_over.to_vec(), slots.to_vec(), malformed.to_vec()] {
        let (mut world, conns) = used(1);
        hand_in(&mut world, conns[0], Frame::Push(completion.clone()));
        assert_eq!(told(&mut world), [Invalidation::All], "{completion:?}");
        assert_eq!((&world.closed[..], &world.dials[..]), (&[][..], &[][..]), "it stays");

        let mut world = tracking(1, Tracking::default_mode());
        let conn = connect(&mut world);
        hand_in(&mut world, conn, Frame::Push(completion.clone()));
        assert_eq!(told(&mut world), [], "nothing was read there");
        world.send("read");
        hand_in(&mut world, conn, Frame::Push(completion));
        assert_eq!(told(&mut world), [Invalidation::All], "the old shard may have been asked");
    }
    for opener in ["MIGRATING", "FAILING_OVER"] {
        let (mut world, conns) = used(1);
        world.push(conns[0], &[opener, "1", "5"]);
        assert_eq!(told(&mut world), [], "{opener}: nothing has changed");
    }
}

/// An old connection that stays to call back a command that blocks may stay for long. RULE-92, RULE-251
#[test]
fn what_a_helper_has_answered_is_invalid_when_it_owes_nothing_more() {
    let mut world =
        World::with(|builder| builder.pool_size(1).max_dedicated(2).tracking(Tracking::default_mode()));
    let old = connect(&mut world);
    let blocks = Request::command(cmd("BLPOP").arg("q").arg(0)).unwrap();
    world.client.send(world.now, blocks).unwrap();
    world.drain();
    world.answer_dials();
    let late = world.send("late");
    world.push(old, &["MOVING", "1", "30", "127.0.0.1:2"]);
    connect(&mut world);
    assert_eq!(told(&mut world), [Invalidation::All], "the new one serves");
    world.answer(old);
    assert_eq!(world.reply_of(late), "late");
    assert!(!world.closed.contains(&old), "the command still waits");
    assert_eq!(told(&mut world), [Invalidation::All]);
    world.pass(31 * SECOND);
    assert!(world.closed.contains(&old));
}

/// RULE-274
#[test]
fn everything_is_invalid_when_a_connection_is_lost() {
    let (mut world, conns) = used(2);
    world.close(conns[0]);
    assert_eq!(told(&mut world), [Invalidation::All]);
    world.client.handle_closed(
        world.now,
        conns[1],
        CloseCause::Protocol(crate::error::ProtocolError::Malformed),
    );
    world.drain();
    assert_eq!(told(&mut world), [Invalidation::All]);
}

/// RULE-274
#[test]
fn everything_is_invalid_when_a_link_counts_as_dead() {
    let (mut world, conns) = used(1);
    let id = world.send("lost");
    world.client.cancel(world.now, id);
    world.drain();
    world.pass(8 * SECOND);
    assert_eq!(told(&mut world), []);
    world.pass(SECOND + SECOND / 10);
    assert_eq!(told(&mut world), [Invalidation::All]);
    assert!(world.closed.is_empty(), "it may come back");
    world.answer(conns[0]);
    assert_eq!(told(&mut world), []);
}

/// A cache is not emptied for a connection on which nothing was read. RULE-275
#[test]
fn a_connection_that_has_answered_nothing_is_lost_in_silence() {
    let mut world = tracking(2, Tracking::default_mode());
    let conns = [connect(&mut world), connect(&mut world)];
    world.send("read");
    let (busy, idle) = if world.pending.contains_key(&conns[0]) { (0, 1) } else { (1, 0) };
    world.close(conns[idle]);
    assert_eq!(told(&mut world), []);
    world.close(conns[busy]);
    assert_eq!(told(&mut world), [], "what was written there was not answered");
}

/// RULE-272
#[test]
fn a_flush_makes_everything_invalid() {
    let (mut world, conns) = used(1);
    hand_in(&mut world, conns[0], Frame::Push(vec![Frame::bulk("invalidate"), Frame::Null]));
    assert_eq!(told(&mut world), [Invalidation::All]);
}

/// Whoever turns tracking on by `setup` has pushes, as before, and no promises. RULE-272
#[test]
fn without_tracking_nothing_is_told() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    world.send("read");
    world.answer(conn);
    hand_in(&mut world, conn, push(&["k"]));
    let is_push = |action: &Action| matches!(action, Action::Push { .. });
    assert_eq!(world.others.iter().filter(|action| is_push(action)).count(), 1);
    world.close(conn);
    assert_eq!(told(&mut world), []);
    assert_eq!(accepted_handshake().len(), 4, "nothing else was asked for");
}
