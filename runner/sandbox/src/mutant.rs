//! Mutants: the reference mesh with one named deviation, each modelled on what real meshes were seen or read to do.
//!
//! They exist so that the suite can be tested: an assertion that no mutant fails sees nothing.

use std::fmt;
use std::str::FromStr;

/// One deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A destination that no target names is open to everyone. Several meshes are permissive until told otherwise.
    AllowsByDefault,
    /// A deleted target goes on granting, like a proxy that misses the deletion.
    KeepsDeletedGrants,
    /// A path must match to its end, as with Open Service Mesh.
    MatchesWholePaths,
    /// A rule without matches grants nothing, as with Open Service Mesh and FSM.
    OmittedMatchesGrantNothing,
    /// Backends of any weight share evenly.
    IgnoresWeights,
    /// Five of a hundred requests go to another backend than the weights say.
    WeightsFivePointsOff,
    /// A caller is whoever lives at its address, as with Traefik Mesh; behind one address that is everyone.
    IdentityBySourceAddress,
    /// Requests that a split's matches do not concern are divided evenly among its backends, as with FSM.
    NonMatchSplitEvenly,
}

/// The text is no mutant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such mutant")]
pub struct ParseMutantError;

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 8] = [
        Self::AllowsByDefault,
        Self::KeepsDeletedGrants,
        Self::MatchesWholePaths,
        Self::OmittedMatchesGrantNothing,
        Self::IgnoresWeights,
        Self::WeightsFivePointsOff,
        Self::IdentityBySourceAddress,
        Self::NonMatchSplitEvenly,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowsByDefault => "allows-by-default",
            Self::KeepsDeletedGrants => "keeps-deleted-grants",
            Self::MatchesWholePaths => "matches-whole-paths",
            Self::OmittedMatchesGrantNothing => "omitted-matches-grant-nothing",
            Self::IgnoresWeights => "ignores-weights",
            Self::WeightsFivePointsOff => "weights-five-points-off",
            Self::IdentityBySourceAddress => "identity-by-source-address",
            Self::NonMatchSplitEvenly => "non-match-split-evenly",
        }
    }
}

impl FromStr for Mutant {
    type Err = ParseMutantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mutant| mutant.as_str() == text).ok_or(ParseMutantError)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
