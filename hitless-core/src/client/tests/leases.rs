//! Leases: one caller has a connection for itself.

use super::*;
use crate::command_table::{Blocking, StateChange};
use crate::config::{Credentials, WhenDisconnected};
use crate::coordinator::Redial;
use crate::error::{CredentialsError, LeaseError};
use crate::ids::LeaseId;
use crate::request::{Special, Vetting};
use crate::tests::accepted_handshake;

/// A client with a pool of one and at most `limit` dedicated connections.
pub(super) fn lender(limit: u32) -> World {
    let mut world = World::with(|builder| builder.pool_size(1).max_dedicated(limit));
    world.answer_dials();
    world
}

pub(super) fn wish(world: &mut World) -> LeaseId {
    let lease = world.client.lease(world.now).unwrap();
    world.drain();
    lease
}

/// A lease whose connection is there.
pub(super) fn lease(world: &mut World) -> LeaseId {
    let lease = wish(world);
    world.answer_dials();
    assert_eq!(granted(world, lease), Some(Ok(())));
    lease
}

pub(super) fn give_back(world: &mut World, lease: LeaseId) {
    world.client.return_lease(world.now, lease);
    world.drain();
}

pub(super) fn granted(world: &World, wanted: LeaseId) -> Option<Result<(), LeaseError>> {
    world.others.iter().find_map(|action| match action {
        Action::Leased { lease, outcome } if *lease == wanted => Some(outcome.clone()),
        _ => None,
    })
}

fn lost(world: &World, wanted: LeaseId) -> Option<CloseCause> {
    world.others.iter().find_map(|action| match action {
        Action::LeaseLost { lease, cause } if *lease == wanted => Some(*cause),
        _ => None,
    })
}

fn moving(world: &World, wanted: LeaseId) -> Vec<Instant> {
    let of = |action: &Action| match action {
        Action::LeaseMoving { lease, deadline } if *lease == wanted => Some(*deadline),
        _ => None,
    };
    world.others.iter().filter_map(of).collect()
}

/// Sends a word that changes the state of the connection in this way.
pub(super) fn ask(world: &mut World, lease: LeaseId, word: &str, change: Option<StateChange>) -> RequestId {
    let mut request = Request::raw(Bytes::from(format!("{word}\n")), NonZeroU32::MIN);
    request.vetting = Vetting::Checked;
    request.special = Special::new(change.map(|change| (0, change)).into_iter().collect(), None);
    let id = world.client.send_on(world.now, lease, request).unwrap();
    world.drain();
    id
}

/// The connection that carries `word`, unanswered.
pub(super) fn carrier(world: &World, word: &str) -> ConnId {
    let carries = |(_, words): &(&ConnId, &Vec<Bytes>)| words.iter().any(|it| it == word);
    *world.pending.iter().find(carries).expect("it is written").0
}

/// Asks and has it answered; the connection that did it.
pub(super) fn answered(world: &mut World, lease: LeaseId, word: &str, change: Option<StateChange>) -> ConnId {
    let id = ask(world, lease, word, change);
    let conn = carrier(world, word);
    world.answer(conn);
    assert_eq!(world.reply_of(id), word);
    conn
}

/// A lease has a connection that nobody else uses, apart from the pool. RULE-200
#[test]
fn a_lease_has_a_connection_for_itself() {
    let mut world = lender(5);
    let shared = world.conns();
    let [one, other] = [lease(&mut world), lease(&mut world)];
    assert_eq!(world.conns().len(), 3);
    let first = ask(&mut world, one, "one", None);
    let second = ask(&mut world, other, "other", None);
    world.send("shared");
    let [mine, theirs] = ["one", "other"].map(|word| carrier(&world, word));
    assert!(mine != theirs && !shared.contains(&mine) && !shared.contains(&theirs));
    assert_eq!(world.pending[&mine].len(), 1);
    world.answer(theirs);
    world.answer(mine);
    assert_eq!((world.reply_of(first), world.reply_of(second)), ("one", "other"));
    let stats = world.client.stats();
    assert_eq!((stats.dedicated, stats.leased, stats.pool_size), (2, 2, 1));
}

