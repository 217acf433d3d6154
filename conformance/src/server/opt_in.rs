//! `CLIENT MAINT_NOTIFICATIONS`: the answer, and what is told right behind it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use resp3_codec::Frame;

use super::Server;
use super::backend::{Backend, Protocol};
use super::config::OptIn;
use super::connection::{Naming, Notifications};
use super::ledger::{Event, OptInOutcome};
use super::machine::{EndpointId, ServerConn, ServerMachine};
use super::maintenance::{Target, completion_frame, moving_frame, opener_frame, seconds_left};
use super::request::Request;

const OK: Frame = Frame::Simple(Bytes::from_static(b"OK"));
const UNKNOWN: &str = "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.";
const NO_PERMISSION: &str =
    "NOPERM User default has no permissions to run the 'client|maint_notifications' command";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";

impl<B: Backend> Server<B> {
    /// Answers the opt-in as the endpoint treats it.
    pub(super) fn answer_opt_in(&mut self, now: Instant, conn: ServerConn, request: &Request) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let endpoint = connection.endpoint;
        let protocol = self.backend.protocol(conn);
        let refusal = match self.endpoints[endpoint.index()].spec.opt_in {
            OptIn::Supported => None,
            OptIn::UnknownSubcommand => Some(UNKNOWN),
            OptIn::NoPermission => Some(NO_PERMISSION),
            OptIn::Loading => Some(LOADING),
            OptIn::OtherError => Some("ERR maintenance notifications are not available now"),
            OptIn::ClosesLink(how) => {
                self.ledger.add(now, endpoint, Some(conn), Event::OptIn(OptInOutcome::Refused));
                return self.close(now, conn, how);
            }
        };
        let asked = match refusal {
            // No server's words for this are public; clients must not come here.
            None if protocol == Protocol::Resp2 => Err("ERR maintenance notifications require RESP3"),
            None => parse(request),
            Some(text) => Err(text),
        };
        match asked {
            Err(text) => {
                self.ledger.add(now, endpoint, Some(conn), Event::OptIn(OptInOutcome::Refused));
                self.reply(now, conn, request, &Frame::Error(Bytes::from_static(text.as_bytes())));
            }
            Ok(notifications) => {
                connection.notifications = notifications;
                let outcome = match notifications {
                    Notifications::Off => OptInOutcome::Off,
                    Notifications::On(_) => OptInOutcome::Accepted(request.words().get(4).cloned()),
                };
                self.ledger.add(now, endpoint, Some(conn), Event::OptIn(outcome));
                self.reply(now, conn, request, &OK);
                self.tell_late_joiner(now, conn, endpoint);
            }
        }
    }

    /// Writes what goes on right behind the `+OK`, in the same write.
    fn tell_late_joiner(&mut self, now: Instant, conn: ServerConn, endpoint: EndpointId) {
        let mut told = Vec::new();
        if let Some(last) = self.maintenance.completion.as_ref().filter(|_| self.config.replays_completions) {
            let frame = completion_frame(last.operation, last.seq, &last.notice);
            told.push((last.operation.completion(), last.seq, frame));
        }
        for open in &self.maintenance.open {
            if open.until > now && open.notice.to.include_newcomers(endpoint) {
                let frame =
                    opener_frame(open.operation, open.seq, seconds_left(now, open.until), &open.notice);
                told.push((open.operation.opener(), open.seq, frame));
            }
        }
        for live in &self.maintenance.moves {
            if live.source == endpoint && live.until > now && live.moving.to.include_newcomers(endpoint) {
                let target = self.target_frame(conn, &live.moving.target);
                told.push((
                    "MOVING",
                    live.seq,
                    moving_frame(live.seq, seconds_left(now, live.until), target),
                ));
            }
        }
        for (name, seq, frame) in told {
            if self.is_opted_in(conn) {
                self.ledger.add(now, endpoint, Some(conn), Event::Notified { name, seq });
                self.write_reply(now, conn, &frame, Duration::ZERO);
            }
        }
    }

    /// A target as this connection wants it named.
    pub(super) fn target_frame(&self, conn: ServerConn, target: &Target) -> Option<Frame> {
        let naming = match self.connections.get(&conn).map(|connection| connection.notifications) {
            Some(Notifications::On(naming)) => naming,
            Some(Notifications::Off) | None => Naming::Address,
        };
        let text = match (target, naming) {
            (Target::Absent, _) => return None,
            (Target::Frame(frame), _) => return Some(frame.clone()),
            (Target::Null, _) | (_, Naming::Nothing) => return Some(Frame::Null),
            (Target::Address(text), _) => text.clone(),
            (Target::Endpoint(endpoint), naming) => {
                let address = self.address(*endpoint);
                let host = self.endpoints[endpoint.index()].spec.host.as_ref();
                match host.filter(|_| naming == Naming::Host) {
                    Some(host) => format!("{host}:{}", address.port()),
                    None => address.to_string(),
                }
            }
        };
        Some(Frame::Bulk(Bytes::from(text)))
    }
}

/// `CLIENT MAINT_NOTIFICATIONS ON [moving-endpoint-type T]` or `OFF`.
fn parse(request: &Request) -> Result<Notifications, &'static str> {
    const SYNTAX: &str = "ERR syntax error";
    let words: Vec<String> = request
        .words()
        .iter()
        .skip(2)
        .map(|word| String::from_utf8_lossy(word).to_ascii_lowercase())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["off"] => Ok(Notifications::Off),
        ["on"] => Ok(Notifications::On(Naming::Address)),
        ["on", "moving-endpoint-type", kind] => match kind {
            "internal-ip" | "external-ip" => Ok(Notifications::On(Naming::Address)),
            "internal-fqdn" | "external-fqdn" => Ok(Notifications::On(Naming::Host)),
            "none" => Ok(Notifications::On(Naming::Nothing)),
            _ => Err(SYNTAX),
        },
        [] => Err("ERR wrong number of arguments for 'client|maint_notifications' command"),
        _ => Err(SYNTAX),
    }
}
