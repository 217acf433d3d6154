//! The connections of the client, each from the decision to open it until it is forgotten.

#[cfg(feature = "explore")]
mod fingerprint;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::{Load, Traffic};
use super::owner::Owner;
use crate::config::{Config, Credentials};
use crate::connection::{Accepted, Connection, Ticket};
use crate::endpoint::Peer;
use crate::handshake::Probe;
use crate::ids::{ConnId, IdMap, RequestId};
use crate::request::{Request, Size};
use crate::timer::earliest;
use crate::write_buffer::WriteBuffer;

/// All links, by the ids that the coordinator has given them.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Links {
    live: IdMap<ConnId, Link>,
}

/// One connection of one owner. It outlives the socket: when that is lost, the coordinator still decides what follows it.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Link {
    owner: Owner,
    probe: Probe,
    /// The protocol, while the socket is connected.
    connection: Option<Connection>,
    /// The owner of the client was told to flush, and has not taken everything yet.
    flushing: bool,
    traffic: Traffic,
    /// The server's id of the connection, once HELLO has told it.
    client_id: Option<i64>,
}

/// A connection that takes a request.
pub(super) struct Joinable<'a> {
    connection: &'a mut Connection,
    traffic: &'a mut Traffic,
    flushing: &'a mut bool,
    ticket: Ticket,
}

impl Joinable<'_> {
    /// The place of the request that is put there.
    pub(super) const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Puts a new request there, whose time counts from `since`. Returns its deadline, and whether the owner of the client has to be told that there is
    /// something to write. `configured` is the client's command timeout.
    #[inline]
    pub(super) fn accept(
        self,
        (now, since): (Instant, Instant),
        id: RequestId,
        request: Request,
        configured: Option<Duration>,
    ) -> (Option<Instant>, bool) {
        self.traffic.note_request(now, self.connection);
        let deadline = self.connection.accept(since, id, request, configured);
        (deadline, !std::mem::replace(self.flushing, true))
    }
}

impl Links {
    pub(super) fn new() -> Self {
        Self { live: IdMap::new() }
    }

    /// `conn` is being opened for `owner`.
    pub(super) fn insert(&mut self, conn: ConnId, owner: Owner) {
        // The dial says whether to opt in.
        let probe = Probe::Skip;
        let traffic = Traffic::default();
        self.live
            .insert(conn, Link { owner, probe, connection: None, flushing: false, traffic, client_id: None });
    }

    /// `conn` is dialled, and `probe` is what its handshake does about the opt-in.
    pub(super) fn dial(&mut self, conn: ConnId, probe: Probe) {
        if let Some(link) = self.live.get_mut(conn) {
            link.probe = probe;
        }
    }

    /// The socket of `conn` is connected to `peer`, and its handshake has `credentials`. False if no socket of `conn` is awaited.
    pub(super) fn connect(
        &mut self,
        config: &Arc<Config>,
        conn: ConnId,
        peer: &Peer,
        credentials: Option<Credentials>,
    ) -> bool {
        let Some(link) = self.live.get_mut(conn).filter(|link| link.connection.is_none()) else {
            return false;
        };
        let mut connection = Connection::with_credentials(config, credentials, link.probe, peer);
        match link.owner {
            Owner::Slot(_) if config.tracking().is_some() => connection.track(),
            Owner::Slot(_) | Owner::Seat(_) => {}
            Owner::Subscriptions => connection.carry_subscriptions(),
        }
        link.connection = Some(connection);
        true
    }

    pub(super) fn set_client_id(&mut self, conn: ConnId, client_id: Option<i64>) {
        if let Some(link) = self.live.get_mut(conn) {
            link.client_id = client_id;
        }
    }

