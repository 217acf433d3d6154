//! Faults that strike at one command: injected frames, refusals, connections that end at a bad moment.

use std::time::{Duration, Instant};

use bytes::Bytes;
use resp3_codec::Frame;

use super::machine::{CloseHow, EndpointId, ServerConn};
use super::request::Request;

/// What happens to the request that a [`Rule`] strikes.
#[derive(Clone, Debug)]
pub enum Fault {
    /// These bytes are sent right before its reply: pushes at awkward points, or half a frame.
    Before(Bytes),
    /// These bytes are sent right after its reply, in the same write.
    After(Bytes),
    /// It is executed, but this is the reply.
    Instead(Frame),
    /// It is not executed, and this is the reply.
    Refuse(Frame),
    /// It is not executed; the connection ends.
    CloseUnexecuted(CloseHow),
    /// It is executed; the connection ends before the reply.
    CloseUnanswered(CloseHow),
    /// It is executed, and there is no reply.
    Unanswered,
    /// It is executed and answered; then the connection ends.
    CloseAnswered(CloseHow),
    /// Its reply comes late by this much, and with it all that follow on the connection.
    Delay(Duration),
}

impl Fault {
    /// Whether it strikes when the request arrives rather than when it is answered.
    fn strikes_request(&self) -> bool {
        matches!(self, Self::Refuse(_) | Self::CloseUnexecuted(_))
    }
}

/// Which requests a fault strikes. Over a real server only [`Fault::Refuse`] and
/// [`Fault::CloseUnexecuted`] strike what the real server would execute: its replies are not paired with requests.
#[derive(Clone, Debug)]
pub struct Rule {
    endpoint: Option<EndpointId>,
    conn: Option<ServerConn>,
    command: Option<String>,
    text: Option<Bytes>,
    skip: u32,
    times: Option<u32>,
    until: Option<Instant>,
    fault: Fault,
}

impl Rule {
    /// Strikes the next request, wherever it comes.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        let (endpoint, conn, command, text, until) = (None, None, None, None, None);
        Self { endpoint, conn, command, text, skip: 0, times: Some(1), until, fault }
    }

    /// Only requests that begin with these words: `"EXEC"`, `"CLIENT MAINT_NOTIFICATIONS"`.
    #[must_use]
    pub fn on(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// Only requests at this endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: EndpointId) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Only requests of this connection.
    #[must_use]
    pub fn of(mut self, conn: ServerConn) -> Self {
        self.conn = Some(conn);
        self
    }

    /// Only requests of which an argument contains this text.
    #[must_use]
    pub fn holding(mut self, text: &str) -> Self {
        self.text = Some(Bytes::copy_from_slice(text.as_bytes()));
        self
    }

    /// Only requests that come before this moment.
    #[must_use]
    pub fn until(mut self, end: Instant) -> Self {
        self.until = Some(end);
        self
    }

    /// Spares the first `skip` requests that match.
    #[must_use]
    pub fn skipping(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes this often instead of once.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes every request that matches, until the rules are cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    fn matches(&self, now: Instant, endpoint: EndpointId, conn: ServerConn, request: &Request) -> bool {
        self.until.is_none_or(|end| now < end)
            && self.endpoint.is_none_or(|only| only == endpoint)
            && self.conn.is_none_or(|only| only == conn)
            && self.command.as_deref().is_none_or(|words| request.is(words))
            && self.text.as_ref().is_none_or(|text| holds(request, text))
    }

    /// Counts a request that matches; whether it is struck.
    fn strike(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first fault that strikes an arriving request.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        conn: ServerConn,
        request: &Request,
    ) -> Option<Fault> {
        let fault = self
            .0
            .iter_mut()
            .filter(|rule| rule.fault.strikes_request() && rule.matches(now, endpoint, conn, request))
            .find_map(|rule| rule.strike().then(|| rule.fault.clone()))?;
        self.forget_spent();
        Some(fault)
    }

    /// The faults that strike the reply to a request.
    pub(super) fn on_reply(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        conn: ServerConn,
        request: &Request,
    ) -> Vec<Fault> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let struck = self
            .0
            .iter_mut()
            .filter(|rule| !rule.fault.strikes_request() && rule.matches(now, endpoint, conn, request))
            .filter_map(|rule| rule.strike().then(|| rule.fault.clone()))
            .collect();
        self.forget_spent();
        struck
    }

    fn forget_spent(&mut self) {
        self.0.retain(|rule| rule.times != Some(0));
    }
}

/// Whether an argument contains the text.
fn holds(request: &Request, text: &[u8]) -> bool {
    let contains = |word: &Bytes| word.windows(text.len()).any(|part| part == text);
    request.words().iter().skip(1).any(contains)
}
