//! What must hold of every run, judged by its trace and by the server's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hitless_core::config::Config;
use hitless_core::endpoint::Peer;
use hitless_core::error::{CloseCause, Delivery, RequestError};
use hitless_core::event::Event;
use hitless_core::ids::ConnId;

use super::caller::Keys;
use super::edges;
use super::elements;
use super::excuses::Excuses;
use super::faults::{FaultKind, GENTLE_PAUSE, Weather};
use super::joins;
use super::plan::Plan;
use super::trace::{RequestKind, What};
use crate::laws::{Record, stopped};
use crate::server::{EndpointId, Event as ServerEvent, Ledger, Request, ServerConn};

/// By how much things may be late: a timer rings late, and then a busy executor looks at it late.
pub(super) const SLACK: Duration = Duration::from_millis(1500);

/// All that is known of a run.
pub(super) struct Evidence<'a> {
    pub(super) plan: &'a Plan,
    pub(super) config: &'a Config,
    pub(super) entries: &'a [(Instant, What)],
    pub(super) ledger: &'a Ledger,
    pub(super) peers: BTreeMap<EndpointId, Peer>,
    pub(super) keys: &'a [Keys],
}

impl Evidence<'_> {
    /// Connections that may be open beside the pool.
    fn dedicated(&self) -> u32 {
        if self.plan.has_holders() { self.config.max_dedicated() } else { 0 }
    }
}

/// Checks every law.
pub(super) fn check(evidence: &Evidence<'_>) {
    let events: Vec<(Instant, Event)> = evidence
        .entries
        .iter()
        .filter_map(|(at, what)| match what {
            What::Event(event) => Some((*at, event.clone())),
            _ => None,
        })
        .collect();
    let stops = stops(evidence.entries);
    let dedicated = evidence.dedicated();
    Record { config: evidence.config, events: &events, slack: SLACK, stops: &stops, dedicated }.check();
    let requests = requests(evidence.entries);
    each_ends_once(&requests);
    at_most_once(evidence, &requests);
    replays_are_few(evidence, &requests);
    dials_are_few(evidence.entries, evidence.config.pool_size() + evidence.dedicated());
    silent_links_are_left(evidence, &stops);
    nothing_goes_astray(evidence, &requests);
    if !evidence.plan.has_holders() {
        // Events do not tell which connections are of the pool.
        joins::check(evidence, &requests);
    }
    if evidence.plan.weather == Weather::Gentle {
        nobody_notices(evidence, &requests, &stops);
    }
}

/// What is known of a request.
pub(super) struct Asked {
    pub(super) kind: RequestKind,
    pub(super) sent_at: Instant,
    /// Its place in the trace.
    pub(super) entry: usize,
    ends: usize,
    /// For how long it was overdue when it was said to have timed out.
    pub(super) overdue: Option<Duration>,
    /// The place of its end in the trace.
    pub(super) ended: usize,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pending,
    Answered(Instant),
    Refused,
    /// Failed then, without having been sent.
    NotSent(Instant),
    /// Failed then, and may have run.
    Unknown(Instant),
    Cancelled,
}

/// The requests of the load, by number.
pub(super) fn requests(entries: &[(Instant, What)]) -> BTreeMap<u64, Asked> {
    let mut requests: BTreeMap<u64, Asked> = BTreeMap::new();
    for (entry, (at, what)) in entries.iter().enumerate() {
        let (number, fate) = match what {
            What::Sent { request, kind, .. } if *kind != RequestKind::Probe => {
                let (ends, ended, fate) = (0, usize::MAX, Fate::Pending);
                let asked = Asked { kind: *kind, sent_at: *at, entry, ends, overdue: None, ended, fate };
                requests.insert(*request, asked);
                continue;
            }
            What::NotAccepted { request, .. } => (request, Fate::NotSent(*at)),
            What::Refused { request, .. } => (request, Fate::Refused),
            What::Replied { request, .. } => (request, Fate::Answered(*at)),
            What::Cancelled { request, .. } => (request, Fate::Cancelled),
            What::Failed { request, error, .. } => match error.delivery() {
                Delivery::NotSent => (request, Fate::NotSent(*at)),
                Delivery::Unknown => (request, Fate::Unknown(*at)),
            },
            _ => continue,
        };
        if let Some(asked) = requests.get_mut(number) {
            if let What::Failed { error: RequestError::TimedOut { after, .. }, .. } = what {
                asked.overdue = Some(at.saturating_duration_since(asked.sent_at + *after));
            }
            asked.fate = fate;
            asked.ended = entry;
            asked.ends += 1;
        }
    }
    requests
}

/// Each request ends once. INV-01
pub(super) fn each_ends_once(requests: &BTreeMap<u64, Asked>) {
    for (number, asked) in requests {
        assert_eq!(asked.ends, 1, "INV-01: request {number} ({:?}) has so many ends", asked.kind);
    }
}