/// A connection that is as it was goes to the next caller; nobody dials for it. RULE-200
#[test]
fn a_clean_connection_is_lent_again() {
    let mut world = lender(5);
    let first = lease(&mut world);
    let conn = answered(&mut world, first, "one", None);
    give_back(&mut world, first);
    assert_eq!((world.client.stats().dedicated, world.client.stats().leased), (1, 0));
    let second = wish(&mut world);
    assert_eq!(granted(&world, second), Some(Ok(())));
    assert_eq!(answered(&mut world, second, "two", None), conn);
}

/// Whatever the next caller would notice closes the connection: a state that is left, a request that nobody waits for, one that has
/// failed, one that nobody has looked at, and one that was to be queued and has run. RULE-203
#[test]
fn a_dirty_connection_is_closed() {
    type Leave = fn(&mut World, LeaseId);
    let ways: [Leave; 7] = [
        |world, lease| {
            answered(world, lease, "watch", Some(StateChange::Watch));
        },
        |world, lease| {
            answered(world, lease, "select", Some(StateChange::Setting));
        },
        |world, lease| {
            ask(world, lease, "slow", None);
        },
        |world, lease| {
            let id = ask(world, lease, "given-up", None);
            let conn = carrier(world, "given-up");
            world.client.cancel(world.now, id);
            world.answer(conn);
        },
        |world, lease| {
            let id = ask(world, lease, "late", None);
            let conn = carrier(world, "late");
            world.pass(4 * SECOND);
            assert_eq!(world.failure_of(id).delivery(), Delivery::Unknown);
            world.answer(conn);
        },
        |world, lease| {
            let request = Request::raw(Bytes::from_static(b"raw\n"), NonZeroU32::MIN);
            world.client.send_on(world.now, lease, request).unwrap();
            world.drain();
            let conn = carrier(world, "raw");
            world.answer(conn);
        },
        // A command inside the transaction has run instead of being queued.
        |world, lease| {
            answered(world, lease, "multi", Some(StateChange::Multi));
            answered(world, lease, "ran", None);
            answered(world, lease, "exec", Some(StateChange::Exec));
        },
    ];
    for leave in ways {
        let mut world = lender(5);
        let lease = lease(&mut world);
        leave(&mut world, lease);
        give_back(&mut world, lease);
        assert_eq!((world.client.stats().dedicated, world.conns().len()), (0, 1));
        assert_eq!(world.closed.len(), 1);
    }
}

/// A transaction that has ended leaves nothing. RULE-203
#[test]
fn what_is_undone_is_clean() {
    let mut world = lender(5);
    let lease = lease(&mut world);
    for (word, change) in
        [("watch", StateChange::Watch), ("multi", StateChange::Multi), ("exec", StateChange::Exec)]
    {
        answered(&mut world, lease, word, Some(change));
    }
    give_back(&mut world, lease);
    assert_eq!(world.client.stats().dedicated, 1);
}

/// The state is known when it is answered, in order: a WATCH behind an EXEC counts. RULE-203
#[test]
fn a_watch_behind_an_exec_counts() {
    let mut world = lender(5);
    let lease = lease(&mut world);
    ask(&mut world, lease, "multi", Some(StateChange::Multi));
    ask(&mut world, lease, "exec", Some(StateChange::Exec));
    ask(&mut world, lease, "watch", Some(StateChange::Watch));
    world.answer(carrier(&world, "watch"));
    give_back(&mut world, lease);
    assert_eq!(world.client.stats().dedicated, 0);
}

/// No more are open than allowed, callers are served in the order of their arrival, and one who gives up leaves no gap. RULE-200,
/// RULE-201, INV-14
#[test]
fn callers_wait_in_their_order() {
    let mut world = lender(2);
    let [one, two] = [lease(&mut world), lease(&mut world)];
    let waiting: Vec<LeaseId> = (0..3).map(|_| wish(&mut world)).collect();
    assert!(world.dials.is_empty(), "no more than two");
    assert_eq!(world.client.stats().waiting_for_lease, 3);
    give_back(&mut world, waiting[0]);
    give_back(&mut world, one);
    assert_eq!([1, 2].map(|at| granted(&world, waiting[at])), [Some(Ok(())), None]);
    answered(&mut world, two, "watch", Some(StateChange::Watch));
    give_back(&mut world, two);
    assert_eq!(world.dials.len(), 1, "the dirty one is closed, and another one opened in its place");
    world.answer_dials();
    assert_eq!(granted(&world, waiting[2]), Some(Ok(())));
    assert_eq!(granted(&world, waiting[0]), None);
}

