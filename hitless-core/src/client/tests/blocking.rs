//! Commands that block: each has a connection for itself while it waits, and a move takes it along.

use resp3_codec::{Command, Decoder, Limits};

use super::*;
use crate::error::LeaseError;
use crate::request::Orphan;

/// A client with a pool of one, and at most `limit` dedicated connections to servers that number their connections.
fn client(limit: u32) -> World {
    let mut world = World::with(|builder| builder.pool_size(1).max_dedicated(limit));
    answer_dials(&mut world);
    world
}

/// The server's id of a connection.
fn id_of(conn: ConnId) -> i64 {
    100 + i64::try_from(conn.index()).unwrap()
}

fn answer_dials(world: &mut World) {
    while !world.dials.is_empty() {
        let (conn, address) = world.dials.remove(0);
        world.client.handle_connected(world.now, conn, address);
        world.drain();
        world.pending.remove(&conn);
        let hello =
            [("proto", 3), ("id", id_of(conn))].map(|(key, value)| (Frame::bulk(key), Frame::Integer(value)));
        let ok = || Frame::simple("OK");
        world.client.handle_frames(world.now, conn, [Frame::Map(hello.into()), ok(), ok(), ok()]);
        world.drain();
    }
}

fn send(world: &mut World, words: &str) -> RequestId {
    let id = world.client.send(world.now, Request::command(command(words)).unwrap()).unwrap();
    world.drain();
    answer_dials(world);
    id
}

fn command(words: &str) -> Command {
    let mut words = words.split(' ');
    cmd(words.next().unwrap()).args(words)
}

/// What was written to a connection and not looked at.
fn said(world: &mut World, conn: ConnId) -> Vec<String> {
    let lines = world.pending.remove(&conn).unwrap_or_default();
    let mut decoder = Decoder::new(Limits::default());
    for line in lines {
        decoder.buffer().extend_from_slice(&line);
        decoder.buffer().extend_from_slice(b"\n");
    }
    let words = |frame: Frame| {
        let words: Vec<_> =
            frame.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        words.join(" ")
    };
    std::iter::from_fn(|| decoder.poll_frame().unwrap()).map(words).collect()
}

/// The connection to which these words were written, which are looked at by that.
fn carrier(world: &mut World, words: &str) -> ConnId {
    let conns: Vec<ConnId> = world.pending.keys().copied().collect();
    let found = conns.into_iter().find(|conn| {
        let lines = world.pending[conn].clone();
        let is_there = said(world, *conn) == [words];
        if !is_there {
            world.pending.insert(*conn, lines);
        }
        is_there
    });
    found.unwrap_or_else(|| panic!("{words} is not written"))
}

fn reply(world: &mut World, conn: ConnId, frame: Frame) {
    world.client.handle_frames(world.now, conn, [frame]);
    world.drain();
}

fn popped() -> Frame {
    Frame::Array(vec![Frame::bulk("q"), Frame::bulk("item")])
}

fn unblocked() -> Frame {
    Frame::error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
}

/// The server has sent the command on `conn` away, and answers the PING behind it.
fn send_away(world: &mut World, conn: ConnId) {
    assert_eq!(said(world, conn), ["PING"], "written together with UNBLOCK");
    reply(world, conn, unblocked());
    reply(world, conn, Frame::simple("PONG"));
}

/// The line of CLIENT LIST for a connection on which `command` waits.
fn listed(conn: ConnId, command: &str, flags: &str) -> Frame {
    let id = id_of(conn);
    Frame::Verbatim {
        format: *b"txt",
        text: format!("id={id} addr=127.0.0.1:9 name= age=3 flags={flags} db=0 cmd={command} user=default\n")
            .into(),
    }
}

fn ask(conn: ConnId) -> String {
    format!("CLIENT LIST ID {}", id_of(conn))
}

fn unblock(conn: ConnId) -> String {
    format!("CLIENT UNBLOCK {} ERROR", id_of(conn))
}

/// The server announces that it retires, and the successors are dialled and ready.
fn announce(world: &mut World, shared: ConnId) {
    world.push(shared, &["MOVING", "1", "30", "127.0.0.1:2"]);
    while !world.dials.is_empty() {
        answer_dials(world);
    }
}

/// A command that waits on a connection of its own, and the shared connection.
fn waiting(world: &mut World, words: &str) -> (RequestId, ConnId, ConnId) {
    let shared = world.conns()[0];
    let id = send(world, words);
    let conn = carrier(world, words);
    assert_ne!(conn, shared);
    (id, conn, shared)
}

fn outcome(world: &World, id: RequestId) -> &Frame {
    &world.done[&id].as_ref().unwrap()[0]
}

fn orphans(world: &World) -> Vec<Orphan> {
    let of = |action: &Action| match action {
        Action::Orphaned(orphan) => Some(orphan.clone()),
        _ => None,
    };
    world.others.iter().filter_map(of).collect()
}

