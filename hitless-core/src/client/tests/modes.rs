//! The mode table: every mode, with every answer of a server to the handshake, and every moment at which the link may die.

use resp3_codec::{Decoder, Limits};

use super::*;
use crate::config::{ConfigError, Protocol};
use crate::handshake::{HandshakeError, Stage};
use crate::mode::{Mode, Support};
use crate::tests::Table;

/// The answers of a server to HELLO. The first one proves RESP3.
const HELLO: [&str; 12] = [
    "proto 3",
    "ERR unknown command 'HELLO'",
    "NOPROTO unsupported protocol version",
    "WRONGPASS invalid username-password pair",
    "NOAUTH HELLO must be called with the client already authenticated",
    "NOPERM this user has no permissions",
    "LOADING Redis is loading the dataset in memory",
    "ERR max number of clients reached",
    "proto 2",
    "ERR syntax error",
    "unsupported command 'HELLO'",
    "nonsense",
];

/// The answers of a server to the opt-in.
const OPT_IN: [&str; 6] = [
    "OK",
    "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
    "NOPERM this user has no permissions",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script",
    "ERR something else",
];

/// The reply before which the link dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dies {
    Never,
    First,
    /// The reply to the opt-in, if it was sent.
    Second,
    /// The reply behind it.
    Third,
}

const DIES: [Dies; 4] = [Dies::Never, Dies::First, Dies::Second, Dies::Third];

#[derive(Clone, Copy)]
struct Server {
    hello: &'static str,
    opt_in: &'static str,
    dies: Dies,
}

const WELL: Server = Server { hello: HELLO[0], opt_in: OPT_IN[0], dies: Dies::Never };

/// An answer in a word or two.
fn short(text: &str) -> &str {
    let end = text.find(" '").unwrap_or(text.len());
    match text[..end].strip_prefix("ERR ") {
        Some(words) => words,
        None if text.starts_with("proto") || text.starts_with("unsupported") => &text[..end],
        None => text.split(' ').next().unwrap_or(text),
    }
}

fn reply(text: &'static str) -> Frame {
    match text {
        "proto 3" => Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]),
        "proto 2" => Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(2))]),
        "nonsense" => Frame::Integer(3),
        "OK" => Frame::Simple(Bytes::from_static(b"OK")),
        error => Frame::error(error),
    }
}

/// A client with one connection, while it connects.
struct Bench {
    world: World,
    open: Option<ConnId>,
    notified: Option<bool>,
    error: Option<ConnectError>,
}

impl Bench {
    fn new(mode: Mode, protocol: Protocol) -> Result<Self, ConfigError> {
        let maintenance = maintenance::Config::builder().mode(mode).build()?;
        let builder = Config::builder(Endpoint::parse("127.0.0.1:1", 6379)?).pool_size(1);
        let world = World::of(builder.protocol(protocol).maintenance(maintenance).build()?);
        Ok(Self { world, open: None, notified: None, error: None })
    }

    fn obey(&mut self) {
        self.world.obey();
        self.open.take_if(|open| self.world.closed.contains(open));
        for event in self.world.events.drain(..) {
            match event {
                Event::ConnectionReady { notified, .. } => self.notified = Some(notified),
                Event::ConnectFailed { error, .. } => self.error = Some(error),
                _ => {}
            }
        }
    }

    /// Dials once. True if the handshake opts in.
    fn dial(&mut self, server: Server) -> bool {
        let (conn, address) = self.world.dials.remove(0);
        (self.open, self.notified, self.error) = (Some(conn), None, None);
        self.world.client.handle_connected(self.world.now, conn, address);
        self.obey();
        let (mut asks, mut replies) = (false, 0);
        let mut decoder = Decoder::new(Limits::default());
        loop {
            let mut buffer = WriteBuffer::new();
            if self.open.is_none() || !self.world.client.poll_transmit(conn, &mut buffer) {
                return asks;
            }
            decoder.buffer().extend_from_slice(buffer.chunk());
            let mut commands = Vec::new();
            while let Some(command) = decoder.poll_frame().unwrap() {
                let words = command.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
                commands.push(words.collect::<Vec<_>>());
            }
            let is_opt_in =
                |command: &[String]| command.get(1).is_some_and(|word| word == "MAINT_NOTIFICATIONS");
            asks |= commands.iter().any(|command| is_opt_in(command));
            for command in commands {
                if self.open.is_none() {
                    return asks;
                }
                if DIES[1..].get(replies) == Some(&server.dies) {
                    self.world.client.handle_closed(self.world.now, conn, CloseCause::ByServer);
                    self.obey();
                    return asks;
                }
                replies += 1;
                let said = match command[0].as_str() {
                    "HELLO" => reply(server.hello),
                    _ if is_opt_in(&command) => reply(server.opt_in),
                    _ => reply("OK"),
                };
                self.world.client.handle_frames(self.world.now, conn, [said]);
                self.obey();
            }
        }
    }

