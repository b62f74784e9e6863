//! Cleans up after runs: deletes what they have left in the server.

use soloist_client::Code;
use soloist_server::progress::Unit;

use crate::plan::mix::{Mix, NamedWorkload};
use crate::plan::settings::Settings;
use crate::report::live::Work;
use crate::run::prepare::MACHINE;
use crate::run::target::Target;

/// Deletes every key with the prefix of the run, page by page, and the machine of the workload `transition`. Returns how many
/// keys it has deleted.
///
/// # Errors
/// If the server refuses it, or does not answer. What was deleted until then is gone; a second attempt deletes the rest.
pub(crate) async fn clean(settings: &Settings, target: &Target, work: Work) -> Result<u64, String> {
    let client = target.client();
    let step = work.step("deleting keys", Unit::Things("keys"), None);
    let context = |error: soloist_client::Error| {
        format!(
            "cannot delete the keys that begin with {:?}: {error}",
            settings.key_prefix
        )
    };
    // First the machine: its keys are in states that are not final, and would be kept.
    if settings.mix == Mix::Named(NamedWorkload::Transition) {
        match client.delete_machine(MACHINE).force().await {
            Err(error) if error.code() != Code::NotFound => {
                return Err(format!("cannot delete the machine {MACHINE}: {error}"));
            }
            _ => {}
        }
    }
    let mut deleted = 0;
    let mut kept = 0;
    let mut page_token = None;
    loop {
        let mut page = client.delete_prefix(&settings.key_prefix);
        if let Some(token) = page_token {
            page = page.page_token(token);
        }
        let reply = page.await.map_err(context)?;
        deleted += reply.deleted_count;
        kept += reply.kept_count;
        step.set(deleted);
        page_token = reply.next_page_token;
        if page_token.is_none() {
            break;
        }
    }
    match kept {
        0 => Ok(deleted),
        kept => Err(format!(
            "{kept} keys that begin with {:?} are left: they are in a state of their machine that is not final",
            settings.key_prefix
        )),
    }
}
