//! The JSON object in a request's body, read field by field.
//!
//! Invariant: what is missing or of a wrong type is refused in RabbitMQ's words, never guessed.

use crate::fields;
use crate::reply::Failure;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use types::FieldTable;

/// A request's body: a JSON object, empty when there was no body.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Body, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Failure::body_too_large(),
            _ => Failure::bad_request("the request body cannot be read"),
        })?;
        Body::parse(&bytes)
    }
}

impl Body {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Body, Failure> {
        if bytes.is_empty() {
            return Ok(Body::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Body(map)),
            _ => Err(Failure::bad_request("not_json")),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Refuses a body without some of `keys`, naming all that are missing.
    pub(crate) fn require(&self, keys: &[&str]) -> Result<(), Failure> {
        let missing: Vec<String> = keys
            .iter()
            .filter(|key| !self.0.contains_key(**key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::bad_request(format!("[{}]", missing.join(","))))
    }

    /// A text; None when it is missing or null.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Failure> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Failure::bad_request(json!(["not_a_string", key, other]))),
        }
    }

    /// A text that has to be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<&str, Failure> {
        self.require(&[key])?;
        Ok(self.text(key)?.unwrap_or_default())
    }

    /// A boolean, also as the word; false when it is missing.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Failure> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(word)) if word == "true" => Ok(true),
            Some(Value::String(word)) if word == "false" => Ok(false),
            Some(other) => Err(Failure::bad_request(json!(["not_boolean", other]))),
        }
    }

    /// An integer, also as digits.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, Failure> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match integer(value) {
                Some(number) => Ok(Some(number)),
                None => Err(Failure::bad_request(json!(["not_integer", value]))),
            },
        }
    }

    /// An AMQP table; empty when it is missing.
    pub(crate) fn table(&self, key: &str) -> Result<FieldTable, Failure> {
        match self.0.get(key) {
            // Clients in languages with one kind of collection send an empty list for an empty table.
            None | Some(Value::Null) => Ok(FieldTable::new()),
            Some(Value::Array(empty)) if empty.is_empty() => Ok(FieldTable::new()),
            Some(Value::Object(map)) => fields::table(map).map_err(Failure::bad_request),
            Some(other) => Err(Failure::bad_request(json!(["not_a_table", key, other]))),
        }
    }

    /// A list of objects; empty when it is missing.
    pub(crate) fn objects(&self, key: &str) -> Result<Vec<Body>, Failure> {
        let Some(value) = self.0.get(key) else { return Ok(Vec::new()) };
        let refuse = || Failure::bad_request(json!(["not_a_list_of_objects", key]));
        let items = value.as_array().ok_or_else(refuse)?;
        items.iter().map(|item| item.as_object().cloned().map(Body).ok_or_else(refuse)).collect()
    }
}

/// An integer, also as digits.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// Tags as a list or as words with commas between.
pub(crate) fn tags(value: &Value) -> Result<Vec<String>, Failure> {
    match value {
        Value::String(text) => {
            Ok(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
        }
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .ok_or_else(|| Failure::bad_request(json!(["not_a_list_of_tags", value]))),
        _ => Err(Failure::bad_request(json!(["not_a_list_of_tags", value]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["x", "[1]", "1", "\"a\"", "{"] {
            assert_eq!(Body::parse(text.as_bytes()).unwrap_err().reason(), "not_json", "{text}");
        }
        assert!(Body::parse(b"").unwrap().0.is_empty());
    }

    #[test]
    fn all_missing_keys_are_named() {
        let error = body(r#"{"a":1}"#).require(&["a", "b", "c"]).unwrap_err();
        assert_eq!(error.reason(), "[{key_missing,b},{key_missing,c}]");
    }

    #[test]
    fn booleans_and_integers_may_be_words() {
        let table = [
            ("true", Some(true)),
            ("\"false\"", Some(false)),
            ("\"yes\"", None),
            ("1", None),
            ("null", Some(false)),
        ];
        for (text, expected) in table {
            assert_eq!(body(&format!("{{\"k\":{text}}}")).flag("k").ok(), expected, "{text}");
        }
        for (text, expected) in
            [("5", Some(Some(5))), ("\"-1\"", Some(Some(-1))), ("\"x\"", None), ("1.5", None)]
        {
            assert_eq!(body(&format!("{{\"k\":{text}}}")).integer("k").ok(), expected, "{text}");
        }
    }

    #[test]
    fn tags_come_in_two_forms() {
        for value in [json!("a, b"), json!(["a", "b"])] {
            assert_eq!(tags(&value).unwrap(), ["a", "b"]);
        }
        assert!(tags(&json!("")).unwrap().is_empty());
        assert!(tags(&json!([1])).is_err() && tags(&json!(1)).is_err());
    }
}
