//! From a URL to a client.

use std::sync::Arc;
use std::time::Duration;

use resp3_codec::{Command, Limits};

use super::error::Error;
use super::handle::Client;
use super::hooks::{Hooks, NotificationHook};
use super::observer::{Broadcast, Events};
use super::traits::{Connector, Resolver, Runtime};
use crate::config::{ConfigBuilder, Protocol, WhenDisconnected, WhenFull, maintenance};
use crate::event::Event;

/// Collects the settings of a [`Client`] and opens it. For what each setting means and costs, and its default, see
/// [`ConfigBuilder`].
#[derive(Debug)]
#[must_use]
pub struct Builder<R, N = R> {
    runtime: R,
    network: N,
    settings: ConfigBuilder,
    events: Arc<Broadcast<Event>>,
    hooks: Hooks,
}

impl<R: Runtime, N: Resolver + Connector> Builder<R, N> {
    /// A builder for the server at `url`, whose client runs on `runtime` and opens its connections through `network`.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL does not parse.
    pub fn new(runtime: R, network: N, url: &str) -> Result<Self, Error> {
        Ok(Self::from_settings(runtime, network, ConfigBuilder::from_url(url)?))
    }

    /// A builder that begins with `settings`.
    pub fn from_settings(runtime: R, network: N, settings: ConfigBuilder) -> Self {
        // The capacity is set when the settings are complete.
        let events = Arc::new(Broadcast::new(0));
        Self { runtime, network, settings, events, hooks: Hooks::default() }
    }

    /// Opens connections through `network` instead.
    pub fn network<M: Resolver + Connector>(self, network: M) -> Builder<R, M> {
        let Self { runtime, settings, events, hooks, .. } = self;
        Builder { runtime, network, settings, events, hooks }
    }

    /// User and password. `None` as user is the default user.
    pub fn credentials(self, user: Option<&str>, password: &str) -> Self {
        self.with(|settings| settings.credentials(user, password))
    }

    /// The database that every connection selects.
    pub fn database(self, database: u32) -> Self {
        self.with(|settings| settings.database(database))
    }

    /// The name that every connection gives itself.
    pub fn client_name(self, name: &str) -> Self {
        self.with(|settings| settings.client_name(name))
    }

    /// Whether every connection tells the server the name and the version of this library. See
    /// [`ConfigBuilder::client_info`].
    pub fn client_info(self, told: bool) -> Self {
        self.with(|settings| settings.client_info(told))
    }

    /// A command that every connection runs before it serves. To be called once for each. See
    /// [`ConfigBuilder::setup`].
    pub fn setup(self, command: Command) -> Self {
        self.with(|settings| settings.setup(command))
    }

    /// The dialect.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.with(|settings| settings.protocol(protocol))
    }

    /// Shared connections, opened when the client connects: 1 to 10 000.
    pub fn pool_size(self, size: u32) -> Self {
        self.with(|settings| settings.pool_size(size))
    }

    /// The longest that one attempt to get a connection may take, handshake included; `None` is for ever.
    /// [`connect`](Self::connect) takes at most twice as long in total.
    pub fn connect_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.with(|settings| settings.connect_timeout(timeout.into()))
    }

    /// The longest that a command may take from its acceptance; `None` is for ever.
    pub fn command_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.with(|settings| settings.command_timeout(timeout.into()))
    }

    /// How long a link may owe a reply without a byte received before another one takes its place; `None` is for ever.
    pub fn dead_link_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.with(|settings| settings.dead_link_timeout(timeout.into()))
    }

    /// Requests that may wait while there is no connection.
    pub fn parked_requests(self, limit: usize) -> Self {
        self.with(|settings| settings.parked_requests(limit))
    }

    /// Requests that may be under way, parked ones included.
    pub fn requests_in_flight(self, limit: usize) -> Self {
        self.with(|settings| settings.requests_in_flight(limit))
    }

    /// Whether a call fails or waits when as many requests as configured are under way.
    pub fn when_full(self, when_full: WhenFull) -> Self {
        self.with(|settings| settings.when_full(when_full))
    }

    /// What becomes of a request while there is no connection: it waits, or it fails.
    pub fn when_disconnected(self, when_disconnected: WhenDisconnected) -> Self {
        self.with(|settings| settings.when_disconnected(when_disconnected))
    }

    /// What a server may send before its connection is given up.
    pub fn reply_limits(self, limits: Limits) -> Self {
        self.with(|settings| settings.reply_limits(limits))
    }

    /// How many events and pushes a slow observer may leave unread before it misses some.
    pub fn event_capacity(self, capacity: usize) -> Self {
        self.with(|settings| settings.event_capacity(capacity))
    }

    /// How the client takes part in maintenance.
    pub fn maintenance(self, config: maintenance::Config) -> Self {
        self.with(|settings| settings.maintenance(config))
    }

    /// Encrypts every connection. See [`ConfigBuilder::tls`].
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: crate::config::Tls) -> Self {
        self.with(|settings| settings.tls(tls))
    }

    /// Says that the connector's streams are encrypted already. See [`ConfigBuilder::encrypted`].
    pub fn encrypted(self, encrypted: bool) -> Self {
        self.with(|settings| settings.encrypted(encrypted))
    }

    /// The name by which servers are verified over TLS, where it is not the host that is dialled. See
    /// [`ConfigBuilder::server_name`].
    pub fn server_name(self, name: &str) -> Self {
        self.with(|settings| settings.server_name(name))
    }

    /// Allows moves to hosts in `domain` over TLS. To be called once for each. See [`ConfigBuilder::target_domain`].
    pub fn target_domain(self, domain: &str) -> Self {
        self.with(|settings| settings.target_domain(domain))
    }

    /// Adds a hook that sees everything from the first dial on. See [`Client::add_hook`].
    pub fn hook(mut self, hook: impl NotificationHook) -> Self {
        self.hooks.0.push(Arc::new(hook));
        self
    }

    /// A stream of what will happen to the client, from its first dial on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.observe()
    }

    /// Checks the settings and opens the pool. It is done when every connection of the pool is ready.
    ///
    /// It gives up when one of the connections could not be opened in four attempts, or after twice the connect timeout
    /// (10 s by default), or at once where another attempt cannot help, such as with a wrong password.
    ///
    /// # Errors
    /// [`Error::Config`] if the settings do not fit together; [`Error::Connect`] if the pool cannot be opened: it says
    /// how many attempts there were, how long they took, and why the last one failed.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(self) -> Result<Client<R>, Error> {
        let config = self.settings.build()?;
        Client::open_observed(self.runtime, self.network, config, self.events, self.hooks.0).await
    }

    fn with(mut self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        self.settings = change(self.settings);
        self
    }
}
