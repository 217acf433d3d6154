//! Where the keys of a command are.

use super::Words;
use super::entry::{Begin, Entry, Find, Spec};

/// The server will refuse the command: a key is missing, or what says how many there are is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Shows each key of `command` to `visit`, in the order in which the server finds them; `entry` is that of the command. The channel of
/// a sharded message counts as a key. Of a command that is not known the first argument is the key.
pub(crate) fn each_key(
    entry: Option<&Entry>,
    command: &impl Words,
    mut visit: impl FnMut(&[u8]),
) -> Result<(), Malformed> {
    match entry {
        None => command.words().nth(1).into_iter().for_each(visit),
        // What most have: one key. Nothing behind it is looked at.
        Some(Entry {
            keys: [Spec { begin: Begin::At(place), find: Find::Range { last: 0, .. }, .. }],
            ..
        }) => visit(command.words().nth(*place).ok_or(Malformed)?),
        // A newer subcommand.
        Some(entry) if entry.subcommands_have_keys() => command.words().nth(2).into_iter().for_each(visit),
        Some(Entry { keys: [], .. }) => {}
        // It is for all channels then, and has no key.
        Some(entry) if entry.name == "SUNSUBSCRIBE" && command.count() == 1 => {}
        Some(entry) if entry.keys.iter().any(Spec::needs_more) => return by_options(entry, command, visit),
        Some(entry) => return by_place(entry.keys, command, visit),
    }
    Ok(())
}

fn by_place(specs: &[Spec], command: &impl Words, mut visit: impl FnMut(&[u8])) -> Result<(), Malformed> {
    let count = command.count();
    let (mut found, mut may_be_none) = (0, false);
    for spec in specs {
        let places = spec.places(command, count)?;
        may_be_none |= matches!(spec.find, Find::Counted { .. });
        found += places.count;
        let words = command.words().skip(places.first).step_by(places.step.max(1));
        words.take(places.count).for_each(&mut visit);
    }
    if found > 0 || may_be_none { Ok(()) } else { Err(Malformed) }
}

/// The places of some keys.
struct Places {
    first: usize,
    step: usize,
    count: usize,
}

impl Spec {
    fn places(&self, command: &impl Words, words: usize) -> Result<Places, Malformed> {
        let begin = self.begin.place(command, words).ok_or(Malformed)?;
        match self.find {
            Find::Range { last, step, limit } => {
                let end = match (usize::try_from(last), limit) {
                    (Ok(last), _) => begin + last + 1,
                    (Err(_), 0) => (words + 1).saturating_sub(last.unsigned_abs()),
                    (Err(_), limit) => {
                        let part = words.saturating_sub(begin) / limit;
                        (begin + part + 1).saturating_sub(last.unsigned_abs())
                    }
                };
                if last >= 0 && end > words {
                    return Err(Malformed);
                }
                Ok(Places { first: begin, step, count: end.saturating_sub(begin).div_ceil(step.max(1)) })
            }
            Find::Counted { number, first, step } => {
                let count = command.words().nth(begin + number).and_then(number_of).ok_or(Malformed)?;
                let first = begin + first;
                let fits = count == 0 || words.saturating_sub(first).div_ceil(step.max(1)) >= count;
                if fits { Ok(Places { first, step, count }) } else { Err(Malformed) }
            }
            Find::Unknown => Ok(Places { first: begin, step: 1, count: 0 }),
        }
    }
}

impl Begin {
    fn place(self, command: &impl Words, words: usize) -> Option<usize> {
        let (word, from) = match self {
            Self::At(place) => return Some(place),
            Self::Unknown => return Some(words),
            Self::Behind(word, from) => (word, from),
        };
        let mut named = command.words().enumerate().skip(1);
        let is_word = |(_, it): &(usize, &[u8])| it.eq_ignore_ascii_case(word.as_bytes());
        let found = match usize::try_from(from) {
            Ok(from) => named.find(|it| it.0 >= from && is_word(it)),
            Err(_) => {
                let from = words.checked_sub(from.unsigned_abs())?;
                named.take_while(|it| it.0 <= from).filter(is_word).last()
            }
        };
        found.map(|(place, _)| place + 1)
    }
}

fn number_of(word: &[u8]) -> Option<usize> {
    let is_number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    str::from_utf8(word).ok().filter(|_| is_number)?.parse().ok()
}

