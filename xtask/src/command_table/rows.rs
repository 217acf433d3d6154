//! The rows of the table, out of a server's reply and out of the file.

use super::ask::Value;

/// A command or a subcommand, as the table writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// A subcommand has the name of its command in front.
    pub(super) name: String,
    flags: String,
    keys: String,
    /// To whom it goes when it has no keys; most say nothing of that.
    policy: String,
}

impl Row {
    pub(super) fn code(&self) -> String {
        let Self { name, flags, keys, policy } = self;
        format!("command({name:?}, {flags}, &[{keys}]){policy}")
    }

    /// What versions of a server agree in: who may run a command and where it goes are told better and better.
    pub(super) fn essence(&self) -> Self {
        // Servers flag WAIT as blocking since 7.2. It has always blocked.
        let differs = |flag: &str| flag == "ADMIN" || flag == "0" || (flag == "BLOCK" && self.name == "WAIT");
        let flags: Vec<&str> = self.flags.split(" | ").filter(|flag| !differs(flag)).collect();
        Self { flags: flags.join(" | "), policy: String::new(), ..self.clone() }
    }
}

/// A command with its subcommands, each list sorted by name.
pub(super) struct Family {
    pub(super) row: Row,
    pub(super) subcommands: Vec<Self>,
}

impl Family {
    pub(super) fn code(&self) -> String {
        if self.subcommands.is_empty() {
            return self.row.code();
        }
        let subcommands: Vec<String> = self.subcommands.iter().map(Self::code).collect();
        format!("{}.subcommands(&[{}])", self.row.code(), subcommands.join(", "))
    }

    /// Its own row and those of its subcommands.
    pub(super) fn rows(&self) -> Vec<&Row> {
        std::iter::once(&self.row).chain(self.subcommands.iter().flat_map(Self::rows)).collect()
    }
}

/// All commands; `None` if the reply has another form.
pub(super) fn of_reply(commands: &Value) -> Option<Vec<Family>> {
    let mut families = commands.list()?.iter().map(family).collect::<Option<Vec<_>>>()?;
    families.sort_by(|one, other| one.row.name.cmp(&other.row.name));
    Some(families)
}

/// The rows of the file, without what rustfmt has done to them.
pub(super) fn of_file(text: &str) -> Vec<Row> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let code = words
        .join(" ")
        .replace("( ", "(")
        .replace("[ ", "[")
        .replace(", ]", "]")
        .replace(", )", ")")
        .replace(" .", ".");
    code.split("command(").skip(1).filter_map(of_code).collect()
}

/// Reads what stands behind `command(`.
fn of_code(code: &str) -> Option<Row> {
    let (name, rest) = code.strip_prefix('"')?.split_once("\", ")?;
    let (flags, rest) = rest.split_once(", &[")?;
    let (keys, rest) = rest.split_once("])")?;
    let policy = rest.starts_with(".policy(").then(|| rest.split_inclusive(')').next()).flatten();
    let [name, flags, keys, policy] = [name, flags, keys, policy.unwrap_or_default()].map(str::to_owned);
    Some(Row { name, flags, keys, policy })
}

fn family(command: &Value) -> Option<Family> {
    let [name, _, flags, _, _, _, _, tips, keys, subcommands, ..] = command.list()? else { return None };
    let name = name.text()?.replace('|', " ").to_uppercase();
    let keys = keys.list()?.iter().map(spec).collect::<Option<Vec<_>>>()?.join(", ");
    let row = Row { name, flags: of_flags(flags)?, keys, policy: policy(tips)? };
    Some(Family { row, subcommands: of_reply(subcommands)? })
}

fn of_flags(flags: &Value) -> Option<String> {
    let flags = flags.list()?;
    let has = |name: &str| flags.iter().any(|flag| flag.text() == Some(name));
    let known = [("readonly", "READ"), ("write", "WRITE"), ("blocking", "BLOCK"), ("admin", "ADMIN")];
    let flags: Vec<&str> = known.into_iter().filter(|(name, _)| has(name)).map(|(_, word)| word).collect();
    Some(if flags.is_empty() { "0".to_owned() } else { flags.join(" | ") })
}

