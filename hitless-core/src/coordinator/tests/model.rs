//! The coordinator against what is expected of it at the level of sets: which connections there are, which address is
//! being retired, which of them must have left it, which may be dialled for. Every decision is checked when it is made.

use super::*;
use crate::timer::STOPPED;

const POOL: u32 = 6;
const WORKERS: usize = 2;
/// The first attempt and the retries of the default configuration.
const ATTEMPTS: usize = 4;
const RELAXED: Duration = Duration::from_secs(10);
const HANDOFF_TIMEOUT: Duration = Duration::from_secs(15);
/// The least that an attempt is given, but for the deadline.
const LEAST_ATTEMPT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Dialing,
    /// Ready, and at `until` it takes the place of its predecessor, whose owner has not switched.
    AwaitsSwitch {
        until: Instant,
    },
    Serving,
    Draining {
        until: Instant,
    },
}

/// A connection and the port of its address.
#[derive(Clone, Debug)]
struct Member {
    port: u16,
    role: Role,
    state: State,
    replaces: Option<ConnId>,
    /// When this attempt is over.
    until: Option<Instant>,
    /// How long it may go on where the process is stopped when it should be over, once.
    latest: Option<Instant>,
}

/// The time that there is to leave an address.
#[derive(Clone, Copy, Debug)]
struct Time {
    at: Instant,
    deadline: Instant,
}

impl Time {
    /// What is left of the time when a second, or a tenth, is kept for the cut-over; at least half of it is used.
    fn budget_end(self) -> Instant {
        let total = self.deadline - self.at;
        self.deadline - SECOND.max(total / 10).min(total / 2)
    }

    /// Until when a connection waits for its predecessor to drain.
    fn patience(self) -> Instant {
        self.at + ((self.deadline - self.at) / 2).min((self.budget_end() - self.at) / 4 * 3)
    }
}

/// One MOVING that was news, or the renewal of connections that one had told before its source was in service again. None is ever
/// removed.
#[derive(Clone, Debug)]
struct Announced {
    source: u16,
    seq: u64,
    target: u16,
    time: Time,
    /// Of a renewal: the connections that were told, and are to be replaced at the same address.
    renews: Option<BTreeSet<ConnId>>,
    /// What is left for connections that were told before a renewal.
    earlier: BTreeMap<ConnId, Time>,
    is_superseded: bool,
    has_landed: bool,
    /// The target has lost a connection since somebody has arrived there: the next one scouts again.
    has_relapsed: bool,
    /// The connections that handoffs were begun for, once for each dial.
    dialled: Vec<ConnId>,
    moved: u32,
    /// Those that the budget did not suffice for.
    stay: BTreeSet<ConnId>,
}

impl Announced {
    fn new(source: u16, seq: u64, target: u16, time: Time) -> Self {
        Self {
            source,
            seq,
            target,
            time,
            renews: None,
            earlier: BTreeMap::new(),
            is_superseded: false,
            has_landed: false,
            has_relapsed: false,
            dialled: vec![],
            moved: 0,
            stay: BTreeSet::new(),
        }
    }

    fn is_live(&self, now: Instant) -> bool {
        !self.is_superseded && now < self.time.deadline + 2 * RELAXED
    }

    fn is_remembered(&self, now: Instant) -> bool {
        self.renews.is_none() && now < self.time.deadline + 3 * RELAXED
    }

    fn is_same(&self, seq: u64, target: u16) -> bool {
        (self.seq, self.target) == (seq, target)
    }

    /// Whether `conn`, which is at the source, is to leave.
    fn takes(&self, conn: ConnId) -> bool {
        self.renews.as_ref().is_none_or(|told| told.contains(&conn))
    }

    /// When the server closes `conn`.
    fn time_of(&self, conn: ConnId) -> Time {
        self.earlier.get(&conn).copied().unwrap_or(self.time)
    }
}

struct Model {
    coordinator: Coordinator,
    now: Instant,
    members: BTreeMap<ConnId, Member>,
    announced: Vec<Announced>,
    /// When the next attempt for a connection may begin.
    pauses: BTreeMap<ConnId, Instant>,
    /// What each connection was dialled in the place of, also after its end.
    lineage: BTreeMap<ConnId, ConnId>,
    /// What was said of moves and of successors since the last fact.
    said: Vec<String>,
    /// Connections that ended since the last fact.
    ended: Vec<ConnId>,
    /// Connections whose loss at the deadline was said, until they are closed.
    overdue: Vec<ConnId>,
}

impl Model {
    fn new() -> Self {
        let World { coordinator, now, .. } = World::new("127.0.0.1:1", POOL);
        Self {
            coordinator,
            now,
            members: BTreeMap::new(),
            announced: Vec::new(),
            pauses: BTreeMap::new(),
            lineage: BTreeMap::new(),
            said: Vec::new(),
            ended: Vec::new(),
            overdue: Vec::new(),
        }
    }

