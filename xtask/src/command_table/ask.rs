//! Starts a server, and asks it what commands it has.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Between one dial and the next, until the server listens.
const PAUSE: Duration = Duration::from_millis(20);
const DIALS: usize = 500;

/// What a server has said.
pub(super) struct Answer {
    pub(super) version: String,
    pub(super) commands: Value,
}

/// A reply in RESP2.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Self>),
}

/// Asks a server of its own, which ends with the answer.
pub(super) fn server(program: &Path) -> io::Result<Answer> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut server = Process(start(program, address)?);
    let mut stream = BufReader::new(server.dial(address)?);
    stream.get_mut().write_all(b"INFO server\r\nCOMMAND\r\n")?;
    let info = read(&mut stream)?;
    let info = info.text().unwrap_or_default();
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown");
    Ok(Answer { version: version.trim().to_owned(), commands: read(&mut stream)? })
}

fn start(program: &Path, address: SocketAddr) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(std::env::temp_dir());
    command.args(["--dbfilename", &format!("hitless-table-{}.rdb", address.port())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Ends with its owner.
struct Process(Child);

impl Process {
    fn dial(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        for _ in 0..DIALS {
            match TcpStream::connect(address) {
                Ok(stream) => return Ok(stream),
                Err(_) if self.0.try_wait()?.is_none() => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::TimedOut, "the server does not listen"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Value> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let (sign, rest) = line.trim_end().split_at_checked(1).ok_or(ErrorKind::UnexpectedEof)?;
    let number = || rest.parse::<i64>().map_err(|_| io::Error::from(ErrorKind::InvalidData));
    let length = || usize::try_from(number()?).map_err(|_| io::Error::from(ErrorKind::InvalidData));
    match sign {
        "+" => Ok(Value::Text(rest.to_owned())),
        ":" => Ok(Value::Integer(number()?)),
        "$" => {
            let mut text = vec![0; length()? + 2];
            stream.read_exact(&mut text)?;
            text.truncate(text.len() - 2);
            Ok(Value::Text(String::from_utf8_lossy(&text).into_owned()))
        }
        "*" => (0..length()?).map(|_| read(stream)).collect::<io::Result<_>>().map(Value::List),
        _ => Err(io::Error::new(ErrorKind::InvalidData, line)),
    }
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::List(_) => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(_) | Self::List(_) => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            Self::Text(_) | Self::Integer(_) => None,
        }
    }

    /// The value behind `name` in a list of names and values.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let mut pairs = self.list()?.chunks_exact(2);
        pairs.find(|pair| pair[0].text() == Some(name)).map(|pair| &pair[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read() {
        let mut bytes = &b"*2\r\n$4\r\na\r\nb\r\n*2\r\n+x\r\n:-7\r\n"[..];
        let value = read(&mut bytes).unwrap();
        assert_eq!(value.list().unwrap()[0].text(), Some("a\r\nb"));
        assert_eq!(value.list().unwrap()[1].field("x").unwrap().integer(), Some(-7));
        assert!(read(&mut &b"$-1\r\n"[..]).is_err());
        assert!(read(&mut &b""[..]).is_err());
    }
}
