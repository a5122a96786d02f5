//! Services and actions: one file, several messages.

use crate::TypeName;
use crate::name::Kind;

/// The parts of a service.
const SRV_PARTS: [&str; 2] = ["_Request", "_Response"];
/// The parts of an action: three written in its file, the others generated for its transport.
const ACTION_PARTS: [&str; 8] = [
    "_SendGoal_Request",
    "_SendGoal_Response",
    "_GetResult_Request",
    "_GetResult_Response",
    "_FeedbackMessage",
    "_Goal",
    "_Result",
    "_Feedback",
];

/// The interface file (without extension) that defines a type, and which part of it the type is.
pub(super) fn file_and_part(name: &TypeName) -> Option<(String, &'static str)> {
    let parts: &[&'static str] = match name.kind() {
        Kind::Msg => return Some((name.short().to_owned(), "")),
        Kind::Srv => &SRV_PARTS,
        Kind::Action => &ACTION_PARTS,
    };
    parts.iter().find_map(|part| {
        let stem = name.short().strip_suffix(part).filter(|stem| !stem.is_empty())?;
        Some((stem.to_owned(), *part))
    })
}

/// All types that an interface file defines.
pub(super) fn types_of(package: &str, kind: Kind, stem: &str) -> Vec<TypeName> {
    let parts: &[&str] = match kind {
        Kind::Msg => &[""],
        Kind::Srv => &SRV_PARTS,
        Kind::Action => &ACTION_PARTS,
    };
    parts.iter().filter_map(|part| TypeName::from_parts(package, kind, &format!("{stem}{part}"))).collect()
}

/// The definition text of one part, from the text of the whole file.
pub(super) fn part_text(name: &TypeName, stem: &str, part: &str, file: &str) -> String {
    let action = |suffix: &str| format!("{}/action/{stem}{suffix}", name.package());
    const GOAL_ID: &str = "unique_identifier_msgs/UUID goal_id\n";
    match part {
        "_Request" | "_Goal" => section(file, 0),
        "_Response" | "_Result" => section(file, 1),
        "_Feedback" => section(file, 2),
        "_SendGoal_Request" => format!("{GOAL_ID}{} goal\n", action("_Goal")),
        "_SendGoal_Response" => "bool accepted\nbuiltin_interfaces/Time stamp\n".to_owned(),
        "_GetResult_Request" => GOAL_ID.to_owned(),
        "_GetResult_Response" => format!("int8 status\n{} result\n", action("_Result")),
        "_FeedbackMessage" => format!("{GOAL_ID}{} feedback\n", action("_Feedback")),
        _ => file.to_owned(),
    }
}

/// The nth section between lines of three dashes.
fn section(file: &str, wanted: usize) -> String {
    let mut at = 0;
    let mut out = String::new();
    for line in file.lines() {
        if line.trim_end() == "---" {
            at += 1;
        } else if at == wanted {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_map_to_their_files() {
        let part = |n: &str| file_and_part(&TypeName::parse(n).unwrap());
        assert_eq!(part("a/srv/X_Request"), Some(("X".into(), "_Request")));
        assert_eq!(part("a/action/X_SendGoal_Request"), Some(("X".into(), "_SendGoal_Request")));
        assert_eq!(part("a/action/X_Goal"), Some(("X".into(), "_Goal")));
        assert_eq!(part("a/srv/X"), None);
        assert_eq!(part("a/srv/_Request"), None);
    }

    #[test]
    fn sections_are_cut_at_dashes() {
        let file = "int32 a\n---\nint32 b\n--- \nint32 c";
        assert_eq!(section(file, 0), "int32 a\n");
        assert_eq!(section(file, 1), "int32 b\n");
        assert_eq!(section(file, 2), "int32 c\n");
        assert_eq!(section(file, 3), "");
    }
}
