//! A client of the driver, and everything that it has said so far: what the worlds on runtimes have in common.

mod cluster;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream as _;
use hitless_core::client::{Invalidation, Stats};
use hitless_core::cluster::ClusterEvent;
use hitless_core::config::ConfigBuilder;
use hitless_core::driver::{
    Builder, Client, ClusterSubscription, Connector, Error, Events, Invalidations, Lease, LeaseNotice,
    MetricsHook, Observer, Pushes, Resolver, Runtime, Subscription,
};
use hitless_core::error::{ConnectError, LeaseError};
use hitless_core::event::Event;
use hitless_core::pubsub::{Item, SubscribeError, Topic};
use hitless_core::request::{Outcome, Request, SendError};
use resp3_codec::Frame;

use self::cluster::Cluster;
use crate::hooked::with_hooks;
use crate::vault::Vault;
use crate::world::{Finished, Holder, LeaseState, Reviewer, Subscriber, SubscriptionState, Ticket};

/// Events that may be unread: a world may look late, where a real application's observer is expected to keep up.
const UNREAD: usize = 100_000;

pub(crate) struct Session<R: Runtime> {
    client: Option<Handle<R>>,
    pub(crate) reviewer: Option<Reviewer>,
    pub(crate) vault: Option<Arc<Vault>>,
    pub(crate) metrics: MetricsHook,
    replies: BTreeMap<Ticket, Awaited>,
    finished: BTreeMap<Ticket, Finished>,
    next_ticket: u64,
    leases: BTreeMap<Holder, Wish<R>>,
    subscribers: BTreeMap<Subscriber, Reading<R>>,
    event_stream: Option<Events>,
    /// Until the cluster is connected.
    cluster_events: Option<Observer<ClusterEvent>>,
    events: Vec<(Instant, Event)>,
    push_stream: Option<Pushes>,
    pushes: Vec<Vec<Frame>>,
    invalidation_stream: Option<Invalidations>,
    invalidations: Vec<Invalidation>,
}

/// The client of a session.
enum Handle<R: Runtime> {
    Single(Client<R>),
    Cluster(Cluster<R>),
}

/// The replies to a request.
type Awaited = Pin<Box<dyn Future<Output = Outcome>>>;

/// The wish for a lease, and what has become of it.
enum Wish<R: Runtime> {
    Waits(Boxed<Lease<R>>),
    Has(Lease<R>),
    Failed(LeaseError),
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A subscription of either client.
enum Reader<R: Runtime> {
    Single(Subscription<R>),
    Cluster(Box<ClusterSubscription<R>>),
}

impl<R: Runtime> Reader<R> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        match self {
            Self::Single(subscription) => Pin::new(subscription).poll_next(cx),
            Self::Cluster(subscription) => Pin::new(&mut **subscription).poll_next(cx),
        }
    }

    fn single(&self) -> &Subscription<R> {
        match self {
            Self::Single(subscription) => subscription,
            Self::Cluster(_) => panic!("a client of a cluster has other ways"),
        }
    }
}

/// A subscription, and what was read of it.
struct Reading<R: Runtime> {
    subscribing: Option<Boxed<Reader<R>>>,
    subscription: Option<Reader<R>>,
    /// The wish for more topics.
    more: Option<Boxed<()>>,
    state: SubscriptionState,
}

impl<R: Runtime> Reading<R> {
    /// Reads what there is. True if there was anything.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let before = (self.state.items.len(), self.state.outcome.is_some());
        if let Some(Poll::Ready(result)) = self.subscribing.as_mut().map(|future| future.as_mut().poll(cx)) {
            self.subscribing = None;
            self.state.outcome = Some(match result {
                Ok(subscription) => {
                    self.subscription = Some(subscription);
                    Ok(())
                }
                Err(error) => Err(refusal(error)),
            });
        }
        if let Some(Poll::Ready(result)) = self.more.as_mut().map(|future| future.as_mut().poll(cx)) {
            self.more = None;
            self.state.outcome = Some(result.map_err(refusal));
        }
        if let Some(subscription) = &mut self.subscription {
            while let Poll::Ready(Some(item)) = subscription.poll_next(cx) {
                self.state.items.push(item);
            }
        }
        (self.state.items.len(), self.state.outcome.is_some()) != before
    }
}

fn refusal(error: Error) -> SubscribeError {
    match error {
        Error::Subscribe(error) => error,
        error => panic!("a subscription, or why there is none: {error}"),
    }
}

impl<R: Runtime> Wish<R> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Waits(future) = self
            && let Poll::Ready(result) = future.as_mut().poll(cx)
        {
            *self = match result {
                Ok(lease) => Self::Has(lease),
                Err(Error::Lease(error)) => Self::Failed(error),
                Err(error) => panic!("a lease, or why there is none: {error}"),
            };
        }
    }
}

