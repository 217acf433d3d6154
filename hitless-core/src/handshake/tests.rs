use bytes::Bytes;
use resp3_codec::{Decoder, Limits};

use super::*;
use crate::config::maintenance;
use crate::endpoint::Endpoint;
use crate::mode::Mode;

const SECRET: &str = "sesame-open";

fn config(mode: Mode) -> Arc<Config> {
    let maintenance = maintenance::Config::builder().mode(mode).build().unwrap();
    let config = Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap())
        .credentials(Some("ann"), SECRET)
        .client_name("app")
        .database(2)
        .maintenance(maintenance)
        .build()
        .unwrap();
    Arc::new(config)
}

fn begin(mode: Mode, probe: Probe) -> (Handshake, BytesMut) {
    let mut buffer = BytesMut::new();
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 6379)));
    let config = config(mode);
    let handshake = Handshake::begin(&config, config.credentials().cloned(), probe, &peer, &mut buffer);
    (handshake, buffer)
}

/// The commands in `buffer`, one string each.
fn commands(buffer: &mut BytesMut) -> Vec<String> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.buffer().extend_from_slice(&buffer.split());
    let mut commands = Vec::new();
    while let Some(frame) = decoder.poll_frame().unwrap() {
        let words = frame.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        commands.push(words.collect::<Vec<_>>().join(" "));
    }
    commands
}

fn hello() -> Frame {
    Frame::Map(vec![
        (Frame::bulk("server"), Frame::bulk("redis")),
        (Frame::bulk("proto"), Frame::Integer(3)),
        (Frame::bulk("id"), Frame::Integer(77)),
    ])
}

fn ok() -> Frame {
    Frame::Simple(Bytes::from_static(b"OK"))
}

fn error(text: &str) -> Frame {
    Frame::Error(Bytes::copy_from_slice(text.as_bytes()))
}

/// Feeds the replies until the handshake says something else than "more".
fn feed(
    handshake: &mut Handshake,
    buffer: &mut BytesMut,
    replies: &[Frame],
) -> Result<Progress, HandshakeError> {
    for reply in replies {
        match handshake.handle_reply(reply, buffer)? {
            Progress::Pending => {}
            progress => return Ok(progress),
        }
    }
    Ok(Progress::Pending)
}

/// Setup commands follow when HELLO was accepted, and at the end of a handshake in RESP2; the first that is refused is
/// an error of the connection. RULE-07
#[test]
fn setup_commands_are_run_before_the_connection_serves() {
    let tracking = cmd("CLIENT").arg("TRACKING").arg("ON");
    let endpoint = Endpoint::parse("127.0.0.1", 6379).unwrap();
    let config = Config::builder(endpoint).setup(tracking).setup(cmd("READONLY")).build().unwrap();
    let config = Arc::new(config);
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 6379)));
    let setup = ["CLIENT TRACKING ON", "READONLY"];

    let mut buffer = BytesMut::new();
    let mut handshake =
        Handshake::begin(&config, config.credentials().cloned(), Probe::OptIn, &peer, &mut buffer);
    assert_eq!(commands(&mut buffer).len(), 4);
    assert_eq!(feed(&mut handshake, &mut buffer, &[hello()]), Ok(Progress::Write));
    assert_eq!(commands(&mut buffer), setup);
    let replies = [ok(), ok(), ok(), ok()];
    assert_eq!(feed(&mut handshake, &mut buffer, &replies), Ok(Progress::Pending));
    let mut refused = handshake.clone();
    assert!(matches!(feed(&mut handshake, &mut buffer, &[ok()]), Ok(Progress::Done(_))));
    let code = ErrorCode::of(b"NOPERM");
    let failure = feed(&mut refused, &mut buffer, &[error(&format!("NOPERM {SECRET}"))]).unwrap_err();
    assert_eq!(
        failure,
        HandshakeError::Refused { stage: Stage::Setup(SetupCommand::new(2, b"READONLY")), code }
    );

    let mut handshake =
        Handshake::begin(&config, config.credentials().cloned(), Probe::OptIn, &peer, &mut buffer);
    commands(&mut buffer);
    feed(&mut handshake, &mut buffer, &[error("NOPROTO")]).unwrap();
    assert_eq!(commands(&mut buffer)[..2], setup);
}

