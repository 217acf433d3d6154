//! An encrypted stream over a plain one.

use std::io::{self, BufRead as _, Write as _};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::super::traits::Stream;
use super::words;
use crate::error::{TlsFault, TlsProgress};

/// As much as one read of the plain stream takes: two records.
const READ: usize = 32 * 1024;
/// How often one poll reads from the plain stream. Only a server that sends records without a byte in them needs as many.
const READS_PER_POLL: usize = 16;
/// Records below this length leave together in one write.
const GATHER: usize = 8 * 1024;

/// TLS over `S`. The session is rustls's; this moves bytes between it and the plain stream.
///
/// The session keeps at most 64 KiB that were taken and not sent, and at most what one read has brought undecrypted.
pub(in crate::driver) struct TlsStream<S> {
    plain: S,
    session: ClientConnection,
    /// Received and not yet decrypted.
    received: BytesMut,
    /// The session has taken as much as it keeps: that leaves before it takes more, or its records would become small.
    is_full: bool,
    /// The session has something to send that nobody has written, and so nobody will flush.
    owes_answer: bool,
    /// Nothing more will be read.
    end: Option<End>,
    /// Short records on their way into one write; kept for its memory.
    gathered: Vec<u8>,
}

/// What is known while the session is negotiated.
struct Negotiation<F> {
    /// Told how far the server has come.
    report: F,
    has_answered: bool,
    /// Why what the client says cannot be sent any more.
    unsent: Option<io::Error>,
}

/// How reading has ended.
#[derive(Clone, Copy)]
enum End {
    /// The server has closed the stream, with the closing message of TLS or without: replies say themselves whether they
    /// are complete.
    Closed,
    Broken(TlsFault),
}

/// Why there is no session.
enum Failure {
    Link(io::Error),
    Closed,
    Tls(rustls::Error),
}

impl<S: Stream> TlsStream<S> {
    /// Negotiates with the server that is to be `name`.
    pub(super) async fn handshake(
        plain: S,
        session: ClientConnection,
        name: &ServerName<'_>,
        report: impl Fn(TlsProgress),
    ) -> io::Result<Self> {
        let mut stream = Self::new(plain, session);
        report(TlsProgress::Begun);
        let mut negotiation = Negotiation { report, has_answered: false, unsent: None };
        let result = std::future::poll_fn(|cx| stream.poll_handshake(cx, &mut negotiation)).await;
        match (result, negotiation.unsent) {
            (Ok(()), _) => Ok(stream),
            (Err(Failure::Tls(error)), _) => Err(words::of_handshake(name, &error)),
            // What could not be sent says more than that nothing came.
            (Err(Failure::Closed), Some(error)) | (Err(Failure::Link(error)), _) => {
                Err(words::of_link(name, &error))
            }
            (Err(Failure::Closed), None) => Err(words::of_close(name)),
        }
    }

    fn new(plain: S, session: ClientConnection) -> Self {
        Self {
            plain,
            session,
            received: BytesMut::new(),
            is_full: false,
            owes_answer: false,
            end: None,
            gathered: Vec::new(),
        }
    }

