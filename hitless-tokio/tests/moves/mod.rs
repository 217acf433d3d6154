//! A real `redis-server` behind two endpoints between which everything moves there and back, one move a second, while the client is used
//! in all ways at once.

mod users;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use hitless_conformance::net::certificates;
use hitless_conformance::net::front::Front;
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{
    Closes, Detail, EndpointId, EndpointSpec, Moving, Recipients, Retires, Server, ServerConfig,
    ServerMachine, Target,
};
use hitless_conformance::world::Encryption;

use self::users::Load;
use crate::block_on;
use crate::hitless::driver::Timer as _;
use crate::hitless::{Adapter, Client, CloseCause, Event, Events, Mode, Peer, Runtime, Tls, maintenance};

const SECOND: Duration = Duration::from_secs(1);
const MOVES: u32 = 20;
/// From one MOVING to the next.
const APART: Duration = SECOND;
/// The time that each MOVING declares: moves overlap.
const DECLARED: Duration = Duration::from_secs(5);
/// How long anything else may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// INV-01, INV-03, INV-05, INV-18, INV-19, INV-21
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn nobody_notices_twenty_moves() {
    block_on(move_under_load(Encryption::None, None));
}

/// INV-01, INV-03, INV-05, INV-18, INV-19, INV-21
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn nobody_notices_twenty_moves_over_tls() {
    let (encryption, trust) = certificates::certify([&["127.0.0.1"][..]; 2]);
    block_on(move_under_load(encryption, Some(trust)));
}

/// Moves a client that is used in all ways, there and back, whoever has not followed yet. Nobody sees an error, what the server has counted is what was acknowledged, each element and
/// entry is taken once, each message is received once and in order, and no connection is left at a node until that closes it: when the
/// time that it has declared is over, though it may be in service again.
async fn move_under_load(encryption: Encryption, trust: Option<Tls>) {
    let (redis, front) = start(encryption);
    let nodes: [EndpointId; 2] = front.with(|server, _| server.endpoints()).try_into().unwrap();
    let direct = Client::builder(&format!("redis://{}", redis.address())).unwrap();
    let direct = direct.command_timeout(PATIENCE).connect().await.unwrap();
    let (client, events) = connect(&front, nodes[0], trust).await;
    let mut watched = client.events();
    let load = Load::start(&client, &direct).await;
    let began = Adapter.now();
    for number in 0..MOVES {
        let [from, to] = if number % 2 == 0 { nodes } else { [nodes[1], nodes[0]] };
        sleep_until(began + APART * number).await;
        // A MOVING that nobody hears is none.
        let here = Peer::from(front.address(from));
        until("one has arrived", &client, &mut watched, |connections| connections.contains_key(&here)).await;
        announce(&front, from, to);
    }
    let last = Peer::from(front.address(nodes[MOVES as usize % 2]));
    until("all have arrived", &client, &mut watched, |connections| connections.keys().eq([&last])).await;
    within(PATIENCE, "the load ends", load.finish(&direct)).await;
    within(PATIENCE, "the client ends", client.shutdown(SECOND)).await;
    judge_moves(events).await;
}

fn start(encryption: Encryption) -> (RedisProcess, Front) {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(Path::new(&program), &[]).unwrap();
    let mut server =
        Server::in_front_of(ServerConfig::default().with_detail(Detail::Connections), redis.address());
    for _ in 0..2 {
        server.add_endpoint(EndpointSpec::loopback());
    }
    (redis, TcpServer::start_as(server, encryption).unwrap())
}

async fn connect(front: &Front, node: EndpointId, trust: Option<Tls>) -> (Client, Events) {
    let maintenance = maintenance::Config::builder().mode(Mode::Enabled).build().unwrap();
    let builder = Client::builder(&format!("redis://{}", front.address(node))).unwrap();
    let builder = builder.maintenance(maintenance).subscription_capacity(1 << 20).command_timeout(PATIENCE);
    let builder = builder.event_capacity(1 << 20);
    let builder = if let Some(trust) = trust { builder.tls(trust) } else { builder };
    let events = builder.events();
    (builder.connect().await.unwrap(), events)
}

/// Tells those who are at `from`, and when the time is over closes what is left of them. Those who come back meanwhile are served.
fn announce(front: &Front, from: EndpointId, to: EndpointId) {
    front.with(|server, now| {
        let told = Recipients::Only(server.connections(from));
        let moving = Moving::new(Target::Endpoint(to), DECLARED).told_to(told);
        server.moving(now, from, moving.closing(Closes::Recipients).retiring(Retires::Never));
    });
}

/// Every move has begun, has taken all connections along, and has left none to be closed.
async fn judge_moves(mut events: Events) {
    let mut started = 0;
    while let Some(event) = events.next().await {
        match event.expect("no event is missed") {
            Event::MoveStarted { source, target, .. } => {
                let is_renewal = target.and_then(|target| target.peer()) == Some(source);
                started += u32::from(!is_renewal);
            }
            Event::MoveFinished { stayed, .. } => assert_eq!(stayed, 0),
            Event::ConnectionClosed { cause, .. } => {
                assert!(matches!(cause, CloseCause::ByClient | CloseCause::ShutDown), "{cause}");
            }
            Event::Orphaned { command } => panic!("nobody has given {command} up"),
            _ => {}
        }
    }
    assert_eq!(started, MOVES);
}

/// Waits for events until this holds for the numbers of connections, by address.
async fn until(
    what: &str,
    client: &Client,
    events: &mut Events,
    holds: impl Fn(&BTreeMap<Peer, u32>) -> bool,
) {
    within(PATIENCE, what, async {
        while !holds(&client.stats().coordinator.connections) {
            // It is no matter which: the state is looked at, whatever was missed.
            let _ = events.next().await.expect("the client goes on");
        }
    })
    .await;
}

/// Time that a user of the client takes for itself: the rate of a load, or thought between a read and a write. Events are awaited as such,
/// and no check depends on how long this takes.
async fn sleep(time: Duration) {
    sleep_until(Adapter.now() + time).await;
}

async fn sleep_until(at: Instant) {
    let mut timer = Adapter.timer();
    timer.reset(at);
    std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
}

/// What `future` comes to. Fails if that takes too long.
async fn within<T>(time: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut limit = pin!(sleep(time));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending => limit.as_mut().poll(cx).map(|()| panic!("{what}: not within {time:?}")),
        ready => ready,
    })
    .await
}