    /// The move that retires the address with that port.
    fn live(&self, port: u16) -> Option<&Announced> {
        self.taking(port).filter(|of| of.renews.is_none())
    }

    /// The move that takes connections away from there, be it to the very same address.
    fn taking(&self, port: u16) -> Option<&Announced> {
        self.announced.iter().rev().find(|of| of.source == port && of.is_live(self.now))
    }

    fn taking_mut(&mut self, port: u16) -> Option<&mut Announced> {
        let now = self.now;
        self.announced.iter_mut().rev().find(|of| of.source == port && of.is_live(now))
    }

    /// Connections to that port which their server has told to leave, and which are not replaced.
    fn residents(&self, port: u16) -> Vec<ConnId> {
        let is_there = |state| matches!(state, State::Serving | State::AwaitsSwitch { .. });
        self.established()
            .filter(|(_, it)| it.port == port && is_there(it.state))
            .map(|(conn, _)| conn)
            .collect()
    }

    /// A newer move with that time takes the place of the one away from `port`: who has less time by an earlier word than by the last
    /// one before, or was told before a renewal, keeps it.
    fn supersede(&mut self, port: u16, time: Time) -> BTreeMap<ConnId, Time> {
        let (now, residents) = (self.now, self.residents(port));
        let Some(of) = self.taking_mut(port) else { return BTreeMap::new() };
        of.is_superseded = true;
        let told = residents.into_iter().filter(|conn| of.takes(*conn));
        let times = told.map(|conn| (conn, of.time_of(conn)));
        let is_earlier = |kept: &Time| of.renews.is_some() || kept.deadline < of.time.deadline;
        times
            .filter(|(_, kept)| now < kept.deadline && is_earlier(kept) && kept.deadline < time.deadline)
            .collect()
    }

    /// The address with that port is in service again: whom its server has told is replaced by a new connection there, in time.
    /// One that has just `landed` it has not told.
    fn renew(&mut self, port: u16, landed: Option<ConnId>) -> Option<String> {
        let of = self.live(port)?.clone();
        self.taking_mut(port)?.is_superseded = true;
        self.said.push(format!("superseded: {port} {}", of.seq));
        let told: BTreeSet<ConnId> = self
            .residents(port)
            .into_iter()
            .filter(|conn| self.now < of.time_of(*conn).deadline && landed != Some(*conn))
            .collect();
        if told.is_empty() {
            return None;
        }
        self.pauses.retain(|conn, _| !told.contains(conn));
        let started = format!("started: {port} {} {port}", of.seq);
        let mut renewal = Announced::new(port, of.seq, port, of.time);
        (renewal.earlier, renewal.renews) = (of.earlier, Some(told));
        self.announced.push(renewal);
        Some(started)
    }

    /// A renewal is over when it has no connection left that it is to replace, or that stays.
    fn end_renewals(&mut self) {
        let is_over = |of: &Announced| !of.is_superseded && !self.is_pending(of);
        let over: Vec<usize> =
            (0..self.announced.len()).filter(|index| is_over(&self.announced[*index])).collect();
        over.into_iter().for_each(|index| self.announced[index].is_superseded = true);
    }

    /// Whether a renewal has connections left that it is to replace, or that stay.
    fn is_pending(&self, of: &Announced) -> bool {
        let is_pending = |conn: &ConnId| match self.members.get(conn).map(|it| it.state) {
            Some(State::Serving | State::AwaitsSwitch { .. }) => true,
            Some(State::Dialing | State::Draining { .. }) => false,
            None => self.in_place_of(*conn, |state| state == State::Dialing).is_some(),
        };
        of.renews.as_ref().is_none_or(|told| told.iter().any(is_pending))
    }

    /// Where the move of `port` leads, and the move of that one, and so on.
    fn onward(&self, port: u16) -> Option<u16> {
        let hops = self.announced.iter().filter(|of| of.is_live(self.now)).count();
        let mut onward = None;
        for _ in 0..hops {
            onward = self.live(onward.unwrap_or(port)).map(|of| of.target).or(onward);
        }
        onward
    }

    /// Whether a connection that follows the moves with that id from `start` comes to `end`.
    fn leads_to(&self, seq: u64, mut start: u16, end: u16) -> bool {
        for _ in 0..=self.announced.len() {
            let Some(of) = self.live(start).filter(|of| start != end && of.seq == seq) else {
                return start == end;
            };
            start = of.target;
        }
        false
    }

    fn established(&self) -> impl Iterator<Item = (ConnId, &Member)> {
        self.members.iter().filter(|(_, it)| it.state != State::Dialing).map(|(conn, it)| (*conn, it))
    }

