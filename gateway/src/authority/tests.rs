//! A model of authority: a lock in a store, the endpoints that read it now and then, and clients that command at any of them.
//! At most one client commands under a token, no older token passes after a newer one has, a hand-over keeps exactly one
//! holder, and a silence stops the rover once.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use roverline_coordination::locks::{FencingToken, Holder, LockMode, LockView};
use roverline_coordination::store::Revision;

use crate::authority::command_file::LastCommand;
use crate::authority::silence::{Phase, STOP_DURATION, phase};
use crate::authority::{Admission, Claimant, Guard};
use crate::config::Authorities;

const CLIENTS: usize = 3;
const ENDPOINTS: usize = 3;
/// Tokens of one revision.
const POSITIONS: u64 = 1 << 10;
const MS: Duration = Duration::from_millis(1);

/// The lock as the store has it.
#[derive(Clone, Debug, Default)]
struct Lock {
    revision: u64,
    holder: Option<(usize, u64)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A client gets the lock: it acquires it, it is handed over, or it is forced.
    Grant { client: usize },
    /// The holder releases it.
    Release,
    /// An endpoint reads the lock.
    Read { endpoint: usize },
    /// An endpoint reads the lock as it was before the last change.
    ReadOld { endpoint: usize },
    /// A client commands, with the token that it was granted last, or without one.
    Command { endpoint: usize, client: usize, shows_token: bool },
    /// Time passes.
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..CLIENTS).prop_map(|client| Step::Grant { client }),
        1 => Just(Step::Release),
        4 => (0..ENDPOINTS).prop_map(|endpoint| Step::Read { endpoint }),
        1 => (0..ENDPOINTS).prop_map(|endpoint| Step::ReadOld { endpoint }),
        8 => (0..ENDPOINTS, 0..CLIENTS, any::<bool>())
            .prop_map(|(endpoint, client, shows_token)| Step::Command { endpoint, client, shows_token }),
        2 => (1..400_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn claimant(client: usize) -> Claimant {
    Claimant { identity: format!("person {client}"), name: "console".to_owned() }
}

struct Model {
    guards: Vec<Guard>,
    lock: Lock,
    before: Lock,
    /// The newest token of each client, and the client of each token.
    tokens: BTreeMap<usize, u64>,
    owners: BTreeMap<u64, usize>,
    /// Which client has commanded under which token.
    commanded: BTreeMap<u64, usize>,
    now: Duration,
}

impl Model {
    fn new(directory: &std::path::Path) -> Model {
        let mut settings = Authorities::default().0.remove(0);
        settings.implicit = false;
        let guards = (0..ENDPOINTS).map(|_| Guard::open(settings.clone(), directory)).collect();
        let lock = Lock { revision: 100, holder: None };
        let now = Duration::from_secs(1_000);
        Model {
            guards,
            before: lock.clone(),
            lock,
            tokens: BTreeMap::new(),
            owners: BTreeMap::new(),
            commanded: BTreeMap::new(),
            now,
        }
    }

    fn read(&self, endpoint: usize, lock: &Lock) {
        let view = lock.holder.map(|(client, token)| LockView {
            resource: "drive".to_owned(),
            mode: LockMode::Exclusive,
            holders: vec![Holder {
                client: "console".to_owned(),
                identity: Some(format!("person {client}")),
                token: FencingToken(token),
            }],
            waiting: Vec::new(),
        });
        self.guards[endpoint].set_lock(view.as_ref(), Revision(lock.revision), self.now);
    }

    fn apply(&mut self, step: &Step) {
        self.now += MS;
        self.guards.iter().for_each(|guard| guard.tick(self.now));
        match step {
            Step::Grant { client } => {
                self.before = self.lock.clone();
                self.lock.revision += 1;
                let token = self.lock.revision * POSITIONS;
                self.lock.holder = Some((*client, token));
                self.tokens.insert(*client, token);
                self.owners.insert(token, *client);
            }
            Step::Release => {
                self.before = self.lock.clone();
                self.lock.revision += 1;
                self.lock.holder = None;
            }
            Step::Read { endpoint } => self.read(*endpoint, &self.lock),
            Step::ReadOld { endpoint } => self.read(*endpoint, &self.before),
            Step::Command { endpoint, client, shows_token } => self.command(*endpoint, *client, *shows_token),
            Step::Wait { ms } => {
                // The timers run meanwhile.
                for _ in 0..*ms / 50 {
                    self.now += 50 * MS;
                    self.guards.iter().for_each(|guard| guard.tick(self.now));
                }
            }
        }
    }

    fn command(&mut self, endpoint: usize, client: usize, shows_token: bool) {
        let token = self.tokens.get(&client).copied().filter(|_| shows_token);
        let guard = &self.guards[endpoint];
        let Ok(admission) = guard.admit(&claimant(client), token, self.now) else { return };
        let Admission::Granted(granted) = admission else {
            panic!("{admission:?} without implicit authority")
        };
        let newest = self.commanded.keys().next_back().copied().unwrap_or_default();
        assert!(granted >= newest, "the token {granted} passes after {newest}");
        assert!(token.is_none_or(|token| token == granted), "{token:?} passes as {granted}");
        // It may be an older one of the same client, as long as no newer one has commanded.
        assert_eq!(self.owners.get(&granted), Some(&client), "the token {granted} is another client's");
        let holder = *self.commanded.entry(granted).or_insert(client);
        assert_eq!(holder, client, "two clients command under {granted}");
        guard.record(granted, false);
    }

    /// Once all endpoints have read the lock, its holder may command at each of them, and nobody else at any.
    fn check_settled(&mut self) {
        self.now += 10 * MS;
        for endpoint in 0..ENDPOINTS {
            self.guards[endpoint].tick(self.now);
            self.read(endpoint, &self.lock);
            for client in 0..CLIENTS {
                let admitted = self.guards[endpoint].admit(&claimant(client), None, self.now);
                match self.lock.holder {
                    Some((holder, token)) if holder == client => {
                        assert_eq!(admitted, Ok(Admission::Granted(token)));
                    }
                    _ => assert!(admitted.is_err(), "client {client}: {admitted:?}"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn one_client_commands_and_no_older_token_passes(steps in prop::collection::vec(step(), 1..80)) {
        let scratch = tempfile::tempdir().unwrap();
        let mut model = Model::new(scratch.path());
        for step in &steps {
            model.apply(step);
        }
        model.check_settled();
    }

    /// Each endpoint that looks at any interval of up to 100 ms begins the stop once per silence, and all of them name the
    /// same command, so that the event log has one event for it.
    #[test]
    fn a_silence_stops_the_rover_once(
        gaps_ms in prop::collection::vec(1..4_000_u64, 1..20),
        intervals_ms in prop::collection::vec(1..100_u64, ENDPOINTS),
        is_stop in prop::collection::vec(prop::bool::weighted(0.2), 20),
    ) {
        let timeout = 500 * MS;
        let mut commands = vec![LastCommand { token: 7, at: 10_000 * MS, is_stop: is_stop[0] }];
        for (gap_ms, is_stop) in gaps_ms.iter().zip(is_stop.iter().cycle().skip(1)) {
            let at = commands[commands.len() - 1].at + *gap_ms as u32 * MS;
            commands.push(LastCommand { token: 7, at, is_stop: *is_stop });
        }
        let end = commands[commands.len() - 1].at + timeout + STOP_DURATION + 200 * MS;
        let silences: Vec<Duration> = commands.iter().enumerate().filter_map(|(n, command)| {
            let until = commands.get(n + 1).map_or(end, |next| next.at);
            // Whoever looks every 100 ms sees a silence that lasts so much longer.
            (!command.is_stop && until - command.at >= timeout + 100 * MS).then_some(command.at)
        }).collect();
        for interval_ms in intervals_ms {
            let (mut stopped_after, mut begun) = (None, Vec::new());
            let mut now = 10_000 * MS;
            while now < end {
                let last = commands.iter().rfind(|command| command.at <= now).copied();
                if phase(last, now, timeout) == Phase::Stopping && stopped_after != last {
                    stopped_after = last;
                    begun.extend(last.map(|last| last.at));
                }
                now += interval_ms as u32 * MS;
            }
            let mut unique = begun.clone();
            unique.dedup();
            prop_assert_eq!(&begun, &unique, "one begin per silence");
            for silence in &silences {
                prop_assert!(begun.contains(silence), "every {} ms: {:?} of {:?}", interval_ms, silence, begun);
            }
        }
    }
}
