//! Prints the samples of a rover and the failovers of the link:
//!
//! `cargo run -p roverline-client --example tail -- rover:8080 rover:8081`

use std::time::Duration;

use roverline_client::{Config, Event, Link};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let config = if urls.is_empty() { Config::local() } else { Config::with_urls(&urls)? };
    let (link, mut events) = Link::open(config.named("tail"));
    // Subscriptions hold across every failover.
    link.subscribe("/odom", None);
    link.subscribe("/battery_state", Some(1.0));
    while let Some(event) = events.next().await {
        match event {
            Event::Sample(sample) => {
                let note = if sample.replayed { " (replayed)" } else { "" };
                println!("{} {} bytes{note}", sample.topic.name, sample.payload.len());
            }
            Event::Failover(view) => {
                let dark = view.blackout.map_or(0, |time: Duration| time.as_millis());
                let to = view.to.as_deref().unwrap_or("no endpoint");
                println!(
                    "-- {}: {to} in use, dark for {dark} ms, {} replayed, {} missing",
                    view.cause.word(),
                    view.replayed,
                    view.missing
                );
            }
            Event::Radio(view) if view.silent => println!("-- the radio is silent"),
            Event::Notice { text, .. } => println!("-- {text}"),
            _ => {}
        }
    }
    Ok(())
}
