use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A server with two connections to it. Each way is in order, and nothing else is: a server reads, and a client, when it pleases.
struct World {
    overlap: Option<Overlap>,
    /// All that was published, by key.
    published: BTreeMap<Key, Vec<Bytes>>,
    /// All that was delivered, by key.
    delivered: BTreeMap<Key, Vec<Bytes>>,
    old: Side,
    new: Side,
    ended: Option<Vec<Outcome>>,
    owed: BTreeMap<Key, VecDeque<Bytes>>,
    is_old_lost: bool,
    count: u32,
}

#[derive(Default)]
struct Side {
    subscribed: BTreeSet<Topic>,
    to_server: VecDeque<Request>,
    to_client: VecDeque<Shown>,
}

enum Request {
    Ping,
    Subscribe(Topic),
    Unsubscribe(Topic),
}

enum Shown {
    Pong,
    Confirmed(Topic),
    Message(Message),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Happening {
    /// The number of a channel and that of a payload.
    Publish(usize, u8),
    OldServes,
    NewServes,
    OldIsRead,
    NewIsRead,
    OldIsLost,
}

fn channel() -> Topic {
    Topic::from("a")
}

fn pattern() -> Topic {
    Topic::pattern("?")
}

impl World {
    fn new() -> Self {
        let topics: BTreeSet<Topic> = [channel(), pattern()].into();
        let old = Side { subscribed: topics.clone(), ..Side::default() };
        let mut world = Self {
            overlap: Some(Overlap::begin(topics)),
            published: BTreeMap::new(),
            delivered: BTreeMap::new(),
            old,
            new: Side::default(),
            ended: None,
            owed: BTreeMap::new(),
            is_old_lost: false,
            count: 0,
        };
        world.obey();
        world
    }

    fn run(happenings: &[Happening], payload: impl Fn(&Self, u8) -> Bytes) -> Self {
        let mut world = Self::new();
        for happening in happenings {
            world.happen(*happening, &payload);
        }
        // Nothing else is published until both are quiet, and the switch is made.
        while world.ended.is_none() || world.is_busy() {
            for happening in
                [Happening::OldServes, Happening::NewServes, Happening::OldIsRead, Happening::NewIsRead]
            {
                world.happen(happening, &payload);
            }
            world.switch();
        }
        for number in 0..2 {
            world.happen(Happening::Publish(number, 0), &payload);
            world.happen(Happening::NewIsRead, &payload);
            world.happen(Happening::NewIsRead, &payload);
        }
        world
    }

    fn is_busy(&self) -> bool {
        [&self.old, &self.new].iter().any(|side| !side.to_server.is_empty() || !side.to_client.is_empty())
    }

    fn happen(&mut self, happening: Happening, payload: &impl Fn(&Self, u8) -> Bytes) {
        match happening {
            Happening::Publish(number, which) => {
                self.count += 1;
                let payload = payload(self, which);
                self.publish(["a", "b"][number], payload);
            }
            Happening::OldServes => self.old.serve(),
            Happening::NewServes => self.new.serve(),
            Happening::OldIsRead => self.read_old(),
            Happening::NewIsRead => self.read_new(),
            Happening::OldIsLost => {
                self.is_old_lost = true;
                self.old = Side::default();
                if let Some(overlap) = &mut self.overlap {
                    overlap.give_up();
                }
            }
        }
        self.obey();
        if happening == Happening::OldIsLost && self.overlap.as_ref().is_some_and(Overlap::is_done) {
            self.switch();
        }
    }

    fn publish(&mut self, name: &str, payload: Bytes) {
        let topics = match name {
            "a" => vec![channel(), pattern()],
            _ => vec![pattern()],
        };
        for topic in topics {
            let message = Message::new(topic.clone(), name.to_owned(), payload.clone());
            self.published.entry(key(&message)).or_default().push(payload.clone());
            for side in [&mut self.old, &mut self.new] {
                if side.subscribed.contains(&topic) {
                    side.to_client.push_back(Shown::Message(message.clone()));
                }
            }
        }
    }

    fn read_old(&mut self) {
        let Some(shown) = self.old.to_client.pop_front() else { return };
        // Once it has switched, the client does not look at the old connection any more.
        let Some(overlap) = &mut self.overlap else { return };
        match shown {
            Shown::Pong => overlap.handle_old_pong(),
            Shown::Message(message) => {
                overlap.handle_old_message(&message);
                self.deliver(message);
            }
            Shown::Confirmed(_) => panic!("the old one subscribes to nothing more"),
        }
    }

