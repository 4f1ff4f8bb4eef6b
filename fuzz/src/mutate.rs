//! Damage without libFuzzer: changed copies of seeds, the same ones on every run. It knows nothing of coverage; what it
//! is for is to show that targets hold, not to search.

/// Numbers at which decoders change their minds.
const INTERESTING: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// An endless sequence of changed copies of some inputs.
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    state: u64,
}

impl Mutations {
    /// The sequence of these seeds and this number.
    pub fn new(seeds: Vec<Vec<u8>>, number: u64) -> Self {
        let state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { seeds, state }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// A number below `limit`, which is at least 1; small ones are more likely, as heads stand at the start.
    fn place(&mut self, limit: usize) -> usize {
        let limit = match self.random() % 3 {
            0 => limit.min(80),
            _ => limit,
        };
        self.random() as usize % limit
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.place(bytes.len().max(1));
        let len = bytes.len();
        match self.random() % 8 {
            _ if bytes.is_empty() => bytes.push(self.random() as u8),
            0 => bytes[at] = self.random() as u8,
            1 => bytes[at] ^= 1 << (self.random() % 8),
            2 => {
                let number = INTERESTING[self.random() as usize % INTERESTING.len()].to_le_bytes();
                let width = 1 << (self.random() % 4);
                bytes
                    .iter_mut()
                    .skip(at)
                    .zip(&number[..width])
                    .for_each(|(target, byte)| *target = *byte);
            }
            3 => bytes.truncate(at),
            4 => bytes.insert(at, self.random() as u8),
            5 => drop(bytes.drain(at..len.min(at + 1 + self.random() as usize % 9))),
            6 => {
                let end = len.min(at + 1 + self.random() as usize % 40);
                let piece = bytes[at..end].to_vec();
                let to = self.place(len);
                bytes.splice(to..to, piece);
            }
            _ => {
                let other = self.random() as usize % self.seeds.len();
                let other = self.seeds[other].clone();
                let from = self.place(other.len().max(1)).min(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let seed = self.random() as usize % self.seeds.len().max(1);
        let mut bytes = self.seeds.get(seed)?.clone();
        for _ in 0..=self.random() % 4 {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}
