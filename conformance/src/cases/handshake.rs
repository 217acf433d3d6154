//! The handshake: what is asked of a server, and what its answers mean.

use std::time::Instant;

use hitless_core::config::{ConfigError, Protocol};
use hitless_core::error::ConnectError;
use hitless_core::event::{Event, Ignored};
use hitless_core::handshake::{HandshakeError, Stage};
use hitless_core::mode::{Mode, RECHECK_AFTER};
use resp3_codec::{Frame, cmd};

use crate::server::{CloseHow, Fault, Hello, Notice, OptIn, Rule, ServerConfig, push_frame};
use crate::testbed::{SECOND, Testbed, encoded, get, incr, maintenance, millis, set};
use crate::world::Host;

/// How many connections became ready, and whether they are told of maintenance.
fn ready(bed: &Testbed, is_notified: bool) -> usize {
    bed.count(|event| matches!(event, Event::ConnectionReady { notified, .. } if *notified == is_notified))
}

fn opted_in(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::OptedIn { .. }))
}

fn refusals(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::OptInRefused { .. }))
}

/// Everything is asked in one write: no request waits for the reply to another one. RULE-01, RULE-20
pub fn one_round_trip(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.rule(Rule::new(Fault::Delay(millis(400))).on("HELLO"));
    let settings = bed.settings().pool_size(1).database(2).client_name("case");
    bed.connect_with(settings);
    let conn = bed.connections(bed.a)[0];
    let asked = bed.requests_on(conn);
    let expected = [
        "HELLO 3 SETNAME case",
        "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
        "SELECT 2",
        "CLIENT SETINFO LIB-NAME hitless",
    ];
    assert_eq!(asked[..4], expected);
    assert!(asked.len() == 5 && asked[4].starts_with("CLIENT SETINFO LIB-VER "), "{asked:?}");
    let a = bed.a;
    let times: Vec<Instant> =
        bed.server(|server, _| server.ledger().received_at(a).map(|(entry, _)| entry.at).collect());
    assert!(times[4] - times[0] < millis(200), "the last one did not wait for the reply to the first one");
    bed.finish();
}

/// What each mode does with each answer to the opt-in. INV-17, RULE-09, RULE-12, RULE-13
pub fn modes_and_opt_ins(host: &dyn Host) {
    let (refused, unclear) =
        ([OptIn::UnknownSubcommand, OptIn::NoPermission], [OptIn::Loading, OptIn::OtherError]);
    for opt_in in [OptIn::Supported].into_iter().chain(refused).chain(unclear) {
        for mode in Mode::ALL {
            let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_opt_in(opt_in)).build();
            let settings = bed.settings().pool_size(1).maintenance(maintenance(|it| it.mode(mode)));
            let result = bed.try_connect(settings);
            let (row, asked) = (format!("{mode} {opt_in:?}: {result:?}"), bed.opt_ins(bed.a));
            match (mode, result.as_ref().map_err(ConnectError::last)) {
                (Mode::Disabled, Ok(())) => assert_eq!(asked, 0, "{row}"),
                (Mode::Auto, Ok(())) => assert_eq!(asked, 1, "{row}"),
                (Mode::Enabled, Ok(())) => assert_eq!(opt_in, OptIn::Supported, "{row}"),
                (Mode::Enabled, Err(ConnectError::Handshake(HandshakeError::MaintenanceRefused { .. }))) => {
                    assert!(refused.contains(&opt_in) && asked == 1, "trying again is of no use: {row}");
                }
                (Mode::Enabled, Err(ConnectError::Handshake(HandshakeError::Refused { stage, .. }))) => {
                    assert!(unclear.contains(&opt_in) && *stage == Stage::OptIn, "{row}");
                    assert!(asked > 1, "it may succeed a little later: {row}");
                }
                _ => panic!("{row}"),
            }
            let is_notified = mode != Mode::Disabled && opt_in == OptIn::Supported;
            assert_eq!(ready(&bed, is_notified), usize::from(result.is_ok()), "{row}");
            if result.is_ok() {
                assert_eq!(bed.call(incr("n")), Frame::Integer(1));
            }
            bed.finish();
        }
    }
}

