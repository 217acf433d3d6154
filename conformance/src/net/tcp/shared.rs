//! The machine, its connections, and the threads that carry bytes between them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::super::lock;
use super::acceptor::Slot;
use super::link::{Link, Written};
use super::transport::{Security, read};
use crate::clock;
use crate::server::{CloseHow, EndpointId, Listening, ServerConn, ServerMachine};

const READ_BUFFER: usize = 64 * 1024;
/// Threads of connections keep little on their stacks.
const STACK: usize = 256 * 1024;
/// Longest time for the real server to accept a connection of the front.
const UPSTREAM_DIAL: Duration = Duration::from_secs(5);

/// Everything that the threads of one server share.
#[derive(Debug)]
pub(super) struct Shared<M> {
    state: Mutex<State<M>>,
    /// The pump has to look again.
    pump_wakes: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ports: Vec<Port>,
}

/// What belongs to one endpoint.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) endpoint: EndpointId,
    pub(super) slot: Arc<Slot>,
    pub(super) security: Security,
}

#[derive(Debug)]
struct State<M> {
    machine: M,
    links: BTreeMap<ServerConn, Arc<Link>>,
    /// Clients that do not read as fast as they ask; the pump tries again.
    stuck: Vec<Arc<Link>>,
    /// When the pump looks again by itself.
    pump_at: Option<Instant>,
    stopping: bool,
}

/// What one call of the machine leaves to be done outside its lock.
#[derive(Debug, Default)]
struct Work {
    ready: Vec<Arc<Link>>,
    closed: Vec<(Arc<Link>, CloseHow)>,
}

