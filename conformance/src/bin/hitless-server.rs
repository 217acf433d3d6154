//! The test server for any client in any language: endpoints over one data set, and maintenance commanded from standard input.

use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hitless_conformance::clock;
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{
    Backend, CloseHow, Condition, Dataset, Detail, EndpointId, EndpointSpec, Fault, Listening, Moving,
    Notice, Recipients, Retires, Rule, Server, ServerConfig, ServerMachine as _, Target, Upstream,
};
use hitless_core::cluster::SlotSet;
use resp3_codec::Frame;

/// Lines of commands that are read before they are carried out.
const READ_AHEAD: usize = 16;
/// How long a SMIGRATING is told to those who come later, if no SMIGRATED ends it.
const OPEN_ENDED: Duration = Duration::from_secs(3600);

const COMMANDS: &str = "\
Commands on standard input (N, FROM and TO are numbers of endpoints, in the order of --listen):
  moving FROM TO SECONDS    MOVING from one endpoint to another; closes and retires FROM when the time is over
  moving FROM null SECONDS  MOVING without a target
  migrating SECONDS         MIGRATING to everybody
  migrated                  MIGRATED to everybody
  failing-over SECONDS      FAILING_OVER to everybody
  failed-over               FAILED_OVER to everybody
  read-only N               endpoint N refuses writes: -READONLY
  loading N                 endpoint N refuses what touches data: -LOADING
  master-down N             endpoint N refuses what touches data: -MASTERDOWN
  paused N                  endpoint N holds up BLPOP and BRPOP, as before Redis 7.2
  serving N                 endpoint N serves again (these five without --redis)
  refuse N [SECONDS]        endpoint N refuses dials
  black-hole N [SECONDS]    endpoint N leaves dials unanswered
  slow N MILLISECONDS       endpoint N answers late
  close-after N MILLISECONDS  endpoint N closes connections so long after it has accepted them
  attributes N              endpoint N sends attributes with everything, in RESP3
  hang-up N COMMAND         endpoint N closes connections at that command, such as HELLO or CLIENT SETINFO
  answer N COMMAND: ERROR   endpoint N answers that command with that error
  obey                      every command is executed again
  kill N                    resets the connections of endpoint N
  restore N                 endpoint N listens again, at its usual pace
  give SLOTS N              node N serves these slots from now on, such as 1,7-9; nobody is told (from here on with --cluster)
  open SLOTS N              these slots are on the move to node N: its owner migrates them, it imports them
  carry KEY                 that key of a slot on the move is at the new node
  close SLOTS               slots on the move are the new node's
  slots-migrating N SLOTS   SMIGRATING to the clients of node N
  slots-migrated FROM TO SLOTS  gives the slots to TO, and SMIGRATED to everybody
  replica N OF              node N copies node OF, which has its slots from now on
  promote N                 replica N and its primary change places
  down | up                 -CLUSTERDOWN to whatever has a key, and no more
  status                    connections of each endpoint
  help                      this list
  quit                      ends the server
The end of standard input does not end the server: --for, quit or a signal does.";

/// A Redis server that goes through maintenance on command. Point any client at it.
#[derive(Parser)]
#[command(name = "hitless-server", after_help = COMMANDS)]
struct Args {
    /// An endpoint; may be given several times. Port 0 lets the system pick one [default: 127.0.0.1:6391 and 127.0.0.1:6392].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<SocketAddr>,
    /// Front this real redis-server instead of holding the data itself: its data and answers, our maintenance.
    #[arg(long, value_name = "HOST:PORT")]
    redis: Option<SocketAddr>,
    /// Make the endpoints nodes of a cluster, which share the slots evenly.
    #[arg(long, conflicts_with = "redis")]
    cluster: bool,
    /// End after so many seconds, such as 0.5 or 600. Otherwise `quit` or a signal ends it.
    #[arg(long = "for", value_name = "SECONDS", value_parser = span)]
    time: Option<Duration>,
}

