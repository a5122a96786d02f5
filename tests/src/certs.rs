//! An authority and certificates for TLS tests, made by the gateway's own command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

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

    /// Makes FILE.crt and FILE.key, valid for `name` until this year: what the command does not make.
    pub fn node_until(&self, file: &str, name: &str, year: i32) {
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), key).unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        let path = |kind: &str| self.path(&format!("{file}.{kind}"));
        fs::write(path("crt"), made.pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        fs::set_permissions(path("key"), fs::Permissions::from_mode(0o600)).unwrap();
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
