//! Names with several addresses: one attempt tries them one after the other.

use super::*;
use crate::handshake::ErrorCode;

const MILLI: Duration = Duration::from_millis(1);

/// The nth address that the names of these tests lead to.
fn address(nth: u8) -> Peer {
    Peer::from(SocketAddr::from(([10, 0, 0, nth], 6379)))
}

fn refused() -> ConnectError {
    ConnectError::Connect(std::io::ErrorKind::ConnectionRefused.into())
}

fn refused_at_hello(code: &[u8]) -> ConnectError {
    let (stage, code) = (crate::error::Stage::Hello, ErrorCode::of(code));
    ConnectError::Handshake(crate::error::HandshakeError::Refused { stage, code })
}

impl World {
    /// Answers the lookups that are asked for: names lead to addresses 1 to `count`.
    fn look_up(&mut self, count: u8) {
        for conn in std::mem::take(&mut self.lookups) {
            let addresses = (1..=count).map(|nth| [10, 0, 0, nth].into()).collect();
            self.coordinator.handle_resolved(self.now, conn, Ok(addresses));
        }
        self.drain();
    }

    /// Opens a connection to a name with so many addresses, whose turn begins at the first one.
    fn opening(count: u8) -> (Self, ConnId) {
        let mut world = Self::new("name", 1);
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.look_up(count);
        (world, conn)
    }

    /// Where the dials under way lead.
    fn dialled(&self) -> Vec<Peer> {
        self.dials.iter().map(|(_, address, _)| address.clone()).collect()
    }

    fn fail_dial(&mut self, at: &Peer, error: ConnectError) -> ConnId {
        let nth = self.dials.iter().position(|(_, address, _)| address == at).unwrap();
        let (conn, ..) = self.dials.remove(nth);
        self.coordinator.handle_dial_failed(self.now, conn, error);
        self.drain();
        conn
    }

    fn connect(&mut self, at: &Peer) -> ConnId {
        let (conn, ..) = self.dials.iter().find(|(_, address, _)| address == at).unwrap().clone();
        self.coordinator.handle_connected(self.now, conn, at.clone());
        self.drain();
        self.dials.retain(|(dial, ..)| *dial != conn);
        conn
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_timeout(end) {}
        self.now = end;
    }

    fn dialing(&self) -> usize {
        self.coordinator.stats().dialing
    }
}

/// An address whose link has died at the opt-in is dialled first, whichever has its turn, and asked for less: that settles what it was. RULE-14
#[test]
fn an_address_that_is_to_be_asked_for_less_goes_first() {
    let (mut world, _) = World::opening(2);
    let (conn, suspect, _) = world.dials.remove(0);
    world.coordinator.handle_connected(world.now, conn, suspect.clone());
    world.coordinator.handle_lost_at_opt_in(world.now, conn, CloseCause::ByServer);
    world.drain();
    for _ in 0..2 {
        world.dials.clear();
        world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.look_up(2);
        let dials: Vec<_> = world.dials.iter().map(|(_, address, probe)| (address.clone(), *probe)).collect();
        assert_eq!(dials, [(suspect.clone(), Probe::Skip)]);
    }
}

/// An address that refuses costs nothing: the next one is dialled at once, under an id of its own, and the owner hears of no
/// failure. RULE-124
#[test]
fn the_next_address_is_dialled_when_one_refuses() {
    let (mut world, first) = World::opening(3);
    assert_eq!(world.dialled(), [address(1)]);
    assert_eq!(world.fail_dial(&address(1), refused()), first);
    assert_eq!(world.dialled(), [address(2)]);
    world.fail_dial(&address(2), refused());
    assert_eq!((world.dialled(), world.dialing()), (vec![address(3)], 1));
    assert!(world.failed.is_empty() && world.closed.is_empty());
    world.answer_dials();
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(address(3), 1)]));
}

/// The attempt has failed when all addresses have: that is one failure. RULE-124
#[test]
fn an_attempt_fails_once_when_every_address_has() {
    let (mut world, _) = World::opening(3);
    for nth in 1..=3 {
        assert!(world.failed.is_empty());
        world.fail_dial(&address(nth), refused());
    }
    assert_eq!(world.failed, [Redial::AfterPause]);
    let failures = world.events.iter().filter(|event| matches!(event, Event::ConnectFailed { .. }));
    assert_eq!((failures.count(), world.dialing()), (1, 0));
    assert_eq!(world.coordinator.poll_timeout(), None);
}

