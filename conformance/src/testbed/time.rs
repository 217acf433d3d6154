//! How a case lets time pass, and puts a load on the client meanwhile.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use super::load::Mix;
use super::{Declined, Load, SOON, Testbed};

impl Testbed {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// What to draw at random from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.world.seed()
    }

    /// By how much things may be late here.
    #[must_use]
    pub fn slack(&self) -> Duration {
        self.world.slack()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            self.advance(until);
        }
    }

    /// Lets time pass until `holds`, which must be within `limit`.
    pub fn run_until(&mut self, what: &str, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) {
        let until = self.now() + limit + self.slack();
        while !holds(self) {
            if self.now() >= until {
                let (stats, cluster) = (self.stats(), self.cluster_history());
                panic!("not within {limit:?}: {what}\n{stats:#?}\n{cluster}{}", self.history());
            }
            self.advance(until);
        }
    }

    /// Waits for something that must come soon.
    pub fn run_until_soon(&mut self, what: &str, holds: impl FnMut(&mut Self) -> bool) {
        self.run_until(what, SOON, holds);
    }

    /// The events so far, one a line, for the message of a failure.
    #[must_use]
    pub fn history(&self) -> String {
        let start = self.timed_events().first().map_or_else(|| self.now(), |(at, _)| *at);
        let lines = self.timed_events().iter();
        lines.map(|(at, event)| format!("{:>12?} {event:?}\n", *at - start)).collect()
    }

    fn advance(&mut self, until: Instant) {
        let mut until = until;
        if let Some(mut load) = self.load.take() {
            load.pump(&mut *self.world);
            until = load.wakes_at().map_or(until, |at| until.min(at));
            self.load = Some(load);
        }
        self.world.step(until);
    }

    /// Stops the client from reading, or lets it again.
    pub fn block_reads(&mut self, blocked: bool) {
        self.world.block_reads(blocked);
    }

    /// Stops the client's sockets from taking bytes, or lets them again; declines the case where that is not possible.
    pub fn block_writes(&mut self, blocked: bool) {
        if let Err(reason) = self.world.block_writes(blocked) {
            resume_unwind(Box::new(Declined(reason.to_owned())));
        }
    }
}

/// The load.
impl Testbed {
    /// Starts `tasks` tasks that repeat INCR, SET and GET on keys of their own, and waits until the first operation is done.
    pub fn start_load(&mut self, tasks: usize) {
        self.begin(Load::new(tasks, Mix::Everything));
    }

    /// Starts a load that pauses for so long between two operations: for cases that take long.
    pub fn start_slow_load(&mut self, tasks: usize, think_time: Duration) {
        self.begin(Load::new(tasks, Mix::Everything).thinking(think_time));
    }

    /// The same, of reads alone: even a connection that is lost must not show.
    pub fn start_slow_reads(&mut self, tasks: usize, think_time: Duration) {
        self.begin(Load::new(tasks, Mix::Reads).thinking(think_time));
    }

    /// Lets the load do something, so that what happens next happens to it.
    fn begin(&mut self, load: Load) {
        self.load = Some(load);
        self.run_until_soon("the load has begun", |bed| bed.load().completed() > 0);
    }

    /// Lets every task finish what it is doing, and checks the laws of the load. Without a load it does nothing.
    pub fn stop_load(&mut self) {
        let Some(load) = &mut self.load else { return };
        load.stop();
        self.run_until("the load ends", Duration::from_secs(30), |bed| {
            bed.load.as_ref().is_some_and(Load::is_idle)
        });
        let Some(load) = self.load.take() else { return };
        self.server(|server, _| load.check_executions(server.ledger()));
        self.load = Some(load);
    }

    /// What the load has done so far.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn load(&self) -> &Load {
        self.load.as_ref().expect("start the load first")
    }

    pub(crate) fn maybe_load(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    /// No error so far, and no operation took longer than `longest`. INV-03
    pub fn assert_hitless(&self, longest: Duration) {
        let load = self.load();
        assert_eq!(load.errors(), &[] as &[String], "INV-03: no error\n{}", self.history());
        let (took, allowed) = (load.longest(), longest + self.slack());
        assert!(took <= allowed, "INV-03: an operation took {took:?} > {allowed:?}\n{}", self.history());
        assert!(load.completed() > 0, "the load did something");
    }
}
