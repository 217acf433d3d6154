use super::*;
use crate::backoff::Reconnect;
use crate::timer::epoch;

const OLD: ConnId = ConnId::from_parts(0, 0);
const NEW: ConnId = ConnId::from_parts(1, 0);

/// The machine, and what it said.
struct World {
    now: Instant,
    subscriptions: Subscriptions,
    id: SubscriptionId,
}

impl World {
    /// A subscription to these channels, confirmed on `OLD`.
    fn subscribed(channels: &[&str]) -> Self {
        let now = epoch();
        let mut subscriptions = Subscriptions::new(0);
        let id = subscriptions.open().unwrap();
        subscriptions.subscribe(now, id, channels.iter().map(|name| Topic::from(*name)), None).unwrap();
        assert!(subscriptions.wants_connection(now));
        subscriptions.assign(OLD);
        subscriptions.promote(now, OLD);
        let mut world = Self { now, subscriptions, id };
        for name in channels {
            assert!(world.subscriptions.handle_push(OLD, Push::Subscribed(Topic::from(*name))));
        }
        world.writes();
        assert!(world.said().iter().all(|said| matches!(said, Said::Changed { outcome: Ok(()), .. })));
        world
    }

    fn writes(&mut self) -> Vec<(ConnId, String)> {
        let mut writes = Vec::new();
        while let Some(decision) = self.subscriptions.poll_decision() {
            if let Decision::Write { conn, command } = decision {
                let text = String::from_utf8_lossy(&command).into_owned();
                writes.push((conn, text.split("\r\n").skip(2).step_by(2).collect::<Vec<_>>().join(" ")));
            }
        }
        writes
    }

    fn said(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.subscriptions.poll_said()).collect()
    }

    /// What the subscription has received: payloads, and the kinds of other items.
    fn received(&mut self) -> Vec<String> {
        let text = |item: Item| match item {
            Item::Message(message) => String::from_utf8_lossy(&message.payload).into_owned(),
            Item::Gap { .. } => "gap".to_owned(),
            Item::Refused { .. } => "refused".to_owned(),
            other => format!("{other:?}"),
        };
        let items = self.said().into_iter().filter_map(|said| match said {
            Said::Deliver { item, .. } => Some(text(item)),
            Said::Changed { .. } => None,
        });
        items.collect()
    }

    fn message(&mut self, conn: ConnId, channel: &'static str, payload: &'static str) {
        self.subscriptions
            .handle_push(conn, Push::Message(Message::new(Topic::from(channel), channel, payload)));
    }

    fn pong(&mut self, conn: ConnId) {
        self.subscriptions.handle_reply(conn, Frame::simple("PONG"));
    }
}

fn on(conn: ConnId, command: &str) -> (ConnId, String) {
    (conn, command.to_owned())
}

/// What the connection before answers behind the switch is taken from what it owes, or it would never have answered everything.
/// RULE-264
#[test]
fn answers_behind_the_switch_count() {
    let mut world = World::subscribed(&["a"]);
    let gone = ConnId::from_parts(7, 0);
    assert!(world.subscriptions.handle_push(gone, Push::Unsubscribed(Topic::from("b"))));
    world.message(gone, "a", "1");
    assert!(world.received().is_empty());
}

/// The dialogue of a move: PING, SUBSCRIBE beside it, PING twice, PING there; then the switch. RULE-260
#[test]
fn a_move_is_a_dialogue() {
    let mut world = World::subscribed(&["a"]);
    world.subscriptions.begin_overlap(OLD, NEW);
    assert_eq!(world.writes(), [on(OLD, "PING")]);
    world.message(OLD, "a", "1");
    world.pong(OLD);
    assert_eq!(world.writes(), [on(NEW, "SUBSCRIBE a")]);
    assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("a"))));
    assert_eq!(world.writes(), [on(OLD, "PING")]);
    world.pong(OLD);
    assert_eq!(world.writes(), [on(OLD, "PING")]);
    world.message(NEW, "a", "2");
    world.pong(OLD);
    assert_eq!(world.writes(), [on(NEW, "PING")]);
    world.pong(NEW);
    assert_eq!(world.subscriptions.poll_decision(), Some(Decision::Switch(OLD)));
    world.message(OLD, "a", "2");
    world.message(OLD, "a", "3");
    world.subscriptions.promote(world.now, NEW);
    world.message(OLD, "a", "4");
    world.message(NEW, "a", "3");
    world.message(NEW, "a", "4");
    assert_eq!(world.received(), ["1", "2", "3", "4"]);
    assert_eq!(world.writes(), [on(NEW, "PING")], "it still owes what the old one has shown");
}

