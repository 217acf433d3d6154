use proptest::prelude::*;

use super::*;

/// Something that happens, to whichever node, request or question.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Ready(usize),
    Fail(usize),
    Answer(usize),
    NoAnswer,
    Refuse { slot: u16, refusal: usize, ago: u64 },
    Unsent { slot: u16 },
    Migrated { seq: u64, slot: u16, to: usize },
    Moving { node: usize, to: usize },
    ReadonlyRefused(usize),
}

const ADDRESSES: [&str; 6] =
    ["10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000", "10.0.0.4:7000", "10.0.0.5:7000", "10.0.0.6:7000"];

fn step() -> impl Strategy<Value = Step> {
    let slot = || prop_oneof![0..3u16, Just(6_000), Just(16_383)];
    prop_oneof![
        4 => prop_oneof![20 => 0..30u64, 20 => 200..400u64, 20 => 2_000..80_000u64, 1 => Just(3_600_000)].prop_map(Step::Wait),
        5 => (0..6usize).prop_map(Step::Ready),
        2 => (0..6usize).prop_map(Step::Fail),
        5 => (0..10usize).prop_map(Step::Answer),
        1 => Just(Step::NoAnswer),
        4 => (slot(), 0..12usize, prop_oneof![4 => 0..500u64, 1 => 500..100_000u64]).prop_map(|(slot, refusal, ago)| Step::Refuse { slot, refusal, ago }),
        2 => slot().prop_map(|slot| Step::Unsent { slot }),
        3 => (0..9u64, slot(), 0..6usize).prop_map(|(seq, slot, to)| Step::Migrated { seq, slot, to }),
        1 => (0..6usize, 0..6usize).prop_map(|(node, to)| Step::Moving { node, to }),
        1 => (0..6usize).prop_map(Step::ReadonlyRefused),
    ]
}

fn answers() -> [Frame; 10] {
    [
        three_shards(),
        slots(&[(0, 5_460, &[D, A]), (5_461, 10_922, &[B]), (10_923, 16_383, &[C])]),
        slots(&[(0, 16_383, &[B])]),
        slots(&[(0, 1, &["10.0.0.5:7000"]), (2, 16_000, &["e@10.0.0.6:7000", A])]),
        slots(&[(0, 5_460, &["b@10.0.0.1:7000"]), (5_461, 16_383, &["a@10.0.0.2:7000", "c@?:1"])]),
        slots(&[(0, 99, &["a@-:7000"]), (100, 16_383, &["b@-:7001", "c@-:7002"])]),
        slots(&[(0, 16_383, &["b@10.0.0.5:7000", "a@10.0.0.2:7000"])]),
        slots(&[]),
        slots(&[(0, 16_383, &["x@10.0.0.1:7000"])]),
        Frame::error("ERR no"),
    ]
}

fn refusals() -> [&'static str; 12] {
    [
        "MOVED 0 10.0.0.1:7000",
        "MOVED 1 10.0.0.2:7000",
        "MOVED 2 10.0.0.4:7000",
        "MOVED 6000 10.0.0.5:7000",
        "MOVED 16383 :7001",
        "MOVED 2 ?:7001",
        "ASK 0 10.0.0.6:7000",
        "ASK 0 :7002",
        "TRYAGAIN",
        "CLUSTERDOWN",
        "READONLY",
        "MOVED",
    ]
}

impl World {
    fn take(&mut self, step: Step) {
        let nth = |world: &Self, nth: usize| world.open.keys().nth(nth).copied();
        match step {
            Step::Wait(millis) => self.pass(Duration::from_millis(millis)),
            Step::Ready(at) => {
                let Some(node) = nth(self, at) else { return };
                self.tell(|cluster, now| cluster.handle_node_ready(now, node));
            }
            Step::Fail(at) => {
                let Some(node) = nth(self, at) else { return };
                self.fail(node);
            }
            Step::Answer(which) => {
                let decided = self.decided.len();
                let late = self.late.pop();
                let Some((query, ..)) = late.or_else(|| self.asked.pop()) else { return };
                self.tell(|cluster, now| cluster.handle_topology(now, query, &answers()[which]));
                assert!(late.is_none() || self.decided.len() == decided, "it is of a closed node");
            }
            Step::NoAnswer => {
                let Some((query, ..)) = self.asked.pop() else { return };
                self.tell(|cluster, now| cluster.handle_topology_failed(now, query));
            }
            Step::Refuse { slot, refusal, ago } => {
                let sent = Sent { sent_at: self.now - Duration::from_millis(ago), ..self.sent_or_read(slot) };
                match self.refuse(&sent, refusals()[refusal]) {
                    Next::Resend { node, .. } => assert!(self.open.contains_key(&node), "{node} is not open"),
                    Next::Route { .. } | Next::ReturnToCaller => {}
                }
            }
            Step::Unsent { slot } => {
                let sent = self.sent_or_read(slot);
                let next = self.tell(|cluster, now| cluster.handle_unsent(now, &sent));
                // It is sent nowhere in a ring.
                match sent.kind {
                    SentKind::Read => assert_eq!(resent(next).0, self.owner(slot).unwrap()),
                    _ => assert!(!waits(next).0.is_zero()),
                }
            }
            Step::Migrated { seq, slot, to } => {
                let Some(node) = nth(self, 0) else { return };
                let slots = SlotSet::parse(&slot.to_string()).unwrap();
                let moved = SlotMove { source: None, target: endpoint(ADDRESSES[to]), slots };
                let seq = crate::notification::Seq(seq);
                let notification = Notification::SlotsMigrated { seq, moves: vec![moved], skipped: 0 };
                self.tell(|cluster, now| cluster.handle_notification(now, node, &notification));
            }
            Step::ReadonlyRefused(at) => {
                let Some(node) = nth(self, at) else { return };
                self.tell(|cluster, now| cluster.handle_readonly_refused(now, node));
            }
            Step::Moving { node, to } => {
                let Some(node) = nth(self, node) else { return };
                self.notify(node, &["MOVING", "1", "9", ADDRESSES[to]]);
            }
        }
    }
}

