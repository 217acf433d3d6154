//! The handshake: one write, one round trip.
//!
//! Write 1 is HELLO 3 with credentials and name, the opt-in, SELECT and CLIENT SETINFO, all at once. The reply to HELLO
//! alone decides what the other replies mean:
//!
//! * a map with `proto` 3 is the proof of RESP3, without which the opt-in's reply cannot be read (here: by type);
//!   Setup commands of the user follow it in a second write;
//! * `unknown command` or NOPROTO: the server speaks RESP2 only. The other replies are discarded and write 2 repeats
//!   authentication, database and name in RESP2;
//! * anything else is an error of the connection, never a fall-back.
//!
//! Servers echo passwords in error texts (`ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default'
//! 'secret'`), so no text of a handshake error leaves this file: only its [`ErrorCode`] does.

mod opt_in;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use resp3_codec::{Command, Frame, cmd};

pub use self::opt_in::{OptIn, Probe, opt_in_command};
use crate::config::{Config, Protocol};
use crate::endpoint::Peer;
pub use crate::error::{ErrorCode, HandshakeError, SetupCommand, Stage};

/// What a finished handshake established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The dialect in use.
    pub protocol: Protocol,
    /// What became of the opt-in.
    pub opt_in: OptIn,
    /// The server's id of this connection, as HELLO told it. Proxies number their connections separately.
    pub client_id: Option<i64>,
}

/// Proof that the server switched to RESP3: only [`Handshake::judge_hello`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resp3(());

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Hello,
    OptIn,
    Auth,
    Select,
    /// A command of the user; 1 for the first.
    Setup(u32),
    /// A reply whose content does not matter.
    Ignored,
}

/// The progress after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More replies are to come.
    Pending,
    /// More was appended to the buffer and must be written.
    Write,
    /// Done.
    Done(Negotiated),
}

/// A handshake under way.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    config: Arc<Config>,
    expected: VecDeque<Step>,
    resp3: Option<Resp3>,
    client_id: Option<i64>,
    opt_in: OptIn,
}

impl Handshake {
    /// Appends write 1 to `buffer`.
    pub(crate) fn begin(config: &Arc<Config>, probe: Probe, peer: &Peer, buffer: &mut BytesMut) -> Self {
        let mut handshake = Self {
            config: Arc::clone(config),
            expected: VecDeque::with_capacity(5),
            resp3: None,
            client_id: None,
            opt_in: OptIn::NotAsked,
        };
        match config.protocol() {
            Protocol::Resp2 => handshake.write_resp2(buffer),
            Protocol::Resp3 => handshake.write_resp3(probe, peer, buffer),
        }
        handshake
    }

    /// True from the write of the opt-in to its reply.
    pub(crate) fn awaits_opt_in(&self) -> bool {
        self.expected.contains(&Step::OptIn)
    }

    /// That the server switched to RESP3, if it did.
    pub(crate) fn resp3(&self) -> Option<Resp3> {
        self.resp3
    }

    /// Takes one reply; write 2, if there is one, is appended to `buffer`.
    pub(crate) fn handle_reply(
        &mut self,
        reply: &Frame,
        buffer: &mut BytesMut,
    ) -> Result<Progress, HandshakeError> {
        match (self.expected.pop_front(), self.resp3) {
            (Some(Step::Hello), _) => {
                if self.judge_hello(reply)? == Progress::Write {
                    self.discard_and_fall_back(buffer);
                    return Ok(Progress::Write);
                }
                if self.write_setup(buffer) {
                    return Ok(Progress::Write);
                }
            }
            (Some(Step::OptIn), Some(proof)) => self.judge_opt_in(proof, reply)?,
            (Some(Step::Auth), _) => accept(Stage::Auth, reply)?,
            (Some(Step::Select), _) => accept(Stage::Select, reply)?,
            (Some(Step::Setup(number)), _) => accept(self.setup_stage(number), reply)?,
            (Some(Step::Ignored | Step::OptIn) | None, _) => {}
        }
        if self.expected.is_empty() { Ok(Progress::Done(self.negotiated())) } else { Ok(Progress::Pending) }
    }

    fn negotiated(&self) -> Negotiated {
        let protocol = if self.resp3.is_some() { Protocol::Resp3 } else { Protocol::Resp2 };
        Negotiated { protocol, opt_in: self.opt_in, client_id: self.client_id }
    }