fn main() -> ExitCode {
    let Args { mut listen, redis, cluster, time } = Args::parse();
    if listen.is_empty() {
        listen = [6391, 6392].map(|port| SocketAddr::from(([127, 0, 0, 1], port))).to_vec();
    }
    let config = ServerConfig::default().with_detail(Detail::Connections);
    let result = match redis {
        Some(address) => serve(Server::<Upstream>::in_front_of(config, address), &listen, cluster, time),
        None => serve(Server::new(config), &listen, cluster, time),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is told to end, or its time is over.
fn serve<B: Clustered>(
    mut server: Server<B>,
    listen: &[SocketAddr],
    cluster: bool,
    time: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let ends_at = time.map(|time| clock::now() + time);
    let endpoints: Vec<EndpointId> =
        listen.iter().map(|address| server.add_endpoint(EndpointSpec::new(*address))).collect();
    if cluster {
        B::form_cluster(&mut server, &endpoints);
    }
    let server = TcpServer::start(server)?;
    for (number, endpoint) in endpoints.iter().enumerate() {
        say(format_args!("endpoint {number} at {}", server.address(*endpoint)));
    }
    let (sender, lines) = sync_channel(READ_AHEAD);
    // Nobody waits for it: it may be reading when the time is over.
    thread::Builder::new().name("commands".to_owned()).spawn(move || read_commands(&sender))?;
    while let Some(line) = next_line(&lines, ends_at) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["quit"] => break,
            ["help"] => say(format_args!("{COMMANDS}")),
            ["status"] => status(&server, &endpoints),
            _ => {
                let done = match cluster {
                    true => change_cluster(&server, &endpoints, &words),
                    false => Ok(false),
                };
                let done =
                    done.and_then(|done| if done { Ok(()) } else { command(&server, &endpoints, &words) });
                if let Err(error) = done {
                    say(format_args!("{error}; try help"));
                }
            }
        }
    }
    Ok(())
}

/// Reads commands until there are none, and then keeps the sender: the end of the input is not the end of the server.
fn read_commands(sender: &SyncSender<String>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
    loop {
        thread::park();
    }
}

/// The next command; none when the time is over.
fn next_line(lines: &Receiver<String>, ends_at: Option<Instant>) -> Option<String> {
    let Some(ends_at) = ends_at else { return lines.recv().ok() };
    lines.recv_timeout(ends_at.saturating_duration_since(clock::now())).ok()
}

/// Prints a line at once. Whoever started the server may have stopped reading; it serves all the same.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn status<B: Backend + Send + 'static>(server: &TcpServer<Server<B>>, endpoints: &[EndpointId]) {
    for (number, endpoint) in endpoints.iter().enumerate() {
        let (live, opted_in) = server.with(|server, _| {
            let live = server.connections(*endpoint);
            (live.len(), live.into_iter().filter(|conn| server.is_opted_in(*conn)).count())
        });
        say(format_args!("endpoint {number}: {live} connections, {opted_in} with notifications"));
    }
}

/// The commands that change how an endpoint answers dials.
fn command<B: Backend + Send + 'static>(
    server: &TcpServer<Server<B>>,
    endpoints: &[EndpointId],
    words: &[&str],
) -> Result<(), Box<dyn Error>> {
    match *words {
        ["refuse" | "black-hole", at, ref time @ ..] => {
            let at = endpoint(endpoints, at)?;
            let time = time.first().map(|time| span(time)).transpose()?;
            server.with(|server, now| {
                let until = time.map(|time| now + time);
                if words[0] == "refuse" {
                    server.refuse_dials(now, at, until);
                } else {
                    server.black_hole(now, at, until);
                }
            });
        }
        ["restore", at] => {
            let at = endpoint(endpoints, at)?;
            server.with(|server, _| server.restore(at));
        }
        ["kill", at] => {
            let at = endpoint(endpoints, at)?;
            server.with(|server, now| server.kill_all(now, at, CloseHow::Reset));
        }
        ["close-after", at, life] => {
            let (at, life) = (endpoint(endpoints, at)?, Duration::from_millis(life.parse()?));
            server.with(|server, _| server.close_after(at, life, None));
        }
        _ => return change(server, endpoints, words),
    }
    Ok(())
}