/// A caller that waits longer than allowed gets no lease and is told why; a window gives more time. RULE-201
#[test]
fn waiting_for_a_lease_is_bounded() {
    let mut world = World::with(|builder| {
        builder.pool_size(1).max_dedicated(1).lease_timeout(Some(2 * SECOND)).parked_requests(2)
    });
    world.answer_dials();
    let held = lease(&mut world);
    let [late, relaxed] = [wish(&mut world), wish(&mut world)];
    assert_eq!(world.client.lease(world.now), Err(LeaseError::Full));
    give_back(&mut world, relaxed);
    world.pass(SECOND);
    let relaxed = wish(&mut world);
    world.pass(SECOND);
    assert_eq!(granted(&world, late), Some(Err(LeaseError::TimedOut { after: 2 * SECOND })));
    let shared = world.conns()[0];
    world.push(shared, &["MIGRATING", "1", "30"]);
    world.pass(5 * SECOND);
    assert_eq!(granted(&world, relaxed), None, "10 s in the window");
    give_back(&mut world, held);
    assert_eq!(granted(&world, relaxed), Some(Ok(())));
}

/// A client whose only dedicated connection is lent, and where one waits 2 s for it.
fn all_lent() -> World {
    let mut world =
        World::with(|builder| builder.pool_size(1).max_dedicated(1).lease_timeout(Some(2 * SECOND)));
    world.answer_dials();
    lease(&mut world);
    world
}

/// A move gives more time to those who wait from its beginning, which may be later than that of its window. RULE-201, RULE-53
#[test]
fn a_reviewed_move_relaxes_those_who_wait() {
    let mut world = all_lent();
    world.client.review_notifications(Some(crate::review::REVIEW_LIMIT));
    let late = wish(&mut world);
    let shared = world.conns()[0];
    world.push(shared, &["MOVING", "1", "30", "127.0.0.1:2"]);
    let review = world.reviews.remove(0);
    world.client.handle_verdict(world.now, review.id, crate::review::Verdict::Continue);
    world.drain();
    world.pass(5 * SECOND);
    assert_eq!(granted(&world, late), None, "10 s while the move lives");
    world.pass(6 * SECOND);
    assert!(matches!(granted(&world, late), Some(Err(LeaseError::TimedOut { .. }))));
}

/// A caller who waits for a lease behind others has the longer time as well, once a move begins. RULE-53
#[test]
fn a_move_relaxes_those_who_come_later() {
    let mut world = all_lent();
    let later = world.client.lease_after_loss(world.now, world.now, 1).unwrap().unwrap();
    let shared = world.conns()[0];
    world.push(shared, &["MOVING", "1", "30", "127.0.0.1:2"]);
    world.pass(8 * SECOND);
    assert_eq!(granted(&world, later), None, "10 s from the end of its pause");
    world.pass(5 * SECOND);
    assert!(matches!(granted(&world, later), Some(Err(LeaseError::TimedOut { .. }))));
}

/// A dial that fails is repeated after a pause while somebody waits, and the error says why there was no connection. RULE-201
#[test]
fn a_lease_that_cannot_be_opened_says_why() {
    for (when, dials) in [(WhenDisconnected::Wait, 5..30), (WhenDisconnected::Fail, 1..2)] {
        let mut world = World::with(|builder| builder.pool_size(1).when_disconnected(when));
        world.answer_dials();
        let lease = wish(&mut world);
        let (until, mut count) = (world.now + 20 * SECOND, 0);
        loop {
            for (conn, _) in std::mem::take(&mut world.dials) {
                count += 1;
                world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
                world.drain();
            }
            if !world.next_timeout(until) {
                break;
            }
            world.drain();
        }
        let error = granted(&world, lease);
        assert!(matches!(error, Some(Err(LeaseError::NoConnection { .. }))), "{error:?}");
        assert!(dials.contains(&count), "{count} dials");
        assert_eq!(world.client.stats().serving, 1, "the pool has nothing to do with it");
        assert_eq!(world.client.stats().dedicated, 0);
    }
}

