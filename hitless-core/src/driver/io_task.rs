//! One task per connection: bytes are read, decoded and written here, outside the client's lock.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use resp3_codec::{Decoder, Frame};

use super::effects::Effects;
use super::guard::{TaskGuard, Unfinished};
use super::shared::Shared;
use super::signals::{CLOSE, REST, WRITE};
use super::state::ConnTask;
use super::traits::{Runtime, Stream};
use crate::error::CloseCause;
use crate::write_buffer::WriteBuffer;

/// How often one poll writes and reads before other tasks run. Only long values, and a caller that is alone, take so many turns:
/// otherwise the task yields earlier.
const TURNS_PER_POLL: usize = 16;

/// Serves the connection until the machine closes it or the stream ends.
pub(super) async fn run<R: Runtime, S: Stream>(mut guard: TaskGuard<R>, stream: S, conn_task: ConnTask) {
    // In a box, because a future has room for each of the places that what it holds has been in.
    let mut task = Box::new(IoTask::new(Arc::clone(guard.shared()), stream, conn_task));
    let ended = std::future::poll_fn(|cx| task.poll(cx)).await;
    if let Some(cause) = ended {
        task.shared.handle_closed(&task.conn_task, cause);
    }
    std::future::poll_fn(|cx| {
        // Once, as a courtesy: dropping the stream closes it.
        let _ = task.stream.poll_close(cx);
        Poll::Ready(())
    })
    .await;
    guard.set(Unfinished::Nothing);
    drop(task);
}

struct IoTask<R, S> {
    shared: Arc<Shared<R>>,
    stream: S,
    conn_task: ConnTask,
    decoder: Decoder,
    /// Decoded and not yet handed over; empty between polls.
    frames: Vec<Frame>,
    /// How many frames one visit hands over to the machine.
    batch: usize,
    /// A single reply was awaited behind the last write: most likely that is so behind the next one as well.
    is_alone: bool,
    /// The last batch was full: the decoder may hold another.
    undecoded: bool,
    /// The stream has ended; what arrived before the end is still to be handed over.
    ended: Option<CloseCause>,
    outgoing: WriteBuffer,
    writing: Writing,
    /// The stream may keep bytes that it has taken.
    unflushed: bool,
    /// The last poll ended so that other tasks could run.
    has_yielded: bool,
    /// Kept for its allocations.
    effects: Effects,
}

/// How far the task is with writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// The machine has nothing to write, until it says `Flush`.
    Idle,
    /// The machine may have more.
    Active,
    /// The stream takes no more bytes. What has already arrived is still read.
    Broken(io::ErrorKind),
}

/// The result of one turn of writing or reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There may be more to do in this direction.
    Progress,
    /// Nothing to do until the task is woken.
    Blocked,
    /// Other tasks should run first.
    ///
    /// Before a write, other callers may add their requests to it. After a reply, its caller may send the next request,
    /// which the server works on while this task decodes the other replies. Yielding once is enough for either. Where a
    /// request is alone there is nobody to yield to, and a runtime with several threads would wake another one for nothing.
    Yield,
}

impl<R: Runtime, S: Stream> IoTask<R, S> {
    fn new(shared: Arc<Shared<R>>, stream: S, conn_task: ConnTask) -> Self {
        let decoder = Decoder::new(shared.reply_limits);
        Self {
            shared,
            stream,
            conn_task,
            decoder,
            frames: Vec::new(),
            batch: 1,
            is_alone: false,
            undecoded: false,
            ended: None,
            outgoing: WriteBuffer::new(),
            writing: Writing::Idle,
            unflushed: false,
            has_yielded: false,
            effects: Effects::default(),
        }
    }

