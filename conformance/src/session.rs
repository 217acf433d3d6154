//! A client of the driver, and everything that it has said so far: what the worlds on runtimes have in common.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_core::Stream as _;
use hitless_core::client::{Invalidation, Stats};
use hitless_core::config::ConfigBuilder;
use hitless_core::driver::{
    Builder, Client, Connector, Error, Events, Invalidations, Lease, LeaseNotice, MetricsHook, Pushes, Reply,
    Resolver, Runtime, Subscription,
};
use hitless_core::error::{ConnectError, LeaseError};
use hitless_core::event::Event;
use hitless_core::pubsub::{SubscribeError, Topic};
use hitless_core::request::{Request, SendError};
use resp3_codec::Frame;

use crate::hooked::with_hooks;
use crate::vault::Vault;
use crate::world::{Finished, Holder, LeaseState, Reviewer, Subscriber, SubscriptionState, Ticket};

/// Events that may be unread: a world may look late, where a real application's observer is expected to keep up.
const UNREAD: usize = 100_000;

pub(crate) struct Session<R: Runtime> {
    client: Option<Client<R>>,
    pub(crate) reviewer: Option<Reviewer>,
    pub(crate) vault: Option<Arc<Vault>>,
    pub(crate) metrics: MetricsHook,
    replies: BTreeMap<Ticket, Reply<R>>,
    finished: BTreeMap<Ticket, Finished>,
    next_ticket: u64,
    leases: BTreeMap<Holder, Wish<R>>,
    subscribers: BTreeMap<Subscriber, Reading<R>>,
    event_stream: Option<Events>,
    events: Vec<(Instant, Event)>,
    push_stream: Option<Pushes>,
    pushes: Vec<Vec<Frame>>,
    invalidation_stream: Option<Invalidations>,
    invalidations: Vec<Invalidation>,
}

/// The wish for a lease, and what has become of it.
enum Wish<R: Runtime> {
    Waits(Pin<Box<dyn Future<Output = Result<Lease<R>, Error>>>>),
    Has(Lease<R>),
    Failed(LeaseError),
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A subscription, and what was read of it.
struct Reading<R: Runtime> {
    subscribing: Option<Boxed<Subscription<R>>>,
    subscription: Option<Subscription<R>>,
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
            while let Poll::Ready(Some(item)) = Pin::new(&mut *subscription).poll_next(cx) {
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
                self.client = Some(client);
                Ok(())
            }
            Err(Error::Connect(error)) => Err(error),
            Err(error) => panic!("the settings of a case fit together: {error}"),
        }
    }

    pub(crate) fn client(&self) -> Option<&Client<R>> {
        self.client.as_ref()
    }

    /// Takes in what the client has to say, and has `waker` woken when there is more. True if it was anything.
    pub(crate) fn collect(&mut self, now: Instant, waker: &Waker) -> bool {
        let mut cx = Context::from_waker(waker);
        let before = self.said();
        let finished = &mut self.finished;
        self.replies.retain(|ticket, reply| match Pin::new(reply).poll(&mut cx) {
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
        self.events.len() + self.pushes.len() + self.invalidations.len() + self.finished.len()
    }

    pub(crate) fn send(&mut self, request: Request) -> Result<Ticket, SendError> {
        let reply = self.client.as_ref().expect("connect first").send(request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.replies.insert(ticket, reply);
        Ok(ticket)
    }

    /// Wants a lease; `waker` is woken when there is more to know.
    pub(crate) fn lease(&mut self, waker: &Waker) -> Holder {
        let client = self.client.clone().expect("connect first");
        let holder = Holder(self.next_ticket);
        self.next_ticket += 1;
        let mut wish = Wish::Waits(Box::pin(async move { client.lease().await }));
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
        let reply = lease.send(request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.replies.insert(ticket, reply);
        Ok(ticket)
    }

    pub(crate) fn return_lease(&mut self, holder: Holder) {
        self.leases.remove(&holder);
    }

    pub(crate) fn subscribe(&mut self, topics: Vec<Topic>, waker: &Waker) -> Subscriber {
        let client = self.client.clone().expect("connect first");
        let subscriber = Subscriber(self.next_ticket);
        self.next_ticket += 1;
        let mut reading = Reading {
            subscribing: Some(Box::pin(async move { client.subscribe(topics).await })),
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
        let subscription = reading.subscription.as_ref().expect("it was confirmed");
        reading.state.outcome = None;
        reading.more = Some(Box::pin(subscription.subscribe(topics)));
        reading.poll(&mut Context::from_waker(waker));
    }

    pub(crate) fn unsubscribe(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        let reading = &self.subscribers[&subscriber];
        let subscription = reading.subscription.as_ref().expect("it was confirmed");
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
        self.client.as_ref().map(Client::stats).unwrap_or_default()
    }

    /// The client has been shut down: nobody waits any more. INV-01
    pub(crate) fn assert_all_ended(&self) {
        assert!(self.replies.is_empty(), "INV-01: requests that never ended: {:?}", self.replies.keys());
    }
}
