//! Whoever has a say: a hook that stops, changes and holds up notifications, and a policy on where moves may lead.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hitless_core::driver::{HookContext, NotificationHook};
use hitless_core::endpoint::{Endpoint, Peer};
use hitless_core::guide::Rng;
use hitless_core::maintenance::{TargetPolicy, TargetVerdict};
use hitless_core::notification::{MoveTarget, Notification};
use hitless_core::review::Verdict;

use super::faults::{pick, up_to};
use super::lock;
use super::runtime::Executor;

/// The longest that the hook thinks: longer than it is waited for.
const LONGEST_THOUGHT: Duration = Duration::from_secs(2);

/// A hook with its own mind.
pub(super) struct Opinions {
    executor: Executor,
    rng: Mutex<Rng>,
    /// Where it sends moves that it does not like.
    nodes: Vec<Endpoint>,
}

impl Opinions {
    pub(super) fn new(executor: &Executor, seed: u64, nodes: Vec<Endpoint>) -> Self {
        Self { executor: executor.clone(), rng: Mutex::new(Rng::new(seed)), nodes }
    }

    /// The verdict, and how long it takes.
    fn judge(&self, notification: &Notification) -> (Verdict, Duration) {
        let rng = &mut lock(&self.rng);
        let verdict = match (rng.below(8), notification) {
            (0, _) => Verdict::Veto,
            (1 | 2, Notification::Moving { seq, grace, .. }) => {
                let target = MoveTarget::Endpoint(pick(rng, &self.nodes).clone());
                Verdict::Replace(Notification::Moving { seq: *seq, grace: *grace / 2, target })
            }
            (1, Notification::Migrating { seq, starts_in, shards }) => {
                let (seq, starts_in, shards) = (*seq, *starts_in, shards.clone());
                Verdict::Replace(Notification::FailingOver { seq, starts_in, shards })
            }
            _ => Verdict::Continue,
        };
        let thought = if rng.below(4) == 0 { up_to(rng, LONGEST_THOUGHT) } else { Duration::ZERO };
        (verdict, thought)
    }
}

impl NotificationHook for Opinions {
    async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
        let (verdict, thought) = self.judge(notification);
        self.executor.sleep(thought).await;
        verdict
    }
}

/// A policy that lets most moves lead where the server says. It depends on nothing but what it is asked.
pub(super) fn policy(seed: u64, nodes: Vec<Endpoint>) -> Arc<dyn TargetPolicy> {
    Arc::new(move |target: &Endpoint, source: &Peer| {
        let asked = format!("{target} {source}");
        let asked = asked.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let rng = &mut Rng::new(asked);
        match rng.below(8) {
            0 => TargetVerdict::Veto,
            1 => TargetVerdict::Rewrite(pick(rng, &nodes).clone()),
            _ => TargetVerdict::Allow,
        }
    })
}