impl World {
    /// A request for `slot` that is sent now: a read if a replica may have it.
    fn sent_or_read(&self, slot: u16) -> Sent {
        let sent = self.sent(slot);
        match self.table.replica_for(slot) {
            Some(replica) => Sent { node: Some(replica), kind: SentKind::Read, ..sent },
            None => sent,
        }
    }
}

#[cfg(feature = "explore")]
impl World {
    fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hasher};

        let mut hasher = DefaultHasher::new();
        self.cluster.fingerprint(self.now, &mut hasher);
        hasher.finish()
    }
}

/// What decides the future counts, and what only tells of the past does not.
#[cfg(feature = "explore")]
#[test]
fn a_fingerprint_is_about_what_the_machine_will_do() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let before = world.fingerprint();
    let sent = world.sent(7);
    let _ = world.refuse(&sent, "TRYAGAIN");
    assert_eq!(world.fingerprint(), before, "a figure alone");
    let _ = world.refuse(&sent, "MOVED 7 10.0.0.2:7000");
    assert_ne!(world.fingerprint(), before);
}

proptest! {
    /// Whatever happens: tables lead to open nodes only, one question is open at a time, what is closed was open, no timer is stuck
    /// (`World::obey` checks all of that), and once nodes answer again, the map is theirs. RULE-342, INV-11, INV-13
    #[test]
    fn whatever_happens_the_cluster_is_found_again(reads_copies: bool, steps in proptest::collection::vec(step(), 0..60)) {
        let settings = || Settings::builder().open_replicas(reads_copies).build().unwrap();
        let mut world = World::new(settings(), &["10.0.0.1:7000", "redis.example.com:7000"]);
        let mut twin = World { now: world.now, ..World::new(settings(), &["10.0.0.1:7000", "redis.example.com:7000"]) };
        for world in [&mut world, &mut twin] {
            world.tell(|cluster, now| cluster.handle_start(now));
            steps.iter().cloned().for_each(|step| world.take(step));
        }
        prop_assert_eq!(&world.decided, &twin.decided);
        #[cfg(feature = "explore")]
        prop_assert_eq!(world.fingerprint(), twin.fingerprint());
        // From now on all is well, node by node.
        world.asked.clear();
        while let Some(node) = world.open.keys().copied().find(|node| !world.cluster.nodes.is_ready(*node)) {
            world.tell(|cluster, now| cluster.handle_node_ready(now, node));
            while !world.asked.is_empty() {
                world.answer(&three_shards());
            }
            world.pass(100 * MILLI);
        }
        world.pass_in_peace(400 * SECOND, &three_shards());
        let addresses = ["10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"];
        let owners = [0, 6_000, 16_000].map(|slot| world.owner(slot).and_then(|owner| world.cluster.endpoint(owner).cloned()));
        prop_assert_eq!(owners, addresses.map(|address| Some(endpoint(address))));
        prop_assert_eq!(world.open.len(), 3 + usize::from(reads_copies), "{:?}", world.open);
        if reads_copies {
            // Connected anew, it is asked anew.
            let replica = world.table.replicas_of(0)[0];
            world.fail(replica);
            world.tell(|cluster, now| cluster.handle_node_ready(now, replica));
            prop_assert_eq!(world.table.replica_for(0), Some(replica));
        }
        prop_assert_eq!(world.cluster.stats().nodes, 4);
    }
}
