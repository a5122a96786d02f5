//! `state`: what a team shares, as a file that is kept, put back and verified.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use roverline_coordination::events::{self, Dump, Seal, Trust, Verdict, verify};
use roverline_coordination::store::backup::{StoreFile, in_use, put_back, store_file};
use serde::Serialize;

use crate::cli::commands::{failed, usage};
use crate::cli::{Failure, Target};
use crate::config::Flags;

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Copy what the team shares into a file, while the gateway goes on
    ///
    /// Beside it comes FILE.checkpoint, the signed end of the event log. Keep it elsewhere: it shows
    /// when events are cut off from the copy.
    Backup {
        /// The copy; it must not exist yet
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Put a copy back, and keep what was there beside it
    ///
    /// The copy is verified first. Fencing tokens go on above those that were given out.
    Restore {
        /// The copy
        file: PathBuf,
        /// Also while a gateway has the state open; start it anew afterwards
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Find out whether the state, or a copy of it, is whole, and its event log what was written
    ///
    /// Checks the database's file as SQLite does, and of the event log every hash, the order, the indexes
    /// and the signatures. Values, locks and queues bear no signature: whoever edits them in the file is
    /// not found out. Exit code 1: something is wrong, and where is said.
    Verify {
        /// A copy [default: the state itself]
        file: Option<PathBuf>,
        /// Directory of the public keys to trust, NODE.pub [default: keys in the state directory]
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
        /// A signed checkpoint that was kept elsewhere; may be repeated [default: FILE.checkpoint]
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) fn state(command: &StateCommand) -> Result<(), Failure> {
    match command {
        StateCommand::Backup { file, target } => backup(file, &directory(target)?),
        StateCommand::Restore { file, force, target } => restore(file, *force, &directory(target)?),
        StateCommand::Verify { file, keys, checkpoints, json, target } => {
            let asked = Asked { file: file.as_deref(), keys: keys.as_deref(), checkpoints };
            let report = asked.verify(&directory(target)?)?;
            let text = match json {
                true => serde_json::to_string(&report).map_err(failed)? + "\n",
                false => report.text(),
            };
            say(&text);
            match report.sound() {
                true => Ok(()),
                false => Err(failed(format!("{} is not what was written", report.file.display()))),
            }
        }
    }
}

fn directory(target: &Target) -> Result<PathBuf, Failure> {
    let flags = Flags {
        config: target.config.clone(),
        state: target.state.clone(),
        base_port: target.base_port.filter(|port| *port != 0),
        ..Flags::default()
    };
    Ok(flags.resolve().map_err(usage)?.state_dir())
}

fn backup(file: &Path, state: &Path) -> Result<(), Failure> {
    let from = store_file(&state.join("store"));
    if !from.exists() {
        return Err(failed(format!("there is no {}", from.display())));
    }
    if file.exists() {
        return Err(failed(format!("{} exists already: name another file", file.display())));
    }
    let store = StoreFile::open(&from).map_err(failed)?;
    store.copy(file, &mut bar("copied")).map_err(failed)?;
    let copy = StoreFile::open(file).map_err(failed)?;
    let wrong = copy.check().map_err(failed)?;
    if !wrong.is_empty() {
        return Err(failed(format!("{} is damaged: {}", from.display(), wrong.join("; "))));
    }
    let mut head = None;
    copy.scan(events::HEAD_KEY, &mut |key, value| {
        head = head.take().or((key == events::HEAD_KEY).then(|| value.to_vec()))
    })
    .map_err(failed)?;
    let mut text = format!("{} holds what the team shares\n", file.display());
    if let Some(head) = head {
        let beside = checkpoint_of(file);
        std::fs::write(&beside, head).map_err(failed)?;
        text += &format!("{} is the signed end of its event log: keep it elsewhere\n", beside.display());
    }
    say(&text);
    Ok(())
}

fn restore(file: &Path, force: bool, state: &Path) -> Result<(), Failure> {
    let report = Asked { file: Some(file), keys: None, checkpoints: &[] }.verify(state)?;
    if !report.sound() {
        say(&report.text());
        return Err(failed(format!("{} is not what was written: nothing was changed", file.display())));
    }
    let store = state.join("store");
    if !force && in_use(&store).map_err(failed)? {
        let why = "a gateway has the state open: stop it first, or add --force and start it anew afterwards";
        return Err(failed(why));
    }
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let kept = store.join(format!("before-restore-{stamp}.db"));
    let copy = StoreFile::open(file).map_err(failed)?;
    put_back(&copy, &store, &kept, &mut bar("restored")).map_err(failed)?;
    let keys = state.join("keys");
    if keys.is_dir() {
        events::forget_witnesses(&keys).map_err(failed)?;
    }
    let mut text = format!("{} is in place\n", file.display());
    if kept.exists() {
        text += &format!("{} is what was there\n", kept.display());
    }
    say(&text);
    Ok(())
}

/// What is to be verified, and by what.
struct Asked<'a> {
    file: Option<&'a Path>,
    keys: Option<&'a Path>,
    checkpoints: &'a [PathBuf],
}

impl Asked<'_> {
    fn verify(&self, state: &Path) -> Result<Report, Failure> {
        let file = self.file.map_or_else(|| store_file(&state.join("store")), Path::to_owned);
        if file.is_dir() {
            let why = "is a directory: name a copy's file, or give the state's directory with --state";
            return Err(failed(format!("{} {why}", file.display())));
        }
        if !file.exists() {
            let hint = if self.file.is_none() { ": give the directory with --state" } else { "" };
            return Err(failed(format!("there is no {}{hint}", file.display())));
        }
        let own = state.join("keys");
        let trust = match self.keys {
            Some(keys) => {
                Some(events::trust(keys).map_err(|error| usage(format!("{}: {error}", keys.display())))?)
            }
            None if own.is_dir() => Some(events::trust(&own).map_err(failed)?),
            None => None,
        };
        let trust = trust.filter(|trust: &Trust| self.keys.is_some() || !trust.is_empty());
        let mut checkpoints = Vec::new();
        let beside = checkpoint_of(&file);
        if self.file.is_none() && own.is_dir() {
            checkpoints = events::witnesses(&own).map_err(failed)?;
        } else if self.checkpoints.is_empty() && beside.exists() {
            checkpoints.push(read(&beside)?);
        }
        for path in self.checkpoints {
            checkpoints.push(read(path)?);
        }
        let mut report = Report { file, database: Vec::new(), checkpoints: checkpoints.len(), log: None };
        let looked = StoreFile::open(&report.file).and_then(|store| {
            report.database = store.check()?;
            report.log = Some(verify(&store, trust.as_ref(), &checkpoints)?);
            Ok(())
        });
        // A file that cannot be read is a finding, not an accident.
        if let Err(error) = looked {
            report.database.push(error.to_string());
        }
        Ok(report)
    }
}

fn read(path: &Path) -> Result<Seal, Failure> {
    let text = std::fs::read(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    Seal::read(&text).ok_or_else(|| usage(format!("{} holds no checkpoint", path.display())))
}

fn checkpoint_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

/// What a verification came to.
#[derive(Serialize)]
struct Report {
    file: PathBuf,
    /// What SQLite finds wrong.
    database: Vec<String>,
    /// Checkpoints that were kept elsewhere.
    checkpoints: usize,
    log: Option<Verdict>,
}

impl Report {
    fn sound(&self) -> bool {
        self.database.is_empty() && self.log.as_ref().is_some_and(Verdict::is_sound)
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

/// Shows at a terminal how far something is.
fn bar(what: &'static str) -> impl FnMut(u64, u64) {
    let shown = std::io::stderr().is_terminal();
    move |done, total| {
        if shown && total > 0 {
            let width = usize::try_from(done * 30 / total).unwrap_or_default();
            let end = if done == total { "\n" } else { "" };
            // Nobody may be looking.
            let _ = write!(
                std::io::stderr(),
                "\r[{:<30}] {:>3} % {what}{end}",
                "#".repeat(width),
                done * 100 / total
            );
        }
    }
}

/// Nobody may be reading; that is no reason to fail.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
