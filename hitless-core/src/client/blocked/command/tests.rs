use std::collections::VecDeque;

use proptest::prelude::*;
use resp3_codec::{Frame, cmd};

use super::*;
use crate::tests::{Table, cell};
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn pops(time: &str) -> Command {
    of("BLPOP", &["q", time])
}

fn of(name: &str, arguments: &[&str]) -> Command {
    let command = cmd(name).args(arguments.iter().copied());
    let blocker = Blocker::of(&command).unwrap();
    Command::new(epoch(), command.into_bytes(), blocker, Timeout::Configured, false)
}

fn item() -> Replies {
    Replies::from_iter([Frame::Array(vec![Frame::bulk("q"), Frame::bulk("item")])])
}

fn unblocked() -> Replies {
    Replies::from_iter([Frame::error("UNBLOCKED client unblocked via CLIENT UNBLOCK")])
}

fn sent_away() -> Replies {
    Replies::from_iter([Frame::error(
        "UNBLOCKED force unblock from blocking operation, instance state changed",
    )])
}

fn lost(delivery: Delivery) -> RequestError {
    RequestError::ConnectionLost { cause: crate::error::CloseCause::ByServer, delivery }
}

const STATES: [&str; 12] = [
    "waiting",
    "paused",
    "sent",
    "asking",
    "unblocking",
    "resting",
    "stuck",
    "hit",
    "answered",
    "verifying",
    "dropped, asking",
    "dropped, verifying",
];

fn in_state(name: &str) -> Command {
    let (mut command, now, say) = (pops("20"), epoch(), &mut Vec::new());
    if name == "waiting" {
        return command;
    }
    command.handle_placed(now, None, say);
    match name {
        "paused" => {
            command.handle_outcome(now, Ok(Replies::from_iter([Frame::error("LOADING x")])), true, say)
        }
        "sent" => {}
        "dropped, asking" | "dropped, verifying" => command.handle_dropped(say),
        _ => command.handle_successor(now, say),
    }
    match name {
        "resting" => command.handle_answer(now, Answer::NotYet, say),
        "stuck" => command.handle_answer(now, Answer::Impossible, say),
        "unblocking" | "hit" | "answered" | "verifying" => {
            command.handle_answer(now, Answer::Waits, say);
        }
        _ => {}
    }
    match name {
        "hit" | "answered" | "verifying" => command.handle_answer(now, Answer::Unblocked(true), say),
        _ => {}
    }
    if name == "answered" {
        command.handle_outcome(now, Ok(item()), false, say);
    }
    if name.ends_with("verifying") {
        command.handle_outcome(now, Ok(unblocked()), false, say);
    }
    command
}

type Fact = fn(&mut Command, Instant, &mut Vec<Decision>);

const FACTS: [(&str, Fact); 20] = [
    ("it has a connection", |command, now, say| command.handle_placed(now, None, say)),
    ("there is none for it", |command, _, say| command.handle_refused(lost(Delivery::NotSent), say)),
    ("an element", |command, now, say| command.handle_outcome(now, Ok(item()), false, say)),
    ("nil", |command, now, say| {
        command.handle_outcome(now, Ok(Replies::from_iter([Frame::Null])), false, say)
    }),
    ("-UNBLOCKED", |command, now, say| command.handle_outcome(now, Ok(unblocked()), false, say)),
    ("-UNBLOCKED force", |command, now, say| command.handle_outcome(now, Ok(sent_away()), false, say)),
    ("its connection is lost", |command, now, say| {
        command.handle_outcome(now, Err(lost(Delivery::Unknown)), false, say);
        command.handle_probed(now, Err(lost(Delivery::Unknown)), say);
    }),
    ("a successor is ready", |command, now, say| command.handle_successor(now, say)),
    ("it waits there", |command, now, say| command.handle_answer(now, Answer::Waits, say)),
    ("it does not wait", |command, now, say| command.handle_answer(now, Answer::NotYet, say)),
    ("UNBLOCK has hit", |command, now, say| command.handle_answer(now, Answer::Unblocked(true), say)),
    ("UNBLOCK has hit nothing", |command, now, say| {
        command.handle_answer(now, Answer::Unblocked(false), say)
    }),
    ("no answer in time", |command, now, say| command.handle_answer(now, Answer::Late(3 * SECOND), say)),
    ("an odd answer, or none", |command, now, say| command.handle_answer(now, Answer::Impossible, say)),
    ("a PONG", |command, now, say| command.handle_probed(now, pong(), say)),
    ("an element in place of the PONG", |command, now, say| command.handle_probed(now, Ok(item()), say)),
    ("-UNBLOCKED in place of the PONG", |command, now, say| command.handle_probed(now, Ok(unblocked()), say)),
    ("a refusal in place of the PONG", |command, now, say| command.handle_probed(now, Ok(refusal()), say)),
    ("its caller gives up", |command, _, say| command.handle_dropped(say)),
    ("the client shuts down", |command, _, say| command.handle_shutdown(say)),
];

