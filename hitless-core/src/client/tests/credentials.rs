//! Credentials that the owner of the client provides.

use super::*;
use crate::config::{Credentials, Protocol};
use crate::error::CredentialsError;
use crate::tests::accepted_handshake;

/// What AUTH of the default user with this password looks like.
fn auth(password: &str) -> Vec<u8> {
    cmd("AUTH").arg(password).into_bytes().to_vec()
}

fn key(password: &str) -> Credentials {
    Credentials::new(None, password)
}

fn failed(words: &str) -> CredentialsError {
    CredentialsError::failed(words)
}

/// The dials that wait for their credentials, and whether new ones are wanted.
fn asked(world: &mut World) -> (Vec<ConnId>, bool) {
    let mut asked = (Vec::new(), false);
    for action in std::mem::take(&mut world.others) {
        match action {
            Action::Credentials { conn } => asked.0.push(conn),
            Action::NewCredentials => asked.1 = true,
            Action::Terminated => {}
            other => panic!("{other:?}"),
        }
    }
    asked
}

fn asks(pool: u32) -> World {
    World::with(|settings| settings.pool_size(pool).ask_for_credentials())
}

/// A client whose connections were opened with `password`.
fn opened(pool: u32, password: &str) -> World {
    let mut world = asks(pool);
    answer(&mut world, password);
    world.answer_dials();
    assert_eq!(world.started, Some(Ok(())));
    world
}

/// Answers every dial that waits. How many there were.
fn answer(world: &mut World, password: &str) -> usize {
    let (waiting, _) = asked(world);
    for conn in &waiting {
        world.client.handle_credentials(world.now, *conn, Ok(key(password)));
        world.drain();
    }
    waiting.len()
}

/// What is written to `conn` now, as it is.
fn written(world: &mut World, conn: ConnId) -> Vec<u8> {
    world.obey();
    world.flushes.remove(&conn);
    let mut buffer = WriteBuffer::new();
    while world.client.poll_transmit(conn, &mut buffer) {}
    buffer.chunk().to_vec()
}

fn receive(world: &mut World, conn: ConnId, frame: Frame) {
    world.client.handle_frames(world.now, conn, [frame]);
    world.obey();
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Nothing is connected before there are credentials; the handshake has those of its own dial, in either dialect. RULE-220
#[test]
fn each_dial_asks_first_and_its_handshake_has_the_answer() {
    for (protocol, first) in [
        (Protocol::Resp3, &b"AUTH\r\n$7\r\ndefault\r\n$5\r\nfirst"[..]),
        (Protocol::Resp2, b"AUTH\r\n$5\r\nfirst"),
    ] {
        let mut world =
            World::with(|settings| settings.pool_size(2).protocol(protocol).ask_for_credentials());
        let (waiting, _) = asked(&mut world);
        assert_eq!((waiting.len(), world.dials.len()), (2, 0), "{protocol:?}");
        for (conn, password) in waiting.into_iter().zip(["first", "other"]) {
            world.client.handle_credentials(world.now, conn, Ok(key(password)));
            world.obey();
            let (dialled, address) = world.dials.remove(0);
            world.client.handle_connected(world.now, dialled, address);
            let handshake = written(&mut world, conn);
            assert_eq!(contains(&handshake, first), password == "first", "{protocol:?}");
            assert!(contains(&handshake, password.as_bytes()));
        }
    }
}

/// A provider that fails is asked again; in a start that is given up after four attempts, and the error has its words. RULE-220
#[test]
fn a_start_without_credentials_says_what_the_provider_said() {
    let mut world = asks(1);
    let mut attempts = 0;
    while world.started.is_none() {
        for conn in asked(&mut world).0 {
            attempts += 1;
            world.client.handle_credentials(world.now, conn, Err(failed("429 from the token service")));
            world.drain();
        }
        world.pass(SECOND);
    }
    assert_eq!((attempts, world.dials.len()), (4, 0));
    let error = world.started.take().unwrap().unwrap_err().to_string();
    assert!(error.contains("the credentials provider failed: 429 from the token service"), "{error}");
}

/// One failure is no reason to give a start up. RULE-220
#[test]
fn a_start_survives_one_failure() {
    let mut world = asks(2);
    let (waiting, _) = asked(&mut world);
    for conn in waiting {
        world.client.handle_credentials(world.now, conn, Err(failed("not yet")));
        world.drain();
    }
    world.pass(SECOND / 10);
    assert_eq!(answer(&mut world, "key"), 2);
    world.answer_dials();
    assert_eq!(world.started, Some(Ok(())));
    let failures = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::ConnectFailed { error: ConnectError::Credentials(_), .. }));
    assert_eq!(failures.count(), 2);
}

