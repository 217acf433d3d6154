//! Patterns of `PSUBSCRIBE` and `SCAN`.

/// Whether `text` matches: `*`, `?`, `[a-c]`, `[^a]`, and a backslash before a character that stands for itself.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        [b'?', rest @ ..] => text.split_first().is_some_and(|(_, text)| matches(rest, text)),
        [b'[', class @ ..] => {
            let Some(end) = class.iter().skip(1).position(|byte| *byte == b']') else { return false };
            let (class, rest) = (&class[..=end], &class[end + 2..]);
            text.split_first().is_some_and(|(byte, text)| in_class(class, *byte) && matches(rest, text))
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.split_first().is_some_and(|(byte, text)| byte == literal && matches(rest, text))
        }
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (class, negated) = match class {
        [b'^', rest @ ..] => (rest, true),
        class => (class, false),
    };
    let mut rest = class;
    let mut found = false;
    loop {
        rest = match rest {
            [] => return found != negated,
            [first, b'-', last, rest @ ..] => {
                found |= (first.min(last)..=last.max(first)).contains(&&byte);
                rest
            }
            [only, rest @ ..] => {
                found |= *only == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("news.*", "news.art", true),
            ("news.*", "new.art", false),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h\\*", "h*", true),
            ("h\\*", "hx", false),
            ("*", "", true),
            ("[", "[", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