/// An address that swallows the dial has 250 ms for itself; then the next one is dialled beside it, and the first that is
/// connected wins. The other is closed. RULE-124
#[test]
fn a_slow_address_is_not_waited_for() {
    for fastest in [1, 2] {
        let (mut world, first) = World::opening(2);
        world.pass(249 * MILLI);
        assert_eq!(world.dialled(), [address(1)]);
        world.pass(MILLI);
        assert_eq!((world.dialled(), world.dialing()), (vec![address(1), address(2)], 2));
        let second = world.dials[1].0;
        let (winner, loser) = if fastest == 1 { (first, second) } else { (second, first) };
        assert_eq!(world.connect(&address(fastest)), winner);
        assert_eq!(world.closed, [(loser, CloseCause::ByClient)]);
        assert_eq!((world.dialled(), world.dialing()), (vec![], 1));
        // What is said of the loser comes too late.
        world.coordinator.handle_connected(world.now, loser, address(3 - fastest));
        world.coordinator.handle_dial_failed(world.now, loser, refused());
        world.coordinator.handle_ready(world.now, winner, OptIn::Accepted);
        world.drain();
        assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(address(fastest), 1)]));
        assert!(world.failed.is_empty() && world.dialing() == 0);
    }
}

/// No more than two are dialled at a time: when one fails the next takes its place, and when two hang the older one gives way
/// in time for the others. INV-14, RULE-125
#[test]
fn two_are_dialled_at_a_time() {
    let (mut world, first) = World::opening(4);
    world.pass(250 * MILLI);
    world.fail_dial(&address(2), refused());
    assert_eq!(world.dialled(), [address(1), address(3)]);
    // Two hang, and one address is left, for which half of the time is.
    world.pass(2 * SECOND);
    assert_eq!((world.dialled(), world.dialing()), (vec![address(1), address(3)], 2));
    world.pass(SECOND);
    assert_eq!((world.dialled(), world.dialing()), (vec![address(3), address(4)], 2));
    assert_eq!(world.closed, [(first, CloseCause::ByClient)]);
    world.answer_dials();
    assert_eq!(world.coordinator.stats().connections.values().sum::<u32>(), 1);
    assert_eq!((world.dialing(), world.failed.len()), (0, 0));
}

/// The limit is that of the attempt, however many addresses it tries, and then everything of it is closed. RULE-125
#[test]
fn all_addresses_share_the_limit_of_the_attempt() {
    let (mut world, _) = World::opening(2);
    let start = world.now;
    world.pass(5 * SECOND - MILLI);
    assert_eq!((world.failed.len(), world.dialing()), (0, 2));
    world.pass(MILLI);
    assert_eq!((world.failed.len(), world.dialing(), world.now - start), (1, 0, 5 * SECOND));
    assert_eq!((world.closed.len(), world.dialled()), (2, vec![]));
    assert_eq!(world.coordinator.poll_timeout(), None);
}

/// A server that refuses because it is not ready, hangs up or does not take more clients: the next address may do better.
/// Credentials are the same everywhere. RULE-126
#[test]
fn a_failed_handshake_goes_on_to_the_next_address_unless_it_was_the_credentials() {
    let lost = ConnectError::LostInHandshake(CloseCause::ByServer);
    let full = ConnectError::Handshake(crate::error::HandshakeError::TooManyClients);
    for (error, goes_on) in [
        (refused_at_hello(b"LOADING"), true),
        (full, true),
        (lost, true),
        (refused_at_hello(b"WRONGPASS"), false),
        (refused_at_hello(b"NOPERM"), false),
    ] {
        let (mut world, first) = World::opening(2);
        world.connect(&address(1));
        world.coordinator.handle_dial_failed(world.now, first, error.clone());
        world.drain();
        let expected = if goes_on { vec![address(2)] } else { vec![] };
        assert_eq!(world.dialled(), expected, "{error:?}");
        assert_eq!(world.failed.is_empty(), goes_on, "{error:?}");
        if goes_on {
            // The refusal says more than that the other one cannot be reached.
            world.fail_dial(&address(2), refused());
            let failed = world.events.iter().find_map(|event| match event {
                Event::ConnectFailed { error, .. } => Some(error.clone()),
                _ => None,
            });
            assert_eq!(failed, Some(error));
        }
    }
}

