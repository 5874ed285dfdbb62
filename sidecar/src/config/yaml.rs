//! YAML 1.2 as a JSON value with the place of every node, and nothing left to interpretation.
//!
//! Refused: repeated keys, aliases, merge keys, tags of one's own, keys that are no strings, more
//! than one document. Each of them makes a file mean something else than it seems to say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

/// A configuration or policy larger than this is a mistake.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// Deeper nesting than any configuration has; the reader recurses.
const MAX_DEPTH: usize = 64;

/// A line and column, counted from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A document with the place of each of its nodes by path, as `routes[3].match.path`.
#[derive(Debug)]
pub struct Document {
    /// The content.
    pub value: Value,
    places: BTreeMap<String, Place>,
}

/// What is wrong with the text of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct YamlProblem {
    /// Where.
    pub place: Place,
    /// The path, empty for the whole document.
    pub path: String,
    /// What.
    pub message: String,
}

impl Document {
    /// Reads a text; JSON is YAML too.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, but for syntax errors, of which only the first is known.
    pub fn parse(text: &str) -> Result<Self, Vec<YamlProblem>> {
        let start = Place { line: 1, column: 1 };
        let whole =
            |place, message: String| vec![YamlProblem { place, path: String::new(), message }];
        if text.len() > MAX_FILE_BYTES {
            return Err(whole(start, format!("longer than {MAX_FILE_BYTES} bytes")));
        }
        let documents = MarkedYaml::load_from_str(text).map_err(|error| {
            let marker = error.marker();
            let place = Place { line: marker.line(), column: marker.col().saturating_add(1) };
            whole(place, error.info().to_owned())
        })?;
        let mut documents = documents.iter();
        let (Some(document), None) = (documents.next(), documents.next()) else {
            return Err(whole(start, "expected exactly one document".to_owned()));
        };
        let mut reader = Reader {
            letters: text.chars().collect(),
            places: BTreeMap::new(),
            problems: Vec::new(),
        };
        let value = reader.read(document, &mut String::new(), 0);
        if reader.problems.is_empty() {
            return Ok(Self { value, places: reader.places });
        }
        Err(reader.problems)
    }

    /// The place of the node at `path`, or of the closest node around it.
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            let Some(end) = path.rfind(['.', '[']) else {
                return self.places.get("").copied().unwrap_or(Place { line: 1, column: 1 });
            };
            path = path.get(..end).unwrap_or_default();
        }
    }
}

struct Reader {
    letters: Vec<char>,
    places: BTreeMap<String, Place>,
    problems: Vec<YamlProblem>,
}

impl Reader {
    fn read(&mut self, node: &MarkedYaml<'_>, path: &mut String, depth: usize) -> Value {
        let start = node.span.start;
        let place = Place { line: start.line(), column: start.col().saturating_add(1) };
        self.places.entry(path.clone()).or_insert(place);
        // An alias is gone once it is read; what stands at its place in the text is not.
        if self.letters.get(start.index()) == Some(&'*') && !is_quoted_star(node) {
            return self.problem(place, path, "aliases are not supported: write the value out");
        }
        if depth > MAX_DEPTH {
            return self.problem(place, path, "nested too deeply");
        }
        match &node.data {
            YamlData::Value(scalar) => self.scalar(scalar, place, path),
            YamlData::Sequence(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let length = path.len();
                    // Writing to a string cannot fail.
                    let _ = write!(path, "[{index}]");
                    list.push(self.read(item, path, depth.saturating_add(1)));
                    path.truncate(length);
                }
                Value::Array(list)
            }
            YamlData::Mapping(members) => {
                let mut object = Map::new();
                for (name, member) in members {
                    self.member(name, member, &mut object, path, depth);
                }
                Value::Object(object)
            }
            YamlData::Tagged(tag, _) => {
                let message = format!("the tag {}{} is not supported", tag.handle, tag.suffix);
                self.problem(place, path, message)
            }
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                self.problem(place, path, "not a value of its tag")
            }
        }
    }

    fn member(
        &mut self,
        name: &MarkedYaml<'_>,
        member: &MarkedYaml<'_>,
        object: &mut Map<String, Value>,
        path: &mut String,
        depth: usize,
    ) {
        let start = name.span.start;
        let place = Place { line: start.line(), column: start.col().saturating_add(1) };
        let YamlData::Value(Scalar::String(text)) = &name.data else {
            self.problem(place, path, "a key must be a string: put it in quotes");
            return;
        };
        if text == "<<" {
            self.problem(place, path, "merge keys are not supported: write the members out");
            return;
        }
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(text);
        self.places.insert(path.clone(), place);
        let value = self.read(member, path, depth.saturating_add(1));
        path.truncate(length);
        object.insert(text.to_string(), value);
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, place: Place, path: &str) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::Number((*value).into()),
            Scalar::FloatingPoint(value) => match Number::from_f64(**value) {
                Some(number) => Value::Number(number),
                None => self.problem(place, path, "not a finite number"),
            },
            Scalar::String(value) => Value::String(value.to_string()),
        }
    }

    fn problem(&mut self, place: Place, path: &str, message: impl Into<String>) -> Value {
        self.problems.push(YamlProblem { place, path: path.to_owned(), message: message.into() });
        Value::Null
    }
}

