//! A real `redis-server` in place of the embedded data set.
//!
//! Requests and replies pass as they are. Where the server answers itself (the opt-in), a request with a name that no
//! server knows goes to the real one in its place: the error that it earns, in its place among the replies, says
//! whose turn it is. So the order is the real server's, whatever it answers to what.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::Server;
use super::backend::{Backend, Effect, Effects, Protocol, Turn};
use super::config::ServerConfig;
use super::framing::FrameScanner;
use super::machine::{CloseHow, EndpointId, ServerConn};
use super::request::Request;

/// Passes requests on to a real server, which gets a connection of its own for each of ours.
///
/// What it executes is not entered in the ledger: its own counts are the proof. An opt-in inside `MULTI` spoils the
/// transaction, as it does on a server that does not know the command.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    pipes: BTreeMap<ServerConn, Pipe>,
    next_marker: u64,
}

#[derive(Debug, Default)]
struct Pipe {
    to_server: BytesMut,
    from_server: BytesMut,
    scanner: FrameScanner,
    protocol: Protocol,
    /// Requests that we answer, with the names that stand for them.
    announced: VecDeque<(String, Request)>,
}

impl Server<Upstream> {
    /// A server whose requests a real one at this address executes.
    #[must_use]
    pub fn in_front_of(config: ServerConfig, address: SocketAddr) -> Self {
        Self::with_backend(config, Upstream { address, pipes: BTreeMap::new(), next_marker: 0 })
    }
}

impl Backend for Upstream {
    fn open(&mut self, _: Instant, conn: ServerConn, _: EndpointId) {
        self.pipes.insert(conn, Pipe::default());
    }

    fn close(&mut self, _: Instant, conn: ServerConn, _: &mut Effects) {
        self.pipes.remove(&conn);
    }

    fn request(&mut self, _: Instant, conn: ServerConn, request: Request, turn: Turn, _: &mut Effects) {
        let Some(pipe) = self.pipes.get_mut(&conn) else { return };
        match turn {
            Turn::Execute => request.encode(&mut pipe.to_server),
            Turn::Announce => {
                self.next_marker += 1;
                let marker = format!("HITLESS.TURN.{}.", self.next_marker);
                Request::new([marker.clone()]).encode(&mut pipe.to_server);
                pipe.announced.push_back((marker, request));
            }
        }
    }

    fn protocol(&self, conn: ServerConn) -> Protocol {
        self.pipes.get(&conn).map_or(Protocol::Resp2, |pipe| pipe.protocol)
    }

    fn upstream(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn poll_upstream_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool {
        let Some(pipe) = self.pipes.get_mut(&conn).filter(|pipe| !pipe.to_server.is_empty()) else {
            return false;
        };
        buf.extend_from_slice(&pipe.to_server);
        pipe.to_server.clear();
        true
    }

    fn handle_upstream_bytes(&mut self, _: Instant, conn: ServerConn, bytes: &[u8], effects: &mut Effects) {
        let Some(pipe) = self.pipes.get_mut(&conn) else { return };
        pipe.from_server.extend_from_slice(bytes);
        pipe.forward(conn, effects);
    }
}

impl Pipe {
    /// Passes whole frames on, in as few pieces as there are turns between them.
    fn forward(&mut self, conn: ServerConn, effects: &mut Effects) {
        let mut whole = 0;
        loop {
            match self.scanner.poll_end(&self.from_server[whole..]) {
                Ok(Some(length)) => {
                    let turn = self.observe(conn, whole..whole + length, effects);
                    whole += length;
                    if let Some(request) = turn {
                        let before = self.from_server.split_to(whole - length).freeze();
                        raw(conn, before, effects);
                        let _marker = self.from_server.split_to(length);
                        effects.push_back(Effect::Turn { conn, request, refusal: None });
                        whole = 0;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    effects.push_back(Effect::Close { conn, how: CloseHow::Reset });
                    return;
                }
            }
        }
        raw(conn, self.from_server.split_to(whole).freeze(), effects);
    }

    /// Looks at a frame on its way; the announced request whose turn it says it is, if it says so.
    fn observe(
        &mut self,
        conn: ServerConn,
        range: std::ops::Range<usize>,
        effects: &mut Effects,
    ) -> Option<Request> {
        let frame = &self.from_server[range];
        match frame {
            [b'-', ..] => {
                let (marker, _) = self.announced.front()?;
                let says_so = frame.windows(marker.len()).any(|window| window == marker.as_bytes());
                return if says_so { self.announced.pop_front().map(|(_, request)| request) } else { None };
            }
            [b'%', ..] if is_greeting(frame, b"\r\n$5\r\nproto\r\n:3\r\n") => self.protocol = Protocol::Resp3,
            [b'*', ..] if is_greeting(frame, b"\r\n$5\r\nproto\r\n:2\r\n") => self.protocol = Protocol::Resp2,
            b"+RESET\r\n" => {
                self.protocol = Protocol::Resp2;
                effects.push_back(Effect::Reset { conn });
            }
            _ => {}
        }
        None
    }
}

/// Whether a map or an array is the answer to `HELLO` that says this version: an array of values can begin with the same
/// word, but does not go on like that.
fn is_greeting(frame: &[u8], version: &[u8]) -> bool {
    const FIRST: &[u8] = b"\r\n$6\r\nserver\r\n";
    let holds = |length: usize, words: &[u8]| {
        frame[..frame.len().min(length)].windows(words.len()).any(|window| window == words)
    };
    holds(24, FIRST) && holds(128, version)
}

fn raw(conn: ServerConn, bytes: Bytes, effects: &mut Effects) {
    if !bytes.is_empty() {
        effects.push_back(Effect::Raw { conn, bytes });
    }
}
