//! The task that runs the hooks of one client.
//!
//! The hooks of one notification run one after the other, in their order. Different notifications are handled side by
//! side, begun in the order of their arrival. So a slow hook delays only its own notification, and only until its
//! limit.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::{HOOK_LIMIT, HookContext, HookResult};
use crate::client::Review;
use crate::driver::guard::{TaskGuard, Unfinished};
use crate::driver::observer::Events;
use crate::driver::shared::Shared;
use crate::driver::signals::WORK;
use crate::driver::traits::{Runtime, Timer};
use crate::driver::waiter::Waiter;
use crate::ids::ReviewId;
use crate::notification::Notification;
use crate::review::{Handled, Verdict};

/// How much longer the machine waits than all hooks may take, so that the limits of the hooks come first.
const SPARE: Duration = Duration::from_millis(250);
/// How many events one poll shows before other tasks run.
const EVENTS_PER_POLL: usize = 64;

/// How long the machine waits for the verdict of so many hooks.
pub(in crate::driver) fn review_limit(hooks: usize) -> Option<Duration> {
    let hooks = u32::try_from(hooks).unwrap_or(u32::MAX);
    (hooks > 0).then(|| HOOK_LIMIT.saturating_mul(hooks).saturating_add(SPARE))
}

/// A review that waits for the task of the hooks.
pub(in crate::driver) struct QueuedReview {
    pub(in crate::driver) review: Box<Review>,
    pub(in crate::driver) arrived_at: Instant,
    /// Gets what the machine has done with the notification.
    pub(in crate::driver) handled: Arc<Waiter<Handled>>,
}

/// Starts the task. It ends with the last of `events`.
pub(in crate::driver) fn spawn<R: Runtime>(shared: &Arc<Shared<R>>, events: Events) {
    let signals = Arc::clone(&shared.hook_signals);
    // If the task is dropped, the machine goes on when the time of a review is over.
    let guard = TaskGuard::new(shared, &signals, Unfinished::Nothing);
    shared.runtime.spawn(async move {
        let mut task = HookTask { guard, events, running: Vec::new() };
        std::future::poll_fn(|cx| task.poll(cx)).await;
    });
}

struct HookTask<R: Runtime> {
    events: Events,
    /// Notifications whose hooks run: at most the reviews of the machine, and those in their `post_hook`.
    running: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    // The last field, so that it is dropped when nothing of the task is left.
    guard: TaskGuard<R>,
}

impl<R: Runtime> HookTask<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.guard.shared();
        shared.hook_signals.register(cx.waker());
        shared.hook_signals.take(WORK);
        for shown in 0.. {
            if shown == EVENTS_PER_POLL {
                cx.waker().wake_by_ref();
                break;
            }
            match self.events.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(event)) => {
                    let now = shared.runtime.now();
                    #[cfg(feature = "tracing")]
                    super::tracing::show(shared.log_level, now, &event);
                    match &event {
                        Ok(event) => shared.hooks.each(|hook| hook.event(now, event)),
                        Err(missed) => shared.hooks.each(|hook| hook.missed(now, missed.0)),
                    }
                }
            }
        }
        let reviews = shared.take_reviews();
        self.running.extend(
            reviews.into_iter().map(|queued| Box::pin(handle(Arc::clone(shared), queued)) as Pin<Box<_>>),
        );
        self.running.retain_mut(|hooks| hooks.as_mut().poll(cx).is_pending());
        Poll::Pending
    }
}

async fn handle<R: Runtime>(shared: Arc<Shared<R>>, queued: QueuedReview) {
    let QueuedReview { review, arrived_at, handled } = queued;
    let (id, context, notification) = context_of(&shared, *review);
    let (verdict, notification, known) = ask(&shared, &context, notification, &handled).await;
    let handled = match known {
        Some(handled) => handled,
        None => {
            shared.handle_verdict(id, verdict);
            std::future::poll_fn(|cx| handled.poll(cx)).await
        }
    };
    let took = shared.runtime.now().saturating_duration_since(arrived_at);
    let result = HookResult { handled, took };
    for hook in shared.hooks.hooks() {
        let failures = shared.hooks.failures();
        let reaction = failures.caught(hook.post(&context, &notification, &result));
        if let Limited::TimedOut = limited(&shared, reaction, None).await {
            failures.count_timeout();
        }
    }
}

fn context_of<R: Runtime>(shared: &Shared<R>, review: Review) -> (ReviewId, HookContext, Notification) {
    let Review { id, conn, client_id, peer, is_blocking, notification, elements, .. } = review;
    let context = HookContext {
        client_name: shared.client_name.clone(),
        client_id,
        pool_size: shared.pool_size,
        conn,
        peer,
        is_blocking,
        frame: Frame::Push(elements),
    };
    (id, context, notification)
}

/// Asks one hook after the other. Returns the verdict, the notification as the hooks have left it, and what the machine
/// has done with it if the machine did not wait.
async fn ask<R: Runtime>(
    shared: &Shared<R>,
    context: &HookContext,
    original: Notification,
    handled: &Waiter<Handled>,
) -> (Verdict, Notification, Option<Handled>) {
    let mut replaced: Option<Notification> = None;
    let failures = shared.hooks.failures();
    for hook in shared.hooks.hooks() {
        let current = replaced.as_ref().unwrap_or(&original);
        let opinion = failures.caught(hook.pre(context, current));
        match limited(shared, opinion, Some(handled)).await {
            Limited::Done(None | Some(Verdict::Continue)) => {}
            Limited::Done(Some(Verdict::Replace(other))) => replaced = Some(other),
            Limited::Done(Some(Verdict::Veto)) => return (Verdict::Veto, original, None),
            Limited::TimedOut => failures.count_timeout(),
            Limited::Handled(handled) => {
                failures.count_timeout();
                return (Verdict::Continue, original, Some(handled));
            }
        }
    }
    match replaced {
        Some(other) => (Verdict::Replace(other.clone()), other, None),
        None => (Verdict::Continue, original, None),
    }
}

enum Limited<T> {
    Done(T),
    TimedOut,
    /// The machine has gone on meanwhile.
    Handled(Handled),
}

/// Runs one hook until its limit.
async fn limited<R: Runtime, T>(
    shared: &Shared<R>,
    future: impl Future<Output = T>,
    handled: Option<&Waiter<Handled>>,
) -> Limited<T> {
    let mut future = pin!(future);
    // Most hooks are ready at once and need no timer.
    let mut timer: Option<R::Timer> = None;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Limited::Done(output));
        }
        if let Some(Poll::Ready(handled)) = handled.map(|handled| handled.poll(cx)) {
            return Poll::Ready(Limited::Handled(handled));
        }
        let timer = timer.get_or_insert_with(|| {
            let mut timer = shared.runtime.timer();
            timer.reset(shared.runtime.now() + HOOK_LIMIT);
            timer
        });
        timer.poll_expired(cx).map(|()| Limited::TimedOut)
    })
    .await
}
