//! A sharded subscription on its way from the node that has served its slot to the one that serves it now, while both are subscribed to.
//!
//! What two such nodes show differs from case to case, and no server says which case it is. Either both show one sequence of messages, as a
//! replica and its primary do after a failover, and two proxies before one shard. Or each message is shown by one of them: by the old one
//! until it gives the slot up, by the new one from then on. So it is found out by what they show:
//!
//! | what is seen | what follows |
//! |---|---|
//! | the new node has confirmed | PING to the old one: what that shows behind the answer was published when both were subscribed to |
//! | the old one shows something | it is received at once |
//! | the new one shows what the old one has not | PING to the old one. Behind the answer it is received: whatever was published before it has come |
//! | the old one does not answer | what the new one has shown is received, behind a gap, and so is what it shows from then on until the old one is heard of again |
//! | two messages of one topic on both, of different contents, shown by the old one behind that first answer | they show one sequence, and the new one goes on with it: the old one is left, and there is no gap |
//! | the old one has answered, and has not shown what the new one has | the new one may have had others before it was subscribed to: a gap stands in front of the first. Both are received from |
//! | the old one ends | a gap, unless there was one |
//!
//! Messages are told apart by their contents. Only contents that each node has shown once since the crossing began prove anything, and one such
//! message is not enough: publishers that repeat themselves, as with heartbeats, may have sent it to each node apart. Where a message was taken
//! for a copy that may be another one, a gap or [`Item::Ambiguous`] stands in front of what its node shows next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::error::CloseCause;
use crate::pubsub::{Item, Message, Topic};

/// How many messages of a topic are kept to be compared, and how many items of the new node are held back.
const KEPT: usize = 1024;
const OLD: usize = 0;
const NEW: usize = 1;

#[derive(Debug)]
pub(crate) struct Crossing {
    step: Step,
    streams: BTreeMap<Topic, Stream>,
    /// Items of the new node that wait for an answer of the old one. True: the PING under way was sent behind it.
    held: VecDeque<(Item, bool)>,
    is_pinged: bool,
    /// The last PING was not answered in time, and nothing has come from the old node since.
    is_silent: bool,
    /// The new node has yet to repeat many messages of the topic that came last.
    is_behind: bool,
    orders: VecDeque<Order>,
    items: VecDeque<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new node has not confirmed. The old one may have ended already.
    Opening { ended: Option<CloseCause> },
    /// Both are subscribed to.
    Both {
        /// The old one has answered since.
        is_settled: bool,
    },
    /// The old one was left, because both show one sequence.
    Left,
    /// The old one has ended, and whether both have shown one sequence is not known.
    Ended,
}

/// What is to be done at the old node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send PING there: the answer comes behind everything that the node has sent so far.
    Ping,
    /// Unsubscribe there: the new one goes on.
    Leave,
}

/// What was shown of one topic since the crossing began.
#[derive(Debug, Default)]
struct Stream {
    /// By the old node and by the new one, the last so many.
    shown: [VecDeque<Bytes>; 2],
    /// Messages that the old node has shown and the new one has not. True: it came behind the answer to a PING.
    owed: VecDeque<(Bytes, bool)>,
    /// Messages that the new node has shown, that are received, and that the old one has not shown.
    ahead: VecDeque<Bytes>,
    has_gap: bool,
    /// A gap or a doubt was told, and no message was received since.
    is_told: bool,
    /// Something was left out that may have been another message, and that is not told.
    has_doubt: bool,
    /// The first contents that each node has shown once, the old one behind the answer.
    proof: Option<Bytes>,
    /// This topic has proved that both nodes show one sequence.
    is_proven: bool,
}

impl Crossing {
    /// The search for the new node begins. The old one shows `topics`.
    pub(crate) fn begin(topics: &BTreeSet<Topic>) -> Self {
        Self {
            step: Step::Opening { ended: None },
            streams: topics.iter().map(|topic| (topic.clone(), Stream::default())).collect(),
            held: VecDeque::new(),
            is_pinged: false,
            is_silent: false,
            is_behind: false,
            orders: VecDeque::new(),
            items: VecDeque::new(),
        }
    }

    /// The new node has confirmed `topics`. Those that the old one never had begin with a gap, which says that they have begun.
    pub(crate) fn handle_confirmed(&mut self, topics: &BTreeSet<Topic>) {
        let Step::Opening { ended } = self.step else { return };
        let added = topics.iter().filter(|topic| !self.streams.contains_key(*topic)).cloned();
        let cause = ended.unwrap_or(CloseCause::ByClient);
        self.items.extend(added.map(|topic| Item::Gap { topic, cause }));
        self.step = Step::Both { is_settled: false };
        match ended {
            Some(cause) => self.end(cause),
            None => self.ping(),
        }
    }

    /// Something has come from the old node.
    pub(crate) fn handle_old(&mut self, item: Item) {
        self.is_silent = false;
        match item {
            Item::Message(message) if !self.is_gone() => self.on_old_message(message),
            Item::Message(_) => {}
            item => self.items.push_back(item),
        }
    }