/// The commands that change what an endpoint answers.
fn change<B: Backend + Send + 'static>(
    server: &TcpServer<Server<B>>,
    endpoints: &[EndpointId],
    words: &[&str],
) -> Result<(), Box<dyn Error>> {
    match *words {
        ["slow", at, delay] => {
            let (at, delay) = (endpoint(endpoints, at)?, Duration::from_millis(delay.parse()?));
            server.with(|server, _| server.set_reply_delay(at, delay, None));
        }
        ["attributes", at] => {
            let at = endpoint(endpoints, at)?;
            server.with(|server, _| server.add_attributes(at, None));
        }
        ["hang-up", at, ref command @ ..] if !command.is_empty() => {
            let fault = Fault::CloseUnexecuted(CloseHow::Fin);
            let rule = Rule::new(fault).always().at(endpoint(endpoints, at)?).on(&command.join(" "));
            server.with(|server, _| server.add_rule(rule));
        }
        ["answer", at, ref told @ ..] => {
            let told = told.join(" ");
            let (command, error) = told.split_once(": ").ok_or("a command, a colon and an error")?;
            let fault = Fault::Refuse(Frame::error(error.to_owned()));
            let rule = Rule::new(fault).always().at(endpoint(endpoints, at)?).on(command);
            server.with(|server, _| server.add_rule(rule));
        }
        ["obey"] => server.with(|server, _| server.clear_rules()),
        [word, at] => match condition(word) {
            Some(condition) => {
                let at = endpoint(endpoints, at)?;
                server.with(|server, now| server.set_condition(now, at, condition));
            }
            None => return announce(server, endpoints, words),
        },
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
            let (from, time) = (endpoint(endpoints, from)?, span(time)?);
            let moving = match to {
                same if endpoint(endpoints, same) == Ok(from) => {
                    return Err("FROM and TO are the same".into());
                }
                "null" => Moving::new(Target::Null, time).retiring(Retires::Never),
                to => Moving::new(Target::Endpoint(endpoint(endpoints, to)?), time),
            };
            let seq = server.with(|server, now| {
                let is_left = server.listening(now, from) == Listening::Refusing;
                let has_nobody = is_left && server.connections(from).is_empty();
                (!has_nobody).then(|| server.moving(now, from, moving))
            });
            seq.ok_or_else(|| {
                format!("nobody is at endpoint {}, which refuses dials: restore it first", words[1])
            })?
        }
        ["migrating", time] => {
            let notice = Notice::new(span(time)?);
            server.with(|server, now| server.migrating(now, notice))
        }
        ["migrated"] => server.with(|server, now| server.migrated(now, Notice::default())),
        ["failing-over", time] => {
            let notice = Notice::new(span(time)?);
            server.with(|server, now| server.failing_over(now, notice))
        }
        ["failed-over"] => server.with(|server, now| server.failed_over(now, Notice::default())),
        _ => return Err("no such command".into()),
    };
    say(format_args!("sent with id {seq}"));
    Ok(())
}

/// What can be a cluster: the embedded data set. A real server is what it is.
trait Clustered: Backend + Send + Sized + 'static {
    fn form_cluster(_: &mut Server<Self>, _: &[EndpointId]) {}

    /// Changes the map.
    fn change(_: &mut Server<Self>, _: Instant, _: &MapChange) {}
}

impl Clustered for Upstream {}

impl Clustered for Dataset {
    fn form_cluster(server: &mut Server<Self>, nodes: &[EndpointId]) {
        server.form_cluster(nodes);
    }