/// A handshake that is not answered has its share of the attempt's time: what is left, divided by the addresses that are left. The
/// last one has all the rest. One attempt so gets past as many silent servers as there are. RULE-175
#[test]
fn a_server_that_accepts_and_says_nothing_costs_its_share_of_the_time() {
    let (mut world, first) = World::opening(3);
    world.connect(&address(1));
    world.pass(5 * SECOND / 3 - MILLI);
    assert_eq!((world.dialled(), world.closed.len()), (vec![], 0));
    world.pass(MILLI);
    assert_eq!((world.dialled(), &world.closed), (vec![address(2)], &vec![(first, CloseCause::ByClient)]));
    world.connect(&address(2));
    world.pass(5 * SECOND / 3 + MILLI);
    assert_eq!((world.dialled(), world.closed.len()), (vec![address(3)], 2));
    let last = world.connect(&address(3));
    world.pass(5 * SECOND / 3 - 3 * MILLI);
    assert!(world.failed.is_empty() && world.closed.len() == 2);
    world.coordinator.handle_ready(world.now, last, OptIn::Accepted);
    world.drain();
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(address(3), 1)]));
    assert_eq!((world.dialing(), world.coordinator.poll_timeout()), (0, None));
}

/// No share is less than a second, nor more than the attempt has; where a server was silent, the next one that cannot be reached is
/// the reason that is told. RULE-175
#[test]
fn a_handshake_has_a_second_at_least() {
    let (mut world, _) = World::opening(9);
    world.connect(&address(1));
    world.pass(SECOND - MILLI);
    assert_eq!(world.dialled(), []);
    world.pass(MILLI);
    for nth in 2..=9 {
        world.fail_dial(&address(nth), refused());
    }
    assert_eq!(world.failed, [Redial::AfterPause]);
    let told = world.events.iter().any(|event| match event {
        Event::ConnectFailed { error, .. } => matches!(error, ConnectError::Connect(_)),
        _ => false,
    });
    assert!(told, "{:?}", world.events);
}

/// An address that was slower to connect is not lost: where the faster one says nothing, it is dialled again. RULE-175
#[test]
fn the_slower_of_two_addresses_is_tried_where_the_faster_one_is_silent() {
    for fastest in [1, 2] {
        let (mut world, _) = World::opening(2);
        world.pass(250 * MILLI);
        let silent = world.connect(&address(fastest));
        world.closed.clear();
        world.pass(3 * SECOND);
        assert_eq!((world.dialled(), world.closed.len()), (vec![address(3 - fastest)], 1));
        assert_eq!(world.closed[0].0, silent);
        world.answer_dials();
        assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(address(3 - fastest), 1)]));
    }
}

/// Where a server accepts and says nothing, its share of the time is lost; the next attempts go elsewhere first, whoever's turn
/// it is, for half a minute. RULE-126
#[test]
fn an_address_that_got_nowhere_comes_last() {
    let (mut world, _) = World::opening(2);
    world.connect(&address(1));
    world.pass(5 * SECOND / 2);
    world.fail_dial(&address(2), refused());
    assert_eq!((world.failed.len(), world.closed.len()), (1, 1));
    let first_of_next = |world: &mut World| {
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.look_up(2);
        let (_, first, _) = world.dials.pop().unwrap();
        world.coordinator.release(world.now, conn);
        first
    };
    let firsts: Vec<Peer> = (0..4).map(|_| first_of_next(&mut world)).collect();
    assert_eq!(firsts, [2, 2, 2, 2].map(address));
    world.pass(30 * SECOND);
    let mut firsts: Vec<Peer> = (0..2).map(|_| first_of_next(&mut world)).collect();
    firsts.sort();
    assert_eq!(firsts, [1, 2].map(address));
}

/// Whichever of its dials the owner gives up, the whole attempt ends. INV-15
#[test]
fn an_attempt_that_is_released_closes_both_of_its_dials() {
    for nth in [0, 1] {
        let (mut world, _) = World::opening(3);
        world.pass(250 * MILLI);
        let (released, other) = (world.dials[nth].0, world.dials[1 - nth].0);
        world.coordinator.release(world.now, released);
        world.drain();
        assert_eq!(world.closed, [(other, CloseCause::ByClient)]);
        assert_eq!((world.dialing(), world.failed.len()), (0, 0));
        assert_eq!(world.coordinator.poll_timeout(), None);
    }
}

