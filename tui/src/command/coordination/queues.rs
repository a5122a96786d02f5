//! `roverline queues`.

use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::queues::*;
use roverline_protocol::limits;
use roverline_protocol::printable::printable_json;

use crate::cli::coordination::{DequeueArgs, EnqueueArgs, QueuesCommand};
use crate::command::Failure;
use crate::command::coordination::value::value;
use crate::command::coordination::{
    CoordinationClient, escape, inform, is_indeterminate, print_json, print_line, print_table, random_id,
};
use crate::command::print::{ago, identity, print, short};
use crate::format;

/// Columns of waiting messages.
const LISTED: [&str; 7] = ["PRIORITY", "TRIES", "READY", "AGE", "BY", "ID", "MESSAGE"];
/// Columns of dead letters.
const DEAD: [&str; 5] = ["AGE", "TRIES", "BY", "WHY", "MESSAGE"];
/// Exit code if the queue was empty.
const NONE: u8 = 1;

/// Runs the subcommand.
pub async fn run(config: Config, command: QueuesCommand) -> Result<ExitCode, Failure> {
    let command = match command {
        QueuesCommand::Enqueue(request) => return enqueue(config, request).await,
        command => command,
    };
    CoordinationClient::run(config, async |team| execute(team, command).await).await
}

