//! The handshake: one write, one round trip.
//!
//! Write 1 is HELLO 3 with credentials and name, the opt-in, SELECT, READONLY at a node of a cluster whose replicas are read from, and CLIENT
//! SETINFO, all at once. The reply to HELLO
//! alone decides what the other replies mean:
//!
//! * a map with `proto` 3 is the proof of RESP3, without which the opt-in's reply cannot be read (here: by type);
//!   CLIENT TRACKING and the setup commands of the user follow it in a second write;
//! * `unknown command` or NOPROTO: the server speaks RESP2 only. The other replies are discarded and write 2 repeats
//!   authentication, database and name in RESP2;
//! * a refusal in other words, or a reply of RESP2, is an error of the connection that says so
//!   ([`HandshakeError::HelloRefused`]): whether another dial asks for less ([`Probe`]) is decided by who knows the address;
//! * anything else is an error of the connection, and no reason to ask for less.
//!
//! Servers echo passwords in error texts (`ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default'
//! 'secret'`), so no text of a handshake error leaves this file: only its [`ErrorCode`] does.

mod opt_in;
mod refusal;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use resp3_codec::{Command, Frame, cmd, encode_command};
use smallvec::SmallVec;

pub use self::opt_in::{OptIn, Probe, opt_in_command};
use self::refusal::{HelloRefusal, field, refusal};
use crate::command_table::is_queued;
use crate::config::{Config, Credentials, Protocol};
use crate::endpoint::Peer;
use crate::error::is_unblocked;
pub use crate::error::{ErrorCode, HandshakeError, SetupCommand, Stage};
use crate::mode::Mode;

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
    Readonly,
    Tracking,
    /// A command of the user; 1 for the first.
    Setup(u32),
    Ping,
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
    credentials: Option<Credentials>,
    expected: VecDeque<Step>,
    resp3: Option<Resp3>,
    client_id: Option<i64>,
    opt_in: OptIn,
    /// It is to turn tracking on.
    tracks: bool,
    /// The server has refused READONLY, or was not asked for it although it should have been.
    lacks_readonly: bool,
}

impl Handshake {
    /// Appends write 1 to `buffer`, which authenticates with `credentials`, if any.
    pub(crate) fn begin(
        config: &Arc<Config>,
        credentials: Option<Credentials>,
        probe: Probe,
        peer: &Peer,
        buffer: &mut BytesMut,
    ) -> Self {
        let mut handshake = Self {
            config: Arc::clone(config),
            credentials,
            expected: VecDeque::with_capacity(5),
            resp3: None,
            client_id: None,
            opt_in: OptIn::NotAsked,
            tracks: false,
            lacks_readonly: false,
        };
        match (probe, config.protocol()) {
            (Probe::OptIn | Probe::Skip, Protocol::Resp3) => handshake.write_resp3(probe, peer, buffer),
            (Probe::Resp2 | Probe::Bare, _) | (_, Protocol::Resp2) => handshake.write_resp2(probe, buffer),
        }
        handshake
    }

    /// Has the handshake turn tracking on, or fail. To be called before the first reply.
    pub(crate) fn track(&mut self) {
        self.tracks = true;
    }

    /// True from the write of the opt-in to its reply.
    pub(crate) fn awaits_opt_in(&self) -> bool {
        self.expected.contains(&Step::OptIn)
    }

