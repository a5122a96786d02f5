//! Who may command what, over HTTP. An authority is acquired, handed over and forced as the lock of its name.

use roverline_protocol::api::authority::AuthorityList;

use crate::api::action::Action;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, json};
use crate::api::route::{Content, Route, get, ok, schema};
use crate::endpoint::authority::authority_list;

/// The routes.
pub(crate) static ROUTES: [Route; 1] = [get(
    "/api/v2/authority",
    Action::Authority,
    "Who may command what",
    &[ok("The authorities", Content::Json(schema::<AuthorityList>))],
)];

/// All authorities.
pub(crate) fn list(request: &ApiRequest<'_>) -> HttpResponse {
    json(&authority_list(request.endpoint))
}
