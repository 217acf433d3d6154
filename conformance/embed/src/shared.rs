//! What the tasks of a pool share: the state behind a lock, the ways in for facts, and the one timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hitless_core::error::{CloseCause, ConnectError};
use hitless_core::event::Event;
use hitless_core::handshake::OptIn;
use hitless_core::ids::ConnId;
use hitless_core::{Config, Coordinator};
use redis::aio::MultiplexedConnection;
use redis::io::AsyncDNSResolver;
use redis::{PushInfo, PushKind};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot};

use crate::push;
use crate::runtime::{Task, now, until};
use crate::state::{Lease, State};

/// What a pool says besides replies.
#[derive(Clone, Debug)]
pub enum Said {
    /// What the coordinator, and the pool for it, has to say of the course of things.
    Event(Instant, Event),
    /// A push that is no maintenance notification.
    Push(PushInfo),
}

/// One pool.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) names: Box<dyn AsyncDNSResolver>,
    /// Wakes those whose timeout may have changed, and those who wait for the pool to open or to close.
    pub(crate) changed: Notify,
    /// Where tasks run, also those that somebody begins who is not in one.
    runtime: Handle,
    /// Handed to tasks, so that none of them keeps the pool alive.
    this: Weak<Self>,
    observer: UnboundedSender<Said>,
    state: Mutex<State>,
    /// Tells the timekeeper that its alarm is another one now.
    alarm: Arc<Notify>,
    _timekeeper: Task,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        names: impl AsyncDNSResolver,
        observer: UnboundedSender<Said>,
        seed: u64,
    ) -> Arc<Self> {
        let config = Arc::new(config);
        let alarm = Arc::new(Notify::new());
        let runtime = Handle::current();
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            names: Box::new(names),
            changed: Notify::new(),
            this: Weak::clone(this),
            observer,
            state: Mutex::new(State::new(Arc::clone(&config), seed)),
            _timekeeper: Task::spawn(&runtime, keep_time(Weak::clone(this), Arc::clone(&alarm))),
            runtime,
            alarm,
            config,
        })
    }

    /// Tells the coordinator a fact, and obeys it.
    pub(crate) fn tell(&self, fact: impl FnOnce(&mut Coordinator, Instant)) {
        self.with(|state, now| fact(&mut state.coordinator, now));
    }

    /// A push arrived on `conn`. This is called in the task that reads the connection, so that a window is open before the
    /// frame behind the push is looked at.
    pub(crate) fn handle_push(&self, conn: ConnId, push: PushInfo) {
        match push::notification(&push) {
            Ok(Some(notification)) => {
                self.tell(|coordinator, now| coordinator.handle_notification(now, conn, &notification));
            }
            Ok(None) if push.kind == PushKind::Disconnection => {}
            // Somebody who no longer listens misses nothing.
            Ok(None) => drop(self.observer.send(Said::Push(push))),
            Err(error) => self.emit(now(), Event::NotificationMalformed { conn, error }),
        }
    }

    /// The handshake of `conn` is done.
    pub(crate) fn handle_ready(&self, conn: ConnId, connection: MultiplexedConnection, opt_in: OptIn) {
        self.with(|state, now| state.handle_ready(now, conn, connection, opt_in));
    }

    /// The dial or the handshake of `conn` failed.
    pub(crate) fn handle_dial_failed(&self, conn: ConnId, failure: DialFailure) {
        self.with(|state, now| state.handle_dial_failed(self, now, conn, failure));
    }

    /// The connection is gone.
    pub(crate) fn handle_closed(&self, conn: ConnId) {
        // redis-rs does not say how it ended.
        self.with(|state, now| state.handle_closed(self, now, conn, CloseCause::ByServer));
    }

    /// A connection for one request, or word of it when one serves.
    pub(crate) fn lease(&self, wanted: Option<ConnId>) -> Result<Lease<'_>, oneshot::Receiver<ConnId>> {
        self.lock().lease(self, wanted)
    }

    pub(crate) fn give_back(&self, conn: ConnId) {
        self.with(|state, now| state.give_back(self, now, conn));
    }

    /// How long a request may take that `conn` carries, or that waits for a connection; `None` is for ever.
    pub(crate) fn timeout(&self, conn: Option<ConnId>) -> Option<Duration> {
        let configured = self.config.command_timeout()?;
        let relaxed = self.lock().coordinator.relaxed(now(), conn);
        Some(relaxed.map_or(configured, |relaxed| relaxed.max(configured)))
    }

    /// Does something to the state, and obeys what the coordinator makes of it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = now();
        let mut state = self.lock();
        let result = act(&mut state, now);
        state.obey(self, now);
        if state.take_new_alarm() {
            self.alarm.notify_one();
        }
        result
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn emit(&self, now: Instant, event: Event) {
        // Nobody has to listen.
        let _ = self.observer.send(Said::Event(now, event));
    }

    /// Begins a task that ends with its owner. It is given the pool without keeping it alive.
    pub(crate) fn spawn<F>(&self, task: impl FnOnce(Weak<Self>) -> F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Task::spawn(&self.runtime, task(Weak::clone(&self.this)))
    }

    /// Begins a task that ends by itself.
    pub(crate) fn spawn_detached<F>(&self, task: impl FnOnce(Weak<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(task(Weak::clone(&self.this)));
    }
}

/// Why there is no connection.
pub(crate) enum DialFailure {
    /// An ordinary failure.
    Error(ConnectError),
    /// The link died between the opt-in and its answer.
    LostAtOptIn,
}

/// Calls the coordinator when it wants to be called. The pool's only timer.
async fn keep_time(shared: Weak<Shared>, alarm: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| shared.lock().alarm()) else { return };
        tokio::select! {
            () = until(next) => {}
            () = alarm.notified() => continue,
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.with(State::handle_timeout);
    }
}