    fn read_new(&mut self) {
        let Some(shown) = self.new.to_client.pop_front() else { return };
        match (shown, &mut self.overlap) {
            (Shown::Pong, Some(overlap)) => overlap.handle_new_pong(),
            (Shown::Confirmed(topic), Some(overlap)) => overlap.handle_confirmed(&topic),
            (Shown::Message(message), Some(overlap)) => {
                assert_eq!(overlap.handle_new_message(message), None);
            }
            (Shown::Message(message), None) => {
                let owed = self.owed.get_mut(&key(&message)).and_then(VecDeque::pop_front);
                if owed.is_none() {
                    self.deliver(message);
                }
            }
            // That to the ping which is written at the switch.
            (Shown::Pong, None) => self.settle_debts(),
            (Shown::Confirmed(_), None) => {}
        }
    }

    fn deliver(&mut self, message: Message) {
        self.delivered.entry(key(&message)).or_default().push(message.payload);
    }

    fn obey(&mut self) {
        while let Some(order) = self.overlap.as_mut().and_then(Overlap::poll_order) {
            match order {
                Order::PingOld => self.old.to_server.push_back(Request::Ping),
                Order::PingNew => self.new.to_server.push_back(Request::Ping),
                Order::Subscribe(topic) => self.new.to_server.push_back(Request::Subscribe(topic)),
                Order::SubscribeAgain(topic) => {
                    let both = [Request::Unsubscribe(topic.clone()), Request::Subscribe(topic)];
                    self.new.to_server.extend(both);
                }
            }
        }
    }

    fn switch(&mut self) {
        let Some(overlap) = self.overlap.take_if(|overlap| overlap.is_done()) else { return };
        let ended = overlap.end();
        for outcome in ended.clone() {
            match outcome {
                Outcome::Message(message) => self.deliver(message),
                Outcome::Owed(key, owed) => {
                    self.owed.insert(key, owed);
                }
                Outcome::Gap(_) | Outcome::Ambiguous(_) => {}
            }
        }
        self.new.to_server.push_back(Request::Ping);
        // What the client does at a gap.
        for topic in [channel(), pattern()] {
            if !self.new.subscribed.contains(&topic) {
                self.new.to_server.push_back(Request::Subscribe(topic));
            }
        }
        self.ended = Some(ended);
    }

    /// The new connection has shown all that was published before the switch. Where its place was known, that is all that it owed.
    fn settle_debts(&mut self) {
        for (key, owed) in std::mem::take(&mut self.owed) {
            assert!(owed.is_empty() || self.is_told(&key), "{key:?}: {owed:?}");
        }
    }

    /// Nothing is repeated or out of order, and nothing is missing without a word.
    fn check(&self) {
        for (key, published) in &self.published {
            let delivered = self.delivered.get(key).map(Vec::as_slice).unwrap_or_default();
            let mut rest = published.iter();
            let is_in_order = delivered.iter().all(|payload| rest.any(|other| other == payload));
            assert!(is_in_order, "{key:?}: {published:?} became {delivered:?}");
            if !self.is_told(key) {
                assert_eq!(delivered, published, "{key:?}");
            }
        }
        let has_gaps = self.outcomes().iter().any(|outcome| matches!(outcome, Outcome::Gap(_)));
        assert!(self.is_old_lost || !has_gaps, "a gap although nothing was lost");
    }

    fn outcomes(&self) -> &[Outcome] {
        self.ended.as_deref().expect("it has ended")
    }

    /// Whether it was said that messages of this key may be missing.
    fn is_told(&self, key: &Key) -> bool {
        self.outcomes().iter().any(|outcome| match outcome {
            Outcome::Gap(topic) => *topic == key.0,
            Outcome::Ambiguous(of) => of == key,
            Outcome::Message(_) | Outcome::Owed(..) => false,
        })
    }