/// Nothing is left of commands that have ended.
fn assert_idle(world: &World) {
    let stats = world.client.stats();
    assert_eq!((stats.requests, stats.blocking, stats.leased, stats.waiting_for_lease), (0, 0, 0, 0));
    assert_eq!(world.client.blocked.own_requests(), 0);
}

/// A command that blocks holds up nobody: it has a dedicated connection while it waits, which serves the next one afterwards.
/// RULE-247, PITFALL-26
#[test]
fn a_command_that_blocks_has_a_connection_for_itself() {
    let mut world = client(5);
    let (first, conn, shared) = waiting(&mut world, "BLPOP q 0");
    let get = send(&mut world, "GET k");
    assert_eq!(said(&mut world, shared), ["GET k"]);
    reply(&mut world, shared, Frame::bulk("v"));
    assert_eq!(outcome(&world, get), &Frame::bulk("v"));
    let stats = world.client.stats();
    assert_eq!((stats.requests, stats.blocking, stats.leased), (1, 1, 1));
    world.pass(1000 * SECOND);
    assert!(!world.done.contains_key(&first), "it asked to wait for ever");
    reply(&mut world, conn, popped());
    assert_eq!(outcome(&world, first), &popped());
    assert_idle(&world);
    let (second, again, _) = waiting(&mut world, "BRPOP q 0");
    assert_eq!(again, conn);
    reply(&mut world, conn, popped());
    assert_eq!(outcome(&world, second), &popped());
}

/// Those that block and those that want a lease stand in one line, and share one limit. RULE-247, INV-14
#[test]
fn commands_that_block_wait_in_line_with_leases() {
    let mut world = client(1);
    let (first, conn, _) = waiting(&mut world, "BLPOP q 0");
    let lease = world.client.lease(world.now).unwrap();
    let second = send(&mut world, "BLPOP r 0");
    let third = send(&mut world, "BLPOP s 0");
    assert!(said(&mut world, conn).is_empty());
    assert_eq!(world.client.stats().waiting_for_lease, 3);
    reply(&mut world, conn, popped());
    assert!(world.done.contains_key(&first) && said(&mut world, conn).is_empty(), "the lease was first");
    world.client.return_lease(world.now, lease);
    world.drain();
    assert_eq!(said(&mut world, conn), ["BLPOP r 0"]);
    world.client.cancel(world.now, third);
    world.pass(6 * SECOND);
    assert!(!world.done.contains_key(&third));
    reply(&mut world, conn, Frame::Null);
    assert_eq!(outcome(&world, second), &Frame::Null);
    assert_idle(&world);
}

/// A command that gets no connection in time was not sent, and says why. RULE-247, RULE-201
#[test]
fn a_command_that_gets_no_connection_says_so() {
    let mut world = client(1);
    waiting(&mut world, "BLPOP q 0");
    let second = send(&mut world, "BLPOP r 0");
    world.pass(5 * SECOND);
    let error = world.failure_of(second);
    assert_eq!(
        (error, error.delivery()),
        (&RequestError::NotLent { after: 5 * SECOND, delivery: Delivery::NotSent }, Delivery::NotSent)
    );
    assert!(error.to_string().contains("as many are lent as `max_dedicated` allows"), "{error}");
    let mut world = World::with(|builder| builder.pool_size(1).max_dedicated(1).parked_requests(1));
    answer_dials(&mut world);
    waiting(&mut world, "BLPOP q 0");
    send(&mut world, "BLPOP r 0");
    let third = world.client.send(world.now, Request::command(command("BLPOP s 0")).unwrap());
    assert!(matches!(third, Err(SendError::Full(_))), "{third:?}");
    assert_eq!(world.client.lease(world.now), Err(LeaseError::Full));
}

/// A move calls the command back with a proof that it has taken nothing, and sends it again on the successor with the time that is left.
/// INV-21, RULE-90, RULE-248, RULE-249
#[test]
fn a_move_takes_a_command_along() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 20");
    announce(&mut world, shared);
    assert_eq!(said(&mut world, shared), [ask(conn)], "over the shared connection that is cut over");
    world.pass(SECOND);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    assert_eq!(said(&mut world, shared), [unblock(conn)]);
    reply(&mut world, shared, Frame::Integer(1));
    assert!(!world.closed.contains(&conn));
    send_away(&mut world, conn);
    let to = carrier(&mut world, "BLPOP q 19.000");
    assert!(![conn, shared].contains(&to));
    assert!(world.closed.contains(&conn) && world.closed.contains(&shared), "nothing waits there any more");
    reply(&mut world, to, popped());
    assert_eq!(outcome(&world, id), &popped());
    assert_idle(&world);
}

/// The proof counts whichever reply comes first, and the connection takes nothing else before both are in. RULE-249, PITFALL-37
#[test]
fn the_answer_to_unblock_is_awaited() {
    let mut world = client(5);
    let (_, conn, shared) = waiting(&mut world, "BLPOP q 0");
    announce(&mut world, shared);
    said(&mut world, shared);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    send_away(&mut world, conn);
    assert!(world.pending.values().flatten().all(|line| !line.starts_with(b"BLPOP")));
    said(&mut world, shared);
    reply(&mut world, shared, Frame::Integer(1));
    carrier(&mut world, "BLPOP q 0");
}

