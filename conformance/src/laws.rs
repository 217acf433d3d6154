//! Laws that hold for every run, checked over the client's events and the server's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hitless_core::config::Config;
use hitless_core::endpoint::Peer;
use hitless_core::error::ConnectError;
use hitless_core::event::Event;
use hitless_core::ids::ConnId;
use hitless_core::notification::Seq;

use crate::server::{EndpointId, Event as Entry, Ledger, Listening, ServerMachine};
use crate::testbed::{Operation, Testbed};

/// Checks every law. The client has been shut down.
pub(crate) fn check(bed: &mut Testbed) {
    let dedicated = bed.dedicated();
    let (config, events) = (bed.config(), bed.timed_events());
    let record = Record { config, events, slack: bed.slack(), stops: &[], dedicated };
    record.check();
    old_connections_get_nothing_new(bed);
}

/// Checks what holds for every client of a cluster. It has been shut down.
pub(crate) fn check_cluster(bed: &mut Testbed) {
    if bed.has_dedicated() {
        return;
    }
    bed.server(|server, _| nodes_have_few_connections(server.ledger()));
}

/// A node has one connection, and another one while that is replaced: topology reads use those that there are. INV-20
fn nodes_have_few_connections(ledger: &Ledger) {
    let mut open: BTreeMap<EndpointId, usize> = BTreeMap::new();
    for entry in ledger.entries() {
        let open = open.entry(entry.endpoint).or_default();
        match entry.event {
            Entry::Dialled(Listening::Accepting) => *open += 1,
            Entry::Closed(_) => *open -= 1,
            _ => {}
        }
        assert!(*open <= 2, "INV-20: {open} connections to one node");
    }
}

/// What a client said in its whole life.
pub(crate) struct Record<'a> {
    /// The settings that it was connected with.
    pub(crate) config: &'a Config,
    /// Everything that it said, with times.
    pub(crate) events: &'a [(Instant, Event)],
    /// By how much things may be late.
    pub(crate) slack: Duration,
    /// When the process did not run, and for how long.
    pub(crate) stops: &'a [(Instant, Duration)],
    /// Connections that may be open beside the pool.
    pub(crate) dedicated: u32,
}

/// How much of the time from `from` to `to` the process did not run, at most.
pub(crate) fn stopped(stops: &[(Instant, Duration)], from: Instant, to: Instant) -> Duration {
    let parts = stops.iter().map(|(at, time)| to.min(*at + *time).saturating_duration_since(from.max(*at)));
    parts.sum()
}

impl Record<'_> {
    /// Checks every law that needs to know nothing else. The client has been shut down.
    pub(crate) fn check(&self) {
        drains_end(self);
        dials_are_bounded(self);
        scouts_go_first(self);
        sockets_are_bounded(self);
    }

    /// The events, one a line, for the message of a failure.
    pub(crate) fn history(&self) -> String {
        let Some((start, _)) = self.events.first() else { return String::new() };
        self.events.iter().map(|(at, event)| format!("{:>12?} {event:?}\n", *at - *start)).collect()
    }
}

/// A draining connection is closed no later than its deadline, which is that of its move, or the relaxed timeout after
/// its cut-over if that is later. One that was silent has the deadlines of its callers, and ends as well. INV-06
fn drains_end(record: &Record<'_>) {
    let relaxed = record.config.maintenance().relaxed_timeout();
    let mut deadlines: BTreeMap<Peer, Instant> = BTreeMap::new();
    let mut peers: BTreeMap<ConnId, Peer> = BTreeMap::new();
    let mut draining: BTreeMap<ConnId, Option<Instant>> = BTreeMap::new();
    let mut silent: BTreeSet<ConnId> = BTreeSet::new();
    for (at, event) in record.events {
        match event {
            Event::MoveStarted { source, deadline, .. } => {
                deadlines.insert(source.clone(), *deadline);
            }
            Event::ConnectionSilent { conn, .. } => {
                silent.insert(*conn);
            }
            Event::ConnectionReady { conn, peer, .. } => {
                peers.insert(*conn, peer.clone());
            }
            Event::CutOver { from, .. } => {
                let of_move = peers.get(from).and_then(|peer| deadlines.get(peer)).copied();
                // A connection that was gone before its successor was ready does not drain.
                if peers.contains_key(from) {
                    let deadline = of_move.unwrap_or(*at).max(*at + relaxed);
                    draining.insert(*from, (!silent.contains(from)).then_some(deadline));
                }
            }
            Event::ConnectionClosed { conn, .. } => {
                peers.remove(conn);
                if let Some(Some(deadline)) = draining.remove(conn) {
                    let late = at.saturating_duration_since(deadline);
                    assert!(
                        late <= record.slack + stopped(record.stops, deadline, *at),
                        "INV-06: {conn} was closed {late:?} late\n{}",
                        record.history()
                    );
                }
            }
            _ => {}
        }
    }
    assert!(draining.is_empty(), "INV-06: never closed: {draining:?}\n{}", record.history());
}

