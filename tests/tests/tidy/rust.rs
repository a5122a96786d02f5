//! Just enough of Rust's lexical structure to look for names in code only.

/// The text with comments and the insides of strings blanked, line breaks kept, so that a name that
/// is found is code.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => find(bytes, at, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if starts_word(bytes, at) => match raw_string_end(bytes, at + 1) {
                Some(end) => end,
                None => word_end(bytes, at),
            },
            b'b' if starts_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                raw_string_end(bytes, at + 2).unwrap_or_else(|| word_end(bytes, at))
            }
            b'\'' => char_end(bytes, at),
            _ => at + 1,
        };
        let end = end.min(bytes.len());
        if matches!(bytes[at], b'/' | b'"' | b'\'' | b'r' | b'b') && end > at + 1 && !is_word(&bytes[at..end])
        {
            blank(&mut out[at..end]);
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// [`code`] without the items under `#[cfg(test)]`.
pub(crate) fn product_code(text: &str) -> String {
    let mut out = code(text).into_bytes();
    let mut from = 0;
    while let Some(found) = position(&out[from..], b"#[cfg(test)]") {
        let start = from + found;
        let end = item_end(&out, start + "#[cfg(test)]".len());
        blank(&mut out[start..end]);
        from = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Where `word` stands in `code` as a whole word (`tokio` in `tokio::spawn`, not in `tokio_util`).
pub(crate) fn word_offsets<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(offset, _)| offset).filter(move |&offset| {
        let before = offset.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(offset + word.len()).copied();
        !before.is_some_and(is_ident) && !after.is_some_and(is_ident)
    })
}

/// Where a crate or module path is named: in a path (`tokio::`) or alone in a `use`. A local path
/// that only ends alike (`self::mcap::`, `source::bag`) is not meant.
pub(crate) fn path_offsets<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    word_offsets(code, path).filter(move |&offset| {
        let before = code[..offset].trim_end();
        let after = code[offset + path.len()..].trim_start();
        let absolute = !before.ends_with("::") && !before.ends_with("mod") && !before.ends_with('.');
        let used = before.ends_with("use") || before.ends_with("extern crate");
        absolute
            && (after.starts_with("::") || (used && (after.starts_with(';') || after.starts_with("as "))))
    })
}

/// Where `std::fs` is named as a member of `use std::{…}`.
pub(crate) fn grouped_offsets<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    let (root, leaf) = path.split_once("::").unwrap_or((path, ""));
    let groups = word_offsets(code, root).filter(move |at| code[at + root.len()..].starts_with("::{"));
    groups.filter(move |at| {
        let group = code[*at..].split(';').next().unwrap_or_default();
        !leaf.is_empty() && word_offsets(group, leaf).next().is_some()
    })
}

fn is_ident(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn is_word(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_ident(byte))
}

fn starts_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || !is_ident(bytes[at - 1])
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| !is_ident(byte)).map_or(bytes.len(), |n| at + n.max(1))
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    position(&bytes[from..], needle).map_or(bytes.len(), |n| from + n)
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of a raw string whose `#`s or quote begin at `at`; `None` where none begins.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|&&byte| byte == b'#').count();
    (bytes.get(at + hashes) == Some(&b'"')).then_some(())?;
    let closing = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    Some(find(bytes, at + hashes + 1, &closing) + closing.len())
}

/// The end of a character literal; of a lifetime, only its quote.
fn char_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'\\') => find(bytes, at + 3, b"'") + 1,
        Some(&first) => {
            let width = std::str::from_utf8(&bytes[at + 1..bytes.len().min(at + 5)])
                .map_or_else(|error| error.valid_up_to().max(1), |_| 4);
            let literal = (1..=width).find(|n| bytes.get(at + 1 + n) == Some(&b'\''));
            match literal {
                Some(n) if n == 1 || !first.is_ascii() => at + n + 2,
                _ => at + 1,
            }
        }
        None => at + 1,
    }
}

/// The end of the item that follows an attribute: its `;` or the brace that closes it.
fn item_end(code: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    for (i, byte) in code[from..].iter().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' if depth <= 1 => return from + i + 1,
            b'}' => depth -= 1,
            b';' | b',' if depth == 0 => return from + i + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "a(); // todo!()\nb(\"tokio::x \\\" y\", r#\"std::fs\"#, br\"rusqlite::\", '\\'', '\"', 'é');\n\
                    /* one /* two */ r2r:: */ fn f<'a>(r: &'a str) -> &'a str { rbr(r) } // end";
        let code = code(text);
        for hidden in ["todo", "tokio", "std::fs", "rusqlite", "r2r", "end"] {
            assert!(!code.contains(hidden), "{hidden}: {code}");
        }
        for shown in ["a();", "fn f<'a>(r: &'a str) -> &'a str { rbr(r) }"] {
            assert!(code.contains(shown), "{shown}: {code}");
        }
        assert_eq!(code.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn what_is_under_cfg_test_is_not_the_product() {
        let text = "fn a() { x.y() }\n#[cfg(test)]\nmod tests { fn t() { if a { b.unwrap() } } }\nfn c() {}\n\
                    #[cfg(test)]\nmod more;\nfn d() {}";
        let code = product_code(text);
        assert!(!code.contains("unwrap") && !code.contains("more"), "{code}");
        assert!(code.contains("fn c()") && code.contains("fn d()"), "{code}");
    }

    #[test]
    fn a_path_is_named_as_a_whole_and_from_its_root() {
        let named = |code: &str| path_offsets(code, "mcap").count();
        assert_eq!(named("use mcap::Reader;"), 1);
        assert_eq!(named("let r = mcap::read(x);"), 1);
        assert_eq!(named("use mcap;"), 1);
        assert_eq!(named("use mcap as m;"), 1);
        assert_eq!(grouped_offsets("use std::{fmt, fs};", "std::fs").count(), 1);
        assert_eq!(grouped_offsets("use std::{fmt, sync}; fs", "std::fs").count(), 0);
        for other in
            ["mod mcap;", "self::mcap::open()", "my_mcap::x", "mcap_x::y", "self.mcap", "let mcap = 1;"]
        {
            assert_eq!(named(other), 0, "{other}");
        }
    }
}
