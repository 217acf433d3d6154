use proptest::prelude::*;

use super::*;

const CAUSE: CloseCause = CloseCause::ByServer;

fn topic(name: &str) -> Topic {
    Topic::sharded(name.to_owned())
}

fn message(name: &str, payload: &str) -> Item {
    Item::Message(Message::new(topic(name), name.to_owned(), payload.to_owned()))
}

/// A crossing of the channel `a`.
fn crossing() -> Crossing {
    Crossing::begin(&[topic("a")].into())
}

/// Both nodes are subscribed to, and the old one has answered.
fn settled() -> Crossing {
    let mut crossing = crossing();
    crossing.handle_confirmed(&[topic("a")].into());
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_answer();
    assert_eq!(crossing.poll_order(), None);
    crossing
}

/// What is received: payloads, and the kinds of other items.
fn received(crossing: &mut Crossing) -> Vec<String> {
    std::iter::from_fn(|| crossing.poll_item()).map(text).collect()
}

fn text(item: Item) -> String {
    match item {
        Item::Message(message) => String::from_utf8_lossy(&message.payload).into_owned(),
        Item::Gap { .. } => "gap".to_owned(),
        Item::Ambiguous { .. } => "ambiguous".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Whichever node is faster: the second message that both show, after the old one has answered, says that the new one goes on. RULE-413
#[test]
fn nodes_that_show_the_same_leave_no_gap() {
    for new_is_faster in [false, true] {
        let mut crossing = settled();
        if new_is_faster {
            crossing.handle_new(message("a", "1"));
            assert_eq!(crossing.poll_order(), Some(Order::Ping));
            assert!(received(&mut crossing).is_empty(), "the old one may show what was published before");
            crossing.handle_old(message("a", "1"));
            crossing.handle_new(message("a", "2"));
            crossing.handle_old(message("a", "2"));
        } else {
            crossing.handle_old(message("a", "1"));
            crossing.handle_old(message("a", "2"));
            crossing.handle_old(message("a", "3"));
            crossing.handle_new(message("a", "1"));
            assert_eq!(crossing.poll_order(), None, "one message may be another one of equal contents");
            crossing.handle_new(message("a", "2"));
        }
        assert_eq!(crossing.poll_order(), Some(Order::Leave));
        for payload in ["3", "4"] {
            crossing.handle_new(message("a", payload));
        }
        assert_eq!(received(&mut crossing), ["1", "2", "3", "4"]);
        assert!(crossing.is_over());
    }
}

/// A slot goes from shard to shard: what the new node shows is behind what the old one has, and one gap is between them. RULE-414
#[test]
fn nodes_that_show_different_messages_have_one_gap() {
    let mut crossing = settled();
    crossing.handle_old(message("a", "1"));
    crossing.handle_new(message("a", "3"));
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_old(message("a", "2"));
    crossing.handle_new(message("a", "4"));
    assert_eq!(received(&mut crossing), ["1", "2"]);
    crossing.handle_answer();
    assert_eq!(received(&mut crossing), ["gap", "3"], "the other one has come since");
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_old(message("a", "of another publisher"));
    crossing.handle_old_end(CAUSE);
    assert_eq!(received(&mut crossing), ["of another publisher", "4"]);
    crossing.handle_answer();
    crossing.handle_new(message("a", "5"));
    assert_eq!(received(&mut crossing), ["5"]);
    assert!(crossing.is_over());
}

/// The old node ends first: one gap for each topic, also for one that was added on the way. RULE-414
#[test]
fn an_end_before_the_new_node_has_confirmed_is_a_gap() {
    let mut crossing = crossing();
    crossing.handle_old(message("a", "1"));
    crossing.handle_old_end(CAUSE);
    assert_eq!(received(&mut crossing), ["1"]);
    crossing.handle_confirmed(&[topic("a"), topic("b")].into());
    assert_eq!(received(&mut crossing), ["gap", "gap"]);
    assert_eq!(crossing.poll_order(), None);
    crossing.handle_new(message("a", "2"));
    crossing.handle_new(message("b", "3"));
    assert_eq!(received(&mut crossing), ["2", "3"]);
    assert!(crossing.is_over());
}

/// What the old node has shown is not repeated by the new one, whatever becomes of the old one. RULE-413
#[test]
fn what_the_old_node_has_shown_is_not_repeated() {
    let mut crossing = settled();
    for payload in ["1", "2"] {
        crossing.handle_old(message("a", payload));
    }
    crossing.handle_old_end(CAUSE);
    assert!(!crossing.is_over(), "the new one may still show them");
    for payload in ["1", "2", "3"] {
        crossing.handle_new(message("a", payload));
    }
    assert_eq!(received(&mut crossing), ["1", "2", "gap", "3"]);
    assert!(crossing.is_over());
}

/// Contents that come again prove nothing: both nodes are received from until the old one ends, and what may be missing is told. RULE-415
#[test]
fn equal_contents_prove_nothing() {
    let mut crossing = settled();
    for _ in 0..3 {
        crossing.handle_old(message("a", "tick"));
    }
    crossing.handle_new(message("a", "tick"));
    crossing.handle_new(message("a", "tick"));
    assert_eq!(crossing.poll_order(), None);
    crossing.handle_old_end(CAUSE);
    assert_eq!(received(&mut crossing), ["tick", "tick", "tick", "gap"]);
    crossing.handle_new(message("a", "tick"));
    assert_eq!(received(&mut crossing), ["ambiguous"]);
    crossing.handle_new(message("a", "tick"));
    assert_eq!(received(&mut crossing), ["tick"]);
}

/// A publisher with the map of before and one with that of now send the same heartbeats: what the old node shows is not lost. RULE-418
#[test]
fn one_equal_message_proves_nothing() {
    let mut crossing = settled();
    crossing.handle_old(message("a", "tick"));
    crossing.handle_new(message("a", "tick"));
    assert_eq!(crossing.poll_order(), None);
    crossing.handle_old(message("a", "1"));
    crossing.handle_new(message("a", "2"));
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_answer();
    assert_eq!(received(&mut crossing), ["tick", "1", "gap", "2"], "the gap tells of the other tick");
    crossing.handle_old(message("a", "tock"));
    crossing.handle_new(message("a", "tock"));
    assert_eq!(crossing.poll_order(), Some(Order::Leave), "two are proof");
    assert_eq!(received(&mut crossing), ["tock"]);
}

/// Behind the proof the new node has to repeat what the old one has shown, whatever its contents: nothing is told. RULE-418
#[test]
fn nothing_is_told_behind_the_proof() {
    let mut crossing = settled();
    for payload in ["1", "2", "tick", "tick", "3"] {
        crossing.handle_old(message("a", payload));
    }
    crossing.handle_new(message("a", "1"));
    crossing.handle_new(message("a", "2"));
    assert_eq!(crossing.poll_order(), Some(Order::Leave));
    for payload in ["tick", "tick", "3", "4"] {
        crossing.handle_new(message("a", payload));
    }
    assert_eq!(received(&mut crossing), ["1", "2", "tick", "tick", "3", "4"]);
}

/// An old node that does not answer holds nothing up, and proves nothing; one that is heard of again is asked again. RULE-255
#[test]
fn a_silent_node_withholds_nothing() {
    let mut crossing = crossing();
    crossing.handle_confirmed(&[topic("a")].into());
    crossing.handle_new(message("a", "1"));
    assert_eq!(received(&mut crossing), [] as [&str; 0]);
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_no_answer();
    assert_eq!(received(&mut crossing), ["gap", "1"]);
    crossing.handle_new(message("a", "2"));
    assert_eq!(received(&mut crossing), ["2"]);
    assert_eq!(crossing.poll_order(), Some(Order::Ping), "it may answer again");
    crossing.handle_old(message("a", "1"));
    crossing.handle_old(message("a", "2"));
    assert_eq!(crossing.poll_order(), None, "it has not answered since both are subscribed to");
    received(&mut crossing);
    crossing.handle_new(message("a", "3"));
    assert_eq!(received(&mut crossing), [] as [&str; 0], "it has been heard of again");
    crossing.handle_answer();
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_answer();
    assert_eq!(received(&mut crossing), ["3"]);
}

/// What is no message keeps its place among those of its node, and a topic that nobody wants any more does not come. RULE-414
#[test]
fn other_items_keep_their_places() {
    let mut crossing = Crossing::begin(&[topic("a"), topic("b")].into());
    crossing.handle_confirmed(&[topic("a"), topic("b")].into());
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_new(message("a", "1"));
    crossing.handle_new(Item::Lagged(7));
    crossing.handle_new(message("b", "2"));
    crossing.handle_new(message("of a topic since", "3"));
    assert_eq!(received(&mut crossing), ["3"]);
    crossing.forget(&topic("b"));
    crossing.handle_answer();
    assert_eq!(received(&mut crossing), [] as [&str; 0], "they came behind the PING");
    assert_eq!(crossing.poll_order(), Some(Order::Ping));
    crossing.handle_answer();
    assert_eq!(received(&mut crossing), ["gap", "1", "Lagged(7)"]);
}

/// What is kept is bounded, however long both go on. INV-14
#[test]
fn what_is_kept_is_bounded() {
    let mut crossing = settled();
    for number in 0..3 * KEPT {
        crossing.handle_old(message("a", &format!("old {number}")));
    }
    let stream = &crossing.streams[&topic("a")];
    assert_eq!((stream.owed.len(), stream.shown[OLD].len()), (KEPT, KEPT));
    assert!(crossing.prefers_new());
    received(&mut crossing);
    for number in 0..3 * KEPT {
        crossing.handle_new(message("a", &format!("new {number}")));
    }
    assert_eq!((crossing.held.len(), crossing.streams[&topic("a")].ahead.len()), (KEPT, KEPT));
    let received = received(&mut crossing);
    assert_eq!((received.len(), &received[0][..], &received[1][..]), (2 * KEPT + 1, "gap", "new 0"));
}

/// The new node is heard first while half of what is kept is owed. RULE-256
#[test]
fn a_new_node_that_is_behind_is_heard_first() {
    let mut crossing = settled();
    for number in 0..KEPT / 2 {
        assert!(!crossing.prefers_new());
        crossing.handle_old(message("a", &number.to_string()));
    }
    assert!(crossing.prefers_new());
    crossing.handle_new(message("a", "0"));
    assert!(!crossing.prefers_new());
}

/// Two servers with a connection to each. Each way is in order, and nothing else is.
struct World {
    crossing: Crossing,
    /// Both show each message.
    copies: bool,
    /// The old one shows what the new one does, but later.
    lags: bool,
    old: Side,
    new: Side,
    /// All that was published, with whether it was at the new node.
    published: Vec<(Item, bool)>,
    received: Vec<Item>,
    is_left: bool,
    has_ended: bool,
    /// How many were published before the new node was subscribed to.
    lost_before: usize,
}

#[derive(Default)]
struct Side {
    is_subscribed: bool,
    /// PINGs, and the SSUBSCRIBE at the new node.
    to_server: usize,
    /// Items of the new node that the crossing has not been told of yet.
    behind: VecDeque<Item>,
    to_client: VecDeque<Shown>,
}

enum Shown {
    Answer,
    Item(Item),
    End,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Publish {
        channel: usize,
        payload: u8,
        at_new: bool,
    },
    OldServes,
    NewServes,
    OldIsRead,
    NewIsRead,
    OldEnds,
    /// Nobody waits any more for the answer that the old node owes.
    NoAnswer,
    /// The old node hears of what was published at the new one.
    OldCatchesUp,
}

/// What the messages of a run contain.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Contents {
    /// None comes again.
    Unique,
    /// Three, again and again.
    Repeated,
    /// A heartbeat, and what does not come again.
    Heartbeats,
}

const CHANNELS: [&str; 2] = ["a", "b"];

impl World {
    fn new(copies: bool) -> Self {
        let topics = CHANNELS.map(topic).into();
        Self {
            crossing: Crossing::begin(&topics),
            copies,
            lags: false,
            old: Side { is_subscribed: true, ..Side::default() },
            new: Side { to_server: 1, ..Side::default() },
            published: Vec::new(),
            received: Vec::new(),
            is_left: false,
            has_ended: false,
            lost_before: 0,
        }
    }

    fn run(copies: bool, happenings: &[Happening], contents: Contents) -> Self {
        Self::new(copies).go(happenings, contents)
    }

    fn go(mut self, happenings: &[Happening], contents: Contents) -> Self {
        for happening in happenings {
            self.happen(*happening, contents);
        }
        self.settle();
        if !self.copies {
            self.happen(Happening::OldEnds, Contents::Unique);
        }
        for channel in [0, 1, 0, 1] {
            self.happen(Happening::Publish { channel, payload: 200, at_new: true }, Contents::Unique);
            self.settle();
        }
        self
    }

    /// Nothing else is published until everything has come.
    fn settle(&mut self) {
        let is_busy =
            |side: &Side| side.to_server > 0 || !side.to_client.is_empty() || !side.behind.is_empty();
        while is_busy(&self.old) || is_busy(&self.new) {
            for happening in [
                Happening::NewServes,
                Happening::OldCatchesUp,
                Happening::OldServes,
                Happening::OldIsRead,
                Happening::NewIsRead,
            ] {
                self.happen(happening, Contents::Unique);
            }
        }
    }

    fn happen(&mut self, happening: Happening, contents: Contents) {
        match happening {
            Happening::Publish { channel, payload, at_new } => {
                let payload = match contents {
                    Contents::Repeated => payload.to_string(),
                    Contents::Heartbeats if payload == 0 => "tick".to_owned(),
                    Contents::Unique | Contents::Heartbeats => format!("message {}", self.published.len()),
                };
                self.publish(&message(CHANNELS[channel], &payload), at_new);
            }
            Happening::OldServes if self.old.to_server > 0 => {
                self.old.to_server -= 1;
                self.old.to_client.push_back(Shown::Answer);
            }
            Happening::NewServes if self.new.to_server > 0 => {
                self.new.to_server -= 1;
                self.new.is_subscribed = true;
                self.lost_before = self.published.len();
                self.new.to_client.push_back(Shown::Answer);
            }
            Happening::OldIsRead => match self.old.to_client.pop_front() {
                Some(Shown::Answer) => self.crossing.handle_answer(),
                Some(Shown::Item(item)) => self.crossing.handle_old(item),
                Some(Shown::End) => self.crossing.handle_old_end(CAUSE),
                None => {}
            },
            Happening::NewIsRead => match self.new.to_client.pop_front() {
                Some(Shown::Item(item)) => self.crossing.handle_new(item),
                Some(Shown::Answer | Shown::End) => {
                    self.crossing.handle_confirmed(&CHANNELS.map(topic).into())
                }
                None => {}
            },
            Happening::OldEnds if self.old.is_subscribed => {
                self.old.is_subscribed = false;
                self.has_ended = true;
                self.old.to_client.push_back(Shown::End);
            }
            Happening::NoAnswer => {
                let is_answer = |shown: &Shown| matches!(shown, Shown::Answer);
                match self.old.to_client.iter().position(is_answer) {
                    Some(at) => drop(self.old.to_client.remove(at)),
                    None if self.old.to_server > 0 => self.old.to_server -= 1,
                    None => return,
                }
                self.crossing.handle_no_answer();
                assert!(self.crossing.held.is_empty(), "it waits for nobody");
            }
            Happening::OldCatchesUp => {
                if let Some(item) = self.old.behind.pop_front()
                    && self.old.is_subscribed
                {
                    self.old.to_client.push_back(Shown::Item(item));
                }
            }
            Happening::OldServes | Happening::NewServes | Happening::OldEnds => {}
        }
        self.obey();
    }

    fn publish(&mut self, item: &Item, at_new: bool) {
        let at_new = at_new || self.has_ended;
        self.published.push((item.clone(), at_new));
        if self.new.is_subscribed && (self.copies || at_new) {
            self.new.to_client.push_back(Shown::Item(item.clone()));
        }
        if self.old.is_subscribed && self.lags {
            self.old.behind.push_back(item.clone());
        } else if self.old.is_subscribed && (self.copies || !at_new) {
            self.old.to_client.push_back(Shown::Item(item.clone()));
        }
    }

    fn obey(&mut self) {
        while let Some(order) = self.crossing.poll_order() {
            match order {
                Order::Ping => self.old.to_server += 1,
                Order::Leave => (self.old, self.is_left) = (Side::default(), true),
            }
        }
        self.received.extend(std::iter::from_fn(|| self.crossing.poll_item()));
    }

    /// What was received of a channel.
    fn received(&self, name: &str) -> Vec<String> {
        let is_it = |item: &&Item| topic_of(item) == Some(&topic(name));
        self.received.iter().filter(is_it).cloned().map(text).collect()
    }

    /// What was published to a channel, at the nodes that are meant.
    fn texts(&self, name: &str, is_meant: impl Fn(bool) -> bool) -> Vec<String> {
        let published = self.published(name).into_iter();
        published.filter(|(_, at_new, _)| is_meant(*at_new)).map(|(text, ..)| text).collect()
    }

    /// What was published to a channel, with whether it was at the new node, and whether that was subscribed to.
    fn published(&self, name: &str) -> Vec<(String, bool, bool)> {
        let all = self.published.iter().enumerate();
        let is_it = |(_, (item, _)): &(usize, &(Item, bool))| topic_of(item) == Some(&topic(name));
        all.filter(is_it)
            .map(|(at, (item, at_new))| (text(item.clone()), *at_new, at >= self.lost_before))
            .collect()
    }
}

fn happenings(may_end: bool, may_be_silent: bool) -> impl Strategy<Value = Vec<Happening>> {
    let publish = (0usize..2, 0u8..3, any::<bool>())
        .prop_map(|(channel, payload, at_new)| Happening::Publish { channel, payload, at_new });
    let happening = prop_oneof![
        6 => publish,
        2 => Just(Happening::OldServes),
        2 => Just(Happening::NewServes),
        4 => Just(Happening::OldIsRead),
        4 => Just(Happening::NewIsRead),
        2 => Just(Happening::OldCatchesUp),
        u32::from(may_end) => Just(Happening::OldEnds),
        u32::from(may_be_silent) => Just(Happening::NoAnswer),
    ];
    prop::collection::vec(happening, 0..80)
}

fn is_told(item: &str) -> bool {
    item == "gap" || item == "ambiguous"
}

/// Whether `received` is made of `sequences`, each in its order and without what is told to be missing: between two messages of one sequence that it
/// lacks others of, and in front of its first one, something says so.
fn holes_are_told(received: &[String], sequences: &[Vec<String>]) -> bool {
    // How far each sequence may have come, and whether something was told since.
    let mut places = BTreeSet::from([vec![(0, false); sequences.len()]]);
    for item in received {
        let mut next = BTreeSet::new();
        for place in places {
            if is_told(item) {
                next.insert(place.iter().map(|(at, _)| (*at, true)).collect());
                continue;
            }
            for (number, sequence) in sequences.iter().enumerate() {
                let (from, told) = place[number];
                let to = if told { sequence.len() } else { sequence.len().min(from + 1) };
                for at in (from..to).filter(|at| sequence[*at] == *item) {
                    let mut place = place.clone();
                    place[number] = (at + 1, false);
                    next.insert(place);
                }
            }
        }
        places = next;
    }
    let is_whole = |place: &Vec<(usize, bool)>| {
        place.iter().zip(sequences).all(|((at, told), sequence)| *told || *at == sequence.len())
    };
    places.iter().any(is_whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Nodes that show one sequence: all of it is received once and in order, and no gap is told, unless the old one ends too early; it is left
    /// in the end. Where something is missing, a gap stands there, and it is the only one. RULE-413, RULE-414
    #[test]
    fn one_sequence_is_received_once(happenings in happenings(true, false)) {
        let world = World::run(true, &happenings, Contents::Unique);
        for name in CHANNELS {
            let received = world.received(name);
            let published = world.texts(name, |_| true);
            if world.has_ended {
                prop_assert!(holes_are_told(&received, std::slice::from_ref(&published)), "{received:?} of {published:?}");
                prop_assert!(received.iter().filter(|item| *item == "gap").count() <= 1, "{:?}", received);
            } else {
                prop_assert_eq!(&received, &published);
            }
        }
        prop_assert!(world.is_left || world.has_ended);
    }

    /// Nodes that show different messages: all that either shows is received, one gap stands in front of what the new one has shown, and what was
    /// published at the old one before stands before it. RULE-414
    #[test]
    fn two_sequences_are_joined_behind_one_gap(happenings in happenings(true, false)) {
        let world = World::run(false, &happenings, Contents::Unique);
        for name in CHANNELS {
            let received = world.received(name);
            let published = world.published(name);
            let place = |text: &String| received.iter().position(|other| other == text);
            prop_assert_eq!(received.iter().filter(|item| is_told(item)).count(), 1, "{:?}", received);
            let gap = place(&"gap".to_owned()).unwrap();
            let shown = published.iter().filter(|(_, at_new, is_shown)| *is_shown || !*at_new);
            let shown: Vec<_> = shown.map(|(text, at_new, _)| (place(text), *at_new)).collect();
            prop_assert_eq!(shown.len() + 1, received.len(), "{:?} of {:?}", &received, &published);
            for (at, (earlier, was_at_new)) in shown.iter().enumerate() {
                prop_assert!(earlier.is_some() && (!was_at_new || earlier > &Some(gap)));
                for (later, at_new) in &shown[at + 1..] {
                    prop_assert!(earlier < later || (*was_at_new && !at_new), "{:?} of {:?}", &received, &published);
                }
            }
        }
    }

    /// Contents that come again: nothing comes more often than it was published, or in another order, and where one is missing that is told. RULE-415
    #[test]
    fn equal_contents_are_told_where_they_matter(happenings in happenings(false, false)) {
        let world = World::run(true, &happenings, Contents::Repeated);
        for name in CHANNELS {
            let (received, published) = (world.received(name), world.texts(name, |_| true));
            prop_assert!(holes_are_told(&received, std::slice::from_ref(&published)), "{received:?} of {published:?}");
        }
    }

    /// Nodes that show different messages, with a heartbeat at each: none counts as proof, and where one is missing that is told, also where the old
    /// node does not answer. RULE-418, RULE-255
    #[test]
    fn heartbeats_of_two_sequences_are_told(happenings in happenings(true, true)) {
        let world = World::run(false, &happenings, Contents::Heartbeats);
        prop_assert!(!world.is_left);
        for name in CHANNELS {
            let received = world.received(name);
            let sequences = [false, true].map(|side| world.texts(name, |at_new| at_new == side));
            prop_assert!(holes_are_told(&received, &sequences), "{received:?} of {sequences:?}");
        }
    }

    /// An old node that does not answer, or shows later what the new one does: nothing waits for it, nothing comes twice, all that either has shown is
    /// received, and a gap tells what is not. RULE-255
    #[test]
    fn a_slow_node_repeats_nothing(happenings in happenings(true, true), lags: bool, copies: bool) {
        let world = World { lags: lags && copies, ..World::new(copies) }.go(&happenings, Contents::Unique);
        for name in CHANNELS {
            let (received, published) = (world.received(name), world.texts(name, |_| true));
            let messages: Vec<&String> = received.iter().filter(|item| !is_told(item)).collect();
            let different: BTreeSet<&String> = messages.iter().copied().collect();
            prop_assert_eq!(messages.len(), different.len(), "{:?}", received);
            let gaps = received.iter().filter(|item| *item == "gap").count();
            prop_assert!(gaps <= 1, "{:?}", received);
            prop_assert!(gaps == 1 || different.len() == published.len(), "{received:?} of {published:?}");
        }
    }
}
