//! Whether to ask for maintenance notifications: what the user wants, and what a server is known to support.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::timer::after;

/// How long a refusal of the opt-in is believed. Shorter finds an upgraded server sooner; longer sends fewer
/// futile commands.
pub const RECHECK_AFTER: Duration = Duration::from_secs(600);

/// What the user wants. It is policy: nothing that is learnt from a server rewrites it. Default:
/// [`Mode::Auto`].
///
/// The set is closed: every row of the handshake's decision table is one of these.
///
/// # Answer by answer
///
#[doc = include_str!("../docs/modes.md")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Never ask.
    Disabled,
    /// Ask, and work without notifications where the server has none.
    #[default]
    Auto,
    /// Ask, and fail to connect where the server has none.
    Enabled,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Disabled, Self::Auto, Self::Enabled];

    /// The word in configuration files and URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Auto => "auto",
            Self::Enabled => "enabled",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownMode)
    }
}

/// The word is none of the modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mode: expected disabled, auto or enabled")]
pub struct UnknownMode;

/// What is known of one endpoint: knowledge, never policy, and a refusal is not believed for ever.
///
/// The set is closed: the handshake's decision table has one column for each.
///
/// # State by state
///
#[doc = include_str!("../docs/knowledge.md")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// No handshake has told yet.
    #[default]
    Unknown,
    /// The last opt-in succeeded.
    Active,
    /// The opt-in was refused for good: unknown to the server, not permitted, or fatal to the link.
    Refused {
        /// When to ask again.
        recheck_at: Instant,
    },
}

impl Support {
    /// The knowledge that follows from a refusal at `now`: ask again [`RECHECK_AFTER`] later.
    #[must_use]
    pub(crate) fn refused(now: Instant) -> Self {
        Self::Refused { recheck_at: after(now, RECHECK_AFTER) }
    }

    /// Whether a handshake at `now` should opt in.
    #[must_use]
    pub fn probe(self, now: Instant) -> bool {
        match self {
            Self::Unknown | Self::Active => true,
            Self::Refused { recheck_at } => recheck_at <= now,
        }
    }

    /// [`probe`](Self::probe), for a handshake that begins now: a re-check that is due is taken by this one
    /// alone, and the next one is put off, so that a pool that connects at once does not send a futile opt-in
    /// on every connection.
    #[must_use]
    pub(crate) fn take_probe(&mut self, now: Instant) -> bool {
        let probe = self.probe(now);
        if probe && matches!(self, Self::Refused { .. }) {
            *self = Self::refused(now);
        }
        probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    #[test]
    fn words_read_back() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("Auto".parse::<Mode>(), Err(UnknownMode));
        assert_eq!(Mode::default(), Mode::Auto);
    }

    /// RULE-17
    #[test]
    fn unknown_and_active_are_always_asked() {
        let now = epoch();
        for mut support in [Support::Unknown, Support::Active] {
            let before = support;
            assert!(support.probe(now));
            assert!(support.take_probe(now));
            assert_eq!(support, before);
        }
    }

    /// PITFALL-20, RULE-16
    #[test]
    fn a_refusal_is_believed_until_its_re_check() {
        let now = epoch();
        let refused = Support::refused(now);
        assert!(!refused.probe(now));
        assert!(!refused.probe(now + RECHECK_AFTER - Duration::from_nanos(1)));
        assert!(refused.probe(now + RECHECK_AFTER));
    }

    /// RULE-18
    #[test]
    fn one_handshake_takes_the_re_check() {
        let now = epoch();
        let mut support = Support::refused(now);
        assert!(!support.take_probe(now));

        let due = now + RECHECK_AFTER;
        assert!(support.take_probe(due));
        assert!(!support.take_probe(due));
        // Nobody answered it: the next re-check comes by itself.
        assert!(support.take_probe(due + RECHECK_AFTER));
    }
}
