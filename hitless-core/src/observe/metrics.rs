//! What is counted from the stream of events.

use super::Histogram;
use crate::event::Event;
use crate::notification::NotificationKind;

const KINDS: usize = NotificationKind::ALL.len();

/// What became of the notifications of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindCounts {
    /// They arrived and were understood.
    pub received: u64,
    /// They changed nothing: copies, and completions of nothing.
    pub ignored: u64,
    /// They could not be understood.
    pub malformed: u64,
    /// A hook stopped them.
    pub vetoed: u64,
    /// A hook put another in their place.
    pub replaced: u64,
    /// They took effect without the verdict of the hooks.
    pub unreviewed: u64,
}

/// Counters and durations, folded from the events in their order: nothing else counts, so they cannot disagree with what
/// an observer of the events sees. What is going on at the moment is not here but in [`Stats`](crate::client::Stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    notifications: [KindCounts; KINDS],
    /// Handoffs that dialled: once per attempt.
    pub handoffs_tried: u64,
    /// Handoffs that were cut over.
    pub handoffs_succeeded: u64,
    /// Attempts that failed. (An attempt of a move that is superseded neither succeeds nor fails.)
    pub handoffs_failed: u64,
    /// Old connections that were closed at their deadline with requests unanswered.
    pub drains_cut_short: u64,
    /// Requests that went along with a cut-over.
    pub requests_moved: u64,
    /// Requests that timed out.
    pub requests_timed_out: u64,
    /// Things that commands which block have taken for callers that had given them up.
    pub orphaned: u64,
    /// Connections that became ready.
    pub connections_opened: u64,
    /// Connections that had been ready and ended.
    pub connections_closed: u64,
    /// Dials that belong to no handoff and failed.
    pub connect_failures: u64,
    /// Moves that began.
    pub moves_started: u64,
    /// Targets that the policy on targets vetoed.
    pub targets_vetoed: u64,
    /// From each MOVING until no connection was waiting or dialling any more.
    pub move_duration: Histogram,
    /// From each cut-over until the old connection had answered everything.
    pub drain_duration: Histogram,
}

impl Metrics {
    /// Counts `event`.
    pub fn handle_event(&mut self, event: &Event) {
        match event {
            Event::ConnectionReady { .. } => self.connections_opened += 1,
            Event::ConnectionClosed { .. } => self.connections_closed += 1,
            Event::ConnectFailed { .. } => self.connect_failures += 1,
            Event::NotificationReceived { kind, .. } => self.kind_mut(*kind).received += 1,
            Event::NotificationIgnored { kind, .. } => self.kind_mut(*kind).ignored += 1,
            Event::NotificationMalformed { error, .. } => self.kind_mut(error.kind).malformed += 1,
            Event::NotificationVetoed { kind, .. } => self.kind_mut(*kind).vetoed += 1,
            Event::NotificationReplaced { kind, .. } => self.kind_mut(*kind).replaced += 1,
            Event::NotificationUnreviewed { kind, .. } => self.kind_mut(*kind).unreviewed += 1,
            Event::TargetVetoed { .. } => self.targets_vetoed += 1,
            Event::MoveStarted { .. } => self.moves_started += 1,
            Event::MoveFinished { took, .. } => self.move_duration.record(*took),
            Event::HandoffDialing { .. } => self.handoffs_tried += 1,
            Event::HandoffFailed { .. } => self.handoffs_failed += 1,
            Event::CutOver { moved, .. } => {
                self.handoffs_succeeded += 1;
                self.requests_moved += *moved as u64;
            }
            Event::Drained { took, .. } => self.drain_duration.record(*took),
            Event::DrainDeadline { .. } => self.drains_cut_short += 1,
            Event::RequestTimedOut { .. } => self.requests_timed_out += 1,
            Event::Orphaned { .. } => self.orphaned += 1,
            Event::OptInRefused { .. }
            | Event::FellBack { .. }
            | Event::Demoted { .. }
            | Event::OptedIn { .. }
            | Event::AddressWithdrawn { .. }
            | Event::TargetRewritten { .. }
            | Event::TargetRefused { .. }
            | Event::WindowOpened { .. }
            | Event::WindowClosed { .. }
            | Event::MoveSuperseded { .. }
            | Event::ConnectionSilent { .. }
            | Event::Reauthenticated { .. }
            | Event::ReauthenticationRefused { .. }
            | Event::CredentialsFailed { .. }
            | Event::SubscriptionGaps { .. }
            | Event::SubscriptionsAmbiguous { .. }
            | Event::Terminated => {}
        }
    }

