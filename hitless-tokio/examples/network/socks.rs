//! A connector of your own: every connection goes through a SOCKS5 proxy (RFC 1928).

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::hitless::driver::Stream as _;
use crate::hitless::{Adapter, BytesMut, Connector, Peer, Resolver, Stream, Target};

/// The SOCKS5 proxy at this address, which asks for no password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socks(pub(crate) SocketAddr);

impl Resolver for Socks {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Adapter.resolve(host).await
    }
}

impl Connector for Socks {
    type Stream = Stream;

    /// TLS is not looked at here: the client encrypts the stream that this returns.
    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        let Peer::Tcp(address) = target.address else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut proxy = Target::from(Peer::from(self.0));
        proxy.tcp = target.tcp;
        let (mut stream, _) = Adapter.connect(proxy).await?;
        // Version 5, and one method: no authentication.
        write(&mut stream, &[5, 1, 0]).await?;
        if read(&mut stream, 2).await?[..] != [5, 0] {
            return Err(io::Error::other("the SOCKS proxy asks for a password, or is none"));
        }
        write(&mut stream, &connect_to(address)).await?;
        // The address that the proxy dials from follows; nobody needs it.
        let answer = read(&mut stream, 5).await?;
        if answer[1] != 0 {
            return Err(io::Error::other(format!("the SOCKS proxy cannot connect: code {}", answer[1])));
        }
        let length = match answer[3] {
            1 => 10,
            3 => 7 + usize::from(answer[4]),
            4 => 22,
            kind => return Err(io::Error::other(format!("the SOCKS proxy has an address of kind {kind}"))),
        };
        read(&mut stream, length.saturating_sub(answer.len())).await?;
        // The client knows the connection by the server's address, and not by the proxy's.
        Ok((stream, address.into()))
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