/// It travels with the rest; a refusal is remembered, and so is that a link was not asked. RULE-407
#[cfg(feature = "driver")]
#[test]
fn readonly_is_asked_for_and_may_be_refused() {
    let endpoint = Endpoint::parse("127.0.0.1", 6379).unwrap();
    let config = Config::builder(endpoint).client_info(false).send_readonly(true);
    let config = Arc::new(config.build().unwrap());
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 6379)));
    let begin = |probe, buffer: &mut BytesMut| Handshake::begin(&config, None, probe, &peer, buffer);
    let unknown = || error("ERR unknown command 'READONLY'");
    for (reply, is_refused) in [(ok(), false), (unknown(), true), (error("NOPERM no"), true)] {
        let mut buffer = BytesMut::new();
        let mut handshake = begin(Probe::Skip, &mut buffer);
        assert_eq!(commands(&mut buffer), ["HELLO 3", "READONLY"]);
        let done = feed(&mut handshake, &mut buffer, &[hello(), reply]);
        assert!(matches!(done, Ok(Progress::Done(_))), "{done:?}");
        assert_eq!(handshake.lacks_readonly(), is_refused);
    }
    // It may take it a moment later.
    for passing in ["BUSY Redis is busy", "UNBLOCKED client unblocked via CLIENT UNBLOCK"] {
        let mut buffer = BytesMut::new();
        let mut handshake = begin(Probe::Skip, &mut buffer);
        let failed = feed(&mut handshake, &mut buffer, &[hello(), error(passing)]);
        assert!(matches!(failed, Err(HandshakeError::Refused { stage: Stage::Readonly, .. })), "{failed:?}");
    }
    // What was refused before it was known that the server speaks RESP2 only says nothing.
    let mut buffer = BytesMut::new();
    let mut handshake = begin(Probe::Skip, &mut buffer);
    commands(&mut buffer);
    assert_eq!(feed(&mut handshake, &mut buffer, &[error("NOPROTO")]), Ok(Progress::Write));
    assert_eq!(commands(&mut buffer), ["READONLY", "PING"]);
    let done = feed(
        &mut handshake,
        &mut buffer,
        &[error("NOAUTH"), ok(), Frame::Simple(Bytes::from_static(b"PONG"))],
    );
    assert!(matches!(done, Ok(Progress::Done(_))), "{done:?}");
    assert!(!handshake.lacks_readonly());
    // Where a link takes nothing that it does not know.
    let handshake = begin(Probe::Bare, &mut buffer);
    assert_eq!((commands(&mut buffer), handshake.lacks_readonly()), (vec!["PING".to_owned()], true));
    let plain = Arc::new(Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap()).build().unwrap());
    let handshake = Handshake::begin(&plain, None, Probe::Bare, &peer, &mut buffer);
    assert!(!handshake.lacks_readonly());
}

/// Whatever step was unblocked while the server held it up may be answered once more, and the reply to the next step would be wrong. RULE-171
#[test]
fn a_handshake_that_was_unblocked_has_failed() {
    for unblocked in 0..5 {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        let mut replies = [hello(), ok(), ok(), ok(), ok()];
        replies[unblocked] = error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        let code = ErrorCode::of(b"UNBLOCKED");
        match feed(&mut handshake, &mut buffer, &replies) {
            Err(HandshakeError::Refused { code: said, .. }) => assert_eq!(said, code),
            other => panic!("{unblocked}: {other:?}"),
        }
    }
}

