//! Keys of the Links screen: those of every screen.

use crate::keymap::Context;
use crate::model::Model;

pub(super) const ALL: &[&Context] = &[];

pub(super) fn active(_model: &Model) -> Vec<&'static Context> {
    Vec::new()
}
