//! Requests that may have run and are sent again.

use super::*;

fn read(world: &mut World, word: &str) -> RequestId {
    world.send_as(word, Replay::Idempotent)
}

/// The connection that carries `word`, unanswered.
fn carrier(world: &World, word: &str) -> ConnId {
    let carries = |(_, words): &(&ConnId, &Vec<Bytes>)| words.iter().any(|it| it == word);
    *world.pending.iter().find(carries).expect("it is written").0
}

/// A client with one connection, whose link was lost under `word`, and the new link that carries it again.
fn replayed(word: &str) -> (World, ConnId, RequestId) {
    let mut world = World::started(1);
    let id = read(&mut world, word);
    world.close(world.conns()[0]);
    world.pass(SECOND / 10);
    world.answer_dials();
    let conn = world.conns()[0];
    (world, conn, id)
}

fn carried(world: &World, conn: ConnId) -> Vec<Bytes> {
    world.pending.get(&conn).cloned().unwrap_or_default()
}

/// A read that breaks each link that carries it is sent again twice and then fails with the cause. It travels alone, so the others
/// lose nothing but what was on the first link. RULE-143, RULE-145
#[test]
fn a_read_that_breaks_its_link_breaks_three() {
    let mut world = World::started(3);
    let poison = read(&mut world, "poison");
    let beside: Vec<RequestId> = (0..3).map(|_| world.send_apart("write", Replay::Never)).collect();
    let mut broken = Vec::new();
    for _ in 0..3 {
        let conn = carrier(&world, "poison");
        assert_eq!(carried(&world, conn).len(), if broken.is_empty() { 2 } else { 1 });
        broken.push(conn);
        world.close(conn);
        let others = world.conns().into_iter().filter(|conn| !broken.contains(conn));
        for conn in others.collect::<Vec<_>>() {
            if !carried(&world, conn).iter().any(|word| word == "poison") {
                world.answer(conn);
            }
        }
        for _ in 0..6 {
            world.send("write");
        }
        let more: Vec<Bytes> =
            world.pending.values().flatten().filter(|word| *word == "poison").cloned().collect();
        assert_eq!(more.len(), usize::from(broken.len() < 3));
    }
    let lost = RequestError::ConnectionLost { cause: CloseCause::ByServer, delivery: Delivery::Unknown };
    assert_eq!(world.failure_of(poison), &lost);
    let failed = beside.iter().filter(|id| world.done.get(id).is_some_and(Result::is_err)).count();
    assert_eq!(failed, 1, "the one that shared the first link");
}

/// Replays wait for a link that carries nothing, and nobody joins them; the rest of the pool serves the others. RULE-145
#[test]
fn a_replay_has_a_link_for_itself() {
    let mut world = World::started(3);
    let reads: Vec<RequestId> = (0..3).map(|_| world.send_apart("read", Replay::Idempotent)).collect();
    let conns = world.conns();
    world.close(conns[0]);
    assert!(world.pending.values().all(|words| words.len() == 1), "the other links are busy");
    assert_eq!(world.client.stats().serving, 1, "one of them is kept");
    world.answer(conns[1]);
    world.answer(conns[2]);
    let lane = carrier(&world, "read");
    for _ in 0..4 {
        world.send("write");
    }
    assert_eq!(carried(&world, lane), ["read"]);
    world.answer(lane);
    assert!(reads.iter().all(|id| world.reply_of(*id) == "read"));
    assert_eq!(world.client.stats().serving, 2);
    let others = world.conns().into_iter().filter(|conn| *conn != lane);
    others.collect::<Vec<_>>().into_iter().for_each(|conn| world.answer(conn));
    for _ in 0..2 {
        world.send_apart("write", Replay::Never);
    }
    assert_eq!(carried(&world, lane), ["write"], "the link is free again");
}

/// The link that is kept for replays falls silent: another one is kept for those that come. RULE-145, RULE-140
#[test]
fn a_silent_link_does_not_hold_replays_up() {
    let mut world = World::started(2);
    read(&mut world, "stuck");
    world.close(carrier(&world, "stuck"));
    let lane = carrier(&world, "stuck");
    while world.dials.is_empty() {
        assert!(world.next_timeout(world.now + SECOND), "a dial is due");
    }
    world.answer_dials();
    world.pass(9 * SECOND + SECOND / 5);
    assert_eq!(world.client.stats().serving, 1, "the lane is silent");
    world.dials.clear();
    let read = read(&mut world, "read");
    world.close(carrier(&world, "read"));
    while world.dials.is_empty() {
        assert!(world.next_timeout(world.now + SECOND), "a dial is due");
    }
    world.answer_dials();
    let conn = carrier(&world, "read");
    assert_ne!(conn, lane);
    world.answer(conn);
    assert_eq!(world.reply_of(read), "read");
}

