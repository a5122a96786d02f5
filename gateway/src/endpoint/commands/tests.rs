//! A model of commands: whatever clients send, in whichever order and at whichever endpoint, and whether or not an endpoint
//! dies in between, each command goes one way, has one outcome, and gives the first answer again.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use roverline_coordination::Coordination;
use roverline_coordination::events::NodeIdentity;
use roverline_schema::Registry;
use roverline_source::ros::Ros;
use roverline_source::{Call, CallError, Publication, PublishError, SourceControl};
use serde_json::json;
use tokio::sync::watch;

use super::check::CommandBody;
use super::*;
use crate::authority::Claimant;

const SERVICE: &str = "example_interfaces/srv/AddTwoInts";
const IDS: usize = 4;

/// A rover that counts what it does, per command.
struct Rover {
    done: Mutex<BTreeMap<i64, u32>>,
    registry: Registry,
}

impl SourceControl for Rover {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Ok(())
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        let number = |at: usize| i64::from_le_bytes(call.request[at..at + 8].try_into().unwrap());
        // The first number is the command's, the second one what the rover does with it.
        let (id, act) = (number(4), number(12));
        let mut done = self.done.lock();
        let count = done.entry(id).or_default();
        *count += 1;
        let plan = self.registry.plan(&format!("{SERVICE}_Response")).unwrap();
        let response = Bytes::from(plan.encode_json(&json!({"sum": *count})).unwrap());
        let answer = match act % 3 {
            0 => Ok(response),
            1 => Err(CallError::Failed("the arm is stuck".to_owned())),
            _ => Err(CallError::Timeout { service: call.service.clone(), timeout: call.timeout }),
        };
        let _ = call.answer.send(answer);
        Ok(())
    }
}

/// A step of a client.
#[derive(Clone, Debug)]
enum Step {
    /// Sends a command to some endpoints at once.
    Send { id: usize, is_other: bool, is_late: bool, endpoints: Vec<usize> },
    /// An endpoint begins a command and dies.
    Die { id: usize },
    /// Sends it to an endpoint that does not serve its target.
    Elsewhere { id: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let send = (
        0..IDS,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop::collection::vec(0..2_usize, 1..4),
    );
    prop_oneof![
        8 => send.prop_map(|(id, is_other, is_late, endpoints)| Step::Send { id, is_other, is_late, endpoints }),
        1 => (0..IDS).prop_map(|id| Step::Die { id }),
        1 => (0..IDS).prop_map(|id| Step::Elsewhere { id }),
    ]
}

struct Model {
    rover: Arc<Rover>,
    ros: Ros,
    coordination: Arc<Coordination>,
    endpoints: [Arc<Commands>; 2],
    /// Which of the two bodies an id belongs to.
    bodies: BTreeMap<usize, bool>,
    /// The first final answer per id.
    first: BTreeMap<usize, CommandDocument>,
    journal: BTreeMap<usize, JournalEntry>,
    died: Vec<usize>,
}

fn rank(state: CommandState) -> u8 {
    match state {
        CommandState::Accepted => 0,
        CommandState::Dispatched => 1,
        CommandState::Verified | CommandState::Failed | CommandState::Expired => 2,
    }
}

fn state(entry: &JournalEntry) -> CommandState {
    serde_json::from_value::<CommandDocument>(entry.document.clone()).unwrap().state
}

impl Model {
    fn new(directory: &std::path::Path) -> Model {
        let registry = Registry::bundled();
        let rover = Arc::new(Rover { done: Mutex::default(), registry: registry.clone() });
        let ros = Ros::new(rover.clone(), registry, watch::channel(Arc::default()).1);
        let coordination = Coordination::open("sqlite", directory, NodeIdentity::default()).unwrap();
        let coordination = Arc::new(coordination);
        let endpoint = |tier| {
            let rover = GuardedRover { coordination: coordination.clone(), ros: ros.clone() };
            Arc::new(Commands::new(rover, Arc::new(Guards::none()), tier))
        };
        let endpoints = [endpoint(Tier::Primary), endpoint(Tier::Secondary)];
        Model {
            rover,
            ros,
            coordination,
            endpoints,
            bodies: BTreeMap::new(),
            first: BTreeMap::new(),
            journal: BTreeMap::new(),
            died: Vec::new(),
        }
    }

