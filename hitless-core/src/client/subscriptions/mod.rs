//! Subscriptions: who wants which topics, the one connection that carries them all, and the overlap of two while it moves.

mod audience;
#[cfg(feature = "explore")]
mod fingerprint;
mod line;
mod matching;
mod overlap;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use resp3_codec::{Frame, cmd};

use self::audience::Audience;
pub(super) use self::audience::Said;
use self::line::{Answered, Awaited, Line, Ping};
use self::overlap::{Key, Order, Outcome, Overlap, take_through};
use self::place::Place;
use crate::coordinator::Redial;
use crate::error::{CloseCause, ConnectError, ServerError};
use crate::ids::{ChangeId, ConnId, SubscriptionId};
use crate::pubsub::{Item, Message, Push, SubscribeError, Topic};
use crate::timer::earliest;

/// The subscriptions of a client and their connection.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Subscriptions {
    audience: Audience,
    place: Place,
    active: Option<Line>,
    successor: Option<Successor>,
    /// What the connection before had shown at the last switch, and `active` is still to show.
    owed: BTreeMap<Key, VecDeque<Bytes>>,
    /// Topics for which a gap was told: a message with the contents of one that is owed may be another one, published since. True for a topic
    /// of which such a message was skipped, so that another gap has to be told.
    guessed: BTreeMap<Topic, bool>,
    /// Why the connection before has ended.
    ended_by: CloseCause,
    decisions: VecDeque<Decision>,
}

/// The connection that is to take the place of `active`, while both are subscribed.
#[derive(Clone, Debug)]
struct Successor {
    line: Line,
    overlap: Overlap,
    /// Topics that are subscribed to there alone, because somebody has wanted them since the overlap began.
    only_here: BTreeSet<Topic>,
    /// What the server refuses there.
    refused: BTreeMap<Topic, ServerError>,
    /// It was said that the switch may be made.
    is_offered: bool,
}

/// What the client has to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// Write a command that has one answer.
    Write { conn: ConnId, command: Bytes },
    /// The switch from this connection to its successor may be made.
    Switch(ConnId),
    /// Nobody needs this connection any more.
    Release(ConnId),
    /// Messages of so many topics may be missing.
    Gaps { topics: usize, cause: CloseCause },
    /// Of so many topics it stays open what both connections have shown.
    Ambiguous { topics: usize },
}

/// Which connection something has come on.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Active,
    Successor,
}

