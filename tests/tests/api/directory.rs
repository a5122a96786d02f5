//! Changing the directory of endpoints: allowed from this computer or with an operator's token.

use std::time::Duration;

use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::temp::{self, TempDir};

use super::{problem, serve};

const ENDPOINTS: &str = "/api/v2/endpoints";

/// A gateway where local clients without a token are observers, and its tokens by role.
pub(super) struct TokenOnlyGateway {
    pub(super) gateway: Gateway,
    pub(super) commander: String,
    pub(super) operator: String,
    pub(super) observer: String,
    _scratch: TempDir,
}

pub(super) fn token_only() -> TokenOnlyGateway {
    let scratch = temp::dir();
    let tokens = scratch.path().join("tokens");
    let token = |role: &str| {
        let add = ["token", "add", "--tokens", tokens.to_str().unwrap(), "--role", role, role];
        let (code, token, stderr) = gateway::run(&add, Duration::from_secs(20));
        assert_eq!(code, 0, "{stderr}");
        token.trim().to_owned()
    };
    let (commander, operator, observer) = (token("commander"), token("operator"), token("observer"));
    let text = format!("[access]\nloopback = \"observer\"\ntokens = {:?}\n", tokens.to_str().unwrap());
    let config = temp::write(&scratch, "roverline.toml", &text);
    let gateway = serve(&["--config", config.to_str().unwrap()]);
    TokenOnlyGateway { gateway, commander, operator, observer, _scratch: scratch }
}

fn register(port: u16, token: &str) -> Response {
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let body = r#"{"tier":"secondary","address":"127.0.0.1:9"}"#;
    http::request(port, "POST", ENDPOINTS, &format!("Content-Type: application/json\r\n{bearer}"), body)
}

#[test]
fn the_directory_needs_an_operator_token() {
    let TokenOnlyGateway { gateway, operator, observer, .. } = &token_only();
    let port = gateway.first_port();
    for wrong in ["", "guess"] {
        let refused = register(port, wrong);
        problem(&refused, 401);
        assert_eq!(refused.header("www-authenticate"), Some("bearer"));
    }
    problem(&register(port, observer), 403);
    // A token in the URL would end up in logs.
    let response = http::request(port, "DELETE", &format!("{ENDPOINTS}/a:1?token={operator}"), "", "");
    problem(&response, 401);
    let created = register(port, operator);
    assert_eq!((created.status, created.header("location")), (201, Some("/api/v2/endpoints/127.0.0.1:9")));
    let bearer = format!("Authorization: Bearer {operator}\r\n");
    let at = format!("{ENDPOINTS}/127.0.0.1%3A9");
    assert_eq!(http::request(port, "DELETE", &at, &bearer, "").status, 204);
    problem(&http::request(port, "DELETE", &at, &bearer, ""), 404);
}
