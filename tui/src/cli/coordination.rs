//! Command line of `roverline locks`, `queues`, `kv` and `events`.

mod events;
mod kv;
mod locks;
mod queues;

pub use crate::cli::coordination::events::{EventFilter, EventsCommand, NewEvent};
pub use crate::cli::coordination::kv::KvCommand;
pub use crate::cli::coordination::locks::{GuardArgs, LockArgs, LocksCommand, RunWithLock};
pub use crate::cli::coordination::queues::{DequeueArgs, EnqueueArgs, QueuesCommand};

#[cfg(test)]
mod tests;
