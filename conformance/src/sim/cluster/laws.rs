//! What must hold of every run with a cluster, judged by its trace and by the server's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hitless_core::cluster::{ClusterEvent, key_slot};
use hitless_core::error::RequestError;
use hitless_core::guide::Reconnect;
use hitless_core::ids::NodeId;

use super::super::faults::{Fault, FaultKind, Weather};
use super::super::laws::{self, Asked, Fate, number_of};
use super::super::trace::{RequestKind, What};
use super::caller::Account;
use super::plan::{ClusterPlan, Reshape, Told};
use super::worker::Nil;
use crate::server::{ClosedBy, EndpointId, Event as ServerEvent, Ledger, Listening, Request};

/// How long it takes at most, from the end of something that is wrong, until nobody notices it any more: links are dialled again after
/// pauses that have grown meanwhile.
const AFTERMATH: Duration = Duration::from_millis(1000);
/// The longest that a request takes where nothing is wrong: a few round trips of the slowest ways there are, and its slot between two nodes.
const LONGEST: Duration = Duration::from_millis(700);

/// How long a link may owe a reply where requests have no timeout.
const DEAD_LINK: Duration = Duration::from_secs(10);
/// How long it takes at most, where nothing is wrong, from the move of slots that all nodes tell of until no request arrives at another node any more.
const TOLD: Duration = Duration::from_millis(250);
/// The same where two moves are told in the wrong order: neither can be believed, and the topology is read, after the least interval or a little more.
const DOUBTED: Duration = Duration::from_millis(900);
/// The trace has the instant at which the control task asks, which may be so much later than that at which the machine has decided it.
const OBEYED: Duration = Duration::from_micros(100);

/// All that is known of a run.
pub(super) struct Evidence<'a> {
    pub(super) plan: &'a ClusterPlan,
    pub(super) entries: &'a [(Instant, What)],
    pub(super) ledger: &'a Ledger,
    pub(super) accounts: &'a [Account],
    pub(super) nils: &'a [Nil],
}

