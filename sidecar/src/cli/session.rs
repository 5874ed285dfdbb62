//! `session list` and `session revoke`.

use std::sync::Arc;

use super::arguments::{Format, ListSessions, RevokeSessions, Session};
use super::office::{Admin, Office, reach, segment};
use super::{Failure, loaded, note, runtime, serve, show};
use crate::clock::Clock;
use crate::families::{EndCause, EndedSessions, Families, FamilyPage, FamilyView};
use crate::metrics::Metrics;
use crate::random::Random;

/// Families, near or far.
enum Place {
    Running(Admin),
    Direct(Box<Families>),
}

pub(super) fn run(session: Session) -> Result<(), Failure> {
    match session {
        Session::List(asked) => {
            let sessions = runtime()?.block_on(list(&asked))?;
            rows(&sessions, asked.output.output)
        }
        Session::Revoke(asked) => {
            let format = asked.output.output;
            let ended = runtime()?.block_on(revoke(asked))?;
            rows(&ended.sessions, format)
        }
    }
}

async fn place(config: &std::path::Path) -> Result<Place, Failure> {
    let loaded = loaded(config)?;
    match reach(&loaded).await? {
        Office::Running(admin) => Ok(Place::Running(admin)),
        Office::Direct(desk) => {
            let (time, metrics) = ((&Clock::system(), Random::system()), Arc::new(Metrics::new()));
            let families = serve::families(&loaded, &desk, time, &metrics).await?;
            Ok(Place::Direct(Box::new(families)))
        }
    }
}

async fn list(asked: &ListSessions) -> Result<Vec<FamilyView>, Failure> {
    let place = place(&asked.from.config).await?;
    if let Some(subject) = &asked.user {
        return match place {
            Place::Running(admin) => {
                let path = format!("/admin/v1/sessions?subject={}", segment(subject));
                Ok(admin.get::<FamilyPage>(&path).await?.sessions)
            }
            Place::Direct(families) => {
                let families = families.of_subject(subject).await.map_err(Failure::failed)?;
                Ok(families.into_iter().map(FamilyView::from).collect())
            }
        };
    }
    let (mut all, mut cursor): (Vec<FamilyView>, Option<String>) = (Vec::new(), None);
    loop {
        let page: FamilyPage = match &place {
            Place::Running(admin) => {
                let path = match &cursor {
                    None => "/admin/v1/sessions".to_owned(),
                    Some(cursor) => format!("/admin/v1/sessions?cursor={}", segment(cursor)),
                };
                admin.get(&path).await?
            }
            Place::Direct(families) => families.page(cursor).await.map_err(Failure::failed)?,
        };
        all.extend(page.sessions);
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    // A page may show a session twice.
    all.sort_by(|a, b| (b.used_at, &a.id).cmp(&(a.used_at, &b.id)));
    all.dedup_by(|a, b| a.id == b.id);
    Ok(all)
}

async fn revoke(asked: RevokeSessions) -> Result<EndedSessions, Failure> {
    let path = match (&asked.id, &asked.user) {
        (Some(id), _) => format!("/admin/v1/sessions/{}", segment(id)),
        (None, user) => {
            let user = user.as_deref().unwrap_or_default();
            format!("/admin/v1/sessions?subject={}", segment(user))
        }
    };
    let families = match place(&asked.from.config).await? {
        Place::Running(admin) => return admin.remove(&path).await,
        Place::Direct(families) => families,
    };
    let uid = rustix::process::getuid().as_raw();
    let (by, cause) = (format!("user {uid} of the machine"), EndCause::Administrator);
    let ended = match (asked.id, asked.user) {
        (Some(id), _) => {
            let ended = families.end(&id, cause, Some(&by)).await.map_err(Failure::failed)?;
            vec![ended.ok_or_else(|| Failure::Failed("there is no such session".to_owned()))?]
        }
        (None, user) => {
            let user = user.unwrap_or_default();
            families.end_all(&user, cause, Some(&by)).await.map_err(Failure::failed)?
        }
    };
    Ok(EndedSessions::from(ended))
}

fn rows(sessions: &[FamilyView], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return show::json(&sessions);
    }
    if sessions.is_empty() {
        note("no sessions");
    }
    let row = |view: &FamilyView| {
        vec![
            view.id.clone(),
            view.subject.clone(),
            view.client_id.clone(),
            show::time(view.begun_at),
            show::time(view.used_at),
            show::time(view.expires_at),
            view.refreshes.to_string(),
            if view.is_bound { "yes" } else { "no" }.to_owned(),
        ]
    };
    let heads = ["id", "user", "client", "begun", "used", "expires", "refreshes", "bound"];
    show::table(&heads, &sessions.iter().map(row).collect::<Vec<_>>())
}
