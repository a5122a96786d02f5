//! Keys in; what the model became and what the runtime is told, out.

mod support;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use roverline_client::Event;
use roverline_tui::effect::Effect;
use roverline_tui::model::{Focus, Now, Overlay, Screen};
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, topic};

const STOP: Effect = Effect::EmergencyStop { engage: true };
const RELEASE: Effect = Effect::EmergencyStop { engage: false };

fn effects_of(rig: &mut Rig, keys: &str) -> Vec<Effect> {
    rig.effects.clear();
    rig.keys(keys);
    std::mem::take(&mut rig.effects)
}

#[test]
fn screens_by_number_and_by_turning() {
    let mut rig = Rig::new();
    for (keys, screen) in [
        ("2", Screen::Map),
        ("3", Screen::Links),
        ("4", Screen::Team),
        ("5", Screen::Topics),
        ("1", Screen::Drive),
        ("\t", Screen::Map),
        ("\t\t\t\t\t\t\t\t\t", Screen::Drive),
        ("h", Screen::Preflight),
        ("8", Screen::Alarms),
        ("P", Screen::Preflight),
    ] {
        rig.keys(keys);
        assert_eq!(rig.model.screen, screen, "{keys:?}");
    }
    rig.key(KeyCode::BackTab);
    assert_eq!(rig.model.screen, Screen::Camera);
}

#[test]
fn the_stop_needs_one_key_wherever_one_is() {
    for before in ["", "2", "3", "4", "5", "6", "7", "8", "5/", "5\n", "?", "R", "5/imu"] {
        let mut rig = Rig::running();
        rig.keys(before);
        assert_eq!(effects_of(&mut rig, "!"), [STOP], "after {before:?}");
    }
}

/// The terminal has taken a frame with the open question.
fn drawn(rig: &mut Rig) {
    let number = rig.model.question().map(|question| question.number);
    rig.send(Msg::Drawn(number.unwrap_or_default()));
}

#[test]
fn a_release_is_typed() {
    let mut rig = Rig::running();
    assert_eq!(effects_of(&mut rig, "R"), []);
    drawn(&mut rig);
    assert_eq!(effects_of(&mut rig, "y\nq1\nreleas\n"), [], "nothing else answers");
    assert_eq!(effects_of(&mut rig, "\u{1b}"), []);
    assert_eq!(rig.model.overlay, Overlay::None);
    rig.keys("R");
    drawn(&mut rig);
    assert_eq!(effects_of(&mut rig, "relx\u{8}ease\n"), [RELEASE]);
    assert_eq!(rig.model.overlay, Overlay::None);
}

#[test]
fn keys_before_the_question_is_drawn_do_not_answer_it() {
    let mut rig = Rig::running();
    assert_eq!(effects_of(&mut rig, "Rrelease\n"), []);
    drawn(&mut rig);
    assert_eq!(effects_of(&mut rig, "\n"), [], "nothing is typed yet");
    assert_eq!(effects_of(&mut rig, "!"), [STOP], "the stop needs no question");
    // A frame with an earlier question.
    rig.keys("\u{1b}R");
    rig.send(Msg::Drawn(1));
    assert_eq!(effects_of(&mut rig, "release\n"), []);
    drawn(&mut rig);
    rig.keys("release");
    // A frame without it: the terminal has become smaller, and its new size is not known here yet.
    rig.send(Msg::Drawn(0));
    assert_eq!(effects_of(&mut rig, "\n"), []);
}

#[test]
fn pasted_text_acts_nowhere_and_goes_into_text_only() {
    let word = "Release y Rrelease\nq!\n";
    let mut rig = Rig::running();
    rig.effects.clear();
    rig.send(Msg::Paste(word.to_owned()));
    assert_eq!((rig.effects.len(), &rig.model.overlay), (0, &Overlay::None));
    rig.keys("R");
    drawn(&mut rig);
    rig.send(Msg::Paste("release\n".to_owned()));
    assert_eq!(effects_of(&mut rig, "\n"), [], "a release is typed");
    rig.keys("\u{1b}5/");
    rig.send(Msg::Paste("im\u{1b}u\n".to_owned()));
    assert_eq!(rig.model.topics.filter, "imu");
    // A terminal that does not mark a paste: many keys at once.
    let mut rig = Rig::running();
    rig.effects.clear();
    for c in word.chars() {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        rig.send(Msg::FastKey(KeyEvent::new(code, KeyModifiers::NONE), word.len()));
    }
    assert_eq!((&rig.effects[..], &rig.model.overlay), (&[STOP][..], &Overlay::None), "only the stop acts");
}

#[test]
fn what_is_too_small_for_the_question_does_not_ask_it() {
    let mut rig = Rig::running();
    rig.send(Msg::Resize(39, 24));
    assert_eq!(effects_of(&mut rig, "Rrelease\n"), []);
    assert_eq!((&rig.model.overlay, rig.model.screen), (&Overlay::None, Screen::Drive), "no key acts unseen");
    assert_eq!(effects_of(&mut rig, "!"), [STOP]);
    rig.send(Msg::Resize(80, 24));
    rig.keys("R");
    drawn(&mut rig);
    rig.send(Msg::Resize(40, 7));
    assert_eq!(effects_of(&mut rig, "release\n"), [], "it is not on the screen any more");
}

