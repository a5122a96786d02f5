//! The command line of what a team shares.

mod events;
mod kv;
mod locks;
mod queues;

pub use crate::cli::coordination::events::{EventFilter, EventsCommand, NewEvent};
pub use crate::cli::coordination::kv::KvCommand;
pub use crate::cli::coordination::locks::{LockAsk, LocksCommand, RunWithLock};
pub use crate::cli::coordination::queues::{DequeueAsk, EnqueueAsk, QueuesCommand};

#[cfg(test)]
mod tests;
