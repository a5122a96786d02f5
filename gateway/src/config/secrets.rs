//! Settings for display, with credentials removed.

use crate::config::Settings;

/// Replaces a secret that is set.
const HIDDEN: &str = "***";

impl Settings {
    /// The settings with every secret replaced. Names of files with secrets are no secrets.
    pub fn without_secrets(mut self) -> Settings {
        let Settings { upstream, .. } = &mut self;
        if let Some(token) = &mut upstream.token {
            HIDDEN.clone_into(token);
        }
        upstream.urls.iter_mut().for_each(|url| *url = without_secret(url));
        self
    }
}

/// An address without the token in its query, and without a password before its host.
fn without_secret(url: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let base = match base.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
        Some((scheme, (_, host))) => format!("{scheme}://{HIDDEN}@{host}"),
        None => base.to_owned(),
    };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name @ "token", _)) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(pair).collect::<Vec<_>>().join("&"));
    query.map_or(base.clone(), |query| format!("{base}?{query}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::file::parse;

    const MARK: &str = "7f3a-secret";
    /// Keys whose names look like secrets, and are names of files or other things that may be shown.
    const SHOWN: [&str; 6] =
        ["access.tokens", "access.jwt.key", "peers.key", "tls.key", "upstream.key", "access.jwt.role_claim"];
    const SECRETS: [&str; 1] = ["upstream.token"];

    /// Every line of the example, with those that are comments.
    fn everything() -> Settings {
        let sample = include_str!("../../../roverline.example.toml");
        let all = sample.replace("#: ", "").replace("token = \"...\"", &format!("token = {MARK:?}"));
        parse(&all, "sample").unwrap()
    }

    fn walk(path: &str, value: &Value, visit: &mut dyn FnMut(&str, &str)) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&path, value, visit);
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(path, item, visit)),
            Value::String(text) => visit(path, text),
            _ => {}
        }
    }

    #[test]
    fn no_field_shows_a_secret() {
        let settings = everything();
        let named = ["tok", "secret", "pass", "key", "credential", "claim"];
        let mut found = Vec::new();
        walk("", &serde_json::to_value(&settings).unwrap(), &mut |path, text| {
            if named.iter().any(|word| path.contains(word)) {
                let known = SHOWN.contains(&path) || SECRETS.contains(&path);
                assert!(known, "{path}: is it a secret? Hide it in without_secrets, and list it here");
            }
            if SECRETS.contains(&path) {
                assert_eq!(text, MARK, "{path}");
                found.push(path.to_owned());
            }
        });
        assert_eq!(found, SECRETS, "each is in the example, so that this test sees it");
        let shown = settings.without_secrets();
        walk("", &serde_json::to_value(&shown).unwrap(), &mut |path, text| {
            assert!(!text.contains(MARK), "{path}");
            assert_eq!(text == HIDDEN, SECRETS.contains(&path), "{path}");
        });
    }

    #[test]
    fn an_address_keeps_everything_but_its_secret() {
        for (url, shown) in [
            ("ws://10.0.0.1:8080", "ws://10.0.0.1:8080"),
            ("wss://rover/?token=7f3a", "wss://rover/?token=***"),
            ("ws://rover/?session=standby&token=7f3a&x=1", "ws://rover/?session=standby&token=***&x=1"),
            ("ws://ada:7f3a@rover:8080", "ws://***@rover:8080"),
        ] {
            assert_eq!(without_secret(url), shown);
        }
    }
}
