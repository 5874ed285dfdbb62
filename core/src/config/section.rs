//! The `section!` macro: one declaration of a configuration section.

use serde_json::{Map, Value, json};

use super::read::Read;

/// One key of a section, as the reference shows it.
#[derive(Clone, Debug)]
pub struct FieldDoc {
    /// The key.
    pub name: &'static str,
    /// The type, in words.
    pub kind: String,
    /// `required`, `optional` or the default as JSON.
    pub default: String,
    /// The doc comment.
    pub text: String,
}

/// One section, as the reference shows it.
#[derive(Clone, Debug)]
pub struct SectionDoc {
    /// The name of the section.
    pub name: &'static str,
    /// The doc comment.
    pub text: String,
    /// The keys in order of declaration.
    pub fields: Vec<FieldDoc>,
}

/// Joins the lines of a doc comment.
#[doc(hidden)]
pub fn join_doc(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Declares a configuration section, or a choice of words.
///
/// A section is a struct; after each type stands `required`, `optional` (the type is an `Option`) or
/// `default(value)` with an expression of the type; `default(value, "as JSON")` says in the
/// reference and schema what it is. Keys that are not declared are problems.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $name:ident = $title:literal {
            $( $(#[doc = $field_doc:literal])+ $field_vis:vis $field:ident $(as $key:literal)? : $kind:ty, $mode:ident $(($default:expr, $($shown:tt)+))? ; )*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name { $( $(#[doc = $field_doc])+ $field_vis $field : $kind, )* }

        impl $crate::config::Read for $name {
            fn read(
                value: &serde_json::Value,
                at: &$crate::config::At<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                const KEYS: &[&str] = &[$( $crate::section!(@key $field $($key)?) ),*];
                let Some(members) = value.as_object() else {
                    at.problem(problems, concat!("expected an object with the keys of `", $title, "`"));
                    return None;
                };
                for key in members.keys() {
                    if !KEYS.contains(&key.as_str()) {
                        at.name(key).problem(problems, format!("unknown key; known here: {}", KEYS.join(", ")));
                    }
                }
                $(
                    let $field = $crate::section!(
                        @read members, at, problems, $crate::section!(@key $field $($key)?),
                        $kind, $mode $(($default))?
                    );
                )*
                Some(Self { $( $field: $field?, )* })
            }

            fn kind() -> String {
                concat!("`", $title, "`").to_owned()
            }

            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                let mut required: Vec<serde_json::Value> = Vec::new();
                $(
                    let key = $crate::section!(@key $field $($key)?);
                    let mut schema = $crate::section!(@schema $kind, $mode);
                    if let Some(object) = schema.as_object_mut() {
                        object.insert("description".to_owned(), $crate::config::section::join_doc(&[$($field_doc),+]).into());
                        $( object.insert("default".to_owned(), serde_json::json!($($shown)+)); )?
                    }
                    if stringify!($mode) == "required" {
                        required.push(key.into());
                    }
                    properties.insert(key.to_owned(), schema);
                )*
                serde_json::json!({
                    "type": "object",
                    "description": $crate::config::section::join_doc(&[$($doc),+]),
                    "additionalProperties": false,
                    "required": required,
                    "properties": properties,
                })
            }

            fn sections(found: &mut Vec<$crate::config::SectionDoc>) {
                if found.iter().any(|section| section.name == $title) {
                    return;
                }
                let fields = vec![$(
                    $crate::config::FieldDoc {
                        name: $crate::section!(@key $field $($key)?),
                        kind: $crate::section!(@kind $kind, $mode),
                        default: $crate::section!(@shown $mode $($($shown)+)?),
                        text: $crate::config::section::join_doc(&[$($field_doc),+]),
                    },
                )*];
                found.push($crate::config::SectionDoc {
                    name: $title,
                    text: $crate::config::section::join_doc(&[$($doc),+]),
                    fields,
                });
                $( $crate::section!(@sections found, $kind, $mode); )*
            }
        }
    };

    (
        $(#[doc = $doc:literal])+
        $vis:vis enum $name:ident = $title:literal {
            $( $(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        $vis enum $name { $( $(#[doc = $variant_doc])+ $variant, )+ }

        impl $name {
            /// All choices, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for this choice.
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            /// The choice that `word` stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )+ _ => None }
            }
        }

        impl $crate::config::Read for $name {
            fn read(
                value: &serde_json::Value,
                at: &$crate::config::At<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let read = value.as_str().and_then(Self::from_word);
                if read.is_none() {
                    at.problem(problems, format!("expected one of {}", [$($word),+].join(", ")));
                }
                read
            }

            fn kind() -> String {
                [$(concat!("`", $word, "`")),+].join(" or ")
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({"enum": [$($word),+]})
            }
        }
    };

    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };

    (@read $members:ident, $at:ident, $problems:ident, $key:expr, $kind:ty, required) => {
        match $members.get($key) {
            Some(value) => <$kind as $crate::config::Read>::read(value, &$at.name($key), $problems),
            None => {
                $at.name($key).problem($problems, "required key is missing");
                None
            }
        }
    };
    (@read $members:ident, $at:ident, $problems:ident, $key:expr, $kind:ty, optional) => {
        match $members.get($key) {
            Some(value) => $crate::config::section::read_optional::<$kind>(value, &$at.name($key), $problems),
            None => Some(None),
        }
    };
    (@read $members:ident, $at:ident, $problems:ident, $key:expr, $kind:ty, default($default:expr)) => {
        match $members.get($key) {
            Some(value) => <$kind as $crate::config::Read>::read(value, &$at.name($key), $problems),
            None => Some($default),
        }
    };

    (@schema $kind:ty, optional) => { $crate::config::section::optional_schema::<$kind>() };
    (@schema $kind:ty, $mode:ident) => { <$kind as $crate::config::Read>::schema() };
    (@kind $kind:ty, optional) => { $crate::config::section::optional_kind::<$kind>() };
    (@kind $kind:ty, $mode:ident) => { <$kind as $crate::config::Read>::kind() };
    (@sections $found:ident, $kind:ty, optional) => { $crate::config::section::optional_sections::<$kind>($found) };
    (@sections $found:ident, $kind:ty, $mode:ident) => { <$kind as $crate::config::Read>::sections($found) };
    (@shown required) => { "required".to_owned() };
    (@shown optional) => { "optional".to_owned() };
    (@shown default $($shown:tt)+) => { format!("`{}`", serde_json::json!($($shown)+)) };
}

/// The inner type of an optional key.
#[doc(hidden)]
pub trait Optional {
    /// What stands there when the key is present.
    type Inner: Read;
    /// Makes the optional of a present key.
    fn present(inner: Self::Inner) -> Self;
}

impl<T: Read> Optional for Option<T> {
    type Inner = T;

    fn present(inner: T) -> Self {
        Some(inner)
    }
}

#[doc(hidden)]
pub fn read_optional<T: Optional>(
    value: &Value,
    at: &super::At<'_>,
    problems: &mut super::Problems,
) -> Option<T> {
    T::Inner::read(value, at, problems).map(T::present)
}

#[doc(hidden)]
pub fn optional_schema<T: Optional>() -> Value {
    T::Inner::schema()
}

#[doc(hidden)]
pub fn optional_kind<T: Optional>() -> String {
    T::Inner::kind()
}

#[doc(hidden)]
pub fn optional_sections<T: Optional>(found: &mut Vec<SectionDoc>) {
    T::Inner::sections(found);
}

/// The JSON Schema document of a section.
pub fn schema_of<T: Read>(title: &str) -> Value {
    let mut document = Map::new();
    document.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.insert("title".to_owned(), json!(title));
    if let Value::Object(schema) = T::schema() {
        document.extend(schema);
    }
    Value::Object(document)
}

/// The reference of a section and everything in it, as Markdown: one heading and table each.
pub fn reference<T: Read>() -> String {
    let mut sections = Vec::new();
    T::sections(&mut sections);
    let mut page = String::new();
    for section in sections {
        page.push_str(&format!("### `{}`\n\n{}\n\n", section.name, section.text));
        page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        for field in section.fields {
            page.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                field.name,
                field.kind.replace('|', "\\|"),
                field.default,
                field.text.replace('|', "\\|"),
            ));
        }
        page.push('\n');
    }
    page
}