    fn handoff_dials(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|it| it.state == State::Dialing && it.replaces.is_some())
    }

    /// The connection that is ready in the place of `from` and not switched to.
    fn successor(&self, from: ConnId) -> Option<ConnId> {
        self.in_place_of(from, |state| matches!(state, State::AwaitsSwitch { .. }))
    }

    fn in_place_of(&self, from: ConnId, is_wanted: fn(State) -> bool) -> Option<ConnId> {
        let of_from = |it: &Member| it.replaces == Some(from) && is_wanted(it.state);
        self.members.iter().find(|(_, it)| of_from(it)).map(|(conn, _)| *conn)
    }

    /// Whether something drains whose place `conn` has taken.
    fn has_predecessor(&self, conn: ConnId) -> bool {
        let mut older = std::iter::successors(Some(conn), |conn| self.lineage.get(conn).copied()).skip(1);
        older.any(|conn| self.members.contains_key(&conn))
    }

    /// What becomes of `conn` when it is ready, and what is said then.
    fn arrival(&self, conn: ConnId) -> (State, String) {
        let Member { role, replaces, .. } = self.members[&conn];
        let Some(from) = replaces else { return (State::Serving, format!("serve: {conn}")) };
        match self.members.get(&from) {
            Some(old) if role == Role::Held => {
                let until = self.taking(old.port).unwrap().time_of(from).deadline;
                (State::AwaitsSwitch { until }, format!("successor: {from} {to}", to = conn))
            }
            _ => (State::Serving, format!("cut over: {from} {to}", to = conn)),
        }
    }

    // ---- facts ----

    fn open(&mut self, role: Role) {
        let conn = self.coordinator.open(self.now, role);
        self.members.entry(conn).or_insert(Member {
            port: 0,
            role,
            state: State::Dialing,
            replaces: None,
            until: None,
            latest: None,
        });
        self.obey();
    }

    /// Every address that is dialled serves.
    fn land(&mut self, conn: ConnId) {
        let port = self.members[&conn].port;
        self.coordinator.handle_connected(self.now, conn, peer(port));
        self.ready(conn);
    }

    fn ready(&mut self, conn: ConnId) {
        let (state, expected) = self.arrival(conn);
        self.members.get_mut(&conn).unwrap().state = state;
        self.said.clear();
        self.coordinator.handle_ready(self.now, conn, OptIn::Accepted);
        self.obey();
        assert!(self.said.contains(&expected), "{expected}: {:?}", self.said);
    }

    /// The server says in the handshake that its address is being retired, as it does to late joiners.
    fn land_told(&mut self, conn: ConnId) {
        let Member { port, replaces, .. } = self.members[&conn].clone();
        let Some(Announced { seq, target, time: Time { deadline, .. }, .. }) = self.live(port).cloned()
        else {
            return self.land(conn);
        };
        let led_by = |from| self.announced.iter().rev().find(|of| of.dialled.contains(&from));
        // A connection that a newer move has led there need not leave again; one that has not come back to its own source has
        // arrived.
        let is_newer = replaces.and_then(led_by).is_some_and(|of| of.is_live(self.now) && of.seq > seq);
        let is_back = replaces.and_then(led_by).is_some_and(|of| of.source == port);
        self.coordinator.handle_connected(self.now, conn, peer(port));
        let grace = deadline.saturating_duration_since(self.now).max(SECOND);
        self.coordinator.handle_notification(self.now, conn, &moving(seq, grace, target));
        self.said.clear();
        self.obey();
        assert_eq!(self.said, [if is_newer { "ignored: Stale" } else { "ignored: Duplicate" }]);
        if is_back && !is_newer {
            self.members.remove(&conn);
            self.ended.push(conn);
            self.coordinator.handle_ready(self.now, conn, OptIn::Accepted);
            self.obey();
        } else {
            self.ready(conn);
        }
    }

    fn refuse(&mut self, conn: ConnId) {
        let refused = ConnectError::Connect(std::io::ErrorKind::ConnectionRefused.into());
        self.members.remove(&conn);
        self.ended.push(conn);
        self.coordinator.handle_dial_failed(self.now, conn, refused);
        self.obey();
    }

    /// The owner of a connection that served is told what there is in its place.
    fn lose(&mut self, conn: ConnId) {
        let lost = self.members.remove(&conn).unwrap();
        let dial = self.in_place_of(conn, |state| state == State::Dialing);
        let replacement = match (self.successor(conn), dial) {
            (Some(to), _) => Replacement::Ready(to),
            (None, Some(to)) => Replacement::Dialing(to),
            (None, None) => Replacement::Missing,
        };
        let is_told = lost.state == State::Serving;
        let led_there =
            |of: &&mut Announced| of.has_landed && of.target == lost.port && of.source != lost.port;
        self.announced.iter_mut().filter(led_there).for_each(|of| of.has_relapsed |= is_told);
        let expected = Vec::from_iter(is_told.then(|| format!("lost: {conn} {replacement:?}")));
        self.ended.push(conn);
        self.said.clear();
        self.coordinator.handle_closed(self.now, conn, CloseCause::ByServer);
        self.obey();
        assert_eq!(self.said, expected);
    }

    /// An owner that gives a connection up wants nothing in its place, and keeps the old one if it gives up the new one.
    fn release(&mut self, conn: ConnId) {
        let released = self.members.remove(&conn).unwrap();
        self.ended.push(conn);
        if matches!(released.state, State::Dialing | State::AwaitsSwitch { .. })
            && let Some(from) = released.replaces
            && let Some(old) = self.members.get(&from).map(|it| it.port)
        {
            self.taking_mut(old).unwrap().stay.insert(from);
        }
        self.said.clear();
        self.coordinator.release(self.now, conn);
        self.obey();
        assert_eq!(self.said, [""; 0]);
        if released.state == State::Serving {
            let not_drained = |state| !matches!(state, State::Serving | State::Draining { .. });
            assert_eq!(self.in_place_of(conn, not_drained), None, "a successor of {conn} is left");
        }
    }

    fn switched(&mut self, from: ConnId) {
        let successor = self.successor(from);
        if let Some(to) = successor {
            self.serve(to);
        }
        let expected = Vec::from_iter(successor.map(|to| format!("cut over: {from} {to}")));
        self.said.clear();
        self.coordinator.handle_switched(self.now, from);
        self.obey();
        assert_eq!(self.said, expected);
    }

    /// `conn`, which awaited the switch, serves. If it was told to leave, it takes part in the renewal if it has time left.
    fn serve(&mut self, conn: ConnId) {
        let now = self.now;
        let it = self.members.get_mut(&conn).unwrap();
        it.state = State::Serving;
        let port = it.port;
        if let Some(of) = self.taking_mut(port).filter(|of| of.time_of(conn).deadline <= now)
            && let Some(told) = &mut of.renews
        {
            told.remove(&conn);
        }
    }

    fn drained(&mut self, conn: ConnId) {
        self.coordinator.handle_drained(self.now, conn);
        self.obey();
        let is_draining = |it: &Member| matches!(it.state, State::Draining { .. });
        assert!(!self.members.get(&conn).is_some_and(is_draining), "{conn} is empty and stays open");
    }

    /// A MOVING for the address of `conn`: what follows is known before it is told.
    fn moving(&mut self, conn: ConnId, seq: u64, target: u16, grace: Duration) {
        let source = self.members[&conn].port;
        let mut expected = Vec::new();
        match self.reason_to_ignore(source, seq, target) {
            Some(reason) => expected.push(format!("ignored: {reason:?}")),
            None => {
                // What the newer one takes the place of, and what says that its target is being retired.
                let is_circle = self.leads_to(seq, target, source);
                let time = Time { at: self.now, deadline: self.now + grace };
                expected.extend(self.taking(source).map(|of| format!("superseded: {source} {}", of.seq)));
                let earlier = self.supersede(source, time);
                if let Some(seq) =
                    self.live(target).map(|of| of.seq).filter(|older| *older < seq || is_circle)
                {
                    expected.push(format!("superseded: {target} {seq}"));
                    expected.extend(self.renew(target, None));
                }
                expected.push(format!("started: {source} {seq} {target}"));
                self.announced.push(Announced { earlier, ..Announced::new(source, seq, target, time) });
                self.pauses.retain(|conn, _| self.members.get(conn).is_some_and(|it| it.port != source));
            }
        }
        self.coordinator.handle_notification(self.now, conn, &moving(seq, grace, target));
        self.said.clear();
        self.obey();
        assert_eq!(self.said, expected);
    }

    /// The newest one of a source counts, none counts twice, and a connection that has arrived stays.
    fn reason_to_ignore(&self, source: u16, seq: u64, target: u16) -> Option<Ignored> {
        if source == target {
            return Some(Ignored::AlreadyThere);
        }
        if let Some(live) = self.live(source) {
            return match live.is_same(seq, target) {
                true => Some(Ignored::Duplicate),
                false => (seq < live.seq).then_some(Ignored::Stale),
            };
        }
        let led_here = |of: &&Announced| {
            of.renews.is_none() && of.is_live(self.now) && of.has_landed && of.target == source
        };
        if self.announced.iter().filter(led_here).any(|of| of.is_same(seq, target)) {
            return Some(Ignored::AlreadyThere);
        }
        let known = || self.announced.iter().filter(|of| of.source == source && of.is_remembered(self.now));
        if known().any(|of| of.is_same(seq, target)) {
            return Some(Ignored::Duplicate);
        }
        known().any(|of| of.seq > seq).then_some(Ignored::Stale)
    }

    /// Lets time pass to the next timeout, if it is not after `limit`.
    fn next_timeout(&mut self, limit: Instant) -> bool {
        let Some(at) = self.coordinator.poll_timeout().filter(|at| *at <= limit) else { return false };
        self.now = self.now.max(at);
        self.coordinator.handle_timeout(self.now);
        self.obey();
        assert!(self.coordinator.poll_timeout().is_none_or(|next| next > self.now), "it spins");
        true
    }

    /// The process does not run for a while. Attempts that should have been over long before it wakes go on for as long as they are
    /// late, once, and not beyond the deadline.
    fn stop(&mut self, lasts: Duration) {
        self.now += lasts;
        let now = self.now;
        for it in self.members.values_mut().filter(|it| it.state == State::Dialing) {
            let late = it.until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
            if late >= STOPPED
                && let Some(latest) = it.latest.take_if(|latest| now < *latest)
            {
                it.until = Some(latest.min(now + late));
            }
        }
        while self.next_timeout(now) {}
    }

    // ---- decisions ----

    fn obey(&mut self) {
        while let Some(directive) = self.coordinator.poll_directive() {
            match directive {
                Directive::Dial { conn, target, until, replaces, .. } => {
                    self.on_dial(conn, &target.address, until, replaces)
                }
                Directive::CutOver { from, to } => self.on_cut_over(from, to),
                Directive::Drain { conn, until } => {
                    let Some(State::Draining { until: expected }) =
                        self.members.get(&conn).map(|it| it.state)
                    else {
                        panic!("{conn} drains without a cut-over")
                    };
                    assert_eq!(until, expected);
                }
                Directive::Close { conn, cause } => self.on_close(conn, cause),
                Directive::Failed { conn, .. } => {
                    self.members.remove(&conn);
                    self.ended.push(conn);
                }
                Directive::Serve { conn } => {
                    assert_eq!(self.members[&conn].replaces, None);
                    self.said.push(format!("serve: {conn}"));
                }
                Directive::Successor { from, to, until } => self.on_successor(from, to, until),
                Directive::Lost { conn, replacement } => self.on_lost(conn, replacement),
                Directive::Emit(event) => self.on_event(event),
                Directive::Windows { .. } => self.on_window(),
                other => panic!("{other:?}"),
            }
        }
        self.end_renewals();
        self.check();
        self.ended.clear();
    }

    fn on_dial(&mut self, conn: ConnId, address: &Peer, until: Option<Instant>, replaces: Option<ConnId>) {
        let Peer::Tcp(address) = address else { panic!("{address}") };
        let port = address.port();
        let Some(from) = replaces else {
            let away = self.onward(1);
            let is_lost = self.established().all(|(_, it)| it.port != 1);
            assert!(
                away.is_none_or(|target| port == target || (is_lost && port == 1))
                    && (away.is_some() || port == 1),
                "{conn} is opened to {port} while 1 moves to {away:?}"
            );
            let opened = self.members.get_mut(&conn);
            let opened = opened.unwrap_or_else(|| panic!("{conn} was not opened"));
            (opened.port, opened.until) = (port, until);
            return;
        };
        let source = self.members.get(&from).unwrap_or_else(|| panic!("{from} is gone")).clone();
        assert_eq!(source.state, State::Serving, "{from} is dialled for");
        assert!(self.handoff_dials().count() < WORKERS, "more dials than workers");
        assert!(self.handoff_dials().all(|it| it.replaces != Some(from)), "two dials for {from}");
        assert!(self.pauses.remove(&from).is_none_or(|at| at <= self.now), "{from} is dialled for too soon");
        let siblings: BTreeSet<ConnId> =
            self.members.iter().filter(|(_, it)| it.port == source.port).map(|(conn, _)| *conn).collect();
        let alone = self.handoff_dials().all(|it| !siblings.contains(&it.replaces.unwrap()));
        let now = self.now;
        assert_eq!(self.successor(from), None, "a second successor of {from}");
        let has_predecessor = self.has_predecessor(from);
        self.lineage.insert(conn, from);
        let of = self.taking_mut(source.port).unwrap_or_else(|| panic!("nothing retires {}", source.port));
        assert!(of.takes(from), "{from} was not told to leave");
        assert_eq!(port, of.target);
        let time = of.time_of(from);
        assert!(of.has_landed || alone, "a second scout");
        assert!(now < time.deadline, "the deadline has come");
        assert!(!has_predecessor || now >= time.patience(), "a third socket in one slot");
        let longest =
            time.budget_end().max(now + LEAST_ATTEMPT).min(time.deadline).min(now + HANDOFF_TIMEOUT);
        assert!(
            until.is_some_and(|until| until <= longest && (until - now >= LEAST_ATTEMPT || until == longest))
        );
        let latest = Some(time.deadline);
        of.dialled.push(from);
        assert!(of.dialled.iter().filter(|other| **other == from).count() <= ATTEMPTS);
        let (role, state) = (source.role, State::Dialing);
        self.members.insert(conn, Member { port, role, state, replaces, until, latest });
    }

    /// A window gives dials that were opened as much time as a request has, from their beginnings on.
    fn on_window(&mut self) {
        let attempts = &self.coordinator.attempts;
        for (conn, it) in self.members.iter_mut().filter(|(_, it)| it.state == State::Dialing) {
            if let (None, Some(until)) = (it.replaces, attempts.until(*conn)) {
                assert!(until <= self.now + RELAXED, "{conn} has more time than a request");
                it.until = Some(until);
            }
        }
    }

    fn on_successor(&mut self, from: ConnId, to: ConnId, until: Instant) {
        let Member { role, state, replaces, .. } = self.members[&to];
        assert_eq!((role, state, replaces), (Role::Held, State::AwaitsSwitch { until }, Some(from)));
        assert_eq!(self.members[&from].state, State::Serving);
        self.said.push(format!("successor: {from} {to}"));
        self.on_arrival(from, to);
    }

    fn on_cut_over(&mut self, from: ConnId, to: ConnId) {
        let member = self.members[&to].clone();
        assert_eq!((member.state, member.replaces), (State::Serving, Some(from)));
        self.said.push(format!("cut over: {from} {to}"));
        let was_offered = member.role == Role::Held && self.members.contains_key(&from);
        if !was_offered {
            self.on_arrival(from, to);
        }
        let now = self.now;
        let source = self.move_of(from);
        source.moved += 1;
        let until = source.time_of(from).deadline.max(now + RELAXED);
        if let Some(old) = self.members.get_mut(&from) {
            assert_eq!(old.state, State::Serving, "{from} is cut over twice");
            old.state = State::Draining { until };
        }
    }

    /// The move that `from` was dialled for last.
    fn move_of(&mut self, from: ConnId) -> &mut Announced {
        self.announced.iter_mut().rev().find(|of| of.dialled.contains(&from)).unwrap()
    }

    fn on_arrival(&mut self, from: ConnId, to: ConnId) {
        let port = self.members[&to].port;
        let source = self.move_of(from);
        (source.has_landed, source.has_relapsed) = (true, false);
        let seq = source.seq;
        // The address that a newer move leads to is in service again.
        if self.live(port).is_some_and(|of| of.seq < seq) {
            self.renew(port, Some(to));
        }
    }

    /// Whether `conn` was to be lost is the fact's to check.
    fn on_lost(&mut self, conn: ConnId, replacement: Replacement) {
        if self.members.contains_key(&conn) {
            let to = self.successor(conn).unwrap_or_else(|| panic!("{conn} is there"));
            let State::AwaitsSwitch { until } = self.members[&to].state else { unreachable!() };
            assert!(until <= self.now, "{conn} has time left");
            assert_eq!(replacement, Replacement::Ready(to));
            self.members.remove(&conn);
            self.ended.push(conn);
            self.overdue.push(conn);
        }
        assert!(self.ended.contains(&conn), "{conn} is unknown");
        if let Replacement::Ready(to) = replacement {
            self.move_of(conn).moved += 1;
            self.serve(to);
        }
        self.said.push(format!("lost: {conn} {replacement:?}"));
    }

    fn on_close(&mut self, conn: ConnId, cause: CloseCause) {
        let Some(member) = self.members.remove(&conn) else {
            if self.overdue.extract_if(.., |overdue| *overdue == conn).next().is_some() {
                assert_eq!(cause, CloseCause::MoveDeadline);
            }
            return assert!(self.ended.contains(&conn), "{conn} is unknown");
        };
        self.ended.push(conn);
        let is_due = |until: Instant| until <= self.now;
        match member.state {
            State::Draining { until } => assert_eq!(cause == CloseCause::MoveDeadline, is_due(until)),
            State::Dialing | State::AwaitsSwitch { .. } => assert_eq!(cause, CloseCause::ByClient),
            State::Serving => panic!("{conn} is closed while it serves"),
        }
    }

    fn on_event(&mut self, event: Event) {
        let port = |peer: &Peer| match peer {
            Peer::Tcp(address) => address.port(),
            Peer::Unix(_) => unreachable!(),
        };
        match event {
            Event::NotificationIgnored { reason, .. } => self.said.push(format!("ignored: {reason:?}")),
            Event::MoveSuperseded { source, seq, .. } => {
                self.said.push(format!("superseded: {} {}", port(&source), seq.0))
            }
            Event::MoveStarted { source, target: Some(target), seq, .. } => {
                let target = port(&target.peer().unwrap());
                self.said.push(format!("started: {} {} {target}", port(&source), seq.0));
            }
            Event::MoveFinished { source, seq, moved, .. } => {
                let (source, seq) = (port(&source), seq.0);
                let is_it = |of: &&mut Announced| (of.source, of.seq) == (source, seq);
                let of = self.announced.iter_mut().rev().find(is_it).unwrap();
                assert_eq!(of.moved, moved);
                // Who had no turn in time is given up without an attempt.
                let serving =
                    |conn: &&ConnId| self.members.get(conn).is_some_and(|it| it.state == State::Serving);
                for conn in of.renews.clone().unwrap_or_default().iter().filter(serving) {
                    let is_over = of.time_of(*conn).deadline <= self.now;
                    assert!(of.stay.replace(*conn).is_some() || is_over, "{conn} is given up early");
                }
            }
            Event::HandoffFailed { from, error: ConnectError::Released, retry_at, .. } => {
                let source = self.members[&from].port;
                let is_refused = self.taking(source).is_some_and(|of| of.stay.contains(&from));
                assert!(
                    is_refused && retry_at.is_none(),
                    "{from} is given up, and its owner wants it to move"
                );
            }
            Event::HandoffFailed { from, attempt, retry_at, .. } => {
                self.on_failure(from, attempt as usize, retry_at)
            }
            _ => {}
        }
    }

    fn on_failure(&mut self, from: ConnId, attempt: usize, retry_at: Option<Instant>) {
        let source = self.members[&from].port;
        let (now, members) = (self.now, self.members.clone());
        let of = self.taking_mut(source).unwrap();
        let time = of.time_of(from);
        if let Some(at) = retry_at {
            let latest = time.budget_end().max(now + (time.deadline - now) / 8);
            assert!(now < at && at <= latest, "{from} is tried again too late");
            self.pauses.insert(from, at);
            return;
        }
        assert!(attempt >= ATTEMPTS || now >= time.deadline, "{from} is given up early");
        of.stay.insert(from);
        if !of.has_landed || of.has_relapsed {
            // They were behind the scout. Another one scouts for those that have more time.
            let behind = members.iter().filter(|(_, it)| it.port == source && it.state == State::Serving);
            let behind =
                behind.map(|(conn, _)| *conn).filter(|conn| of.time_of(*conn).deadline <= time.deadline);
            let behind: Vec<ConnId> = behind.collect();
            of.stay.extend(behind);
        }
    }

    // ---- what holds after each fact ----

    fn check(&self) {
        let until = |it: &Member| match it.state {
            State::Dialing => it.until,
            State::Serving => None,
            State::AwaitsSwitch { until } | State::Draining { until } => Some(until),
        };
        let overdue = |it: &&Member| until(it).is_some_and(|until| until <= self.now);
        assert_eq!(self.members.values().find(overdue).map(|it| it.state), None, "beyond its time");
        assert_eq!(self.overdue, [], "lost at the deadline, and not closed");
        for it in self.members.values().filter(|it| matches!(it.state, State::AwaitsSwitch { .. })) {
            let from = it.replaces.unwrap();
            let old = self.members.get(&from).unwrap_or_else(|| panic!("the owner of {from} is awaited"));
            let of = self.taking(old.port).filter(|of| of.dialled.contains(&from));
            assert!(old.state == State::Serving && of.is_some(), "nothing retires {from}");
        }
        let stats = self.coordinator.stats();
        let mut connections: BTreeMap<Peer, u32> = BTreeMap::new();
        self.established().for_each(|(_, it)| *connections.entry(peer(it.port)).or_default() += 1);
        assert_eq!(stats.connections, connections);
        assert_eq!(stats.dialing, self.members.len() - self.established().count());
        assert_eq!(stats.handoffs_working, self.handoff_dials().count());
        assert!(stats.handoffs_queued <= POOL as usize);
        let live: BTreeSet<u16> =
            self.announced.iter().filter(|of| of.is_live(self.now)).map(|of| of.source).collect();
        assert_eq!(stats.moves, live.len());
    }

    /// From here on every dial succeeds: each connection that can leave a retiring address has left it when this returns.
    fn settle(&mut self) {
        let must_leave: Vec<(ConnId, Instant)> = self
            .established()
            .filter(|(_, it)| it.state == State::Serving)
            .filter_map(|(conn, it)| Some((conn, self.taking(it.port).filter(|of| of.takes(conn))?)))
            .filter(|(conn, of)| !of.stay.contains(conn))
            .map(|(conn, of)| (conn, of.time_of(conn).deadline))
            .filter(|(_, deadline)| self.now < *deadline)
            .collect();
        let end = self.now + 3600 * SECOND;
        let mut hops = 0;
        loop {
            let dials: Vec<ConnId> = self
                .members
                .iter()
                .filter(|(_, it)| it.state == State::Dialing)
                .map(|(conn, _)| *conn)
                .collect();
            for conn in dials {
                if self.members.contains_key(&conn) {
                    self.land(conn);
                    hops += 1;
                }
            }
            // Of the others, the deadline decides.
            let switching = |(_, it): (ConnId, &Member)| it.replaces.filter(|from| from.index() % 2 == 0);
            for from in self.established().filter_map(switching).collect::<Vec<_>>() {
                self.switched(from);
            }
            assert!(hops < 500, "they go round in circles");
            let dialing = self.members.values().any(|it| it.state == State::Dialing);
            if !dialing && !self.next_timeout(end) {
                break;
            }
        }
        for (conn, deadline) in must_leave {
            assert!(!self.members.contains_key(&conn), "{conn} is closed at {deadline:?}");
        }
        assert!(self.members.values().all(|it| it.state == State::Serving), "{:?}", self.members);
    }
}

