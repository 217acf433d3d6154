//! Those who wait for elements and messages, and what is promised to them.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use hitless_core::error::Delivery;
use hitless_core::ids::{ConnId, RequestId};
use hitless_core::pubsub::{Item, Topic};
use hitless_core::request::{Outcome, Request};
use hitless_core::{Frame, cmd};
use resp3_codec::{Decoder, Limits};

use super::client::ClientModel;
use super::fact::Fact;
use super::keyspace::{LONG, Said, Whereabouts, Word};
use super::search::{Model as _, Violation};
use super::world::{Socket, Stage, World};

/// What a command asks its server to wait for.
const TIME: Duration = Duration::from_secs(30);

/// Who waits for elements, and who subscribes.
#[derive(Clone, Debug, Default)]
pub(super) struct Consumers {
    /// All that there ever were: each has a number, its place.
    calls: Vec<Call>,
    subscriber: Option<Subscriber>,
    /// A connection was lost, a right was denied, a server has owed an answer for long, or the time of a move was over: from then on the
    /// client may have to say that it does not know.
    is_strained: bool,
}

#[derive(Clone, Debug)]
struct Call {
    id: RequestId,
    since: Instant,
    stage: Calling,
    /// It was written there, and what was read does not prove that it has ended there.
    at: Option<ConnId>,
    /// The server has said nil.
    is_nil: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Calling {
    Waits,
    /// Its caller has given up.
    Dropped,
    Ended,
}

#[derive(Clone, Debug)]
struct Subscriber {
    is_confirmed: bool,
    /// The number of the message that may come next.
    next: u8,
    /// From this message on none may be missing.
    owed_from: u8,
    /// It was said that some may be missing before the next one.
    is_doubtful: bool,
}

impl Consumers {
    pub(super) fn are_there(&self) -> bool {
        !self.calls.is_empty() || self.subscriber.is_some()
    }

    /// Whether `request` is a call whose caller waits.
    pub(super) fn has(&self, request: RequestId) -> bool {
        self.calls.iter().any(|call| call.id == request && call.stage == Calling::Waits)
    }

    /// Calls whose callers wait.
    pub(super) fn waiting(&self) -> usize {
        self.calls.iter().filter(|call| call.stage == Calling::Waits).count()
    }

    pub(super) fn fingerprint(&self, hasher: &mut impl Hasher) {
        let Self { calls, subscriber, is_strained } = self;
        is_strained.hash(hasher);
        calls.len().hash(hasher);
        for Call { id, since: _, stage, at, is_nil } in calls {
            (id.index(), stage, at.map(|at| at.index()), is_nil).hash(hasher);
        }
        if let Some(Subscriber { is_confirmed, next, owed_from, is_doubtful }) = subscriber {
            (is_confirmed, next, owed_from, is_doubtful).hash(hasher);
        }
    }
}

impl World {
    /// The server has closed `socket`.
    pub(super) fn lose(&mut self, socket: &Socket) {
        self.consumers.is_strained = true;
        self.sever(socket);
    }
}

// ---- what happens

impl ClientModel {
    /// The first consumer comes, and the world is kind until it waits.
    pub(super) fn admit_consumers(&mut self) -> Result<(), Violation> {
        if !self.scope.has_consumers() {
            return Ok(());
        }
        if self.budget.holds > 0 {
            self.step(Fact::Hold)?;
        }
        self.step(if self.budget.calls > 0 { Fact::Call } else { Fact::Subscribe })?;
        while let Some(fact) = self.kind_fact(0) {
            self.step(fact)?;
        }
        if self.scope.is_moving {
            let first = self.world.sockets.iter().find(|socket| socket.notified);
            let first = first.map(|socket| Fact::Push(socket.conn, 0));
            first.into_iter().try_for_each(|push| self.step(push))?;
            while let Some(fact) = self.next_of_dials() {
                self.step(fact)?;
            }
        }
        Ok(())
    }

    fn next_of_dials(&self) -> Option<Fact> {
        self.world.sockets.iter().find_map(|socket| match socket.stage {
            Stage::Dialing => Some(Fact::Connected(socket.conn)),
            Stage::Greeting => Some(Fact::Greeted(socket.conn)),
            Stage::Resolving | Stage::Settling | Stage::Serving => None,
        })
    }