fn stage_name(command: &Command) -> &'static str {
    match command.stage {
        Stage::Sent(Step::Asking) if command.says_unblocked => "verifying, asking",
        Stage::Sent(Step::Unblocking) if command.says_unblocked => "verifying, unblocking",
        Stage::Sent(Step::Stuck) if command.says_unblocked => "verifying, stuck",
        Stage::Sent(_) if command.says_unblocked => "verifying",
        Stage::Sent(Step::Resting { .. }) if command.was_hit => "hit",
        Stage::Waiting => "waiting",
        Stage::Paused { .. } => "paused",
        Stage::Sent(Step::Nothing) => "sent",
        Stage::Sent(Step::Joining) => "joining",
        Stage::Sent(Step::Asking) => "asking",
        Stage::Sent(Step::Unblocking) => "unblocking",
        Stage::Sent(Step::Resting { .. }) => "resting",
        Stage::Sent(Step::Stuck) => "stuck",
        Stage::Answered { .. } => "answered",
        Stage::MovingOn => "moving on",
        Stage::Over => "over",
    }
}

fn decision_name(decision: &Decision) -> String {
    match decision {
        Decision::Complete(Ok(_)) => "`Complete`".to_owned(),
        Decision::Complete(Err(error)) => format!("`Complete` ({})", error.delivery()),
        Decision::Return { may_stay: true } => "`Return`".to_owned(),
        Decision::Return { may_stay: false } => "`Return`, to be closed".to_owned(),
        other => {
            let text = format!("{other:?}");
            format!("`{}`", text.split([' ', '(']).next().unwrap())
        }
    }
}

/// Every fact in every state of a command. INV-11, INV-21
#[test]
fn table_of_a_command_that_blocks() {
    const LEGEND: &str = "\
Found out by a test, of a BLPOP: what is decided, and the state that follows. `·`: nothing. *hit*: UNBLOCK was answered by 1. *answered*: it has ended on its connection, and UNBLOCK \
or the PING there is not answered. *verifying*: the server says that it was sent away, and has a PING to answer on its connection.";
    let head: Vec<&str> = std::iter::once("").chain(STATES).collect();
    let mut table = Table::new("blocked.md", LEGEND, &head);
    for (fact, happen) in FACTS {
        let mut row = vec![fact.to_owned()];
        for state in STATES {
            let (mut command, mut said) = (in_state(state), Vec::new());
            let before = stage_name(&command);
            happen(&mut command, epoch(), &mut said);
            let said: Vec<String> = said.iter().map(decision_name).collect();
            row.push(cell(&said, before, stage_name(&command)));
        }
        table.row(row);
    }
    table.check();
}