/// A dial that hangs until the time of its caller is over is the reason, with the defaults too, where both take as long. RULE-201
#[test]
fn a_lease_whose_dial_hangs_says_so() {
    for limit in [2 * SECOND, 5 * SECOND] {
        let mut world = World::with(|builder| builder.pool_size(1).lease_timeout(Some(limit)));
        world.answer_dials();
        let lease = wish(&mut world);
        let blocks = Request::command(cmd("BLPOP").arg("q").arg(0)).unwrap();
        let blocks = world.client.send(world.now, blocks).unwrap();
        world.drain();
        world.pass(limit);
        let error = granted(&world, lease);
        let Some(Err(LeaseError::NoConnection { cause, .. })) = &error else { panic!("{error:?}") };
        assert_eq!(**cause, ConnectError::TimedOut(limit));
        let error = world.failure_of(blocks);
        assert!(matches!(error, RequestError::NoConnection { .. }), "{error:?}");
    }
}

/// Somebody waits because every connection is lent: a dial that has failed before is not the reason. RULE-201
#[test]
fn an_old_failure_is_no_reason() {
    let mut world = lender(1);
    let held = lease(&mut world);
    let error = ConnectError::LostBehindHandshake(CloseCause::ByServer);
    world.client.leases.note_failure(world.now, error, Redial::AfterPause);
    world.pass(3600 * SECOND);
    let late = wish(&mut world);
    world.pass(5 * SECOND);
    assert_eq!(granted(&world, late), Some(Err(LeaseError::TimedOut { after: 5 * SECOND })));
    give_back(&mut world, held);
}

/// Where nobody is to wait for a connection, a server that closes behind the handshake is as bad as one that refuses. RULE-201
#[test]
fn nobody_waits_for_a_server_that_closes_at_once() {
    let fails = |builder: ConfigBuilder| builder.pool_size(1).when_disconnected(WhenDisconnected::Fail);
    let mut world = World::with(fails);
    world.answer_dials();
    let [first, second] = [wish(&mut world), wish(&mut world)];
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    world.close(conn);
    assert_eq!(lost(&world, first), Some(CloseCause::ByServer));
    let error = granted(&world, second);
    assert!(matches!(error, Some(Err(LeaseError::NoConnection { .. }))), "{error:?}");
}

/// A server that closes behind the handshake is not dialled without a pause, however often somebody asks. RULE-127, RULE-201
#[test]
fn leases_that_are_lost_at_once_are_paced() {
    let mut world = lender(5);
    let (until, mut dials) = (world.now + 10 * SECOND, 0);
    let mut wanted = wish(&mut world);
    while world.now < until {
        for (conn, address) in std::mem::take(&mut world.dials) {
            dials += 1;
            world.connect(conn, address);
            world.close(conn);
        }
        if granted(&world, wanted).is_some() {
            give_back(&mut world, wanted);
            wanted = wish(&mut world);
        }
        if world.dials.is_empty() && !world.next_timeout(until) {
            break;
        }
        world.drain();
    }
    assert!((3..20).contains(&dials), "{dials} dials in ten seconds");
}

/// A connection that nobody has used for a minute is closed; the one that was used last is used again. RULE-202
#[test]
fn idle_connections_are_closed_after_a_minute() {
    let mut world = lender(5);
    let [one, other] = [lease(&mut world), lease(&mut world)];
    let conns = [answered(&mut world, one, "one", None), answered(&mut world, other, "other", None)];
    give_back(&mut world, one);
    world.pass(30 * SECOND);
    give_back(&mut world, other);
    let again = lease(&mut world);
    assert_eq!(answered(&mut world, again, "again", None), conns[1]);
    give_back(&mut world, again);
    world.pass(31 * SECOND);
    assert_eq!((world.closed.as_slice(), world.client.stats().dedicated), (&conns[..1], 1));
    world.pass(30 * SECOND);
    assert_eq!(world.client.stats().dedicated, 0);
}

