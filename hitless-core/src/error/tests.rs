use std::error::Error as _;

use super::*;
use crate::config::ConfigError;
use crate::endpoint::Endpoint;

fn refused() -> HandshakeError {
    HandshakeError::Refused { stage: Stage::Hello, code: ErrorCode::of(b"WRONGPASS") }
}

/// The words of the system, and the place. RULE-132
#[test]
fn a_failed_lookup_or_dial_says_where_and_in_the_systems_words() {
    let place = |error: io::Error, place: &str| {
        let mut error = SystemError::from(error);
        error.at(&place);
        error
    };
    let files = io::Error::from_raw_os_error(24);
    let unknown = io::Error::other("failed to lookup address information: Name or service not known");
    for (error, text) in [
        (
            ConnectError::Connect(place(files, "10.0.0.1:6379")),
            "cannot connect to 10.0.0.1:6379: Too many open files (os error 24)",
        ),
        (
            ConnectError::Connect(place(io::Error::from_raw_os_error(2), "unix:/run/redis.sock")),
            "cannot connect to unix:/run/redis.sock: No such file or directory (os error 2)",
        ),
        (
            ConnectError::Resolve(place(unknown, "nowhere.example")),
            "cannot resolve nowhere.example: failed to lookup address information: Name or service not known",
        ),
        (ConnectError::Connect(io::ErrorKind::TimedOut.into()), "cannot connect: timed out"),
        (ConnectError::Resolve(io::ErrorKind::TimedOut.into()), "cannot resolve the host name: timed out"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

/// Who prints an error with its sources reads everything once. RULE-132
#[test]
fn no_error_repeats_the_text_of_its_source() {
    let endpoint = Endpoint::parse("h", 6379).unwrap();
    let gave_up = ConnectError::GaveUp {
        endpoint: endpoint.clone(),
        attempts: 4,
        took: Duration::from_secs(1),
        last: ConnectError::Handshake(refused()).into(),
    };
    let no_connection = RequestError::NoConnection {
        endpoint,
        cause: Arc::new(ConnectError::Handshake(refused())),
        after: Duration::ZERO,
        delivery: Delivery::NotSent,
    };
    let errors: [Box<dyn std::error::Error>; 6] = [
        ConnectError::Connect(io::Error::from_raw_os_error(24).into()).into(),
        ConnectError::Handshake(refused()).into(),
        ConnectError::LostInHandshake(CloseCause::Protocol(ProtocolError::Malformed)).into(),
        gave_up.into(),
        no_connection.into(),
        ConfigError::from(Endpoint::parse(":0", 0).unwrap_err()).into(),
    ];
    for error in errors {
        let mut shown: &dyn std::error::Error = &*error;
        while let Some(source) = shown.source() {
            assert!(!shown.to_string().contains(&source.to_string()), "{shown}");
            shown = source;
        }
    }
    assert!(ConnectError::Handshake(refused()).source().is_none());
}

/// RULE-135
#[test]
fn a_link_that_ends_in_the_handshake_says_what_to_look_at() {
    let reset = CloseCause::Io(io::ErrorKind::ConnectionReset);
    let malformed = CloseCause::Protocol(ProtocolError::Malformed);
    for cause in [CloseCause::ByServer, reset, malformed] {
        let text = ConnectError::LostInHandshake(cause).to_string();
        assert!(text.contains("TLS"), "{text}");
    }
    let ours = ConnectError::LostInHandshake(CloseCause::ByClient).to_string();
    assert!(!ours.contains("TLS"), "{ours}");
}

/// RULE-135
#[test]
fn a_refused_setup_command_is_named_without_its_arguments() {
    let refused = |name: &[u8]| {
        let stage = Stage::Setup(SetupCommand::new(2, name));
        HandshakeError::Refused { stage, code: ErrorCode::of(b"NOPERM") }.to_string()
    };
    assert_eq!(
        refused(b"client"),
        "the server refused setup command 2, CLIENT, with NOPERM: the user may not run it"
    );
    assert_eq!(
        refused(&[b'x'; 100]),
        "the server refused setup command 2 with NOPERM: the user may not run it"
    );
    assert_eq!(
        refused(b"with blank"),
        "the server refused setup command 2 with NOPERM: the user may not run it"
    );
}

/// What TLS says inside an error of a stream is kept, and is not taken for the network's. RULE-183
#[test]
fn an_end_that_tls_explains_is_told_from_others() {
    for fault in [TlsFault::CertificateRequired, TlsFault::Alert(80), TlsFault::Broken] {
        let error = io::Error::new(io::ErrorKind::InvalidData, fault);
        assert_eq!(CloseCause::from(&error), CloseCause::Tls(fault));
        let text = ConnectError::LostInHandshake(CloseCause::from(&error)).to_string();
        assert!(text.contains(&fault.to_string()) && !text.contains("expect TLS"), "{text}");
    }
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(CloseCause::from(&reset), CloseCause::Io(io::ErrorKind::ConnectionReset));
}

/// RULE-238
#[test]
fn a_server_that_says_nothing_is_told_from_one_that_is_not_there() {
    let after = Duration::from_secs(5);
    let silent = ConnectError::TlsTimedOut { progress: TlsProgress::Begun, after };
    for words in [
        "TLS",
        "sent nothing within 5s",
        "port without TLS",
        "the server's port for TLS",
        "redis:// (valkey://)",
    ] {
        assert!(silent.to_string().contains(words), "{silent}");
    }
    let slow = ConnectError::TlsTimedOut { progress: TlsProgress::Answered, after };
    assert!(slow.to_string().contains("TLS") && !slow.to_string().contains("without"), "{slow}");
    let hung = ConnectError::HandshakeTimedOut(after);
    assert!(hung.to_string().contains("took the connection") && hung.to_string().contains("5s"), "{hung}");
    assert!(silent.is_transient() && slow.is_transient() && hung.is_transient());
}