/// An element that was popped wins over everything: the caller gets it, and nothing is sent again. INV-21, INV-05
#[test]
fn a_popped_element_wins() {
    for unblock_hits in [false, true] {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
        announce(&mut world, shared);
        reply(&mut world, shared, listed(conn, "blpop", "b"));
        reply(&mut world, conn, popped());
        assert_eq!(outcome(&world, id), &popped(), "at once");
        assert!(!world.closed.contains(&conn), "UNBLOCK could hit the next command");
        reply(&mut world, shared, Frame::Integer(i64::from(unblock_hits)));
        assert!(!world.closed.contains(&conn), "nor is the PING answered");
        reply(&mut world, conn, Frame::simple("PONG"));
        assert!(world.closed.contains(&conn));
        assert_idle(&world);
        let (_, to, _) = waiting(&mut world, "BLPOP q 0");
        assert_ne!(to, conn);
    }
}

/// UNBLOCK is sent once at a time, after the server has shown the command waiting, and again where it has hit nothing. RULE-249,
/// PITFALL-37
#[test]
fn the_server_is_asked_until_the_command_waits_there() {
    let mut world = client(5);
    let (_, conn, shared) = waiting(&mut world, "BLPOP q 0");
    announce(&mut world, shared);
    for _ in 0..3 {
        assert_eq!(said(&mut world, shared), [ask(conn)]);
        reply(&mut world, shared, listed(conn, "client|setinfo", "N"));
        assert!(said(&mut world, shared).is_empty(), "it is asked again after a pause");
        world.pass(SECOND / 5);
    }
    assert_eq!(said(&mut world, shared), [ask(conn)]);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    assert_eq!(said(&mut world, shared), [unblock(conn)]);
    world.pass(SECOND);
    assert!(said(&mut world, shared).is_empty(), "one at a time");
    reply(&mut world, shared, Frame::Integer(0));
    world.pass(SECOND / 5);
    assert_eq!(said(&mut world, shared), [ask(conn)]);
}

/// Where the server lets nobody be called back, or shows somebody else, the command waits until the deadline of the move: then it may
/// have run. A refusal is remembered by address. RULE-250
#[test]
fn what_cannot_be_called_back_waits_for_the_deadline() {
    type Answered = fn(ConnId) -> Frame;
    let stranger = |conn| listed(conn, "brpop", "b");
    let answers: [(Answered, bool); 3] =
        [(|_| Frame::error("NOPERM no"), true), (|_| Frame::simple("OK"), false), (stranger, false)];
    for (answer, is_remembered) in answers {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
        let (other, other_conn, _) = waiting(&mut world, "BLPOP r 0");
        world.push(shared, &["MOVING", "1", "30", "127.0.0.1:2"]);
        answer_dials(&mut world);
        answer_dials(&mut world);
        assert_eq!(said(&mut world, shared), [ask(conn), ask(other_conn)]);
        world.client.handle_frames(world.now, shared, [answer(conn), answer(other_conn)]);
        world.drain();
        assert_eq!(world.client.blocked.is_unwilling(&peer(1)), is_remembered);
        assert!(world.closed.contains(&shared), "nobody needs it");
        world.pass(29 * SECOND);
        reply(&mut world, other_conn, popped());
        assert_eq!(outcome(&world, other), &popped());
        world.pass(2 * SECOND);
        let error = RequestError::MoveDeadline { delivery: Delivery::Unknown };
        assert_eq!(world.failure_of(id), &error);
        assert_idle(&world);
    }
}

/// Without the server's id of its connection, as in RESP2, nothing is asked. RULE-250
#[test]
fn a_connection_without_an_id_is_not_asked_about() {
    let mut world = World::with(|builder| builder.pool_size(1).max_dedicated(1));
    world.answer_dials();
    let id = world.client.send(world.now, Request::command(command("BLPOP q 0")).unwrap()).unwrap();
    world.drain();
    world.answer_dials();
    let shared = world.conns()[0];
    carrier(&mut world, "BLPOP q 0");
    world.push(shared, &["MOVING", "1", "30", "127.0.0.1:2"]);
    world.answer_dials();
    world.answer_dials();
    assert!(said(&mut world, shared).is_empty());
    world.pass(31 * SECOND);
    assert_eq!(world.failure_of(id), &RequestError::MoveDeadline { delivery: Delivery::Unknown });
}