/// The time at the server begins when it is sent first, and what is left is sent the next time. RULE-248
#[test]
fn the_time_that_is_left_is_asked_for() {
    let (mut command, now, mut said) = (pops("2"), epoch(), Vec::new());
    command.handle_placed(now + SECOND, None, &mut said);
    assert_eq!(said, [Decision::Issue(None)]);
    for (after, expected) in
        [(2 * SECOND, Decision::Issue(Some(SECOND))), (3 * SECOND, Decision::CompleteEmpty)]
    {
        command.handle_successor(now + after, &mut said);
        command.handle_answer(now + after, Answer::Waits, &mut said);
        command.handle_answer(now + after, Answer::Unblocked(true), &mut said);
        command.handle_outcome(now + after, Ok(unblocked()), false, &mut said);
        command.handle_probed(now + after, pong(), &mut said);
        said.clear();
        command.handle_placed(now + after, None, &mut said);
        assert_eq!(said[0], expected);
    }
}

/// A server that never shows the command waiting, or whose UNBLOCK always hits nothing, or hits without an end of the command, is asked for some ten seconds once nobody waits, and then
/// the connection is closed. As long as somebody waits there is no such end, nor for a server that could not be asked. RULE-291
#[test]
fn nobody_is_asked_in_vain_for_ever() {
    for (is_dropped, waits, answer, ends) in [
        (true, false, Answer::NotYet, true),
        (true, true, Answer::Unblocked(false), true),
        (true, true, Answer::Unblocked(true), true),
        (true, false, Answer::NotSent, false),
        (true, true, Answer::NotSent, false),
        (false, false, Answer::NotYet, false),
        (false, true, Answer::Unblocked(false), false),
        (false, true, Answer::Unblocked(true), false),
    ] {
        let (mut command, mut now, mut said) = (pops("0"), epoch(), Vec::new());
        command.handle_placed(now, None, &mut said);
        if is_dropped {
            command.handle_dropped(&mut said);
        } else {
            command.handle_successor(now, &mut said);
        }
        let mut questions = 0;
        while std::mem::take(&mut said).last() == Some(&Decision::Ask(Place::Here)) && questions < 500 {
            questions += 1;
            if waits {
                command.handle_answer(now, Answer::Waits, &mut said);
                let is_first = questions == 1;
                let expected =
                    if is_first { vec![Decision::Probe, Decision::Unblock] } else { vec![Decision::Unblock] };
                assert_eq!(std::mem::take(&mut said), expected);
            }
            command.handle_answer(now, answer, &mut said);
            if let Some(at) = command.poll_timeout() {
                now = at;
                command.handle_timeout(now, &mut said);
            } else {
                assert_eq!(said, [Decision::Return { may_stay: false }]);
            }
        }
        let took = now - epoch();
        let case = format!("{is_dropped} {waits} {answer:?}: {questions} questions in {took:?}");
        assert_eq!(command.is_over(), ends, "{case}");
        assert_eq!((9 * SECOND..11 * SECOND).contains(&took), ends, "{case}");
        assert_eq!(questions < 100, ends, "{case}");
    }
}

/// A question that has no answer in time counts as those that fit into that time: a server that is silent is asked for ten seconds too, and not more
/// than one question longer. Whoever waits is not cut off. RULE-172, RULE-291
#[test]
fn a_silent_server_is_asked_again() {
    for (is_dropped, waits, limit) in [
        (true, false, 3_000),
        (true, true, 3_000),
        (true, false, 10),
        (true, false, 60_000),
        (false, true, 3_000),
    ] {
        let (mut command, mut now, mut said) = (pops("0"), epoch(), Vec::new());
        command.handle_placed(now, None, &mut said);
        if is_dropped {
            command.handle_dropped(&mut said);
        } else {
            command.handle_successor(now, &mut said);
        }
        let limit = Duration::from_millis(limit);
        while std::mem::take(&mut said).last() == Some(&Decision::Ask(Place::Here))
            && now < epoch() + 100 * SECOND
        {
            if waits {
                command.handle_answer(now, Answer::Waits, &mut said);
                assert_eq!(said.pop(), Some(Decision::Unblock));
                said.clear();
            }
            now += limit;
            command.handle_answer(now, Answer::Late(limit), &mut said);
            if let Some(at) = command.poll_timeout() {
                now = at;
                command.handle_timeout(now, &mut said);
            }
        }
        let took = now - epoch();
        assert_eq!(command.is_over(), is_dropped, "{limit:?}: {took:?}");
        if is_dropped {
            assert!((9 * SECOND..11 * SECOND + limit).contains(&took), "{limit:?}: {took:?}");
        }
    }
}

