//! Tagged fields: writing, and walking over them.

use crate::bytes::ByteReader;
use crate::error::{Result, SnapshotError};
use crate::metadata::METADATA_BYTES_MAX;
use crate::metadata::tag::MUST;
use crate::version::newer;

/// Appends fields. Remembers whether the size limit was passed, so that the length of a field
/// always fits its `u32`.
#[derive(Default)]
pub(super) struct FieldWriter {
    pub(super) out: Vec<u8>,
}

impl FieldWriter {
    pub(super) fn bytes(&mut self, tag: u16, content: &[u8]) {
        self.out.extend_from_slice(&tag.to_le_bytes());
        self.out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        self.out.extend_from_slice(content);
    }

    pub(super) fn text(&mut self, tag: u16, content: &str) {
        self.bytes(tag, content.as_bytes());
    }

    pub(super) fn u8(&mut self, tag: u16, value: u8) {
        self.bytes(tag, &[value]);
    }

    pub(super) fn u32(&mut self, tag: u16, value: u32) {
        self.bytes(tag, &value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, tag: u16, value: u64) {
        self.bytes(tag, &value.to_le_bytes());
    }

    /// A field whose content `fill` appends.
    pub(super) fn nested(
        &mut self,
        tag: u16,
        fill: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.bytes(tag, &[]);
        let start = self.out.len();
        fill(self)?;
        let len = self.out.len() - start;
        if self.out.len() > METADATA_BYTES_MAX {
            return Err(too_large());
        }
        if let Some(slot) = self.out.get_mut(start - 4..start) {
            slot.copy_from_slice(&(len as u32).to_le_bytes());
        }
        Ok(())
    }
}

#[cold]
pub(super) fn too_large() -> SnapshotError {
    SnapshotError::invalid(format!(
        "checkpoint metadata is larger than the limit of {METADATA_BYTES_MAX} bytes: keep less \
         operator state"
    ))
}

/// One field, with its place in the file.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) tag: u16,
    pub(super) content: &'a [u8],
    /// Of the content.
    pub(super) offset: u64,
}

/// Walks over the fields of one message.
pub(super) struct Fields<'a> {
    reader: ByteReader<'a>,
    offset: u64,
    last_number: u16,
}

impl<'a> Fields<'a> {
    /// The fields of `message`, which begins at byte `offset` of the file.
    pub(super) const fn new(message: &'a [u8], offset: u64) -> Self {
        Self { reader: ByteReader::new(message), offset, last_number: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let start = self.offset + self.reader.position() as u64;
        self.read().map(Some).map_err(|error| error.at(start))
    }

    fn read(&mut self) -> Result<Field<'a>> {
        let tag = self.reader.u16()?;
        let len = self.reader.u32()?;
        let offset = self.offset + self.reader.position() as u64;
        let content = self.reader.take(len as usize)?;
        let number = tag & !MUST;
        if number < self.last_number {
            return Err(SnapshotError::corrupt(format!(
                "field {number} comes after field {}",
                self.last_number
            )));
        }
        self.last_number = number;
        Ok(Field { tag, content, offset })
    }
}

impl<'a> Field<'a> {
    /// Passes over a field that the decoder does not know, if it may.
    pub(super) fn skip(self, message: &str) -> Result<()> {
        if self.tag & MUST == 0 {
            return Ok(());
        }
        Err(newer(&format!("{message} metadata has field {}", self.tag & !MUST)).at(self.offset))
    }

    /// Stores what `read` makes of the field; twice is an error.
    pub(super) fn set<T>(
        self,
        slot: &mut Option<T>,
        read: impl FnOnce(Self) -> Result<T>,
    ) -> Result<()> {
        if slot.is_some() {
            return Err(self.wrong("is there twice"));
        }
        *slot = Some(read(self)?);
        Ok(())
    }

    pub(super) fn fields(self) -> Fields<'a> {
        Fields::new(self.content, self.offset)
    }

    pub(super) fn text(self, max: usize) -> Result<String> {
        if self.content.len() > max {
            return Err(self.wrong("is too long"));
        }
        match core::str::from_utf8(self.content) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.wrong("is not UTF-8")),
        }
    }

    pub(super) fn u8(self) -> Result<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(self) -> Result<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    pub(super) fn u64(self) -> Result<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    pub(super) fn bool(self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong("is neither 0 nor 1")),
        }
    }

    fn fixed<const N: usize>(self) -> Result<[u8; N]> {
        <[u8; N]>::try_from(self.content).map_err(|_| self.wrong("has the wrong length"))
    }

    /// An error about this field.
    #[cold]
    pub(super) fn wrong(self, what: &str) -> SnapshotError {
        SnapshotError::corrupt(format!("field {} {what}", self.tag & !MUST)).at(self.offset)
    }
}
