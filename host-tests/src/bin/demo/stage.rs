//! What the demo consists of: sidecar, upstream, Envoy.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use wardgate_host_tests::{
    envoy::{Envoy, repository, sidecar::Sidecar},
    upstream::Upstream,
};

pub(crate) const ENVOY: u16 = 10000;
const ADMIN: u16 = 9901;
const SIDECAR: u16 = 8180;
const UPSTREAM: u16 = 8182;

/// Everything that runs; it ends when dropped, Envoy first.
pub(crate) struct Stage {
    pub(crate) envoy: Envoy,
    pub(crate) sidecar: Sidecar,
    upstream: Upstream,
    directory: TempDir,
}

impl Stage {
    pub(crate) fn build() -> Result<Self> {
        for (port, what) in [
            (ENVOY, "Envoy"),
            (ADMIN, "Envoy's admin"),
            (SIDECAR, "the sidecar"),
            (UPSTREAM, "the upstream"),
        ] {
            check_free(port, what)?;
        }
        let directory = tempfile::Builder::new().prefix("wardgate-demo-").tempdir()?;
        let policy = repository().join("policies/demo.yaml");
        let policy = std::fs::read_to_string(&policy)
            .with_context(|| format!("cannot read {}", policy.display()))?;
        eprintln!("starting sidecar, upstream and Envoy");
        let mut sidecar =
            Sidecar::init(&directory.path().join("sidecar"), Some(local(SIDECAR)), Some(&policy))?;
        sidecar.start()?;
        let upstream = Upstream::start_at(local(UPSTREAM))?;
        let builder = sidecar.envoy(local(ENVOY), local(ADMIN), upstream.address())?;
        let envoy = builder.start()?;
        Ok(Self { envoy, sidecar, upstream, directory })
    }

    /// Where requests go.
    pub(crate) fn gate(&self) -> Result<SocketAddr> {
        self.envoy.listener("gate")
    }

    /// What to try by hand, now that everything runs.
    pub(crate) fn where_to_look(&self) -> String {
        let directory = self.directory.path().join("sidecar");
        let wardgate = wardgate_host_tests::envoy::sidecar::binary().unwrap_or_default();
        let config = directory.join("wardgate.yaml");
        let (wardgate, config) = (shortened(&wardgate), config.display());
        let (upstream, audit) = (self.upstream.address(), directory.join("data/audit.jsonl"));
        format!(
            "\nEverything runs until Ctrl-C. Try it:\n\
             \n  export WARDGATE_CONFIG={config}\
             \n  curl -i http://127.0.0.1:{ENVOY}/invoices/1\
             \n  curl -i -H \"authorization: Bearer $({wardgate} token issue --subject alice --role viewer)\" http://127.0.0.1:{ENVOY}/invoices/1\
             \n  {wardgate} apikey create --name mine --role editor\
             \n  {wardgate} audit tail\
             \n\n  Envoy's admin: http://127.0.0.1:{ADMIN}   sidecar: http://127.0.0.1:{SIDECAR}   upstream: http://{upstream}\
             \n  audit log: {}",
            audit.display()
        )
    }
}

/// Returns at Ctrl-C or when told to end.
pub(crate) fn wait_for_interrupt() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut end = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = end.recv() => {}
        }
        Ok(())
    })
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn check_free(port: u16, what: &str) -> Result<()> {
    if TcpListener::bind(local(port)).is_err() {
        bail!(
            "port {port}, meant for {what}, is taken: another program (or another demo) listens there; \
             `ss -ltnp 'sport = :{port}'` shows which"
        );
    }
    Ok(())
}

fn shortened(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}
