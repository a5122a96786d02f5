//! Engages the emergency stop of a rover through every endpoint, and waits for a confirmation:
//!
//! `cargo run -p roverline-client --example stop -- rover:8080 rover:8081`
//!
//! A client on another computer needs a token: set `ROVERLINE_TOKEN`.

use std::time::Duration;

use roverline_client::{Config, Event, Events, Link, LinkState};

const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let mut config = if urls.is_empty() { Config::local() } else { Config::with_urls(&urls)? };
    config.token = std::env::var("ROVERLINE_TOKEN").ok();
    let (link, mut events) = Link::open(config.named("stop").without_hysteresis());
    println!("{}", tokio::time::timeout(TIMEOUT, stop(&link, &mut events)).await??);
    Ok(())
}

async fn stop(link: &Link, events: &mut Events) -> Result<String, String> {
    let mut command = None;
    while let Some(event) = events.next().await {
        match event {
            // A command that is issued before an endpoint is in use would be lost.
            Event::Endpoints(endpoints)
                if command.is_none() && endpoints.iter().any(|one| one.state == LinkState::Active) =>
            {
                command = Some(link.emergency_stop(true, "example"));
            }
            // Every endpoint answers, but a command is executed once: one answer is enough.
            Event::Command { id, accepted, message } if command.as_ref() == Some(&id) => {
                return if accepted { Ok(message) } else { Err(message) };
            }
            _ => {}
        }
    }
    Err("the link ended".to_owned())
}
