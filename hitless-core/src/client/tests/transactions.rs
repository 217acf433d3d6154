//! Transactions that a server refuses for a while, and those that a link does not live to see the end of.

use super::leases::{answered, ask, carrier, give_back, granted, lease, lender};
use super::*;
use crate::command_table::StateChange::{Discard, Exec, Multi, Setting, Unwatch, Watch};
use crate::error::LeaseError;
use crate::ids::LeaseId;

/// A transaction on a lease that was refused gets another lease inside a window, after pauses that grow, as long as a command may
/// take; meanwhile its connection is free to move. RULE-235
#[test]
fn a_refused_transaction_may_begin_again_inside_a_window() {
    let mut world = lender(1);
    let held = lease(&mut world);
    let (since, again) = (world.now, Client::lease_after_refusal);
    assert_eq!(again(&mut world.client, since, held, since, 1), Ok(None), "no window");

    let shared = world.conns()[0];
    world.push(shared, &["FAILING_OVER", "1", "5"]);
    let mut held = held;
    let mut pauses = Vec::new();
    let mut refusals = 0;
    loop {
        refusals += 1;
        let now = world.now;
        let Some(next) = again(&mut world.client, now, held, since, refusals).unwrap() else { break };
        give_back(&mut world, held);
        assert_eq!(granted(&world, next), None, "not at once");
        assert_eq!(world.client.stats().waiting_for_lease, 1);
        while granted(&world, next).is_none() {
            assert!(world.next_timeout(now + 2 * SECOND), "it comes");
            world.drain();
            world.answer_dials();
        }
        pauses.push((world.now - now).as_millis());
        held = next;
    }
    assert_eq!(pauses[..7], [20, 40, 80, 160, 320, 640, 1000]);
    let limit = maintenance::Config::default().relaxed_timeout();
    assert!(world.now - since <= limit && world.now - since + SECOND >= limit, "{:?}", world.now - since);
    assert_eq!(world.conns().len(), 2, "one connection was lent again and again");
}

/// The window that was open when the refusal came counts, whatever comes with it before the caller asks: the end of the window, or of the
/// link. RULE-235
#[test]
fn a_refusal_is_judged_by_the_window_in_which_it_came() {
    let refusal = || Frame::error("READONLY it is a replica");
    let failed_over = || Frame::Push(vec![Frame::bulk("FAILED_OVER"), Frame::Integer(2)]);
    for (opens, closes_before, closes_behind, is_lost, begins_again) in [
        (true, false, false, true, true),
        (true, false, true, false, true),
        (true, false, true, true, true),
        // The end of the window came over another connection, ahead of this older reply.
        (true, true, false, false, true),
        (false, false, false, false, false),
        (false, false, false, true, false),
    ] {
        let mut world = lender(1);
        let held = lease(&mut world);
        let shared = world.conns()[0];
        if opens {
            world.push(shared, &["FAILING_OVER", "1", "5"]);
        }
        ask(&mut world, held, "exec", None);
        let conn = carrier(&world, "exec");
        world.pending.remove(&conn);
        if closes_before {
            world.client.handle_frames(world.now, shared, [failed_over()]);
        }
        let behind = closes_behind.then(failed_over);
        world.client.handle_frames(world.now, conn, [refusal()].into_iter().chain(behind));
        world.drain();
        if is_lost {
            world.close(conn);
        }
        let now = world.now;
        let next = world.client.lease_after_refusal(now, held, now, 1).unwrap();
        let case = (opens, closes_before, closes_behind, is_lost);
        assert_eq!(next.is_some(), begins_again, "{case:?}");
    }
}

/// A refusal that came when the window had closed says nothing of the one before. RULE-235
#[test]
fn a_later_refusal_is_judged_for_itself() {
    let mut world = lender(1);
    let held = lease(&mut world);
    let shared = world.conns()[0];
    world.push(shared, &["FAILING_OVER", "1", "5"]);
    for (is_open, begins_again) in [(true, true), (false, false)] {
        if !is_open {
            world.push(shared, &["FAILED_OVER", "2"]);
        }
        ask(&mut world, held, "exec", None);
        let conn = carrier(&world, "exec");
        world.pending.remove(&conn);
        world.client.handle_frames(world.now, conn, [Frame::error("READONLY it is a replica")]);
        world.drain();
        let now = world.now;
        let next = world.client.lease_after_refusal(now, held, now, 1).unwrap();
        assert_eq!(next.is_some(), begins_again);
    }
}

