//! What happens to a client when a fact does.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use hitless_core::error::CloseCause;
use hitless_core::ids::ConnId;
use hitless_core::request::{Replay, Request};
use hitless_core::write_buffer::WriteBuffer;
use resp3_codec::Frame;

use super::client::ClientModel;
use super::fact::Fact;
use super::search::Violation;
use super::world::{Entry, FIRST, Holder, Holding, OPT_IN, Stage, World};

/// What a shutdown leaves to what is under way.
const GRACE: Duration = Duration::from_secs(5);
pub(super) const PAUSE: Duration = Duration::from_secs(1);

impl ClientModel {
    /// Tells the client of `fact`, and lets the world keep count.
    pub(super) fn happen(&mut self, fact: Fact) -> Result<(), Violation> {
        match fact {
            Fact::TimePasses => self.pass_time(),
            Fact::Pause => {
                self.budget.pauses -= 1;
                self.now += PAUSE;
            }
            Fact::Resolved(conn, _) | Fact::ResolveFailed(conn) => self.resolve(conn, fact),
            Fact::Connected(conn) => {
                let Some(peer) = self.world.begin(conn, Stage::Greeting).peer.clone() else { return Ok(()) };
                self.client.handle_connected(self.now, conn, peer);
            }
            Fact::Refused(conn) => {
                self.budget.faults -= 1;
                self.world.remove(conn);
                self.client.handle_connect_failed(self.now, conn, io::ErrorKind::ConnectionRefused);
            }
            Fact::Greeted(conn) | Fact::Settled(conn) | Fact::OptInRefused(conn) | Fact::Loading(conn) => {
                self.answer_handshake(conn, fact);
            }
            Fact::Push(conn, nth) => {
                self.budget.pushes -= 1;
                self.client.handle_frames(self.now, conn, [self.scope.pushes[usize::from(nth)].frame()]);
            }
            Fact::Written(conn) => self.write(conn)?,
            Fact::Replied(conn) if self.scope.has_consumers() => self.read(conn),
            Fact::Replied(conn) => self.reply(conn, None),
            Fact::RepliedReadOnly(conn) => {
                self.budget.refusals -= 1;
                self.reply(conn, Some(Frame::error("READONLY You can't write against a read only replica.")));
            }
            Fact::Ending(conn) => self.begin_to_close(conn),
            Fact::Closed(conn) => self.close(conn),
            Fact::SendWrite => {
                self.budget.writes -= 1;
                self.send(false)?;
            }
            Fact::SendRead => {
                self.budget.reads -= 1;
                self.send(true)?;
            }
            Fact::Wish | Fact::SendOn(_) | Fact::Return(_) => self.happen_to_leases(fact)?,
            Fact::Cancel(nth) => {
                self.budget.cancels -= 1;
                let Entry { id, .. } = self.world.ledger.remove(usize::from(nth));
                self.client.cancel(self.now, id);
            }
            Fact::Shutdown => {
                self.budget.shutdowns -= 1;
                self.takes_requests = false;
                self.client.shutdown(self.now, self.now + GRACE);
            }
            // The client sees to these itself.
            Fact::Open | Fact::Drained(_) | Fact::Switched(_) => {}
            _ => self.happen_to_consumers(fact)?,
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        if let Some(delays) = self.budget.delays.filter(|_| self.kind_fact(0).is_some()) {
            self.budget.delays = Some(delays.saturating_sub(1));
        }
        self.now = self.client.poll_timeout().unwrap_or(self.now).max(self.now);
        self.note_strain();
        self.client.handle_timeout(self.now);
    }

    fn happen_to_leases(&mut self, fact: Fact) -> Result<(), Violation> {
        match fact {
            Fact::Wish => {
                self.budget.leases -= 1;
                let Ok(lease) = self.client.lease(self.now) else {
                    return Violation::of("RULE-201: nobody may wait for a lease");
                };
                self.world.holders.push(Holder { lease, stage: Holding::Waits, conn: None });
            }
            Fact::SendOn(nth) => {
                self.budget.held -= 1;
                self.send_on(nth)?;
            }
            Fact::Return(nth) => {
                let Holder { lease, .. } = self.world.holders.remove(usize::from(nth));
                self.client.return_lease(self.now, lease);
            }
            _ => {}
        }
        Ok(())
    }

    fn resolve(&mut self, conn: ConnId, fact: Fact) {
        self.world.remove(conn);
        let answer = match fact {
            Fact::Resolved(_, nth) => Ok(self.scope.addresses(nth)),
            _ => {
                self.budget.faults -= 1;
                Err(io::ErrorKind::NotFound.into())
            }
        };
        self.client.handle_resolved(self.now, conn, answer);
    }

    fn begin_to_close(&mut self, conn: ConnId) {
        self.budget.endings -= 1;
        if let Some(socket) = self.world.socket_mut(conn) {
            socket.ending = true;
        }
        self.client.handle_ending(conn);
    }

    fn close(&mut self, conn: ConnId) {
        let socket = self.world.remove(conn);
        socket.iter().for_each(|socket| self.world.lose(socket));
        let stage = socket.map(|socket| socket.stage);
        let budget = match stage {
            Some(Stage::Serving) => &mut self.budget.closes,
            _ => &mut self.budget.faults,
        };
        *budget = budget.saturating_sub(1);
        self.client.handle_closed(self.now, conn, CloseCause::ByServer);
    }

    fn answer_handshake(&mut self, conn: ConnId, fact: Fact) {
        let is_staged = self.scope.is_staged;
        let client = self.world.number(conn);
        let Some(socket) = self.world.socket_mut(conn) else { return };
        let hello = || {
            let about = [("proto", 3), ("id", client)];
            Frame::Map(about.map(|(key, value)| (Frame::bulk(key), Frame::Integer(value))).into())
        };
        let ok = || Frame::simple("OK");
        let mut frames = Vec::new();
        match fact {
            Fact::Greeted(_) => {
                frames.push(hello());
                socket.notified = socket.asks;
                socket.stage = Stage::Settling;
                if socket.asks {
                    frames.push(ok());
                }
                if !(is_staged && socket.asks) {
                    frames.extend([ok(), ok()]);
                    socket.stage = Stage::Serving;
                }
            }
            Fact::OptInRefused(_) => {
                self.budget.faults -= 1;
                frames.extend([hello(), Frame::error("ERR unknown subcommand"), ok(), ok()]);
                socket.stage = Stage::Serving;
            }
            Fact::Loading(_) => {
                self.budget.faults -= 1;
                frames.push(Frame::error("LOADING Redis is loading the dataset in memory"));
            }
            _ => {
                frames.extend([ok(), ok()]);
                socket.stage = Stage::Serving;
            }
        }
        self.client.handle_frames(self.now, conn, frames);
    }

    fn send(&mut self, is_repeatable: bool) -> Result<(), Violation> {
        let number = FIRST + self.sent;
        self.sent += 1;
        let replay = if is_repeatable { Replay::Idempotent } else { Replay::IfUnsent };
        let request = Request::raw(Bytes::copy_from_slice(&[number]), NonZeroU32::MIN).replay(replay);
        let Ok(id) = self.client.send(self.now, request) else {
            return Violation::of("INV-01: a request was not accepted");
        };
        let (was_written, was_refused) = (false, false);
        self.world.accept(Entry { id, number, is_repeatable, was_written, was_refused, lease: None });
        Ok(())
    }

    fn send_on(&mut self, nth: u8) -> Result<(), Violation> {
        let lease = self.world.holders[usize::from(nth)].lease;
        let number = FIRST + self.sent;
        self.sent += 1;
        let request = Request::raw(Bytes::copy_from_slice(&[number]), NonZeroU32::MIN);
        let Ok(id) = self.client.send_on(self.now, lease, request) else {
            return Violation::of("RULE-200: a request was not accepted on a lease");
        };
        let (is_repeatable, was_written, was_refused) = (false, false, false);
        let lease = Some(lease);
        self.world.accept(Entry { id, number, is_repeatable, was_written, was_refused, lease });
        Ok(())
    }

    /// Takes what there is to write.
    pub(super) fn write(&mut self, conn: ConnId) -> Result<(), Violation> {
        let mut buffer = WriteBuffer::new();
        while self.client.poll_transmit(conn, &mut buffer) {}
        let World { sockets, ledger, holders, .. } = &mut self.world;
        let Some(socket) = sockets.iter_mut().find(|socket| socket.conn == conn) else { return Ok(()) };
        socket.flush = false;
        if socket.stage == Stage::Greeting {
            let word = b"MAINT_NOTIFICATIONS";
            socket.asks = buffer.chunk().windows(word.len()).any(|part| part == word);
            return Ok(());
        }
        if self.scope.has_consumers() {
            return self.receive(conn, buffer.chunk());
        }
        if buffer.chunk().iter().any(u8::is_ascii) {
            socket.written.push(OPT_IN);
        }
        for number in buffer.chunk().iter().copied().filter(|byte| !byte.is_ascii()) {
            let Some(entry) = ledger.iter_mut().find(|entry| entry.number == number) else {
                return Violation::of("INV-01: a request that has ended is written");
            };
            if socket.retired.is_some() {
                return Violation::of(format!("INV-04: a request is written to {conn} after its cut-over"));
            }
            if entry.was_written && !entry.was_refused && !entry.is_repeatable {
                return Violation::of("INV-05: a request that may have run is written again");
            }
            let holder = holders.iter_mut().find(|holder| Some(holder.lease) == entry.lease);
            if holder.is_some_and(|holder| *holder.conn.get_or_insert(conn) != conn) {
                return Violation::of("INV-18: a lease has two connections");
            }
            entry.was_written = true;
            entry.was_refused = false;
            socket.written.push(number);
        }
        Ok(())
    }

    fn reply(&mut self, conn: ConnId, refusal: Option<Frame>) {
        let Some(socket) = self.world.socket_mut(conn).filter(|socket| !socket.written.is_empty()) else {
            return;
        };
        let number = socket.written.remove(0);
        if number == OPT_IN {
            socket.notified = true;
            return self.client.handle_frames(self.now, conn, [Frame::simple("OK")]);
        }
        if let Some(entry) = self.world.numbered(number).filter(|_| refusal.is_some()) {
            entry.was_refused = true;
        }
        let frame = refusal.unwrap_or_else(|| Frame::Integer(number.into()));
        self.client.handle_frames(self.now, conn, [frame]);
    }
}
