//! The sections about users: their passwords and how they log in.

use wardgate_core::config::{Bounded, NonEmpty};
use wardgate_core::section;

section! {
    /// Passwords of users.
    pub struct PasswordsSection = "passwords" {
        /// How new passwords are hashed. Those that come from elsewhere are read whatever stands
        /// here, and hashed anew at the next login if that is better.
        pub algorithm: PasswordAlgorithm, default(PasswordAlgorithm::Argon2id, "argon2id");
        /// Memory of one argon2id hash, in KiB.
        pub argon2_memory_kib: Bounded<7168, 262_144>, default(Bounded(19_456), 19_456);
        /// Passes of argon2id over the memory. Memory times passes is at most 1048576.
        pub argon2_passes: Bounded<1, 100>, default(Bounded(2), 2);
        /// Lanes of argon2id. They are computed one after the other.
        pub argon2_lanes: Bounded<1, 64>, default(Bounded(1), 1);
        /// Rounds of bcrypt, as a power of two.
        pub bcrypt_cost: Bounded<10, 15>, default(Bounded(12), 12);
        /// Letters that a new password has at least. NIST SP 800-63B-4 asks for 15 where the
        /// password is the only factor.
        pub min_length: Bounded<8, 64>, default(Bounded(8), 8);
        /// The least strength of a new password, as zxcvbn estimates it: 0 anything, 3 more than a
        /// hundred million guesses, 4 more than ten thousand million.
        pub min_score: Bounded<0, 4>, default(Bounded(3), 3);
        /// File with passwords that have leaked, which are refused: SHA-1 in hexadecimal, sorted,
        /// one a line, as Have I Been Pwned gives them (any size, it is not loaded), or passwords
        /// in clear, one a line (64 MiB at most).
        pub leaked_file: Option<NonEmpty>, optional;
        /// Hashes that are computed at once; 0: as many as there are cores.
        pub hashes_at_once: Bounded<0, 256>, default(Bounded(0), 0);
        /// Hashes that may wait for their turn; more are refused with 503.
        pub hashes_waiting: Bounded<0, 10_000>, default(Bounded(64), 64);
    }
}

section! {
    /// How new passwords are hashed.
    pub enum PasswordAlgorithm = "password_algorithm" {
        /// argon2id (RFC 9106).
        Argon2id = "argon2id",
        /// bcrypt. It looks at 72 bytes only, so longer passwords are refused.
        Bcrypt = "bcrypt",
    }
}

section! {
    /// What bounds failed logins.
    pub struct LoginSection = "login" {
        /// Failures of a name from one network (/24, IPv6 /64) that cost no delay; each further one
        /// doubles it.
        pub failures_per_network: Bounded<1, 1000>, default(Bounded(5), 5);
        /// Failures of one address (IPv6 /64), whatever the names, that cost no delay.
        pub failures_per_address: Bounded<1, 100_000>, default(Bounded(30), 30);
        /// Failures of a name from networks that it never logged in from. Beyond, such networks
        /// take turns.
        pub failures_per_account: Bounded<1, 100_000>, default(Bounded(20), 20);
        /// The longest delay, and the period of the turns, in seconds.
        pub max_delay_seconds: Bounded<1, 86_400>, default(Bounded(900), 900);
        /// How long a failure counts, in seconds.
        pub forget_seconds: Bounded<60, 2_592_000>, default(Bounded(86_400), 86_400);
        /// How long a network is remembered that logged in to an account, in days.
        pub remember_networks_days: Bounded<1, 3660>, default(Bounded(90), 90);
    }
}

impl Default for PasswordsSection {
    fn default() -> Self {
        Self {
            algorithm: PasswordAlgorithm::Argon2id,
            argon2_memory_kib: Bounded(19_456),
            argon2_passes: Bounded(2),
            argon2_lanes: Bounded(1),
            bcrypt_cost: Bounded(12),
            min_length: Bounded(8),
            min_score: Bounded(3),
            leaked_file: None,
            hashes_at_once: Bounded(0),
            hashes_waiting: Bounded(64),
        }
    }
}

impl Default for LoginSection {
    fn default() -> Self {
        Self {
            failures_per_network: Bounded(5),
            failures_per_address: Bounded(30),
            failures_per_account: Bounded(20),
            max_delay_seconds: Bounded(900),
            forget_seconds: Bounded(86_400),
            remember_networks_days: Bounded(90),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read};

    use super::{LoginSection, PasswordsSection};

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        fn of<T: Read>() -> Option<T> {
            T::read(&json!({}), &At::ROOT, &mut Problems::new())
        }
        assert_eq!(of(), Some(PasswordsSection::default()));
        assert_eq!(of(), Some(LoginSection::default()));
    }
}
