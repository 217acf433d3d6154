//! GET by the client's machine, many at a time.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use hitless_core::client::Action;
use hitless_core::ids::ConnId;
use hitless_core::request::{Outcome, Request};
use hitless_core::write_buffer::WriteBuffer;
use resp3_codec::{Command, Decoder, Frame, Limits, cmd};

use crate::figures::Work;
use crate::meter::Meter;
use crate::world::World;

/// Commands that travel together.
pub const BATCH: usize = 64;
/// The figure from which it follows how many commands one client can carry, however many processors there are.
pub const UNDER_THE_LOCK: &str = "client-lock";

/// A client with one connection, driven as the driver does it.
pub struct Gets {
    world: Mutex<World>,
    conn: ConnId,
    decoder: Decoder,
    /// What the server answers to a batch.
    replies: Vec<u8>,
    frames: Vec<Frame>,
    written: WriteBuffer,
    completed: Vec<Outcome>,
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
            world: Mutex::new(world),
            conn,
            decoder: Decoder::new(Limits::default()),
            replies: reply.repeat(BATCH),
            frames: Vec::with_capacity(BATCH),
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
            assert!(
                self.enter(locked, |world| world.client.send(world.now, request).is_ok()),
                "there is room"
            );
        }
        let (conn, mut written) = (self.conn, std::mem::take(&mut self.written));
        let batch = self.enter(locked, |world| {
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
        assert!(self.completed.len() == BATCH && self.completed.iter().all(Result::is_ok));
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
            self.enter(locked, |world| world.client.handle_frames(world.now, conn, frames.drain(..)));
            self.frames = frames;
        }
    }

    /// Does something to the machine and takes its actions, under the lock.
    fn enter<T>(&mut self, locked: &mut Meter, change: impl FnOnce(&mut World) -> T) -> T {
        locked.part(|| {
            let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut world);
            while let Some(action) = world.client.poll_action() {
                match action {
                    Action::Complete { outcome, .. } => self.completed.push(outcome),
                    // The driver raises a flag.
                    Action::Flush { conn } => _ = black_box(conn),
                    other => panic!("an action without a reason: {other:?}"),
                }
            }
            black_box(world.client.poll_timeout());
            result
        })
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