/// Whether the node is a string that itself begins with a star; a plain scalar cannot.
fn is_quoted_star(node: &MarkedYaml<'_>) -> bool {
    let YamlData::Value(Scalar::String(text)) = &node.data else { return false };
    let length = node.span.end.index().saturating_sub(node.span.start.index());
    text.starts_with('*') && text.chars().count() == length
}

#[cfg(test)]
mod tests {
    use super::{Document, Place};
    use serde_json::json;

    #[track_caller]
    fn refused(text: &str, expected: &[(usize, usize, &str, &str)]) {
        let problems = Document::parse(text).expect_err("accepted");
        let found: Vec<_> = problems
            .iter()
            .map(|problem| {
                let Place { line, column } = problem.place;
                (line, column, problem.path.as_str(), problem.message.as_str())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_value_keeps_its_type() {
        let text = "a: 1\nb: [yes, \"1\", 1.5, true, null, ~, 0600, 1e3]\n'*c': \"*d\"\n";
        let value = Document::parse(text).unwrap().value;
        let expected = json!({
            "a": 1, "b": ["yes", "1", 1.5, true, null, null, 600, 1000.0], "*c": "*d",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_path_leads_to_its_line_or_to_that_of_the_closest_node() {
        let document = Document::parse("a:\n  b:\n    - x: 1\n      y: 2\n").unwrap();
        assert_eq!(document.place("a.b[0].y"), Place { line: 4, column: 7 });
        assert_eq!(document.place("a.b[0].z.w"), Place { line: 3, column: 7 });
        assert_eq!(document.place("nothing"), Place { line: 1, column: 1 });
    }

    #[test]
    fn what_surprises_is_refused_with_its_place() {
        refused(
            "a: &x 1\nb: *x\nc: !mine 3\n1: d\ne: {<<: {}}\n",
            &[
                (2, 4, "b", "aliases are not supported: write the value out"),
                (3, 4, "c", "the tag !mine is not supported"),
                (4, 1, "", "a key must be a string: put it in quotes"),
                (5, 5, "e", "merge keys are not supported: write the members out"),
            ],
        );
    }

    #[test]
    fn a_repeated_key_is_an_error() {
        let problems = Document::parse("a: 1\nb:\n  c: 1\n  c: 2\n").expect_err("accepted");
        assert_eq!(problems[0].place.line, 4);
    }

    #[test]
    fn one_document_and_no_more() {
        refused("", &[(1, 1, "", "expected exactly one document")]);
        refused("a: 1\n---\nb: 1\n", &[(1, 1, "", "expected exactly one document")]);
    }

    #[test]
    fn deep_nesting_is_refused_without_overflow() {
        let text = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        assert!(Document::parse(&text).is_err());
        assert!(Document::parse(&"[".repeat(100_000)).is_err());
    }
}