/// The connection of a lease is lost: what was written may have run, the next call is given back, and the next lease is another one.
/// RULE-204, INV-18
#[test]
fn a_lost_connection_ends_its_lease() {
    let mut world = lender(5);
    let lease = lease(&mut world);
    let read = ask(&mut world, lease, "read", None);
    world.close(carrier(&world, "read"));
    let error = RequestError::ConnectionLost { cause: CloseCause::ByServer, delivery: Delivery::Unknown };
    assert_eq!(world.failure_of(read), &error);
    assert_eq!(lost(&world, lease), Some(CloseCause::ByServer));
    let request = Request::raw(Bytes::from_static(b"more\n"), NonZeroU32::MIN);
    let refused = world.client.send_on(world.now, lease, request);
    assert!(matches!(refused, Err(SendError::LeaseLost { cause: CloseCause::ByServer, .. })), "{refused:?}");
    assert!(world.dials.is_empty(), "nobody waits for another one");
    give_back(&mut world, lease);
    assert_eq!(world.client.stats().dedicated, 0);
}

/// What the server refuses inside a window is the reply: nothing on a lease is sent again, there or elsewhere. RULE-204, INV-18
#[test]
fn nothing_on_a_lease_is_sent_again() {
    let mut world = lender(5);
    let lease = lease(&mut world);
    let shared = world.conns()[0];
    world.push(shared, &["FAILING_OVER", "1", "30"]);
    let write = ask(&mut world, lease, "write", None);
    let conn = carrier(&world, "write");
    world.client.handle_frames(world.now, conn, [Frame::error("READONLY no")]);
    world.drain();
    assert!(world.done[&write].as_ref().unwrap()[0].is_error());
}

/// A connection that nobody has moves as a shared one does. RULE-205
#[test]
fn an_idle_connection_moves_at_once() {
    let mut world = lender(5);
    let first = lease(&mut world);
    give_back(&mut world, first);
    let conns = world.conns();
    world.push(conns[0], &["MOVING", "1", "30", "127.0.0.1:2"]);
    while !world.dials.is_empty() {
        world.answer_dials();
    }
    world.pass(SECOND);
    assert!(conns.iter().all(|conn| world.closed.contains(conn)), "both have moved");
    let second = wish(&mut world);
    assert_eq!(granted(&world, second), Some(Ok(())));
    assert!(moving(&world, second).is_empty());
    let conn = answered(&mut world, second, "there", None);
    assert!(!conns.contains(&conn));
}

/// A lease that is held is told of the move and its deadline and stays where it is; when it is returned its connection moves. RULE-205,
/// INV-18
#[test]
fn a_lease_moves_when_it_is_returned() {
    let mut world = lender(5);
    let held = lease(&mut world);
    let old = answered(&mut world, held, "before", None);
    let deadline = world.now + 30 * SECOND;
    world.push(old, &["MOVING", "1", "30", "127.0.0.1:2"]);
    assert_eq!(moving(&world, held), [deadline]);
    while !world.dials.is_empty() {
        world.answer_dials();
    }
    assert_eq!(answered(&mut world, held, "after", None), old, "it sees one connection");
    assert!(!world.closed.contains(&old));
    give_back(&mut world, held);
    assert!(world.closed.contains(&old));
    let next = wish(&mut world);
    assert_eq!(granted(&world, next), Some(Ok(())));
    let new = answered(&mut world, next, "there", None);
    assert_ne!(new, old);
    assert!(moving(&world, next).is_empty());
}

/// The holder is told the time that its own connection has: what its server said first, be that in service since, or be a newer move's
/// time longer. RULE-205, RULE-215
#[test]
fn a_holder_is_told_the_time_of_its_own_connection() {
    let mut world = lender(5);
    let (held, first) = (lease(&mut world), world.now + 20 * SECOND);
    world.push(world.conns()[0], &["MOVING", "1", "20", "127.0.0.1:2"]);
    let (scout, address) = world.dials.remove(0);
    world.connect(scout, address);
    world.push(scout, &["MOVING", "2", "30", "127.0.0.1:1"]);
    world.dials.clear();
    give_back(&mut world, held);
    let next = wish(&mut world);
    assert_eq!((granted(&world, next), moving(&world, next)), (Some(Ok(())), vec![first]));
    let other = wish(&mut world);
    world.answer_dials();
    assert_eq!((granted(&world, other), moving(&world, other)), (Some(Ok(())), vec![]));
    let (there, later) = (answered(&mut world, other, "there", None), world.now + 600 * SECOND);
    world.push(there, &["MOVING", "3", "600", "127.0.0.1:2"]);
    assert_eq!((moving(&world, next), moving(&world, other)), (vec![first; 2], vec![later]));
}

