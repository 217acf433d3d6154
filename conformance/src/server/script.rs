//! Servers that follow a script: what they expect, and what they say to it.
//!
//! Where a [`Server`](super::Server) behaves, a [`ScriptedServer`] recites: every byte that it sends and every request that
//! it accepts is written down in a [`Dialogue`], which reads as one. It is driven by the same verbs.
//!
//! ```
//! use hitless_conformance::server::script::{Dialogue, ScriptedServer, greeting};
//! use hitless_conformance::server::{CloseHow, ServerMachine};
//! use std::time::Duration;
//!
//! let mut server = ScriptedServer::new();
//! let dialogue = Dialogue::new()
//!     .expect("HELLO 3").reply(&greeting(3, 7))
//!     .expect("CLIENT MAINT_NOTIFICATIONS").error("ERR unknown subcommand")
//!     .expect("GET").bytes(b"$5\r\nhel").wait(Duration::from_millis(10)).bytes(b"lo\r\n")
//!     .expect("PING").close(CloseHow::Reset);
//! let endpoint = server.add_endpoint("10.0.0.1:6379".parse()?, [dialogue]);
//! # let now = hitless_conformance::clock::now();
//! let conn = server.accept(now, endpoint).expect("the first dial is in the script");
//! server.handle_bytes(now, conn, b"HELLO 3\r\n");
//! assert!(server.verdict().is_err(), "most of it has not been played");
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use resp3_codec::Frame;

use super::machine::{CloseHow, DialRefused, EndpointId, Listening, ServerConn, ServerMachine};
use super::request::{Request, RequestParser};

/// One line of a dialogue.
#[derive(Clone, Debug)]
enum Step {
    Expect(String),
    Say(Bytes),
    Wait(Duration),
    Close(CloseHow),
    /// The client closes.
    ExpectClose,
    /// Whatever comes is left without an answer.
    Ignore,
}

/// What is said on one connection, in order. Cheap to build, cheap to clone.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Dialogue {
    steps: VecDeque<Step>,
    asides: Vec<(String, Bytes)>,
}

impl Dialogue {
    /// A dialogue in which nothing is said: the connection is accepted, and that is all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next request begins with these words, compared without regard to case.
    pub fn expect(self, words: &str) -> Self {
        self.then(Step::Expect(words.to_owned()))
    }

    /// Says this frame: a reply, or a push.
    pub fn reply(self, frame: &Frame) -> Self {
        self.then(Step::Say(encoded(frame)))
    }

    /// Says `+OK`.
    pub fn ok(self) -> Self {
        self.reply(&Frame::simple("OK"))
    }

    /// Says an error.
    pub fn error(self, text: &'static str) -> Self {
        self.reply(&Frame::error(text))
    }

    /// Says these bytes, whole frames or not.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.then(Step::Say(Bytes::copy_from_slice(bytes)))
    }

    /// Says and hears nothing for a time.
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// Closes the connection. The last line.
    pub fn close(self, how: CloseHow) -> Self {
        self.then(Step::Close(how))
    }

    /// The client closes the connection. The last line.
    pub fn expect_close(self) -> Self {
        self.then(Step::ExpectClose)
    }

    /// Leaves whatever comes from now on without an answer. The last line.
    pub fn ignore(self) -> Self {
        self.then(Step::Ignore)
    }

    /// Requests that begin with these words may come at any time, and get this answer: not part of the story.
    pub fn aside(mut self, words: &str, frame: &Frame) -> Self {
        self.asides.push((words.to_owned(), encoded(frame)));
        self
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    fn aside_to(&self, request: &Request) -> Option<&Bytes> {
        self.asides.iter().find(|(words, _)| request.is(words)).map(|(_, answer)| answer)
    }
}

/// Where the play departed from the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure(String);

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Departure {}

#[derive(Debug)]
struct Endpoint {
    address: SocketAddr,
    dialogues: VecDeque<Dialogue>,
    /// Played by every connection that finds no other.
    refrain: Option<Dialogue>,
}

