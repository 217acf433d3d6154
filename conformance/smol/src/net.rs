//! Names, TCP and Unix sockets of smol.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hitless_core::driver;
use hitless_core::endpoint::{Peer, Target};
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
#[cfg(unix)]
use smol::net::unix::UnixStream;

use crate::runtime::Adapter;

/// As much as one read takes, in bytes.
const SCRATCH: usize = 16 * 1024;

impl driver::Resolver for Adapter {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = smol::net::resolve((host, 0)).await?;
        Ok(addresses.into_iter().map(|address| address.ip()).collect())
    }
}

impl driver::Connector for Adapter {
    type Stream = Stream;

    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        match target.address {
            Peer::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let peer = stream.peer_addr()?.into();
                Ok((Stream::new(stream), peer))
            }
            Peer::Unix(path) => unix(path).await,
        }
    }
}

#[cfg(unix)]
async fn unix(path: Arc<Path>) -> io::Result<(Stream, Peer)> {
    let stream = UnixStream::connect(&path).await?;
    Ok((Stream::new(stream), Peer::Unix(path)))
}

#[cfg(not(unix))]
async fn unix(_: Arc<Path>) -> io::Result<(Stream, Peer)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a socket of smol can do, of whichever kind it is.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connected socket.
pub struct Stream {
    socket: Box<dyn Socket>,
    /// Reading into memory that is not initialised would take `unsafe`.
    scratch: Box<[u8]>,
}

impl Stream {
    fn new(socket: impl Socket + 'static) -> Self {
        Self { socket: Box::new(socket), scratch: vec![0; SCRATCH].into() }
    }
}

impl driver::Stream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = SCRATCH.min(buffer.capacity() - buffer.len());
        let count = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut self.scratch[..room]))?;
        buffer.extend_from_slice(&self.scratch[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
