//! Lifecycle of a robot or an endpoint: the state machine and its tolerance of consecutive
//! failures. Pure: storage is the caller's.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lifecycle state of a robot or an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was discovered.
    Discovered,
    /// It is being provisioned.
    Provisioning,
    /// It is ready for use.
    Ready,
    /// It is in use.
    Active,
    /// It is under maintenance.
    Maintenance,
    /// It is unreachable.
    Offline,
    /// It is unusable until it is provisioned again.
    Failed,
}

use State::{Active, Discovered, Failed, Maintenance, Offline, Provisioning, Ready};

impl State {
    /// All states.
    pub const ALL: [State; 7] = [Discovered, Provisioning, Ready, Active, Maintenance, Offline, Failed];
    /// Their names, in the same order.
    pub const NAMES: [&'static str; 7] =
        ["discovered", "provisioning", "ready", "active", "maintenance", "offline", "failed"];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Discovered => "discovered",
            Provisioning => "provisioning",
            Ready => "ready",
            Active => "active",
            Maintenance => "maintenance",
            Offline => "offline",
            Failed => "failed",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// States it can be moved to directly.
    pub const fn targets(self) -> &'static [State] {
        match self {
            Discovered => &[Provisioning, Failed],
            Provisioning => &[Ready, Failed],
            Ready => &[Active, Maintenance, Failed],
            Active => &[Ready, Maintenance, Offline],
            Maintenance => &[Ready, Failed],
            Offline => &[Ready],
            Failed => &[Provisioning],
        }
    }

    /// The number of consecutive failures that leads to [`State::Failed`]: the first, unless it is
    /// in use or offline. `None` if it has failed already.
    pub const fn fails_at(self) -> Option<u32> {
        match self {
            Discovered | Provisioning | Ready | Maintenance => Some(1),
            Active => Some(3),
            Offline => Some(5),
            Failed => None,
        }
    }

    /// The next state on the shortest path to `goal` that does not pass through a failure; `None`
    /// if it is there already or no such path exists.
    pub fn toward(self, goal: State) -> Option<State> {
        // Breadth-first search from the goal backwards; no path is longer than the number of
        // states.
        let mut near = vec![goal];
        for _ in State::ALL {
            if near.contains(&self) {
                return None;
            }
            let reaches =
                |state: State| state.targets().iter().find(|next| near.contains(next) && **next != Failed);
            if let Some(next) = reaches(self) {
                return Some(*next);
            }
            near = State::ALL
                .into_iter()
                .filter(|state| near.contains(state) || reaches(*state).is_some())
                .collect();
        }
        None
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An input of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleInput {
    /// A transition to a state was requested.
    To(State),
    /// It failed once.
    Failure,
    /// It succeeded: resets the count of consecutive failures.
    Success,
}

/// A state and its consecutive failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleStatus {
    /// The state.
    pub state: State,
    /// Consecutive failures in this state; in `failed`, those that led to it.
    pub failures: u32,
}

/// An input that is not possible in this state; the message says which are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot {}: {}", .from, InputDisplay(*.input), Possible(*.from))]
pub struct InvalidTransition {
    /// The current state.
    pub from: State,
    /// The rejected input.
    pub input: LifecycleInput,
}

struct InputDisplay(LifecycleInput);

impl fmt::Display for InputDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LifecycleInput::To(state) => write!(f, "become {state}"),
            LifecycleInput::Failure => f.write_str("fail"),
            LifecycleInput::Success => f.write_str("succeed"),
        }
    }
}

struct Possible(State);

impl fmt::Display for Possible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.targets().iter().map(|state| state.name()).collect();
        write!(f, "from {} it becomes {}", self.0, names.join(" or "))?;
        match self.0.fails_at() {
            Some(failures) if failures > 1 => write!(f, ", and failed after {failures} failures in a row"),
            _ => Ok(()),
        }
    }
}