/// A command that waits and is about to be called back, because its caller has gone or because a successor is ready; with its decisions so far.
fn called_back(is_dropped: bool) -> (Command, Instant, Vec<Decision>) {
    let (mut command, now, mut said) = (pops("20"), epoch(), Vec::new());
    command.handle_placed(now, None, &mut said);
    if is_dropped {
        command.handle_dropped(&mut said);
    } else {
        command.handle_successor(now, &mut said);
    }
    (command, now, said)
}

/// UNBLOCK that has no answer in time may still be carried out: it must find nobody else there. RULE-172
#[test]
fn a_late_unblock_hits_nobody_else() {
    for is_dropped in [true, false] {
        let (mut command, now, mut said) = called_back(is_dropped);
        command.handle_answer(now, Answer::Waits, &mut said);
        command.handle_answer(now, Answer::Late(SECOND), &mut said);
        said.clear();
        let at = command.poll_timeout().unwrap();
        command.handle_timeout(at, &mut said);
        assert_eq!(std::mem::take(&mut said), [Decision::Ask(Place::Here)]);
        command.handle_outcome(at, Ok(unblocked()), false, &mut said);
        command.handle_probed(at, pong(), &mut said);
        let expected = match is_dropped {
            true => Decision::Return { may_stay: false },
            false => Decision::MoveOn { may_stay: false, is_verified: true },
        };
        assert_eq!(said, [expected]);
    }
}

/// Somebody else sends the command away: its caller is told, and its connection serves nobody before the PONG. What the command takes instead, because the
/// server had held it up, is handed out. RULE-171, RULE-293
#[test]
fn somebody_elses_unblock_is_told_and_proved() {
    let (back, closed) = (Decision::Return { may_stay: true }, Decision::Return { may_stay: false });
    for (outcome, expected) in [
        (pong(), vec![back]),
        (Ok(item()), vec![Decision::Orphan(item()), closed.clone()]),
        (Ok(unblocked()), vec![Decision::Probe]),
        (Err(lost(Delivery::Unknown)), vec![closed]),
    ] {
        for name in ["BLPOP", "XREAD"] {
            let mut command = match name {
                "BLPOP" => pops("0"),
                _ => of("XREAD", &["BLOCK", "0", "STREAMS", "s", "$"]),
            };
            let (now, mut said) = (epoch(), Vec::new());
            command.handle_placed(now, None, &mut said);
            said.clear();
            command.handle_outcome(now, Ok(unblocked()), false, &mut said);
            assert_eq!(std::mem::take(&mut said), [Decision::Complete(Ok(unblocked())), Decision::Probe]);
            command.handle_probed(now, outcome.clone(), &mut said);
            let is_read = |decision: &Decision| name == "XREAD" && matches!(decision, Decision::Orphan(_));
            let expected: Vec<Decision> = expected.iter().filter(|it| !is_read(it)).cloned().collect();
            assert_eq!(said, expected, "{name} {outcome:?}");
        }
    }
}

fn refusal() -> Replies {
    Replies::from_iter([Frame::error("NOPERM this user has no permissions to run the 'ping' command")])
}

fn wrong_type() -> Replies {
    Replies::from_iter([Frame::error("WRONGTYPE Operation against a key holding the wrong kind of value")])
}

/// An element that BLMOVE has taken.
fn bulk_pong() -> Replies {
    Replies::from_iter([Frame::bulk("PONG")])
}

fn pong() -> Outcome {
    Ok(Replies::from_iter([Frame::simple("PONG")]))
}

