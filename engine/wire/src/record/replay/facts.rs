//! Facts read back, in the words of the vocabulary.

use std::borrow::Cow;
use std::fmt;

use domain::Timestamp;
use domain::facts::{self, Fact, Facts, GROUPS, Group, Kind, TimeFacts, Word};
use domain::signal::Source;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::super::RISK;
use crate::time;

/// Text that is lent by the record wherever it stands there as it is. A `Cow` alone would be a
/// copy each time.
struct Lent<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Lent<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Lent<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Lent(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Lent(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

/// Facts by group, in the words of the vocabulary.
pub(super) struct ReadFacts(pub(super) Facts);

impl<'de> Deserialize<'de> for ReadFacts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Groups;
        impl<'de> Visitor<'de> for Groups {
            type Value = ReadFacts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("facts by group")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut facts = Facts::default();
                while let Some(name) = members.next_key::<Lent<'de>>()?.map(|name| name.0) {
                    if name == "unavailable" {
                        for Lent(name) in members.next_value::<Vec<Lent<'de>>>()? {
                            facts
                                .unavailable
                                .push(Source::from_name(&name).ok_or_else(|| {
                                    A::Error::custom(format!("`{name}` is no source"))
                                })?);
                        }
                        continue;
                    }
                    let group = facts::group(&name)
                        .filter(|group| group.name != RISK)
                        .ok_or_else(|| {
                            A::Error::custom(format!("`{name}` is no group of facts"))
                        })?;
                    members.next_value_seed(Words {
                        group,
                        facts: &mut facts,
                    })?;
                }
                Ok(ReadFacts(facts))
            }
        }
        from.deserialize_map(Groups)
    }
}

/// The words of one group, put into facts.
struct Words<'a> {
    group: &'static Group,
    facts: &'a mut Facts,
}

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Words<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the words of `{}`", self.group.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        // They are written in the order of the vocabulary: each is looked for after the last.
        let mut rest = self.group.words.iter();
        while let Some(Lent(name)) = members.next_key::<Lent<'de>>()? {
            let word = rest
                .find(|word| word.name == name)
                .or_else(|| self.group.words.iter().find(|word| word.name == name))
                .ok_or_else(|| {
                    A::Error::custom(format!("`{}.{name}` is no word", self.group.name))
                })?;
            read_word(word, self.facts, &mut members)?;
        }
        Ok(())
    }
}

fn read_word<'de, A: MapAccess<'de>>(
    word: &Word,
    facts: &mut Facts,
    members: &mut A,
) -> Result<(), A::Error> {
    let wrong = || A::Error::custom(format!("`{}` has another kind", word.name));
    let text: Cow<'de, str>;
    let fact = match word.kind {
        Kind::Bool => Fact::Bool(members.next_value()?),
        Kind::Long => Fact::Long(members.next_value()?),
        Kind::Text => {
            text = members.next_value::<Lent<'de>>()?.0;
            Fact::Text(&text)
        }
        Kind::Address => Fact::Address(members.next_value()?),
        Kind::Moment => {
            text = members.next_value::<Lent<'de>>()?.0;
            Fact::Moment(time::parse(&text).ok_or_else(wrong)?)
        }
    };
    if (word.set)(facts, fact) {
        Ok(())
    } else {
        Err(wrong())
    }
}

/// Puts in the words that follow from the moment and are therefore not written.
pub(super) fn fill_in(facts: &mut Facts, time: Timestamp) {
    let follows = Facts {
        time: TimeFacts::at(time),
        ..Facts::default()
    };
    for word in GROUPS.iter().flat_map(|group| group.words) {
        if let Some(fact) = (word.get)(&follows)
            && (word.get)(facts).is_none()
        {
            (word.set)(facts, fact);
        }
    }
}