    fn known(&self) -> &'static str {
        match self.world.client.coordinator.support(&peer(1)) {
            Support::Unknown => "unknown",
            Support::Active => "active",
            Support::Refused { .. } => "refused",
        }
    }

    fn wait_for_a_dial(&mut self) -> Duration {
        let start = self.world.now;
        while self.world.dials.is_empty() {
            assert!(self.world.next_timeout(start + 3_600 * SECOND), "it dials again");
        }
        self.obey();
        self.world.now - start
    }
}

/// The result of a dial.
#[derive(Clone, Debug, PartialEq)]
struct Cells {
    result: String,
    told: &'static str,
    known: &'static str,
    next: String,
    known_after: &'static str,
}

/// Connects to `server`, and then to a server that accepts everything.
fn run(mode: Mode, protocol: Protocol, server: Server) -> Cells {
    let mut bench = match Bench::new(mode, protocol) {
        Err(error) => {
            assert_eq!(error, ConfigError::EnabledNeedsResp3);
            let result = "construction error".to_owned();
            return Cells { result, told: "–", known: "–", next: "–".to_owned(), known_after: "–" };
        }
        Ok(bench) => bench,
    };
    bench.dial(server);
    let (told, result) = match (bench.notified, bench.error.take()) {
        (Some(notified), None) => {
            let resp3 = protocol == Protocol::Resp3 && server.hello == HELLO[0];
            (if notified { "yes" } else { "no" }, if resp3 { "RESP3" } else { "RESP2" }.to_owned())
        }
        (None, Some(error)) => ("–", error_in_short(&error)),
        other => panic!("{other:?}"),
    };
    let known = bench.known();
    if bench.world.client.is_terminated() {
        let next = "none: the start fails".to_owned();
        return Cells { result, told, known, next, known_after: "–" };
    }
    if let Some(conn) = bench.open.filter(|_| bench.notified.is_some()) {
        bench.world.client.handle_closed(bench.world.now, conn, CloseCause::ByServer);
        bench.obey();
    }
    let is_up = bench.notified.is_some();
    let pause = bench.wait_for_a_dial();
    let asks = if bench.dial(WELL) { "asks" } else { "does not ask" };
    let next = match (is_up, pause.is_zero()) {
        (true, _) => asks.to_owned(),
        (false, true) => format!("at once, {asks}"),
        (false, false) => format!("after a pause, {asks}"),
    };
    assert!(bench.notified.is_some(), "a server that knows everything is connected");
    Cells { result, told, known, next, known_after: bench.known() }
}

