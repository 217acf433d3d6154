//! What explains in gentle weather that somebody notices something: INV-03.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hitless_core::endpoint::{Endpoint, Host, Peer};
use hitless_core::error::{CloseCause, ConnectError};
use hitless_core::event::Event;
use hitless_core::ids::ConnId;

use super::faults::GENTLE_PAUSE;
use super::laws::{Asked, Evidence, number_of};
use super::plan::{Maintenance, MoveStep};
use super::trace::{RequestKind, What};
use crate::laws::stopped;
use crate::server::{EndpointId, Event as ServerEvent, Retires};

/// A process that was stopped cannot tell from an alarm that is no later than this. What the client takes for lateness, and by
/// how much the executor is late in gentle weather.
const UNNOTICED: Duration = Duration::from_millis(10);
/// From when a process runs again until it has read and obeyed everything.
const RUNS_AGAIN: Duration = Duration::from_millis(100);

/// From when a move is given up to the end of the last of its connections.
const LONGEST_MOVE: Duration = Duration::from_secs(10);

/// Handoffs are planned to end before the last second of a move; those that end just before it are the last.
const LAST_TRIES: Duration = Duration::from_millis(1100);

/// The longest round trip, of a request and its reply.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// A handoff that starts late may use that second: it has half a second, and the longest round trip until it is known to have failed.
const LATE_TRY: Duration = Duration::from_millis(600);

/// Servers close up to a second later than they have announced, and that takes a moment to arrive.
const CLOSES_LATE: Duration = Duration::from_millis(1100);

/// What has happened in a run that explains something.
pub(super) struct Excuses<'a> {
    stops: &'a [(Instant, Duration)],
    /// When each request that kills its link arrived for the first time.
    poisonings: Vec<Instant>,
    moves: Vec<Finished<'a>>,
    /// Connections that servers have closed, or lost.
    lost: Vec<(Instant, &'a Peer)>,
    /// When a request timed out on a connection that had not been there for a round trip, and since when that was there.
    too_late: Vec<(Instant, Instant)>,
    nowhere: Vec<Nowhere>,
}

/// A move that is over for all connections to its source.
struct Finished<'a> {
    at: Instant,
    source: &'a Peer,
    deadline: Instant,
    /// Some of them stay.
    stay: bool,
    /// The last of their dials was not accepted.
    is_turned_away: bool,
    /// All who had been there before had left.
    had_left: bool,
    event: &'a Event,
}

impl<'a> Excuses<'a> {
    pub(super) fn of(
        evidence: &Evidence<'a>,
        requests: &BTreeMap<u64, Asked>,
        stops: &'a [(Instant, Duration)],
    ) -> Self {
        let lost = evidence.entries.iter().filter_map(|(at, what)| match what {
            What::Event(Event::ConnectionClosed { peer, cause, .. }) if is_loss(*cause) => Some((*at, peer)),
            _ => None,
        });
        Self {
            stops,
            poisonings: first_poisonings(evidence, requests),
            moves: moves(evidence.entries),
            lost: lost.collect(),
            too_late: too_late(evidence.entries),
            nowhere: nowhere(evidence, stops),
        }
    }

    /// For how long the process was stopped, or no address answered, at most.
    pub(super) fn lasted(&self, from: Instant, to: Instant) -> Duration {
        let spans = self.nowhere.iter().map(|it| (it.unserved_since, it.until - it.unserved_since));
        stopped(self.stops, from, to) + stopped(&spans.collect::<Vec<_>>(), from, to)
    }

    /// A request that kills its link had come: a node that retires may refuse others, and there may be no link for a while.
    pub(super) fn is_beside(&self, to: Instant) -> bool {
        self.poisonings.iter().any(|came| *came <= to)
    }

    /// A request that failed then had been sent when one that kills its link came for the first time, or hardly later; or the node that it was sent to
    /// has closed its connection at the deadline. RULE-165
    pub(super) fn is_torn_down(&self, sent_at: Instant, at: Instant) -> bool {
        self.poisonings.iter().any(|came| sent_at <= *came + GENTLE_PAUSE && *came <= at)
            || self.is_left_at_deadline(sent_at, at)
    }

    /// A request that timed out then had waited for a link that was not there yet, and was sent on it with less time left than a round trip may take.
    /// It had not been sent before: it is one that is never sent twice, or no link was lost meanwhile. RULE-165
    pub(super) fn is_sent_too_late(&self, asked: &Asked, at: Instant) -> bool {
        use RequestKind::{Atomic, Incr, Pipeline, Set};
        let was_lost = || self.lost.iter().any(|(lost, _)| asked.sent_at <= *lost && *lost <= at);
        let is_first_time = matches!(asked.kind, Incr | Set | Pipeline | Atomic) || !was_lost();
        let waited = |(failed, ready): &(Instant, Instant)| *failed == at && asked.sent_at < *ready;
        asked.overdue.is_some() && is_first_time && self.too_late.iter().any(waited)
    }

