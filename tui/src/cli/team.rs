//! The command line of what a team shares.

mod events;
mod kv;
mod locks;
mod queues;

pub use events::{EventFilter, EventsCommand, NewEvent};
pub use kv::KvCommand;
pub use locks::{LockAsk, LocksCommand, RunWithLock};
pub use queues::{DequeueAsk, EnqueueAsk, QueuesCommand};

#[cfg(test)]
mod tests;