impl<R: Runtime> Session<R> {
    pub(crate) fn new() -> Self {
        Self {
            client: None,
            reviewer: None,
            vault: None,
            metrics: MetricsHook::new(),
            replies: BTreeMap::new(),
            finished: BTreeMap::new(),
            next_ticket: 0,
            leases: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            event_stream: None,
            cluster_events: None,
            events: Vec::new(),
            push_stream: None,
            pushes: Vec::new(),
            invalidation_stream: None,
            invalidations: Vec::new(),
        }
    }

    /// The client with these settings, still to be connected, with the hooks of the case and under observation.
    pub(crate) fn builder<N: Resolver + Connector>(
        &mut self,
        runtime: R,
        network: N,
        settings: ConfigBuilder,
    ) -> Builder<R, N> {
        assert!(self.client.is_none(), "a world has one client");
        let builder = Builder::from_settings(runtime, network, settings.event_capacity(UNREAD));
        let builder = with_hooks(builder, self.reviewer.take(), &self.metrics);
        let builder = match self.vault.take() {
            Some(vault) => builder.credentials_provider(vault),
            None => builder,
        };
        self.event_stream = Some(builder.events());
        builder
    }

    /// How the connecting ended.
    pub(crate) fn connected(&mut self, result: Result<Client<R>, Error>) -> Result<(), ConnectError> {
        match result {
            Ok(client) => {
                self.push_stream = Some(client.pushes());
                self.invalidation_stream = client.invalidations().ok();
                self.client = Some(Handle::Single(client));
                Ok(())
            }
            Err(Error::Connect(error)) => Err(error),
            Err(error) => panic!("the settings of a case fit together: {error}"),
        }
    }

    /// Shuts the client down, if there is one.
    pub(crate) fn shutdown(&self, grace: Duration) -> Option<impl Future<Output = ()> + Send + use<R>> {
        let (single, cluster) = match self.client.as_ref()? {
            Handle::Single(client) => (Some(client.clone()), None),
            Handle::Cluster(cluster) => (None, Some(cluster.client().clone())),
        };
        Some(async move {
            if let Some(client) = single {
                client.shutdown(grace).await;
            }
            if let Some(client) = cluster {
                client.shutdown(grace).await;
            }
        })
    }

    /// The client of one server.
    fn single(&self) -> Client<R> {
        match &self.client {
            Some(Handle::Single(client)) => client.clone(),
            Some(Handle::Cluster(_)) => panic!("a client of a cluster has other ways"),
            None => panic!("connect first"),
        }
    }

