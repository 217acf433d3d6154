//! The cases of the conformance suite, as `conformance/src/suite.rs` lists them.

use std::ops::Range;

use crate::tidy::source::{Source, closing};

/// Where the list is.
pub(crate) const PATH: &str = "conformance/src/suite.rs";

/// How the list begins, inside of the macro that hands it to others.
const BEGIN: &str = "[$($argument)*]";

/// A case of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Group and name: `moving::healthy_target`.
    pub(crate) id: String,
    /// Why it runs in virtual time only, if it does.
    pub(crate) virtual_only: Option<String>,
}

/// Reads the list, in its order.
///
/// # Errors
/// Says what is missing when the file has no such list.
pub(crate) fn cases(source: &Source) -> Result<Vec<Case>, String> {
    let code = source.code.as_str();
    let begin = code.find(BEGIN).ok_or_else(|| format!("`{BEGIN}`, where the cases begin, is missing"))?;
    let open = code[..begin].rfind('{').ok_or("the list of the cases has no opening brace")?;
    let end = closing(code, open).ok_or("the list of the cases has no closing brace")?;
    let mut cases = Vec::new();
    let mut at = begin + BEGIN.len();
    while let Some(open) = code[at..end].find('{').map(|length| at + length) {
        let group = code[at..open].trim();
        let close = closing(code, open).ok_or_else(|| format!("`{group}` has no closing brace"))?;
        read_group(source, group, open + 1..close, &mut cases);
        at = close + 1;
    }
    Ok(cases)
}

/// Reads `case, case, ; virtual_case: "reason",`.
fn read_group(source: &Source, group: &str, range: Range<usize>, cases: &mut Vec<Case>) {
    // A comma inside of a reason is blanked in the code, so the parts are found there and the reasons in the text.
    let mut start = range.start;
    for part in source.code[range].split_inclusive([',', ';']) {
        let text = &source.text[start..start + part.len()];
        start += part.len();
        let name = part.split([',', ';', ':']).next().unwrap_or(part).trim();
        if name.is_empty() {
            continue;
        }
        let reason = text.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
        let virtual_only = reason.map(|(reason, _)| reason.to_owned());
        cases.push(Case { id: format!("{group}::{name}"), virtual_only });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_in_its_order() {
        let text = "macro_rules! for_each_case {\n    ($callback:path) => {\n        $callback! {\n            [$($argument)*]\n\
            one {\n a,\n b,\n ;\n c: \"slow, {very}; it takes minutes\",\n }\n two {\n ;\n d: \"slow\",\n }\n two_more { e, ; }\n}\n };\n}\n\
            fn other() {}\n";
        let cases = cases(&Source::new(PATH, text)).unwrap();
        let read: Vec<_> =
            cases.iter().map(|case| (case.id.as_str(), case.virtual_only.as_deref())).collect();
        let expected = [
            ("one::a", None),
            ("one::b", None),
            ("one::c", Some("slow, {very}; it takes minutes")),
            ("two::d", Some("slow")),
            ("two_more::e", None),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_file_without_the_list_is_an_error() {
        assert!(cases(&Source::new(PATH, "fn other() {}\n")).is_err());
    }
}