    /// The link of `conn`, if one more request of this size may join those that are there.
    #[inline]
    pub(super) fn lightly_loaded(
        &mut self,
        now: Instant,
        conn: ConnId,
        limit: usize,
        size: Size,
    ) -> Option<Joinable<'_>> {
        let Link { connection, traffic, flushing, .. } = self.live.get_mut(conn)?;
        let connection = connection.as_mut()?;
        let ticket = connection.next_ticket()?;
        let is_light = traffic.load(now, connection, limit, size) == Load::Light;
        is_light.then_some(Joinable { connection, traffic, flushing, ticket })
    }

    /// Puts a request on `conn`, or gives it back if `conn` takes none.
    pub(super) fn enqueue(
        &mut self,
        now: Instant,
        conn: ConnId,
        accepted: Accepted,
    ) -> Result<Ticket, Accepted> {
        let Some(link) = self.live.get_mut(conn) else { return Err(accepted) };
        let Some(connection) = &mut link.connection else { return Err(accepted) };
        link.traffic.note_request(now, connection);
        connection.enqueue(accepted)
    }

    /// Puts a request of the client's own on `conn`, which may drain.
    pub(super) fn enqueue_own(&mut self, conn: ConnId, accepted: Accepted) -> Result<Ticket, Accepted> {
        match self.connection_mut(conn) {
            Some(connection) => connection.enqueue_own(accepted),
            None => Err(accepted),
        }
    }

    /// A window of `conn` was opened or closed.
    pub(super) fn retime(&mut self, conn: ConnId, relaxed: Option<Duration>) {
        if let Some(connection) = self.connection_mut(conn) {
            connection.retime(relaxed);
        }
    }

    /// True if the owner of the client has to be told that `conn` has something to write. It is told once until it has
    /// taken everything.
    pub(super) fn begin_flush(&mut self, conn: ConnId) -> bool {
        let Some(link) = self.live.get_mut(conn).filter(|link| !link.flushing) else { return false };
        link.flushing = link.connection.as_ref().is_some_and(Connection::has_unsent);
        link.flushing
    }

    /// Appends what `conn` has to write; true if there was anything.
    pub(super) fn poll_transmit(&mut self, now: Instant, conn: ConnId, buffer: &mut WriteBuffer) -> bool {
        let Some(link) = self.live.get_mut(conn) else { return false };
        let Some(connection) = &mut link.connection else { return false };
        let before = buffer.len();
        let any = connection.poll_transmit(buffer);
        connection.note_time(now);
        link.flushing = connection.has_unsent();
        link.traffic.note_taken(buffer.len() - before);
        any
    }

    /// Frames of `conn` were received.
    pub(super) fn note_frames(&mut self, now: Instant, conn: ConnId) {
        if let Some(link) = self.live.get_mut(conn) {
            link.traffic.note_frames(now);
        }
    }

    /// A part of a frame of `conn` was received.
    pub(super) fn note_part(&mut self, conn: ConnId) {
        if let Some(link) = self.live.get_mut(conn) {
            link.traffic.note_part();
        }
    }

    /// Takes the protocol out of a link whose socket is gone. The link stays until [`remove`](Self::remove).
    pub(super) fn take_connection(&mut self, conn: ConnId) -> Option<Connection> {
        self.live.get_mut(conn)?.connection.take()
    }

    /// Forgets `conn`. Returns its owner, and its protocol if its socket was connected.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<(Owner, Option<Connection>)> {
        let Link { owner, connection, .. } = self.live.remove(conn)?;
        Some((owner, connection))
    }

    #[inline]
    pub(super) fn connection_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.live.get_mut(conn)?.connection.as_mut()
    }

    /// How busy `conn` is for a request of this size, if a connection cannot have more than `limit` requests.
    pub(super) fn load(&self, now: Instant, conn: ConnId, limit: usize, size: Size) -> Load {
        let Some(link) = self.live.get(conn) else { return Load::Full };
        let Some(connection) = &link.connection else { return Load::Full };
        link.traffic.load(now, connection, limit, size)
    }

    pub(super) fn connection(&self, conn: ConnId) -> Option<&Connection> {
        self.live.get(conn)?.connection.as_ref()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.live.get(conn).is_some()
    }

    pub(super) fn owner(&self, conn: ConnId) -> Option<Owner> {
        Some(self.live.get(conn)?.owner)
    }

    pub(super) fn client_id(&self, conn: ConnId) -> Option<i64> {
        self.live.get(conn)?.client_id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.live.iter().map(|(conn, _)| conn)
    }

    /// Requests that were written, and that nobody waits for any more.
    pub(super) fn abandoned(&self) -> usize {
        self.live.iter().filter_map(|(_, link)| link.connection.as_ref()).map(Connection::abandoned).sum()
    }

    /// The connections on which nobody waits for a reply that may still come.
    pub(super) fn idle(&self) -> impl Iterator<Item = ConnId> {
        let is_idle = |link: &Link| link.connection.as_ref().is_none_or(Connection::is_idle);
        self.live.iter().filter(move |(_, link)| is_idle(link)).map(|(conn, _)| conn)
    }

    /// The first link at `place` or behind it, and the place behind that link. A loop that uses it may change the links.
    pub(super) fn next_from(&self, place: usize) -> Option<(ConnId, usize)> {
        (place..self.live.places()).find_map(|place| Some((self.live.key_at(place)?, place + 1)))
    }

    /// The process could not read for `late` before `now`.
    pub(super) fn forget_silence(&mut self, now: Instant, late: Duration) {
        let mut place = 0;
        while let Some((conn, next)) = self.next_from(place) {
            place = next;
            self.connection_mut(conn).into_iter().for_each(|connection| connection.forget_silence(now, late));
        }
    }

    /// When the first request on any connection is due, or a link counts as dead, or a little earlier.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.live.iter().map(|(_, link)| link.connection.as_ref()?.poll_timeout()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    const CONN: ConnId = ConnId::from_parts(0, 0);

    fn config_and_peer() -> (Arc<Config>, Peer) {
        let endpoint = Endpoint::parse("127.0.0.1:1", 6379).unwrap();
        let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        (Arc::new(Config::builder(endpoint).build().unwrap()), peer)
    }

    #[test]
    fn a_link_connects_once_and_only_while_it_is_known() {
        let (config, peer) = config_and_peer();
        let mut links = Links::new();
        assert!(!links.connect(&config, CONN, &peer, None));
        links.insert(CONN, Owner::Slot(3));
        assert!(links.connect(&config, CONN, &peer, None));
        assert!(!links.connect(&config, CONN, &peer, None));
        assert!(links.remove(CONN).is_some_and(|(owner, _)| owner == Owner::Slot(3)));
        assert!(!links.connect(&config, CONN, &peer, None));
    }

    #[test]
    fn a_flush_is_begun_once_until_everything_is_taken() {
        let (config, peer) = config_and_peer();
        let mut links = Links::new();
        links.insert(CONN, Owner::Slot(0));
        assert!(!links.begin_flush(CONN), "it is not connected");
        links.connect(&config, CONN, &peer, None);
        assert!(links.begin_flush(CONN), "the handshake waits");
        assert!(!links.begin_flush(CONN));
        assert!(links.poll_transmit(crate::timer::epoch(), CONN, &mut WriteBuffer::new()));
        assert!(!links.begin_flush(CONN), "there is nothing to write");
    }
}