    /// Adds what `other` has counted: the sum of several clients.
    pub fn merge(&mut self, other: &Self) {
        for (counts, more) in self.notifications.iter_mut().zip(&other.notifications) {
            counts.received += more.received;
            counts.ignored += more.ignored;
            counts.malformed += more.malformed;
            counts.vetoed += more.vetoed;
            counts.replaced += more.replaced;
            counts.unreviewed += more.unreviewed;
        }
        self.handoffs_tried += other.handoffs_tried;
        self.handoffs_succeeded += other.handoffs_succeeded;
        self.handoffs_failed += other.handoffs_failed;
        self.drains_cut_short += other.drains_cut_short;
        self.requests_moved += other.requests_moved;
        self.requests_timed_out += other.requests_timed_out;
        self.orphaned += other.orphaned;
        self.connections_opened += other.connections_opened;
        self.connections_closed += other.connections_closed;
        self.connect_failures += other.connect_failures;
        self.moves_started += other.moves_started;
        self.targets_vetoed += other.targets_vetoed;
        self.move_duration.merge(&other.move_duration);
        self.drain_duration.merge(&other.drain_duration);
    }

    /// The notifications of `kind`.
    #[must_use]
    pub fn notifications(&self, kind: NotificationKind) -> KindCounts {
        self.notifications[kind as usize]
    }

    fn kind_mut(&mut self, kind: NotificationKind) -> &mut KindCounts {
        &mut self.notifications[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::Peer;
    use crate::event::MoveCause;
    use crate::ids::ConnId;
    use crate::notification::{NotificationError, Problem, Seq};

    /// RULE-30, RULE-117
    #[test]
    fn kinds_are_counted_apart() {
        let conn = ConnId::from_parts(0, 0);
        let mut metrics = Metrics::default();
        for kind in NotificationKind::ALL {
            metrics.handle_event(&Event::NotificationReceived { conn, kind, seq: Seq(1) });
        }
        metrics.handle_event(&Event::NotificationVetoed {
            conn,
            kind: NotificationKind::SlotsMigrated,
            seq: Seq(1),
        });
        let kind = NotificationKind::Moving;
        let error = NotificationError { kind, problem: Problem::Time };
        metrics.handle_event(&Event::NotificationMalformed { conn, error });
        for kind in NotificationKind::ALL {
            assert_eq!(metrics.notifications(kind).received, 1);
            let malformed = u64::from(kind == NotificationKind::Moving);
            assert_eq!(metrics.notifications(kind).malformed, malformed);
            let vetoed = u64::from(kind == NotificationKind::SlotsMigrated);
            assert_eq!(metrics.notifications(kind).vetoed, vetoed);
        }
    }

    #[test]
    fn merging_two_is_like_counting_both() {
        let conn = ConnId::from_parts(0, 0);
        let source = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        let took = Duration::from_secs(2);
        let events = [
            Event::CutOver { from: conn, to: conn, moved: 3 },
            Event::MoveFinished {
                source,
                seq: Seq(1),
                cause: MoveCause::Announced,
                moved: 1,
                stayed: 0,
                took,
            },
            Event::Drained { conn, took },
            Event::RequestTimedOut { conn: None },
            Event::DrainDeadline { conn },
        ];
        let mut both = Metrics::default();
        let mut one = Metrics::default();
        let mut other = Metrics::default();
        for (index, event) in events.iter().enumerate() {
            both.handle_event(event);
            if index % 2 == 0 { one.handle_event(event) } else { other.handle_event(event) }
        }
        one.merge(&other);
        assert_eq!(one, both);
        assert_eq!((both.requests_moved, both.move_duration.count()), (3, 1));
    }
}
