//! Settings of maintenance notifications.

use std::sync::Arc;
use std::time::Duration;

use super::ConfigError;
pub use crate::breaker::BreakerConfig;
use crate::endpoint::{Endpoint, Peer};
use crate::endpoint_type::EndpointPreference;
pub use crate::level::Level;
use crate::mode::Mode;
use crate::target_policy::Policy;
pub use crate::target_policy::{TargetPolicy, TargetVerdict};

/// How the client takes part in maintenance. Only [`ConfigBuilder::build`] makes one, so it is always valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    mode: Mode,
    endpoint_type: EndpointPreference,
    max_handoff_retries: u32,
    handoff_timeout: Duration,
    relaxed_timeout: Duration,
    post_handoff_relaxed_duration: Duration,
    circuit_breaker: BreakerConfig,
    max_workers: Option<u32>,
    handoff_queue_size: Option<u32>,
    leave_demoted: bool,
    log_level: Level,
    target_policy: Policy,
}

impl Config {
    /// A builder with the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Whether to opt in, and what a refusal means.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Which kind of endpoint MOVING should name.
    #[must_use]
    pub fn endpoint_type(&self) -> EndpointPreference {
        self.endpoint_type
    }

    /// Dials of one handoff after the first.
    #[must_use]
    pub fn max_handoff_retries(&self) -> u32 {
        self.max_handoff_retries
    }

    /// The longest that one attempt of a handoff may take.
    #[must_use]
    pub fn handoff_timeout(&self) -> Duration {
        self.handoff_timeout
    }

    /// The command timeout inside a window, if it is longer than the configured one.
    #[must_use]
    pub fn relaxed_timeout(&self) -> Duration {
        self.relaxed_timeout
    }

    /// For how long a connection is relaxed after its handoff.
    #[must_use]
    pub fn post_handoff_relaxed_duration(&self) -> Duration {
        self.post_handoff_relaxed_duration
    }

    /// When a target that scouts cannot reach is no longer tried for a while.
    #[must_use]
    pub fn circuit_breaker(&self) -> BreakerConfig {
        self.circuit_breaker
    }

    /// Whether connections leave a server that was demoted without a word.
    #[must_use]
    pub fn leave_demoted(&self) -> bool {
        self.leave_demoted
    }

    /// What is logged.
    #[must_use]
    pub fn log_level(&self) -> Level {
        self.log_level
    }

    /// What the policy says of `target`, which the server names for the connections to `source`.
    pub(crate) fn judge_target(&self, target: &Endpoint, source: &Peer) -> Option<TargetVerdict> {
        self.target_policy.judge(target, source)
    }

    /// The longest that a window may outlive the time that the server announced.
    #[must_use]
    pub fn window_cap(&self) -> Duration {
        self.relaxed_timeout.saturating_mul(3)
    }

    /// Workers and queue for a pool of `pool_size` and the connections beside it: the only place where "unset" is given a meaning.
    pub(super) fn capacity(&self, pool_size: u32, max_dedicated: u32) -> HandoffCapacity {
        let workers = match self.max_workers {
            None => (pool_size / 3).clamp(1, 10),
            Some(workers) => workers.max(10),
        };
        let queue = self.handoff_queue_size.unwrap_or_else(|| workers.saturating_mul(10));
        HandoffCapacity { workers, queue: queue.min(pool_size.saturating_add(max_dedicated)).max(1) }
    }
}

impl Default for Config {
    fn default() -> Self {
        let unset = ConfigBuilder::default();
        Self {
            mode: unset.mode,
            endpoint_type: unset.endpoint_type,
            max_handoff_retries: unset.max_handoff_retries,
            handoff_timeout: unset.handoff_timeout,
            relaxed_timeout: unset.relaxed_timeout,
            post_handoff_relaxed_duration: unset.relaxed_timeout.saturating_mul(2),
            circuit_breaker: unset.circuit_breaker,
            max_workers: None,
            handoff_queue_size: None,
            leave_demoted: unset.leave_demoted,
            log_level: unset.log_level,
            target_policy: Policy::default(),
        }
    }
}

/// How many handoffs run and wait at a time: resolved once, when the client's configuration is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoffCapacity {
    workers: u32,
    queue: u32,
}

impl HandoffCapacity {
    /// Handoffs that may be in their dial or handshake at a time; at least 1.
    #[must_use]
    pub fn workers(self) -> u32 {
        self.workers
    }

    /// Handoffs that may wait for a worker; at least 1. A connection that finds the queue full stays in service and is
    /// taken as soon as there is room.
    #[must_use]
    pub fn queue(self) -> u32 {
        self.queue
    }
}

/// Collects the settings of [`Config`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConfigBuilder {
    mode: Mode,
    endpoint_type: EndpointPreference,
    max_handoff_retries: u32,
    handoff_timeout: Duration,
    relaxed_timeout: Duration,
    post_handoff_relaxed_duration: Option<Duration>,
    circuit_breaker: BreakerConfig,
    max_workers: Option<u32>,
    handoff_queue_size: Option<u32>,
    leave_demoted: bool,
    log_level: Level,
    target_policy: Policy,
}

impl Default for ConfigBuilder {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            endpoint_type: EndpointPreference::default(),
            max_handoff_retries: 3,
            handoff_timeout: Duration::from_secs(15),
            relaxed_timeout: Duration::from_secs(10),
            post_handoff_relaxed_duration: None,
            circuit_breaker: BreakerConfig::default(),
            max_workers: None,
            handoff_queue_size: None,
            leave_demoted: true,
            log_level: Level::default(),
            target_policy: Policy::default(),
        }
    }
}

