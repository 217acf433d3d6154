//! A connection that only reads counters, in RESP2: what it finds is the server's own count.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// Reads counters behind the client's back.
pub(crate) struct Auditor {
    stream: BufReader<TcpStream>,
}

impl Auditor {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The value of each counter; 0 for one that does not exist.
    ///
    /// # Errors
    /// The server cannot be read from, or answers something else than a number.
    pub(crate) fn counters(&mut self, keys: &[String]) -> io::Result<Vec<u64>> {
        let mut requests = String::new();
        for key in keys {
            requests.push_str(&format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()));
        }
        self.stream.get_mut().write_all(requests.as_bytes())?;
        keys.iter().map(|_| self.counter()).collect()
    }

    fn counter(&mut self) -> io::Result<u64> {
        let header = self.line()?;
        if header == "$-1" {
            return Ok(0);
        }
        if !header.starts_with('$') {
            return Err(not_a_counter(&header));
        }
        let value = self.line()?;
        value.parse().map_err(|_| not_a_counter(&value))
    }

    /// The version of a server that speaks RESP3, on a connection that is of no other use.
    ///
    /// # Errors
    /// The server cannot be read from, or speaks RESP2 only: then nothing can be announced to its clients.
    pub(super) fn version(mut self) -> io::Result<String> {
        self.stream.get_mut().write_all(b"INFO server\r\nHELLO 3\r\n")?;
        let mut version = None;
        loop {
            let line = self.line()?;
            if let Some(found) = line.strip_prefix("redis_version:") {
                version = Some(found.to_owned());
            } else if line.starts_with('-') {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "it does not speak RESP3"));
            } else if line.starts_with('%') {
                return version
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has no version"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        // No counter is that long.
        self.stream.by_ref().take(4096).read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn not_a_counter(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a counter: {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Node, World};

    #[test]
    fn the_auditor_sees_what_clients_of_the_nodes_count() {
        let world = World::start(true).unwrap();
        let mut auditor = world.auditor().unwrap();
        let keys = ["a", "b"].map(str::to_owned);
        assert_eq!(auditor.counters(&keys).unwrap(), [0, 0]);
        for (node, count) in [(Node::A, ":1\r\n"), (Node::B, ":2\r\n")] {
            let mut client = Auditor::connect(world.address(node)).unwrap();
            client.stream.get_mut().write_all(b"INCR b\r\n").unwrap();
            assert_eq!(client.line().unwrap(), count.trim_end());
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
        let world = World::start(true).unwrap();
        let mut client = Auditor::connect(world.address(Node::A)).unwrap();
        client.stream.get_mut().write_all(b"SET text words\r\n").unwrap();
        assert_eq!(client.line().unwrap(), "+OK");
        let error = world.auditor().unwrap().counters(&["text".to_owned()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
