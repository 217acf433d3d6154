//! A Rust file, split into what is code, what is comment and what is test.

use std::ops::Range;

/// A file of the repository, with the views of it that the rules look at.
///
/// All views have the length and the line breaks of the text, so an offset means the same place in each.
pub(crate) struct Source {
    /// The path from the root of the repository, with `/` between its parts.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// The text with comments and the contents of strings blanked.
    pub(crate) code: String,
    /// The text with everything but comments blanked.
    pub(crate) comments: String,
    tests: Vec<Range<usize>>,
}

impl Source {
    /// Splits `text`; what is not Rust has no code and no comments.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let (code, comments) = if path.ends_with(".rs") { split(&text) } else { Default::default() };
        let tests = if is_test_path(&path) { whole(&code) } else { test_items(&code) };
        Self { path, text, code, comments, tests }
    }

    /// Declares the whole file to be test code: its parent includes it under `#[cfg(test)]`.
    pub(crate) fn mark_as_test(&mut self) {
        self.tests = whole(&self.code);
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The line of an offset, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether the offset lies in a test: a file of tests, or an item under `#[cfg(test)]`.
    pub(crate) fn is_test(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    /// The number of lines that are not test code.
    pub(crate) fn lines_without_tests(&self) -> usize {
        let mut offset = 0;
        let mut lines = 0;
        for line in self.text.split_inclusive('\n') {
            lines += usize::from(!self.is_test(offset));
            offset += line.len();
        }
        lines
    }

    /// The offsets at which `word` stands in the code as a word of its own, tests included.
    pub(crate) fn find_all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        find_word(&self.code, word)
    }

    /// Like [`find_all`](Self::find_all), without what is in tests.
    pub(crate) fn find<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.find_all(word).filter(|offset| !self.is_test(*offset))
    }

    /// Every path that a `use` names, groups spelled out, with the offset of its last part; tests left out.
    pub(crate) fn imports(&self) -> Vec<(usize, String)> {
        let mut paths = Vec::new();
        for start in self.find("use") {
            let is_capture = self.code[start..].starts_with("use<");
            if is_capture {
                continue;
            }
            let end = self.code[start..].find(';').map_or(self.code.len(), |length| start + length);
            expand_use(&self.code, start + "use".len()..end, "", &mut paths);
        }
        paths
    }

    /// The modules that are included under `#[cfg(test)]` and live in files of their own.
    pub(crate) fn test_modules(&self) -> Vec<&str> {
        let declared = self.tests.iter().filter_map(|range| {
            let item = self.code.get(range.clone())?.trim_end().strip_suffix(';')?;
            let (before, name) = item.rsplit_once(char::is_whitespace)?;
            before.trim_end().ends_with("mod").then_some(name)
        });
        declared.collect()
    }
}

/// Where `word` stands in `text` as a word of its own.
pub(crate) fn find_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let joins = |character: char| character == '_' || character.is_alphanumeric();
    text.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let (before, after) = (&text[..*offset], &text[offset + word.len()..]);
        let starts = !word.starts_with(joins) || !before.ends_with(joins);
        let ends = !word.ends_with(joins) || !after.starts_with(joins);
        starts && ends
    })
}

/// The offset of the brace, bracket or parenthesis that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(offset);
                }
            }
            _ => {}
        }
    }
    None
}

/// Where the body of an item starts, or its `;`: the first of them outside parentheses and brackets.
pub(crate) fn item_body(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' | b';' if depth == 0 => return Some(offset),
            _ => {}
        }
    }
    None
}

/// Whether a file holds nothing but tests, by its place and name.
fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests" || part == "benches")
}

fn whole(code: &str) -> Vec<Range<usize>> {
    std::iter::once(0..code.len()).collect()
}

/// The items under a `cfg` attribute that asks for `test`.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.match_indices("#[cfg(") {
        let Some(attribute_end) = closing(code, start + 1) else { continue };
        let condition = &code[start..attribute_end];
        let asks_for_test = find_word(condition, "test").next().is_some() && !condition.contains("not(");
        let is_nested = items.last().is_some_and(|item| item.contains(&start));
        if !asks_for_test || is_nested {
            continue;
        }
        let body = item_body(code, skip_attributes(code, attribute_end + 1));
        let end = body.and_then(|body| match code.as_bytes()[body] {
            b'{' => closing(code, body),
            _ => Some(body),
        });
        items.push(start..end.map_or(code.len(), |end| end + 1));
    }
    items
}

fn skip_attributes(code: &str, mut offset: usize) -> usize {
    loop {
        let rest = &code[offset..];
        let start = offset + rest.len() - rest.trim_start().len();
        if !code[start..].starts_with("#[") {
            return start;
        }
        let Some(end) = closing(code, start + 1) else { return start };
        offset = end + 1;
    }
}

fn expand_use(code: &str, range: Range<usize>, prefix: &str, paths: &mut Vec<(usize, String)>) {
    let text = &code[range.clone()];
    let Some(group) = text.find('{') else {
        for (offset, part) in split_with_offsets(text) {
            let name = part.split_whitespace().next().unwrap_or_default();
            if !name.is_empty() {
                paths.push((range.start + offset, format!("{prefix}{name}")));
            }
        }
        return;
    };
    let open = range.start + group;
    let close = closing(code, open).unwrap_or(range.end).min(range.end);
    let head = &text[..group];
    let own = head.rfind(',').map_or(0, |comma| comma + 1);
    expand_use(code, range.start..range.start + own, prefix, paths);
    let inner = format!("{prefix}{}", head[own..].trim());
    expand_use(code, open + 1..close, &inner, paths);
    if close < range.end {
        expand_use(code, close + 1..range.end, prefix, paths);
    }
}

