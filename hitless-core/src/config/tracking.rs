//! The settings of client-side caching.

use bytes::Bytes;
use resp3_codec::{Command, cmd};

use super::{Config, ConfigBuilder, ConfigError, Protocol};

/// Which changes the server tells of, for a cache in the application (CLIENT TRACKING). They are read from
/// [`Client::invalidations`](crate::driver::Client::invalidations).
///
/// Every connection of the pool tracks, in both modes, because replies and invalidations keep an order on one connection only: what was read
/// on a connection is vouched for by that one, and ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// Those of the broadcasting mode; `None` is the default mode.
    prefixes: Option<Vec<Bytes>>,
}

impl Tracking {
    /// The server remembers which keys were read on each connection, and tells each key once, when it changes. It costs the server memory
    /// (`tracking-table-max-keys`), and nothing for keys that nobody reads.
    #[must_use]
    pub const fn default_mode() -> Self {
        Self { prefixes: None }
    }

    /// The server remembers nothing, and tells of every change of keys that begin with one of these prefixes, or of all keys if there is
    /// none ([`broadcast_all`](Self::broadcast_all)). It tells each connection of the pool, so a key may be read as many
    /// times as [`pool_size`](ConfigBuilder::pool_size) says. No prefix may be the beginning of another one.
    pub fn broadcast(prefixes: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let prefixes = prefixes.into_iter().map(|prefix| Bytes::copy_from_slice(prefix.as_ref())).collect();
        Self { prefixes: Some(prefixes) }
    }

    /// [`broadcast`](Self::broadcast) of all keys.
    #[must_use]
    pub const fn broadcast_all() -> Self {
        Self { prefixes: Some(Vec::new()) }
    }

    /// The prefixes of the broadcasting mode; `None` in the default mode.
    #[must_use]
    pub fn prefixes(&self) -> Option<&[Bytes]> {
        self.prefixes.as_deref()
    }

    /// The command that turns tracking on.
    pub(crate) fn command(&self) -> Command {
        let on = cmd("CLIENT").arg("TRACKING").arg("ON");
        let Some(prefixes) = &self.prefixes else { return on };
        prefixes.iter().fold(on.arg("BCAST"), |command, prefix| command.arg("PREFIX").arg(prefix))
    }

    /// Servers refuse prefixes that overlap. Source: `checkPrefixCollisionsOrReply` in tracking.c of Redis 7.
    fn overlaps(&self) -> bool {
        let prefixes = self.prefixes().unwrap_or_default();
        let is_beginning = |(at, prefix): (usize, &Bytes)| {
            let mut others = prefixes.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| other.starts_with(prefix))
        };
        prefixes.iter().enumerate().any(is_beginning)
    }
}

impl Config {
    /// Which changes the server tells of, if it is to tell any.
    #[must_use]
    pub fn tracking(&self) -> Option<&Tracking> {
        self.settings.tracking.as_ref()
    }

    /// How many keys a reader of invalidations may leave unread.
    #[must_use]
    pub fn invalidation_capacity(&self) -> usize {
        self.settings.invalidation_capacity
    }
}

impl ConfigBuilder {
    /// Has the server tell which keys have changed, for a cache in the application. Default: it tells of none.
    ///
    /// Each connection of the pool turns tracking on before it serves, and so does the successor of one that moves, in one more round trip
    /// of its handshake. Connections that are lent, that carry subscriptions or on which a command blocks do not: what is read
    /// there must not be cached. It needs RESP3. A server that has none, or that refuses CLIENT TRACKING, is an error of the connection:
    /// a cache would keep outdated values. Where HELLO is refused in odd words, RESP2 is not tried.
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = Some(tracking);
        self
    }

    /// How many keys a reader of invalidations may leave unread, at least 1. Beyond that they give way to one word, that everything is
    /// invalid. A key that is told several times counts once. A push of more keys is that word at once, for every reader, and for event
    /// loops, which have no readers. Default: 10 000. More take the memory of the keys as long as a reader lags, and the time of all callers
    /// while many keys come at once; fewer empty the cache of a slow reader more often.
    pub fn invalidation_capacity(mut self, keys: usize) -> Self {
        self.invalidation_capacity = keys;
        self
    }

    pub(super) fn check_tracking(&self) -> Result<(), ConfigError> {
        let Some(tracking) = &self.tracking else { return Ok(()) };
        let wrong = |problem| Err(ConfigError::Tracking { problem });
        if self.protocol == Protocol::Resp2 {
            return wrong("invalidations need RESP3, but `protocol` is RESP2");
        }
        if tracking.overlaps() {
            return wrong("one of its prefixes is the beginning of another one, which servers refuse");
        }
        let is_tracking = |command: &Command| {
            let mut words = command.iter();
            let mut is_next =
                |word: &str| words.next().is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()));
            is_next("CLIENT") && is_next("TRACKING")
        };
        if self.setup.iter().any(is_tracking) {
            return wrong("`setup` has a CLIENT TRACKING of its own: use one of the two");
        }
        Ok(())
    }
}