/// A handoff makes at most one attempt and its retries, one after the other, all before the deadline. INV-07
fn dials_are_bounded(record: &Record<'_>) {
    let most = record.config.maintenance().max_handoff_retries() + 1;
    let mut deadlines: BTreeMap<Peer, Instant> = BTreeMap::new();
    let mut peers: BTreeMap<ConnId, Peer> = BTreeMap::new();
    let mut dials: BTreeMap<ConnId, u32> = BTreeMap::new();
    for (at, event) in record.events {
        match event {
            Event::MoveStarted { source, deadline, .. } => {
                deadlines.insert(source.clone(), *deadline);
                dials.retain(|from, _| peers.get(from) != Some(source));
            }
            Event::ConnectionReady { conn, peer, .. } => {
                peers.insert(*conn, peer.clone());
            }
            Event::HandoffDialing { from, attempt, .. } => {
                let made = dials.entry(*from).or_default();
                // An attempt that the circuit breaker forbids counts and is not made; one at which the link died at the
                // opt-in is made again.
                let counts_up = *attempt <= most && *attempt >= *made;
                assert!(counts_up, "INV-07: {event:?}\n{}", record.history());
                *made = *attempt;
                let deadline = peers.get(from).and_then(|peer| deadlines.get(peer));
                let in_time = deadline.is_some_and(|deadline| at < deadline);
                assert!(in_time, "INV-07: {event:?} after the deadline\n{}", record.history());
            }
            // One that never got as far as dialling, because the name was not looked up in time, counts as well.
            Event::HandoffFailed { from, attempt, .. } => {
                let made = dials.entry(*from).or_default();
                *made = (*made).max(*attempt);
            }
            _ => {}
        }
    }
}

/// Until the scout has arrived it is the only one that dials, and the workers are never exceeded. INV-07
fn scouts_go_first(record: &Record<'_>) {
    let workers = record.config.handoff_capacity().workers() as usize;
    let mut peers: BTreeMap<ConnId, Peer> = BTreeMap::new();
    let mut arrived: BTreeSet<Peer> = BTreeSet::new();
    // By predecessor: the successor, the source, and whether an event tells what becomes of the attempt.
    let mut dialing: BTreeMap<ConnId, (ConnId, Peer, bool)> = BTreeMap::new();
    // An attempt that goes on to another address has another id by then.
    let cut_over = |(_, event): &(_, Event)| match event {
        Event::CutOver { from, to, .. } => Some((*to, *from)),
        _ => None,
    };
    let replaced: BTreeMap<_, _> = record.events.iter().filter_map(cut_over).collect();
    for (index, (_, event)) in record.events.iter().enumerate() {
        match event {
            Event::MoveStarted { source, .. } => {
                arrived.remove(source);
                dialing.retain(|_, (_, of, _)| of != source);
            }
            Event::MoveSuperseded { source, .. } => dialing.retain(|_, (_, of, _)| of != source),
            Event::ConnectionReady { conn, peer, .. } => {
                peers.insert(*conn, peer.clone());
                // It has arrived and its worker is free, although the cut-over is not told yet. The owner of a connection that is lent
                // may never switch, and then there is no cut-over. If the attempt has gone on to another address as well, nothing tells
                // that it has arrived but a connection of which nothing else is told.
                let dialled = dialing.iter().find(|(_, (to, ..))| to == conn);
                let untold = || dialing.iter().find(|(_, (.., is_told))| !is_told);
                // One connection may take the places of several: its dial says for which of them it was dialled.
                let dialled = dialled.map(|(from, _)| from);
                let from = dialled.or_else(|| replaced.get(conn)).or_else(|| Some(untold()?.0)).copied();
                let handoff = from.and_then(|from| dialing.remove(&from));
                arrived.extend(handoff.map(|(_, source, _)| source));
            }
            // Its successor was dialled before this move, or for another reason.
            Event::CutOver { from, .. } => {
                dialing.remove(from);
                arrived.extend(peers.get(from).cloned());
            }
            Event::HandoffDialing { from, to, .. } => {
                let Some(source) = peers.get(from) else { continue };
                let others = dialing.values().filter(|(_, other, _)| other == source).count();
                let alone = others == 0 || arrived.contains(source);
                assert!(alone, "INV-07: dials beside the scout: {event:?}\n{}", record.history());
                let is_told = is_told(&record.events[index + 1..], *from);
                dialing.insert(*from, (*to, source.clone(), is_told));
                assert!(dialing.len() <= workers, "INV-07: more dials than workers\n{}", record.history());
            }
            Event::HandoffFailed { from, .. } | Event::ConnectionClosed { conn: from, .. } => {
                dialing.remove(from);
            }
            _ => {}
        }
    }
}

