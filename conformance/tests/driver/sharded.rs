//! Subscriptions of the cluster client whose slot gets another node, or whose node goes.

use hitless_conformance::server::{CloseHow, EndpointId, Notice, OldChannels};
use hitless_core::cluster::key_slot;
use hitless_core::driver::{ClusterClient, ClusterSubscription};
use hitless_core::pubsub::{Item, Topic};

use super::cluster::cluster;
use super::*;

/// A channel of the third node.
const CHANNEL: &str = "foo";

/// The client of a cluster, and somebody who is subscribed by it.
struct World {
    fixture: Fixture,
    nodes: Vec<EndpointId>,
    client: ClusterClient<Executor>,
    news: ClusterSubscription<Executor>,
}

impl World {
    fn subscribed(topic: Topic) -> Self {
        let (mut fixture, nodes, client) = cluster();
        let news = fixture.block_on(client.subscribe([topic])).unwrap();
        let mut world = Self { fixture, nodes, client, news };
        world.publish("0");
        assert_eq!(world.received(), ["0"]);
        assert_eq!(world.carriers(), [3]);
        world
    }

    /// To a sharded channel.
    fn sharded(old: OldChannels) -> Self {
        let world = Self::subscribed(Topic::sharded(CHANNEL));
        world.fixture.with_server(|server, now| server.set_old_channels(now, old));
        world
    }

    /// The slot has another node from now on. Nobody is told.
    fn assign(&self, to: usize) {
        self.fixture.with_server(|server, now| {
            server.assign_slots(now, [key_slot(CHANNEL.as_bytes())], self.nodes[to]);
        });
    }

    /// The slot has another node from now on, and all nodes say so.
    fn announce(&self, from: usize, to: usize) {
        self.assign(to);
        let slots = key_slot(CHANNEL.as_bytes()).to_string();
        self.fixture.with_server(|server, now| {
            let notice = Notice::of_slots(&slots, Duration::ZERO);
            server.slots_migrated(now, self.nodes[from], self.nodes[to], notice);
        });
    }

    /// A command on a key of the slot: where that has moved without a word, the client learns it.
    fn touch(&mut self) {
        self.fixture.block_on(self.client.call(cmd("GET").arg(CHANNEL))).unwrap();
    }

    fn publish(&mut self, payload: &str) {
        let is_sharded = self.news.topics().any(|topic| matches!(topic, Topic::Sharded(_)));
        let name = if is_sharded { "SPUBLISH" } else { "PUBLISH" };
        self.fixture.block_on(self.client.call(cmd(name).arg(CHANNEL).arg(payload))).unwrap();
    }

    /// What is received until nothing more comes: payloads, and the kinds of other items.
    fn received(&mut self) -> Vec<String> {
        let mut received = Vec::new();
        let mut rounds = 0;
        while rounds < 10 {
            rounds += 1;
            self.fixture.run();
            while let Poll::Ready(item) = poll_once(self.news.next()) {
                rounds = 0;
                received.push(match item.unwrap() {
                    Item::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
                    Item::Gap { .. } => "gap".to_owned(),
                    other => format!("{other:?}"),
                });
            }
        }
        received
    }

    /// The ports of the nodes that are subscribed at.
    fn carriers(&self) -> Vec<u16> {
        let nodes = self.client.nodes();
        let carries = |node: &&hitless_core::driver::Node<Executor>| node.client().stats().topics > 0;
        let port = |node: &hitless_core::driver::Node<Executor>| {
            let endpoint = node.endpoint().to_string();
            endpoint.rsplit(':').next().unwrap().parse::<u16>().unwrap()
        };
        let mut ports: Vec<u16> = nodes.iter().filter(carries).map(port).collect();
        ports.sort_unstable();
        ports
    }
}

/// The server shows the messages at both nodes for a while: the client subscribes at the new one first, and leaves the old one when it knows that both
/// show the same. Nothing is missing, and nothing comes twice. RULE-413, CLUSTER-23
#[test]
fn a_slot_that_moves_leaves_no_gap_where_both_nodes_show_the_messages() {
    for is_announced in [true, false] {
        let mut world = World::sharded(OldChannels::Shown);
        if is_announced {
            world.announce(2, 0);
        } else {
            world.assign(0);
            world.touch();
        }
        assert_eq!(world.received(), [] as [&str; 0]);
        assert_eq!(world.carriers(), [3, 6379], "it has not left the old one");
        world.publish("1");
        world.publish("2");
        assert_eq!(world.received(), ["1", "2"]);
        assert_eq!(world.carriers(), [6379]);
        world.fixture.with_server(|server, now| server.set_old_channels(now, OldChannels::End));
        world.publish("3");
        assert_eq!(world.received(), ["3"]);
    }
}

