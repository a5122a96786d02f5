//! The `cert` command: a certificate authority of the team's own, and the certificates that it signs.

mod authority;
mod describe;
mod revoke;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::access::Role;
use crate::cli::cert::authority::{Made, Purpose};
use crate::cli::cert::describe::Description;
use crate::cli::cert::revoke::Revoked;
use crate::cli::error::{CliError, runtime_error};

/// Validity of the authority: about ten years.
const AUTHORITY_DAYS: u32 = 3_650;
/// Validity of other certificates: the longest that all browsers take from an authority of one's own.
const CERTIFICATE_DAYS: u32 = 825;

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Make the team's certificate authority: ca.crt and ca.key
    ///
    /// Do this once, on a computer of the team that is neither the rover nor reachable from its network.
    /// Whoever has ca.key can make certificates that every client and every gateway trusts: keep it there.
    /// ca.crt is public: clients check the rover with it (`--ca`), and the rover checks clients.
    Init {
        /// The authority's name in certificates
        #[arg(long, default_value = "Roverline team")]
        name: String,
        #[command(flatten)]
        validity: Validity,
        #[command(flatten)]
        folder: Folder,
    },
    /// Make the certificate of a computer that runs a gateway: HOST.crt and HOST.key
    ///
    /// It is valid for the names and addresses that are given, and for localhost. Give every name and
    /// address by which clients reach the gateway.
    Node {
        /// Names and addresses of the computer, the main one first: rover.local 192.168.1.10
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        validity: Validity,
        #[command(flatten)]
        folder: Folder,
    },
    /// Make the certificate of a person, a program or a relay: NAME.crt and NAME.key
    ///
    /// It replaces a token where the gateway has `[tls] client_ca`.
    Client {
        /// The holder's name, as it appears in logs and as the holder of locks
        name: String,
        /// The holder's role
        #[arg(long, value_enum, default_value = "operator")]
        role: Role,
        #[command(flatten)]
        validity: Validity,
        #[command(flatten)]
        folder: Folder,
    },
    /// Revoke certificates of people, programs and computers: ca.crl
    ///
    /// The list names every certificate that was revoked so far. Copy it to the gateway, where it is `[tls]
    /// revoked`: a running gateway refuses the certificates and ends their sessions within two seconds.
    Revoke {
        /// Whose certificates: NAME.crt in the folder. Without a name an empty list is made
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Show whose a certificate is, how long it is valid, and its fingerprint
    ///
    /// A client without `--ca` shows the same fingerprint when it first connects.
    Show {
        /// The certificate
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Validity {
    /// Days until it expires [default: 3650 for the authority, otherwise 825]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// Where the authority is, and where the new files go
    #[arg(long, value_name = "DIR", default_value = "tls")]
    dir: PathBuf,
}

pub(super) fn cert(command: &CertCommand) -> Result<(), CliError> {
    let text = match command {
        CertCommand::Init { name, validity, folder } => {
            let made = authority::create(&folder.dir, name, validity.days.unwrap_or(AUTHORITY_DAYS))
                .map_err(runtime_error)?;
            init_text(&made, &folder.dir)?
        }
        CertCommand::Node { hosts, validity, folder } => {
            let purpose = Purpose::Node { hosts };
            node_text(
                &authority::issue(&folder.dir, &purpose, validity.days.unwrap_or(CERTIFICATE_DAYS))
                    .map_err(runtime_error)?,
            )?
        }
        CertCommand::Client { name, role, validity, folder } => {
            let purpose = Purpose::Client { name, role: *role };
            let made = authority::issue(&folder.dir, &purpose, validity.days.unwrap_or(CERTIFICATE_DAYS))
                .map_err(runtime_error)?;
            client_text(&made, &folder.dir)?
        }
        CertCommand::Revoke { names, folder } => {
            let made = revoke::revoke(&folder.dir, names).map_err(runtime_error)?;
            revoke_text(&made)
        }
        CertCommand::Show { file } => describe(file)?,
    };
    // Standard output may be closed; the files are written.
    let _ = write!(std::io::stdout(), "{text}");
    Ok(())
}

fn describe(file: &Path) -> Result<String, CliError> {
    Ok(Description::read(file).map_err(runtime_error)?.to_string())
}

fn init_text(made: &Made, dir: &Path) -> Result<String, CliError> {
    let (cert, key) = (made.cert.display(), made.key.display());
    let dir = dir.display();
    Ok(format!(
        "{cert}: the authority. Give it to every client (--ca) and to the rover.\n{}\
         {key}: its key. Keep it secret, and on this computer.\n\n\
         Next:\n  \
         roverline-gateway cert node --dir {dir} rover.local 192.168.1.10   for the rover, with its names\n  \
         roverline-gateway cert client --dir {dir} --role operator ada      for a person, instead of a token\n",
        describe(&made.cert)?
    ))
}

fn node_text(made: &Made) -> Result<String, CliError> {
    let (cert, key) = (made.cert.display(), made.key.display());
    Ok(format!(
        "{cert}: the certificate.\n{}{key}: its key. Move both to that computer, and into its roverline.toml:\n\n\
         [tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n\n\
         A running gateway loads them again when they change.\n",
        describe(&made.cert)?
    ))
}

fn revoke_text(made: &Revoked) -> String {
    let list = made.list.display();
    format!(
        "{list}: {} revoked. Copy it to the gateway, and into its roverline.toml:\n\n\
         [tls]\nrevoked = \"{list}\"\n\n\
         A running gateway that has this line loads the list again when it changes.\n",
        made.count
    )
}

fn client_text(made: &Made, dir: &Path) -> Result<String, CliError> {
    let (cert, key) = (made.cert.display(), made.key.display());
    let ca = dir.join(authority::AUTHORITY_CERT);
    let ca = ca.display();
    Ok(format!(
        "{cert}: the certificate.\n{}{key}: its key. Give both to the holder over a private channel:\n\n  \
         roverline --host ROVER --ca {ca} --cert {cert} --key {key}\n\n\
         The gateway takes it with client_ca = \"{ca}\" under [tls].\n",
        describe(&made.cert)?
    ))
}
