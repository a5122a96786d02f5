//! `roverline traces`: where the time of requests went.

mod stages;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::traces::{TraceDocument, TraceList, TraceSummary};

use crate::cli::traces::TracesArgs;
use crate::command::Failure;
use crate::command::coordination::{CoordinationClient, escape};
use crate::command::print::{complain, print, print_json, print_line, print_table, print_text};
use crate::format;
use crate::waterfall::{duration, waterfall};

/// Interval between two requests while new traces are followed.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Most traces that one request returns.
const PAGE: usize = 100;
/// Digits of a whole trace id.
const ID_DIGITS: usize = 32;
/// Columns of a trace's bars.
const BAR_COLUMNS: usize = 40;
const HEAD: [&str; 6] = ["TRACE", "BEGAN (UTC)", "TOOK", "SPANS", "SERVICE", "NAME"];

/// Runs the command.
pub async fn run(config: Config, args: TracesArgs) -> Result<ExitCode, Failure> {
    CoordinationClient::run(config, async |team| execute(team, &args).await).await
}

async fn execute(team: &mut CoordinationClient, args: &TracesArgs) -> Result<ExitCode, Failure> {
    match &args.id {
        Some(id) => show(team, id, args.json).await?,
        None if args.topic.is_some() || args.topics => stages::show(team, args).await?,
        None if args.follow => follow(team, args).await?,
        None => {
            let list: TraceList = team.get(&path(args, usize::from(args.count), None)).await?;
            match args.json {
                true => print_json(&list)?,
                false => print_list(&list)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The path of a list.
fn path(args: &TracesArgs, limit: usize, since_ns: Option<i64>) -> String {
    let mut path = format!("/api/v2/traces?limit={limit}");
    let texts = [("name", &args.name), ("attribute", &args.attribute)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))) {
        path += &format!("&{name}={}", escape(text));
    }
    if let Some(slow) = args.slow {
        path += &format!("&min_ms={}", slow.as_millis());
    }
    if args.errors {
        path += "&errors=true";
    }
    if let Some(since_ns) = since_ns {
        path += &format!("&since_ms={}", since_ns.max(0) / 1_000_000);
    }
    path
}

fn print_list(list: &TraceList) -> Result<(), Failure> {
    if list.traces.is_empty() {
        print("no trace matches; requests make them: roverline kv list")?;
    } else {
        // The newest is next to the prompt.
        let rows: Vec<_> = list.traces.iter().rev().map(row).collect();
        print_table(&HEAD, &rows)?;
    }
    for tier in &list.unreachable {
        complain(format_args!("the {tier} endpoint did not answer: traces of it are missing"));
    }
    Ok(())
}

fn row(trace: &TraceSummary) -> Vec<String> {
    let mut name = trace.name.clone();
    if trace.error {
        name += "  (failed)";
    }
    if trace.unfinished {
        name += "  (unfinished)";
    }
    vec![
        trace.trace_id.get(..8).unwrap_or(&trace.trace_id).to_owned(),
        format::date(trace.start_ns),
        duration(trace.duration_ns),
        trace.spans.to_string(),
        trace.service.clone(),
        name,
    ]
}

/// Prints new traces as they come, each once: when all its spans have ended, or after a second.
async fn follow(team: &mut CoordinationClient, args: &TracesArgs) -> Result<(), Failure> {
    let first: TraceList = team.get(&path(args, 1, None)).await?;
    let mut since = first.traces.first().map_or(0, |trace| trace.start_ns);
    // Those printed that the next list may have again.
    let mut printed: BTreeMap<String, i64> =
        first.traces.into_iter().map(|t| (t.trace_id, t.start_ns)).collect();
    loop {
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        let list = match team.get::<TraceList>(&path(args, PAGE, Some(since))).await {
            Ok(list) => list,
            Err(Failure::Nothing(why)) => {
                complain(why);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        for trace in list.traces.iter().rev() {
            if printed.insert(trace.trace_id.clone(), trace.start_ns).is_some() {
                continue;
            }
            since = since.max(trace.start_ns);
            match args.json {
                true => print_line(trace)?,
                false => print(&format::printable(&row(trace).join("  ")))?,
            }
        }
        printed.retain(|_, start_ns| *start_ns / 1_000_000 >= since / 1_000_000);
    }
}

/// Prints one trace, whose id begins with `id`.
async fn show(team: &mut CoordinationClient, id: &str, json: bool) -> Result<(), Failure> {
    let id = id.to_ascii_lowercase();
    let id = if id.len() < ID_DIGITS { complete(team, &id).await? } else { id };
    let trace: TraceDocument = team.get(&format!("/api/v2/traces/{}", escape(&id))).await?;
    if json {
        return print_json(&trace);
    }
    print_text(&waterfall(&trace, BAR_COLUMNS))?;
    for tier in &trace.unreachable {
        complain(format_args!("the {tier} endpoint did not answer: spans of it are missing"));
    }
    Ok(())
}

/// The only trace in the list whose id begins so.
async fn complete(team: &mut CoordinationClient, start: &str) -> Result<String, Failure> {
    let list: TraceList = team.get(&format!("/api/v2/traces?limit={PAGE}")).await?;
    let ids: Vec<&String> =
        list.traces.iter().map(|trace| &trace.trace_id).filter(|id| id.starts_with(start)).collect();
    match ids[..] {
        [id] => Ok(id.clone()),
        [] => Err(Failure::Nothing(format!(
            "none of the newest {PAGE} traces begins with '{}'; roverline traces lists them",
            format::printable(start)
        ))),
        _ => Err(Failure::Usage(format!(
            "{} traces begin with '{}': write more digits",
            ids.len(),
            format::printable(start)
        ))),
    }
}
