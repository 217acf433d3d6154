//! The hooks of one client.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::{HookContext, HookFailures, HookId, HookResult, NotificationHook, Observed};
use crate::cluster::ClusterEvent;
use crate::event::Event;
use crate::notification::Notification;
use crate::review::Verdict;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A [`NotificationHook`] of any type.
pub(in crate::driver) trait ErasedHook: Send + Sync {
    fn pre<'a>(&'a self, context: &'a HookContext, notification: &'a Notification) -> Boxed<'a, Verdict>;
    fn post<'a>(
        &'a self,
        context: &'a HookContext,
        notification: &'a Notification,
        result: &'a HookResult,
    ) -> Boxed<'a, ()>;
    fn event(&self, at: Instant, event: &Event);
    fn missed(&self, at: Instant, count: u64);
    fn cluster_event(&self, at: Instant, event: &ClusterEvent);
    fn attached(&self, client: Observed);
}

impl<H: NotificationHook> ErasedHook for H {
    // The hook is called when the future is polled, because its panics are caught there.
    fn pre<'a>(&'a self, context: &'a HookContext, notification: &'a Notification) -> Boxed<'a, Verdict> {
        Box::pin(async move { self.pre_hook(context, notification).await })
    }

    fn post<'a>(
        &'a self,
        context: &'a HookContext,
        notification: &'a Notification,
        result: &'a HookResult,
    ) -> Boxed<'a, ()> {
        Box::pin(async move { self.post_hook(context, notification, result).await })
    }

    fn event(&self, at: Instant, event: &Event) {
        self.on_event(at, event);
    }

    fn missed(&self, at: Instant, count: u64) {
        self.on_missed(at, count);
    }

    fn cluster_event(&self, at: Instant, event: &ClusterEvent) {
        self.on_cluster_event(at, event);
    }

    fn attached(&self, client: Observed) {
        NotificationHook::attached(self, client);
    }
}

/// The hooks in their order. The lock is held only to copy a reference.
#[derive(Default)]
pub(in crate::driver) struct Registry {
    entries: Mutex<Entries>,
    failures: Arc<Failures>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    /// Copied when it changes, so that a task that runs hooks goes on with the same ones.
    hooks: Arc<Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    id: HookId,
    hook: Arc<dyn ErasedHook>,
}

impl Registry {
    pub(in crate::driver) fn add(&self, hook: Arc<dyn ErasedHook>) -> HookId {
        let mut entries = self.lock();
        let id = HookId(entries.next);
        entries.next += 1;
        let mut hooks = (*entries.hooks).clone();
        hooks.push(Entry { id, hook });
        entries.hooks = Arc::new(hooks);
        id
    }

    /// False if it is not there.
    pub(in crate::driver) fn remove(&self, id: HookId) -> bool {
        let mut entries = self.lock();
        let mut hooks = (*entries.hooks).clone();
        let before = hooks.len();
        hooks.retain(|entry| entry.id != id);
        let is_removed = hooks.len() < before;
        let old = std::mem::replace(&mut entries.hooks, Arc::new(hooks));
        drop(entries);
        // Dropping a hook may run its code, so the lock is released before.
        drop(old);
        is_removed
    }

    pub(in crate::driver) fn len(&self) -> usize {
        self.lock().hooks.len()
    }

    pub(in crate::driver) fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// The hooks that there are now, each with its id.
    pub(in crate::driver) fn entries(&self) -> impl Iterator<Item = (HookId, Arc<dyn ErasedHook>)> + use<> {
        let hooks = Arc::clone(&self.lock().hooks);
        (0..hooks.len()).filter_map(move |index| hooks.get(index).map(|it| (it.id, Arc::clone(&it.hook))))
    }

    /// The hooks that there are now.
    pub(in crate::driver) fn hooks(&self) -> impl Iterator<Item = Arc<dyn ErasedHook>> + use<> {
        let hooks = Arc::clone(&self.lock().hooks);
        (0..hooks.len()).map(move |index| Arc::clone(&hooks[index].hook))
    }

    /// Runs each hook's reaction to something; a panic is counted.
    pub(in crate::driver) fn each(&self, act: impl Fn(&dyn ErasedHook)) {
        for hook in self.hooks() {
            self.failures.guard(|| act(&*hook));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("hooks", &self.len()).finish_non_exhaustive()
    }
}

/// Counts the panics and timeouts of hooks.
#[derive(Debug, Default)]
pub(in crate::driver) struct Failures {
    panics: AtomicU64,
    timeouts: AtomicU64,
}

impl Failures {
    pub(in crate::driver) fn snapshot(&self) -> HookFailures {
        HookFailures {
            panics: self.panics.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_timeout(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs foreign code.
    pub(in crate::driver) fn guard(&self, act: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(act)).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The output of foreign code, or `None` if it panics.
    pub(super) async fn caught<T>(&self, future: Boxed<'_, T>) -> Option<T> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => {
                self.panics.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(None)
            }
        })
        .await
    }
}