/// One shared connection of those that are cut over stays until the last command has left. RULE-251, INV-20
#[test]
fn one_helper_stays_until_the_last_command_has_left() {
    let mut world = World::with(|builder| builder.pool_size(3).max_dedicated(5));
    answer_dials(&mut world);
    let pool = world.conns();
    let (id, conn, _) = waiting(&mut world, "BLPOP q 0");
    announce(&mut world, pool[0]);
    let helpers: Vec<ConnId> = pool.iter().copied().filter(|conn| !world.closed.contains(conn)).collect();
    assert_eq!(helpers.len(), 1);
    world.pass(SECOND);
    assert!(!world.closed.contains(&helpers[0]));
    assert_eq!(said(&mut world, helpers[0]), [ask(conn)]);
    reply(&mut world, helpers[0], listed(conn, "blpop", "N"));
    assert!(!world.closed.contains(&helpers[0]), "it is asked again");
    reply(&mut world, conn, popped());
    assert!(world.done.contains_key(&id) && world.closed.contains(&helpers[0]));
}

/// A command timeout never cuts a command short, and neither does a window; beyond both it fails, and its connection is not lost.
/// RULE-210, PITFALL-11
#[test]
fn a_command_timeout_comes_behind_the_time_at_the_server() {
    let mut world = client(5);
    let shared = world.conns()[0];
    let (id, conn, _) = waiting(&mut world, "BLPOP q 20");
    world.pass(22 * SECOND);
    assert!(!world.done.contains_key(&id));
    world.push(shared, &["MIGRATING", "1", "30"]);
    world.pass(6 * SECOND);
    assert!(!world.done.contains_key(&id), "a window extends it");
    world.pass(3 * SECOND);
    let error = RequestError::TimedOut { after: 30 * SECOND, delivery: Delivery::Unknown };
    assert_eq!(world.failure_of(id), &error);
    assert_eq!(said(&mut world, shared), [ask(conn)], "it is called back");
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    send_away(&mut world, conn);
    assert_idle(&world);
    assert_eq!(waiting(&mut world, "BLPOP q 0").1, conn);
}

/// A caller that gives up takes nothing from the list: the command is called back, and its connection serves the next one. What was popped by
/// then is handed out, and to nobody else. RULE-252, INV-21
#[test]
fn a_dropped_command_is_called_back() {
    for answer in [unblocked(), popped(), Frame::Null] {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
        world.client.cancel(world.now, id);
        world.drain();
        assert_eq!(said(&mut world, shared), [ask(conn)]);
        reply(&mut world, shared, listed(conn, "blpop", "b"));
        assert_eq!(said(&mut world, shared), [unblock(conn)]);
        let (is_popped, is_sent_away) = (answer == popped(), answer == unblocked());
        reply(&mut world, conn, answer);
        reply(&mut world, shared, Frame::Integer(i64::from(is_sent_away)));
        assert_eq!(said(&mut world, conn), ["PING"], "whether that is all");
        reply(&mut world, conn, Frame::simple("PONG"));
        assert!(world.done.is_empty());
        let orphan = Orphan { command: "BLPOP", reply: popped() };
        assert_eq!(orphans(&world), if is_popped { vec![orphan] } else { vec![] });
        assert_eq!(world.events.iter().any(|event| matches!(event, Event::Orphaned { .. })), is_popped);
        assert_idle(&world);
        assert_eq!(waiting(&mut world, "BLPOP q 0").1, conn, "it is not lost");
    }
}

/// A server that has postponed the command, as CLIENT PAUSE has it, says that it was sent away and runs it nevertheless: what it answers then
/// is an orphan, and reaches nobody else. RULE-293, INV-02
#[test]
fn the_reply_of_a_dropped_command_that_was_postponed_is_an_orphan() {
    let mut world = client(1);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    world.client.cancel(world.now, id);
    world.drain();
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, conn, unblocked());
    reply(&mut world, shared, Frame::Integer(1));
    let next = send(&mut world, "BLPOP other 5");
    assert_eq!(said(&mut world, conn), ["PING"], "the next one waits for the answer");
    reply(&mut world, conn, popped());
    assert_eq!(orphans(&world), [Orphan { command: "BLPOP", reply: popped() }]);
    assert_eq!(world.closed, [conn]);
    answer_dials(&mut world);
    let other = carrier(&mut world, "BLPOP other 5");
    reply(&mut world, other, Frame::Null);
    assert_eq!(outcome(&world, next), &Frame::Null);
    assert_idle(&world);
}

