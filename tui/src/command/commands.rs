//! `roverline publish`, `call`, `action`, `cancel`, `param` and `commands`: what changes the rover, done once.

mod body;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use roverline_client::Config;
use roverline_protocol::api::commands::{
    CommandDocument, CommandKind, CommandList, CommandRequest, CommandState,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::commands::{CancelArgs, CommandOptions, CommandsArgs, ParamCommand, TargetArgs};
use crate::command::Failure;
use crate::command::commands::body::parse;
use crate::command::coordination::{
    CoordinationClient, escape, inform, is_indeterminate, print_json, print_line, print_table, to_value,
};
use crate::format;

const PATH: &str = "/api/v2/commands";
/// Attempts while endpoints are lost before they answer; the rover does the command once.
const ATTEMPTS: usize = 5;
/// The shortest time to live that an endpoint takes.
const SHORTEST_TTL_MS: u64 = 10;
/// The longest time of a goal.
const GOAL_WAIT: Duration = Duration::from_secs(600);

/// Publishes, calls, or sends a goal.
pub async fn send(config: Config, kind: CommandKind, args: TargetArgs) -> Result<ExitCode, Failure> {
    let body = parse(&args.body).map_err(|error| Failure::Usage(error.to_string()))?;
    run(config, kind, args.target, body, args.options).await
}

/// Cancels a goal.
pub async fn cancel(config: Config, args: CancelArgs) -> Result<ExitCode, Failure> {
    let body = json!({"command": args.command});
    run(config, CommandKind::Cancel, args.action, body, args.options).await
}

/// Sets a parameter.
pub async fn param(config: Config, command: ParamCommand) -> Result<ExitCode, Failure> {
    let ParamCommand::Set { node, name, value, options } = command;
    let value = parse(&value).map_err(|error| Failure::Usage(error.to_string()))?;
    run(config, CommandKind::Parameter, node, json!({ name: value }), options).await
}

async fn run(
    config: Config,
    kind: CommandKind,
    target: String,
    body: Value,
    options: CommandOptions,
) -> Result<ExitCode, Failure> {
    let id = match &options.id {
        None => Uuid::now_v7(),
        Some(id) => {
            Uuid::parse_str(id).map_err(|_| Failure::Usage(format!("--id: '{id}' is no UUID (RFC 9562)")))?
        }
    };
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
    let request = CommandRequest {
        id: id.hyphenated().to_string(),
        kind,
        target,
        type_name: options.type_name,
        body,
        ttl_ms: milliseconds(options.ttl),
        // The link knows the endpoint's clock.
        sent_ns: None,
        timeout_ms: milliseconds(options.timeout),
        client: options.client.unwrap_or_default(),
        token: options.fencing_token,
    };
    let wait = match kind {
        CommandKind::Goal => GOAL_WAIT,
        _ => options.ttl + options.timeout,
    };
    let done = CoordinationClient::run(config, async |client| execute(client, &request, wait).await).await?;
    show(&done, options.json)
}

/// Sends it until an endpoint has answered: the rover knows the id and does it once.
async fn execute(
    client: &mut CoordinationClient,
    request: &CommandRequest,
    wait: Duration,
) -> Result<CommandDocument, Failure> {
    let (mut attempt, begin) = (1, Instant::now());
    loop {
        // The time to live began when it was sent first.
        let spent_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ttl_ms = request.ttl_ms.map(|ttl_ms| ttl_ms.saturating_sub(spent_ms).max(SHORTEST_TTL_MS));
        let request = CommandRequest { ttl_ms: ttl_ms.min(request.ttl_ms), ..request.clone() };
        match client.try_request("POST", PATH, Some(to_value(&request)), wait).await? {
            Err(refused) if is_indeterminate(&refused) && attempt < ATTEMPTS => attempt += 1,
            answer => return Ok(answer?),
        }
    }
}

fn show(done: &CommandDocument, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        print_json(done)?;
    } else {
        if let Some(result) = &done.result {
            print_json(result)?;
        }
        inform(&outcome(done));
    }
    let is_done = matches!(done.state, CommandState::Verified | CommandState::Dispatched);
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn outcome(done: &CommandDocument) -> String {
    let why =
        done.reason.iter().chain(&done.verified_by).next().map_or_else(String::new, |why| format!(": {why}"));
    format::printable(&format!("{}{why} (command {})", done.state.word(), done.id))
}

/// Lists commands.
pub async fn list(config: Config, args: CommandsArgs) -> Result<ExitCode, Failure> {
    let pairs = [("state", &args.state), ("target", &args.target)];
    let query: Vec<String> = pairs
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", escape(value.as_deref()?))))
        .collect();
    let path = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{}", query.join("&")) };
    CoordinationClient::run(config, async |client| {
        if args.watch {
            return client
                .watch(&path, |list: CommandList| if args.json { print_line(&list) } else { table(&list) })
                .await;
        }
        let list: CommandList = client.get(&path).await?;
        if args.json { print_json(&list) } else { table(&list) }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

fn table(list: &CommandList) -> Result<(), Failure> {
    let rows = list.commands.iter().map(|command| {
        let why = command.reason.iter().chain(&command.verified_by).next().cloned().unwrap_or_default();
        vec![
            command.id.clone(),
            command.kind.word().to_owned(),
            command.target.clone(),
            command.state.word().to_owned(),
            command.by.clone(),
            why,
        ]
    });
    print_table(&["command", "kind", "target", "state", "by", "outcome"], &rows.collect::<Vec<_>>())
}