/// Where the deadline comes before it is known at which message the successor begins, a gap is told, and what was received is not repeated.
/// INV-19, RULE-261
#[test]
fn nothing_is_repeated_behind_a_gap() {
    let mut world = World::subscribed(&["a"]);
    world.subscriptions.begin_overlap(OLD, NEW);
    world.pong(OLD);
    assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("a"))));
    for payload in ["1", "2", "3"] {
        world.message(OLD, "a", payload);
    }
    world.subscriptions.promote(world.now, NEW);
    assert_eq!(world.received(), ["1", "2", "3", "gap"]);
    world.message(NEW, "a", "2");
    world.message(NEW, "a", "3");
    world.message(NEW, "a", "4");
    assert_eq!(world.received(), ["gap", "4"]);
}

/// What follows a gap may have the contents of what was received before it. It is skipped, because nothing is repeated, and another gap
/// says so behind it. INV-19, RULE-279
#[test]
fn what_is_skipped_behind_a_gap_is_a_gap() {
    let begin = || {
        let mut world = World::subscribed(&["a"]);
        world.subscriptions.begin_overlap(OLD, NEW);
        world.pong(OLD);
        world.message(OLD, "a", "1");
        world.message(OLD, "a", "2");
        world.subscriptions.promote(world.now, NEW);
        assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("a"))));
        assert_eq!(world.received(), ["1", "2", "gap"]);
        world
    };
    let mut world = begin();
    world.message(NEW, "a", "1");
    world.message(NEW, "a", "2");
    assert!(world.received().is_empty(), "one gap for all of it");
    world.message(NEW, "a", "3");
    assert_eq!(world.received(), ["gap", "3"]);
    let mut world = begin();
    world.message(NEW, "a", "1");
    world.pong(NEW);
    assert_eq!(world.received(), ["gap"]);
    world.message(NEW, "a", "2");
    assert_eq!(world.received(), ["2"], "all that was published before the switch was shown");
}

/// Where one of the two connections leaves a message out, both go on from the next one that they have in common: a gap is told, and nothing is
/// repeated. INV-19, RULE-261
#[test]
fn what_one_connection_leaves_out_shifts_nothing() {
    for (first, second) in [(NEW, OLD), (OLD, NEW)] {
        let mut world = World::subscribed(&["a"]);
        world.subscriptions.begin_overlap(OLD, NEW);
        world.pong(OLD);
        assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("a"))));
        world.pong(OLD);
        world.message(OLD, "a", "1");
        world.message(NEW, "a", "1");
        world.pong(OLD);
        world.pong(NEW);
        world.message(first, "a", "2");
        world.message(first, "a", "3");
        world.message(second, "a", "3");
        world.message(second, "a", "4");
        world.message(first, "a", "4");
        world.subscriptions.promote(world.now, NEW);
        world.message(NEW, "a", "5");
        let received = world.received();
        assert_eq!(received.iter().filter(|item| *item == "gap").count(), 1, "{received:?}");
        let messages: Vec<_> = received.iter().filter(|item| *item != "gap").collect();
        let expected: &[&str] = if first == OLD { &["1", "2", "3", "4", "5"] } else { &["1", "3", "4", "5"] };
        assert_eq!(messages, expected);
    }
}

/// A successor that is lost before the switch leaves no trace, but for what was subscribed to there alone. RULE-264
#[test]
fn a_successor_may_be_lost() {
    let mut world = World::subscribed(&["a"]);
    world.subscriptions.begin_overlap(OLD, NEW);
    world.pong(OLD);
    world.subscriptions.subscribe(world.now, world.id, [Topic::from("b")], None).unwrap();
    assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("a"))));
    assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("b"))));
    world.message(NEW, "b", "1");
    world.writes();
    world.subscriptions.vacate(NEW);
    assert_eq!(world.writes(), [on(OLD, "SUBSCRIBE b")]);
    // The answer to a ping of the overlap that is over, and what another one makes of it.
    world.subscriptions.begin_overlap(OLD, NEW);
    assert_eq!(world.writes(), [on(OLD, "PING")]);
    world.pong(OLD);
    assert_eq!(world.writes(), [], "the answer to the other ping");
    assert!(world.subscriptions.handle_push(OLD, Push::Subscribed(Topic::from("b"))));
    world.message(OLD, "a", "2");
    assert_eq!(world.received(), ["1", "gap", "2"]);
    world.pong(OLD);
    assert_eq!(world.writes(), [on(NEW, "SUBSCRIBE a"), on(NEW, "SUBSCRIBE b")]);
}