    /// Whether it was to send READONLY, and the server does not take it.
    pub(crate) fn lacks_readonly(&self) -> bool {
        self.lacks_readonly
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
            // Whose second reply would be taken for that of the next step.
            (Some(Step::OptIn | Step::Ignored), _) if reply.as_error().is_some_and(is_unblocked) => {
                self.accept(Stage::Hello, reply)?;
            }
            (Some(Step::OptIn), Some(proof)) => self.judge_opt_in(proof, reply)?,
            (Some(Step::Auth), _) => self.accept(Stage::Auth, reply)?,
            (Some(Step::Select), _) => self.accept(Stage::Select, reply)?,
            (Some(Step::Readonly), _) => self.judge_readonly(reply)?,
            (Some(Step::Tracking), _) => self.accept(Stage::Tracking, reply)?,
            (Some(Step::Setup(number)), _) => self.accept(self.setup_stage(number), reply)?,
            (Some(Step::Ping), _) => self.judge_ping(reply)?,
            (Some(Step::Ignored | Step::OptIn) | None, _) => {}
        }
        match (self.expected.is_empty(), self.resp3) {
            (false, _) => Ok(Progress::Pending),
            (true, None) if self.tracks => Err(HandshakeError::TrackingNeedsResp3),
            (true, _) => Ok(Progress::Done(self.negotiated())),
        }
    }

    fn negotiated(&self) -> Negotiated {
        let protocol = if self.resp3.is_some() { Protocol::Resp3 } else { Protocol::Resp2 };
        Negotiated { protocol, opt_in: self.opt_in, client_id: self.client_id }
    }

    fn write_resp3(&mut self, probe: Probe, peer: &Peer, buffer: &mut BytesMut) {
        self.write_hello(buffer);
        if probe == Probe::OptIn {
            encode_command(buffer, &opt_in_command(&self.config, peer).map(str::as_bytes));
            self.expected.push_back(Step::OptIn);
        }
        self.write_select(buffer);
        self.write_readonly(true, buffer);
        if !self.config.client_info() {
            return;
        }
        for (attribute, value) in [("LIB-NAME", "hitless"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
            encode_command(buffer, &["CLIENT", "SETINFO", attribute, value].map(str::as_bytes));
            self.expected.push_back(Step::Ignored);
        }
    }

    fn write_hello(&mut self, buffer: &mut BytesMut) {
        self.expected.push_back(Step::Hello);
        let mut hello: SmallVec<[&[u8]; 7]> = SmallVec::from_slice(&[&b"HELLO"[..], b"3"]);
        if let Some(credentials) = &self.credentials {
            let user = credentials.user.as_deref().unwrap_or("default");
            hello.extend([&b"AUTH"[..], user.as_bytes(), credentials.password.expose().as_bytes()]);
        }
        if let Some(name) = self.config.client_name() {
            hello.extend([&b"SETNAME"[..], name.as_bytes()]);
        }
        encode_command(buffer, &hello);
    }

    /// Ends with a step whose reply is always there, so that a plain RESP2 handshake has one round trip, too. Where something
    /// has refused more than `probe` asks for, that step has to succeed.
    fn write_resp2(&mut self, probe: Probe, buffer: &mut BytesMut) {
        let is_bare = probe == Probe::Bare;
        let must_answer = is_bare || (probe == Probe::Resp2 && self.config.protocol() == Protocol::Resp3);
        let tells_library = self.config.client_info() && !is_bare;
        if let Some(credentials) = &self.credentials {
            auth(credentials).encode(buffer);
            self.expected.push_back(Step::Auth);
        }
        self.write_select(buffer);
        self.write_readonly(!is_bare, buffer);
        if let Some(name) = self.config.client_name().filter(|_| !is_bare) {
            cmd("CLIENT").arg("SETNAME").arg(name).encode(buffer);
            self.expected.push_back(Step::Ignored);
        }
        self.write_setup(buffer);
        if tells_library {
            cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("hitless").encode(buffer);
            self.expected.push_back(Step::Ignored);
        }
        if must_answer || !tells_library {
            cmd("PING").encode(buffer);
            self.expected.push_back(Step::Ping);
        }
    }

    /// What the user wants to have run, once it is known that the server understands; false if there is nothing. RESP2 has no words for
    /// what tracking would say.
    fn write_setup(&mut self, buffer: &mut BytesMut) -> bool {
        let tracking = self.config.tracking().filter(|_| self.tracks && self.resp3.is_some());
        if let Some(tracking) = tracking {
            tracking.command().encode(buffer);
            self.expected.push_back(Step::Tracking);
        }
        let commands = self.config.setup();
        commands.iter().for_each(|command| command.encode(buffer));
        self.expected.extend((1..).zip(commands).map(|(number, _)| Step::Setup(number)));
        tracking.is_some() || !commands.is_empty()
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

    /// `may_ask`: the link takes commands that the server may not know.
    fn write_readonly(&mut self, may_ask: bool, buffer: &mut BytesMut) {
        if !self.config.sends_readonly() {
            return;
        }
        self.lacks_readonly = !may_ask;
        if may_ask {
            cmd("READONLY").encode(buffer);
            self.expected.push_back(Step::Readonly);
        }
    }

    /// `Write` if the server speaks RESP2 only.
    fn judge_hello(&mut self, reply: &Frame) -> Result<Progress, HandshakeError> {
        if let Some(text) = reply.as_error() {
            let code = match HelloRefusal::of(text, self.credentials.is_some()) {
                HelloRefusal::NoResp3(code) => code,
                HelloRefusal::Unclear(code) => return Err(HandshakeError::HelloRefused { code: Some(code) }),
                HelloRefusal::Other(error) => return Err(error),
            };
            let mode = self.config.maintenance().mode();
            let answer = OptIn::NoResp3(code).under(mode)?;
            self.opt_in = if mode == Mode::Disabled { OptIn::NotAsked } else { answer };
            return Ok(Progress::Write);
        }
        match (reply.as_map().is_some(), field(reply, b"proto")) {
            (true, Some(3)) => {}
            (_, Some(2)) => return Err(HandshakeError::HelloRefused { code: None }),
            _ => return Err(HandshakeError::UnexpectedReply { stage: Stage::Hello }),
        }
        self.client_id = field(reply, b"id");
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
        // The link has just shown that it takes commands which the server does not know.
        self.write_resp2(Probe::Skip, buffer);
    }

    fn accept(&self, stage: Stage, reply: &Frame) -> Result<(), HandshakeError> {
        match reply.as_error() {
            Some(text) => Err(refusal(stage, text, self.credentials.is_some())),
            None => Ok(()),
        }
    }

    /// A server that does not take READONLY redirects reads. One that is busy has said nothing of that.
    fn judge_readonly(&mut self, reply: &Frame) -> Result<(), HandshakeError> {
        let is_passing = |text: &[u8]| is_unblocked(text) || ErrorCode::of(text).as_str() == "BUSY";
        if reply.as_error().is_some_and(is_passing) {
            return self.accept(Stage::Readonly, reply);
        }
        self.lacks_readonly = unaccepted(reply).is_some();
        Ok(())
    }

    /// A user who may not run PING is known to the server, and that is an answer.
    fn judge_ping(&self, reply: &Frame) -> Result<(), HandshakeError> {
        match reply.as_error().map(ErrorCode::of) {
            Some(code) if code.as_str() == "NOPERM" => Ok(()),
            _ => self.accept(Stage::Ping, reply),
        }
    }
}

/// The command that authenticates a connection of its own, in either dialect.
pub(crate) fn auth(credentials: &Credentials) -> Command {
    let auth = cmd("AUTH");
    let auth = match credentials.user.as_deref() {
        Some(user) => auth.arg(user),
        None => auth,
    };
    auth.arg(credentials.password.expose())
}

/// What the server says to AUTH: the code of its error alone, for it may repeat what it was told.
pub(crate) fn judge_auth(reply: &Frame) -> Result<(), ErrorCode> {
    unaccepted(reply).map_or(Ok(()), |text| Err(ErrorCode::of(text)))
}

/// The opt-in of a connection to `peer`.
pub(crate) fn opt_in(config: &Config, peer: &Peer) -> Command {
    let [name, words @ ..] = opt_in_command(config, peer);
    cmd(name).args(words)
}

/// What the server says to the opt-in: to be read only where RESP3 is spoken.
pub(crate) fn judge_opt_in(_proof: Resp3, reply: &Frame) -> OptIn {
    unaccepted(reply).map_or(OptIn::Accepted, OptIn::of_error)
}

/// What a reply says that accepts nothing: an error, or that the command was only queued, in somebody's transaction.
fn unaccepted(reply: &Frame) -> Option<&[u8]> {
    reply.as_error().or_else(|| reply.as_bytes().filter(|_| is_queued(reply)))
}

fn contains_ignoring_case(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;