#[derive(Debug)]
struct Connection {
    parser: RequestParser,
    dialogue: Dialogue,
    said: BytesMut,
    waits_until: Option<Instant>,
    closing: Option<CloseHow>,
}

/// A server that follows scripts, one for each connection of each endpoint. A dial that is not in the script is refused.
#[derive(Debug, Default)]
pub struct ScriptedServer {
    endpoints: Vec<Endpoint>,
    connections: BTreeMap<ServerConn, Connection>,
    accepted: u64,
    ready: VecDeque<ServerConn>,
    departures: Vec<Departure>,
}

impl ScriptedServer {
    /// A server without endpoints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an endpoint; its connections play these dialogues in the order in which they are accepted.
    ///
    /// # Panics
    /// Beyond 2^32 endpoints.
    pub fn add_endpoint(
        &mut self,
        address: SocketAddr,
        dialogues: impl IntoIterator<Item = Dialogue>,
    ) -> EndpointId {
        let id = EndpointId(u32::try_from(self.endpoints.len()).expect("fewer than 2^32 endpoints"));
        self.endpoints.push(Endpoint { address, dialogues: dialogues.into_iter().collect(), refrain: None });
        id
    }

    /// What every further connection of an endpoint plays, instead of being refused.
    pub fn set_refrain(&mut self, endpoint: EndpointId, dialogue: Dialogue) {
        self.endpoints[endpoint.index()].refrain = Some(dialogue);
    }

    /// Whether everything was played as written.
    ///
    /// # Errors
    /// Lists every departure from the script, and everything in it that has not been played.
    pub fn verdict(&self) -> Result<(), Vec<Departure>> {
        let mut departures = self.departures.clone();
        for (conn, connection) in &self.connections {
            match connection.dialogue.steps.front() {
                None | Some(Step::Ignore) => {}
                Some(step) => departures.push(Departure(format!("{conn:?}: not played: {step:?}"))),
            }
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if !endpoint.dialogues.is_empty() {
                let count = endpoint.dialogues.len();
                departures.push(Departure(format!("endpoint#{index}: {count} dialogues were not begun")));
            }
        }
        if departures.is_empty() { Ok(()) } else { Err(departures) }
    }

    /// Plays on as far as it goes without the client or the time.
    fn play(&mut self, now: Instant, conn: ServerConn) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if let Err(text) = connection.play(now) {
            self.departures.push(Departure(format!("{conn:?}: {text}")));
            connection.dialogue.steps.clear();
            connection.closing = Some(CloseHow::Reset);
        }
        if !connection.said.is_empty() {
            self.ready.push_back(conn);
        }
    }
}

impl Connection {
    fn play(&mut self, now: Instant) -> Result<(), String> {
        while self.closing.is_none() {
            match self.dialogue.steps.front() {
                Some(Step::Say(bytes)) => self.said.extend_from_slice(bytes),
                Some(Step::Wait(time)) => {
                    let until = *self.waits_until.get_or_insert(now + *time);
                    if now < until {
                        return Ok(());
                    }
                    self.waits_until = None;
                }
                Some(Step::Close(how)) => self.closing = Some(*how),
                Some(Step::Expect(words)) => {
                    let words = words.clone();
                    match self.hear()? {
                        None => return Ok(()),
                        Some(request) if request.is(&words) => {}
                        Some(request) => return Err(format!("expected {words}, got {request:?}")),
                    }
                }
                Some(Step::Ignore) => {
                    while self.hear()?.is_some() {}
                    return Ok(());
                }
                Some(Step::ExpectClose) | None => {
                    return match self.hear()? {
                        None => Ok(()),
                        Some(request) => Err(format!("expected nothing more, got {request:?}")),
                    };
                }
            }
            self.dialogue.steps.pop_front();
        }
        Ok(())
    }

    /// The next request that is part of the story.
    fn hear(&mut self) -> Result<Option<Request>, String> {
        while let Some(request) = self.parser.poll_request().map_err(|error| error.0)? {
            match self.dialogue.aside_to(&request) {
                Some(answer) => self.said.extend_from_slice(answer),
                None => return Ok(Some(request)),
            }
        }
        Ok(None)
    }
}

