//! Shared values that screens write and watch: limits, marks, confirmations.

use roverline_protocol::api::kv::KvWritten;
use serde_json::Value;

use crate::effect::Effect;
use crate::format::escape;
use crate::model::Model;
use crate::model::api::Watcher;

/// The path of a key; the slashes in it stay.
pub fn path(key: &str, query: &str) -> String {
    let key: Vec<String> = key.split('/').map(escape).collect();
    format!("/api/v2/kv/{}{query}", key.join("/"))
}

/// Puts a value; `done` is shown when it is stored.
pub fn put(
    model: &mut Model,
    what: &str,
    (key, query): (&str, &str),
    value: Value,
    done: String,
) -> Vec<Effect> {
    model.request(what, ("PUT", path(key, query)), Some(value), move |model, answer| {
        if answer.document::<KvWritten>().is_ok() {
            model.notify(false, done);
        }
        Vec::new()
    })
}

/// Deletes a value; `done` is shown when it is gone.
pub fn delete(model: &mut Model, what: &str, key: &str, done: String) -> Vec<Effect> {
    model.request(what, ("DELETE", path(key, "")), None, move |model, answer| {
        if answer.is_ok() {
            model.notify(false, done);
        }
        Vec::new()
    })
}

/// Begins or ends a watch, so that a path is watched exactly while it is needed. `watch` is the number of the present one.
pub fn watch_while(
    model: &mut Model,
    is_needed: bool,
    watch: Option<u64>,
    path: &str,
    taken: Watcher,
) -> (Option<u64>, Vec<Effect>) {
    match watch {
        Some(number) if !is_needed => (None, model.unwatch(number)),
        None if is_needed => {
            let effect = model.watch(path, taken);
            let number = if let Effect::Watch { number, .. } = &effect { Some(*number) } else { None };
            (number, vec![effect])
        }
        same => (same, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slashes_of_a_key_stay() {
        assert_eq!(path("mission/a b", "?version=3"), "/api/v2/kv/mission/a%20b?version=3");
    }
}
