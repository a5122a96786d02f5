//! What a command can be sent to: topics, services, actions and parameters, found by a few letters.

use std::collections::BTreeSet;

use roverline_protocol::api::authority::{AuthorityDocument, AuthorityList};
use roverline_protocol::api::commands::CommandKind;
use roverline_protocol::topic_pattern::TopicPattern;

/// Targets that are listed.
const MAX_TARGETS: usize = 5_000;
/// What the services of an action end with; its goals are sent to the first one.
const ACTION_SERVICE: &str = "/_action/";
const SEND_GOAL: &str = "/_action/send_goal";
const SET_PARAMETERS: &str = "/set_parameters";
/// Services that every node has, and that are no use by hand.
const NODE_SERVICES: [&str; 7] = [
    "/describe_parameters",
    "/get_parameter_types",
    "/get_parameters",
    "/list_parameters",
    "/set_parameters",
    "/set_parameters_atomically",
    "/get_type_description",
];

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The topic, service, action or node.
    pub name: String,
    /// The ROS type; empty for a node.
    pub type_name: String,
    /// The index of its kind in [`KINDS`].
    kind: usize,
}

/// The kinds that have forms.
pub const KINDS: [CommandKind; 4] =
    [CommandKind::Publish, CommandKind::Call, CommandKind::Goal, CommandKind::Parameter];

impl Target {
    /// A target of a kind; `None` if the kind has no form.
    pub fn new(kind: CommandKind, name: &str, type_name: &str) -> Option<Target> {
        let kind = KINDS.iter().position(|known| *known == kind)?;
        Some(Target { name: name.to_owned(), type_name: type_name.to_owned(), kind })
    }

    /// What is done to it.
    pub fn kind(&self) -> CommandKind {
        KINDS.get(self.kind).copied().unwrap_or(CommandKind::Publish)
    }

    /// The type of what is filled in; `None` for a parameter.
    pub fn form_type(&self) -> Option<String> {
        match self.kind() {
            CommandKind::Call => Some(format!("{}_Request", self.type_name)),
            CommandKind::Goal => Some(format!("{}_Goal", self.type_name)),
            CommandKind::Publish => Some(self.type_name.clone()),
            _ => None,
        }
    }

    /// The authority that guards it.
    pub fn authority<'a>(&self, list: &'a AuthorityList) -> Option<&'a AuthorityDocument> {
        let guards = |authority: &AuthorityDocument| {
            let patterns = match self.kind() {
                CommandKind::Publish => &authority.topics,
                CommandKind::Call => &authority.services,
                CommandKind::Goal => &authority.actions,
                _ => return false,
            };
            let mut patterns = patterns.iter().filter_map(|pattern| TopicPattern::parse(pattern).ok());
            patterns.any(|pattern| pattern.is_match(&self.name))
        };
        list.authorities.iter().find(|authority| guards(authority))
    }
}

/// The targets of topics and services, by name and type.
pub fn targets<'a>(
    topics: impl Iterator<Item = (&'a str, &'a str)>,
    services: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<Target> {
    let mut found = BTreeSet::new();
    let mut add = |kind, name: &str, type_name: &str| {
        if found.len() < MAX_TARGETS {
            found.extend(Target::new(kind, name, type_name));
        }
    };
    topics.for_each(|(name, type_name)| add(CommandKind::Publish, name, type_name));
    for (name, type_name) in services {
        if let Some(action) = name.strip_suffix(SEND_GOAL) {
            add(CommandKind::Goal, action, type_name.strip_suffix("_SendGoal").unwrap_or(type_name));
        } else if let Some(node) = name.strip_suffix(SET_PARAMETERS) {
            add(CommandKind::Parameter, node, "");
        } else if !name.contains(ACTION_SERVICE) && !NODE_SERVICES.iter().any(|end| name.ends_with(end)) {
            add(CommandKind::Call, name, type_name);
        }
    }
    found.into_iter().collect()
}