/// The old node shows nothing of what is published at the new one, and ends the subscription later: one gap, in front of the first message of the new
/// one. RULE-414
#[test]
fn a_slot_that_moves_leaves_one_gap_where_its_nodes_show_different_messages() {
    let mut world = World::sharded(OldChannels::Silent);
    world.announce(2, 0);
    assert_eq!(world.received(), [] as [&str; 0]);
    assert_eq!(world.carriers(), [3, 6379]);
    world.publish("1");
    assert_eq!(world.received(), ["gap", "1"]);
    assert_eq!(world.carriers(), [3, 6379], "another publisher may still be there");
    world.publish("2");
    assert_eq!(world.received(), ["2"]);
    world.fixture.with_server(|server, now| server.set_old_channels(now, OldChannels::End));
    assert_eq!(world.received(), [] as [&str; 0]);
    world.publish("3");
    assert_eq!(world.received(), ["3"]);
    assert_eq!(world.carriers(), [6379]);
}

/// The old node ends the subscription before anybody knows where the slot is: it goes on at the new one, behind one gap. RULE-369
#[test]
fn a_subscription_that_its_node_has_ended_goes_on_at_the_new_one() {
    for to in [0, 3] {
        let mut world = World::sharded(OldChannels::End);
        world.fixture.with_server(|server, _| server.add_node(world.nodes[3]));
        world.assign(to);
        assert_eq!(world.received(), ["gap"]);
        world.publish("1");
        assert_eq!(world.received(), ["1"]);
        assert_eq!(world.carriers(), [[6379, 2, 3, 4][to]]);
    }
}

/// A replica takes over, and shows what the primary of before shows as a replica. RULE-413
#[test]
fn a_replica_that_takes_over_leaves_no_gap() {
    let mut world = World::sharded(OldChannels::End);
    let replica = world.nodes[3];
    world.fixture.with_server(|server, now| {
        server.add_replica(replica, world.nodes[2]);
        server.promote(now, replica);
    });
    world.fixture.block_on(world.client.call(cmd("SET").arg(CHANNEL).arg(1))).unwrap();
    for number in 1..20 {
        world.publish(&number.to_string());
        assert_eq!(world.received(), [number.to_string()]);
    }
    assert_eq!(world.carriers(), [4]);
}

/// The slot moves on while what both nodes show lies unread: it is received once, and there is one gap for each move before which nothing has shown that
/// the node before is not needed. RULE-413, RULE-259
#[test]
fn a_slot_may_move_again_and_come_back() {
    let mut world = World::sharded(OldChannels::Shown);
    let mut received = Vec::new();
    for (number, (from, to)) in [(2, 0), (0, 1), (1, 2), (2, 0)].into_iter().enumerate() {
        world.announce(from, to);
        received.extend(world.received());
        // Both are subscribed to, and the next move comes.
        world.fixture.pass(SECOND);
        world.publish(&(number + 1).to_string());
        world.fixture.run();
    }
    received.extend(world.received());
    world.publish("5");
    received.extend(world.received());
    assert_eq!(received, ["1", "gap", "2", "gap", "3", "gap", "4", "5"]);
    assert_eq!(world.carriers(), [6379]);
}

/// The slot comes back before the client has subscribed at the other node: nobody has shown what was published there. RULE-369
#[test]
fn a_slot_that_comes_back_at_once_leaves_a_gap() {
    let mut world = World::sharded(OldChannels::Silent);
    world.assign(0);
    world.publish("1");
    world.assign(2);
    world.publish("2");
    let mut received = world.received();
    world.publish("2");
    world.publish("3");
    received.extend(world.received());
    assert_eq!(received, ["2", "gap", "2", "3"]);
    assert_eq!(world.carriers(), [3]);
}

