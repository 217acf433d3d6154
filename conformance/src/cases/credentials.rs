//! Credentials from a provider: passwords that are rotated, providers that fail, and what is shown of them.

use std::sync::Arc;

use hitless_core::config::Protocol;
use hitless_core::error::{ConnectError, CredentialsError};
use hitless_core::event::Event;
use hitless_core::handshake::{HandshakeError, Stage};
use hitless_core::request::{Pipeline, Request};
use resp3_codec::Frame;

use crate::server::{CloseHow, Fault, Rule, ServerConfig, ServerConn, User};
use crate::testbed::{Testbed, get, incr, millis, set};
use crate::vault::Vault;
use crate::world::Host;

const OLD: &str = "old-s3cret";
const NEW: &str = "new-s3cret";

/// A server with a password, and a client that asks for it.
fn guarded(host: &dyn Host) -> (Testbed, Arc<Vault>) {
    let mut bed = Testbed::builder(host).server(ServerConfig::default().with_password(OLD)).build();
    let vault = Arc::new(Vault::new(None, OLD));
    bed.ask(&vault);
    (bed, vault)
}

/// The password is replaced, at the server first.
fn rotate(bed: &mut Testbed, vault: &Vault) {
    bed.set_password("default", NEW);
    vault.rotate(NEW);
}

fn accepted(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::Reauthenticated { .. }))
}

fn refused(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::ReauthenticationRefused { .. }))
}

/// Dials for which there were no credentials.
fn keyless(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::ConnectFailed { error: ConnectError::Credentials(_), .. }))
}

/// The connections on which AUTH came as a command of its own, from the `skip`th on, in order.
fn authenticated(bed: &mut Testbed, skip: usize) -> Vec<ServerConn> {
    let mut conns: Vec<_> = bed.arrivals("AUTH").into_iter().skip(skip).map(|(_, conn)| conn).collect();
    conns.sort();
    conns
}

/// The last of a connection's requests that carried a password.
fn last_login(bed: &mut Testbed, conn: ServerConn) -> String {
    let asked = bed.requests_on(conn);
    asked.into_iter().rfind(|request| request.contains("s3cret")).unwrap_or_default()
}

/// The password is rotated under load, in either dialect: each connection is authenticated once more, no request notices, and what
/// is dialled later has the new one. RULE-220, RULE-221
pub fn rotation_under_load(host: &dyn Host) {
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let (mut bed, vault) = guarded(host);
        let settings = bed.settings().protocol(protocol);
        bed.connect_with(settings);
        bed.start_load(6);
        bed.run_for(millis(100));
        let before = bed.arrivals("AUTH").len();
        rotate(&mut bed, &vault);
        bed.run_until_soon("every connection has the new password", |bed| accepted(bed) == 3);
        bed.run_for(millis(100));
        bed.assert_hitless(millis(250));
        bed.stop_load();
        let mut conns = bed.connections(bed.a);
        conns.sort();
        assert_eq!(authenticated(&mut bed, before), conns, "{protocol:?}: once for each");
        assert_eq!(vault.asked(), 4, "once for each dial, and once for all");

        bed.lose(1, |bed| bed.kill_one(bed.a));
        bed.run_until_whole();
        let newest = *bed.connections(bed.a).iter().max().expect("it is whole");
        assert!(last_login(&mut bed, newest).contains(NEW));
        assert_eq!((refused(&bed), vault.asked()), (0, 5));
        bed.finish();
    }
}