/// A lease that begins while its address retires is told so at once. RULE-205
#[test]
fn a_lease_on_a_retiring_connection_is_told() {
    let mut world = lender(1);
    let held = lease(&mut world);
    let deadline = world.now + 30 * SECOND;
    world.push(world.conns()[0], &["MOVING", "1", "30", "127.0.0.1:2"]);
    world.dials.clear();
    give_back(&mut world, held);
    let next = wish(&mut world);
    assert_eq!((granted(&world, next), moving(&world, next)), (Some(Ok(())), vec![deadline]));
}

/// At the deadline the connection is closed although somebody has it: what was written may have run, and nothing is sent any more. Its
/// successor goes to the next caller. RULE-206
#[test]
fn a_lease_ends_at_the_deadline_of_the_move() {
    let mut world = lender(5);
    let held = lease(&mut world);
    let old = answered(&mut world, held, "watch", Some(StateChange::Watch));
    world.push(old, &["MOVING", "1", "15", "127.0.0.1:2"]);
    while !world.dials.is_empty() {
        world.answer_dials();
    }
    world.pass(14 * SECOND);
    let slow = ask(&mut world, held, "slow", None);
    world.pass(2 * SECOND);
    assert_eq!(world.failure_of(slow), &RequestError::MoveDeadline { delivery: Delivery::Unknown });
    assert_eq!(lost(&world, held), Some(CloseCause::MoveDeadline));
    let exec = Request::raw(Bytes::from_static(b"exec\n"), NonZeroU32::MIN);
    let refused = world.client.send_on(world.now, held, exec).unwrap_err();
    assert!(refused.to_string().contains("nothing was executed"), "{refused}");
    assert!(world.closed.contains(&old));
    let next = wish(&mut world);
    assert_eq!(granted(&world, next), Some(Ok(())), "the successor is there");
    give_back(&mut world, held);
    assert_eq!(world.client.stats().leased, 1);
}

/// A dirty lease that is returned while its successor awaits the switch takes that along. RULE-203, INV-20
#[test]
fn a_dirty_lease_leaves_nothing_behind() {
    let mut world = lender(5);
    let held = lease(&mut world);
    let old = answered(&mut world, held, "watch", Some(StateChange::Watch));
    world.push(old, &["MOVING", "1", "15", "127.0.0.1:2"]);
    while !world.dials.is_empty() {
        world.answer_dials();
    }
    give_back(&mut world, held);
    assert_eq!((world.client.stats().dedicated, world.conns().len()), (0, 1), "{:?}", world.conns());
}

/// A lease whose link falls silent is lost, what was written may still be answered, and then the link is closed. RULE-204, RULE-140
#[test]
fn a_silent_link_ends_its_lease() {
    let mut world = lender(5);
    let held = lease(&mut world);
    let request = Request::raw(Bytes::from_static(b"patient\n"), NonZeroU32::MIN).timeout(60 * SECOND);
    let patient = world.client.send_on(world.now, held, request).unwrap();
    world.drain();
    let conn = carrier(&world, "patient");
    world.pass(10 * SECOND);
    assert_eq!(lost(&world, held), Some(CloseCause::Silent));
    assert!(!world.closed.contains(&conn));
    let next = wish(&mut world);
    assert_eq!(granted(&world, next), None, "the silent one is not lent");
    world.answer(conn);
    assert_eq!(world.reply_of(patient), "patient");
    assert!(world.closed.contains(&conn));
}

