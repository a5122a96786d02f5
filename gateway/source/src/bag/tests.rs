//! The source as its users see it: files on disk in, samples out.

mod damage;
mod db3;
mod mcap;
mod orders;
mod playing;
mod real;
mod steering;
mod support;
mod timeline;
