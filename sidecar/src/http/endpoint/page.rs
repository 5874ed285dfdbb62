//! The table of who may ask what, for readers.

use super::{Endpoint, ListenerName, OtherOrigins, Requirement};

/// The page with all endpoints and their requirements, as Markdown.
pub(in crate::http) fn authorization(endpoints: &[Endpoint]) -> String {
    let mut page = String::from(
        "# Who may ask what\n\n\
         <!-- Generated from the endpoints by `make generate`; changes here are lost. -->\n\n\
         Every endpoint of the sidecar, and what whoever asks must show.\n\
         Routes, this page and the OpenAPI document are made of the same declarations; none can be \
         made without a requirement.\n\n\
         ## Requirements\n\n\
         | requirement | who meets it |\n| --- | --- |\n",
    );
    let is_stated = |it: &Requirement| endpoints.iter().any(|e| e.declaration.requirement == *it);
    for requirement in Requirement::ALL.into_iter().filter(is_stated) {
        page.push_str(&format!("| `{}` | {} |\n", requirement.word(), requirement.description()));
    }
    for listener in ListenerName::ALL {
        page.push_str(&format!(
            "\n## The {} listener\n\n{}\n\n\
             | method | path | requirement | what it does |\n| --- | --- | --- | --- |\n",
            listener.word(),
            listener.description().replace(". ", ".\n"),
        ));
        page.extend(rows(endpoints, listener));
    }
    page.push_str(
        "\n## Browser applications of other origins\n\n\
         What scripts of other origins than the sidecar's may ask and read (CORS); it is required of \
         them what is required of anyone.\n\
         Browsers let them read no other answer.\n\n\
         | method | path | origins |\n| --- | --- | --- |\n",
    );
    page.extend(scripts(endpoints));
    page
}

/// The endpoints that scripts of other origins may ask.
fn scripts(endpoints: &[Endpoint]) -> Vec<String> {
    let declarations = endpoints.iter().map(|endpoint| &endpoint.declaration);
    let mut asked: Vec<_> =
        declarations.filter(|it| it.other_origins != OtherOrigins::None).collect();
    asked.sort_by_key(|it| (it.path, it.method));
    let row = |it: &super::Declaration| {
        let (method, origins) = (it.method.word(), it.other_origins.description());
        format!("| {method} | `{}` | {origins} |\n", it.path)
    };
    asked.into_iter().map(row).collect()
}

fn rows(endpoints: &[Endpoint], listener: ListenerName) -> Vec<String> {
    let declarations = endpoints.iter().map(|endpoint| &endpoint.declaration);
    let mut served: Vec<_> = declarations.filter(|it| it.is_served_by(listener)).collect();
    served.sort_by_key(|it| (it.path, it.method));
    let row = |it: &super::Declaration| {
        let requirement = if it.requirement.listener() == listener {
            it.requirement
        } else {
            Requirement::AdminSocket
        };
        let (method, requirement) = (it.method.word(), requirement.word());
        format!("| {method} | `{}` | `{requirement}` | {} |\n", it.path, it.summary)
    };
    served.into_iter().map(row).collect()
}