#[test]
fn quitting_asks_while_a_stop_is_unheard() {
    let mut rig = Rig::running();
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    assert_eq!(effects_of(&mut rig, "q"), []);
    drawn(&mut rig);
    assert_eq!(effects_of(&mut rig, "n"), []);
    rig.keys("q");
    drawn(&mut rig);
    assert_eq!(effects_of(&mut rig, "y"), [Effect::Quit]);
    // The question may never be drawn, on a terminal that takes no output.
    let ctrl_c = || Msg::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    rig.wait(Duration::from_secs(10));
    rig.effects.clear();
    rig.send(ctrl_c());
    assert_eq!(rig.effects, []);
    rig.send(ctrl_c());
    assert_eq!(rig.effects, [Effect::Quit]);
}

#[test]
fn suspending_needs_its_key_twice_while_a_stop_is_unheard() {
    let mut rig = Rig::running();
    let ctrl_z = || Msg::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL));
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    rig.effects.clear();
    assert_eq!(rig.send(ctrl_z()).effects, []);
    rig.wait(Duration::from_secs(10));
    rig.effects.clear();
    assert_eq!(rig.send(ctrl_z()).effects, [], "that was long ago");
    assert_eq!(rig.send(ctrl_z()).effects, [Effect::Suspend]);
}

#[test]
fn quitting() {
    assert_eq!(effects_of(&mut Rig::new(), "q"), [Effect::Quit]);
    let mut rig = Rig::new();
    rig.keys("5/q");
    assert_eq!((rig.model.topics.filter.as_str(), rig.effects.len()), ("q", 0), "text is text");
    rig.send(Msg::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert_eq!(rig.effects, [Effect::Quit]);
    rig.effects.clear();
    rig.send(Msg::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)));
    assert_eq!(rig.effects, [Effect::Suspend]);
    rig.effects.clear();
    assert_eq!(rig.send(Msg::Terminate).effects, [Effect::Quit]);
}

#[test]
fn a_filter_narrows_the_list_and_the_selection_stays_in_it() {
    let mut rig = Rig::running();
    rig.keys("5/temp");
    assert_eq!(rig.model.topics.visible.len(), 4);
    assert_eq!(rig.model.topics.selected.as_deref(), Some("/motor/front_left/temperature"));
    rig.keys("\u{8}\u{8}\u{8}\u{8}imu\n");
    assert_eq!((rig.model.topics.visible.len(), rig.model.topics.filtering), (1, false));
    rig.keys("\u{1b}");
    assert_eq!(rig.model.topics.visible.len(), 18);
    assert_eq!(rig.model.topics.selected.as_deref(), Some("/imu/data"), "it follows its topic");
}

#[test]
fn sorting_and_its_reverse() {
    let mut rig = Rig::running();
    rig.keys("5sss");
    let odom_first = rig.model.topics.visible.first().map(String::as_str);
    assert_eq!(odom_first, Some("/odom"), "by bandwidth");
    rig.keys("S");
    assert_eq!(rig.model.topics.visible.last().map(String::as_str), Some("/odom"));
}

#[test]
fn fields_are_opened_and_left() {
    let mut rig = Rig::running();
    rig.keys("5/odom\n\n").wait(Duration::from_millis(200));
    assert_eq!(rig.model.topics.focus, Focus::Fields);
    let rows = rig.model.screens.topics.fields.rows.len();
    let covariance =
        rig.model.screens.topics.fields.rows.iter().position(|row| row.label == "covariance").unwrap();
    rig.keys(&"j".repeat(covariance)).keys("l").wait(Duration::from_millis(200));
    assert_eq!(rig.model.screens.topics.fields.rows.len(), rows + 36);
    rig.keys("h").wait(Duration::from_millis(200));
    assert_eq!(rig.model.screens.topics.fields.rows.len(), rows);
    rig.keys("h");
    assert_eq!(rig.model.topics.focus, Focus::List);
}

#[test]
fn small_topics_are_asked_for_at_once_and_heavy_ones_while_they_are_looked_at() {
    let mut rig = Rig::new();
    let image = topic("/camera/image", "sensor_msgs/msg/Image");
    let imu = topic("/imu/data", "sensor_msgs/msg/Imu");
    let subscribe =
        |topic: &str, max_rate_hz| Effect::Subscribe { topics: vec![topic.to_owned()], max_rate_hz };
    let unsubscribe = || Effect::Unsubscribe(vec!["/camera/image".to_owned()]);
    rig.link(Event::Topics(vec![image, imu.clone()].into()));
    assert_eq!(rig.effects, [subscribe("/imu/data", None)]);
    assert_eq!(effects_of(&mut rig, "5"), [subscribe("/camera/image", Some(2.0))]);
    assert_eq!(effects_of(&mut rig, "j"), [unsubscribe()]);
    assert_eq!(effects_of(&mut rig, "k"), [subscribe("/camera/image", Some(2.0))]);
    assert_eq!(effects_of(&mut rig, "1"), [unsubscribe()]);
    rig.effects.clear();
    rig.link(Event::Topics(vec![imu].into()));
    assert_eq!(rig.effects, [], "what is subscribed is not subscribed again");
}

