//! The composer: a command to the rover, made with a form of its type, and what became of it.

pub mod catalogue;
pub mod form;
pub mod keys;
pub mod model;
pub mod saved;
pub mod update;
pub mod value;
