//! Where the commands run: a directory with what they expect to find, and namespaces for the network and `/etc/hosts`.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use roverline_tests::binary;
use roverline_tests::skip::Missing;
use roverline_tests::temp::{self, TempDir};

use crate::root;

/// Files of the repository that the scripts read, and the scripts themselves.
const LINKED: &[&str] = &[
    "Cargo.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs",
    "roverline.example.toml",
    "scripts/demo",
    "scripts/test",
    "scripts/faults",
    "scripts/package",
];

/// Programs that are made for the commands: their paths and their text.
const MADE: &[(&str, &str)] = &[
    ("pick_up_sample", "echo picked up"),
    ("scripts/setup-clients", "exit 0"),
    ("substitutes/apt-get", "exit 0"),
    (
        "substitutes/cargo",
        "case \"$*\" in build* | *--no-run) ;; *) echo 'test result: ok. 1 passed; 0 failed; 0 ignored' ;; esac",
    ),
];

/// The beginning of every driver: the network, and functions to start and end a gateway.
const PRELUDE: &str = r#"
ip link set lo up && ip addr add 192.168.1.10/32 dev lo && mount --bind hosts /etc/hosts || exit
fail() { echo "$*"; exit 1; }
end() { [ $# = 0 ] || { kill "$@" 2>/dev/null; wait "$@"; }; }
trap 'end $(jobs -p)' EXIT
until_ready() { # LOG
    for n in $(seq 200); do grep -q ^ready "$1" && return; sleep 0.1; done
    fail "not ready: $(cat "$1")"
}
up() { # COMMAND: with the simulated rover instead of live topics
    "$@" --source sim >up.log 2>&1 & gateway=$!
    until_ready up.log
}
prepare_tls() { # what the gateway and its clients on other computers need
    [ -e tls ] || { roverline-gateway cert init && roverline-gateway cert node rover.local 192.168.1.10; } >/dev/null
    [ -e token ] || (umask 077; roverline-gateway token add --tokens tokens ada >token)
}
"#;

/// A directory of its own for the commands of one test.
pub(crate) struct Workplace {
    directory: TempDir,
}

impl Workplace {
    pub(crate) fn new() -> Result<Workplace, Missing> {
        let workplace = Workplace { directory: temp::dir() };
        let own = |name: &str| workplace.directory.path().join(name);
        for folder in ["scripts", "substitutes", "target/demo", "target/release"] {
            std::fs::create_dir_all(own(folder)).unwrap();
        }
        for name in LINKED {
            symlink(root().join(name), own(name)).unwrap();
        }
        for (name, text) in MADE {
            workplace.write_program(name, text);
        }
        // A program that starts the built one, because packing that takes a minute.
        for name in ["roverline", "roverline-gateway", "faults"] {
            let start = format!("exec '{}' \"$@\"", binary::bin(name).display());
            workplace.write_program(&format!("target/demo/{name}"), &start);
            workplace.write_program(&format!("target/release/{name}"), &start);
        }
        workplace.write("drive.mcap", "");
        workplace.write("hosts", "127.0.0.1 localhost\n192.168.1.10 rover.local\n");
        match workplace.run("exit 0") {
            (0, _) => Ok(workplace),
            (_, text) => Err(Missing::capability(format!("no network namespaces here: {}", text.trim()))),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        temp::write(&self.directory, name, text);
    }

    fn write_program(&self, name: &str, text: &str) {
        let path = temp::write(&self.directory, name, &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The text of a file; empty if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// `unshare`, which runs a driver in Bash.
    fn command(&self, driver: &str) -> Command {
        let substitutes = self.directory.path().join("substitutes");
        let programs = binary::bin("roverline").parent().unwrap().to_owned();
        let clients = root().join(".clients/cargo/bin");
        let path = [substitutes, programs, clients].map(|folder| format!("{}:", folder.display())).concat();
        let inherited = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--net", "--mount", "bash", "-c"])
            .arg(format!("{PRELUDE}{driver}"))
            .current_dir(&self.directory)
            .env("PATH", path + &inherited)
            .env("HOME", self.directory.path())
            .env("TERM", "xterm-256color")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("XDG_STATE_HOME");
        command
    }

    /// Runs a driver; its exit code and what it printed.
    pub(crate) fn run(&self, driver: &str) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(driver).stdin(Stdio::null()).output().unwrap();
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (status.code().unwrap_or(-1), text)
    }

    /// Runs a driver whose output is that of a terminal, and types `q` once the screen shows `expected`. Its exit code
    /// and the screen at that time, or at the end.
    pub(crate) fn run_in_terminal(&self, driver: &str, expected: &str) -> (i32, String) {
        let mut command = self.command(driver);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut keyboard = child.stdin.take();
        let mut output = child.stdout.take().unwrap();
        let mut terminal = vt100::Parser::new(40.try_into().unwrap(), 120.try_into().unwrap(), 0);
        let mut screen = String::new();
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut bytes) {
            terminal.process(&bytes[..n]);
            if keyboard.is_some() && terminal.screen().alternate_screen() {
                screen = terminal.screen().contents();
            }
            if screen.contains(expected)
                && let Some(mut keyboard) = keyboard.take()
            {
                keyboard.write_all(b"q").unwrap();
            }
        }
        (child.wait().unwrap().code().unwrap_or(-1), screen)
    }
}