impl LifecycleStatus {
    /// The initial status.
    pub const fn new() -> LifecycleStatus {
        LifecycleStatus { state: Discovered, failures: 0 }
    }

    /// The status after this input.
    ///
    /// ```
    /// use roverline_protocol::lifecycle::{LifecycleInput, LifecycleStatus, State};
    /// let status = LifecycleStatus::new().after(LifecycleInput::To(State::Provisioning)).unwrap();
    /// assert_eq!(status.state, State::Provisioning);
    /// assert!(status.after(LifecycleInput::To(State::Active)).is_err());
    /// ```
    pub fn after(self, input: LifecycleInput) -> Result<LifecycleStatus, InvalidTransition> {
        let invalid = Err(InvalidTransition { from: self.state, input });
        match input {
            LifecycleInput::To(state) if !self.state.targets().contains(&state) => invalid,
            // A request to move to `failed` counts as a failure.
            LifecycleInput::To(Failed) => self.after(LifecycleInput::Failure),
            LifecycleInput::To(state) => Ok(LifecycleStatus { state, failures: 0 }),
            LifecycleInput::Failure => match self.state.fails_at() {
                None => invalid,
                Some(most) => {
                    let failures = self.failures.saturating_add(1);
                    let state = if failures >= most { Failed } else { self.state };
                    Ok(LifecycleStatus { state, failures })
                }
            },
            LifecycleInput::Success if self.state == Failed => Ok(self),
            LifecycleInput::Success => Ok(LifecycleStatus { failures: 0, ..self }),
        }
    }
}

