//! The settings that a client and a cluster client have in common.

/// Methods of a builder that has the fields `settings`, `provider`, `hooks` and `on_orphan`.
macro_rules! common_settings {
    () => {
        /// User and password, the same for every connection. `None` as user is the default user. Default: those of the URL, or no authentication. A server that refuses
        /// them ends [`connect`](Self::connect) at once.
        pub fn credentials(mut self, user: Option<&str>, password: &str) -> Self {
            self.provider = None;
            self.with(|settings| settings.credentials(user, password))
        }

        /// Asks `provider` for user and password: before each dial, and for all connections whenever they have changed. It takes
        /// the place of those in the URL. Default: none. See [`CredentialsProvider`] for the time that it has, for what becomes of
        /// its errors, and for tokens of Entra ID and AWS IAM.
        pub fn credentials_provider(mut self, provider: impl CredentialsProvider) -> Self {
            self.provider = Some(Arc::new(provider));
            self.with(ConfigBuilder::ask_for_credentials)
        }

        /// The name that every connection gives itself, which CLIENT LIST shows: printable ASCII without blanks, or
        /// [`ConfigError::ClientName`](crate::config::ConfigError::ClientName). Default: none.
        pub fn client_name(self, name: &str) -> Self {
            self.with(|settings| settings.client_name(name))
        }

        /// Whether every connection tells the server the name and the version of this library (CLIENT SETINFO). Default: true. See
        /// [`ConfigBuilder::client_info`].
        pub fn client_info(self, told: bool) -> Self {
            self.with(|settings| settings.client_info(told))
        }

        /// A command that every connection runs before it serves. To be called once for each. Default: none. One that would change what
        /// the others rely on is [`ConfigError::Setup`](crate::config::ConfigError::Setup), and one that the server refuses an error of the
        /// connection. See [`ConfigBuilder::setup`].
        pub fn setup(self, command: Command) -> Self {
            self.with(|settings| settings.setup(command))
        }

        /// Has the server tell which keys have changed, for a cache in the application: [`Client::invalidations`](crate::driver::Client::invalidations) is the stream.
        /// Default: it tells of none. It needs RESP3, and every connection of the pool turns it on before it serves; a server that
        /// refuses is an error of the connection. See [`ConfigBuilder::tracking`].
        pub fn tracking(self, tracking: Tracking) -> Self {
            self.with(|settings| settings.tracking(tracking))
        }

        /// The dialect. Default: [`Protocol::Resp3`], which falls back to RESP2 with a server that has no RESP3. RESP2 has no maintenance
        /// notifications: with the mode `enabled` it is
        /// [`ConfigError::EnabledNeedsResp3`](crate::config::ConfigError::EnabledNeedsResp3).
        pub fn protocol(self, protocol: Protocol) -> Self {
            self.with(|settings| settings.protocol(protocol))
        }

        /// How many connections are lent to one caller each, apart from the pool: 1 to 10 000. Default: 100, opened as they are needed. See
        /// [`ConfigBuilder::max_dedicated`].
        pub fn max_dedicated(self, limit: u32) -> Self {
            self.with(|settings| settings.max_dedicated(limit))
        }

        /// The longest that a caller waits for a lease; `None` is for ever, and zero an error. Default: the connect timeout. See
        /// [`ConfigBuilder::lease_timeout`].
        pub fn lease_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
            self.with(|settings| settings.lease_timeout(timeout.into()))
        }

        /// The longest that one attempt to get a connection may take, handshake included; `None` is for ever, and zero an error.
        /// Default: 5 s. [`connect`](Self::connect) takes at most twice as long in total.
        pub fn connect_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
            self.with(|settings| settings.connect_timeout(timeout.into()))
        }

        /// The longest that a command may take from its acceptance; `None` is for ever, and zero an error. Default: 3 s, which windows of
        /// maintenance relax. A request with a [timeout of its own](crate::request::Request::timeout) has that, and for a command that blocks
        /// its time at the server comes on top.
        pub fn command_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
            self.with(|settings| settings.command_timeout(timeout.into()))
        }

        /// How long a link may owe a reply without a byte received before another one takes its place; `None` is for ever,
        /// and zero an error. Default: three command timeouts, or 10 s without one. What a command on a [lease](crate::driver::Lease) asks its server
        /// to block does not count.
        pub fn dead_link_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
            self.with(|settings| settings.dead_link_timeout(timeout.into()))
        }

        /// How long a TCP link is quiet before the system probes it, 1 s to 9 h in whole seconds; `None`: never. Default: 30 s. After
        /// [`tcp_keepalive_retries`](Self::tcp_keepalive_retries) probes without an answer the system ends the link. See
        /// [`ConfigBuilder::tcp_keepalive`].
        pub fn tcp_keepalive(self, after: impl Into<Option<Duration>>) -> Self {
            self.with(|settings| settings.tcp_keepalive(after.into()))
        }

        /// How long a probe waits for its answer before the next one follows, 1 s to 9 h in whole seconds. Default: 10 s. See
        /// [`ConfigBuilder::tcp_keepalive_interval`].
        pub fn tcp_keepalive_interval(self, interval: Duration) -> Self {
            self.with(|settings| settings.tcp_keepalive_interval(interval))
        }

        /// After how many probes without an answer the system ends the link, 1 to 127. Default: 3. See
        /// [`ConfigBuilder::tcp_keepalive_retries`].
        pub fn tcp_keepalive_retries(self, retries: u32) -> Self {
            self.with(|settings| settings.tcp_keepalive_retries(retries))
        }

        /// How long what was written to a TCP link may be unacknowledged before the system ends the link, 1 ms to 24 days in whole
        /// milliseconds; `None` is what the system has. Default: 30 s. Other platforms than Linux and Android ignore it. See
        /// [`ConfigBuilder::tcp_user_timeout`].
        pub fn tcp_user_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
            self.with(|settings| settings.tcp_user_timeout(timeout.into()))
        }

        /// How many requests may wait while there is no connection, at least 1. Default: 10 000. Those beyond it are given back
        /// ([`SendError::NoConnection`](crate::request::SendError::NoConnection)), or wait as [`when_full`](Self::when_full) says. As many
        /// callers may wait for a lease; those beyond it get [`LeaseError::Full`](crate::error::LeaseError::Full).
        pub fn parked_requests(self, limit: usize) -> Self {
            self.with(|settings| settings.parked_requests(limit))
        }

        /// How many requests may be under way, those included that wait for a connection, at least 1. Default: 100 000. Those beyond it are
        /// given back ([`SendError::Full`](crate::request::SendError::Full)), or wait as [`when_full`](Self::when_full) says.
        pub fn requests_in_flight(self, limit: usize) -> Self {
            self.with(|settings| settings.requests_in_flight(limit))
        }

        /// Whether a call fails or waits when as many requests as configured are under way. Default: [`WhenFull::Fail`].
        pub fn when_full(self, when_full: WhenFull) -> Self {
            self.with(|settings| settings.when_full(when_full))
        }

        /// What becomes of a request while there is no connection: it waits, or it fails. Default: [`WhenDisconnected::Wait`].
        pub fn when_disconnected(self, when_disconnected: WhenDisconnected) -> Self {
            self.with(|settings| settings.when_disconnected(when_disconnected))
        }

        /// What a server may send before its connection is given up, in bytes, elements and levels. Default: [`Limits::default`], which is
        /// beyond what Redis sends.
        pub fn reply_limits(self, limits: Limits) -> Self {
            self.with(|settings| settings.reply_limits(limits))
        }

        /// How many items a [`Subscription`](crate::driver::Subscription) may leave unread before it misses some, and is told how many
        /// ([`Item::Lagged`](crate::pubsub::Item::Lagged)); at least 1. Default: 1024.
        pub fn subscription_capacity(self, capacity: usize) -> Self {
            self.with(|settings| settings.subscription_capacity(capacity))
        }

        /// How many keys a reader of [invalidations](crate::driver::Client::invalidations) may leave unread before it is told that everything is invalid; at
        /// least 1. Default: 10 000. See [`ConfigBuilder::invalidation_capacity`].
        pub fn invalidation_capacity(self, keys: usize) -> Self {
            self.with(|settings| settings.invalidation_capacity(keys))
        }

        /// How many events and pushes a slow observer may leave unread before it misses some, and is told how many
        /// ([`Missed`](crate::driver::Missed)); at least 1. Default: 1024.
        pub fn event_capacity(self, capacity: usize) -> Self {
            self.with(|settings| settings.event_capacity(capacity))
        }

        /// How the client takes part in maintenance. Default: [`maintenance::Config::default`], which asks for notifications and works
        /// without where a server has none.
        pub fn maintenance(self, config: maintenance::Config) -> Self {
            self.with(|settings| settings.maintenance(config))
        }

        /// Encrypts every connection. Default: none is, unless the URL begins with `rediss://` or `valkeys://`. See [`ConfigBuilder::tls`],
        /// also for what [`connect`](Self::connect) reads.
        #[cfg(feature = "tls")]
        pub fn tls(self, tls: crate::config::Tls) -> Self {
            self.with(|settings| settings.tls(tls))
        }

        /// Says that the connector's streams are encrypted already. Default: they are not. See
        /// [`ConfigBuilder::encrypted_by_connector`].
        pub fn encrypted_by_connector(self) -> Self {
            self.with(ConfigBuilder::encrypted_by_connector)
        }

        /// The name by which servers are verified over TLS, where it is not the host that is dialled. Default: the host
        /// of the endpoint. See [`ConfigBuilder::server_name`].
        pub fn server_name(self, name: &str) -> Self {
            self.with(|settings| settings.server_name(name))
        }

        /// Allows moves to hosts in `domain` over TLS. To be called once for each. Default: none. See [`ConfigBuilder::target_domain`].
        pub fn target_domain(self, domain: &str) -> Self {
            self.with(|settings| settings.target_domain(domain))
        }

        /// Adds a hook that sees everything from the first dial on. Default: none. See [`Client::add_hook`](crate::driver::Client::add_hook).
        pub fn hook(mut self, hook: impl NotificationHook) -> Self {
            self.hooks.0.push(Arc::new(hook));
            self
        }

        /// Hands what a command that blocks has taken to `on_orphan` when its caller has given it up meanwhile: the element was on its way when
        /// the future was dropped, or when its own timeout was over; or nobody wanted its reply (`set_no_response` of the `redis` crate). Default:
        /// nobody gets it. An event ([`Event::Orphaned`](crate::event::Event::Orphaned)) tells of it in
        /// either case. What is still on its way when its connection ends is lost with that; the client closes it where the server cannot call
        /// the command back, and when its last handle is dropped: keep a handle until [`shutdown`](crate::driver::Client::shutdown), with a grace, is over.
        /// Nothing of a lease comes here: its holder has the connection.
        ///
        /// The client never writes it back, because it cannot know whether that is right: the order of the list has changed. The callback
        /// runs on a task of the client and delays its replies: have it hand the element on, through a channel such as those of `std::sync::mpsc`.
        /// A panic in it is caught, and counted as one of a hook ([`Client::hook_failures`](crate::driver::Client::hook_failures)).
        pub fn on_orphan(mut self, on_orphan: impl Fn(Orphan) + Send + Sync + 'static) -> Self {
            self.on_orphan = Some(Arc::new(on_orphan));
            self
        }

        fn with(mut self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
            self.settings = change(self.settings);
            self
        }
    };
}

pub(super) use common_settings;