/// RULE-01
#[test]
fn everything_is_in_one_write() {
    let (_, mut buffer) = begin(Mode::Auto, Probe::OptIn);
    let expected = [
        &format!("HELLO 3 AUTH ann {SECRET} SETNAME app"),
        "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
        "SELECT 2",
        "CLIENT SETINFO LIB-NAME hitless",
        concat!("CLIENT SETINFO LIB-VER ", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(commands(&mut buffer), expected);
}

/// Certificates are issued to names. RULE-20
#[test]
fn over_tls_names_are_asked_for() {
    let config = |settings: crate::config::ConfigBuilder| settings.build().unwrap();
    let settings = || Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap());
    let peer = |ip: [u8; 4]| Peer::from(std::net::SocketAddr::from((ip, 6379)));
    let asked_for = |config: &Config, ip| opt_in_command(config, &peer(ip))[4];
    let encrypted = config(settings().encrypted_by_connector());
    assert_eq!(asked_for(&encrypted, [127, 0, 0, 1]), "internal-fqdn");
    assert_eq!(asked_for(&encrypted, [8, 8, 8, 8]), "external-fqdn");
    assert_eq!(asked_for(&config(settings()), [8, 8, 8, 8]), "external-ip");
}

/// But for the opt-in, the bytes are those of a handshake that does not ask. INV-16
#[test]
fn skipping_the_probe_changes_nothing_else() {
    let (_, mut asked) = begin(Mode::Auto, Probe::OptIn);
    let (_, mut not_asked) = begin(Mode::Disabled, Probe::Skip);
    let mut asked = commands(&mut asked);
    asked.remove(1);
    assert_eq!(asked, commands(&mut not_asked));
}

/// RULE-01
#[test]
fn a_server_with_notifications_is_ready_after_one_round_trip() {
    let (mut handshake, mut buffer) = begin(Mode::Enabled, Probe::OptIn);
    let progress = feed(&mut handshake, &mut buffer, &[hello(), ok(), ok(), ok(), ok()]).unwrap();
    let negotiated = Negotiated { protocol: Protocol::Resp3, opt_in: OptIn::Accepted, client_id: Some(77) };
    assert_eq!(progress, Progress::Done(negotiated));
}

/// What a reply to the opt-in means, for each mode. PITFALL-20, PITFALL-22, RULE-12, RULE-13
#[test]
fn the_opt_in_is_judged_by_mode() {
    let unknown = "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.";
    let noperm = "NOPERM this user has no permissions to run the 'client|maint_notifications' command";
    for (text, auto) in [
        (unknown, OptIn::Refused(ErrorCode::of(b"ERR"))),
        (noperm, OptIn::Refused(ErrorCode::of(b"NOPERM"))),
        ("LOADING Redis is loading the dataset in memory", OptIn::Unclear(ErrorCode::of(b"LOADING"))),
        ("BUSY Redis is busy running a script", OptIn::Unclear(ErrorCode::of(b"BUSY"))),
        ("ERR something new", OptIn::Unclear(ErrorCode::of(b"ERR"))),
    ] {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        let progress = feed(&mut handshake, &mut buffer, &[hello(), error(text), ok(), ok(), ok()]).unwrap();
        let Progress::Done(negotiated) = progress else { panic!("{text}: {progress:?}") };
        assert_eq!(negotiated.opt_in, auto, "{text}");

        let (mut handshake, mut buffer) = begin(Mode::Enabled, Probe::OptIn);
        let refused = feed(&mut handshake, &mut buffer, &[hello(), error(text)]).unwrap_err();
        assert_eq!(refused.is_transient(), matches!(auto, OptIn::Unclear(_)), "{text}");
    }
}

/// RULE-02, RULE-03, RULE-11
#[test]
fn an_old_server_is_spoken_to_in_resp2_on_the_same_link() {
    let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
    commands(&mut buffer);
    let refusal =
        error(&format!("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'ann' '{SECRET}'"));
    assert_eq!(feed(&mut handshake, &mut buffer, &[refusal]).unwrap(), Progress::Write);
    let expected =
        [&format!("AUTH ann {SECRET}"), "SELECT 2", "CLIENT SETNAME app", "CLIENT SETINFO LIB-NAME hitless"];
    assert_eq!(commands(&mut buffer), expected);

    let noauth = || error("NOAUTH Authentication required.");
    let rest = [noauth(), noauth(), noauth(), noauth(), ok(), ok(), ok(), error("ERR unknown")];
    let Progress::Done(negotiated) = feed(&mut handshake, &mut buffer, &rest).unwrap() else {
        panic!("not done")
    };
    assert_eq!(negotiated.protocol, Protocol::Resp2);
    assert_eq!(negotiated.opt_in, OptIn::NoResp3(ErrorCode::of(b"ERR")));
}

/// RULE-11
#[test]
fn enabled_never_falls_back() {
    let (mut handshake, mut buffer) = begin(Mode::Enabled, Probe::OptIn);
    let refused =
        feed(&mut handshake, &mut buffer, &[error("NOPROTO unsupported protocol version")]).unwrap_err();
    assert_eq!(refused, HandshakeError::MaintenanceRefused { code: ErrorCode::of(b"NOPROTO") });
}

/// RULE-02
#[test]
fn only_a_map_that_says_three_is_resp3() {
    let proto = |version| (Frame::bulk("proto"), Frame::Integer(version));
    for reply in [
        ok(),
        Frame::Map(vec![]),
        Frame::Map(vec![proto(4)]),
        Frame::Array(vec![Frame::bulk("proto"), Frame::Integer(3)]),
    ] {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        let refused = feed(&mut handshake, &mut buffer, &[reply]).unwrap_err();
        assert_eq!(refused, HandshakeError::UnexpectedReply { stage: Stage::Hello });
    }
}

/// A proxy's own words, or a reply of RESP2, do not say why HELLO is not taken. RULE-149
#[test]
fn a_refusal_in_other_words_is_told_from_one_that_says_why() {
    let refused = |text: &str| {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        feed(&mut handshake, &mut buffer, &[error(text)]).unwrap_err()
    };
    for text in [
        "unsupported command 'HELLO'",
        "ERR unsupported command `HELLO`",
        "ERR syntax error",
        "ERR Protocol error: unexpected command",
        "ERR wrong number of arguments for 'hello' command",
        "HELLO is not allowed",
        "HELLO",
        "A proxy does not take this",
        "Command not allowed",
        "upstream failure",
        "invalid command",
        "",
    ] {
        let error = refused(text);
        assert_eq!(error, HandshakeError::HelloRefused { code: Some(ErrorCode::of(b"ERR")) }, "{text}");
        assert!(error.is_transient(), "{text}");
    }
    assert_eq!(
        refused("NOAUTH Authentication required."),
        HandshakeError::HelloRefused { code: Some(ErrorCode::of(b"NOAUTH")) },
        "HELLO has carried a password"
    );
    let pairs = |version| vec![Frame::bulk("proto"), Frame::Integer(version)];
    for reply in [
        Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(2))]),
        Frame::Array([pairs(2), vec![Frame::bulk("id"), Frame::Integer(1)]].concat()),
        Frame::Array(vec![
            Frame::bulk("server"),
            Frame::bulk("redis"),
            Frame::bulk("proto"),
            Frame::bulk("2"),
        ]),
    ] {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        let error = feed(&mut handshake, &mut buffer, &[reply]).unwrap_err();
        assert_eq!(error, HandshakeError::HelloRefused { code: None });
    }
    for (text, code) in [
        ("DENIED running in protected mode", "DENIED"),
        ("BUSY a script", "BUSY"),
        ("MASTERDOWN x", "MASTERDOWN"),
    ] {
        let code = ErrorCode::of(code.as_bytes());
        assert_eq!(refused(text), HandshakeError::Refused { stage: Stage::Hello, code }, "{text}");
    }
    for text in ["unknown command 'HELLO'", "ERR Unknown command HELLO"] {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        assert_eq!(feed(&mut handshake, &mut buffer, &[error(text)]), Ok(Progress::Write), "{text}");
    }
}

