//! What must have become of each element that was pushed for consumers, by the server's ledger.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hitless_core::error::CloseCause;
use hitless_core::event::Event as Heard;

use super::consumer::{Call, Fate};
use super::faults::{FaultKind, GENTLE_PAUSE, Weather};
use super::laws::{Evidence, SLACK, number_of, stops};
use super::network::SocketId;
use super::trace::What;
use crate::laws::stopped;
use crate::server::{EndpointId, Entry, Event, Request, ServerConn};

/// What is left is rounded up to a whole one.
const TICK: Duration = Duration::from_millis(1);

/// What consumers know.
pub(super) struct Told<'a> {
    pub(super) calls: &'a [Call],
    /// What went to `on_orphan`.
    pub(super) orphans: &'a [String],
    /// What the client has read.
    pub(super) read: &'a BTreeSet<String>,
}

/// What the server has done with one call.
#[derive(Default)]
struct Course {
    /// When and where it arrived, and arrived again.
    arrivals: Vec<(Instant, EndpointId, ServerConn)>,
    /// Whether the server was asked about it where it is now: there is somebody to ask over.
    was_asked: bool,
    /// When it was last sent away.
    sent_away: Option<Instant>,
    /// Since when a pause holds it up, and whether it is called back meanwhile.
    held_up: Option<(Instant, bool)>,
    /// For how long pauses have held it up.
    was_held_up: Duration,
    /// It was called back while a pause held it up, and runs all the same.
    was_postponed: bool,
    /// What it has taken, the place of that among all that was pushed to the list, and when.
    taken: Option<(String, usize, Instant)>,
    list: Bytes,
}

/// The ledger, read once.
struct Reading<'a> {
    evidence: &'a Evidence<'a>,
    times: BTreeMap<&'a str, Duration>,
    courses: BTreeMap<String, Course>,
    lists: BTreeMap<Bytes, VecDeque<(usize, Bytes)>>,
    pushed: usize,
    /// Who has which client id: they are counted at each endpoint.
    ids: BTreeMap<EndpointId, Vec<ServerConn>>,
    /// Which call waits on a connection.
    waiting: BTreeMap<ServerConn, String>,
    /// Which call has last taken something on a connection.
    served: BTreeMap<ServerConn, String>,
    /// Connections of the pool that have carried something, and until when.
    shared: BTreeMap<ServerConn, (EndpointId, Instant, Option<Instant>)>,
    /// Connections that were told to move.
    warned: BTreeMap<ServerConn, Instant>,
    /// What has happened, for the report.
    seen: Vec<&'static str>,
}

/// No element is delivered twice, and none is lost but what was on its way when its link broke or its caller had left. A command asks for
/// the time that is left, is not sent again before it is known not to have run, and ends in time. Returns what happened. INV-21, RULE-248,
/// RULE-249, RULE-252
pub(super) fn check(evidence: &Evidence<'_>, told: &Told<'_>) -> Vec<&'static str> {
    let mut reading = Reading {
        evidence,
        times: told.calls.iter().map(|call| (call.tag.as_str(), call.time)).collect(),
        courses: BTreeMap::new(),
        lists: BTreeMap::new(),
        pushed: 0,
        ids: BTreeMap::new(),
        waiting: BTreeMap::new(),
        served: BTreeMap::new(),
        shared: BTreeMap::new(),
        warned: BTreeMap::new(),
        seen: Vec::new(),
    };
    if !told.calls.is_empty() {
        evidence.ledger.entries().iter().for_each(|entry| reading.read(entry));
    }
    let nothing = Course::default();
    let mut seen = std::mem::take(&mut reading.seen);
    for call in told.calls {
        let course = reading.courses.get(&call.tag).unwrap_or(&nothing);
        seen.extend(reading.judge(told, call, course));
        seen.extend((course.was_postponed && course.taken.is_some()).then_some("taken behind a pause"));
        ends_in_time(evidence, call, course);
    }
    let mut orphans = BTreeSet::new();
    for orphan in told.orphans {
        assert!(orphans.insert(orphan), "RULE-252: {orphan} is handed out twice");
    }
    in_order(told, &reading.courses);
    seen.extend(told.orphans.iter().map(|_| "orphan"));
    seen
}

/// Connections that consumers have used.
pub(super) fn carriers(evidence: &Evidence<'_>) -> BTreeSet<SocketId> {
    let carriers: BTreeSet<ServerConn> = evidence
        .ledger
        .entries()
        .iter()
        .filter(|entry| matches!(&entry.event, Event::Received(request) if is_wait(request)))
        .filter_map(|entry| entry.conn)
        .collect();
    let accepted = evidence.entries.iter().filter_map(|(_, what)| match what {
        What::Accepted(socket, conn) if carriers.contains(conn) => Some(*socket),
        _ => None,
    });
    accepted.collect()
}

