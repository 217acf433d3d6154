//! What must hold of every run with a cluster, judged by its trace and by the server's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hitless_core::error::RequestError;

use super::super::faults::{Fault, FaultKind, Weather};
use super::super::laws::{self, Asked, Fate, number_of};
use super::super::trace::{RequestKind, What};
use super::caller::Account;
use super::plan::{ClusterPlan, Reshape};
use crate::server::{ClosedBy, EndpointId, Event as ServerEvent, Ledger, Request};

/// How long it takes at most, from the end of something that is wrong, until nobody notices it any more: links are dialled again after
/// pauses that have grown meanwhile.
const AFTERMATH: Duration = Duration::from_millis(1000);
/// The longest that a request takes where nothing is wrong: a few round trips of the slowest ways there are, and its slot between two nodes.
const LONGEST: Duration = Duration::from_millis(700);

/// All that is known of a run.
pub(super) struct Evidence<'a> {
    pub(super) plan: &'a ClusterPlan,
    pub(super) entries: &'a [(Instant, What)],
    pub(super) ledger: &'a Ledger,
    pub(super) accounts: &'a [Account],
}

/// Checks every law.
pub(super) fn check(evidence: &Evidence<'_>) {
    let requests = laws::requests(evidence.entries);
    laws::each_ends_once(&requests);
    at_most_once(evidence, &requests);
    reads_keep_their_distance(evidence);
    failures_have_a_reason(evidence, &requests);
}

/// What was answered ran once, at each of its keys; what was not sent did not run, and of what it is not known ran at most once. INV-05
fn at_most_once(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let mut ran: BTreeMap<(u64, &[u8]), u32> = BTreeMap::new();
    for entry in evidence.ledger.entries() {
        let ServerEvent::Executed { request, ok: true } = &entry.event else { continue };
        let Some(number) = number_of(request) else { continue };
        for key in written(request) {
            *ran.entry((number, key)).or_default() += 1;
        }
    }
    for (number, names) in evidence.accounts.iter().flat_map(|account| &account.asked) {
        let Some(asked) = requests.get(number) else { continue };
        let key = match asked.kind {
            RequestKind::Set | RequestKind::Pipeline | RequestKind::Atomic | RequestKind::SplitMset => "key",
            RequestKind::Mset => "pair.a",
            _ => continue,
        };
        let is_whole = !matches!(asked.kind, RequestKind::Pipeline | RequestKind::SplitMset);
        for name in names {
            let ran = ran.get(&(*number, format!("{name}{key}").as_bytes())).copied().unwrap_or(0);
            let possible = match asked.fate {
                Fate::Answered(_) => 1..=1,
                Fate::NotSent(_) if asked.kind != RequestKind::SplitMset => 0..=0,
                Fate::Refused if is_whole => 0..=0,
                _ => 0..=1,
            };
            let Asked { kind, fate, .. } = asked;
            assert!(
                possible.contains(&ran),
                "INV-05: request {number} ({kind:?}, {fate:?}) ran {ran} times at {name}"
            );
        }
    }
    for tag in evidence.accounts.iter().flat_map(|account| &account.tags) {
        let keys = &tag.keys;
        let ran = evidence.ledger.executions("INCR", keys.counter.as_bytes()).count() as i64;
        let possible = keys.counted..=keys.counted + keys.unsure;
        assert!(possible.contains(&ran), "INV-05: {} was raised {ran} times of {possible:?}", keys.counter);
    }
}

/// The keys that a SET or an MSET writes.
fn written(request: &Request) -> impl Iterator<Item = &[u8]> {
    let every = if request.is("SET") { usize::MAX } else { 2 };
    let words = if request.is("SET") || request.is("MSET") { request.words() } else { &[] };
    words.iter().skip(1).step_by(every).map(|word| &word[..])
}

/// The topology is read at most once in the least interval: rounds of questions, each of which ends with the first answer that can be used,
/// begin so far apart. RULE-421
fn reads_keep_their_distance(evidence: &Evidence<'_>) {
    let least = evidence.plan.settings.min_refresh_interval;
    let mut round: Option<(Instant, u64)> = None;
    for (at, what) in evidence.entries {
        let What::TopologyRead { failed } = what else { continue };
        match &mut round {
            // The question before has failed: another node is asked.
            Some((_, failures)) if *failures < *failed => *failures = *failed,
            begun => {
                if let Some((before, _)) = begun {
                    let pause = at.saturating_duration_since(*before);
                    assert!(
                        pause >= least,
                        "RULE-421: the topology was read {pause:?} after it was, not {least:?}"
                    );
                }
                *begun = Some((*at, *failed));
            }
        }
    }
}

/// A time in which something is wrong at a node, or everywhere.
#[derive(Debug)]
struct Trouble {
    from: Instant,
    until: Instant,
    at: Option<EndpointId>,
    /// Links end, or say nothing for so long that the client ends them.
    breaks: bool,
}