/// What is about the password is an error of the credentials, in whatever words, and no hint says that none is configured
/// where one is. RULE-151
#[test]
fn words_about_the_password_are_no_reason_for_resp2() {
    for text in [
        "ERR invalid password",
        "ERR Client sent AUTH, but no password is set",
        "ERR AUTH <password> called without any password configured for the default user.",
        "ERR invalid username-password pair or user is disabled.",
    ] {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        let refused = feed(&mut handshake, &mut buffer, &[error(text)]).unwrap_err();
        let code = ErrorCode::of(b"ERR");
        assert_eq!(refused, HandshakeError::Refused { stage: Stage::Auth, code }, "{text}");
        assert!(
            !refused.is_transient() && refused.to_string().contains("is the password right"),
            "{refused}"
        );
    }
    let noauth = || error("NOAUTH Authentication required.");
    let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::Resp2);
    let refused = feed(&mut handshake, &mut buffer, &[ok(), noauth()]).unwrap_err();
    assert_eq!(refused, HandshakeError::NotAuthenticated { stage: Stage::Select });
    assert!(!refused.to_string().contains("none is configured"), "{refused}");

    let config = Arc::new(Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap()).build().unwrap());
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 6379)));
    for (probe, stage) in [(Probe::OptIn, Stage::Hello), (Probe::Bare, Stage::Ping)] {
        let mut handshake =
            Handshake::begin(&config, config.credentials().cloned(), probe, &peer, &mut buffer);
        let refused = feed(&mut handshake, &mut buffer, &[noauth()]).unwrap_err();
        assert_eq!(refused, HandshakeError::Refused { stage, code: ErrorCode::of(b"NOAUTH") });
        assert!(!refused.is_transient() && refused.to_string().contains("none is configured"), "{refused}");
    }
}