impl Default for LifecycleStatus {
    fn default() -> LifecycleStatus {
        LifecycleStatus::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The transition table, written a second time in another form: 1 is allowed.
    const TABLE: [(State, [u8; 7]); 7] = [
        //             di pr re ac ma of fa
        (Discovered, [0, 1, 0, 0, 0, 0, 1]),
        (Provisioning, [0, 0, 1, 0, 0, 0, 1]),
        (Ready, [0, 0, 0, 1, 1, 0, 1]),
        (Active, [0, 0, 1, 0, 1, 1, 0]),
        (Maintenance, [0, 0, 1, 0, 0, 0, 1]),
        (Offline, [0, 0, 1, 0, 0, 0, 0]),
        (Failed, [0, 1, 0, 0, 0, 0, 0]),
    ];

    #[test]
    fn exactly_these_transitions_are_valid() {
        for (from, row) in TABLE {
            for (to, allowed) in State::ALL.into_iter().zip(row) {
                for failures in 0..6 {
                    let after = LifecycleStatus { state: from, failures }.after(LifecycleInput::To(to));
                    assert_eq!(after.is_ok(), allowed == 1, "{from} to {to}");
                    assert!(after.is_err() || after.is_ok_and(|life| life.state == to), "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn three_consecutive_failures_fail_an_active_entity_and_five_an_offline_one() {
        for (state, most) in
            [(Discovered, 1), (Provisioning, 1), (Ready, 1), (Maintenance, 1), (Active, 3), (Offline, 5)]
        {
            let mut life = LifecycleStatus { state, failures: 0 };
            for n in 1..=most {
                assert_eq!(life.state, state, "after {} failures", n - 1);
                life = life.after(LifecycleInput::Failure).unwrap();
                assert_eq!(life.failures, n);
            }
            assert_eq!(life.state, Failed);
            assert!(life.after(LifecycleInput::Failure).is_err());
            assert_eq!(life.after(LifecycleInput::Success), Ok(life), "what has failed stays so");
            assert_eq!(
                life.after(LifecycleInput::To(Provisioning)),
                Ok(LifecycleStatus { state: Provisioning, failures: 0 })
            );
        }
        // Not consecutive.
        let mut life = LifecycleStatus { state: Active, failures: 0 };
        for input in [
            LifecycleInput::Failure,
            LifecycleInput::Failure,
            LifecycleInput::Success,
            LifecycleInput::Failure,
            LifecycleInput::Failure,
        ] {
            life = life.after(input).unwrap();
        }
        assert_eq!(life, LifecycleStatus { state: Active, failures: 2 });
    }

    #[test]
    fn the_error_lists_the_possible_transitions() {
        let said = LifecycleStatus { state: Active, failures: 0 }
            .after(LifecycleInput::To(Failed))
            .unwrap_err()
            .to_string();
        assert_eq!(
            said,
            "active cannot become failed: from active it becomes ready or maintenance or offline, \
             and failed after 3 failures in a row"
        );
        let said = LifecycleStatus { state: Failed, failures: 1 }
            .after(LifecycleInput::Failure)
            .unwrap_err()
            .to_string();
        assert_eq!(said, "failed cannot fail: from failed it becomes provisioning");
    }

    #[test]
    fn names_equal_the_json_names() {
        for (state, name) in State::ALL.into_iter().zip(State::NAMES) {
            assert_eq!((state.name(), State::named(name)), (name, Some(state)));
            assert_eq!(serde_json::to_value(state).unwrap(), name);
        }
        assert_eq!(State::named("gone"), None);
    }

    #[test]
    fn paths_are_shortest_and_valid() {
        for from in State::ALL {
            for goal in State::ALL {
                let mut way = vec![from];
                while let Some(next) = way[way.len() - 1].toward(goal) {
                    assert!(way[way.len() - 1].targets().contains(&next));
                    way.push(next);
                    assert!(way.len() <= State::ALL.len(), "{way:?}");
                }
                // A serving entity is provisioned again only after it has failed.
                let unreachable = match goal {
                    Discovered | Failed => from != goal,
                    Provisioning => !matches!(from, Discovered | Provisioning | Failed),
                    _ => false,
                };
                assert_eq!(way[way.len() - 1] == goal, !unreachable, "{way:?} to {goal}");
            }
        }
        assert_eq!(Discovered.toward(Active), Some(Provisioning));
        assert_eq!((Offline.toward(Active), Failed.toward(Ready)), (Some(Ready), Some(Provisioning)));
    }

    fn input() -> impl Strategy<Value = LifecycleInput> {
        prop_oneof![
            4 => (0..State::ALL.len()).prop_map(|n| LifecycleInput::To(State::ALL[n])),
            3 => Just(LifecycleInput::Failure),
            1 => Just(LifecycleInput::Success),
        ]
    }

    proptest! {
        /// Against a model that keeps the whole history and counts anew each time.
        #[test]
        fn any_sequence_agrees_with_the_full_history(inputs in proptest::collection::vec(input(), 0..60)) {
            let mut life = LifecycleStatus::new();
            let (mut model, mut past) = (0_usize, Vec::new());
            for input in inputs {
                let row = TABLE[model].1;
                let streak = past.iter().rev().take_while(|bad| **bad).count();
                let valid = match input {
                    LifecycleInput::To(state) => row[State::ALL.iter().position(|one| *one == state).unwrap()] == 1,
                    LifecycleInput::Failure => model != 6,
                    LifecycleInput::Success => true,
                };
                let after = life.after(input);
                prop_assert_eq!(after.is_ok(), valid);
                life = after.unwrap_or(life);
                if !valid {
                    continue;
                }
                match input {
                    LifecycleInput::Failure => {
                        past.push(true);
                        let most = [1, 1, 1, 3, 1, 5, 99][model];
                        if streak + 1 >= most {
                            model = 6;
                        }
                    }
                    LifecycleInput::To(Failed) => {
                        past.push(true);
                        model = 6;
                    }
                    LifecycleInput::To(state) => {
                        past.push(false);
                        model = State::ALL.iter().position(|one| *one == state).unwrap();
                    }
                    LifecycleInput::Success if model != 6 => past.push(false),
                    LifecycleInput::Success => {}
                }
                let streak = past.iter().rev().take_while(|bad| **bad).count();
                prop_assert_eq!((life.state, life.failures as usize), (State::ALL[model], streak));
            }
        }
    }
}