    /// Something has come from the new node.
    pub(crate) fn handle_new(&mut self, item: Item) {
        match item {
            Item::Message(message) if self.streams.contains_key(&message.topic) => {
                self.on_new_message(message);
            }
            Item::Message(message) => self.items.push_back(Item::Message(message)),
            item => self.hold(item),
        }
    }

    /// The old node has answered the PING that was [ordered](Order::Ping).
    pub(crate) fn handle_answer(&mut self) {
        if !matches!(self.step, Step::Both { .. }) || !std::mem::take(&mut self.is_pinged) {
            return;
        }
        self.step = Step::Both { is_settled: true };
        self.is_silent = false;
        while self.held.front().is_some_and(|(_, is_covered)| *is_covered) {
            self.release_first();
        }
        if !self.held.is_empty() {
            self.ping();
        }
    }

    /// The old node has not answered the PING that was [ordered](Order::Ping), and nobody waits for it any more: what the new one has shown does not
    /// wait either. It has to answer another one before anything proves that both show one sequence.
    pub(crate) fn handle_no_answer(&mut self) {
        if matches!(self.step, Step::Both { .. }) && std::mem::take(&mut self.is_pinged) {
            self.is_silent = true;
            self.release_all();
        }
    }

    /// Nothing more comes from the old node.
    pub(crate) fn handle_old_end(&mut self, cause: CloseCause) {
        match &mut self.step {
            Step::Opening { ended } => *ended = ended.or(Some(cause)),
            Step::Both { .. } => self.end(cause),
            Step::Left | Step::Ended => {}
        }
    }

