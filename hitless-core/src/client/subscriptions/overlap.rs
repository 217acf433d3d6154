//! The overlap: for a while two connections are subscribed, and what both show is received once.
//!
//! A server sends each message to all of its subscribers, in one order for each key. PINGs whose answers travel among the messages bound
//! where in that order the new connection begins:
//!
//! | step | what is known when it is done |
//! |---|---|
//! | P0: PING on the old | what the old has shown so far, the new does not show: it is not subscribed yet |
//! | SUBSCRIBE on the new, confirmed | |
//! | Pm: PING on the old | what the old shows from now on, the new shows as well |
//! | P1: PING on the old | contents between Pm and P1 tell equal ones before Pm apart |
//! | P2: PING on the new | what the old had shown by P1, the new has shown as well, if it shows it at all |
//!
//! So the new connection begins at one of the messages between P0 and Pm, or behind them. If only one place fits what both have shown, that is
//! it, and the two are known to be in step: each later message is received from whichever shows it first. Otherwise the key is subscribed
//! again on the new connection, in another round.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::matching::{Bounds, Fits, Sought};
use crate::pubsub::{Message, Topic};

/// How often a key is subscribed again where contents leave its place open.
const ROUNDS: u32 = 5;

/// How many messages are kept to be compared, or until the old connection has shown them as well.
const KEPT: usize = 64 * 1024;

/// What is delivered in one order, on both connections.
pub(super) type Key = (Topic, Bytes);

/// One overlap, from the successor's readiness to the switch.
#[derive(Clone, Debug)]
pub(super) struct Overlap {
    step: Step,
    /// What was subscribed to when it began.
    topics: BTreeSet<Topic>,
    /// Those of them whose places are found in this round.
    round: BTreeSet<Topic>,
    /// Those of them that are not confirmed on the new connection.
    unconfirmed: BTreeSet<Topic>,
    /// Those of them of which the old connection may have had messages that nobody has seen.
    gaps: BTreeSet<Topic>,
    rounds: u32,
    streams: BTreeMap<Key, Stream>,
    /// Messages in the streams.
    kept: usize,
    orders: VecDeque<Order>,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    P0,
    Confirmations,
    Pm,
    P1,
    P2,
    Done,
}

/// What was received of one key.
#[derive(Clone, Debug)]
pub(super) enum Stream {
    Sought(Sought),
    Found(Found),
}

/// It is known where both are.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// What the new connection has shown and the old one has not.
    ahead: VecDeque<Message>,
    /// What the old connection has shown and the new one is still to show.
    owed: VecDeque<Bytes>,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    PingOld,
    PingNew,
    /// Subscribe on the new connection.
    Subscribe(Topic),
    /// Unsubscribe on the new connection, then subscribe.
    SubscribeAgain(Topic),
}

/// What the switch comes to, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Messages of this topic may be missing.
    Gap(Topic),
    /// More than one place fits this key.
    Ambiguous(Key),
    /// The new connection has shown this, and the old one has not.
    Message(Message),
    /// This is to be skipped when the new connection shows it, because the old one has shown it.
    Owed(Key, VecDeque<Bytes>),
}

impl Overlap {
    /// Both connections are ready, and the old one is subscribed to `topics`.
    pub(super) fn begin(topics: BTreeSet<Topic>) -> Self {
        let mut overlap = Self {
            step: Step::P0,
            round: topics.clone(),
            topics,
            unconfirmed: BTreeSet::new(),
            gaps: BTreeSet::new(),
            rounds: 0,
            streams: BTreeMap::new(),
            kept: 0,
            orders: VecDeque::new(),
        };
        overlap.begin_round();
        overlap
    }

    /// The new connection shows it.
    pub(super) fn handle_confirmed(&mut self, topic: &Topic) {
        if self.unconfirmed.remove(topic) {
            self.end_confirmations();
        }
    }

    /// The old connection has answered a ping of this overlap.
    pub(super) fn handle_old_pong(&mut self) {
        match self.step {
            Step::P0 => self.subscribe(),
            Step::Pm => {
                self.each_sought(Sought::note_pm);
                self.step = Step::P1;
                self.orders.push_back(Order::PingOld);
            }
            Step::P1 => {
                self.each_sought(Sought::note_p1);
                self.step = Step::P2;
                self.orders.push_back(Order::PingNew);
            }
            Step::Confirmations | Step::P2 | Step::Done => {}
        }
    }