/// A move to a name with several addresses: one attempt, one worker, one event, one share of the budget, whatever number of
/// addresses it takes. RULE-124
#[test]
fn a_handoff_tries_every_address_of_its_target() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conns = world.connected(1);
    let target = MoveTarget::Endpoint(Endpoint::parse("node-2", 6379).unwrap());
    world.notify(conns[0], &Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target });
    world.look_up(4);
    world.fail_dial(&address(1), refused());
    world.pass(250 * MILLI);
    assert_eq!(world.dialled(), [address(2), address(3)]);
    let winner = world.connect(&address(3));
    world.coordinator.handle_dial_failed(world.now, winner, refused_at_hello(b"LOADING"));
    world.drain();
    assert_eq!((world.dialled(), world.coordinator.stats().handoffs_working), (vec![address(4)], 1));
    let (last, ..) = world.dials[0];
    world.answer_dials();
    assert_eq!(world.cut_over, [(conns[0], last)]);
    let tried: Vec<&Event> = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::HandoffDialing { .. } | Event::HandoffFailed { .. }))
        .collect();
    assert!(matches!(tried[..], [Event::HandoffDialing { attempt: 1, .. }]), "{tried:?}");
}

/// The others follow the scout to where it has arrived. When that address is dead by then, they try the other ones. RULE-124
#[test]
fn the_others_do_not_depend_on_where_the_scout_has_arrived() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = world.connected(2);
    let target = MoveTarget::Endpoint(Endpoint::parse("node-2", 6379).unwrap());
    world.notify(conns[0], &Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target });
    world.look_up(2);
    world.connect(&address(1));
    let winner = ConnId::from_parts(2, 0);
    world.coordinator.handle_ready(world.now, winner, OptIn::Accepted);
    world.drain();
    assert_eq!((world.dialled(), world.lookups.len()), (vec![address(1)], 0), "the follower asks no name");
    world.fail_dial(&address(1), refused());
    assert!(world.next_timeout(world.now + 5 * SECOND));
    world.look_up(2);
    assert_eq!(world.dialled().len(), 1);
    if world.dialled() == [address(1)] {
        world.fail_dial(&address(1), refused());
    }
    assert_eq!(world.dialled(), [address(2)]);
    world.answer_dials();
    assert_eq!(world.cut_over.len(), 2);
}

/// The old connection is lost while two addresses are dialled for its successor: whichever is ready takes its place, and nobody
/// is to open another one. INV-20
#[test]
fn a_lost_connection_is_replaced_by_whichever_address_answers() {
    for nth in [2, 3] {
        let mut world = World::new("127.0.0.1:1", 1);
        let conns = world.connected(1);
        let target = MoveTarget::Endpoint(Endpoint::parse("node-2", 6379).unwrap());
        world.notify(conns[0], &Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target });
        world.look_up(3);
        world.fail_dial(&address(1), refused());
        world.pass(250 * MILLI);
        world.coordinator.handle_closed(world.now, conns[0], CloseCause::ByServer);
        world.drain();
        assert_eq!(world.lost, [(conns[0], Replacement::Dialing(world.dials[0].0))]);
        let winner = world.connect(&address(nth));
        world.coordinator.handle_ready(world.now, winner, OptIn::Accepted);
        world.drain();
        assert_eq!(world.cut_over, [(conns[0], winner)]);
        assert!(world.failed.is_empty());
    }
}