/// `-UNBLOCKED` of a command that takes elements is no proof before its connection has answered the PING that was written with UNBLOCK. What
/// comes there instead is the command's own reply, since a server before 7.2 runs later what CLIENT PAUSE holds up. RULE-249, RULE-293
#[test]
fn the_proof_is_a_pong_behind_unblocked() {
    let unknown = || Decision::Complete(Err(lost(Delivery::Unknown)));
    let (back, closed) = (Decision::Return { may_stay: true }, Decision::Return { may_stay: false });
    let goes_on = |may_stay| Decision::MoveOn { may_stay, is_verified: true };
    for (outcome, of_dropped, of_wanted) in [
        (pong(), vec![back], vec![goes_on(true)]),
        (
            Ok(item()),
            vec![Decision::Orphan(item()), closed.clone()],
            vec![Decision::Complete(Ok(item())), closed.clone()],
        ),
        (Ok(unblocked()), vec![Decision::Probe], vec![Decision::Probe]),
        (Ok(refusal()), vec![closed.clone()], vec![goes_on(false)]),
        (Ok(sent_away()), vec![closed.clone()], vec![goes_on(false)]),
        (Ok(wrong_type()), vec![closed.clone()], vec![Decision::Complete(Ok(wrong_type())), closed.clone()]),
        (
            Ok(bulk_pong()),
            vec![Decision::Orphan(bulk_pong()), closed.clone()],
            vec![Decision::Complete(Ok(bulk_pong())), closed.clone()],
        ),
        (Err(lost(Delivery::NotSent)), vec![closed.clone()], vec![unknown(), closed.clone()]),
        (Err(lost(Delivery::Unknown)), vec![closed.clone()], vec![unknown(), closed]),
    ] {
        for (is_dropped, expected) in [(true, of_dropped), (false, of_wanted)] {
            // Be the answer to UNBLOCK before it or behind it.
            for hits_late in [false, true] {
                let (mut command, now, mut said) = called_back(is_dropped);
                said.clear();
                command.handle_answer(now, Answer::Waits, &mut said);
                assert_eq!(std::mem::take(&mut said), [Decision::Probe, Decision::Unblock]);
                let hit = |command: &mut Command, said: &mut _| {
                    command.handle_answer(now, Answer::Unblocked(true), said)
                };
                if !hits_late {
                    hit(&mut command, &mut said);
                }
                command.handle_outcome(now, Ok(unblocked()), false, &mut said);
                assert_eq!(said, []);
                command.handle_probed(now, outcome.clone(), &mut said);
                if hits_late {
                    let uses_connection =
                        |it: &Decision| matches!(it, Decision::Return { .. } | Decision::MoveOn { .. });
                    assert!(outcome.is_err() || !said.iter().any(uses_connection), "{said:?}");
                    hit(&mut command, &mut said);
                }
                assert_eq!(said, expected, "{outcome:?} {hits_late}");
            }
        }
    }
}

/// Nobody is told that a command was not sent while the server may still run it. RULE-293
#[test]
fn an_unproved_end_is_unknown() {
    let mut command = of("BLPOP", &["q", "1"]);
    let (now, mut said) = (epoch(), Vec::new());
    command.handle_placed(now, Some(SECOND), &mut said);
    command.handle_successor(now, &mut said);
    command.handle_answer(now, Answer::Waits, &mut said);
    command.handle_outcome(now, Ok(unblocked()), false, &mut said);
    said.clear();
    command.handle_shutdown(&mut said);
    command.handle_timeout(now + 2 * SECOND, &mut said);
    let is_unknown = |error: &RequestError| error.delivery() == Delivery::Unknown;
    assert!(matches!(&said[..], [Decision::Complete(Err(error))] if is_unknown(error)), "{said:?}");
}

/// What has ended waits for the PONG for ten seconds, and then its connection is closed. RULE-293
#[test]
fn a_pong_is_not_awaited_for_ever() {
    let (mut command, now, mut said) = (pops("0"), epoch(), Vec::new());
    command.handle_placed(now, None, &mut said);
    command.handle_dropped(&mut said);
    command.handle_answer(now, Answer::Waits, &mut said);
    command.handle_answer(now, Answer::Unblocked(false), &mut said);
    said.clear();
    command.handle_outcome(now, Ok(item()), false, &mut said);
    assert_eq!(std::mem::take(&mut said), [Decision::Orphan(item())]);
    let at = command.poll_timeout().unwrap();
    assert!((9 * SECOND..11 * SECOND).contains(&(at - now)));
    command.handle_timeout(at, &mut said);
    assert_eq!(said, [Decision::Return { may_stay: false }]);
}