/// What the server refuses is an error of whoever asked, together with what was asked for at the same time, and an item for those who
/// had it before a loss. RULE-268
#[test]
fn refusals_are_told() {
    let mut world = World::subscribed(&["a"]);
    let change =
        world.subscriptions.subscribe(world.now, world.id, ["b", "secret"].map(Topic::from), None).unwrap();
    assert!(world.subscriptions.handle_push(OLD, Push::Subscribed(Topic::from("b"))));
    let refusal = || Frame::error("NOPERM no permission");
    world.writes();
    world.subscriptions.handle_reply(OLD, refusal());
    let said = world.said();
    let [Said::Changed { change: of, outcome: Err(SubscribeError::Refused { topic, error }) }] = &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!((*of, topic, error.code()), (change, &Topic::from("secret"), "NOPERM"));
    assert_eq!(world.writes(), [on(OLD, "UNSUBSCRIBE b")]);
    world.subscriptions.vacate(OLD);
    world.subscriptions.promote(world.now, NEW);
    assert_eq!(world.writes(), [on(NEW, "SUBSCRIBE a")]);
    world.subscriptions.handle_reply(NEW, refusal());
    assert_eq!(world.received(), ["refused"]);
    assert_eq!(world.subscriptions.topics(), 0);
}

/// What is neither a confirmation nor an error, in the place of one, is nonsense on either connection, and shows no server that works; behind a PING
/// anything counts. RULE-292
#[test]
fn nonsense_in_the_place_of_a_confirmation_is_told() {
    let nonsense = || Frame::simple("OK");
    let mut world = World::subscribed(&["a"]);
    world.subscriptions.begin_overlap(OLD, NEW);
    assert!(world.subscriptions.handle_reply(OLD, nonsense()));
    assert_eq!(world.writes(), [on(OLD, "PING"), on(NEW, "SUBSCRIBE a")]);
    assert!(!world.subscriptions.handle_reply(NEW, nonsense()));
    world.subscriptions.vacate(NEW);
    world.subscriptions.vacate(OLD);
    world.subscriptions.promote(world.now, NEW);
    assert!(!world.subscriptions.handle_reply(NEW, nonsense()));
    let soon = world.now + Reconnect::PROVEN_AFTER;
    assert!(!world.subscriptions.note_service(soon, NEW), "it has answered nothing");
}

/// A topic that the server gives up by itself is subscribed to again, with a gap. RULE-263
#[test]
fn what_the_server_drops_is_subscribed_to_again() {
    let mut world = World::subscribed(&["a"]);
    assert!(!world.subscriptions.handle_push(OLD, Push::Unsubscribed(Topic::from("a"))));
    assert_eq!(world.writes(), [on(OLD, "SUBSCRIBE a")]);
    assert!(world.subscriptions.handle_push(OLD, Push::Subscribed(Topic::from("a"))));
    world.message(OLD, "a", "1");
    assert_eq!(world.received(), ["gap", "1"]);
}

/// Whoever wants all that was sent so far waits for an answer of the connection that carries the subscriptions, and of the one in its place if
/// that is lost or left. RULE-412
#[test]
fn a_subscription_catches_up() {
    let mut world = World::subscribed(&["a"]);
    let change = world.subscriptions.catch_up(world.now, world.id, None).unwrap();
    let done = [Said::Changed { change, outcome: Ok(()) }];
    assert_eq!(world.writes(), [on(OLD, "PING")]);
    assert_eq!(world.said(), []);
    world.pong(OLD);
    assert_eq!(world.said(), done);

    let change = world.subscriptions.catch_up(world.now, world.id, None).unwrap();
    world.subscriptions.vacate(OLD);
    assert_eq!(world.said(), []);
    world.writes();
    world.subscriptions.promote(world.now, NEW);
    assert_eq!(world.writes(), [on(NEW, "SUBSCRIBE a"), on(NEW, "PING")]);
    assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("a"))));
    world.said();
    world.pong(NEW);
    assert_eq!(world.said(), [Said::Changed { change, outcome: Ok(()) }]);

    world.subscriptions.catch_up(world.now, world.id, Some(Duration::from_secs(1))).unwrap();
    let later = world.now + Duration::from_secs(1);
    world.subscriptions.handle_timeout(later, |after| SubscribeError::TimedOut { after });
    assert!(matches!(
        &world.said()[..],
        [Said::Changed { outcome: Err(SubscribeError::TimedOut { .. }), .. }]
    ));
    world.subscriptions.close(world.id);
    assert_eq!(world.subscriptions.catch_up(world.now, world.id, None), Err(SubscribeError::Closed));
}

/// A window gives whoever catches up no more time, and the end of the subscription ends the wait. RULE-257
#[test]
fn a_wait_to_catch_up_is_short_and_ends_with_its_subscription() {
    let mut world = World::subscribed(&["a"]);
    let change = world.subscriptions.catch_up(world.now, world.id, Some(Duration::from_secs(1))).unwrap();
    world.subscriptions.relax(Duration::from_secs(10));
    world
        .subscriptions
        .handle_timeout(world.now + Duration::from_secs(1), |after| SubscribeError::TimedOut { after });
    let outcome = Err(SubscribeError::TimedOut { after: Duration::from_secs(1) });
    assert_eq!(world.said(), [Said::Changed { change, outcome }]);
    let change = world.subscriptions.catch_up(world.now, world.id, None).unwrap();
    world.subscriptions.close(world.id);
    assert_eq!(world.said(), [Said::Changed { change, outcome: Err(SubscribeError::Closed) }]);
}

