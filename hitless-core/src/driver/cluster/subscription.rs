//! A stream of messages out of a cluster, which outlasts the node that it comes from.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use resp3_codec::Frame;

use super::super::error::Error;
use super::super::observer::Events;
use super::super::subscription::Subscription;
use super::super::traits::Runtime;
use super::handle::ClusterClient;
use super::journey::Boxed;
use super::lease::Search;
use super::routes::Place;
use super::shared::Shared;
use crate::cluster::{is_refusal, key_slot};
use crate::error::{CloseCause, RouteError, ServerError};
use crate::ids::NodeId;
use crate::pubsub::{Item, SubscribeError, Topic};

/// Time between two rounds of looking for a node.
const PAUSE: Duration = Duration::from_millis(500);
const APART: &str =
    "sharded channels come from the node of their slot: subscribe to them apart from other topics";

/// What a [`ClusterClient`] receives for some topics: a stream of [items](Item), which ends when the client has been shut down.
///
/// It comes from one node. Messages of channels and patterns are on every node: which one is chosen by the name of the first topic, so
/// that many subscriptions are spread over the nodes. Sharded channels are on the node that serves their slot; those of one subscription
/// have one slot, so that those of several slots need one each. It keeps the cluster client open until it is dropped or the client is
/// [shut down](ClusterClient::shutdown).
///
/// # What is promised
/// While it comes from the same node, what a [`Subscription`] promises, also when that node announces that it moves. When the node is gone or the
/// slot of sharded channels has moved, the client subscribes at another node by itself, and [`Item::Gap`] stands where messages may be missing.
pub struct ClusterSubscription<R: Runtime> {
    client: ClusterClient<R>,
    topics: BTreeSet<Topic>,
    source: Source<R>,
    /// What stands in front of what the source brings.
    ready: VecDeque<Item>,
    /// The source that comes next, if the one before has ended.
    opening: Option<Boxed<Opened<R>>>,
    is_over: bool,
}

/// The node that a subscription comes from.
struct Source<R: Runtime> {
    node: NodeId,
    /// What was subscribed to there at first.
    topics: BTreeSet<Topic>,
    items: Subscription<R>,
    /// Says when the node's client may have lost its connections.
    events: Events,
}

impl<R: Runtime> ClusterClient<R> {
    /// Subscribes to these topics; see [`Client::subscribe`](super::super::Client::subscribe). Sharded channels are subscribed to apart from others,
    /// and have one slot.
    ///
    /// # Errors
    /// [`Error::Route`] if they have different slots, or other topics are among them; those of
    /// [`Client::subscribe`](super::super::Client::subscribe).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn subscribe(
        &self,
        topics: impl IntoIterator<Item = impl Into<Topic>>,
    ) -> Result<ClusterSubscription<R>, Error> {
        let topics: BTreeSet<Topic> = topics.into_iter().map(Into::into).collect();
        let slot = slot_of(&topics)?;
        let mut search = Search::new(self.shared(), slot, self.shared().policy.lease_timeout);
        let mut before = None;
        loop {
            let place = choose(self.shared(), &mut search, &topics, before);
            let node = place.as_ref().map(|(node, _)| *node);
            match Source::open(place, &topics).await {
                Ok(source) => {
                    let (client, ready) = (self.clone(), VecDeque::new());
                    let opening = None;
                    return Ok(ClusterSubscription {
                        client,
                        topics,
                        source,
                        ready,
                        opening,
                        is_over: false,
                    });
                }
                Err(error) => search.next(node, error).await?,
            }
            before = node;
        }
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
    ) -> Result<ClusterSubscription<R>, Error> {
        let copied = |pattern: &[u8]| Topic::Pattern(Bytes::copy_from_slice(pattern));
        self.subscribe(patterns.into_iter().map(|pattern| copied(pattern.as_ref()))).await
    }

    /// Subscribes to these sharded channels, to which SPUBLISH publishes. They have one slot.
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// That of [`subscribe`](Self::subscribe).
    pub async fn ssubscribe(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<ClusterSubscription<R>, Error> {
        let copied = |channel: &[u8]| Topic::Sharded(Bytes::copy_from_slice(channel));
        self.subscribe(channels.into_iter().map(|channel| copied(channel.as_ref()))).await
    }
}

