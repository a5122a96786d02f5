//! The screens, a folder each; `screen_table` is the list.

pub mod alarms;
pub mod camera;
pub mod drive;
pub mod links;
pub mod log;
pub mod map;
pub mod preflight;
pub mod team;
pub mod topics;
pub mod traces;
