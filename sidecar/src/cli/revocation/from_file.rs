//! `token revoke --from`: a list of compromised tokens, revoked in batches in one pass. Good lines
//! are not held up by bad ones: every moment that they work counts. A million lines need the memory
//! of a batch.

use std::path::Path;

use serde::Serialize;

use crate::cli::arguments::{Format, RevokeToken};
use crate::cli::input::{Batch, Problems, Progress, TextLines};
use crate::cli::office::{Office, reach};
use crate::cli::{Failure, loaded, note, show};
use crate::config::Loaded;
use crate::desk::{
    BatchRevocation, MAX_REVOKE_BATCH, RevokeBatch, RevokedBatch, revocation_of_line,
};

const PATH: &str = "/admin/v1/revocations/batch";
/// Longest line; the longest token that any gate takes has 64 KiB.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Longest revocation that a line comes to: an issuer and a name of 2 KiB each before they are JSON.
const MAX_ITEM_BYTES: usize = 32 * 1024;

/// What became of the list.
#[derive(Debug, Default, Serialize)]
struct Summary {
    revoked: u64,
    unchanged: u64,
    problems: u64,
}

/// Where revocations go; nowhere when the list is only checked.
struct Sink<'a> {
    office: Option<Office>,
    loaded: &'a Loaded,
    reason: Option<String>,
    by: Option<String>,
}

pub(super) async fn run(asked: RevokeToken, file: &Path) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let office = if asked.check { None } else { Some(reach(&loaded).await?) };
    let sink = Sink {
        office,
        loaded: &loaded,
        reason: asked.reason.clone(),
        by: Some(super::whoever_asks()),
    };
    let mut lines = if file == Path::new("-") {
        TextLines::stdin(MAX_LINE_BYTES)
    } else {
        TextLines::open(file, MAX_LINE_BYTES)?
    };
    let (summary, problems) = revoke(&mut lines, &asked, &sink).await?;
    if asked.check {
        if problems.count == 0 {
            note(&format!("{} lines, no problem; nothing was revoked", lines.line()));
            return Ok(());
        }
        return Err(problems.failure("nothing was revoked"));
    }
    if asked.output.output == Format::Json {
        show::json(&summary)?;
    } else {
        show::pairs(&[
            ("revoked", summary.revoked.to_string()),
            ("unchanged", summary.unchanged.to_string()),
            ("problems", summary.problems.to_string()),
        ])?;
    }
    if problems.count == 0 {
        return Ok(());
    }
    Err(problems.failure("these lines revoked nothing; all others are revoked"))
}

async fn revoke(
    lines: &mut TextLines,
    asked: &RevokeToken,
    sink: &Sink<'_>,
) -> Result<(Summary, Problems), Failure> {
    let (mut summary, mut problems) = (Summary::default(), Problems::default());
    let mut batch = Batch::new(MAX_REVOKE_BATCH, MAX_ITEM_BYTES);
    let mut progress = Progress::new();
    loop {
        let next = lines.next()?;
        let ended = next.is_none();
        match next {
            None => {}
            Some(Ok(text)) if text.trim().is_empty() => {}
            Some(Ok(text)) => {
                match revocation_of_line(&text, asked.issuer.as_deref(), asked.until) {
                    Ok(revocation) => batch.add(lines.line(), revocation),
                    Err(error) => problems.add(lines.line(), &error.to_string()),
                }
            }
            Some(Err(problem)) => problems.add(lines.line(), &problem),
        }
        if !batch.is_full() && !ended {
            continue;
        }
        let (items, numbers) = batch.take();
        let done = sink.send(items).await.map_err(|failure| broken_off(&failure, &numbers))?;
        for problem in &done.problems {
            let line = numbers.get(problem.index).copied().unwrap_or(0);
            problems.add(line, &problem.problem);
        }
        summary.revoked = summary.revoked.saturating_add(done.revoked);
        summary.unchanged = summary.unchanged.saturating_add(done.unchanged);
        progress.tell(|| {
            let percent = lines.percent().map_or(String::new(), |it| format!(", {it} %"));
            format!("{} lines{percent}", lines.line())
        });
        if ended {
            summary.problems = problems.count;
            return Ok((summary, problems));
        }
    }
}

fn broken_off(failure: &Failure, numbers: &[u64]) -> Failure {
    let first = numbers.first().copied().unwrap_or(0);
    Failure::Failed(format!(
        "{}\nthe lines before {first} are revoked; run the command again for the rest: what is \
         revoked already is left as it is",
        failure.to_string().trim_start_matches("error: ")
    ))
}

impl Sink<'_> {
    async fn send(&self, revocations: Vec<BatchRevocation>) -> Result<RevokedBatch, Failure> {
        let Some(office) = &self.office else { return Ok(RevokedBatch::default()) };
        if revocations.is_empty() {
            return Ok(RevokedBatch::default());
        }
        let batch = RevokeBatch { revocations, reason: self.reason.clone(), by: self.by.clone() };
        match office {
            Office::Running(admin) => admin.post(PATH, &batch).await,
            Office::Direct(desk) => {
                let keep = self.loaded.config.revocations.keep_seconds.0;
                desk.revoke_batch(batch, keep).await.map_err(Failure::failed)
            }
        }
    }
}
