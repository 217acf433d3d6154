//! Subscriptions: what is published is received once, wherever the connection goes.

use hitless_core::config::Protocol;
use hitless_core::error::{CloseCause, ConnectError, ProtocolError};
use hitless_core::event::Event;
use hitless_core::pubsub::{Item, Message, SubscribeError, Topic};
use resp3_codec::Frame;

use crate::server::{CloseHow, EndpointId, Fault, Rule};
use crate::testbed::{SECOND, Testbed, millis};
use crate::world::{Host, Subscriber};

/// A client with one connection beside that of its subscriptions.
fn subscriber(host: &dyn Host) -> Testbed {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1);
    bed.connect_with(settings);
    bed
}

fn channel(name: &str) -> Topic {
    Topic::from(name)
}

fn message(topic: &Topic, channel: &str, payload: &str) -> Item {
    Item::Message(Message::new(topic.clone(), channel.to_owned(), payload.to_owned()))
}

fn gaps(bed: &mut Testbed, subscriber: Subscriber) -> usize {
    bed.received(subscriber).iter().filter(|item| matches!(item, Item::Gap { .. })).count()
}

/// Waits until both connections are at `endpoint`, and publishes meanwhile. Returns how many messages that were.
fn publish_until_all_at(bed: &mut Testbed, endpoint: EndpointId, from: usize) -> usize {
    let peer = bed.peer(endpoint);
    let until = bed.now() + 20 * SECOND;
    let mut count = from;
    loop {
        bed.publish("ch", count);
        count += 1;
        let there = bed.stats().coordinator.connections;
        if there.get(&peer) == Some(&2) && there.len() == 1 {
            return count;
        }
        assert!(bed.now() < until, "they move\n{}", bed.history());
    }
}

/// While a subscription moves from node to node every message is received once and in order, for a channel and for a pattern. INV-19,
/// PITFALL-14, RULE-91, RULE-260
pub fn nothing_is_lost_or_repeated_in_a_move(host: &dyn Host) {
    let mut bed = subscriber(host);
    let topics = [channel("ch"), Topic::pattern("c?")];
    let readers = topics.clone().map(|topic| bed.subscribe(&[topic]));
    let mut count = 0;
    for (from, to) in [(bed.a, bed.b), (bed.b, bed.c)] {
        bed.publish("ch", count);
        bed.moving(from, to, 10);
        count = publish_until_all_at(&mut bed, to, count + 1);
        bed.run_until_soon("the old connections are closed before the deadline", |bed| {
            bed.connections(from).is_empty()
        });
    }
    for (reader, topic) in readers.into_iter().zip(&topics) {
        bed.run_until_received(reader, count);
        let expected: Vec<Item> =
            (0..count).map(|number| message(topic, "ch", &number.to_string())).collect();
        let received = bed.received(reader);
        // A doubt may be told, and then nothing is repeated: here no two messages are equal, so nothing is missing either.
        let messages: Vec<Item> =
            received.into_iter().filter(|item| !matches!(item, Item::Ambiguous { .. })).collect();
        assert_eq!(messages, expected);
    }
    bed.finish();
}

/// After a loss that nobody has announced the client subscribes again, and says where messages may be missing. RULE-263
pub fn a_loss_is_a_gap(host: &dyn Host) {
    let mut bed = subscriber(host);
    let topic = channel("ch");
    let reader = bed.subscribe(std::slice::from_ref(&topic));
    bed.publish("ch", "before");
    bed.run_until_received(reader, 1);
    let a = bed.a;
    bed.kill_all(a, CloseHow::Fin);
    bed.run_until_soon("the gap is told", |bed| gaps(bed, reader) == 1);
    bed.publish("ch", "behind");
    bed.run_until_received(reader, 3);
    let received = bed.received(reader);
    assert_eq!(received[0], message(&topic, "ch", "before"));
    assert!(matches!(&received[1], Item::Gap { topic: of, .. } if *of == topic), "{received:?}");
    assert_eq!(received[2], message(&topic, "ch", "behind"));
    assert_eq!(bed.count(|event| matches!(event, Event::SubscriptionGaps { topics: 1, .. })), 1);
    bed.finish();
}

