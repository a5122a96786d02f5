//! The `state` command: backs up, restores and verifies the shared coordination state.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use roverline_coordination::events::{self, EntrySource, Seal, TrustedKeys, VerifyReport, verify};
use roverline_coordination::store::backup as store_backup;
use roverline_coordination::store::backup::{StoreFile, in_use, store_file};
use roverline_protocol::printable::printable_lines;
use serde::Serialize;

use crate::cli::Target;
use crate::cli::error::{CliError, runtime_error, usage_error};
use crate::config::Flags;

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Copy the shared state into a file while the gateway keeps running
    ///
    /// Also writes FILE.checkpoint, the signed end of the event log. Keep it elsewhere: it proves whether
    /// events were cut off from the copy.
    Backup {
        /// The copy; it must not exist yet
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Restore a copy, and keep the previous state beside it
    ///
    /// The copy is verified first. Fencing tokens continue above those already issued.
    Restore {
        /// The copy
        file: PathBuf,
        /// Restore even while a gateway has the state open; restart it afterwards
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Verify the integrity of the state, or of a copy, and of its event log
    ///
    /// Runs SQLite's integrity check on the database, and checks every hash, the order, the indexes and the
    /// signatures of the event log. Values, locks and queues are not signed, so edits to them in the file
    /// are not detected. Exit code 1: something is wrong; the report says where.
    Verify {
        /// A copy [default: the state itself]
        file: Option<PathBuf>,
        /// Directory of trusted public keys, NODE.pub [default: keys in the state directory]
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
        /// A signed checkpoint kept elsewhere; may be repeated [default: FILE.checkpoint]
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) fn state(command: &StateCommand) -> Result<(), CliError> {
    match command {
        StateCommand::Backup { file, target } => backup(file, &directory(target)?),
        StateCommand::Restore { file, force, target } => restore(file, *force, &directory(target)?),
        StateCommand::Verify { file, keys, checkpoints, json, target } => {
            let arguments = VerifyArgs { file: file.as_deref(), keys: keys.as_deref(), checkpoints };
            let report = arguments.verify(&directory(target)?)?;
            let text = match json {
                true => serde_json::to_string(&report).map_err(runtime_error)? + "\n",
                false => report.text(),
            };
            print_text(&text);
            match report.sound() {
                true => Ok(()),
                false => Err(runtime_error(format!("{} is not what was written", report.file.display()))),
            }
        }
    }
}

fn directory(target: &Target) -> Result<PathBuf, CliError> {
    let flags = Flags {
        config: target.config.clone(),
        state: target.state.clone(),
        base_port: target.base_port.filter(|port| *port != 0),
        ..Flags::default()
    };
    Ok(flags.resolve().map_err(usage_error)?.state_dir())
}

fn backup(file: &Path, state: &Path) -> Result<(), CliError> {
    let from = store_file(&state.join("store"));
    if !from.exists() {
        return Err(runtime_error(format!("there is no {}", from.display())));
    }
    if file.exists() {
        return Err(runtime_error(format!("{} exists already: name another file", file.display())));
    }
    let store = StoreFile::open(&from).map_err(runtime_error)?;
    store.copy(file, &mut bar("copied")).map_err(runtime_error)?;
    let copy = StoreFile::open(file).map_err(runtime_error)?;
    let wrong = copy.check().map_err(runtime_error)?;
    if !wrong.is_empty() {
        return Err(runtime_error(format!("{} is damaged: {}", from.display(), wrong.join("; "))));
    }
    let mut head = None;
    copy.scan(events::HEAD_KEY, &mut |key, value| {
        head = head.take().or((key == events::HEAD_KEY).then(|| value.to_vec()))
    })
    .map_err(runtime_error)?;
    let mut text = format!("{} holds what the team shares\n", file.display());
    if let Some(head) = head {
        let beside = checkpoint_of(file);
        std::fs::write(&beside, head).map_err(runtime_error)?;
        text += &format!("{} is the signed end of its event log: keep it elsewhere\n", beside.display());
    }
    print_text(&text);
    Ok(())
}

fn restore(file: &Path, force: bool, state: &Path) -> Result<(), CliError> {
    let report = VerifyArgs { file: Some(file), keys: None, checkpoints: &[] }.verify(state)?;
    if !report.sound() {
        print_text(&report.text());
        return Err(runtime_error(format!(
            "{} is not what was written: nothing was changed",
            file.display()
        )));
    }
    let store = state.join("store");
    if !force && in_use(&store).map_err(runtime_error)? {
        let why = "a gateway has the state open: stop it first, or add --force and start it anew afterwards";
        return Err(runtime_error(why));
    }
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let kept = store.join(format!("before-restore-{stamp}.db"));
    let copy = StoreFile::open(file).map_err(runtime_error)?;
    store_backup::restore(&copy, &store, &kept, &mut bar("restored")).map_err(runtime_error)?;
    let keys = state.join("keys");
    if keys.is_dir() {
        events::archive_witnesses(&keys).map_err(runtime_error)?;
    }
    let mut text = format!("{} is in place\n", file.display());
    if kept.exists() {
        text += &format!("{} is what was there\n", kept.display());
    }
    print_text(&text);
    Ok(())
}

/// The inputs of a verification.
struct VerifyArgs<'a> {
    file: Option<&'a Path>,
    keys: Option<&'a Path>,
    checkpoints: &'a [PathBuf],
}

impl VerifyArgs<'_> {
    fn verify(&self, state: &Path) -> Result<Report, CliError> {
        let file = self.file.map_or_else(|| store_file(&state.join("store")), Path::to_owned);
        if file.is_dir() {
            let why = "is a directory: name a copy's file, or give the state's directory with --state";
            return Err(runtime_error(format!("{} {why}", file.display())));
        }
        if !file.exists() {
            let hint = if self.file.is_none() { ": give the directory with --state" } else { "" };
            return Err(runtime_error(format!("there is no {}{hint}", file.display())));
        }
        let own = state.join("keys");
        let trust = match self.keys {
            Some(keys) => Some(
                events::trust(keys).map_err(|error| usage_error(format!("{}: {error}", keys.display())))?,
            ),
            None if own.is_dir() => Some(events::trust(&own).map_err(runtime_error)?),
            None => None,
        };
        let trust = trust.filter(|trust: &TrustedKeys| self.keys.is_some() || !trust.is_empty());
        let mut checkpoints = Vec::new();
        let beside = checkpoint_of(&file);
        if self.file.is_none() && own.is_dir() {
            checkpoints = events::witnesses(&own).map_err(runtime_error)?;
        } else if self.checkpoints.is_empty() && beside.exists() {
            checkpoints.push(read(&beside)?);
        }
        for path in self.checkpoints {
            checkpoints.push(read(path)?);
        }
        let mut report = Report { file, database: Vec::new(), checkpoints: checkpoints.len(), log: None };
        let opened = StoreFile::open(&report.file).and_then(|store| {
            report.database = store.check()?;
            report.log = Some(verify(&store, trust.as_ref(), &checkpoints)?);
            Ok(())
        });
        // A file that cannot be read is a finding, not a failure of the command.
        if let Err(error) = opened {
            report.database.push(error.to_string());
        }
        Ok(report)
    }
}