/// The same while a move begins: what it takes behind `-UNBLOCKED` is its caller's, and where it waits again it is called back again. The PING may
/// be unanswered for as long as the command may wait. RULE-249, RULE-293
#[test]
fn a_command_that_was_postponed_moves_behind_the_pong() {
    for takes in [true, false] {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
        announce(&mut world, shared);
        said(&mut world, shared);
        reply(&mut world, shared, listed(conn, "blpop", "b"));
        assert_eq!(said(&mut world, shared), [unblock(conn)]);
        reply(&mut world, shared, Frame::Integer(1));
        assert_eq!(said(&mut world, conn), ["PING"]);
        reply(&mut world, conn, unblocked());
        if takes {
            reply(&mut world, conn, popped());
            assert_eq!(outcome(&world, id), &popped());
            assert!(world.closed.contains(&conn));
        } else {
            for _ in 0..75 {
                world.pass(SECOND / 5);
                assert_eq!(said(&mut world, shared), [ask(conn)], "does it wait again");
                reply(&mut world, shared, listed(conn, "blpop", "N"));
            }
            world.pass(SECOND / 5);
            reply(&mut world, shared, listed(conn, "blpop", "b"));
            assert_eq!(said(&mut world, shared), [ask(conn), unblock(conn)]);
            reply(&mut world, shared, Frame::Integer(1));
            assert!(said(&mut world, conn).is_empty(), "one PING is under way");
            reply(&mut world, conn, unblocked());
            assert_eq!(said(&mut world, conn), ["PING"], "which that was no answer to");
            reply(&mut world, conn, Frame::simple("PONG"));
            assert!(!world.closed.contains(&conn), "the PONG of the first PING");
            reply(&mut world, conn, Frame::simple("PONG"));
            let to = carrier(&mut world, "BLPOP q 0");
            assert!(world.closed.contains(&conn));
            reply(&mut world, to, popped());
            assert_eq!(outcome(&world, id), &popped());
        }
        assert_idle(&world);
    }
}

/// A server that holds a command up says nothing on its connection: that is no dead link, be it longer than one may be silent. RULE-293
#[test]
fn the_silence_of_a_pause_is_the_commands() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    world.client.cancel(world.now, id);
    world.drain();
    said(&mut world, shared);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    said(&mut world, shared);
    reply(&mut world, conn, unblocked());
    for _ in 0..48 {
        world.pass(SECOND / 5);
        assert_eq!(said(&mut world, shared), [ask(conn)]);
        reply(&mut world, shared, listed(conn, "blpop", "N"));
    }
    let is_silent = |event: &Event| matches!(event, Event::ConnectionSilent { .. });
    assert!(
        !world.events.iter().any(is_silent) && world.closed.is_empty(),
        "9.6 s are more than the 9 s of a dead link"
    );
    reply(&mut world, conn, Frame::simple("PONG"));
    assert_idle(&world);
}

/// Where it cannot be called back, closing its connection is what takes it out of the server's line. RULE-252
#[test]
fn a_dropped_command_that_cannot_be_called_back_is_cut_off() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    world.client.cancel(world.now, id);
    world.drain();
    reply(&mut world, shared, Frame::error("NOPERM no"));
    assert!(world.closed.contains(&conn));
    assert_idle(&world);
}

/// A link that was given up as silent shows life again, and the caller of the command that was written there gives up: the server may have
/// it waiting, so the link is closed. RULE-252, INV-21
#[test]
fn a_dropped_command_on_a_link_that_was_silent_is_cut_off() {
    let mut world = client(5);
    let patient = Request::command(command("BLPOP q 1")).unwrap().timeout(60 * SECOND);
    let id = world.client.send(world.now, patient).unwrap();
    world.drain();
    answer_dials(&mut world);
    let conn = carrier(&mut world, "BLPOP q 1");
    world.pass(15 * SECOND);
    assert!(world.events.iter().any(|event| matches!(event, Event::ConnectionSilent { .. })));
    assert!(world.closed.is_empty() && world.done.is_empty(), "its caller waits");
    world.client.handle_frames(world.now, conn, [Frame::Push(vec![Frame::bulk("life")])]);
    world.drain();
    world.client.cancel(world.now, id);
    world.drain();
    assert_eq!(world.closed, [conn]);
    assert_idle(&world);
}

/// A server that is silent for longer than one command timeout is asked again, be it about the command or to send it away: an element that it pops
/// meanwhile is handed out. RULE-172, INV-21
#[test]
fn a_dropped_command_at_a_silent_server_is_asked_about_again() {
    for waits in [false, true] {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
        world.client.cancel(world.now, id);
        world.drain();
        let mut asked = vec![ask(conn)];
        if waits {
            reply(&mut world, shared, listed(conn, "blpop", "b"));
            asked.push(unblock(conn));
            assert_eq!(said(&mut world, conn), ["PING"]);
        }
        world.pass(4 * SECOND);
        asked.push(ask(conn));
        assert_eq!(said(&mut world, shared), asked);
        assert!(world.closed.is_empty());
        reply(&mut world, conn, popped());
        assert_eq!(orphans(&world), [Orphan { command: "BLPOP", reply: popped() }]);
        if waits {
            reply(&mut world, conn, Frame::simple("PONG"));
            assert_eq!(world.closed, [conn], "where UNBLOCK may still come");
        }
        let stats = world.client.stats();
        assert_eq!((stats.blocking, stats.leased), (0, 0), "nobody has the connection");
    }
}

