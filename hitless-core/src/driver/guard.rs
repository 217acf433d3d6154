//! What a task leaves behind when it ends, above all when it is dropped before its end.

use std::io;
use std::sync::Arc;

use super::shared::Shared;
use super::signals::Signals;
use super::state::ConnTask;
use super::traits::Runtime;

/// Held by each task for as long as it exists. A runtime that goes away drops its tasks, and so everybody who waits for
/// them is told.
pub(super) struct TaskGuard<R: Runtime> {
    shared: Arc<Shared<R>>,
    signals: Arc<Signals>,
    unfinished: Unfinished,
}

/// What a task that is dropped now leaves unsaid.
pub(super) enum Unfinished {
    /// Nothing: it has come to its end.
    Nothing,
    /// Without it nothing will move any more: the driver has died.
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
            // Of the two reports the machine ignores the one it does not wait for.
            Unfinished::Dial(task) => {
                self.shared.handle_resolved(&task, Err(io::ErrorKind::Interrupted.into()));
                self.shared.handle_connect_failed(&task, io::ErrorKind::Interrupted);
            }
        }
        self.signals.disconnect();
        self.shared.task_ended();
    }
}
