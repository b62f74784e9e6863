//! The system's clock. It is read here only, at the moment when the time is used: a time that was read before a long
//! piece of work lags by as long as the work took.

use std::time::SystemTime;

use crate::machine::Time;

/// Returns the present time; 1970 if the system's clock is before that.
pub(crate) fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::since_epoch(since_epoch.unwrap_or_default())
}
