//! A client with a blocking socket, for the tests of the servers.

#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use resp3_codec::{Command, Decoder, Frame, Limits, cmd};

/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestClient {
    stream: TcpStream,
    decoder: Decoder,
}

impl TestClient {
    pub(crate) fn dial(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, decoder: Decoder::new(Limits::default()) }
    }

    /// RESP3, and notifications.
    pub(crate) fn opt_in(&mut self) {
        assert!(matches!(self.call(cmd("HELLO").arg(3)), Frame::Map(_)));
        let opt_in = cmd("CLIENT").arg("MAINT_NOTIFICATIONS").arg("ON");
        assert_eq!(self.call(opt_in), Frame::simple("OK"));
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.stream.write_all(&command.into_bytes()).unwrap();
    }

    pub(crate) fn call(&mut self, command: Command) -> Frame {
        self.send(command);
        self.frame()
    }

    pub(crate) fn frame(&mut self) -> Frame {
        self.read().unwrap().expect("a frame, not the end of the stream")
    }

    /// How the stream ends: by a FIN (none) or an error.
    pub(crate) fn end(&mut self) -> Option<ErrorKind> {
        loop {
            match self.read() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error.kind()),
            }
        }
    }

    /// Waits for the end, in whichever way.
    pub(crate) fn expect_end(&mut self) {
        let end = self.end();
        assert!(
            !matches!(end, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "the connection is still there"
        );
    }

    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent = matches!(self.read(), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    fn read(&mut self) -> std::io::Result<Option<Frame>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.decoder.poll_frame().unwrap() {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut buffer)? {
                0 => return Ok(None),
                length => self.decoder.buffer().extend_from_slice(&buffer[..length]),
            }
        }
    }
}
