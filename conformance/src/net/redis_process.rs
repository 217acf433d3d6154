//! A private `redis-server` process for one test or one demo.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock;

/// Longest time for the process to answer.
const START: Duration = Duration::from_secs(10);
/// Dials with another port when the one that was picked is taken in the meantime.
const ATTEMPTS: usize = 5;

/// A process on a loopback port that the system picked, without persistence: it writes nothing, so a full disk is no
/// matter to it. Dropping it ends the process.
#[derive(Debug)]
pub struct RedisProcess {
    child: Child,
    address: SocketAddr,
    /// Where the other nodes of its cluster reach it, if it has a port for them.
    bus: Option<SocketAddr>,
}

/// Which ports a process listens at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    ForClients,
    /// A second one for the bus of its cluster. Without a choice of our own the server would take the first port plus 10000,
    /// which is taken, or no port at all.
    ForClientsAndBus,
}

impl RedisProcess {
    /// Starts the program at `program` and waits until it answers. `options` are further words of its command line:
    /// `["--requirepass", "secret"]`.
    ///
    /// # Errors
    /// The program cannot be started, or does not answer within ten seconds.
    pub fn start(program: &Path, options: &[&str]) -> io::Result<Self> {
        Self::start_at(program, Ports::ForClients, options)
    }

    /// Starts it as a node that has a port for the bus of a cluster. Reads and writes its configuration file in the directory
    /// that `options` name.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_node(program: &Path, options: &[&str]) -> io::Result<Self> {
        Self::start_at(program, Ports::ForClientsAndBus, options)
    }

    fn start_at(program: &Path, ports: Ports, options: &[&str]) -> io::Result<Self> {
        let mut result = Err(ErrorKind::TimedOut.into());
        for _ in 0..ATTEMPTS {
            result = Self::attempt(program, ports, options);
            match &result {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                _ => break,
            }
        }
        result
    }

    /// Where it can be dialled.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where the other nodes of its cluster reach it, for `CLUSTER MEET`.
    #[must_use]
    pub fn bus(&self) -> Option<SocketAddr> {
        self.bus
    }

    /// Ends the process at once, as a crash would (`SIGKILL`). Again is a no-op.
    pub fn kill(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn attempt(program: &Path, ports: Ports, options: &[&str]) -> io::Result<Self> {
        let (address, bus) = pick(ports)?;
        let mut command = Command::new(program);
        if let Some(bus) = bus {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.port().to_string()]);
        }
        let child = command
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"])
            // It reads such a file at its start: one that nobody has.
            .args(["--dbfilename", &format!("hitless-{}-{}.rdb", std::process::id(), address.port())])
            .arg("--dir")
            .arg(std::env::temp_dir())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut process = Self { child, address, bus };
        process.await_answer()?;
        Ok(process)
    }

    fn await_answer(&mut self) -> io::Result<()> {
        let give_up = clock::now() + START;
        while clock::now() < give_up {
            if self.child.try_wait()?.is_some() {
                // Most often somebody else took the port.
                return Err(io::Error::new(ErrorKind::AddrInUse, "redis-server ended at its start"));
            }
            if answers(self.address) {
                return Ok(());
            }
            // Another program's start is no event of ours: it is asked until it answers.
            thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::new(ErrorKind::TimedOut, "redis-server does not answer"))
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that are free now. Both are held until both are known, so that they differ.
fn pick(ports: Ports) -> io::Result<(SocketAddr, Option<SocketAddr>)> {
    let clients = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let bus = match ports {
        Ports::ForClients => None,
        Ports::ForClientsAndBus => Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?),
    };
    let bus = bus.as_ref().map(TcpListener::local_addr).transpose()?;
    Ok((clients.local_addr()?, bus))
}

/// Whether something answers a PING, be it with an error: the server may want a password.
fn answers(address: SocketAddr) -> bool {
    let ping = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, START)?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 8];
        let length = stream.read(&mut reply)?;
        Ok(length > 0 && !reply.starts_with(b"-LOADING"))
    };
    ping().unwrap_or(false)
}
