//! `roverline kv`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::kv::{KvDocument, KvList, KvWritten};
use roverline_protocol::limits;
use serde_json::{Value, json};

use crate::cli::coordination::KvCommand;
use crate::command::Failure;
use crate::command::coordination::value::value;
use crate::command::coordination::{
    ApiError, CoordinationClient, escape, inform, is_indeterminate, print_json, print_line, print_table,
};
use crate::command::print::{ago, complain, identity, print, short};
use crate::format;

/// Runs the subcommand.
pub async fn run(config: Config, command: KvCommand) -> Result<ExitCode, Failure> {
    // An invalid value is reported without an endpoint.
    let written = match &command {
        KvCommand::Put { value: given, .. } => Some(value(given)?),
        _ => None,
    };
    CoordinationClient::run(config, async |team| execute(team, command, written).await).await
}

async fn execute(
    team: &mut CoordinationClient,
    command: KvCommand,
    written: Option<Value>,
) -> Result<ExitCode, Failure> {
    match command {
        KvCommand::List { prefix, count, after, at, json } => {
            list(team, &prefix, count, after, at, json).await?;
        }
        KvCommand::Get { key, linearizable, at, json } => {
            let mut path = format!("/api/v2/kv/{}?linearizable={linearizable}", escape(&key));
            path += &at.map(|at| format!("&at={at}")).unwrap_or_default();
            let found: KvDocument = team.get(&path).await?;
            if json { print_json(&found) } else { print_json(&found.value) }?;
        }
        KvCommand::Put { key, if_version, ttl, json, .. } => {
            let ttl = ttl.map(|ttl| format!("ttl_ms={}", ttl.as_millis()));
            let path = path(&key, if_version, ttl);
            let done = team.try_request::<KvWritten>("PUT", &path, written, Duration::ZERO).await?;
            let done = done.map_err(|refusal| in_doubt(refusal, &key))?;
            if json { print_json(&done) } else { print(&done.version.to_string()) }?;
        }
        KvCommand::Delete { key, if_version, json } => {
            let path = path(&key, if_version, None);
            let done = team.try_request::<Value>("DELETE", &path, None, Duration::ZERO).await?;
            done.map_err(|refusal| in_doubt(refusal, &key))?;
            if json {
                print_json(&json!({"key": key, "deleted": true}))?;
            }
        }
        KvCommand::Watch { prefix, json } => watch(team, &prefix, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(key: &str, if_version: Option<u64>, ttl: Option<String>) -> String {
    let version = if_version.map(|version| format!("version={version}"));
    let query: Vec<String> = version.into_iter().chain(ttl).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/api/v2/kv/{}{mark}{}", escape(key), query.join("&"))
}

/// A write is not repeated: it could overwrite a newer value of another author.
fn in_doubt(refusal: ApiError, key: &str) -> Failure {
    match is_indeterminate(&refusal) {
        true => Failure::Nothing(format::printable(&format!(
            "in doubt: {}; look with 'roverline kv get {key} --linearizable'",
            refusal.why
        ))),
        false => refusal.into(),
    }
}

/// Keys as of one revision, and the start of the next page.
async fn read(
    team: &mut CoordinationClient,
    prefix: &str,
    count: usize,
    after: Option<String>,
    at: Option<u64>,
) -> Result<Result<KvList, ApiError>, Failure> {
    let mut all = KvList { keys: Vec::new(), revision: at.unwrap_or(0), next: after };
    loop {
        let mut path = format!("/api/v2/kv?prefix={}&", escape(prefix));
        path += &all.next.as_deref().map(|after| format!("after={}&", escape(after))).unwrap_or_default();
        path += &Some(all.revision).filter(|at| *at > 0).map(|at| format!("at={at}&")).unwrap_or_default();
        let left = count.saturating_sub(all.keys.len()).min(limits::API_PAGE_ENTRIES);
        match team.page::<KvList>(&path, left).await? {
            Ok(page) => {
                all.keys.extend(page.keys);
                (all.revision, all.next) = (page.revision, page.next);
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
        if all.next.is_none() || all.keys.len() >= count {
            return Ok(Ok(all));
        }
    }
}

async fn list(
    team: &mut CoordinationClient,
    prefix: &str,
    count: usize,
    after: Option<String>,
    at: Option<u64>,
    json: bool,
) -> Result<(), Failure> {
    if !(1..=limits::API_PAGE_MAX_ENTRIES).contains(&count) {
        return Err(Failure::Usage(format!("-n is from 1 to {}", limits::API_PAGE_MAX_ENTRIES)));
    }
    let found = read(team, prefix, count, after, at).await??;
    if json {
        return print_json(&found);
    }
    let rows: Vec<_> = found.keys.iter().map(row).collect();
    print_table(&["KEY", "VERSION", "AGE", "BY", "EXPIRES", "VALUE"], &rows)?;
    if let Some(next) = &found.next {
        inform(&format!("there are more: --after '{next}'"));
    }
    Ok(())
}

fn row(found: &KvDocument) -> Vec<String> {
    let expires = if found.expires { "yes" } else { "no" };
    vec![
        found.key.clone(),
        found.version.to_string(),
        ago(found.written_ns),
        identity(Some(&found.by), found.client.as_deref()),
        expires.to_owned(),
        short(&found.value),
    ]
}

/// The difference between two listings: changed keys, and deleted ones.
fn changes<'a>(before: &BTreeMap<String, u64>, now: &'a KvList) -> (Vec<&'a KvDocument>, Vec<String>) {
    let new = now.keys.iter().filter(|found| before.get(&found.key) != Some(&found.revision)).collect();
    let gone = before.keys().filter(|key| !now.keys.iter().any(|found| found.key == **key));
    (new, gone.cloned().collect())
}

async fn watch(team: &mut CoordinationClient, prefix: &str, json: bool) -> Result<(), Failure> {
    team.listen(&format!("/api/v2/kv?prefix={}&limit=1", escape(prefix)));
    let mut known = BTreeMap::new();
    let mut cut = false;
    loop {
        match read(team, prefix, limits::API_PAGE_MAX_ENTRIES, None, None).await {
            Ok(Ok(now)) => {
                let (new, gone) = changes(&known, &now);
                for found in new {
                    match json {
                        true => print_line(found)?,
                        false => {
                            print(&format::printable(&format!("{} {}", found.key, short(&found.value))))?
                        }
                    }
                }
                for key in gone {
                    match json {
                        true => print_line(&json!({"key": key, "deleted": true}))?,
                        false => print(&format::printable(&format!("{key} (gone)")))?,
                    }
                }
                if now.next.is_some() && !cut {
                    complain("there are more keys than are watched: give a longer prefix");
                }
                cut = now.next.is_some();
                known = now.keys.into_iter().map(|found| (found.key, found.revision)).collect();
            }
            Ok(Err(refusal)) => complain(format::printable(&refusal.why)),
            Err(Failure::Nothing(why)) => complain(why),
            Err(failure) => return Err(failure),
        }
        team.next_change().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        assert_eq!(path("a/b", None, None), "/api/v2/kv/a%2Fb");
        assert_eq!(path("a", Some(0), Some("ttl_ms=500".to_owned())), "/api/v2/kv/a?version=0&ttl_ms=500");
    }

    #[test]
    fn changes_are_told_once() {
        let document = |key: &str, revision| KvDocument {
            key: key.to_owned(),
            value: Value::Null,
            version: 1,
            revision,
            created: 1,
            by: String::new(),
            client: None,
            written_ns: 0,
            expires: false,
        };
        let now = KvList {
            keys: vec![document("a", 1), document("b", 5), document("c", 6)],
            revision: 6,
            next: None,
        };
        let before = [("a", 1), ("b", 2), ("d", 3)].map(|(key, revision)| (key.to_owned(), revision)).into();
        let (new, gone) = changes(&before, &now);
        assert_eq!(new.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(gone, ["d"]);
    }

    #[test]
    fn a_write_in_doubt_says_where_to_look() {
        let lost = ApiError { status: roverline_client::REQUEST_LOST, why: "lost".to_owned() };
        assert!(in_doubt(lost, "a").to_string().contains("'roverline kv get a --linearizable'"));
        let refused = ApiError { status: 409, why: "it has version 2".to_owned() };
        assert_eq!(in_doubt(refused, "a").to_string(), "it has version 2");
    }
}