/// Transactions go on while the password is rotated again and again: each arrives in one piece. RULE-221
pub fn no_transaction_is_cut_in_two(host: &dyn Host) {
    let server = ServerConfig::default().with_user(User::open("app"));
    let mut bed = Testbed::builder(host).server(server).build();
    let vault = Arc::new(Vault::new(Some("app"), OLD));
    bed.ask(&vault);
    bed.connect_pool(1);
    let mut sent = Vec::new();
    for turn in 1..=3 {
        vault.rotate(&format!("{turn}-s3cret"));
        while accepted(&bed) < turn {
            assert!(sent.len() < 1_000, "it takes for ever");
            let atomic = Pipeline::atomic().command(set("k", "v")).command(incr("n"));
            let request: Request = atomic.into_request().expect("shared").expect("not empty");
            sent.push(bed.send_request(request));
            bed.run_for(millis(10));
        }
    }
    for ticket in sent {
        let replies = bed.wait(ticket).expect("nobody notices");
        assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    }
    let conn = bed.connections(bed.a)[0];
    assert_eq!(authenticated(&mut bed, 0), [conn; 3]);
    let mut is_open = false;
    for request in bed.requests_on(conn) {
        assert!(!(is_open && request.starts_with("AUTH")), "inside of a transaction");
        is_open = (is_open || request == "MULTI") && request != "EXEC";
    }
    bed.finish();
}

/// A provider that fails once is asked again: a start succeeds, and in a running client nobody notices. RULE-220
pub fn a_provider_that_fails_once(host: &dyn Host) {
    let (mut bed, vault) = guarded(host);
    vault.fail(3, "429 from the token service");
    bed.connect();
    assert_eq!((keyless(&bed), vault.asked()), (3, 6), "{}", bed.history());
    assert!(bed.history().contains("429 from the token service"));

    vault.fail(1, "429 again");
    bed.kill_one(bed.a);
    bed.run_until_soon("there are no credentials", |bed| keyless(bed) == 4);
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.run_until_whole();
    bed.finish();
}

