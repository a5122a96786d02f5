//! Which store: `sqlite`, or where a cluster of etcd is.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "etcd")]
use crate::store::EtcdStore;
use crate::store::{SqliteStore, Store};

/// The store of one computer.
pub const SQLITE: &str = "sqlite";

/// Whether a store of this name can be opened by this program; the error is a sentence for whoever
/// wrote it.
pub fn check_name(name: &str) -> Result<(), String> {
    match name {
        SQLITE => Ok(()),
        name if name.starts_with("etcd://") || name.starts_with("etcds://") => check_etcd(name),
        // It may hold what is nobody's business.
        _ => Err("write sqlite, or where a cluster is: etcd://host:2379,host:2379".to_owned()),
    }
}

/// The store of this name; one of this computer lies in `directory`. Needs tokio.
pub fn open(name: &str, directory: &Path) -> Result<Arc<dyn Store>, String> {
    check_name(name)?;
    match name {
        SQLITE => Ok(Arc::new(SqliteStore::open(directory))),
        name => open_etcd(name),
    }
}

#[cfg(feature = "etcd")]
fn check_etcd(name: &str) -> Result<(), String> {
    EtcdStore::check(name)
}

#[cfg(feature = "etcd")]
fn open_etcd(name: &str) -> Result<Arc<dyn Store>, String> {
    Ok(Arc::new(EtcdStore::open(name)?))
}

#[cfg(not(feature = "etcd"))]
fn check_etcd(_name: &str) -> Result<(), String> {
    Err("this program was built without etcd: build it with `--features etcd`".to_owned())
}

#[cfg(not(feature = "etcd"))]
fn open_etcd(name: &str) -> Result<Arc<dyn Store>, String> {
    Err(check_etcd(name).err().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stores_are_checked() {
        assert_eq!(check_name(SQLITE), Ok(()));
        for name in ["", "postgres://x", "SQLite"] {
            assert!(check_name(name).unwrap_err().contains("etcd://"), "{name}");
        }
        let etcd = check_name("etcd://a:2379,b:2379");
        match cfg!(feature = "etcd") {
            true => assert_eq!(etcd, Ok(())),
            false => assert!(etcd.unwrap_err().contains("--features etcd")),
        }
    }
}
