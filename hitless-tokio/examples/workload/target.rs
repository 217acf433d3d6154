//! The client in use: of one server, or of a cluster.

use std::time::Duration;

use super::hitless::driver::ClusterSubscription;
use super::hitless::pubsub::Item;
use super::hitless::{
    Adapter, Builder, Client, CloseCause, ClusterBuilder, ClusterClient, ClusterEvent, Command, Error, Event,
    Events, Frame, FromFrame, Observer, Subscription,
};
use super::spawn;

/// A client that is to be opened.
pub(crate) enum Opening {
    Server(Builder),
    Cluster(ClusterBuilder),
}

impl Opening {
    pub(crate) fn command_timeout(self, timeout: Duration) -> Self {
        match self {
            Self::Server(builder) => Self::Server(builder.command_timeout(timeout)),
            Self::Cluster(builder) => Self::Cluster(builder.command_timeout(timeout)),
        }
    }

    /// Connections of the pool; of a cluster, of each node's.
    pub(crate) fn pool_size(self, size: u32) -> Self {
        match self {
            Self::Server(builder) => Self::Server(builder.pool_size(size)),
            Self::Cluster(builder) => Self::Cluster(builder.pool_size(size)),
        }
    }

    pub(crate) async fn connect(self) -> Result<Target, Error> {
        Ok(match self {
            Self::Server(builder) => Target::Server(builder.connect().await?),
            Self::Cluster(builder) => Target::Cluster(builder.connect().await?),
        })
    }

    /// Tells what happens to the client from now on, but for what always happens. It ends with the client, and nobody waits for it.
    pub(crate) fn tell_events(&self) {
        match self {
            Self::Server(builder) => drop(spawn(tell(builder.events()))),
            Self::Cluster(builder) => drop(spawn(tell_of_cluster(builder.events()))),
        }
    }
}

/// A client that is open. A clone is the same one.
#[derive(Clone)]
pub(crate) enum Target {
    Server(Client),
    Cluster(ClusterClient),
}

impl Target {
    pub(crate) async fn call(&self, command: Command) -> Result<Frame, Error> {
        match self {
            Self::Server(client) => client.call(command).await,
            Self::Cluster(client) => client.call(command).await,
        }
    }

    pub(crate) async fn query<T: FromFrame>(&self, command: Command) -> Result<T, Error> {
        match self {
            Self::Server(client) => client.query(command).await,
            Self::Cluster(client) => client.query(command).await,
        }
    }

    pub(crate) async fn subscribe(&self, channel: String) -> Result<Messages, Error> {
        Ok(match self {
            Self::Server(client) => Messages::Server(client.subscribe([channel]).await?),
            Self::Cluster(client) => Messages::Cluster(Box::new(client.subscribe([channel]).await?)),
        })
    }

    /// Connections that one caller has each: those that wait with BLPOP are among them.
    pub(crate) fn leased(&self) -> usize {
        match self {
            Self::Server(client) => client.stats().leased,
            Self::Cluster(client) => client.nodes().iter().map(|node| node.client().stats().leased).sum(),
        }
    }

    pub(crate) async fn shutdown(&self, grace: Duration) {
        match self {
            Self::Server(client) => client.shutdown(grace).await,
            Self::Cluster(client) => client.shutdown(grace).await,
        }
    }
}

/// What a channel brings.
pub(crate) enum Messages {
    Server(Subscription),
    Cluster(Box<ClusterSubscription<Adapter>>),
}

impl Messages {
    pub(crate) async fn next(&mut self) -> Option<Item> {
        match self {
            Self::Server(subscription) => subscription.next().await,
            Self::Cluster(subscription) => subscription.next().await,
        }
    }
}

async fn tell(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::ConnectionReady { .. } | Event::Terminated) => {}
            Ok(Event::ConnectionClosed { cause: CloseCause::ByClient | CloseCause::ShutDown, .. }) => {}
            Ok(event) => eprintln!("event: {event:?}"),
            Err(missed) => eprintln!("events: {missed}"),
        }
    }
}

async fn tell_of_cluster(mut events: Observer<ClusterEvent>) {
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => eprintln!("event: {event:?}"),
            Err(missed) => eprintln!("events: {missed}"),
        }
    }
}
