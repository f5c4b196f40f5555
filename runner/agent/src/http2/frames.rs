//! Where a peer's bytes stand: within a frame, within the fields of a head, or between two frames.
//!
//! A frame begins with nine bytes: the length of what follows them in three, type, flags, and the stream's number in
//! four (RFC 9113, 4.1). A head may go on in CONTINUATION frames, until one has the flag END_HEADERS. The first frame
//! is a SETTINGS frame (RFC 9113, 3.4), here one of six:
//!
//! ```text
//! 00 00 06   04   00   00 00 00 00   00 03 00 00 00 80
//! length     type flg  stream        MAX_CONCURRENT_STREAMS = 128
//! ```

/// Bytes before the payload of a frame.
const HEADER_BYTES: usize = 9;
/// Types of frames, and the flags that matter.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Bytes of one setting.
const SETTING_BYTES: usize = 6;

/// The frames that came from a peer so far.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the next frame's header that are there.
    header_bytes: usize,
    /// Bytes of the frame's payload, or of the preface, that are missing.
    missing: usize,
    /// The fields of a head are not at their end.
    head_open: bool,
    /// There was a frame.
    begun: bool,
    finished: u64,
}

/// The first frame is none of HTTP/2.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotHttp2;

impl Frames {
    /// Nothing has come yet, and `preface` bytes come before the first frame.
    pub(super) fn after(preface: usize) -> Self {
        Self { header: [0; _], header_bytes: 0, missing: preface, head_open: false, begun: false, finished: 0 }
    }

    /// Takes note of the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), NotHttp2> {
        while !bytes.is_empty() {
            if self.missing > 0 {
                let here = self.missing.min(bytes.len());
                self.missing -= here;
                bytes = &bytes[here..];
                self.finished += u64::from(self.missing == 0);
                continue;
            }
            self.header[self.header_bytes] = bytes[0];
            self.header_bytes += 1;
            bytes = &bytes[1..];
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), NotHttp2> {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        self.missing = u32::from_be_bytes([0, high, middle, low]) as usize;
        let settings =
            kind == SETTINGS && flags & ACK == 0 && stream == [0; 4] && self.missing.is_multiple_of(SETTING_BYTES);
        if !self.begun && !settings {
            return Err(NotHttp2);
        }
        self.begun = true;
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.head_open = flags & END_HEADERS == 0;
        }
        self.finished += u64::from(self.missing == 0);
        Ok(())
    }

    /// Whether nothing that was begun is missing its end.
    pub(super) fn between(&self) -> bool {
        self.missing == 0 && self.header_bytes == 0 && !self.head_open
    }

    /// Whether there was a first frame.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Frames that came as a whole.
    pub(super) fn finished(&self) -> u64 {
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

    #[test]
    fn the_example_of_the_specification_is_one_frame() {
        let shown = include_str!("frames.rs").split("//! ```text\n//! ").nth(1).and_then(|rest| rest.lines().next());
        let bytes: Vec<u8> =
            shown.unwrap().split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
        assert_eq!(bytes.len(), HEADER_BYTES + SETTING_BYTES);
        let mut frames = Frames::after(0);
        for (index, byte) in bytes.iter().enumerate() {
            assert_eq!(frames.between(), index == 0, "{index} bytes");
            frames.feed(&[*byte]).unwrap();
        }
        assert!(frames.between() && frames.begun());
        assert_eq!(frames.finished(), 1);
    }

    #[test]
    fn a_head_ends_with_its_last_frame() {
        let mut frames = Frames::after(0);
        frames.feed(EMPTY_SETTINGS).unwrap();
        for (frame, between) in [
            (&b"\0\0\x01\x01\0\0\0\0\x01x"[..], false),
            (b"\0\0\x01\x09\0\0\0\0\x01x", false),
            (b"\0\0\x01\x09\x04\0\0\0\x01x", true),
            (b"\0\0\x01\x01\x04\0\0\0\x03x", true),
            (b"\0\0\x01\0\0\0\0\0\x03x", true),
        ] {
            frames.feed(frame).unwrap();
            assert_eq!(frames.between(), between, "{frame:?}");
        }
        assert_eq!(frames.finished(), 6);
    }

    #[test]
    fn the_first_frame_is_a_setting() {
        for bytes in [
            &b"HTTP/1.1 "[..],
            b"\0\0\0\x04\x01\0\0\0\0",
            b"\0\0\0\x04\0\0\0\0\x01",
            b"\0\0\x05\x04\0\0\0\0\0",
            b"\0\0\x08\x06\0\0\0\0\0",
        ] {
            assert_eq!(Frames::after(0).feed(bytes), Err(NotHttp2), "{bytes:?}");
            assert_eq!(Frames::after(0).feed(&bytes[..8]), Ok(()), "{bytes:?}");
        }
        let mut frames = Frames::after(3);
        frames.feed(b"PRI").unwrap();
        assert!(frames.between() && !frames.begun());
        frames.feed(EMPTY_SETTINGS).unwrap();
        assert!(frames.begun());
    }
}