/// A server that is no master any more closes the link: no PONG is awaited there. RULE-249
#[test]
fn a_demotion_needs_no_pong() {
    let (mut command, now, mut said) = (pops("0"), epoch(), Vec::new());
    command.handle_placed(now, None, &mut said);
    command.handle_successor(now, &mut said);
    command.handle_answer(now, Answer::Waits, &mut said);
    command.handle_answer(now, Answer::Unblocked(false), &mut said);
    said.clear();
    command.handle_outcome(now, Ok(sent_away()), false, &mut said);
    assert_eq!(said, [Decision::MoveOn { may_stay: false, is_verified: false }]);
}

/// What waits again behind `-UNBLOCKED` is called back again. RULE-293
#[test]
fn what_waits_again_is_called_back_again() {
    let (mut command, now, mut said) = (pops("20"), epoch(), Vec::new());
    command.handle_placed(now, None, &mut said);
    command.handle_successor(now, &mut said);
    for expected in [vec![Decision::Probe, Decision::Unblock], vec![Decision::Unblock]] {
        said.clear();
        command.handle_answer(now, Answer::Waits, &mut said);
        assert_eq!(said, expected);
        command.handle_answer(now, Answer::Unblocked(true), &mut said);
        match expected.len() {
            2 => command.handle_outcome(now, Ok(unblocked()), false, &mut said),
            _ => command.handle_probed(now, Ok(unblocked()), &mut said),
        }
        said.clear();
        let at = command.poll_timeout().unwrap();
        command.handle_timeout(at, &mut said);
        assert_eq!(said, [Decision::Ask(Place::Here)]);
    }
}

/// One consumer and its server, naively: what was written is read in order on each connection, and nothing is lost by itself.
struct Model {
    command: Command,
    now: Instant,
    /// The connection that the command has: 0, and then those of the successors.
    current: usize,
    has_successor: bool,
    /// What was written to each connection, and what the server has answered there. The helper's is the last one.
    written: Vec<VecDeque<Word>>,
    answered: Vec<VecDeque<Word>>,
    /// What each connection owes replies to, in order, and whether the command awaits them.
    owed: Vec<VecDeque<(Word, bool)>>,
    /// The connection on which the server has it waiting.
    blocked: Option<usize>,
    /// The server holds commands up.
    is_paused: bool,
    /// The connection whose command is held up.
    held: Option<usize>,
    list: u32,
    pushed: u32,
    delivered: u32,
    orphaned: u32,
    unblocks: u32,
    /// How often somebody else has sent it away.
    strangers: u32,
    /// The questions so far. The answer to the last one counts.
    questions: u32,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Pop,
    Ping,
    Pong,
    /// About a connection, and which question it is.
    List(usize, u32),
    Unblock(usize),
    Item,
    Unblocked,
    Listed(bool, u32),
    Hit(bool),
}

const CONNS: usize = 6;

impl Model {
    fn new() -> Self {
        let mut model = Self {
            command: pops("0"),
            now: epoch(),
            current: 0,
            has_successor: false,
            written: vec![VecDeque::new(); CONNS + 1],
            answered: vec![VecDeque::new(); CONNS + 1],
            owed: vec![VecDeque::new(); CONNS + 1],
            blocked: None,
            is_paused: false,
            held: None,
            list: 0,
            pushed: 0,
            delivered: 0,
            orphaned: 0,
            unblocks: 0,
            strangers: 0,
            questions: 0,
            is_over: false,
        };
        model.tell(|command, now, say| command.handle_placed(now, None, say));
        model
    }

    fn tell(&mut self, fact: impl FnOnce(&mut Command, Instant, &mut Vec<Decision>)) {
        let mut said = Vec::new();
        fact(&mut self.command, self.now, &mut said);
        for decision in said {
            self.obey(decision);
        }
    }

