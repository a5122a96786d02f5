//! What a request says behind its path: names, and which part of a long list is wanted.

use roverline_protocol::limits;

use crate::api::response::Failure;

/// Undoes percent-encoding (RFC 3986, section 2.1).
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

/// A name from a path.
pub(crate) fn name(encoded: &str) -> Result<String, Failure> {
    let wrong = || Failure::bad_request("the name in the path is not percent-encoded UTF-8: write %25 for %");
    let name = unescape(encoded).ok_or_else(wrong)?;
    if name.chars().count() > limits::API_NAME_CHARS {
        let why = format!("a name has at most {} characters", limits::API_NAME_CHARS);
        return Err(Failure::bad_request(why));
    }
    Ok(name)
}

/// The parameters of a query, unescaped, each bounded.
pub(crate) fn pairs(query: Option<&str>) -> Result<Vec<(&str, String)>, Failure> {
    let pair = |pair| {
        let (key, value) = str::split_once(pair, '=').unwrap_or((pair, ""));
        let wrong = || Failure::bad_request("the query is not percent-encoded UTF-8: write %25 for %");
        let value = unescape(&value.replace('+', " ")).ok_or_else(wrong)?;
        if value.chars().count() > limits::API_NAME_CHARS {
            let why = format!("write at most {} characters behind each =", limits::API_NAME_CHARS);
            return Err(Failure::bad_request(why));
        }
        Ok((key, value))
    };
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// Which part of a list sorted by name is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    limit: usize,
    prefix: String,
    after: Option<String>,
}

impl Paging {
    /// From a query. What is not understood is an error: a misspelt limit is no limit.
    pub(crate) fn parse(query: Option<&str>) -> Result<Paging, Failure> {
        let (mut limit, mut prefix, mut after) = (None, None, None);
        for (key, value) in pairs(query)? {
            let slot = match key {
                "limit" => &mut limit,
                "prefix" => &mut prefix,
                "after" => &mut after,
                _ => {
                    let key: String = key.chars().take(40).collect();
                    let why = format!("'{key}' is not known here; use limit, prefix and after");
                    return Err(Failure::bad_request(why));
                }
            };
            if slot.replace(value).is_some() {
                return Err(Failure::bad_request(format!("say {key} once")));
            }
        }
        let limit = match limit {
            None => limits::API_PAGE_ENTRIES,
            Some(text) => {
                let limit =
                    text.parse().ok().filter(|limit| (1..=limits::API_PAGE_MAX_ENTRIES).contains(limit));
                let most = limits::API_PAGE_MAX_ENTRIES;
                limit.ok_or_else(|| Failure::bad_request(format!("limit is a number from 1 to {most}")))?
            }
        };
        Ok(Paging { limit, prefix: prefix.unwrap_or_default(), after })
    }

    /// All of a list that never has more than so many.
    pub(crate) fn whole(limit: usize) -> Paging {
        Paging { limit, prefix: String::new(), after: None }
    }

    /// The part of `all` that is wanted, how many there are in all, and where the next part begins.
    pub(crate) fn part<T>(
        &self,
        mut all: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> (Vec<T>, usize, Option<String>) {
        all.retain(|item| name(item).starts_with(&self.prefix));
        all.sort_by(|a, b| name(a).cmp(name(b)));
        let total = all.len();
        if let Some(after) = &self.after {
            all.retain(|item| name(item) > after.as_str());
        }
        let more = all.len() > self.limit;
        all.truncate(self.limit);
        let next = all.last().filter(|_| more).map(|item| name(item).to_owned());
        (all, total, next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("%5B::1%5d:80").as_deref(), Some("[::1]:80"));
        assert_eq!(unescape("a:1").as_deref(), Some("a:1"));
        for bad in ["%", "%5", "%zz", "%ff", "%é1"] {
            assert_eq!(unescape(bad), None, "{bad}");
            assert!(name(bad).is_err());
        }
        assert!(name(&"x".repeat(401)).is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let paging = |limit, prefix: &str, after: Option<&str>| Paging {
            limit,
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
        };
        for (query, wanted) in [
            (None, paging(200, "", None)),
            (Some(""), paging(200, "", None)),
            (Some("limit=7&prefix=%2Fimu&after=/a"), paging(7, "/imu", Some("/a"))),
            (Some("limit=1000"), paging(1_000, "", None)),
        ] {
            assert_eq!(Paging::parse(query).unwrap(), wanted, "{query:?}");
        }
        let long = format!("prefix={}", "x".repeat(401));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=",
            "limit=x",
            "limit=1&limit=2",
            "limt=1",
            "x",
            "after=%f",
            &long,
        ] {
            assert!(Paging::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            names in proptest::collection::btree_set("[a-c/]{0,4}", 0..40), limit in 1_usize..10, prefix in "[a-c/]{0,1}",
        ) {
            let wanted: Vec<String> = names.iter().filter(|name| name.starts_with(&prefix)).cloned().collect();
            let mut paging = Paging { limit, prefix, after: None };
            let mut got = Vec::new();
            loop {
                let all: Vec<String> = names.iter().rev().cloned().collect();
                let (part, total, next) = paging.part(all, String::as_str);
                prop_assert_eq!(total, wanted.len());
                prop_assert!(part.len() <= limit);
                got.extend(part);
                match next {
                    Some(next) => paging.after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(got, wanted);
        }

        #[test]
        fn no_query_panics(query in ".*") {
            let _ = Paging::parse(Some(&query));
        }
    }
}
