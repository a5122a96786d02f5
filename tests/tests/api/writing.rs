//! Who may change the directory: who is on this computer, or shows an operator's token.

use std::time::Duration;

use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Answer};
use roverline_tests::scratch::Scratch;

use super::{problem, serve};

const ENDPOINTS: &str = "/api/v2/endpoints";

/// A gateway where even this computer only looks, unless it shows a token; its tokens, by role.
pub(super) struct Careful {
    pub(super) gateway: Gateway,
    pub(super) commander: String,
    pub(super) operator: String,
    pub(super) observer: String,
    _scratch: Scratch,
}

pub(super) fn careful() -> Careful {
    let scratch = Scratch::new();
    let tokens = scratch.path().join("tokens");
    let token = |role: &str| {
        let add = ["token", "add", "--tokens", tokens.to_str().unwrap(), "--role", role, role];
        let (code, token, said) = gateway::run(&add, Duration::from_secs(20));
        assert_eq!(code, 0, "{said}");
        token.trim().to_owned()
    };
    let (commander, operator, observer) = (token("commander"), token("operator"), token("observer"));
    let text = format!("[access]\nloopback = \"observer\"\ntokens = {:?}\n", tokens.to_str().unwrap());
    let config = scratch.write("roverline.toml", &text);
    let gateway = serve(&["--config", config.to_str().unwrap()]);
    Careful { gateway, commander, operator, observer, _scratch: scratch }
}

fn register(port: u16, token: &str) -> Answer {
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let body = r#"{"tier":"secondary","address":"127.0.0.1:9"}"#;
    http::request(port, "POST", ENDPOINTS, &format!("Content-Type: application/json\r\n{bearer}"), body)
}

#[test]
fn a_token_opens_what_is_closed() {
    let Careful { gateway, operator, observer, .. } = &careful();
    let port = gateway.first_port();
    for wrong in ["", "guess"] {
        let refused = register(port, wrong);
        problem(&refused, 401);
        assert_eq!(refused.header("www-authenticate"), Some("bearer"));
    }
    problem(&register(port, observer), 403);
    // In the address it would end up in logs.
    let asked = http::request(port, "DELETE", &format!("{ENDPOINTS}/a:1?token={operator}"), "", "");
    problem(&asked, 401);
    let created = register(port, operator);
    assert_eq!((created.status, created.header("location")), (201, Some("/api/v2/endpoints/127.0.0.1:9")));
    let bearer = format!("Authorization: Bearer {operator}\r\n");
    let at = format!("{ENDPOINTS}/127.0.0.1%3A9");
    assert_eq!(http::request(port, "DELETE", &at, &bearer, "").status, 204);
    problem(&http::request(port, "DELETE", &at, &bearer, ""), 404);
}
