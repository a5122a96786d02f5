//! Keys of the Camera screen.

use crate::keymap::{Context, char};
use crate::model::Model;
use crate::screen::camera::update::next_topic;

static CAMERA: Context = Context {
    title: "Camera",
    keys: &[char('c', next_topic, "the next camera").footer("next camera")],
    text: None,
};

pub(super) const ALL: &[&Context] = &[&CAMERA];

pub(super) fn active(_model: &Model) -> Vec<&'static Context> {
    vec![&CAMERA]
}
