//! The Camera screen: what it requests, and what it shows of old pictures and of none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::io::Cursor;
use std::time::Duration;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use roverline_client::Event;
use roverline_protocol::native::TopicInfo;
use roverline_tui::effect::Effect;
use roverline_tui::picture::{PictureJob, PictureKind, PictureMaker, PictureSetup};
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, picture, topic};

const TOPIC: &str = "/camera/front/compressed";

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        show(rig);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

fn camera() -> TopicInfo {
    topic(TOPIC, "sensor_msgs/msg/CompressedImage")
}

/// Sky over ground, in the format of files.
fn frame() -> serde_json::Value {
    let image = RgbImage::from_fn(64, 48, |x, y| match (x, y) {
        (_, 0..24) => Rgb([30, 60, 220]),
        (20..30, _) => Rgb([250, 250, 250]),
        _ => Rgb([90, 50, 30]),
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
    json!({"format": "png", "data": bytes.into_inner()})
}

/// On the screen, with the topic listed.
fn watching() -> Rig {
    let mut rig = Rig::attended();
    let mut infos: Vec<TopicInfo> = support::messages().into_iter().map(|(topic, _)| topic).collect();
    infos.push(camera());
    infos.push(topic("/camera/rear/image_raw", "sensor_msgs/msg/Image"));
    rig.link(Event::Topics(infos.into()));
    rig.keys("9").wait(Duration::from_millis(300));
    rig
}

fn last_job(rig: &Rig) -> Option<PictureJob> {
    rig.effects.iter().rev().find_map(|effect| match effect {
        Effect::Picture(job) => Some(job.clone()),
        _ => None,
    })
}

/// Makes what was requested last, in characters.
fn show(rig: &mut Rig) {
    rig.wait(Duration::from_millis(250));
    let Some(job) = last_job(rig) else { return };
    rig.effects.clear();
    let mut maker = PictureMaker::new(PictureSetup { kind: PictureKind::Ascii, ..PictureSetup::default() });
    let made = maker.make(&job);
    rig.send(Msg::Picture { number: job.number, made });
}

#[test]
fn pictures() {
    snap("camera_never", Rig::new().keys("9"));
    let mut rig = watching();
    snap("camera_waiting", &mut rig);
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        rig.sample(&camera(), &frame());
        show(&mut rig);
        let name = format!("camera_{width}x{height}");
        insta::assert_snapshot!(name, picture(&rig.model, width, height));
    }
    rig.wait(Duration::from_secs(4));
    snap("camera_old", &mut rig);
    rig.sample(&camera(), &json!({"format": "png", "data": [1, 2, 3]}));
    snap("camera_none", &mut rig);
}

#[test]
fn it_is_subscribed_while_it_is_shown() {
    let mut rig = watching();
    let is = |topic: &str, rig: &Rig| {
        rig.effects.iter().any(|effect| {
            matches!(effect, Effect::Subscribe { topics, max_rate_hz: Some(2.0) } if topics.contains(&topic.to_owned()))
        })
    };
    assert!(is(TOPIC, &rig), "{:?}", rig.effects);
    rig.effects.clear();
    rig.keys("c");
    assert!(is("/camera/rear/image_raw", &rig));
    rig.effects.clear();
    rig.keys("1");
    let ended = |effect: &Effect| matches!(effect, Effect::Unsubscribe(topics) if topics[0].contains("rear"));
    assert!(rig.effects.iter().any(ended), "{:?}", rig.effects);
}

#[test]
fn one_picture_is_made_at_a_time_and_the_newest_next() {
    let mut rig = watching();
    rig.effects.clear();
    for _ in 0..5 {
        rig.sample(&camera(), &frame()).wait(Duration::from_millis(100));
    }
    let jobs = |rig: &Rig| rig.effects.iter().filter(|effect| matches!(effect, Effect::Picture(_))).count();
    assert_eq!(jobs(&rig), 1);
    let job = last_job(&rig).unwrap();
    let mut maker = PictureMaker::new(PictureSetup::default());
    let made = maker.make(&job);
    rig.send(Msg::Picture { number: job.number + 1, made: made.clone() });
    assert_eq!(jobs(&rig), 1, "an answer to nothing");
    rig.send(Msg::Picture { number: job.number, made });
    assert_eq!(jobs(&rig), 2, "the newest one is another");
    let age = rig.model.screens.camera.picture.as_ref().map(|(_, at)| rig.model.now.since(*at));
    assert!(age.unwrap() >= Duration::from_millis(400), "its age is that of its message");
}
