//! Parameters of a request target: percent-decoding, names in paths, and paging.

use crate::api::error::ApiError;
use crate::limits;

/// Decodes percent-encoding (RFC 3986, section 2.1). `None` if an escape is invalid or the text is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    // The library leaves an invalid escape as it is.
    let is_escape = |rest: &str| {
        let mut digits = rest.bytes().take(2).map(|byte| byte.is_ascii_hexdigit());
        digits.next() == Some(true) && digits.next() == Some(true)
    };
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// A name from a path.
pub(crate) fn name(encoded: &str) -> Result<String, ApiError> {
    let wrong =
        || ApiError::bad_request("the name in the path is not percent-encoded UTF-8: write %25 for %");
    let name = percent_decode(encoded).ok_or_else(wrong)?;
    if name.chars().count() > limits::API_NAME_CHARS {
        let why = format!("a name has at most {} characters", limits::API_NAME_CHARS);
        return Err(ApiError::bad_request(why));
    }
    Ok(name)
}

/// The parameters of a query, decoded and bounded in length.
pub(crate) fn pairs(query: Option<&str>) -> Result<Vec<(&str, String)>, ApiError> {
    let pair = |pair| {
        let (key, value) = str::split_once(pair, '=').unwrap_or((pair, ""));
        let wrong = || ApiError::bad_request("the query is not percent-encoded UTF-8: write %25 for %");
        let value = percent_decode(&value.replace('+', " ")).ok_or_else(wrong)?;
        if value.chars().count() > limits::API_NAME_CHARS {
            let why = format!("write at most {} characters behind each =", limits::API_NAME_CHARS);
            return Err(ApiError::bad_request(why));
        }
        Ok((key, value))
    };
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// The requested page of a list sorted by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    limit: usize,
    prefix: String,
    after: Option<String>,
}

impl Paging {
    /// From a query. An unknown parameter is an error: a misspelt limit must not be ignored.
    pub(crate) fn parse(query: Option<&str>) -> Result<Paging, ApiError> {
        let (mut limit, mut prefix, mut after) = (None, None, None);
        for (key, value) in pairs(query)? {
            let slot = match key {
                "limit" => &mut limit,
                "prefix" => &mut prefix,
                "after" => &mut after,
                _ => {
                    let key: String = key.chars().take(40).collect();
                    let why = format!("'{key}' is not known here; use limit, prefix and after");
                    return Err(ApiError::bad_request(why));
                }
            };
            if slot.replace(value).is_some() {
                return Err(ApiError::bad_request(format!("say {key} once")));
            }
        }
        let limit = match limit {
            None => limits::API_PAGE_ENTRIES,
            Some(text) => {
                let limit =
                    text.parse().ok().filter(|limit| (1..=limits::API_PAGE_MAX_ENTRIES).contains(limit));
                let most = limits::API_PAGE_MAX_ENTRIES;
                limit.ok_or_else(|| ApiError::bad_request(format!("limit is a number from 1 to {most}")))?
            }
        };
        Ok(Paging { limit, prefix: prefix.unwrap_or_default(), after })
    }

    /// The whole of a list that never has more entries than this.
    pub(crate) fn whole(limit: usize) -> Paging {
        Paging { limit, prefix: String::new(), after: None }
    }

    /// The requested page of `all`, the total number, and where the next page begins.
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
        assert_eq!(percent_decode("%5B::1%5d:80").as_deref(), Some("[::1]:80"));
        assert_eq!(percent_decode("a:1").as_deref(), Some("a:1"));
        for bad in ["%", "%5", "%zz", "%ff", "%é1"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
            assert!(name(bad).is_err());
        }
        assert!(name(&"x".repeat(401)).is_err());
    }

    #[test]
    fn unknown_and_invalid_parameters_are_rejected() {
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
