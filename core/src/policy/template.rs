//! Path templates: literal segments, `{name}` and a last `{name...}`.

use serde_json::{Value, json};

use super::name::is_name;
use crate::config::{At, Problems, Read};

/// Deeper than any path of an API; it bounds the recursion of the matcher.
const MAX_SEGMENTS: usize = 64;
/// Longer than any template in use.
const MAX_TEMPLATE_BYTES: usize = 1024;

/// A path template as written, and its segments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<TemplateSegment>,
}

/// One segment of a template. The names of parameters matter to nobody yet.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum TemplateSegment {
    /// Exactly these bytes after decoding.
    Literal(String),
    /// One segment that is not empty.
    Parameter,
    /// All the rest: zero or more segments, empty ones too.
    Rest,
}

impl PathTemplate {
    pub(super) fn segments(&self) -> &[TemplateSegment] {
        &self.segments
    }

    /// The template as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("a template has at most {MAX_TEMPLATE_BYTES} bytes"));
        }
        let rest = text.strip_prefix('/').ok_or("a template starts with `/`")?;
        let mut segments = Vec::new();
        let mut names = Vec::new();
        for part in rest.split('/') {
            if matches!(segments.last(), Some(TemplateSegment::Rest)) {
                return Err("`{name...}` must be the last segment".to_owned());
            }
            if matches!(segments.last(), Some(TemplateSegment::Literal(last)) if last.is_empty()) {
                return Err("`//` never matches: paths with it are refused".to_owned());
            }
            segments.push(segment(part, &mut names)?);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(format!("a template has at most {MAX_SEGMENTS} segments"));
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

fn segment<'a>(part: &'a str, names: &mut Vec<&'a str>) -> Result<TemplateSegment, String> {
    let Some(inner) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
        return literal(part);
    };
    let name = inner.strip_suffix("...").unwrap_or(inner);
    if !is_name(name) {
        return Err(format!("`{part}` is no parameter: expected `{{name}}` or `{{name...}}`"));
    }
    if names.contains(&name) {
        return Err(format!("the parameter `{name}` stands twice"));
    }
    names.push(name);
    Ok(if name.len() == inner.len() { TemplateSegment::Parameter } else { TemplateSegment::Rest })
}

/// A literal is written decoded; what it could never match, or what other systems read as a
/// pattern, is refused: `/admin/*` as a literal would protect nothing.
fn literal(part: &str) -> Result<TemplateSegment, String> {
    if matches!(part, "." | "..") {
        return Err("`.` and `..` never match: paths with them are refused".to_owned());
    }
    if part.starts_with(':') || part.contains(['*', '{', '}']) {
        return Err(format!(
            "`{part}` is not understood: write `{{name}}` for one segment, `{{name...}}` for all the rest"
        ));
    }
    let odd = |letter: char| letter.is_control() || " %\\?#;".contains(letter);
    if part.contains(odd) {
        return Err(format!(
            "`{}`: a literal is written decoded, without space, control letters and any of % \\ ? # ;",
            part.escape_debug()
        ));
    }
    Ok(TemplateSegment::Literal(part.to_owned()))
}

impl Read for PathTemplate {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        Self::parse(&text).map_err(|message| at.problem(problems, message)).ok()
    }

    fn kind() -> String {
        "path template".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^/[^ %\\\\?#;*]*$", "maxLength": MAX_TEMPLATE_BYTES})
    }
}

#[cfg(test)]
mod tests {
    use super::{PathTemplate, TemplateSegment::*};

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let message = PathTemplate::parse(text).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn segments_are_literals_parameters_and_a_rest() {
        let literal = |text: &str| Literal(text.to_owned());
        let check = |text, expected: &[_]| {
            assert_eq!(PathTemplate::parse(text).unwrap().segments(), expected, "{text}");
        };
        check("/", &[literal("")]);
        check("/a", &[literal("a")]);
        check("/a/", &[literal("a"), literal("")]);
        check("/a/{id}/b:c", &[literal("a"), Parameter, literal("b:c")]);
        check("/{rest...}", &[Rest]);
        check("/caf\u{e9}/{r...}", &[literal("caf\u{e9}"), Rest]);
    }

    #[test]
    fn what_can_never_match_or_is_written_for_another_system_is_refused() {
        refused("a", "starts with");
        refused("/a//b", "`//`");
        refused("/a/../b", "`..`");
        refused("/a/*", "{name...}");
        refused("/users/:id", "{name}");
        refused("/a{id}", "{name}");
        refused("/{}", "no parameter");
        refused("/{a}/{a}", "twice");
        refused("/{a...}/b", "last segment");
        refused("/a%20b", "decoded");
        refused("/a?b", "decoded");
        refused("/a;b", "decoded");
        refused(&"/a".repeat(65), "64 segments");
        refused(&"/a".repeat(1000), "1024 bytes");
    }
}
