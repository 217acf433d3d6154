//! A redis-server of our own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use bytes::BytesMut;
use resp3_codec::encode_command;

use super::load::{LARGE_KEY, LARGE_VALUE, VALUE, keys};

/// The environment variable that says where the program is, if it is not the one on the `PATH`.
const VARIABLE: &str = "HITLESS_REDIS_SERVER";

/// How long the server may take to answer, in steps of [`STEP`].
const PATIENCE: u32 = 500;
const STEP: Duration = Duration::from_millis(10);

/// A server on the loopback interface that keeps nothing on disk, with all keys set. It is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(super) fn start() -> io::Result<Self> {
        let program = env::var_os(VARIABLE).unwrap_or_else(|| "redis-server".into());
        // If somebody else takes the port before the server does, the server ends at once and says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new(&program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        let mut server = Self { child, port };
        server.fill()?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sets all keys as soon as the server answers.
    fn fill(&mut self) -> io::Result<()> {
        let mut stream = self.connect()?;
        let mut commands = BytesMut::new();
        let keys = keys();
        for key in &keys {
            encode_command(&mut commands, &[b"SET", key.as_bytes(), VALUE]);
        }
        encode_command(&mut commands, &[b"SET", LARGE_KEY.as_bytes(), LARGE_VALUE]);
        stream.write_all(&commands)?;
        let expected = b"+OK\r\n".repeat(keys.len() + 1);
        let mut replies = vec![0; expected.len()];
        stream.read_exact(&mut replies)?;
        if replies == expected { Ok(()) } else { Err(io::Error::other("SET failed")) }
    }

    fn connect(&mut self) -> io::Result<TcpStream> {
        for _ in 0..PATIENCE {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                return Ok(stream);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("redis-server ended: {status}")));
            }
            thread::sleep(STEP);
        }
        Err(io::Error::other("redis-server does not answer"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
