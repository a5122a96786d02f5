//! The thread that keeps the latch: everything that touches the disk, so that no client and no telemetry
//! waits for it.
//!
//! An engage takes effect in this process before the disk is asked, and stays in effect until it is stored
//! where the other processes see it. A release takes effect once it is stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use roverline_source::clock::unix_ns;
use tokio::sync::{oneshot, watch};

use crate::emergency_stop::StopError;
use crate::emergency_stop::file::{Content, LatchFile, Signature};
use crate::emergency_stop::latch::{Latch, Release, StopCommand};
use crate::emergency_stop::state::{Knowledge, StopState};

/// Pause between two looks at the file, which other processes change.
const POLL: Duration = Duration::from_millis(25);
/// An engage waits this long for the lock, and is then written without it.
const ENGAGE_LOCK: Duration = Duration::from_millis(100);
/// A release waits this long for the lock, and is then refused.
const RELEASE_LOCK: Duration = Duration::from_secs(1);
/// Pause between two attempts to store what could not be stored.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Commands that may wait for the disk.
pub(crate) const WAITING_COMMANDS: usize = 64;

/// How a command ended on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The latch is engaged, and stored so.
    Engaged,
    /// The latch was engaged and is released.
    Released,
    /// There was nothing to release.
    NotEngaged,
    /// The release had been carried out before.
    Repeated,
}

type Answer = oneshot::Sender<Result<Done, StopError>>;

/// The commands that wait for the thread.
#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<(StopCommand, Answer)>,
    /// Releases that wait or are being stored: the state may change at any moment.
    releasing: usize,
    ended: bool,
}

/// State that the thread shares with the process.
#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    woken: Condvar,
    knowledge: Mutex<Knowledge>,
    state: watch::Sender<StopState>,
}

/// The handle to the thread, which ends with it.
#[derive(Debug)]
pub(crate) struct LatchThread(Arc<Shared>);

impl LatchThread {
    /// Starts the thread; the returned latch has read the latch, unless the disk hangs.
    pub(crate) fn start(file: LatchFile, patience: Duration) -> LatchThread {
        let unread = Content::Unknown(format!("{} has not been read yet", file.path().display()));
        let knowledge = Knowledge::of(unread);
        let state = watch::Sender::new(knowledge.state());
        let (inbox, woken) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { inbox, woken, knowledge: Mutex::new(knowledge), state });
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let worker = Worker { file, shared: shared.clone(), seen: None, retried: Instant::now() };
        let spawned = std::thread::Builder::new().name("emergency-stop".to_owned()).spawn(move || {
            worker.run(&ready);
        });
        match spawned {
            // A disk that hangs reads as engaged, until it answers.
            Ok(_) => drop(is_ready.recv_timeout(patience)),
            Err(error) => tracing::error!(%error, "no thread for the emergency stop's latch"),
        }
        LatchThread(shared)
    }

    /// The state now.
    pub(crate) fn state(&self) -> StopState {
        self.0.state.borrow().clone()
    }

    /// The state and its changes.
    pub(crate) fn changes(&self) -> watch::Receiver<StopState> {
        self.0.state.subscribe()
    }

    /// Whether this is the state, and no release is on its way that would change it.
    pub(crate) fn is_settled(&self, engaged: bool) -> bool {
        let inbox = self.0.inbox.lock();
        inbox.releasing == 0 && self.0.state.borrow().engaged == engaged
    }

    /// Whether this command's id has released the stop before.
    pub(crate) fn has_released(&self, command: &StopCommand) -> bool {
        matches!(&self.0.knowledge.lock().content, Content::Latch(latch) if latch.was_release(command))
    }

    /// Engages the stop in this process, at once, and hands it to the disk. If too many commands wait there,
    /// the oldest of them is given up.
    pub(crate) fn engage(&self, command: StopCommand) -> oneshot::Receiver<Result<Done, StopError>> {
        let (answer, answered) = oneshot::channel();
        let mut inbox = self.0.inbox.lock();
        self.0.update(|knowledge| {
            if knowledge.unstored.len() >= WAITING_COMMANDS {
                knowledge.unstored.remove(0);
            }
            knowledge.unstored.push(command.clone());
        });
        if inbox.waiting.len() >= WAITING_COMMANDS
            && let Some((oldest, _)) = inbox.waiting.pop_front()
            && !oldest.engage
        {
            inbox.releasing -= 1;
        }
        inbox.waiting.push_back((command, answer));
        self.0.woken.notify_all();
        answered
    }

    /// Hands a release to the disk.
    pub(crate) fn release(
        &self,
        command: StopCommand,
    ) -> Result<oneshot::Receiver<Result<Done, StopError>>, StopError> {
        let (answer, answered) = oneshot::channel();
        let mut inbox = self.0.inbox.lock();
        if inbox.waiting.len() >= WAITING_COMMANDS {
            return Err(StopError::Busy(WAITING_COMMANDS));
        }
        inbox.releasing += 1;
        inbox.waiting.push_back((command, answer));
        self.0.woken.notify_all();
        Ok(answered)
    }
}