    /// A request is overdue by so little that a process which was stopped cannot tell.
    pub(super) fn is_unnoticed(&self, overdue: Option<Duration>, at: Instant) -> bool {
        overdue.is_some_and(|overdue| overdue < UNNOTICED)
            && !stopped(self.stops, at - 2 * UNNOTICED, at).is_zero()
    }

    /// Connections had been left behind, because the process was stopped.
    pub(super) fn is_left_behind(&self, at: Instant) -> bool {
        let gave_up = |of: &&Finished<'_>| of.stay && (self.woke_too_late(of) || self.leads_nowhere(of));
        self.moves.iter().filter(gave_up).any(|of| of.at <= at && at <= of.at + LONGEST_MOVE)
    }

    /// Nothing is left behind without a reason. INV-03
    pub(super) fn nothing_stays(&self) {
        for of in self.moves.iter().filter(|of| of.stay) {
            let came_late = of.had_left && of.deadline <= of.at + LAST_TRIES;
            let may_stay =
                came_late || self.is_beside(of.at) || self.woke_too_late(of) || self.leads_nowhere(of);
            assert!(may_stay, "INV-03: connections were left behind: {:?}", of.event);
        }
    }

    /// A process that was stopped for too long ran again and gave the move up: what it left behind is closed.
    fn woke_too_late(&self, of: &Finished<'_>) -> bool {
        !stopped(self.stops, of.at - RUNS_AGAIN, of.at).is_zero() && of.deadline <= of.at + LATE_TRY
    }

    /// No address took anybody when the move was given up.
    fn leads_nowhere(&self, of: &Finished<'_>) -> bool {
        of.is_turned_away && self.nowhere.iter().any(|it| it.since <= of.at && of.at <= it.over)
    }

    /// A node that retires has closed a connection at the deadline of its move. The connection had gone back there for a link that was killed, and had to
    /// stay: the target of the move took nobody, or there was no time left to try.
    fn is_left_at_deadline(&self, sent_at: Instant, at: Instant) -> bool {
        let had_to = |of: &&Finished<'_>| of.is_turned_away || of.deadline <= of.at + LAST_TRIES;
        let mut lost = self.lost.iter().filter(|(lost, _)| sent_at <= *lost && *lost <= at);
        lost.any(|(lost, peer)| {
            let closes = |of: &Finished<'_>| of.deadline <= *lost && *lost <= of.deadline + CLOSES_LATE;
            let mut stayed = self.moves.iter().filter(|of| of.stay && of.had_left).filter(had_to);
            stayed.any(|of| self.is_beside(of.at) && closes(of) && *peer == of.source)
        })
    }
}

/// Whether a connection ends by this that the client has not closed.
fn is_loss(cause: CloseCause) -> bool {
    matches!(cause, CloseCause::ByServer | CloseCause::Io(_))
}

fn moves(entries: &[(Instant, What)]) -> Vec<Finished<'_>> {
    // By source: when the latest move is over, and whether all who were there have left.
    let mut latest: BTreeMap<&Peer, (Instant, bool)> = BTreeMap::new();
    let mut turned_away_at = None;
    let mut finished = Vec::new();
    for (at, what) in entries {
        match what {
            What::Event(Event::MoveStarted { source, deadline, .. }) => {
                latest.insert(source, (*deadline, false));
            }
            What::Event(Event::HandoffFailed { error: ConnectError::Connect(_), retry_at: None, .. }) => {
                turned_away_at = Some(*at);
            }
            What::Event(event @ Event::MoveFinished { source, stayed, .. }) => {
                let Some((deadline, have_left)) = latest.get_mut(source) else { continue };
                let (at, deadline, stay, had_left) = (*at, *deadline, *stayed > 0, *have_left);
                let is_turned_away = turned_away_at == Some(at);
                finished.push(Finished { at, source, deadline, stay, is_turned_away, had_left, event });
                *have_left |= !stay;
            }
            _ => {}
        }
    }
    finished
}

/// From when to when no address answers.
struct Nowhere {
    /// The node retires.
    since: Instant,
    /// Requests may wait from then on: the client has no connection, if it waits for its address.
    unserved_since: Instant,
    until: Instant,
    /// Moves may be given up until then.
    over: Instant,
}

