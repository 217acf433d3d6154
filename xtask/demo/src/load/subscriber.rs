//! A subscriber, which knows of each message whether it has had it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hitless_core::driver::{Client, Error, Runtime, Subscription};
use hitless_core::pubsub::{Item, Topic};

use super::{Known, Worker};
use crate::feeder::{CHANNEL, END};

/// What it subscribes to: each message is received twice.
pub(crate) const TOPICS: usize = 2;

fn topics() -> [Topic; TOPICS] {
    [Topic::from(CHANNEL), Topic::pattern("demo:new?")]
}

/// A subscription that lasts as long as the pool; the load of a step borrows it.
pub(crate) struct Lasting<R: Runtime>(Arc<Mutex<Option<Subscription<R>>>>);

impl<R: Runtime> Clone for Lasting<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Runtime> Lasting<R> {
    /// Subscribes.
    ///
    /// # Errors
    /// The server does not confirm it.
    pub(crate) async fn begin(client: &Client<R>) -> Result<Self, Error> {
        let subscription = client.subscribe(topics()).await?;
        Ok(Self(Arc::new(Mutex::new(Some(subscription)))))
    }

    /// Takes it out; none while somebody has it.
    fn take(&self) -> Option<Subscription<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, subscription: Subscription<R>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(subscription);
    }
}

/// What a subscriber has received of messages that are numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    /// Messages that are missing, and nothing has said so before the next one.
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    /// How often it was said that messages may be missing.
    pub(crate) gaps: u64,
    /// Anything else that was said.
    pub(crate) errors: u64,
    topics: BTreeMap<Topic, Place>,
}

/// Where in the messages of a topic the subscriber is.
#[derive(Debug, Default)]
struct Place {
    next: u64,
    /// Messages may be missing here.
    is_gap: bool,
    has_ended: bool,
}

impl Received {
    /// Notes what was received. True once each topic has come to its end, which says how many messages there were.
    fn note(&mut self, item: Item) -> bool {
        match item {
            Item::Message(message) => {
                let text = String::from_utf8_lossy(&message.payload);
                let (number, is_end) = match text.strip_prefix(END) {
                    Some(count) => (count.parse(), true),
                    None => (text.parse(), false),
                };
                match number {
                    Ok(number) => self.place(message.topic, number, is_end),
                    Err(_) => self.errors += 1,
                }
            }
            Item::Gap { topic, .. } => {
                self.gaps += 1;
                self.topics.entry(topic).or_default().is_gap = true;
            }
            _ => self.errors += 1,
        }
        self.topics.values().filter(|place| place.has_ended).count() == TOPICS
    }

    fn place(&mut self, topic: Topic, number: u64, is_end: bool) {
        let place = self.topics.entry(topic).or_default();
        place.has_ended |= is_end;
        self.messages += u64::from(!is_end);
        if number < place.next {
            self.repeated += 1;
            return;
        }
        if !place.is_gap {
            self.lost += number - place.next;
        }
        *place = Place { next: number + 1, is_gap: false, ..*place };
    }
}

impl<R: Runtime> Worker<R> {
    /// Receives until the end of the messages.
    pub(super) async fn receive(self: Arc<Self>, lasting: Lasting<R>) {
        // One that has not come to its end in an earlier step is missing in this one as well.
        let Some(mut subscription) = lasting.take() else { return };
        let mut received = Received::default();
        while let Some(item) = subscription.next().await {
            if received.note(item) {
                lasting.put(subscription);
                // Nobody waits any more for a task that is late.
                let _ = self.done.send(Known::Received(received));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hitless_core::error::CloseCause;
    use hitless_core::pubsub::Message;

    use super::*;

    /// What is known of messages with these numbers, where `None` is a gap, and of their end behind `count` of them.
    fn received(numbers: &[Option<u64>], count: u64) -> [u64; 4] {
        let mut received = Received::default();
        let message = |topic: &Topic, text: String| Item::Message(Message::new(topic.clone(), CHANNEL, text));
        for topic in &topics() {
            for number in numbers {
                let gap = || Item::Gap { topic: topic.clone(), cause: CloseCause::ByServer };
                let item = number.map_or_else(gap, |number| message(topic, number.to_string()));
                assert!(!received.note(item));
            }
        }
        let ended = topics().map(|topic| received.note(message(&topic, format!("{END}{count}"))));
        assert_eq!((ended, received.errors), ([false, true], 0));
        let Received { messages, lost, repeated, gaps, .. } = received;
        [messages, lost, repeated, gaps].map(|figure| figure / TOPICS as u64)
    }

    #[test]
    fn a_message_may_be_missing_behind_a_gap_alone() {
        assert_eq!(received(&[Some(0), Some(1)], 2), [2, 0, 0, 0]);
        assert_eq!(received(&[Some(0), Some(2)], 3), [2, 1, 0, 0]);
        assert_eq!(received(&[Some(0), None, Some(2)], 3), [2, 0, 0, 1]);
        assert_eq!(received(&[None, Some(0), Some(2)], 3), [2, 1, 0, 1], "the gap was before");
        assert_eq!(received(&[Some(0)], 3), [1, 2, 0, 0]);
        assert_eq!(received(&[Some(0), None], 3), [1, 0, 0, 1]);
    }

    #[test]
    fn a_message_that_comes_again_is_repeated_behind_a_gap_as_well() {
        assert_eq!(received(&[Some(0), Some(1), Some(1)], 2), [3, 0, 1, 0]);
        assert_eq!(received(&[Some(0), Some(1), None, Some(0)], 2), [3, 0, 1, 1]);
    }

    #[test]
    fn what_else_is_said_is_an_error() {
        let mut received = Received::default();
        received.note(Item::Lagged(3));
        assert_eq!(received.errors, 1);
    }
}
