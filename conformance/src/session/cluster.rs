//! The client of a cluster in a session.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use hitless_core::cluster::{ClusterEvent, ClusterStats};
use hitless_core::driver::{
    ClusterBuilder, ClusterClient, Connector, Error, Node, Observer, Resolver, Runtime,
};
use hitless_core::endpoint::Endpoint;
use hitless_core::error::{ConnectError, ServerError};
use hitless_core::request::{Outcome, Replies};
use resp3_codec::{Command, Frame};

use super::{Handle, Session, UNREAD};
use crate::world::{ClusterSettings, ClusterWorld, Holder, Ticket};

/// The client of a cluster, and what it has said.
pub(super) struct Cluster<R: Runtime> {
    client: ClusterClient<R>,
    stream: Observer<ClusterEvent>,
    events: Vec<(Instant, ClusterEvent)>,
}

impl<R: Runtime> Cluster<R> {
    pub(super) fn client(&self) -> &ClusterClient<R> {
        &self.client
    }

    pub(super) fn events(&self) -> &[(Instant, ClusterEvent)] {
        &self.events
    }

    pub(super) fn collect(&mut self, now: Instant, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(event)) = self.stream.poll_next(cx) {
            self.events.push((now, event.expect("no event is missed")));
        }
    }
}

impl<R: Runtime> Session<R> {
    /// The client of a cluster with these settings, still to be connected, and under observation.
    pub(crate) fn cluster_builder<N: Resolver + Connector>(
        &mut self,
        runtime: R,
        network: N,
        settings: ClusterSettings,
    ) -> ClusterBuilder<R, N> {
        assert!(self.client.is_none(), "a world has one client");
        let ClusterSettings { nodes, refresh_interval, read_from, address_map } = settings;
        let map = move |announced: &Endpoint| {
            let entry = address_map.iter().find(|(from, _)| from == announced);
            entry.map(|(_, to)| to.clone())
        };
        let builder = ClusterBuilder::from_settings(runtime, network, nodes.event_capacity(UNREAD))
            .refresh_interval(refresh_interval)
            .read_from(read_from)
            .address_map(map);
        self.cluster_events = Some(builder.events());
        builder
    }

    /// How the connecting ended.
    pub(crate) fn cluster_connected(
        &mut self,
        result: Result<ClusterClient<R>, Error>,
    ) -> Result<(), ConnectError> {
        match result {
            Ok(client) => {
                let stream = self.cluster_events.take().expect("it was built here");
                self.client = Some(Handle::Cluster(Cluster { client, stream, events: Vec::new() }));
                Ok(())
            }
            Err(Error::Connect(error)) => Err(error),
            Err(error) => panic!("the settings of a case fit together: {error}"),
        }
    }

    pub(crate) fn cluster(&mut self) -> Option<&mut dyn ClusterWorld> {
        match self.client {
            Some(Handle::Cluster(_)) => Some(self),
            Some(Handle::Single(_)) | None => None,
        }
    }

    fn of_cluster(&self) -> &Cluster<R> {
        match &self.client {
            Some(Handle::Cluster(cluster)) => cluster,
            Some(Handle::Single(_)) | None => panic!("connect to the cluster first"),
        }
    }
}

impl<R: Runtime> ClusterWorld for Session<R> {
    fn send_split(&mut self, command: Command) -> Ticket {
        let client = self.of_cluster().client.clone();
        self.note(Box::pin(async move { outcome(client.call_split(command).await) }))
    }

    fn lease_for(&mut self, key: &str) -> Holder {
        let (client, key) = (self.of_cluster().client.clone(), key.to_owned());
        // It is polled again with what else the session awaits.
        self.wish(Box::pin(async move { client.lease(key).await }), Waker::noop())
    }

    fn node_for(&self, key: &str) -> Option<Endpoint> {
        self.of_cluster().client.node_for(key).map(|node| node.endpoint().clone())
    }

    fn nodes(&self) -> Vec<Endpoint> {
        let nodes = self.of_cluster().client.nodes();
        nodes.iter().map(Node::endpoint).cloned().collect()
    }

    fn stats(&self) -> ClusterStats {
        self.of_cluster().client.stats()
    }

    fn events(&self) -> &[(Instant, ClusterEvent)] {
        self.of_cluster().events()
    }
}

/// The outcome of a request whose reply is already looked at.
fn outcome(result: Result<Frame, Error>) -> Outcome {
    match result {
        Ok(reply) => Ok(Replies::from_iter([reply])),
        Err(Error::Server(error)) => Ok(Replies::from_iter([reply_of(&error)])),
        Err(Error::Request(error)) => Err(error),
        Err(error) => panic!("the client takes it: {error}"),
    }
}

fn reply_of(error: &ServerError) -> Frame {
    Frame::error(format!("{} {}", error.code(), error.message()))
}