/// What was answered ran once, what was not sent did not run, and of what it is not known ran at most once. Requests
/// that only read may run again. INV-05
fn at_most_once(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let mut sets: BTreeMap<u64, u32> = BTreeMap::new();
    for entry in evidence.ledger.entries() {
        let ServerEvent::Executed { request, ok: true } = &entry.event else { continue };
        if let Some(number) = number_of(request).filter(|_| request.is("SET")) {
            *sets.entry(number).or_default() += 1;
        }
    }
    for (number, asked) in requests {
        if !matches!(asked.kind, RequestKind::Set | RequestKind::Pipeline | RequestKind::Atomic) {
            continue;
        }
        let ran = sets.get(number).copied().unwrap_or(0);
        let possible = match asked.fate {
            Fate::Answered(_) => 1..=1,
            Fate::NotSent(_) => 0..=0,
            // Of a pipeline it may have been another part.
            Fate::Refused if asked.kind != RequestKind::Pipeline => 0..=0,
            Fate::Refused | Fate::Pending | Fate::Unknown(_) | Fate::Cancelled => 0..=1,
        };
        assert!(
            possible.contains(&ran),
            "INV-05: request {number} ({:?}, {:?}) ran {ran} times",
            asked.kind,
            asked.fate
        );
    }
    for keys in evidence.keys {
        let ran = evidence.ledger.executions("INCR", keys.counter.as_bytes()).count() as i64;
        let possible = keys.counted..=keys.counted + keys.unsure;
        assert!(possible.contains(&ran), "INV-05: {} was raised {ran} times of {possible:?}", keys.counter);
    }
}

/// A request arrives only at an endpoint to which a connection served after it was sent. Once all connections of an
/// endpoint have been handed over, nothing that is sent from then on is written to them. INV-04
fn nothing_goes_astray(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let service = service(evidence.entries);
    for entry in evidence.ledger.entries() {
        let ServerEvent::Received(request) = &entry.event else { continue };
        let Some(asked) = number_of(request).and_then(|number| requests.get(&number)) else { continue };
        let Some(peer) = evidence.peers.get(&entry.endpoint) else { continue };
        let served = service.get(peer).into_iter().flatten();
        let mut fitting = served.filter(|spell| spell.began_at <= entry.at && spell.ended >= asked.entry);
        assert!(
            fitting.next().is_some(),
            "INV-04: {request:?}, sent at entry {}, arrived at {peer}, where nobody served any more",
            asked.entry
        );
    }
}

/// When a connection took requests.
struct Spell {
    began_at: Instant,
    /// The entry at which it was cut over or closed.
    ended: usize,
}

fn service(entries: &[(Instant, What)]) -> BTreeMap<Peer, Vec<Spell>> {
    let mut serving: BTreeMap<ConnId, (Peer, Instant)> = BTreeMap::new();
    let mut spells: BTreeMap<Peer, Vec<Spell>> = BTreeMap::new();
    for (entry, (at, what)) in entries.iter().enumerate() {
        match what {
            What::Event(Event::ConnectionReady { conn, peer, .. }) => {
                serving.insert(*conn, (peer.clone(), *at));
            }
            What::Event(Event::CutOver { from: conn, .. } | Event::ConnectionClosed { conn, .. }) => {
                if let Some((peer, began_at)) = serving.remove(conn) {
                    spells.entry(peer).or_default().push(Spell { began_at, ended: entry });
                }
            }
            _ => {}
        }
    }
    for (peer, began_at) in serving.into_values() {
        spells.entry(peer).or_default().push(Spell { began_at, ended: usize::MAX });
    }
    spells
}

