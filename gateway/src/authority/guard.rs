//! The guard of one authority in one endpoint: it knows the holder from the store and decides whose commands pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_coordination::locks::{FencingToken, LockView};
use roverline_coordination::store::Revision;
use roverline_protocol::routing::topic_glob;
use roverline_protocol::topic_pattern::TopicPattern;
use roverline_source::Publication;

use crate::authority::claimant::{Admission, AuthorityHolder, AuthorityRefused, Claimant};
use crate::authority::command_file::{CommandFile, CommandedTopic, LastCommand, since_boot};
use crate::authority::silence::{Phase, phase};
use crate::authority::velocity::{self, CheckedVelocity, VelocityError, VelocityLimits};
use crate::config::AuthoritySettings;

/// How long the store's answer counts as its newest state.
const CONFIRMED_FOR: Duration = Duration::from_millis(1_500);
/// An endpoint whose timers stood still for longer was suspended: what its clients sent meanwhile is old.
const SUSPENDED_AFTER: Duration = Duration::from_millis(500);
/// How long after a suspension no command passes, so that the old ones are drained.
const DRAINED_FOR: Duration = Duration::from_millis(1_000);

/// Topics of which a command waits.
const PENDING_TOPICS: usize = 16;

#[derive(Debug, Default)]
struct GuardState {
    holder: Option<AuthorityHolder>,
    waiting: usize,
    /// When the store was last read, monotonic.
    confirmed: Option<Duration>,
    problem: Option<String>,
    acquiring: Option<Claimant>,
    /// When the endpoint's timers last ran, monotonic.
    ticked: Option<Duration>,
    suspended_until: Duration,
    /// The newest command of each topic that waits until its client has acquired the authority.
    pending: BTreeMap<String, PendingCommand>,
}

/// A command that waits until its client has acquired the authority.
#[derive(Clone, Debug)]
pub struct PendingCommand {
    /// The message, its velocities checked.
    pub publication: Publication,
    /// Whether it commands no movement.
    pub is_stop: bool,
    /// When it was received, monotonic.
    pub at: Duration,
}

/// The guard of one authority.
pub struct Guard {
    settings: AuthoritySettings,
    topics: Vec<TopicPattern>,
    services: Vec<TopicPattern>,
    file: CommandFile,
    state: Mutex<GuardState>,
    /// Commands that passed, and those that were refused, at this endpoint.
    pub counts: GuardCounts,
}

/// Counts of commands at one endpoint.
#[derive(Debug, Default)]
pub struct GuardCounts {
    /// Passed.
    pub granted: AtomicU64,
    /// Refused.
    pub refused: AtomicU64,
    /// Reduced to the limits of velocity.
    pub clamped: AtomicU64,
    /// Stops because the holder fell silent.
    pub link_losses: AtomicU64,
}

impl Guard {
    /// The guard of an authority, whose commands are recorded in `directory`.
    pub fn open(settings: AuthoritySettings, directory: &Path) -> Guard {
        // Checked with the configuration.
        let compiled =
            |patterns: &[String]| patterns.iter().filter_map(|text| topic_glob(text).ok()).collect();
        let (topics, mut services): (_, Vec<_>) = (compiled(&settings.topics), compiled(&settings.services));
        services.extend::<Vec<_>>(compiled(&settings.actions));
        let file = CommandFile::open(directory, &settings.name).unwrap_or_else(|error| {
            tracing::error!(
                authority = settings.name,
                %error,
                "the last command is not recorded: other endpoints do not see when its holder falls silent"
            );
            CommandFile::absent()
        });
        Guard { settings, topics, services, file, state: Mutex::default(), counts: GuardCounts::default() }
    }

    /// The name of the authority and of its lock.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The settings.
    pub fn settings(&self) -> &AuthoritySettings {
        &self.settings
    }

