//! GET by the client's machine, many at a time.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use hitless_core::client::Action;
use hitless_core::connection::Answer;
use hitless_core::ids::{ConnId, RequestId};
use hitless_core::request::{Outcome, Replies, Request};
use hitless_core::write_buffer::WriteBuffer;
use resp3_codec::{Command, Decoder, Frame, Limits, cmd};

use crate::figures::Work;
use crate::meter::Meter;
use crate::world::World;

/// Commands that travel together.
pub const BATCH: usize = 64;
/// The figure from which it follows how many commands one client can carry, however many processors there are.
pub const UNDER_THE_LOCK: &str = "client-lock";

/// What the callers wait at.
type Waiter = Arc<()>;

/// What is behind the lock: the machine, and the driver's table beside it.
struct State {
    world: World,
    waiters: Vec<Option<(RequestId, Waiter)>>,
}

/// A client with one connection, driven as the driver does it.
pub struct Gets {
    state: Mutex<State>,
    waiter: Waiter,
    conn: ConnId,
    decoder: Decoder,
    /// What the server answers to a batch.
    replies: Vec<u8>,
    frames: Vec<Frame>,
    /// Commands that have been answered, to be freed behind the lock.
    commands: Vec<Bytes>,
    written: WriteBuffer,
    completed: Vec<(Waiter, Outcome)>,
}

impl Gets {
    /// A client whose connection is open.
    ///
    /// # Panics
    ///
    /// When it has none.
    pub fn new() -> Self {
        let world = World::new(1);
        let conn = world.conn.expect("a connection");
        let reply = [&b"$64\r\n"[..], &[b'v'; 64], b"\r\n"].concat();
        Self {
            state: Mutex::new(State { world, waiters: Vec::new() }),
            waiter: Waiter::default(),
            conn,
            decoder: Decoder::new(Limits::default()),
            replies: reply.repeat(BATCH),
            frames: Vec::with_capacity(BATCH),
            commands: Vec::with_capacity(BATCH),
            written: WriteBuffer::new(),
            completed: Vec::with_capacity(BATCH),
        }
    }

    /// A batch of GET, from the commands to the replies that their callers have. `locked` counts what runs under the lock.
    ///
    /// # Panics
    ///
    /// When a command has no reply.
    pub fn pass(&mut self, locked: &mut Meter, mut before: impl FnMut(&Command)) {
        for _ in 0..BATCH {
            let command = get();
            before(&command);
            let request = Request::command(command).expect("GET may be sent");
            let waiter = Arc::clone(&self.waiter);
            assert!(self.enter(locked, |state| state.send(request, &waiter)), "there is room");
        }
        let (conn, mut written) = (self.conn, std::mem::take(&mut self.written));
        let batch = self.enter(locked, |State { world, .. }| {
            world.client.handle_writable(world.now, conn);
            while world.client.poll_transmit(conn, &mut written) {}
            world.client.batch(conn)
        });
        while !written.is_empty() {
            let chunk = black_box(written.chunk()).len();
            written.advance(chunk);
        }
        self.written = written;
        let mut read = 0;
        while read < self.replies.len() {
            read += append(self.decoder.frugal_buffer(), &self.replies[read..]);
            self.hand_over(locked, batch);
        }
        assert!(self.completed.len() == BATCH);
        // Each caller drops its reply.
        self.completed.clear();
    }

    /// Decodes what was read and hands it to the machine, a batch at a time.
    fn hand_over(&mut self, locked: &mut Meter, batch: usize) {
        let conn = self.conn;
        loop {
            while self.frames.len() < batch
                && let Ok(Some(frame)) = self.decoder.poll_frame()
            {
                self.frames.push(frame);
            }
            if self.frames.is_empty() {
                return;
            }
            let mut frames = std::mem::take(&mut self.frames);
            let (mut commands, mut completed) =
                (std::mem::take(&mut self.commands), std::mem::take(&mut self.completed));
            self.enter(locked, |State { world, waiters }| {
                world.client.handle_frames_with(world.now, conn, frames.drain(..), |answer| {
                    let Answer { request, reply, command, .. } = answer;
                    commands.push(command);
                    let place = &mut waiters[request.index()];
                    if let Some((_, waiter)) = place.take_if(|(waits, _)| *waits == request) {
                        completed.push((waiter, Ok(Replies::from_buf([reply]))));
                    }
                });
            });
            commands.clear();
            (self.frames, self.commands, self.completed) = (frames, commands, completed);
        }
    }

    /// Does something to the machine and takes its actions, under the lock.
    fn enter<T>(&mut self, locked: &mut Meter, change: impl FnOnce(&mut State) -> T) -> T {
        locked.part(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut state);
            let client = &mut state.world.client;
            while let Some(action) = client.poll_action() {
                match action {
                    // The driver raises a flag.
                    Action::Flush { conn } => _ = black_box(conn),
                    other => panic!("an action without a reason: {other:?}"),
                }
            }
            black_box(client.poll_timeout());
            result
        })
    }
}

impl State {
    fn send(&mut self, request: Request, waiter: &Waiter) -> bool {
        let Ok(id) = self.world.client.send(self.world.now, request) else { return false };
        if self.waiters.len() <= id.index() {
            self.waiters.resize(id.index() + 1, None);
        }
        self.waiters[id.index()] = Some((id, Arc::clone(waiter)));
        true
    }
}

impl Default for Gets {
    fn default() -> Self {
        Self::new()
    }
}

/// GET of a short key.
pub fn get() -> Command {
    cmd("GET").arg(black_box(&b"user:00000000042"[..]))
}

/// All of it counts.
pub fn all() -> Work {
    let mut gets = Gets::new();
    Box::new(move |meter| meter.part(|| gets.pass(&mut Meter::off(), |_| ())))
}

/// What runs under the lock counts.
pub fn under_the_lock() -> Work {
    let mut gets = Gets::new();
    Box::new(move |meter| gets.pass(meter, |_| ()))
}

/// Reads as a socket does, into the room that there is; how many bytes.
fn append(buffer: &mut BytesMut, arrived: &[u8]) -> usize {
    let room = buffer.capacity() - buffer.len();
    let read = &arrived[..arrived.len().min(room)];
    buffer.extend_from_slice(read);
    read.len()
}
