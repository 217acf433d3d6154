//! How a test server is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::machine::CloseHow;

/// Settings of a whole server: its accounts, its maintenance habits, what its ledger keeps.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Seed of everything that varies; today the gaps between ids of notifications. Default 1.
    pub seed: u64,
    /// Accounts. Default: `default` without a password.
    pub users: Vec<User>,
    /// Number of databases. Default 16.
    pub databases: usize,
    /// Version in `HELLO` and `INFO`. Default `7.4.0`.
    pub version: String,
    /// Whether the last `MIGRATED` or `FAILED_OVER` is sent to every connection that opts in, however
    /// long ago it was, as real servers do. Default `true`.
    pub replays_completions: bool,
    /// What the ledger keeps. Default [`Detail::Everything`].
    pub detail: Detail,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            users: vec![User::open("default")],
            databases: 16,
            version: "7.4.0".to_owned(),
            replays_completions: true,
            detail: Detail::Everything,
        }
    }
}

impl ServerConfig {
    /// The same with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same with a password for the user `default` (redis: `requirepass`).
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        self.with_user(User::new("default", password))
    }

    /// The same with one more account, which replaces one of the same name.
    #[must_use]
    pub fn with_user(mut self, user: User) -> Self {
        self.users.retain(|known| known.name != user.name);
        self.users.push(user);
        self
    }

    /// The same with a ledger that keeps this much.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// The same without replaying completions to those who opt in later.
    #[must_use]
    pub fn without_replayed_completions(mut self) -> Self {
        self.replays_completions = false;
        self
    }
}

/// How much the ledger keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Dials, opt-ins, notifications and closes only: for long runs under load.
    Connections,
    /// Every request received and executed as well: for tests.
    Everything,
}

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) name: String,
    pub(super) password: Option<String>,
    pub(super) denied: Vec<String>,
}

impl User {
    /// An account with a password.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: Some(password.to_owned()), denied: Vec::new() }
    }

    /// An account that every password opens.
    #[must_use]
    pub fn open(name: &str) -> Self {
        Self { name: name.to_owned(), password: None, denied: Vec::new() }
    }

    /// The same without the right to run this command (`"GET"`, `"CLIENT UNBLOCK"`).
    #[must_use]
    pub fn without(mut self, command: &str) -> Self {
        self.denied.push(command.to_owned());
        self
    }
}

/// What an endpoint does with `CLIENT MAINT_NOTIFICATIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptIn {
    /// Accepts it.
    Supported,
    /// `ERR unknown subcommand`, as open source servers.
    UnknownSubcommand,
    /// `NOPERM`, as a server whose ACL forbids it.
    NoPermission,
    /// `LOADING`.
    Loading,
    /// `ERR` of another kind.
    OtherError,
    /// Closes the link, as some proxies.
    ClosesLink(CloseHow),
}

/// What an endpoint does with `HELLO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Speaks RESP2 and RESP3.
    Supported,
    /// Does not know the command, as servers before 6.0; the error echoes its arguments.
    Unknown,
    /// Refuses every version but 2.
    NoProto,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    pub(super) address: SocketAddr,
    pub(super) host: Option<String>,
    pub(super) opt_in: OptIn,
    pub(super) hello: Hello,
    pub(super) latency: Duration,
    pub(super) answers_pings: bool,
    pub(super) message_delay: Duration,
}

impl EndpointSpec {
    /// An endpoint at an address; the TCP shell replaces it by the one that it really binds.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            host: None,
            opt_in: OptIn::Supported,
            hello: Hello::Supported,
            latency: Duration::ZERO,
            answers_pings: false,
            message_delay: Duration::ZERO,
        }
    }

    /// An endpoint at a loopback address whose port is still to be picked.
    #[must_use]
    pub fn loopback() -> Self {
        Self::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The same with a host name, which is sent as a target to those who asked for names.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The same with another answer to the opt-in.
    #[must_use]
    pub fn with_opt_in(mut self, opt_in: OptIn) -> Self {
        self.opt_in = opt_in;
        self
    }

    /// The same with another answer to `HELLO`.
    #[must_use]
    pub fn with_hello(mut self, hello: Hello) -> Self {
        self.hello = hello;
        self
    }

    /// The same with every reply delayed by this much.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The same as a proxy that answers `PING` itself: the answer says nothing of the node behind it, neither that it serves
    /// nor that its messages have arrived.
    #[must_use]
    pub fn answering_pings(mut self) -> Self {
        self.answers_pings = true;
        self
    }

    /// The same as a proxy that is slow to pass messages of subscriptions on: later answers overtake them.
    #[must_use]
    pub fn with_message_delay(mut self, delay: Duration) -> Self {
        self.message_delay = delay;
        self
    }
}
