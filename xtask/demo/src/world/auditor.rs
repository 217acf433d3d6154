//! A connection that goes round the nodes, in RESP2: the counters that it reads are the server's own count.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hitless_core::{Command, Decoder, Frame, Limits, cmd};

const PATIENCE: Duration = Duration::from_secs(5);

/// Reads and writes behind the client's back.
pub(crate) struct Auditor {
    stream: TcpStream,
    decoder: Decoder,
}

impl Auditor {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, decoder: Decoder::new(Limits::default()) })
    }

    /// The value of each counter; 0 for one that does not exist.
    ///
    /// # Errors
    /// The server cannot be read from, or answers something else than a number.
    pub(crate) fn counters(&mut self, keys: &[String]) -> io::Result<Vec<u64>> {
        keys.iter()
            .map(|key| match self.call(cmd("GET").arg(key))? {
                Frame::Null | Frame::NullBulk => Ok(0),
                reply => {
                    let value = reply.as_str().and_then(|text| text.parse().ok());
                    value.ok_or_else(|| invalid(format!("not a counter: {reply:?}")))
                }
            })
            .collect()
    }

    /// Runs a command whose reply says nothing but that it has run.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses it.
    pub(crate) fn write(&mut self, command: Command) -> io::Result<()> {
        match self.call(command)? {
            Frame::Error(error) => Err(invalid(format!("refused: {error:?}"))),
            _ => Ok(()),
        }
    }

    /// The version of a server that speaks RESP3, on a connection that is of no other use.
    ///
    /// # Errors
    /// The server cannot be read from, or speaks RESP2 only: then nothing can be announced to its clients.
    pub(super) fn version(mut self) -> io::Result<String> {
        let info = self.call(cmd("INFO").arg("server"))?;
        let mut lines = info.as_str().unwrap_or_default().lines();
        let version = lines.find_map(|line| line.strip_prefix("redis_version:")).map(str::to_owned);
        match self.call(cmd("HELLO").arg(3))? {
            Frame::Map(_) => version.ok_or_else(|| invalid("it has no version".to_owned())),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it does not speak RESP3")),
        }
    }

    fn call(&mut self, command: Command) -> io::Result<Frame> {
        self.stream.write_all(&command.into_bytes())?;
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.poll_frame().map_err(|error| invalid(error.to_string()))? {
                return Ok(frame);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.decoder.buffer().extend_from_slice(&buffer[..count]),
            }
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Node, World};

    #[test]
    fn the_auditor_sees_what_clients_of_the_nodes_count() {
        let world = World::start(true, false).unwrap();
        let mut auditor = world.auditor().unwrap();
        let keys = ["a", "b"].map(str::to_owned);
        assert_eq!(auditor.counters(&keys).unwrap(), [0, 0]);
        for (node, count) in [(Node::A, 1), (Node::B, 2)] {
            let mut client = Auditor::connect(world.address(node)).unwrap();
            assert_eq!(client.call(cmd("INCR").arg("b")).unwrap(), Frame::Integer(count));
        }
        assert_eq!(auditor.counters(&keys).unwrap(), [0, 2]);
        assert_eq!(
            Node::ALL.map(|node| world.accepted(node)),
            [1, 1, 0, 0],
            "the auditor goes round the nodes"
        );
    }

    #[test]
    fn what_is_no_counter_is_an_error() {
        let world = World::start(true, false).unwrap();
        let mut client = Auditor::connect(world.address(Node::A)).unwrap();
        assert_eq!(client.call(cmd("SET").arg("text").arg("words")).unwrap(), Frame::simple("OK"));
        let error = world.auditor().unwrap().counters(&["text".to_owned()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