/// Whether an event tells what becomes of the attempt to replace `from` that has just begun.
fn is_told(later: &[(Instant, Event)], from: ConnId) -> bool {
    let told = later.iter().find_map(|(_, event)| match event {
        // It had arrived, and its owner did not switch.
        Event::HandoffFailed { from: of, error: ConnectError::LostBehindHandshake(_), .. } if *of == from => {
            Some(false)
        }
        Event::CutOver { from: of, .. } | Event::HandoffFailed { from: of, .. } if *of == from => Some(true),
        Event::HandoffDialing { from: of, .. } | Event::ConnectionClosed { conn: of, .. } if *of == from => {
            Some(false)
        }
        _ => None,
    });
    told == Some(true)
}

/// A slot has at most two established connections, the old one and the new one. A connection that was cut over in the
/// second half of its time is not counted while it drains: it could not wait for its own predecessor any longer, whose
/// replies may come until the deadline (INV-03). INV-20
fn sockets_are_bounded(record: &Record<'_>) {
    /// By how much the half of the time may come before that of what is left when the move begins: a review was waited
    /// for, and a short move keeps a part of its budget.
    const EARLIER: Duration = Duration::from_millis(650);
    let most = 2 * (record.config.pool_size() + record.dedicated) as usize;
    let mut established: BTreeMap<ConnId, Peer> = BTreeMap::new();
    // Of the latest move of each source, with its id and deadline.
    let mut half_times: BTreeMap<Peer, (Instant, Seq, Instant)> = BTreeMap::new();
    let mut last = None;
    for (at, event) in record.events {
        // A successor becomes ready and is cut over to in one breath.
        if last.replace(*at).is_some_and(|last| last < *at) {
            let count = established.len();
            assert!(count <= most, "INV-20: {count} connections\n{}", record.history());
        }
        match event {
            Event::MoveStarted { source, deadline, seq, .. } => {
                let half_time = *at + deadline.saturating_duration_since(*at) / 2;
                // A renewal has the id of the move that it renews, and the time that was declared then.
                let renewed = half_times.get(source).filter(|(_, of, until)| of == seq && until > at);
                let half_time = renewed.map_or(half_time, |(earlier, ..)| half_time.min(*earlier));
                half_times.insert(source.clone(), (half_time, *seq, *deadline));
            }
            Event::ConnectionReady { conn, peer, .. } => {
                established.insert(*conn, peer.clone());
            }
            Event::CutOver { from, .. } => {
                let half_time = established.get(from).and_then(|source| half_times.get(source));
                if half_time.is_none_or(|(half_time, ..)| *at + EARLIER >= *half_time) {
                    established.remove(from);
                }
            }
            Event::ConnectionClosed { conn, .. } => {
                established.remove(conn);
            }
            _ => {}
        }
    }
}

/// Once every connection of a source has moved, nothing that is sent from then on arrives there. INV-04
fn old_connections_get_nothing_new(bed: &mut Testbed) {
    let Some(load) = bed.maybe_load() else { return };
    let operations = load.operations().to_vec();
    let retired = retired_intervals(bed.timed_events());
    let slack = bed.slack();
    let arrivals: BTreeMap<Bytes, (Peer, Instant)> = bed.server(|server, _| {
        let received = server.ledger().entries().iter().filter_map(|entry| match &entry.event {
            Entry::Received(request) => Some((request.words().get(2)?.clone(), (entry.endpoint, entry.at))),
            _ => None,
        });
        received.map(|(token, (endpoint, at))| (token, (server.address(endpoint).into(), at))).collect()
    });
    for (source, from, to) in retired {
        // Waiting requests are written when a new connection is ready, wherever that leads.
        let is_astray = |operation: &&Operation| {
            arrivals.get(operation.token.as_bytes()).is_some_and(|(peer, at)| {
                *peer == source && operation.sent_at > from && to.is_none_or(|to| *at + slack < to)
            })
        };
        let astray: Vec<&Operation> = operations.iter().filter(is_astray).collect();
        assert!(astray.is_empty(), "INV-04: written to the old connection: {astray:?}\n{}", bed.history());
    }
}

/// From the moment at which all connections of a source have moved until the next move begins, or a new connection is
/// opened there because everything else failed. A source that is a virtual address, and so its own target, does not retire.
fn retired_intervals(events: &[(Instant, Event)]) -> Vec<(Peer, Instant, Option<Instant>)> {
    let mut intervals: Vec<(Peer, Instant, Option<Instant>)> = Vec::new();
    let mut serving: BTreeMap<ConnId, Peer> = BTreeMap::new();
    for (at, event) in events {
        match event {
            Event::MoveFinished { source, .. } if !serving.values().any(|peer| peer == source) => {
                intervals.push((source.clone(), *at, None));
            }
            Event::MoveStarted { .. } => {
                for (_, _, end) in &mut intervals {
                    end.get_or_insert(*at);
                }
            }
            Event::ConnectionReady { conn, peer, .. } => {
                serving.insert(*conn, peer.clone());
                for (_, _, end) in intervals.iter_mut().filter(|(source, ..)| source == peer) {
                    end.get_or_insert(*at);
                }
            }
            Event::CutOver { from: conn, .. } | Event::ConnectionClosed { conn, .. } => {
                serving.remove(conn);
            }
            _ => {}
        }
    }
    intervals
}
