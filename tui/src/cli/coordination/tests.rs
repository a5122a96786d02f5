//! Tests of the command lines of locks, queues, values and events: parsing, examples in help, and completion.

use clap::Parser as _;

use crate::cli::coordination::*;
use crate::cli::{Cli, Command};

fn parsed(args: &[&str]) -> Result<Command, String> {
    let line = std::iter::once("roverline").chain(args.iter().copied());
    let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
    cli.command.ok_or_else(|| "no command".to_owned())
}

#[test]
fn queues_are_understood() {
    let Ok(Command::Queues { command: Some(QueuesCommand::Enqueue(args)), .. }) =
        parsed(&["queues", "enqueue", "work", "-5", "--priority", "9", "--delay", "2s", "--url", "a:1"])
    else {
        panic!()
    };
    assert_eq!((args.queue.as_str(), args.message.as_str(), args.priority), ("work", "-5", 9));
    assert_eq!(args.delay.map(|delay| delay.as_secs()), Some(2));
    let Ok(Command::Queues { command: Some(QueuesCommand::Dequeue(args)), .. }) =
        parsed(&["queues", "dequeue", "work", "--wait", "1m", "-n", "3", "--ack"])
    else {
        panic!()
    };
    assert_eq!((args.wait.map(|wait| wait.as_secs()), args.count, args.ack), (Some(60), 3, true));
    assert!(matches!(parsed(&["queues"]), Ok(Command::Queues { command: None, .. })));
    for (wrong, says) in [
        (&["queues", "enqueue", "work", "1", "--priority", "10"][..], "10 is not in 0..=9"),
        (&["queues", "ack"], "required"),
        (&["queues", "extend", "id", "5"], "write 500ms"),
        (&["queues", "purge", "work"], "--reason"),
    ] {
        let why = parsed(wrong).unwrap_err();
        assert!(why.contains(says), "{wrong:?}: {why}");
    }
}

#[test]
fn values_are_understood() {
    let Ok(Command::Kv { command: Some(KvCommand::Put { key, value, if_version, ttl, .. }), .. }) =
        parsed(&["kv", "put", "a/b", "-", "--if-version", "0", "--ttl", "30s"])
    else {
        panic!()
    };
    assert_eq!((key.as_str(), value.as_str(), if_version), ("a/b", "-", Some(0)));
    assert_eq!(ttl.map(|ttl| ttl.as_secs()), Some(30));
    assert!(matches!(parsed(&["kv"]), Ok(Command::Kv { command: None, .. })));
    assert!(parsed(&["kv", "get", "a", "--linearizable", "--at", "3"]).is_err());
}

#[test]
fn events_are_understood() {
    let filter = |args: &[&str]| match parsed(args) {
        Ok(Command::Events { filter, command: None, .. }) => Ok((filter, false)),
        Ok(Command::Events { command: Some(EventsCommand::Tail { filter, follow }), .. }) => {
            Ok((filter, follow))
        }
        Ok(_) => Err("another command".to_owned()),
        Err(why) => Err(why),
    };
    let wanted =
        EventFilter { kind: Some("lock.acquired".to_owned()), count: Some(5), ..EventFilter::default() };
    assert_eq!(filter(&["events", "--type", "lock.acquired", "-n", "5"]), Ok((wanted.clone(), false)));
    assert_eq!(filter(&["events", "tail", "-f", "--type", "lock.acquired", "-n", "5"]), Ok((wanted, true)));
    // The log has one order, and an index for one filter at a time.
    assert!(filter(&["events", "--type", "a", "--stream", "b"]).unwrap_err().contains("cannot be used with"));
    assert!(filter(&["events", "tail", "--correlation", "a", "--type", "b"]).is_err());
    let Ok(Command::Events { command: Some(EventsCommand::Append(new)), .. }) =
        parsed(&["events", "append", "mission/alpha", "sample.collected"])
    else {
        panic!()
    };
    assert_eq!((new.stream.as_str(), new.data.as_str()), ("mission/alpha", "null"));
}

#[test]
fn every_command_teaches_by_an_example() {
    use clap::CommandFactory as _;
    for area in ["locks", "queues", "kv", "events"] {
        let mut cli = Cli::command();
        let area = cli.find_subcommand_mut(area).unwrap();
        let is_shown = |command: &&clap::Command| command.get_name() != "help" && !command.is_hide_set();
        for command in area.get_subcommands().filter(is_shown) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let line = format!("roverline {} {}", area.get_name(), command.get_name());
            assert!(help.starts_with("Example") && help.contains(&line), "{line}: {help}");
        }
    }
}

#[test]
fn shells_complete_them() {
    use clap::CommandFactory as _;
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "roverline", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in ["enqueue", "redrive", "linearizable", "follow"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