/// What each mode does with a server that has no RESP3: the mode `enabled` refuses, the others speak RESP2 over the
/// same link. INV-17, RULE-03, RULE-11
pub fn modes_and_resp2_servers(host: &dyn Host) {
    for hello in [Hello::Unknown, Hello::NoProto] {
        for mode in Mode::ALL {
            let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_hello(hello)).build();
            let settings = bed.settings().pool_size(1).maintenance(maintenance(|it| it.mode(mode)));
            let result = bed.try_connect(settings.database(3).client_name("case"));
            assert_eq!(bed.accepted(bed.a), 1, "{mode} {hello:?}: one link");
            if mode == Mode::Enabled {
                let refused = ConnectError::is_transient(&result.expect_err("no RESP3, no notifications"));
                assert!(!refused, "trying again is of no use");
            } else {
                assert_eq!(result, Ok(()), "{mode} {hello:?}");
                assert_eq!(bed.call(incr("n")), Frame::Integer(1));
                assert_eq!(bed.call(get("none")), Frame::NullBulk, "it is RESP2");
                let conn = bed.connections(bed.a)[0];
                let asked = bed.requests_on(conn);
                for again in ["SELECT 3", "CLIENT SETNAME case"] {
                    assert!(asked.iter().any(|request| request == again), "{again}: {asked:?}");
                }
            }
            bed.finish();
        }
    }
}

/// Whoever configures RESP2 is not opted in, and cannot demand it. INV-17, RULE-10
pub fn configured_resp2_opts_in_to_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().protocol(Protocol::Resp2);
    let enabled = settings.clone().maintenance(maintenance(|it| it.mode(Mode::Enabled)));
    assert_eq!(enabled.build().err(), Some(ConfigError::EnabledNeedsResp3));
    bed.connect_with(settings);
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    assert_eq!((bed.opt_ins(bed.a), refusals(&bed)), (0, 0));
    bed.finish();
}

/// A server that does not know the opt-in is an ordinary server: the whole pool connects, and one event says so.
/// PITFALL-22, RULE-12
pub fn one_quiet_refusal(host: &dyn Host) {
    let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_opt_in(OptIn::UnknownSubcommand)).build();
    bed.connect_pool(5);
    assert_eq!(bed.accepted(bed.a), 5, "nothing was dialled twice");
    assert_eq!(refusals(&bed), 1);
    let failures = bed.count(|event| matches!(event, Event::ConnectFailed { .. }));
    assert_eq!(failures, 0, "{}", bed.history());
    let asked = bed.opt_ins(bed.a);
    bed.lose(1, |bed| bed.kill_one(bed.a));
    bed.run_until_whole();
    assert_eq!((bed.opt_ins(bed.a), refusals(&bed)), (asked, 1), "it is not asked again soon");
    bed.finish();
}

/// LOADING says nothing about support: the next connection asks again, and when it is heard so does the one that was
/// not. PITFALL-20, RULE-13, RULE-19
pub fn loading_disables_nothing(host: &dyn Host) {
    let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_opt_in(OptIn::Loading)).build();
    bed.connect_pool(2);
    assert_eq!((ready(&bed, false), refusals(&bed)), (2, 0));
    let a = bed.a;
    bed.server(|server, _| server.set_opt_in(a, OptIn::Supported));
    bed.kill_one(bed.a);
    bed.run_until_soon("the new connection opts in", |bed| ready(bed, true) == 1);
    bed.run_until_soon("the other one opts in", |bed| opted_in(bed) == 1);
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    bed.finish();
}

/// A refusal is believed for ten minutes; then one connection asks again, and when it is heard all do. PITFALL-20,
/// RULE-16, RULE-18, RULE-19
pub fn a_refusal_expires(host: &dyn Host) {
    let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_opt_in(OptIn::NoPermission)).build();
    bed.connect_pool(2);
    let asked = bed.opt_ins(bed.a);
    let a = bed.a;
    bed.server(|server, _| server.set_opt_in(a, OptIn::Supported));
    bed.run_for(RECHECK_AFTER - SECOND);
    bed.kill_one(bed.a);
    bed.run_until_soon("it connects again", |bed| ready(bed, false) == 3);
    assert_eq!(bed.opt_ins(bed.a), asked);
    bed.run_for(SECOND);
    bed.kill_one(bed.a);
    bed.run_until_soon("it connects again", |bed| ready(bed, true) == 1);
    bed.run_until_soon("the other one opts in", |bed| opted_in(bed) == 1);
    assert_eq!(bed.opt_ins(bed.a), asked + 2, "{}", bed.history());
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    bed.finish();
}

/// Something between client and server closes the link at the opt-in: the next dial leaves it out, at once. In the mode
/// `enabled` that is an error. PITFALL-21, INV-17, RULE-14
pub fn link_closed_at_the_opt_in(host: &dyn Host) {
    for how in [CloseHow::Fin, CloseHow::Reset] {
        let closes =
            |host| Testbed::builder(host).endpoints(|spec| spec.with_opt_in(OptIn::ClosesLink(how))).build();
        let mut bed: Testbed = closes(host);
        bed.connect_pool(3);
        assert_eq!((ready(&bed, false), refusals(&bed)), (3, 1), "{}", bed.history());
        let accepted = bed.accepted(bed.a);
        assert!(accepted <= 6, "one more dial for each connection: {accepted}");
        assert_eq!(bed.call(incr("n")), Frame::Integer(1));
        bed.kill_one(bed.a);
        bed.run_until_soon("it connects again", |bed| ready(bed, false) == 4);
        assert_eq!(bed.accepted(bed.a), accepted + 1, "what was learnt is remembered");
        bed.finish();

        let mut bed = closes(host);
        let settings = bed.settings().pool_size(1).maintenance(maintenance(|it| it.mode(Mode::Enabled)));
        let error = bed.try_connect(settings).expect_err("no notifications");
        assert!(matches!(error.last(), ConnectError::LostInHandshake(_)), "{error}");
        bed.finish();
    }
}

