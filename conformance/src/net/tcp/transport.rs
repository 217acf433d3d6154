//! How the bytes of a connection travel: as they are, or encrypted.

use std::io::{self, Read};
use std::net::TcpStream;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use self::tls::Session;

#[cfg(feature = "tls")]
mod tls;

/// What an endpoint speaks.
#[derive(Debug)]
pub(super) enum Security {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Arc<rustls::ServerConfig>),
}

/// What a connection speaks.
#[derive(Debug)]
pub(super) enum Transport {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Box<Session>),
}

impl Transport {
    pub(super) fn new(security: &Security) -> Self {
        match security {
            Security::Plain => Self::Plain,
            #[cfg(feature = "tls")]
            Security::Tls(config) => Self::Tls(Box::new(Session::new(Arc::clone(config)))),
        }
    }

    /// The number of bytes read; none at the end of the stream.
    pub(super) fn read(&self, stream: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
        match self {
            Self::Plain => read(stream, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.read(stream, buffer),
        }
    }

    /// Takes some of `bytes` and writes them; without any, what was taken and not written yet.
    pub(super) fn write(&self, mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain => io::Write::write(&mut stream, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.write(stream, bytes),
        }
    }

    /// Whether bytes were taken and are not written yet.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain => false,
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.has_unsent(),
        }
    }

    /// The last words before an orderly end.
    pub(super) fn say_goodbye(&self, stream: &TcpStream) {
        match self {
            Self::Plain => {
                let _ = stream;
            }
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.say_goodbye(stream),
        }
    }
}

/// The number of bytes read; none at the end of the stream.
pub(super) fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