/// So it is while it moves: it is asked about again, and moves when the server answers. RULE-172, RULE-250
#[test]
fn a_silent_server_delays_a_move_and_no_more() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    announce(&mut world, shared);
    assert_eq!(said(&mut world, shared), [ask(conn)]);
    let begin = world.now;
    while said(&mut world, shared).is_empty() {
        assert!(world.next_timeout(begin + 25 * SECOND), "it is asked about again");
        world.drain();
    }
    reply(&mut world, shared, listed(conn, "blpop", "N"));
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    assert_eq!(said(&mut world, shared), [unblock(conn)]);
    reply(&mut world, shared, Frame::Integer(1));
    send_away(&mut world, conn);
    let to = carrier(&mut world, "BLPOP q 0");
    assert_ne!(to, conn);
    reply(&mut world, to, popped());
    assert_eq!(outcome(&world, id), &popped());
    assert_idle(&world);
}

/// A stranger sends CLIENT UNBLOCK to a command that a pause holds up. Its caller is told, and what the command takes when the pause is over reaches nobody
/// else: neither by way of its own connection, nor of a shared one, nor of that of a lease. RULE-171, INV-02
#[test]
fn the_reply_behind_a_strangers_unblock_reaches_nobody_else() {
    let mut world = client(1);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    reply(&mut world, conn, unblocked());
    assert_eq!(outcome(&world, id), &unblocked());
    let next = send(&mut world, "BLPOP other 5");
    assert_eq!(said(&mut world, conn), ["PING"], "the next one waits for the answer");
    reply(&mut world, conn, popped());
    assert_eq!(orphans(&world), [Orphan { command: "BLPOP", reply: popped() }]);
    answer_dials(&mut world);
    let other = carrier(&mut world, "BLPOP other 5");
    assert!(world.closed == [conn] && other != conn);
    reply(&mut world, other, Frame::Null);
    assert_eq!(outcome(&world, next), &Frame::Null);
    assert_idle(&world);

    let first = send(&mut world, "INCR n");
    let [read, write] = ["GET k", "INCR m"].map(|words| send(&mut world, words));
    let replies = [unblocked(), Frame::Integer(1), Frame::bulk("theirs")];
    world.client.handle_frames(world.now, shared, replies);
    world.drain();
    assert_eq!(outcome(&world, first), &unblocked());
    assert_eq!(world.failure_of(write).delivery(), Delivery::Unknown);
    assert!(!world.done.contains_key(&read) && world.closed.contains(&shared));
    world.pass(SECOND);
    answer_dials(&mut world);
    world.pass(SECOND);
    let again = carrier(&mut world, "GET k");
    reply(&mut world, again, Frame::bulk("ours"));
    assert_eq!(outcome(&world, read), &Frame::bulk("ours"));
}

/// A server that never shows the command waiting does not keep its connection: it is closed, and the seat serves the next one. RULE-291
#[test]
fn a_dropped_command_that_never_waits_is_cut_off() {
    let mut world = client(1);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    world.client.cancel(world.now, id);
    world.drain();
    let begin = world.now;
    while !world.closed.contains(&conn) {
        if said(&mut world, shared) == [ask(conn)] {
            reply(&mut world, shared, listed(conn, "blpop", "N"));
        } else {
            assert!(world.next_timeout(begin + 15 * SECOND), "there is an end");
            world.drain();
        }
    }
    assert_idle(&world);
    assert_ne!(waiting(&mut world, "BLPOP q 0").1, conn);
}

/// A shutdown calls back what waits: nothing is taken, and the error says so. RULE-253, INV-15
#[test]
fn a_shutdown_calls_commands_back() {
    let mut world = client(1);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    let second = send(&mut world, "BLPOP r 0");
    world.client.shutdown(world.now, world.now + 10 * SECOND);
    world.drain();
    let error = RequestError::ShutDown { delivery: Delivery::NotSent };
    assert_eq!(world.failure_of(second), &error);
    assert_eq!(said(&mut world, shared), [ask(conn)]);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    assert!(!world.client.is_terminated());
    send_away(&mut world, conn);
    assert_eq!(world.failure_of(id), &error);
    assert!(world.client.is_terminated());
    let mut world = client(1);
    let (id, ..) = waiting(&mut world, "BLPOP q 0");
    world.client.shutdown(world.now, world.now);
    world.drain();
    assert_eq!(world.failure_of(id), &RequestError::ShutDown { delivery: Delivery::Unknown });
    assert!(world.client.is_terminated());
}

