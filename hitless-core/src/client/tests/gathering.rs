//! Which connection a request joins.

use super::*;
use crate::client::load::{BYTES, PAUSE, READS, REPLIES};
use crate::request::Size;

fn raw(payload: impl Into<Bytes>, replies: usize) -> Request {
    Request::raw(payload.into(), NonZeroU32::new(replies as u32).unwrap())
}

/// The smallest that is one. It ends as requests end in this world.
fn large() -> Request {
    raw([&[b'x'; BYTES][..], b"\n"].concat(), 1)
}

/// Two of them are more than one write takes.
fn half() -> Request {
    raw(vec![b'x'; BYTES / 2 + 1], 1)
}

/// The connection that the next request goes to. The request is cancelled before anybody writes it.
fn next(world: &mut World) -> ConnId {
    let id = world.client.send(world.now, raw("probe", 1)).unwrap();
    let (conn, ticket) = world.client.requests.cancel(id).unwrap();
    world.client.links.connection_mut(conn).unwrap().cancel(ticket);
    conn
}

/// A long reply begins to arrive on `conn`.
fn begin_long_reply(world: &mut World, conn: ConnId) {
    (0..READS).for_each(|_| world.client.handle_received(conn));
}

fn load(world: &World, conn: ConnId) -> Load {
    load_for(world, conn, Size::Small)
}

fn load_for(world: &World, conn: ConnId, size: Size) -> Load {
    world.client.links.load(world.now, conn, usize::MAX, size)
}

/// The connection that this request goes to.
fn send(world: &mut World, request: Request) -> (RequestId, ConnId) {
    let before: BTreeMap<_, _> = world
        .conns()
        .into_iter()
        .map(|conn| (conn, world.client.links.connection(conn).unwrap().requests()))
        .collect();
    let id = world.client.send(world.now, request).unwrap();
    let mut conns = world.conns().into_iter();
    let conn = conns.find(|conn| world.client.links.connection(*conn).unwrap().requests() > before[conn]);
    (id, conn.unwrap())
}

fn take(world: &mut World, conn: ConnId, buffer: &mut WriteBuffer) -> bool {
    *buffer = WriteBuffer::new();
    world.client.poll_transmit(conn, buffer)
}

/// Requests travel together as long as nobody waits for it, with replies and without. RULE-156
#[test]
fn requests_gather_on_one_connection() {
    let mut world = World::started(3);
    for word in ["first", "second", "third"] {
        world.send(word);
    }
    let (conn, words) = world.pending.first_key_value().unwrap();
    assert_eq!(words, &["first", "second", "third"]);
    let conn = *conn;
    assert_eq!(world.pending.len(), 1);
    world.answer(conn);
    world.now += SECOND;
    world.send("after a while");
    assert_eq!(world.pending[&conn], ["after a while"]);
}

/// What a connection has to send counts until the socket has taken it. RULE-157
#[test]
fn nobody_joins_a_connection_that_has_much_to_send() {
    let mut world = World::started(2);
    let (_, busy) = send(&mut world, half());
    assert_eq!(send(&mut world, half()).1, busy);
    assert_ne!(next(&mut world), busy, "they are not taken");
    let mut buffer = WriteBuffer::new();
    assert!(take(&mut world, busy, &mut buffer));
    assert_eq!(load(&world, busy), Load::Heavy, "they are being written");
    assert!(!take(&mut world, busy, &mut buffer));
    assert_eq!(load(&world, busy), Load::Light, "they are written");
}

/// A small request that joined a large one would wait for all its bytes, on a slow link for long after they were
/// written. RULE-170
#[test]
fn no_small_request_joins_a_large_one_until_that_is_answered() {
    let mut world = World::started(2);
    let (_, busy) = send(&mut world, large());
    let other = next(&mut world);
    assert_ne!(other, busy, "it is not written");
    world.drain();
    assert_ne!(next(&mut world), busy, "it is not answered");
    world.answer(busy);
    assert_eq!(load(&world, busy), Load::Light);
    assert_eq!(next(&mut world), other, "who has left does not come back for nothing");
}

