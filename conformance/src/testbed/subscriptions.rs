//! Subscriptions.

use std::panic::resume_unwind;

use bytes::Bytes;
use hitless_core::pubsub::{Item, SubscribeError, Topic};
use resp3_codec::cmd;

use super::{Declined, Testbed};
use crate::world::Subscriber;

impl Testbed {
    /// Wants a subscription; declines the case where there is none.
    pub fn begin_subscription(&mut self, topics: &[Topic]) -> Subscriber {
        // Its connection is one of those beside the pool.
        self.lends = true;
        let begun = self.world.subscribe(topics.to_vec());
        begun.unwrap_or_else(|reason| resume_unwind(Box::new(Declined(reason.to_owned()))))
    }

    /// Subscribes, which must succeed.
    pub fn subscribe(&mut self, topics: &[Topic]) -> Subscriber {
        let subscriber = self.begin_subscription(topics);
        assert_eq!(self.subscribed(subscriber), Ok(()));
        subscriber
    }

    /// Waits for the end of the latest wish for topics.
    pub fn subscribed(&mut self, subscriber: Subscriber) -> Result<(), SubscribeError> {
        self.run_until_soon("the wish for topics has ended", |bed| {
            bed.world.subscription_state(subscriber).outcome.is_some()
        });
        self.world.subscription_state(subscriber).outcome.expect("it has just ended")
    }

    /// Subscribes to more topics, without waiting for a confirmation.
    pub fn subscribe_more(&mut self, subscriber: Subscriber, topics: &[Topic]) {
        self.world.subscribe_more(subscriber, topics.to_vec());
    }

    /// Ends the subscription to some topics.
    pub fn unsubscribe(&mut self, subscriber: Subscriber, topics: &[Topic]) {
        self.world.unsubscribe(subscriber, topics.to_vec());
    }

    /// Ends a subscription.
    pub fn close_subscription(&mut self, subscriber: Subscriber) {
        self.world.close_subscription(subscriber);
    }

    /// What a subscription has received.
    pub fn received(&mut self, subscriber: Subscriber) -> Vec<Item> {
        self.world.subscription_state(subscriber).items
    }

    /// The payloads of the messages among that.
    pub fn payloads(&mut self, subscriber: Subscriber) -> Vec<String> {
        let text = |payload: Bytes| String::from_utf8_lossy(&payload).into_owned();
        let messages = self.received(subscriber).into_iter().filter_map(Item::into_message);
        messages.map(|message| text(message.payload)).collect()
    }

    /// Waits until a subscription has received so many items.
    pub fn run_until_received(&mut self, subscriber: Subscriber, count: usize) {
        self.run_until_soon("it is received", |bed| bed.received(subscriber).len() >= count);
    }

    /// Publishes, and waits until that has happened.
    pub fn publish(&mut self, channel: &str, payload: impl ToString) {
        self.call(cmd("PUBLISH").arg(channel).arg(payload.to_string()));
    }
}
