//! Kubernetes: how SMI resources are written for it.

pub mod dialect;
