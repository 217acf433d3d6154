//! A private `redis-server` process for one test or one demo.

use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longest time for the process to be ready.
const START: Duration = Duration::from_secs(60);
/// What it writes to its log then.
const READY: &str = "Ready to accept connections";
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
    /// Starts the program at `program` and waits until it says that it is ready. `options` are further words of its command line:
    /// `["--requirepass", "secret"]`.
    ///
    /// # Errors
    /// The program cannot be started, or is not ready within a minute.
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
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "notice"])
            // It reads such a file at its start: one that nobody has.
            .args(["--dbfilename", &format!("hitless-{}-{}.rdb", std::process::id(), address.port())])
            .arg("--dir")
            .arg(std::env::temp_dir())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut process = Self { child, address, bus };
        process.await_ready()?;
        Ok(process)
    }

    /// Waits until the process says that it listens at all its ports. An answer at the port would prove nothing, because another process may have taken it.
    fn await_ready(&mut self) -> io::Result<()> {
        let output = self.child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let (told, ready) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            let is_ready = lines.any(|line| line.contains(READY));
            // Nobody waits any more when it took too long.
            let _ = told.send(is_ready);
        });
        match ready.recv_timeout(START) {
            Ok(true) => Ok(()),
            // Most often somebody else took the port.
            Ok(false) => Err(io::Error::new(ErrorKind::AddrInUse, "redis-server ended at its start")),
            Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "redis-server does not say that it is ready")),
        }
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
