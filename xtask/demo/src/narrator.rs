//! The client's events: those that tell how a move goes, and all of them counted.

use std::sync::{Arc, Mutex, PoisonError};

use hitless_core::driver::Events;
use hitless_core::error::CloseCause;
use hitless_core::event::{Event, WindowScope};
use hitless_core::notification::{NotificationKind, Seq};
use hitless_core::observe::Metrics;

use crate::log::{Log, Who};

/// What the clients have counted, those included that are gone.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Metrics>);

impl Counts {
    /// Dials on behalf of handoffs, and those of them that led to no connection.
    pub(crate) fn handoff_dials(&self) -> (u64, u64) {
        let metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (metrics.handoffs_tried, metrics.handoffs_failed)
    }

    fn count(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).handle_event(event);
    }
}

/// Tells the log what the client does.
pub(crate) struct Narrator {
    log: Arc<Log>,
    counts: Arc<Counts>,
    /// Every connection gets each notification: only the first one is told.
    told: Option<(NotificationKind, Seq)>,
    /// A node that dies takes all its connections with it: only the first one since the last notification is told.
    loss_told: bool,
}

impl Narrator {
    pub(crate) fn new(log: Arc<Log>, counts: Arc<Counts>) -> Self {
        Self { log, counts, told: None, loss_told: false }
    }

    /// Tells until the client has terminated.
    pub(crate) async fn run(mut self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    self.counts.count(&event);
                    if self.is_news(&event) {
                        self.log.add(Who::Client, event);
                    }
                }
                Err(missed) => self.log.add(Who::Client, missed),
            }
        }
    }

    fn is_news(&mut self, event: &Event) -> bool {
        match event {
            Event::NotificationReceived { kind, seq, .. } => {
                let is_news = self.told.replace((*kind, *seq)) != Some((*kind, *seq));
                self.loss_told &= !is_news;
                is_news
            }
            Event::ConnectionClosed { cause: CloseCause::ByClient | CloseCause::ShutDown, .. } => false,
            Event::ConnectionClosed { .. } => !std::mem::replace(&mut self.loss_told, true),
            Event::NotificationMalformed { .. }
            | Event::MoveStarted { .. }
            | Event::MoveFinished { .. }
            | Event::HandoffFailed { .. }
            | Event::DrainDeadline { .. }
            | Event::ConnectFailed { .. } => true,
            Event::WindowOpened { scope, .. } | Event::WindowClosed { scope, .. } => {
                *scope == WindowScope::Database
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hitless_core::ids::ConnId;

    use super::*;

    #[test]
    fn what_every_connection_says_is_told_once() {
        let mut narrator =
            Narrator::new(Arc::new(Log::new(hitless_conformance::clock::now())), Arc::default());
        let conn = ConnId::from_parts(0, 0);
        let received =
            |seq| Event::NotificationReceived { conn, kind: NotificationKind::Moving, seq: Seq(seq) };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let lost = Event::ConnectionClosed { conn, peer: peer.into(), cause: CloseCause::ByServer };
        let events = [received(7), received(7), lost.clone(), lost.clone(), received(8), lost];
        assert_eq!(events.map(|event| narrator.is_news(&event)), [true, false, true, false, true, true]);
    }
}