/// With less to ask for, the handshake has an end of its own: a PING that must be answered. RULE-150
#[test]
fn resp2_after_a_refusal_has_to_answer() {
    let (handshake, mut buffer) = begin(Mode::Auto, Probe::Resp2);
    let auth = format!("AUTH ann {SECRET}");
    let expected = [&auth, "SELECT 2", "CLIENT SETNAME app", "CLIENT SETINFO LIB-NAME hitless", "PING"];
    assert_eq!(commands(&mut buffer), expected);
    let (bare, mut buffer) = begin(Mode::Auto, Probe::Bare);
    assert_eq!(commands(&mut buffer), [&auth, "SELECT 2", "PING"]);

    let pong = || Frame::simple("PONG");
    for (mut handshake, rest) in [(handshake, vec![ok(), ok(), ok(), ok()]), (bare, vec![ok(), ok()])] {
        assert_eq!(feed(&mut handshake, &mut buffer, &rest), Ok(Progress::Pending));
        let mut other = handshake.clone();
        let negotiated = Negotiated { protocol: Protocol::Resp2, opt_in: OptIn::NotAsked, client_id: None };
        assert_eq!(feed(&mut handshake, &mut buffer, &[pong()]), Ok(Progress::Done(negotiated)));
        let mut denied = other.clone();
        let noperm = error("NOPERM this user has no permissions to run the 'ping' command");
        assert_eq!(feed(&mut denied, &mut buffer, &[noperm]), Ok(Progress::Done(negotiated)), "an answer");
        let refused = feed(&mut other, &mut buffer, &[error("ERR no upstream host")]).unwrap_err();
        assert_eq!(refused, HandshakeError::Refused { stage: Stage::Ping, code: ErrorCode::of(b"ERR") });
        assert!(refused.is_transient());
    }
}

/// The library is not told of where that is switched off, and every handshake has an end all the same. RULE-152
#[test]
fn client_info_can_be_switched_off() {
    let endpoint = Endpoint::parse("127.0.0.1", 6379).unwrap();
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 6379)));
    let mut buffer = BytesMut::new();
    for (protocol, probe, expected, replies) in [
        (Protocol::Resp3, Probe::Skip, "HELLO 3", [hello()]),
        (Protocol::Resp2, Probe::Resp2, "PING", [Frame::simple("PONG")]),
    ] {
        let config = Config::builder(endpoint.clone()).protocol(protocol).client_info(false).build().unwrap();
        let credentials = config.credentials().cloned();
        let mut handshake = Handshake::begin(&Arc::new(config), credentials, probe, &peer, &mut buffer);
        assert_eq!(commands(&mut buffer), [expected]);
        assert!(matches!(feed(&mut handshake, &mut buffer, &replies), Ok(Progress::Done(_))));
    }
}

/// RULE-04
#[test]
fn refused_credentials_are_an_error_not_a_reason_for_resp2() {
    for text in ["WRONGPASS invalid username-password pair or user is disabled.", "NOPERM x"] {
        let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
        let refused = feed(&mut handshake, &mut buffer, &[error(text)]).unwrap_err();
        assert!(matches!(refused, HandshakeError::Refused { stage: Stage::Hello, .. }), "{refused:?}");
        assert!(!refused.is_transient());
    }
    let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
    assert!(feed(&mut handshake, &mut buffer, &[error("LOADING x")]).unwrap_err().is_transient());
    let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
    let full = feed(&mut handshake, &mut buffer, &[error("ERR max number of clients reached")]).unwrap_err();
    assert!(full == HandshakeError::TooManyClients && full.is_transient());
}

/// RULE-05
#[test]
fn a_failing_select_is_an_error_and_a_failing_setinfo_is_not() {
    let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
    let refused = feed(&mut handshake, &mut buffer, &[hello(), ok(), error("ERR DB index is out of range")])
        .unwrap_err();
    assert!(matches!(refused, HandshakeError::Refused { stage: Stage::Select, .. }));

    let (mut handshake, mut buffer) = begin(Mode::Auto, Probe::OptIn);
    let setinfo = || error("ERR unknown subcommand 'SETINFO'");
    let progress = feed(&mut handshake, &mut buffer, &[hello(), ok(), ok(), setinfo(), setinfo()]).unwrap();
    assert!(matches!(progress, Progress::Done(_)));
}

/// Servers echo the password; no error, event or debug output of ours does. PITFALL-35, RULE-06
#[test]
fn the_text_of_a_handshake_error_appears_nowhere() {
    let texts = [
        format!("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'ann' '{SECRET}'"),
        format!("WRONGPASS '{SECRET}'"),
        format!("{SECRET} {SECRET}"),
        SECRET.to_uppercase(),
    ];
    for text in &texts {
        for mode in [Mode::Auto, Mode::Enabled] {
            let (mut handshake, mut buffer) = begin(mode, Probe::OptIn);
            let result = handshake.handle_reply(&error(text), &mut buffer);
            let shown =
                format!("{result:?} {handshake:?} {:?}", result.as_ref().map_err(ToString::to_string));
            assert!(!shown.to_lowercase().contains("sesame"), "{shown}");
        }
    }
}