/// Large requests gather as small ones do, where they stop nobody. The connection of a small request that is under way is not taken
/// from it. RULE-170
#[test]
fn large_requests_gather_on_a_connection_of_their_own() {
    let mut world = World::started(4);
    world.send("small");
    let small = *world.pending.first_key_value().unwrap().0;
    let conns: BTreeSet<_> = (0..3).map(|_| send(&mut world, large()).1).collect();
    assert_eq!(conns.len(), 1);
    assert!(!conns.contains(&small));
    assert_eq!(next(&mut world), small);
}

/// A link that does not answer stops those large requests that have joined it, and nobody who comes later. RULE-157, RULE-170
#[test]
fn large_requests_leave_a_silent_link() {
    let mut world = World::started(3);
    let (_, silent) = send(&mut world, large());
    world.drain();
    world.now += PAUSE;
    assert_ne!(send(&mut world, large()).1, silent);
}

/// With one connection, or while all carry large requests, small ones are sent all the same. RULE-158, RULE-170
#[test]
fn small_requests_join_large_ones_when_there_is_no_other_connection() {
    let mut world = World::started(1);
    let (_, only) = send(&mut world, large());
    assert_eq!(next(&mut world), only);
}

/// A large request that is over stops nobody, whatever its end: withdrawn before it was written, overdue then, or answered when
/// nobody waited any more. RULE-170
#[test]
fn a_large_request_counts_until_its_end_whatever_that_is() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    let (withdrawn, _) = send(&mut world, large());
    world.client.cancel(world.now, withdrawn);
    assert_eq!(load(&world, conn), Load::Light, "it was withdrawn");
    send(&mut world, large().timeout(SECOND));
    world.now += SECOND;
    world.client.handle_timeout(world.now);
    assert_eq!(load(&world, conn), Load::Light, "it has timed out");
    let (abandoned, _) = send(&mut world, large());
    world.drain();
    world.client.cancel(world.now, abandoned);
    assert_eq!(load(&world, conn), Load::Heavy, "its reply is still to come");
    world.answer(conn);
    assert_eq!(load(&world, conn), Load::Light);
    assert_eq!(load_for(&world, conn, Size::Large), Load::Light);
}

/// Bytes do not count once they will not be sent, whatever the reason. RULE-157
#[test]
fn bytes_that_are_not_sent_after_all_do_not_count() {
    let mut world = World::started(2);
    let (_, busy) = send(&mut world, half().timeout(SECOND));
    let (cancelled, _) = send(&mut world, half());
    world.client.cancel(world.now, cancelled);
    assert_eq!(next(&mut world), busy);
    send(&mut world, half().timeout(SECOND));
    assert_ne!(next(&mut world), busy);
    world.now += SECOND;
    world.client.handle_timeout(world.now);
    assert_eq!(load(&world, busy), Load::Light, "it has timed out");
}

/// Of two busy connections one is full: requests go to the other one as long as that has room, and none is given back. RULE-158
#[test]
fn no_request_is_given_back_while_a_connection_has_room() {
    let mut world = World::with(|builder| builder.pool_size(2).requests_in_flight(4));
    world.answer_dials();
    let send = |world: &mut World| {
        let id = world.client.send(world.now, raw("abandoned\n", 1))?;
        world.drain();
        world.client.cancel(world.now, id);
        Ok::<_, SendError>(())
    };
    (0..4).for_each(|_| send(&mut world).unwrap());
    world.send("slow");
    world.now += 2 * PAUSE;
    for room in [3, 2, 1] {
        assert_eq!(world.client.room(), room);
        send(&mut world).unwrap();
    }
    assert!(matches!(send(&mut world), Err(SendError::Full(_))));
}

