//! The console in a real terminal: it is there at once, and gives everything back.
#![allow(clippy::unwrap_used, reason = "only tests use this")]

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const LINES: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();

struct Console {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl Console {
    fn start(environment: &[(&str, &str)]) -> Console {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_roverline"));
        command.arg("127.0.0.1:9");
        command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (sender, output) = sync_channel(1_024);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Console {
            child,
            master: pty.master,
            output,
            screen: vt100::Parser::new(LINES, COLUMNS, 0),
            raw: Vec::new(),
        }
    }

    fn until(&mut self, done: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done(self.screen.screen()) {
            assert!(Instant::now() < end, "not in time:\n{}", self.screen.screen().contents());
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.screen.process(&bytes);
                self.raw.extend(bytes);
            }
        }
    }

    fn shows(&mut self, text: &str) {
        self.until(|screen| screen.contents().contains(text));
    }

    fn keys(&self, keys: &str) {
        // The writer of a terminal can be taken once: all keys of a test go out together.
        self.master.take_writer().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn ends_clean(&mut self) {
        self.until(|screen| !screen.alternate_screen() && !screen.hide_cursor());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn the_first_frame_is_there_at_once_and_q_leaves_no_trace() {
    let start = Instant::now();
    let mut console = Console::start(&[]);
    console.shows("Drive");
    println!("first frame after {} ms", start.elapsed().as_millis());
    assert!(console.screen.screen().alternate_screen());
    console.shows("no endpoint answers");
    console.keys("q");
    console.ends_clean();
}

#[test]
fn a_signal_ends_it_as_cleanly() {
    let mut console = Console::start(&[]);
    console.shows("STOP");
    let id = i32::try_from(console.child.process_id().unwrap()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    console.ends_clean();
}

#[test]
fn no_color_means_none() {
    for (environment, colours) in [(&[("NO_COLOR", "1")][..], false), (&[], true)] {
        let mut console = Console::start(environment);
        console.shows("no endpoint answers");
        console.keys("q");
        console.ends_clean();
        let raw = String::from_utf8_lossy(&console.raw).into_owned();
        assert_eq!(raw.contains("38;5;") || raw.contains("38;2;"), colours);
    }
}

#[test]
fn help_opens_by_key() {
    let mut console = Console::start(&[("COLORTERM", "truecolor")]);
    console.shows("STOP");
    console.keys("?");
    console.shows("not a replacement for the red button");
    console.child.kill().unwrap();
}
