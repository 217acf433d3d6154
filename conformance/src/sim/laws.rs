//! What must hold of every run, judged by its trace and by the server's ledger.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hitless_core::config::Config;
use hitless_core::endpoint::Peer;
use hitless_core::error::Delivery;
use hitless_core::event::Event;
use hitless_core::ids::ConnId;

use super::caller::Keys;
use super::faults::{GENTLE_PAUSE, Weather};
use super::joins;
use super::plan::Plan;
use super::trace::{RequestKind, What};
use crate::laws::Record;
use crate::server::{EndpointId, Event as ServerEvent, Ledger, Request};

/// By how much things may be late: a timer rings late, and then a busy executor looks at it late.
const SLACK: Duration = Duration::from_millis(1500);

/// All that is known of a run.
pub(super) struct Evidence<'a> {
    pub(super) plan: &'a Plan,
    pub(super) config: &'a Config,
    pub(super) entries: &'a [(Instant, What)],
    pub(super) ledger: &'a Ledger,
    pub(super) peers: BTreeMap<EndpointId, Peer>,
    pub(super) keys: &'a [Keys],
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
    Record { config: evidence.config, events: &events, slack: SLACK }.check();
    let requests = requests(evidence.entries);
    each_ends_once(&requests);
    at_most_once(evidence, &requests);
    nothing_goes_astray(evidence, &requests);
    joins::check(evidence, &requests);
    if evidence.plan.weather == Weather::Gentle {
        nobody_notices(evidence, &requests);
    }
}

/// What is known of a request.
pub(super) struct Asked {
    pub(super) kind: RequestKind,
    pub(super) sent_at: Instant,
    /// Its place in the trace.
    pub(super) entry: usize,
    ends: usize,
    /// The place of its end in the trace.
    pub(super) ended: usize,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pending,
    Answered(Instant),
    NotSent,
    Unknown,
    Cancelled,
}

/// The requests of the load, by number.
fn requests(entries: &[(Instant, What)]) -> BTreeMap<u64, Asked> {
    let mut requests: BTreeMap<u64, Asked> = BTreeMap::new();
    for (entry, (at, what)) in entries.iter().enumerate() {
        let (number, fate) = match what {
            What::Sent { request, kind, .. } if *kind != RequestKind::Probe => {
                let (ends, ended, fate) = (0, usize::MAX, Fate::Pending);
                let asked = Asked { kind: *kind, sent_at: *at, entry, ends, ended, fate };
                requests.insert(*request, asked);
                continue;
            }
            What::NotAccepted { request, .. } => (request, Fate::NotSent),
            What::Replied { request, .. } => (request, Fate::Answered(*at)),
            What::Cancelled { request, .. } => (request, Fate::Cancelled),
            What::Failed { request, error, .. } => match error.delivery() {
                Delivery::NotSent => (request, Fate::NotSent),
                Delivery::Unknown => (request, Fate::Unknown),
            },
            _ => continue,
        };
        if let Some(asked) = requests.get_mut(number) {
            asked.fate = fate;
            asked.ended = entry;
            asked.ends += 1;
        }
    }
    requests
}

/// Each request ends once. INV-01
fn each_ends_once(requests: &BTreeMap<u64, Asked>) {
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
            Fate::NotSent => 0..=0,
            Fate::Pending | Fate::Unknown | Fate::Cancelled => 0..=1,
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
fn nobody_notices(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    // A few round trips of the slowest ways there are, and a pause or two in between.
    let longest = Duration::from_millis(400) + 4 * GENTLE_PAUSE;
    for (number, asked) in requests {
        let (kind, fate) = (asked.kind, asked.fate);
        match fate {
            Fate::Answered(at) => {
                let took = at.saturating_duration_since(asked.sent_at);
                assert!(took <= longest, "INV-03: request {number} ({kind:?}) took {took:?}");
            }
            Fate::Cancelled => {}
            Fate::Pending | Fate::NotSent | Fate::Unknown => {
                panic!("INV-03: request {number} ({kind:?}) failed: {fate:?}");
            }
        }
    }
    let stayed = evidence.entries.iter().find_map(|(_, what)| match what {
        What::Event(event @ Event::MoveFinished { stayed: 1.., .. }) => Some(event),
        _ => None,
    });
    assert!(stayed.is_none(), "INV-03: connections were left behind: {stayed:?}");
}

/// The number of the request of the load that this is a part of, if it tells.
pub(super) fn number_of(request: &Request) -> Option<u64> {
    request.words().iter().skip(1).find_map(|word| {
        let text = std::str::from_utf8(word.strip_prefix(b"r")?).ok()?;
        text.split('.').next()?.parse().ok()
    })
}
