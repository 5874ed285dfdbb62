//! `apikey import`: looks through the whole file first and names every problem, then imports in
//! batches. A million lines need a page of memory, and 32 bytes a line to find what stands twice.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use wardgate_core::feed::Fingerprint;

use crate::cli::arguments::{Format, ImportApiKeys as Asked};
use crate::cli::input::{Columns, Problems, Progress, Records, in_batches};
use crate::cli::office::{Office, reach};
use crate::cli::{Failure, loaded, note, show};
use crate::desk::{ImportApiKey, ImportApiKeys, Imported, MAX_IMPORT_BATCH};

/// Where batches go.
const PATH: &str = "/admin/v1/api-key-imports";

/// The columns of CSV.
const COLUMNS: Columns = Columns {
    lists: &["roles", "scopes", "networks"],
    texts: &[
        "name",
        "sha256",
        "prefix",
        "environment",
        "issuer",
        "subject",
        "description",
        "last_four",
    ],
    numbers: &["expires_at"],
    truths: &[],
    required: &["name", "sha256"],
};

/// What became of the file.
#[derive(Debug, Default, Serialize)]
struct Summary {
    imported: u64,
    unchanged: u64,
    problems: u64,
}

pub(super) async fn run(asked: &Asked) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let total = look_through(asked)?;
    if asked.check {
        note(&format!("{total} keys, no problem; nothing was imported"));
        return Ok(());
    }
    let office = reach(&loaded).await?;
    note(
        "make sure that each secret has at least 128 random bits: who reads the store can try out \
         what is shorter",
    );
    let (summary, problems) = import(asked, &office, total).await?;
    if asked.output.output == Format::Json {
        show::json(&summary)?;
    } else {
        show::pairs(&[
            ("imported", summary.imported.to_string()),
            ("unchanged", summary.unchanged.to_string()),
            ("problems", summary.problems.to_string()),
        ])?;
    }
    if problems.count == 0 { Ok(()) } else { Err(problems.failure("these keys were not imported")) }
}

/// The key of a line; what keys begin with is said for all that do not say it.
fn key(mut record: Value, asked: &Asked) -> Result<ImportApiKey, String> {
    if let (Some(members), Some(prefix)) = (record.as_object_mut(), &asked.prefix) {
        members.entry("prefix").or_insert_with(|| prefix.as_str().into());
    }
    serde_json::from_value(record).map_err(|error| error.to_string())
}

/// Checks every line. Nothing is imported from a file with a problem.
fn look_through(asked: &Asked) -> Result<u64, Failure> {
    let mut problems = Problems::default();
    let (mut keys, mut names) = (HashSet::new(), HashSet::new());
    let mut total = 0_u64;
    let mut records = Records::open(&asked.file, &COLUMNS)?;
    while let Some((line, read)) = records.next()? {
        total = total.saturating_add(1);
        let checked = read.and_then(|record| {
            let key = key(record, asked)?;
            let sha256 = key.check().map_err(|error| error.to_string())?;
            Ok((Fingerprint::of_imported_api_key(&sha256), Fingerprint::of_api_key(&key.name)))
        });
        match checked {
            Err(problem) => problems.add(line, &problem),
            Ok((key, name)) => {
                if !keys.insert(key) {
                    problems.add(line, "the same `sha256` stands in an earlier line");
                }
                if !names.insert(name) {
                    problems.add(line, "the same `name` stands in an earlier line");
                }
            }
        }
    }
    if problems.count > 0 {
        return Err(problems.failure("nothing was imported"));
    }
    Ok(total)
}

async fn import(
    asked: &Asked,
    office: &Office,
    total: u64,
) -> Result<(Summary, Problems), Failure> {
    let (mut summary, mut problems) = (Summary::default(), Problems::default());
    let records = Records::open(&asked.file, &COLUMNS)?;
    let (mut done, mut progress) = (0_u64, Progress::new());
    // Checked before; a file that changed meanwhile is told of.
    let sent = in_batches(
        records,
        MAX_IMPORT_BATCH,
        &mut problems,
        |record| key(record, asked),
        async |api_keys: Vec<ImportApiKey>, lines: &[u64], problems: &mut Problems| {
            let size = u64::try_from(api_keys.len()).unwrap_or(u64::MAX);
            let imported = send(api_keys, lines, office, problems).await?;
            summary.imported = summary.imported.saturating_add(imported.imported);
            summary.unchanged = summary.unchanged.saturating_add(imported.unchanged);
            done = done.saturating_add(size);
            progress.tell(|| format!("{done} of {total}"));
            Ok(())
        },
    );
    sent.await?;
    summary.problems = problems.count;
    Ok((summary, problems))
}

/// Sends a batch, if there is anything in it.
async fn send(
    api_keys: Vec<ImportApiKey>,
    lines: &[u64],
    office: &Office,
    problems: &mut Problems,
) -> Result<Imported, Failure> {
    if api_keys.is_empty() {
        return Ok(Imported::default());
    }
    let batch = ImportApiKeys { api_keys };
    let imported: Imported = match office {
        Office::Running(admin) => admin.post(PATH, &batch).await?,
        Office::Direct(desk) => desk.import_api_keys(batch).await.map_err(Failure::failed)?,
    };
    for problem in &imported.problems {
        problems.add(lines.get(problem.index).copied().unwrap_or(0), &problem.problem);
    }
    Ok(imported)
}
