//! `serve`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use wardgate_core::feed::bucket::BucketKey;
use wardgate_core::secret::Secret;

use super::Failure;
use crate::accounts::{AccountGround, AccountSettings, Accounts};
use crate::app::App;
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::config::{Config, Loaded, StoreSettings};
use crate::desk::Desk;
use crate::families::{Families, Ground};
use crate::feed::Feed;
use crate::http::{self, BodyBudget, Listener, Listeners};
use crate::issuers::Issuers;
use crate::keeper::Keeper;
use crate::limits::{AddressLimit, LeaseServer, Ledger};
use crate::live::Live;
use crate::log;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::oauth::{TokenService, TokenServiceParts};
use crate::policy::PolicyDesk;
use crate::random::Random;
use crate::social::{self, SocialVault};
use crate::store;
use crate::store::upkeep::Upkeep;
use crate::usage::UsageRecorder;

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
    let hangup = signal(SignalKind::hangup()).map_err(Failure::failed)?;
    // A limit on the size of files is a failed write, which is handled, and not the end: once heard,
    // this signal does not kill.
    let size = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let _heard = signal(size).map_err(Failure::failed)?;
    let (stopping, stopped) = watch::channel(false);
    let (app, live) = open(&loaded, stopped).await?;
    let app = Arc::new(app);
    let upkeep = tokio::spawn(upkeep(&loaded, &app).run());
    let listeners = listen(&loaded).await?;
    // Ends with the runtime.
    tokio::spawn(Arc::clone(&app.feed).follow(live));
    tokio::spawn(Arc::clone(&app.policy).watch(Arc::clone(&app.feed), hangup));
    let config = &loaded.config;
    let keeper = Keeper::start(&app, &config.usage, &config.api_keys, stopping);
    let keeper = keeper.map_err(Failure::failed)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    http::serve(&app, listeners, stop).await;
    keeper.stop().await;
    // Nothing of it is half done: each step is one transaction.
    upkeep.abort();
    // Requests that outlived the deadline still hold the state; the audit log is synced with each
    // acknowledgement, so nothing acknowledged waits here.
    if let Some(App { audit, accounts, oauth, .. }) = Arc::into_inner(app) {
        // They record too.
        drop((accounts, oauth));
        if let Some(audit) = Arc::into_inner(audit) {
            audit.close();
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn open(
    loaded: &Loaded,
    stopped: watch::Receiver<bool>,
) -> Result<(App, Arc<Live>), Failure> {
    let (clock, random) = (Clock::system(), Random::system());
    let config = &loaded.config;
    // The store comes first: it knows whether another sidecar runs.
    let store = store::open(&loaded.store).await.map_err(Failure::Store)?;
    let issuer = config.issuer.clone();
    let metrics = Arc::new(Metrics::new());
    let usage = Arc::new(UsageRecorder::new(&config.usage, clock.clone(), &metrics));
    let desk =
        Desk::open(Arc::clone(&store), &loaded.store_keys, issuer, clock.clone(), random).await;
    let desk = desk.map_err(Failure::failed)?.with_api_keys(config.api_keys.clone());
    let desk = desk.with_signing_keys(&config.signing_keys);
    let desk = Arc::new(desk.with_usage(Arc::clone(&usage)));
    let families = families(loaded, &desk, (&clock, random), &metrics).await?;
    let families = Arc::new(families.with_usage(Arc::clone(&usage)));
    let social = social_vault(loaded, &desk, (&clock, random), Some(Arc::clone(&usage)))?;
    let ledger = match loaded.store {
        StoreSettings::Embedded(_) => Ledger::in_memory(),
        StoreSettings::Redis(_) => Ledger::in_store(Arc::clone(&store)),
    };
    let public_limit = public_limit(config, clock.clone(), random)?;
    let live = Arc::new(live(loaded, &desk, (&clock, random), &metrics)?);
    let feed = Feed::new(store, &config.feed, clock.clone(), Arc::clone(&metrics));
    let (notify, notices) = (loaded.notify.clone(), Arc::clone(&metrics));
    let notifier = Notifier::start(notify, clock.clone(), random, notices, stopped);
    let file = loaded.resolve(&config.audit.file);
    let counter = Arc::clone(&usage);
    let audit = AuditSink::open_observed(
        &file,
        config.audit.rotate_bytes.0,
        clock.clone(),
        Arc::clone(&metrics),
        Box::new(move |event| counter.observe(event)),
    );
    let audit = Arc::new(audit.map_err(Failure::failed)?);
    let accounts = Arc::new(accounts(loaded, &desk, (&clock, random), (&metrics, &audit)).await?);
    let oauth = token_service(loaded, (&desk, &accounts, &families), &clock, random).await?;
    let app = App {
        desk,
        families,
        accounts,
        social,
        oauth,
        feed: Arc::new(feed),
        policy: Arc::clone(&live.policy),
        issuers: Arc::clone(&live.issuers),
        audit,
        usage,
        notifier: notifier.map_err(Failure::failed)?,
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

pub(super) async fn families(
    loaded: &Loaded,
    desk: &Desk,
    (clock, random): (&Clock, Random),
    metrics: &Arc<Metrics>,
) -> Result<Families, Failure> {
    let ground = Ground {
        store: Arc::clone(desk.store()),
        store_keys: loaded.store_keys.clone(),
        clock: clock.clone(),
        random,
        metrics: Arc::clone(metrics),
    };
    let config = &loaded.config;
    let families = Families::open(ground, &config.issuer.issuer.0, config.refresh_tokens.clone());
    families.await.map_err(Failure::failed)
}

async fn accounts(
    loaded: &Loaded,
    desk: &Desk,
    (clock, random): (&Clock, Random),
    (metrics, audit): (&Arc<Metrics>, &Arc<AuditSink>),
) -> Result<Accounts, Failure> {
    let ground = AccountGround {
        store: Arc::clone(desk.store()),
        store_keys: loaded.store_keys.clone(),
        issuer: loaded.config.issuer.issuer.0.clone(),
        clock: clock.clone(),
        random,
        metrics: Arc::clone(metrics),
        audit: Some(Arc::clone(audit)),
    };
    let settings = AccountSettings::of(loaded).map_err(Failure::failed)?;
    Accounts::open(ground, settings).await.map_err(Failure::failed)
}

/// The tokens of users at providers.
pub(super) fn social_vault(
    loaded: &Loaded,
    desk: &Desk,
    (clock, random): (&Clock, Random),
    usage: Option<Arc<UsageRecorder>>,
) -> Result<SocialVault, Failure> {
    let ground = social::Ground {
        store: Arc::clone(desk.store()),
        store_keys: loaded.store_keys.clone(),
        clock: clock.clone(),
        random,
        issuer: loaded.config.issuer.issuer.0.clone(),
        usage,
    };
    SocialVault::new(ground, loaded.social_providers.clone()).map_err(|error| {
        Failure::Failed(format!("the certificates to trust for `social_providers`: {error}"))
    })
}

/// OAuth clients and their tokens.
async fn token_service(
    loaded: &Loaded,
    (desk, accounts, families): (&Arc<Desk>, &Arc<Accounts>, &Arc<Families>),
    clock: &Clock,
    random: Random,
) -> Result<TokenService, Failure> {
    let config = &loaded.config;
    let parts = TokenServiceParts {
        desk: Arc::clone(desk),
        accounts: Arc::clone(accounts),
        families: Arc::clone(families),
        section: config.oauth.clone(),
        issuer: config.issuer.clone(),
        revocation_keep_seconds: config.revocations.keep_seconds.0,
    };
    let service = TokenService::open(parts, &loaded.store_keys, clock.clone(), random).await;
    service.map_err(Failure::failed)
}

/// What the settings of filters are made of.
fn live(
    loaded: &Loaded,
    desk: &Arc<Desk>,
    (clock, random): (&Clock, Random),
    metrics: &Arc<Metrics>,
) -> Result<Live, Failure> {
    let store = || Arc::clone(desk.store());
    let (file, document) = (&loaded.policy_file, &loaded.policy);
    let policy = PolicyDesk::new(store(), file, document, clock.clone(), Arc::clone(metrics));
    let section = &loaded.config.issuers;
    let ca_file = section.ca_file.as_ref().map(|file| loaded.resolve(file));
    let parts = (store(), clock.clone(), random);
    let issuers = Issuers::new(section, ca_file.as_deref(), parts, Arc::clone(metrics));
    Ok(Live {
        desk: Arc::clone(desk),
        policy: Arc::new(policy.map_err(Failure::failed)?),
        issuers: Arc::new(issuers.map_err(Failure::failed)?),
    })
}

fn upkeep(loaded: &Loaded, app: &App) -> Upkeep {
    Upkeep {
        store: Arc::clone(app.desk.store()),
        keys: loaded.store_keys.clone(),
        clock: app.clock.clone(),
        metrics: Arc::clone(&app.metrics),
        interval: Duration::from_secs(loaded.config.store.clean_up_interval_seconds.0),
    }
}

fn public_limit(config: &Config, clock: Clock, random: Random) -> Result<AddressLimit, Failure> {
    let secret = Secret::new(random.bytes::<32>().map_err(Failure::failed)?.to_vec());
    let limits = &config.limits;
    let per_minute = limits.requests_per_minute_per_address.0;
    Ok(AddressLimit::new("public", per_minute, limits, clock, &secret))
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
