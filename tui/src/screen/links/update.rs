//! What the keys of the Links screen do.

use crate::effect::Effect;
use crate::model::Model;

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    let last = model.network.history.len().saturating_sub(1);
    let scroll = &mut model.screens.links.scroll;
    *scroll = scroll.saturating_add_signed(by).min(last);
    Vec::new()
}
