//! A plain connection to a real `redis-server`, for those who set it up: one thread waits for each reply.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use resp3_codec::{Decoder, Frame, Limits, encode_command};

/// Longest time for one reply.
const REPLY: Duration = Duration::from_secs(30);
const READ: usize = 16 * 1024;

/// A connection in RESP2, as it is when it opens. It blocks its thread.
#[derive(Debug)]
pub struct RedisConnection {
    stream: TcpStream,
    decoder: Decoder,
}

impl RedisConnection {
    /// Dials the server.
    ///
    /// # Errors
    /// The server does not accept.
    pub fn dial(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, REPLY)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY))?;
        Ok(Self { stream, decoder: Decoder::new(Limits::default()) })
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// The connection is lost, no reply comes within 30 seconds, or the reply is an error, whose text the error is.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Frame> {
        let mut replies = self.pipeline([words])?;
        replies.pop().unwrap_or_else(|| Err(ErrorKind::UnexpectedEof.into()))
    }

    /// Sends commands in one write, and waits for the reply to each: what it is, or the error that it says.
    ///
    /// # Errors
    /// The connection is lost, or a reply does not come within 30 seconds.
    pub fn pipeline<C, W>(
        &mut self,
        commands: impl IntoIterator<Item = C>,
    ) -> io::Result<Vec<io::Result<Frame>>>
    where
        C: AsRef<[W]>,
        W: AsRef<[u8]>,
    {
        let mut bytes = BytesMut::new();
        let mut count = 0;
        for command in commands {
            let words: Vec<&[u8]> = command.as_ref().iter().map(AsRef::as_ref).collect();
            encode_command(&mut bytes, &words);
            count += 1;
        }
        self.stream.write_all(&bytes)?;
        (0..count).map(|_| Ok(refused(self.frame()?))).collect()
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let mut read = [0; READ];
        loop {
            let frame = self.decoder.poll_frame();
            if let Some(frame) = frame.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))? {
                return Ok(frame);
            }
            let length = self.stream.read(&mut read)?;
            if length == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.decoder.buffer().extend_from_slice(&read[..length]);
        }
    }
}

/// An error as a reply, as an error.
fn refused(frame: Frame) -> io::Result<Frame> {
    match frame.as_error() {
        Some(text) => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
        None => Ok(frame),
    }
}

/// The text of a reply that has one.
///
/// # Errors
/// It is of another kind.
pub(super) fn text(frame: Frame) -> io::Result<String> {
    let bytes: Option<Bytes> = frame.into_bytes();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    text.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the reply is no text"))
}
