//! CORS: listed origins may read, and no web page may write.

use roverline_tests::http::{self, Response};
use roverline_tests::temp;

use super::{json, problem, serve};

const FRIEND: &str = "http://pages.example:3000";

fn request(port: u16, method: &str, path: &str, origin: &str, more: &str) -> Response {
    http::request(port, method, path, &format!("Origin: {origin}\r\n{more}"), "")
}

#[test]
fn only_listed_pages_may_read() {
    let scratch = temp::dir();
    let config = temp::write(&scratch, "roverline.toml", &format!("[access]\norigins = [\"{FRIEND}\"]\n"));
    let gateway = serve(&["--config", config.to_str().unwrap()]);
    let port = gateway.first_port();
    let origin = "access-control-allow-origin";

    let answer = request(port, "GET", "/api/v2/endpoints", FRIEND, "");
    json(&answer);
    assert_eq!((answer.header(origin), answer.header("vary")), (Some(FRIEND), Some("origin")));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    // Errors carry the header, too, so that the page can read the reason.
    let missing = request(port, "GET", "/api/v2/nothing", FRIEND, "");
    problem(&missing, 404);
    assert_eq!(missing.header(origin), Some(FRIEND));

    for stranger in ["http://pages.example", "https://pages.example:3000", "http://evil.example", "null", "*"]
    {
        let answer = request(port, "GET", "/health", stranger, "");
        assert_eq!(
            (answer.status, answer.header(origin), answer.header("vary")),
            (200, None, Some("origin"))
        );
    }
    assert_eq!(http::get(port, "/health").header(origin), None);

    let wants = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: if-none-match\r\n";
    let preflight = request(port, "OPTIONS", "/api/v2/topics", FRIEND, wants);
    assert_eq!((preflight.status, preflight.header(origin)), (204, Some(FRIEND)));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("get, head, options"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("if-none-match"));
    let refused = request(port, "OPTIONS", "/api/v2/topics", "http://evil.example", wants);
    assert_eq!((refused.status, refused.header(origin)), (204, None));
    assert_eq!(refused.header("access-control-allow-methods"), None);
}

#[test]
fn no_web_page_may_write() {
    let scratch = temp::dir();
    let config = temp::write(&scratch, "roverline.toml", &format!("[access]\norigins = [\"{FRIEND}\"]\n"));
    let gateway = serve(&["--config", config.to_str().unwrap()]);
    let port = gateway.first_port();
    for origin in [FRIEND, "http://evil.example"] {
        let answer = request(port, "DELETE", "/api/v2/endpoints/a:1", origin, "");
        problem(&answer, 403);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}