/// The old node says nothing, and neither ends its connections: what the new one shows waits for a second, and later messages do not. RULE-255
#[test]
fn a_silent_node_withholds_messages_for_a_second_at_most() {
    let mut world = World::sharded(OldChannels::Shown);
    world.announce(2, 0);
    world.received();
    let old = world.nodes[2];
    world.fixture.with_server(|server, now| {
        for conn in server.connections(old) {
            server.stall(now, conn, now + SECOND * 5);
        }
    });
    world.publish("1");
    assert_eq!(world.received(), [] as [&str; 0], "the old one may have others to show before");
    world.fixture.pass(SECOND);
    assert_eq!(world.received(), ["gap", "1"]);
    world.publish("2");
    assert_eq!(world.received(), ["2"]);
    world.fixture.pass(SECOND * 5);
    let received = world.received();
    assert!(!received.iter().any(|item| item == "1" || item == "2"), "{received:?}");
    assert_eq!(world.carriers(), [6379], "it has shown them as well in the end");
}

/// The slot comes back while a topic that the caller had given up is on its way: it is subscribed to, and not taken for one that is there. RULE-258
#[test]
fn a_topic_that_comes_again_is_not_lost_with_the_way_back() {
    let mut world = World::sharded(OldChannels::Shown);
    let more = format!("{{{CHANNEL}}}more");
    let other = Topic::sharded(more.clone());
    world.fixture.block_on(world.news.subscribe([other.clone()])).unwrap();
    world.news.unsubscribe([other.clone()]);
    world.announce(2, 0);
    world.fixture.run();
    assert!(poll_once(world.news.next()).is_pending());
    assert!(matches!(poll_once(world.news.subscribe([other])), Poll::Ready(Ok(()))), "it is on its way");
    world.announce(0, 2);
    world.received();
    world.fixture.block_on(world.client.call(cmd("SPUBLISH").arg(&more).arg("more"))).unwrap();
    assert_eq!(world.received(), ["more"]);
}

/// The node refuses another topic because the slot has moved, and still shows what it has: it is left no sooner for that. RULE-258
#[test]
fn a_node_that_refuses_a_topic_goes_on_with_others() {
    let mut world = World::sharded(OldChannels::Shown);
    world.assign(0);
    let other = Topic::sharded(format!("{{{CHANNEL}}}more"));
    world.fixture.block_on(world.news.subscribe([other])).unwrap();
    world.publish("1");
    assert_eq!(world.received(), ["1", "gap"], "the gap says that the other topic has begun");
    assert_eq!(world.carriers(), [3, 6379]);
}

/// The client of the node was shut down, and that of the cluster was not: a topic more is subscribed to at another node. RULE-258
#[test]
fn a_topic_is_subscribed_to_where_its_node_was_closed() {
    let mut world = World::subscribed(Topic::channel(CHANNEL));
    let node = world.client.node_for(CHANNEL).unwrap();
    world.fixture.block_on(node.client().shutdown(Duration::ZERO));
    world.fixture.block_on(world.news.subscribe([Topic::channel("other")])).unwrap();
    let mut received = Vec::new();
    for _ in 0..5 {
        received.extend(world.received());
        world.fixture.pass(SECOND);
    }
    assert_eq!(received, ["gap", "gap"]);
    let publisher = world.client.node_for("bar").unwrap();
    world.fixture.block_on(publisher.client().call(cmd("PUBLISH").arg("other").arg("1"))).unwrap();
    assert_eq!(world.received(), ["1"]);
}

/// Topics come and go while both nodes are subscribed to. RULE-413
#[test]
fn topics_change_while_both_nodes_are_subscribed_to() {
    let mut world = World::sharded(OldChannels::Shown);
    world.announce(2, 0);
    world.received();
    let more = format!("{{{CHANNEL}}}more");
    let other = Topic::sharded(more.clone());
    let World { fixture, news, client, .. } = &mut world;
    fixture.block_on(news.subscribe([other])).unwrap();
    fixture.block_on(client.call(cmd("SPUBLISH").arg(&more).arg("more"))).unwrap();
    assert_eq!(world.received(), ["more"]);
    world.publish("1");
    world.publish("2");
    assert_eq!(world.received(), ["1", "2"]);
    assert_eq!(world.carriers(), [6379]);
    world.news.unsubscribe([Topic::sharded(CHANNEL)]);
    world.publish("3");
    let World { fixture, client, .. } = &mut world;
    fixture.block_on(client.call(cmd("SPUBLISH").arg(&more).arg("more again"))).unwrap();
    assert_eq!(world.received(), ["more again"]);
    // The slot moves on: what is left of the subscription goes with it.
    world.announce(0, 1);
    world.received();
    let World { fixture, client, .. } = &mut world;
    for payload in ["and again", "and more"] {
        fixture.block_on(client.call(cmd("SPUBLISH").arg(&more).arg(payload))).unwrap();
    }
    assert_eq!(world.received(), ["and again", "and more"]);
    assert_eq!(world.carriers(), [2]);
}

