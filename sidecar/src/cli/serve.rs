//! `serve`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::signal::unix::{SignalKind, signal};
use wardgate_core::feed::bucket::BucketKey;
use wardgate_core::secret::Secret;

use super::Failure;
use crate::app::App;
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::config::{Loaded, StoreSettings};
use crate::desk::Desk;
use crate::feed::Feed;
use crate::http::{self, BodyBudget, Listener, Listeners};
use crate::limits::{AddressLimit, LeaseServer, Ledger};
use crate::live::Live;
use crate::log;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::store;

/// Threads that serve requests. The work is short and the disk decides; each further thread is
/// memory of its own.
const WORKER_THREADS: usize = 2;

pub(super) fn run(loaded: Loaded) -> Result<(), Failure> {
    log::start(&loaded.config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    runtime.block_on(serve(loaded))
}

async fn serve(loaded: Loaded) -> Result<(), Failure> {
    // Signals first: one that comes during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    // A limit on the size of files is a failed write, which is handled, and not the end: once heard,
    // this signal does not kill.
    let size = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let _heard = signal(size).map_err(Failure::failed)?;
    let (app, live) = open(&loaded).await?;
    let app = Arc::new(app);
    let listeners = listen(&loaded).await?;
    // Ends with the runtime.
    tokio::spawn(Arc::clone(&app.feed).follow(live));
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    http::serve(&app, listeners, stop).await;
    // Requests that outlived the deadline still hold the state; the audit log is synced with each
    // acknowledgement, so nothing acknowledged waits here.
    if let Some(app) = Arc::into_inner(app) {
        app.audit.close();
    }
    tracing::info!("stopped");
    Ok(())
}

async fn open(loaded: &Loaded) -> Result<(App, Arc<Live>), Failure> {
    let (clock, random) = (Clock::system(), Random::system());
    let config = &loaded.config;
    // The store comes first: it knows whether another sidecar runs.
    let store = store::open(&loaded.store).await.map_err(Failure::Store)?;
    let issuer = config.issuer.clone();
    let desk =
        Desk::open(Arc::clone(&store), &loaded.store_keys, issuer, clock.clone(), random).await;
    let desk = Arc::new(desk.map_err(Failure::failed)?);
    let metrics = Arc::new(Metrics::new());
    let ledger = match loaded.store {
        StoreSettings::Embedded(_) => Ledger::in_memory(),
        StoreSettings::Redis(_) => Ledger::in_store(Arc::clone(&store)),
    };
    let limit_secret = Secret::new(random.bytes::<32>().map_err(Failure::failed)?.to_vec());
    let per_minute = config.limits.requests_per_minute_per_address.0;
    let public_limit =
        AddressLimit::new("public", per_minute, &config.limits, clock.clone(), &limit_secret);
    let feed = Feed::new(store, &config.feed, clock.clone(), Arc::clone(&metrics));
    let policy = loaded.policy.as_object().cloned().unwrap_or_default();
    let live = Arc::new(Live { desk: Arc::clone(&desk), policy });
    let file = loaded.resolve(&config.audit.file);
    let audit =
        AuditSink::open(&file, config.audit.rotate_bytes.0, clock.clone(), Arc::clone(&metrics));
    let app = App {
        desk,
        feed: Arc::new(feed),
        audit: audit.map_err(Failure::failed)?,
        metrics,
        bucket_key: BucketKey::new(&loaded.feed_secret),
        feed_secret: loaded.feed_secret.clone(),
        window_seconds: config.internal.window_seconds.0,
        refused_logged_at: AtomicU64::new(0),
        revocation_keep_seconds: config.revocations.keep_seconds.0,
        bodies: BodyBudget::new(&config.limits),
        leases: LeaseServer::new(ledger, clock.clone(), config.internal.window_seconds.0),
        public_limit: Arc::new(public_limit),
        limits: config.limits.clone(),
        clock,
    };
    Ok((app, live))
}

async fn listen(loaded: &Loaded) -> Result<Listeners, Failure> {
    let config = &loaded.config;
    let public = Listener::tcp(config.listen.0).await.map_err(Failure::failed)?;
    let mode = config.internal.socket_mode.bits();
    let socket = Listener::unix(&loaded.resolve(&config.internal.socket), mode);
    let mut internal = vec![socket.map_err(Failure::failed)?];
    if let Some(address) = config.internal.address {
        internal.push(Listener::tcp(address.0).await.map_err(Failure::failed)?);
    }
    // Whoever can write to this socket can make keys and tokens.
    let admin = Listener::unix(&loaded.resolve(&config.admin.socket), 0o600);
    let admin = admin.map_err(Failure::failed)?;
    let places: Vec<String> = internal.iter().map(Listener::place).collect();
    tracing::info!(
        public = public.place(),
        internal = places.join(" "),
        admin = admin.place(),
        "listening"
    );
    Ok(Listeners { public, internal, admin })
}