    fn change(server: &mut Server<Self>, now: Instant, change: &MapChange) {
        match change {
            MapChange::Give(slots, node) => server.assign_slots(now, slots.iter().copied(), *node),
            MapChange::Open(slots, node) => server.open_slots(now, slots.iter().copied(), *node),
            MapChange::Carry(key) => server.carry_key(key.as_bytes()),
            MapChange::Close(slots) => server.close_slots(now, slots.iter().copied()),
            MapChange::Replica(node, primary) => server.add_replica(*node, *primary),
            MapChange::Promote(node) => server.promote(now, *node),
            MapChange::Down(is_down) => server.set_cluster_down(now, *is_down),
        }
    }
}

/// A change of the map of a cluster.
enum MapChange {
    Give(Vec<u16>, EndpointId),
    Open(Vec<u16>, EndpointId),
    Carry(String),
    Close(Vec<u16>),
    Replica(EndpointId, EndpointId),
    Promote(EndpointId),
    Down(bool),
}

/// The commands of a cluster. False if it is none of them.
fn change_cluster<B: Clustered>(
    server: &TcpServer<Server<B>>,
    endpoints: &[EndpointId],
    words: &[&str],
) -> Result<bool, Box<dyn Error>> {
    let change = match *words {
        ["give", slots, to] => MapChange::Give(ranges(slots)?, endpoint(endpoints, to)?),
        ["open", slots, to] => MapChange::Open(ranges(slots)?, endpoint(endpoints, to)?),
        ["carry", key] => MapChange::Carry(key.to_owned()),
        ["close", slots] => MapChange::Close(ranges(slots)?),
        ["replica", node, of] => MapChange::Replica(endpoint(endpoints, node)?, endpoint(endpoints, of)?),
        ["promote", node] => MapChange::Promote(endpoint(endpoints, node)?),
        ["down"] => MapChange::Down(true),
        ["up"] => MapChange::Down(false),
        ["slots-migrating", node, slots] => {
            ranges(slots)?;
            let node = endpoint(endpoints, node)?;
            let notice = Notice::of_slots(slots, OPEN_ENDED).told_to(Recipients::At(node));
            let seq = server.with(|server, now| server.slots_migrating(now, notice));
            say(format_args!("sent with id {seq}"));
            return Ok(true);
        }
        ["slots-migrated", from, to, slots] => {
            let (from, to) = (endpoint(endpoints, from)?, endpoint(endpoints, to)?);
            let change = MapChange::Give(ranges(slots)?, to);
            let seq = server.with(|server, now| {
                B::change(server, now, &change);
                server.slots_migrated(now, from, to, Notice::of_slots(slots, Duration::ZERO))
            });
            say(format_args!("sent with id {seq}"));
            return Ok(true);
        }
        _ => return Ok(false),
    };
    server.with(|server, now| B::change(server, now, &change));
    Ok(true)
}

/// The slots of `1,7-9`.
fn ranges(text: &str) -> Result<Vec<u16>, String> {
    let slots = SlotSet::parse(text).map_err(|error| format!("{text:?} are no slots: {error}"))?;
    Ok(slots.ranges().iter().flat_map(|range| range.start()..=range.end()).collect())
}

/// The state of the data that a command asks for.
fn condition(word: &str) -> Option<Condition> {
    match word {
        "read-only" => Some(Condition::ReadOnly),
        "loading" => Some(Condition::Loading),
        "master-down" => Some(Condition::MasterDown),
        "paused" => Some(Condition::Paused),
        "serving" => Some(Condition::Serving),
        _ => None,
    }
}

fn endpoint(endpoints: &[EndpointId], number: &str) -> Result<EndpointId, String> {
    let at: Option<usize> = number.parse().ok();
    at.and_then(|at| endpoints.get(at)).copied().ok_or_else(|| format!("{number:?} is no endpoint"))
}

/// Seconds, with or without a fraction.
fn span(seconds: &str) -> Result<Duration, String> {
    let time = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("{seconds:?} is no number of seconds"))
}
