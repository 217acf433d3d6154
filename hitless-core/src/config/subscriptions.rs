//! The settings of subscriptions.

use super::{Config, ConfigBuilder};

impl Config {
    /// How many items a subscription may leave unread.
    #[must_use]
    pub fn subscription_capacity(&self) -> usize {
        self.settings.subscription_capacity
    }
}

impl ConfigBuilder {
    /// How many items a subscription may leave unread before it misses some, at least 1. Default: 1024. More take the memory of the
    /// messages as long as a subscriber lags.
    pub fn subscription_capacity(mut self, capacity: usize) -> Self {
        self.subscription_capacity = capacity;
        self
    }
}
