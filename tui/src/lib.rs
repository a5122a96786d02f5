//! The operators' console: rover telemetry in a terminal, with failover between endpoints.
//!
//! One loop: `terminal, links, clock → Msg → update(&mut Model) → [Effect] → runtime → Msg`. `view`
//! draws a model and changes nothing; `update` changes the model and does no I/O; the runtime does
//! all I/O.

pub mod cli;
pub mod command;
pub mod composer;
pub mod effect;
pub mod environment;
pub mod format;
pub mod fuzzy;
pub mod global_keys;
pub mod keymap;
pub mod model;
pub mod overview_rows;
pub mod picture;
pub mod preflight;
pub mod rewind;
pub mod runtime;
pub mod screen;
pub mod screen_entry;
mod screen_table;
pub mod screens;
pub mod shared_values;
pub mod theme;
pub mod topic_mapping;
pub mod update;
pub mod view;
pub mod waterfall;
pub mod widget;
