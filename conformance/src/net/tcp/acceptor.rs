//! One endpoint: a listener that really refuses, and really comes back at the same port.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::super::lock;
use super::shared::{Shared, spawn};
use crate::server::{EndpointId, Listening, ServerMachine};

const BACKLOG: i32 = 1024;
/// Longest wait for the thread of an endpoint to do what it was told.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the thread of an endpoint is to do, and does.
#[derive(Debug)]
pub(super) struct Slot {
    address: SocketAddr,
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Debug)]
struct Orders {
    wanted: Listening,
    current: Listening,
    /// Whether there is a listener to be woken.
    listens: bool,
    /// Our own dials, which only wake the listener.
    pokes: Vec<SocketAddr>,
    stopping: bool,
}

/// Binds an endpoint; it listens at once.
pub(super) fn bind(address: SocketAddr) -> io::Result<(Arc<Slot>, TcpListener, SocketAddr)> {
    let refused =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen at {address}: {error}"));
    let socket = reserve(address).map_err(refused)?;
    socket.listen(BACKLOG).map_err(refused)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    let orders = Orders {
        wanted: Listening::Accepting,
        current: Listening::Accepting,
        listens: true,
        pokes: Vec::new(),
        stopping: false,
    };
    Ok((Arc::new(Slot { address, orders: Mutex::new(orders), changed: Condvar::new() }), listener, address))
}

/// A socket that holds the port without listening: dials are refused, and nobody else gets the port.
fn reserve(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Slot {
    pub(super) fn set_wanted(&self, wanted: Listening) {
        lock(&self.orders).wanted = wanted;
    }

    /// Wakes the thread if it has something to change.
    pub(super) fn poke(&self) {
        // The lock is held while dialling: the thread looks the dial up once it has it.
        let mut orders = lock(&self.orders);
        if orders.wanted == orders.current && !orders.stopping {
            return;
        }
        if orders.listens {
            // A dial that fails found no listener, or one that is awake.
            if let Ok(stream) = TcpStream::connect_timeout(&self.address, PATIENCE) {
                orders.pokes.extend(stream.local_addr());
            }
        }
        self.changed.notify_all();
    }

    /// Waits until the endpoint does what it was told.
    pub(super) fn await_mode(&self) {
        let orders = lock(&self.orders);
        let waited = self.changed.wait_timeout_while(orders, PATIENCE, |orders| {
            orders.wanted != orders.current && !orders.stopping
        });
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn stop(&self) {
        lock(&self.orders).stopping = true;
        self.poke();
    }
}

/// The thread of an endpoint.
#[derive(Debug)]
pub(super) struct Acceptor {
    slot: Arc<Slot>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    pub(super) fn start<M: ServerMachine + Send + 'static>(
        shared: Arc<Shared<M>>,
        endpoint: EndpointId,
        slot: Arc<Slot>,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let port = Port { shared, endpoint, slot: Arc::clone(&slot), unanswered: Vec::new() };
        Ok(Self { slot, thread: spawn("server-endpoint", move || port.run(listener))? })
    }

    pub(super) fn stop(self) {
        self.slot.stop();
        // A panic of the thread has been printed; stopping goes on.
        let _ = self.thread.join();
    }
}

struct Port<M: ServerMachine + Send + 'static> {
    shared: Arc<Shared<M>>,
    endpoint: EndpointId,
    slot: Arc<Slot>,
    /// Dials that the system accepted and that are left without an answer.
    unanswered: Vec<TcpStream>,
}

impl<M: ServerMachine + Send + 'static> Port<M> {
    fn run(mut self, mut listener: TcpListener) {
        loop {
            let mut orders = lock(&self.slot.orders);
            if orders.stopping {
                return;
            }
            if orders.wanted == Listening::Refusing {
                drop(orders);
                let Some(again) = self.refuse(listener) else { return };
                listener = again;
                continue;
            }
            let answers = orders.wanted == Listening::Accepting;
            orders.current = orders.wanted;
            self.slot.changed.notify_all();
            drop(orders);
            if answers {
                self.answer_late();
            }
            match listener.accept() {
                Ok((stream, peer)) if !self.is_poke(peer) => self.admit(stream),
                Ok(_) => {}
                // That of one dial, or a lack of descriptors that the end of other connections cures.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Closes the listener, keeps the port, and listens again when that is wanted; none at the end.
    fn refuse(&mut self, listener: TcpListener) -> Option<TcpListener> {
        let mut orders = lock(&self.slot.orders);
        drop(listener);
        let socket = reserve_again(self.slot.address);
        orders.listens = false;
        orders.current = Listening::Refusing;
        orders.pokes.clear();
        self.slot.changed.notify_all();
        let waited = self
            .slot
            .changed
            .wait_while(orders, |orders| orders.wanted == Listening::Refusing && !orders.stopping);
        let mut orders = waited.unwrap_or_else(PoisonError::into_inner);
        if orders.stopping {
            return None;
        }
        socket.listen(BACKLOG).expect("a socket that is bound can listen");
        orders.listens = true;
        Some(TcpListener::from(socket))
    }

    fn is_poke(&self, peer: SocketAddr) -> bool {
        let mut orders = lock(&self.slot.orders);
        let at = orders.pokes.iter().position(|poke| *poke == peer);
        at.map(|at| orders.pokes.swap_remove(at)).is_some()
    }

    fn admit(&mut self, stream: TcpStream) {
        match self.shared.admit(self.endpoint, stream) {
            Ok(()) => {}
            Err((Listening::BlackHole, stream)) => self.unanswered.push(stream),
            Err((Listening::Refusing | Listening::Accepting, stream)) => {
                // As near to a refusal as it gets for a dial that the system has accepted.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
    }

    /// The black hole is over: those who still wait are answered, as a repeated SYN would be.
    fn answer_late(&mut self) {
        for stream in std::mem::take(&mut self.unanswered) {
            if still_there(&stream) {
                self.admit(stream);
            }
        }
    }
}

/// The port was ours a moment ago; a dial of somebody else can have it as its source for another moment.
fn reserve_again(address: SocketAddr) -> Socket {
    for _ in 0..100 {
        match reserve(address) {
            Ok(socket) => return socket,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    reserve(address).expect("the port of an endpoint comes back")
}

fn still_there(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let there = match stream.peek(&mut [0]) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    there && stream.set_nonblocking(false).is_ok()
}
