//! Configuration: a builder that checks, and a value that cannot be invalid.

mod cluster;
mod credentials;
mod error;
pub mod maintenance;
mod subscriptions;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod tracking;
mod url;

use std::sync::Arc;
use std::time::Duration;

use resp3_codec::{Command, Limits};

pub use self::credentials::{Credentials, Secret};
pub use self::error::ConfigError;
pub use self::maintenance::HandoffCapacity;
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsBuilder};
pub use self::tracking::Tracking;
use crate::command_table;
use crate::endpoint::{Endpoint, Host, TcpOptions, lies_in, server_name, shares_domain};
use crate::mode::Mode;

/// Connections of the largest pool. Servers accept 10 000 clients by default.
const MAX_POOL_SIZE: usize = 10_000;
const POOL_SIZE_RANGE: &str = "from 1 to 10000: commands are pipelined, so few connections carry much";
const PARKED_RANGE: &str =
    "at least 1: to have requests fail while there is no connection, set `when_disconnected` to `Fail`";
/// How long a link may owe a reply where no command timeout says what is slow.
const DEAD_LINK_TIMEOUT: Duration = Duration::from_secs(10);

/// The dialect spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// RESP2: no pushes, hence no maintenance notifications.
    Resp2,
    /// RESP3, falling back to RESP2 with a server that does not know HELLO (unless the mode is
    /// [`Mode::Enabled`]).
    #[default]
    Resp3,
}

/// What becomes of a call when as many requests as configured are under way or parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// It fails with [`SendError::Full`](crate::request::SendError::Full), which gives the request back.
    #[default]
    Fail,
    /// It waits for room, in order of arrival, within its timeout: that begins with the call.
    Wait,
}

/// What becomes of a request while there is no connection. The set is closed: there is no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum WhenDisconnected {
    /// It waits for a connection, until its timeout. Its error then says why the last attempt to connect has failed.
    #[default]
    Wait,
    /// It fails as soon as an attempt to connect has failed, and at once while that is the last that is known. It still
    /// waits for the first attempt after a loss, and while maintenance is announced or a move goes on: servers are then
    /// expected to be away for a moment.
    Fail,
}

/// Everything a client needs to know. Only [`ConfigBuilder::build`] makes one, so it is always valid.
#[derive(Clone, Debug)]
pub struct Config {
    settings: ConfigBuilder,
    capacity: HandoffCapacity,
}

impl Config {
    /// A builder with the defaults for the server at `endpoint`.
    pub fn builder(endpoint: Endpoint) -> ConfigBuilder {
        ConfigBuilder::new(endpoint)
    }