/// Whether there was such a fault.
fn struck(evidence: &Evidence<'_>, kind: FaultKind) -> bool {
    evidence.entries.iter().any(|(_, what)| matches!(what, What::Fault(fault) if fault.kind == kind))
}

fn is_wait(request: &Request) -> bool {
    request.is("BLPOP") || request.is("BRPOP")
}

fn word(request: &Request, at: usize) -> String {
    request.words().get(at).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
}

impl Reading<'_> {
    fn read(&mut self, entry: &Entry) {
        let Some(conn) = entry.conn else { return };
        if let Event::Received(request) = &entry.event
            && number_of(request).is_some()
        {
            self.shared.entry(conn).or_insert((entry.endpoint, entry.at, None));
        }
        match &entry.event {
            Event::Dialled(_) => self.ids.entry(entry.endpoint).or_default().push(conn),
            Event::Received(request) if is_wait(request) => self.arrived(entry, conn, request),
            Event::Received(request) if request.is("CLIENT UNBLOCK") => {
                let may = !self.evidence.plan.holds_consumers;
                let is_held = |conn: &ServerConn| !may && self.waiting.contains_key(conn);
                if self.meant(entry.endpoint, &request.words()[2]).as_ref().is_some_and(is_held) {
                    self.seen.push("not called back");
                }
            }
            Event::Executed { request, ok: true } if request.is("CLIENT LIST") => {
                let conn = request.words().get(3).and_then(|id| self.meant(entry.endpoint, id));
                let tag = conn.and_then(|conn| self.waiting.get(&conn).or_else(|| self.served.get(&conn)));
                if let Some(tag) = tag.cloned() {
                    self.courses.entry(tag).or_default().was_asked = true;
                }
            }
            Event::Executed { request, ok } if is_wait(request) => self.ran(entry.at, conn, request, *ok),
            Event::Executed { request, ok: true } if request.is("CLIENT UNBLOCK") => {
                let conn = self.meant(entry.endpoint, &request.words()[2]);
                conn.into_iter().for_each(|conn| self.called_back(entry.at, conn));
            }
            Event::Executed { request, ok: true } if request.is("RPUSH") => {
                let [_, list, elements @ ..] = request.words() else { return };
                for element in elements {
                    self.pushed += 1;
                    let list = self.lists.entry(list.clone()).or_default();
                    list.push_back((self.pushed, element.clone()));
                }
            }
            Event::Notified { name: "MOVING", .. } => {
                self.warned.entry(conn).or_insert(entry.at);
                self.seen.extend(self.waiting.contains_key(&conn).then_some("waits at a move"));
            }
            Event::HeldUp(request) => {
                self.courses.entry(word(request, 2)).or_default().held_up = Some((entry.at, false));
                self.seen.push("held up");
            }
            Event::Resumed(request) => self.resumed(entry.at, &word(request, 2)),
            Event::Closed(_) => {
                if let Some(tag) = self.waiting.remove(&conn) {
                    self.resumed(entry.at, &tag);
                }
                self.shared.entry(conn).and_modify(|(.., closed)| *closed = Some(entry.at));
            }
            _ => {}
        }
    }

    /// The connection that has the client id.
    fn meant(&self, endpoint: EndpointId, id: &[u8]) -> Option<ServerConn> {
        let id: usize = std::str::from_utf8(id).ok()?.parse().ok()?;
        self.ids.get(&endpoint)?.get(id.checked_sub(1)?).copied()
    }

    fn arrived(&mut self, entry: &Entry, conn: ServerConn, request: &Request) {
        let tag = word(request, 2);
        let asked = Duration::from_secs_f64(word(request, 3).parse().expect("a time"));
        let time = self.times[tag.as_str()];
        // Who is refused, or sent away by a demotion, is not in the ledger.
        let waits = self.waiting.values().any(|other| *other == tag);
        let refusals = [FaultKind::Demotion, FaultKind::Loading, FaultKind::MasterLost];
        let is_known = !refusals.iter().any(|kind| struck(self.evidence, *kind));
        assert!(!(waits && is_known), "RULE-249: {tag} is sent again, and waits elsewhere");
        self.waiting.retain(|_, other| *other != tag);
        self.waiting.insert(conn, tag.clone());
        self.served.remove(&conn);
        let course = self.courses.entry(tag.clone()).or_default();
        assert!(course.taken.is_none(), "INV-21: {tag} is sent again, and has taken {:?}", course.taken);
        assert!(course.held_up.is_none(), "RULE-249: {tag} is sent again while a pause holds it up");
        if let (Some((first, ..)), Some((last, ..))) = (course.arrivals.first(), course.arrivals.last()) {
            let since = course.sent_away.unwrap_or(*last);
            let left = time.saturating_sub(since - *first) + TICK;
            let fits = if time.is_zero() { asked.is_zero() } else { !asked.is_zero() && asked <= left };
            assert!(fits, "RULE-248: {tag} asks for {asked:?} of {time:?}, and has {left:?}");
            self.seen.push("sent again");
        }
        course.was_asked = false;
        course.arrivals.push((entry.at, entry.endpoint, conn));
        course.list = request.words()[1].clone();
    }

    /// What waits on the connection is sent away, or a pause holds it up.
    fn called_back(&mut self, at: Instant, conn: ServerConn) {
        if self.is_held_up(conn) {
            return;
        }
        match self.waiting.remove(&conn) {
            Some(tag) => {
                self.served.remove(&conn);
                self.courses.entry(tag).or_default().sent_away = Some(at);
            }
            None if self.served.contains_key(&conn) => self.seen.push("served beside UNBLOCK"),
            None => {}
        }
    }

    /// Whether a pause holds up what waits on a connection that is called back: it is told that it is sent away, and runs later all the same.
    fn is_held_up(&mut self, conn: ServerConn) -> bool {
        let course = self.waiting.get(&conn).and_then(|tag| self.courses.get_mut(tag));
        let Some((_, is_called_back)) = course.and_then(|course| course.held_up.as_mut()) else {
            return false;
        };
        if !std::mem::replace(is_called_back, true) {
            self.seen.push("called back while held up");
        }
        true
    }

    /// The pause is over, or the connection, if there was one.
    fn resumed(&mut self, at: Instant, tag: &str) {
        let Some(course) = self.courses.get_mut(tag) else { return };
        if let Some((since, is_called_back)) = course.held_up.take() {
            course.was_held_up += at - since;
            course.was_postponed |= is_called_back;
        }
    }

    fn ran(&mut self, at: Instant, conn: ServerConn, request: &Request, ok: bool) {
        let tag = word(request, 2);
        self.waiting.remove(&conn);
        let Some(list) = self.lists.get_mut(&request.words()[1]).filter(|_| ok) else { return };
        let taken = if request.is("BLPOP") { list.pop_front() } else { list.pop_back() };
        if let Some((place, element)) = taken {
            let course = self.courses.entry(tag.clone()).or_default();
            let element = String::from_utf8_lossy(&element).into_owned();
            let before = course.taken.replace((element, place, at));
            assert!(before.is_none(), "INV-21: {tag} has taken twice: {before:?}");
            self.served.insert(conn, tag);
        }
    }

    /// What a call was told is what its command has taken. Returns what happened.
    fn judge(&self, told: &Told<'_>, call: &Call, course: &Course) -> Option<&'static str> {
        let Call { tag, fate, .. } = call;
        let taken = course.taken.as_ref().map(|(element, ..)| element);
        let is_orphan = taken.is_some_and(|taken| told.orphans.contains(taken));
        let is_read = taken.is_some_and(|taken| told.read.contains(taken));
        if let Fate::Element(element) = fate {
            assert_eq!(Some(element), taken, "INV-21: {tag} was told another one than it has taken");
            assert!(!is_orphan, "RULE-252: {element} was delivered to {tag}, and is an orphan as well");
        } else if let Some(taken) = taken {
            let may_take = matches!(fate, Fate::Unknown | Fate::Dropped);
            assert!(may_take, "INV-21: {tag} has taken {taken}, and is told {fate:?}");
            let is_so = is_orphan == is_read || (is_read && self.may_be_garbled(course));
            assert!(is_so, "RULE-252: {taken} of {tag}, an orphan: {is_orphan}, read: {is_read}");
        }
        if self.evidence.plan.weather == Weather::Gentle && !self.evidence.plan.has(FaultKind::Poison) {
            self.nobody_notices(call, course, taken.filter(|_| !is_read));
        }
        match fate {
            Fate::Element(_) => Some("element"),
            Fate::Nil => Some("nil"),
            Fate::Refused => Some("refused"),
            Fate::NotSent => Some("not sent"),
            Fate::Unknown => Some("may have taken"),
            Fate::Dropped => {
                let (has_come, has_taken) = (course.arrivals.first(), course.taken.as_ref());
                let waits = has_come.is_some_and(|(at, ..)| *at <= call.ended_at)
                    && has_taken.is_none_or(|(.., at)| *at > call.ended_at);
                Some(if waits { "dropped while it waits" } else { "dropped" })
            }
        }
    }

    /// Whether a link has broken the protocol since the command has taken something: what stands behind that is read and not understood.
    fn may_be_garbled(&self, course: &Course) -> bool {
        let taken_at = course.taken.as_ref().map(|(.., at)| *at);
        self.evidence.entries.iter().any(|(at, what)| {
            let is_broken =
                matches!(what, What::Event(Heard::ConnectionClosed { cause: CloseCause::Protocol(_), .. }));
            is_broken && taken_at.is_some_and(|taken| taken <= *at)
        })
    }

    /// In gentle weather nothing is lost, and nothing fails, where the pool has a connection to call a command back over: otherwise one
    /// that nobody waits for is cut off, and one that is to move waits for the deadline. INV-03, INV-21
    fn nobody_notices(&self, call: &Call, course: &Course, lost: Option<&String>) {
        let Call { tag, fate, ended_at, .. } = call;
        let last = course.arrivals.last();
        match fate {
            Fate::Element(_) | Fate::Nil => {}
            Fate::Dropped => {
                let is_helped = last.is_some_and(|(_, endpoint, _)| self.is_helped(*endpoint, *ended_at));
                let may_be_cut_off = !course.was_asked && !is_helped;
                assert!(lost.is_none() || may_be_cut_off, "INV-21: {lost:?} of {tag} is lost");
            }
            Fate::NotSent => assert!(last.is_none(), "INV-03: {tag} was sent, and has failed"),
            Fate::Unknown => {
                let is_safe = last.is_some_and(|(at, endpoint, conn)| {
                    self.warned.get(conn).is_some_and(|told| self.is_helped(*endpoint, *told.max(at)))
                });
                assert!(!is_safe, "INV-03: {tag} has failed");
            }
            Fate::Refused => panic!("INV-03: {tag} is refused"),
        }
    }

    /// Whether the pool has a connection there, and goes on to have it for a moment.
    fn is_helped(&self, endpoint: EndpointId, at: Instant) -> bool {
        self.shared.values().any(|(there, from, to)| {
            *there == endpoint && *from <= at && to.is_none_or(|to| to > at + 2 * GENTLE_PAUSE)
        })
    }
}

