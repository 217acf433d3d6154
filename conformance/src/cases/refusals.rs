//! Servers and proxies that do not take the whole handshake: they refuse HELLO in words of their own, or close the link at
//! what they do not know.

use hitless_core::config::{ConfigBuilder, Protocol};
use hitless_core::error::{ConnectError, ErrorCode};
use hitless_core::event::Event;
use hitless_core::handshake::{HandshakeError, Stage};
use hitless_core::mode::{Mode, RECHECK_AFTER};
use resp3_codec::Frame;

use crate::server::script::greeting;
use crate::server::{CloseHow, Fault, Rule, ServerConfig};
use crate::testbed::{SECOND, Testbed, get, incr, maintenance};
use crate::world::Host;

/// What servers and proxies were seen to say to HELLO, and what they might say.
const WORDS: [&str; 6] = [
    "unsupported command 'HELLO'",
    "ERR unsupported command",
    "ERR syntax error",
    "ERR Protocol error",
    "HELLO is not allowed here",
    "Command is not allowed",
];

/// The codes with which the client said that it fell back.
fn fell_back(bed: &Testbed) -> Vec<Option<String>> {
    let told = bed.events().filter_map(|event| match event {
        Event::FellBack { code, .. } => Some(code.as_ref().map(|code| code.as_str().to_owned())),
        _ => None,
    });
    told.collect()
}

/// How many handshakes an endpoint has seen begin with HELLO.
fn hellos(bed: &mut Testbed) -> usize {
    bed.arrivals("HELLO").len()
}

fn refuse_hello(bed: &mut Testbed, frame: Frame) {
    bed.rule(Rule::new(Fault::Refuse(frame)).on("HELLO").always());
}

/// Serves as RESP2: requests are answered, and nulls are those of RESP2.
fn assert_resp2(bed: &mut Testbed) {
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    assert_eq!(bed.call(get("none")), Frame::NullBulk, "it is RESP2");
}

/// HELLO is refused in other words, or answered as RESP2: where RESP3 has never worked the client speaks RESP2, with AUTH,
/// SELECT and the name as commands of their own, and says so once. RULE-149
pub fn hello_in_other_words(host: &dyn Host) {
    let errors = WORDS.map(Frame::error);
    let array: Vec<Frame> = match greeting(2, 7) {
        Frame::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        other => panic!("{other:?}"),
    };
    let noauth = Frame::error("NOAUTH Authentication required.");
    for answer in errors.into_iter().chain([greeting(2, 7), Frame::Array(array), noauth]) {
        let server = ServerConfig::default().with_password("right");
        let mut bed = Testbed::builder(host).server(server).build();
        refuse_hello(&mut bed, answer.clone());
        let settings = bed.settings().credentials(None, "right").database(3).client_name("case");
        bed.connect_with(settings);
        assert_resp2(&mut bed);
        let code = answer.as_error().map(|text| ErrorCode::of(text).as_str().to_owned());
        let code = code.map(|code| if code == "HELLO" { "ERR".to_owned() } else { code });
        assert_eq!(fell_back(&bed), [code], "{}", bed.history());
        // The server hears a little later that the refused ones were given up.
        bed.run_until_soon("only those are left that serve", |bed| bed.connections(bed.a).len() == 3);
        let conn = bed.connections(bed.a)[0];
        let asked = bed.requests_on(conn);
        assert_eq!(asked[..3], ["AUTH right", "SELECT 3", "CLIENT SETNAME case"], "{answer:?}");
        assert!(asked.iter().any(|request| request == "PING"), "{asked:?}");

        // What was found out is known: nobody asks again soon.
        let before = hellos(&mut bed);
        assert!(before <= 3, "one for each connection at most: {before}");
        bed.lose(1, |bed| bed.kill_one(bed.a));
        bed.run_until_whole();
        assert_eq!((hellos(&mut bed), fell_back(&bed).len()), (before, 1));
        bed.finish();
    }
}

/// Where RESP3 has worked the same words pass: the client waits for RESP3 and is not downgraded. RULE-149
pub fn no_silent_downgrade(host: &dyn Host) {
    let close = || Rule::new(Fault::CloseUnexecuted(CloseHow::Reset)).on("HELLO").always();
    let words = || Rule::new(Fault::Refuse(Frame::error("ERR no upstream"))).on("HELLO").always();
    let map = || Rule::new(Fault::Refuse(greeting(2, 7))).on("HELLO").always();
    for rule in [close(), words(), map()] {
        let mut bed = Testbed::new(host);
        bed.connect_pool(2);
        bed.rule(rule);
        bed.kill_all(bed.a, CloseHow::Fin);
        bed.run_until_soon("dials fail", |bed| {
            bed.count(|event| matches!(event, Event::ConnectFailed { .. })) >= 4
        });
        assert_eq!(bed.stats().serving, 0, "{}", bed.history());
        bed.server(|server, _| server.clear_rules());
        bed.run_until_whole();
        assert!(fell_back(&bed).is_empty(), "{}", bed.history());
        assert_eq!(bed.call(get("none")), Frame::Null, "it is RESP3");
        bed.finish();
    }
}

