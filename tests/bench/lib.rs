//! Empty: this crate consists of benchmarks; see `benches/`.