/// Checks every law.
pub(super) fn check(evidence: &Evidence<'_>) {
    let requests = laws::requests(evidence.entries);
    laws::each_ends_once(&requests);
    at_most_once(evidence, &requests);
    // Whoever waits has a connection of its own.
    let connections = evidence.plan.settings.pool_size + u32::from(evidence.plan.queue.is_some());
    laws::dials_are_few(evidence.entries, connections);
    reads_keep_their_distance(evidence);
    what_is_told_is_known(evidence);
    failures_have_a_reason(evidence, &requests);
    nil_means_nothing(evidence);
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

/// A round of questions for the topology.
struct Round {
    began_at: Instant,
    /// Whom it has asked in vain.
    failed: BTreeSet<NodeId>,
    /// When the last of them failed.
    failed_at: Option<Instant>,
    asked_at: Instant,
}

impl Round {
    fn begin(at: Instant) -> Self {
        Self { began_at: at, failed: BTreeSet::new(), failed_at: None, asked_at: at }
    }
}

/// The topology is read at most once in the least interval: rounds of questions, each of which asks one node after the other, none of them twice, until
/// it has the first answer that can be used, begin so far apart. RULE-421
fn reads_keep_their_distance(evidence: &Evidence<'_>) {
    let least = evidence.plan.settings.min_refresh_interval;
    let mut last: Option<Round> = None;
    let is_dial = |event: &ServerEvent| matches!(event, ServerEvent::Dialled(Listening::Accepting));
    let dialled_at =
        evidence.ledger.entries().iter().find(|entry| is_dial(&entry.event)).map(|entry| entry.at);
    let begin = |last: &mut Option<Round>, at: Instant| {
        // The first is noted once the client is open. It was asked for before that, over a connection.
        let began_at = dialled_at.filter(|_| last.is_none()).unwrap_or(at);
        if let Some(before) = last.replace(Round::begin(began_at)) {
            let pause = at.saturating_duration_since(before.began_at);
            assert!(
                pause + OBEYED >= least,
                "RULE-421: the topology was read {pause:?} after it was, not {least:?}"
            );
        }
    };
    for (at, what) in evidence.entries {
        match (what, &mut last) {
            // The question before has failed: another node is asked at once.
            (What::TopologyRead { .. }, Some(round)) if round.failed_at == Some(*at) => {
                round.asked_at = *at;
            }
            (What::TopologyRead { .. }, _) => begin(&mut last, *at),
            (What::ClusterEvent(ClusterEvent::RefreshFailed { node, .. }), Some(round)) => {
                if round.failed.contains(node) {
                    // It was asked again: that was another round.
                    let asked_at = round.asked_at;
                    begin(&mut last, asked_at);
                }
                if let Some(round) = &mut last {
                    round.failed.insert(*node);
                    round.failed_at = Some(*at);
                }
            }
            _ => {}
        }
    }
}

/// What all nodes have told a client that listens is known soon after, where nothing is wrong: requests for slots that have moved go to where they are, if
/// they went to where they were; and if they have moved twice, though the last way was told first. RULE-422
fn what_is_told_is_known(evidence: &Evidence<'_>) {
    if evidence.plan.weather == Weather::Rough || !evidence.plan.settings.listens {
        return;
    }
    let places = Places::of(evidence);
    for (at, what) in evidence.entries {
        let (slots, known_at) = match what {
            What::Reshaped(Reshape::Migrated(slots, Told::Everyone), _) => (slots, *at + TOLD),
            What::Reshaped(Reshape::MigratedTwice(slots), _) => (slots, *at + DOUBTED),
            _ => continue,
        };
        for tag in places.tags.iter().filter(|tag| slots.contains(&key_slot(tag.as_bytes()))) {
            let Some(stay) = places.stays(tag, *at) else { continue };
            let arrivals = || {
                evidence.ledger.entries().iter().filter(|entry| match &entry.event {
                    ServerEvent::Received(request) => {
                        request.key().is_some_and(|key| key.starts_with(tag.as_bytes()))
                    }
                    _ => false,
                })
            };
            let last = arrivals().take_while(|entry| entry.at < *at).last();
            let knew = |before| last.is_some_and(|last| places.is_at(last.endpoint, before));
            if !stay.before.is_some_and(knew) {
                continue;
            }
            let astray = arrivals().find(|entry| {
                let is_then = known_at < entry.at && stay.until.is_none_or(|until| entry.at < until);
                is_then && !places.is_at(entry.endpoint, stay.owner)
            });
            assert!(astray.is_none(), "RULE-422: {tag} is at {:?} since {at:?}: {astray:?}", stay.owner);
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
    /// Nobody is connected meanwhile.
    takes_nobody: bool,
}

impl Trouble {
    /// Whether the request failed in its time. From one trouble to the next it may wait for long, but not when all of them are over.
    fn explains(&self, of: &Failure<'_>) -> bool {
        let over = self.until + AFTERMATH;
        self.from <= of.ended && of.sent_at <= over && of.ended <= over + LONGEST
    }
}

/// Whatever fails or takes long does so because something is wrong at that time at a node that has had its keys, or everywhere, or because nobody can say
/// where that node is; where its link was lost, something that ends links. What needs several keys waits while they are at two nodes. A request of several
/// keys that has lost a part waits for the others. A node that is replaced closes at its deadline what something has kept from leaving. In gentle weather
/// nothing fails. RULE-419
fn failures_have_a_reason(evidence: &Evidence<'_>, requests: &BTreeMap<u64, Asked>) {
    let reasons = Reasons { troubles: troubles(evidence), places: Places::of(evidence) };
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
        let nodes = reasons.places.nodes(names, *ended);
        let is_excused = evidence.plan.weather == Weather::Rough
            && reasons.excuse(&Failure { kind, names, nodes, sent_at, ended: *ended, is_lost });
        assert!(is_excused, "RULE-419: request {number} ({kind:?} of {names:?}) took {took:?}: {end:?}");
    }
}

/// A request that failed or took long.
struct Failure<'a> {
    kind: RequestKind,
    names: &'a [String],
    /// Where its keys have been.
    nodes: BTreeSet<EndpointId>,
    sent_at: Instant,
    ended: Instant,
    /// Its link was lost.
    is_lost: bool,
}

/// What may explain failures.
struct Reasons<'a> {
    troubles: Vec<Trouble>,
    places: Places<'a>,
}

