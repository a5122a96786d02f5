//! The table of screens, in the order of their numbers. A screen is a row here and a folder of `screen`: `model.rs` (its
//! state), `keys.rs` (its keys), `update.rs` (what they do), `view.rs`, and an `ENTRY` that binds them together.

/// Calls a macro with the screens: the folder and the name of each.
macro_rules! with_screens {
    ($make:ident) => {
        $make! {
            drive Drive,
            map Map,
            links Links,
            team Team,
            topics Topics,
            log Log,
            traces Traces,
            alarms Alarms,
            camera Camera,
            preflight Preflight,
        }
    };
}
pub(crate) use with_screens;
