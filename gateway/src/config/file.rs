//! The configuration file `roverline.toml`: lookup, parsing and validation.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use roverline_protocol::Routing;
use roverline_protocol::routing::topic_glob;

use crate::access::forwarded::proxy_network;
use crate::config::{Settings, alarms, path_prefix, ros_discovery};

/// The administrator, whose files are right.
const ROOT: u32 = 0;
/// Every user may write the file.
const WRITABLE_FOR_ALL: u32 = 0o002;

/// An invalid configuration; the text names file, line and key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads `explicit`, or the first file that exists of `./roverline.toml`, the XDG configuration directory
/// and `/etc/roverline`; otherwise returns the defaults.
pub fn load(explicit: Option<&Path>) -> Result<(Settings, Option<PathBuf>), ConfigError> {
    let found = match explicit {
        Some(path) => Some((path.to_owned(), File::open(path))),
        None => candidates().into_iter().find_map(|path| open_ours(&path).map(|file| (path, file))),
    };
    let Some((path, file)) = found else { return Ok((Settings::default(), None)) };
    let text = file
        .and_then(std::io::read_to_string)
        .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?;
    let settings = parse(&text, &path.display().to_string())?;
    Ok((settings, Some(path)))
}

/// Opens a discovered configuration file if its owner and mode are safe; otherwise warns. The checks use the open
/// file, so it cannot be replaced between the check and the read.
fn open_ours(path: &Path) -> Option<std::io::Result<File>> {
    let link = std::fs::symlink_metadata(path).ok()?;
    let file = match File::open(path) {
        Ok(file) => file,
        // A link to nowhere is no file.
        Err(error) => return path.is_file().then_some(Err(error)),
    };
    let about = file.metadata().ok().filter(Metadata::is_file)?;
    let me = rustix::process::geteuid().as_raw();
    // A user who may write to a directory can put a link to our own file there.
    let link = link.is_symlink().then(|| distrust_link(link.uid(), me)).flatten();
    let Some(why) = link.or_else(|| distrust(about.uid(), about.mode(), me)) else { return Some(Ok(file)) };
    eprintln!(
        "roverline-gateway: {} is not used, because {why}; name it with --config if it is right",
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display()
    );
    None
}

/// The reason why user `me` does not trust a file of this owner and mode. Parent directories need no check: a file
/// planted there has another owner.
fn distrust(owner: u32, mode: u32, me: u32) -> Option<&'static str> {
    match owner {
        _ if mode & WRITABLE_FOR_ALL != 0 => Some("anybody may write it"),
        owner if owner == ROOT || owner == me => None,
        _ => Some("it is another user's"),
    }
}

fn distrust_link(owner: u32, me: u32) -> Option<&'static str> {
    (owner != ROOT && owner != me).then_some("it is another user's link")
}

fn candidates() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let mut paths = vec![PathBuf::from("roverline.toml")];
    paths.extend(config.map(|config| config.join("roverline/roverline.toml")));
    paths.push(PathBuf::from("/etc/roverline/roverline.toml"));
    paths
}

/// A line for a message: what it assigns is left out if it may be a secret.
fn without_secret(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    match line.split_once('=') {
        Some((key, _)) if ["tok", "pass", "secret"].iter().any(|word| lower.contains(word)) => {
            format!("{}= ...", key)
        }
        _ => line.to_owned(),
    }
}

/// Parses the text of the file called `name`.
pub(super) fn parse(text: &str, name: &str) -> Result<Settings, ConfigError> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let shown = without_secret(text.lines().nth(line - 1).unwrap_or_default().trim());
        ConfigError(format!("{name}:{line}: {} (at `{shown}`)", error.message().replace('\n', ", ")))
    })?;
    check(&settings).map_err(|(key, why)| {
        let line = line_of(text, key);
        ConfigError(format!("{name}:{line}: {key}: {why}"))
    })?;
    alarms::check_rules(&settings.alarm, text)
        .map_err(|(line, why)| ConfigError(format!("{name}:{line}: {why}")))?;
    Ok(settings)
}