impl Reasons<'_> {
    fn excuse(&self, of: &Failure<'_>) -> bool {
        self.waits(of)
            || self.there(of).any(|trouble| trouble.explains(of) && (trouble.breaks || !of.is_lost))
            || self.loses_a_part(of)
            || self.is_left_behind(of)
            || self.is_unheard(of)
    }

    /// What was wrong where its keys have been, or everywhere.
    fn there(&self, of: &Failure<'_>) -> impl Iterator<Item = &Trouble> {
        self.troubles
            .iter()
            .filter(|trouble| trouble.at.is_none_or(|at| of.names.is_empty() || of.nodes.contains(&at)))
    }

    /// It needs several keys, which are at two nodes.
    fn waits(&self, of: &Failure<'_>) -> bool {
        let needs_both = matches!(of.kind, RequestKind::Mset | RequestKind::Mget | RequestKind::Atomic);
        needs_both && !of.is_lost && self.places.are_halved(of.names, of.sent_at, of.ended)
    }

    /// One part was lost, and another one, with a tag of its own, waited.
    fn loses_a_part(&self, of: &Failure<'_>) -> bool {
        use RequestKind::{Pipeline, SplitMget, SplitMset};
        let breaks = |trouble: &Trouble| {
            trouble.breaks && trouble.from <= of.ended && of.sent_at <= trouble.until + LONGEST
        };
        of.names.len() > 1
            && matches!(of.kind, Pipeline | SplitMset | SplitMget)
            && self.there(of).any(|trouble| trouble.explains(of))
            && self.there(of).any(breaks)
    }

    /// Its node was replaced and closed the link, which an earlier trouble had kept there.
    fn is_left_behind(&self, of: &Failure<'_>) -> bool {
        let is_old = |at: EndpointId| of.nodes.iter().any(|node| *node != at && self.places.is_at(at, *node));
        let closes =
            |trouble: &&Trouble| trouble.breaks && trouble.at.is_some_and(is_old) && trouble.explains(of);
        self.troubles.iter().filter(closes).any(|close| {
            let mut at_both = self.there(of).chain(self.troubles.iter().filter(|it| it.at == close.at));
            at_both.any(|it| it.from < close.from && close.from <= it.until + AFTERMATH)
        })
    }

    /// Its node has moved, and the only other node is away or takes no dials.
    fn is_unheard(&self, of: &Failure<'_>) -> bool {
        let witness = self.places.witness(of.names, of.ended);
        let is_away = |trouble: &&Trouble| {
            (trouble.breaks && trouble.at == witness)
                || (trouble.takes_nobody && trouble.at.is_none_or(|at| witness == Some(at)))
        };
        let mut away = self.troubles.iter().filter(is_away);
        !of.is_lost && witness.is_some() && away.any(|trouble| trouble.explains(of))
    }
}

/// Whoever waits is told that there is nothing where nothing is: an outage is no such answer. While the slot is between two nodes the old one may
/// say so of what is at the new one. RULE-439
fn nil_means_nothing(evidence: &Evidence<'_>) {
    let places = Places::of(evidence);
    for nil in evidence.nils.iter().filter(|nil| nil.certain > 0) {
        let is_halved = places.were_halved(evidence.plan.queue.as_slice(), nil.began_at, nil.ended_at);
        let at =
            evidence.entries.first().map(|(first, _)| [nil.began_at, nil.ended_at].map(|at| at - *first));
        assert!(is_halved, "RULE-439: nil, and {} elements are there: {at:?}", nil.certain);
    }
}

/// Whether the link of a request was lost.
fn is_loss(error: &RequestError) -> bool {
    matches!(error, RequestError::ConnectionLost { .. } | RequestError::MoveDeadline { .. })
}

