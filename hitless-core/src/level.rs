//! How much an event matters: what events say of themselves, and what the setting `log_level` lets through.

use std::fmt;

/// How much an [`Event`](crate::event::Event) matters to whoever operates the client.
///
/// As a limit, it lets through everything that matters as much or more: `Warn` lets `Error` and `Warn` through. The set
/// is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0: requests were lost.
    Error = 0,
    /// 1: something did not go as it should, and was dealt with.
    #[default]
    Warn = 1,
    /// 2: the course of a maintenance.
    Info = 2,
    /// 3: every step of it.
    Debug = 3,
}

impl Level {
    /// Every level, by its number.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of this number, from 0 to 3.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
