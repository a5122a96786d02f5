//! Whether a register behaved as one: is there an order of all operations, each between its call and
//! its answer, in which every answer is right? (Herlihy and Wing, "Linearizability", 1990.)
//!
//! The history is walked once, keeping every way the register may be by now; an operation is put into
//! an order only when its answer is due (Lowe, "Testing for linearizability", 2017). Where nothing is
//! under way there is one way left, so that a long history costs no more than its busiest moment.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

/// Ways to be kept at once; a history with more is not decided.
const WAYS: usize = 500_000;
/// Operations under way at once.
const SLOTS: usize = 64;

/// What an operation does to a register, or says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// It has this value.
    Read(Option<u64>),
    /// It gets this value, whatever it had.
    Write(u64),
    /// It had the one value and gets the other.
    Swap(Option<u64>, u64),
}

/// An operation of a history.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) does: Does,
    /// Whether it surely happened.
    pub(crate) sure: bool,
}

/// A register that was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// No order explains this operation, by its place in the history that was given.
    At(usize),
    /// Too much at once to be decided.
    TooMuch,
}

/// One way a register may be: its value, and which of the operations under way have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Way {
    value: Option<u64>,
    happened: u64,
}

/// Checks the history of one register that begins without a value.
pub(crate) fn check(ops: &[Op]) -> Result<(), Wrong> {
    let seen: HashSet<u64> = ops.iter().filter_map(|op| op.does.sees()).collect();
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (place, op) in ops.iter().enumerate() {
        // A write that nobody saw and that may not have happened: without it all is as well as with it.
        let moot = !op.sure && op.does.leaves().is_none_or(|value| !seen.contains(&value));
        if !moot {
            events.extend([(op.called, false, place), (op.returned.max(op.called), true, place)]);
        }
    }
    // What begins as another ends is beside it.
    events.sort_unstable();
    let mut register = Register { under_way: [None; SLOTS], ways: HashSet::from([Way::default()]) };
    for (_, ends, place) in events {
        let op = &ops[place];
        if ends { register.end(place, op.sure)? } else { register.begin(place, op.does)? }
    }
    Ok(())
}

impl Does {
    /// The value that it proves to have been there.
    fn sees(self) -> Option<u64> {
        match self {
            Does::Read(value) | Does::Swap(value, _) => value,
            Does::Write(_) => None,
        }
    }

    /// The value that it leaves, if it changes any.
    fn leaves(self) -> Option<u64> {
        match self {
            Does::Read(_) => None,
            Does::Write(value) | Does::Swap(_, value) => Some(value),
        }
    }
}

/// Everything a register may be by now.
struct Register {
    under_way: [Option<(usize, Does)>; SLOTS],
    ways: HashSet<Way>,
}

impl Register {
    fn begin(&mut self, place: usize, does: Does) -> Result<(), Wrong> {
        let slot = self.under_way.iter_mut().find(|slot| slot.is_none()).ok_or(Wrong::TooMuch)?;
        *slot = Some((place, does));
        let ways = std::mem::take(&mut self.ways);
        self.ways = ways.into_iter().map(|way| self.with_reads(way)).collect();
        Ok(())
    }

    fn end(&mut self, place: usize, sure: bool) -> Result<(), Wrong> {
        let slot = self.under_way.iter().position(|slot| slot.is_some_and(|(it, _)| it == place));
        let bit = 1_u64 << slot.ok_or(Wrong::TooMuch)?;
        let (mut kept, mut tried, mut open) = (HashSet::new(), HashSet::new(), Vec::new());
        for way in &self.ways {
            if way.happened & bit != 0 {
                kept.insert(Way { happened: way.happened & !bit, ..*way });
                continue;
            }
            if !sure {
                kept.insert(*way);
            }
            open.push(*way);
        }
        while let Some(way) = open.pop() {
            for (slot, (_, does)) in self.slots().filter(|(slot, _)| way.happened & (1 << slot) == 0) {
                let value = match does {
                    Does::Write(value) => value,
                    Does::Swap(from, value) if from == way.value => value,
                    _ => continue,
                };
                let next = self.with_reads(Way { value: Some(value), happened: way.happened | (1 << slot) });
                if next.happened & bit != 0 {
                    kept.insert(Way { happened: next.happened & !bit, ..next });
                } else if tried.insert(next) {
                    open.push(next);
                }
                if tried.len() + kept.len() > WAYS {
                    return Err(Wrong::TooMuch);
                }
            }
        }
        if kept.is_empty() {
            return Err(Wrong::At(place));
        }
        self.ways = kept;
        for slot in self.under_way.iter_mut().filter(|slot| slot.is_some_and(|(it, _)| it == place)) {
            *slot = None;
        }
        Ok(())
    }

    fn slots(&self) -> impl Iterator<Item = (usize, (usize, Does))> + '_ {
        self.under_way.iter().enumerate().filter_map(|(slot, op)| op.map(|op| (slot, op)))
    }

    /// With every read that is right now: later it would not be more right, and it changes nothing.
    fn with_reads(&self, mut way: Way) -> Way {
        for (slot, (_, does)) in self.slots() {
            if does == Does::Read(way.value) {
                way.happened |= 1 << slot;
            }
        }
        way
    }
}
