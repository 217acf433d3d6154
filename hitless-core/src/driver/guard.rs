//! The guard of a task: when the task ends, and above all when it is dropped before its end, the client learns it.

use std::io;
use std::sync::Arc;

use super::shared::Shared;
use super::signals::Signals;
use super::state::ConnTask;
use super::traits::Runtime;

/// Why a dial fails whose task was dropped.
const DROPPED: &str = "the task that did it was dropped: either its runtime is going away, or it has panicked, and the \
                       message of the panic says why (a runtime without I/O, for one)";

/// Each task holds one for as long as it exists. A runtime that goes away drops its tasks, and the guards fail every reply
/// that is awaited.
pub(super) struct TaskGuard<R: Runtime> {
    shared: Arc<Shared<R>>,
    signals: Arc<Signals>,
    unfinished: Unfinished,
}

/// What the guard has to report if the task is dropped now.
pub(super) enum Unfinished {
    /// Nothing: the task has ended.
    Nothing,
    /// That the driver has died: the client cannot do without the task.
    Driver,
    /// That a dial has failed: the runtime is going away, or the adapter's code panicked.
    Dial(ConnTask),
}

impl<R: Runtime> TaskGuard<R> {
    /// For a task that `signals` wakes.
    pub(super) fn new(shared: &Arc<Shared<R>>, signals: &Arc<Signals>, unfinished: Unfinished) -> Self {
        shared.task_began();
        Self { shared: Arc::clone(shared), signals: Arc::clone(signals), unfinished }
    }

    pub(super) fn set(&mut self, unfinished: Unfinished) {
        self.unfinished = unfinished;
    }

    pub(super) fn shared(&self) -> &Arc<Shared<R>> {
        &self.shared
    }
}

impl<R: Runtime> Drop for TaskGuard<R> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.unfinished, Unfinished::Nothing) {
            Unfinished::Nothing => {}
            Unfinished::Driver => self.shared.on_driver_death(),
            // The machine ignores the one of the two reports that it does not wait for.
            Unfinished::Dial(task) => {
                let dropped = || io::Error::new(io::ErrorKind::Interrupted, DROPPED);
                self.shared.handle_resolved(&task, Err(dropped()));
                self.shared.handle_connect_failed(&task, &dropped());
            }
        }
        self.signals.disconnect();
        self.shared.task_ended();
    }
}