/// A provider that goes on failing ends a start, and the error says so in its words. RULE-220
pub fn a_start_without_credentials(host: &dyn Host) {
    let (mut bed, vault) = guarded(host);
    vault.fail(1_000, "no identity\nis configured");
    let settings = bed.settings();
    let error = bed.try_connect(settings).expect_err("there are no credentials");
    assert!(matches!(error, ConnectError::GaveUp { attempts: 4, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("the credentials provider failed: no identity is configured"), "{text}");
    assert_eq!(bed.accepted(bed.a), 0, "nothing was dialled");
    bed.finish();
}

/// A provider that does not answer has half of the time of a dial: a start says so, and in a running client the other connections
/// go on. Once it answers the pool is whole again. RULE-220
pub fn a_provider_that_hangs(host: &dyn Host) {
    let (mut bed, vault) = guarded(host);
    vault.hang(true);
    let (settings, before) = (bed.settings().connect_timeout(Some(millis(400))), bed.now());
    let error = bed.try_connect(settings).expect_err("there are no credentials");
    let timed_out = ConnectError::Credentials(CredentialsError::TimedOut(millis(200)));
    assert_eq!(error.last(), &timed_out, "{error}");
    assert!(bed.now() - before <= millis(800) + bed.slack(), "{error}");
    bed.finish();

    let (mut bed, vault) = guarded(host);
    bed.connect();
    vault.hang(true);
    bed.kill_one(bed.a);
    bed.run_until_soon("nobody answers", |bed| keyless(bed) == 1);
    bed.start_load(3);
    bed.run_for(millis(200));
    bed.assert_hitless(millis(250));
    assert_eq!(bed.stats().serving, 2);
    vault.hang(false);
    bed.run_until_whole();
    bed.finish();
}

/// Wrong credentials after a rotation: each connection tells the server's address and goes on, what is dialled is refused, and the
/// right ones mend everything. RULE-222
pub fn wrong_credentials_after_a_rotation(host: &dyn Host) {
    let (mut bed, vault) = guarded(host);
    bed.connect();
    let (conns, peer) = (bed.connections(bed.a), bed.peer(bed.a));
    bed.set_password("default", NEW);
    vault.rotate("wrong-s3cret");
    bed.run_until_soon("they are refused", |bed| refused(bed) == 3);
    let tells = |event: &&Event| {
        matches!(event, Event::ReauthenticationRefused { peer: at, code, .. }
            if *at == peer && code.as_str() == "WRONGPASS")
    };
    assert_eq!(bed.count(tells), 3, "{}", bed.history());
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    assert_eq!(bed.connections(bed.a), conns);

    bed.kill_one(bed.a);
    let is_refused = |event: &&Event| match event {
        Event::ConnectFailed { error: ConnectError::Handshake(error), .. } => {
            matches!(error, HandshakeError::Refused { stage: Stage::Hello, .. })
        }
        _ => false,
    };
    bed.run_until_soon("the dial is refused", |bed| bed.count(is_refused) >= 1);
    assert_eq!(bed.call(incr("n")), Frame::Integer(2));
    vault.rotate(NEW);
    bed.run_until_soon("the others have the right ones", |bed| accepted(bed) == 2);
    bed.run_until_whole();
    bed.finish();
}

/// New credentials that cannot be had are an event, and are asked for again. RULE-223
pub fn a_renewal_that_fails(host: &dyn Host) {
    let (mut bed, vault) = guarded(host);
    bed.connect();
    vault.fail(1, "no token yet");
    rotate(&mut bed, &vault);
    let failed = |event: &&Event| matches!(event, Event::CredentialsFailed { .. });
    bed.run_until_soon("there are none", |bed| bed.count(failed) == 1);
    assert_eq!((accepted(&bed), bed.stats().serving), (0, 3));
    assert_eq!(bed.call(get("none")), Frame::Null);
    bed.run_until_soon("they come later", |bed| accepted(bed) == 3);
    assert_eq!((bed.count(failed), vault.asked()), (1, 5));
    bed.finish();
}

/// A pool moves while the password is rotated: no request fails, and every connection at the target has the new one. RULE-221
pub fn a_handoff_during_a_rotation(host: &dyn Host) {
    let (mut bed, vault) = guarded(host);
    bed.connect();
    bed.start_load(4);
    bed.rule(Rule::new(Fault::Delay(millis(30))).on("HELLO").always());
    bed.run_for(millis(100));
    bed.moving(bed.a, bed.b, 5);
    bed.run_for(millis(15));
    rotate(&mut bed, &vault);
    bed.run_until_all_at(bed.b);
    let b = bed.b;
    bed.run_until_soon("all have the new one", |bed| {
        bed.connections(b).into_iter().all(|conn| last_login(bed, conn).contains(NEW))
    });
    bed.assert_hitless(millis(500));
    bed.stop_load();
    for conn in bed.connections(b) {
        assert!(last_login(&mut bed, conn).contains(NEW), "{}", bed.history());
    }
    bed.finish();
}

/// What a provider returns is in no error and in no event, whatever becomes of it: neither user nor password. RULE-224
pub fn nothing_is_shown(host: &dyn Host) {
    let server = ServerConfig::default().with_password("other").with_user(User::new("s3cret-user", OLD));
    let mut bed = Testbed::builder(host).server(server).build();
    let vault = Arc::new(Vault::new(Some("s3cret-user"), OLD));
    bed.ask(&vault);
    let settings = bed.settings();
    let mut shown = vec![format!("{settings:?}")];
    bed.connect_with(settings);
    vault.fail(1, "the token old-s3cret has expired");
    bed.kill_one(bed.a);
    bed.run_until_soon("there are no credentials", |bed| keyless(bed) == 1);
    bed.run_until_whole();
    let echo = Frame::error("WRONGPASS invalid password 'wrong-s3cret' of s3cret-user");
    for words in ["AUTH", "HELLO"] {
        bed.rule(Rule::new(Fault::Refuse(echo.clone())).on(words).always());
    }
    vault.rotate("wrong-s3cret");
    bed.run_until_soon("they are refused", |bed| refused(bed) == 3);
    vault.fail(1_000, "there is no wrong-s3cret any more");
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("there are none", |bed| keyless(bed) >= 2);
    let waiting = bed.send(incr("n"));
    let error = bed.error(waiting);
    shown.push(format!("{error} {error:?}"));
    shown.push(format!("{:?}", bed.stats()));
    shown.push(bed.history());
    let now = bed.now();
    shown.extend(bed.events().map(|event| event.line(now).to_string()));
    for text in shown {
        assert!(!text.contains("s3cret"), "{text}");
    }
    bed.server(|server, _| server.clear_rules());
    bed.finish();
}
