//! The rows of the table, out of a server's reply and out of the file.

use super::ask::Value;

/// A command: its name, and its line in the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) code: String,
}

/// The rows of all commands, by name; `None` if the reply has another form.
pub(super) fn of_reply(commands: &Value) -> Option<Vec<Row>> {
    let mut rows = commands.list()?.iter().map(row).collect::<Option<Vec<_>>>()?;
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Some(rows)
}

/// The rows of the file, without what rustfmt has done to them.
pub(super) fn of_file(text: &str) -> Vec<Row> {
    let table = text.split_once("&[\n").map_or("", |(_, table)| table);
    // A command stands at the first level of the list, its subcommands do not.
    let mut rows: Vec<String> = Vec::new();
    for line in table.lines().take_while(|line| *line != "];") {
        let is_first = line.starts_with("    ") && line.trim_start().len() + 4 == line.len();
        match rows.last_mut() {
            Some(row) if !(is_first && line.trim_start().starts_with("command(")) => row.push_str(line),
            _ => rows.push(line.to_owned()),
        }
    }
    rows.iter().filter_map(|row| of_line(row)).collect()
}

fn of_line(line: &str) -> Option<Row> {
    let name = line.split('"').nth(1)?.to_owned();
    Some(Row { name, code: normal(line.trim().strip_suffix(',').unwrap_or(line)) })
}

/// The same code on one line, with the spaces that [`row`] writes.
fn normal(code: &str) -> String {
    let words: Vec<&str> = code.split_whitespace().collect();
    words
        .join(" ")
        .replace("( ", "(")
        .replace("[ ", "[")
        .replace(", )", ")")
        .replace(", ]", "]")
        .replace(" .", ".")
}

fn row(command: &Value) -> Option<Row> {
    let [name, _, flags, _, _, _, _, tips, keys, subcommands] = command.list()? else { return None };
    let name = name.text()?.replace('|', " ").to_uppercase();
    let keys = keys.list()?.iter().map(spec).collect::<Option<Vec<_>>>()?.join(", ");
    let mut code = format!("command({name:?}, {}, &[{keys}])", of_flags(flags)?);
    if let Some(policy) = policy(tips)? {
        code += &policy;
    }
    let subcommands = of_reply(subcommands)?;
    if !subcommands.is_empty() {
        let rows: Vec<String> = subcommands.into_iter().map(|row| row.code).collect();
        code += &format!(".subcommands(&[{}])", rows.join(", "));
    }
    Some(Row { name, code })
}

fn of_flags(flags: &Value) -> Option<String> {
    let flags = flags.list()?;
    let has = |name: &str| flags.iter().any(|flag| flag.text() == Some(name));
    let known = [("readonly", "READ"), ("write", "WRITE"), ("blocking", "BLOCK"), ("admin", "ADMIN")];
    let flags: Vec<&str> = known.into_iter().filter(|(name, _)| has(name)).map(|(_, word)| word).collect();
    Some(if flags.is_empty() { "0".to_owned() } else { flags.join(" | ") })
}

fn policy(tips: &Value) -> Option<Option<String>> {
    let tips: Vec<&str> = tips.list()?.iter().filter_map(Value::text).collect();
    let tip = |name: &str| tips.iter().find_map(|tip| tip.strip_prefix(name));
    let ask = match tip("request_policy:") {
        // Only commands without a request policy have none; the reply to one is that of a node.
        None => return Some(None),
        Some("all_nodes") => "Ask::AllNodes",
        Some("all_shards") => "Ask::AllShards",
        Some("multi_shard") => "Ask::MultiShard",
        Some("special") => "Ask::Special",
        Some(_) => return None,
    };
    let answer = match tip("response_policy:") {
        None => "Answer::Unsaid",
        Some("one_succeeded") => "Answer::OneSucceeded",
        Some("all_succeeded") => "Answer::AllSucceeded",
        Some("agg_logical_and") => "Answer::LogicalAnd",
        Some("agg_min") => "Answer::Min",
        Some("agg_sum") => "Answer::Sum",
        Some("special") => "Answer::Special",
        Some(_) => return None,
    };
    Some(Some(format!(".policy({ask}, {answer})")))
}

fn spec(spec: &Value) -> Option<String> {
    let [begin, find] = ["begin_search", "find_keys"].map(|name| spec.field(name));
    let (begin, find) = (begin?, find?);
    let mut code = match begin.field("type")?.text()? {
        "index" => format!("at({})", begin.field("spec")?.field("index")?.integer()?),
        "keyword" => {
            let spec = begin.field("spec")?;
            format!("behind({:?}, {})", spec.field("keyword")?.text()?, spec.field("startfrom")?.integer()?)
        }
        _ => "unknown()".to_owned(),
    };
    let numbers = |names: [&str; 3]| {
        let spec = find.field("spec")?;
        let [one, two, three] = names.map(|name| spec.field(name).and_then(Value::integer));
        Some(format!("{}, {}, {}", one?, two?, three?))
    };
    match find.field("type")?.text()? {
        "range" => {
            let range = numbers(["lastkey", "keystep", "limit"])?;
            if range != "0, 1, 0" {
                code += &format!(".to({range})");
            }
        }
        "keynum" => code += &format!(".counted({})", numbers(["keynumidx", "firstkey", "keystep"])?),
        _ => code = "unknown()".to_owned(),
    }
    let is_incomplete = spec.field("flags")?.list()?.iter().any(|flag| flag.text() == Some("incomplete"));
    Some(if is_incomplete { code + ".incomplete()" } else { code })
}
