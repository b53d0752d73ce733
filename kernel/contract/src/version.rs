//! Versions of the contract in `wit/`, and which of them a kernel speaks.

use std::fmt;

/// One version of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Contract {
    /// As a manifest writes it, `major.minor`.
    pub version: &'static str,
    /// The WIT package's, as a component's imports name it.
    pub wit: &'static str,
}

/// 0.1, not released yet.
pub const V0_1: Contract = Contract { version: "0.1", wit: "0.1.0-dev" };

/// The versions that a kernel speaks, oldest first. Components of all of them run beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts(&'static [Contract]);

impl Contracts {
    /// What this kernel speaks.
    pub const SPOKEN: Self = Self(&[V0_1]);

    /// Other ones: for tests of what happens with more than one.
    pub const fn of(versions: &'static [Contract]) -> Self {
        Self(versions)
    }

    /// The version that a manifest names; none if it is not spoken.
    pub fn find(self, version: &str) -> Option<Contract> {
        self.0.iter().find(|c| c.version == version).copied()
    }

    /// Why a version is not spoken, and what helps.
    pub fn unspoken(self, version: &str) -> String {
        let number =
            |v: &str| v.split_once('.').and_then(|(a, b)| Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?)));
        let newest = self.0.last().map(|c| c.version).unwrap_or_default();
        let hint = match (number(version), number(newest)) {
            (Some(wanted), Some(newest)) if wanted > newest => {
                "; it is newer: update carapace, or take a version that is built for an older contract"
            }
            (Some(_), Some(_)) => "; it is older: take a newer version of the component",
            _ => "",
        };
        format!("contract {version} is not spoken by this kernel, which speaks {self}{hint}")
    }
}

impl Default for Contracts {
    fn default() -> Self {
        Self::SPOKEN
    }
}

impl fmt::Display for Contracts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<&str> = self.0.iter().map(|c| c.version).collect();
        f.write_str(&versions.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_spoken_is_answered_with_what_helps() {
        const BOTH: Contracts = Contracts::of(&[V0_1, Contract { version: "0.2", wit: "0.2.0" }]);
        assert_eq!(BOTH.find("0.2").unwrap().wit, "0.2.0");
        assert_eq!(BOTH.find("0.10"), None);
        let newer = BOTH.unspoken("0.10");
        assert!(newer.contains("contract 0.10") && newer.contains("speaks 0.1, 0.2; it is newer: update"), "{newer}");
        assert!(BOTH.unspoken("0.0").contains("it is older"), "{}", BOTH.unspoken("0.0"));
        assert!(BOTH.unspoken("latest").ends_with("speaks 0.1, 0.2"));
    }
}
