//! TLS over the streams of any connector.
//!
//! The handshake is a part of connecting: it runs in the task of the dial, within the attempt's time, and an address at
//! which it fails is an address that cannot be connected to.

mod stream;
mod words;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use self::stream::TlsStream;
use super::dial::Dialer;
use super::traits::{Connector, Resolver, Stream};
use crate::config::{Config, ConfigError};
use crate::endpoint::{Peer, Target};
use crate::error::TlsProgress;

/// A network whose streams are encrypted, if the client is configured so.
pub(super) struct Secured<N> {
    network: N,
    config: Option<Arc<ClientConfig>>,
}

impl<N> Secured<N> {
    /// `system_roots` is asked for certificates in DER if those of the system count.
    pub(super) fn new(
        network: N,
        config: &Config,
        system_roots: impl FnOnce() -> io::Result<Vec<Vec<u8>>>,
    ) -> Result<Self, ConfigError> {
        let config = config.tls_settings().map(|tls| tls.client_config(system_roots)).transpose()?;
        Ok(Self { network, config })
    }
}

impl<N: Resolver> Resolver for Secured<N> {
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<std::net::IpAddr>>> + Send {
        self.network.resolve(host)
    }
}

impl<N: Resolver + Connector> Dialer for Secured<N> {
    type Stream = MaybeTls<N::Stream>;

    async fn dial(
        &self,
        target: Target,
        report: impl Fn(TlsProgress) + Send + Sync,
    ) -> io::Result<(MaybeTls<N::Stream>, Peer)> {
        let Some(config) = &self.config else {
            let (stream, peer) = self.network.connect(target).await?;
            return Ok((MaybeTls::Plain(stream), peer));
        };
        let name = name_of(&target)?;
        let (stream, peer) = self.network.connect(target).await?;
        let session = ClientConnection::new(Arc::clone(config), name.clone())
            .map_err(|error| words::of_handshake(&name, &error))?;
        let stream = TlsStream::handshake(stream, session, &name, report).await?;
        Ok((MaybeTls::Tls(Box::new(stream)), peer))
    }
}

/// By which name the server at `target` is verified.
fn name_of(target: &Target) -> io::Result<ServerName<'static>> {
    let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    match (&target.server_name, target.address.ip()) {
        (Some(name), _) => match ServerName::try_from(name.trim_end_matches('.').to_owned()) {
            Ok(name) => Ok(name),
            Err(_) => wrong(format!("TLS: no certificate can be valid for the name {name:?}")),
        },
        (None, Some(ip)) => Ok(ServerName::from(ip.to_canonical())),
        (None, None) => wrong(
            "TLS: a Unix socket has no name by which its server could be verified: set `server_name`".into(),
        ),
    }
}

/// A stream that is encrypted or not.
pub(super) enum MaybeTls<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl<S: Stream> Stream for MaybeTls<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_flush(cx),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_close(cx),
            Self::Tls(stream) => stream.poll_close(cx),
        }
    }
}
