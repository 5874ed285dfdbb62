//! What is broken, and how it is repaired.

use std::time::Duration;

use anyhow::Result;

use super::MAX_STALE_SECONDS;
use crate::mesh::{Cut, System};

/// What is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A sidecar is killed.
    KillSidecar(usize),
    /// All sidecars are killed.
    KillSidecars,
    /// A sidecar is stopped where it stands.
    HoldSidecar(usize),
    /// The master of Redis is killed.
    KillMaster,
    /// The master of Redis is stopped where it stands, and goes on later as if nothing had been.
    HoldMaster,
    /// An Envoy is killed.
    KillEnvoy(usize),
    /// An Envoy hears nothing from any sidecar, and nobody is told.
    CutEnvoy(usize),
    /// The connections of all Envoys to a sidecar are closed.
    CloseSidecar(usize),
    /// A sidecar is parted from Redis and all other machines, and nobody is told.
    CutFromRedis(usize),
    /// A sidecar, its Envoy and the master of Redis are parted from all others, and hear each other:
    /// they go on with a master that the others have replaced.
    CutMaster(usize),
}

impl Fault {
    /// The bounded form: one of each kind that breaks another promise.
    pub const SOME: [Self; 5] = [
        Self::KillSidecar(0),
        Self::KillMaster,
        Self::CutEnvoy(0),
        Self::KillEnvoy(1),
        Self::KillSidecars,
    ];
    /// Every kind once.
    pub const ALL: [Self; 10] = [
        Self::KillSidecar(0),
        Self::KillMaster,
        Self::CutEnvoy(0),
        Self::KillEnvoy(1),
        Self::CloseSidecar(1),
        Self::HoldMaster,
        Self::HoldSidecar(1),
        Self::KillSidecars,
        Self::CutFromRedis(0),
        Self::CutMaster(0),
    ];

    /// How long it stays broken. A cut goes on for longer than `max_stale`, so that the gate closes.
    pub(super) fn duration(self) -> Duration {
        match self {
            Self::CutEnvoy(_) | Self::CutMaster(_) => {
                Duration::from_secs(MAX_STALE_SECONDS.saturating_add(3))
            }
            Self::HoldMaster | Self::KillMaster | Self::CutFromRedis(_) => Duration::from_secs(6),
            Self::KillSidecar(_)
            | Self::KillSidecars
            | Self::HoldSidecar(_)
            | Self::KillEnvoy(_)
            | Self::CloseSidecar(_) => Duration::from_secs(3),
        }
    }

    /// Whether it takes namespaces.
    pub(super) fn needs_network(self) -> bool {
        matches!(self, Self::CutFromRedis(_) | Self::CutMaster(_))
    }

    pub(super) fn affects(self, envoy: usize) -> bool {
        match self {
            Self::KillEnvoy(number) | Self::CutEnvoy(number) => number == envoy,
            Self::KillSidecar(_)
            | Self::KillSidecars
            | Self::HoldSidecar(_)
            | Self::KillMaster
            | Self::HoldMaster
            | Self::CloseSidecar(_)
            | Self::CutFromRedis(_)
            | Self::CutMaster(_) => true,
        }
    }

    pub(super) fn strike(self, system: &mut System) -> Result<()> {
        match self {
            Self::KillSidecar(number) => system.sidecar(number)?.kill(),
            Self::KillSidecars => {
                for number in 0..system.sidecars().len() {
                    system.sidecar(number)?.kill();
                }
            }
            Self::HoldSidecar(number) => system.hold_sidecar(number, true)?,
            Self::KillMaster => system.redis()?.kill_master()?,
            Self::HoldMaster => system.redis()?.hold_master()?,
            Self::KillEnvoy(number) => system.kill_envoy(number),
            Self::CutEnvoy(number) => system.cut_envoy(number, Cut::Silent),
            Self::CloseSidecar(number) => system.cut_sidecar(number, Cut::Closed),
            Self::CutFromRedis(number) => system.part_sidecar(number)?,
            Self::CutMaster(number) => system.part_master(number)?,
        }
        Ok(())
    }

    pub(super) fn repair(self, system: &mut System) -> Result<()> {
        match self {
            Self::KillSidecar(number) => system.sidecar(number)?.start()?,
            Self::KillSidecars => {
                for number in 0..system.sidecars().len() {
                    system.sidecar(number)?.start()?;
                }
            }
            Self::HoldSidecar(number) => system.hold_sidecar(number, false)?,
            Self::KillMaster | Self::HoldMaster => system.redis()?.heal()?,
            Self::KillEnvoy(number) => system.start_envoy(number)?,
            Self::CutEnvoy(number) => system.cut_envoy(number, Cut::Healed),
            Self::CloseSidecar(number) => system.cut_sidecar(number, Cut::Healed),
            Self::CutFromRedis(_) | Self::CutMaster(_) => system.heal_network()?,
        }
        Ok(())
    }
}