fn error_in_short(error: &ConnectError) -> String {
    match error {
        ConnectError::LostInHandshake(_) => "error: link lost".to_owned(),
        ConnectError::Handshake(HandshakeError::Refused { stage, code }) => {
            format!("error: {} {code}", if *stage == Stage::OptIn { "opt-in" } else { "HELLO" })
        }
        ConnectError::Handshake(HandshakeError::MaintenanceRefused { code }) => {
            format!("error: no notifications ({code})")
        }
        ConnectError::Handshake(HandshakeError::HelloRefused { .. }) => {
            "error: HELLO not accepted".to_owned()
        }
        ConnectError::Handshake(HandshakeError::UnexpectedReply { .. }) => "error: nonsense".to_owned(),
        ConnectError::Handshake(HandshakeError::TooManyClients) => "error: too many clients".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// The cells that the specified table has.
fn check(mode: Mode, protocol: Protocol, server: Server, cells: &Cells) {
    let Server { hello, opt_in, dies } = server;
    let is_error = cells.result.starts_with("error");
    let is_refused = opt_in.contains("unknown subcommand") || opt_in.starts_with("NOPERM");
    let is_old = hello.contains("unknown command") || hello.starts_with("NOPROTO");
    let row = format!("{mode} {protocol:?} {hello} {opt_in} {dies:?}: {cells:?}");
    match (protocol, hello, dies, mode) {
        (Protocol::Resp2, _, _, Mode::Enabled) => assert_eq!(cells.result, "construction error", "{row}"),
        (_, _, Dies::First, _) => assert!(is_error && cells.known == "unknown", "{row}"),
        (Protocol::Resp2, ..) => {
            assert_eq!((cells.result.as_str(), cells.told, cells.known), ("RESP2", "no", "unknown"), "{row}");
        }
        (_, _, Dies::Never, Mode::Enabled) if is_old => assert!(is_error, "{row}"),
        (_, _, Dies::Never, Mode::Disabled | Mode::Auto) if is_old => {
            assert_eq!((cells.result.as_str(), cells.told), ("RESP2", "no"), "{row}");
        }
        (_, "proto 3", Dies::Never, Mode::Disabled) => {
            let nothing = (cells.told, cells.known, cells.next.as_str()) == ("no", "unknown", "does not ask");
            assert!(cells.result == "RESP3" && nothing, "{row}");
        }
        (_, "proto 3", Dies::Never, Mode::Auto | Mode::Enabled) if opt_in == "OK" => {
            assert_eq!((cells.result.as_str(), cells.told, cells.known), ("RESP3", "yes", "active"), "{row}");
        }
        (_, "proto 3", Dies::Never, Mode::Auto) => {
            let (known, next) = if is_refused { ("refused", "does not ask") } else { ("unknown", "asks") };
            assert_eq!((cells.result.as_str(), cells.told), ("RESP3", "no"), "{row}");
            assert_eq!((cells.known, cells.next.as_str()), (known, next), "{row}");
        }
        (_, "proto 3", Dies::Never, Mode::Enabled) => {
            let next = if is_refused { "none: the start fails" } else { "after a pause, asks" };
            assert!(is_error && cells.next == next, "{row}");
        }
        (_, "proto 3", Dies::Second, Mode::Auto) => {
            assert!(is_error && cells.next == "at once, does not ask", "{row}");
            assert_eq!(cells.known_after, "refused", "{row}");
        }
        (_, "proto 3", _, _) => assert!(is_error, "{row}"),
        // It proves neither RESP3 nor an old server.
        _ => assert!(is_error && cells.known == "unknown", "{row}"),
    }
}

/// Each cell agrees with the specified table, and is written down. INV-17, PITFALL-20, PITFALL-21, RULE-02, RULE-04,
/// RULE-09, RULE-10, RULE-11, RULE-12, RULE-13, RULE-14
#[test]
fn table_of_modes() {
    const LEGEND: &str = "\
Found out by a test that drives a client through every combination. *Known* is what is known of the address afterwards; *next dial* \
is that of the next connection, to a server that knows everything, and *then known* what is known after it. Where several answers \
give the same, they are one row. A client that has been up pauses where the start of one fails.";
    let head = ["the server", "mode", "connected", "told", "known", "next dial", "then known"];
    let mut table = Table::new("modes.md", LEGEND, &head);
    let mut situations: Vec<(String, Protocol, Vec<Server>)> = Vec::new();
    let all_opt_ins =
        |hello, dies| OPT_IN.iter().map(move |opt_in| Server { hello, opt_in, dies }).collect::<Vec<_>>();
    for (name, dies) in
        [("RESP2 is configured", Dies::Never), ("RESP2 is configured, the link dies", Dies::First)]
    {
        let any = HELLO.iter().flat_map(|hello| all_opt_ins(hello, dies)).collect();
        situations.push((name.to_owned(), Protocol::Resp2, any));
    }
    let any = HELLO.iter().flat_map(|hello| all_opt_ins(hello, Dies::First)).collect();
    situations.push(("the link dies before HELLO's reply".to_owned(), Protocol::Resp3, any));
    for hello in &HELLO[1..] {
        situations.push((
            format!("HELLO: {}", short(hello)),
            Protocol::Resp3,
            all_opt_ins(hello, Dies::Never),
        ));
        if hello.contains("unknown command") || hello.starts_with("NOPROTO") {
            let servers = [all_opt_ins(hello, Dies::Second), all_opt_ins(hello, Dies::Third)].concat();
            situations.push((
                format!("HELLO: {}; then the link dies", short(hello)),
                Protocol::Resp3,
                servers,
            ));
        }
    }
    for opt_in in OPT_IN {
        let server = Server { opt_in, ..WELL };
        situations.push((format!("opt-in: {}", short(opt_in)), Protocol::Resp3, vec![server]));
    }
    let servers = all_opt_ins(HELLO[0], Dies::Second);
    situations.push(("the link dies before the opt-in's reply".to_owned(), Protocol::Resp3, servers));
    let servers = all_opt_ins(HELLO[0], Dies::Third);
    let (refused, others) = servers.into_iter().partition::<Vec<_>, _>(|server| {
        server.opt_in.contains("unknown sub") || server.opt_in.starts_with("NOPERM")
    });
    let (accepted, unclear) = others.into_iter().partition::<Vec<_>, _>(|server| server.opt_in == "OK");
    for (name, servers) in
        [("OK", accepted), ("refused", refused), ("LOADING, BUSY or another error", unclear)]
    {
        situations.push((format!("opt-in: {name}; then the link dies"), Protocol::Resp3, servers));
    }
    for (name, protocol, servers) in situations {
        for mode in Mode::ALL {
            let mut one: Option<Cells> = None;
            for server in &servers {
                let mut cells = run(mode, protocol, *server);
                check(mode, protocol, *server, &cells);
                if server.dies == Dies::Third && server.hello == HELLO[0] {
                    // The rows of the single answers say with which code.
                    let end = cells
                        .result
                        .find(" (")
                        .or_else(|| Some(cells.result.find("opt-in")? + "opt-in".len()));
                    cells.result.truncate(end.unwrap_or(cells.result.len()));
                }
                let same = one.get_or_insert_with(|| cells.clone());
                assert_eq!(*same, cells, "{mode}: {name}: {} {}", server.hello, server.opt_in);
            }
            let Cells { result, told, known, next, known_after } = one.unwrap();
            let name = if mode == Mode::ALL[0] { name.clone() } else { String::new() };
            let (mode, told, known) = (mode.to_string(), told.to_owned(), known.to_owned());
            table.row([name, mode, result, told, known, next, known_after.to_owned()]);
        }
    }
    table.check();
}