/// A move leads to a node that retires in turn before the client has gone there: the process was stopped, or the last dial had failed and the next one was
/// not over. Nobody tells the client where that node's move leads. A client with a name waits until the name leads there. A client with an address alone
/// waits until it is connected to a node other than the one that it was to leave.
fn nowhere(evidence: &Evidence<'_>, stops: &[(Instant, Duration)]) -> Vec<Nowhere> {
    let mut connected: BTreeMap<ConnId, &Peer> = BTreeMap::new();
    let mut last: Option<(Instant, &MoveStep)> = None;
    let mut spans = Vec::new();
    let mut begun: Option<(Instant, &MoveStep, EndpointId)> = None;
    let mut unserved_since: Option<Instant> = None;
    // When a dial of a move failed, and when the next one is due.
    let mut failed: Option<(Instant, Option<Instant>)> = None;
    let calm = evidence.entries.iter().find(|(_, what)| *what == What::Calm).map(|(at, _)| *at);
    let has_name = matches!(evidence.config.endpoint(), Endpoint::Tcp { host: Host::Name(_), .. });
    for (at, what) in evidence.entries {
        match what {
            What::Event(Event::ConnectionReady { conn, peer, .. }) => {
                let is_old = |(_, _, old): &(Instant, &MoveStep, EndpointId)| {
                    !connected.is_empty() && evidence.peers.get(old) == Some(peer)
                };
                if let Some((since, ..)) = begun.take_if(|begun| !has_name && !is_old(begun)) {
                    let (unserved_since, until) = (unserved_since.unwrap_or(*at), *at);
                    let over = calm.unwrap_or(until);
                    spans.push(Nowhere { since, unserved_since, until, over });
                }
                unserved_since = None;
                connected.insert(*conn, peer);
            }
            What::Event(Event::ConnectionClosed { conn, .. }) => {
                connected.remove(conn);
                if connected.is_empty() {
                    unserved_since.get_or_insert(*at);
                }
            }
            What::Event(Event::HandoffFailed { error: ConnectError::Connect(_), retry_at, .. }) => {
                failed = Some((*at, *retry_at));
            }
            What::Maintenance(Maintenance::Moving(step)) => {
                let there: BTreeSet<&Peer> = connected.values().copied().collect();
                let is_told = evidence.peers.get(&step.source).is_some_and(|peer| there.contains(peer));
                let held_up = last.filter(|(since, before)| {
                    let is_refused = failed.is_some_and(|(failed, retry_at)| {
                        *since <= failed && retry_at.is_none_or(|retry_at| *at <= retry_at + ROUND_TRIP)
                    });
                    before.lands == step.source && (is_refused || !stopped(stops, *since, *at).is_zero())
                });
                if let Some((_, before)) = held_up
                    && !is_told
                    && step.retires == Retires::AtOnce
                {
                    begun = Some((*at, step, before.source));
                }
                last = Some((*at, step));
            }
            What::Maintenance(Maintenance::Names(names)) if has_name => {
                if let Some((since, ..)) = begun.take_if(|(_, step, _)| names.contains(&step.lands)) {
                    spans.push(Nowhere { since, unserved_since: since, until: *at, over: *at });
                }
            }
            _ => {}
        }
    }
    spans
}

/// When requests timed out on connections that had not been there for a round trip, and since when each of these was there.
fn too_late(entries: &[(Instant, What)]) -> Vec<(Instant, Instant)> {
    let mut ready: BTreeMap<ConnId, Instant> = BTreeMap::new();
    let mut too_late = Vec::new();
    for (at, what) in entries {
        match what {
            What::Event(Event::ConnectionReady { conn, .. }) => drop(ready.insert(*conn, *at)),
            What::Event(Event::RequestTimedOut { conn: Some(conn) }) => {
                let since = ready.get(conn).filter(|since| *at < **since + ROUND_TRIP);
                too_late.extend(since.map(|since| (*at, *since)));
            }
            _ => {}
        }
    }
    too_late
}

/// When each request that kills its link arrived for the first time.
fn first_poisonings(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) -> Vec<Instant> {
    let mut first: BTreeMap<u64, Instant> = BTreeMap::new();
    for entry in evidence.ledger.entries() {
        let ServerEvent::Received(request) = &entry.event else { continue };
        let poison =
            |number: &u64| requests.get(number).is_some_and(|asked| asked.kind == RequestKind::Poison);
        if let Some(number) = number_of(request).filter(poison) {
            first.entry(number).or_insert(entry.at);
        }
    }
    first.into_values().collect()
}