/// All subscriptions share one connection; topics come and go while it runs, and what nobody wants any more is unsubscribed from. RULE-264
pub fn many_share_one_connection(host: &dyn Host) {
    let mut bed = subscriber(host);
    let one = bed.subscribe(&[channel("a"), channel("b")]);
    let other = bed.subscribe(&[channel("b")]);
    bed.subscribe_more(one, &[channel("c")]);
    assert_eq!(bed.subscribed(one), Ok(()));
    let on: Vec<_> = bed.arrivals("SUBSCRIBE").into_iter().map(|(_, conn)| conn).collect();
    assert_eq!(on.len(), 3, "b is subscribed to once");
    assert!(on.iter().all(|conn| *conn == on[0]));
    assert_eq!((bed.stats().subscriptions, bed.stats().topics, bed.stats().dedicated), (2, 3, 1));
    for name in ["a", "b", "c"] {
        bed.publish(name, name);
    }
    bed.run_until_received(one, 3);
    bed.unsubscribe(one, &[channel("a"), channel("b")]);
    bed.publish("b", "again");
    bed.publish("c", "again");
    bed.run_until_received(other, 2);
    bed.run_until_received(one, 4);
    assert_eq!(bed.payloads(one), ["a", "b", "c", "again"]);
    assert_eq!(bed.payloads(other), ["b", "again"]);
    [one, other].into_iter().for_each(|reader| bed.close_subscription(reader));
    bed.run_until_soon("all is unsubscribed from", |bed| bed.arrivals("UNSUBSCRIBE").len() == 3);
    assert_eq!((bed.stats().subscriptions, bed.stats().topics), (0, 0));
    bed.finish();
}

/// With RESP2, where messages are arrays like replies, they are received all the same, and so is the end of their connection. RULE-265
pub fn resp2(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).protocol(Protocol::Resp2);
    bed.connect_with(settings);
    let topics = [channel("ch"), Topic::pattern("c*")];
    let reader = bed.subscribe(&topics);
    bed.publish("ch", "1");
    bed.run_until_received(reader, 2);
    assert_eq!(bed.received(reader), [message(&topics[0], "ch", "1"), message(&topics[1], "ch", "1")]);
    let a = bed.a;
    bed.kill_all(a, CloseHow::Reset);
    bed.run_until_soon("the gaps are told", |bed| gaps(bed, reader) == 2);
    bed.publish("ch", "2");
    bed.run_until_received(reader, 6);
    bed.finish();
}

/// Topics that come and go while the connection moves: a new one is subscribed to on the new connection alone. RULE-264
pub fn the_set_changes_during_a_move(host: &dyn Host) {
    let mut bed = subscriber(host);
    let (a, b) = (bed.a, bed.b);
    let reader = bed.subscribe(&[channel("ch"), channel("gone")]);
    // Each answer of the new node takes its time, and so does the overlap.
    bed.slow_down(b, millis(50));
    bed.moving(a, b, 10);
    bed.run_until_soon("the successor is subscribed", |bed| {
        bed.arrivals("SUBSCRIBE").iter().any(|(endpoint, _)| *endpoint == b)
    });
    bed.subscribe_more(reader, &[channel("new")]);
    bed.unsubscribe(reader, &[channel("gone")]);
    assert_eq!(bed.subscribed(reader), Ok(()));
    bed.publish("new", "first");
    let count = publish_until_all_at(&mut bed, b, 0);
    bed.publish("gone", "unheard");
    bed.publish("new", "last");
    bed.run_until_soon("the last one is received", |bed| bed.payloads(reader).contains(&"last".to_owned()));
    let payloads = bed.payloads(reader);
    assert_eq!(payloads.len(), count + 2, "{payloads:?}");
    let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let on_ch: Vec<String> =
        payloads.into_iter().filter(|payload| payload.parse::<usize>().is_ok()).collect();
    assert_eq!(on_ch, numbers);
    assert_eq!(gaps(&mut bed, reader), 0);
    bed.finish();
}

