//! .msg text → plan → value, JSON and CDR.

pub mod cdr;
