//! .msg text → plan → value, JSON and CDR.
