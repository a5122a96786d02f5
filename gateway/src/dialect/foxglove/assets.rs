//! Files of installed ROS packages, for clients that draw the robot: meshes, textures, URDF. Nothing
//! outside of a package's `share` folder, however it is asked for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use roverline_protocol::limits;

const SCHEME: &str = "package://";

/// Reads `package://PACKAGE/PATH` below `share/PACKAGE` of one of the prefixes; blocks. An error says
/// why not.
pub(super) fn read(prefixes: Option<&OsStr>, uri: &str) -> Result<Vec<u8>, String> {
    let (package, path) = parse(uri)?;
    let Some(prefixes) = prefixes else {
        return Err("AMENT_PREFIX_PATH is not set where the gateway runs: it knows no packages".to_owned());
    };
    for prefix in std::env::split_paths(prefixes) {
        let share = prefix.join("share").canonicalize();
        let Ok(root) = share.and_then(|share| within(&share, Path::new(package))) else { continue };
        let file = match within(&root, path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(format!("it leads out of the package {package}"));
            }
            Err(_) => continue,
        };
        return read_file(&file);
    }
    Err(format!("no package {package} with such a file is installed where the gateway runs"))
}

fn parse(uri: &str) -> Result<(&str, &Path), String> {
    let Some(rest) = uri.strip_prefix(SCHEME) else {
        return Err(format!("only {SCHEME}PACKAGE/PATH is given out"));
    };
    let (package, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if package.is_empty() || !package.chars().all(is_name) {
        return Err(format!("a package's name has to follow {SCHEME}"));
    }
    let path = Path::new(path);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if path.as_os_str().is_empty() || !is_plain {
        return Err("the path has to lead down into the package, without '..'".to_owned());
    }
    Ok((package, path))
}

/// `folder/path` with every link followed, which must still lie in `folder` (itself without links).
fn within(folder: &Path, path: &Path) -> std::io::Result<std::path::PathBuf> {
    let found = folder.join(path).canonicalize()?;
    match found.starts_with(folder) {
        true => Ok(found),
        false => Err(std::io::ErrorKind::PermissionDenied.into()),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let most = limits::FOXGLOVE_ANSWER_BYTES as u64;
    let text = |error: std::io::Error| format!("it cannot be read: {}", error.kind());
    let size = match path.metadata().map_err(text)? {
        data if data.is_file() => data.len(),
        _ => return Err("it is no file".to_owned()),
    };
    let too_large = || format!("it is larger than the {most} bytes that are given out");
    if size > most {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // It may have grown since.
    File::open(path).map_err(text)?.take(most + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A prefix with one package, gone at the end.
    struct Installed(PathBuf);

    impl Installed {
        fn new(name: &str) -> Installed {
            let root = std::env::temp_dir().join(format!("roverline-assets-{name}-{}", std::process::id()));
            std::fs::create_dir_all(root.join("share/robot/meshes")).unwrap();
            std::fs::write(root.join("share/robot/meshes/wheel.stl"), b"solid").unwrap();
            std::fs::write(root.join("secret"), b"secret").unwrap();
            Installed(root)
        }

        fn read(&self, uri: &str) -> Result<Vec<u8>, String> {
            let prefixes = std::env::join_paths([Path::new("/nowhere"), &self.0]).unwrap();
            read(Some(&prefixes), uri)
        }
    }

    impl Drop for Installed {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_of_a_package_is_given_out() {
        let installed = Installed::new("given");
        assert_eq!(installed.read("package://robot/meshes/wheel.stl").unwrap(), b"solid");
        assert!(
            installed.read("package://robot/meshes/arm.stl").unwrap_err().starts_with("no package robot")
        );
        assert_eq!(installed.read("package://robot/meshes").unwrap_err(), "it is no file");
        assert!(read(None, "package://robot/meshes/wheel.stl").unwrap_err().contains("AMENT_PREFIX_PATH"));
    }

    #[test]
    fn nothing_else_is() {
        let installed = Installed::new("else");
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
        let installed = Installed::new("links");
        let share = installed.0.join("share");
        std::os::unix::fs::symlink("../../secret", share.join("robot/link")).unwrap();
        std::os::unix::fs::symlink("../..", share.join("robot/up")).unwrap();
        std::os::unix::fs::symlink("..", share.join("evil")).unwrap();
        std::os::unix::fs::symlink("meshes/wheel.stl", share.join("robot/inside")).unwrap();
        let out = "it leads out of the package robot";
        assert_eq!(installed.read("package://robot/link").unwrap_err(), out);
        assert_eq!(installed.read("package://robot/up/secret").unwrap_err(), out);
        assert!(installed.read("package://evil/secret").is_err());
        assert_eq!(installed.read("package://robot/inside").unwrap(), b"solid");
    }

    #[test]
    fn size_is_bounded() {
        let installed = Installed::new("size");
        let file = File::create(installed.0.join("share/robot/large")).unwrap();
        file.set_len(limits::FOXGLOVE_ANSWER_BYTES as u64).unwrap();
        assert!(installed.read("package://robot/large").is_ok());
        file.set_len(limits::FOXGLOVE_ANSWER_BYTES as u64 + 1).unwrap();
        assert!(installed.read("package://robot/large").unwrap_err().contains("larger"));
    }
}