/// A server that was asked to wait says nothing meanwhile: neither is its link dead, nor is the request cut short. RULE-210
#[test]
fn a_request_that_blocks_is_given_its_time() {
    let mut world = lender(5);
    let held = lease(&mut world);
    let blocks = |world: &mut World, word: &'static str, blocking| {
        let request = Request::raw(Bytes::from_static(word.as_bytes()), NonZeroU32::MIN);
        let request = Request { special: Special::new(Vec::new(), Some(blocking)), ..request };
        let limit = world.client.time_limit(world.now, &request);
        let id = world.client.send_on(world.now, held, request).unwrap();
        world.drain();
        (id, limit)
    };
    let (endless, limit) = blocks(&mut world, "endless\n", Blocking::ForEver);
    assert_eq!(limit, None);
    world.pass(3600 * SECOND);
    assert!(!world.done.contains_key(&endless));
    assert_eq!(lost(&world, held), None);
    world.answer(carrier(&world, "endless"));
    assert_eq!(world.reply_of(endless), "endless");

    let (long, limit) = blocks(&mut world, "long\n", Blocking::For(20 * SECOND));
    assert_eq!(limit, Some(23 * SECOND));
    world.pass(22 * SECOND);
    assert!(!world.done.contains_key(&long));
    world.pass(SECOND);
    assert!(matches!(world.failure_of(long), RequestError::TimedOut { after, .. } if *after == 23 * SECOND));
    assert_eq!(lost(&world, held), None);
    world.pass(6 * SECOND);
    assert_eq!(lost(&world, held), Some(CloseCause::Silent), "nine seconds later than it had to answer");
}

/// A shutdown waits for leases that are out, which may go on meanwhile; those who wait get none. RULE-207, INV-15
#[test]
fn a_shutdown_waits_for_leases_within_its_grace() {
    let mut world = lender(1);
    let held = lease(&mut world);
    let waits = wish(&mut world);
    world.client.shutdown(world.now, world.now + 5 * SECOND);
    world.drain();
    assert_eq!(granted(&world, waits), Some(Err(LeaseError::ShutDown)));
    assert_eq!(world.client.lease(world.now), Err(LeaseError::ShutDown));
    answered(&mut world, held, "last", None);
    assert!(!world.client.is_terminated());
    give_back(&mut world, held);
    assert!(world.client.is_terminated());

    let mut world = lender(1);
    let held = lease(&mut world);
    let slow = ask(&mut world, held, "slow", None);
    world.client.shutdown(world.now, world.now + SECOND);
    world.drain();
    world.pass(SECOND);
    assert!(world.client.is_terminated());
    assert_eq!(world.failure_of(slow), &RequestError::ShutDown { delivery: Delivery::Unknown });
    assert_eq!(lost(&world, held), Some(CloseCause::ShutDown));
    give_back(&mut world, held);
}

/// What was made for a lease is not sent on shared connections, and a lease that is over takes nothing. RULE-200
#[test]
fn a_request_of_a_lease_needs_one() {
    let mut world = lender(1);
    let watch = || Request::leased(cmd("WATCH").arg("k")).unwrap();
    assert!(matches!(world.client.send(world.now, watch()), Err(SendError::NeedsLease(_))));
    let over = lease(&mut world);
    give_back(&mut world, over);
    give_back(&mut world, over);
    assert!(matches!(world.client.send_on(world.now, over, watch()), Err(SendError::LeaseLost { .. })));
    assert_eq!(world.client.stats().requests, 0);
}

/// New credentials are told to connections that nobody has. A holder may be inside a transaction, so that nothing comes between the
/// requests of a lease; its connection is closed when it is returned. INV-18, RULE-203
#[test]
fn new_credentials_leave_a_lent_connection_alone() {
    let mut world = lender(2);
    let [held, idle] = [lease(&mut world), lease(&mut world)];
    let mine = answered(&mut world, held, "MULTI", Some(StateChange::Multi));
    let theirs = answered(&mut world, idle, "GET", None);
    give_back(&mut world, idle);
    world.client.handle_new_credentials(world.now, Ok(Credentials::new(None, "new")));
    let mut written = |conn| {
        let mut bytes = WriteBuffer::new();
        world.client.poll_transmit(conn, &mut bytes);
        bytes.len()
    };
    assert_eq!(written(mine), 0, "the transaction goes on");
    assert_ne!(written(theirs), 0, "AUTH");
    world.drain();
    answered(&mut world, held, "EXEC", Some(StateChange::Exec));
    give_back(&mut world, held);
    assert!(!world.conns().contains(&mine) && world.conns().contains(&theirs));
}

