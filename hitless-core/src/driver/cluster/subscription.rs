//! A stream of messages out of a cluster, which outlasts the node that it comes from.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use resp3_codec::Frame;

use super::super::error::Error;
use super::super::observer::{Events, Observer};
use super::super::subscription::Subscription;
use super::super::traits::Runtime;
use super::handle::ClusterClient;
use super::journey::Boxed;
use super::lease::Search;
use super::routes::{Place, Watch};
use super::shared::Shared;
use crate::cluster::{Crossing, Order, is_refusal, key_slot};
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
/// While it comes from the same node, what a [`Subscription`] promises, also when that node announces that it moves. When the node is gone, the
/// client subscribes at another node by itself, and [`Item::Gap`] stands where messages may be missing.
///
/// When the slot of sharded channels has another node, the client subscribes there as soon as it knows, and leaves the node of before when both show
/// the same messages, as they do when a replica has taken over: nothing is missing then, repeated, or out of the order of its channel. If they do
/// not, which is so wherever a slot goes from shard to shard, it receives from both until the node of before ends the subscription. What was
/// published at the new node before it was subscribed to is lost. One [`Item::Gap`] says so: when the node of before ends the subscription, or in front
/// of the first message that the new node alone shows, whichever is first. Messages of the node of before may still follow it.
/// Contents tell messages apart, and two different ones that both show are proof: if a channel repeats contents at that moment, messages that are equal
/// may be taken for one, and a gap or [`Item::Ambiguous`] says so. A node of before that does not answer withholds messages for 1 s at most.
pub struct ClusterSubscription<R: Runtime> {
    client: ClusterClient<R>,
    topics: BTreeSet<Topic>,
    source: Source<R>,
    /// Nothing comes from the source any more: another one is looked for.
    is_left: bool,
    /// What stands in front of what the source brings.
    ready: VecDeque<Item>,
    /// The source that comes next.
    opening: Option<Boxed<Opened<R>>>,
    /// From the search for another source until nothing of the one before matters any more.
    way: Option<Way<R>>,
    /// Says when a slot may have another node.
    swaps: Observer<()>,
    is_over: bool,
}

/// The way from one node to another.
struct Way<R: Runtime> {
    crossing: Crossing,
    /// The node before, which is still subscribed to, once `source` is the next one.
    old: Option<Source<R>>,
    /// Ready when the node before has answered, which is true, or takes too long.
    answer: Option<Boxed<bool>>,
}

