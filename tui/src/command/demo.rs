//! `roverline demo`.

use std::process::ExitCode;

use roverline_client::Config;

use crate::cli::DemoArgs;
use crate::command::gateway::Gateway;
use crate::command::{Failure, console, headless};

/// Starts a gateway on the simulated rover, runs the console or the check, and stops it.
pub async fn run(demo: DemoArgs) -> Result<ExitCode, Failure> {
    if !demo.headless {
        // Checked before anything is started: the theme, and the terminal.
        console::check(&demo.appearance)?;
    }
    let gateway = Gateway::start(&demo).await?;
    let done = if demo.headless {
        tokio::select! {
            done = headless::run(&gateway.endpoints, demo.duration, demo.json) => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::Nothing("interrupted".to_owned())),
        }
    } else {
        let urls: Vec<&str> = gateway.endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect();
        match Config::with_urls(&urls) {
            Ok(config) => console::run(config, &demo.appearance).await,
            Err(error) => Err(Failure::Nothing(format!("the gateway announced an address: {error}"))),
        }
    };
    gateway.stop().await;
    done
}