/// XREAD begins on the successor before it ends where it was, so that nothing is missed in between. RULE-254, PITFALL-39
#[test]
fn a_read_begins_on_the_successor_first() {
    let words = "XREAD BLOCK 0 STREAMS s $";
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, words);
    announce(&mut world, shared);
    let new_shared = carrier_of(&mut world, |line| line.starts_with("CLIENT LIST"));
    let to = carrier(&mut world, words);
    assert_ne!(to, conn);
    assert!(said(&mut world, shared).is_empty(), "it still waits where it was");
    reply(&mut world, new_shared, listed(to, "xread", "b"));
    assert_eq!(said(&mut world, shared), [ask(conn)]);
    reply(&mut world, shared, listed(conn, "xread", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    reply(&mut world, conn, unblocked());
    assert!(world.closed.contains(&conn) && !world.done.contains_key(&id));
    reply(&mut world, to, popped());
    assert_eq!(outcome(&world, id), &popped());
    assert_idle(&world);
}

/// A read whose successor is lost once UNBLOCK has hit it is sent again where it was, when that has answered a PING: its server may hold it up
/// and run it later. Our own `-UNBLOCKED` is not its caller's. RULE-293, RULE-249
#[test]
fn a_read_that_stays_is_verified() {
    let words = "XREAD BLOCK 0 STREAMS s 5-0";
    for answer_first in [false, true] {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, words);
        announce(&mut world, shared);
        let new_shared = carrier_of(&mut world, |line| line.starts_with("CLIENT LIST"));
        let to = carrier(&mut world, words);
        reply(&mut world, new_shared, listed(to, "xread", "b"));
        reply(&mut world, shared, listed(conn, "xread", "b"));
        if answer_first {
            reply(&mut world, shared, Frame::Integer(1));
        }
        world.close(to);
        if !answer_first {
            reply(&mut world, shared, Frame::Integer(1));
        }
        assert!(said(&mut world, conn).is_empty(), "reading takes nothing");
        reply(&mut world, conn, unblocked());
        assert_eq!(said(&mut world, conn), ["PING"]);
        reply(&mut world, conn, Frame::simple("PONG"));
        assert_eq!(said(&mut world, conn), [words]);
        reply(&mut world, conn, popped());
        assert_eq!(outcome(&world, id), &popped());
    }
}

/// One read of the socket may bring several replies of a command that was held up: each has its PING, be that written or not, and what was taken is
/// the caller's. RULE-293, INV-21
#[test]
fn replies_of_a_command_that_was_held_up_come_together() {
    for takes in [true, false] {
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
        announce(&mut world, shared);
        said(&mut world, shared);
        reply(&mut world, shared, listed(conn, "blpop", "b"));
        reply(&mut world, shared, Frame::Integer(1));
        assert_eq!(said(&mut world, conn), ["PING"]);
        let taken = takes.then(popped);
        let frames =
            [unblocked(), unblocked(), unblocked()].into_iter().chain(taken).chain([Frame::simple("PONG")]);
        world.client.handle_frames(world.now, conn, frames);
        world.drain();
        if takes {
            assert_eq!(outcome(&world, id), &popped());
        } else {
            assert_eq!(said(&mut world, conn), ["PING"], "one that was written has a PONG of its own");
            reply(&mut world, conn, Frame::simple("PONG"));
            let to = carrier(&mut world, "BLPOP q 0");
            reply(&mut world, to, popped());
        }
        assert_eq!(outcome(&world, id), &popped());
        let is_fault =
            |event: &Event| matches!(event, Event::ConnectionClosed { cause: CloseCause::Protocol(_), .. });
        assert!(!world.events.iter().any(is_fault), "{:?}", world.events);
        assert_idle(&world);
    }
}

/// The reply of the old connection wins, since it may have more; what was begun on the new one is dropped. RULE-254
#[test]
fn the_older_read_wins() {
    for newer_first in [false, true] {
        let words = "XREAD BLOCK 0 STREAMS s $";
        let mut world = client(5);
        let (id, conn, shared) = waiting(&mut world, words);
        announce(&mut world, shared);
        let new_shared = carrier_of(&mut world, |line| line.starts_with("CLIENT LIST"));
        let to = carrier(&mut world, words);
        if newer_first {
            reply(&mut world, to, Frame::bulk("newer"));
            assert!(!world.done.contains_key(&id));
        }
        reply(&mut world, conn, Frame::bulk("older"));
        assert_eq!(outcome(&world, id), &Frame::bulk("older"));
        assert_eq!(world.closed.contains(&to), !newer_first, "nobody else may wait behind it");
        assert!(world.closed.contains(&conn));
        reply(&mut world, new_shared, listed(to, "xread", "b"));
        if newer_first {
            assert_eq!(said(&mut world, shared), [ask(conn)], "asked before it was answered");
            reply(&mut world, shared, listed(conn, "xread", "N"));
        }
        assert_idle(&world);
    }
}

/// A server that is no master any more proves that the command did not run: it is sent again elsewhere. Somebody else's UNBLOCK is
/// an answer. RULE-249
#[test]
fn a_demotion_sends_a_command_elsewhere() {
    let mut world = client(5);
    let (id, conn, _) = waiting(&mut world, "BLPOP q 20");
    world.pass(SECOND);
    reply(
        &mut world,
        conn,
        Frame::error("UNBLOCKED force unblock from blocking operation, instance state changed"),
    );
    assert!(world.closed.contains(&conn));
    answer_dials(&mut world);
    let other = carrier(&mut world, "BLPOP q 19.000");
    reply(&mut world, other, unblocked());
    assert_eq!(outcome(&world, id), &unblocked(), "somebody has asked for that");
    assert_eq!(said(&mut world, other), ["PING"]);
    reply(&mut world, other, Frame::simple("PONG"));
    assert_idle(&world);
}

