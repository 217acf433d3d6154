//! The test server for any client in any language: two endpoints, and maintenance commanded from standard input.
//!
//! ```text
//! cargo run -p hitless-conformance --example server -- [--redis HOST:PORT] [--listen HOST:PORT]...
//! ```
//!
//! With `--redis` it fronts that real server, otherwise it holds the data itself. `help` lists the commands.

use std::error::Error;
use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{
    Backend, CloseHow, Detail, EndpointId, EndpointSpec, Moving, Notice, Retires, Server, ServerConfig,
    Target,
};

const HELP: &str = "\
moving FROM TO SECONDS   MOVING from one endpoint to another; closes and retires FROM when the time is over
moving FROM null SECONDS MOVING without a target
migrating SECONDS        MIGRATING to everybody
migrated                 MIGRATED to everybody
failing-over SECONDS     FAILING_OVER to everybody
failed-over              FAILED_OVER to everybody
refuse N [SECONDS]       endpoint N refuses dials
black-hole N [SECONDS]   endpoint N leaves dials unanswered
slow N MILLISECONDS      endpoint N answers late
kill N                   resets the connections of endpoint N
restore N                endpoint N listens again, at its usual pace
status                   connections of each endpoint
quit";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut listen, mut redis) = (Vec::<SocketAddr>::new(), None::<SocketAddr>);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs HOST:PORT"));
        match arg.as_str() {
            "--listen" => listen.push(value()?.parse()?),
            "--redis" => redis = Some(value()?.parse()?),
            _ => return Err(format!("unknown option {arg}").into()),
        }
    }
    if listen.is_empty() {
        listen =
            ["127.0.0.1:6391", "127.0.0.1:6392"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
    }
    let config = ServerConfig::default().with_detail(Detail::Connections);
    match redis {
        Some(address) => serve(Server::in_front_of(config, address), &listen),
        None => serve(Server::new(config), &listen),
    }
}

fn serve<B: Backend + Send + 'static>(
    mut server: Server<B>,
    listen: &[SocketAddr],
) -> Result<(), Box<dyn Error>> {
    let endpoints: Vec<EndpointId> =
        listen.iter().map(|address| server.add_endpoint(EndpointSpec::new(*address))).collect();
    let server = TcpServer::start(server)?;
    for (number, endpoint) in endpoints.iter().enumerate() {
        println!("endpoint {number} at {}", server.address(*endpoint));
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["quit"] => break,
            ["help"] => println!("{HELP}"),
            ["status"] => {
                for (number, endpoint) in endpoints.iter().enumerate() {
                    let (live, opted_in) = server.with(|server, _| {
                        let live = server.connections(*endpoint);
                        (live.len(), live.into_iter().filter(|conn| server.is_opted_in(*conn)).count())
                    });
                    println!("endpoint {number}: {live} connections, {opted_in} with notifications");
                }
            }
            _ => {
                if let Err(error) = command(&server, &endpoints, &words) {
                    println!("{error}; try help");
                }
            }
        }
    }
    Ok(())
}

fn command<B: Backend + Send + 'static>(
    server: &TcpServer<Server<B>>,
    endpoints: &[EndpointId],
    words: &[&str],
) -> Result<(), Box<dyn Error>> {
    match *words {
        ["refuse" | "black-hole", at, ref time @ ..] => {
            let at = endpoint(endpoints, at)?;
            let time = time.first().map(|time| seconds(time)).transpose()?;
            server.with(|server, now| {
                let until = time.map(|time| now + time);
                if words[0] == "refuse" {
                    server.refuse_dials(now, at, until);
                } else {
                    server.black_hole(now, at, until);
                }
            });
        }
        ["slow", at, delay] => {
            let (at, delay) = (endpoint(endpoints, at)?, Duration::from_millis(delay.parse()?));
            server.with(|server, _| server.set_reply_delay(at, delay, None));
        }
        ["kill", at] => {
            let at = endpoint(endpoints, at)?;
            server.with(|server, now| server.kill_all(now, at, CloseHow::Reset));
        }
        ["restore", at] => {
            let at = endpoint(endpoints, at)?;
            server.with(|server, _| server.restore(at));
        }
        _ => return announce(server, endpoints, words),
    }
    Ok(())
}

/// The commands that send notifications.
fn announce<B: Backend + Send + 'static>(
    server: &TcpServer<Server<B>>,
    endpoints: &[EndpointId],
    words: &[&str],
) -> Result<(), Box<dyn Error>> {
    let seq = match *words {
        ["moving", from, to, time] => {
            let from = endpoint(endpoints, from)?;
            let moving = match to {
                "null" => Moving::new(Target::Null, seconds(time)?).retiring(Retires::Never),
                to => Moving::new(Target::Endpoint(endpoint(endpoints, to)?), seconds(time)?),
            };
            server.with(|server, now| server.moving(now, from, moving))
        }
        ["migrating", time] => {
            let notice = Notice::new(seconds(time)?);
            server.with(|server, now| server.migrating(now, notice))
        }
        ["migrated"] => server.with(|server, now| server.migrated(now, Notice::default())),
        ["failing-over", time] => {
            let notice = Notice::new(seconds(time)?);
            server.with(|server, now| server.failing_over(now, notice))
        }
        ["failed-over"] => server.with(|server, now| server.failed_over(now, Notice::default())),
        _ => return Err("no such command".into()),
    };
    println!("sent with id {seq}");
    Ok(())
}

fn endpoint(endpoints: &[EndpointId], number: &str) -> Result<EndpointId, Box<dyn Error>> {
    endpoints.get(number.parse::<usize>()?).copied().ok_or_else(|| "no such endpoint".into())
}

fn seconds(number: &str) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::from_secs(number.parse()?))
}
