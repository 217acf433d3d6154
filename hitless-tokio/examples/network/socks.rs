//! A connector of your own: every connection goes through a SOCKS5 proxy (RFC 1928).

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::hitless::driver::Stream as _;
use crate::hitless::{Adapter, BytesMut, Connector, Peer, Resolver, Stream, Target};

/// A SOCKS5 proxy, which asks for no password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socks {
    pub(crate) proxy: SocketAddr,
    /// Whether names are looked up on this side. Who uses a proxy may not want anybody here to learn of them, and the
    /// answer here may not be that of the network behind the proxy.
    pub(crate) looks_up: bool,
}

impl Socks {
    /// `error`, with the proxy's address in front: otherwise the target alone is named.
    fn name(self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("SOCKS proxy {}: {error}", self.proxy))
    }

    /// Has the proxy connect to `address`.
    async fn join(self, target: Target, address: SocketAddr) -> io::Result<Stream> {
        let mut proxy = Target::from(Peer::from(self.proxy));
        proxy.tcp = target.tcp;
        let (mut stream, _) = Adapter.connect(proxy).await?;
        // Version 5, and one method: no authentication.
        write(&mut stream, &[5, 1, 0]).await?;
        if read(&mut stream, 2).await?[..] != [5, 0] {
            return Err(io::Error::other("it asks for a password, or speaks no SOCKS5"));
        }
        write(&mut stream, &connect_to(address)).await?;
        // The address that the proxy dials from follows; nobody needs it.
        let answer = read(&mut stream, 5).await?;
        if answer[1] != 0 {
            return Err(io::Error::other(format!("it cannot connect: {}", meaning(answer[1]))));
        }
        let length = match answer[3] {
            1 => 10,
            3 => 7 + usize::from(answer[4]),
            4 => 22,
            kind => return Err(io::Error::other(format!("it has an address of kind {kind}"))),
        };
        read(&mut stream, length.saturating_sub(answer.len())).await?;
        Ok(stream)
    }
}

impl Resolver for Socks {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if self.looks_up {
            return Adapter.resolve(host).await;
        }
        let text = "names are not looked up on this side of the SOCKS proxy: write the server's address, or looks-up=true";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

impl Connector for Socks {
    type Stream = Stream;

    /// TLS is not looked at here: the client encrypts the stream that this returns.
    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        let Peer::Tcp(address) = target.address else { return Err(io::ErrorKind::Unsupported.into()) };
        let stream = self.join(target, address).await.map_err(|error| self.name(&error))?;
        // The client knows the connection by the server's address, and not by the proxy's.
        Ok((stream, address.into()))
    }
}

/// What a proxy says by this code (RFC 1928, section 6).
fn meaning(code: u8) -> &'static str {
    match code {
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection is refused",
        6 => "it took too long",
        _ => "it does not say why",
    }
}

/// The request to connect to `address`.
fn connect_to(address: SocketAddr) -> Vec<u8> {
    let mut request = vec![5, 1, 0];
    match address.ip() {
        IpAddr::V4(ip) => request.extend([1].iter().chain(&ip.octets())),
        IpAddr::V6(ip) => request.extend([4].iter().chain(&ip.octets())),
    }
    request.extend(address.port().to_be_bytes());
    request
}

async fn write(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::future::poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    std::future::poll_fn(|cx| stream.poll_flush(cx)).await
}

/// Reads `count` bytes at least. No more than an answer is there: a Redis server does not speak first.
async fn read(stream: &mut Stream, count: usize) -> io::Result<BytesMut> {
    let mut buffer = BytesMut::with_capacity(count);
    while buffer.len() < count {
        if std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer)
}
