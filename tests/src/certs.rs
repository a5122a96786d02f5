//! An authority and certificates for TLS tests, made by the gateway's own command.

use std::path::PathBuf;
use std::time::Duration;

use crate::gateway;
use crate::temp::{self, TempDir};

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with an authority.
#[derive(Debug)]
pub struct Certs {
    dir: TempDir,
}

impl Default for Certs {
    fn default() -> Certs {
        let certs = Certs { dir: temp::dir() };
        certs.cert(&["init"]);
        certs
    }
}

impl Certs {
    /// An authority with the certificate of a gateway, valid for `host` and localhost.
    pub fn with_node(host: &str) -> Certs {
        let certs = Certs::default();
        certs.cert(&["node", host]);
        certs
    }

    /// Runs `cert` in this folder, and returns what it prints.
    pub fn cert(&self, args: &[&str]) -> String {
        let (command, rest) = args.split_first().unwrap();
        let dir = self.dir.path().to_str().unwrap();
        let args = [&["cert", command, "--dir", dir], rest].concat();
        let (code, stdout, stderr) = gateway::run(&args, PATIENCE);
        assert_eq!(code, 0, "{stderr}");
        stdout
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Copies the certificate of `name` and its key to those of `to`, as a renewal does.
    pub fn replace(&self, to: &str, name: &str) {
        for kind in ["crt", "key"] {
            let from = self.path(&format!("{name}.{kind}"));
            std::fs::copy(from, self.path(&format!("{to}.{kind}"))).unwrap();
        }
    }

    /// A configuration file with the certificate of `host`; `more` are further lines of `[tls]`.
    pub fn config(&self, host: &str, more: &str) -> String {
        let (cert, key) = (self.file(&format!("{host}.crt")), self.file(&format!("{host}.key")));
        let text = format!("[gateway]\nmdns = \"off\"\n[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n{more}");
        let path = self.path(&format!("{host}-{}.toml", more.len()));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