fn policy(tips: &Value) -> Option<String> {
    let tips: Vec<&str> = tips.list()?.iter().filter_map(Value::text).collect();
    let tip = |name: &str| tips.iter().find_map(|tip| tip.strip_prefix(name));
    let ask = match tip("request_policy:") {
        None => return Some(String::new()),
        Some("all_nodes") => "Ask::AllNodes",
        Some("all_shards") => "Ask::AllShards",
        Some("multi_shard") => "Ask::MultiShard",
        Some("special") => "Ask::Special",
        // It is in no table until somebody has said what it means: the core would not compile.
        Some(other) => other,
    };
    let answer = match tip("response_policy:") {
        None => "Answer::Unsaid",
        Some("one_succeeded") => "Answer::OneSucceeded",
        Some("all_succeeded") => "Answer::AllSucceeded",
        Some("agg_logical_and") => "Answer::LogicalAnd",
        Some("agg_min") => "Answer::Min",
        Some("agg_sum") => "Answer::Sum",
        Some("special") => "Answer::Special",
        Some(other) => other,
    };
    Some(format!(".policy({ask}, {answer})"))
}

fn spec(spec: &Value) -> Option<String> {
    let part = |name| Some((spec.field(name)?.field("type")?.text()?, spec.field(name)?.field("spec")?));
    let ((begin, from), (find, which)) = (part("begin_search")?, part("find_keys")?);
    let numbers = |names: [&str; 3]| {
        let [one, two, three] = names.map(|name| which.field(name).and_then(Value::integer));
        Some(format!("{}, {}, {}", one?, two?, three?))
    };
    let begin = match begin {
        "index" => format!("at({})", from.field("index")?.integer()?),
        "keyword" => {
            format!("behind({:?}, {})", from.field("keyword")?.text()?, from.field("startfrom")?.integer()?)
        }
        _ => "unknown()".to_owned(),
    };
    let mut code = match find {
        "range" => match numbers(["lastkey", "keystep", "limit"])?.as_str() {
            "0, 1, 0" => begin,
            range => format!("{begin}.to({range})"),
        },
        "keynum" => format!("{begin}.counted({})", numbers(["keynumidx", "firstkey", "keystep"])?),
        _ => "unknown()".to_owned(),
    };
    if spec.field("flags")?.list()?.iter().any(|flag| flag.text() == Some("incomplete")) {
        code += ".incomplete()";
    }
    Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the formatter makes of a row is read as that row.
    #[test]
    fn rows_of_the_file_are_read() {
        let text = r#"
            pub(super) const COMMANDS: &[Entry] = &[
                command("DBSIZE", READ, &[]).policy(Ask::AllShards, Answer::Sum),
                command(
                    "MIGRATE",
                    WRITE | ADMIN,
                    &[at(3), behind("KEYS", -2).to(-1, 1, 0).incomplete()],
                ),
                command("SCRIPT", 0, &[])
                    .subcommands(&[command("SCRIPT HELP", 0, &[])]),
            ];"#;
        let rows = of_file(text);
        let code: Vec<String> = rows.iter().map(Row::code).collect();
        assert_eq!(
            code,
            [
                r#"command("DBSIZE", READ, &[]).policy(Ask::AllShards, Answer::Sum)"#,
                r#"command("MIGRATE", WRITE | ADMIN, &[at(3), behind("KEYS", -2).to(-1, 1, 0).incomplete()])"#,
                r#"command("SCRIPT", 0, &[])"#,
                r#"command("SCRIPT HELP", 0, &[])"#,
            ]
        );
        assert_eq!(rows[1].essence().flags, "WRITE");
        assert_eq!(rows[0].essence().code(), r#"command("DBSIZE", READ, &[])"#);
    }
}