/// An answer that does not come is a failed attempt after half of its time; an answer that comes then is not used. RULE-220
#[test]
fn a_dial_does_not_wait_for_ever() {
    let mut world = asks(1);
    let (waiting, _) = asked(&mut world);
    world.pass(5 * SECOND / 2 - SECOND / 1000);
    assert!(world.events.is_empty(), "{:?}", world.events);
    world.pass(SECOND / 1000);
    let error = ConnectError::Credentials(CredentialsError::TimedOut(5 * SECOND / 2));
    assert_eq!(world.events, [Event::ConnectFailed { conn: waiting[0], error }]);
    assert_eq!(world.closed, waiting, "whoever asks is told to stop");
    world.client.handle_credentials(world.now, waiting[0], Ok(key("late")));
    world.obey();
    assert!(world.dials.is_empty());
}

/// Where there are no credentials there are none for the next address either: the attempt has failed. RULE-220
#[test]
fn another_address_has_no_other_credentials() {
    let named = Config::builder(Endpoint::parse("db.example", 6379).unwrap()).pool_size(1);
    let mut world = World::with(|_| named.ask_for_credentials());
    let addresses = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
    let conn = world.lookups.remove(0);
    world.client.handle_resolved(world.now, conn, Ok(addresses.to_vec()));
    world.obey();
    let (waiting, _) = asked(&mut world);
    assert_eq!(waiting.len(), 1);
    world.client.handle_credentials(world.now, waiting[0], Err(failed("down")));
    world.obey();
    assert!(asked(&mut world).0.is_empty() && world.lookups.is_empty(), "there is a pause");
    assert!(matches!(world.events[..], [Event::ConnectFailed { error: ConnectError::Credentials(_), .. }]));
}

/// In a running client the connections that serve go on; one slot asks for all that have none, after pauses that grow.
/// RULE-220
#[test]
fn a_provider_that_fails_leaves_the_others_alone_and_is_asked_seldom() {
    let mut world = opened(4, "key");
    let conns = world.conns();
    conns[1..].iter().for_each(|conn| world.close(*conn));
    let end = world.now + 60 * SECOND;
    let mut questions = 0;
    while world.next_timeout(end) {
        for conn in asked(&mut world).0 {
            questions += 1;
            world.client.handle_credentials(world.now, conn, Err(failed("down")));
            world.drain();
        }
    }
    assert!((5..=12).contains(&questions), "{questions} in a minute");
    assert_eq!(world.client.stats().serving, 1);
    let request = world.send("still-served");
    world.answer(conns[0]);
    assert_eq!(world.reply_of(request), "still-served");
}

/// AUTH goes between two requests, which are whole; its reply reaches no caller, and an event says that it was accepted. RULE-221
#[test]
fn a_change_is_told_to_every_connection_between_two_requests() {
    let mut world = opened(2, "old");
    let conns = world.conns();
    let first = world.send("first");
    let conn = *world.pending.keys().find(|conn| !world.pending[conn].is_empty()).unwrap();
    world.client.send(world.now, Request::raw(Bytes::from("second\n"), NonZeroU32::MIN)).unwrap();
    world.client.handle_credentials_changed(world.now);
    world.obey();
    assert_eq!(asked(&mut world), (Vec::new(), true));
    world.client.handle_new_credentials(world.now, Ok(key("new")));
    let second = [auth("new"), b"second\n".to_vec()].concat();
    assert_eq!(written(&mut world, conn), second);
    let idle = conns.into_iter().find(|other| *other != conn).unwrap();
    assert_eq!(written(&mut world, idle), auth("new"));

    for frame in [Frame::bulk("first"), Frame::simple("OK"), Frame::bulk("second")] {
        receive(&mut world, conn, frame);
    }
    receive(&mut world, idle, Frame::simple("OK"));
    assert_eq!(world.reply_of(first), "first");
    assert_eq!(world.done.len(), 2, "nobody else gets anything");
    let accepted = world.events.iter().filter(|event| matches!(event, Event::Reauthenticated { .. }));
    assert_eq!(accepted.count(), 2);

    // The same once more is no news.
    world.client.handle_new_credentials(world.now, Ok(key("new")));
    assert!(written(&mut world, conn).is_empty() && written(&mut world, idle).is_empty());
}