/// In an overlap a topic may be on the new connection alone: whoever catches up has an answer of both, and of the one that goes on where the other is
/// lost. RULE-412
#[test]
fn a_subscription_on_two_connections_catches_up_on_both() {
    let begin = || {
        let mut world = World::subscribed(&["a"]);
        world.subscriptions.begin_overlap(OLD, NEW);
        world.subscriptions.subscribe(world.now, world.id, [Topic::from("b")], None).unwrap();
        assert!(world.subscriptions.handle_push(NEW, Push::Subscribed(Topic::from("b"))));
        world.said();
        world.writes();
        let change = world.subscriptions.catch_up(world.now, world.id, None).unwrap();
        assert_eq!(world.writes(), [on(OLD, "PING"), on(NEW, "PING")]);
        (world, Said::Changed { change, outcome: Ok(()) })
    };
    let (mut world, done) = begin();
    world.pong(NEW);
    assert_eq!(world.said(), []);
    // The first one answers the overlap.
    world.pong(OLD);
    assert_eq!(world.said(), []);
    world.pong(OLD);
    assert_eq!(world.said(), [done]);

    let (mut world, done) = begin();
    world.subscriptions.vacate(NEW);
    assert_eq!(world.writes(), [on(OLD, "SUBSCRIBE b"), on(OLD, "PING")]);
    world.pong(OLD);
    assert!(!world.said().contains(&done), "that was for the overlap");
    world.pong(OLD);
    assert_eq!(world.said(), [done]);
}

/// A topic that goes and comes back before the server has answered is confirmed by the last answer. RULE-264
#[test]
fn a_topic_may_go_and_come_back() {
    let mut world = World::subscribed(&["a"]);
    world.subscriptions.unsubscribe(world.id, &[Topic::from("a")]);
    world.subscriptions.subscribe(world.now, world.id, [Topic::from("a")], None).unwrap();
    assert_eq!(world.writes(), [on(OLD, "UNSUBSCRIBE a"), on(OLD, "SUBSCRIBE a")]);
    world.message(OLD, "a", "of the first one");
    assert!(world.subscriptions.handle_push(OLD, Push::Unsubscribed(Topic::from("a"))));
    assert_eq!(world.said(), []);
    assert!(world.subscriptions.handle_push(OLD, Push::Subscribed(Topic::from("a"))));
    world.message(OLD, "a", "1");
    assert_eq!(world.received(), ["1"]);
}

/// As many topics as the client keeps, and not one more. INV-14
#[test]
fn topics_are_bounded() {
    let mut world = World::subscribed(&["a"]);
    let many = (1..crate::pubsub::TOPIC_LIMIT).map(|number| Topic::from(number.to_string()));
    assert!(world.subscriptions.subscribe(world.now, world.id, many, None).is_ok());
    let refused = world.subscriptions.subscribe(world.now, world.id, [Topic::from("b")], None);
    assert_eq!(refused, Err(SubscribeError::Full));
}

/// One that is dialled is not dialled for again, and counts as dialled until it is there. RULE-161
#[test]
fn there_is_one_connection_from_its_dial_on() {
    let now = epoch();
    let mut subscriptions = Subscriptions::new(0);
    let id = subscriptions.open().unwrap();
    subscriptions.subscribe(now, id, [Topic::from("a")], None).unwrap();
    let mut is = |change: &dyn Fn(&mut Subscriptions)| {
        change(&mut subscriptions);
        let it = &subscriptions;
        [it.wants_connection(now), it.has_connection(), it.is_dialling()]
    };
    assert_eq!(is(&|_| {}), [true, false, false]);
    assert_eq!(is(&|it| it.assign(OLD)), [false, true, true]);
    assert_eq!(is(&|it| it.promote(now, OLD)), [false, true, false]);
}

/// A pause behind a failed dial rings its alarm. RULE-161
#[test]
fn a_failed_dial_is_tried_again_when_its_pause_is_over() {
    let now = epoch();
    let mut subscriptions = Subscriptions::new(0);
    let id = subscriptions.open().unwrap();
    subscriptions.subscribe(now, id, [Topic::from("a")], None).unwrap();
    subscriptions.assign(OLD);
    subscriptions.vacate(OLD);
    subscriptions.note_failure(now, ConnectError::CircuitOpen, Redial::AfterPause);
    assert!(!subscriptions.wants_connection(now));
    let retry_at = subscriptions.poll_timeout().unwrap();
    assert!(retry_at > now && subscriptions.wants_connection(retry_at));
}