    /// The new connection has answered a ping of this overlap.
    pub(super) fn handle_new_pong(&mut self) {
        if self.step == Step::P2 {
            self.find();
        }
    }

    /// The old connection has shown a message, which is delivered.
    pub(super) fn handle_old_message(&mut self, message: &Message) {
        if !self.topics.contains(&message.topic) || (self.step == Step::P0 && self.rounds == 0) {
            return;
        }
        match self.stream(message) {
            Stream::Sought(sought) => sought.note_old(message.payload.clone()),
            Stream::Found(found) if found.ahead.is_empty() => found.owed.push_back(message.payload.clone()),
            Stream::Found(found) => {
                let before = found.kept();
                let left_out = take_through(&mut found.ahead, |ahead| ahead.payload == message.payload);
                if left_out.is_none() {
                    found.owed.push_back(message.payload.clone());
                }
                let gone = before - found.kept();
                return self.note_shown(gone, left_out, &message.topic);
            }
        }
        self.keep_one();
    }

    /// The new connection has shown a message. Gives it back if it is none of this overlap.
    pub(super) fn handle_new_message(&mut self, message: Message) -> Option<Message> {
        if !self.topics.contains(&message.topic) {
            return Some(message);
        }
        if self.unconfirmed.contains(&message.topic) {
            // It was subscribed to before, and will be again.
            return None;
        }
        match self.stream(&message) {
            Stream::Sought(sought) => sought.note_new(message),
            Stream::Found(found) if found.owed.is_empty() => found.ahead.push_back(message),
            Stream::Found(found) => {
                let before = found.kept();
                let topic = message.topic.clone();
                let left_out = take_through(&mut found.owed, |owed| *owed == message.payload);
                if left_out.is_none() {
                    found.ahead.push_back(message);
                }
                let gone = before - found.kept();
                self.note_shown(gone, left_out, &topic);
                return None;
            }
        }
        self.keep_one();
        None
    }

    /// One connection has shown what the other one had shown; so many messages need not be kept any more. What the other one had shown before
    /// it, or all of it, was left out or comes in another order.
    fn note_shown(&mut self, gone: usize, left_out: Option<usize>, topic: &Topic) {
        self.kept -= gone;
        if left_out != Some(0) {
            self.note_gap(topic.clone());
        }
    }

    /// The bounds will never be known: the old connection is gone, or it is left now. What it has shown so far is all.
    pub(super) fn give_up(&mut self) {
        if self.step != Step::Done {
            self.gaps.append(&mut self.round.clone());
            self.orders.retain(|order| matches!(order, Order::Subscribe(_) | Order::SubscribeAgain(_)));
            self.step = Step::Done;
        }
    }

    /// One of the connections has left messages of `topic` out.
    pub(super) fn note_gap(&mut self, topic: Topic) {
        if self.topics.contains(&topic) {
            self.gaps.insert(topic);
        }
    }

