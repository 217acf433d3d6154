//! What rustls says, in words that say what to do next. What the server itself has said is not repeated, but for the names
//! in its certificate.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error, OtherError};

use crate::error::TlsFault;

/// As many names of a certificate as are shown, and as many letters of each.
const NAMES: usize = 3;
const LETTERS: usize = 60;

/// The session with the server that was to be `name` could not be negotiated.
pub(super) fn of_handshake(name: &ServerName<'_>, error: &Error) -> io::Error {
    let words = match error {
        Error::InvalidCertificate(error) => of_certificate(name, error),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "what answers does not speak TLS: use the server's port for TLS, or redis:// (valkey://) for one without".into()
        }
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoCertificatesPresented => "the server has no certificate".into(),
        Error::PeerIncompatible(_) => {
            "the server has no version or cipher of TLS in common with this client, which speaks TLS 1.3 and 1.2".into()
        }
        // These come from this process alone, or from what the server may say by itself in no case.
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, with_name(name, &words))
}

/// The link failed while the session was negotiated.
pub(super) fn of_link(name: &ServerName<'_>, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), with_name(name, &format!("the link failed in the handshake: {error}{HINT}")))
}

/// The server hung up while the session was negotiated.
pub(super) fn of_close(name: &ServerName<'_>) -> io::Error {
    let words = format!("the server closed the link in the handshake{HINT}");
    io::Error::new(io::ErrorKind::UnexpectedEof, with_name(name, &words))
}

const HINT: &str = ". Does it speak TLS at this port?";

/// What has broken an established session.
pub(super) fn fault(error: &Error) -> TlsFault {
    match error {
        Error::AlertReceived(AlertDescription::CertificateRequired) => TlsFault::CertificateRequired,
        Error::AlertReceived(alert) if is_about_certificate(*alert) => TlsFault::CertificateRefused,
        Error::AlertReceived(alert) => TlsFault::Alert(u8::from(*alert)),
        _ => TlsFault::Broken,
    }
}

/// An error that [`CloseCause`](crate::error::CloseCause) recognises.
pub(super) fn of_fault(fault: TlsFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

fn with_name(name: &ServerName<'_>, words: &str) -> String {
    format!("TLS with {}: {words}", name.to_str())
}

fn of_certificate(name: &ServerName<'_>, error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "no authority that is trusted has issued its certificate: trust the one that did, by `Tls::builder().roots(..)`"
                .into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it, or set the clock of this machine".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is the clock of this machine right?".into()
        }
        CertificateError::NotValidForName => {
            format!("its certificate is not valid for that name{SET_NAME}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("its certificate is valid for {}{SET_NAME}", names(presented, name))
        }
        CertificateError::Revoked => "its certificate was revoked".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers".into()
        }
        CertificateError::Other(OtherError(error)) => of_chain(&error.to_string()),
        CertificateError::BadSignature => BAD_SIGNATURE.into(),
        CertificateError::BadEncoding => "its certificate is damaged: issue it anew".into(),
        other => format!("its certificate cannot be used: {other}"),
    }
}

/// `problem` is the name of an error of webpki, which rustls does not take apart.
fn of_chain(problem: &str) -> String {
    if problem.starts_with("CaUsedAsEndEntity") {
        "its certificate is one of an authority (CA:TRUE), which cannot be a server's as well: issue one for the server, or make one that \
         signs itself with CA:FALSE, and trust that by `Tls::builder().roots(..)`"
            .into()
    } else if problem.starts_with("EndEntityUsedAsCa") {
        "what has issued its certificate is none of an authority: that one's certificate lacks CA:TRUE".into()
    } else {
        format!(
            "its certificate, or one of those that lead from it to an authority, cannot be used: {problem}"
        )
    }
}

/// The issuer is found by its name: an authority that was made anew is named as before, and its key is another one.
const BAD_SIGNATURE: &str = "the authority that is trusted has not signed its certificate, although it is named as the issuer: trust the \
     authority as it is now, by `Tls::builder().roots(..)`, if that was made anew; otherwise the certificate is damaged: issue it anew";

const SET_NAME: &str = ": connect by a name that it is valid for, or set `server_name` to one";

/// `presented` as rustls gives them, bounded, and printable whatever the certificate holds.
fn names(presented: &[String], name: &ServerName<'_>) -> String {
    if presented.is_empty() {
        return format!("no name at all, and not for {}", name.to_str());
    }
    let shown = presented.iter().take(NAMES).map(|name| plain(name));
    let more = if presented.len() > NAMES { " and others" } else { "" };
    format!("{}{more} only", shown.collect::<Vec<_>>().join(", "))
}

/// `DnsName("a.example.com")` is how rustls writes a name.
fn plain(presented: &str) -> String {
    let quoted = presented.split('"').nth(1).unwrap_or(presented);
    let is_plain = |letter: &char| letter.is_ascii_graphic();
    quoted.chars().filter(is_plain).take(LETTERS).collect()
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => TlsFault::CertificateRequired.to_string(),
        // In TLS 1.2 this is how a server asks for a certificate, too.
        AlertDescription::HandshakeFailure => {
            "the server refused the handshake: it asks for a client certificate, or has no cipher in common with this client"
                .into()
        }
        alert if is_about_certificate(alert) => TlsFault::CertificateRefused.to_string(),
        AlertDescription::UnrecognisedName => {
            "the server does not know that name: set `server_name` to one that it knows".into()
        }
        AlertDescription::ProtocolVersion => {
            "the server speaks neither TLS 1.3 nor 1.2, or no TLS at this port".into()
        }
        alert => format!("the server refused the handshake by alert {}", u8::from(alert)),
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}