async fn execute(team: &mut CoordinationClient, command: QueuesCommand) -> Result<ExitCode, Failure> {
    match command {
        QueuesCommand::Dequeue(request) => return dequeue(team, request).await,
        QueuesCommand::Ack { ids, delivery, force, reason, json } => {
            ack_all(team, &ids, (delivery, force, reason), json).await?;
        }
        QueuesCommand::Nak { .. }
        | QueuesCommand::Extend { .. }
        | QueuesCommand::Redrive { .. }
        | QueuesCommand::Purge { .. } => change(team, command).await?,
        command => inspect(team, command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn inspect(team: &mut CoordinationClient, command: QueuesCommand) -> Result<(), Failure> {
    let all = format!("/api/v2/queues?limit={}", limits::API_PAGE_MAX_ENTRIES);
    match command {
        QueuesCommand::Watch { json } => {
            let show = |list: QueueList| if json { print_line(&list) } else { table(&list.queues) };
            team.watch(&all, show).await
        }
        QueuesCommand::Status { queue, json } => {
            let one: QueueDocument = team.get(&format!("/api/v2/queues/{}", escape(&queue))).await?;
            if json { print_json(&one) } else { table(&[one]) }
        }
        QueuesCommand::Peek { queue, count, json } => {
            let path = format!("/api/v2/queues/{}/peek?max={}", escape(&queue), at_most(count)?);
            let found: PeekDocument = team.get(&path).await?;
            if json {
                return print_json(&found);
            }
            let rows: Vec<_> = found.messages.iter().map(listed).collect();
            print_table(&LISTED, &rows)
        }
        QueuesCommand::Dead { queue, count, after, json } => {
            let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
            let path = format!("/api/v2/queues/{}/dead?max={}{after}", escape(&queue), at_most(count)?);
            let found: DeadDocument = team.get(&path).await?;
            if json {
                return print_json(&found);
            }
            let rows: Vec<_> = found.messages.iter().map(dead_letter).collect();
            print_table(&DEAD, &rows)
        }
        command => {
            let list: QueueList = team.get(&all).await?;
            let json = matches!(command, QueuesCommand::List { json: true });
            if json { print_json(&list) } else { table(&list.queues) }
        }
    }
}

fn table(queues: &[QueueDocument]) -> Result<(), Failure> {
    let row = |queue: &QueueDocument| {
        let hidden = format::millis(Duration::from_millis(queue.visibility_ms));
        vec![
            queue.name.clone(),
            queue.ready.to_string(),
            queue.in_flight.to_string(),
            queue.delayed.to_string(),
            queue.dead.to_string(),
            queue.oldest_ns.map_or_else(|| "–".to_owned(), since),
            queue.max_deliveries.to_string(),
            hidden,
            queue.node_id.clone(),
        ]
    };
    let rows: Vec<_> = queues.iter().map(row).collect();
    print_table(&["QUEUE", "READY", "TAKEN", "LATER", "DEAD", "OLDEST", "TRIES", "HIDDEN", "NODE"], &rows)
}

fn dead_letter(dead: &DeadMessage) -> Vec<String> {
    let reason = dead.reason.clone().unwrap_or_default();
    let tries = dead.message.deliveries.to_string();
    let by = identity(Some(&dead.dead_by), dead.dead_by_client.as_deref());
    vec![since(dead.dead_ns), tries, by, reason, short(&dead.message.message)]
}

fn listed(one: &ListedMessage) -> Vec<String> {
    vec![
        one.priority.to_string(),
        one.deliveries.to_string(),
        if one.ready { "yes" } else { "no" }.to_owned(),
        since(one.enqueued_ns),
        identity(Some(&one.by), one.client.as_deref()),
        one.message_id.clone(),
        short(&one.message),
    ]
}

fn since(then_ns: u64) -> String {
    ago(i64::try_from(then_ns).unwrap_or(i64::MAX))
}

async fn enqueue(config: Config, request: EnqueueArgs) -> Result<ExitCode, Failure> {
    // An invalid message is reported without an endpoint.
    let message = EnqueuedMessage {
        message: value(&request.message)?,
        priority: request.priority,
        delay_ms: request.delay.map(milliseconds),
        dedup_id: Some(request.dedup.unwrap_or_else(random_id)),
    };
    let path = format!("/api/v2/queues/{}/enqueue", escape(&request.queue));
    let body = Enqueue { messages: vec![message] };
    let enqueue =
        async |team: &mut CoordinationClient| team.retry_idempotent::<EnqueueDocument>(&path, &body).await;
    let (done, _) = CoordinationClient::run(config, enqueue).await?;
    let done = done?;
    if request.json {
        print_json(&done)?;
    } else {
        for accepted in &done.messages {
            print(&format::printable(&accepted.message_id))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn dequeue(team: &mut CoordinationClient, request: DequeueArgs) -> Result<ExitCode, Failure> {
    let max = Some(at_most(request.count)?);
    let path = format!("/api/v2/queues/{}/dequeue", escape(&request.queue));
    let end = tokio::time::Instant::now() + request.wait.unwrap_or_default();
    let taken = loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let wait = left.min(Duration::from_millis(limits::QUEUE_WAIT_MS));
        let wanted =
            Dequeue { max, visibility_ms: request.visibility.map(milliseconds), wait_ms: milliseconds(wait) };
        match team
            .try_request::<DequeueDocument>(
                "POST",
                &path,
                Some(crate::command::coordination::to_value(&wanted)),
                wait,
            )
            .await?
        {
            Ok(taken) if taken.messages.is_empty() && !left.saturating_sub(wait).is_zero() => {}
            Ok(taken) => break taken.messages,
            Err(refusal) if is_indeterminate(&refusal) => {
                return Err(Failure::Nothing(format!(
                    "{}; a message that was taken comes again when its time is over: ask again",
                    refusal.why
                )));
            }
            Err(refusal) => return Err(refusal.into()),
        }
    };
    for message in &taken {
        match request.json {
            true => print_line(message)?,
            false => print(&format!(
                "{}\t{}\t{}",
                format::printable(&message.message_id),
                message.delivery,
                printable_json(&message.message.to_string())
            ))?,
        }
        if request.ack {
            let body = Ack {
                message_id: message.message_id.clone(),
                delivery: Some(message.delivery),
                force: false,
                reason: None,
            };
            ack(team, &body).await?;
        }
    }
    Ok(if taken.is_empty() { ExitCode::from(NONE) } else { ExitCode::SUCCESS })
}

async fn ack_all(
    team: &mut CoordinationClient,
    ids: &[String],
    (delivery, force, reason): (Option<u32>, bool, Option<String>),
    json: bool,
) -> Result<(), Failure> {
    for id in ids {
        let body = Ack { message_id: id.clone(), delivery, force, reason: reason.clone() };
        let done = ack(team, &body).await?;
        if json {
            print_line(&done)?;
        }
    }
    Ok(())
}

/// Acknowledges a message; a repeated acknowledgement is harmless.
async fn ack(team: &mut CoordinationClient, body: &Ack) -> Result<CountDocument, Failure> {
    match team.retry_idempotent(&of_message(&body.message_id, "ack")?, body).await? {
        (Ok(done), _) => Ok(done),
        // Done by the request whose answer was lost, or by a later consumer.
        (Err(refusal), true) if refusal.status == 404 => Ok(CountDocument { messages: 0 }),
        (Err(refusal), _) => Err(refusal.into()),
    }
}

async fn change(team: &mut CoordinationClient, command: QueuesCommand) -> Result<(), Failure> {
    let (done, json): (CountDocument, bool) = match command {
        QueuesCommand::Nak { id, delay, reason, force, delivery, json } => {
            let path = of_message(&id, "nak")?;
            let nak = Nak { message_id: id, delivery, delay_ms: delay.map(milliseconds), reason, force };
            (team.post(&path, &nak).await?, json)
        }
        QueuesCommand::Extend { id, visibility, delivery, json } => {
            let path = of_message(&id, "extend")?;
            let extend = Extend { message_id: id, delivery, visibility_ms: milliseconds(visibility) };
            (team.retry_idempotent(&path, &extend).await?.0?, json)
        }
        QueuesCommand::Redrive { queue, max, json } => {
            let path = format!("/api/v2/queues/{}/redrive", escape(&queue));
            (team.post(&path, &Redrive { max }).await?, json)
        }
        QueuesCommand::Purge { queue, reason, dead, json } => {
            let path = format!("/api/v2/queues/{}/purge", escape(&queue));
            (team.post(&path, &Purge { dead, reason: Some(reason) }).await?, json)
        }
        _ => return Ok(()),
    };
    if json {
        return print_json(&done);
    }
    inform(&format!("{} of them", done.messages));
    Ok(())
}

/// The path of a message; its id begins with its queue: QUEUE:PRIORITY:NUMBER:TAIL.
fn of_message(id: &str, deed: &str) -> Result<String, Failure> {
    let mut parts = id.rsplitn(4, ':');
    let queue = parts.nth(3).filter(|queue| !queue.is_empty());
    let queue = queue.ok_or_else(|| {
        let shown = format::fit(&format::printable(id), 40);
        Failure::Usage(format!(
            "{shown} is no message id: give what 'roverline queues dequeue' printed first"
        ))
    })?;
    Ok(format!("/api/v2/queues/{}/{deed}", escape(queue)))
}

fn at_most(count: usize) -> Result<usize, Failure> {
    match (1..=limits::QUEUE_BATCH_MESSAGES).contains(&count) {
        true => Ok(count),
        false => Err(Failure::Usage(format!("-n is from 1 to {}", limits::QUEUE_BATCH_MESSAGES))),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::print;

    #[test]
    fn a_message_shows_its_identity_and_what_its_client_says() {
        let message = |by: &str, client: Option<&str>| ListedMessage {
            message: serde_json::json!({"x": 1}),
            message_id: "way:0:1:ab".to_owned(),
            priority: 0,
            deliveries: 1,
            by: by.to_owned(),
            client: client.map(str::to_owned),
            enqueued_ns: u64::MAX,
            ready: true,
        };
        let rows = [message("ada", Some("\u{1b}[2Jchief")), message("ada", None)];
        let waiting = print::table(&LISTED, &rows.each_ref().map(listed));
        let dead = DeadMessage {
            sequence: 1,
            message: message("ada", None),
            reason: Some("no wheel".to_owned()),
            dead_ns: u64::MAX,
            dead_by: "mallory".to_owned(),
            dead_by_client: Some("ada".to_owned()),
        };
        insta::assert_snapshot!(format!("{waiting}\n{}", print::table(&DEAD, &[dead_letter(&dead)])));
    }

    #[test]
    fn an_id_leads_to_its_queue() {
        let path = |id| of_message(id, "ack").ok();
        assert_eq!(path("way:0:1:ab").as_deref(), Some("/api/v2/queues/way/ack"));
        assert_eq!(path("a:b/c:0:1:ab").as_deref(), Some("/api/v2/queues/a%3Ab%2Fc/ack"));
        for wrong in ["", "work", "0:1:ab", ":0:1:ab"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }
}