/// Nothing is left of a client whose subscription was between two nodes. INV-15
#[test]
fn a_subscription_between_two_nodes_leaves_nothing_behind() {
    let mut world = World::sharded(OldChannels::Shown);
    world.announce(2, 0);
    world.received();
    assert_eq!(world.carriers(), [3, 6379]);
    let World { mut fixture, client, news, .. } = world;
    drop((client, news));
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// What can become of the node that carries a subscription to an ordinary channel.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Dies,
    LosesItsLinks,
    Leaves,
    IsDemoted,
    LosesItsSlots,
    IsClosed,
}

/// Ordinary channels are on every node. Whatever becomes of the one that carries them, messages go on, none comes twice, and where one is missing a gap
/// stands. RULE-416, CLUSTER-23
#[test]
fn ordinary_channels_outlast_their_node() {
    use Fate::{Dies, IsClosed, IsDemoted, Leaves, LosesItsLinks, LosesItsSlots};

    for fate in [Dies, LosesItsLinks, Leaves, IsDemoted, LosesItsSlots, IsClosed] {
        let mut world = World::subscribed(Topic::channel(CHANNEL));
        let (nodes, carrier) = (world.nodes.clone(), world.nodes[2]);
        let node = world.client.node_for(CHANNEL).unwrap();
        world.fixture.with_server(|server, now| match fate {
            Dies => {
                server.refuse_dials(now, carrier, None);
                server.kill_all(now, carrier, CloseHow::Reset);
                server.assign_slots(now, 10923..=16383, nodes[0]);
            }
            LosesItsLinks => server.kill_all(now, carrier, CloseHow::Reset),
            Leaves => {
                server.assign_slots(now, 10923..=16383, nodes[0]);
                server.remove_node(now, carrier);
            }
            IsDemoted => {
                server.add_replica(nodes[3], carrier);
                server.promote(now, nodes[3]);
            }
            LosesItsSlots => server.assign_slots(now, 10923..=16383, nodes[0]),
            IsClosed => {}
        });
        if matches!(fate, IsClosed) {
            world.fixture.block_on(node.client().shutdown(Duration::ZERO));
        }
        let mut received = Vec::new();
        for number in 1..=120 {
            // A key of another node: the publisher is not the one whose node has gone.
            let publish = cmd("PUBLISH").arg(CHANNEL).arg(number);
            let publisher = world.client.node_for("bar").unwrap();
            world.fixture.block_on(publisher.client().call(publish)).unwrap();
            received.extend(world.received());
            world.fixture.pass(SECOND);
        }
        let mut next = 1;
        for (at, item) in received.iter().enumerate() {
            let Ok(number) = item.parse::<u32>() else { continue };
            let is_told =
                received[..at].iter().rev().take_while(|item| item.parse::<u32>().is_err()).count() > 0;
            assert!(number == next || (number > next && is_told), "{fate:?}: {received:?}");
            next = number + 1;
        }
        assert_eq!(next, 121, "{fate:?}: {received:?}");
        let gaps = received.iter().filter(|item| *item == "gap").count();
        assert!(gaps <= 2, "{fate:?}: {received:?}");
    }
}

/// The same where nobody reads meanwhile, and the server goes on with the subscription. RULE-369
#[test]
fn a_slot_that_has_come_back_before_anybody_reads_leaves_a_gap() {
    let mut world = World::sharded(OldChannels::Silent);
    world.announce(2, 0);
    world.fixture.pass(SECOND);
    world.publish("1");
    world.announce(0, 2);
    world.fixture.pass(SECOND);
    world.publish("2");
    let received = world.received();
    assert_eq!(received.iter().filter(|item| *item == "gap").count(), 1, "{received:?}");
    assert!(received.contains(&"2".to_owned()), "{received:?}");
    assert!(world.received().is_empty());
}
