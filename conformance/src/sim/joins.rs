//! Which connections requests join, by the trace and the server's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hitless_core::event::Event;

use super::laws::{Asked, Evidence, Fate, number_of};
use super::network::SocketId;
use super::trace::{RequestKind, What};
use crate::server::{Event as ServerEvent, ServerConn};

/// Nobody joins a connection on which nothing has come for so long, although a reply is awaited.
const PAUSE: Duration = Duration::from_millis(10);

/// No request joins a connection on which nothing comes while another connection carries nothing. RULE-157
///
/// What is not known for sure speaks for the client: of some requests nobody can tell which connection they went to, or
/// whether the connection still waits for their replies.
pub(super) fn check(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let arrivals = arrivals(evidence);
    let history = History::of(evidence);
    for (number, asked) in requests {
        let Some((at, conn)) = arrivals.get(number).and_then(|arrivals| arrivals.first()) else { continue };
        let before = requests.range(..number).filter(|(_, other)| other.entry < asked.entry);
        let carried = before.filter(|(_, other)| !is_over(other, asked.entry));
        let carried: Vec<_> = carried.map(|(other, asked)| (asked, arrivals.get(other))).collect();
        let known = carried.iter().filter_map(|(_, arrivals)| *arrivals).flatten().map(|(_, conn)| *conn);
        let busy = known.collect::<BTreeSet<_>>().len();
        let unknown = carried.iter().filter(|(_, arrivals)| arrivals.is_none()).count();
        if !history.is_steady(asked, *at) || busy + unknown >= history.serving_at(asked.entry) {
            continue;
        }
        let waits_since = carried.iter().filter(|(other, arrivals)| {
            arrivals.is_some_and(|arrivals| matches!(arrivals[..], [(_, only)] if only == *conn))
                && is_surely_awaited(other)
                // While the executor is busy a reply may have come that its caller has not looked at.
                && history.hears(*conn, asked.entry, other.ended)
        });
        let Some(waits_since) = waits_since.map(|(other, _)| other.sent_at).min() else { continue };
        // Replies are handed over in parts, and the executor may pause between two parts, so the last reply counts as well as the last read.
        // The replies of a burst are noted late, one after the other: one of those counts only if it is noted at this very instant.
        let answered = requests.iter().filter(|(other, earlier)| {
            // One that was sent again was answered where it had arrived last.
            let ended = evidence.entries[earlier.ended].0;
            let last = arrivals.get(other).and_then(|them| them.iter().rev().find(|(at, _)| *at <= ended));
            let there = last.is_some_and(|(_, on)| on == conn);
            there
                && earlier.ended < asked.entry
                && (is_surely_awaited(earlier) || earlier.fate == Fate::Answered(asked.sent_at))
        });
        let answered = answered.map(|(_, earlier)| evidence.entries[earlier.ended].0).max();
        let silent_since = waits_since
            .max(history.heard(*conn, asked.entry))
            .max(history.changed(asked.entry))
            .max(answered.unwrap_or(history.began_at));
        assert!(
            asked.sent_at < silent_since + PAUSE,
            "RULE-157: request {number}, sent at entry {}, joined {conn:?}, which was silent for {:?}",
            asked.entry,
            asked.sent_at - silent_since
        );
    }
}

/// When and where each request arrived, and arrived again.
fn arrivals(evidence: &Evidence<'_>) -> BTreeMap<u64, Vec<(Instant, ServerConn)>> {
    let mut arrivals: BTreeMap<u64, Vec<(Instant, ServerConn)>> = BTreeMap::new();
    for entry in evidence.ledger.entries() {
        let ServerEvent::Received(request) = &entry.event else { continue };
        let Some((number, conn)) = number_of(request).zip(entry.conn) else { continue };
        arrivals.entry(number).or_default().push((entry.at, conn));
    }
    arrivals
}

/// Whether no connection carries the request any more at this entry. One that was given up may wait for its replies.
fn is_over(asked: &Asked, entry: usize) -> bool {
    asked.ended < entry && matches!(asked.fate, Fate::Answered(_) | Fate::Refused | Fate::NotSent(_))
}

/// Whether the end of the request is noted when it has come. The requests of a burst are looked at one after the other.
fn is_surely_awaited(asked: &Asked) -> bool {
    let alone = matches!(asked.kind, RequestKind::Set | RequestKind::Pipeline | RequestKind::Atomic);
    alone && matches!(asked.fate, Fate::Answered(_))
}

/// What happened to the connections, by entry.
struct History {
    /// Which connections there were from this entry on: a count, and when it changed.
    serving: BTreeMap<usize, (usize, Instant)>,
    sockets: BTreeMap<ServerConn, SocketId>,
    reads: BTreeMap<SocketId, BTreeMap<usize, Instant>>,
    began_at: Instant,
}

impl History {
    fn of(evidence: &Evidence<'_>) -> Self {
        let mut serving = BTreeSet::new();
        let began_at = evidence.entries[0].0;
        let mut history =
            Self { serving: BTreeMap::new(), sockets: BTreeMap::new(), reads: BTreeMap::new(), began_at };
        for (entry, (at, what)) in evidence.entries.iter().enumerate() {
            match what {
                What::Event(Event::ConnectionReady { conn, .. }) => drop(serving.insert(*conn)),
                What::Event(Event::CutOver { from: conn, .. } | Event::ConnectionClosed { conn, .. }) => {
                    serving.remove(conn);
                }
                What::Accepted(socket, conn) => drop(history.sockets.insert(*conn, *socket)),
                What::Read(socket, _) => {
                    history.reads.entry(*socket).or_default().insert(entry, *at);
                }
                _ => {}
            }
            if history.serving.last_key_value().is_none_or(|(_, (count, _))| *count != serving.len())
                || matches!(what, What::Event(Event::ConnectionReady { .. } | Event::CutOver { .. }))
            {
                history.serving.insert(entry, (serving.len(), *at));
            }
        }
        history
    }

    /// Whether the connections stayed what they were from the sending of a request to its arrival.
    fn is_steady(&self, asked: &Asked, arrived_at: Instant) -> bool {
        self.serving.range(asked.entry..).next().is_none_or(|(_, (_, at))| *at > arrived_at)
    }

    fn serving_at(&self, entry: usize) -> usize {
        self.serving.range(..entry).next_back().map_or(0, |(_, (count, _))| *count)
    }

    /// When the connections were last others.
    fn changed(&self, entry: usize) -> Instant {
        self.serving.range(..entry).next_back().map_or(self.began_at, |(_, (_, at))| *at)
    }

    /// Whether the client reads from a connection between these entries.
    fn hears(&self, conn: ServerConn, from: usize, to: usize) -> bool {
        let reads = self.sockets.get(&conn).and_then(|socket| self.reads.get(socket));
        from < to && reads.is_some_and(|reads| reads.range(from..to).next().is_some())
    }

    /// When the client last read from a connection.
    fn heard(&self, conn: ServerConn, entry: usize) -> Instant {
        let reads = self.sockets.get(&conn).and_then(|socket| self.reads.get(socket));
        let last = reads.and_then(|reads| reads.range(..entry).next_back());
        last.map_or(self.began_at, |(_, at)| *at)
    }
}
