//! Names, TCP and Unix sockets of async-std.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_std::io::{Read, Write};
use async_std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use bytes::BytesMut;
use hitless_core::driver::{self, KEEPALIVE};
use hitless_core::endpoint::{Peer, Target};
use socket2::{SockRef, TcpKeepalive};

use crate::runtime::Adapter;

/// As much as one read takes.
const SCRATCH: usize = 16 * 1024;

impl driver::Resolver for Adapter {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs().await?.map(|address| address.ip()).collect())
    }
}

impl driver::Connector for Adapter {
    type Stream = Stream;

    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        match target.address {
            Peer::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                tune(&stream)?;
                let peer = stream.peer_addr()?.into();
                Ok((Stream::new(Socket::Tcp(stream)), peer))
            }
            Peer::Unix(path) => unix(path).await,
        }
    }
}

#[cfg(unix)]
async fn unix(path: Arc<Path>) -> io::Result<(Stream, Peer)> {
    let stream = UnixStream::connect(&*path).await?;
    Ok((Stream::new(Socket::Unix(stream)), Peer::Unix(path)))
}

#[cfg(not(unix))]
async fn unix(_: Arc<Path>) -> io::Result<(Stream, Peer)> {
    Err(io::ErrorKind::Unsupported.into())
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    #[cfg(any(
        target_os = "android",
        target_os = "freebsd",
        target_os = "ios",
        target_os = "linux",
        target_os = "macos",
        target_os = "netbsd",
        windows
    ))]
    let keepalive =
        keepalive.with_interval(driver::KEEPALIVE_INTERVAL).with_retries(driver::KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(driver::USER_TIMEOUT))?;
    Ok(())
}

/// A connected socket.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Reading into memory that is not initialised would take `unsafe`.
    scratch: Box<[u8]>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    fn new(socket: Socket) -> Self {
        Self { socket, scratch: vec![0; SCRATCH].into() }
    }

    fn writer(&mut self) -> Pin<&mut (dyn Write + Unpin)> {
        Pin::new(match &mut self.socket {
            Socket::Tcp(stream) => stream,
            #[cfg(unix)]
            Socket::Unix(stream) => stream,
        })
    }
}

impl driver::Stream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = SCRATCH.min(buffer.capacity() - buffer.len());
        let scratch = &mut self.scratch[..room];
        let count = ready!(match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, scratch),
            #[cfg(unix)]
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, scratch),
        })?;
        buffer.extend_from_slice(&scratch[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_close(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// RULE-106
    #[test]
    fn the_system_notices_links_that_have_died() {
        let limit = Duration::from_secs(30);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, _) =
            async_std::task::block_on(driver::Connector::connect(&Adapter, Peer::from(address).into()))
                .unwrap();
        let Socket::Tcp(stream) = stream.socket else { panic!("TCP") };
        let socket = SockRef::from(&stream);
        assert_eq!((socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap()), (true, limit));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limit));
    }
}