impl Subscriptions {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            audience: Audience::new(),
            place: Place::new(seed),
            active: None,
            successor: None,
            owed: BTreeMap::new(),
            guessed: BTreeMap::new(),
            ended_by: CloseCause::ByServer,
            decisions: VecDeque::new(),
        }
    }

    // ---- who wants what

    /// A subscription that has no topic yet. `None` if there are too many.
    pub(super) fn open(&mut self) -> Option<SubscriptionId> {
        self.audience.open()
    }

    /// `subscription` wants `topics` as well, within `limit`.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        topics: impl IntoIterator<Item = Topic>,
        limit: Option<Duration>,
    ) -> Result<ChangeId, SubscribeError> {
        let (change, new) = self.audience.add(now, subscription, topics, limit)?;
        for topic in new {
            match &mut self.successor {
                Some(successor) => {
                    successor.only_here.insert(topic.clone());
                    self.write(Side::Successor, Awaited::Subscribe(topic));
                }
                None => self.write(Side::Active, Awaited::Subscribe(topic)),
            }
        }
        Ok(change)
    }

    /// `subscription` does not want `topics` any more: nothing of them is delivered to it from now on.
    pub(super) fn unsubscribe(&mut self, subscription: SubscriptionId, topics: &[Topic]) {
        let unwanted = self.audience.remove(subscription, topics);
        self.drop_topics(unwanted);
    }

    /// `subscription` is over.
    pub(super) fn close(&mut self, subscription: SubscriptionId) {
        let unwanted = self.audience.close(subscription);
        self.drop_topics(unwanted);
    }

    /// `subscription` waits, for `limit` at most, until everything has come that the server has sent so far.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        limit: Option<Duration>,
    ) -> Result<ChangeId, SubscribeError> {
        let change = self.audience.catch_up(now, subscription, limit)?;
        self.ask(change);
        Ok(change)
    }

    /// A window is open: extends the time of those who wait.
    pub(super) fn relax(&mut self, relaxed: Duration) {
        self.audience.relax(relaxed);
    }

    /// Nobody gets what is not confirmed yet.
    pub(super) fn fail_all(&mut self, error: &SubscribeError) {
        let unwanted = self.audience.fail_all(error);
        self.drop_topics(unwanted);
    }

    // ---- connections

    /// Whether a connection is to be opened now.
    pub(super) fn wants_connection(&self, now: Instant) -> bool {
        !self.has_connection()
            && self.audience.has_topics()
            && self.place.retry_at().is_none_or(|at| at <= now)
    }

    /// Whether there is a connection, or one is dialled.
    pub(super) fn has_connection(&self) -> bool {
        self.active.is_some() || self.successor.is_some() || self.place.is_dialling()
    }

    /// Whether the first connection is being opened.
    pub(super) fn is_dialling(&self) -> bool {
        self.active.is_none() && self.place.is_dialling()
    }

    /// Whether anybody subscribes to anything.
    pub(super) fn has_topics(&self) -> bool {
        self.audience.has_topics()
    }

    /// `conn` is being opened.
    pub(super) fn assign(&mut self, conn: ConnId) {
        self.place.assign(conn);
    }

    /// `conn` is ready, and carries all subscriptions from now on: it is the successor that has been subscribed beside the one before, or
    /// another one.
    pub(super) fn promote(&mut self, now: Instant, conn: ConnId) {
        self.place.fill(now, conn);
        match self.successor.take_if(|successor| successor.line.conn() == conn) {
            Some(successor) => self.switch(successor),
            None => {
                // What was shown by another one has no continuation here.
                self.audience.note_loss(self.ended_by);
                self.forget_debts();
                self.active = Some(Line::new(conn));
                self.subscribe_missing();
            }
        }
        self.ask_again();
    }

    /// `from` is to be left for `to`, which is ready: begins to find out where `to` goes on.
    pub(super) fn begin_overlap(&mut self, from: ConnId, to: ConnId) {
        if let Some(Successor { only_here, .. }) = self.successor.take() {
            self.resume(only_here);
        }
        let Some(active) = self.active.as_mut().filter(|active| active.conn() == from) else {
            // Nothing is subscribed to there.
            return self.decisions.push_back(Decision::Switch(from));
        };
        active.end_overlap();
        let topics = self.audience.topics().filter(|topic| active.carries(topic)).cloned().collect();
        self.successor = Some(Successor {
            line: Line::new(to),
            overlap: Overlap::begin(topics),
            only_here: BTreeSet::new(),
            refused: BTreeMap::new(),
            is_offered: false,
        });
        self.advance();
    }

    /// `conn` ends, or is to be left, for this reason.
    pub(super) fn note_end(&mut self, conn: ConnId, cause: CloseCause) {
        if self.active.as_ref().is_some_and(|active| active.conn() == conn) {
            self.ended_by = cause;
        }
    }

    /// `conn` is no connection of the subscriptions any more.
    pub(super) fn vacate(&mut self, conn: ConnId) {
        self.place.forget(conn);
        if let Some(Successor { only_here, .. }) =
            self.successor.take_if(|successor| successor.line.conn() == conn)
        {
            self.resume(only_here);
        }
        if self.active.take_if(|active| active.conn() == conn).is_some() {
            self.place.empty();
            self.forget_debts();
            match &mut self.successor {
                Some(successor) => successor.overlap.give_up(),
                None => self.lose_all(),
            }
            self.advance();
        }
    }

    /// The connection is about to be lost or left. False if it was of no use.
    pub(super) fn note_service(&mut self, now: Instant, conn: ConnId) -> bool {
        match self.active.as_ref().filter(|active| active.conn() == conn) {
            Some(active) => self.place.note_service(now, active.has_answered()),
            None => true,
        }
    }

    /// A connection could not be opened, or was lost soon.
    pub(super) fn note_failure(&mut self, now: Instant, error: ConnectError, redial: Redial) {
        self.place.note_failure(now, error, redial);
    }

    // ---- what comes

    /// Something has come on `conn`.
    pub(super) fn note_received(&mut self, now: Instant, conn: ConnId) {
        if self.active.as_ref().is_some_and(|active| active.conn() == conn) {
            self.place.note_received(now);
        }
    }

    /// A push has come on `conn`. True if it is the answer to what was written there first.
    pub(super) fn handle_push(&mut self, conn: ConnId, push: Push) -> bool {
        let Some(side) = self.side(conn) else {
            // The connection before: what it answers is of no interest, but that it has answered is.
            return !matches!(push, Push::Message(_));
        };
        let (is_subscribed, topic) = match push {
            Push::Message(message) => {
                self.on_message(side, message);
                return false;
            }
            Push::Subscribed(topic) => (true, topic),
            Push::Unsubscribed(topic) => (false, topic),
        };
        let answered = self.line_mut(side).and_then(|line| line.confirm(is_subscribed, &topic));
        match answered {
            Some(answered) => {
                self.on_answer(side, answered);
                true
            }
            None => {
                if !is_subscribed {
                    self.on_dropped(side, &topic);
                }
                false
            }
        }
    }

    /// A reply has come on `conn`: to a ping, or an error. False if it is neither, in the place of a confirmation: that connection is of no
    /// use.
    pub(super) fn handle_reply(&mut self, conn: ConnId, reply: Frame) -> bool {
        let Some(side) = self.side(conn) else { return true };
        let Some(answered) = self.line_mut(side).map(|line| line.reply(reply)) else { return true };
        let makes_sense = answered != Answered::Nonsense;
        self.on_answer(side, answered);
        makes_sense
    }

    /// Time has passed. `why` is told how long somebody has waited for a subscription, and says why it was too long.
    pub(super) fn handle_timeout(&mut self, now: Instant, why: impl Fn(Duration) -> SubscribeError) {
        self.place.end_pause(now);
        let unwanted = self.audience.time_out(now, why);
        self.drop_topics(unwanted);
        if !self.place.take_ping(now) {
            return;
        }
        match &self.active {
            Some(active) if !self.audience.has_topics() && self.successor.is_none() => {
                self.decisions.push_back(Decision::Release(active.conn()));
            }
            Some(active) if !active.is_awaited() => self.write(Side::Active, Awaited::Ping(Ping::Life)),
            Some(_) | None => {}
        }
    }

    pub(super) fn poll_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    pub(super) fn poll_said(&mut self) -> Option<Said> {
        self.audience.poll_said()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let retry_at = self.place.retry_at().filter(|_| self.audience.has_topics());
        earliest([self.audience.poll_timeout(), self.place.ping_at(), retry_at])
    }

    pub(super) fn active(&self) -> Option<ConnId> {
        self.active.as_ref().map(|active| active.conn())
    }

    pub(super) fn failure(&self) -> Option<&Arc<ConnectError>> {
        self.place.failure()
    }

    pub(super) fn len(&self) -> usize {
        self.audience.subscriptions()
    }

    pub(super) fn topics(&self) -> usize {
        self.audience.topics().len()
    }

    fn side(&self, conn: ConnId) -> Option<Side> {
        if self.active.as_ref().is_some_and(|active| active.conn() == conn) {
            return Some(Side::Active);
        }
        let is_successor = self.successor.as_ref().is_some_and(|successor| successor.line.conn() == conn);
        // Whatever an old connection still shows, its successor shows as well.
        is_successor.then_some(Side::Successor)
    }

    fn line_mut(&mut self, side: Side) -> Option<&mut Line> {
        match side {
            Side::Active => self.active.as_mut(),
            Side::Successor => self.successor.as_mut().map(|successor| &mut successor.line),
        }
    }

    fn write(&mut self, side: Side, awaited: Awaited) {
        let Some(line) = self.line_mut(side) else { return };
        let command = match &awaited {
            Awaited::Subscribe(topic) => topic.subscribe(),
            Awaited::Unsubscribe(topic) => topic.unsubscribe(),
            Awaited::Ping(_) => cmd("PING"),
        };
        line.expect(awaited);
        let (conn, command) = (line.conn(), command.into_bytes());
        self.decisions.push_back(Decision::Write { conn, command });
    }

    fn on_message(&mut self, side: Side, message: Message) {
        match side {
            Side::Active => {
                if self.pay(&message) {
                    return;
                }
                self.tell_skipped(&message.topic);
                // What was unsubscribed from meanwhile, and subscribed to again on the successor alone, comes from there.
                if self.active.as_ref().is_some_and(|active| active.carries(&message.topic)) {
                    self.audience.deliver(&message);
                }
                if let Some(successor) = &mut self.successor {
                    successor.overlap.handle_old_message(&message);
                }
            }
            Side::Successor => {
                let Some(successor) = &mut self.successor else { return };
                if let Some(message) = successor.overlap.handle_new_message(message)
                    && successor.only_here.contains(&message.topic)
                {
                    self.audience.deliver(&message);
                }
            }
        }
        self.advance();
    }

    /// True if the connection before has shown `message`.
    fn pay(&mut self, message: &Message) -> bool {
        if self.owed.is_empty() {
            return false;
        }
        let key = (message.topic.clone(), message.channel.clone());
        let Some(owed) = self.owed.get_mut(&key) else { return false };
        let left_out = take_through(owed, |owed| *owed == message.payload);
        if owed.is_empty() {
            self.owed.remove(&key);
        }
        if let (Some(was_skipped), Some(_)) = (self.guessed.get_mut(&message.topic), left_out) {
            *was_skipped = true;
        } else if left_out != Some(0) {
            // It begins later than was known, or comes in another order than on the connection before. What that has shown is not repeated.
            self.tell_gaps([message.topic.clone()].into(), CloseCause::ByClient);
        }
        left_out.is_some()
    }

    fn on_answer(&mut self, side: Side, answered: Answered) {
        match (side, answered) {
            (Side::Active, Answered::Confirmed(topic)) => self.audience.confirm(&topic),
            (Side::Successor, Answered::Confirmed(topic)) => {
                let Some(successor) = &mut self.successor else { return };
                if successor.only_here.contains(&topic) {
                    self.audience.confirm(&topic);
                } else {
                    successor.overlap.handle_confirmed(&topic);
                }
            }
            (side, Answered::Refused(topic, error)) => {
                if let Some(error) = ServerError::from_frame(&error) {
                    self.on_refused(side, topic, error);
                }
            }
            (Side::Active, Answered::Pong(Ping::Overlap)) => {
                if let Some(successor) = &mut self.successor {
                    successor.overlap.handle_old_pong();
                }
            }
            (Side::Successor, Answered::Pong(Ping::Overlap)) => {
                if let Some(successor) = &mut self.successor {
                    successor.overlap.handle_new_pong();
                }
            }
            // All that was published before the switch was shown here.
            (Side::Active, Answered::Pong(Ping::Debts)) => {
                let guessed: Vec<Topic> = self.guessed.keys().cloned().collect();
                guessed.iter().for_each(|topic| self.tell_skipped(topic));
                self.forget_debts();
            }
            (_, Answered::Pong(Ping::CatchUp(change))) => self.audience.note_caught_up(change),
            (_, Answered::Pong(Ping::Life | Ping::Debts)) | (_, Answered::Nothing | Answered::Nonsense) => {}
        }
        self.advance();
    }

    fn on_refused(&mut self, side: Side, topic: Topic, error: ServerError) {
        match (side, &mut self.successor) {
            // The connection before goes on with it until the switch.
            (Side::Successor, Some(successor)) if !successor.only_here.contains(&topic) => {
                successor.overlap.forget(&topic);
                successor.refused.insert(topic, error);
            }
            _ => {
                let unwanted = self.audience.refuse(&topic, &error);
                self.drop_topics(unwanted);
            }
        }
    }

    /// The server has ended the subscription to `topic` by itself, as it does when a slot moves to another node.
    fn on_dropped(&mut self, side: Side, topic: &Topic) {
        if !self.line_mut(side).is_some_and(|line| line.lose(topic)) {
            return;
        }
        match (side, &mut self.successor) {
            (Side::Successor, Some(successor)) if !successor.only_here.contains(topic) => {
                successor.overlap.note_gap(topic.clone());
                self.write(Side::Successor, Awaited::Subscribe(topic.clone()));
            }
            _ => {
                self.audience.note_gap(topic, CloseCause::ByServer);
                self.write(side, Awaited::Subscribe(topic.clone()));
            }
        }
    }

    /// Nobody wants `topics` any more.
    fn drop_topics(&mut self, topics: Vec<Topic>) {
        for topic in topics {
            self.owed.retain(|(of, _), _| *of != topic);
            self.guessed.remove(&topic);
            if let Some(successor) = &mut self.successor {
                successor.overlap.forget(&topic);
                successor.only_here.remove(&topic);
                successor.refused.remove(&topic);
            }
            for side in [Side::Active, Side::Successor] {
                if self.line_mut(side).is_some_and(|line| line.carries(&topic)) {
                    self.write(side, Awaited::Unsubscribe(topic.clone()));
                }
            }
        }
        self.advance();
    }

    /// Writes what the overlap wants next.
    fn advance(&mut self) {
        while let Some(order) = self.successor.as_mut().and_then(|successor| successor.overlap.poll_order()) {
            match order {
                Order::PingOld => self.write(Side::Active, Awaited::Ping(Ping::Overlap)),
                Order::PingNew => self.write(Side::Successor, Awaited::Ping(Ping::Overlap)),
                Order::Subscribe(topic) => self.write(Side::Successor, Awaited::Subscribe(topic)),
                Order::SubscribeAgain(topic) => {
                    self.write(Side::Successor, Awaited::Unsubscribe(topic.clone()));
                    self.write(Side::Successor, Awaited::Subscribe(topic));
                }
            }
        }
        if let (Some(active), Some(successor)) = (&self.active, &mut self.successor)
            && successor.overlap.is_done()
            && !std::mem::replace(&mut successor.is_offered, true)
        {
            self.decisions.push_back(Decision::Switch(active.conn()));
        }
    }

    /// The switch: `successor` goes on where the connection before has stopped.
    fn switch(&mut self, successor: Successor) {
        let Successor { line, overlap, only_here, refused, .. } = successor;
        let outcomes = overlap.end();
        self.active = Some(line);
        let skipped = self.guessed.iter().filter(|(_, was_skipped)| **was_skipped);
        let mut gaps: BTreeSet<Topic> = skipped.map(|(topic, _)| topic.clone()).collect();
        self.forget_debts();
        gaps.extend(outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Gap(topic) => Some(topic.clone()),
            Outcome::Ambiguous(_) | Outcome::Message(_) | Outcome::Owed(..) => None,
        }));
        for topic in self.audience.topics() {
            let shows = self.active.as_ref().is_some_and(|line| line.shows(topic));
            if !shows && !only_here.contains(topic) {
                gaps.insert(topic.clone());
            }
        }
        for (topic, error) in refused {
            gaps.remove(&topic);
            let unwanted = self.audience.refuse(&topic, &error);
            self.drop_topics(unwanted);
        }
        self.tell_gaps(gaps.clone(), self.ended_by);
        self.go_on(outcomes);
        let owed = self.owed.keys().map(|(topic, _)| topic).filter(|topic| gaps.contains(*topic));
        self.guessed = owed.map(|topic| (topic.clone(), false)).collect();
        if !self.owed.is_empty() {
            self.write(Side::Active, Awaited::Ping(Ping::Debts));
        }
        self.subscribe_missing();
    }

    /// Goes on where the connection before has stopped.
    fn go_on(&mut self, outcomes: Vec<Outcome>) {
        let mut ambiguous = BTreeSet::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Gap(_) => {}
                Outcome::Ambiguous((topic, channel)) => {
                    self.audience.tell(&topic, &Item::Ambiguous { topic: topic.clone(), channel });
                    ambiguous.insert(topic);
                }
                Outcome::Message(message) => self.audience.deliver(&message),
                Outcome::Owed(key, owed) => {
                    self.owed.insert(key, owed);
                }
            }
        }
        if !ambiguous.is_empty() {
            self.decisions.push_back(Decision::Ambiguous { topics: ambiguous.len() });
        }
    }

    /// What was skipped of `topic` by a guess may be missing, which is told behind all of it.
    fn tell_skipped(&mut self, topic: &Topic) {
        if self.guessed.get_mut(topic).is_some_and(std::mem::take) {
            self.tell_gaps([topic.clone()].into(), self.ended_by);
        }
    }

    fn forget_debts(&mut self) {
        self.owed.clear();
        self.guessed.clear();
    }

    /// Messages of `topics` may be missing: it is told now where later ones are shown already, and otherwise once they are.
    fn tell_gaps(&mut self, topics: BTreeSet<Topic>, cause: CloseCause) {
        if topics.is_empty() {
            return;
        }
        self.decisions.push_back(Decision::Gaps { topics: topics.len(), cause });
        for topic in topics {
            self.audience.note_gap(&topic, cause);
            if self.active.as_ref().is_some_and(|line| line.shows(&topic)) {
                self.audience.confirm(&topic);
            }
        }
    }

    /// The connection is lost, and there is no other one.
    fn lose_all(&mut self) {
        if self.audience.has_topics() {
            let topics = self.topics();
            self.decisions.push_back(Decision::Gaps { topics, cause: self.ended_by });
        }
        self.audience.note_loss(self.ended_by);
    }

    /// The overlap is over, and there is no switch: `active` goes on as if nothing had happened, but for what was subscribed to on the
    /// successor alone.
    fn resume(&mut self, only_there: BTreeSet<Topic>) {
        let Some(active) = &mut self.active else { return self.lose_all() };
        active.end_overlap();
        for topic in &only_there {
            self.audience.note_gap(topic, CloseCause::ByServer);
        }
        self.subscribe_missing();
        self.ask_again();
    }

    /// Sends PING on the active connection, and on the successor if that alone carries some of the topics. The change is over when all have answered.
    fn ask(&mut self, change: ChangeId) {
        let shows_more = |successor: &Successor| !successor.only_here.is_empty();
        let asks_both = self.active.is_some() && self.successor.as_ref().is_some_and(shows_more);
        self.audience.await_answers(change, if asks_both { 2 } else { 1 });
        self.write(Side::Active, Awaited::Ping(Ping::CatchUp(change)));
        if asks_both {
            self.write(Side::Successor, Awaited::Ping(Ping::CatchUp(change)));
        }
    }

    fn ask_again(&mut self) {
        self.audience.catching_up().into_iter().for_each(|change| self.ask(change));
    }

    /// Subscribes to what `active` does not carry.
    fn subscribe_missing(&mut self) {
        let Some(active) = &self.active else { return };
        let missing = self.audience.topics().filter(|topic| !active.carries(topic));
        for topic in missing.cloned().collect::<Vec<_>>() {
            self.write(Side::Active, Awaited::Subscribe(topic));
        }
    }
}
