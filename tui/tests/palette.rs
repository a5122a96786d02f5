//! The command palette: it finds, it goes there, it acts; the stop is beside it.

mod support;

use crossterm::event::KeyCode;
use roverline_tui::effect::Effect;
use roverline_tui::model::{Overlay, Screen};
use roverline_tui::update::Msg;
use support::{Rig, picture};

const STOP: Effect = Effect::EmergencyStop { engage: true };

#[test]
fn it_goes_to_a_screen_and_to_a_row() {
    let mut rig = Rig::running();
    rig.keys(":links\n");
    assert_eq!((rig.model.screen, &rig.model.overlay), (Screen::Links, &Overlay::None));
    rig.keys(":odom topic\n");
    assert_eq!(rig.model.screen, Screen::Topics);
    assert_eq!(rig.model.topics.selected.as_deref(), Some("/odom"));
    rig.keys(":arm lock\n");
    assert_eq!(rig.model.screen, Screen::Team);
    assert_eq!(rig.model.screens.team.cursor.name, "arm");
}

#[test]
fn a_filter_does_not_hide_what_was_chosen() {
    let mut rig = Rig::running();
    rig.keys("5/imu\n:odom topic\n");
    assert_eq!((rig.model.topics.selected.as_deref(), &*rig.model.topics.filter), (Some("/odom"), ""));
}

#[test]
fn it_runs_an_action_and_questions_are_still_questions() {
    let mut rig = Rig::running();
    rig.keys(":next theme\n");
    assert_eq!(rig.model.theme, 1);
    rig.effects.clear();
    rig.keys(":release\n");
    assert!(rig.model.question().is_some(), "a release is typed, also from here");
    assert!(!rig.effects.contains(&Effect::EmergencyStop { engage: false }));
}

#[test]
fn the_stop_acts_and_a_paste_does_not() {
    for before in ["", "2", "3", "4", "5", "6", "7", "8"] {
        let mut rig = Rig::running();
        rig.keys(before).keys(":qui");
        rig.effects.clear();
        rig.keys("!");
        assert_eq!(rig.effects, [STOP], "after {before:?}");
    }
    let mut rig = Rig::running();
    rig.keys(":");
    rig.effects.clear();
    rig.send(Msg::Paste("quit\n\u{1b}[31m".to_owned()));
    assert_eq!((&rig.model.overlay, rig.effects.len()), (&Overlay::Palette, 0));
    assert_eq!(rig.model.palette.typed, "quit[31m");
    rig.key(KeyCode::Esc);
    assert_eq!(rig.model.overlay, Overlay::None);
}

#[test]
fn screens() {
    let mut rig = Rig::running();
    rig.keys(":dri");
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("palette_{width}x{height}"), picture(&rig.model, width, height));
    }
}