impl ConfigBuilder {
    /// Whether to opt in, and what a refusal means. Default: [`Mode::Auto`]. [`Mode::Enabled`] costs the connection where a server has
    /// no notifications, and [`Mode::Disabled`] costs the moves: connections are lost when a node goes.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Which kind of endpoint MOVING should name. Default: automatic, from TLS and the connected address. A kind that cannot be reached
    /// from here costs each move its dials.
    pub fn endpoint_type(mut self, preference: EndpointPreference) -> Self {
        self.endpoint_type = preference;
        self
    }

    /// Dials of one handoff after the first, 1 to 10. Default: 3. More of them probe a dead target oftener inside the
    /// same budget.
    pub fn max_handoff_retries(mut self, retries: u32) -> Self {
        self.max_handoff_retries = retries;
        self
    }

    /// The longest that one attempt of a handoff may take, from dial to the end of the handshake. Default: 15 s. A long
    /// one wastes the budget on a target that drops packets.
    pub fn handoff_timeout(mut self, timeout: Duration) -> Self {
        self.handoff_timeout = timeout;
        self
    }

    /// The command timeout inside a window, unless the configured one is longer. Default: 10 s. It also caps windows,
    /// at three times its length beyond the announced time. Longer rides out longer pauses of a server, and tells callers later of one
    /// that does not come back.
    pub fn relaxed_timeout(mut self, timeout: Duration) -> Self {
        self.relaxed_timeout = timeout;
        self
    }

    /// For how long a connection is relaxed after its handoff. Default: twice the relaxed timeout; zero: not at all. Longer tells callers
    /// later that a new node is slow; shorter fails what a node answers late that has just begun.
    pub fn post_handoff_relaxed_duration(mut self, duration: Duration) -> Self {
        self.post_handoff_relaxed_duration = Some(duration);
        self
    }

    /// When a target that scouts cannot reach is no longer tried for a while. Default: 5 failures in a row, for 60 s,
    /// then 3 trials. It never stops the last attempt of a move.
    pub fn circuit_breaker(mut self, config: BreakerConfig) -> Self {
        self.circuit_breaker = config;
        self
    }

    /// Handoffs in their dial or handshake at a time. Default: a third of the pool, at least 1 and at most 10. A value below
    /// 10 counts as 10: `max_workers(3)` does the same as `max_workers(10)`, and only leaving it unset has fewer.
    /// [`handoff_capacity`](super::Config::handoff_capacity) says what is in force.
    pub fn max_workers(mut self, workers: u32) -> Self {
        self.max_workers = Some(workers);
        self
    }

    /// How many handoffs wait for a worker, at least 1. Default: ten times the workers; never more than `pool_size` and `max_dedicated` together.
    /// Connections beyond it serve on, and are taken when there is room: more of them change the order alone.
    pub fn handoff_queue_size(mut self, size: u32) -> Self {
        self.handoff_queue_size = Some(size);
        self
    }

    /// Whether connections leave a server that refuses commands (READONLY, LOADING, MASTERDOWN) although nobody has announced
    /// anything, as one does that was demoted and keeps its links open. Default: true. After READONLY the name is looked up, and
    /// the connections to that address move, one dial for each, while the old ones serve reads; if the new server refuses as
    /// well there is a pause of 1 s, doubling to 60 s. After LOADING and MASTERDOWN they move only if the name leads elsewhere.
    /// The refusals themselves are given to their callers. False is for a client that is meant to read from a replica and tries
    /// to write there: it spares the dials.
    pub fn leave_demoted(mut self, leave: bool) -> Self {
        self.leave_demoted = leave;
        self
    }

    /// What the logging hook and the feature `tracing` let through. Default: [`Level::Warn`]. [`Level::Info`] tells the
    /// course of each maintenance in some lines per connection, [`Level::Debug`] every step.
    pub fn log_level(mut self, level: Level) -> Self {
        self.log_level = level;
        self
    }

    /// Who judges the endpoint that a MOVING names before it is dialled: NAT, allow-lists. Default: nobody. It is asked under the lock of the
    /// client, once for each move, and has to answer at once.
    pub fn target_policy(mut self, policy: Arc<dyn TargetPolicy>) -> Self {
        self.target_policy = Policy::new(policy);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is out of its range and the range.
    pub fn build(self) -> Result<Config, ConfigError> {
        if !(1..=10).contains(&self.max_handoff_retries) {
            return Err(ConfigError::OutOfRange {
                setting: "max_handoff_retries",
                range: "1 to 10",
                value: self.max_handoff_retries.to_string(),
            });
        }
        for (setting, value) in
            [("handoff_timeout", self.handoff_timeout), ("relaxed_timeout", self.relaxed_timeout)]
        {
            if value.is_zero() {
                return Err(ConfigError::OutOfRange { setting, range: "more than 0", value: "0".into() });
            }
        }
        for (setting, value) in
            [("max_workers", self.max_workers), ("handoff_queue_size", self.handoff_queue_size)]
        {
            if value == Some(0) {
                return Err(ConfigError::OutOfRange {
                    setting,
                    range: "at least 1, or unset",
                    value: "0".into(),
                });
            }
        }
        Ok(Config {
            mode: self.mode,
            endpoint_type: self.endpoint_type,
            max_handoff_retries: self.max_handoff_retries,
            handoff_timeout: self.handoff_timeout,
            relaxed_timeout: self.relaxed_timeout,
            post_handoff_relaxed_duration: self
                .post_handoff_relaxed_duration
                .unwrap_or_else(|| self.relaxed_timeout.saturating_mul(2)),
            circuit_breaker: self.circuit_breaker,
            max_workers: self.max_workers,
            handoff_queue_size: self.handoff_queue_size,
            leave_demoted: self.leave_demoted,
            log_level: self.log_level,
            target_policy: self.target_policy,
        })
    }
}
