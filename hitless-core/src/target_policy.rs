//! A say in where a move may lead: NAT, port forwarding, allow-lists.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::endpoint::{Endpoint, Peer};

/// What a [`TargetPolicy`] says of a target.
///
/// The set is closed: a target is dialled, another one is, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetVerdict {
    /// Dial it.
    Allow,
    /// Dial this one instead: the server sees its own network, the client another.
    Rewrite(Endpoint),
    /// Dial nothing: the old connections serve until the server closes them. Credentials never go there.
    Veto,
}

/// Judges the endpoint that a MOVING names, before anything is dialled.
///
/// It is asked inside the machine, in the driver under the client's lock: it must answer at once, from what it knows,
/// and must not call the client. It must be pure, because it is asked anew for each copy of a MOVING. A MOVING without an
/// endpoint leads to the configured name and is not judged. A policy that panics has vetoed.
///
/// Over TLS a host outside of the configured name's domain is dialled only if a policy allows it: who sets one decides about
/// all of them ([`ConfigBuilder::target_domain`](crate::config::ConfigBuilder::target_domain)).
///
/// A closure is a policy:
///
/// ```
/// use std::sync::Arc;
///
/// use hitless_core::endpoint::{Endpoint, Host, Peer};
/// use hitless_core::maintenance;
/// use hitless_core::maintenance::TargetVerdict;
///
/// // Forwarded ports: every node is reached at this machine, at its own port plus 10000.
/// let forwarded = |target: &Endpoint, _source: &Peer| match target {
///     Endpoint::Tcp { port, .. } => match Endpoint::parse("127.0.0.1", port.saturating_add(10_000)) {
///         Ok(reachable) => TargetVerdict::Rewrite(reachable),
///         Err(_) => TargetVerdict::Veto,
///     },
///     Endpoint::Unix(_) => TargetVerdict::Veto,
/// };
/// let config = maintenance::Config::builder().target_policy(Arc::new(forwarded)).build()?;
/// # Ok::<(), hitless_core::config::ConfigError>(())
/// ```
pub trait TargetPolicy: Send + Sync {
    /// What to do about `target`, which the server names for the connections to `source`.
    fn judge(&self, target: &Endpoint, source: &Peer) -> TargetVerdict;
}

impl<F: Fn(&Endpoint, &Peer) -> TargetVerdict + Send + Sync> TargetPolicy for F {
    fn judge(&self, target: &Endpoint, source: &Peer) -> TargetVerdict {
        self(target, source)
    }
}

/// The policy of a configuration, if it has one. Two are equal if they are the same object.
#[derive(Clone, Default)]
pub(crate) struct Policy(Option<Arc<dyn TargetPolicy>>);

impl Policy {
    pub(crate) fn new(policy: Arc<dyn TargetPolicy>) -> Self {
        Self(Some(policy))
    }

    /// `None` without a policy.
    pub(crate) fn judge(&self, target: &Endpoint, source: &Peer) -> Option<TargetVerdict> {
        let policy = self.0.as_ref()?;
        Some(catch_unwind(AssertUnwindSafe(|| policy.judge(target, source))).unwrap_or(TargetVerdict::Veto))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            (one, another) => one.is_none() && another.is_none(),
        }
    }
}

impl Eq for Policy {}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &Policy) -> Option<TargetVerdict> {
        let target = Endpoint::parse("10.0.0.1", 6379).unwrap();
        let source = target.peer().unwrap();
        policy.judge(&target, &source)
    }

    #[test]
    fn no_policy_says_nothing_and_one_that_panics_vetoes() {
        assert_eq!(judge(&Policy::default()), None);
        let broken = |_: &Endpoint, _: &Peer| -> TargetVerdict { panic!("on purpose") };
        assert_eq!(judge(&Policy::new(Arc::new(broken))), Some(TargetVerdict::Veto));
    }
}