    pub(super) fn facts_of_station(&self, socket: &Socket, facts: &mut Vec<Fact>) {
        let (conn, station) = (socket.conn, &socket.station);
        facts.extend(station.is_to_serve().then_some(Fact::Served(conn)));
        facts.extend((self.budget.refusals > 0 && station.may_deny()).then_some(Fact::Denied(conn)));
        facts.extend((self.budget.expiries > 0 && station.waits.is_some()).then_some(Fact::TimeIsUp(conn)));
        facts.extend((!station.outbox.is_empty()).then_some(Fact::Replied(conn)));
    }

    pub(super) fn facts_of_consumers(&self, facts: &mut Vec<Fact>) {
        facts.extend((self.budget.calls > 0).then_some(Fact::Call));
        facts.extend((self.budget.subscribers > 0).then_some(Fact::Subscribe));
        facts.extend((self.budget.elements > 0).then_some(Fact::Append));
        let is_paused = self.world.keyspace.is_paused;
        facts.extend((self.budget.holds > 0 && !is_paused).then_some(Fact::Hold));
        facts.extend(is_paused.then_some(Fact::Release));
        if self.budget.messages > 0 {
            facts.extend([Fact::Publish(0), Fact::Publish(1)]);
        }
        if self.budget.drops > 0 {
            let calls = (0..).zip(&self.world.consumers.calls);
            facts.extend(calls.filter(|(_, it)| it.stage == Calling::Waits).map(|(nth, _)| Fact::Drop(nth)));
        }
    }

    /// In a kind world nothing is held up for ever, and whoever still waits when nothing moves any more gets an element, or nil.
    pub(super) fn ending_of_calls(&self) -> Option<Fact> {
        if self.world.keyspace.is_paused {
            return Some(Fact::Release);
        }
        let waits = |socket: &&Socket| socket.station.waits.is_some();
        let socket = self.world.sockets.iter().find(waits)?;
        let moves = self.stats().coordinator.moves;
        let ends = if self.budget.elements > 0 { Fact::Append } else { Fact::TimeIsUp(socket.conn) };
        (moves == 0).then_some(ends)
    }

    pub(super) fn happen_to_consumers(&mut self, fact: Fact) -> Result<(), Violation> {
        match fact {
            Fact::Call => {
                self.budget.calls -= 1;
                self.call()?;
            }
            Fact::Drop(nth) => {
                self.budget.drops -= 1;
                let Call { id, stage, .. } = &mut self.world.consumers.calls[usize::from(nth)];
                *stage = Calling::Dropped;
                self.client.cancel(self.now, *id);
            }
            Fact::Append => {
                self.budget.elements -= 1;
                self.world.append();
            }
            Fact::Hold => {
                self.budget.holds -= 1;
                self.world.pause();
            }
            Fact::Release => self.world.resume(),
            Fact::Subscribe => {
                self.budget.subscribers -= 1;
                self.subscribe()?;
            }
            Fact::Publish(content) => {
                self.budget.messages -= 1;
                self.world.publish(content);
            }
            Fact::Served(conn) => self.world.serve(conn),
            Fact::Denied(conn) => {
                self.budget.refusals -= 1;
                self.world.consumers.is_strained = true;
                self.world.deny(conn);
            }
            Fact::TimeIsUp(conn) => {
                self.budget.expiries = self.budget.expiries.saturating_sub(1);
                self.world.expire(conn);
            }
            _ => {}
        }
        Ok(())
    }

    /// Time has passed: is anything over by now?
    pub(super) fn note_strain(&mut self) {
        let is_late =
            |socket: &Socket| socket.station.busy_since.is_some_and(|since| self.now >= since + LONG);
        let is_over = self.world.deadlines.iter().any(|(_, deadline)| *deadline <= self.now);
        self.world.consumers.is_strained |= is_over || self.world.sockets.iter().any(is_late);
    }

    fn call(&mut self) -> Result<(), Violation> {
        let number = self.world.consumers.calls.len();
        let command = cmd("BLPOP").arg("q").arg(number.to_string()).arg(TIME.as_secs());
        let request = Request::command(command).ok().and_then(|it| self.client.send(self.now, it).ok());
        let Some(id) = request else { return Violation::of("INV-01: a command was not accepted") };
        let call = Call { id, since: self.now, stage: Calling::Waits, at: None, is_nil: false };
        self.world.consumers.calls.push(call);
        Ok(())
    }

