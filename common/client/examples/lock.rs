//! Holds the lock of a resource for a few seconds:
//!
//! `cargo run -p roverline-client --example lock -- arm rover:8080`
//!
//! A client on another computer needs a token: set `ROVERLINE_TOKEN`.

use std::time::Duration;

use roverline_client::{Config, Event, Events, Link};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let resource = arguments.next().unwrap_or_else(|| "arm".to_owned());
    let urls: Vec<String> = arguments.collect();
    let mut config = if urls.is_empty() { Config::local() } else { Config::with_urls(&urls)? };
    config.token = std::env::var("ROVERLINE_TOKEN").ok();
    let (link, mut events) = Link::open(config.named("lock").without_hysteresis());

    // The lock expires by itself, so a program that crashes does not keep it.
    let client = format!("lock-example-{}", std::process::id());
    let body = json!({"client": client, "mode": "exclusive", "ttl_ms": 10_000, "wait_ms": 5_000});
    let acquired = post(&link, &mut events, &format!("/api/v2/locks/{resource}/acquire"), body).await?;
    if acquired["standing"] != "held" {
        return Err(format!("not acquired: {acquired}").into());
    }
    println!("{resource} is locked; fencing token {}", acquired["token"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let body = json!({"client": client});
    post(&link, &mut events, &format!("/api/v2/locks/{resource}/release"), body).await?;
    println!("{resource} is released");
    Ok(())
}

/// Sends a request and waits for its response.
async fn post(link: &Link, events: &mut Events, path: &str, body: Value) -> Result<Value, String> {
    let request = link.request("POST", path, Some(body));
    while let Some(event) = events.next().await {
        match event {
            Event::Response { id, status: 200..=299, body } if id == request => return Ok(body),
            Event::Response { id, status, body } if id == request => {
                return Err(format!("{status}: {}", body["detail"].as_str().unwrap_or("no details")));
            }
            _ => {}
        }
    }
    Err("the link ended".to_owned())
}