/// Old servers echo the arguments of a command that they do not know, the password among them. It is in no error and in
/// no event, whatever becomes of the handshake. PITFALL-35, RULE-06
pub fn the_password_appears_nowhere(host: &dyn Host) {
    const PASSWORD: &str = "a-Secret-5ee0";
    let echo = Frame::error(format!("WRONGPASS invalid password '{PASSWORD}' for {PASSWORD}"));
    for (mode, hello, answer, connects) in [
        (Mode::Auto, Hello::Unknown, None, true),
        (Mode::Enabled, Hello::Unknown, None, false),
        (Mode::Auto, Hello::Supported, Some(echo.clone()), false),
        // Words that say nothing are a reason for RESP2.
        (Mode::Auto, Hello::Supported, Some(Frame::error(PASSWORD)), true),
        (Mode::Enabled, Hello::Supported, Some(Frame::error(PASSWORD)), false),
        (Mode::Auto, Hello::Unknown, Some(echo), false),
    ] {
        let server = ServerConfig::default().with_password(PASSWORD);
        let mut bed = Testbed::builder(host).server(server).endpoints(|spec| spec.with_hello(hello)).build();
        if let Some(frame) = &answer {
            let refused = if hello == Hello::Unknown { "AUTH" } else { "HELLO" };
            bed.rule(Rule::new(Fault::Refuse(frame.clone())).on(refused).always());
        }
        let settings =
            bed.settings().credentials(None, PASSWORD).maintenance(maintenance(|it| it.mode(mode)));
        let shown = format!("{settings:?}");
        let result = bed.try_connect(settings);
        assert_eq!(result.is_ok(), connects, "{result:?}");
        let error = result.err().map(|error| format!("{error} {error:?}")).unwrap_or_default();
        for text in [shown, error, bed.history()] {
            assert!(!text.contains(PASSWORD), "{text}");
        }
        bed.finish();
    }
}

/// A wrong password is an error, at once: it is neither retried nor taken for a server without RESP3. RULE-04
pub fn a_wrong_password_is_an_error(host: &dyn Host) {
    let server = || ServerConfig::default().with_password("right");
    for (password, code) in [(Some("wrong"), "WRONGPASS"), (None, "NOAUTH")] {
        let mut bed = Testbed::builder(host).server(server()).build();
        let mut settings = bed.settings();
        if let Some(password) = password {
            settings = settings.credentials(None, password);
        }
        let error = bed.try_connect(settings).expect_err("the password is wrong");
        match error.last() {
            ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Hello, code: found }) => {
                assert_eq!(found.as_str(), code);
            }
            other => panic!("{code}: {other:?}"),
        }
        assert!(bed.accepted(bed.a) <= 3, "one dial for each connection at most");
        bed.finish();
    }
}

/// A database that does not exist is an error; what is said about the library is not worth one. RULE-05
pub fn only_what_matters_is_an_error(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).database(99);
    let error = bed.try_connect(settings).expect_err("there are 16 databases");
    let is_select =
        matches!(error.last(), ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Select, .. }));
    assert!(is_select, "{error:?}");
    bed.finish();

    let mut bed = Testbed::new(host);
    bed.rule(Rule::new(Fault::Refuse(Frame::error("ERR unknown subcommand"))).on("CLIENT SETINFO").always());
    bed.connect();
    assert_eq!(ready(&bed, true), 3);
    bed.finish();
}

/// Pushes may come before and after every reply of the handshake, and change nothing. PITFALL-32, PITFALL-28, RULE-32
pub fn pushes_between_the_replies(host: &dyn Host) {
    let pushes = encoded(&[
        push_frame(&["invalidate", "key"]),
        push_frame(&["MIGRATED", "9", "[\"1\"]"]),
        push_frame(&["message", "OK", "OK"]),
    ]);
    for command in ["HELLO", "CLIENT MAINT_NOTIFICATIONS", "SELECT", "CLIENT SETINFO"] {
        let mut bed = Testbed::new(host);
        bed.rule(Rule::new(Fault::Before(pushes.clone())).on(command).always());
        bed.rule(Rule::new(Fault::After(pushes.clone())).on(command).always());
        let settings = bed.settings().database(1);
        bed.connect_with(settings);
        assert_eq!(ready(&bed, true), 3, "{command}");
        let ignored =
            |event: &&Event| matches!(event, Event::NotificationIgnored { reason: Ignored::NothingOpen, .. });
        assert!(bed.count(ignored) >= 6, "{command}\n{}", bed.history());
        assert_eq!(bed.call(incr("n")), Frame::Integer(1));
        bed.finish();
    }
}

