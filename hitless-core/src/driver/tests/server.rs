//! A server in memory that answers while it is being written to: just enough commands, and faults on demand.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use resp3_codec::{Decoder, Frame, Limits};

use crate::driver::{Connector, Resolver, Stream};
use crate::endpoint::{Peer, Target};

/// As much as one write takes, so that large ones are partial.
const WRITE: usize = 50_000;

#[derive(Clone, Default)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) data: BTreeMap<Bytes, Bytes>,
    /// Commands after the handshake.
    pub(crate) received: Vec<String>,
    /// Calls of `poll_write`.
    pub(crate) writes: usize,
    /// Calls of `poll_flush`.
    pub(crate) flushes: usize,
    /// What is written stays in the stream until it is flushed.
    pub(crate) keeps_writes: bool,
    /// Flushes are pending.
    pub(crate) blocked_flushes: bool,
    pub(crate) broken_flushes: bool,
    pub(crate) open: usize,
    pub(crate) refuse: bool,
    /// Dials stay without an answer.
    pub(crate) black_hole: bool,
    /// No host name is known.
    pub(crate) unknown_host: bool,
    /// Names that were looked up.
    pub(crate) resolved: Vec<String>,
    pub(crate) dialled: Vec<Target>,
    pub(crate) broken_writes: bool,
    /// Commands are received but not answered.
    pub(crate) stalled: bool,
    /// It has no maintenance notifications.
    pub(crate) no_notifications: bool,
    pipes: Vec<Arc<Mutex<Pipe>>>,
}

#[derive(Default)]
struct Pipe {
    to_client: BytesMut,
    /// Nothing comes after what is in `to_client`.
    ended: bool,
    reader: Option<Waker>,
    /// The task whose flush is pending.
    flusher: Option<Waker>,
}

impl Pipe {
    fn send(&mut self, bytes: &[u8]) {
        self.to_client.extend_from_slice(bytes);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

impl Server {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Says `bytes` on every connection.
    pub(crate) fn say(&self, bytes: &[u8]) {
        for pipe in &self.state().pipes {
            pipe.lock().unwrap().send(bytes);
        }
    }

    /// Lets pending flushes go on.
    pub(crate) fn let_flush(&self) {
        let mut state = self.state();
        state.blocked_flushes = false;
        for pipe in &state.pipes {
            pipe.lock().unwrap().flusher.take().map(Waker::wake);
        }
    }

    /// Says that nothing more will come, on every connection.
    pub(crate) fn end(&self) {
        for pipe in std::mem::take(&mut self.state().pipes) {
            let mut pipe = pipe.lock().unwrap();
            pipe.ended = true;
            pipe.wake();
        }
    }
}

impl Resolver for Server {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut state = self.state();
        state.resolved.push(host.to_owned());
        if state.unknown_host {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
    }
}

impl Connector for Server {
    type Stream = Socket;

    async fn connect(&self, target: Target) -> io::Result<(Socket, Peer)> {
        self.state().dialled.push(target.clone());
        if self.state().black_hole {
            std::future::pending::<()>().await;
        }
        let mut state = self.state();
        if state.refuse {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        state.open += 1;
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        state.pipes.push(Arc::clone(&pipe));
        drop(state);
        let decoder = Decoder::new(Limits::default());
        let kept = BytesMut::new();
        Ok((Socket { server: self.clone(), pipe, kept, decoder, queued: None, ready: false }, target.address))
    }
}

pub(crate) struct Socket {
    server: Server,
    pipe: Arc<Mutex<Pipe>>,
    /// Written and not flushed.
    kept: BytesMut,
    decoder: Decoder,
    /// Replies of a transaction, once MULTI was said.
    queued: Option<Vec<Frame>>,
    /// The handshake is over.
    ready: bool,
}

impl Stream for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe.lock().unwrap();
        let count = pipe.to_client.len().min(buffer.capacity() - buffer.len());
        if count == 0 && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buffer.extend_from_slice(&pipe.to_client.split_to(count));
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.server.state();
        if state.broken_writes {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.writes += 1;
        let keeps = state.keeps_writes;
        drop(state);
        let count = bytes.len().min(WRITE);
        self.kept.extend_from_slice(&bytes[..count]);
        if !keeps {
            self.send();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.server.state();
        state.flushes += 1;
        let (blocked, broken) = (state.blocked_flushes, state.broken_flushes);
        drop(state);
        if broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if blocked {
            self.pipe.lock().unwrap().flusher = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.send();
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket {
    /// Lets the server have what was written.
    fn send(&mut self) {
        self.decoder.buffer().extend_from_slice(&self.kept.split());
        while let Some(command) = self.decoder.poll_frame().unwrap() {
            let arguments: Vec<Bytes> = command
                .into_array()
                .unwrap()
                .into_iter()
                .map(|argument| argument.into_bytes().unwrap())
                .collect();
            self.receive(&arguments);
        }
    }

    fn receive(&mut self, command: &[Bytes]) {
        let name = String::from_utf8_lossy(&command[0]).to_uppercase();
        self.ready |= !matches!(name.as_str(), "HELLO" | "CLIENT");
        let mut state = self.server.state.lock().unwrap();
        if self.ready {
            state.received.push(name.clone());
        }
        if state.stalled && self.ready {
            return;
        }
        let reply = match name.as_str() {
            "MULTI" => {
                self.queued = Some(Vec::new());
                Frame::simple("OK")
            }
            "EXEC" => Frame::Array(self.queued.take().unwrap_or_default()),
            _ => state.answer(&name, command),
        };
        drop(state);
        let reply = match &mut self.queued {
            Some(queued) if name != "MULTI" => {
                queued.push(reply);
                Frame::simple("QUEUED")
            }
            _ => reply,
        };
        let mut bytes = BytesMut::new();
        reply.encode(&mut bytes);
        self.pipe.lock().unwrap().send(&bytes);
    }
}

impl State {
    fn answer(&mut self, name: &str, command: &[Bytes]) -> Frame {
        match name {
            "HELLO" => Frame::Map(vec![
                (Frame::bulk("server"), Frame::bulk("redis")),
                (Frame::bulk("proto"), Frame::Integer(3)),
                (Frame::bulk("id"), Frame::Integer(1)),
            ]),
            "GET" => self.data.get(&command[1]).map_or(Frame::Null, |value| Frame::Bulk(value.clone())),
            "SET" => {
                self.data.insert(command[1].clone(), command[2].clone());
                Frame::simple("OK")
            }
            "ECHO" => Frame::Bulk(command[1].clone()),
            "CLIENT" if self.no_notifications && command[1].eq_ignore_ascii_case(b"MAINT_NOTIFICATIONS") => {
                Frame::error("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.")
            }
            "CLIENT" | "PING" => Frame::simple("OK"),
            _ => Frame::error("ERR unknown command"),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.state().open -= 1;
    }
}