    fn obey(&mut self, decision: Decision) {
        assert!(!self.is_over || matches!(decision, Decision::Return { .. }), "{decision:?} behind the end");
        match decision {
            Decision::Issue(_) => self.write(Word::Pop),
            Decision::Ask(Place::Here) => {
                self.questions += 1;
                self.written[CONNS].push_back(Word::List(self.current, self.questions));
            }
            Decision::Probe => self.write(Word::Ping),
            Decision::Unblock => {
                self.unblocks += 1;
                assert_eq!(self.unblocks, 1, "one at a time");
                self.written[CONNS].push_back(Word::Unblock(self.current));
            }
            Decision::MoveOn { may_stay, is_verified } => {
                assert!(self.unblocks == 0 && is_verified, "nothing may be hit any more, nor run");
                if std::mem::take(&mut self.has_successor) {
                    self.current += 1;
                } else if !may_stay {
                    panic!("no refusal in place of the PONG here");
                }
                self.tell(|command, now, say| command.handle_placed(now, None, say));
            }
            Decision::Complete(outcome) => {
                let replies = outcome.unwrap();
                assert!(replies == item() || (self.strangers > 0 && replies == unblocked()), "{replies:?}");
                self.delivered += u32::from(replies == item());
            }
            Decision::Orphan(_) => self.orphaned += 1,
            Decision::Return { may_stay } => {
                let is_clean = self.owed[self.current].is_empty();
                assert!(self.unblocks == 0 && may_stay <= is_clean);
                self.is_over = true;
            }
            Decision::Wait
            | Decision::Join(_)
            | Decision::Leave
            | Decision::TakeOver
            | Decision::Ask(Place::There)
            | Decision::CompleteEmpty => panic!("{decision:?}"),
        }
    }

    fn write(&mut self, word: Word) {
        self.written[self.current].push_back(word);
        self.owed[self.current].push_back((word, true));
    }

    /// The server reads the next of what was written to a connection, unless a command of that waits.
    fn serve(&mut self, conn: usize) {
        if self.blocked == Some(conn) || self.held == Some(conn) {
            return;
        }
        let Some(word) = self.written[conn].pop_front() else { return };
        let answer = match word {
            Word::Pop if self.is_paused => {
                self.held = Some(conn);
                return;
            }
            Word::Pop if self.list > 0 => {
                self.list -= 1;
                Word::Item
            }
            Word::Pop => {
                assert_eq!(self.blocked.replace(conn), None, "it waits in one place");
                return;
            }
            Word::Ping => Word::Pong,
            Word::List(about, question) => Word::Listed(self.blocked.or(self.held) == Some(about), question),
            Word::Unblock(about) => Word::Hit(self.unblock(about)),
            answer => panic!("{answer:?}"),
        };
        self.answered[conn].push_back(answer);
    }

    /// What is held up is not sent away, whatever its server says.
    fn unblock(&mut self, about: usize) -> bool {
        let hits = self.blocked.take_if(|blocked| *blocked == about).is_some() || self.held == Some(about);
        if hits {
            self.answered[about].push_back(Word::Unblocked);
        }
        hits
    }

    /// What awaits this reply, as the connection finds it: a second reply of the command leaves the PING its place, if that was written.
    fn pair(&mut self, conn: usize, reply: Word) -> Option<Word> {
        let owed = &mut self.owed[conn];
        if matches!((owed.front(), reply), (Some((Word::Pop, _)), _) | (_, Word::Pong)) {
            return owed.pop_front().filter(|(_, is_awaited)| *is_awaited).map(|(word, _)| word);
        }
        let at = owed.iter().position(|(_, is_awaited)| *is_awaited)?;
        owed[at].1 = false;
        if self.written[conn].len() >= owed.len() - at {
            self.written[conn].pop_back();
            owed.remove(at);
        }
        Some(Word::Ping)
    }