#[derive(Clone, Debug)]
enum Fact {
    Open(Role),
    Land(usize),
    LandTold(usize),
    Refuse(usize),
    Lose(usize),
    Release(usize),
    Switched(usize),
    Drained(usize),
    Moving { conn: usize, seq: u64, port: u16, grace: u64 },
    Pass(u64),
    Stop(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    let nth = || 0..12_usize;
    prop_oneof![
        2 => Just(Fact::Open(Role::Shared)),
        2 => Just(Fact::Open(Role::Held)),
        8 => nth().prop_map(Fact::Land),
        2 => nth().prop_map(Fact::LandTold),
        3 => nth().prop_map(Fact::Refuse),
        1 => nth().prop_map(Fact::Lose),
        1 => nth().prop_map(Fact::Release),
        2 => nth().prop_map(Fact::Switched),
        1 => nth().prop_map(Fact::Drained),
        4 => (nth(), 0..6_u64, 1..4_u16, 1..30_u64)
            .prop_map(|(conn, seq, port, grace)| Fact::Moving { conn, seq, port, grace }),
        4 => (0..4000_u64).prop_map(Fact::Pass),
        1 => (0..4000_u64).prop_map(Fact::Stop),
    ]
}

impl Model {
    fn pick(&self, nth: usize, is_wanted: fn(&Member) -> bool) -> Option<ConnId> {
        let all: Vec<ConnId> =
            self.members.iter().filter(|(_, it)| is_wanted(it)).map(|(conn, _)| *conn).collect();
        nth.checked_rem(all.len()).map(|at| all[at])
    }

