//! Settings of the cluster machine.

use std::time::Duration;

use crate::config::ConfigError;

/// The least that the pauses between topology reads may be: more often learns nothing.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// A map that nobody has looked at for longer than this proves nothing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Which nodes of a cluster reads go to.
///
/// # What a replica may answer
/// A replica copies its primary a little later, so it may answer with what was there before, and not know what its caller has just written.
/// How much later is up to the servers, and has no bound while the two are cut off from each other (`replica-serve-stale-data`). Reads of one key go
/// to the same replica as long as that is in order; when another one or the primary takes over, a value may be older than the one before it.
///
/// With [`PreferReplica`](Self::PreferReplica) a primary that was demoted a moment ago, before the client knows it, answers reads as a replica as
/// well: on a lease, in a transaction and by single commands. What it has read in a pipeline behind a write that it refused is read again, behind that write.
/// With [`Primary`](Self::Primary) it redirects them.
///
/// While a slot moves to another shard key by key, a key that has gone ahead is missing at the replicas of its old primary, which do not know
/// that it is on its way and answer as if it did not exist: nil, 0, an empty list. The primary would have answered ASK. Where that
/// matters, read from primaries. (A managed server that announces its moves, as with SMIGRATED, moves slots as a whole.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadFrom {
    /// The primary of the slot, as everything else.
    #[default]
    Primary,
    /// A replica of the slot's shard that is connected and in order, and the primary where there is none.
    PreferReplica,
}

/// How a [`Cluster`](super::Cluster) finds out which node serves what. Only [`SettingsBuilder::build`] makes one, so it is
/// always valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    refresh_interval: Duration,
    min_refresh_interval: Duration,
    query_timeout: Duration,
    node_grace: Duration,
    max_redirects: u32,
    opens_replicas: bool,
    encrypted: bool,
}

impl Settings {
    /// A builder with the defaults.
    #[must_use]
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder { settings: Self::default() }
    }

    /// The time between two topology reads that nothing has asked for.
    #[must_use]
    pub const fn refresh_interval(&self) -> Duration {
        self.refresh_interval
    }

    /// The least time between the beginnings of two topology reads.
    #[must_use]
    pub const fn min_refresh_interval(&self) -> Duration {
        self.min_refresh_interval
    }

    /// How long one node may take to answer before another one is asked.
    #[must_use]
    pub const fn query_timeout(&self) -> Duration {
        self.query_timeout
    }

    /// How long a node stays open that nothing leads to any more.
    #[must_use]
    pub const fn node_grace(&self) -> Duration {
        self.node_grace
    }

    /// How many times one request follows MOVED and ASK.
    #[must_use]
    pub const fn max_redirects(&self) -> u32 {
        self.max_redirects
    }

    /// Whether replicas are opened as well.
    #[must_use]
    pub const fn opens_replicas(&self) -> bool {
        self.opens_replicas
    }

    /// Whether the connections to the nodes are encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh_interval: Duration::from_secs(60),
            min_refresh_interval: Duration::from_millis(250),
            query_timeout: Duration::from_secs(1),
            node_grace: Duration::from_secs(5),
            max_redirects: 16,
            opens_replicas: false,
            encrypted: false,
        }
    }
}

/// Collects [`Settings`] and checks them.
#[derive(Clone, Debug, Default)]
pub struct SettingsBuilder {
    settings: Settings,
}

impl SettingsBuilder {
    /// The time between two topology reads that nothing has asked for, 60 s unless set, from `min_refresh_interval` to a day;
    /// each is up to a quarter longer or shorter at random. Silence proves nothing: a node that has lost its slots while nobody
    /// used them says so to nobody. Less finds changes sooner, and costs one short command each time.
    #[must_use]
    pub const fn refresh_interval(mut self, interval: Duration) -> Self {
        self.settings.refresh_interval = interval;
        self
    }

    /// The least time between the beginnings of two topology reads, 250 ms unless set, from 10 ms to a minute; up to a quarter
    /// longer at random. However many redirects come, there is no more than one read in it, and in four times as much where a MOVED
    /// has patched the map already. Less finds the new primary sooner after a failover, and asks a cluster in trouble more often.
    #[must_use]
    pub const fn min_refresh_interval(mut self, interval: Duration) -> Self {
        self.settings.min_refresh_interval = interval;
        self
    }

    /// How long one node may take to answer before another one is asked, 1 s unless set, at least 10 ms.
    #[must_use]
    pub const fn query_timeout(mut self, timeout: Duration) -> Self {
        self.settings.query_timeout = timeout;
        self
    }

    /// How long a node stays open that nothing leads to any more, 5 s unless set, from 10 ms to an hour. More keeps connections that
    /// nobody uses; less opens them anew where a node comes back.
    #[must_use]
    pub const fn node_grace(mut self, grace: Duration) -> Self {
        self.settings.node_grace = grace;
        self
    }

    /// How many times one request follows MOVED and ASK before the caller gets the reply, 16 unless set, at least 1. What waits
    /// for a cluster that is busy (TRYAGAIN, CLUSTERDOWN and their like) is bounded by the request's deadline alone.
    #[must_use]
    pub const fn max_redirects(mut self, redirects: u32) -> Self {
        self.settings.max_redirects = redirects;
        self
    }

    /// Whether replicas are opened as well, for reads from them ([`Table::replica_for`](super::Table::replica_for)); they are not unless set. Those that
    /// are not opened are known, and opened when they are promoted, or when no other node can be asked for the topology. Each connection to a node then
    /// has to send READONLY, and [`handle_readonly_refused`](super::Cluster::handle_readonly_refused) is told of a refusal.
    #[must_use]
    pub const fn open_replicas(mut self, open: bool) -> Self {
        self.settings.opens_replicas = open;
        self
    }

    /// Whether the connections to the nodes are encrypted, which they are not unless set: CLUSTER SHARDS names two ports of
    /// each node. (CLUSTER SLOTS and redirects name the port that fits the connection which they come by.)
    #[must_use]
    pub const fn encrypted(mut self, encrypted: bool) -> Self {
        self.settings.encrypted = encrypted;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] names the setting that is out of its range and the range.
    pub fn build(self) -> Result<Settings, ConfigError> {
        let settings = self.settings;
        let least = settings.min_refresh_interval;
        for (setting, value, lowest, highest, range) in [
            (
                "min_refresh_interval",
                settings.min_refresh_interval,
                LEAST_PAUSE,
                Duration::from_secs(60),
                "10 ms to a minute",
            ),
            (
                "refresh_interval",
                settings.refresh_interval,
                least,
                LONGEST_INTERVAL,
                "min_refresh_interval to a day",
            ),
            (
                "query_timeout",
                settings.query_timeout,
                LEAST_PAUSE,
                Duration::from_secs(3600),
                "10 ms to an hour",
            ),
            // A node that a redirect has just named must live until the request is there.
            ("node_grace", settings.node_grace, LEAST_PAUSE, Duration::from_secs(3600), "10 ms to an hour"),
        ] {
            if value < lowest || value > highest {
                return Err(ConfigError::OutOfRange { setting, range, value: format!("{value:?}") });
            }
        }
        if settings.max_redirects == 0 {
            let (setting, range) = ("max_redirects", "at least 1");
            return Err(ConfigError::OutOfRange { setting, range, value: "0".into() });
        }
        Ok(settings)
    }
}