    fn doubts(&self) -> usize {
        self.outcomes().iter().filter(|outcome| matches!(outcome, Outcome::Ambiguous(_))).count()
    }
}

impl Side {
    fn serve(&mut self) {
        match self.to_server.pop_front() {
            Some(Request::Ping) => self.to_client.push_back(Shown::Pong),
            Some(Request::Subscribe(topic)) => {
                self.subscribed.insert(topic.clone());
                self.to_client.push_back(Shown::Confirmed(topic));
            }
            Some(Request::Unsubscribe(topic)) => {
                self.subscribed.remove(&topic);
            }
            None => {}
        }
    }
}

fn key(message: &Message) -> Key {
    (message.topic.clone(), message.channel.clone())
}

/// Each message says which of all it is.
fn numbered(world: &World, _: u8) -> Bytes {
    Bytes::from(world.count.to_string())
}

/// Messages repeat each other.
fn repeated(_: &World, which: u8) -> Bytes {
    Bytes::copy_from_slice(&[which])
}

fn happening(loses: bool) -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0usize..2, b'x'..b'z').prop_map(|(channel, payload)| Happening::Publish(channel, payload)),
        2 => Just(Happening::OldServes),
        2 => Just(Happening::NewServes),
        4 => Just(Happening::OldIsRead),
        4 => Just(Happening::NewIsRead),
        u32::from(loses) => Just(Happening::OldIsLost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    /// Whatever the order in which two connections are served and read, no message is lost or repeated without a word, be all
    /// payloads equal, and where contents tell messages apart there is no doubt. INV-19, RULE-260
    #[test]
    fn a_warned_move_loses_and_repeats_nothing(happenings in prop::collection::vec(happening(false), 0..120)) {
        let world = World::run(&happenings, numbered);
        world.check();
        prop_assert_eq!(world.doubts(), 0);
        World::run(&happenings, repeated).check();
    }

    /// The same where the old connection is lost in the middle: what may be missing is named. RULE-261
    #[test]
    fn a_loss_in_the_middle_is_a_gap(happenings in prop::collection::vec(happening(true), 0..80)) {
        World::run(&happenings, numbered).check();
        World::run(&happenings, repeated).check();
    }
}

/// While nothing is published between P0 and Pm there is no doubt, however alike messages are. RULE-260
#[test]
fn a_quiet_moment_is_enough() {
    use Happening::{NewIsRead, NewServes, OldIsRead, OldServes, Publish};
    let mut happenings = vec![Publish(0, b'x'); 3];
    // P0, the subscriptions, and Pm.
    happenings
        .extend([OldServes, OldIsRead, OldIsRead, OldIsRead, OldIsRead, OldIsRead, OldIsRead, OldIsRead]);
    happenings.extend([NewServes, NewServes, NewIsRead, NewIsRead, OldServes, OldIsRead]);
    happenings.extend([Publish(0, b'x'); 5]);
    let world = World::run(&happenings, repeated);
    world.check();
    assert_eq!(world.doubts(), 0);
}

/// A key whose equal messages never pause is subscribed again five times; then nothing is repeated, and the doubt is told. RULE-262
#[test]
fn what_stays_in_doubt_is_told() {
    let mut world = World::new();
    let mut rounds = 0;
    while world.overlap.as_ref().is_some_and(|overlap| !overlap.is_done()) {
        world.publish("b", Bytes::from_static(b"x"));
        world.old.serve();
        world.new.serve();
        world.publish("b", Bytes::from_static(b"x"));
        while !world.old.to_client.is_empty() || !world.new.to_client.is_empty() {
            world.read_old();
            world.read_new();
        }
        rounds = rounds.max(world.overlap.as_ref().map_or(0, |overlap| overlap.rounds));
        world.obey();
    }
    world.switch();
    assert_eq!((rounds, world.doubts()), (1 + ROUNDS, 1));
    world.check();
}

/// What the new connection shows and the old one holds back is kept up to a limit, and then the switch is made. INV-14
#[test]
fn what_is_kept_is_bounded() {
    let mut overlap = Overlap::begin([channel()].into());
    overlap.handle_old_pong();
    overlap.handle_confirmed(&channel());
    let message = Message::new(channel(), "a", "x");
    for _ in 0..=KEPT {
        assert!(!overlap.is_done());
        assert_eq!(overlap.handle_new_message(message.clone()), None);
    }
    assert!(overlap.is_done());
    assert_eq!(overlap.end()[0], Outcome::Gap(channel()));
}

/// A topic that nobody wants any more holds nothing up, and nothing of it is delivered.
#[test]
fn a_topic_may_go_during_the_overlap() {
    let mut overlap = Overlap::begin([channel(), pattern()].into());
    overlap.handle_old_pong();
    overlap.handle_confirmed(&channel());
    overlap.forget(&pattern());
    overlap.handle_new_message(Message::new(channel(), "a", "x"));
    for _ in 0..2 {
        overlap.handle_old_pong();
    }
    overlap.handle_new_pong();
    assert!(overlap.is_done());
    assert_eq!(overlap.end(), [Outcome::Message(Message::new(channel(), "a", "x"))]);
}