/// Inside a window a refusal proves that the command did not run: it is sent again a little later. Outside of one it is the reply.
/// RULE-249
#[test]
fn a_refused_command_is_sent_again_inside_a_window() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    world.push(shared, &["FAILING_OVER", "1", "30"]);
    for pause in [5, 10, 20, 40] {
        reply(&mut world, conn, Frame::error("READONLY no"));
        world.pass(Duration::from_millis(pause - 1));
        assert!(!world.done.contains_key(&id) && said(&mut world, conn).is_empty(), "the pauses grow");
        world.pass(Duration::from_millis(1));
        assert_eq!(said(&mut world, conn), ["BLPOP q 0"]);
    }
    world.push(shared, &["FAILED_OVER", "1"]);
    reply(&mut world, conn, Frame::error("LOADING no"));
    assert!(outcome(&world, id).is_error());
}

/// Time that is over is nil, without asking anybody. RULE-248
#[test]
fn no_time_left_is_nil() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 2");
    announce(&mut world, shared);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    world.pass(2 * SECOND);
    send_away(&mut world, conn);
    assert_eq!(outcome(&world, id), &Frame::Null);
    reply(&mut world, shared, listed(conn, "client|setinfo", "N"));
    assert_idle(&world);
}

/// A connection that is lost takes a command along that may have run, and none that was not written. INV-05, RULE-250
#[test]
fn a_lost_connection_is_unknown() {
    let mut world = client(5);
    let (id, conn, _) = waiting(&mut world, "BLPOP q 0");
    world.close(conn);
    let error = RequestError::ConnectionLost { cause: CloseCause::ByServer, delivery: Delivery::Unknown };
    assert_eq!(world.failure_of(id), &error);
    assert_idle(&world);

    let mut world = client(5);
    let request = Request::command(command("BLPOP q 0")).unwrap();
    let id = world.client.send(world.now, request).unwrap();
    world.drain();
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    world.drain();
    let hello = vec![(Frame::bulk("proto"), Frame::Integer(3))];
    let ok = || Frame::simple("OK");
    world.client.handle_frames(world.now, conn, [Frame::Map(hello), ok(), ok(), ok()]);
    world.obey();
    world.close(conn);
    assert!(!world.done.contains_key(&id), "it was not written");
    world.pass(SECOND);
    answer_dials(&mut world);
    carrier(&mut world, "BLPOP q 0");
}

/// A successor that is lost before the proof leaves the command where it is, and the next one calls it back anew. INV-21
#[test]
fn a_lost_successor_changes_nothing() {
    let mut world = client(5);
    let (id, conn, shared) = waiting(&mut world, "BLPOP q 0");
    let before = world.conns();
    announce(&mut world, shared);
    said(&mut world, shared);
    let peers: Vec<ConnId> = world.conns().into_iter().filter(|it| !before.contains(it)).collect();
    let successor = world.client.leases.successor(world.client.blocked.lease(id).unwrap()).unwrap();
    assert!(peers.contains(&successor));
    world.close(successor);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    assert_eq!(said(&mut world, shared), [unblock(conn)]);
    send_away(&mut world, conn);
    assert_eq!(said(&mut world, conn), ["BLPOP q 0"], "there is no other one yet");
    let until = world.now + 20 * SECOND;
    while world.dials.is_empty() {
        assert!(world.next_timeout(until), "the handoff is tried again");
        world.drain();
    }
    answer_dials(&mut world);
    assert_eq!(said(&mut world, shared), [ask(conn)]);
    reply(&mut world, shared, listed(conn, "blpop", "b"));
    reply(&mut world, shared, Frame::Integer(1));
    send_away(&mut world, conn);
    let to = carrier(&mut world, "BLPOP q 0");
    reply(&mut world, to, popped());
    assert_eq!(outcome(&world, id), &popped());
}

fn carrier_of(world: &mut World, wanted: impl Fn(&str) -> bool) -> ConnId {
    let conns: Vec<ConnId> = world.pending.keys().copied().collect();
    for conn in conns {
        let lines = world.pending[&conn].clone();
        let all = said(world, conn);
        if all.iter().any(|line| wanted(line)) {
            return conn;
        }
        world.pending.insert(conn, lines);
    }
    panic!("nothing of the kind is written")
}

/// Hooks are told that the connection that got a notification has a command waiting. RULE-111
#[test]
fn a_review_says_that_a_command_waits_there() {
    let mut world = client(5);
    world.client.review_notifications(Some(SECOND));
    let (_, conn, shared) = waiting(&mut world, "BLPOP q 0");
    world.push(shared, &["MIGRATING", "1", "30"]);
    world.push(conn, &["MIGRATING", "2", "30"]);
    let seen: Vec<bool> = world.reviews.iter().map(|review| review.is_blocking).collect();
    assert_eq!(seen, [false, true]);
}
