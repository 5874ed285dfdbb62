//! `init`: a configuration that works, with its own secrets.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::arguments::Init;
use super::{Failure, note};
use crate::config::load;
use crate::random::Random;
use crate::seal::StoreKeys;

const CONFIG: &str = include_str!("init/wardgate.yaml");
const POLICY: &str = include_str!("init/policy.yaml");

pub(super) fn run(init: &Init) -> Result<(), Failure> {
    let directory = init.dir.as_path();
    let feed_secret = Random::system().text::<32>().map_err(Failure::failed)?;
    let store_keys = StoreKeys::generate(Random::system()).map_err(Failure::failed)?;
    let (issuer, audience) = (quoted(&init.issuer.0), quoted(&init.audience));
    let fill = |text: &str| {
        let text = text.replace("@ISSUER_PATH@", init.issuer.path());
        text.replace("@ISSUER@", &issuer).replace("@AUDIENCE@", &audience)
    };
    let files = [
        ("wardgate.yaml", fill(CONFIG), 0o644),
        ("policy.yaml", fill(POLICY), 0o644),
        ("secrets/feed.secret", format!("{feed_secret}\n"), 0o600),
        ("secrets/store.keys", format!("{}\n", *store_keys), 0o600),
    ];
    // All are looked at before the first is written: nothing, or everything.
    for (name, _, _) in &files {
        let path = directory.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            let message = format!("{} exists; nothing was written", path.display());
            return Err(Failure::Failed(message));
        }
    }
    fs::create_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    for name in ["secrets", "data", "run"] {
        let path = directory.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| cannot(&path, &error))?;
    }
    ours_alone(&directory.join("secrets"))?;
    for (name, text, mode) in files {
        write(&directory.join(name), &text, mode)?;
    }
    let config = directory.join("wardgate.yaml");
    load(&config, None).map_err(Failure::Configuration)?;
    note(&format!(
        "written to {}; next: wardgate serve --config {}",
        directory.display(),
        config.display()
    ));
    Ok(())
}

/// Whoever owns the directory of the secrets, or may write to it, can read and replace them.
fn ours_alone(path: &Path) -> Result<(), Failure> {
    let found = fs::symlink_metadata(path).map_err(|error| cannot(path, &error))?;
    let (owner, us) = (found.uid(), rustix::process::geteuid().as_raw());
    let message = if !found.is_dir() {
        "is no directory; nothing was written".to_owned()
    } else if owner != us {
        format!("belongs to user {owner}, not to user {us}; nothing was written")
    } else if found.mode() & 0o022 != 0 {
        "can be written by others; nothing was written".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::Failed(format!("{} {message}", path.display())))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

/// A string of YAML in double quotes; they are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
