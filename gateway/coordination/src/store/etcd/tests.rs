//! Against three nodes of etcd: what every store must do, and what they do when nodes fail.

mod entrance;
mod faults;
mod figures;
mod partition;
mod rig;
mod suites;
