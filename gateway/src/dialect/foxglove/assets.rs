//! Files of installed ROS packages (meshes, textures, URDF) for clients that draw the robot. No request
//! can read outside a package's `share` folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use crate::limits;

const SCHEME: &str = "package://";

/// Why a file cannot be sent, as text for the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssetError {
    #[error("AMENT_PREFIX_PATH is not set where the gateway runs: it knows no packages")]
    NoPrefixes,
    #[error("only {SCHEME}PACKAGE/PATH is given out")]
    Scheme,
    #[error("a package's name has to follow {SCHEME}")]
    Package,
    #[error("the path has to lead down into the package, without '..'")]
    Path,
    #[error("no package {0} with such a file is installed where the gateway runs")]
    NotFound(String),
    #[error("it leads out of the package {0}")]
    Outside(String),
    #[error("it is no file")]
    NotAFile,
    #[error("it is larger than the {} bytes that are given out", limits::FOXGLOVE_RESPONSE_BYTES)]
    TooLarge,
    #[error("it cannot be read: {}", .0.kind())]
    Io(#[from] std::io::Error),
    #[error("it could not be read")]
    Interrupted,
}

/// Reads `package://PACKAGE/PATH` from `share/PACKAGE` of one of the prefixes; blocks.
pub(super) fn read(prefixes: Option<&OsStr>, uri: &str) -> Result<Vec<u8>, AssetError> {
    let (package, path) = parse(uri)?;
    for prefix in std::env::split_paths(prefixes.ok_or(AssetError::NoPrefixes)?) {
        let share = prefix.join("share").canonicalize();
        let Ok(root) = share.and_then(|share| within(&share, Path::new(package))) else { continue };
        return match within(&root, path) {
            Ok(file) => read_file(&file),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(AssetError::Outside(package.to_owned()))
            }
            Err(_) => continue,
        };
    }
    Err(AssetError::NotFound(package.to_owned()))
}

fn parse(uri: &str) -> Result<(&str, &Path), AssetError> {
    let rest = uri.strip_prefix(SCHEME).ok_or(AssetError::Scheme)?;
    let (package, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if package.is_empty() || !package.chars().all(is_name) {
        return Err(AssetError::Package);
    }
    let path = Path::new(path);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if path.as_os_str().is_empty() || !is_plain {
        return Err(AssetError::Path);
    }
    Ok((package, path))
}

/// Resolves every symlink of `folder/path`, which must still be inside `folder` (itself free of
/// symlinks).
fn within(folder: &Path, path: &Path) -> std::io::Result<std::path::PathBuf> {
    let found = folder.join(path).canonicalize()?;
    match found.starts_with(folder) {
        true => Ok(found),
        false => Err(std::io::ErrorKind::PermissionDenied.into()),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, AssetError> {
    let most = limits::FOXGLOVE_RESPONSE_BYTES as u64;
    let size = match path.metadata()? {
        data if data.is_file() => data.len(),
        _ => return Err(AssetError::NotAFile),
    };
    if size > most {
        return Err(AssetError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // The file may have grown since.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(AssetError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A prefix with one package.
    struct Installed(TempDir);

    impl Installed {
        fn new() -> Installed {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("share/robot/meshes")).unwrap();
            std::fs::write(root.path().join("share/robot/meshes/wheel.stl"), b"solid").unwrap();
            std::fs::write(root.path().join("secret"), b"secret").unwrap();
            Installed(root)
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn read(&self, uri: &str) -> Result<Vec<u8>, AssetError> {
            let prefixes = std::env::join_paths([Path::new("/nowhere"), self.path()]).unwrap();
            read(Some(&prefixes), uri)
        }
    }

    #[test]
    fn a_file_of_a_package_is_given_out() {
        let installed = Installed::new();
        assert_eq!(installed.read("package://robot/meshes/wheel.stl").unwrap(), b"solid");
        assert!(
            installed
                .read("package://robot/meshes/arm.stl")
                .unwrap_err()
                .to_string()
                .starts_with("no package robot")
        );
        assert_eq!(installed.read("package://robot/meshes").unwrap_err().to_string(), "it is no file");
        assert!(
            read(None, "package://robot/meshes/wheel.stl")
                .unwrap_err()
                .to_string()
                .contains("AMENT_PREFIX_PATH")
        );
    }

    #[test]
    fn nothing_else_is() {
        let installed = Installed::new();
        for uri in [
            "package://robot/../../secret",
            "package://robot/meshes/../../../secret",
            "package://../secret",
            "package://./robot/x",
            "package://",
            "package://robot",
            "package://robot/",
            "package://robot//etc/passwd",
            "package://robot\0/x",
            "package://robot/meshes/\0",
            "file:///etc/passwd",
            "/etc/passwd",
            "http://127.0.0.1/",
            "",
        ] {
            assert!(installed.read(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn links_do_not_lead_out() {
        let installed = Installed::new();
        let share = installed.path().join("share");
        std::os::unix::fs::symlink("../../secret", share.join("robot/link")).unwrap();
        std::os::unix::fs::symlink("../..", share.join("robot/up")).unwrap();
        std::os::unix::fs::symlink("..", share.join("evil")).unwrap();
        std::os::unix::fs::symlink("meshes/wheel.stl", share.join("robot/inside")).unwrap();
        let out = "it leads out of the package robot";
        assert_eq!(installed.read("package://robot/link").unwrap_err().to_string(), out);
        assert_eq!(installed.read("package://robot/up/secret").unwrap_err().to_string(), out);
        assert!(installed.read("package://evil/secret").is_err());
        assert_eq!(installed.read("package://robot/inside").unwrap(), b"solid");
    }

    #[test]
    fn size_is_bounded() {
        let installed = Installed::new();
        let file = File::create(installed.path().join("share/robot/large")).unwrap();
        file.set_len(limits::FOXGLOVE_RESPONSE_BYTES as u64).unwrap();
        assert!(installed.read("package://robot/large").is_ok());
        file.set_len(limits::FOXGLOVE_RESPONSE_BYTES as u64 + 1).unwrap();
        assert!(installed.read("package://robot/large").unwrap_err().to_string().contains("larger"));
    }
}
