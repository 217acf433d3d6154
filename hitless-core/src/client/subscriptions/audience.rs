//! Who subscribes to what, and who waits for a confirmation. It knows nothing of connections.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::error::{CloseCause, ServerError};
use crate::ids::{Arena, ChangeId, SubscriptionId};
use crate::pubsub::{Item, Message, SubscribeError, TOPIC_LIMIT, Topic};
use crate::timer::{after, earliest};

#[derive(Clone, Debug)]
pub(super) struct Audience {
    subscriptions: Arena<SubscriptionId, BTreeSet<Topic>>,
    /// Everything that is subscribed to, or is to be.
    topics: BTreeMap<Topic, Wanted>,
    /// The topics of all subscriptions, counted for each.
    count: usize,
    changes: Arena<ChangeId, Change>,
    /// No change is due before this instant. It is a lower bound: those that end do not change it.
    quiet_until: Option<Instant>,
    said: VecDeque<Said>,
}

/// A topic that somebody wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    subscriptions: Vec<SubscriptionId>,
    /// Messages of it are received, as far as anybody knows.
    is_confirmed: bool,
    /// Who is to hear of a gap when it is confirmed again, and why there is one.
    gap: Option<(CloseCause, Vec<SubscriptionId>)>,
    /// Which changes wait for its confirmation.
    changes: Vec<ChangeId>,
}

/// Somebody waits for topics to be confirmed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    subscription: SubscriptionId,
    /// Those that its subscription did not have before.
    added: BTreeSet<Topic>,
    /// Those that are not confirmed.
    left: BTreeSet<Topic>,
    /// So many answers are awaited besides, behind which everything has come that the server had sent before.
    answers: usize,
    since: Instant,
    until: Option<Instant>,
}

/// What subscribers are told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Deliver { subscription: SubscriptionId, item: Item },
    Changed { change: ChangeId, outcome: Result<(), SubscribeError> },
}

impl Audience {
    pub(super) fn new() -> Self {
        Self {
            subscriptions: Arena::new(),
            topics: BTreeMap::new(),
            count: 0,
            changes: Arena::new(),
            quiet_until: None,
            said: VecDeque::new(),
        }
    }

    /// A subscription that has no topic yet. `None` if there are too many.
    pub(super) fn open(&mut self) -> Option<SubscriptionId> {
        (self.subscriptions.len() < TOPIC_LIMIT).then(|| self.subscriptions.insert(BTreeSet::new()))
    }

    /// `subscription` wants `topics` as well, within `limit`. Returns those that nobody has had before.
    pub(super) fn add(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        topics: impl IntoIterator<Item = Topic>,
        limit: Option<Duration>,
    ) -> Result<(ChangeId, Vec<Topic>), SubscribeError> {
        let has = self.subscriptions.get_mut(subscription).ok_or(SubscribeError::Closed)?;
        let asked: BTreeSet<Topic> = topics.into_iter().collect();
        let added: BTreeSet<Topic> = asked.difference(has).cloned().collect();
        if self.count + added.len() > TOPIC_LIMIT || self.changes.len() >= TOPIC_LIMIT {
            return Err(SubscribeError::Full);
        }
        self.count += added.len();
        has.extend(added.iter().cloned());
        let mut new = Vec::new();
        for topic in &added {
            let wanted = self.topics.entry(topic.clone()).or_insert_with(|| {
                new.push(topic.clone());
                Wanted::default()
            });
            wanted.subscriptions.push(subscription);
        }
        let is_open = |topic: &&Topic| self.topics.get(*topic).is_some_and(|wanted| !wanted.is_confirmed);
        let left: BTreeSet<Topic> = asked.iter().filter(is_open).cloned().collect();
        let until = limit.map(|limit| after(now, limit));
        self.quiet_until = earliest([self.quiet_until, until]);
        let change = self.changes.insert(Change {
            subscription,
            added,
            left: left.clone(),
            answers: 0,
            since: now,
            until,
        });
        for topic in &left {
            if let Some(wanted) = self.topics.get_mut(topic) {
                wanted.changes.push(change);
            }
        }
        self.finish_if_done(change);
        Ok((change, new))
    }