    /// The client reads the next of what the server has answered on a connection.
    fn read(&mut self, conn: usize) {
        let Some(word) = self.answered[conn].pop_front() else { return };
        let outcome = match word {
            Word::Item => Ok(item()),
            Word::Unblocked => Ok(unblocked()),
            _ => pong(),
        };
        let answer = match word {
            Word::Item | Word::Unblocked | Word::Pong => {
                return match self.pair(conn, word) {
                    Some(Word::Pop) => {
                        self.tell(|command, now, say| command.handle_outcome(now, outcome, false, say))
                    }
                    Some(_) => self.tell(|command, now, say| command.handle_probed(now, outcome, say)),
                    None => {}
                };
            }
            Word::Listed(_, question) if question < self.questions => return,
            Word::Listed(true, _) => Answer::Waits,
            Word::Listed(false, _) => Answer::NotYet,
            Word::Hit(hits) => {
                self.unblocks -= 1;
                Answer::Unblocked(hits)
            }
            word => panic!("{word:?}"),
        };
        self.tell(|command, now, say| command.handle_answer(now, answer, say));
    }

    fn happen(&mut self, what: (u8, usize)) {
        match what {
            (0 | 1, conn) => self.serve([self.current, CONNS][conn % 2]),
            (2 | 3, conn) => self.read([self.current, CONNS][conn % 2]),
            (4, _) => {
                self.pushed += 1;
                match self.blocked.take() {
                    Some(conn) => self.answered[conn].push_back(Word::Item),
                    None => self.list += 1,
                }
            }
            (5, _) if self.current + 1 < CONNS && !self.has_successor => {
                self.has_successor = true;
                self.tell(|command, now, say| command.handle_successor(now, say));
            }
            (7, _) => {
                self.is_paused = !self.is_paused;
                if !self.is_paused
                    && let Some(conn) = self.held.take()
                {
                    self.written[conn].push_front(Word::Pop);
                    self.serve(conn);
                }
            }
            (8, _) => self.strangers += u32::from(self.unblock(self.current)),
            (6, 0) => self.tell(|command, _, say| command.handle_dropped(say)),
            (6, _) => {
                self.now += SECOND;
                self.tell(|command, now, say| command.handle_timeout(now, say));
            }
            _ => {}
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        if self.is_paused {
            self.happen((7, 0));
        }
        for _ in 0..20 {
            for conn in 0..=CONNS {
                self.serve(conn);
                self.read(conn);
            }
            self.happen((6, 1));
        }
    }
}

proptest! {
    /// Whatever comes between what: an element is in the list, with the caller, or handed out, and in one of these places only. UNBLOCK
    /// hits no other command. INV-21, PITFALL-37
    #[test]
    fn no_element_is_lost_or_repeated(happenings in prop::collection::vec((0..9_u8, 0..8_usize), 0..80)) {
        let mut model = Model::new();
        for happening in happenings {
            model.happen(happening);
        }
        model.settle();
        prop_assert_eq!(model.pushed, model.list + model.delivered + model.orphaned);
        prop_assert!(model.delivered + model.orphaned <= 1);
        prop_assert_eq!(model.unblocks, 0);
        if !model.is_over {
            prop_assert!(model.blocked == Some(model.current), "it waits where it should");
        }
    }
}

/// Its time is over while nobody has it: a client says that there is nothing, and that of a node has a server say so, which may not be the one that it
/// was at. RULE-439
#[test]
fn a_node_does_not_say_that_there_is_nothing() {
    for is_node in [false, true] {
        let (mut command, mut said, now) = (pops("2"), Vec::new(), epoch());
        command.asks_last = is_node;
        command.handle_placed(now, None, &mut said);
        command.handle_outcome(now + SECOND, Ok(sent_away()), false, &mut said);
        command.handle_unplaced(&mut said);
        assert_eq!(said.pop(), Some(Decision::Wait));
        assert_eq!(command.poll_timeout(), (!is_node).then_some(now + 2 * SECOND));
        let later = now + 3 * SECOND;
        command.handle_timeout(later, &mut said);
        assert_eq!(said.contains(&Decision::CompleteEmpty), !is_node);
        if is_node {
            command.handle_placed(later, None, &mut said);
            assert_eq!(said.pop(), Some(Decision::Issue(Some(LAST_QUESTION))));
        }
    }
}
