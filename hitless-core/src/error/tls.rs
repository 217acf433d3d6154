//! How far a dial has come with TLS, and what goes wrong on an encrypted link once it is established.

use thiserror::Error;

/// How far the server of a dial that encrypts has come with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsProgress {
    /// The stream is connected, and the client has begun the handshake; the server has sent nothing. A Redis server without TLS stays
    /// like that: it waits for the end of a line.
    Begun,
    /// The server has sent something, and the handshake is not done.
    Answered,
}

/// Why an encrypted link has ended, where TLS says why.
///
/// What goes wrong before, while the session is negotiated, is a [`ConnectError::Connect`](super::ConnectError::Connect)
/// in plain words. A server that speaks TLS 1.3 judges the client's certificate after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// The server asks for a certificate of the client, and the client has none.
    #[error(
        "the server asks for a client certificate, and none is configured: set one by `Tls::builder().client_certificate(..)`"
    )]
    CertificateRequired,
    /// The server does not accept the client's certificate.
    #[error(
        "the server does not accept the client certificate: does it trust the authority that issued it, is it in date, and is it one for clients (extended key usage clientAuth)?"
    )]
    CertificateRefused,
    /// The server ended the session by an alert, whose number this is.
    #[error("the server ended the TLS session by alert {0}")]
    Alert(u8),
    /// The bytes received are no TLS, or somebody has changed them on their way.
    #[error("the bytes received are not those of the TLS session")]
    Broken,
}
