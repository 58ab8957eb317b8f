//! AMQP tables and properties as JSON, and back.
//!
//! Invariant: going to JSON never fails, bytes that are no UTF-8 are replaced; coming back gives the
//! types that RabbitMQ gives (every integer is a long, every text a long string).

use serde_json::{Map, Number, Value, json};
use types::limits::{SHORT_STRING_BYTES_MAX, TABLE_DEPTH_MAX};
use types::properties::OwnedProperties;
use types::{FieldTable, FieldValue};

/// A table as a JSON object.
pub(crate) fn to_json(table: &FieldTable) -> Value {
    Value::Object(table.iter().map(|(key, value)| (key.to_owned(), value_to_json(value))).collect())
}

fn value_to_json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Bool(flag) => json!(flag),
        FieldValue::U8(n) => json!(n),
        FieldValue::F32(n) => json!(n),
        FieldValue::F64(n) => json!(n),
        FieldValue::Decimal(scale, n) => json!(f64::from(*n) / 10f64.powi(i32::from(*scale))),
        FieldValue::LongString(bytes) | FieldValue::Binary(bytes) => json!(String::from_utf8_lossy(bytes)),
        FieldValue::Array(items) => items.iter().map(value_to_json).collect(),
        FieldValue::Timestamp(seconds) => json!(seconds),
        FieldValue::Table(table) => to_json(table),
        FieldValue::Void => Value::Null,
        integer => json!(integer.as_integer()),
    }
}

/// A table out of a JSON object; the error says what does not fit.
pub(crate) fn table(map: &Map<String, Value>) -> Result<FieldTable, String> {
    table_at(map, 0)
}

fn table_at(map: &Map<String, Value>, depth: usize) -> Result<FieldTable, String> {
    if depth >= TABLE_DEPTH_MAX {
        return Err("table nested too deep".to_owned());
    }
    let mut table = FieldTable::new();
    for (key, value) in map {
        if key.len() > SHORT_STRING_BYTES_MAX {
            return Err(format!("table key is longer than {SHORT_STRING_BYTES_MAX} bytes"));
        }
        table.insert(key, value_at(value, depth + 1)?);
    }
    Ok(table)
}

fn value_at(value: &Value, depth: usize) -> Result<FieldValue, String> {
    if depth >= TABLE_DEPTH_MAX {
        return Err("table nested too deep".to_owned());
    }
    Ok(match value {
        Value::Null => FieldValue::Void,
        Value::Bool(flag) => FieldValue::Bool(*flag),
        Value::Number(number) => number_value(number),
        Value::String(text) => FieldValue::text(text),
        Value::Array(items) => {
            FieldValue::Array(items.iter().map(|item| value_at(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => FieldValue::Table(table_at(map, depth)?),
    })
}

fn number_value(number: &Number) -> FieldValue {
    match number.as_i64() {
        Some(integer) => FieldValue::I64(integer),
        None => FieldValue::F64(number.as_f64().unwrap_or(f64::MAX)),
    }
}

/// The texts among the properties, by their names in JSON.
fn texts(properties: &mut OwnedProperties) -> [(&'static str, &mut Option<Box<[u8]>>); 10] {
    [
        ("content_type", &mut properties.content_type),
        ("content_encoding", &mut properties.content_encoding),
        ("correlation_id", &mut properties.correlation_id),
        ("reply_to", &mut properties.reply_to),
        ("expiration", &mut properties.expiration),
        ("message_id", &mut properties.message_id),
        ("type", &mut properties.kind),
        ("user_id", &mut properties.user_id),
        ("app_id", &mut properties.app_id),
        ("cluster_id", &mut properties.cluster_id),
    ]
}

/// Properties out of JSON; the error is the reason of the refusal. Unknown keys are ignored.
pub(crate) fn properties(map: &Map<String, Value>) -> Result<OwnedProperties, Value> {
    let mut properties = OwnedProperties::default();
    for (name, place) in texts(&mut properties) {
        *place = match map.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.len() <= SHORT_STRING_BYTES_MAX => Some(text.as_bytes().into()),
            Some(_) => return Err(json!(["not_string", name])),
        };
    }
    let integer = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => crate::body::integer(value).map(Some).ok_or_else(|| json!(["not_int", name])),
    };
    let octet = |name: &str| match integer(name)? {
        None => Ok(None),
        Some(number) => u8::try_from(number).map(Some).map_err(|_| json!(["not_int", name])),
    };
    properties.delivery_mode = octet("delivery_mode")?;
    properties.priority = octet("priority")?;
    properties.timestamp = match integer("timestamp")? {
        None => None,
        Some(seconds) => Some(u64::try_from(seconds).map_err(|_| json!(["not_int", "timestamp"]))?),
    };
    properties.headers = match map.get("headers") {
        None | Some(Value::Null) => None,
        Some(Value::Object(headers)) => Some(table(headers).map_err(Value::from)?),
        Some(_) => return Err(json!(["not_a_table", "headers"])),
    };
    Ok(properties)
}

/// Properties as JSON; RabbitMQ shows none at all as an empty list.
pub(crate) fn properties_to_json(mut properties: OwnedProperties) -> Value {
    let mut map = Map::new();
    for (name, place) in texts(&mut properties) {
        if let Some(text) = place {
            map.insert(name.to_owned(), json!(String::from_utf8_lossy(text)));
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            map.insert(name.to_owned(), json!(number));
        }
    }
    if let Some(headers) = &properties.headers {
        map.insert("headers".to_owned(), to_json(headers));
    }
    if map.is_empty() { json!([]) } else { Value::Object(map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        let value = json!({"a": 1, "b": "s", "c": 1.5, "d": [1, null], "e": {"f": true}, "g": -9});
        let table = table(value.as_object().unwrap()).unwrap();
        assert_eq!(to_json(&table), value);
        assert_eq!(table.get("a"), Some(&FieldValue::I64(1)));
    }

    #[test]
    fn depth_is_limited() {
        let mut value = json!({});
        for _ in 0..TABLE_DEPTH_MAX + 1 {
            value = json!({ "k": value });
        }
        assert!(table(value.as_object().unwrap()).is_err());
    }

    #[test]
    fn properties_come_back_as_they_were() {
        let value = json!({"content_type": "t", "delivery_mode": 2, "headers": {"a": 1}, "timestamp": 5, "type": "k"});
        let read = properties(value.as_object().unwrap()).unwrap();
        assert_eq!(read.kind.as_deref(), Some(&b"k"[..]));
        assert_eq!(properties_to_json(read), value);
        assert_eq!(properties_to_json(OwnedProperties::default()), json!([]));
        let wrong = json!({"delivery_mode": "x"});
        assert_eq!(properties(wrong.as_object().unwrap()).unwrap_err(), json!(["not_int", "delivery_mode"]));
    }
}