/// A refusal is an event with the address. The connection goes on, and the next change concerns it even if it brings the same.
/// RULE-222
#[test]
fn a_refused_change_ends_no_connection() {
    let mut world = opened(1, "old");
    let conn = world.conns()[0];
    world.client.handle_new_credentials(world.now, Ok(key("wrong")));
    assert_eq!(written(&mut world, conn), auth("wrong"));
    receive(&mut world, conn, Frame::error("WRONGPASS invalid username-password pair"));
    let refused = world.events.last().unwrap();
    assert!(
        matches!(refused, Event::ReauthenticationRefused { peer: at, code, .. }
        if *at == peer(1) && code.as_str() == "WRONGPASS"),
        "{refused:?}"
    );
    let request = world.send("served");
    world.answer(conn);
    assert_eq!((world.reply_of(request), world.closed.len()), ("served", 0));
    world.client.handle_new_credentials(world.now, Ok(key("wrong")));
    assert_eq!(written(&mut world, conn), auth("wrong"), "it may be right by now");
}

/// A connection whose handshake began before the change authenticates behind it; one that is dialled later has the new
/// credentials from the beginning. RULE-221
#[test]
fn a_handshake_that_the_change_overtakes_is_followed_by_auth() {
    let mut world = asks(2);
    let (waiting, _) = asked(&mut world);
    world.client.handle_credentials(world.now, waiting[0], Ok(key("old")));
    world.obey();
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    assert!(contains(&written(&mut world, conn), b"old"));
    world.client.handle_new_credentials(world.now, Ok(key("new")));
    assert!(written(&mut world, conn).is_empty(), "the handshake is under way");
    world.client.handle_frames(world.now, conn, accepted_handshake());
    assert_eq!(written(&mut world, conn), auth("new"));

    // The other one was asked for before the change, and has not been answered.
    world.client.handle_credentials(world.now, waiting[1], Ok(key("old")));
    world.obey();
    let (other, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, other, address);
    let handshake = written(&mut world, other);
    assert!(contains(&handshake, b"new") && !contains(&handshake, b"old"));
}

/// A connection that drains does not authenticate again: nothing is written to it. RULE-221
#[test]
fn a_connection_that_drains_is_left_alone() {
    let mut world = opened(1, "old");
    let from = world.conns()[0];
    world.send("unanswered");
    world.push(from, &["MOVING", "1", "10", "127.0.0.1:2"]);
    assert_eq!(answer(&mut world, "old"), 1);
    world.client.handle_new_credentials(world.now, Ok(key("new")));
    world.answer_dials();
    assert!(world.events.iter().any(|event| matches!(event, Event::CutOver { .. })));
    world.client.handle_new_credentials(world.now, Ok(key("newer")));
    assert!(!contains(&written(&mut world, from), b"newer"));
}

/// New credentials that cannot be had are an event, are asked for again, and end nothing. RULE-223
#[test]
fn a_renewal_that_fails_is_an_event_and_is_repeated() {
    let mut world = opened(1, "old");
    world.client.handle_credentials_changed(world.now);
    world.obey();
    assert!(asked(&mut world).1);
    world.pass(5 * SECOND / 2);
    let Some(Event::CredentialsFailed { error, retry_at }) = world.events.last().cloned() else {
        panic!("{:?}", world.events)
    };
    assert_eq!(error, CredentialsError::TimedOut(5 * SECOND / 2));
    assert!(!asked(&mut world).1);
    world.pass(retry_at - world.now);
    assert!(asked(&mut world).1, "it is asked again");
    world.client.handle_new_credentials(world.now, Err(failed("token old is gone")));
    world.obey();
    let told = format!("{:?}", world.events.last());
    assert!(told.contains("CredentialsFailed") && !told.contains("old"), "{told}");
    assert_eq!((world.client.stats().serving, world.closed.len()), (1, 0));
    world.client.shutdown(world.now, world.now);
    world.obey();
    world.client.handle_new_credentials(world.now, Err(failed("too late")));
    assert_eq!(world.client.poll_timeout(), None, "nothing is asked for any more");
}

/// Without a question, too: whoever holds the machine says which credentials hold. RULE-221
#[test]
fn a_client_with_fixed_credentials_may_be_given_others() {
    let mut world = World::with(|settings| settings.pool_size(1).credentials(None, "old"));
    world.answer_dials();
    let conn = world.conns()[0];
    world.client.handle_new_credentials(world.now, Ok(key("new")));
    assert_eq!(written(&mut world, conn), auth("new"));
    receive(&mut world, conn, Frame::simple("OK"));
    world.close(conn);
    world.pass(SECOND / 10);
    let (next, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, next, address);
    assert!(contains(&written(&mut world, next), b"new"));
}

/// RULE-224
#[test]
fn the_machine_shows_nothing_of_what_it_was_given() {
    let mut world = opened(2, "s3cret-old");
    world.client.handle_new_credentials(world.now, Ok(Credentials::new(Some("s3cret-user"), "s3cret-new")));
    world.drain();
    assert!(!format!("{:?}", world.client).contains("s3cret"), "{:?}", world.client);
    assert!(!format!("{:?}", world.events).contains("s3cret"));
}

