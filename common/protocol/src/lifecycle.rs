//! The life of a robot or an endpoint: its states, what leads from one to another, and how many
//! failures in a row are borne. Pure: what is written where is for others.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a robot or an endpoint is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was seen.
    Discovered,
    /// It is being prepared.
    Provisioning,
    /// It can be used.
    Ready,
    /// It is used.
    Active,
    /// Somebody works on it.
    Maintenance,
    /// It is not heard of.
    Offline,
    /// It is of no use until it is prepared anew.
    Failed,
}

use State::{Active, Discovered, Failed, Maintenance, Offline, Provisioning, Ready};

impl State {
    /// All of them.
    pub const ALL: [State; 7] = [Discovered, Provisioning, Ready, Active, Maintenance, Offline, Failed];
    /// Their names, in the same order.
    pub const NAMES: [&'static str; 7] =
        ["discovered", "provisioning", "ready", "active", "maintenance", "offline", "failed"];

    /// Its name, as it is written.
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

    /// Where it may be led from here at once.
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

    /// The failure in a row that makes it [`State::Failed`]: the first, unless it is in use or away.
    /// `None`: it has failed already.
    pub const fn fails_at(self) -> Option<u32> {
        match self {
            Discovered | Provisioning | Ready | Maintenance => Some(1),
            Active => Some(3),
            Offline => Some(5),
            Failed => None,
        }
    }

    /// The next state on the shortest way to `goal`, not by way of a failure; `None` when it is there,
    /// or there is no such way.
    pub fn toward(self, goal: State) -> Option<State> {
        // Breadth first, from the goal back; no way is longer than there are states.
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

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// It is led to a state.
    To(State),
    /// It failed once.
    Failure,
    /// It did not fail: the row of failures ends.
    Success,
}

/// A state, and the failures in a row that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// Failures in a row in this state; of one that has failed, those that it took.
    pub failures: u32,
}

/// What cannot happen from where it is; says what can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot {}: {}", .from, Asked(*.input), Possible(*.from))]
pub struct Invalid {
    /// Where it is.
    pub from: State,
    /// What was asked.
    pub input: Input,
}

struct Asked(Input);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::To(state) => write!(f, "become {state}"),
            Input::Failure => f.write_str("fail"),
            Input::Success => f.write_str("succeed"),
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

impl Life {
    /// The first of all states.
    pub const fn new() -> Life {
        Life { state: Discovered, failures: 0 }
    }

    /// What becomes of it.
    pub fn after(self, input: Input) -> Result<Life, Invalid> {
        let invalid = Err(Invalid { from: self.state, input });
        match input {
            Input::To(state) if !self.state.targets().contains(&state) => invalid,
            // To say that it has failed is a failure.
            Input::To(Failed) => self.after(Input::Failure),
            Input::To(state) => Ok(Life { state, failures: 0 }),
            Input::Failure => match self.state.fails_at() {
                None => invalid,
                Some(most) => {
                    let failures = self.failures.saturating_add(1);
                    let state = if failures >= most { Failed } else { self.state };
                    Ok(Life { state, failures })
                }
            },
            Input::Success if self.state == Failed => Ok(self),
            Input::Success => Ok(Life { failures: 0, ..self }),
        }
    }
}

impl Default for Life {
    fn default() -> Life {
        Life::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table, written a second time and in another way: 1 is allowed.
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
                    let after = Life { state: from, failures }.after(Input::To(to));
                    assert_eq!(after.is_ok(), allowed == 1, "{from} to {to}");
                    assert!(after.is_err() || after.is_ok_and(|life| life.state == to), "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn the_third_failure_in_a_row_fails_what_is_active_and_the_fifth_what_is_offline() {
        for (state, most) in
            [(Discovered, 1), (Provisioning, 1), (Ready, 1), (Maintenance, 1), (Active, 3), (Offline, 5)]
        {
            let mut life = Life { state, failures: 0 };
            for n in 1..=most {
                assert_eq!(life.state, state, "after {} failures", n - 1);
                life = life.after(Input::Failure).unwrap();
                assert_eq!(life.failures, n);
            }
            assert_eq!(life.state, Failed);
            assert!(life.after(Input::Failure).is_err());
            assert_eq!(life.after(Input::Success), Ok(life), "what has failed stays so");
            assert_eq!(life.after(Input::To(Provisioning)), Ok(Life { state: Provisioning, failures: 0 }));
        }
        // Not in a row.
        let mut life = Life { state: Active, failures: 0 };
        for input in [Input::Failure, Input::Failure, Input::Success, Input::Failure, Input::Failure] {
            life = life.after(input).unwrap();
        }
        assert_eq!(life, Life { state: Active, failures: 2 });
    }

    #[test]
    fn a_refusal_says_what_is_possible() {
        let said = Life { state: Active, failures: 0 }.after(Input::To(Failed)).unwrap_err().to_string();
        assert_eq!(
            said,
            "active cannot become failed: from active it becomes ready or maintenance or offline, \
             and failed after 3 failures in a row"
        );
        let said = Life { state: Failed, failures: 1 }.after(Input::Failure).unwrap_err().to_string();
        assert_eq!(said, "failed cannot fail: from failed it becomes provisioning");
    }

    #[test]
    fn names_are_those_of_the_json() {
        for (state, name) in State::ALL.into_iter().zip(State::NAMES) {
            assert_eq!((state.name(), State::named(name)), (name, Some(state)));
            assert_eq!(serde_json::to_value(state).unwrap(), name);
        }
        assert_eq!(State::named("gone"), None);
    }

    #[test]
    fn the_way_is_the_shortest_and_valid() {
        for from in State::ALL {
            for goal in State::ALL {
                let mut way = vec![from];
                while let Some(next) = way[way.len() - 1].toward(goal) {
                    assert!(way[way.len() - 1].targets().contains(&next));
                    way.push(next);
                    assert!(way.len() <= State::ALL.len(), "{way:?}");
                }
                // What serves is prepared anew only after it has failed.
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

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            4 => (0..State::ALL.len()).prop_map(|n| Input::To(State::ALL[n])),
            3 => Just(Input::Failure),
            1 => Just(Input::Success),
        ]
    }

    proptest! {
        /// Against a model that keeps the whole past, and counts anew each time.
        #[test]
        fn any_sequence_is_as_the_past_says(inputs in proptest::collection::vec(input(), 0..60)) {
            let mut life = Life::new();
            let (mut model, mut past) = (0_usize, Vec::new());
            for input in inputs {
                let row = TABLE[model].1;
                let streak = past.iter().rev().take_while(|bad| **bad).count();
                let valid = match input {
                    Input::To(state) => row[State::ALL.iter().position(|one| *one == state).unwrap()] == 1,
                    Input::Failure => model != 6,
                    Input::Success => true,
                };
                let after = life.after(input);
                prop_assert_eq!(after.is_ok(), valid);
                life = after.unwrap_or(life);
                if !valid {
                    continue;
                }
                match input {
                    Input::Failure => {
                        past.push(true);
                        let most = [1, 1, 1, 3, 1, 5, 99][model];
                        if streak + 1 >= most {
                            model = 6;
                        }
                    }
                    Input::To(Failed) => {
                        past.push(true);
                        model = 6;
                    }
                    Input::To(state) => {
                        past.push(false);
                        model = State::ALL.iter().position(|one| *one == state).unwrap();
                    }
                    Input::Success if model != 6 => past.push(false),
                    Input::Success => {}
                }
                let streak = past.iter().rev().take_while(|bad| **bad).count();
                prop_assert_eq!((life.state, life.failures as usize), (State::ALL[model], streak));
            }
        }
    }
}