/// RULE-157
#[test]
fn nobody_joins_a_connection_in_the_middle_of_a_long_reply() {
    let mut world = World::started(2);
    world.send("long");
    let busy = *world.pending.first_key_value().unwrap().0;
    begin_long_reply(&mut world, busy);
    let other = next(&mut world);
    assert_ne!(other, busy);
    world.answer(busy);
    assert_eq!(next(&mut world), other, "who has left does not come back for nothing");
    begin_long_reply(&mut world, other);
    assert_eq!(next(&mut world), busy, "its long reply is complete");
}

/// Networks cut replies into pieces that have nothing to do with their length. RULE-156
#[test]
fn a_short_reply_in_two_pieces_changes_nothing() {
    let mut world = World::started(2);
    world.send("short");
    let conn = *world.pending.first_key_value().unwrap().0;
    world.client.handle_received(conn);
    assert_eq!(next(&mut world), conn);
}

/// RULE-157
#[test]
fn nobody_joins_a_connection_that_awaits_very_many_replies() {
    let mut world = World::started(2);
    let busy = next(&mut world);
    world.client.send(world.now, raw("batch\n", REPLIES)).unwrap();
    world.drain();
    assert_eq!(next(&mut world), busy);
    world.send("one more");
    assert_ne!(next(&mut world), busy);
}

/// A server that pauses, or a link that has lost something, stops those who have joined, and nobody who comes later. A
/// reply shows that it goes on. RULE-157
#[test]
fn nobody_joins_a_connection_that_does_not_answer() {
    let mut world = World::started(2);
    world.now += SECOND;
    world.send("unanswered");
    let busy = *world.pending.first_key_value().unwrap().0;
    world.now += PAUSE - Duration::from_millis(1);
    assert_eq!(next(&mut world), busy);
    world.now += Duration::from_millis(1);
    assert_ne!(next(&mut world), busy);
    world.client.handle_frames(world.now, busy, [Frame::Push(vec![Frame::bulk("news")])]);
    assert_eq!(load(&world, busy), Load::Light);
}

/// A silent link holds up those of 64 callers that have joined it, and each of them once: the rest of what they do
/// travels elsewhere. RULE-157
#[test]
fn callers_leave_a_silent_link_behind() {
    let mut world = World::started(3);
    world.send("lost");
    let silent = *world.pending.first_key_value().unwrap().0;
    for turn in 0..100 {
        world.now += PAUSE / 10;
        world.send(&turn.to_string());
        let others: Vec<_> = world.pending.keys().copied().filter(|conn| *conn != silent).collect();
        others.into_iter().for_each(|conn| world.answer(conn));
    }
    assert_eq!(world.pending[&silent].len(), 10, "those that came before the pause was one");
}

/// When everybody is busy, requests spread; as soon as a connection is not, they gather on it. RULE-158
#[test]
fn requests_spread_while_all_are_busy_and_gather_again() {
    let mut world = World::started(3);
    let conns = world.conns();
    conns.iter().for_each(|conn| begin_long_reply(&mut world, *conn));
    let spread: BTreeSet<_> = (0..3).map(|_| next(&mut world)).collect();
    assert_eq!(spread, conns.iter().copied().collect());
    world.client.handle_frames(world.now, conns[1], [Frame::Push(vec![Frame::bulk("news")])]);
    let gathered: BTreeSet<_> = (0..3).map(|_| next(&mut world)).collect();
    assert_eq!(gathered, BTreeSet::from([conns[1]]));
}

/// A connection that is full of requests nobody waits for any more takes none, and the others do. RULE-158
#[test]
fn a_full_connection_leaves_room_on_the_others() {
    let mut world = World::with(|builder| builder.pool_size(2).requests_in_flight(3));
    world.answer_dials();
    for word in ["one", "two", "three"] {
        let id = world.send(word);
        world.client.cancel(world.now, id);
    }
    let full = *world.pending.first_key_value().unwrap().0;
    assert_eq!(world.client.room(), 3);
    assert_ne!(next(&mut world), full);
}
