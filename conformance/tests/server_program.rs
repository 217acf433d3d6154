//! The test server as a program, as somebody starts it who tests a client in another language.

mod server_client;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use hitless_conformance::clock;
use resp3_codec::{Frame, cmd};
use server_client::TestClient;

/// The program, which ends with this.
struct Program {
    child: Child,
    commands: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hitless-server"))
            .args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was built with this test");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { commands: child.stdin.take(), output, child }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// Where an endpoint is, from the line that tells it.
    fn address(&mut self) -> SocketAddr {
        let line = self.line();
        line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("it ends with an address")
    }

    fn command(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("its input is open");
        writeln!(commands, "{command}").expect("it reads");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With `--cluster` the endpoints are nodes, whose slots move as they are told to.
#[test]
fn slots_move_from_node_to_node() {
    let mut program = Program::start(&["--cluster"]);
    let [first, second] = [program.address(), program.address()];
    let mut client = TestClient::dial(first);
    client.opt_in();
    // The slot of `bar` is 5061.
    assert_eq!(client.call(cmd("SET").arg("bar").arg("x")), Frame::simple("OK"));
    program.command("slots-migrating 0 5000-5100");
    assert_eq!(program.line(), "sent with id 1");
    assert!(matches!(client.frame(), Frame::Push(words) if words[0] == Frame::bulk("SMIGRATING")));
    program.command("slots-migrated 0 1 5000-5100");
    program.line();
    assert!(matches!(client.frame(), Frame::Push(words) if words[0] == Frame::bulk("SMIGRATED")));
    assert_eq!(client.call(cmd("GET").arg("bar")), Frame::error(format!("MOVED 5061 {second}")));
    program.command("open 5061 0");
    program.command("carry bar");
    program.command("give 5061,x 0");
    assert!(program.line().starts_with("\"5061,x\" are no slots: "));
    let mut other = TestClient::dial(second);
    assert_eq!(other.call(cmd("GET").arg("bar")), Frame::error(format!("ASK 5061 {first}")));
}

/// RULE-160
#[test]
fn a_move_is_commanded_from_standard_input() {
    let mut program = Program::start(&[]);
    let [from, to] = [program.address(), program.address()];
    let mut client = TestClient::dial(from);
    client.opt_in();
    program.command("moving 0 1 1");
    let told = client.frame();
    let target = Frame::bulk(to.to_string());
    assert!(matches!(&told, Frame::Push(words) if words.last() == Some(&target)), "{told:?}");
    assert_eq!(program.line(), "sent with id 1");
    client.expect_end();
    assert_eq!(TestClient::dial(to).call(cmd("PING")), Frame::simple("PONG"));
    program.command("moving 0 9 1");
    assert_eq!(program.line(), "\"9\" is no endpoint; try help");
    program.command("read-only 1");
    program.command("status");
    program.line();
    program.line();
    assert!(TestClient::dial(to).call(cmd("SET").arg("k").arg("v")).is_error());
    program.command("answer 1 CLIENT SETINFO: ERR no such thing");
    program.command("hang-up 1 HELLO");
    program.command("moving");
    assert_eq!(program.line(), "no such command; try help");
    let mut other = TestClient::dial(to);
    let info = cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("x");
    assert_eq!(other.call(info), Frame::error("ERR no such thing"));
    other.send(cmd("HELLO").arg(3));
    other.expect_end();
    program.command("quit");
    assert!(program.child.wait().expect("it is ours").success());
}

/// A node that has been left has nobody to tell of another move. RULE-160
#[test]
fn a_retired_endpoint_announces_no_move() {
    let mut program = Program::start(&[]);
    let [from, _] = [program.address(), program.address()];
    let mut client = TestClient::dial(from);
    client.opt_in();
    program.command("moving 0 1 1");
    assert_eq!(program.line(), "sent with id 1");
    client.frame();
    client.expect_end();
    program.command("moving 0 1 1");
    assert_eq!(program.line(), "nobody is at endpoint 0, which refuses dials: restore it first; try help");
    program.command("restore 0");
    program.command("moving 0 1 1");
    let told = program.line();
    assert!(told.starts_with("sent with id "), "{told}");
}

/// Somebody else has the port: the error says which one. RULE-160
#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("the system picks a free one");
    let taken = (taken.local_addr().expect("it is bound").to_string(), taken);
    let mut server = Command::new(env!("CARGO_BIN_EXE_hitless-server"));
    let output = server.args(["--listen", &taken.0, "--for", "60"]).output().expect("it runs");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success());
    assert!(text.contains(&format!("cannot listen at {}: ", taken.0)), "{text}");
}

/// Whoever starts it without a standard input, as a service of a test run is started, finds it serving until its time is
/// over. RULE-160
#[test]
fn it_outlives_its_input_and_ends_when_its_time_is_over() {
    let began = clock::now();
    let mut program = Program::start(&["--for", "3"]);
    drop(program.commands.take());
    let address = program.address();
    assert_eq!(TestClient::dial(address).call(cmd("PING")), Frame::simple("PONG"));
    assert!(program.child.wait().expect("it is ours").success());
    assert!(clock::now() - began >= Duration::from_secs(3));
}

#[test]
fn help_names_the_options_and_the_commands() {
    let output = Command::new(env!("CARGO_BIN_EXE_hitless-server")).arg("--help").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    for word in ["--listen", "--redis", "--for", "moving FROM TO SECONDS", "quit"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
