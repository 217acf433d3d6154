//! A stream of messages.

mod mailbox;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

pub(super) use self::mailbox::Mailbox;
use super::error::Error;
use super::handle::Client;
use super::traits::Runtime;
use crate::ids::SubscriptionId;
use crate::pubsub::{Item, Topic};

/// What a [`Client`] receives for some topics: a stream of [items](Item), which ends when the client has terminated.
///
/// All subscriptions of a client share one connection, apart from the pool, which is one of
/// [`max_dedicated`](crate::config::ConfigBuilder::max_dedicated). Dropping the subscription ends it.
///
/// # What is promised
/// When the server announces that the connection is to be given up, both the old and the new one are subscribed for a while, and what both
/// show is received once: no message is lost, repeated or out of the order of its channel. Where messages with equal contents leave that open,
/// [`Item::Ambiguous`] says so. After a loss without an announcement the client subscribes again by itself, and [`Item::Gap`]
/// stands where messages may be missing. A connection that brings nothing for 10 s is pinged; if it then owes the answer for
/// [`dead_link_timeout`](crate::config::ConfigBuilder::dead_link_timeout), it counts as lost.
///
/// # Too slow
/// As many items are kept unread as [`subscription_capacity`](crate::config::ConfigBuilder::subscription_capacity) says. Beyond that the
/// oldest ones are dropped, and [`Item::Lagged`] says how many.
///
/// ```no_run
/// # use hitless_core::driver::{Client, Error, Runtime};
/// use hitless_core::pubsub::{Item, Topic};
///
/// # async fn example<R: Runtime>(client: Client<R>) -> Result<(), Error> {
/// let mut news = client.subscribe(["news"]).await?;
/// news.subscribe([Topic::pattern("weather.*")]).await?;
/// while let Some(item) = news.next().await {
///     match item {
///         Item::Message(message) => println!("{:?}: {:?}", message.channel, message.payload),
///         item => println!("{item:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Subscription<R: Runtime> {
    client: Client<R>,
    id: SubscriptionId,
    mailbox: Arc<Mailbox>,
}

impl<R: Runtime> Client<R> {
    /// Subscribes to these topics. A string is a channel; a [`Topic`] says what else it is. The future is ready once the server has
    /// confirmed all of them: what is published from then on is received.
    ///
    /// # Errors
    /// [`Error::Subscribe`]: the server refuses one of them, or they were not confirmed within
    /// [`lease_timeout`](crate::config::ConfigBuilder::lease_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn subscribe(
        &self,
        topics: impl IntoIterator<Item = impl Into<Topic>>,
    ) -> Result<Subscription<R>, Error> {
        let mailbox = Arc::new(Mailbox::new(self.shared().subscription_capacity));
        let id = self.shared().open_subscription(&mailbox)?;
        let subscription = Subscription { client: self.clone(), id, mailbox };
        subscription.subscribe(topics).await?;
        Ok(subscription)
    }

    /// Subscribes to all channels that fit one of these patterns, such as `news.*`.
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// That of [`subscribe`](Self::subscribe).
    pub async fn psubscribe(
        &self,
        patterns: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Subscription<R>, Error> {
        self.subscribe(patterns.into_iter().map(|pattern| Topic::Pattern(copied(pattern)))).await
    }

    /// Subscribes to these sharded channels, to which SPUBLISH publishes.
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// That of [`subscribe`](Self::subscribe).
    pub async fn ssubscribe(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Subscription<R>, Error> {
        self.subscribe(channels.into_iter().map(|channel| Topic::Sharded(copied(channel)))).await
    }
}

impl<R: Runtime> Subscription<R> {
    /// The next item, or `None` once the client has terminated.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|cx| self.mailbox.poll_next(cx)).await
    }

    /// Subscribes to these topics as well: at once, and not when the future is polled first. The future is ready once the server has
    /// confirmed all of them.
    ///
    /// # Errors
    /// [`Error::Subscribe`]: none of them is subscribed to; what was subscribed to before stays.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the wish back.
    pub fn subscribe<I>(&self, topics: I) -> impl Future<Output = Result<(), Error>> + Send + use<R, I>
    where
        I: IntoIterator<Item: Into<Topic>>,
    {
        let topics = topics.into_iter().map(Into::into).collect();
        let confirmed = self.client.shared().subscribe(self.id, topics);
        async move {
            let confirmed = confirmed?;
            Ok(std::future::poll_fn(|cx| confirmed.poll(cx)).await?)
        }
    }

    /// Receives nothing of these topics from now on, but for what lies unread already.
    pub fn unsubscribe(&self, topics: impl IntoIterator<Item = impl Into<Topic>>) {
        let topics: Vec<Topic> = topics.into_iter().map(Into::into).collect();
        self.client.shared().unsubscribe(self.id, &topics);
    }

    /// Asks the server for an answer at once. The future is ready when that has come, which is true, and what was sent before it lies here to be read
    /// then; or when it cannot come in time.
    pub(super) fn catch_up(&self) -> impl Future<Output = bool> + Send + use<R> {
        let caught_up = self.client.shared().catch_up(self.id);
        async move {
            match caught_up {
                Ok(caught_up) => std::future::poll_fn(|cx| caught_up.poll(cx)).await.is_ok(),
                Err(_) => false,
            }
        }
    }

    /// The subscription's number in the client.
    #[must_use]
    pub fn id(&self) -> SubscriptionId {
        self.id
    }

    /// The client that receives for it.
    #[must_use]
    pub fn client(&self) -> &Client<R> {
        &self.client
    }
}

impl<R: Runtime> futures_core::Stream for Subscription<R> {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.mailbox.poll_next(cx)
    }
}

impl<R: Runtime> fmt::Debug for Subscription<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<R: Runtime> Drop for Subscription<R> {
    fn drop(&mut self) {
        self.client.shared().close_subscription(self.id);
    }
}

fn copied(name: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(name.as_ref())
}
