//! What a case does with the client, and what it sees of it.

use std::time::{Duration, Instant};

use hitless_core::client::Stats;
use hitless_core::config::Config;
use hitless_core::error::RequestError;
use hitless_core::event::Event;
use hitless_core::request::{Class, Outcome, Pipeline, Request, SendError};
use resp3_codec::{Command, Frame};

use super::{SECOND, SOON, Testbed};
use crate::laws;
use crate::server::ServerMachine as _;
use crate::world::Ticket;

impl Testbed {
    /// Sends a request, which must be accepted.
    pub fn send_request(&mut self, request: Request) -> Ticket {
        self.try_send(request).unwrap_or_else(|error| panic!("the client accepts it: {error}"))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The client does not accept it.
    pub fn try_send(&mut self, request: Request) -> Result<Ticket, SendError> {
        self.blocks |= request.class() == Class::Blocking;
        self.world.send(request)
    }

    /// Sends a command without waiting for its reply.
    pub fn send(&mut self, command: Command) -> Ticket {
        self.send_request(Request::command(command).expect("a command for the shared client"))
    }

    /// Sends a command that is given so long, whatever the timeouts of the client are, without waiting for its reply.
    pub fn send_within(&mut self, time: Duration, command: Command) -> Ticket {
        let request = Request::command(command).expect("a command for the shared client");
        self.send_request(request.timeout(time))
    }

    /// Sends a pipeline and waits for its replies, which must come.
    pub fn pipeline(&mut self, pipeline: Pipeline) -> Vec<Frame> {
        let request = pipeline.into_request().expect("commands for the shared client");
        let ticket = self.send_request(request.expect("a pipeline that is not empty"));
        self.wait(ticket).unwrap_or_else(|error| panic!("replies, not: {error}")).into_vec()
    }

    /// Sends a command and waits for its reply, which must come.
    pub fn call(&mut self, command: Command) -> Frame {
        let ticket = self.send(command);
        self.reply(ticket)
    }

    /// Waits for the only reply to a request, which must come.
    pub fn reply(&mut self, ticket: Ticket) -> Frame {
        let replies = match self.wait(ticket) {
            Ok(replies) => replies,
            Err(error) => panic!("a reply, not: {error}\n{}{}", self.cluster_history(), self.history()),
        };
        assert_eq!(replies.len(), 1);
        replies[0].clone()
    }

    /// Waits for a request to fail.
    pub fn error(&mut self, ticket: Ticket) -> RequestError {
        match self.wait(ticket) {
            Err(error) => error,
            Ok(replies) => panic!("an error, not: {replies:?}"),
        }
    }

    /// Waits for the end of a request.
    pub fn wait(&mut self, ticket: Ticket) -> Outcome {
        self.run_until("the request ends", Duration::from_secs(30), |bed| bed.finished_at(ticket).is_some());
        self.outcome(ticket).expect("it has just ended")
    }

    /// How a request ended, if it has.
    #[must_use]
    pub fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.world.finished(ticket).map(|finished| finished.outcome.clone())
    }

    /// When a request ended, if it has.
    #[must_use]
    pub fn finished_at(&self, ticket: Ticket) -> Option<Instant> {
        self.world.finished(ticket).map(|finished| finished.at)
    }

    /// Gives up on a request.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.world.cancel(ticket);
    }

    /// What the client said so far, with times.
    #[must_use]
    pub fn timed_events(&self) -> &[(Instant, Event)] {
        self.world.events()
    }

    /// What the client said so far.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.world.events().iter().map(|(_, event)| event)
    }

    /// How often the client said something like this.
    pub fn count(&self, is_meant: impl FnMut(&&Event) -> bool) -> usize {
        self.events().filter(is_meant).count()
    }

    /// How many connections were handed over.
    #[must_use]
    pub fn cut_overs(&self) -> usize {
        self.count(|event| matches!(event, Event::CutOver { .. }))
    }

    /// How many moves began.
    #[must_use]
    pub fn moves(&self) -> usize {
        self.count(|event| matches!(event, Event::MoveStarted { .. }))
    }

    /// How many connections the client has seen end.
    pub fn lost(&mut self) -> usize {
        // Whatever it has said until now is among its events then.
        self.stats();
        self.count(|event| matches!(event, Event::ConnectionClosed { .. }))
    }

    /// Waits until the client has seen so many connections end. It may have connected again by then.
    pub fn run_until_lost(&mut self, count: usize) {
        self.run_until_soon("connections are lost", |bed| bed.lost() >= count);
    }

    /// Does what ends `count` connections of the client, and waits until it has seen that. It may have connected again by then.
    pub fn lose(&mut self, count: usize, end: impl FnOnce(&mut Self)) {
        let before = self.lost();
        end(self);
        self.run_until_lost(before + count);
    }

    /// Pushes that are no maintenance notifications.
    #[must_use]
    pub fn pushes(&self) -> &[Vec<Frame>] {
        self.world.pushes()
    }

    /// What is going on in the client.
    pub fn stats(&mut self) -> Stats {
        self.world.stats()
    }

    /// Shuts the client down and checks that nothing is left of it.
    pub fn shutdown(&mut self, grace: Duration) {
        self.world.shutdown(grace);
        let endpoints = self.server(|server, _| server.endpoints());
        // Over sockets the server hears of the last FIN a moment later.
        self.run_until("INV-15: the server sees no connection", SOON, |bed| {
            endpoints.iter().all(|endpoint| bed.connections(*endpoint).is_empty())
        });
    }

    /// Ends the case: stops the load, shuts down, and checks the laws that hold for every run.
    pub fn finish(mut self) {
        self.stop_load();
        self.shutdown(SECOND);
        match self.spare {
            None => laws::check(&mut self),
            Some(_) => laws::check_cluster(&mut self),
        }
    }

    /// The settings that the client was connected with.
    ///
    /// # Panics
    /// Before that.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.config.as_ref().expect("connect first")
    }
}
