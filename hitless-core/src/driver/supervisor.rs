//! The supervisor: one task per client, which keeps the alarm clock and starts all other tasks.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::alarm::Alarm;
use super::credentials::{self, Provider};
use super::dial::{self, Dialer};
use super::guard::{TaskGuard, Unfinished};
use super::hooks;
use super::shared::Shared;
use super::signals::WORK;
use super::traits::{Runtime, Timer};

/// How many alarms one poll answers before other tasks run.
const ALARMS_PER_POLL: usize = 16;

/// Starts the supervisor of a new client.
pub(super) fn spawn<R: Runtime, N: Dialer>(shared: &Arc<Shared<R>>, network: N, provider: Provider) {
    let guard = TaskGuard::new(shared, &shared.supervisor, Unfinished::Driver);
    credentials::spawn_renewal(shared, provider.clone());
    let runtime = shared.runtime.clone();
    shared.runtime.spawn(async move {
        let mut supervisor = Supervisor {
            timer: runtime.timer(),
            armed: None,
            alarm: Alarm::default(),
            network: Arc::new(network),
            provider,
            guard,
        };
        std::future::poll_fn(|cx| supervisor.poll(cx)).await;
        supervisor.guard.set(Unfinished::Nothing);
    });
}

struct Supervisor<R: Runtime, N> {
    timer: R::Timer,
    /// What the timer is armed for.
    armed: Option<Instant>,
    alarm: Alarm,
    network: Arc<N>,
    provider: Provider,
    // The last field, so that it is dropped when nothing of the task is left.
    guard: TaskGuard<R>,
}

impl<R: Runtime, N: Dialer> Supervisor<R, N> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { timer, armed, alarm, network, provider, guard } = self;
        let shared = guard.shared();
        shared.supervisor.register(cx.waker());
        for _ in 0..ALARMS_PER_POLL {
            shared.supervisor.take(WORK);
            let work = shared.take_work();
            if work.terminated {
                return Poll::Ready(());
            }
            if let Some(events) = work.hooks {
                hooks::task::spawn(shared, events);
            }
            for task in work.asks {
                credentials::spawn_ask(shared, provider, task);
            }
            for order in work.orders {
                dial::spawn(shared, network, order);
            }
            let Some(deadline) = work.alarm else { return Poll::Pending };
            let at = alarm.rings_at(deadline);
            if *armed != Some(at) {
                timer.reset(at);
                *armed = Some(at);
            }
            if timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            *armed = None;
            if alarm.ring(shared.runtime.now(), deadline, work.read) {
                shared.handle_timeout();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
