//! Runs the console in a pseudo-terminal and reads its screen back.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::binary;
use crate::temp::{self, TempDir};
use crate::wait::poll;

/// A running console. Killed when dropped.
pub struct Console {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    /// Whether the terminal has stopped reading.
    is_stalled: Arc<AtomicBool>,
    written_bytes: Arc<AtomicU64>,
    terminal: Arc<Mutex<vt100::Parser>>,
    // The terminal exists as long as its master side is open.
    _master: Box<dyn MasterPty + Send>,
    _home: TempDir,
}

impl Console {
    /// Starts `roverline` with these arguments in a terminal of this size.
    pub fn open(args: &[String], columns: u16, rows: u16) -> Console {
        Console::open_as("operator@test", args, columns, rows)
    }

    /// The same, under this client name.
    pub fn open_as(client: &str, args: &[String], columns: u16, rows: u16) -> Console {
        let home = temp::dir();
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(binary::bin("roverline"));
        command.env_clear();
        command.env("HOME", home.path());
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env("ROVERLINE_CLIENT", client);
        command.args(args);
        let child = pair.slave.spawn_command(command).unwrap();
        let size = |n: u16| n.try_into().expect("a terminal has lines and columns");
        let terminal = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(columns), 0)));
        let is_stalled = Arc::new(AtomicBool::new(false));
        let written_bytes = Arc::new(AtomicU64::new(0));
        let mut output = pair.master.try_clone_reader().unwrap();
        std::thread::spawn({
            let terminal = terminal.clone();
            let is_stalled = is_stalled.clone();
            let written_bytes = written_bytes.clone();
            move || {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = output.read(&mut bytes) {
                    // A terminal that takes no output.
                    while is_stalled.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    terminal.lock().unwrap().process(&bytes[..n]);
                    written_bytes.fetch_add(n as u64, Ordering::Relaxed);
                }
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        Console { child, keyboard, is_stalled, written_bytes, terminal, _master: pair.master, _home: home }
    }

    /// The console's process.
    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Number of bytes that the console has written to its terminal.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// The current contents of the screen, line by line.
    pub fn screen(&self) -> String {
        self.terminal.lock().unwrap().screen().contents()
    }

    /// Whether the console has switched to the alternate screen.
    pub fn has_terminal(&self) -> bool {
        self.terminal.lock().unwrap().screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub fn hides_cursor(&self) -> bool {
        self.terminal.lock().unwrap().screen().hide_cursor()
    }

    /// The terminal stops reading what the console writes, or goes on.
    pub fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Types `keys`.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until `find` finds something on the screen; panics with the screen after `patience`.
    pub fn until<T>(&self, what: &str, patience: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let found = poll(patience, || find(&self.screen()));
        found.unwrap_or_else(|| panic!("not within {patience:?}: {what}; the screen:\n{}", self.screen()))
    }

    /// Waits until the screen shows this text.
    pub fn until_shows(&self, text: &str) {
        self.until(text, Duration::from_secs(15), |screen| screen.contains(text).then_some(()));
    }

    /// Waits for the console to exit; its exit code.
    pub fn exit_code(&mut self, patience: Duration) -> u32 {
        let status = poll(patience, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("still runs; the screen:\n{}", self.screen()));
        status.exit_code()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
