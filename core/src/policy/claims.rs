//! Where something stands in a token, and what stands there.

use serde_json::{Map, Value, json};

use crate::config::{At, Problems, Read};
use crate::gate::encode;

/// Deeper than any issuer nests its claims.
const MAX_DEPTH: usize = 8;

/// The way to a claim through nested objects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A claim at the top.
    pub fn single(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// What stands there.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// The strings that stand there: one, or those of a list. Everything else is ignored.
    pub(super) fn strings<'a>(
        &self,
        claims: &'a Map<String, Value>,
    ) -> impl Iterator<Item = &'a str> {
        let value = self.find(claims);
        let list = value.and_then(Value::as_array).into_iter().flatten();
        value.and_then(Value::as_str).into_iter().chain(list.filter_map(Value::as_str))
    }

    /// The scopes that stand there: a string separated by spaces (RFC 8693 §4.2), or a list of
    /// strings. `None` only if the claim is absent.
    ///
    /// A claim of another type is no scope rather than no claim: an issuer that writes scopes in an
    /// unforeseen way meant to restrict the token.
    pub(super) fn scopes(&self, claims: &Map<String, Value>) -> Option<Vec<String>> {
        self.find(claims)?;
        let scopes = self.strings(claims).flat_map(|text| text.split(' '));
        Some(scopes.filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
    }

    /// The text for a header: strings, numbers and booleans, or a list of them joined by `,`.
    /// Objects and `null` have none.
    pub(super) fn header_value(&self, claims: &Map<String, Value>) -> Option<Vec<u8>> {
        let value = self.find(claims)?;
        let Some(items) = value.as_array() else {
            return text_of(value).map(|text| encode::value(&text));
        };
        let texts: Vec<String> = items.iter().filter_map(text_of).collect();
        Some(encode::list(texts.iter().map(String::as_str), b','))
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Read for ClaimPath {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let names: Option<Vec<String>> = match value {
            Value::String(text) => Some(text.split('.').map(str::to_owned).collect()),
            Value::Array(names) => {
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        };
        let fits = |names: &Vec<String>| {
            (1..=MAX_DEPTH).contains(&names.len()) && names.iter().all(|name| !name.is_empty())
        };
        let read = names.filter(fits).map(Self);
        if read.is_none() {
            at.problem(problems, "expected a claim path: names joined by dots, or a list of names");
        }
        read
    }

    fn kind() -> String {
        "claim path".to_owned()
    }

    fn schema() -> Value {
        json!({"oneOf": [
            {"type": "string", "pattern": "^[^.]+(\\.[^.]+){0,7}$"},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": MAX_DEPTH},
        ]})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::ClaimPath;
    use crate::config::{At, Problems, Read};

    fn path(value: &Value) -> ClaimPath {
        ClaimPath::read(value, &At::ROOT, &mut Problems::new()).unwrap()
    }

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "scope": "read  write",
            "list": ["a", 1, null, ["b"], "c"],
            "realm_access": {"roles": ["viewer"]},
            "https://x.example/roles": "editor",
            "number": 7,
            "object": {"a": 1},
            "null": null,
        });
        claims.as_object().unwrap().clone()
    }

    #[track_caller]
    fn strings(at: &Value, expected: &[&str]) {
        assert_eq!(path(at).strings(&claims()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn strings_are_found_through_objects_and_everything_else_is_ignored() {
        strings(&json!("realm_access.roles"), &["viewer"]);
        strings(&json!(["https://x.example/roles"]), &["editor"]);
        strings(&json!("list"), &["a", "c"]);
        for nothing in ["number", "object", "null", "absent", "scope.deeper", "list.0"] {
            strings(&json!(nothing), &[]);
        }
    }

    #[test]
    fn scopes_of_an_odd_type_are_no_scopes_and_absent_ones_are_absent() {
        let scopes = |at| path(&json!(at)).scopes(&claims());
        assert_eq!(scopes("scope"), Some(vec!["read".to_owned(), "write".to_owned()]));
        assert_eq!(scopes("list"), Some(vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(scopes("number"), Some(vec![]));
        assert_eq!(scopes("null"), Some(vec![]));
        assert_eq!(scopes("absent"), None);
    }

    #[test]
    fn header_values_are_encoded() {
        let value = |at| path(&json!(at)).header_value(&claims());
        assert_eq!(value("scope").as_deref(), Some(&b"read%20%20write"[..]));
        assert_eq!(value("list").as_deref(), Some(&b"a,1,c"[..]));
        assert_eq!(value("object"), None);
    }

    #[test]
    fn a_path_without_names_is_refused() {
        for bad in [json!(""), json!("a..b"), json!([]), json!([1]), json!({}), json!([""])] {
            let mut problems = Problems::new();
            assert_eq!(ClaimPath::read(&bad, &At::ROOT, &mut problems), None, "{bad}");
            assert_eq!(problems.len(), 1);
        }
    }
}
