//! `roverline alarms`: prints alarms, acknowledges and shelves them.

use std::process::ExitCode;

use roverline_client::Config;
use roverline_protocol::api::alarms::{
    AcknowledgeRequest, AlarmDocument, AlarmList, AlarmSeverity, AlarmState, ShelveRequest, UnshelveRequest,
};

use crate::cli::alarms::{AlarmsArgs, AlarmsCommand};
use crate::command::Failure;
use crate::command::coordination::{CoordinationClient, escape};
use crate::command::print::{complain, inform, print, print_json, print_line, print_table};
use crate::format;

const HEAD: [&str; 6] = ["SEVERITY", "STATE", "SINCE (UTC)", "ID", "WHAT", "WHO"];

/// Runs the command.
pub async fn run(
    config: Config,
    args: AlarmsArgs,
    command: Option<AlarmsCommand>,
) -> Result<ExitCode, Failure> {
    CoordinationClient::run(config, async |team| execute(team, &args, command).await).await
}

async fn execute(
    team: &mut CoordinationClient,
    args: &AlarmsArgs,
    command: Option<AlarmsCommand>,
) -> Result<ExitCode, Failure> {
    match command {
        None if args.follow => {
            let show =
                |list: AlarmList| if args.json { print_line(&list) } else { print_list(&list, args.all) };
            team.watch(&path(args.severity), show).await?;
        }
        None => {
            let list: AlarmList = team.get(&path(args.severity)).await?;
            match args.json {
                true => print_json(&list)?,
                false => print_list(&list, args.all)?,
            }
        }
        Some(AlarmsCommand::Acknowledge { ids, every, comment, json }) => {
            let ids = if every { unacknowledged(team).await? } else { ids };
            for id in ids {
                let request = AcknowledgeRequest { comment: comment.clone(), occurrence: None };
                let alarm = team.post(&action(&id, "acknowledge"), &request).await?;
                report(&alarm, json)?;
            }
        }
        Some(AlarmsCommand::Shelve { id, reason, duration, json }) => {
            let request = ShelveRequest { reason, duration_s: duration.as_secs() };
            let alarm = team.post(&action(&id, "shelve"), &request).await?;
            report(&alarm, json)?;
        }
        Some(AlarmsCommand::Unshelve { id, json }) => {
            let alarm = team.post(&action(&id, "unshelve"), &UnshelveRequest {}).await?;
            report(&alarm, json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(severity: Option<AlarmSeverity>) -> String {
    let filter = severity.map(|severity| format!("?severity={}", severity.name()));
    format!("/api/v2/alarms{}", filter.unwrap_or_default())
}

fn action(id: &str, verb: &str) -> String {
    format!("/api/v2/alarms/{}/{verb}", escape(id))
}

async fn unacknowledged(team: &mut CoordinationClient) -> Result<Vec<String>, Failure> {
    let list: AlarmList = team.get("/api/v2/alarms?state=raised&shelved=false").await?;
    if list.alarms.is_empty() {
        inform("no alarm waits for an acknowledgement");
    }
    Ok(list.alarms.into_iter().map(|alarm| alarm.id).collect())
}

/// Reports the result of an action: JSON for programs, a sentence for people.
fn report(alarm: &AlarmDocument, json: bool) -> Result<(), Failure> {
    if json {
        return print_line(alarm);
    }
    print(&format!("{}: {}", format::printable(&alarm.id), state(alarm)))
}

fn print_list(list: &AlarmList, all: bool) -> Result<(), Failure> {
    let shown = list.alarms.iter().filter(|alarm| all || alarm.state != AlarmState::Cleared);
    let rows: Vec<_> = shown.map(row).collect();
    match rows.is_empty() {
        true => print("no alarms")?,
        false => print_table(&HEAD, &rows)?,
    }
    if let Some(why) = &list.unshared {
        let why = format::printable(why);
        complain(format_args!("alarms are not shared now, and cannot be acknowledged: {why}"));
    }
    if list.dropped > 0 {
        complain(format_args!("{} alarms are left out: there are too many", list.dropped));
    }
    Ok(())
}

fn row(alarm: &AlarmDocument) -> Vec<String> {
    vec![
        alarm.severity.name().to_owned(),
        state(alarm),
        format::date(alarm.raised_ns),
        alarm.id.clone(),
        format!("{}: {}", alarm.name, alarm.text),
        who(alarm),
    ]
}

/// The state in words.
fn state(alarm: &AlarmDocument) -> String {
    match &alarm.shelved {
        Some(shelf) => format!("shelved for {:.0} s", shelf.remaining_s),
        None if alarm.latched => "over, not acknowledged".to_owned(),
        None => alarm.state.name().to_owned(),
    }
}

/// Who has acknowledged or shelved it, and why.
fn who(alarm: &AlarmDocument) -> String {
    let (by, note) = match (&alarm.shelved, &alarm.acknowledgement) {
        (Some(shelf), _) => (&shelf.by, &shelf.reason),
        (None, Some(acknowledgement)) => (&acknowledgement.by, &acknowledgement.comment),
        (None, None) => return String::new(),
    };
    if note.is_empty() { by.clone() } else { format!("{by}: {note}") }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::alarms::record::{AlarmRecord, AlarmSubject, Observation, Operator};

    use super::*;
    use crate::command::print;

    const SECOND_NS: i64 = 1_000_000_000;

    fn raised(severity: AlarmSeverity, name: &str) -> AlarmRecord {
        let observation = Observation {
            severity: Some(severity),
            text: "111 °C > 85 °C\u{1b}[2J".to_owned(),
            subject: AlarmSubject { name: name.to_owned(), latching: true, ..AlarmSubject::default() },
            ..Observation::default()
        };
        AlarmRecord::default().observe(&observation, SECOND_NS).unwrap()
    }

    #[test]
    fn alarms_show_their_state_and_who_did_what() {
        let ann = Operator { by: "ann".to_owned(), client: None };
        let motor = raised(AlarmSeverity::Critical, "motor temperature");
        let seen = motor.acknowledge(&ann, "stopping", None, 2).unwrap().unwrap();
        let shelved = motor.shelve(&ann, "broken", 60 * SECOND_NS, 2 * SECOND_NS).unwrap();
        let subject = motor.condition.subject.clone();
        let over = motor.observe(&Observation { subject, ..Observation::default() }, 3).unwrap();
        let rows: Vec<_> = [("a/raised", motor), ("a/seen", seen), ("a/shelved", shelved), ("a/over", over)]
            .iter()
            .map(|(id, record)| row(&record.document(id, None, true, 4 * SECOND_NS)))
            .collect();
        insta::assert_snapshot!(print::table(&HEAD, &rows));
    }

    #[test]
    fn the_id_is_one_segment_of_the_path() {
        assert_eq!(action("gps-fix/gps/fix", "shelve"), "/api/v2/alarms/gps-fix%2Fgps%2Ffix/shelve");
        assert_eq!(path(Some(AlarmSeverity::Critical)), "/api/v2/alarms?severity=critical");
    }
}
