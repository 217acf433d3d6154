//! The commands that wait at their server until there is something to take: which they are, and how long they wait.
//!
//! Source: the flag `blocking` and the syntax of each command in Redis 7 (`COMMAND INFO`, `COMMAND DOCS`).

use std::time::Duration;

use super::{Verdict, Words, verdict};

/// How long a command asks its server to wait before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Blocking {
    For(Duration),
    ForEver,
}

impl Blocking {
    /// Both, one behind the other.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::For(one), Self::For(other)) => Self::For(one.saturating_add(other)),
            (Self::ForEver, _) | (_, Self::ForEver) => Self::ForEver,
        }
    }
}

/// `limit`, and besides it as long as the server was asked to wait; `None` is for ever.
pub(crate) fn beyond(blocking: Option<Blocking>, limit: Option<Duration>) -> Option<Duration> {
    match blocking {
        None => limit,
        Some(Blocking::For(time)) => limit.map(|limit| limit.saturating_add(time)),
        Some(Blocking::ForEver) => None,
    }
}

/// A command that waits for elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Blocker {
    /// Its name, as CLIENT LIST shows it but for the case.
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// How long it waits; `None` if the server will refuse what stands there.
    pub(crate) time: Option<Blocking>,
    /// It asks for what comes from now on (`XREAD .. $`): what comes while it is not under way is missed.
    pub(crate) is_from_now: bool,
    /// The place of the word that says so; `None` if there is none.
    place: Option<usize>,
    unit: Unit,
}

/// What is gone when the reply of a blocking command is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Takes {
    /// An element, or who has it: the command must not run twice, and its reply must not be lost.
    Elements,
    /// Nothing: it only reads.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Seconds,
    Milliseconds,
}

impl Blocker {
    /// What `command` is, if it waits for elements.
    pub(crate) fn of(command: &impl Words) -> Option<Self> {
        use Takes::{Elements, Nothing};
        use Unit::{Milliseconds, Seconds};
        let Verdict::Refused { command: name, .. } = verdict(command) else { return None };
        let last = || command.words().count().checked_sub(1).filter(|place| *place > 0);
        let (name, takes, place, unit) = match name {
            "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH" | "BZPOPMIN" | "BZPOPMAX" => {
                (name, Elements, last(), Seconds)
            }
            "BLMPOP" | "BZMPOP" => (name, Elements, Some(1), Seconds),
            "XREADGROUP BLOCK" => ("XREADGROUP", Elements, block_value(command), Milliseconds),
            "XREAD BLOCK" => ("XREAD", Nothing, block_value(command), Milliseconds),
            _ => return None,
        };
        let time = place.and_then(|place| time(command, place, unit));
        let is_from_now = takes == Nothing && command.words().any(|word| word == b"$");
        Some(Self { name, takes, time, is_from_now, place, unit })
    }

    /// The place of the word that says how long to wait, and what it is to be so that the server waits for `left`: rounded up, and never
    /// 0, which would be for ever.
    pub(crate) fn word_for(&self, left: Duration) -> Option<(usize, String)> {
        let millis = left.as_nanos().div_ceil(1_000_000).max(1);
        let word = match self.unit {
            Unit::Milliseconds => millis.to_string(),
            Unit::Seconds => format!("{}.{:03}", millis / 1000, millis % 1000),
        };
        Some((self.place?, word))
    }
}

/// How long `command` may block, if it does. The server refuses at once a time that is no number.
pub(crate) fn blocking(command: &impl Words) -> Option<Blocking> {
    match verdict(command) {
        Verdict::Refused { command: "WAIT" | "WAITAOF", .. } => {
            time(command, command.words().count() - 1, Unit::Milliseconds)
        }
        Verdict::Refused { .. } => Blocker::of(command)?.time,
        Verdict::ReadOnly | Verdict::MayWrite => None,
    }
}

/// The place of the value of the option BLOCK of an XREAD or XREADGROUP, if it has that. Options stand before STREAMS. What follows that are keys and ids, and
/// what follows an option is its value: a stream, a group or a consumer may be called `block`.
pub(super) fn block_value(command: &impl Words) -> Option<usize> {
    let mut arguments = command.words().enumerate().skip(1);
    while let Some((place, argument)) = arguments.next() {
        let values = match argument.to_ascii_uppercase().as_slice() {
            b"BLOCK" => return Some(place + 1),
            b"STREAMS" => return None,
            b"GROUP" => 2,
            b"COUNT" | b"CLAIM" => 1,
            // NOACK, or a word that the server refuses.
            _ => 0,
        };
        arguments.by_ref().take(values).for_each(drop);
    }
    None
}

fn time(command: &impl Words, place: usize, unit: Unit) -> Option<Blocking> {
    let word = str::from_utf8(command.words().nth(place)?).ok()?;
    let decimal = word.parse::<f64>().ok();
    let seconds = match unit {
        Unit::Seconds => decimal.or_else(|| hexadecimal(word))?,
        Unit::Milliseconds => decimal? / 1000.0,
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(Duration::ZERO) => Some(Blocking::ForEver),
        Ok(time) => Some(Blocking::For(time)),
        Err(_) => None,
    }
}

/// A number such as `0x1.8p3`: the server reads seconds by `strtold`, which takes these too.
fn hexadecimal(word: &str) -> Option<f64> {
    let (sign, unsigned) = match word.strip_prefix('-') {
        Some(unsigned) => (-1.0, unsigned),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let number = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let (digits, exponent) = match number.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse().ok()?),
        None => (number, 0_i32),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(sign * value * 2_f64.powi(exponent.saturating_sub(places)))
}

