//! Bundled interfaces, for machines without ROS 2: those of a default ROS 2 Humble installation.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::name::Kind;

/// One file per package: a heading `=== kind/Name` in front of each interface.
const FILES: [(&str, &str); 18] = [
    ("action_msgs", include_str!("../../interfaces/action_msgs.msgs")),
    ("builtin_interfaces", include_str!("../../interfaces/builtin_interfaces.msgs")),
    ("composition_interfaces", include_str!("../../interfaces/composition_interfaces.msgs")),
    ("diagnostic_msgs", include_str!("../../interfaces/diagnostic_msgs.msgs")),
    ("example_interfaces", include_str!("../../interfaces/example_interfaces.msgs")),
    ("geometry_msgs", include_str!("../../interfaces/geometry_msgs.msgs")),
    ("lifecycle_msgs", include_str!("../../interfaces/lifecycle_msgs.msgs")),
    ("nav_msgs", include_str!("../../interfaces/nav_msgs.msgs")),
    ("rcl_interfaces", include_str!("../../interfaces/rcl_interfaces.msgs")),
    ("rosapi_msgs", include_str!("../../interfaces/rosapi_msgs.msgs")),
    ("rosgraph_msgs", include_str!("../../interfaces/rosgraph_msgs.msgs")),
    ("sensor_msgs", include_str!("../../interfaces/sensor_msgs.msgs")),
    ("shape_msgs", include_str!("../../interfaces/shape_msgs.msgs")),
    ("std_msgs", include_str!("../../interfaces/std_msgs.msgs")),
    ("std_srvs", include_str!("../../interfaces/std_srvs.msgs")),
    ("tf2_msgs", include_str!("../../interfaces/tf2_msgs.msgs")),
    ("trajectory_msgs", include_str!("../../interfaces/trajectory_msgs.msgs")),
    ("unique_identifier_msgs", include_str!("../../interfaces/unique_identifier_msgs.msgs")),
];

/// Interface files by (package, kind, name).
type Index = HashMap<(&'static str, Kind, &'static str), &'static str>;

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index::new();
    for (package, file) in FILES {
        for chunk in file.split("=== ").skip(1) {
            let (heading, body) = chunk.split_once('\n').unwrap_or((chunk, ""));
            if let Some((kind, name)) = heading.split_once('/')
                && let Some(kind) = Kind::from_word(kind)
            {
                index.insert((package, kind, name), body);
            }
        }
    }
    index
});

/// The text of an interface file.
pub(super) fn text(package: &str, kind: Kind, stem: &str) -> Option<&'static str> {
    // A map with a key of borrowed parts cannot be queried with shorter-lived ones without this
    // detour.
    let (package, _) = FILES.iter().find(|(p, _)| *p == package)?;
    INDEX.iter().find(|((p, k, s), _)| p == package && *k == kind && *s == stem).map(|(_, text)| *text)
}

/// All interface files.
pub(super) fn files() -> impl Iterator<Item = (&'static str, Kind, &'static str)> {
    INDEX.keys().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_interface_is_present() {
        assert_eq!(files().count(), 211);
        assert!(text("std_srvs", Kind::Srv, "SetBool").is_some_and(|t| t.contains("---")));
        assert_eq!(text("std_msgs", Kind::Msg, "Empty"), Some(""));
        assert_eq!(text("std_msgs", Kind::Srv, "Empty"), None);
    }
}