impl Drop for LatchThread {
    fn drop(&mut self) {
        self.0.inbox.lock().ended = true;
        self.0.woken.notify_all();
    }
}

impl Shared {
    /// Waits for commands, at most `wait`; `None` when the handle is gone. A row of engages is taken at once.
    fn next(&self, wait: Duration) -> Option<Vec<(StopCommand, Answer)>> {
        let mut inbox = self.inbox.lock();
        if inbox.waiting.is_empty() && !inbox.ended {
            self.woken.wait_for(&mut inbox, wait);
        }
        if inbox.ended && inbox.waiting.is_empty() {
            return None;
        }
        let engages = inbox.waiting.iter().take_while(|(command, _)| command.engage).count();
        let taken = engages.max(1).min(inbox.waiting.len());
        Some(inbox.waiting.drain(..taken).collect())
    }

    /// Changes what is known, and tells everybody the resulting state.
    fn update<T>(&self, change: impl FnOnce(&mut Knowledge) -> T) -> T {
        let result = change(&mut self.knowledge.lock());
        self.publish();
        result
    }

    fn publish(&self) {
        self.state.send_if_modified(|state| {
            let now = self.knowledge.lock().state();
            let changed = *state != now;
            *state = now;
            changed
        });
    }
}

/// The thread's own state.
struct Worker {
    file: LatchFile,
    shared: Arc<Shared>,
    seen: Option<Signature>,
    retried: Instant,
}

impl Worker {
    fn run(mut self, ready: &std::sync::mpsc::SyncSender<()>) {
        self.poll_file();
        let _ = ready.try_send(());
        while let Some(commands) = self.shared.next(POLL) {
            match &commands[..] {
                [] => {
                    self.poll_file();
                    self.mend();
                }
                [(command, _)] if !command.engage => {
                    for (command, answer) in commands {
                        let result = self.release(&command);
                        self.shared.inbox.lock().releasing -= 1;
                        // The client may be gone.
                        let _ = answer.send(result);
                    }
                }
                _ => self.engage(commands),
            }
        }
    }

    /// Reads the file if it changed.
    fn poll_file(&mut self) {
        let signature = self.file.signature();
        if self.seen != Some(signature) {
            self.read(signature);
        }
    }

    fn read(&mut self, signature: Signature) {
        let content = self.file.read();
        self.seen = match content {
            Content::Unknown(_) => None,
            _ => Some(signature),
        };
        self.shared.update(|knowledge| {
            knowledge.content = match (content, &knowledge.content) {
                // What is known stays true until the file can be read again.
                (
                    Content::Unknown(_),
                    known @ (Content::Latch(_) | Content::Missing | Content::Damaged(_)),
                ) => known.clone(),
                // Somebody removed it: that releases nothing.
                (Content::Missing, Content::Latch(latch)) if latch.engaged => Content::Latch(latch.clone()),
                (Content::Missing, known @ Content::Damaged(_)) => known.clone(),
                (content, _) => content,
            };
        });
    }

    /// Stores engages. The last one describes the state.
    fn engage(&mut self, commands: Vec<(StopCommand, Answer)>) {
        let (commands, answers): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let lock = self.file.lock(ENGAGE_LOCK);
        let result = self.store(&commands, lock.is_some());
        for answer in answers {
            // The client may be gone.
            let _ = answer.send(result.clone().map(|()| Done::Engaged));
        }
    }

    /// Stores engages where all processes see them. They stay in effect in this process until that is done.
    fn store(&mut self, commands: &[StopCommand], locked: bool) -> Result<(), StopError> {
        let latch = commands.iter().fold(self.latch(), Latch::after);
        let written = self.file.write(&latch).map_err(|error| self.write_error(&error));
        let there = written.is_ok() || self.file.read() == Content::Latch(latch.clone());
        // Without room, an empty file has to do: it reads as engaged as well.
        let emptied = !there && self.file.empty().is_ok();
        let content = if there { Content::Latch(latch) } else { self.file.read() };
        // Whoever holds the lock may replace the file with what it read before.
        let result = written.and_then(|()| if locked { Ok(()) } else { Err(self.locked(ENGAGE_LOCK)) });
        let failure = result.as_ref().err().map(ToString::to_string);
        self.shared.update(|knowledge| {
            if locked && (there || emptied) {
                // Both at once: otherwise the state would be the one before the engage for a moment.
                knowledge.content = content;
                knowledge.unstored.retain(|one| !commands.contains(one));
            }
            knowledge.emptied_by = if emptied { commands.to_vec() } else { Vec::new() };
            if failure.is_some() && failure != knowledge.failure {
                tracing::error!(failure, "the emergency stop is engaged, but not stored as it should be");
            }
            knowledge.failure = failure;
        });
        self.read(self.file.signature());
        result
    }

