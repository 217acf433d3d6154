//! When what is kept for a connection's next reads may be given back.

use super::*;

/// RULE-435
#[test]
fn a_connection_rests_when_the_time_of_its_last_request_is_over() {
    let mut world = World::started(2);
    let first = world.send("a");
    let conn = *world.pending.keys().next().unwrap();
    world.answer(conn);
    assert_eq!(world.reply_of(first), "a");
    world.pass(2 * SECOND);
    assert_eq!(world.resting, [], "another request may come");

    let second = world.send("b");
    world.pass(2 * SECOND);
    assert_eq!(world.resting, [], "somebody waits");
    world.answer(conn);
    assert_eq!(world.reply_of(second), "b");
    world.pass(2 * SECOND);
    assert_eq!(world.resting, [conn], "the one that carries nothing has nothing to give back");

    world.pass(60 * SECOND);
    assert_eq!(world.resting, [conn], "said once");
    world.send("c");
    world.answer(conn);
    world.pass(4 * SECOND);
    assert_eq!(world.resting, [conn, conn], "and again behind the next request");
}

/// A window that opens over a connection on which nobody waits changes nothing about that. RULE-435
#[test]
fn a_connection_rests_in_a_window_as_well() {
    let mut world = World::started(1);
    world.send("a");
    let conn = *world.pending.keys().next().unwrap();
    world.answer(conn);
    world.push(conn, &["MIGRATING", "1", "5"]);
    world.pass(4 * SECOND);
    assert_eq!(world.resting, [conn]);
}