/// With one connection everybody waits behind a replay, within the limit of requests that wait, and goes on in order. RULE-145,
/// RULE-103
#[test]
fn with_one_connection_everybody_waits_behind_a_replay() {
    let mut world = World::with(|builder| builder.pool_size(1).parked_requests(2));
    world.answer_dials();
    let poison = read(&mut world, "poison");
    let other = read(&mut world, "other");
    world.close(world.conns()[0]);
    world.pass(SECOND / 10);
    world.answer_dials();
    let conn = world.conns()[0];
    assert_eq!(carried(&world, conn), ["poison"]);
    let parked: Vec<RequestId> = ["x", "y"].iter().map(|word| world.send(word)).collect();
    let request = Request::raw("z\n".into(), NonZeroU32::MIN);
    assert!(matches!(world.client.send(world.now, request), Err(SendError::Full(_))));
    world.answer(conn);
    assert_eq!(carried(&world, conn), ["other"], "one at a time");
    world.answer(conn);
    assert_eq!(carried(&world, conn), ["x", "y"]);
    world.answer(conn);
    assert_eq!(
        [poison, other, parked[0], parked[1]].map(|id| world.reply_of(id).to_owned()),
        ["poison", "other", "x", "y"]
    );
}

/// A replay whose time is over leaves its place to its reply: nobody joins the link before that has come. RULE-145
#[test]
fn a_replay_that_times_out_keeps_its_link() {
    let (mut world, conn, slow) = replayed("slow");
    world.pass(3 * SECOND);
    assert_eq!(world.failure_of(slow).delivery(), Delivery::Unknown);
    let behind = world.send("behind");
    assert_eq!((carried(&world, conn).len(), world.client.stats().parked), (1, 1));
    world.answer(conn);
    world.answer(conn);
    assert_eq!(world.reply_of(behind), "behind");
}

/// What waits alone ends as everything else does: by its deadline, by its caller, and by the end of the client. INV-01, RULE-145
#[test]
fn a_replay_that_waits_ends() {
    let mut world = World::started(1);
    let [late, dropped] = ["late", "dropped"].map(|word| read(&mut world, word));
    world.close(world.conns()[0]);
    world.client.cancel(world.now, dropped);
    world.dials.clear();
    world.pass(4 * SECOND);
    assert_eq!(world.failure_of(late).delivery(), Delivery::Unknown);
    assert!(!world.done.contains_key(&dropped));
    assert_eq!(world.client.stats().requests, 0);

    let mut world = World::started(1);
    let waits = read(&mut world, "waits");
    world.close(world.conns()[0]);
    world.client.shutdown(world.now, world.now + SECOND);
    world.drain();
    assert_eq!(world.failure_of(waits), &RequestError::ShutDown { delivery: Delivery::Unknown });
    world.pass(2 * SECOND);
    assert!(world.client.is_terminated());
}

/// The link of a replay is moved away: what was written is awaited there, and its successor is for everybody. RULE-145
#[test]
fn a_cut_over_frees_the_link_of_a_replay() {
    let (mut world, conn, slow) = replayed("slow");
    let behind = world.send("behind");
    world.push(conn, &["MOVING", "1", "15", "127.0.0.1:2"]);
    world.answer_dials();
    let new = world.conns().into_iter().find(|other| *other != conn).unwrap();
    assert_eq!((carried(&world, conn), carried(&world, new)), (vec!["slow".into()], vec!["behind".into()]));
    world.answer(new);
    world.answer(conn);
    assert_eq!((world.reply_of(slow), world.reply_of(behind)), ("slow", "behind"));
}

/// What comes back unsent from the link that is kept for a replay goes out before what came later and waits. INV-02, RULE-103
#[test]
fn who_comes_back_is_ahead_of_who_waits() {
    let mut world = World::started(1);
    let old = world.conns()[0];
    read(&mut world, "read");
    world.push(old, &["MOVING", "1", "60", "127.0.0.1:2"]);
    world.answer_dials();
    let new = world.conns().into_iter().find(|conn| *conn != old).unwrap();
    let accept = |world: &mut World, word: &'static str| {
        let request = Request::raw(word.into(), NonZeroU32::MIN).replay(Replay::IfUnsent);
        world.client.send(world.now, request).unwrap();
    };
    accept(&mut world, "older\n");
    world.client.handle_closed(world.now, old, CloseCause::ByServer);
    accept(&mut world, "younger\n");
    assert_eq!(world.client.stats().parked, 2, "the replay, and who came behind it");
    world.close(new);
    assert_eq!(world.client.stats().parked, 3);
    world.pass(SECOND / 10);
    world.answer_dials();
    let conn = world.conns()[0];
    assert_eq!(carried(&world, conn), ["older", "younger"]);
    world.answer(conn);
    assert_eq!(carried(&world, conn), ["read"]);
}