/// What a fault excuses: whether it ends links; nothing if it excuses nothing.
fn breaks(kind: FaultKind) -> Option<bool> {
    match kind {
        FaultKind::Latency
        | FaultKind::Jitter
        | FaultKind::Splits
        | FaultKind::Hiccups
        | FaultKind::SlowDials
        | FaultKind::RefusedDials
        | FaultKind::UnansweredDials
        | FaultKind::Loading => Some(false),
        FaultKind::Stall
        | FaultKind::Freeze
        | FaultKind::BlockedWrites
        | FaultKind::SlowServer
        | FaultKind::HalfClose
        | FaultKind::Reset
        | FaultKind::Close
        | FaultKind::Garbage
        | FaultKind::ProcessStops
        | FaultKind::ShortLives => Some(true),
        // The server says where it closes a link.
        FaultKind::CloseUnexecuted
        | FaultKind::CloseUnanswered
        | FaultKind::CloseAnswered
        // Who asks for notifications and has none serves as well.
        | FaultKind::UnknownPush
        | FaultKind::MalformedPush
        | FaultKind::OptInLoading
        | FaultKind::OptInRefused
        // Clusters do not meet these.
        | FaultKind::SlowLookups
        | FaultKind::FailedLookups
        | FaultKind::EmptyLookups
        | FaultKind::StaleLookups
        | FaultKind::CrowdedLookups
        | FaultKind::LastWords
        | FaultKind::OptInClosesLink
        | FaultKind::HelloUnknown
        | FaultKind::ClockJumps
        | FaultKind::Demotion
        | FaultKind::MasterLost
        | FaultKind::Pause
        | FaultKind::HelloRefused
        | FaultKind::HelloClosesLink
        | FaultKind::ClientRefused
        | FaultKind::ClientClosesLink
        | FaultKind::SetInfoClosesLink
        | FaultKind::PlainProxy
        | FaultKind::Attributes
        | FaultKind::AddressRefuses
        | FaultKind::AddressSwallows
        | FaultKind::Poison
        | FaultKind::EdgeReplies
        | FaultKind::ImpatientCallers => None,
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
                let lasts = match fault.kind {
                    FaultKind::ProcessStops => fault.delay,
                    kind if kind.lasts() => fault.lasts,
                    // What strikes says where, if it strikes.
                    _ => continue,
                };
                let Some(breaks) = breaks(fault.kind) else { continue };
                // The process that stops is the client's.
                let at = fault.endpoint.filter(|_| fault.kind != FaultKind::ProcessStops);
                (*from + lasts, at, breaks)
            }
            What::Struck(node) => {
                let Some(fault) = last else { continue };
                let until = match fault.kind {
                    FaultKind::Freeze => calm,
                    FaultKind::Stall => *from + fault.delay,
                    _ => *from,
                };
                let Some(breaks) = breaks(fault.kind) else { continue };
                (until, Some(*node), breaks)
            }
            What::Reshaped(Reshape::Died { resets }, nodes) => {
                // Links that say nothing are left when something is overdue, or after the time of dead links.
                let is_found_late = !resets && evidence.plan.settings.command_timeout.is_none();
                let found = if is_found_late { DEAD_LINK } else { Duration::ZERO };
                (when_over(&Reshape::Revived) + found, nodes.first().copied(), true)
            }
            What::Reshaped(Reshape::Hung(time), nodes) => (*from + *time, nodes.first().copied(), true),
            What::Reshaped(Reshape::Down, _) => (when_over(&Reshape::Up), None, false),
            _ => continue,
        };
        // Attempts to dial that fail meanwhile have the longest pause behind them.
        let takes_nobody = is_no_dial(what);
        let pause = if breaks || takes_nobody { Reconnect::CAP } else { Duration::ZERO };
        troubles.push(Trouble { from: *from, until: until + pause, at, breaks, takes_nobody });
    }
    troubles.extend(losses(evidence.ledger));
    troubles
}

/// Whether nobody is connected while it lasts.
fn is_no_dial(what: &What) -> bool {
    let What::Fault(fault) = what else { return false };
    matches!(fault.kind, FaultKind::RefusedDials | FaultKind::UnansweredDials | FaultKind::SlowDials)
}

/// Links that the server closes. One that has not lived for long is a failure of its node, and the next one is dialled after a pause that has grown with
/// the failures before it.
fn losses(ledger: &Ledger) -> Vec<Trouble> {
    let mut accepted = BTreeMap::new();
    let mut failures: BTreeMap<EndpointId, u32> = BTreeMap::new();
    let mut losses = Vec::new();
    for entry in ledger.entries() {
        let (at, node) = (entry.at, entry.endpoint);
        match entry.event {
            ServerEvent::Dialled(Listening::Accepting) => {
                accepted.insert(entry.conn, at);
            }
            ServerEvent::Closed(ClosedBy::Server) => {
                let lived = accepted.get(&entry.conn).map(|since| at.saturating_duration_since(*since));
                let before = failures.entry(node).or_default();
                if lived.is_some_and(|lived| lived >= Reconnect::PROVEN_AFTER) {
                    *before = 0;
                }
                let pause = (Reconnect::FIRST * (1 << (*before).min(8))).min(Reconnect::CAP);
                *before += 1;
                // The aftermath has room for pauses that are not the longest.
                let until = at + pause.saturating_sub(AFTERMATH);
                losses.push(Trouble { from: at, until, at: Some(node), breaks: true, takes_nobody: false });
            }
            _ => {}
        }
    }
    losses
}