    fn command(&self, id: usize, is_other: bool, is_late: bool) -> CheckedCommand {
        // The rover decides by the id alone.
        let body = json!({"a": id, "b": id + usize::from(is_other) * 3});
        let request = self.ros.encode(&format!("{SERVICE}_Request"), &body).unwrap();
        CheckedCommand {
            id: format!("0198c2a4-7d3e-7000-8000-{id:012x}"),
            fingerprint: body.to_string(),
            kind: CommandKind::Call,
            target: "/do".to_owned(),
            type_name: SERVICE.to_owned(),
            body: CommandBody::Call(request),
            ttl: Duration::from_millis(500),
            age: Duration::from_millis(if is_late { 600 } else { 0 }),
            timeout: Duration::from_millis(10),
            client: String::new(),
        }
    }

    fn done(&self, id: usize) -> u32 {
        self.rover.done.lock().get(&(id as i64)).copied().unwrap_or_default()
    }

    async fn apply(&mut self, step: &Step) {
        match step {
            Step::Send { id, is_other, is_late, endpoints } => {
                let was_done = self.done(*id);
                let sends = endpoints.iter().map(|at| {
                    self.endpoints[*at].execute(self.command(*id, *is_other, *is_late), commander(), true)
                });
                for answer in futures_util::future::join_all(sends).await {
                    self.check(*id, *is_other, *is_late, was_done, answer);
                }
            }
            Step::Die { id } => {
                let command = self.command(*id, false, false);
                let document = self.endpoints[0].document(&command, &commander());
                let journal = &self.coordination.commands;
                if journal.begin(&command.id, &command.fingerprint, to_value(&document)).await
                    == Ok(Begun::New)
                {
                    self.bodies.insert(*id, false);
                    self.died.push(*id);
                }
            }
            Step::Elsewhere { id } => {
                let command = self.command(*id, false, false);
                let answer = self.endpoints[0].execute(command, commander(), false).await;
                match self.bodies.get(id) {
                    None => assert!(matches!(answer, Err(CommandError::NotServed { .. })), "{answer:?}"),
                    Some(is_other) if *is_other => {
                        assert!(matches!(answer, Err(CommandError::IdUsed(_))), "{answer:?}");
                    }
                    Some(_) => self.check_again(*id, answer.unwrap()),
                }
            }
        }
        self.check_journal().await;
    }

    fn check(
        &mut self,
        id: usize,
        is_other: bool,
        is_late: bool,
        was_done: u32,
        answer: Result<CommandDocument, CommandError>,
    ) {
        let first_body = *self.bodies.entry(id).or_insert(is_other);
        if first_body != is_other {
            assert!(matches!(answer, Err(CommandError::IdUsed(_))), "{answer:?}");
            return;
        }
        let answer = answer.unwrap();
        assert!(answer.state.is_final(), "{answer:?}");
        if is_late {
            assert_eq!(self.done(id), was_done, "it was too late: {answer:?}");
        }
        self.check_again(id, answer);
    }

    /// Whoever sends it again gets the first answer.
    fn check_again(&mut self, id: usize, answer: CommandDocument) {
        let done = self.done(id);
        assert!(done <= 1, "done {done} times: {answer:?}");
        if self.died.contains(&id) {
            assert_eq!((done, answer.state), (0, CommandState::Failed));
            assert!(answer.reason.unwrap().contains("may have been done"));
            return;
        }
        match answer.state {
            CommandState::Verified => assert_eq!(answer.result, Some(json!({"sum": 1}))),
            CommandState::Expired => assert_eq!(done, 0, "{answer:?}"),
            _ => assert!(answer.reason.is_some(), "{answer:?}"),
        }
        let first = self.first.entry(id).or_insert_with(|| answer.clone());
        assert_eq!(*first, answer);
    }

    /// No state goes back, and no outcome changes.
    async fn check_journal(&mut self) {
        for id in 0..IDS {
            let key = self.command(id, false, false).id;
            let entry = self.coordination.commands.get(&key).await.unwrap();
            match (self.journal.get(&id), &entry) {
                (Some(before), Some(now)) => {
                    assert!(rank(state(before)) <= rank(state(now)), "{before:?} {now:?}");
                    assert!(!before.finished || before == now, "{before:?} {now:?}");
                }
                (Some(before), None) => panic!("{before:?} is gone"),
                (None, _) => assert_eq!(entry.is_some(), self.bodies.contains_key(&id), "{entry:?}"),
            }
            self.journal.extend(entry.map(|entry| (id, entry)));
        }
    }
}

fn commander() -> Commander {
    let claimant = Claimant { identity: "ann".to_owned(), name: "one".to_owned() };
    Commander { claimant, session: None, token: None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn a_command_goes_one_way_and_has_one_outcome(steps in prop::collection::vec(step(), 1..10)) {
        let scratch = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new(scratch.path());
            for step in &steps {
                model.apply(step).await;
            }
        });
    }
}