/// The node that a subscription comes from.
struct Source<R: Runtime> {
    node: NodeId,
    /// What is subscribed to there.
    topics: BTreeSet<Topic>,
    items: Subscription<R>,
    /// Says when the node's client may have lost its connections.
    events: Events,
    /// Says of sharded channels whether their slot has left the node since.
    watch: Option<Arc<Watch>>,
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
        let swaps = self.shared().swaps.observe();
        loop {
            let place = choose(self.shared(), &mut search, &topics, before);
            let node = place.as_ref().map(|(node, _)| *node);
            let late = |after| SubscribeError::TimedOut { after }.into();
            match search.bounded(Source::open(self.shared(), place, &topics), late).await {
                Ok(source) => {
                    return Ok(ClusterSubscription {
                        client: self.clone(),
                        topics,
                        source,
                        is_left: false,
                        ready: VecDeque::new(),
                        opening: None,
                        way: None,
                        swaps,
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
        let slot = slot_of(&all)?;
        if self.opening.is_some() {
            // It comes with those that are on their way to another node.
            self.topics = all;
            self.search(None);
            return Ok(());
        }
        match self.source.items.subscribe(topics.iter().cloned()).await {
            Ok(()) => self.source.topics.extend(topics),
            // The slot has moved. The node may go on with what it has.
            Err(Error::Subscribe(SubscribeError::Refused { error, .. })) if is_redirect(&error) => {
                self.begin_way();
                self.topics = all;
                self.search(None);
                return Ok(());
            }
            Err(Error::Subscribe(SubscribeError::ShutDown)) if self.client.shared().is_open() => {
                self.topics = all;
                self.leave(CloseCause::ByClient);
                return Ok(());
            }
            Err(error) => {
                let search = Search::new(self.client.shared(), slot, None);
                return Err(search.explain(Some(self.source.node), error));
            }
        }
        self.topics = all;
        Ok(())
    }

    /// Receives nothing of these topics from now on, but for what lies unread already.
    pub fn unsubscribe(&mut self, topics: impl IntoIterator<Item = impl Into<Topic>>) {
        let topics: Vec<Topic> = topics.into_iter().map(Into::into).collect();
        self.topics.retain(|topic| !topics.contains(topic));
        self.source.topics.retain(|topic| !topics.contains(topic));
        if let Some(way) = &mut self.way {
            topics.iter().for_each(|topic| way.crossing.forget(topic));
            if let Some(old) = &way.old {
                old.items.unsubscribe(topics.iter().cloned());
            }
        }
        self.source.items.unsubscribe(topics);
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            self.obey();
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(item));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            let happens = self.poll_opening(cx) || self.poll_swaps(cx) || self.poll_nodes(cx);
            if !happens {
                return Poll::Pending;
            }
        }
    }

    /// True if something has come of the node before or of the source.
    fn poll_nodes(&mut self, cx: &mut Context<'_>) -> bool {
        let is_first = self.way.as_ref().is_some_and(|way| way.crossing.prefers_new());
        (is_first && self.poll_source(cx))
            || self.way.as_mut().is_some_and(|way| way.poll(cx))
            || (!is_first && self.poll_source(cx))
    }

    /// Does what the crossing has decided.
    fn obey(&mut self) {
        let Some(way) = &mut self.way else { return };
        while let Some(order) = way.crossing.poll_order() {
            way.answer = None;
            match order {
                Order::Ping => way.answer = way.old.as_ref().map(|old| Box::pin(old.items.catch_up()) as _),
                Order::Leave => way.old = None,
            }
        }
        self.ready.extend(std::iter::from_fn(|| way.crossing.poll_item()));
        if way.crossing.is_over() {
            self.way = None;
        }
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(opening) = &mut self.opening else { return false };
        let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return false };
        self.opening = None;
        self.arrive(opened);
        true
    }

    /// Goes where the slot of sharded channels is now.
    fn poll_swaps(&mut self, cx: &mut Context<'_>) -> bool {
        if self.opening.is_some() || !matches!(self.swaps.poll_next(cx), Poll::Ready(Some(_))) {
            return false;
        }
        let place = slot_of(&self.topics).ok().and_then(|slot| self.client.shared().find(Some(slot)));
        // A slot that has come back was at another node, whatever was published there.
        let has_left =
            |node| node != self.source.node || self.source.watch.as_ref().is_some_and(|it| it.take());
        if is_sharded(&self.topics) && place.is_some_and(|(node, _)| has_left(node)) {
            self.begin_way();
            self.search(None);
        }
        true
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_left {
            return false;
        }
        match self.source.poll(cx) {
            Poll::Pending => return false,
            // The slot has moved, and all of its channels have.
            Poll::Ready(Sign::Item(Item::Refused { error, .. })) if is_redirect(&error) => {
                self.leave(CloseCause::ByServer);
            }
            Poll::Ready(Sign::Item(item)) => self.on_item(item),
            Poll::Ready(Sign::Gone(cause)) => self.leave(cause),
        }
        true
    }

    fn on_item(&mut self, item: Item) {
        if let Item::Refused { topic, .. } = &item {
            self.forget(&topic.clone());
        }
        match &mut self.way {
            Some(way) if self.opening.is_some() => way.crossing.handle_old(item),
            Some(way) => way.crossing.handle_new(item),
            None => self.ready.push_back(item),
        }
    }

    fn forget(&mut self, topic: &Topic) {
        self.topics.remove(topic);
        self.source.topics.remove(topic);
        if let Some(way) = &mut self.way {
            way.crossing.forget(topic);
        }
    }

    /// Nothing comes from the source any more: looks for another node, or the same one again.
    fn leave(&mut self, cause: CloseCause) {
        self.is_left = true;
        if self.opening.is_none() {
            self.begin_way();
            self.search(Some(self.source.node).filter(|_| cause != CloseCause::ByClient));
        }
        if let Some(way) = &mut self.way {
            way.crossing.handle_old_end(cause);
        }
    }

    /// What is still under way from a node that was left before ends here.
    fn begin_way(&mut self) {
        if self.way.is_some() {
            self.read_source();
        }
        if let Some(way) = &mut self.way {
            way.end(CloseCause::ByServer);
            self.ready.extend(std::iter::from_fn(|| way.crossing.poll_item()));
        }
        self.way = Some(Way { crossing: Crossing::begin(&self.source.topics), old: None, answer: None });
    }

    /// What the source has repeated of the node before is known to the crossing that ends, and to no other one.
    fn read_source(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(item)) = Pin::new(&mut self.source.items).poll_next(&mut cx) {
            let is_redirected = matches!(&item, Item::Refused { error, .. } if is_redirect(error));
            if !is_redirected {
                self.on_item(item);
            }
        }
    }

    fn search(&mut self, before: Option<NodeId>) {
        let (shared, topics) = (Arc::clone(self.client.shared()), self.topics.clone());
        self.opening = Some(Box::pin(reopen(shared, topics, before)));
    }

    fn arrive(&mut self, opened: Opened<R>) {
        match opened {
            Opened::Source(source) => self.arrive_at(source),
            Opened::Refused { topic, error } => {
                self.forget(&topic);
                self.ready.push_back(Item::Refused { topic, error });
                self.search(None);
            }
            Opened::Over => self.is_over = true,
        }
    }

