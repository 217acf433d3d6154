//! The way from the clients to the server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::now;

/// How the server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Link {
    /// The loopback interface.
    Loopback,
    /// The loopback interface, with TLS.
    Encrypted,
    /// Bytes take one millisecond each way.
    Distant,
}

impl Link {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Encrypted, Self::Distant];

    /// In tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Encrypted => "loopback with TLS",
            Self::Distant => "1 ms each way",
        }
    }
}

/// How long the bytes of a distant link take.
const DELAY: Duration = Duration::from_millis(1);
/// How many pieces of at most [`PIECE`] bytes are on their way in one direction.
const PIECES: usize = 1024;
const PIECE: usize = 64 * 1024;

/// Listens at the returned port and passes everything on to the server at `server`, and back, after [`DELAY`]. It lasts
/// as long as the process.
pub(super) fn distant(server: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming() {
            // A client that is gone already is none to serve.
            let _ = client.and_then(|client| connect(client, server));
        }
    });
    Ok(port)
}

fn connect(client: TcpStream, server: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pass_on(client.try_clone()?, server.try_clone()?);
    pass_on(server, client);
    Ok(())
}

/// Passes on what comes from one end to the other, until either ends.
fn pass_on(mut from: TcpStream, to: TcpStream) {
    let (sender, receiver) = mpsc::sync_channel(PIECES);
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((now() + DELAY, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || deliver(&receiver, to));
}

fn deliver(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (at, piece) in pieces {
        thread::sleep(at.saturating_duration_since(now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown(std::net::Shutdown::Both);
}
