//! Requests that run although nobody waits for their replies.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{IdMap, LeaseId, RequestId};

/// The requests under way whose callers have left and want them to run.
pub(super) struct Detached {
    /// With the name of the command, if it removes elements from their keys, and the lease that it runs on.
    requests: IdMap<RequestId, (Option<&'static str>, Option<LeaseId>)>,
    /// How many of them run on each lease.
    leases: BTreeMap<LeaseId, usize>,
    /// Those of these leases whose last handle is gone.
    returned: BTreeSet<LeaseId>,
}

impl Detached {
    pub(super) const fn new() -> Self {
        Self { requests: IdMap::new(), leases: BTreeMap::new(), returned: BTreeSet::new() }
    }

    /// The caller of `request` has left. `takes` is the name of the command, if it removes elements from their keys.
    #[cfg(feature = "redis-rs")]
    pub(super) fn insert(&mut self, request: RequestId, takes: Option<&'static str>, lease: Option<LeaseId>) {
        self.requests.insert(request, (takes, lease));
        if let Some(lease) = lease {
            *self.leases.entry(lease).or_default() += 1;
        }
    }

    /// `request` has ended. Returns what its command was if it removes elements, and the lease that is to be returned now.
    pub(super) fn complete(&mut self, request: RequestId) -> (Option<&'static str>, Option<LeaseId>) {
        let (takes, lease) = self.requests.remove(request).unwrap_or_default();
        (takes, lease.filter(|lease| self.leave(*lease)))
    }

    /// The last handle of `lease` is gone. True if nothing runs on it any more; otherwise [`complete`](Self::complete) says when.
    pub(super) fn return_lease(&mut self, lease: LeaseId) -> bool {
        if !self.leases.contains_key(&lease) {
            return true;
        }
        self.returned.insert(lease);
        false
    }

    /// One request less runs on `lease`. True if it was the last one, and the handles are gone.
    fn leave(&mut self, lease: LeaseId) -> bool {
        let Some(requests) = self.leases.get_mut(&lease) else { return false };
        *requests -= 1;
        if *requests > 0 {
            return false;
        }
        self.leases.remove(&lease);
        self.returned.remove(&lease)
    }
}
