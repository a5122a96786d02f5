//! Tests of the source from its users' view: files on disk in, samples out.

mod control;
mod control_log;
mod corruption;
mod db3;
mod declarations;
mod directories;
mod mcap;
mod playing;
mod real_robots;
mod support;
mod timeline;
