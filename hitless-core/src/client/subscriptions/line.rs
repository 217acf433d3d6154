//! One connection as the subscriptions see it: what was asked for there, and what is not answered yet.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::{BTreeMap, VecDeque};

use resp3_codec::Frame;

use crate::ids::{ChangeId, ConnId};
use crate::pubsub::Topic;

/// One connection that carries subscriptions.
#[derive(Clone, Debug)]
pub(super) struct Line {
    conn: ConnId,
    /// What is not answered, in the order in which it was written: each has one answer, a push or an error.
    awaited: VecDeque<Awaited>,
    /// What was subscribed to here, and whether that is confirmed.
    topics: BTreeMap<Topic, bool>,
    /// Of how many UNSUBSCRIBEs for a topic the answers are awaited: the confirmation of a SUBSCRIBE before them is out of date.
    leaving: BTreeMap<Topic, usize>,
    has_answered: bool,
}

/// Something that was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Awaited {
    Subscribe(Topic),
    Unsubscribe(Topic),
    Ping(Ping),
}

/// What a ping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ping {
    /// To hear whether the link is alive.
    Life,
    /// A step of an overlap.
    Overlap,
    /// What the connection before had shown by the switch was shown here as well.
    Debts,
    /// Somebody wants everything that was sent so far.
    CatchUp(ChangeId),
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answered {
    Confirmed(Topic),
    Refused(Topic, Frame),
    Pong(Ping),
    Nothing,
    /// Neither a confirmation nor an error: it is not known what the server has subscribed to.
    Nonsense,
}

impl Line {
    pub(super) fn new(conn: ConnId) -> Self {
        Self {
            conn,
            awaited: VecDeque::new(),
            topics: BTreeMap::new(),
            leaving: BTreeMap::new(),
            has_answered: false,
        }
    }

    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }

    /// It is being written.
    pub(super) fn expect(&mut self, awaited: Awaited) {
        match &awaited {
            Awaited::Subscribe(topic) => {
                self.topics.insert(topic.clone(), false);
            }
            Awaited::Unsubscribe(topic) => {
                self.topics.remove(topic);
                *self.leaving.entry(topic.clone()).or_default() += 1;
            }
            Awaited::Ping(_) => {}
        }
        self.awaited.push_back(awaited);
    }

    /// A push confirms what was written first of all that is not answered; `None` if it does not.
    pub(super) fn confirm(&mut self, is_subscribed: bool, topic: &Topic) -> Option<Answered> {
        let front = self.awaited.front()?;
        let is_meant = match front {
            Awaited::Subscribe(of) => is_subscribed && of == topic,
            Awaited::Unsubscribe(of) => !is_subscribed && of == topic,
            Awaited::Ping(_) => false,
        };
        is_meant.then(|| self.answer(None))
    }

    /// A reply has come: an error, or that to a ping, unless the server breaks the protocol.
    pub(super) fn reply(&mut self, reply: Frame) -> Answered {
        self.answer(Some(reply))
    }

    /// The pings of the overlap that is over are pings like others.
    pub(super) fn end_overlap(&mut self) {
        for awaited in &mut self.awaited {
            if let Awaited::Ping(ping @ Ping::Overlap) = awaited {
                *ping = Ping::Life;
            }
        }
    }

    /// The server has ended a subscription by itself.
    pub(super) fn lose(&mut self, topic: &Topic) -> bool {
        self.topics.remove(topic).is_some()
    }

    /// Whether `topic` was subscribed to here, confirmed or not.
    pub(super) fn carries(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    /// Whether the subscription to `topic` is confirmed.
    pub(super) fn shows(&self, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|is_confirmed| *is_confirmed)
    }

    /// Whether anything is not answered.
    pub(super) fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    fn answer(&mut self, reply: Option<Frame>) -> Answered {
        let first = self.awaited.pop_front();
        if matches!(first, Some(Awaited::Subscribe(_)))
            && reply.as_ref().is_some_and(|reply| !reply.is_error())
        {
            return Answered::Nonsense;
        }
        self.has_answered = true;
        match first {
            Some(Awaited::Subscribe(topic)) => match reply {
                _ if self.leaving.contains_key(&topic) => Answered::Nothing,
                Some(error) => {
                    self.topics.remove(&topic);
                    Answered::Refused(topic, error)
                }
                None => {
                    self.topics.insert(topic.clone(), true);
                    Answered::Confirmed(topic)
                }
            },
            Some(Awaited::Unsubscribe(topic)) => {
                if let Some(count) = self.leaving.get_mut(&topic) {
                    *count -= 1;
                    if *count == 0 {
                        self.leaving.remove(&topic);
                    }
                }
                Answered::Nothing
            }
            // An error as well says that everything before it has come.
            Some(Awaited::Ping(ping)) => Answered::Pong(ping),
            None => Answered::Nothing,
        }
    }
}