/// A wish for topics while every dedicated connection is lent fails in time, and says which setting would help. RULE-266
pub fn every_connection_is_lent(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).max_dedicated(1).lease_timeout(Some(SECOND));
    bed.connect_with(settings);
    let held = bed.lease();
    let reader = bed.begin_subscription(&[channel("ch")]);
    let refused = bed.subscribed(reader);
    let Err(error @ SubscribeError::NotLent { .. }) = &refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("`max_dedicated`"), "{error}");
    bed.close_subscription(reader);
    bed.return_lease(held);
    let reader = bed.subscribe(&[channel("ch")]);
    bed.publish("ch", "1");
    bed.run_until_soon("it is received", |bed| bed.payloads(reader) == ["1"]);
    bed.finish();
}

/// A wish for topics that cannot be confirmed in time fails, and leaves nothing behind. RULE-266
pub fn no_connection_in_time(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).lease_timeout(Some(SECOND));
    bed.connect_with(settings);
    let a = bed.a;
    bed.black_hole(a, None);
    let reader = bed.begin_subscription(&[channel("ch")]);
    let refused = bed.subscribed(reader);
    let Err(SubscribeError::NoConnection { cause, .. }) = &refused else { panic!("{refused:?}") };
    assert!(matches!(**cause, ConnectError::TimedOut(_)), "{refused:?}");
    assert_eq!(bed.stats().topics, 0);
    bed.restore(a);
    bed.close_subscription(reader);
    bed.finish();
}

/// A server that answers SUBSCRIBE with what is neither a confirmation nor an error breaks the protocol: the connection is closed and another
/// one is dialled, with a gap, and after pauses that grow as long as that goes on. RULE-292
pub fn nonsense_instead_of_a_confirmation(host: &dyn Host) {
    let mut bed = subscriber(host);
    let topic = channel("ch");
    let reader = bed.subscribe(std::slice::from_ref(&topic));
    let a = bed.a;
    let nonsense = || Rule::new(Fault::Refuse(Frame::simple("OK"))).on("SUBSCRIBE");
    bed.rule(nonsense().until(bed.now() + SECOND).always());
    bed.kill_all(a, CloseHow::Fin);
    bed.run_for(SECOND);
    let tries = bed.arrivals("SUBSCRIBE").len();
    assert!((3..20).contains(&tries), "{tries} times within a second");
    bed.run_until_soon("it is subscribed to again", |bed| gaps(bed, reader) == 1);
    bed.publish("ch", "behind");
    bed.run_until_received(reader, 2);
    assert_eq!(bed.received(reader)[1], message(&topic, "ch", "behind"));
    let broken = CloseCause::Protocol(ProtocolError::NotConfirmed);
    assert!(
        bed.count(|event| matches!(event, Event::SubscriptionGaps { cause, .. } if *cause == broken)) > 1
    );
    bed.finish();
}

/// A subscription that brings nothing is pinged; if that is not answered, its connection counts as lost. RULE-267
pub fn a_dead_subscription_is_noticed(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).dead_link_timeout(Some(2 * SECOND));
    bed.connect_with(settings);
    let reader = bed.subscribe(&[channel("ch")]);
    bed.run_for(25 * SECOND);
    assert_eq!(bed.arrivals("PING").len(), 2, "one for each ten seconds of silence");
    let a = bed.a;
    bed.slow_down(a, 3600 * SECOND);
    bed.run_for(13 * SECOND);
    bed.slow_down(a, millis(0));
    bed.run_until_soon("the gap is told", |bed| gaps(bed, reader) == 1);
    bed.publish("ch", "1");
    bed.run_until_received(reader, 2);
    bed.finish();
}