/// Without a named target the addresses that are not retiring are tried one after the other as well, by handoffs and, when the
/// last connection to the source is lost, by new connections. RULE-78, RULE-124
#[test]
fn a_name_that_is_watched_leads_to_the_address_that_answers() {
    for is_lost in [false, true] {
        let (mut world, conn) = World::opening(1);
        world.answer_dials();
        let nameless = Notification::Moving { seq: Seq(1), grace: 4 * SECOND, target: MoveTarget::SameName };
        world.notify(conn, &nameless);
        if is_lost {
            world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
            // The first turn is that of the target, of which there is none: of the same address.
            for _ in 0..2 {
                world.coordinator.open(world.now, Role::Shared);
                world.drain();
                world.look_up(3);
                if world.dialled() == [address(1)] {
                    world.fail_dial(&address(1), refused());
                }
            }
        } else {
            world.pass(2 * SECOND);
            world.look_up(3);
        }
        let first = world.dialled()[0].clone();
        world.fail_dial(&first, refused());
        let second = world.dialled()[0].clone();
        let mut tried = [first, second];
        tried.sort();
        assert_eq!(tried, [address(2), address(3)], "lost: {is_lost}");
        assert_eq!(world.answer_dials(), 1);
    }
}

impl World {
    /// A connection to address 1, which is to leave within ten seconds and is not told where to, at the half of that time.
    fn leaving_for_nowhere(retries: u32) -> Self {
        let mut world = Self::with("name", 1, maintenance::Config::builder().max_handoff_retries(retries));
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.look_up(1);
        world.answer_dials();
        let target = MoveTarget::SameName;
        world.notify(conn, &Notification::Moving { seq: Seq(1), grace: 10 * SECOND, target });
        world.pass(5 * SECOND);
        world
    }

    /// Lets time pass to `end` while names lead to addresses 1 to `count`, and those that are dialled refuse. Returns what was
    /// dialled.
    fn refuse_until(&mut self, end: Instant, count: u8) -> Vec<Peer> {
        let mut refused_at = Vec::new();
        loop {
            self.look_up(count);
            while let Some(address) = self.dialled().pop() {
                self.fail_dial(&address, refused());
                refused_at.push(address);
            }
            if self.lookups.is_empty() && !self.next_timeout(end) {
                self.now = end;
                return refused_at;
            }
        }
    }
}

/// Beside the retiring address the name leads to one where nobody is. That is dialled as often as retries are due, but once less,
/// and the name goes on being watched: the new address is dialled as soon as it is there. RULE-168
#[test]
fn an_address_that_leads_nowhere_does_not_take_the_last_attempt() {
    for retries in [1, 3] {
        let mut world = World::leaving_for_nowhere(retries);
        let half = world.now;
        assert_eq!(world.refuse_until(half + 2 * SECOND, 2)[0], address(2), "{retries}");
        assert!(world.events.iter().all(|event| !matches!(event, Event::MoveFinished { .. })));
        world.pass(SECOND * 3 / 4);
        world.look_up(3);
        while !world.dialled().contains(&address(3)) {
            let dialled = world.dialled()[0].clone();
            world.fail_dial(&dialled, refused());
        }
        assert_eq!(world.answer_dials(), 1);
        assert_eq!(world.cut_over.len(), 1, "{retries}");
    }
}

/// The name leads to a virtual address and to one where nobody is, and never changes: the address itself is dialled late, once,
/// behind the other. RULE-79, RULE-168
#[test]
fn beside_an_address_that_leads_nowhere_a_virtual_one_has_its_last_chance() {
    for retries in [1, 3] {
        let mut world = World::leaving_for_nowhere(retries);
        let half = world.now;
        let mut dialled = world.refuse_until(half + 3 * SECOND, 2);
        assert!(dialled.contains(&address(1)), "{retries}: the last chance has its time: {dialled:?}");
        dialled.extend(world.refuse_until(half + 5 * SECOND, 2));
        let at_the_source = dialled.iter().filter(|at| **at == address(1)).count();
        assert_eq!((at_the_source, dialled.last()), (1, Some(&address(1))), "{retries}: {dialled:?}");
        assert!(dialled.len() <= 2 + retries as usize, "{dialled:?}");
        let stayed = world.events.iter().any(|event| matches!(event, Event::MoveFinished { stayed: 1, .. }));
        assert!(stayed, "the connection stays");
    }
}

