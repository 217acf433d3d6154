//! Credentials that the owner of the client provides: asked for before each dial, and again when they have changed.

use std::time::Instant;

use super::{Action, Client};
use crate::config::Credentials;
use crate::endpoint::Target;
use crate::error::{CloseCause, ConnectError, CredentialsError, ErrorCode};
use crate::event::Event;
use crate::ids::ConnId;

impl Client {
    /// The answer to [`Action::Credentials`]: what the handshake of `conn` authenticates with. [`Action::Connect`] follows. An
    /// error is a failed attempt, and the connections that serve go on.
    pub fn handle_credentials(
        &mut self,
        now: Instant,
        conn: ConnId,
        answer: Result<Credentials, CredentialsError>,
    ) {
        self.now = now;
        match answer {
            Ok(credentials) => {
                if let Some((target, until)) = self.keyring.answer(conn, credentials) {
                    self.actions.push_back(Action::Connect { conn, target, until });
                }
            }
            Err(error) => {
                if self.keyring.give_up(conn) {
                    let error = self.keyring.without_secrets(error);
                    self.dial_failed(now, conn, error.into());
                }
            }
        }
        self.settle(now);
    }

    /// The credentials in use have changed, or expire soon: [`Action::NewCredentials`] follows, at once or a little later. What is
    /// dialled meanwhile asks for its own.
    pub fn handle_credentials_changed(&mut self, now: Instant) {
        self.now = now;
        if self.lifecycle.is_open() {
            self.keyring.note_change(now);
        }
        self.settle(now);
    }

    /// The answer to [`Action::NewCredentials`], or credentials that hold from now on, without having been asked for. Connections
    /// that were opened with others authenticate again, each between two requests: an event says how that ended, and a refusal
    /// ends no connection. One that is lent stays as it is, and is closed when it is returned. After an error the client asks again.
    pub fn handle_new_credentials(&mut self, now: Instant, answer: Result<Credentials, CredentialsError>) {
        self.now = now;
        match answer {
            Ok(credentials) => self.authenticate_all(&credentials),
            Err(error) => self.renewal_failed(now, error),
        }
        self.settle(now);
    }

    /// Dials `target`, once there are credentials.
    pub(super) fn dial(&mut self, now: Instant, conn: ConnId, target: Target, until: Option<Instant>) {
        if self.keyring.asks() {
            self.keyring.ask(now, conn, target, until);
            self.actions.push_back(Action::Credentials { conn });
        } else {
            self.actions.push_back(Action::Connect { conn, target, until });
        }
    }

    /// Asks for new credentials when it is time to.
    pub(super) fn ask_for_new_credentials(&mut self, now: Instant) {
        if self.keyring.begin_renewal(now) {
            self.actions.push_back(Action::NewCredentials);
        }
    }

    /// Gives up the answers that take too long.
    pub(super) fn time_out_credentials(&mut self, now: Instant) {
        while let Some((conn, limit)) = self.keyring.take_overdue(now) {
            self.actions.push_back(Action::Close { conn, cause: CloseCause::ByClient });
            self.dial_failed(now, conn, ConnectError::Credentials(CredentialsError::TimedOut(limit)));
        }
        if let Some(limit) = self.keyring.overdue_renewal(now) {
            self.renewal_failed(now, CredentialsError::TimedOut(limit));
        }
    }

    /// The server has answered AUTH on `conn`.
    pub(super) fn on_authenticated(&mut self, conn: ConnId, answer: Result<(), ErrorCode>) {
        if answer.is_err() {
            self.keyring.note_refused(conn);
        }
        let Some(peer) = self.coordinator.peer(conn).cloned() else { return };
        self.emit(match answer {
            Ok(()) => Event::Reauthenticated { conn, peer },
            Err(code) => Event::ReauthenticationRefused { conn, peer, code },
        });
    }

    fn authenticate_all(&mut self, credentials: &Credentials) {
        for conn in self.keyring.renew(credentials) {
            if self.leave_alone(conn) {
                continue;
            }
            if let Some(connection) = self.links.connection_mut(conn) {
                connection.authenticate(credentials);
                self.flush(conn);
            }
        }
    }

    fn renewal_failed(&mut self, now: Instant, error: CredentialsError) {
        if !self.lifecycle.is_open() {
            return;
        }
        if let Some(retry_at) = self.keyring.fail_renewal(now) {
            let error = self.keyring.without_secrets(error);
            self.emit(Event::CredentialsFailed { error, retry_at });
        }
    }
}