impl<R: Runtime> ClusterSubscription<R> {
    /// The next item, or `None` once the client has been shut down.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// What is subscribed to.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Receives these topics as well. The future is ready once the server has confirmed all of them. While the subscription is on its way to
    /// another node, the future is ready at once: [`Item::Gap`] says of each topic when the new node has confirmed it, and [`Item::Refused`]
    /// that it does not.
    ///
    /// # Errors
    /// Those of [`ClusterClient::subscribe`]: none of them is subscribed to; what was subscribed to before stays.
    ///
    /// # Cancel safety
    /// Dropping the future may leave them subscribed to until the subscription changes its node.
    pub async fn subscribe(
        &mut self,
        topics: impl IntoIterator<Item = impl Into<Topic>>,
    ) -> Result<(), Error> {
        let topics: BTreeSet<Topic> = topics.into_iter().map(Into::into).collect();
        let all = self.topics.union(&topics).cloned().collect();
        slot_of(&all)?;
        if self.opening.is_none() {
            match self.source.items.subscribe(topics).await {
                Ok(()) => self.topics = all,
                // The slot has moved: all of its channels come from another node from now on.
                Err(Error::Subscribe(SubscribeError::Refused { error, .. })) if is_redirect(&error) => {
                    self.topics = all;
                    self.leave(CloseCause::ByServer);
                }
                Err(error) => return Err(error),
            }
            return Ok(());
        }
        // It comes with those that are on their way to another node.
        self.topics = all;
        self.leave(CloseCause::ByClient);
        Ok(())
    }

    /// Receives nothing of these topics from now on, but for what lies unread already.
    pub fn unsubscribe(&mut self, topics: impl IntoIterator<Item = impl Into<Topic>>) {
        let topics: Vec<Topic> = topics.into_iter().map(Into::into).collect();
        self.topics.retain(|topic| !topics.contains(topic));
        self.source.items.unsubscribe(topics);
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(item));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some(opening) = &mut self.opening {
                let opened = ready!(opening.as_mut().poll(cx));
                self.opening = None;
                self.arrive(opened);
                continue;
            }
            match ready!(self.source.poll(cx)) {
                // The slot has moved, and all of its channels have.
                Sign::Item(Item::Refused { error, .. }) if is_redirect(&error) => {
                    self.leave(CloseCause::ByServer)
                }
                Sign::Item(item) => {
                    if let Item::Refused { topic, .. } = &item {
                        self.topics.remove(topic);
                    }
                    return Poll::Ready(Some(item));
                }
                Sign::Gone(cause) => self.leave(cause),
            }
        }
    }

    /// Looks for another node, or the same one again.
    fn leave(&mut self, cause: CloseCause) {
        let (shared, topics) = (Arc::clone(self.client.shared()), self.topics.clone());
        let before = Some(self.source.node).filter(|_| cause != CloseCause::ByClient);
        self.opening = Some(Box::pin(reopen(shared, topics, before, cause)));
    }

    fn arrive(&mut self, opened: Opened<R>) {
        match opened {
            Opened::Source(source, cause) => {
                // What still stands here from the node before is not lost with it.
                while let Poll::Ready(Sign::Item(item)) =
                    self.source.poll(&mut Context::from_waker(std::task::Waker::noop()))
                {
                    if !matches!(item, Item::Refused { .. }) {
                        self.ready.push_back(item);
                    }
                }
                // What the caller has given up since the search began.
                let unwanted: Vec<Topic> = source.topics.difference(&self.topics).cloned().collect();
                if !unwanted.is_empty() {
                    source.items.unsubscribe(unwanted);
                }
                self.source = source;
                self.ready.extend(self.topics.iter().map(|topic| Item::Gap { topic: topic.clone(), cause }));
            }
            Opened::Refused { topic, error } => {
                self.topics.remove(&topic);
                self.ready.push_back(Item::Refused { topic, error });
                self.leave(CloseCause::ByServer);
            }
            Opened::Over => self.is_over = true,
        }
    }
}

/// What the search for another node has led to.
enum Opened<R: Runtime> {
    Source(Source<R>, CloseCause),
    Refused { topic: Topic, error: ServerError },
    Over,
}

/// What a source says.
enum Sign {
    Item(Item),
    /// Nothing more comes from there.
    Gone(CloseCause),
}

