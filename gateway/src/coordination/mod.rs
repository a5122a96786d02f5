//! What holds a team of operators together: locks, queues, shared values and the event log. All of it
//! is written once, over one narrow store.

pub mod locks;
pub mod store;
