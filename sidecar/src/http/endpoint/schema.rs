//! Schemas (JSON Schema 2020-12, as OpenAPI 3.1 has them) from the types that are read and written.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Where the document keeps schemas that have a name.
const PLACE: &str = "/components/schemas";

/// Makes the schemas of answers, as they are written: what always stands there is required.
pub(super) fn of_answers() -> SchemaGenerator {
    settings().for_serialize().into_generator()
}

/// Makes the schemas of what is asked, as it is read. They stand where they are used: a type that is
/// read and written has two schemas, and a name only one.
pub(super) fn of_questions() -> SchemaGenerator {
    let settings = settings().for_deserialize();
    settings.with(|settings| settings.inline_subschemas = true).into_generator()
}

fn settings() -> SchemaSettings {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = PLACE.into();
        settings.meta_schema = None;
    });
    settings.with_transform(RecursiveTransform(complete))
}

/// The schema of `T` by this generator. What has a name there comes by its definitions.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<T>();
    // The generator does it to definitions only.
    RecursiveTransform(complete).transform(&mut schema);
    schema
}

/// The schema of a change of `T` (RFC 7396): any member may be missing, and `null` takes it away.
pub(super) fn merge_patch<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = of::<T>(generator);
    schema.remove("required");
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for member in members.into_iter().flat_map(Map::values_mut) {
        let of_member = without_null(member.take());
        *member = json!({"anyOf": [of_member, {"type": "null"}]});
    }
    schema
}

/// Says what the generator leaves out: the bounds of whole numbers, and what an address is. Links of
/// the documentation are for readers of the code.
fn complete(schema: &mut Schema) {
    let Some(members) = schema.as_object_mut() else { return };
    let format = members.get("format").and_then(Value::as_str);
    let greatest = match format {
        Some("uint8") => Some(u64::from(u8::MAX)),
        Some("uint16") => Some(u64::from(u16::MAX)),
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint64" | "uint") => Some(u64::MAX),
        Some(_) | None => None,
    };
    if let Some(greatest) = greatest {
        members.remove("format");
        members.entry("maximum").or_insert(greatest.into());
    }
    // A format of the generator's own.
    if members.get("format").is_some_and(|format| format == "ip") {
        members.remove("format");
        members.insert("anyOf".to_owned(), json!([{"format": "ipv4"}, {"format": "ipv6"}]));
    }
    if let Some(Value::String(text)) = members.get_mut("description") {
        *text = without_links(text);
    }
}

/// `` [`super::Name`] `` becomes `` `Name` ``, and line breaks become spaces.
fn without_links(text: &str) -> String {
    let mut result = String::new();
    for (index, piece) in text.replace('\n', " ").split("[`").enumerate() {
        let linked = (index > 0).then(|| piece.split_once("`]")).flatten();
        match linked {
            Some((name, rest)) => {
                let name = name.rsplit("::").next().unwrap_or(name);
                result.push_str(&format!("`{name}`{rest}"));
            }
            None if index > 0 => result.push_str(&format!("[`{piece}")),
            None => result.push_str(piece),
        }
    }
    result
}

/// The members of an object, each with its name, its schema, and whether it must be there. In a query
/// there is no `null`: what is not given is missing.
pub(super) fn members(schema: &Schema) -> Vec<(String, Value, bool)> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &String| required.is_some_and(|it| it.iter().any(|it| it.as_str() == Some(name)));
    let member = |(name, schema): (&String, &Value)| {
        (name.clone(), without_null(schema.clone()), is_required(name))
    };
    properties.iter().map(member).collect()
}

fn without_null(mut schema: Value) -> Value {
    let Some(members) = schema.as_object_mut() else { return schema };
    if members.get("default") == Some(&Value::Null) {
        members.remove("default");
    }
    if let Some(Value::Array(kinds)) = members.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [one] = kinds.as_slice() {
            let one = one.clone();
            members.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(one)] = choices.as_slice() {
            let mut one = one.clone();
            members.remove("anyOf");
            // What is said of the parameter itself goes before what is said of its type.
            one.extend(members.clone());
            *members = one;
        }
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    schema
}
