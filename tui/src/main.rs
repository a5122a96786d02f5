//! `roverline`.

fn main() {}
