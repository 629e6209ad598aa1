//! What is heard of devices.

use domain::{DeviceRecord, Name, Timestamp};
use store::sqlite::{ChangedDevice, DeviceChange, Initiator};

use super::{CAUSE, NotDone, Signal};
use crate::devices::compliance_change;
use crate::monitor::Look;
use crate::sessions::ending::By;

impl Signal<'_> {
    /// Takes over whether a device meets the rules, unless what is recorded is newer.
    pub(super) async fn posture(&self, compliant: bool) -> Result<(), NotDone> {
        let Some(id) = &self.who.device else {
            return Ok(());
        };
        if Name::new(id.as_str()).is_err() {
            return Ok(());
        }
        let (app, at) = (self.app, self.at);
        let source = self.transmitter.settings.issuer.clone();
        let most = app.settings.limits.devices;
        let done = app
            .state
            .change_device(id, most, |before| {
                let known = before.and_then(|before| before.checked_at);
                let is_same = before.is_some_and(|before| before.compliant == Some(compliant));
                if known > Some(at) || known == Some(at) && is_same {
                    return None;
                }
                let mut record = before.cloned().unwrap_or_else(|| unknown(id, self.now));
                record.compliant = Some(compliant);
                record.checked_at = Some(at);
                record.posture_source = Some(source);
                record.updated_at = self.now;
                let by = By::SYSTEM.name;
                let told = compliance_change(before, &record, Initiator::System, by, at);
                Some(DeviceChange {
                    record,
                    events: told.into_iter().collect(),
                })
            })
            .await?;
        if done == ChangedDevice::Full {
            tracing::error!(device = id, "there is no room for another device");
        }
        app.monitor.look_at(Look::Device(id.clone()), CAUSE);
        Ok(())
    }
}

/// A device of which nothing is known.
fn unknown(id: &str, now: Timestamp) -> DeviceRecord {
    DeviceRecord {
        id: id.to_owned(),
        owner: None,
        trust: None,
        managed: None,
        compliant: None,
        os: None,
        os_version: None,
        revoked: false,
        enrolled_at: None,
        key: None,
        checked_at: None,
        posture_source: None,
        updated_at: now,
    }
}