    /// Stores a release, and only then releases.
    fn release(&mut self, command: &StopCommand) -> Result<Done, StopError> {
        let _lock = self.file.lock(RELEASE_LOCK).ok_or_else(|| self.locked(RELEASE_LOCK))?;
        self.read(self.file.signature());
        let engaged = self.shared.state.borrow().engaged;
        // Engages that came before are in the file's history from now on, so that their ids release nothing.
        let held = self.held();
        let latch = held.iter().fold(self.latch(), Latch::after);
        if latch.judge_release(command)? == Release::AlreadyDone {
            return Ok(Done::Repeated);
        }
        let released = latch.after(command);
        self.file.write(&released).map_err(|error| self.write_error(&error))?;
        self.shared.update(|knowledge| {
            knowledge.unstored.retain(|one| !held.contains(one));
            (knowledge.content, knowledge.failure) = (Content::Latch(released), None);
        });
        self.read(self.file.signature());
        Ok(if engaged { Done::Released } else { Done::NotEngaged })
    }

    /// The engages before the command in hand that are not in the file.
    fn held(&self) -> Vec<StopCommand> {
        let inbox = self.shared.inbox.lock();
        let knowledge = self.shared.knowledge.lock();
        let is_later = |one: &StopCommand| inbox.waiting.iter().any(|(waiting, _)| waiting == one);
        let held = knowledge.emptied_by.iter().chain(&knowledge.unstored);
        held.filter(|one| !is_later(one)).cloned().collect()
    }

    /// Stores what could not be stored, and replaces a damaged file by an engaged latch.
    fn mend(&mut self) {
        let knowledge = self.shared.knowledge.lock().clone();
        let untrusted = self.untrusted(&knowledge.content).is_some();
        if (knowledge.unstored.is_empty() && !untrusted) || self.retried.elapsed() < STORE_RETRY {
            return;
        }
        self.retried = Instant::now();
        // The first process that mends a file is enough.
        let Some(_lock) = self.file.lock(ENGAGE_LOCK) else { return };
        self.read(self.file.signature());
        let why = self.untrusted(&self.shared.knowledge.lock().content);
        let latch = self.latch();
        let mut commands = match &why {
            Some(_) => knowledge.emptied_by,
            None => Vec::new(),
        };
        commands.extend(knowledge.unstored.iter().filter(|one| !latch.contains(one)).cloned());
        if let Some(why) = why {
            tracing::error!(why, "emergency stop engaged, because its latch cannot be trusted");
            self.file.keep_damaged();
            if commands.is_empty() {
                let now_ns = unix_ns();
                commands.push(StopCommand::new(&format!("latch-{now_ns}"), true, &why, now_ns));
            }
        }
        if !commands.is_empty() {
            // The result is in the state.
            let _ = self.store(&commands, true);
        }
        self.shared.update(|Knowledge { content, unstored, .. }| {
            if let Content::Latch(known) = content {
                unstored.retain(|one| !known.contains(one));
            }
        });
    }

    /// Why the file has to be replaced by an engaged latch.
    fn untrusted(&self, content: &Content) -> Option<String> {
        match content {
            Content::Damaged(why) => Some(why.clone()),
            Content::Latch(latch) if latch.engaged && self.seen == Some(Signature::Missing) => {
                Some(format!("{} was removed", self.file.path().display()))
            }
            _ => None,
        }
    }

    /// The latch to change; one that cannot be read counts as engaged.
    fn latch(&self) -> Latch {
        match self.file.read() {
            Content::Latch(latch) => latch,
            Content::Missing => match &self.shared.knowledge.lock().content {
                Content::Latch(latch) => latch.clone(),
                _ => Latch::default(),
            },
            Content::Damaged(_) | Content::Unknown(_) => Latch { engaged: true, ..Latch::default() },
        }
    }

    fn write_error(&self, error: &std::io::Error) -> StopError {
        StopError::Write { path: self.file.path().to_owned(), reason: error.to_string() }
    }

    fn locked(&self, after: Duration) -> StopError {
        StopError::Locked { path: self.file.lock_path(), after }
    }
}
