//! `keys list` and `keys rotate`.

use super::arguments::{Format, Keys, ListKeys, RotateKeys};
use super::office::{Office, reach};
use super::{Failure, loaded, note, revocation, runtime, show};
use crate::desk::{RotateSigningKeys, RotatedSigningKeys, SigningKeyList, SigningKeyView};

const PATH: &str = "/admin/v1/keys";

pub(super) fn run(keys: &Keys) -> Result<(), Failure> {
    match keys {
        Keys::List(asked) => runtime()?.block_on(list(asked)),
        Keys::Rotate(asked) => runtime()?.block_on(rotate(asked)),
    }
}

async fn list(asked: &ListKeys) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let list: SigningKeyList = match reach(&loaded).await? {
        Office::Running(admin) => admin.get(PATH).await?,
        Office::Direct(desk) => desk.signing_key_list(),
    };
    if asked.output.output == Format::Json {
        return show::json(&list);
    }
    rows(list.keys.iter())
}

async fn rotate(asked: &RotateKeys) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let wanted = RotateSigningKeys {
        algorithm: asked.algorithm.clone(),
        at_once: asked.at_once,
        revoke_old: asked.revoke_old,
        reason: asked.reason.clone(),
        by: Some(revocation::whoever_asks()),
    };
    let rotated: RotatedSigningKeys = match reach(&loaded).await? {
        Office::Running(admin) => admin.post(PATH, &wanted).await?,
        Office::Direct(desk) => desk.rotate_signing_keys(&wanted).await.map_err(Failure::failed)?,
    };
    for waiting in &rotated.waiting {
        let (algorithm, from) = (&waiting.algorithm, show::time(waiting.signs_from));
        note(&format!("{algorithm}: no key was made, one signs already from {from} on"));
    }
    if !rotated.revoked.is_empty() {
        note(&format!("all tokens of {} older keys are revoked", rotated.revoked.len()));
    }
    if asked.output.output == Format::Json {
        return show::json(&rotated);
    }
    rows(rotated.made.iter().chain(&rotated.waiting))
}

fn rows<'a>(keys: impl Iterator<Item = &'a SigningKeyView>) -> Result<(), Failure> {
    let or_none = |at: Option<u64>| at.map_or("-".to_owned(), show::time);
    let row = |key: &SigningKeyView| {
        vec![
            key.kid.clone(),
            key.algorithm.clone(),
            key.state.word().to_owned(),
            show::time(key.created_at),
            show::time(key.signs_from),
            or_none(key.retires_at),
            or_none(key.gone_at),
        ]
    };
    let heads = ["kid", "algorithm", "state", "created", "signs from", "retires", "gone"];
    show::table(&heads, &keys.map(row).collect::<Vec<_>>())
}
