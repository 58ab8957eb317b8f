//! Names as clients send them: RabbitMQ drops carriage returns and line feeds from names.

/// `name` without line ends; the same name when it has none, which is nearly always.
pub(crate) fn without<N: Clone + for<'a> From<&'a str>>(name: &N, text: &str) -> N {
    if text.contains(['\r', '\n']) { N::from(text.replace(['\r', '\n'], "").as_str()) } else { name.clone() }
}