    fn tell(&mut self, fact: Fact) {
        let any = |_: &Member| true;
        let dialing = |it: &Member| it.state == State::Dialing;
        let established = |it: &Member| it.state != State::Dialing;
        match fact {
            Fact::Open(role) => {
                let opened = self.members.values().filter(|it| it.replaces.is_none()).count();
                if opened < POOL as usize {
                    self.open(role);
                }
            }
            Fact::Land(nth) => self.pick(nth, dialing).into_iter().for_each(|conn| self.land(conn)),
            Fact::LandTold(nth) => self.pick(nth, dialing).into_iter().for_each(|conn| self.land_told(conn)),
            Fact::Refuse(nth) => self.pick(nth, dialing).into_iter().for_each(|conn| self.refuse(conn)),
            Fact::Lose(nth) => self.pick(nth, any).into_iter().for_each(|conn| self.lose(conn)),
            Fact::Release(nth) => self.pick(nth, any).into_iter().for_each(|conn| self.release(conn)),
            Fact::Switched(nth) => self.pick(nth, any).into_iter().for_each(|conn| self.switched(conn)),
            Fact::Drained(nth) => self.pick(nth, established).into_iter().for_each(|conn| self.drained(conn)),
            Fact::Moving { conn, seq, port, grace } => {
                if let Some(conn) = self.pick(conn, established) {
                    self.moving(conn, seq, port, Duration::from_secs(grace));
                }
            }
            Fact::Pass(millis) => {
                let until = self.now + Duration::from_millis(millis);
                while self.next_timeout(until) {}
                self.now = until;
            }
            Fact::Stop(millis) => self.stop(Duration::from_millis(millis)),
        }
    }
}

proptest! {
    /// Every decision is one that the sets allow, an owner is told what the sets say when it loses a connection, and when nothing
    /// fails any more, each connection that can leave a retiring address leaves it. INV-06, INV-07, INV-09, INV-10, INV-12, INV-20,
    /// PITFALL-27
    #[test]
    fn every_decision_agrees_with_plain_sets(facts in prop::collection::vec(fact(), 0..80)) {
        let mut model = Model::new();
        for fact in facts {
            model.tell(fact);
        }
        model.settle();
    }
}
