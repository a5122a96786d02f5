//! Commands: what clients may ask the rover to do.

mod estop;

pub use estop::EmergencyStop;