    /// A server that refuses the client may have closed its end before it is written to: what could not be sent is kept, and what
    /// the server has said is read.
    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        negotiation: &mut Negotiation<impl Fn(TlsProgress)>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if negotiation.unsent.is_none()
                && let Err(error) = ready!(self.poll_flush(cx))
            {
                negotiation.unsent = Some(error);
            }
            if !self.session.is_handshaking() {
                let unsent = negotiation.unsent.take();
                return Poll::Ready(unsent.map_or(Ok(()), |error| Err(Failure::Link(error))));
            }
            if self.received.is_empty() {
                match ready!(self.poll_receive(cx)) {
                    Ok(0) => return Poll::Ready(Err(Failure::Closed)),
                    Ok(_) => negotiation.note_answer(),
                    Err(error) => return Poll::Ready(Err(Failure::Link(error))),
                }
            }
            if let Err(error) = self.decrypt() {
                // The server is told why, if it can be told at once.
                let _ = self.poll_flush(cx);
                return Poll::Ready(Err(Failure::Tls(error)));
            }
        }
    }

    /// Reads from the plain stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.clear();
        self.received.reserve(READ);
        self.plain.poll_read(cx, &mut self.received)
    }

    /// Hands a part of what was received to the session.
    fn decrypt(&mut self) -> Result<(), rustls::Error> {
        let owed = self.session.wants_write();
        let mut rest = &self.received[..];
        match self.session.read_tls(&mut rest) {
            // After the closing message nothing counts.
            Ok(0) => self.received.clear(),
            Ok(count) => self.received.advance(count),
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
        let state = self.session.process_new_packets()?;
        if state.peer_has_closed() {
            self.end = Some(End::Closed);
        }
        self.owes_answer |= !owed && self.session.wants_write();
        Ok(())
    }

    /// Appends what is decrypted to `buffer`, as far as there is room.
    fn take_decrypted(&mut self, buffer: &mut BytesMut) -> usize {
        let mut taken = 0;
        loop {
            let room = buffer.capacity() - buffer.len();
            let mut reader = self.session.reader();
            // An error says that there is nothing, or nothing more.
            let count = reader.fill_buf().map_or(0, |bytes| {
                let count = bytes.len().min(room);
                buffer.extend_from_slice(&bytes[..count]);
                count
            });
            if count == 0 {
                return taken;
            }
            reader.consume(count);
            taken += count;
        }
    }

    /// Sends what the session has to say by itself, such as the answer to an update of its keys.
    fn answer(&mut self, cx: &mut Context<'_>) {
        if self.owes_answer && self.poll_flush(cx).is_ready() {
            // Reading finds out if the link is broken.
            self.owes_answer = false;
        }
    }

    /// Writes all that is encrypted to the plain stream.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let (stream, gathered) = (&mut self.plain, &mut self.gathered);
            let mut sink = Sink { stream, gathered, cx, is_pending: false };
            let written = self.session.write_tls(&mut sink);
            match written {
                _ if sink.is_pending => return Poll::Pending,
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn on_broken(&mut self, cx: &mut Context<'_>, error: &rustls::Error) {
        // The server is told why, if it can be told at once.
        let _ = self.poll_flush(cx);
        self.end = Some(End::Broken(words::fault(error)));
    }
}

impl<F: Fn(TlsProgress)> Negotiation<F> {
    fn note_answer(&mut self) {
        if !std::mem::replace(&mut self.has_answered, true) {
            (self.report)(TlsProgress::Answered);
        }
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.answer(cx);
        let mut taken = 0;
        let mut reads = 0;
        loop {
            taken += self.take_decrypted(buffer);
            if taken > 0 && (buffer.capacity() == buffer.len() || self.received.is_empty()) {
                return Poll::Ready(Ok(taken));
            }
            match self.end {
                Some(_) if taken > 0 => return Poll::Ready(Ok(taken)),
                Some(End::Closed) => return Poll::Ready(Ok(0)),
                Some(End::Broken(fault)) => return Poll::Ready(Err(words::of_fault(fault))),
                None => {}
            }
            if self.received.is_empty() {
                if reads == READS_PER_POLL {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                reads += 1;
                if ready!(self.poll_receive(cx))? == 0 {
                    self.end = Some(End::Closed);
                    continue;
                }
            }
            match self.decrypt() {
                Ok(()) => self.answer(cx),
                Err(error) => self.on_broken(cx, &error),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if self.is_full {
                ready!(self.poll_send(cx))?;
                self.is_full = false;
            }
            let taken = self.session.writer().write(bytes)?;
            self.is_full = taken < bytes.len();
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.plain.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        let _ = self.poll_flush(cx);
        self.plain.poll_close(cx)
    }
}

/// The plain stream as rustls writes to it.
struct Sink<'a, 'b, S> {
    stream: &'a mut S,
    gathered: &'a mut Vec<u8>,
    cx: &'a mut Context<'b>,
    is_pending: bool,
}

impl<S: Stream> Sink<'_, '_, S> {
    fn finish(&mut self, written: Poll<io::Result<usize>>) -> io::Result<usize> {
        match written {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.is_pending = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl<S: Stream> io::Write for Sink<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.poll_write(self.cx, bytes);
        self.finish(written)
    }

    /// Short records are copied together, so that they leave in one write. Long ones are written as they are.
    fn write_vectored(&mut self, records: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match records {
            [] => Ok(0),
            [first, second, ..] if first.len() + second.len() <= GATHER => {
                self.gathered.clear();
                for record in records {
                    if self.gathered.len() + record.len() > GATHER {
                        break;
                    }
                    self.gathered.extend_from_slice(record);
                }
                let written = self.stream.poll_write(self.cx, self.gathered);
                self.finish(written)
            }
            [first, ..] => self.write(first),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