impl<M: ServerMachine + Send + 'static> Shared<M> {
    pub(super) fn new(machine: M, ports: Vec<Port>) -> Self {
        let state =
            State { machine, links: BTreeMap::new(), stuck: Vec::new(), pump_at: None, stopping: false };
        Self { state: Mutex::new(state), pump_wakes: Condvar::new(), threads: Mutex::default(), ports }
    }

    pub(super) fn peek<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&lock(&self.state).machine)
    }

    /// A call from outside: everything that follows is carried out before it returns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut M, Instant) -> T) -> T {
        let (result, work) = {
            let mut state = lock(&self.state);
            let now = clock::now();
            let result = act(&mut state.machine, now);
            self.set_listening(&mut state, now);
            (result, self.collect(&mut state))
        };
        self.follow_listening();
        self.carry_out(work);
        result
    }

    /// A call on behalf of one connection: its own bytes leave at once, from this thread.
    fn turn(&self, link: &Arc<Link>, act: impl FnOnce(&mut M, Instant)) {
        let mut outgoing = lock(&link.outgoing);
        let work = {
            let mut state = lock(&self.state);
            act(&mut state.machine, clock::now());
            state.machine.poll_transmit(link.conn, &mut outgoing.buffer);
            self.collect(&mut state)
        };
        let written = link.write(&mut outgoing);
        drop(outgoing);
        if written == Written::Stuck {
            self.retry_later(link);
        }
        self.carry_out(work);
    }

    /// Lets time pass, and writes to clients that were slow to read.
    pub(super) fn pump(&self) {
        loop {
            let (work, stuck) = {
                let mut state = lock(&self.state);
                let now = loop {
                    if state.stopping {
                        return;
                    }
                    let now = clock::now();
                    let next = state.machine.poll_timeout();
                    if next.is_some_and(|at| at <= now) || !state.stuck.is_empty() {
                        break now;
                    }
                    state.pump_at = next;
                    let wait = next.map_or(Duration::from_secs(3600), |at| at - now);
                    let waited = self.pump_wakes.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                };
                state.machine.handle_timeout(now);
                self.set_listening(&mut state, now);
                (self.collect(&mut state), std::mem::take(&mut state.stuck))
            };
            self.follow_listening();
            self.carry_out(work);
            for link in stuck {
                self.flush(&link);
            }
        }
    }

    /// What is to be done after a call of the machine.
    fn collect(&self, state: &mut State<M>) -> Work {
        let mut work = Work::default();
        while let Some(conn) = state.machine.poll_ready() {
            work.ready.extend(state.links.get(&conn).cloned());
        }
        self.collect_closed(state, &mut work);
        if state.machine.poll_timeout().is_some_and(|at| state.pump_at.is_none_or(|planned| at < planned)) {
            self.pump_wakes.notify_one();
        }
        work
    }

    fn collect_closed(&self, state: &mut State<M>, work: &mut Work) {
        while let Some((conn, how)) = state.machine.poll_close() {
            work.closed.extend(state.links.remove(&conn).map(|link| (link, how)));
        }
    }

    fn carry_out(&self, work: Work) {
        let Work { ready, closed } = work;
        let flushes = !ready.is_empty();
        ready.iter().for_each(|link| self.flush(link));
        close(closed);
        if flushes {
            // What was flushed may have been the last of connections that are to be closed.
            let mut work = Work::default();
            self.collect_closed(&mut lock(&self.state), &mut work);
            close(work.closed);
        }
    }

    fn flush(&self, link: &Arc<Link>) {
        let mut outgoing = lock(&link.outgoing);
        lock(&self.state).machine.poll_transmit(link.conn, &mut outgoing.buffer);
        let written = link.write(&mut outgoing);
        drop(outgoing);
        if written == Written::Stuck {
            self.retry_later(link);
        }
    }

    fn retry_later(&self, link: &Arc<Link>) {
        let mut state = lock(&self.state);
        if !state.stuck.iter().any(|stuck| Arc::ptr_eq(stuck, link)) {
            state.stuck.push(Arc::clone(link));
            self.pump_wakes.notify_one();
        }
    }

    /// Tells the acceptors what the machine wants.
    fn set_listening(&self, state: &mut State<M>, now: Instant) {
        for Port { endpoint, slot, .. } in &self.ports {
            slot.set_wanted(state.machine.listening(now, *endpoint));
        }
    }

    /// Waits until the acceptors do it: an endpoint refuses dials before its connections are closed, so that whoever
    /// is closed does not come back by an old door.
    fn follow_listening(&self) {
        self.ports.iter().for_each(|port| port.slot.poke());
        self.ports.iter().for_each(|port| port.slot.await_mode());
    }

    /// The machine's word on a dial that the system has accepted.
    pub(super) fn admit(
        self: &Arc<Self>,
        endpoint: EndpointId,
        stream: TcpStream,
    ) -> Result<(), (Listening, TcpStream)> {
        let (link, upstream) = {
            let mut state = lock(&self.state);
            if state.stopping {
                return Ok(());
            }
            let now = clock::now();
            let Ok(conn) = state.machine.accept(now, endpoint) else {
                return Err((state.machine.listening(now, endpoint), stream));
            };
            let security =
                self.ports.iter().find(|port| port.endpoint == endpoint).map(|port| &port.security);
            let link = Arc::new(Link::new(conn, stream, security.unwrap_or(&Security::Plain)));
            state.links.insert(conn, Arc::clone(&link));
            (link, state.machine.upstream())
        };
        let (shared, served) = (Arc::clone(self), Arc::clone(&link));
        match spawn("server-connection", move || shared.serve(&served, upstream)) {
            Ok(thread) => {
                let mut threads = lock(&self.threads);
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            Err(_) => self.end(&link),
        }
        Ok(())
    }

    /// The life of a connection.
    fn serve(self: &Arc<Self>, link: &Arc<Link>, upstream: Option<SocketAddr>) {
        let thread = match upstream.map(|address| self.dial_upstream(link, address)) {
            None => None,
            Some(Ok(thread)) => Some(thread),
            Some(Err(_)) => {
                link.shut(CloseHow::Reset);
                return self.end(link);
            }
        };
        let mut buffer = vec![0; READ_BUFFER];
        let mut to_upstream = BytesMut::new();
        while let Some(length) = link.transport.read(&link.stream, &mut buffer) {
            self.turn(link, |machine, now| {
                machine.handle_bytes(now, link.conn, &buffer[..length]);
                machine.poll_upstream_transmit(link.conn, &mut to_upstream);
            });
            if let Some(mut stream) = link.upstream.get().filter(|_| !to_upstream.is_empty()) {
                // A real server that is gone is noticed by the thread that reads from it.
                let _ = stream.write_all(&to_upstream);
                to_upstream.clear();
            }
        }
        self.end(link);
        if let (Some(stream), Some(thread)) = (link.upstream.get(), thread) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }

    /// The client is gone.
    fn end(&self, link: &Arc<Link>) {
        self.turn(link, |machine, now| machine.handle_disconnect(now, link.conn));
        lock(&self.state).links.remove(&link.conn);
    }

    fn dial_upstream(self: &Arc<Self>, link: &Arc<Link>, address: SocketAddr) -> io::Result<JoinHandle<()>> {
        let stream = TcpStream::connect_timeout(&address, UPSTREAM_DIAL)?;
        stream.set_nodelay(true)?;
        let stream = link.upstream.get_or_init(|| stream).try_clone()?;
        let (shared, link) = (Arc::clone(self), Arc::clone(link));
        spawn("server-upstream", move || {
            let mut buffer = vec![0; READ_BUFFER];
            while let Some(length) = read(&stream, &mut buffer) {
                shared.turn(&link, |machine, now| {
                    machine.handle_upstream_bytes(now, link.conn, &buffer[..length])
                });
            }
            shared.turn(&link, |machine, now| machine.handle_upstream_disconnect(now, link.conn));
        })
    }

    pub(super) fn begin_stop(&self) {
        let links: Vec<Arc<Link>> = {
            let mut state = lock(&self.state);
            state.stopping = true;
            std::mem::take(&mut state.links).into_values().collect()
        };
        self.pump_wakes.notify_all();
        links.iter().for_each(|link| link.shut(CloseHow::Fin));
    }

    pub(super) fn finish_stop(&self) {
        let links = std::mem::take(&mut lock(&self.state).links);
        links.into_values().for_each(|link| link.shut(CloseHow::Fin));
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panic of the thread has been printed; stopping goes on.
            let _ = thread.join();
        }
    }
}

fn close(closed: Vec<(Arc<Link>, CloseHow)>) {
    closed.into_iter().for_each(|(link, how)| link.close(how));
}

pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run)
}
