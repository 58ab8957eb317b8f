//! Answers that are not a listing: refusals in RabbitMQ's bodies, and created or changed.
//!
//! Invariant: a refusal's body is `{"error": ..., "reason": ...}`; a caller without credentials is told
//! nothing but how to log in.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use types::{AmqpError, ReplyCode};

const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    /// None for an empty body.
    body: Option<Value>,
    asks_login: bool,
}

pub(crate) type Answer = Result<Response, Failure>;

impl Failure {
    pub(crate) fn new(status: StatusCode, body: Value) -> Failure {
        Failure { status, body: Some(body), asks_login: false }
    }

    pub(crate) fn of(status: StatusCode, error: &str, reason: impl Into<Value>) -> Failure {
        Failure::new(status, json!({"error": error, "reason": reason.into()}))
    }

    pub(crate) fn bad_request(reason: impl Into<Value>) -> Failure {
        Failure::of(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 400 with another word than `bad_request`.
    pub(crate) fn bad(error: &str, reason: impl Into<Value>) -> Failure {
        Failure::of(StatusCode::BAD_REQUEST, error, reason)
    }

    /// A body above the limit.
    pub(crate) fn body_too_large() -> Failure {
        Failure::bad_request("Exceeded HTTP request body size limit")
    }

    /// Nothing at this path.
    pub(crate) fn no_object() -> Failure {
        Failure::of(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// Something that the request names is not there.
    pub(crate) fn not_found(reason: impl Into<Value>) -> Failure {
        Failure::of(StatusCode::NOT_FOUND, "not_found", reason)
    }

    pub(crate) fn not_authorised(reason: &str) -> Failure {
        Failure::of(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// Wrong name or password.
    pub(crate) fn login_failed() -> Failure {
        let failure = Failure::of(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed");
        Failure { asks_login: true, ..failure }
    }

    /// No usable credentials at all.
    pub(crate) fn login_needed() -> Failure {
        Failure { status: StatusCode::UNAUTHORIZED, body: None, asks_login: true }
    }

    /// A refusal of what RabbitMQ does through a channel: the reason has the code in front.
    pub(crate) fn of_channel(error: AmqpError) -> Failure {
        match error.code {
            ReplyCode::NotFound => Failure::not_found(error.reply_text()),
            ReplyCode::AccessRefused => Failure::from(error),
            _ => Failure::bad_request(format!("{} {}", error.code.code(), error.reply_text())),
        }
    }

    /// A refused policy or parameter: RabbitMQ escapes these for its web page.
    pub(crate) fn of_validation(error: AmqpError) -> Failure {
        let text = error.explanation.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        Failure::bad_request(text)
    }

    /// Whether something was not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The reason as text.
    pub(crate) fn reason(&self) -> String {
        match self.body.as_ref().and_then(|body| body.get("reason")) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => self.status.to_string(),
        }
    }
}

impl From<AmqpError> for Failure {
    fn from(error: AmqpError) -> Failure {
        match error.code {
            ReplyCode::NotFound => Failure::not_found(error.explanation),
            ReplyCode::AccessRefused => Failure::not_authorised("Access refused."),
            ReplyCode::InternalError => {
                tracing::error!(%error, "an HTTP request failed");
                Failure::of(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", error.explanation)
            }
            _ => Failure::bad_request(error.explanation),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, axum::Json(body)).into_response(),
            None => self.status.into_response(),
        };
        if self.asks_login {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, REALM);
        }
        response
    }
}

/// 201 when it is new, 204 when it was there.
pub(crate) fn put(created: bool) -> Answer {
    Ok(if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT }.into_response())
}

/// 204
pub(crate) fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 200 with a body.
pub(crate) fn show(value: Value) -> Answer {
    Ok(axum::Json(value).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_broker_get_the_status_of_the_api() {
        type Make = fn(AmqpError) -> Failure;
        let table: [(Make, AmqpError, u16, &str); 6] = [
            (Failure::from, AmqpError::not_found("no x"), 404, "no x"),
            (Failure::from, AmqpError::access_refused("y"), 401, "Access refused."),
            (Failure::from, AmqpError::precondition_failed("z"), 400, "z"),
            (Failure::of_channel, AmqpError::not_found("no x"), 404, "NOT_FOUND - no x"),
            (Failure::of_channel, AmqpError::resource_locked("l"), 400, "405 RESOURCE_LOCKED - l"),
            (Failure::of_validation, AmqpError::precondition_failed("<<1>>"), 400, "&lt;&lt;1&gt;&gt;"),
        ];
        for (make, error, status, reason) in table {
            let failure = make(error);
            assert_eq!((failure.status.as_u16(), failure.reason().as_str()), (status, reason));
        }
    }
}
