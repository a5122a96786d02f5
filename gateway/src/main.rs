//! `roverline-gateway`.

fn main() {}
