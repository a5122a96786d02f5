//! `roverline events`.

use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::events::*;
use roverline_protocol::limits;

use crate::cli::coordination::{EventFilter, EventsCommand, NewEvent};
use crate::command::Failure;
use crate::command::coordination::value::value;
use crate::command::coordination::{
    ApiError, CoordinationClient, escape, print_json, print_line, print_table, random_id,
};
use crate::command::print::{complain, identity, print, short};
use crate::format;

/// Default number of events printed.
const SOME: usize = 20;
/// Most past events printed.
const MOST: usize = 10_000;
/// Exit code if verification fails.
const NOT_SOUND: u8 = 1;

/// Runs the subcommand.
pub async fn run(
    config: Config,
    filter: EventFilter,
    command: Option<EventsCommand>,
) -> Result<ExitCode, Failure> {
    if command.is_some() && filter != EventFilter::default() {
        return Err(Failure::Usage("say which events behind the command: events tail --stream S".to_owned()));
    }
    let command = match command {
        Some(EventsCommand::Append(new)) => return append(config, new).await,
        command => command.unwrap_or(EventsCommand::Tail { filter, follow: false }),
    };
    CoordinationClient::run(config, async |team| execute(team, command).await).await
}

async fn execute(team: &mut CoordinationClient, command: EventsCommand) -> Result<ExitCode, Failure> {
    match command {
        EventsCommand::Tail { filter, follow } => tail(team, &filter, follow).await?,
        EventsCommand::Verify { json } => return verify(team, json).await,
        _ => print_json(&team.get::<LogHeadDocument>("/api/v2/events/head").await?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn append(config: Config, new: NewEvent) -> Result<ExitCode, Failure> {
    let request = NewEventRequest {
        stream: new.stream,
        kind: new.kind,
        data: value(&new.data)?,
        expected_version: new.if_version,
        id: Some(new.id.unwrap_or_else(random_id)),
        correlation_id: new.correlation,
        causation_id: None,
        trace: None,
    };
    let append = async |team: &mut CoordinationClient| {
        team.retry_idempotent::<AppendedDocument>("/api/v2/events", &request).await
    };
    let (done, _) = CoordinationClient::run(config, append).await?;
    let done = done?;
    if new.json { print_json(&done) } else { print(&done.seq.to_string()) }?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(team: &mut CoordinationClient, json: bool) -> Result<ExitCode, Failure> {
    // It reads the whole log.
    let patience = Duration::from_secs(60);
    let found: VerificationDocument = team.request("GET", "/api/v2/events/verify", None, patience).await?;
    if json {
        print_json(&found)?;
    } else if found.sound {
        let VerificationDocument { events, first, last, seals, .. } = &found;
        print(&format!("sound: {events} events, {first} to {last}; {seals} signatures hold"))?;
    } else {
        let row = |finding: &FindingDocument| {
            vec![finding.seq.to_string(), finding.fault.clone(), finding.what.clone()]
        };
        let rows: Vec<_> = found.findings.iter().map(row).collect();
        print_table(&["EVENT", "FAULT", "WHAT"], &rows)?;
    }
    Ok(if found.sound { ExitCode::SUCCESS } else { ExitCode::from(NOT_SOUND) })
}

/// The path of the filtered list; more query parameters follow.
fn path(filter: &EventFilter) -> String {
    let given = [("stream", &filter.stream), ("type", &filter.kind), ("correlation_id", &filter.correlation)];
    let mut path = "/api/v2/events?".to_owned();
    for (name, text) in given {
        path += &text.as_deref().map(|text| format!("{name}={}&", escape(text))).unwrap_or_default();
    }
    path
}

async fn tail(team: &mut CoordinationClient, filter: &EventFilter, follow: bool) -> Result<(), Failure> {
    let count = filter.count.unwrap_or(SOME);
    if count > MOST {
        return Err(Failure::Usage(format!("-n is at most {MOST}")));
    }
    // Events up to the head are printed first, later ones are followed: no event is in both.
    let head: LogHeadDocument = team.get("/api/v2/events/head").await?;
    let head = head.head.map_or(0, |head| head.seq);
    let mut events = Vec::new();
    let mut at = Some(head).filter(|head| *head > 0);
    while let Some(from) = at.filter(|_| events.len() < count) {
        let path = format!("{}backward=true&from={from}&", path(filter));
        let left = (count - events.len()).min(limits::EVENT_PAGE_ENTRIES);
        match team.page::<EventList>(&path, left).await? {
            Ok(page) => {
                events.extend(page.events);
                at = page.next;
            }
            // Removed by retention while it was read: the others are shown.
            Err(refusal) if refusal.status == 410 => at = None,
            Err(refusal) => return Err(refusal.into()),
        }
    }
    events.reverse();
    match (filter.json, follow) {
        (true, false) => return print_json(&EventList { events, next: None }),
        (json, _) => events.iter().try_for_each(|event| show(event, json))?,
    }
    if follow { follow_from(team, filter, head + 1).await } else { Ok(()) }
}

/// Prints every event from this number on, once and in order.
async fn follow_from(
    team: &mut CoordinationClient,
    filter: &EventFilter,
    mut from: u64,
) -> Result<(), Failure> {
    team.listen("/api/v2/events/head");
    loop {
        // After a lost connection it continues behind the last printed event.
        match new_events(team, filter, &mut from).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => complain(format::printable(&refusal.why)),
            Err(Failure::Nothing(why)) => complain(why),
            Err(failure) => return Err(failure),
        }
        team.next_change().await?;
    }
}

async fn new_events(
    team: &mut CoordinationClient,
    filter: &EventFilter,
    from: &mut u64,
) -> Result<Result<(), ApiError>, Failure> {
    loop {
        let path = format!("{}from={from}&", path(filter));
        let page = match team.page::<EventList>(&path, limits::EVENT_PAGE_ENTRIES).await? {
            Ok(page) => page,
            Err(refusal) if refusal.status == 410 => {
                let head: LogHeadDocument = team.get("/api/v2/events/head").await?;
                let first = head.floor.map_or(0, |floor| floor.seq) + 1;
                if first > *from {
                    complain(format_args!(
                        "events {from} to {} were removed before they were read",
                        first - 1
                    ));
                    *from = first;
                    continue;
                }
                return Ok(Err(refusal));
            }
            Err(refusal) => return Ok(Err(refusal)),
        };
        for event in &page.events {
            show(event, filter.json)?;
            *from = event.seq + 1;
        }
        if page.next.is_none() {
            return Ok(Ok(()));
        }
    }
}

fn show(event: &LogEvent, json: bool) -> Result<(), Failure> {
    if json {
        return print_line(event);
    }
    print(&line(event))
}

/// An event in one line.
fn line(event: &LogEvent) -> String {
    let who = identity(Some(event.by.as_deref().unwrap_or(&event.node)), event.client.as_deref());
    let line = format!(
        "{:>6}  {}  {}  {}  {who}  {}",
        event.seq,
        format::date(event.at_ns),
        format::left(&format::printable(&event.kind), 22),
        format::left(&format::printable(&event.stream), 22),
        short(&event.data),
    );
    format::printable(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_which_events() {
        assert_eq!(path(&EventFilter::default()), "/api/v2/events?");
        let stream = EventFilter { stream: Some("lock/arm".to_owned()), ..EventFilter::default() };
        assert_eq!(path(&stream), "/api/v2/events?stream=lock%2Farm&");
        let kind = EventFilter { kind: Some("a b".to_owned()), ..EventFilter::default() };
        assert_eq!(path(&kind), "/api/v2/events?type=a%20b&");
    }

    #[test]
    fn an_event_shows_its_identity_and_what_its_client_says() {
        let event = |by: Option<&str>, client: Option<&str>| LogEvent {
            seq: 7,
            stream: "lock/arm".to_owned(),
            version: 1,
            kind: "lock.acquired".to_owned(),
            at_ns: 0,
            node: "primary".to_owned(),
            by: by.map(str::to_owned),
            client: client.map(str::to_owned),
            id: String::new(),
            correlation_id: None,
            causation_id: None,
            trace: None,
            data: serde_json::json!({"token": 7}),
            prev: String::new(),
            hash: String::new(),
        };
        let events =
            [event(Some("ada"), Some("\u{1b}[2Jchief")), event(Some("ada"), Some("ada")), event(None, None)];
        insta::assert_snapshot!(events.map(|event| line(&event)).join("\n"));
    }
}