    /// Nobody wants `topic` any more.
    pub(crate) fn forget(&mut self, topic: &Topic) {
        self.streams.remove(topic);
        self.held.retain(|(item, _)| topic_of(item) != Some(topic));
    }

    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// What is received next.
    pub(crate) fn poll_item(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// Whether the new node is to be heard first: what it repeats is known only while that is [kept](KEPT).
    pub(crate) fn prefers_new(&self) -> bool {
        self.is_behind
    }

    /// Whether what comes from the new node needs no look any more.
    pub(crate) fn is_over(&self) -> bool {
        let is_paid = |stream: &Stream| stream.owed.is_empty();
        self.is_gone() && self.items.is_empty() && self.streams.values().all(is_paid)
    }

    /// Nothing comes from the old one any more.
    fn is_gone(&self) -> bool {
        matches!(self.step, Step::Left | Step::Ended)
    }

    fn on_old_message(&mut self, message: Message) {
        let is_settled = matches!(self.step, Step::Both { is_settled: true });
        let Some(stream) = self.streams.get_mut(&message.topic) else {
            return self.items.push_back(Item::Message(message));
        };
        push(&mut stream.shown[OLD], message.payload.clone());
        if let Some(at) = stream.ahead.iter().position(|payload| *payload == message.payload) {
            stream.ahead.drain(..=at);
            // The new one has shown this, and shows nothing any more of what stands before it.
            stream.owed.clear();
            return self.on_copy(&message, is_settled);
        }
        let is_first = matches!(self.held.front(), Some((Item::Message(held), _)) if *held == message);
        stream.is_told = false;
        self.items.push_back(Item::Message(message.clone()));
        if is_first {
            // The new node was faster. What it has shown behind this is none of what the old one has shown before.
            stream.owed.clear();
            self.held.pop_front();
            self.on_copy(&message, is_settled);
        } else {
            push(&mut stream.owed, (message.payload, is_settled));
            self.is_behind = stream.owed.len() >= KEPT / 2;
        }
    }

    fn on_new_message(&mut self, message: Message) {
        let is_gone = self.is_gone();
        let Some(stream) = self.streams.get_mut(&message.topic) else { return };
        push(&mut stream.shown[NEW], message.payload.clone());
        if !self.held.is_empty() {
            // It is compared when what the new node has shown before has its place.
            return self.hold(Item::Message(message));
        }
        let paid = stream.pay(&message.payload);
        self.is_behind = stream.owed.len() >= KEPT / 2;
        match paid {
            Some(shown_behind) => self.on_copy(&message, shown_behind),
            None => {
                if is_gone {
                    // It was published behind all of that, or somewhere else.
                    stream.owed.clear();
                }
                self.hold(Item::Message(message));
            }
        }
    }

    /// Both nodes have shown contents like these. One of the two messages was received, and the other one is left out.
    fn on_copy(&mut self, message: &Message, shown_behind: bool) {
        let is_gone = self.is_gone();
        let Some(stream) = self.streams.get_mut(&message.topic) else { return };
        let is_sure = shown_behind && stream.is_once(&message.payload);
        if is_sure && !is_gone && stream.is_proof(&message.payload) {
            return self.leave();
        }
        if !stream.has_gap && !is_gone {
            // What the new one shows next has a gap in front of it, which tells this as well.
            stream.has_doubt |= !is_sure;
            return;
        }
        stream.has_doubt = match self.step {
            Step::Left => !is_sure && !stream.is_proven,
            Step::Opening { .. } | Step::Both { .. } | Step::Ended => !is_sure || !stream.is_told,
        };
        self.tell_doubt(&message.topic);
    }

    /// Both show one sequence: the old one is not needed. What was taken for a copy before is one, where no contents have come again.
    fn leave(&mut self) {
        self.step = Step::Left;
        self.orders.push_back(Order::Leave);
        for topic in self.streams.keys().cloned().collect::<Vec<_>>() {
            if let Some(stream) = self.streams.get_mut(&topic) {
                stream.has_doubt &= !stream.is_proven && !stream.shown.iter().all(are_distinct);
            }
            self.tell_doubt(&topic);
        }
        self.release_all();
    }

    /// The old one has ended, and it is not known whether both have shown one sequence.
    fn end(&mut self, cause: CloseCause) {
        self.step = Step::Ended;
        self.orders.clear();
        for topic in self.streams.keys().cloned().collect::<Vec<_>>() {
            self.tell_gap(&topic, cause);
        }
        self.release_all();
    }

    /// Unless it was told before.
    fn tell_gap(&mut self, topic: &Topic, cause: CloseCause) {
        if let Some(stream) = self.streams.get_mut(topic).filter(|stream| !stream.has_gap) {
            (stream.has_gap, stream.is_told, stream.has_doubt) = (true, true, false);
            self.items.push_back(Item::Gap { topic: topic.clone(), cause });
        }
    }

    fn tell_doubt(&mut self, topic: &Topic) {
        if let Some(stream) = self.streams.get_mut(topic).filter(|stream| stream.has_doubt) {
            (stream.is_told, stream.has_doubt) = (true, false);
            self.items.push_back(Item::Ambiguous { topic: topic.clone(), channel: topic.name().clone() });
        }
    }

    /// Holds an item of the new node back until the old node has answered.
    fn hold(&mut self, item: Item) {
        if self.is_gone() {
            return self.receive(item);
        }
        if self.held.len() == KEPT {
            self.release_first();
        }
        self.held.push_back((item, false));
        self.ping();
        if self.is_silent {
            self.release_all();
        }
    }

    fn receive(&mut self, item: Item) {
        if let Item::Message(message) = &item
            && let Some(stream) = self.streams.get_mut(&message.topic)
        {
            stream.is_told = false;
        }
        self.items.push_back(item);
    }

    fn ping(&mut self) {
        if !std::mem::replace(&mut self.is_pinged, true) {
            self.held.iter_mut().for_each(|(_, is_covered)| *is_covered = true);
            self.orders.push_back(Order::Ping);
        }
    }

    fn release_all(&mut self) {
        while !self.held.is_empty() {
            self.release_first();
        }
    }

    /// The first of what is held is received from the new node, unless the old one has shown it meanwhile.
    fn release_first(&mut self) {
        let Some((item, _)) = self.held.pop_front() else { return };
        let is_gone = self.is_gone();
        if let Item::Message(message) = &item
            && let Some(stream) = self.streams.get_mut(&message.topic)
        {
            if let Some(shown_behind) = stream.pay(&message.payload) {
                return self.on_copy(message, shown_behind);
            }
            if !is_gone {
                push(&mut stream.ahead, message.payload.clone());
                self.tell_gap(&message.topic, CloseCause::ByServer);
            }
        }
        self.receive(item);
    }
}

impl Stream {
    /// The new node has shown this: takes it, and what stands before it, out of what it owes. `None` if it does not owe it; otherwise whether
    /// the old one has shown it behind the answer.
    fn pay(&mut self, payload: &Bytes) -> Option<bool> {
        let at = self.owed.iter().position(|(owed, _)| owed == payload)?;
        self.owed.drain(..=at).next_back().map(|(_, shown_behind)| shown_behind)
    }

    /// Whether each node has shown this once.
    fn is_once(&self, payload: &Bytes) -> bool {
        self.shown.iter().all(|shown| shown.iter().filter(|shown| *shown == payload).count() == 1)
    }

    /// Each node has shown this once, the old one behind the answer: true if that is so of other contents already.
    fn is_proof(&mut self, payload: &Bytes) -> bool {
        let first = self.proof.take().filter(|first| first != payload && self.is_once(first));
        self.is_proven = first.is_some();
        self.proof = Some(payload.clone());
        self.is_proven
    }
}

/// Puts `item` in; the oldest goes where there are too many.
fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn are_distinct(payloads: &VecDeque<Bytes>) -> bool {
    payloads.iter().collect::<BTreeSet<_>>().len() == payloads.len()
}

fn topic_of(item: &Item) -> Option<&Topic> {
    match item {
        Item::Message(Message { topic, .. })
        | Item::Gap { topic, .. }
        | Item::Ambiguous { topic, .. }
        | Item::Refused { topic, .. } => Some(topic),
        Item::Lagged(_) => None,
    }
}

#[cfg(test)]
mod tests;