/// What may happen to a client that asks.
#[derive(Clone, Copy, Debug)]
enum Step {
    Answer,
    Fail,
    Connect,
    Close(usize),
    Changed,
    Renew,
    FailRenewal,
    Time,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Answer),
        1 => Just(Step::Fail),
        3 => Just(Step::Connect),
        1 => (0..4usize).prop_map(Step::Close),
        1 => Just(Step::Changed),
        2 => Just(Step::Renew),
        1 => Just(Step::FailRenewal),
        2 => Just(Step::Time),
    ];
    prop::collection::vec(step, 0..60)
}

/// A server that takes every password, and credentials that are numbered in the order in which they were asked for.
struct Numbered {
    world: World,
    next: usize,
    waiting: Vec<(ConnId, usize)>,
    /// The number of the password that each connection has told the server last.
    told: BTreeMap<ConnId, usize>,
    renewed: usize,
}

impl Numbered {
    fn happen(&mut self, step: Step) {
        let world = &mut self.world;
        let now = world.now;
        match step {
            Step::Answer if !self.waiting.is_empty() => {
                let (conn, number) = self.waiting.remove(0);
                world.client.handle_credentials(now, conn, Ok(key(&format!("key-{number:06}"))));
                world.client.handle_credentials(now, conn, Ok(key("an answer too many")));
            }
            Step::Fail if !self.waiting.is_empty() => {
                let (conn, _) = self.waiting.remove(0);
                world.client.handle_credentials(now, conn, Err(failed("down")));
            }
            Step::Connect if !world.dials.is_empty() => {
                let (conn, address) = world.dials.remove(0);
                world.client.handle_connected(now, conn, address);
                self.write(conn);
                self.world.client.handle_frames(now, conn, accepted_handshake());
            }
            Step::Close(nth) => {
                if let Some(conn) =
                    world.conns().get(nth).copied().filter(|conn| self.told.contains_key(conn))
                {
                    world.client.handle_closed(now, conn, CloseCause::ByServer);
                }
            }
            Step::Changed => world.client.handle_credentials_changed(now),
            Step::Renew => {
                self.renewed = self.next;
                self.next += 1;
                let credentials = key(&format!("key-{:06}", self.renewed));
                world.client.handle_new_credentials(now, Ok(credentials));
            }
            Step::FailRenewal => world.client.handle_new_credentials(now, Err(failed("down"))),
            Step::Time => {
                world.next_timeout(now + 10 * SECOND);
            }
            Step::Answer | Step::Fail | Step::Connect => {}
        }
        self.settle();
    }

    /// Everything is written and answered.
    fn settle(&mut self) {
        self.world.obey();
        while let Some(conn) = self.world.flushes.first().copied() {
            let auths = self.write(conn);
            let replies = std::iter::repeat_n(Frame::simple("OK"), auths);
            self.world.client.handle_frames(self.world.now, conn, replies);
            self.world.obey();
        }
        for conn in asked(&mut self.world).0 {
            self.waiting.push((conn, self.next));
            self.next += 1;
        }
        let closed = std::mem::take(&mut self.world.closed);
        self.waiting.retain(|(conn, _)| !closed.contains(conn));
    }

    /// How many AUTH were written.
    fn write(&mut self, conn: ConnId) -> usize {
        let bytes = written(&mut self.world, conn);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, number)) = text.rsplit_once("key-") {
            self.told.insert(conn, number[..6].parse().unwrap());
        }
        text.matches("*2\r\n$4\r\nAUTH").count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens in whatever order: no connection that serves is left with what was asked for before the last change, and
    /// nothing is left behind the end. RULE-221, INV-11, INV-15
    #[test]
    fn every_connection_ends_up_with_the_newest(steps in steps()) {
        let mut clients = Numbered {
            world: asks(3), next: 1, waiting: Vec::new(), told: BTreeMap::new(), renewed: 0,
        };
        clients.settle();
        for step in steps {
            clients.happen(step);
            let serving = clients.world.client.stats().serving;
            let conns = clients.world.conns().into_iter();
            let ready: Vec<usize> = conns.filter_map(|conn| clients.told.get(&conn).copied()).collect();
            prop_assert!(ready.len() >= serving);
            prop_assert!(ready.iter().all(|number| *number >= clients.renewed), "{ready:?} {}", clients.renewed);
        }
        let now = clients.world.now;
        clients.world.client.shutdown(now, now);
        clients.settle();
        prop_assert!(clients.world.client.is_terminated());
        prop_assert_eq!(clients.world.client.poll_timeout(), None);
    }
}