#[test]
fn many_topics_are_subscribed_together_and_those_without_room_are_said() {
    let mut rig = Rig::new();
    let some =
        |count| (0..count).map(|n| topic(&format!("/joint/{n}"), "std_msgs/msg/Float64")).collect::<Vec<_>>();
    rig.link(Event::Topics(some(600).into()));
    let [Effect::Subscribe { topics, max_rate_hz: None }] = &rig.effects[..] else {
        panic!("{:?}", rig.effects)
    };
    assert_eq!(topics.len(), 600);
    assert_eq!(rig.model.notification, None);
    rig.link(Event::Topics(some(1_010).into()));
    let [_, Effect::Subscribe { topics, .. }] = &rig.effects[..] else { panic!("{:?}", rig.effects.len()) };
    assert_eq!(topics.len(), 408);
    let text = &rig.model.notification.as_ref().unwrap().text;
    assert!(text.starts_with("2 topics are listed without values, 1008 are subscribed"), "{text}");
}

#[test]
fn an_unknown_type_is_asked_for_once_and_shown_when_known() {
    let mut rig = Rig::new();
    let odd = topic("/servo", "crab_interfaces/msg/Servo");
    rig.link(Event::Topics(vec![odd.clone()].into())).keys("5");
    rig.raw(&odd, vec![0, 1, 0, 0, 7, 0, 0, 0]).wait(Duration::from_millis(200));
    rig.raw(&odd, vec![0, 1, 0, 0, 8, 0, 0, 0]).wait(Duration::from_millis(200));
    let asked = rig.effects.iter().filter(|e| matches!(e, Effect::Schema(_))).count();
    assert_eq!(asked, 1);
    assert!(
        rig.model.screens.topics.fields.message.as_ref().unwrap().starts_with("8 bytes of crab_interfaces")
    );
    let type_name = odd.type_name.clone();
    rig.link(Event::Schema { type_name, encoding: "ros2msg".into(), text: "int32 angle\n".into() })
        .wait(Duration::from_millis(200));
    assert_eq!(
        (
            rig.model.screens.topics.fields.rows[0].label.as_str(),
            rig.model.screens.topics.fields.rows[0].text.as_str()
        ),
        ("angle", "8")
    );
    rig.link(Event::Schema {
        type_name: "a/b".into(),
        encoding: "ros2msg".into(),
        text: "no such thing".into(),
    });
    assert!(rig.model.notification.as_ref().unwrap().serious);
}

#[test]
fn a_better_named_topic_wins_until_it_goes_stale() {
    let mut rig = Rig::new();
    let fix = |rig: &mut Rig, name: &str, latitude: f64| {
        let message = json!({"latitude": latitude, "longitude": 0.0});
        rig.sample(&topic(name, "sensor_msgs/msg/NavSatFix"), &message);
        rig.model.rover.fix.as_ref().unwrap().value.latitude
    };
    assert_eq!(fix(&mut rig, "/base_station", 1.0), 1.0, "better than nothing");
    assert_eq!(fix(&mut rig, "/gps/fix", 2.0), 2.0, "better named");
    assert_eq!(fix(&mut rig, "/base_station", 3.0), 2.0, "not as good");
    rig.wait(Duration::from_secs(60));
    assert_eq!(fix(&mut rig, "/base_station", 4.0), 4.0, "better than stale");
}

#[test]
fn the_clock_never_goes_back() {
    let mut rig = Rig::running();
    let before = rig.model.now.mono;
    rig.send(Msg::Clock(Now { mono: Duration::ZERO, wall_ns: 0 }));
    assert_eq!(rig.model.now.mono, before);
}

#[test]
fn the_console_begins_with_the_wanted_screen_and_filter() {
    let mut rig = Rig::attended();
    rig.send(Msg::Open { screen: Screen::Topics, filter: format!("mo\u{1b}tor{}", "x".repeat(1_000)) });
    assert_eq!(rig.model.screen, Screen::Topics);
    assert!(rig.model.topics.filter.starts_with("motorx") && rig.model.topics.filter.len() == 64);
    rig.send(Msg::Open { screen: Screen::Log, filter: "gps".to_owned() });
    assert_eq!((rig.model.screen, rig.model.screens.log.filter.as_str()), (Screen::Log, "gps"));
    rig.send(Msg::Open { screen: Screen::Map, filter: String::new() });
    assert_eq!(rig.model.screen, Screen::Map);
}
