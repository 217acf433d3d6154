//! What goes wrong on an encrypted link once it is established.

use thiserror::Error;

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
        "the server does not accept the client certificate: does it trust the authority that issued it, and is it in date?"
    )]
    CertificateRefused,
    /// The server ended the session by an alert, whose number this is.
    #[error("the server ended the TLS session by alert {0}")]
    Alert(u8),
    /// The bytes received are no TLS, or somebody has changed them on their way.
    #[error("the bytes received are not those of the TLS session")]
    Broken,
}