/// The time in which a tag is at one node.
struct Stay {
    before: Option<EndpointId>,
    owner: EndpointId,
    until: Option<Instant>,
}

/// Where each tag was, and when.
struct Places<'a> {
    tags: Vec<String>,
    entries: Vec<(Instant, &'a Vec<[Option<EndpointId>; 2]>)>,
    /// Nodes that were replaced, and by whom.
    replaced: BTreeMap<EndpointId, EndpointId>,
    /// When nodes have replaced others.
    moved: Vec<(Instant, EndpointId)>,
}

impl<'a> Places<'a> {
    fn of(evidence: &'a Evidence<'_>) -> Self {
        let entries = evidence.entries.iter().filter_map(|(at, what)| match what {
            What::Places(places) => Some((*at, places)),
            _ => None,
        });
        let replaced = evidence.entries.iter().filter_map(|(at, what)| match what {
            What::Reshaped(Reshape::Replaced(_), nodes) => Some((*at, *nodes.first()?, *nodes.last()?)),
            _ => None,
        });
        let moved = replaced.clone().map(|(at, _, by)| (at, by));
        let replaced = replaced.map(|(_, node, by)| (node, by));
        Self {
            tags: evidence.plan.all_tags(),
            entries: entries.collect(),
            replaced: replaced.collect(),
            moved: moved.collect(),
        }
    }

    /// Whether an endpoint is that of a node, or the one that the node has replaced: whoever is connected there stays until MOVING is obeyed.
    fn is_at(&self, endpoint: EndpointId, node: EndpointId) -> bool {
        endpoint == node || self.replaced.get(&endpoint) == Some(&node)
    }

    /// The nodes at which these tags have been until then.
    fn nodes(&self, names: &[String], until: Instant) -> BTreeSet<EndpointId> {
        let before = self.entries.iter().filter(|(at, _)| *at <= until);
        before.flat_map(|(_, places)| self.places_of(names, places)).flatten().flatten().copied().collect()
    }

    /// The only other node with tags, if the node of these tags has moved. A client that did not hear of the move can ask nobody else.
    fn witness(&self, names: &[String], until: Instant) -> Option<EndpointId> {
        let (_, places) = self.entries.iter().rev().find(|(at, _)| *at <= until)?;
        let here: BTreeSet<EndpointId> = self.places_of(names, places).flatten().flatten().copied().collect();
        let all: BTreeSet<EndpointId> = places.iter().flatten().flatten().copied().collect();
        let has_moved = self.moved.iter().any(|(at, node)| *at <= until && here.contains(node));
        let mut others = all.difference(&here);
        others.next().filter(|_| has_moved && others.next().is_none()).copied()
    }

    /// Where this tag is from then on; nothing if it is between two nodes.
    fn stays(&self, tag: &String, from: Instant) -> Option<Stay> {
        let at = self.tags.iter().position(|it| it == tag)?;
        let first = self.entries.iter().position(|(since, _)| *since >= from)?;
        let place = |(_, places): &(Instant, &Vec<[Option<EndpointId>; 2]>)| places.get(at).copied();
        let here = place(self.entries.get(first)?)?;
        let [Some(owner), None] = here else { return None };
        let before = self.entries[..first].last().and_then(place).and_then(|[before, _]| before);
        let left = self.entries[first..].iter().find(|entry| place(entry) != Some(here));
        Some(Stay { before, owner, until: left.map(|(since, _)| *since) })
    }

    /// Whether one of these tags was between two nodes meanwhile.
    fn are_halved(&self, names: &[String], from: Instant, to: Instant) -> bool {
        let ends = self.entries.iter().skip(1).map(|(at, _)| *at).chain([to]);
        let spans = self.entries.iter().zip(ends).filter(|((begin, _), end)| {
            let over = *end + AFTERMATH;
            *begin <= to && from <= over && to <= over + LONGEST
        });
        spans
            .flat_map(|((_, places), _)| self.places_of(names, places))
            .any(|[_, importer]| importer.is_some())
    }

    /// Whether one of these tags was between two nodes at some time meanwhile.
    fn were_halved(&self, names: &[String], from: Instant, to: Instant) -> bool {
        let ends = self.entries.iter().skip(1).map(|(at, _)| *at).chain([to]);
        let spans = self.entries.iter().zip(ends).filter(|((begin, _), end)| *begin <= to && from <= *end);
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