/// Nothing fails, and nobody waits longer than the network makes everybody wait. INV-03
///
/// A connection that is opened when a move has taken all others away, and has no time for another attempt left, stays where it
/// is: it serves nobody from before.
///
/// Where the process was stopped, what was not yet written may be overdue afterwards; if it runs again within a few milliseconds
/// of a deadline, nothing tells it that it was stopped; and if it runs again when the deadline of a move has come or is hardly
/// half a second away, or when the target of the move retires in turn and takes nobody, it may say at once that connections stay, and there may be
/// no address until the name leads to one. Beside a request that kills the link
/// that carries it fails what had been written to that link when it came for the first time, and what was written to a node that closes at its
/// deadline those who had to go back there, and nothing else; others may wait, and fail without having been sent, or because they waited until no time
/// for a reply was left: RULE-165
fn nobody_notices(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>, stops: &[(Instant, Duration)]) {
    // A few round trips of the slowest ways there are, and a pause or two in between.
    let longest = Duration::from_millis(400) + 4 * GENTLE_PAUSE;
    let excuses = Excuses::of(evidence, requests, stops);
    for (number, asked) in requests {
        let (kind, fate, sent_at) = (asked.kind, asked.fate, asked.sent_at);
        match fate {
            Fate::Answered(at) => {
                let took = at.saturating_duration_since(sent_at);
                let is_served = took <= longest + excuses.lasted(sent_at, at) || excuses.is_beside(at);
                assert!(is_served, "INV-03: request {number} ({kind:?}) took {took:?}");
            }
            Fate::Cancelled => {}
            Fate::Unknown(at) if excuses.is_unnoticed(asked.overdue, at) => {}
            Fate::NotSent(at) if !excuses.lasted(sent_at, at).is_zero() || excuses.is_beside(at) => {}
            Fate::Unknown(at) if excuses.is_left_behind(at) => {}
            Fate::Unknown(_) | Fate::NotSent(_) if kind == RequestKind::Poison => {}
            Fate::Unknown(at) if excuses.is_beside(at) => {
                let is_excused = excuses.is_torn_down(sent_at, at) || excuses.is_sent_too_late(asked, at);
                assert!(is_excused, "RULE-165: request {number} ({kind:?}) failed: {fate:?}");
            }
            Fate::Pending | Fate::Refused | Fate::NotSent(_) | Fate::Unknown(_) => {
                panic!("INV-03: request {number} ({kind:?}) failed: {fate:?}");
            }
        }
    }
    excuses.nothing_stays();
}

/// When the process was kept from running, and for how long.
pub(super) fn stops(entries: &[(Instant, What)]) -> Vec<(Instant, Duration)> {
    let stop = |(at, what): &(Instant, What)| match what {
        What::Fault(fault) if matches!(fault.kind, FaultKind::ProcessStops | FaultKind::ClockJumps) => {
            Some((*at, fault.delay))
        }
        _ => None,
    };
    entries.iter().filter_map(stop).collect()
}

/// A request that only reads runs three times at most. One whose reply cannot be read is not sent again when that has come: it
/// comes a second time only if another request of the kind had killed the link before. Others: INV-05. RULE-162
fn replays_are_few(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let mut arrivals: BTreeMap<u64, usize> = BTreeMap::new();
    let mut runs: BTreeMap<u64, usize> = BTreeMap::new();
    // What has killed each link, and who came behind it.
    let mut killed: BTreeMap<ServerConn, u64> = BTreeMap::new();
    let mut excused: BTreeMap<u64, usize> = BTreeMap::new();
    for entry in evidence.ledger.entries() {
        let (request, counts) = match &entry.event {
            ServerEvent::Received(request) => (request, &mut arrivals),
            ServerEvent::Executed { request, .. } => (request, &mut runs),
            _ => continue,
        };
        if let Some(number) = number_of(request).filter(|_| request.is("GET") || request.is("ECHO")) {
            *counts.entry(number).or_default() += 1;
            let poison = edges::POISONS
                .iter()
                .find(|(end, _)| request.key().is_some_and(|key| key.ends_with(end.as_bytes())));
            if let (Some((end, _)), Some(conn), ServerEvent::Received(_)) = (poison, entry.conn, &entry.event)
            {
                let killer = *killed.entry(conn).or_insert(number);
                *excused.entry(number).or_default() += usize::from(killer != number);
                // A reset takes the reply along that would have been read before it.
                *excused.entry(killer).or_default() +=
                    usize::from(killer != number && *end == "poison.unanswered");
            }
            // In rough weather its link may be lost before the reply comes that cannot be read.
            let gentle = evidence.plan.weather == Weather::Gentle;
            let excused = excused.get(&number).copied().unwrap_or(0);
            let most = poison.filter(|_| gentle).map_or(3, |(_, most)| (*most + excused).min(3));
            let arrived = arrivals.get(&number).copied().unwrap_or(0);
            let ran = runs.get(&number).copied().unwrap_or(0);
            let kind = requests.get(&number).map(|asked| asked.kind);
            assert!(ran <= most, "RULE-162: request {number} ({kind:?}) ran {ran} times: {request:?}");
            // What kills its link is never refused and asked again.
            assert!(
                poison.is_none() || arrived <= most,
                "RULE-162: request {number} ({kind:?}) came {arrived} times: {request:?}"
            );
        }
    }
}

/// Whatever a server does, an address to which there may be so many connections is not dialled more often than so: RULE-161
pub(super) fn dials_are_few(entries: &[(Instant, What)], connections: u32) {
    const SPAN: Duration = Duration::from_secs(10);
    /// For each slot in ten seconds.
    const MOST: usize = 20;
    let most = MOST * connections as usize;
    let mut dials: BTreeMap<Peer, Vec<Instant>> = BTreeMap::new();
    for (at, what) in entries {
        if let What::Dialled(_, target) = what {
            dials.entry(target.address.clone()).or_default().push(*at);
        }
    }
    for (peer, dials) in dials {
        let crowded = dials.iter().zip(dials.iter().skip(most)).find(|(first, last)| **last < **first + SPAN);
        assert!(crowded.is_none(), "RULE-161: {peer} was dialled more than {most} times in {SPAN:?}");
    }
}