    fn subscribe(&mut self) -> Result<(), Violation> {
        let id = self.client.open_subscription();
        let change = id.and_then(|id| self.client.subscribe(self.now, id, [Topic::from("c")]));
        if change.is_err() {
            return Violation::of("INV-19: nobody may subscribe");
        }
        self.world.consumers.subscriber =
            Some(Subscriber { is_confirmed: false, next: 0, owed_from: 0, is_doubtful: false });
        Ok(())
    }

    /// The server on `conn` receives `bytes`.
    pub(super) fn receive(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Violation> {
        let mut decoder = Decoder::new(Limits::default());
        decoder.buffer().extend_from_slice(bytes);
        while let Ok(Some(frame)) = decoder.poll_frame() {
            let Some(word) = frame.as_array().and_then(Word::parse) else {
                return Violation::of(format!("a server does not understand {frame:?}"));
            };
            let Some(socket) = self.world.sockets.iter_mut().find(|socket| socket.conn == conn) else {
                return Ok(());
            };
            socket.station.inbox.push(word);
            let Word::Pop(number) = word else { continue };
            if socket.retired.is_some() {
                return Violation::of(format!("INV-04: a command is written to {conn} after its cut-over"));
            }
            let call = &mut self.world.consumers.calls[usize::from(number)];
            if let Some(at) = call.at.replace(conn) {
                return Violation::of(format!(
                    "INV-21: call {number} is written again, and may not have ended on {at}"
                ));
            }
            if call.stage == Calling::Ended {
                return Violation::of(format!("INV-21: call {number} has ended, and is written"));
            }
        }
        Ok(())
    }

    /// The client reads what the server has said first on `conn`.
    pub(super) fn read(&mut self, conn: ConnId) {
        let Some((said, frame)) = self.world.read(conn) else { return };
        if let Said::Element { call, .. } | Said::Nil(call) | Said::Unblocked { call, is_over: true } = said {
            let call = &mut self.world.consumers.calls[usize::from(call)];
            call.at = None;
            call.is_nil |= matches!(said, Said::Nil(_));
        }
        self.client.handle_frames(self.now, conn, [frame]);
    }
}

// ---- what is promised

impl ClientModel {
    /// The client closes `socket`.
    pub(super) fn leave(&mut self, socket: &Socket) -> Result<(), Violation> {
        self.world.sever(socket);
        let conn = socket.conn;
        if socket.station.has_or_takes() && !self.world.consumers.is_strained {
            return Violation::of(format!("INV-21: {conn} is closed, and takes elements along"));
        }
        Ok(())
    }

    /// The end of a command that waits for an element.
    pub(super) fn judge_call(&mut self, request: RequestId, outcome: &Outcome) -> Result<(), Violation> {
        let World { consumers, keyspace, .. } = &mut self.world;
        let found = (0..).zip(&mut consumers.calls).find(|(_, call)| call.id == request);
        let Some((number, call)) = found else { return Ok(()) };
        call.stage = Calling::Ended;
        let has_taken = keyspace.elements.contains(&Whereabouts::Popped(number));
        match outcome.as_ref().map(|replies| replies.as_slice()) {
            Ok([Frame::Null]) if call.is_nil || self.now >= call.since + TIME => match has_taken {
                true => Violation::of(format!("INV-21: call {number} has taken an element, and gets nil")),
                false => Ok(()),
            },
            Ok([reply]) => match keyspace.take(reply, number) {
                Some(element) => {
                    *element = Whereabouts::Delivered;
                    Ok(())
                }
                None => Violation::of(format!("INV-21: call {number} gets {reply:?}")),
            },
            Ok(replies) => Violation::of(format!("INV-02: call {number} gets {replies:?}")),
            Err(error) if error.delivery() == Delivery::NotSent => match has_taken || call.at.is_some() {
                true => Violation::of(format!("INV-21: call {number} may have run, and ends with: {error}")),
                false => Ok(()),
            },
            Err(_) if consumers.is_strained => {
                // It may yet be written, and is called back then.
                call.stage = Calling::Dropped;
                Ok(())
            }
            Err(error) => Violation::of(format!("INV-21: call {number} ends with: {error}")),
        }
    }