    /// How long its holder may be silent.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.timeout_ms)
    }

    pub(super) fn guards_topic(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.is_match(topic))
    }

    pub(super) fn guards_service(&self, name: &str) -> bool {
        self.services.iter().any(|pattern| pattern.is_match(name))
    }

    /// The holder, as far as it is known.
    pub fn holder(&self) -> Option<AuthorityHolder> {
        self.state.lock().holder.clone()
    }

    /// The number of clients that wait for it.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Why it is not known who holds it, if so.
    pub fn problem(&self, now: Duration) -> Option<String> {
        let state = self.state.lock();
        (!state.is_confirmed(now)).then(|| state.why_unconfirmed())
    }

    /// Takes over the lock as the store had it at `revision`, read at `now` (monotonic).
    pub(super) fn set_lock(&self, lock: Option<&LockView>, revision: Revision, now: Duration) {
        let mut state = self.state.lock();
        // The list may be older than what this endpoint knows of its own acquisition.
        if state.holder.as_ref().is_some_and(|holder| revision < FencingToken(holder.token).revision()) {
            return;
        }
        let first = lock.and_then(|lock| lock.holders.first());
        state.holder = first.map(|holder| AuthorityHolder {
            claimant: Claimant {
                identity: holder.identity.clone().unwrap_or_default(),
                name: holder.client.clone(),
            },
            token: holder.token.0,
        });
        state.waiting = lock.map_or(0, |lock| lock.waiting.len());
        state.confirmed = Some(now);
        state.problem = None;
    }

    /// Records that the store cannot be used.
    pub fn set_problem(&self, why: &str) {
        self.state.lock().problem = Some(why.to_owned());
    }

    /// Records that this client has acquired it, before the store's change arrives.
    pub fn set_acquired(&self, claimant: Claimant, token: u64, now: Duration) {
        let mut state = self.state.lock();
        state.acquiring = None;
        state.confirmed = Some(now);
        if state.holder.as_ref().is_none_or(|holder| holder.token < token) {
            state.holder = Some(AuthorityHolder { claimant, token });
        }
    }

    /// Records that the client did not get it.
    pub fn set_not_acquired(&self) {
        let mut state = self.state.lock();
        state.acquiring = None;
        state.pending.clear();
    }

    /// Adds a command that waits; it replaces an older one of the same topic.
    pub fn add_pending(&self, command: PendingCommand) {
        let mut state = self.state.lock();
        let topic = command.publication.topic.clone();
        if state.pending.len() < PENDING_TOPICS || state.pending.contains_key(&topic) {
            state.pending.insert(topic, command);
        }
    }

    /// Removes the commands that wait.
    pub fn take_pending(&self) -> Vec<PendingCommand> {
        std::mem::take(&mut self.state.lock().pending).into_values().collect()
    }

    /// Records that the endpoint's timers run, at `now` (monotonic).
    pub fn tick(&self, now: Duration) {
        let mut state = self.state.lock();
        if state.ticked.is_some_and(|ticked| now.saturating_sub(ticked) > SUSPENDED_AFTER) {
            state.suspended_until = now + DRAINED_FOR;
        }
        state.ticked = Some(now);
    }

    /// Decides about a command of this client at `now` (monotonic). `token` is the one that it shows, if any.
    pub fn admit(
        &self,
        claimant: &Claimant,
        token: Option<u64>,
        now: Duration,
    ) -> Result<Admission, AuthorityRefused> {
        let decided = self.decide(claimant, token, now);
        let counter = if decided.is_ok() { &self.counts.granted } else { &self.counts.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        decided
    }

    fn decide(
        &self,
        claimant: &Claimant,
        token: Option<u64>,
        now: Duration,
    ) -> Result<Admission, AuthorityRefused> {
        let name = || self.settings.name.clone();
        let mut state = self.state.lock();
        let is_late = state.ticked.is_none_or(|ticked| now.saturating_sub(ticked) > SUSPENDED_AFTER);
        if is_late || now < state.suspended_until {
            return Err(AuthorityRefused::Suspended);
        }
        if !state.is_confirmed(now) {
            return Err(AuthorityRefused::Unconfirmed { name: name(), problem: state.why_unconfirmed() });
        }
        let stale = |token| Err(AuthorityRefused::Stale { name: name(), token });
        match &state.holder {
            Some(holder) if holder.is(claimant, token) => match token {
                Some(token) if token != holder.token => stale(token),
                _ if self.file.read().is_some_and(|last| last.token > holder.token) => stale(holder.token),
                _ => Ok(Admission::Granted(holder.token)),
            },
            Some(holder) if self.is_abandoned(holder, claimant) && state.acquiring.is_none() => {
                state.acquiring = Some(claimant.clone());
                Ok(Admission::Acquire)
            }
            Some(holder) => Err(AuthorityRefused::HeldBy { name: name(), holder: holder.claimant.label() }),
            None if token.is_some() => stale(token.unwrap_or_default()),
            None => match &state.acquiring {
                Some(acquiring) if acquiring == claimant => Ok(Admission::Acquiring),
                Some(acquiring) => Err(AuthorityRefused::HeldBy { name: name(), holder: acquiring.label() }),
                None if self.settings.implicit => {
                    state.acquiring = Some(claimant.clone());
                    Ok(Admission::Acquire)
                }
                None => Err(AuthorityRefused::NotHeld { name: name() }),
            },
        }
    }

    /// Whether a session of the same identity holds it that has fallen silent: a client that lost its endpoint comes
    /// back as another session.
    fn is_abandoned(&self, holder: &AuthorityHolder, claimant: &Claimant) -> bool {
        self.settings.implicit
            && holder.claimant.identity == claimant.identity
            && holder.claimant.is_session()
            && claimant.is_session()
            && self.phase() != Phase::Commanded
    }

    /// Checks the velocities of a message, and reduces them if they are above the limits.
    pub fn check_velocity(&self, type_name: &str, payload: Bytes) -> Result<CheckedVelocity, VelocityError> {
        let limits = VelocityLimits {
            linear: self.settings.max_linear_m_s,
            angular: self.settings.max_angular_rad_s,
            over_limit: self.settings.over_limit,
        };
        let checked = velocity::check(type_name, payload, &limits)?;
        if checked.is_clamped {
            self.counts.clamped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(checked)
    }

    /// Records that the holder of this token has commanded.
    pub fn record(&self, token: u64, is_stop: bool) {
        if let Err(error) = self.file.write(LastCommand { token, at: since_boot(), is_stop }) {
            tracing::warn!(authority = self.settings.name, %error, "the last command is not recorded");
        }
    }

    /// Records that this topic is commanded.
    pub fn record_topic(&self, topic: &str, type_name: &str) {
        let topic = CommandedTopic { topic: topic.to_owned(), type_name: type_name.to_owned() };
        if let Err(error) = self.file.add_topic(&topic) {
            tracing::warn!(authority = self.settings.name, %error, "the commanded topic is not recorded");
        }
    }

    /// The topics that were commanded at any endpoint of this computer.
    pub fn commanded_topics(&self) -> Vec<CommandedTopic> {
        self.file.topics()
    }

    /// The newest command at any endpoint of this computer.
    pub fn last_command(&self) -> Option<LastCommand> {
        self.file.read()
    }

    /// What the silence of its holder means now.
    pub fn phase(&self) -> Phase {
        phase(self.file.read(), since_boot(), self.timeout())
    }
}

impl GuardState {
    fn is_confirmed(&self, now: Duration) -> bool {
        self.confirmed.is_some_and(|confirmed| now.saturating_sub(confirmed) <= CONFIRMED_FOR)
    }

    fn why_unconfirmed(&self) -> String {
        self.problem.clone().unwrap_or_else(|| "the shared store has not answered yet".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use roverline_coordination::locks::{Holder, LockMode};

    use super::*;
    use crate::config::Authorities;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn claimant(name: &str) -> Claimant {
        Claimant { identity: "ann".to_owned(), name: name.to_owned() }
    }

    fn lock(name: &str, token: u64) -> LockView {
        let holder =
            Holder { client: name.to_owned(), identity: Some("ann".to_owned()), token: FencingToken(token) };
        LockView {
            resource: "drive".to_owned(),
            mode: LockMode::Exclusive,
            holders: vec![holder],
            waiting: Vec::new(),
        }
    }

    fn guard(scratch: &Path) -> Guard {
        let guard = Guard::open(Authorities::default().0.remove(0), scratch);
        guard.tick(ms(1_000));
        guard.set_lock(None, Revision(100), ms(1_000));
        guard
    }

    #[test]
    fn the_holder_commands_and_nobody_else() {
        let scratch = tempfile::tempdir().unwrap();
        let guard = guard(scratch.path());
        let (one, other) = (claimant("one"), claimant("other"));
        assert_eq!(guard.admit(&one, None, ms(1_010)), Ok(Admission::Acquire));
        assert_eq!(guard.admit(&one, None, ms(1_011)), Ok(Admission::Acquiring));
        let refused = guard.admit(&other, None, ms(1_012)).unwrap_err();
        assert_eq!(refused.to_string(), "drive is held by ann (one): request it, or wait until it is free");
        guard.set_acquired(one.clone(), 7, ms(1_020));
        assert_eq!(guard.admit(&one, None, ms(1_030)), Ok(Admission::Granted(7)));
        assert!(guard.admit(&other, None, ms(1_030)).is_err());
        assert_eq!(guard.admit(&other, Some(7), ms(1_030)), Ok(Admission::Granted(7)), "shows the token");
        let stranger = Claimant { identity: "bob".to_owned(), name: "one".to_owned() };
        assert!(guard.admit(&stranger, Some(7), ms(1_030)).is_err());
        // Somebody else acquires it.
        guard.set_lock(Some(&lock("other", 9)), Revision(100), ms(1_040));
        assert!(matches!(guard.admit(&one, None, ms(1_050)), Err(AuthorityRefused::HeldBy { .. })));
        assert!(matches!(guard.admit(&one, Some(7), ms(1_050)), Err(AuthorityRefused::Stale { .. })));
    }

    #[test]
    fn an_older_token_than_one_that_has_commanded_is_stale() {
        let scratch = tempfile::tempdir().unwrap();
        let (here, there) = (guard(scratch.path()), guard(scratch.path()));
        here.set_lock(Some(&lock("one", 7)), Revision(100), ms(1_000));
        assert_eq!(here.admit(&claimant("one"), None, ms(1_001)), Ok(Admission::Granted(7)));
        there.record(9, false);
        let refused = here.admit(&claimant("one"), None, ms(1_002));
        assert!(matches!(refused, Err(AuthorityRefused::Stale { token: 7, .. })), "{refused:?}");
    }

    #[test]
    fn without_the_store_and_after_a_suspension_nothing_passes() {
        let scratch = tempfile::tempdir().unwrap();
        let guard = guard(scratch.path());
        guard.set_lock(Some(&lock("one", 7)), Revision(100), ms(1_000));
        guard.set_problem("the disk is full");
        guard.tick(ms(1_400));
        assert!(guard.admit(&claimant("one"), None, ms(1_500)).is_ok());
        for now in (1_400..=2_700).step_by(100) {
            guard.tick(ms(now));
        }
        let refused = guard.admit(&claimant("one"), None, ms(2_700)).unwrap_err().to_string();
        assert!(refused.contains("the disk is full"), "{refused}");
        guard.set_lock(Some(&lock("one", 7)), Revision(100), ms(2_700));
        assert!(guard.admit(&claimant("one"), None, ms(2_700)).is_ok());
        // The timers stood still, and what a client sent meanwhile arrives.
        guard.set_lock(Some(&lock("one", 7)), Revision(100), ms(5_000));
        assert_eq!(guard.admit(&claimant("one"), None, ms(5_000)), Err(AuthorityRefused::Suspended));
        guard.tick(ms(5_001));
        assert_eq!(guard.admit(&claimant("one"), None, ms(5_900)), Err(AuthorityRefused::Suspended));
        for now in (5_001..=6_100).step_by(50) {
            guard.tick(ms(now));
        }
        assert!(guard.admit(&claimant("one"), None, ms(6_100)).is_ok());
    }

    #[test]
    fn explicit_only_needs_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let settings = AuthoritySettings { implicit: false, ..Authorities::default().0.remove(0) };
        let guard = Guard::open(settings, scratch.path());
        guard.tick(ms(1_000));
        guard.set_lock(None, Revision(100), ms(1_000));
        let refused = guard.admit(&claimant("one"), None, ms(1_001)).unwrap_err().to_string();
        assert!(refused.contains("roverline locks acquire drive"), "{refused}");
    }
}