    /// Nobody subscribes to `topic` any more, or the new connection is not allowed to.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.topics.remove(topic);
        self.round.remove(topic);
        self.gaps.remove(topic);
        self.orders.retain(|order| !order.is_about(topic));
        self.drop_streams(|of| of == topic);
        if self.unconfirmed.remove(topic) {
            self.end_confirmations();
        }
    }

    /// What is to be written next.
    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether the switch may be made now.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// The switch: topics with gaps come first, and a doubt before the messages of its key.
    pub(super) fn end(mut self) -> Vec<Outcome> {
        self.give_up();
        let mut gaps = self.gaps;
        let mut outcomes = Vec::new();
        for (key, stream) in self.streams {
            let Found { ahead, owed } = match stream {
                Stream::Found(found) => found,
                Stream::Sought(sought) => {
                    let is_known = !gaps.contains(&key.0);
                    let place = match sought.fits(if is_known { Bounds::Known } else { Bounds::Unknown }) {
                        Fits::Nowhere => {
                            gaps.insert(key.0.clone());
                            None
                        }
                        Fits::Only(place) => Some(place),
                        Fits::First(place) => {
                            outcomes.extend(is_known.then(|| Outcome::Ambiguous(key.clone())));
                            Some(place)
                        }
                    };
                    Found::at(sought, place)
                }
            };
            outcomes.extend(ahead.into_iter().map(Outcome::Message));
            outcomes.extend((!owed.is_empty()).then_some(Outcome::Owed(key, owed)));
        }
        gaps.into_iter().map(Outcome::Gap).chain(outcomes).collect()
    }

    fn begin_round(&mut self) {
        self.step = Step::P0;
        if self.round.is_empty() {
            self.step = Step::Done;
        } else {
            self.orders.push_back(Order::PingOld);
        }
    }

    /// P0 is answered.
    fn subscribe(&mut self) {
        let round = std::mem::take(&mut self.round);
        self.drop_streams(|topic| round.contains(topic));
        let is_first = self.rounds == 0;
        self.orders.extend(round.iter().cloned().map(|topic| match is_first {
            true => Order::Subscribe(topic),
            false => Order::SubscribeAgain(topic),
        }));
        self.unconfirmed = round.clone();
        self.round = round;
        self.rounds += 1;
        self.step = Step::Confirmations;
        self.end_confirmations();
    }

    fn end_confirmations(&mut self) {
        if self.step == Step::Confirmations && self.unconfirmed.is_empty() {
            self.step = Step::Pm;
            self.orders.push_back(Order::PingOld);
        }
    }

    /// Both have shown enough: finds the place of each key, if only one fits.
    fn find(&mut self) {
        let mut open = BTreeSet::new();
        for (key, stream) in &mut self.streams {
            let Stream::Sought(sought) = stream else { continue };
            match sought.fits(Bounds::Known) {
                Fits::Only(place) => {
                    let before = sought.len();
                    let found = Found::at(std::mem::take(sought), Some(place));
                    self.kept -= before - found.kept();
                    *stream = Stream::Found(found);
                }
                Fits::Nowhere | Fits::First(_) => {
                    open.insert(key.0.clone());
                }
            }
        }
        self.round = open;
        if self.rounds > ROUNDS {
            self.step = Step::Done;
        } else {
            self.begin_round();
        }
    }

    fn keep_one(&mut self) {
        self.kept += 1;
        if self.kept > KEPT {
            self.give_up();
        }
    }

    fn stream(&mut self, message: &Message) -> &mut Stream {
        // A key that nobody has seen is in step: both are at its beginning.
        let is_sought = self.round.contains(&message.topic);
        let key = (message.topic.clone(), message.channel.clone());
        self.streams.entry(key).or_insert_with(|| match is_sought {
            true => Stream::Sought(Sought::default()),
            false => Stream::Found(Found::default()),
        })
    }

    fn each_sought(&mut self, mut change: impl FnMut(&mut Sought)) {
        for stream in self.streams.values_mut() {
            if let Stream::Sought(sought) = stream {
                change(sought);
            }
        }
    }

    fn drop_streams(&mut self, is_meant: impl Fn(&Topic) -> bool) {
        let kept = &mut self.kept;
        self.streams.retain(|(topic, _), stream| {
            let stays = !is_meant(topic);
            if !stays {
                *kept -= stream.kept();
            }
            stays
        });
    }
}

impl Stream {
    fn kept(&self) -> usize {
        match self {
            Self::Sought(sought) => sought.len(),
            Self::Found(found) => found.kept(),
        }
    }
}

impl Found {
    /// The new connection begins at `place` of what the old one has shown since P0; without one, behind all of it.
    fn at(sought: Sought, place: Option<usize>) -> Self {
        let (ahead, owed) = sought.split(place);
        Self { ahead, owed }
    }

    fn kept(&self) -> usize {
        self.ahead.len() + self.owed.len()
    }
}

impl Order {
    fn is_about(&self, topic: &Topic) -> bool {
        match self {
            Self::Subscribe(of) | Self::SubscribeAgain(of) => of == topic,
            Self::PingOld | Self::PingNew => false,
        }
    }
}

/// Takes the first of `queue` that is meant, and all before it; without one, all of it. Returns how many were before it.
pub(super) fn take_through<T>(queue: &mut VecDeque<T>, is_meant: impl Fn(&T) -> bool) -> Option<usize> {
    let place = queue.iter().position(is_meant);
    queue.drain(..place.map_or(queue.len(), |place| place + 1));
    place
}

#[cfg(test)]
mod tests;
