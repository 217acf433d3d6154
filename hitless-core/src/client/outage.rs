//! Why there is no connection: the last failure of an attempt, and whether nothing has served since.

#[cfg(feature = "explore")]
mod fingerprint;

use std::sync::Arc;

use crate::config::WhenDisconnected;
use crate::error::ConnectError;

/// What is known of the attempts to get a connection.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Outage {
    policy: WhenDisconnected,
    last: Option<Arc<ConnectError>>,
    /// The last attempt failed while nothing served, and nothing has served since.
    is_down: bool,
}

impl Outage {
    pub(super) const fn new(policy: WhenDisconnected) -> Self {
        Self { policy, last: None, is_down: false }
    }

    /// An attempt has failed. `is_down` if no connection serves.
    pub(super) fn note_failure(&mut self, error: ConnectError, is_down: bool) {
        self.last = Some(Arc::new(error));
        self.is_down = is_down;
    }

    /// A connection serves.
    pub(super) fn end(&mut self) {
        self.is_down = false;
    }

    /// Why the last attempt has failed.
    pub(super) fn last_failure(&self) -> Option<&ConnectError> {
        self.last.as_deref()
    }

    /// Why there is no connection; `None` if there is one, or no attempt has failed since there was one.
    pub(super) fn cause(&self) -> Option<&Arc<ConnectError>> {
        self.last.as_ref().filter(|_| self.is_down)
    }

    /// Why requests that find no connection fail; `None` if they wait.
    pub(super) fn refusal(&self) -> Option<&Arc<ConnectError>> {
        match self.policy {
            WhenDisconnected::Wait => None,
            WhenDisconnected::Fail => self.cause(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn refused() -> ConnectError {
        ConnectError::Connect(io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn an_outage_begins_with_a_failure_while_nothing_serves_and_ends_with_a_connection() {
        let mut outage = Outage::new(WhenDisconnected::Fail);
        outage.note_failure(refused(), false);
        assert_eq!((outage.cause(), outage.last_failure()), (None, Some(&refused())));
        outage.note_failure(refused(), true);
        assert_eq!(outage.refusal().map(|cause| &**cause), Some(&refused()));
        outage.end();
        assert_eq!((outage.cause(), outage.refusal()), (None, None));
    }

    #[test]
    fn requests_wait_unless_they_are_to_fail() {
        let mut outage = Outage::new(WhenDisconnected::Wait);
        outage.note_failure(refused(), true);
        assert!(outage.cause().is_some() && outage.refusal().is_none());
    }
}
