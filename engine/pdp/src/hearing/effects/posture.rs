//! What is heard of devices.

use domain::{DeviceRecord, Name, Timestamp};
use store::sqlite::{ChangedDevice, DeviceChange, Initiator};

use super::{CAUSE, NotDone, Signal};
use crate::devices::compliance_change;
use crate::monitor::Look;
use crate::sessions::ending::By;

impl Signal<'_> {
    /// Whether the transmitter may speak of a device: of one of a subject that is named, or that it
    /// may speak of where none is. What is nobody's is for those who vouch for devices, and for
    /// those who say whose it is.
    fn may_speak_of(&self, device: Option<&DeviceRecord>) -> bool {
        let settings = &self.transmitter.settings;
        match device.and_then(|device| device.owner.as_ref()) {
            Some(owner) if self.who.names_user => self.who.subjects.contains(owner),
            Some(owner) => settings.speaks_of(owner),
            None => settings.may_vouch_for_devices || !self.who.subjects.is_empty(),
        }
    }

    /// Takes over whether a device meets the rules, unless what is recorded is newer. That it does
    /// is believed of those alone who may vouch for devices.
    pub(super) async fn posture(&self, compliant: bool) -> Result<(), NotDone> {
        let Some(id) = &self.who.device else {
            return Ok(());
        };
        if Name::new(id.as_str()).is_err() {
            return Ok(());
        }
        if compliant && !self.transmitter.settings.may_vouch_for_devices {
            tracing::info!(
                issuer = self.transmitter.settings.issuer,
                device = id,
                "it may not vouch for devices (`may_vouch_for_devices`); it is passed over"
            );
            return Ok(());
        }
        let (app, at) = (self.app, self.at);
        let source = self.transmitter.settings.issuer.clone();
        let most = app.settings.limits.devices;
        let done = app
            .state
            .change_device(id, most, |before| {
                if !self.may_speak_of(before) {
                    return None;
                }
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