#[cfg(test)]
mod tests {
    use resp3_codec::{Command, cmd};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of_words(words: &str) -> Command {
        let mut words = words.split(' ');
        cmd(words.next().unwrap()).args(words)
    }

    /// Each command that blocks says for how long, wherever it says so. RULE-210
    #[test]
    fn the_time_of_a_command_that_blocks_is_known() {
        let seconds = |seconds| Some(Blocking::For(Duration::from_secs_f64(seconds)));
        for (words, expected) in [
            ("BLPOP a b 2", seconds(2.0)),
            ("brpop a 0.5", seconds(0.5)),
            ("BLMOVE a b LEFT RIGHT 3", seconds(3.0)),
            ("BRPOPLPUSH a b 3", seconds(3.0)),
            ("BZPOPMIN z 1", seconds(1.0)),
            ("BZPOPMAX z 0", Some(Blocking::ForEver)),
            ("BLMPOP 7 1 q LEFT", seconds(7.0)),
            ("BZMPOP 0 1 z MIN", Some(Blocking::ForEver)),
            ("WAIT 1 1500", seconds(1.5)),
            ("WAITAOF 1 0 0", Some(Blocking::ForEver)),
            ("XREAD COUNT 1 BLOCK 250 STREAMS s $", seconds(0.25)),
            ("XREADGROUP GROUP g block block 0 STREAMS s >", Some(Blocking::ForEver)),
            ("XREAD STREAMS block 5", None),
            ("BLPOP q x", None),
            ("BLPOP q -1", None),
            ("BLPOP", None),
            ("WAIT", None),
            ("XREAD BLOCK", None),
            ("SUBSCRIBE 5", None),
            ("GET 5", None),
        ] {
            assert_eq!(blocking(&of_words(words)), expected, "{words}");
        }
    }

    /// Redis 7.0 waits for as long, or refuses. RULE-210
    #[test]
    fn a_time_may_be_hexadecimal() {
        for (word, expected) in [
            ("0x8", Some(8.0)),
            ("0X1P+3", Some(8.0)),
            ("+0x.8p4", Some(8.0)),
            ("0x1e", Some(30.0)),
            ("0x3.p-1", Some(1.5)),
            ("0x1.8", Some(1.5)),
            ("-0x1", None),
            ("0x", None),
            ("0x.", None),
            ("0x1p", None),
            ("0xg", None),
            ("0x1p5000", None),
        ] {
            let expected = expected.map(|seconds| Blocking::For(Duration::from_secs_f64(seconds)));
            assert_eq!(blocking(&of_words(&format!("BLPOP q {word}"))), expected, "{word}");
        }
        assert_eq!(blocking(&of_words("BLPOP q -0x0")), Some(Blocking::ForEver));
        assert_eq!(blocking(&of_words("XREAD BLOCK 0x8 STREAMS s $")), None, "milliseconds are an integer");
    }

    /// The time that is left replaces the word that said how long to wait: rounded up, and never 0, which would be for ever. RULE-248
    #[test]
    fn the_time_that_is_left_is_rounded_up() {
        let (half, none) = (SECOND / 2, Duration::ZERO);
        for (words, left, expected) in [
            ("BLPOP a b 2", half, (3, "0.500")),
            ("BLPOP a b 2", half + Duration::from_nanos(1), (3, "0.501")),
            ("BRPOP a 20", 12 * SECOND, (2, "12.000")),
            ("BLMOVE a b LEFT RIGHT 3", none, (5, "0.001")),
            ("BLMPOP 7 1 q LEFT", SECOND, (1, "1.000")),
            ("XREAD COUNT 1 BLOCK 250 STREAMS s $", half / 5, (4, "100")),
            ("XREADGROUP GROUP g c BLOCK 250 STREAMS s >", none, (5, "1")),
        ] {
            let blocker = Blocker::of(&of_words(words)).unwrap();
            assert_eq!(blocker.word_for(left), Some((expected.0, expected.1.to_owned())), "{words}");
        }
        assert_eq!(Blocker::of(&of_words("BLPOP")).unwrap().word_for(SECOND), None);
    }

    /// Ten commands wait for elements; of those only XREAD takes nothing away. What is like them is none. RULE-246
    #[test]
    fn commands_that_wait_are_known_by_name_and_arguments() {
        let is_from_now = |words: &str| Blocker::of(&of_words(words)).unwrap().is_from_now;
        assert!(is_from_now("XREAD BLOCK 0 STREAMS s $") && !is_from_now("XREAD BLOCK 0 STREAMS s 0-0"));
        for (words, name, takes) in [
            ("blpop q 0", "BLPOP", Takes::Elements),
            ("BRPOP q 0", "BRPOP", Takes::Elements),
            ("BLMOVE a b LEFT RIGHT 0", "BLMOVE", Takes::Elements),
            ("BRPOPLPUSH a b 0", "BRPOPLPUSH", Takes::Elements),
            ("BLMPOP 0 1 q LEFT", "BLMPOP", Takes::Elements),
            ("BZPOPMIN z 0", "BZPOPMIN", Takes::Elements),
            ("BZPOPMAX z 0", "BZPOPMAX", Takes::Elements),
            ("BZMPOP 0 1 z MIN", "BZMPOP", Takes::Elements),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "XREADGROUP", Takes::Elements),
            ("xread block 0 streams s $", "XREAD", Takes::Nothing),
        ] {
            let blocker = Blocker::of(&of_words(words)).unwrap();
            assert_eq!((blocker.name, blocker.takes), (name, takes), "{words}");
        }
        for words in ["LPOP q", "XREAD STREAMS block 0", "WAIT 1 0", "SUBSCRIBE c", "BITOP AND a b"] {
            assert_eq!(Blocker::of(&of_words(words)), None, "{words}");
        }
    }
}
