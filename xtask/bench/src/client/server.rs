//! A redis-server of our own, and a cluster of them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use bytes::BytesMut;
use hitless_conformance::net::redis_cluster::{RedisCluster, Shape};
use hitless_tokio::cluster::{SLOTS, key_slot};
use resp3_codec::encode_command;

use super::contenders::Address;
use super::load::{LARGE_KEY, LARGE_VALUE, VALUE, keys};
use crate::program::redis_server;

/// How long the server may take to answer, in steps of [`STEP`].
const PATIENCE: u32 = 500;
const STEP: Duration = Duration::from_millis(10);

/// The file with the certificate, which vouches for itself.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// A server on the loopback interface that keeps nothing on disk, with all keys set. It is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    port: u16,
    encrypted: Option<Encrypted>,
}

/// What a server has that speaks TLS as well.
struct Encrypted {
    port: u16,
    /// The directory of its certificate and its key.
    files: PathBuf,
}

impl Server {
    /// `encrypts`: at another port it speaks TLS.
    pub(super) fn start(encrypts: bool) -> io::Result<Self> {
        let program = redis_server();
        // If somebody else takes a port before the server does, the server ends at once and says so.
        let [port, encrypted_port] = free_ports()?;
        let encrypted = encrypts.then(|| Encrypted::new(encrypted_port)).transpose()?;
        let mut options = vec!["--port".to_owned(), port.to_string()];
        options.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(str::to_owned));
        options.extend(encrypted.iter().flat_map(Encrypted::options));
        let child =
            Command::new(&program)
                .args(options)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        let mut server = Self { child, port, encrypted };
        server.fill()?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Where it speaks TLS, if it does.
    pub(super) fn encrypted(&self) -> Option<Address> {
        let Encrypted { port, files } = self.encrypted.as_ref()?;
        Some(Address { ports: vec![*port], certificate: Some(files.join(CERTIFICATE)) })
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
            encode_command(&mut commands, &[&b"SET"[..], key.as_bytes(), VALUE]);
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
                return Err(io::Error::other(format!(
                    "redis-server ended: {status}. For one without TLS: `--link loopback --link distant`"
                )));
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

/// How many nodes a cluster has.
const NODES: usize = 3;

/// As many servers as [`NODES`] that are one cluster, with all keys set. They are killed when this is dropped.
pub(super) struct Cluster(RedisCluster);

impl Cluster {
    pub(super) fn start() -> io::Result<Self> {
        let shape = Shape::default().with_primaries(NODES).without_replicas();
        let cluster = RedisCluster::start(&redis_server(), &shape)?;
        for node in 0..NODES {
            let keys = keys().into_iter().filter(|key| node_of(key) == node);
            let commands = keys.map(|key| [&b"SET"[..], key.as_bytes(), VALUE].map(<[u8]>::to_vec));
            for set in cluster.connect(node)?.pipeline(commands)? {
                set?;
            }
        }
        Ok(Self(cluster))
    }

    /// Those of its nodes, in the order of their slots.
    pub(super) fn ports(&self) -> Vec<u16> {
        (0..NODES).map(|node| self.0.address(node).port()).collect()
    }

    /// Its processes.
    pub(super) fn ids(&self) -> Vec<u32> {
        (0..NODES).filter_map(|node| self.0.process_id(node)).collect()
    }
}

/// Which node of a [`Cluster`] has `key`: the slots are shared out evenly. A server refuses keys of others.
pub(super) fn node_of(key: &str) -> usize {
    let slot = usize::from(key_slot(key.as_bytes()));
    (1..NODES).filter(|node| usize::from(SLOTS) * node / NODES <= slot).count()
}

impl Encrypted {
    /// Makes a certificate for the server at `port`.
    fn new(port: u16) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).map_err(io::Error::other)?;
        let encrypted = Self { port, files: env::temp_dir().join(format!("hitless-bench-{port}")) };
        fs::create_dir_all(&encrypted.files)?;
        fs::write(encrypted.files.join(CERTIFICATE), made.cert.pem())?;
        fs::write(encrypted.files.join(KEY), made.signing_key.serialize_pem())?;
        Ok(encrypted)
    }

    /// What the server is told at its start.
    fn options(&self) -> Vec<String> {
        let path = |name| self.files.join(name).display().to_string();
        let options = [
            ("--tls-port", self.port.to_string()),
            ("--tls-auth-clients", "no".to_owned()),
            ("--tls-cert-file", path(CERTIFICATE)),
            ("--tls-ca-cert-file", path(CERTIFICATE)),
            ("--tls-key-file", path(KEY)),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        // What is left is two files in the directory for such.
        let _ = fs::remove_dir_all(&self.files);
    }
}

/// Two that nobody listens at.
fn free_ports() -> io::Result<[u16; 2]> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}
