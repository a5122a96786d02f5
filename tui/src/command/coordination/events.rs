//! `roverline events`.

use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::events::*;
use roverline_protocol::limits;

use crate::cli::coordination::{EventFilter, EventsCommand, NewEvent};
use crate::command::Failure;
use crate::command::coordination::print::{print, short};
use crate::command::coordination::value::value;
use crate::command::coordination::{Refusal, Team, escape, own_id, print_json, print_line, print_table};
use crate::format;

/// Events that are printed unless it is said.
const SOME: usize = 20;
/// The most that are printed of what was.
const MOST: usize = 10_000;
/// Exit code of a log that is not what was written.
const NOT_SOUND: u8 = 1;

/// Does it.
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
    let mut team = Team::open(config).await?;
    match command {
        EventsCommand::Tail { filter, follow } => tail(&mut team, &filter, follow).await?,
        EventsCommand::Verify { json } => return verify(&mut team, json).await,
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
        id: Some(new.id.unwrap_or_else(own_id)),
        correlation_id: new.correlation,
        causation_id: None,
        trace: None,
    };
    let mut team = Team::open(config).await?;
    let (done, _) = team.insist::<AppendedDocument>("/api/v2/events", &request).await?;
    let done = done?;
    if new.json { print_json(&done) } else { print(&done.seq.to_string()) }?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(team: &mut Team, json: bool) -> Result<ExitCode, Failure> {
    // It reads the whole log.
    let patience = Duration::from_secs(60);
    let found: VerdictDocument = team.ask("GET", "/api/v2/events/verify", None, patience).await?;
    if json {
        print_json(&found)?;
    } else if found.sound {
        let VerdictDocument { events, first, last, seals, .. } = &found;
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

/// The path of the events that are wanted; more of the query follows.
fn path(filter: &EventFilter) -> String {
    let given = [("stream", &filter.stream), ("type", &filter.kind), ("correlation_id", &filter.correlation)];
    let mut path = "/api/v2/events?".to_owned();
    for (name, text) in given {
        path += &text.as_deref().map(|text| format!("{name}={}&", escape(text))).unwrap_or_default();
    }
    path
}

async fn tail(team: &mut Team, filter: &EventFilter, follow: bool) -> Result<(), Failure> {
    let count = filter.count.unwrap_or(SOME);
    if count > MOST {
        return Err(Failure::Usage(format!("-n is at most {MOST}")));
    }
    // What is behind the head is shown first, and what comes after it is followed: no event is both.
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
            // Removed, as too old, while it was read: the others are shown.
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

/// Shows every event from this number on, once and in order.
async fn follow_from(team: &mut Team, filter: &EventFilter, mut from: u64) -> Result<(), Failure> {
    team.listen("/api/v2/events/head");
    loop {
        // Whatever happens to the link: it goes on behind the last event that was shown.
        match new_events(team, filter, &mut from).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => eprintln!("roverline: {}", format::printable(&refusal.why)),
            Err(Failure::Nothing(why)) => eprintln!("roverline: {why}"),
            Err(failure) => return Err(failure),
        }
        team.stirred().await?;
    }
}

async fn new_events(
    team: &mut Team,
    filter: &EventFilter,
    from: &mut u64,
) -> Result<Result<(), Refusal>, Failure> {
    loop {
        let path = format!("{}from={from}&", path(filter));
        let page = match team.page::<EventList>(&path, limits::EVENT_PAGE_ENTRIES).await? {
            Ok(page) => page,
            Err(refusal) if refusal.status == 410 => {
                let head: LogHeadDocument = team.get("/api/v2/events/head").await?;
                let first = head.floor.map_or(0, |floor| floor.seq) + 1;
                if first > *from {
                    eprintln!("roverline: events {from} to {} were removed before they were read", first - 1);
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

fn show(event: &EventDocument, json: bool) -> Result<(), Failure> {
    if json {
        return print_line(event);
    }
    let who = event.by.as_deref().unwrap_or(&event.node);
    let line = format!(
        "{:>6}  {}  {}  {}  {who}  {}",
        event.seq,
        format::date(event.at_ns),
        format::left(&format::printable(&event.kind), 22),
        format::left(&format::printable(&event.stream), 22),
        short(&event.data),
    );
    print(&format::printable(&line))
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
}