impl ServerMachine for ScriptedServer {
    fn endpoints(&self) -> Vec<EndpointId> {
        (0..self.endpoints.len()).filter_map(|index| u32::try_from(index).ok()).map(EndpointId).collect()
    }

    fn address(&self, endpoint: EndpointId) -> SocketAddr {
        self.endpoints[endpoint.index()].address
    }

    fn set_address(&mut self, endpoint: EndpointId, address: SocketAddr) {
        self.endpoints[endpoint.index()].address = address;
    }

    fn listening(&self, _: Instant, endpoint: EndpointId) -> Listening {
        let endpoint = &self.endpoints[endpoint.index()];
        let in_script = !endpoint.dialogues.is_empty() || endpoint.refrain.is_some();
        if in_script { Listening::Accepting } else { Listening::Refusing }
    }

    fn accept(&mut self, now: Instant, endpoint: EndpointId) -> Result<ServerConn, DialRefused> {
        let endpoint = &mut self.endpoints[endpoint.index()];
        let dialogue = endpoint
            .dialogues
            .pop_front()
            .or_else(|| endpoint.refrain.clone())
            .ok_or(DialRefused::Refused)?;
        let conn = ServerConn(self.accepted);
        self.accepted += 1;
        let connection = Connection {
            parser: RequestParser::default(),
            dialogue,
            said: BytesMut::new(),
            waits_until: None,
            closing: None,
        };
        self.connections.insert(conn, connection);
        self.play(now, conn);
        Ok(conn)
    }

    fn handle_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.parser.extend(bytes);
            self.play(now, conn);
        }
    }

    fn handle_disconnect(&mut self, _: Instant, conn: ServerConn) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        match connection.dialogue.steps.front() {
            None | Some(Step::ExpectClose | Step::Ignore) => {}
            Some(step) => {
                self.departures.push(Departure(format!("{conn:?}: the client closed before {step:?}")))
            }
        }
    }

    fn poll_ready(&mut self) -> Option<ServerConn> {
        while let Some(conn) = self.ready.pop_front() {
            if self.connections.get(&conn).is_some_and(|connection| !connection.said.is_empty()) {
                return Some(conn);
            }
        }
        None
    }

    fn poll_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool {
        let Some(connection) =
            self.connections.get_mut(&conn).filter(|connection| !connection.said.is_empty())
        else {
            return false;
        };
        buf.extend_from_slice(&connection.said.split());
        true
    }

    fn poll_close(&mut self) -> Option<(ServerConn, CloseHow)> {
        let closing = self.connections.iter().find_map(|(conn, connection)| {
            connection.closing.filter(|_| connection.said.is_empty()).map(|how| (*conn, how))
        })?;
        self.connections.remove(&closing.0);
        Some(closing)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.connections.values().filter_map(|connection| connection.waits_until).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        let due = |connection: &Connection| connection.waits_until.is_some_and(|until| until <= now);
        let due: Vec<ServerConn> = self
            .connections
            .iter()
            .filter(|(_, connection)| due(connection))
            .map(|(conn, _)| *conn)
            .collect();
        due.into_iter().for_each(|conn| self.play(now, conn));
    }
}

/// What a server answers to `HELLO`.
#[must_use]
pub fn greeting(protocol: i64, id: i64) -> Frame {
    let text = |text: &'static str| Frame::Bulk(Bytes::from_static(text.as_bytes()));
    Frame::Map(vec![
        (text("server"), text("redis")),
        (text("version"), text("7.4.0")),
        (text("proto"), Frame::Integer(protocol)),
        (text("id"), Frame::Integer(id)),
        (text("mode"), text("standalone")),
        (text("role"), text("master")),
        (text("modules"), Frame::Array(Vec::new())),
    ])
}

fn encoded(frame: &Frame) -> Bytes {
    let mut buf = BytesMut::new();
    frame.encode(&mut buf);
    buf.freeze()
}

#[cfg(test)]
mod tests;