/// RESP2 that does not answer is no way out: the connect error stands, and the same is asked for again later. RULE-149
pub fn resp2_has_to_answer(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.rule(Rule::new(Fault::Refuse(Frame::error("ERR no upstream host"))).always());
    let settings = bed.settings().pool_size(1);
    let error = bed.try_connect(settings).expect_err("nothing answers");
    let ConnectError::Handshake(last) = error.last() else { panic!("{error:?}") };
    // RESP2 is tried at once behind the first refusal, and then in turn with RESP3.
    let refused = matches!(
        last,
        HandshakeError::HelloRefused { .. } | HandshakeError::Refused { stage: Stage::Ping, .. }
    );
    assert!(refused && error.is_transient(), "{error:?}");
    assert!(!bed.arrivals("PING").is_empty(), "RESP2 was asked for");
    assert!(hellos(&mut bed) > 1, "it may succeed a little later");
    assert!(fell_back(&bed).is_empty());
    bed.finish();
}

/// Other modes do not fall back: in `enabled` notifications are wanted, in `disabled` RESP3. RULE-149
pub fn other_modes_do_not_fall_back(host: &dyn Host) {
    for mode in [Mode::Disabled, Mode::Enabled] {
        let mut bed = Testbed::new(host);
        refuse_hello(&mut bed, Frame::error("ERR syntax error"));
        let settings = bed.settings().pool_size(1).maintenance(maintenance(|it| it.mode(mode)));
        let error = bed.try_connect(settings).expect_err("no RESP3");
        let expected = HandshakeError::HelloRefused { code: Some(ErrorCode::of(b"ERR")) };
        assert_eq!(*error.last(), ConnectError::Handshake(expected), "{mode}");
        bed.finish();
    }
}

/// A proxy that closes the link at every command it does not know, which are HELLO and CLIENT: the client asks for less until
/// something answers, remembers it, and says so. With RESP2 configured it does without CLIENT, and finds that out as well.
/// RULE-150
pub fn links_that_close_at_what_they_do_not_know(host: &dyn Host) {
    for how in [CloseHow::Fin, CloseHow::Reset] {
        for (protocol, dials) in [(Protocol::Resp3, 3), (Protocol::Resp2, 2)] {
            let server = ServerConfig::default().with_password("right");
            let mut bed = Testbed::builder(host).server(server).build();
            for command in ["HELLO", "CLIENT"] {
                bed.rule(Rule::new(Fault::CloseUnexecuted(how)).on(command).always());
            }
            let settings = bed.settings().protocol(protocol).pool_size(1).credentials(None, "right");
            bed.connect_with(settings.client_name("case").database(3));
            assert_resp2(&mut bed);
            assert_eq!(bed.accepted(bed.a), dials, "{}", bed.history());
            assert_eq!(fell_back(&bed), [None]);
            let conn = bed.connections(bed.a)[0];
            assert_eq!(bed.requests_on(conn)[..3], ["AUTH right", "SELECT 3", "PING"]);
            bed.lose(1, |bed| bed.kill_one(bed.a));
            bed.run_until_whole();
            assert_eq!(bed.accepted(bed.a), dials + 1, "what was learnt is remembered");
            bed.finish();
        }
    }
}

/// A whole pool behind such a proxy connects with a few dials more, and no pause. RULE-150
pub fn a_pool_behind_such_a_proxy(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    for command in ["HELLO", "CLIENT"] {
        bed.rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Fin)).on(command).always());
    }
    bed.connect_pool(8);
    let accepted = bed.accepted(bed.a);
    assert!(accepted <= 24, "three dials for each connection at most: {accepted}");
    assert_eq!(fell_back(&bed).len(), 1, "{}", bed.history());
    bed.finish();
}

/// Without telling of the library, RESP2 needs no CLIENT, and one dial is enough. RULE-152
pub fn without_client_info(host: &dyn Host) {
    let connected = |change: fn(ConfigBuilder) -> ConfigBuilder| {
        let mut bed = Testbed::new(host);
        let settings = change(bed.settings().pool_size(1).client_info(false));
        bed.rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Fin)).on("CLIENT SETINFO").always());
        bed.connect_with(settings);
        assert_eq!(bed.call(incr("n")), Frame::Integer(1));
        assert_eq!(bed.accepted(bed.a), 1, "{}", bed.history());
        let conn = bed.connections(bed.a)[0];
        let asked = bed.requests_on(conn);
        bed.finish();
        asked
    };
    assert_eq!(connected(|it| it.protocol(Protocol::Resp2)), ["PING", "INCR n"]);
    let asked = connected(|it| it);
    assert!(asked.len() == 3 && asked[1].starts_with("CLIENT MAINT_NOTIFICATIONS"), "{asked:?}");
}

/// After ten minutes one connection asks for everything again, and when it is heard RESP3 is back. RULE-149
pub fn asked_again_later(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    refuse_hello(&mut bed, Frame::error("unsupported command 'HELLO'"));
    bed.connect_pool(2);
    let before = hellos(&mut bed);
    bed.run_for(RECHECK_AFTER - SECOND);
    bed.kill_one(bed.a);
    bed.run_until_soon("one is lost", |bed| bed.stats().serving == 1);
    bed.run_until_whole();
    assert_eq!(hellos(&mut bed), before, "not yet");
    bed.run_for(SECOND * 2);
    bed.server(|server, _| server.clear_rules());
    bed.kill_one(bed.a);
    bed.run_until_soon("one is told of maintenance", |bed| {
        bed.count(|event| matches!(event, Event::ConnectionReady { notified: true, .. })) == 1
    });
    assert_eq!(hellos(&mut bed), before + 1);
    bed.finish();
}