/// Nil comes when the time is over, neither before nor long after. While a pause holds the command up its time has not begun at the server.
/// RULE-248
fn ends_in_time(evidence: &Evidence<'_>, call: &Call, course: &Course) {
    let Call { tag, time, began_at, ended_at, fate } = call;
    if *fate != Fate::Nil {
        return;
    }
    let took = *ended_at - *began_at;
    assert!(!time.is_zero() && took >= *time, "RULE-248: {tag} is nil after {took:?} of {time:?}");
    let (config, stops) = (evidence.config, stops(evidence.entries));
    let relaxed = config.maintenance().relaxed_timeout();
    let limit = match (evidence.plan.weather, config.command_timeout()) {
        (Weather::Gentle, _) => Duration::from_millis(400) + 4 * GENTLE_PAUSE,
        (Weather::Rough, Some(limit)) => limit.max(relaxed) + SLACK,
        (Weather::Rough, None) => return,
    };
    // It may have to wait for a connection.
    let waits = config.lease_timeout().map_or(Duration::MAX, |limit| limit.max(relaxed));
    let latest = time.saturating_add(limit).saturating_add(waits)
        + stopped(&stops, *began_at, *ended_at)
        + course.was_held_up;
    assert!(took <= latest, "RULE-248: {tag} is nil after {took:?} of {time:?}");
}

/// Who takes from the head of a queue, one after the other, gets what was pushed before first.
fn in_order(told: &Told<'_>, courses: &BTreeMap<String, Course>) {
    let mut last: BTreeMap<(&str, &[u8]), usize> = BTreeMap::new();
    for call in told.calls {
        let (Fate::Element(element), Some(course)) = (&call.fate, courses.get(&call.tag)) else { continue };
        let (Some((_, place, _)), true) = (&course.taken, course.list.ends_with(b"queue")) else { continue };
        let consumer = call.tag.split_once('.').map_or("", |(consumer, _)| consumer);
        let before = last.insert((consumer, &course.list), *place);
        assert!(before < Some(*place), "INV-21: {element} came to {consumer} out of order");
    }
}