/// A link on which nothing comes back is left: three timeouts after something was written to it the client says so and dials
/// another one, and when there is one, nothing is written to it any more. RULE-164
fn silent_links_are_left(evidence: &Evidence<'_>, stops: &[(Instant, Duration)]) {
    let timeout = evidence.config.command_timeout().unwrap_or(Duration::from_secs(10));
    let timeout = timeout.max(evidence.config.maintenance().relaxed_timeout());
    // A command may wait for ever, and nothing comes.
    let carriers = elements::carriers(evidence);
    // A link may fall silent twice.
    let mut overdue = BTreeSet::new();
    for (entry, (_, what)) in evidence.entries.iter().enumerate() {
        let What::Silenced(socket) = what else { continue };
        let is_over = |what: &What| matches!(what, What::Calm) || *what == What::HungUp(*socket);
        let rest = &evidence.entries[entry..];
        let end = rest.iter().position(|(_, what)| is_over(what)).unwrap_or(rest.len());
        let (mut known_at, mut dialled, mut replaced_at) = (None::<Instant>, false, None::<Instant>);
        for (at, what) in &rest[..end] {
            match what {
                What::Wrote(to, _) if to == socket => {
                    let known_at = *known_at.get_or_insert(*at + 3 * timeout);
                    // The silence of a process that was stopped does not count: RULE-144
                    let known_at = known_at + stopped(stops, known_at - 3 * timeout, *at);
                    let may_stay = dialled || *at <= known_at + SLACK;
                    assert!(
                        may_stay,
                        "RULE-164: {socket:?} has been silent for long, and nothing is dialled"
                    );
                    let is_left = replaced_at.is_none_or(|it| *at <= it + SLACK + stopped(stops, it, *at));
                    assert!(is_left, "RULE-164: {socket:?} has been silent for long, and is written to");
                }
                What::Dialled(..) => dialled |= known_at.is_some(),
                // One that is ready may be for a holder.
                What::Event(Event::ConnectionReady { .. }) if evidence.plan.has_holders() => {}
                What::Event(Event::ConnectionReady { .. })
                    if known_at.is_some_and(|known_at| known_at < *at) =>
                {
                    replaced_at.get_or_insert(*at);
                }
                _ => {}
            }
        }
        if let (Some(known_at), Some((at, _))) = (known_at, rest.get(end)) {
            let known_at = known_at + stopped(stops, known_at - 3 * timeout, *at);
            if *at > known_at + SLACK && !carriers.contains(socket) && !drains(rest, end, known_at + SLACK) {
                overdue.insert(*socket);
            }
        }
    }
    // One that drains may be closed without another word.
    let dead: BTreeSet<ConnId> = evidence
        .entries
        .iter()
        .filter_map(|(_, what)| match what {
            What::Event(
                Event::ConnectionSilent { conn, .. }
                | Event::ConnectionClosed { conn, cause: CloseCause::Silent, .. },
            ) => Some(*conn),
            _ => None,
        })
        .collect();
    let (told, overdue) = (dead.len(), overdue.len());
    assert!(told >= overdue, "RULE-164: {overdue} links were silent for long, and {told} counted as dead");
}

/// Whether the link that is closed at this entry had been left for another one by a move before `until`, and was closed at the deadline of that.
fn drains(entries: &[(Instant, What)], closed: usize, until: Instant) -> bool {
    let Some((at, _)) = entries.get(closed) else { return false };
    // A busy executor lets time pass between the order to close and the end.
    let before = entries[..closed].iter().rev().take_while(|(it, _)| *at <= *it + GENTLE_PAUSE);
    let mut causes = before.filter_map(|(_, what)| match what {
        What::Event(Event::ConnectionClosed { conn, cause: CloseCause::MoveDeadline, .. }) => Some(conn),
        _ => None,
    });
    causes.next().is_some_and(|conn| {
        entries[..closed]
            .iter()
            .take_while(|(at, _)| *at <= until)
            .any(|(_, what)| matches!(what, What::Event(Event::CutOver { from, .. }) if from == conn))
    })
}

/// The number of the request of the load that this is a part of, if it tells.
pub(super) fn number_of(request: &Request) -> Option<u64> {
    request.words().iter().skip(1).find_map(|word| {
        let text = std::str::from_utf8(word.strip_prefix(b"r")?).ok()?;
        text.split('.').next()?.parse().ok()
    })
}