/// A move without an endpoint goes where the name leads, also if an older move has retired that address: when that is over, the
/// address has come back. It is dialled as soon as half of the time is over, and not as a last chance. RULE-78
#[test]
fn a_name_leads_back_to_an_address_whose_move_is_over() {
    for is_over in [true, false] {
        let (mut world, conn) = World::opening(1);
        world.answer_dials();
        let target = MoveTarget::Endpoint(Endpoint::parse("10.0.0.2", 6379).unwrap());
        let grace = if is_over { 2 * SECOND } else { 60 * SECOND };
        world.notify(conn, &Notification::Moving { seq: Seq(1), grace, target });
        assert_eq!(world.answer_dials(), 1);
        world.finish_drains();
        world.pass(3 * SECOND);
        let (_, conn) = world.cut_over[0];
        let null = Notification::Moving { seq: Seq(2), grace: 10 * SECOND, target: MoveTarget::SameName };
        world.notify(conn, &null);
        world.pass(5 * SECOND);
        world.look_up(1);
        assert_eq!(world.dialled(), if is_over { vec![address(1)] } else { vec![] });
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Move,
    Connect(usize),
    Refuse(usize),
    Greet(usize),
    Reject(usize),
    Hang(usize),
    Release(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let nth = || 0..8_usize;
    prop_oneof![
        2 => Just(Step::Open),
        1 => Just(Step::Move),
        3 => nth().prop_map(Step::Connect),
        3 => nth().prop_map(Step::Refuse),
        3 => nth().prop_map(Step::Greet),
        2 => nth().prop_map(Step::Reject),
        1 => nth().prop_map(Step::Hang),
        1 => nth().prop_map(Step::Release),
        4 => (0..2000_u64).prop_map(Step::Pass),
    ]
}

/// What an owner has: sockets that are dialled, those whose handshake is under way, and those that serve.
struct Owner {
    world: World,
    dialled: Vec<ConnId>,
    greeting: Vec<ConnId>,
    serving: Vec<ConnId>,
    /// Which attempt, by its first dial, each dial belongs to.
    attempts: BTreeMap<ConnId, ConnId>,
}

impl Owner {
    fn obey(&mut self) {
        while let Some(directive) = self.world.coordinator.poll_directive() {
            match directive {
                Directive::Resolve { conn, .. } => {
                    let addresses = (1..=4).map(|nth| [10, 0, 0, nth].into()).collect();
                    self.world.coordinator.handle_resolved(self.world.now, conn, Ok(addresses));
                }
                Directive::Dial { conn, replaces, .. } => {
                    let attempt = replaces.and_then(|of| self.attempts.get(&of).copied()).unwrap_or(conn);
                    self.attempts.insert(conn, attempt);
                    self.dialled.push(conn);
                    let beside = self.dialled.iter().filter(|dial| self.attempts[dial] == attempt);
                    assert!(beside.count() <= 2, "more than two dials of one attempt");
                }
                Directive::Close { conn, .. } => self.forget(conn),
                Directive::Failed { conn, .. } => self.forget(conn),
                Directive::CutOver { to, .. } => assert!(self.serving.contains(&to)),
                Directive::Serve { conn } => assert!(self.serving.contains(&conn)),
                Directive::Drain { conn, .. } => {
                    self.world.coordinator.handle_drained(self.world.now, conn);
                }
                _ => {}
            }
        }
        let stats = self.world.coordinator.stats();
        assert_eq!(stats.dialing, self.dialled.len() + self.greeting.len());
        assert_eq!(stats.connections.values().sum::<u32>() as usize, self.serving.len());
    }

    fn forget(&mut self, conn: ConnId) {
        for of in [&mut self.dialled, &mut self.greeting, &mut self.serving] {
            of.retain(|known| *known != conn);
        }
    }

    fn take(of: &mut Vec<ConnId>, nth: usize) -> Option<ConnId> {
        (nth < of.len()).then(|| of.remove(nth))
    }

    fn tell(&mut self, step: Step) {
        let now = self.world.now;
        let coordinator = &mut self.world.coordinator;
        match step {
            Step::Open => drop(coordinator.open(now, Role::Shared)),
            Step::Move => {
                if let Some(conn) = self.serving.first() {
                    let target = MoveTarget::Endpoint(Endpoint::parse("node", 7000).unwrap());
                    let moving = Notification::Moving { seq: Seq(1), grace: 5 * SECOND, target };
                    coordinator.handle_notification(now, *conn, &moving);
                }
            }
            Step::Connect(nth) => {
                if let Some(conn) = Self::take(&mut self.dialled, nth) {
                    self.greeting.push(conn);
                    let peer = coordinator.peer(conn).cloned().unwrap();
                    coordinator.handle_connected(now, conn, peer);
                }
            }
            Step::Refuse(nth) => {
                if let Some(conn) = Self::take(&mut self.dialled, nth) {
                    coordinator.handle_dial_failed(now, conn, refused());
                }
            }
            Step::Greet(nth) => {
                if let Some(conn) = Self::take(&mut self.greeting, nth) {
                    self.serving.push(conn);
                    coordinator.handle_ready(now, conn, OptIn::Accepted);
                }
            }
            Step::Reject(nth) => {
                if let Some(conn) = Self::take(&mut self.greeting, nth) {
                    coordinator.handle_dial_failed(now, conn, refused_at_hello(b"LOADING"));
                }
            }
            Step::Hang(nth) => {
                if let Some(conn) = Self::take(&mut self.greeting, nth) {
                    coordinator.handle_lost_at_opt_in(now, conn, CloseCause::ByServer);
                }
            }
            Step::Release(nth) => {
                if let Some(conn) = Self::take(&mut self.dialled, nth) {
                    coordinator.release(now, conn);
                }
            }
            Step::Pass(millis) => self.world.pass_with(Duration::from_millis(millis)),
        }
    }
}

impl World {
    /// Lets time pass; directives are for somebody else.
    fn pass_with(&mut self, time: Duration) {
        self.now += time;
        self.coordinator.handle_timeout(self.now);
    }
}

proptest! {
    /// Whatever happens to dials, the owner has exactly the sockets that the coordinator knows, no attempt has more than two
    /// dials, and when everything has failed nothing is left. INV-11, INV-15, RULE-125
    #[test]
    fn dials_of_attempts_are_conserved(steps in prop::collection::vec(step(), 0..60)) {
        let world = World::new("name", 3);
        let mut owner =
            Owner { world, dialled: vec![], greeting: vec![], serving: vec![], attempts: BTreeMap::new() };
        for step in steps {
            owner.tell(step);
            owner.obey();
        }
        for _ in 0..100 {
            owner.tell(Step::Reject(0));
            owner.obey();
            owner.tell(Step::Refuse(0));
            owner.obey();
            owner.tell(Step::Pass(1000));
            owner.obey();
        }
        prop_assert_eq!(owner.dialled.len() + owner.greeting.len(), 0);
        let stats = owner.world.coordinator.stats();
        prop_assert_eq!((stats.dialing, stats.handoffs_working), (0, 0));
    }
}

/// Every server hangs up as soon as the handshake has asked for something; how many handshakes begin in `time`. A failed dial that
/// the owner has opened is opened again, after a pause where there is to be one.
fn hang_up(world: &mut World, time: Duration) -> usize {
    const PAUSE: Duration = Duration::from_secs(1);
    let end = world.now + time;
    let mut handshakes = 0;
    loop {
        world.look_up(2);
        while let Some((conn, address, _)) = world.dials.first().cloned() {
            world.connect(&address);
            handshakes += 1;
            world.coordinator.handle_lost_at_opt_in(world.now, conn, CloseCause::ByServer);
            world.drain();
            assert!(handshakes < 1_000, "it is dialled in a ring");
            world.look_up(2);
        }
        let opens = std::mem::take(&mut world.failed);
        for redial in &opens {
            if *redial != Redial::AtOnce {
                world.pass(PAUSE);
            }
            world.coordinator.open(world.now, Role::Shared);
            world.drain();
        }
        if world.now >= end || (opens.is_empty() && !world.next_timeout(end)) {
            return handshakes;
        }
    }
}

/// All addresses of a name hang up in the handshake, whatever it asks for. Each of them is dialled again at once with less, but
/// only once: then the pauses count, be it for a slot or for a handoff. RULE-166
#[test]
fn a_name_whose_addresses_all_hang_up_is_not_dialled_in_a_ring() {
    let (mut world, _) = World::opening(2);
    let handshakes = hang_up(&mut world, 10 * SECOND);
    assert!((10..=30).contains(&handshakes), "{handshakes} for a slot");

    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    let target = MoveTarget::Endpoint(Endpoint::parse("name", 6379).unwrap());
    world.notify(conn, &Notification::Moving { seq: Seq(1), grace: 10 * SECOND, target });
    let handshakes = hang_up(&mut world, 9 * SECOND);
    assert!((4..=20).contains(&handshakes), "{handshakes} for a handoff");
}