/// Whatever fails or takes long does so because something is wrong at that time at a node that has had its keys, or everywhere; where its
/// link was lost, something that ends links. What needs several keys waits while they are at two nodes. In gentle weather nothing fails. RULE-419
fn failures_have_a_reason(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let troubles = troubles(evidence);
    let places = Places::of(evidence);
    for (number, names) in evidence.accounts.iter().flat_map(|account| &account.asked) {
        let Some(asked) = requests.get(number) else { continue };
        let (kind, fate, sent_at) = (asked.kind, asked.fate, asked.sent_at);
        let Some((ended, end)) = evidence.entries.get(asked.ended) else { continue };
        let took = ended.saturating_duration_since(sent_at);
        match fate {
            Fate::Cancelled => continue,
            Fate::Answered(_) if took <= LONGEST => continue,
            _ => {}
        }
        let is_lost = matches!(end, What::Failed { error, .. } if is_loss(error));
        let nodes = places.nodes(names, *ended);
        let explains = |trouble: &Trouble| {
            let is_there = trouble.at.is_none_or(|at| names.is_empty() || nodes.contains(&at));
            let is_then = trouble.from <= *ended && sent_at <= trouble.until + AFTERMATH;
            is_there && is_then && (trouble.breaks || !is_lost)
        };
        let needs_both = matches!(kind, RequestKind::Mset | RequestKind::Mget | RequestKind::Atomic);
        let waits = needs_both && !is_lost && places.are_halved(names, sent_at, *ended);
        let is_excused = evidence.plan.weather == Weather::Rough && (waits || troubles.iter().any(explains));
        assert!(is_excused, "RULE-419: request {number} ({kind:?} of {names:?}) took {took:?}: {end:?}");
    }
}

/// Whether the link of a request was lost.
fn is_loss(error: &RequestError) -> bool {
    matches!(error, RequestError::ConnectionLost { .. } | RequestError::MoveDeadline { .. })
}

/// What a fault excuses: whether it ends links; nothing if it excuses nothing.
fn breaks(kind: FaultKind) -> Option<bool> {
    match kind {
        // Who asks for notifications and has none serves as well.
        FaultKind::UnknownPush
        | FaultKind::MalformedPush
        | FaultKind::OptInLoading
        | FaultKind::OptInRefused => None,
        FaultKind::Latency
        | FaultKind::Jitter
        | FaultKind::Splits
        | FaultKind::Hiccups
        | FaultKind::SlowDials
        | FaultKind::Loading => Some(false),
        _ => Some(true),
    }
}

fn troubles(evidence: &Evidence<'_>) -> Vec<Trouble> {
    let calm = evidence.entries.iter().find(|(_, what)| *what == What::Calm).map(|(at, _)| *at);
    let Some(calm) = calm else { return Vec::new() };
    let mut troubles = Vec::new();
    let mut last: Option<Fault> = None;
    for (entry, (from, what)) in evidence.entries.iter().enumerate() {
        let when_over = |end: &Reshape| {
            let ends = |(_, what): &&(Instant, What)| matches!(what, What::Reshaped(it, _) if it == end);
            evidence.entries[entry..].iter().find(ends).map_or(calm, |(at, _)| *at)
        };
        let (until, at, breaks) = match what {
            What::Fault(fault) => {
                last = Some(*fault);
                let Some(breaks) = breaks(fault.kind) else { continue };
                (*from + fault.lasts.max(fault.delay), fault.endpoint, breaks)
            }
            What::Struck(node) => {
                let Some(fault) = last else { continue };
                let until = if fault.kind == FaultKind::Freeze { calm } else { *from + fault.delay };
                (until, Some(*node), true)
            }
            What::Reshaped(Reshape::Died { .. }, nodes) => {
                (when_over(&Reshape::Revived), nodes.first().copied(), true)
            }
            What::Reshaped(Reshape::Hung(time), nodes) => (*from + *time, nodes.first().copied(), true),
            What::Reshaped(Reshape::Down, _) => (when_over(&Reshape::Up), None, false),
            _ => continue,
        };
        troubles.push(Trouble { from: *from, until, at, breaks });
    }
    let closed =
        evidence.ledger.entries().iter().filter(|it| it.event == ServerEvent::Closed(ClosedBy::Server));
    troubles.extend(closed.map(|entry| {
        let (from, until, at) = (entry.at, entry.at, Some(entry.endpoint));
        Trouble { from, until, at, breaks: true }
    }));
    troubles
}

/// Where each tag was, and when.
struct Places<'a> {
    tags: Vec<String>,
    entries: Vec<(Instant, &'a Vec<[Option<EndpointId>; 2]>)>,
}

impl<'a> Places<'a> {
    fn of(evidence: &'a Evidence<'_>) -> Self {
        let entries = evidence.entries.iter().filter_map(|(at, what)| match what {
            What::Places(places) => Some((*at, places)),
            _ => None,
        });
        Self { tags: evidence.plan.all_tags(), entries: entries.collect() }
    }

    /// The nodes at which these tags have been until then.
    fn nodes(&self, names: &[String], until: Instant) -> BTreeSet<EndpointId> {
        let before = self.entries.iter().filter(|(at, _)| *at <= until);
        before.flat_map(|(_, places)| self.places_of(names, places)).flatten().flatten().copied().collect()
    }

    /// Whether one of these tags was between two nodes meanwhile.
    fn are_halved(&self, names: &[String], from: Instant, to: Instant) -> bool {
        let ends = self.entries.iter().skip(1).map(|(at, _)| *at).chain([to]);
        let spans = self
            .entries
            .iter()
            .zip(ends)
            .filter(|((begin, _), end)| *begin <= to && from <= *end + AFTERMATH);
        spans
            .flat_map(|((_, places), _)| self.places_of(names, places))
            .any(|[_, importer]| importer.is_some())
    }

    fn places_of<'p>(
        &self,
        names: &[String],
        places: &'p [[Option<EndpointId>; 2]],
    ) -> impl Iterator<Item = &'p [Option<EndpointId>; 2]> {
        let at = names.iter().filter_map(|name| self.tags.iter().position(|tag| tag == name));
        at.filter_map(|at| places.get(at)).collect::<Vec<_>>().into_iter()
    }
}
