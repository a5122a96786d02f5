//! Linearizability checker for a register: is there an order of all operations, each between its call and its
//! answer, in which every answer is correct? (Herlihy and Wing, "Linearizability", 1990.)
//!
//! The history is scanned once, keeping all possible states of the register; an operation is put into an
//! order only when its answer is due (Lowe, "Testing for linearizability", 2017). When nothing is pending,
//! one state is left, so a long history costs no more than its busiest moment.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

/// Maximum number of states kept at once; a history that needs more is not decided.
const MAX_STATES: usize = 500_000;
/// Maximum number of concurrent operations.
const MAX_PENDING: usize = 64;

/// The effect of an operation on a register, or its observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegisterOp {
    /// Observes this value.
    Read(Option<u64>),
    /// Writes this value unconditionally.
    Write(u64),
    /// Observes the first value and writes the second.
    Swap(Option<u64>, u64),
}

/// An operation of a history.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) effect: RegisterOp,
    /// Whether it certainly took effect.
    pub(crate) certain: bool,
}

/// The reason why a history was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotLinearizable {
    /// No order explains the operation at this index of the history.
    At(usize),
    /// Too many concurrent operations to decide.
    Undecided,
}

/// A possible state of the register: its value, and a bit set of the pending operations that took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Linearization {
    value: Option<u64>,
    happened: u64,
}

/// Checks the history of one register that starts without a value.
pub(crate) fn check(ops: &[Op]) -> Result<(), NotLinearizable> {
    let seen: HashSet<u64> = ops.iter().filter_map(|op| op.effect.observed()).collect();
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        // A write with unknown outcome whose value was never observed: the result is the same without it.
        let irrelevant = !op.certain && op.effect.written().is_none_or(|value| !seen.contains(&value));
        if !irrelevant {
            events.extend([(op.called, false, index), (op.returned.max(op.called), true, index)]);
        }
    }
    // An operation that begins when another ends counts as concurrent.
    events.sort_unstable();
    let mut register =
        Register { pending: [None; MAX_PENDING], states: HashSet::from([Linearization::default()]) };
    for (_, ends, index) in events {
        let op = &ops[index];
        if ends { register.end(index, op.certain)? } else { register.begin(index, op.effect)? }
    }
    Ok(())
}

impl RegisterOp {
    /// The value that the operation observes.
    fn observed(self) -> Option<u64> {
        match self {
            RegisterOp::Read(value) | RegisterOp::Swap(value, _) => value,
            RegisterOp::Write(_) => None,
        }
    }

    /// The value that the operation leaves behind, if it writes.
    fn written(self) -> Option<u64> {
        match self {
            RegisterOp::Read(_) => None,
            RegisterOp::Write(value) | RegisterOp::Swap(_, value) => Some(value),
        }
    }
}

/// All possible states of a register.
struct Register {
    pending: [Option<(usize, RegisterOp)>; MAX_PENDING],
    states: HashSet<Linearization>,
}

impl Register {
    fn begin(&mut self, index: usize, effect: RegisterOp) -> Result<(), NotLinearizable> {
        let slot = self.pending.iter_mut().find(|slot| slot.is_none()).ok_or(NotLinearizable::Undecided)?;
        *slot = Some((index, effect));
        let states = std::mem::take(&mut self.states);
        self.states = states.into_iter().map(|state| self.with_reads(state)).collect();
        Ok(())
    }

    fn end(&mut self, index: usize, certain: bool) -> Result<(), NotLinearizable> {
        let slot = self.pending.iter().position(|slot| slot.is_some_and(|(it, _)| it == index));
        let bit = 1_u64 << slot.ok_or(NotLinearizable::Undecided)?;
        let (mut kept, mut tried, mut open) = (HashSet::new(), HashSet::new(), Vec::new());
        for state in &self.states {
            if state.happened & bit != 0 {
                kept.insert(Linearization { happened: state.happened & !bit, ..*state });
                continue;
            }
            if !certain {
                kept.insert(*state);
            }
            open.push(*state);
        }
        while let Some(state) = open.pop() {
            for (slot, (_, effect)) in self.slots().filter(|(slot, _)| state.happened & (1 << slot) == 0) {
                let value = match effect {
                    RegisterOp::Write(value) => value,
                    RegisterOp::Swap(from, value) if from == state.value => value,
                    _ => continue,
                };
                let next = self
                    .with_reads(Linearization { value: Some(value), happened: state.happened | (1 << slot) });
                if next.happened & bit != 0 {
                    kept.insert(Linearization { happened: next.happened & !bit, ..next });
                } else if tried.insert(next) {
                    open.push(next);
                }
                if tried.len() + kept.len() > MAX_STATES {
                    return Err(NotLinearizable::Undecided);
                }
            }
        }
        if kept.is_empty() {
            return Err(NotLinearizable::At(index));
        }
        self.states = kept;
        for slot in self.pending.iter_mut().filter(|slot| slot.is_some_and(|(it, _)| it == index)) {
            *slot = None;
        }
        Ok(())
    }

    fn slots(&self) -> impl Iterator<Item = (usize, (usize, RegisterOp))> + '_ {
        self.pending.iter().enumerate().filter_map(|(slot, op)| op.map(|op| (slot, op)))
    }

    /// Applies every pending read that is correct now: it changes nothing, and cannot become more correct
    /// later.
    fn with_reads(&self, mut state: Linearization) -> Linearization {
        for (slot, (_, effect)) in self.slots() {
            if effect == RegisterOp::Read(state.value) {
                state.happened |= 1 << slot;
            }
        }
        state
    }
}
