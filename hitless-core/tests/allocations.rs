//! How often the client's machine allocates, and how much memory a connection takes that does nothing.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::Bytes;
use hitless_core::cluster::{commands, route, route_request};
use hitless_core::endpoint::{Endpoint, Peer};
use hitless_core::ids::ConnId;
use hitless_core::write_buffer::WriteBuffer;
use hitless_core::{Action, Client, Config, Frame, Pipeline, Request, cmd};

const MILLISECOND: Duration = Duration::from_millis(1);
/// What a connection that does nothing may take.
const IDLE: u64 = 8 * 1024;

#[expect(clippy::disallowed_methods, reason = "virtual time needs an origin")]
fn origin() -> Instant {
    Instant::now()
}

fn ok() -> Frame {
    Frame::Simple(Bytes::from_static(b"OK"))
}

/// A client whose pool is open, and servers that answer at once.
struct World {
    client: Client,
    now: Instant,
    buffer: WriteBuffer,
    dials: Vec<(ConnId, Peer)>,
    written: usize,
    completed: usize,
}

impl World {
    fn new(pool: u32) -> Self {
        let endpoint = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
        let config = Arc::new(Config::builder(endpoint).pool_size(pool).build().expect("valid settings"));
        let now = origin();
        let client = Client::new(now, config, 1);
        let buffer = WriteBuffer::new();
        let mut world = Self { client, now, buffer, dials: Vec::new(), written: 0, completed: 0 };
        world.obey();
        for (conn, address) in std::mem::take(&mut world.dials) {
            world.shake_hands(conn, address);
        }
        assert_eq!(world.client.stats().serving, pool as usize);
        world
    }

    fn shake_hands(&mut self, conn: ConnId, address: Peer) {
        self.client.handle_connected(self.now, conn, address);
        self.obey();
        let hello = Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]);
        self.client.handle_frames(self.now, conn, [hello, ok(), ok(), ok()]);
        self.obey();
    }

    /// Writes and answers whatever there is.
    fn obey(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Connect { conn, target, .. } => self.dials.push((conn, target.address)),
                Action::Flush { conn } => {
                    while self.client.poll_transmit(conn, &mut self.buffer) {}
                    let mut requests = 0;
                    while !self.buffer.is_empty() {
                        let chunk = self.buffer.chunk();
                        requests += chunk.iter().filter(|byte| **byte == b'!').count();
                        self.written += chunk.len();
                        self.buffer.advance(chunk.len());
                    }
                    self.client.handle_frames(self.now, conn, std::iter::repeat_n(ok(), requests));
                }
                Action::Complete { outcome, .. } => {
                    assert!(outcome.is_ok());
                    self.completed += 1;
                }
                _ => {}
            }
        }
    }

    /// `depth` requests at a time, a millisecond apart, as an event loop would do it.
    fn run(&mut self, rounds: usize, depth: usize) {
        let payload = Bytes::from_static(b"!");
        for _ in 0..rounds {
            self.now += MILLISECOND;
            if self.client.poll_timeout().is_some_and(|at| at <= self.now) {
                self.client.handle_timeout(self.now);
            }
            for _ in 0..depth {
                let request = Request::raw(payload.clone(), NonZeroU32::MIN);
                self.client.send(self.now, request).expect("there is room");
            }
            self.obey();
        }
    }
}

#[test]
fn a_command_is_carried_without_an_allocation() {
    for (pool, depth) in [(1, 1), (1, 64), (3, 1), (3, 40)] {
        let mut world = World::new(pool);
        // Beyond the first timeouts, so that what they need is there as well.
        world.run(3_500, depth);
        let before = world.completed;
        let allocations = measure(|| world.run(3_500, depth)).count_total;
        assert_eq!(world.completed - before, 3_500 * depth);
        assert_eq!(allocations, 0, "{} commands on {pool} connections", 3_500 * depth);
    }
}

/// Bytes that are held for each of so many connections.
fn held_by(connections: u32, use_them: impl FnOnce(&mut World)) -> u64 {
    let mut world = None;
    let held = measure(|| {
        let mut fresh = World::new(connections);
        use_them(&mut fresh);
        world = Some(fresh);
    });
    drop(world);
    u64::try_from(held.bytes_current).expect("more is held than before") / u64::from(connections)
}

#[test]
fn a_connection_that_has_done_nothing_takes_little_memory() {
    let held = held_by(1_000, |_| {});
    println!("{held} bytes per connection");
    assert!(held <= IDLE, "{held} bytes per connection");
}

/// What a burst needed is given back when it is over.
#[test]
fn a_connection_that_has_nothing_to_do_any_more_takes_little_memory() {
    let held = held_by(1_000, |world| {
        world.run(1, 100_000);
        world.now += Duration::from_secs(60);
        world.client.handle_timeout(world.now);
        world.obey();
    });
    println!("{held} bytes per connection");
    assert!(held <= IDLE, "{held} bytes per connection");
}

/// The node of a command is found without an allocation, and that a request may name its key makes no other one larger. RULE-311
#[test]
fn the_route_of_a_command_takes_no_memory() {
    let command = |words: &str| {
        let mut words = words.split(' ');
        words.next().map(|name| cmd(name).args(words)).expect("a name")
    };
    let all =
        ["GET k", "get k", "MGET a b", "EVAL s 1 k", "XREAD COUNT 1 STREAMS k 0", "FT.SEARCH i", "DBSIZE"]
            .map(command);
    let request = Pipeline::from(all.clone()).into_request().expect("none is refused").expect("not empty");
    let routes = || {
        all.iter().for_each(|command| _ = std::hint::black_box(route(command)));
        commands(&request).for_each(|command| _ = std::hint::black_box(command));
        std::hint::black_box(route_request(&request));
    };
    assert_eq!(measure(routes).count_total, 0);
    assert!(size_of::<Request>() <= 64, "{} bytes", size_of::<Request>());
}