/// The last completion is sent again after every opt-in, however old it is: no window opens or closes. PITFALL-28,
/// RULE-37
pub fn a_retained_completion_is_a_no_op(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.server(|server, now| {
        server.migrating(now, Notice::new(SECOND));
        server.migrated(now, Notice::default());
    });
    let settings = bed.settings().command_timeout(Some(millis(200)));
    bed.connect_with(settings);
    let windows = |event: &&Event| matches!(event, Event::WindowOpened { .. } | Event::WindowClosed { .. });
    assert_eq!(bed.count(windows), 0);
    assert_eq!(bed.count(|event| matches!(event, Event::NotificationIgnored { .. })), 3);
    bed.slow_down(bed.a, millis(900));
    let ticket = bed.send(get("k"));
    let error = bed.error(ticket);
    assert!(error.to_string().contains("no reply"), "timeouts are as configured: {error}");
    bed.finish();
}

/// Database and name are in place at the target before the first request arrives there. PITFALL-04, RULE-88
pub fn session_state_moves(host: &dyn Host) {
    let server = ServerConfig::default().with_password("right");
    let mut bed = Testbed::builder(host).server(server).build();
    let settings = bed.settings().pool_size(1).credentials(None, "right").database(5).client_name("case");
    bed.connect_with(settings.setup(set("setup", "ran")));
    assert_eq!(bed.call(set("k", "five")), Frame::simple("OK"));
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.call(get("k")), Frame::bulk("five"));
    assert_eq!(bed.call(cmd("CLIENT").arg("GETNAME")), Frame::bulk("case"));
    let conn = bed.connections(bed.b)[0];
    let asked = bed.requests_on(conn);
    assert_eq!(asked[0], "HELLO 3 AUTH default right SETNAME case");
    let at = |wanted: &str| asked.iter().position(|request| request == wanted);
    assert!(at("SELECT 5").is_some() && at("SELECT 5") < at("GET k"), "{asked:?}");
    assert!(at("SET setup ran").is_some() && at("SET setup ran") < at("GET k"), "{asked:?}");
    bed.finish();
}

/// Without a push the bytes are those of the mode `disabled`, but for the opt-in. INV-16
pub fn transparent_without_a_push(host: &dyn Host) {
    let said = |mode: Mode| {
        let mut bed = Testbed::new(host);
        let settings = bed.settings().pool_size(1).maintenance(maintenance(|it| it.mode(mode)));
        bed.connect_with(settings);
        for turn in 0..20 {
            bed.call(set("k", &turn.to_string()));
            bed.call(get("k"));
        }
        let conn = bed.connections(bed.a)[0];
        let said = bed.requests_on(conn);
        bed.finish();
        said
    };
    let without = said(Mode::Disabled);
    for mode in [Mode::Auto, Mode::Enabled] {
        let mut with = said(mode);
        assert!(with.remove(1).starts_with("CLIENT MAINT_NOTIFICATIONS"));
        assert_eq!(with, without, "{mode}");
    }
}

/// A client whose server cannot be reached says so after a few attempts, with the address and the cause, and is gone.
/// RULE-132, RULE-238
pub fn nobody_answers(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.refuse(bed.a, None);
    let settings = bed.settings();
    let error = bed.try_connect(settings).expect_err("dials are refused");
    let ConnectError::Connect(refused) = error.last() else { panic!("{error:?}") };
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(refused.place(), Some(bed.address(bed.a).to_string().as_str()), "{error}");
    bed.finish();

    let mut bed = Testbed::new(host);
    bed.black_hole(bed.a, None);
    let limit = millis(100) + bed.slack();
    let settings = bed.settings().connect_timeout(Some(limit));
    let error = bed.try_connect(settings).expect_err("dials are not answered");
    // Of sockets the system takes connections that the server does not.
    let (gone, hung) = (ConnectError::TimedOut(limit), ConnectError::HandshakeTimedOut(limit));
    assert!([gone, hung].contains(error.last()), "{error:?}");
    bed.finish();

    // One that takes connections is told from one that is not there.
    let mut bed = Testbed::new(host);
    bed.rule(Rule::new(Fault::Unanswered).always());
    let limit = millis(100) + bed.slack();
    let settings = bed.settings().connect_timeout(Some(limit));
    let error = bed.try_connect(settings).expect_err("the handshake is not answered");
    assert_eq!(error.last(), &ConnectError::HandshakeTimedOut(limit));
    bed.finish();
}
