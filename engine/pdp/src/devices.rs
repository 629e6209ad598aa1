//! Devices: enrolled, checked, taken out.
//!
//! Two write here: device management by `PUT /v1/devices/{id}`, and whoever tells of a device's
//! compliance in a shared signal. A change is durable, with the security event that it is, before
//! it is answered; then it is on record, and what is open on the device is looked at again.

use domain::{DeviceRecord, SecurityEventKind, Timestamp};
use ssf::event::Compliance;
use store::journal::AppendError;
use store::sqlite::{ChangedDevice, DeviceChange, Initiator, NewSecurityEvent, StoreError};

use crate::access::signed;
use crate::app::App;
use crate::monitor::Look;
use crate::sessions::ending::{self, By};
use crate::telling::body::{Body, DeviceComplianceChange};

/// Why sessions end whose device is no longer enrolled (M10).
pub(crate) const NOT_ENROLLED: &str = "Health check failed: the device is no longer enrolled";

/// Why a device was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// There are as many as there may be.
    #[error("there are {0} devices, as many as `limits.devices` allows; delete some that are gone")]
    Full(u32),
    /// What is recorded was found out later.
    #[error(
        "the posture that is recorded was checked later; leave `checked_at` out to say that this \
         is how the device is now"
    )]
    Older,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is done, and not on record.
    #[error("it is stored and counts, but is not on record: {0}; send it again")]
    Record(#[from] AppendError),
}

/// Writes a device's record, over what was known before. Durable, in effect and on record when
/// this returns.
///
/// # Errors
/// When it could not be made durable, or what is recorded of the posture is newer.
pub(crate) async fn put(app: &App, record: DeviceRecord, by: &str) -> Result<(), DeviceError> {
    let most = app.settings.limits.devices;
    let now = app.inputs.clock.now();
    let mut is_older = false;
    let done = app
        .state
        .change_device(&record.id, most, |before| {
            is_older = before.is_some_and(|before| before.checked_at > record.checked_at)
                && record.checked_at.is_some();
            if is_older {
                // That it may not be used any more is no posture: no check outdates it.
                let mut revoked = before.filter(|_| record.revoked)?.clone();
                is_older = false;
                revoked.revoked = true;
                revoked.updated_at = record.updated_at;
                return Some(DeviceChange {
                    record: revoked,
                    events: Vec::new(),
                });
            }
            let mut record = record.clone();
            // Whose it is from then on, unless it was all the time, with the same key.
            let same = before.filter(|before| {
                before.owner == record.owner && (before.key.is_none() || before.key == record.key)
            });
            // The moment of the enrolment before says nothing of another one: it came along with
            // what was read and sent back.
            let sent = record.enrolled_at.filter(|sent| {
                same.is_some() || before.is_none_or(|before| before.enrolled_at != Some(*sent))
            });
            record.enrolled_at = sent
                .or_else(|| same.and_then(|before| before.enrolled_at))
                .or_else(|| record.owner.is_some().then_some(now));
            let told = compliance_change(before, &record, Initiator::Admin, by, now);
            Some(DeviceChange {
                record,
                events: told.into_iter().collect(),
            })
        })
        .await?;
    match done {
        ChangedDevice::Kept => {}
        ChangedDevice::Full => return Err(DeviceError::Full(most)),
        ChangedDevice::Unchanged => return Err(DeviceError::Older),
    }
    app.monitor
        .look_at(Look::Device(record.id.clone()), "device");
    note(app, "device_written", &record.id, by, now).await?;
    Ok(())
}

/// Takes a device out, and ends what is open on it where it was enrolled. False when there is
/// none. Durable, in effect and on record when this returns.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn remove(app: &App, id: &String, by: By<'_>) -> Result<bool, DeviceError> {
    let now = app.inputs.clock.now();
    // On which device a session was last seen may be in memory alone.
    app.state.flush(now).await?;
    let ending = ending::now(app, now, by, NOT_ENROLLED);
    let Some((_, ended)) = app.state.delete_device(id, &ending).await? else {
        return Ok(false);
    };
    ending::follow(app, &ended, by.name, NOT_ENROLLED).await;
    app.monitor.look_at(Look::Device(id.clone()), "device");
    note(app, "device_removed", id, by.name, now).await?;
    Ok(true)
}

/// What others have to know of a change of a device's record: that it meets the rules again, or
/// does so no longer. Of what nobody had said anything about, only the bad is news.
pub(crate) fn compliance_change(
    before: Option<&DeviceRecord>,
    after: &DeviceRecord,
    initiator: Initiator,
    by: &str,
    now: Timestamp,
) -> Option<NewSecurityEvent> {
    let was = before.and_then(|before| before.compliant).unwrap_or(true);
    let is = after.compliant?;
    let status = |compliant| {
        if compliant {
            Compliance::Compliant
        } else {
            Compliance::NotCompliant
        }
    };
    (was != is).then(|| NewSecurityEvent {
        at: now,
        kind: SecurityEventKind::DeviceComplianceChange,
        subject: after.owner.clone(),
        session_id: None,
        device_id: Some(after.id.clone()),
        initiator,
        by: by.to_owned(),
        why: after.posture_source.as_ref().map_or_else(
            || "the device was checked".to_owned(),
            |source| format!("the device was checked by {source}"),
        ),
        body: Body::DeviceComplianceChange(DeviceComplianceChange {
            previous_status: status(was),
            current_status: status(is),
        })
        .to_text(),
        record: None,
    })
}

/// Puts what was done with a device on record.
async fn note(
    app: &App,
    event: &str,
    id: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), AppendError> {
    let told = signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "device",
            "event": event,
            "device": id,
            "at": wire::time::format(now),
        }),
        by,
    );
    app.journal.append(told.to_string().into_bytes()).await
}