/// Connects what is dialled; the server answers the opt-in so, if it is asked. Nothing is written yet that follows from it.
fn connect_asking(world: &mut World, opt_in: Option<Frame>) {
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    world.drain();
    world.pending.remove(&conn);
    let [hello, _, name, version] = accepted_handshake();
    let frames = [hello].into_iter().chain(opt_in).chain([name, version]);
    world.client.handle_frames(world.now, conn, frames);
    world.obey();
}

/// When a server has learnt of notifications, connections that nobody has opt in. On one that is lent, also if it was lent just
/// before the opt-in was written, nothing comes between the requests of its holder; it is closed when it is returned. RULE-229
#[test]
fn an_opt_in_leaves_a_lent_connection_alone() {
    for lent_meanwhile in [false, true] {
        let mut world = World::with(|builder| builder.pool_size(1).max_dedicated(2));
        connect_asking(&mut world, Some(Frame::error("ERR unknown subcommand 'MAINT_NOTIFICATIONS'.")));
        let [held, idle] = [(); 2].map(|()| {
            let lease = wish(&mut world);
            connect_asking(&mut world, None);
            assert_eq!(granted(&world, lease), Some(Ok(())));
            lease
        });
        let shared = world.conns()[0];
        let mine = answered(&mut world, held, "MULTI", Some(StateChange::Multi));
        let theirs = answered(&mut world, idle, "GET", None);
        world.pass(crate::mode::RECHECK_AFTER);
        give_back(&mut world, idle);
        world.close(shared);
        world.pass(SECOND);
        connect_asking(&mut world, Some(Frame::simple("OK")));
        let next = lent_meanwhile.then(|| world.client.lease(world.now).unwrap());
        let mut written = |conn| {
            let mut bytes = WriteBuffer::new();
            world.client.poll_transmit(conn, &mut bytes);
            bytes.len()
        };
        assert_eq!(written(mine), 0, "the transaction goes on");
        assert_eq!(written(theirs) > 0, !lent_meanwhile, "the opt-in");
        world.drain();
        answered(&mut world, held, "EXEC", Some(StateChange::Exec));
        give_back(&mut world, held);
        assert!(!world.conns().contains(&mine) && world.conns().contains(&theirs));
        if let Some(next) = next {
            assert_eq!(answered(&mut world, next, "GET", None), theirs);
            give_back(&mut world, next);
            assert!(!world.conns().contains(&theirs));
        }
    }
}

/// A provider that fails once refuses nobody: who waits has a lease when it answers, and is refused at once only where nobody is to
/// wait. RULE-201, RULE-220
#[test]
fn a_provider_that_fails_refuses_no_lease() {
    for (when, is_refused) in [(WhenDisconnected::Wait, false), (WhenDisconnected::Fail, true)] {
        let mut world = World::with(|settings| {
            settings.pool_size(1).max_dedicated(1).when_disconnected(when).ask_for_credentials()
        });
        let answer = |world: &mut World, answer: Result<Credentials, CredentialsError>| {
            let asks = |action: &Action| match action {
                Action::Credentials { conn } => Some(*conn),
                _ => None,
            };
            let asked: Vec<_> = world.others.iter().filter_map(asks).collect();
            world.others.retain(|action| asks(action).is_none());
            for conn in &asked {
                world.client.handle_credentials(world.now, *conn, answer.clone());
                world.drain();
            }
            asked.len()
        };
        let key = || Ok(Credentials::new(None, "key"));
        answer(&mut world, key());
        world.answer_dials();
        let lease = wish(&mut world);
        assert_eq!(answer(&mut world, Err(CredentialsError::failed("429"))), 1);
        assert_eq!(granted(&world, lease).is_some(), is_refused, "{when:?}");
        if !is_refused {
            world.pass(SECOND);
            assert_eq!(answer(&mut world, key()), 1);
            world.answer_dials();
            assert_eq!(granted(&world, lease), Some(Ok(())));
        }
    }
}