impl<R: Runtime> Source<R> {
    /// Subscribes at one node.
    async fn open(place: Option<Place<R>>, topics: &BTreeSet<Topic>) -> Result<Self, Error> {
        let Some((node, client)) = place else { return Err(SubscribeError::ShutDown.into()) };
        let events = client.events();
        let items = client.subscribe(topics.iter().cloned()).await?;
        Ok(Self { node, topics: topics.clone(), items, events })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Sign> {
        if let Poll::Ready(item) = Pin::new(&mut self.items).poll_next(cx) {
            return Poll::Ready(item.map_or(Sign::Gone(CloseCause::ByClient), Sign::Item));
        }
        while let Poll::Ready(event) = self.events.poll_next(cx) {
            if event.is_none() {
                return Poll::Ready(Sign::Gone(CloseCause::ByClient));
            }
            if self.items.client().shared().is_cut_off() {
                return Poll::Ready(Sign::Gone(CloseCause::ByServer));
            }
        }
        Poll::Pending
    }
}

/// Subscribes at another node than `before`, as long as there is one, until that succeeds or the client shuts down.
async fn reopen<R: Runtime>(
    shared: Arc<Shared<R>>,
    topics: BTreeSet<Topic>,
    mut before: Option<NodeId>,
    cause: CloseCause,
) -> Opened<R> {
    let Ok(slot) = slot_of(&topics) else { return Opened::Over };
    while shared.is_open() {
        let mut search = Search::new(&shared, slot, shared.policy.lease_timeout);
        loop {
            let place = choose(&shared, &mut search, &topics, before);
            let node = place.as_ref().map(|(node, _)| *node);
            let error = match Source::open(place, &topics).await {
                Ok(source) => return Opened::Source(source, cause),
                Err(Error::Subscribe(SubscribeError::Refused { topic, error })) if !is_redirect(&error) => {
                    return Opened::Refused { topic, error };
                }
                Err(error) => error,
            };
            before = node;
            if search.next(node, error).await.is_err() {
                break;
            }
        }
        shared.nap(PAUSE).await;
    }
    Opened::Over
}

/// The node to subscribe at: that of the slot, and for topics that are on every node another one than `before`.
fn choose<R: Runtime>(
    shared: &Shared<R>,
    search: &mut Search<'_, R>,
    topics: &BTreeSet<Topic>,
    before: Option<NodeId>,
) -> Option<Place<R>> {
    let place = search.place();
    let is_sharded = topics.iter().any(|topic| matches!(topic, Topic::Sharded(_)));
    let is_used_up = place.as_ref().is_none_or(|(node, _)| Some(*node) == before);
    if is_sharded || !is_used_up { place } else { shared.find(None).or(place) }
}

/// The slot that says where `topics` are received.
fn slot_of(topics: &BTreeSet<Topic>) -> Result<u16, Error> {
    let mut sharded = topics.iter().filter(|topic| matches!(topic, Topic::Sharded(_)));
    let slot = |topic: &Topic| key_slot(topic.name());
    let Some(first) = sharded.next().map(slot) else {
        return Ok(topics.first().map_or(0, slot));
    };
    if let Some(other) = sharded.map(slot).find(|other| *other != first) {
        return Err(RouteError::CrossSlot { first, other }.into());
    }
    if topics.iter().any(|topic| !matches!(topic, Topic::Sharded(_))) {
        return Err(RouteError::NeedsNode { instead: APART }.into());
    }
    Ok(first)
}

fn is_redirect(error: &ServerError) -> bool {
    is_refusal(&Frame::error(error.to_string()))
}

impl<R: Runtime> futures_core::Stream for ClusterSubscription<R> {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.poll_item(cx)
    }
}

impl<R: Runtime> fmt::Debug for ClusterSubscription<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSubscription")
            .field("node", &self.source.node)
            .field("topics", &self.topics.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(topics: &[Topic]) -> Result<u16, Error> {
        slot_of(&topics.iter().cloned().collect())
    }

    /// RULE-370
    #[test]
    fn sharded_channels_have_one_slot_and_stand_alone() {
        let [one, other] = ["{a}1", "{a}2"].map(Topic::sharded);
        assert_eq!(slot(&[one.clone(), other]).unwrap(), key_slot(b"a"));
        let across = slot(&[one.clone(), Topic::sharded("b")]).unwrap_err();
        assert!(matches!(across, Error::Route(RouteError::CrossSlot { .. })), "{across:?}");
        let mixed = slot(&[one, Topic::from("{a}1")]).unwrap_err();
        assert!(matches!(mixed, Error::Route(RouteError::NeedsNode { .. })), "{mixed:?}");
        assert!(slot(&[Topic::from("x"), Topic::pattern("y*")]).is_ok(), "they are on every node");
    }
}