    fn write_resp3(&mut self, probe: Probe, peer: &Peer, buffer: &mut BytesMut) {
        let mut hello = cmd("HELLO").arg(3);
        if let Some(credentials) = self.config.credentials() {
            let user = credentials.user.as_deref().unwrap_or("default");
            hello = hello.arg("AUTH").arg(user).arg(credentials.password.expose());
        }
        if let Some(name) = self.config.client_name() {
            hello = hello.arg("SETNAME").arg(name);
        }
        hello.encode(buffer);
        self.expected.push_back(Step::Hello);
        if probe == Probe::OptIn {
            opt_in(&self.config, peer).encode(buffer);
            self.expected.push_back(Step::OptIn);
        }
        self.write_select(buffer);
        for (attribute, value) in [("LIB-NAME", "hitless"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
            cmd("CLIENT").arg("SETINFO").arg(attribute).arg(value).encode(buffer);
            self.expected.push_back(Step::Ignored);
        }
    }

    /// Ends with a step whose reply is always there, so that a plain RESP2 handshake has one round trip, too.
    fn write_resp2(&mut self, buffer: &mut BytesMut) {
        if let Some(credentials) = self.config.credentials() {
            let mut auth = cmd("AUTH");
            if let Some(user) = credentials.user.as_deref() {
                auth = auth.arg(user);
            }
            auth.arg(credentials.password.expose()).encode(buffer);
            self.expected.push_back(Step::Auth);
        }
        self.write_select(buffer);
        if let Some(name) = self.config.client_name() {
            cmd("CLIENT").arg("SETNAME").arg(name).encode(buffer);
            self.expected.push_back(Step::Ignored);
        }
        self.write_setup(buffer);
        cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("hitless").encode(buffer);
        self.expected.push_back(Step::Ignored);
    }

    /// What the user wants to have run, once it is known that the server understands; false if there is nothing.
    fn write_setup(&mut self, buffer: &mut BytesMut) -> bool {
        let commands = self.config.setup();
        commands.iter().for_each(|command| command.encode(buffer));
        self.expected.extend((1..).zip(commands).map(|(number, _)| Step::Setup(number)));
        !commands.is_empty()
    }

    fn setup_stage(&self, number: u32) -> Stage {
        let mut commands = (1..).zip(self.config.setup());
        let name = commands.find(|(it, _)| *it == number).map_or(&b""[..], |(_, command)| command.name());
        Stage::Setup(SetupCommand::new(number, name))
    }

    fn write_select(&mut self, buffer: &mut BytesMut) {
        if self.config.database() != 0 {
            cmd("SELECT").arg(self.config.database()).encode(buffer);
            self.expected.push_back(Step::Select);
        }
    }

    /// `Write` if the server speaks RESP2 only.
    fn judge_hello(&mut self, reply: &Frame) -> Result<Progress, HandshakeError> {
        let stage = Stage::Hello;
        if let Some(text) = error_text(reply) {
            let code = ErrorCode::of(text);
            if !(code.as_str() == "NOPROTO" || contains_ignoring_case(text, b"unknown command")) {
                return Err(refusal(stage, text));
            }
            let answer = OptIn::NoResp3(code).under(self.config.maintenance().mode())?;
            self.opt_in = if self.awaits_opt_in() { answer } else { OptIn::NotAsked };
            return Ok(Progress::Write);
        }
        let Frame::Map(fields) = reply else { return Err(HandshakeError::UnexpectedReply { stage }) };
        let field = |name: &[u8]| {
            let found = fields.iter().find(|(key, _)| key.as_bytes() == Some(name));
            found.and_then(|(_, value)| value.as_int())
        };
        if field(b"proto") != Some(3) {
            return Err(HandshakeError::UnexpectedReply { stage });
        }
        self.client_id = field(b"id");
        self.resp3 = Some(Resp3(()));
        Ok(Progress::Pending)
    }

    fn judge_opt_in(&mut self, proof: Resp3, reply: &Frame) -> Result<(), HandshakeError> {
        let answer = judge_opt_in(proof, reply);
        self.opt_in = answer.under(self.config.maintenance().mode())?;
        Ok(())
    }

    /// Lets the replies to write 1 that are still to come pass, and says it all again in RESP2.
    fn discard_and_fall_back(&mut self, buffer: &mut BytesMut) {
        for step in &mut self.expected {
            *step = Step::Ignored;
        }
        self.write_resp2(buffer);
    }
}

/// The opt-in of a connection to `peer`.
pub(crate) fn opt_in(config: &Config, peer: &Peer) -> Command {
    let [name, words @ ..] = opt_in_command(config, peer);
    cmd(name).args(words)
}

/// What the server says to the opt-in: to be read only where RESP3 is spoken.
pub(crate) fn judge_opt_in(_proof: Resp3, reply: &Frame) -> OptIn {
    error_text(reply).map_or(OptIn::Accepted, OptIn::of_error)
}

fn accept(stage: Stage, reply: &Frame) -> Result<(), HandshakeError> {
    match error_text(reply) {
        Some(text) => Err(refusal(stage, text)),
        None => Ok(()),
    }
}

fn refusal(stage: Stage, text: &[u8]) -> HandshakeError {
    if contains_ignoring_case(text, b"max number of clients") {
        return HandshakeError::TooManyClients;
    }
    HandshakeError::Refused { stage, code: ErrorCode::of(text) }
}

fn error_text(reply: &Frame) -> Option<&[u8]> {
    match reply {
        Frame::Error(text) | Frame::BlobError(text) => Some(text),
        _ => None,
    }
}

fn contains_ignoring_case(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;
