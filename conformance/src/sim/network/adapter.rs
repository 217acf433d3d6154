//! What the driver sees of the network: a resolver, a connector, and streams.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use hitless_core::driver::{Connector, Resolver, Runtime as _, Stream};
use hitless_core::endpoint::{Peer, Target};

use super::super::plan::NAME;
use super::{FaultKind, Link, Network, Parcel, SEND_BUFFER, SocketId, State, What, up_to};
use crate::server::ServerMachine as _;

/// An address where nobody is any more.
const GONE: [u8; 4] = [10, 99, 0, 2];
/// An address of the name that refuses dials.
pub(super) const REFUSES: [u8; 4] = [10, 99, 0, 3];
/// An address of the name that swallows dials.
pub(super) const SWALLOWS: [u8; 4] = [10, 99, 0, 4];

impl Resolver for Network {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.trace.note(What::Lookup(host.to_owned()));
        let time = {
            let mut state = self.state();
            *state.lookups.entry(host.to_owned()).or_default() += 1;
            let slow = state.delay_of(FaultKind::SlowLookups);
            let longest = state.longest_hop() + slow;
            up_to(&mut state.rng, longest)
        };
        self.executor.sleep(time).await;
        self.state().look_up(host)
    }
}

impl State {
    /// What a name leads to, under the faults of the moment.
    fn look_up(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        let is_active = |kind| self.is_active(kind, None);
        if is_active(FaultKind::FailedLookups) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if is_active(FaultKind::EmptyLookups) {
            return Ok(Vec::new());
        }
        let former = self.former_names.get(host).filter(|_| is_active(FaultKind::StaleLookups));
        let known = former.or_else(|| self.names.get(host)).ok_or(io::ErrorKind::NotFound)?;
        let mut addresses = known.clone();
        if is_active(FaultKind::CrowdedLookups) {
            let others = self.server.endpoints().into_iter().map(|id| self.server.address(id).ip());
            addresses.extend(others.chain([GONE.into()]));
        }
        if let Some(dead) = self.dead_address.filter(|_| host == NAME) {
            let at = self.rng.below(addresses.len() as u64 + 1);
            addresses.insert(usize::try_from(at).unwrap_or(0), dead);
        }
        Ok(addresses)
    }
}

impl Connector for Network {
    type Stream = Socket;

    async fn connect(&self, target: Target) -> io::Result<(Socket, Peer)> {
        // A dial that is given up is hung up by the drop of its socket.
        let socket = self.dial(&target);
        let mut answer = pin!(std::future::poll_fn(|cx| self.poll_answer(socket.id, cx)));
        std::future::poll_fn(|cx| answer.as_mut().poll(cx)).await?;
        Ok((socket, target.address))
    }
}

impl Network {
    fn dial(&self, target: &Target) -> Socket {
        let now = self.executor.now();
        let mut state = self.state();
        let id = SocketId(state.next_socket);
        state.next_socket += 1;
        let endpoint = state.endpoint_at(&target.address);
        let by_chance = state.rng.below(2) == 0;
        let keeps_writes = state.stream_faults.keeps_writes().unwrap_or(by_chance);
        let mut link = Link::new(now, endpoint, keeps_writes);
        link.swallowed = target.address.ip() == Some(SWALLOWS.into());
        state.links.insert(id, link);
        let at = now + state.hop(id);
        state.post(at, Parcel::Dial { socket: id, reported: false });
        drop(state);
        self.trace.note(What::Dialled(id, target.clone()));
        Socket { network: self.clone(), id }
    }

