//! Headers exchanges: does a message's headers table satisfy a binding's arguments?
//!
//! Rules (RabbitMQ's headers exchange): `x-match` is `all` when absent; keys starting with `x-` are left
//! out unless the form ends in `-with-x`, and `x-match` itself always is; a void value asks only whether
//! the key is there; integers compare by value whatever their width.

use std::collections::BTreeMap;
use types::{AmqpError, FieldTable, FieldValue};

const FORM: &str = "x-match";

/// A message's headers, found by key.
pub(crate) struct HeaderView<'a> {
    values: BTreeMap<&'a str, &'a FieldValue>,
}

impl<'a> HeaderView<'a> {
    pub(crate) fn new(headers: &'a FieldTable) -> HeaderView<'a> {
        let mut values = BTreeMap::new();
        for (key, value) in headers.iter() {
            values.entry(key).or_insert(value);
        }
        HeaderView { values }
    }

    fn satisfies(&self, key: &str, wanted: &FieldValue) -> bool {
        match self.values.get(key) {
            None => false,
            Some(_) if *wanted == FieldValue::Void => true,
            Some(value) => same(value, wanted),
        }
    }
}

/// Whether a message with `headers` goes where a binding with `arguments` leads.
pub(crate) fn fits(arguments: &FieldTable, headers: &HeaderView<'_>) -> bool {
    let form = arguments.get(FORM).and_then(FieldValue::as_text).unwrap_or("all");
    let with_x = form.ends_with("-with-x");
    let mut conditions =
        arguments.iter().filter(|(key, _)| *key != FORM && (with_x || !key.starts_with("x-")));
    if form.starts_with("any") {
        conditions.any(|(key, wanted)| headers.satisfies(key, wanted))
    } else {
        conditions.all(|(key, wanted)| headers.satisfies(key, wanted))
    }
}

fn same(a: &FieldValue, b: &FieldValue) -> bool {
    use FieldValue::{Binary, LongString};
    if let (Some(a), Some(b)) = (a.as_integer(), b.as_integer()) {
        return a == b;
    }
    // As RabbitMQ compares: numbers by value, whatever their type.
    if let (Some(a), Some(b)) = (as_number(a), as_number(b)) {
        return a == b;
    }
    match (a, b) {
        (LongString(a) | Binary(a), LongString(b) | Binary(b)) => a == b,
        _ => a == b,
    }
}

fn as_number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::F32(number) => Some(f64::from(*number)),
        FieldValue::F64(number) => Some(*number),
        _ => value.as_integer().map(|number| number as f64),
    }
}

/// Refuses a binding whose `x-match` is not one of the four forms.
pub(crate) fn check_arguments(arguments: &FieldTable) -> Result<(), AmqpError> {
    let Some(form) = arguments.get(FORM) else { return Ok(()) };
    match form.as_text() {
        Some("all" | "any" | "all-with-x" | "any-with-x") => Ok(()),
        _ if matches!(form, FieldValue::LongString(_)) => Err(AmqpError::precondition_failed(format!(
            "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
            crate::argument::term(form)
        ))),
        _ => Err(AmqpError::precondition_failed(format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            form.type_name(),
            crate::argument::term(form)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
        entries.iter().cloned().collect()
    }

    #[test]
    fn the_four_forms() {
        let (one, two) = (FieldValue::I32(1), FieldValue::text("two"));
        let message = table(&[("a", one.clone()), ("b", two.clone()), ("x-c", one.clone())]);
        let a = ("a", FieldValue::I64(1));
        let wrong = ("b", FieldValue::text("three"));
        let x = ("x-c", FieldValue::U8(1));
        let x_wrong = ("x-c", FieldValue::U8(2));
        let form = |name: &str| (FORM, FieldValue::text(name));
        for (conditions, expected) in [
            (vec![a.clone()], true),
            (vec![a.clone(), wrong.clone()], false),
            (vec![form("all"), a.clone(), x_wrong.clone()], true),
            (vec![form("all-with-x"), a.clone(), x_wrong.clone()], false),
            (vec![form("all-with-x"), a.clone(), x.clone()], true),
            (vec![form("any"), wrong.clone(), a.clone()], true),
            (vec![form("any"), wrong.clone(), x.clone()], false),
            (vec![form("any-with-x"), wrong.clone(), x.clone()], true),
            (vec![form("any")], false),
            (vec![form("all")], true),
            (vec![], true),
            (vec![("b", FieldValue::Void)], true),
            (vec![("z", FieldValue::Void)], false),
            (vec![("a", FieldValue::text("1"))], false),
            (vec![("a", FieldValue::Timestamp(1))], false),
            (vec![("a", FieldValue::F64(1.0))], true),
        ] {
            let arguments = table(&conditions);
            assert_eq!(fits(&arguments, &HeaderView::new(&message)), expected, "{arguments:?}");
        }
    }
}