    /// Ready with the cause if the stream has ended, with `None` if the machine closes the connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<CloseCause>> {
        self.conn_task.signals.register(cx.waker());
        let ended = self.take_turns(cx);
        if ended.is_pending() {
            self.flush(cx);
        }
        ended
    }

    /// Writes and reads until there is nothing to do, or other tasks should run.
    fn take_turns(&mut self, cx: &mut Context<'_>) -> Poll<Option<CloseCause>> {
        let mut may_write = std::mem::take(&mut self.has_yielded);
        let mut looks_first = may_write;
        for _ in 0..TURNS_PER_POLL {
            if self.conn_task.signals.is_up(CLOSE | REST) {
                if self.conn_task.signals.is_up(CLOSE) {
                    return Poll::Ready(None);
                }
                self.rest();
            }
            let (written, read) =
                match self.turn(cx, std::mem::take(&mut may_write), std::mem::take(&mut looks_first)) {
                    Ok(turns) => turns,
                    Err(cause) => return Poll::Ready(Some(cause)),
                };
            match (written, read) {
                (Turn::Blocked, Turn::Blocked) => return Poll::Pending,
                (Turn::Yield, Turn::Blocked) if self.is_alone => may_write = true,
                (Turn::Yield, Turn::Progress) if self.is_alone => {}
                (Turn::Yield, _) | (_, Turn::Yield) => break,
                (Turn::Progress | Turn::Blocked, Turn::Progress | Turn::Blocked) => {}
            }
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes once and reads once, or looks first and then writes. A look that has read something replaces the read: its callers run next.
    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        mut may_write: bool,
        looks_first: bool,
    ) -> Result<(Turn, Turn), CloseCause> {
        let mut read = Turn::Blocked;
        if looks_first {
            // A request that comes after this check waits for the next poll, since nobody has looked before it.
            may_write &= self.is_asked_to_write();
            if may_write {
                read = self.look(cx)?;
            }
        }
        let written = self.write(cx, may_write);
        if read == Turn::Blocked {
            read = self.read(cx)?;
        }
        Ok((written, read))
    }

    /// Gives back the memory that nothing is in.
    #[cold]
    fn rest(&mut self) {
        self.conn_task.signals.take(REST);
        self.decoder.shrink();
        if self.outgoing.is_empty() {
            self.outgoing = WriteBuffer::new();
        }
        // Both are empty between turns.
        self.frames = Vec::new();
        self.effects = Effects::default();
    }

    /// Writes once.
    fn write(&mut self, cx: &mut Context<'_>, may_write: bool) -> Turn {
        if self.outgoing.is_empty() {
            match self.fill(may_write) {
                Turn::Progress => {}
                turn => return turn,
            }
        }
        match self.stream.poll_write(cx, self.outgoing.chunk()) {
            Poll::Pending => Turn::Blocked,
            Poll::Ready(Ok(count)) if count > 0 => {
                self.outgoing.advance(count);
                self.unflushed = true;
                Turn::Progress
            }
            Poll::Ready(result) => {
                self.stop_writing(result.map_or_else(|error| error.kind(), |_| io::ErrorKind::WriteZero));
                Turn::Blocked
            }
        }
    }

    /// Flushes the bytes written since the last flush, unless there are more to write: one flush serves a whole batch.
    fn flush(&mut self, cx: &mut Context<'_>) {
        if !self.unflushed || !self.outgoing.is_empty() {
            return;
        }
        match self.stream.poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.unflushed = false,
            // The task waits for the end of reading, or is polled again anyway: it need not be woken.
            Poll::Ready(Err(error)) => self.stop_writing(error.kind()),
        }
    }

    fn stop_writing(&mut self, kind: io::ErrorKind) {
        self.writing = Writing::Broken(kind);
        self.outgoing = WriteBuffer::new();
        self.unflushed = false;
    }

    /// Takes from the machine what there is to write. `may_write`: others have had the time to join.
    fn fill(&mut self, may_write: bool) -> Turn {
        match self.writing {
            Writing::Broken(_) => return Turn::Blocked,
            Writing::Idle if !self.conn_task.signals.is_up(WRITE) => return Turn::Blocked,
            Writing::Idle if !may_write => return Turn::Yield,
            Writing::Idle | Writing::Active => {}
        }
        // Taken down before the visit, so that a `Flush` during the visit raises it again.
        self.conn_task.signals.take(WRITE);
        let taken = self.shared.transmit(self.conn_task.conn, &mut self.outgoing, &mut self.effects);
        (self.batch, self.is_alone) = (taken.batch, taken.is_alone);
        self.writing = if taken.more { Writing::Active } else { Writing::Idle };
        if self.outgoing.is_empty() { Turn::Blocked } else { Turn::Progress }
    }

    /// Whether the next thing to write is still the machine's.
    fn is_asked_to_write(&self) -> bool {
        let is_asked = self.writing == Writing::Active || self.conn_task.signals.is_up(WRITE);
        is_asked && self.outgoing.is_empty()
    }

    /// Reads before requests are taken to write that have joined while other tasks ran: the stream may have ended meanwhile. A reply with the end behind
    /// it takes two reads.
    fn look(&mut self, cx: &mut Context<'_>) -> Result<Turn, CloseCause> {
        let mut looked = Turn::Blocked;
        for _ in 0..2 {
            // The write goes first: the server works on it while the other replies are decoded.
            if self.undecoded {
                break;
            }
            match self.read(cx)? {
                Turn::Blocked => break,
                Turn::Progress if looked == Turn::Yield => {}
                turn => looked = turn,
            }
        }
        match self.ended {
            Some(cause) => Err(self.end(cause)),
            None => Ok(looked),
        }
    }

    /// Hands over the rest of the last read, or reads once.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Turn, CloseCause> {
        if self.undecoded
            && let Some(turn) = self.hand_over(cx)?
        {
            return Ok(turn);
        }
        if let Some(cause) = self.ended {
            return Err(self.end(cause));
        }
        match self.stream.poll_read(cx, self.decoder.frugal_buffer()) {
            Poll::Pending => Ok(Turn::Blocked),
            Poll::Ready(Ok(0)) => Err(self.end(CloseCause::ByServer)),
            Poll::Ready(Ok(_)) => {
                if let Some(turn) = self.hand_over(cx)? {
                    return Ok(turn);
                }
                // A part of a long reply is no frame, but shows that the server is alive.
                self.shared.handle_frames(self.conn_task.conn, &mut self.frames, &mut self.effects);
                Ok(Turn::Progress)
            }
            Poll::Ready(Err(error)) => Err(self.end(CloseCause::from(&error))),
        }
    }

    /// Decodes one batch and hands it to the machine; `None` if no frame is complete.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Result<Option<Turn>, CloseCause> {
        let decoded = self.decode();
        let turn = match &self.frames[..] {
            [] => None,
            // The caller finds the task waiting for its next request.
            [frame] if self.is_alone && !frame.is_push() => Some(Turn::Progress),
            _ => Some(Turn::Yield),
        };
        if self.frames.iter().any(Frame::is_push) {
            self.look_ahead(cx);
        }
        if turn.is_some() {
            // Also before an error: the frames ahead of it are valid.
            self.shared.handle_frames(self.conn_task.conn, &mut self.frames, &mut self.effects);
        }
        decoded.map(|()| turn)
    }

    /// Reads on before a push is handed over: if the stream ends behind it, the push may be old. Pushes are rare, so that
    /// this costs little.
    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        match self.stream.poll_read(cx, self.decoder.frugal_buffer()) {
            Poll::Ready(Ok(0)) => self.ended = Some(CloseCause::ByServer),
            Poll::Ready(Ok(_)) => self.undecoded = true,
            Poll::Ready(Err(error)) => self.ended = Some(CloseCause::from(&error)),
            Poll::Pending => {}
        }
        if self.ended.is_some() {
            self.shared.handle_ending(self.conn_task.conn);
        }
    }

    /// Decodes one batch. A batch with a push holds everything that has arrived, so that looking ahead reads a bounded
    /// number of bytes.
    fn decode(&mut self) -> Result<(), CloseCause> {
        let mut announced = false;
        self.undecoded = false;
        while announced || self.frames.len() < self.batch {
            match self.decoder.poll_frame() {
                Ok(None) => return Ok(()),
                // Observers may keep a push for long.
                Ok(Some(frame)) if frame.is_push() => {
                    announced = true;
                    self.frames.push(frame.compact());
                }
                Ok(Some(frame)) => self.frames.push(frame),
                Err(error) => return Err(CloseCause::Protocol(error.kind().into())),
            }
        }
        self.undecoded = true;
        Ok(())
    }

    /// Why the stream has ended. A broken write comes first, because it explains the end of reading; but for what TLS says,
    /// which explains the broken write.
    fn end(&self, cause: CloseCause) -> CloseCause {
        match (self.writing, cause) {
            (_, CloseCause::Tls(_)) => cause,
            (Writing::Broken(kind), _) => CloseCause::Io(kind),
            (Writing::Idle | Writing::Active, _) => cause,
        }
    }
}