    /// Takes in what the client has to say, and has `waker` woken when there is more. True if it was anything.
    pub(crate) fn collect(&mut self, now: Instant, waker: &Waker) -> bool {
        let mut cx = Context::from_waker(waker);
        let before = self.said();
        let finished = &mut self.finished;
        self.replies.retain(|ticket, reply| match reply.as_mut().poll(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                finished.insert(*ticket, Finished { at: now, outcome });
                false
            }
        });
        self.leases.values_mut().for_each(|wish| wish.poll(&mut cx));
        let mut has_read = false;
        for reading in self.subscribers.values_mut() {
            has_read |= reading.poll(&mut cx);
        }
        if let Some(stream) = &mut self.event_stream {
            while let Poll::Ready(Some(event)) = stream.poll_next(&mut cx) {
                self.events.push((now, event.expect("no event is missed")));
            }
        }
        if let Some(Handle::Cluster(cluster)) = &mut self.client {
            cluster.collect(now, &mut cx);
        }
        if let Some(stream) = &mut self.push_stream {
            while let Poll::Ready(Some(push)) = stream.poll_next(&mut cx) {
                self.pushes.push(push.expect("no push is missed").elements);
            }
        }
        if let Some(stream) = &mut self.invalidation_stream {
            while let Poll::Ready(Some(told)) = Pin::new(&mut *stream).poll_next(&mut cx) {
                self.invalidations.push(told);
            }
        }
        has_read || self.said() > before
    }

    fn said(&self) -> usize {
        let events = match &self.client {
            Some(Handle::Cluster(cluster)) => cluster.events().len(),
            Some(Handle::Single(_)) | None => self.events.len(),
        };
        events + self.pushes.len() + self.invalidations.len() + self.finished.len()
    }

    pub(crate) fn send(&mut self, request: Request) -> Result<Ticket, SendError> {
        let reply: Awaited = match self.client.as_ref().expect("connect first") {
            Handle::Single(client) => Box::pin(client.send(request)?),
            Handle::Cluster(cluster) => Box::pin(cluster.client().send(request)?),
        };
        Ok(self.note(reply))
    }

    /// Waits for replies from now on.
    fn note(&mut self, reply: Awaited) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.replies.insert(ticket, reply);
        ticket
    }

    /// Wants a lease; `waker` is woken when there is more to know.
    pub(crate) fn lease(&mut self, waker: &Waker) -> Holder {
        let client = self.single();
        self.wish(Box::pin(async move { client.lease().await }), waker)
    }

    fn wish(&mut self, lease: Boxed<Lease<R>>, waker: &Waker) -> Holder {
        let holder = Holder(self.next_ticket);
        self.next_ticket += 1;
        let mut wish = Wish::Waits(lease);
        // The place in the queue is that of the first poll.
        wish.poll(&mut Context::from_waker(waker));
        self.leases.insert(holder, wish);
        holder
    }

    pub(crate) fn lease_state(&mut self, holder: Holder, waker: &Waker) -> LeaseState {
        let wish = self.leases.get_mut(&holder).expect("it is not returned");
        wish.poll(&mut Context::from_waker(waker));
        let mut state = LeaseState::default();
        match wish {
            Wish::Waits(_) => {}
            Wish::Failed(error) => state.outcome = Some(Err(error.clone())),
            Wish::Has(lease) => {
                state.outcome = Some(Ok(()));
                match lease.notice() {
                    Some(LeaseNotice::Moving { deadline }) => state.moving = Some(deadline),
                    Some(LeaseNotice::Lost { cause }) => state.lost = Some(cause),
                    Some(_) | None => {}
                }
            }
        }
        state
    }

    pub(crate) fn send_on(&mut self, holder: Holder, request: Request) -> Result<Ticket, SendError> {
        let Some(Wish::Has(lease)) = self.leases.get(&holder) else { panic!("it was granted") };
        let reply = Box::pin(lease.send(request)?);
        Ok(self.note(reply))
    }

    pub(crate) fn return_lease(&mut self, holder: Holder) {
        self.leases.remove(&holder);
    }

    pub(crate) fn subscribe(&mut self, topics: Vec<Topic>, waker: &Waker) -> Subscriber {
        let subscribing: Boxed<Reader<R>> = match &self.client {
            Some(Handle::Cluster(cluster)) => {
                let client = cluster.client().clone();
                Box::pin(async move { Ok(Reader::Cluster(Box::new(client.subscribe(topics).await?))) })
            }
            _ => {
                let client = self.single();
                Box::pin(async move { Ok(Reader::Single(client.subscribe(topics).await?)) })
            }
        };
        let subscriber = Subscriber(self.next_ticket);
        self.next_ticket += 1;
        let mut reading = Reading {
            subscribing: Some(subscribing),
            subscription: None,
            more: None,
            state: SubscriptionState::default(),
        };
        reading.poll(&mut Context::from_waker(waker));
        self.subscribers.insert(subscriber, reading);
        subscriber
    }

    pub(crate) fn subscription_state(&mut self, subscriber: Subscriber, waker: &Waker) -> SubscriptionState {
        let reading = self.subscribers.get_mut(&subscriber).expect("it is open");
        reading.poll(&mut Context::from_waker(waker));
        reading.state.clone()
    }

    pub(crate) fn subscribe_more(&mut self, subscriber: Subscriber, topics: Vec<Topic>, waker: &Waker) {
        let reading = self.subscribers.get_mut(&subscriber).expect("it is open");
        let subscription = reading.subscription.as_ref().expect("it was confirmed").single();
        reading.state.outcome = None;
        reading.more = Some(Box::pin(subscription.subscribe(topics)));
        reading.poll(&mut Context::from_waker(waker));
    }

    pub(crate) fn unsubscribe(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        let reading = &self.subscribers[&subscriber];
        let subscription = reading.subscription.as_ref().expect("it was confirmed").single();
        subscription.unsubscribe(topics);
    }

    pub(crate) fn close_subscription(&mut self, subscriber: Subscriber) {
        self.subscribers.remove(&subscriber);
    }

    pub(crate) fn finished(&self, ticket: Ticket) -> Option<&Finished> {
        self.finished.get(&ticket)
    }

    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.replies.remove(&ticket);
    }

    pub(crate) fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    pub(crate) fn pushes(&self) -> &[Vec<Frame>] {
        &self.pushes
    }

    pub(crate) fn invalidations(&self) -> &[Invalidation] {
        &self.invalidations
    }

    pub(crate) fn stats(&self) -> Stats {
        match &self.client {
            Some(Handle::Single(client)) => client.stats(),
            Some(Handle::Cluster(_)) | None => Stats::default(),
        }
    }

    /// The client has been shut down: nobody waits any more. INV-01
    pub(crate) fn assert_all_ended(&self) {
        assert!(self.replies.is_empty(), "INV-01: requests that never ended: {:?}", self.replies.keys());
    }
}