/// Checks what the types cannot express; an error is a key and a message.
pub(super) fn check(settings: &Settings) -> Result<(), (&'static str, String)> {
    if settings.gateway.max_clients == 0 || settings.gateway.max_clients > 10_000 {
        return Err(("max_clients", "write a number from 1 to 10000".to_owned()));
    }
    if settings.gateway.base_port > u16::MAX - 3 {
        return Err(("base_port", "write a port up to 65532: three more follow it".to_owned()));
    }
    if settings.ros.domain_id > 232 {
        return Err(("domain_id", "write a number from 0 to 232".to_owned()));
    }
    ros_discovery::check(&settings.ros)?;
    if !(settings.bag.rate > 0.0 && settings.bag.rate.is_finite()) {
        return Err(("rate", "write a number greater than 0".to_owned()));
    }
    if !(settings.bag.start_s >= 0.0 && settings.bag.start_s < 1e9) {
        return Err(("start_s", "write seconds, 0 or more".to_owned()));
    }
    let upstream = &settings.upstream;
    if upstream.max_rate_hz.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000.0)) {
        return Err(("max_rate_hz", "write a number greater than 0, at most 10000".to_owned()));
    }
    for topic in &upstream.topics {
        topic_glob(topic).map_err(|why| ("topics", format!("'{topic}': {why}")))?;
    }
    if !settings.gateway.emergency_stop_topic.starts_with('/') {
        return Err(("emergency_stop_topic", "write a ROS name that begins with /".to_owned()));
    }
    if !(0.5..=3_600.0).contains(&settings.gateway.promotion_grace_s) {
        return Err(("promotion_grace_s", "write seconds from 0.5 to 3600".to_owned()));
    }
    path_prefix::check(&settings.gateway.path_prefix).map_err(|error| ("path_prefix", error.to_string()))?;
    if settings.gateway.rover.as_ref().is_some_and(|rover| rover.is_empty() || rover.len() > 63) {
        return Err(("rover", "write a name of 1 to 63 bytes".to_owned()));
    }
    settings.process.check()?;
    settings.tls.check()?;
    settings.trace.check()?;
    settings.alarms.check()?;
    settings.peers.networks()?;
    roverline_coordination::store::check_name(&settings.coordination.store)
        .map_err(|error| ("store", error.to_string()))?;
    if let Some(proxy) = settings.access.trusted_proxies.iter().find(|text| proxy_network(text).is_none()) {
        let why = format!("'{proxy}' is no address (10.0.0.1) and no network (10.0.0.0/8)");
        return Err(("trusted_proxies", why));
    }
    if let Some(jwt) = &settings.access.jwt {
        jwt.check().map_err(|why| ("access.jwt", why.to_owned()))?;
    }
    for allow in &settings.access.allow {
        for glob in allow.publish.iter().chain(&allow.call).chain(&allow.set) {
            topic_glob(glob).map_err(|why| ("allow", format!("'{glob}': {why}")))?;
        }
    }
    Routing::new(&settings.route).map(drop).map_err(|error| ("route", error.to_string()))
}

