//! The target `kubernetes`: a mesh on a real cluster.
//!
//! Everything that is made carries the run's id and lives in namespaces of the run's own; nothing else on the cluster
//! is changed, ever. The way of a run through this folder:
//!
//! ```text
//! cluster    kubeconfig ─► a client whose every request ends in time, and errors sorted by what they mean
//! survey     what the cluster serves: API versions by discovery, CRDs, its own version
//! mesh       what runs there of the mesh: images by digest, version, enforcing mode
//! preflight  permissions, the mesh, and one pod of the workload image, before anything is promised
//! lane       a pair of namespaces with the workloads of a shape; workloads are its objects, session drives a pod
//! metrics    questions to the metrics API, and their answers transcribed
//! cleanup    the run's namespaces, gone
//! ```
//!
//! [`dialect`] writes SMI resources and knows nothing of a cluster.

pub mod cleanup;
pub mod cluster;
pub mod dialect;
mod lane;
mod mesh;
pub(crate) mod metrics;
pub mod preflight;
pub mod rbac;
mod session;
mod survey;
mod target;
mod workloads;

pub use lane::KubernetesLane;
pub use survey::Survey;
pub use target::{Brought, KubernetesTarget};