/// A transaction whose connections are lost begins again on other ones, each time after a longer pause, until a command would have taken too
/// long, counted from the first loss. RULE-290
#[test]
fn a_transaction_that_loses_its_connections_slows_down() {
    let mut world = lender(1);
    let mut held = lease(&mut world);
    let mut since = None;
    let mut pauses = Vec::new();
    loop {
        // A connection that has answered is replaced at once for whoever comes next.
        let conn = answered(&mut world, held, "watch", Some(Watch));
        world.close(conn);
        let now = world.now;
        let since = *since.get_or_insert(now);
        let losses = u32::try_from(pauses.len()).unwrap() + 1;
        let Some(next) = world.client.lease_after_loss(now, since, losses).unwrap() else { break };
        give_back(&mut world, held);
        assert_eq!((granted(&world, next), world.client.stats().waiting_for_lease), (None, 1), "not at once");
        while granted(&world, next).is_none() {
            assert!(world.next_timeout(now + 3 * SECOND), "it comes");
            world.drain();
            world.answer_dials();
        }
        pauses.push(world.now - now);
        held = next;
    }
    for (pause, longest) in
        pauses.iter().zip([50, 100, 200, 400, 800, 1_600, 2_000].map(Duration::from_millis))
    {
        assert!(*pause <= longest && *pause >= longest / 2, "{pauses:?}");
    }
    // The default of `command_timeout`.
    let (took, limit) = (world.now - since.unwrap(), 3 * SECOND);
    assert!(took >= limit && took <= limit + 2 * SECOND, "{took:?}");
    assert!((5..=8).contains(&pauses.len()), "{pauses:?}");
}

/// A loss that comes first has another try, be the command timeout as short as it may; without one there is no end but the number of
/// tries. RULE-290
#[test]
fn the_first_loss_has_another_try() {
    for (timeout, behind, begins_again) in [
        (Some(Duration::from_millis(1)), Duration::ZERO, true),
        (Some(Duration::from_millis(1)), Duration::from_millis(1), false),
        (None, 1_000 * SECOND, true),
    ] {
        let mut world = World::with(|it| it.pool_size(1).max_dedicated(1).command_timeout(timeout));
        world.answer_dials();
        let since = world.now;
        let next = world.client.lease_after_loss(since + behind, since, 1).unwrap();
        assert_eq!(next.is_some(), begins_again, "{timeout:?} {behind:?}");
    }
}

/// Who waits for another try can give up, is refused when the client shuts down, and counts for the limit of those who wait. INV-14, RULE-235
#[test]
fn a_pause_is_a_wish_like_any_other() {
    for (gives_up, losses) in [(true, 0), (false, 0), (false, 7)] {
        let mut world = World::with(|it| it.pool_size(1).max_dedicated(1).parked_requests(1));
        world.answer_dials();
        let held = lease(&mut world);
        let shared = world.conns()[0];
        world.push(shared, &["FAILING_OVER", "1", "5"]);
        let now = world.now;
        let wish = match losses {
            0 => world.client.lease_after_refusal(now, held, now, 1),
            // The longest of all pauses.
            losses => world.client.lease_after_loss(now, now, losses),
        };
        let wish = wish.unwrap().unwrap();
        assert_eq!(world.client.lease(now), Err(LeaseError::Full));
        assert_eq!(world.client.lease_after_refusal(now, held, now, 1), Err(LeaseError::Full));
        assert_eq!(world.client.lease_after_loss(now, now, 1), Err(LeaseError::Full));
        give_back(&mut world, held);
        if gives_up {
            give_back(&mut world, wish);
            world.pass(SECOND);
            assert_eq!(granted(&world, wish), None);
            assert_eq!((world.client.stats().leased, world.client.stats().waiting_for_lease), (0, 0));
        } else {
            world.client.shutdown(world.now, world.now);
            world.drain();
            assert_eq!(granted(&world, wish), Some(Err(LeaseError::ShutDown)));
            assert!(world.client.is_terminated());
            let late = world.client.lease_after_refusal(now, held, now, 1);
            assert_eq!(late, Err(LeaseError::ShutDown));
            assert_eq!(world.client.lease_after_loss(now, now, 1), Err(LeaseError::ShutDown));
        }
    }
}

