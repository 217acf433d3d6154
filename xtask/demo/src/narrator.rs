//! The client's events, in words, and the few that the verdict needs, counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hitless_core::driver::Events;
use hitless_core::endpoint::{Endpoint, Peer};
use hitless_core::error::CloseCause;
use hitless_core::event::{Event, WindowScope};
use hitless_core::notification::{NotificationKind, Seq};

use crate::log::{Log, Who};
use crate::world::{NODES, Node};

/// What the client says that it did, since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    handoff_dials: AtomicU64,
    failed_handoff_dials: AtomicU64,
}

impl Counts {
    /// Dials on behalf of handoffs.
    pub(crate) fn handoff_dials(&self) -> u64 {
        self.handoff_dials.load(Ordering::Relaxed)
    }

    /// Those of them that led to no connection.
    pub(crate) fn failed_handoff_dials(&self) -> u64 {
        self.failed_handoff_dials.load(Ordering::Relaxed)
    }
}

/// Tells the log what the client does.
pub(crate) struct Narrator {
    nodes: [(Node, SocketAddr); NODES],
    log: Arc<Log>,
    counts: Arc<Counts>,
    /// Every connection gets each notification: only the first one is told.
    told: Option<(NotificationKind, Seq)>,
    /// A node that dies takes all its connections with it: only the first one since the last notification is told.
    told_lost: Option<Peer>,
    /// The scout's first dial has been told; those who follow it do the same.
    scout_told: bool,
}

impl Narrator {
    pub(crate) fn new(nodes: [(Node, SocketAddr); NODES], log: Arc<Log>, counts: Arc<Counts>) -> Self {
        Self { nodes, log, counts, told: None, told_lost: None, scout_told: false }
    }

    /// Tells until the client has terminated.
    pub(crate) async fn run(mut self, mut events: Events) {
        while let Some(event) = events.next().await {
            let line = match event {
                Ok(event) => self.line(&event),
                Err(missed) => Some(format!("{missed}")),
            };
            if let Some(line) = line {
                self.log.add(Who::Client, line);
            }
        }
    }

    fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::NotificationReceived { kind, seq, .. } => self.notification(*kind, *seq),
            Event::NotificationMalformed { error, .. } => Some(format!("malformed notification: {error}")),
            Event::MoveStarted { source, target, .. } => {
                self.scout_told = false;
                let target =
                    target.as_ref().map_or_else(|| "wherever its name leads".into(), |to| self.endpoint(to));
                Some(format!("begins to move from {} to {target}", self.peer(source)))
            }
            Event::HandoffDialing { address, attempt, .. } => {
                self.counts.handoff_dials.fetch_add(1, Ordering::Relaxed);
                let first = !std::mem::replace(&mut self.scout_told, true);
                (first || *attempt > 1).then(|| format!("dials {} (attempt {attempt})", self.peer(address)))
            }
            Event::HandoffFailed { error, attempt, retry_at, .. } => {
                self.counts.failed_handoff_dials.fetch_add(1, Ordering::Relaxed);
                let then = if retry_at.is_some() { "will try again" } else { "stays where it is" };
                Some(format!("attempt {attempt} failed ({error}): {then}"))
            }
            Event::MoveFinished { source, moved, stayed, took, .. } => {
                let left = if *stayed == 0 { String::new() } else { format!(", {stayed} stay") };
                let took = took.as_secs_f64() * 1e3;
                Some(format!("{moved} connections have left {} after {took:.1} ms{left}", self.peer(source)))
            }
            Event::WindowOpened { scope: WindowScope::Database, cause, .. } => {
                Some(format!("timeouts are relaxed for the whole database ({cause})"))
            }
            Event::WindowClosed { scope: WindowScope::Database, expired } => {
                let why = if *expired { " by themselves" } else { "" };
                Some(format!("timeouts are as configured again{why}"))
            }
            Event::DrainDeadline { .. } => Some("closes a connection with requests unanswered".to_owned()),
            Event::ConnectFailed { error, .. } => Some(format!("cannot connect: {error}")),
            Event::ConnectionClosed { cause: CloseCause::ByClient | CloseCause::ShutDown, .. } => None,
            Event::ConnectionClosed { peer, cause, .. } => {
                let news = self.told_lost.replace(peer.clone()).as_ref() != Some(peer);
                news.then(|| format!("loses its connections to {}: {cause}", self.peer(peer)))
            }
            _ => None,
        }
    }

    fn notification(&mut self, kind: NotificationKind, seq: Seq) -> Option<String> {
        let news = self.told.replace((kind, seq)) != Some((kind, seq));
        if news {
            self.told_lost = None;
        }
        news.then(|| format!("is told {kind} (id {seq})"))
    }

    fn endpoint(&self, endpoint: &Endpoint) -> String {
        endpoint.peer().map_or_else(|| endpoint.to_string(), |peer| self.peer(&peer))
    }

    /// The name of the node at an address.
    fn peer(&self, peer: &Peer) -> String {
        let node = self.nodes.iter().find(|(_, address)| Peer::from(*address) == *peer);
        node.map_or_else(|| peer.to_string(), |(node, _)| node.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hitless_core::ids::ConnId;

    use super::*;

    #[test]
    fn nodes_are_told_by_their_names_and_notifications_once() {
        let nodes = Node::ALL.map(|node| (node, SocketAddr::from(([127, 0, 0, 1], 1 + node as u16))));
        let [(_, a), (_, b), ..] = nodes;
        let log = Arc::new(Log::new(hitless_conformance::clock::now()));
        let mut narrator = Narrator::new(nodes, log, Arc::default());
        let finished =
            Event::MoveFinished { source: a.into(), seq: Seq(7), moved: 9, stayed: 1, took: Duration::ZERO };
        assert_eq!(
            narrator.line(&finished).as_deref(),
            Some("9 connections have left A after 0.0 ms, 1 stay")
        );
        assert_eq!(narrator.endpoint(&b.into()), "B");
        assert!(narrator.notification(NotificationKind::Moving, Seq(7)).is_some());
        assert_eq!(narrator.notification(NotificationKind::Moving, Seq(7)), None);
        assert!(narrator.notification(NotificationKind::Moving, Seq(8)).is_some());
    }

    #[test]
    fn the_loss_of_a_node_is_told_once() {
        let nodes = Node::ALL.map(|node| (node, SocketAddr::from(([127, 0, 0, 1], 1 + node as u16))));
        let log = Arc::new(Log::new(hitless_conformance::clock::now()));
        let mut narrator = Narrator::new(nodes, log, Arc::default());
        let lost = |node: usize| Event::ConnectionClosed {
            conn: ConnId::from_parts(0, 0),
            peer: nodes[node].1.into(),
            cause: CloseCause::ByServer,
        };
        let [first, second, elsewhere] = [lost(0), lost(0), lost(1)];
        assert!(narrator.line(&first).is_some_and(|line| line.contains("to A")));
        assert_eq!(narrator.line(&second), None);
        assert!(narrator.line(&elsewhere).is_some_and(|line| line.contains("to B")));
    }
}