    /// The configured endpoint: the *name* whose addresses are dialled.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.settings.is_encrypted()
    }

    /// How the driver encrypts connections, if it does.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_settings(&self) -> Option<&Tls> {
        self.settings.tls.as_ref()
    }

    /// The name by which servers at the configured endpoint are verified, where it is not the host of that.
    #[must_use]
    pub fn server_name(&self) -> Option<&Arc<str>> {
        self.settings.server_name.as_ref()
    }

    /// By which name a server is verified that is dialled for the configured endpoint, or for the `target` of a move.
    pub(crate) fn name_of(&self, target: Option<&Endpoint>) -> Option<Arc<str>> {
        server_name(self.verified_by(), target)
    }

    /// Whether a MOVING may lead to `target` by the server's word alone.
    pub(crate) fn trusts_target(&self, target: &Endpoint) -> bool {
        let Endpoint::Tcp { host: Host::Name(name), .. } = target else { return true };
        !self.tls()
            || self.verified_by().is_some_and(|configured| shares_domain(name, configured))
            || self.settings.target_domains.iter().any(|domain| lies_in(name, domain))
    }

    fn verified_by(&self) -> Option<&Arc<str>> {
        self.settings.server_name.as_ref().or(match &self.settings.endpoint {
            Endpoint::Tcp { host: Host::Name(name), .. } => Some(name),
            Endpoint::Tcp { host: Host::Ip(_), .. } | Endpoint::Unix(_) => None,
        })
    }

    /// The domains in which a MOVING may name its target over TLS, besides that of the configured name.
    #[must_use]
    pub fn target_domains(&self) -> &[Arc<str>] {
        &self.settings.target_domains
    }

    /// User and password, if any are set.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.settings.credentials.as_ref()
    }

    /// Whether the client asks for the credentials of each dial.
    #[must_use]
    pub fn asks_for_credentials(&self) -> bool {
        self.settings.asks_for_credentials
    }

    /// Whether requests that the server has refused to run are handed back, because another node of its cluster may run them.
    pub(crate) fn is_node(&self) -> bool {
        self.settings.is_node
    }

    /// The database that every connection selects.
    #[must_use]
    pub fn database(&self) -> u32 {
        self.settings.database
    }

    /// The name that every connection gives itself.
    #[must_use]
    pub fn client_name(&self) -> Option<&str> {
        self.settings.client_name.as_deref()
    }

    /// Whether every connection tells the server the name and the version of this library.
    #[must_use]
    pub fn client_info(&self) -> bool {
        self.settings.client_info
    }

    /// What every connection runs before it serves.
    #[must_use]
    pub fn setup(&self) -> &[Command] {
        &self.settings.setup
    }

    /// The dialect.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.settings.protocol
    }

    /// Shared connections, opened when the client connects.
    #[must_use]
    pub fn pool_size(&self) -> u32 {
        self.settings.pool_size
    }

    /// Connections that one caller may have for itself, apart from the pool.
    #[must_use]
    pub fn max_dedicated(&self) -> u32 {
        self.settings.max_dedicated
    }

    /// The longest that a caller waits for a lease; `None` is for ever.
    #[must_use]
    pub fn lease_timeout(&self) -> Option<Duration> {
        self.settings.lease_timeout.unwrap_or(self.settings.connect_timeout)
    }

    /// The longest that a dial may take, handshake included; `None` is for ever.
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.settings.connect_timeout
    }

    /// The longest that a command may take from its acceptance; `None` is for ever.
    #[must_use]
    pub fn command_timeout(&self) -> Option<Duration> {
        self.settings.command_timeout
    }

    /// How long a link may owe a reply without a byte received before it counts as dead; `None` is for ever.
    #[must_use]
    pub fn dead_link_timeout(&self) -> Option<Duration> {
        let three_timeouts = |timeout: Duration| timeout.saturating_mul(3);
        let default = || Some(self.command_timeout().map_or(DEAD_LINK_TIMEOUT, three_timeouts));
        self.settings.dead_link_timeout.unwrap_or_else(default)
    }

    /// What connectors ask of the system for TCP sockets.
    #[must_use]
    pub fn tcp_options(&self) -> TcpOptions {
        self.settings.tcp
    }

    /// Requests that may wait while there is no connection.
    #[must_use]
    pub fn parked_requests(&self) -> usize {
        self.settings.parked_requests
    }

    /// Requests that may be under way, parked ones included.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.settings.requests_in_flight
    }

    /// What becomes of a call when as many requests as configured are under way or parked.
    #[must_use]
    pub fn when_full(&self) -> WhenFull {
        self.settings.when_full
    }

    /// What becomes of a request while there is no connection.
    #[must_use]
    pub fn when_disconnected(&self) -> WhenDisconnected {
        self.settings.when_disconnected
    }

    /// The longest that opening the pool may take: twice the connect timeout; `None` is for ever.
    #[must_use]
    pub fn start_timeout(&self) -> Option<Duration> {
        Some(self.settings.connect_timeout?.saturating_mul(2))
    }

    /// What a server may send before its connection is given up. The driver's decoders are made with it; an event loop of
    /// one's own makes its [`Decoder`](resp3_codec::Decoder)s with it as well.
    #[must_use]
    pub fn reply_limits(&self) -> Limits {
        self.settings.reply_limits
    }

    /// Events that a slow observer may leave unread before it misses some.
    #[must_use]
    pub fn event_capacity(&self) -> usize {
        self.settings.event_capacity
    }

    /// How the client takes part in maintenance.
    #[must_use]
    pub fn maintenance(&self) -> &maintenance::Config {
        &self.settings.maintenance
    }

    /// Workers and queue of the handoffs.
    #[must_use]
    pub fn handoff_capacity(&self) -> HandoffCapacity {
        self.capacity
    }
}