fn read(path: &Path) -> Result<Seal, CliError> {
    let text = std::fs::read(path).map_err(|error| usage_error(format!("{}: {error}", path.display())))?;
    Seal::read(&text).ok_or_else(|| usage_error(format!("{} holds no checkpoint", path.display())))
}

fn checkpoint_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

/// The result of a verification.
#[derive(Serialize)]
struct Report {
    file: PathBuf,
    /// Findings of SQLite's integrity check.
    database: Vec<String>,
    /// The number of checkpoints kept elsewhere.
    checkpoints: usize,
    log: Option<VerifyReport>,
}

impl Report {
    fn sound(&self) -> bool {
        self.database.is_empty() && self.log.as_ref().is_some_and(VerifyReport::is_sound)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.database {
            text += &format!("database: {line}\n");
        }
        let Some(log) = &self.log else { return text };
        for finding in &log.findings {
            text += &format!("event {}: {}: {}\n", finding.seq, finding.fault.name(), finding.what);
        }
        text += &format!(
            "{} events ({} to {}), {} signatures hold, {} checkpoints kept elsewhere\n",
            log.events, log.first, log.last, log.seals, self.checkpoints
        );
        if !log.trusted {
            text += "The keys are those of the log itself: one that was written anew as a whole would not \
                     show. Give those that you trust, with --keys.\n";
        }
        if self.checkpoints == 0 {
            text +=
                "No checkpoint was kept elsewhere: a log that was cut off with its head would not show.\n";
        }
        if self.sound() {
            text += &format!(
                "{}: the file is whole, and the log of events is as it was written; values, locks and queues \
                 bear no signature\n",
                self.file.display()
            );
        }
        text
    }
}

/// Shows a progress bar at a terminal.
fn bar(what: &'static str) -> impl FnMut(u64, u64) {
    let shown = std::io::stderr().is_terminal();
    move |done, total| {
        if shown && total > 0 {
            let width = usize::try_from(done * 30 / total).unwrap_or_default();
            let end = if done == total { "\n" } else { "" };
            // Standard error may be closed.
            let _ = write!(
                std::io::stderr(),
                "\r[{:<30}] {:>3} % {what}{end}",
                "#".repeat(width),
                done * 100 / total
            );
        }
    }
}

/// Prints text that contains input from clients. A closed standard output is not an error.
fn print_text(text: &str) {
    let _ = std::io::stdout().write_all(printable_lines(text).as_bytes());
}
