//! Subscriptions of a cluster's client.

use hitless_core::pubsub::{Item, Topic};
use resp3_codec::cmd;

use crate::server::{CloseHow, Notice, OldChannels};
use crate::testbed::{SECOND, Testbed, millis, slot};
use crate::world::{Host, Subscriber};

/// A channel of `c`.
const CHANNEL: &str = "foo";

fn has_gap(bed: &mut Testbed, subscriber: Subscriber) -> bool {
    bed.received(subscriber).iter().any(|item| !matches!(item, Item::Message(_)))
}

/// It is subscribed to at the new node before it is left at the old one. As both show what is published, nothing is missing, nothing comes twice, and no gap is
/// told. CLUSTER-23, RULE-413
pub fn a_sharded_channel_follows_its_slot(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let subscriber = bed.subscribe(&[Topic::sharded(CHANNEL)]);
    let publish = |bed: &mut Testbed, number: u32| {
        bed.call(cmd("SPUBLISH").arg(CHANNEL).arg(number));
        bed.run_until_received(subscriber, number as usize);
    };
    (1..=3).for_each(|number| publish(&mut bed, number));
    let (a, c) = (bed.a, bed.c);
    bed.server(|server, now| {
        server.set_old_channels(now, OldChannels::Shown);
        server.assign_slots(now, [slot(CHANNEL)], a);
        server.slots_migrated(now, c, a, Notice::of_slots(&slot(CHANNEL).to_string(), SECOND));
    });
    bed.run_until_soon("it is heard of", |bed| bed.leads_to(CHANNEL, a));
    (4..=20).for_each(|number| publish(&mut bed, number));
    let expected: Vec<String> = (1..=20_u32).map(|number| number.to_string()).collect();
    assert_eq!(bed.payloads(subscriber), expected);
    assert!(!has_gap(&mut bed, subscriber), "{:?}", bed.received(subscriber));
    bed.finish();
}

/// Whichever node carries them: when its connections are lost a gap is told, and messages go on. CLUSTER-23, RULE-416
pub fn ordinary_channels_outlast_their_node(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let subscriber = bed.subscribe(&[Topic::channel("news")]);
    bed.publish("news", "before");
    bed.run_until_received(subscriber, 1);
    let nodes = [bed.a, bed.b, bed.c];
    for node in nodes {
        bed.kill_all(node, CloseHow::Reset);
    }
    bed.run_until_soon("a gap is told", |bed| has_gap(bed, subscriber));
    // What is sent before the client has heard of all losses may be lost as well.
    bed.run_until_soon("it connects again", |bed| {
        nodes.iter().all(|node| !bed.connections(*node).is_empty())
    });
    for _ in 0..100 {
        bed.publish("news", "after");
        bed.run_for(millis(20));
        if bed.payloads(subscriber).len() > 1 {
            break;
        }
    }
    let payloads = bed.payloads(subscriber);
    assert_eq!((payloads[0].as_str(), payloads.last().map(String::as_str)), ("before", Some("after")));
    bed.finish();
}