fn split_with_offsets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(',').map(move |part| {
        let offset = part.as_ptr() as usize - text.as_ptr() as usize;
        (offset + part.len() - part.trim_start().len(), part)
    })
}

/// Copies code to one text and comments to another, and blanks both where the other has its own.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let blank = || bytes.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }).collect::<Vec<u8>>();
    let (mut code, mut comments) = (blank(), blank());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (length, target) = if let Some(length) = comment(rest) {
            (length, Some(&mut comments))
        } else if let Some(length) = literal(rest, at.checked_sub(1).map(|before| bytes[before])) {
            (length, None)
        } else {
            (1, Some(&mut code))
        };
        match target {
            Some(target) => target[at..at + length].copy_from_slice(&rest[..length]),
            None => code[at] = b'"',
        }
        at += length;
    }
    let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
    (text(code), text(comments))
}

/// The length of the comment that starts here.
fn comment(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        let step = match rest.get(at..at + 2) {
            Some(b"/*") => 1,
            Some(b"*/") => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
    }
    Some(at)
}

/// The length of the string or character literal that starts here; a lifetime is none.
fn literal(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let in_word = before.is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    match rest[0] {
        b'"' => Some(quoted(rest, b'"')),
        b'\'' => {
            let is_character = match rest.get(1)? {
                b'\\' => true,
                first => {
                    let width = utf8_width(*first);
                    rest.get(1 + width) == Some(&b'\'')
                }
            };
            is_character.then(|| quoted(rest, b'\''))
        }
        b'r' | b'b' | b'c' if !in_word => {
            let prefix = if rest.starts_with(b"br") || rest.starts_with(b"cr") { 2 } else { 1 };
            let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
            let is_raw = rest[prefix - 1] == b'r';
            match rest.get(prefix + hashes)? {
                b'"' if is_raw => Some(raw(rest, prefix + hashes, hashes)),
                quote @ (b'"' | b'\'') if !is_raw && hashes == 0 && (rest[0] == b'b' || *quote == b'"') => {
                    Some(prefix + quoted(&rest[prefix..], *quote))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The length of a literal with escapes, both quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string whose opening quote is at `open`.
fn raw(rest: &[u8], open: usize, hashes: usize) -> usize {
    let mut at = open + 1;
    while at < rest.len() {
        let closes = rest[at] == b'"' && rest[at + 1..].iter().take(hashes).all(|byte| *byte == b'#');
        if closes && rest.len() >= at + 1 + hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

fn utf8_width(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_not_code() {
        let text = "let a = \"one // two\"; // three\nlet b = r#\"four \" five\"#; /* six /* seven */ */ let c = b\"x\\\"y\";";
        let source = Source::new("a.rs", text);
        assert_eq!(source.code.len(), text.len());
        for hidden in ["one", "two", "three", "four", "five", "six", "seven", "x", "y"] {
            assert!(source.find_all(hidden).next().is_none(), "{hidden} is not code: {}", source.code);
        }
        assert!(source.find_all("c").next().is_some(), "{}", source.code);
        assert!(source.comments.contains("three") && source.comments.contains("seven"));
        assert!(!source.comments.contains("two"));
    }

    #[test]
    fn lifetimes_and_characters_are_told_apart() {
        let source = Source::new("a.rs", "fn f<'a>(x: &'a str) { g('\"', 'é', '\\'', b'{'); h(\"{\"); }");
        let open = source.code.find('{').unwrap();
        assert_eq!(closing(&source.code, open), Some(source.code.len() - 1), "{}", source.code);
        assert_eq!(source.find_all("h").count(), 1);
    }

    #[test]
    fn items_under_cfg_test_are_tests() {
        let source =
            Source::new("a.rs", "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod t {\n fn b() {}\n}\nfn c() {}\n");
        let tests: Vec<bool> = ["a", "b", "c"]
            .iter()
            .map(|name| source.is_test(source.find_all(name).last().unwrap()))
            .collect();
        assert_eq!(tests, [false, true, false]);
        assert_eq!(source.lines_without_tests(), 2);
        assert_eq!(Source::new("a.rs", "#[cfg(not(test))]\nfn a() {}\n").lines_without_tests(), 2);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_found() {
        let source = Source::new("a.rs", "#[cfg(test)]\nmod laws;\nmod plain;\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(source.test_modules(), ["laws"]);
    }

    #[test]
    fn use_groups_are_spelled_out() {
        let source = Source::new(
            "a.rs",
            "use std::{fs, net::{TcpStream, SocketAddr}, io as i};\nuse a::b; fn f() -> impl A + use<> {}",
        );
        let paths: Vec<String> = source.imports().into_iter().map(|(_, path)| path).collect();
        assert_eq!(paths, ["std::fs", "std::net::TcpStream", "std::net::SocketAddr", "std::io", "a::b"]);
    }

    #[test]
    fn words_have_borders() {
        assert_eq!(find_word("sync async r#async asyncs a_async", "async").collect::<Vec<_>>(), [5, 13]);
    }
}
