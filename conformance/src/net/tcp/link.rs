//! One connection: its sockets, and what could not be written yet.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;

use super::super::lock;
use super::transport::{Security, Transport};
use crate::server::{CloseHow, ServerConn};

/// Longest time that a thread waits for a client that does not read; the rest is written later.
const WRITE_TIMEOUT: Duration = Duration::from_millis(5);
/// More than this unread by a client ends its connection, as redis's `client-output-buffer-limit` does.
const MAX_UNSENT: usize = 256 * 1024 * 1024;

/// What is known of the bytes on their way to the client. Locked before the machine is, never after.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) buffer: BytesMut,
    /// To be done once the buffer is empty.
    closing: bool,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: ServerConn,
    pub(super) stream: TcpStream,
    pub(super) transport: Transport,
    /// The connection to the real server behind this one, once it is there.
    pub(super) upstream: OnceLock<TcpStream>,
    pub(super) outgoing: Mutex<Outgoing>,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Everything,
    /// The client does not read as fast as it asks.
    Stuck,
}

impl Link {
    pub(super) fn new(conn: ServerConn, stream: TcpStream, security: &Security) -> Self {
        // Neither fails on a socket that is open; on one that is not, the first read tells.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let transport = Transport::new(security);
        Self { conn, stream, transport, upstream: OnceLock::new(), outgoing: Mutex::default() }
    }

    /// Writes what is in the buffer, as far as the client reads it.
    pub(super) fn write(&self, outgoing: &mut Outgoing) -> Written {
        while !outgoing.buffer.is_empty() || self.transport.has_unsent() {
            match self.transport.write(&self.stream, &outgoing.buffer) {
                Ok(written) => outgoing.buffer.advance(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if outgoing.buffer.len() <= MAX_UNSENT {
                        return Written::Stuck;
                    }
                    outgoing.buffer.clear();
                    self.shut(CloseHow::Reset);
                }
                // The reader finds the same, and tells the machine.
                Err(_) => {
                    outgoing.buffer.clear();
                    break;
                }
            }
        }
        if std::mem::take(&mut outgoing.closing) {
            self.shut(CloseHow::Fin);
        }
        Written::Everything
    }

    /// Closes: in order once everything is written, or at once.
    pub(super) fn close(&self, how: CloseHow) {
        let mut outgoing = lock(&self.outgoing);
        if how == CloseHow::Fin && (!outgoing.buffer.is_empty() || self.transport.has_unsent()) {
            outgoing.closing = true;
            return;
        }
        outgoing.buffer.clear();
        self.shut(how);
    }

    /// Ends the sockets; the reader wakes, and the last owner of the link closes them.
    pub(super) fn shut(&self, how: CloseHow) {
        // Errors mean that the socket has ended by itself.
        match how {
            CloseHow::Fin => {
                self.transport.say_goodbye(&self.stream);
                let _ = self.stream.shutdown(Shutdown::Both);
            }
            CloseHow::Reset => {
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                // Only the reading side: a FIN ahead of the reset would turn it into an orderly end.
                let _ = self.stream.shutdown(Shutdown::Read);
            }
        }
        if let Some(upstream) = self.upstream.get() {
            let _ = upstream.shutdown(Shutdown::Both);
        }
    }
}
