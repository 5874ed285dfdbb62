//! `user import`: looks through the whole file first, by itself and with the store, and names every
//! problem; only then it imports, in batches. It needs 32 bytes of memory a line to find what stands
//! twice.

use std::collections::HashSet;

use serde::Serialize;
use wardgate_core::feed::Fingerprint;

use super::{Register, register};
use crate::accounts::{ImportUser, ImportUsers, ImportedUsers, MAX_IMPORT_BATCH, UserName};
use crate::cli::arguments::{Format, ImportUsers as Asked};
use crate::cli::input::{Columns, Problems, Progress, Records, in_batches};
use crate::cli::revocation::whoever_asks;
use crate::cli::{Failure, loaded, note, show};

/// Where batches go.
const PATH: &str = "/admin/v1/user-imports";
/// The columns of CSV.
const COLUMNS: Columns = Columns {
    lists: &["roles", "groups"],
    texts: &["name", "password_hash", "id", "email"],
    numbers: &[],
    truths: &["disabled"],
    required: &["name"],
};

/// What became of the file.
#[derive(Debug, Default, Serialize)]
struct Summary {
    imported: u64,
    unchanged: u64,
}

pub(super) async fn run(asked: &Asked) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let total = look_through(asked)?;
    let register = register(&loaded).await?;
    // First with the store: nothing is imported from a file with a problem.
    let looked = pass(asked, &register, total, true).await?;
    if asked.check {
        let Summary { imported, unchanged } = looked;
        note(&format!("no problem: {imported} to import, {unchanged} there; nothing was imported"));
        return Ok(());
    }
    let summary = pass(asked, &register, total, false).await?;
    if asked.output.output == Format::Json {
        return show::json(&summary);
    }
    show::pairs(&[
        ("imported", summary.imported.to_string()),
        ("unchanged", summary.unchanged.to_string()),
    ])
}

/// The user of a line. The error never shows a value: the hash of a password may stand where
/// something else belongs.
fn user(record: serde_json::Value) -> Result<ImportUser, String> {
    serde_json::from_value(record).map_err(|error| {
        let text = error.to_string();
        // What serde quotes of the file stands behind `invalid`: `invalid type: string "…"`.
        let quoted = text.starts_with("invalid");
        if quoted { "a member has the wrong type".to_owned() } else { text }
    })
}

/// Checks every line by itself, and against the others.
fn look_through(asked: &Asked) -> Result<u64, Failure> {
    let mut problems = Problems::default();
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    let mut total = 0_u64;
    let mut records = Records::open(&asked.file, &COLUMNS)?;
    while let Some((line, read)) = records.next()? {
        total = total.saturating_add(1);
        let user = match read.and_then(user) {
            Ok(user) => user,
            Err(problem) => {
                problems.add(line, &problem);
                continue;
            }
        };
        for problem in user.problems() {
            problems.add(line, &problem);
        }
        // Any hash of 128 bits will do to find what stands twice.
        let name = UserName::parse(&user.name).map(|name| Fingerprint::of_api_key(name.folded()));
        if name.is_ok_and(|name| !names.insert(name)) {
            problems.add(line, "the same `name` stands in an earlier line");
        }
        if user.id.is_some_and(|id| !ids.insert(Fingerprint::of_api_key(&id))) {
            problems.add(line, "the same `id` stands in an earlier line");
        }
    }
    if problems.count > 0 {
        return Err(problems.failure("nothing was imported"));
    }
    Ok(total)
}

/// Sends the whole file, to be looked at or to be imported.
async fn pass(
    asked: &Asked,
    register: &Register,
    total: u64,
    check: bool,
) -> Result<Summary, Failure> {
    let (mut summary, mut problems) = (Summary::default(), Problems::default());
    let records = Records::open(&asked.file, &COLUMNS)?;
    let (mut done, mut progress) = (0_u64, Progress::new());
    let what = if check { "looked at" } else { "imported" };
    // Checked before; a file that changed meanwhile is told of.
    let sent = in_batches(
        records,
        MAX_IMPORT_BATCH,
        &mut problems,
        user,
        async |users: Vec<ImportUser>, lines: &[u64], problems: &mut Problems| {
            done = done.saturating_add(u64::try_from(users.len()).unwrap_or(u64::MAX));
            let imported = send(users, lines, check, register, problems).await?;
            summary.imported = summary.imported.saturating_add(imported.imported);
            summary.unchanged = summary.unchanged.saturating_add(imported.unchanged);
            progress.tell(|| format!("{what} {done} of {total}"));
            Ok(())
        },
    );
    sent.await?;
    drop(progress);
    if problems.count == 0 {
        return Ok(summary);
    }
    let Summary { imported, .. } = summary;
    let what = if check {
        "nothing was imported".to_owned()
    } else {
        format!("{imported} users were imported, and none of the batches with these; repeat it")
    };
    Err(problems.failure(&what))
}

/// Sends a batch, if there is anything in it.
async fn send(
    users: Vec<ImportUser>,
    lines: &[u64],
    check: bool,
    register: &Register,
    problems: &mut Problems,
) -> Result<ImportedUsers, Failure> {
    if users.is_empty() {
        return Ok(ImportedUsers::default());
    }
    let batch = ImportUsers { users, check, by: Some(whoever_asks()) };
    let imported: ImportedUsers = match register {
        Register::Running(admin) => admin.post(PATH, &batch).await?,
        Register::Direct(accounts) => accounts.import(batch).await.map_err(Failure::failed)?,
    };
    for problem in &imported.problems {
        problems.add(lines.get(problem.index).copied().unwrap_or(0), &problem.problem);
    }
    Ok(imported)
}