    /// An element that nobody waits for any more.
    pub(super) fn judge_orphan(&mut self, reply: &Frame) -> Result<(), Violation> {
        let World { consumers, keyspace, .. } = &mut self.world;
        for (number, _) in (0..).zip(&consumers.calls).filter(|(_, call)| call.stage != Calling::Waits) {
            if let Some(element) = keyspace.take(reply, number) {
                *element = Whereabouts::Orphaned;
                return Ok(());
            }
        }
        Violation::of(format!("INV-21: an orphan that nobody has taken: {reply:?}"))
    }

    pub(super) fn judge_subscribed(&mut self, is_confirmed: bool) -> Result<(), Violation> {
        let published = self.world.keyspace.published.len() as u8;
        let Some(subscriber) = &mut self.world.consumers.subscriber else {
            return Violation::of("INV-19: nobody has subscribed");
        };
        subscriber.is_confirmed = is_confirmed;
        subscriber.owed_from = published;
        if is_confirmed { Ok(()) } else { Violation::of("INV-19: nobody may subscribe") }
    }

    /// The subscriber receives `item`.
    pub(super) fn judge_item(&mut self, item: &Item) -> Result<(), Violation> {
        let World { consumers, keyspace, .. } = &mut self.world;
        let Some(subscriber) = &mut consumers.subscriber else {
            return Violation::of("INV-19: nobody has subscribed");
        };
        match item {
            Item::Message(message) => {
                let Some(number) = keyspace.message(&message.payload) else {
                    return Violation::of("INV-19: a message that nobody has published");
                };
                if number < subscriber.next {
                    return Violation::of(format!("INV-19: message {number} is repeated, or comes too late"));
                }
                subscriber.check_up_to(number)?;
                (subscriber.next, subscriber.is_doubtful) = (number + 1, false);
                Ok(())
            }
            Item::Gap { .. } if consumers.is_strained => {
                subscriber.owed_from = keyspace.published.len() as u8;
                Ok(())
            }
            Item::Ambiguous { .. } if keyspace.has_equal() => {
                subscriber.is_doubtful = true;
                Ok(())
            }
            other => Violation::of(format!("INV-19: without a reason: {other:?}")),
        }
    }

    /// What was read is delivered, or handed out.
    pub(super) fn check_consumers(&self) -> Result<(), Violation> {
        let elements = (0..).zip(&self.world.keyspace.elements);
        let popped = elements.filter(|(_, element)| matches!(element, Whereabouts::Popped(_)));
        for (number, _) in popped {
            let carries = |said: &Said| matches!(said, Said::Element { number: it, .. } if *it == number);
            if !self.world.sockets.iter().any(|socket| socket.station.outbox.iter().any(carries)) {
                return Violation::of(format!("INV-21: element {number} was read, and nobody gets it"));
            }
        }
        Ok(())
    }

    /// Whether all who subscribe are subscribed.
    pub(super) fn is_subscribed(&self) -> bool {
        let World { consumers, sockets, .. } = &self.world;
        consumers.subscriber.is_none() || sockets.iter().any(|socket| socket.station.is_subscribed)
    }

    /// At the end: where is everything that was to be consumed?
    pub(super) fn check_accounts(&self) -> Result<(), Violation> {
        let World { consumers, keyspace, .. } = &self.world;
        for (number, element) in keyspace.elements.iter().enumerate() {
            let is_accounted_for = match element {
                Whereabouts::InList | Whereabouts::Delivered | Whereabouts::Orphaned => true,
                Whereabouts::Lost => consumers.is_strained,
                Whereabouts::Popped(_) => false,
            };
            if !is_accounted_for {
                return Violation::of(format!("INV-21: element {number} is lost"));
            }
        }
        match &consumers.subscriber {
            Some(subscriber) => subscriber.check_up_to(keyspace.published.len() as u8),
            None => Ok(()),
        }
    }
}

impl Subscriber {
    /// Whether all before this message were delivered, but for those that may be missing.
    fn check_up_to(&self, number: u8) -> Result<(), Violation> {
        let missing = self.next.max(self.owed_from);
        if missing < number && !self.is_doubtful {
            return Violation::of(format!("INV-19: message {missing} is lost"));
        }
        Ok(())
    }
}
