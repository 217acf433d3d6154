//! Names, TCP and Unix sockets of tokio.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use hitless_core::driver;
use hitless_core::endpoint::{Peer, Target, TcpOptions};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::runtime::Adapter;

impl driver::Resolver for Adapter {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

impl driver::Connector for Adapter {
    type Stream = Stream;

    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        match target.address {
            Peer::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                tune(&stream, &target.tcp)?;
                let peer = stream.peer_addr()?.into();
                Ok((Stream::Tcp(stream), peer))
            }
            Peer::Unix(path) => unix(path).await,
        }
    }
}

#[cfg(unix)]
async fn unix(path: Arc<Path>) -> io::Result<(Stream, Peer)> {
    let stream = UnixStream::connect(&path).await?;
    Ok((Stream::Unix(stream), Peer::Unix(path)))
}

#[cfg(not(unix))]
async fn unix(_: Arc<Path>) -> io::Result<(Stream, Peer)> {
    Err(io::ErrorKind::Unsupported.into())
}

fn tune(stream: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    if let Some(time) = options.keepalive {
        let keepalive = TcpKeepalive::new().with_time(time);
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
            keepalive.with_interval(options.keepalive_interval).with_retries(options.keepalive_retries);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(options.user_timeout)?;
    Ok(())
}

/// A connected socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match self {
            Self::Tcp(stream) => stream,
            #[cfg(unix)]
            Self::Unix(stream) => stream,
        })
    }
}

impl driver::Stream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        // The future holds no state of its own, so one that is made anew for each poll is as good as the last.
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(buffer)).poll(cx),
            #[cfg(unix)]
            Self::Unix(stream) => pin!(stream.read_buf(buffer)).poll(cx),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// What the system has been asked for, for a socket that was connected with `options`.
    fn asked_for(options: TcpOptions) -> TcpOptions {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = Target::from(Peer::from(listener.local_addr().unwrap()));
        target.tcp = options;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connecting = driver::Connector::connect(&Adapter, target);
        let Stream::Tcp(stream) = runtime.block_on(connecting).unwrap().0 else { panic!("TCP") };
        let socket = SockRef::from(&stream);
        let mut found = TcpOptions::default();
        found.keepalive = socket.keepalive().unwrap().then(|| socket.tcp_keepalive_time().unwrap());
        found.keepalive_interval = socket.tcp_keepalive_interval().unwrap();
        found.keepalive_retries = socket.tcp_keepalive_retries().unwrap();
        found.user_timeout = socket.tcp_user_timeout().unwrap();
        found
    }

    /// RULE-106
    #[test]
    fn the_system_notices_links_that_have_died() {
        let found = asked_for(TcpOptions::default());
        let (seconds, limit) = (Duration::from_secs, Duration::from_secs(30));
        assert_eq!((found.keepalive, found.user_timeout), (Some(limit), Some(limit)));
        assert_eq!((found.keepalive_interval, found.keepalive_retries), (seconds(10), 3));
    }

    /// RULE-237
    #[test]
    fn the_system_is_asked_for_what_is_set() {
        let mut options = TcpOptions::default();
        options.keepalive = Some(Duration::from_secs(7));
        options.keepalive_interval = Duration::from_secs(2);
        options.keepalive_retries = 9;
        options.user_timeout = Some(Duration::from_millis(12_345));
        assert_eq!(asked_for(options), options);

        (options.keepalive, options.user_timeout) = (None, None);
        let found = asked_for(options);
        // Without a setting Linux says 0.
        assert_eq!((found.keepalive, found.user_timeout.unwrap_or_default()), (None, Duration::ZERO));
    }
}