/// How well a text has the letters of a query in their order; `None`: it does not. Letters that follow each other, or
/// begin a word, count more.
pub fn score(text: &str, query: &str) -> Option<i32> {
    let (mut score, mut last) = (0, None::<usize>);
    let letters: Vec<char> = text.to_lowercase().chars().collect();
    let mut from = 0;
    for wanted in query.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        let rest = letters.get(from..).unwrap_or_default();
        let found = from + rest.iter().position(|letter| *letter == wanted)?;
        let begins = found == 0 || letters.get(found - 1).is_some_and(|before| !before.is_alphanumeric());
        score +=
            1 + if last.is_some_and(|last| last + 1 == found) { 4 } else { 0 } + if begins { 3 } else { 0 };
        (last, from) = (Some(found), found + 1);
    }
    Some(score * 16 - i32::try_from(letters.len().min(1_000)).unwrap_or(0))
}

/// The targets that a query finds, best first.
pub fn find<'a>(targets: &'a [Target], query: &str, kind: Option<CommandKind>) -> Vec<&'a Target> {
    let fits = |target: &&Target| kind.is_none_or(|kind| target.kind() == kind);
    let scored = targets.iter().filter(fits).filter_map(|target| {
        let text = format!("{} {} {}", target.name, target.type_name, target.kind().word());
        Some((score(&text, query)?, target))
    });
    let mut scored: Vec<_> = scored.collect();
    scored.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.cmp(other)));
    scored.into_iter().map(|(_, target)| target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_become_actions_and_parameters() {
        let services = [
            ("/arm/_action/send_goal", "arm_msgs/action/Move_SendGoal"),
            ("/arm/_action/get_result", "arm_msgs/action/Move_GetResult"),
            ("/drive/set_parameters", "rcl_interfaces/srv/SetParameters"),
            ("/drive/list_parameters", "rcl_interfaces/srv/ListParameters"),
            ("/autonomy/enable", "std_srvs/srv/SetBool"),
        ];
        let all = targets([("/led", "std_msgs/msg/Bool")].into_iter(), services.into_iter());
        let shown: Vec<_> = all.iter().map(|t| (t.kind().word(), t.name.as_str(), t.form_type())).collect();
        assert_eq!(
            shown,
            [
                ("goal", "/arm", Some("arm_msgs/action/Move_Goal".to_owned())),
                ("call", "/autonomy/enable", Some("std_srvs/srv/SetBool_Request".to_owned())),
                ("parameter", "/drive", None),
                ("publish", "/led", Some("std_msgs/msg/Bool".to_owned())),
            ]
        );
        let many: Vec<String> = (0..20_000).map(|n| format!("/t{n}")).collect();
        assert_eq!(targets(many.iter().map(|n| (n.as_str(), "a/msg/B")), [].into_iter()).len(), MAX_TARGETS);
    }

    #[test]
    fn a_few_letters_find_a_name() {
        let names = ["/autonomy/set_mode", "/arm/set_mode", "/camera/some_motor", "/led"];
        let all = targets([].into_iter(), names.iter().map(|name| (*name, "a/srv/B")));
        let found = |query| find(&all, query, None).first().map(|target| target.name.as_str());
        assert_eq!(found("set_mo"), Some("/arm/set_mode"));
        assert_eq!(found("autmo"), Some("/autonomy/set_mode"));
        assert_eq!(found("zzz"), None);
        assert!(find(&all, "", Some(CommandKind::Publish)).is_empty());
    }

    #[test]
    fn a_target_has_the_first_authority_that_matches() {
        let authority = |name: &str, pattern: &str| AuthorityDocument {
            name: name.to_owned(),
            topics: vec![pattern.to_owned()],
            ..AuthorityDocument::default()
        };
        let list =
            AuthorityList { authorities: vec![authority("drive", "/cmd_vel"), authority("arm", "/arm/**")] };
        let name = |kind, target: &str| {
            let target = Target::new(kind, target, "a/msg/B").unwrap();
            target.authority(&list).map(|authority| authority.name.clone())
        };
        assert_eq!(name(CommandKind::Publish, "/arm/joint").as_deref(), Some("arm"));
        assert_eq!(name(CommandKind::Call, "/cmd_vel"), None);
    }
}
