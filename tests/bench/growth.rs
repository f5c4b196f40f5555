//! stub
#[derive(clap::Args)]
pub(crate) struct Options {}
impl Options {
    pub(crate) fn short() -> Self {
        Self {}
    }
}
pub(crate) fn run(_: &tokio::runtime::Runtime, _: &Options) {}