fn line_of(text: &str, key: &str) -> usize {
    let names_key = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
    };
    text.lines().position(names_key).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_somebody_else_is_not_taken() {
        let (me, mallory) = (1000, 1001);
        for (owner, mode, is_taken) in [
            (me, 0o100_644, true),
            (me, 0o100_664, true),
            (ROOT, 0o100_644, true),
            (mallory, 0o100_644, false),
            (mallory, 0o100_600, false),
            (mallory, 0o100_666, false),
            (me, 0o100_666, false),
            (ROOT, 0o100_646, false),
        ] {
            assert_eq!(distrust(owner, mode, me).is_none(), is_taken, "{owner} {mode:o}");
        }
        assert!(distrust(mallory, 0o100_644, ROOT).is_some(), "root takes no user's file");
        assert!(distrust_link(mallory, me).is_some() && distrust_link(ROOT, me).is_none());
        assert!(distrust_link(me, me).is_none());
    }

    #[test]
    fn the_file_that_is_read_is_the_one_that_was_checked() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("roverline.toml");
        assert!(open_ours(&path).is_none());
        std::fs::write(&path, "x = 1").unwrap();
        let read = |path: &Path| open_ours(path).map(|file| std::io::read_to_string(file.unwrap()).unwrap());
        assert_eq!(read(&path).as_deref(), Some("x = 1"));
        let link = scratch.path().join("link.toml");
        symlink(&path, &link).unwrap();
        assert_eq!(read(&link).as_deref(), Some("x = 1"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!((read(&path), read(&link)), (None, None));
        // A directory, and a link to nowhere.
        let nowhere = scratch.path().join("nowhere.toml");
        symlink("missing", &nowhere).unwrap();
        assert!(open_ours(scratch.path()).is_none() && open_ours(&nowhere).is_none());
    }

    #[test]
    fn the_example_contains_the_defaults() {
        let sample = include_str!("../../../roverline.example.toml");
        assert_eq!(parse(sample, "sample").unwrap(), Settings::default());
        // Lines that are commented out must be valid as well.
        let uncommented: String =
            sample.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        let all = parse(&uncommented, "sample").unwrap();
        assert_eq!((all.route.len(), all.alarm.len()), (1, 2));
        assert!(all.gateway.state_dir.is_some());
    }

    #[test]
    fn errors_do_not_show_secrets() {
        let error = parse("[upstream]\ntokn = \"5ec2e7\"\n", "r.toml").unwrap_err().to_string();
        assert!(error.contains("tokn = ...") && !error.contains("5ec2e7"), "{error}");
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, line, word) in [
            ("[gateway]\nhots = \"x\"\n", 2, "hots"),
            ("[gateway]\n\nbase_port = \"x\"\n", 3, "base_port"),
            ("[gateway]\nmax_clients = 0\n", 2, "max_clients"),
            ("[ros]\ndomain_id = 500\n", 2, "domain_id"),
            ("[process]\nmemory_mib = 8\n", 2, "64"),
            ("[access]\ntrusted_proxies = [\"nginx\"]\n", 2, "nginx"),
            ("[peers]\nnetworks = [\"10.0.0.0/33\"]\n", 2, "192.168.1.0/24"),
            ("[endpoints.primary]\nscopes = [\"speed\"]\n", 2, "speed"),
            ("[[route]]\ntopic = \"/a\"\nscopes = []\n", 1, "scope"),
            ("[coordination]\nstore = \"redis://x\"\n", 2, "etcd://"),
            ("[trace]\nenabled = false\notlp = \"http://a:4318/v1/traces\"\n", 3, "enabled = true"),
            ("[trace]\notlp = \"a:4318\"\n", 2, "otlp: "),
            ("[alarms]\nenabled = true\ndisk_percent = 0\n", 3, "disk_percent"),
            ("[[alarm]]\nname = \"a\"\nfeild = \"x\"\n", 3, "feild"),
            ("[[alarm]]\nname = \"a\"\nabove = { bad = 1.0 }\n", 3, "warning"),
            (
                "[[alarm]]\nname = \"a\"\nenabled = false\n[[alarm]]\nname = \"b\"\ntopic = \"/[\"\n[log]\n",
                6,
                "topic: ",
            ),
            ("[[alarm]]\nname = \"a\"\ntopic = \"/a\"\nfield = \"data\"\n", 1, "above: "),
            ("[gateway\n", 1, "gateway"),
        ] {
            let error = parse(text, "r.toml").unwrap_err().to_string();
            assert!(error.starts_with(&format!("r.toml:{line}: ")), "{error}");
            assert!(error.contains(word), "{error}");
        }
    }
}