/// Collects the settings of [`Config`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConfigBuilder {
    endpoint: Endpoint,
    credentials: Option<Credentials>,
    asks_for_credentials: bool,
    database: u32,
    client_name: Option<Arc<str>>,
    client_info: bool,
    setup: Vec<Command>,
    tracking: Option<Tracking>,
    protocol: Protocol,
    pool_size: u32,
    max_dedicated: u32,
    /// `None` follows the connect timeout.
    lease_timeout: Option<Option<Duration>>,
    connect_timeout: Option<Duration>,
    command_timeout: Option<Duration>,
    /// `None` follows the command timeout.
    dead_link_timeout: Option<Option<Duration>>,
    tcp: TcpOptions,
    parked_requests: usize,
    requests_in_flight: usize,
    when_full: WhenFull,
    when_disconnected: WhenDisconnected,
    reply_limits: Limits,
    event_capacity: usize,
    subscription_capacity: usize,
    invalidation_capacity: usize,
    maintenance: maintenance::Config,
    /// By the connector.
    is_encrypted_by_connector: bool,
    server_name: Option<Arc<str>>,
    target_domains: Vec<Arc<str>>,
    /// Further servers of the same cluster that the URL names.
    further_seeds: Vec<Endpoint>,
    /// The server is one node of a cluster.
    is_node: bool,
    /// Its connections may read what it has as a replica.
    sends_readonly: bool,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl ConfigBuilder {
    /// The defaults, for the server at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            credentials: None,
            asks_for_credentials: false,
            database: 0,
            client_name: None,
            client_info: true,
            setup: Vec::new(),
            tracking: None,
            protocol: Protocol::default(),
            pool_size: 10,
            max_dedicated: 100,
            lease_timeout: None,
            connect_timeout: Some(Duration::from_secs(5)),
            command_timeout: Some(Duration::from_secs(3)),
            dead_link_timeout: None,
            tcp: TcpOptions::default(),
            parked_requests: 10_000,
            requests_in_flight: 100_000,
            when_full: WhenFull::Fail,
            when_disconnected: WhenDisconnected::Wait,
            reply_limits: Limits::default(),
            event_capacity: 1024,
            subscription_capacity: 1024,
            invalidation_capacity: 10_000,
            maintenance: maintenance::Config::default(),
            is_encrypted_by_connector: false,
            server_name: None,
            target_domains: Vec::new(),
            further_seeds: Vec::new(),
            is_node: false,
            sends_readonly: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The defaults, with what a URL says:
    ///
    /// | scheme | what it names |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]`, `valkey://..` | a server over TCP |
    /// | `rediss://..`, `valkeys://..` | the same with TLS, which needs the feature `tls`; without it, [`ConfigError::TlsNotBuilt`] |
    /// | `unix:///path/to/socket`, `unix:/path`, `redis+unix://..`, `valkey+unix://..` | a Unix socket |
    ///
    /// Query parameters are `protocol=2|3|resp2|resp3`, `db=n`, `user=`, `pass=`, `client_name=`, `client_info=true|false` and
    /// `when_disconnected=wait|fail`; for a cluster also `addr=host:port`, once for each further server. A scheme has no
    /// case, and white space around the URL is ignored. User and password are percent-decoded. What stands there twice has to be the
    /// same, so `/1?db=2` is an error. A URL names one server or one name: no list, no Sentinel, and nothing behind a `#`.
    ///
    /// A user without a password (`redis://user@host`) is an error, since nobody can authenticate by a name alone. redis-rs takes such a URL,
    /// and connects as the default user. Where the password is empty, write `user:@`.
    ///
    /// # Errors
    /// [`ConfigError`] names the part of the URL that is wrong, and repeats nothing that could be a secret.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        url::parse(url)
    }

    /// User and password, the same for every connection. `None` as user is the default user. Default: no authentication. They go over the wire as they are, unless the
    /// connection is encrypted.
    pub fn credentials(mut self, user: Option<&str>, password: &str) -> Self {
        self.credentials = Some(Credentials::new(user, password));
        self.asks_for_credentials = false;
        self
    }

    /// Has the client ask for the credentials of each dial, and takes back those that were set. An event loop of your own
    /// then answers [`Action::Credentials`](crate::client::Action::Credentials); with the driver, use `credentials_provider` of
    /// its builder instead. Default: it asks for none. It costs one answer for each dial.
    pub fn ask_for_credentials(mut self) -> Self {
        self.credentials = None;
        self.asks_for_credentials = true;
        self
    }

    /// The number of the database that every connection selects. Default: 0. Another one costs nothing: SELECT travels with the
    /// handshake.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// The name that every connection gives itself, which CLIENT LIST shows. No white space. Default: none. It costs nothing: it travels
    /// with the handshake.
    pub fn client_name(mut self, name: &str) -> Self {
        self.client_name = Some(Arc::from(name));
        self
    }

    /// Whether every connection tells the server the name and the version of this library (`CLIENT SETINFO`), which `CLIENT
    /// LIST` shows. Default: true; it costs no round trip, and a refusal is ignored. Set it to false for a proxy that closes
    /// the link at commands it does not know: the client finds that out by itself only where it has never been connected.
    pub fn client_info(mut self, told: bool) -> Self {
        self.client_info = told;
        self
    }

    /// A command that every connection runs before it serves, such as `READONLY`; the successor of a
    /// moved connection does, too. To be called once for each. They are sent in order when HELLO was accepted, or at the end
    /// of a handshake in RESP2, and an error reply is an error of the connection. Default: none.
    pub fn setup(mut self, command: Command) -> Self {
        self.setup.push(command);
        self
    }

    /// The dialect. Default: [`Protocol::Resp3`], which falls back where a server has none. RESP2 gives the maintenance notifications
    /// up, and spares a proxy a HELLO that it does not know.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Shared connections, opened when the client connects: 1 to 10 000. Default: 10.
    ///
    /// Requests gather on one of them, because those that travel together cost less, and requests of more than 64 KiB on
    /// another one. Others take over while one has much to send, is in the middle of a long reply, or does not answer. So
    /// more connections cost sockets and a little memory on both sides, and little speed; with one, every request waits
    /// for a large value or for a link that has stalled.
    pub fn pool_size(mut self, size: u32) -> Self {
        self.pool_size = size;
        self
    }

    /// Connections that are lent to one caller each ([leases](crate::client::Client::lease)), apart from the pool: 1 to 10 000. Default:
    /// 100. None is open before it is needed, and one that nobody has used for a minute is closed. More allow more leases
    /// at the same time, and cost sockets on both sides; with fewer, callers wait for each other.
    pub fn max_dedicated(mut self, limit: u32) -> Self {
        self.max_dedicated = limit;
        self
    }

    /// The longest that a caller waits for a lease: for a connection that another caller returns, or for one to be opened. Default: the
    /// connect timeout (5 s); `None` is for ever. Maintenance windows relax it. Less fails sooner where leases are short; more is for
    /// those that are held for long.
    pub fn lease_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.lease_timeout = Some(timeout);
        self
    }

    /// The longest that one attempt to get a connection may take, from the lookup of the name to the end of the handshake,
    /// whatever number of addresses the name has. A credentials provider may take half of it. Default: 5 s; `None` is for ever. While a maintenance window covers the
    /// server it is the relaxed timeout, if that is longer. Less notices sooner that nobody answers, and gives up servers that
    /// are slow to greet.
    ///
    /// Opening the pool takes at most twice as long in total, and gives up earlier when an attempt for one of its connections
    /// has failed four times, with pauses between them, or when trying again cannot help (a wrong password). Once the
    /// pool was open, a client tries to get lost connections back for as long as it lives.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest that a command may take from its acceptance. Default: 3 s; `None` is for ever. Maintenance windows
    /// relax it. Less tells callers sooner that a server is slow, and gives up what would have been answered; without one, callers wait
    /// until their connection is lost or [`dead_link_timeout`](Self::dead_link_timeout) is over.
    pub fn command_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// How long a link may owe a reply without a byte received before it counts as dead: it gets no more requests, and
    /// another connection is opened in its place. What was written to it may still be answered, until its own timeout.
    /// Default: three command timeouts, or 10 s without one; `None` is for ever. A maintenance window gives a link three
    /// relaxed timeouts at least. Less finds dead links sooner, and costs a dial for each server that is only slow.
    pub fn dead_link_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.dead_link_timeout = Some(timeout);
        self
    }

    /// How many requests may wait while there is no connection, at least 1; as many callers may wait for a lease. Default: 10 000. More of them
    /// bridge longer absences under load, and take the memory of their bytes. To have none wait, see
    /// [`when_disconnected`](Self::when_disconnected).
    pub fn parked_requests(mut self, limit: usize) -> Self {
        self.parked_requests = limit;
        self
    }

    /// How many requests may be under way, parked ones included, at least 1. Default: 100 000. It bounds the memory that requests and
    /// replies take when callers are faster than the server; fewer give callers the word sooner.
    pub fn requests_in_flight(mut self, limit: usize) -> Self {
        self.requests_in_flight = limit;
        self
    }

    /// What becomes of a call when as many requests as configured are under way or parked. Default: [`WhenFull::Fail`]. Waiting slows
    /// callers down to the pace of the server, and costs them their timeout where that has stopped.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// What becomes of a request while there is no connection. Default: [`WhenDisconnected::Wait`], which hides short
    /// absences of a server and costs its callers their command timeout during long ones.
    /// [`Fail`](WhenDisconnected::Fail) is for callers that have something else to do then, such as to ask a database.
    pub fn when_disconnected(mut self, when_disconnected: WhenDisconnected) -> Self {
        self.when_disconnected = when_disconnected;
        self
    }

    /// What a server may send before its connection is given up, with every request that was written to it. Default:
    /// [`Limits::default`], which is beyond what Redis sends. Lower limits bound the memory that a reply can take.
    pub fn reply_limits(mut self, limits: Limits) -> Self {
        self.reply_limits = limits;
        self
    }

    /// How many events a slow observer may leave unread before it misses some, at least 1. Default: 1024. More take the memory of the
    /// events as long as an observer lags.
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.event_capacity = capacity;
        self
    }

    /// How the client takes part in maintenance. Default: [`maintenance::Config::default`]. It costs a server without notifications one
    /// refused command for each connection, in the same round trip as the handshake.
    pub fn maintenance(mut self, config: maintenance::Config) -> Self {
        self.maintenance = config;
        self
    }

    /// Encrypts every connection. Default: none is encrypted, unless the URL begins with `rediss://` or `valkeys://`.
    ///
    /// A dial takes a round trip more, and about a millisecond of processor time on each side, less where a session is
    /// resumed; what is sent and received takes about 1 s for each GB and direction.
    ///
    /// Where the roots of the system count, the driver reads them once for each client, when it is opened, on the thread that opens
    /// it: that takes a few milliseconds. [`roots`](TlsBuilder::roots) of your own are read when [`Tls`] is built, and
    /// clients may share it.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Says that the connector's streams are encrypted already: by a library of your own, or in a tunnel. Default: they are not. It
    /// encrypts nothing, and goes with neither a URL with `rediss://` nor `tls`; servers are asked to name the targets of moves by their host names, by which they can be verified,
    /// and those outside of the configured domain are not dialled ([`target_domain`](Self::target_domain)).
    pub fn encrypted_by_connector(mut self) -> Self {
        self.is_encrypted_by_connector = true;
        self
    }

    /// The name by which servers are verified over TLS, and which they are told (SNI), where it is not the host that is
    /// dialled: behind a tunnel, or at an IP address. Default: the host of the endpoint. A target that a MOVING names by a
    /// host name is verified by that.
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(domain(name));
        self
    }

    /// Allows targets of moves in `domain` (`example.com`: that name, and all that end in `.example.com`). To be called once
    /// for each. Default: none.
    ///
    /// Over TLS a MOVING that names a host leads there only if it lies in the domain of the configured name, which is that
    /// name without its first part, or in one of these, or if a [policy on
    /// targets](maintenance::ConfigBuilder::target_policy) is set, which decides then. Otherwise the move waits until the
    /// configured name leads elsewhere ([`Event::TargetRefused`](crate::event::Event::TargetRefused)). A certificate proves
    /// that a server has a name, and not that the name is that of the service which the credentials are for.
    pub fn target_domain(mut self, domain: &str) -> Self {
        self.target_domains.push(self::domain(domain));
        self
    }

    fn is_encrypted(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        self.is_encrypted_by_connector
    }

    /// Checks the settings and resolves those that depend on each other.
    ///
    /// # Errors
    /// [`ConfigError`] names the settings that do not fit.
    pub fn build(self) -> Result<Config, ConfigError> {
        let check = |setting, is_right, value: usize, range| match is_right {
            true => Ok(()),
            false => Err(ConfigError::OutOfRange { setting, range, value: value.to_string() }),
        };
        let (pool, parked) = (self.pool_size as usize, self.parked_requests);
        check("pool_size", (1..=MAX_POOL_SIZE).contains(&pool), pool, POOL_SIZE_RANGE)?;
        let dedicated = self.max_dedicated as usize;
        check("max_dedicated", (1..=MAX_POOL_SIZE).contains(&dedicated), dedicated, "from 1 to 10000")?;
        check("parked_requests", parked > 0, parked, PARKED_RANGE)?;
        for (setting, value) in [
            ("requests_in_flight", self.requests_in_flight),
            ("event_capacity", self.event_capacity),
            ("subscription_capacity", self.subscription_capacity),
            ("invalidation_capacity", self.invalidation_capacity),
        ] {
            check(setting, value > 0, value, "at least 1")?;
        }
        for (setting, value) in [
            ("connect_timeout", self.connect_timeout),
            ("command_timeout", self.command_timeout),
            ("dead_link_timeout", self.dead_link_timeout.flatten()),
            ("lease_timeout", self.lease_timeout.flatten()),
        ] {
            if value.is_some_and(|value| value.is_zero()) {
                let range = "more than 0, or None for ever";
                return Err(ConfigError::OutOfRange { setting, range, value: "0".into() });
            }
        }
        tcp::check(&self.tcp)?;
        if self.protocol == Protocol::Resp2 && self.maintenance.mode() == Mode::Enabled {
            return Err(ConfigError::EnabledNeedsResp3);
        }
        let unprintable = |name: &str| name.bytes().any(|byte| !(b'!'..=b'~').contains(&byte));
        if self.client_name.as_deref().is_some_and(|name| name.is_empty() || unprintable(name)) {
            return Err(ConfigError::ClientName);
        }
        for command in &self.setup {
            if let Some((command, problem)) = command_table::unfit_for_setup(command) {
                return Err(ConfigError::Setup { command, problem });
            }
        }
        self.check_seeds()?;
        self.check_tracking()?;
        self.check_names()?;
        let capacity = self.maintenance.capacity(self.pool_size, self.max_dedicated);
        Ok(Config { settings: self, capacity })
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        let is_wrong = |name: &&Arc<str>| {
            name.is_empty()
                || name.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)))
        };
        let wrong = |setting| {
            let problem =
                "it must be a host name such as redis.example.com, without scheme, port and `*`".into();
            Err(ConfigError::Tls { setting, problem })
        };
        if self.server_name.as_ref().filter(is_wrong).is_some() {
            return wrong("server_name");
        }
        if self.target_domains.iter().any(|name| is_wrong(&name)) {
            return wrong("target_domain");
        }
        #[cfg(feature = "tls")]
        if self.is_encrypted_by_connector && self.tls.is_some() {
            let problem = "`tls` (or a URL with rediss://) would encrypt a second time what the connector has encrypted: use one of the two";
            return Err(ConfigError::Tls { setting: "encrypted_by_connector", problem: problem.into() });
        }
        if self.is_encrypted() && self.server_name.is_none() && matches!(self.endpoint, Endpoint::Unix(_)) {
            let problem = "over TLS a server at a Unix socket needs one, by which it is verified".into();
            return Err(ConfigError::Tls { setting: "server_name", problem });
        }
        Ok(())
    }
}

/// Without the dots around it that some write.
fn domain(name: &str) -> Arc<str> {
    Arc::from(name.trim_matches('.'))
}

#[cfg(test)]
mod tests;
