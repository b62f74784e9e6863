//! The engine `raw`: a thread without a runtime, over `http2`.

pub(crate) mod calls;
pub(crate) mod driver;
pub(crate) mod workers;
