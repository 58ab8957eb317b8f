//! What a listing's query asks for: columns, order, pages, names.
//!
//! Invariant: with a page asked for and no order, only that page's rows are rendered, however many there
//! are.

use crate::reply::{self, Answer, Failure};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use broker::catalog::Pattern;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

const PAGE_SIZE_DEFAULT: usize = 100;
const PAGE_SIZE_MAX: usize = 500;

/// A listing's query.
#[derive(Debug, Default)]
pub(crate) struct ListQuery {
    columns: Vec<Vec<String>>,
    sort: Option<Vec<String>>,
    reverse: bool,
    page: Option<Page>,
    /// Whether counters and rates are wanted.
    pub(crate) stats: bool,
    /// Whether message counts are wanted even without the rest of the statistics.
    pub(crate) totals: bool,
}

#[derive(Debug)]
struct Page {
    number: usize,
    size: usize,
    name: Option<Name>,
}

#[derive(Debug)]
enum Name {
    Contains(String),
    Matches(Pattern),
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<ListQuery, Failure> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Failure::bad_request("the query cannot be read"))?;
        ListQuery::parse(&pairs.0)
    }
}

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

impl ListQuery {
    pub(crate) fn parse(pairs: &[(String, String)]) -> Result<ListQuery, Failure> {
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let is_true = |key: &str| value(key) == Some("true");
        let columns = value("columns").unwrap_or_default();
        Ok(ListQuery {
            columns: columns.split(',').filter(|name| !name.is_empty()).map(path).collect(),
            sort: value("sort").filter(|name| !name.is_empty()).map(path),
            reverse: is_true("sort_reverse"),
            page: match value("page") {
                None => None,
                Some(number) => {
                    Some(Page::parse(number, value("page_size"), value("name"), is_true("use_regex"))?)
                }
            },
            stats: !is_true("disable_stats"),
            totals: is_true("enable_queue_totals"),
        })
    }

    /// Answers with `rows`; `name` is what the name filter looks at.
    pub(crate) fn answer<T>(
        &self,
        rows: Vec<T>,
        name: impl Fn(&T) -> &str,
        render: impl Fn(&T) -> Value,
    ) -> Answer {
        self.list(rows, name, render).and_then(reply::show)
    }

    fn list<T>(
        &self,
        mut rows: Vec<T>,
        name: impl Fn(&T) -> &str,
        render: impl Fn(&T) -> Value,
    ) -> Result<Value, Failure> {
        let total = rows.len();
        if let Some(filter) = self.page.as_ref().and_then(|page| page.name.as_ref()) {
            rows.retain(|row| filter.fits(name(row)));
        }
        let filtered = rows.len();
        let range = match &self.page {
            None => 0..filtered,
            Some(page) => page.range(filtered)?,
        };
        let items: Vec<Value> = match &self.sort {
            None if self.reverse => {
                rows.iter().rev().skip(range.start).take(range.len()).map(render).collect()
            }
            None => rows[range].iter().map(render).collect(),
            Some(key) => {
                let mut items: Vec<Value> = rows.iter().map(render).collect();
                items.sort_by(|a, b| {
                    let order = compare(at(a, key), at(b, key));
                    if self.reverse { order.reverse() } else { order }
                });
                items.drain(range).collect()
            }
        };
        let items: Vec<Value> = items.into_iter().map(|item| self.project(item)).collect();
        Ok(match &self.page {
            None => Value::Array(items),
            Some(page) => json!({
                "filtered_count": filtered,
                "item_count": items.len(),
                "items": items,
                "page": page.number,
                "page_count": filtered.div_ceil(page.size).max(1),
                "page_size": page.size,
                "total_count": total,
            }),
        })
    }

    /// The wanted columns of one item; all when none are named.
    pub(crate) fn project(&self, item: Value) -> Value {
        if self.columns.is_empty() {
            return item;
        }
        let mut kept = Map::new();
        for column in &self.columns {
            if let Some(value) = at(&item, column) {
                put(&mut kept, column, value.clone());
            }
        }
        Value::Object(kept)
    }
}