/// Does one thing on `lease`: the first letter of a command, `=` if it is answered, `q` if it is queued, `!` if it is refused, and nothing if
/// it is not answered.
fn play(world: &mut World, lease: LeaseId, step: &str) {
    let (word, answer) = step.split_at(1);
    let change = match word {
        "m" => Some(Multi),
        "e" => Some(Exec),
        "d" => Some(Discard),
        "r" => Some(Setting),
        "w" => Some(Watch),
        "u" => Some(Unwatch),
        "g" => None,
        _ => {
            let raw = Request::raw(Bytes::from_static(b"raw\n"), NonZeroU32::MIN);
            world.client.send_on(world.now, lease, raw).unwrap();
            return world.drain();
        }
    };
    let reply = match answer {
        "=" => {
            answered(world, lease, word, change);
            return;
        }
        "q" => Some(Frame::simple("QUEUED")),
        "!" => Some(Frame::error("ERR no")),
        _ => None,
    };
    ask(world, lease, word, change);
    if let Some(reply) = reply {
        let conn = carrier(world, word);
        world.pending.remove(&conn);
        world.client.handle_frames(world.now, conn, [reply]);
        world.drain();
    }
}

/// What was written behind a MULTI that the server has taken, and not answered, was queued at most: it has not run, unless something was
/// sent that may have ended the transaction, or that nobody has looked at. PITFALL-01, RULE-236
#[test]
fn what_was_only_queued_has_not_run() {
    use Delivery::{NotSent, Unknown};
    for (steps, delivery) in [
        ("", Unknown),
        ("m=", NotSent),
        ("m", Unknown),
        ("m!", Unknown),
        ("m= e", Unknown),
        ("m= e=", Unknown),
        ("m= d", Unknown),
        // RESET is among the settings.
        ("m= r", Unknown),
        ("m= r=", Unknown),
        ("m= r= w=", Unknown),
        ("m= r!", NotSent),
        ("r= m=", NotSent),
        ("m= r= m=", NotSent),
        // The one is refused inside a transaction, the other queued.
        ("m= w u", NotSent),
        ("m= x", Unknown),
        // Some errors end a transaction, and others do not.
        ("m= e!", Unknown),
        ("m= d!", Unknown),
        ("m= gq uq", NotSent),
        ("m= g! w! m!", NotSent),
        // What is answered has run.
        ("m= g=", Unknown),
        ("m= w=", Unknown),
        ("m= gq g=", Unknown),
    ] {
        let mut world = lender(1);
        let held = lease(&mut world);
        steps.split_whitespace().for_each(|step| play(&mut world, held, step));
        let set = ask(&mut world, held, "set", None);
        let conn = carrier(&world, "set");
        world.close(conn);
        assert_eq!(world.failure_of(set).delivery(), delivery, "{steps}");
        give_back(&mut world, held);
        assert!(world.client.leases.is_at_rest(), "{steps}");
    }
}

/// The same where the client itself closes the connection, at the deadline of its move. PITFALL-01, RULE-236
#[test]
fn what_was_queued_at_the_deadline_has_not_run() {
    let mut world = lender(1);
    let held = lease(&mut world);
    answered(&mut world, held, "m", Some(Multi));
    let set = ask(&mut world, held, "set", None);
    let conn = carrier(&world, "set");
    world.push(conn, &["MOVING", "1", "2", "127.0.0.1:2"]);
    world.answer_dials();
    world.pass(3 * SECOND);
    assert_eq!(world.failure_of(set), &RequestError::MoveDeadline { delivery: Delivery::NotSent });
    assert!(world.client.leases.is_at_rest());
}
