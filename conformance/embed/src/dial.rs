//! One attempt: connect, let redis-rs do its handshake, opt in. Then the task that dialled drives the connection.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use hitless_core::Config;
use hitless_core::endpoint::Peer;
use hitless_core::error::{CloseCause, ConnectError, SystemError};
use hitless_core::handshake::{ErrorCode, HandshakeError, OptIn, Probe, Stage, opt_in_command};
use hitless_core::ids::ConnId;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, Value};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::push::frame;
use crate::runtime::Task;
use crate::shared::{DialFailure, Shared};

/// Looks a name up, for [`Directive::Resolve`](hitless_core::Directive::Resolve).
pub(crate) async fn resolve(shared: Weak<Shared>, conn: ConnId, host: Arc<str>) {
    let Some(shared) = shared.upgrade() else { return };
    let answer: Result<Vec<IpAddr>, _> = match shared.names.resolve(&host, 0).await {
        Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
        Err(error) => Err(SystemError::from(io::Error::other(error.to_string()))),
    };
    shared.tell(|coordinator, now| coordinator.handle_resolved(now, conn, answer));
}

/// The life of a connection, for [`Directive::Dial`](hitless_core::Directive::Dial).
pub(crate) async fn dial(shared: Weak<Shared>, conn: ConnId, address: Peer, probe: Probe) {
    match connect(&shared, conn, address, probe).await {
        Ok(driver) => {
            driver.ended().await;
            if let Some(shared) = shared.upgrade() {
                shared.handle_closed(conn);
            }
        }
        Err(failure) => {
            if let Some(shared) = shared.upgrade() {
                shared.handle_dial_failed(conn, failure);
            }
        }
    }
}

/// Asks for notifications on a connection that serves, for [`Directive::OptIn`](hitless_core::Directive::OptIn).
pub(crate) async fn opt_in_again(
    shared: Weak<Shared>,
    conn: ConnId,
    peer: Peer,
    mut connection: MultiplexedConnection,
) {
    let Some(config) = shared.upgrade().map(|shared| Arc::clone(&shared.config)) else { return };
    let Ok(answer) = opt_in(&config, &peer, &mut connection).await else { return };
    if let Some(shared) = shared.upgrade() {
        shared.tell(|coordinator, now| coordinator.handle_opt_in(now, conn, answer));
    }
}

/// Connects, and reports each step. Returns the task that reads and writes.
async fn connect(
    shared: &Weak<Shared>,
    conn: ConnId,
    address: Peer,
    probe: Probe,
) -> Result<Task, DialFailure> {
    let Peer::Tcp(address) = address else {
        return Err(cannot_connect(&io::ErrorKind::Unsupported.into()));
    };
    let stream = TcpStream::connect(address).await.map_err(|error| cannot_connect(&error))?;
    // A socket without it works as well, only slower.
    let _ = stream.set_nodelay(true);
    let peer: Peer = stream.peer_addr().map_err(|error| cannot_connect(&error))?.into();
    let pool = shared.upgrade().ok_or_else(shut_down)?;
    pool.tell(|coordinator, now| coordinator.handle_connected(now, conn, peer.clone()));

    let config = Arc::clone(&pool.config);
    drop(pool);
    let pushes = {
        let shared = Weak::clone(shared);
        move |push| {
            let shared = shared.upgrade().ok_or(())?;
            shared.handle_push(conn, push);
            Ok::<(), ()>(())
        }
    };
    // The coordinator watches the time of the attempt, and the pool that of each request.
    let settings = AsyncConnectionConfig::new().set_response_timeout(None);
    // There are no pushes in RESP2, and redis-rs refuses to look for them.
    let settings = if speaks_resp3(probe) { settings.set_push_sender(pushes) } else { settings };
    let identity = identity(&config, probe);
    let connecting = MultiplexedConnection::new_with_config(&identity, stream, settings);
    let (mut connection, driver) = connecting.await.map_err(|error| handshake_failed(&error, probe))?;
    let driver = Task::spawn(&Handle::current(), driver);

    let opt_in = match probe {
        Probe::OptIn => opt_in(&config, &peer, &mut connection).await?,
        Probe::Skip => OptIn::NotAsked,
        // Something has refused more: a command has to be answered.
        _ => match connection.send_packed_command(&redis::cmd("PING")).await {
            Ok(_) => OptIn::NotAsked,
            Err(error) => return Err(handshake_failed(&error, probe)),
        },
    };
    shared.upgrade().ok_or_else(shut_down)?.handle_ready(conn, connection, opt_in);
    Ok(driver)
}

/// Asks for notifications, and says what became of it.
async fn opt_in(
    config: &Config,
    peer: &Peer,
    connection: &mut MultiplexedConnection,
) -> Result<OptIn, DialFailure> {
    let [name, words @ ..] = opt_in_command(config, peer);
    let command = redis::cmd(name).arg(&words).to_owned();
    match connection.send_packed_command(&command).await {
        Ok(Value::ServerError(error)) => {
            let text = frame(Value::ServerError(error));
            Ok(text.as_bytes().map_or(OptIn::Accepted, OptIn::of_error))
        }
        Ok(_) => Ok(OptIn::Accepted),
        Err(_) => Err(DialFailure::LostAtOptIn),
    }
}

fn speaks_resp3(probe: Probe) -> bool {
    probe <= Probe::Skip
}

/// What redis-rs is to say in its handshake.
fn identity(config: &Config, probe: Probe) -> RedisConnectionInfo {
    let protocol = if speaks_resp3(probe) { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
    let identity = RedisConnectionInfo::default().set_protocol(protocol).set_db(config.database().into());
    let identity = match config.client_info() && probe != Probe::Bare {
        true => identity.set_lib_name("hitless-embed", env!("CARGO_PKG_VERSION")),
        false => identity.set_skip_set_lib_name(),
    };
    let Some(credentials) = config.credentials() else { return identity };
    let identity = identity.set_password(credentials.password.expose());
    match &credentials.user {
        Some(user) => identity.set_username(user),
        None => identity,
    }
}

fn cannot_connect(error: &io::Error) -> DialFailure {
    DialFailure::Error(ConnectError::Connect(error.into()))
}

fn shut_down() -> DialFailure {
    DialFailure::Error(ConnectError::ShutDown)
}

/// What redis-rs says of its handshake. Its texts stay here, because servers repeat passwords in them.
fn handshake_failed(error: &RedisError, probe: Probe) -> DialFailure {
    if error.is_io_error() && probe == Probe::OptIn {
        return DialFailure::LostAtOptIn;
    }
    DialFailure::Error(if error.is_io_error() {
        ConnectError::LostInHandshake(CloseCause::ByServer)
    } else {
        let code = ErrorCode::of(error.code().unwrap_or_default().as_bytes());
        ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Hello, code })
    })
}
