//! Protobuf's wire format, as far as ONNX needs it: <https://protobuf.dev/programming-guides/encoding/>.

/// A message under construction: fields in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

/// How a field is encoded; the low three bits of its tag.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Delimited = 2,
    Fixed32 = 5,
}

impl Message {
    /// With an integer, enum or boolean field.
    pub(super) fn int(mut self, field: u32, value: i64) -> Self {
        push_tag(&mut self.bytes, field, WireType::Varint);
        // Negative numbers are sign-extended to ten bytes, as protobuf has it for int32 and int64.
        push_varint(&mut self.bytes, value as u64);
        self
    }

    /// With a repeated integer field, one entry each: files of proto2 are not packed.
    pub(super) fn ints(self, field: u32, values: &[i64]) -> Self {
        values.iter().fold(self, |message, &value| message.int(field, value))
    }

    /// With a single-precision field.
    pub(super) fn float(mut self, field: u32, value: f32) -> Self {
        push_tag(&mut self.bytes, field, WireType::Fixed32);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// With a text field.
    pub(super) fn text(self, field: u32, text: &str) -> Self {
        self.delimited(field, text.as_bytes())
    }

    /// With a message inside.
    pub(super) fn message(self, field: u32, message: &Message) -> Self {
        self.delimited(field, &message.bytes)
    }

    /// With several messages of the same field.
    pub(super) fn messages<'a>(self, field: u32, messages: impl IntoIterator<Item = &'a Message>) -> Self {
        messages.into_iter().fold(self, |whole, message| whole.message(field, message))
    }

    /// With tag and length of a field whose `length` bytes the caller writes behind this message.
    pub(super) fn open(mut self, field: u32, length: u64) -> Self {
        push_tag(&mut self.bytes, field, WireType::Delimited);
        push_varint(&mut self.bytes, length);
        self
    }

    /// With the fields of another message behind its own.
    pub(super) fn append(mut self, other: &Message) -> Self {
        self.bytes.extend(&other.bytes);
        self
    }

    /// What is there so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn delimited(self, field: u32, bytes: &[u8]) -> Self {
        let mut whole = self.open(field, bytes.len() as u64);
        whole.bytes.extend(bytes);
        whole
    }
}

fn push_tag(bytes: &mut Vec<u8>, field: u32, wire: WireType) {
    push_varint(bytes, u64::from(field << 3 | wire as u32));
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of protobuf's own description, and the longest number.
    #[test]
    fn fields_are_encoded_as_protobuf_says() {
        let cases = [
            (Message::default().int(1, 150), vec![0x08, 0x96, 0x01]),
            (Message::default().text(2, "testing"), b"\x12\x07testing".to_vec()),
            (Message::default().message(3, &Message::default().int(1, 150)), vec![0x1a, 3, 0x08, 0x96, 0x01]),
            (Message::default().int(1, -2), [&[0x08, 0xfe][..], &[0xff; 8], &[0x01]].concat()),
            (Message::default().int(20, 127), vec![0xa0, 0x01, 0x7f]),
            (Message::default().float(2, 1.0), vec![0x15, 0, 0, 0x80, 0x3f]),
            (Message::default().ints(1, &[3, 300]), vec![0x08, 3, 0x08, 0xac, 0x02]),
        ];
        for (message, expected) in cases {
            assert_eq!(message.bytes(), expected);
        }
    }
}