    fn poll_answer(&self, id: SocketId, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let Some(link) = state.links.get_mut(&id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        match (link.answer.take(), link.end) {
            (Some(answer), _) => Poll::Ready(answer.map_err(io::Error::from)),
            (None, Some(Some(reset))) => Poll::Ready(Err(reset.into())),
            (None, _) => {
                let old = link.reader.replace(cx.waker().clone());
                drop(state);
                drop(old);
                Poll::Pending
            }
        }
    }
}

/// The client's end of a connection.
pub struct Socket {
    network: Network,
    id: SocketId,
}

impl Stream for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut guard = self.network.state();
        let state = &mut *guard;
        let splits = state.is_active(FaultKind::Splits, state.endpoint(self.id));
        let Some(link) = state.links.get_mut(&self.id) else { return Poll::Ready(Ok(0)) };
        if state.stream_faults.are_reads_blocked() {
            let old = link.reader.replace(cx.waker().clone());
            drop(guard);
            drop(old);
            return Poll::Pending;
        }
        let room = buffer.capacity() - buffer.len();
        let most = if splits { state.rng.below(4) as usize + 1 } else { usize::MAX };
        let count = link.inbox.len().min(room).min(most);
        if count > 0 {
            let bytes = link.inbox.split_to(count);
            state.ear.hear(self.id, &bytes);
            buffer.extend_from_slice(&bytes);
            self.network.trace.note(What::Read(self.id, count));
            return Poll::Ready(Ok(count));
        }
        match link.end {
            Some(error) => {
                self.network.trace.note(What::Read(self.id, 0));
                Poll::Ready(error.map_or(Ok(0), |kind| Err(kind.into())))
            }
            None => {
                let old = link.reader.replace(cx.waker().clone());
                drop(guard);
                drop(old);
                Poll::Pending
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let now = self.network.executor.now();
        let mut guard = self.network.state();
        let state = &mut *guard;
        let endpoint = state.endpoint(self.id);
        let blocked = state.is_active(FaultKind::BlockedWrites, endpoint);
        let splits = state.is_active(FaultKind::Splits, endpoint);
        let Some(link) = state.links.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if let Some(Some(kind)) = link.end {
            return Poll::Ready(Err(kind.into()));
        }
        if let Err(error) = state.stream_faults.check_write() {
            return Poll::Ready(Err(error));
        }
        let room = SEND_BUFFER.saturating_sub(link.in_flight);
        if blocked || room == 0 {
            let old = link.writer.replace(cx.waker().clone());
            if !blocked {
                // Nobody flushes what is not written to its end, so there would never be room again.
                state.send_outbox(now, self.id);
            }
            drop(guard);
            drop(old);
            return Poll::Pending;
        }
        let most = if splits { state.rng.below(64) as usize + 1 } else { usize::MAX };
        let count = bytes.len().min(room).min(most);
        link.in_flight += count;
        link.outbox.extend_from_slice(&bytes[..count]);
        if !link.keeps_writes {
            state.send_outbox(now, self.id);
        }
        self.network.trace.note(What::Wrote(self.id, count));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.network.executor.now();
        self.network.trace.note(What::Flush(self.id));
        let mut guard = self.network.state();
        let state = &mut *guard;
        let are_writes_blocked = state.is_active(FaultKind::BlockedWrites, state.endpoint(self.id));
        let flushed = state.stream_faults.poll_flush();
        let Some(link) = state.links.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if let Some(Some(kind)) = link.end {
            return Poll::Ready(Err(kind.into()));
        }
        if flushed.is_pending() || (are_writes_blocked && !link.outbox.is_empty()) {
            let old = link.writer.replace(cx.waker().clone());
            drop(guard);
            drop(old);
            return Poll::Pending;
        }
        if matches!(flushed, Poll::Ready(Ok(()))) {
            state.send_outbox(now, self.id);
        }
        flushed
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.hang_up(self.id);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.hang_up(self.id);
    }
}

impl Network {
    /// The client closes, or gives a dial up. What it wrote still arrives; it hears nothing any more.
    fn hang_up(&self, id: SocketId) {
        let now = self.executor.now();
        let mut state = self.state();
        let Some(link) = state.links.get_mut(&id).filter(|link| !link.dropped) else { return };
        link.dropped = true;
        let wakers = (link.reader.take(), link.writer.take());
        state.under_way.retain(|_, parcel| !parcel.is_to_client(id) && !parcel.is_dial_of(id));
        state.send_to_server(now, id, Parcel::HangUp);
        drop(state);
        drop(wakers);
        self.trace.note(What::HungUp(id));
    }
}

impl State {
    /// Puts what a socket has kept on its way.
    fn send_outbox(&mut self, now: Instant, id: SocketId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.outbox.is_empty() {
            return;
        }
        let bytes = link.outbox.split().freeze();
        for piece in self.pieces(id, bytes) {
            let at = now + self.hop(id);
            self.send_to_server(at, id, |id| Parcel::ToServer(id, piece));
        }
    }

    fn send_to_server(&mut self, at: Instant, id: SocketId, parcel: impl FnOnce(SocketId) -> Parcel) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.to_server = link.to_server.max(at);
        let at = link.to_server;
        self.post(at, parcel(id));
    }
}

impl Link {
    fn new(now: Instant, endpoint: Option<super::EndpointId>, keeps_writes: bool) -> Self {
        Self {
            endpoint,
            swallowed: false,
            server: None,
            answer: None,
            to_server: now,
            to_client: now,
            keeps_writes,
            outbox: BytesMut::new(),
            in_flight: 0,
            inbox: BytesMut::new(),
            end: None,
            half_closed: false,
            dropped: false,
            reader: None,
            writer: None,
        }
    }
}