/// Commands whose options say where keys are. An option's value may be called like another option, so that they are read as the server
/// reads them (`xreadGetKeys` and its like, db.c of Redis 7).
fn by_options(entry: &Entry, command: &impl Words, mut visit: impl FnMut(&[u8])) -> Result<(), Malformed> {
    let word = |place| command.words().nth(place);
    match entry.name {
        "XREAD" | "XREADGROUP" => {
            let options = [("BLOCK", 1), ("COUNT", 1), ("GROUP", 2), ("CLAIM", 1)];
            let first = option(command, 1, &options, &["STREAMS"]).ok_or(Malformed)? + 1;
            // As many ids follow as there are keys.
            let both = command.count().saturating_sub(first);
            if both == 0 || both % 2 != 0 {
                return Err(Malformed);
            }
            command.words().skip(first).take(both / 2).for_each(visit);
        }
        "SORT" | "SORT_RO" => {
            visit(word(1).ok_or(Malformed)?);
            // What BY and GET name are patterns: the server wants them in the slot of the key, or refuses them.
            let options = [("LIMIT", 2), ("GET", 1), ("BY", 1)];
            stored(command, 2, &options, &["STORE"]).and_then(word).into_iter().for_each(visit);
        }
        "GEORADIUS" | "GEORADIUSBYMEMBER" => {
            visit(word(1).ok_or(Malformed)?);
            let (first, names) = (5, ["STORE", "STOREDIST"]);
            stored(command, first, &[("COUNT", 1)], &names).and_then(word).into_iter().for_each(visit);
        }
        "MIGRATE" => match word(3).ok_or(Malformed)? {
            b"" => {
                let options = [("AUTH", 1), ("AUTH2", 2)];
                match option(command, 6, &options, &["KEYS"]) {
                    Some(place) => command.words().skip(place + 1).for_each(visit),
                    // An empty key is a key.
                    None => visit(b""),
                }
            }
            key => visit(key),
        },
        _ => return by_place(entry.keys, command, visit),
    }
    Ok(())
}

/// The place of the first of `names` from `place` on, where each of `options` is followed by so many values.
fn option(command: &impl Words, place: usize, options: &[(&str, usize)], names: &[&str]) -> Option<usize> {
    let mut words = command.words().enumerate().skip(place);
    while let Some((place, word)) = words.next() {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if names.iter().any(|name| is(name)) {
            return Some(place);
        }
        let values = options.iter().find(|(name, _)| is(name)).map_or(0, |(_, values)| *values);
        words.by_ref().take(values).for_each(drop);
    }
    None
}

/// The place of the key in which a result is stored: behind the last of `names`, which wins.
fn stored(
    command: &impl Words,
    mut place: usize,
    options: &[(&str, usize)],
    names: &[&str],
) -> Option<usize> {
    let mut stored = None;
    while let Some(found) = option(command, place, options, names) {
        stored = Some(found + 1);
        place = found + 2;
    }
    stored
}

#[cfg(test)]
mod tests {
    use resp3_codec::cmd;

    use super::super::entry::{READ, at, behind, command, unknown};
    use super::*;

    static FORWARD: [Spec; 1] = [behind("KEYS", 2).to(-1, 1, 2)];
    static BACKWARD: [Spec; 2] = [at(1), behind("KEYS", -2).to(-1, 2, 0)];
    static PARTLY: [Spec; 2] = [at(1).to(1, 1, 0).incomplete(), unknown()];

    /// A command with options that nobody has described here goes by what its server says of it. RULE-303
    #[test]
    fn keys_behind_a_word_are_found() {
        for (specs, words, expected) in [
            (&FORWARD[..], "N KEYS keys a b 1 2", Some("a b")),
            (&FORWARD, "N x y KEYS a 1", Some("a")),
            (&FORWARD, "N KEYS a 1", None),
            (&FORWARD, "N x KEYS", None),
            (&BACKWARD, "N k x KEYS a 1 KEYS 2", Some("k 2")),
            (&BACKWARD, "N k keys a 1 b 2", Some("k a b")),
            (&BACKWARD, "N k a", None),
            (&BACKWARD, "N", None),
            (&PARTLY, "N a b c", Some("a b")),
            (&PARTLY, "N a", None),
        ] {
            let mut split = words.split(' ');
            let it = cmd(split.next().unwrap()).args(split);
            let entry = command("N", READ, specs);
            let mut keys = Vec::new();
            let result =
                each_key(Some(&entry), &it, |key| keys.push(String::from_utf8(key.to_vec()).unwrap()));
            assert_eq!(result.ok().map(|()| keys.join(" ")).as_deref(), expected, "{words}");
        }
    }
}