    /// `subscription` waits, for `limit` at most, until it is [said](Self::note_caught_up) that it has everything that was sent so far.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        limit: Option<Duration>,
    ) -> Result<ChangeId, SubscribeError> {
        if self.subscriptions.get(subscription).is_none() {
            return Err(SubscribeError::Closed);
        }
        if self.changes.len() >= TOPIC_LIMIT {
            return Err(SubscribeError::Full);
        }
        let until = limit.map(|limit| after(now, limit));
        self.quiet_until = earliest([self.quiet_until, until]);
        let (added, left) = (BTreeSet::new(), BTreeSet::new());
        Ok(self.changes.insert(Change { subscription, added, left, answers: 1, since: now, until }))
    }

    /// `change` waits for so many answers from now on.
    pub(super) fn await_answers(&mut self, change: ChangeId, answers: usize) {
        if let Some(waits) = self.changes.get_mut(change) {
            waits.answers = answers;
        }
    }

    /// One of the answers that `change` waits for has come.
    pub(super) fn note_caught_up(&mut self, change: ChangeId) {
        if let Some(waits) = self.changes.get_mut(change) {
            waits.answers = waits.answers.saturating_sub(1);
            self.finish_if_done(change);
        }
    }

    /// Who waits for answers.
    pub(super) fn catching_up(&self) -> Vec<ChangeId> {
        self.changes.iter().filter(|(_, change)| change.answers > 0).map(|(id, _)| id).collect()
    }

    /// `subscription` does not want `topics` any more. Returns those that nobody wants.
    pub(super) fn remove<'a>(
        &mut self,
        subscription: SubscriptionId,
        topics: impl IntoIterator<Item = &'a Topic>,
    ) -> Vec<Topic> {
        let mut unwanted = Vec::new();
        let mut concerned = BTreeSet::new();
        for topic in topics {
            let Some(has) = self.subscriptions.get_mut(subscription) else { break };
            if !has.remove(topic) {
                continue;
            }
            self.count -= 1;
            let Some(wanted) = self.topics.get_mut(topic) else { continue };
            wanted.subscriptions.retain(|other| *other != subscription);
            if let Some((_, concerned)) = &mut wanted.gap {
                concerned.retain(|other| *other != subscription);
            }
            for change in &wanted.changes {
                if let Some(waits) =
                    self.changes.get_mut(*change).filter(|change| change.subscription == subscription)
                {
                    waits.left.remove(topic);
                    concerned.insert(*change);
                }
            }
            let changes = &self.changes;
            wanted
                .changes
                .retain(|change| changes.get(*change).is_some_and(|change| change.left.contains(topic)));
            if wanted.subscriptions.is_empty() {
                self.topics.remove(topic);
                unwanted.push(topic.clone());
            }
        }
        concerned.into_iter().for_each(|change| self.finish_if_done(change));
        unwanted
    }

    /// `subscription` is over. Returns what nobody wants any more.
    pub(super) fn close(&mut self, subscription: SubscriptionId) -> Vec<Topic> {
        let topics = self.subscriptions.get(subscription).cloned().unwrap_or_default();
        let unwanted = self.remove(subscription, &topics);
        let is_its = |(_, change): &(ChangeId, &Change)| change.subscription == subscription;
        let left: Vec<ChangeId> = self.changes.iter().filter(is_its).map(|(id, _)| id).collect();
        for change in left {
            self.fail(change, SubscribeError::Closed);
        }
        self.subscriptions.remove(subscription);
        unwanted
    }

    /// `topic` is confirmed: its messages are received from now on.
    pub(super) fn confirm(&mut self, topic: &Topic) {
        let Some(wanted) = self.topics.get_mut(topic) else { return };
        wanted.is_confirmed = true;
        let changes = std::mem::take(&mut wanted.changes);
        if let Some((cause, concerned)) = wanted.gap.take() {
            for subscription in concerned {
                let item = Item::Gap { topic: topic.clone(), cause };
                self.said.push_back(Said::Deliver { subscription, item });
            }
        }
        for change in changes {
            if let Some(waits) = self.changes.get_mut(change) {
                waits.left.remove(topic);
                self.finish_if_done(change);
            }
        }
    }

    /// The connection that has shown `topic` is gone, or may have left something out: there is a gap before what comes next.
    pub(super) fn note_gap(&mut self, topic: &Topic, cause: CloseCause) {
        let Some(wanted) = self.topics.get_mut(topic) else { return };
        if std::mem::replace(&mut wanted.is_confirmed, false) {
            wanted.gap = Some((cause, wanted.subscriptions.clone()));
        }
    }

    /// All topics are to be subscribed to again.
    pub(super) fn note_loss(&mut self, cause: CloseCause) {
        for wanted in self.topics.values_mut() {
            if std::mem::replace(&mut wanted.is_confirmed, false) {
                wanted.gap = Some((cause, wanted.subscriptions.clone()));
            }
        }
    }

    /// The server refuses `topic`. Returns what nobody wants any more.
    pub(super) fn refuse(&mut self, topic: &Topic, error: &ServerError) -> Vec<Topic> {
        let Some(wanted) = self.topics.get_mut(topic) else { return Vec::new() };
        let (changes, all) = (std::mem::take(&mut wanted.changes), wanted.subscriptions.clone());
        let mut unwanted = Vec::new();
        let mut told = BTreeSet::new();
        for change in changes {
            let Some(Change { subscription, added, .. }) = self.changes.remove(change) else { continue };
            let outcome = Err(SubscribeError::Refused { topic: topic.clone(), error: error.clone() });
            self.said.push_back(Said::Changed { change, outcome });
            if added.contains(topic) {
                told.insert(subscription);
            }
            unwanted.extend(self.remove(subscription, &added));
        }
        for subscription in all {
            unwanted.extend(self.remove(subscription, [topic]));
            if told.insert(subscription) {
                let item = Item::Refused { topic: topic.clone(), error: error.clone() };
                self.said.push_back(Said::Deliver { subscription, item });
            }
        }
        unwanted
    }

    /// Gives the changes up that wait for too long, for the reason that `why` has for so long a wait. Returns what nobody wants any more.
    pub(super) fn time_out(&mut self, now: Instant, why: impl Fn(Duration) -> SubscribeError) -> Vec<Topic> {
        if self.quiet_until.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let due = |(_, change): &(ChangeId, &Change)| change.until.is_some_and(|until| until <= now);
        let due: Vec<ChangeId> = self.changes.iter().filter(due).map(|(id, _)| id).collect();
        let mut unwanted = Vec::new();
        for change in due {
            let after = self.changes.get(change).map(|change| now.saturating_duration_since(change.since));
            unwanted.extend(self.fail(change, why(after.unwrap_or_default())));
        }
        self.quiet_until = earliest(self.changes.iter().map(|(_, change)| change.until));
        unwanted
    }

    /// Nobody gets what is not confirmed yet. Returns what nobody wants any more.
    pub(super) fn fail_all(&mut self, error: &SubscribeError) -> Vec<Topic> {
        let all: Vec<ChangeId> = self.changes.iter().map(|(id, _)| id).collect();
        all.into_iter().flat_map(|change| self.fail(change, error.clone())).collect()
    }

    /// A window is open: extends the time of those who wait.
    pub(super) fn relax(&mut self, relaxed: Duration) {
        let all: Vec<ChangeId> = self.changes.iter().map(|(id, _)| id).collect();
        for id in all {
            // Whoever catches up has something wait meanwhile.
            if let Some(change) = self.changes.get_mut(id).filter(|change| change.answers == 0) {
                change.until = change.until.map(|until| after(change.since, relaxed).max(until));
            }
        }
    }

    pub(super) fn deliver(&mut self, message: &Message) {
        let Some(wanted) = self.topics.get(&message.topic).filter(|wanted| wanted.is_confirmed) else {
            return;
        };
        for subscription in &wanted.subscriptions {
            let item = Item::Message(message.clone());
            self.said.push_back(Said::Deliver { subscription: *subscription, item });
        }
    }

    /// Says `item` to all who have `topic`.
    pub(super) fn tell(&mut self, topic: &Topic, item: &Item) {
        for subscription in self.topics.get(topic).into_iter().flat_map(|wanted| &wanted.subscriptions) {
            self.said.push_back(Said::Deliver { subscription: *subscription, item: item.clone() });
        }
    }

    pub(super) fn poll_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    pub(super) fn topics(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.topics.keys()
    }

    pub(super) fn has_topics(&self) -> bool {
        !self.topics.is_empty()
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// The change does not wait any more. Returns what nobody wants any more.
    fn fail(&mut self, change: ChangeId, error: SubscribeError) -> Vec<Topic> {
        let Some(Change { subscription, added, .. }) = self.changes.remove(change) else { return Vec::new() };
        self.said.push_back(Said::Changed { change, outcome: Err(error) });
        self.remove(subscription, &added)
    }

    fn finish_if_done(&mut self, change: ChangeId) {
        if self.changes.get(change).is_some_and(|change| change.left.is_empty() && change.answers == 0) {
            self.changes.remove(change);
            self.said.push_back(Said::Changed { change, outcome: Ok(()) });
        }
    }
}
