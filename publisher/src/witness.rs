//! Witnesses: that a log shows everybody the same tree.
//!
//! A witness keeps, of every log that it knows, the checkpoint that it cosigned last, and cosigns another only if its
//! tree begins with that one's. Where as many independent witnesses have cosigned as the keyring asks for, nobody was
//! shown another tree, and the times at which they did bound when an entry was logged.
//!
//! - [`client`]: a log asks its witnesses, with [C2SP tlog-witness]'s `add-checkpoint`
//! - [`server`]: a witness, for logs of any kind
//!
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness

pub mod client;
pub mod server;