    fn arrive_at(&mut self, mut source: Source<R>) {
        let Some(way) = &mut self.way else { return };
        let is_same = source.node == self.source.node && self.topics.is_subset(&self.source.topics);
        if is_same && !self.is_left {
            // The slot has come back meanwhile: what was published at the other node was shown to nobody here.
            self.ready.extend(std::iter::from_fn(|| way.crossing.poll_item()));
            let gap = |topic: &Topic| Item::Gap { topic: topic.clone(), cause: CloseCause::ByServer };
            self.ready.extend(self.topics.iter().map(gap));
            self.source.watch = source.watch;
            self.way = None;
            return;
        }
        // What the caller has given up since the search began.
        let unwanted: Vec<Topic> = source.topics.difference(&self.topics).cloned().collect();
        if !unwanted.is_empty() {
            source.topics.retain(|topic| !unwanted.contains(topic));
            source.items.unsubscribe(unwanted);
        }
        let old = std::mem::replace(&mut self.source, source);
        way.old = Some(old);
        if std::mem::take(&mut self.is_left) {
            way.read_remaining();
            way.old = None;
        }
        way.crossing.handle_confirmed(&self.topics);
    }
}

impl<R: Runtime> Way<R> {
    /// True if something has come of the node before.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let answer = self.answer.as_mut().map(|answer| answer.as_mut().poll(cx));
        let Some(Poll::Ready(is_answered)) = answer else { return self.poll_old(cx) };
        self.answer = None;
        // What was sent before the answer lies there.
        while self.poll_old(cx) {}
        match is_answered {
            true => self.crossing.handle_answer(),
            false => self.crossing.handle_no_answer(),
        }
        true
    }

    fn poll_old(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Poll::Ready(sign)) = self.old.as_mut().map(|old| old.poll(cx)) else { return false };
        match sign {
            Sign::Item(Item::Refused { error, .. }) if is_redirect(&error) => self.end(CloseCause::ByServer),
            // The new node has confirmed the topic.
            Sign::Item(Item::Refused { .. }) => {}
            Sign::Item(item) => self.crossing.handle_old(item),
            Sign::Gone(cause) => self.end(cause),
        }
        true
    }

    /// Nothing more comes from the node before.
    fn end(&mut self, cause: CloseCause) {
        self.read_remaining();
        (self.old, self.answer) = (None, None);
        self.crossing.handle_old_end(cause);
    }

    /// What still stands there from the node before is not lost with it.
    fn read_remaining(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Some(Poll::Ready(Sign::Item(item))) = self.old.as_mut().map(|old| old.poll(&mut cx)) {
            if !matches!(item, Item::Refused { .. }) {
                self.crossing.handle_old(item);
            }
        }
    }
}

/// What the search for another node has led to.
enum Opened<R: Runtime> {
    Source(Source<R>),
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
    async fn open(
        shared: &Shared<R>,
        place: Option<Place<R>>,
        topics: &BTreeSet<Topic>,
    ) -> Result<Self, Error> {
        let Some((node, client)) = place else { return Err(SubscribeError::ShutDown.into()) };
        let slot = slot_of(topics).ok().filter(|_| is_sharded(topics));
        let (watch, events) = (slot.map(|slot| shared.watch(slot, node)), client.events());
        let items = client.subscribe(topics.iter().cloned()).await?;
        Ok(Self { node, topics: topics.clone(), items, events, watch })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Sign> {
        if let Poll::Ready(item) = Pin::new(&mut self.items).poll_next(cx) {
            return Poll::Ready(item.map_or(Sign::Gone(CloseCause::ByClient), Sign::Item));
        }
        while let Poll::Ready(event) = self.events.poll_next(cx) {
            let shared = self.items.client().shared();
            // One that shuts down keeps its leases for a while, but no subscription.
            if event.is_none() || !shared.is_open() {
                return Poll::Ready(Sign::Gone(CloseCause::ByClient));
            }
            if shared.receives_nothing() {
                return Poll::Ready(Sign::Gone(CloseCause::ByServer));
            }
        }
        Poll::Pending
    }
}

/// Whether these are sharded channels, which have a slot.
fn is_sharded(topics: &BTreeSet<Topic>) -> bool {
    matches!(topics.first(), Some(Topic::Sharded(_)))
}

/// Subscribes at another node than `before`, as long as there is one, until that succeeds or the client shuts down.
async fn reopen<R: Runtime>(
    shared: Arc<Shared<R>>,
    topics: BTreeSet<Topic>,
    mut before: Option<NodeId>,
) -> Opened<R> {
    let Ok(slot) = slot_of(&topics) else { return Opened::Over };
    while shared.is_open() {
        let mut search = Search::new(&shared, slot, shared.policy.lease_timeout);
        loop {
            let place = choose(&shared, &mut search, &topics, before);
            let node = place.as_ref().map(|(node, _)| *node);
            let error = match Source::open(&shared, place, &topics).await {
                Ok(source) => return Opened::Source(source),
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
