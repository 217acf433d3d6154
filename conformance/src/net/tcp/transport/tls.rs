//! The server's side of TLS, between the threads that read and write.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection};

use super::super::super::lock;

const RECORD: usize = 16 * 1024;

/// One connection.
#[derive(Debug)]
pub(in crate::net::tcp) struct Session(Mutex<State>);

#[derive(Debug)]
struct State {
    connection: ServerConnection,
    /// Received and not yet decrypted.
    received: Vec<u8>,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(config).expect("the configuration of a server is complete");
        Self(Mutex::new(State { connection, received: Vec::new() }))
    }

    /// The number of bytes read; none at the end of the stream, or after what is no TLS.
    pub(super) fn read(&self, stream: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
        loop {
            {
                let mut state = lock(&self.0);
                loop {
                    match state.connection.reader().read(buffer) {
                        Ok(0) => return None,
                        Ok(length) => return Some(length),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return None,
                    }
                    if state.received.is_empty() {
                        break;
                    }
                    let is_broken = state.decrypt().is_err();
                    // What is not written here is written with the next reply.
                    let _ = state.send(stream);
                    if is_broken {
                        return None;
                    }
                }
            }
            // The lock is free while nothing comes: replies and pushes are written meanwhile.
            let mut record = [0; RECORD];
            let length = super::read(stream, &mut record)?;
            lock(&self.0).received.extend_from_slice(&record[..length]);
        }
    }

    pub(super) fn write(&self, stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let mut state = lock(&self.0);
        state.send(stream)?;
        let taken = state.connection.writer().write(bytes)?;
        match state.send(stream) {
            Err(error) if taken == 0 => Err(error),
            // The rest is tried again, since it is unsent.
            _ => Ok(taken),
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        lock(&self.0).connection.wants_write()
    }

    pub(super) fn say_goodbye(&self, stream: &TcpStream) {
        let mut state = lock(&self.0);
        state.connection.send_close_notify();
        // A client that is gone hears nothing.
        let _ = state.send(stream);
    }
}

impl State {
    fn decrypt(&mut self) -> Result<(), rustls::Error> {
        let mut rest = &self.received[..];
        let count =
            self.connection.read_tls(&mut rest).map_err(|error| rustls::Error::General(error.to_string()))?;
        // After the closing message nothing counts.
        let count = if count == 0 { self.received.len() } else { count };
        self.received.drain(..count);
        self.connection.process_new_packets().map(drop)
    }

    fn send(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut stream)?;
        }
        Ok(())
    }
}