impl Page {
    fn parse(number: &str, size: Option<&str>, name: Option<&str>, regex: bool) -> Result<Page, Failure> {
        let invalid = || Failure::bad_request("Pagination parameters are invalid");
        let page: i64 = number.parse().map_err(|_| invalid())?;
        let given: Option<i64> = size.map(|size| size.parse().map_err(|_| invalid())).transpose()?;
        let out_of_bounds = || {
            let size = given.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
            let reason = format!("Invalid pagination parameters: page number {page}, page size {size}");
            Failure::bad("invalid_pagination_parameters", reason)
        };
        let number = usize::try_from(page).ok().filter(|number| *number > 0).ok_or_else(out_of_bounds)?;
        let size = match given {
            None => PAGE_SIZE_DEFAULT,
            Some(size) => {
                let fits = |size: &usize| (1..=PAGE_SIZE_MAX).contains(size);
                usize::try_from(size).ok().filter(fits).ok_or_else(out_of_bounds)?
            }
        };
        let name = match name.filter(|name| !name.is_empty()) {
            None => None,
            Some(text) if regex => {
                Some(Name::Matches(Pattern::new(&format!("(?i){text}")).map_err(|_| invalid())?))
            }
            Some(text) => Some(Name::Contains(text.to_lowercase())),
        };
        Ok(Page { number, size, name })
    }

    fn range(&self, count: usize) -> Result<std::ops::Range<usize>, Failure> {
        let start = (self.number - 1).saturating_mul(self.size);
        if start >= count && self.number > 1 {
            let (number, size) = (self.number, self.size);
            let reason = format!("Page out of range, page: {number} page size: {size}, len: {count}");
            return Err(Failure::bad("page_out_of_range", reason));
        }
        Ok(start..count.min(start + self.size))
    }
}

impl Name {
    fn fits(&self, name: &str) -> bool {
        match self {
            Name::Contains(text) => name.to_lowercase().contains(text),
            Name::Matches(pattern) => pattern.is_match(name),
        }
    }
}

/// The value at a dotted path.
fn at<'a>(item: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(item, |value, key| value.get(key))
}

fn put(map: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            map.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = map.entry(key.clone()).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// What is missing comes first, then booleans, numbers and texts.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    fn rank(value: Option<&Value>) -> u8 {
        match value {
            None | Some(Value::Null) => 0,
            Some(Value::Bool(_)) => 1,
            Some(Value::Number(_)) => 2,
            Some(Value::String(_)) => 3,
            Some(_) => 4,
        }
    }
    match (a, b) {
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<ListQuery, Failure> {
        let pairs: Vec<(String, String)> = text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        ListQuery::parse(&pairs)
    }

    fn list(text: &str) -> Result<Value, Failure> {
        let rows = vec![("b", 10, Some(1)), ("a", 9, None), ("c", 100, Some(2))];
        query(text)?.list(
            rows,
            |row| row.0,
            |(name, n, stat)| json!({"name": name, "n": n, "message_stats": {"publish": stat}}),
        )
    }

    fn names(value: &Value) -> String {
        let items = value.get("items").unwrap_or(value).as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap_or("?")).collect()
    }

    #[test]
    fn order_pages_and_names() {
        let table = [
            ("", "bac"),
            ("sort=name", "abc"),
            ("sort=name&sort_reverse=true", "cba"),
            ("sort=n", "abc"),
            ("sort=message_stats.publish", "abc"),
            ("page=1&page_size=2", "ba"),
            ("page=2&page_size=2", "c"),
            ("page=1&page_size=2&sort=n&sort_reverse=true", "cb"),
            ("page=1&name=A", "a"),
            ("page=1&name=^[ab]&use_regex=true", "ba"),
            ("name=a", "bac"),
        ];
        for (text, expected) in table {
            assert_eq!(names(&list(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn the_envelope_is_that_of_rabbitmq() {
        let page = list("page=1&page_size=1&name=a&columns=name").unwrap();
        let expected = json!({"filtered_count": 1, "item_count": 1, "items": [{"name": "a"}], "page": 1,
            "page_count": 1, "page_size": 1, "total_count": 3});
        assert_eq!(page, expected);
    }

    #[test]
    fn pages_that_cannot_be_are_refused() {
        let table = [
            ("page=a", "Pagination parameters are invalid"),
            ("page=1&name=(&use_regex=true", "Pagination parameters are invalid"),
            ("page=0", "Invalid pagination parameters: page number 0, page size undefined"),
            ("page=1&page_size=501", "Invalid pagination parameters: page number 1, page size 501"),
            ("page=5&page_size=1", "Page out of range, page: 5 page size: 1, len: 3"),
        ];
        for (text, reason) in table {
            assert_eq!(list(text).unwrap_err().reason(), reason, "{text}");
        }
    }

    #[test]
    fn columns_reach_into_objects() {
        let rows = list("columns=name,message_stats.publish&sort=name").unwrap();
        assert_eq!(rows[1], json!({"name": "b", "message_stats": {"publish": 1}}));
    }
}
