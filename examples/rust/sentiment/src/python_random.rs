//! The numbers that Python's `random.Random` and PyTorch's CPU generator draw: both are the Mersenne Twister MT19937.
//!
//! With them the rows that are held out, the batches and the first head are those of the Python example, so that the
//! figures of the two can be compared.

use sha2::{Digest, Sha512};

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// MT19937 as its authors (Matsumoto and Nishimura 1998) define it.
pub struct MersenneTwister {
    state: [u32; SIZE],
    next: usize,
}

impl MersenneTwister {
    /// As `torch.manual_seed(seed)` seeds it: the authors' init_genrand.
    pub fn from_number(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for i in 1..SIZE {
            let before = state[i - 1];
            state[i] = 1812433253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: SIZE }
    }

    /// As `random.Random(seed)` seeds it: the text and its SHA-512 are one large number, whose words are the key.
    pub fn from_text(seed: &str) -> Self {
        let mut bytes = seed.as_bytes().to_vec();
        bytes.extend(Sha512::digest(seed.as_bytes()));
        bytes.reverse();
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        Self::from_key(&bytes.chunks(4).map(word).collect::<Vec<_>>())
    }

    /// The authors' init_by_array.
    fn from_key(key: &[u32]) -> Self {
        let mut state = Self::from_number(19650218).state;
        let mix = |state: &[u32; SIZE], i: usize, factor: u32| {
            state[i] ^ (state[i - 1] ^ (state[i - 1] >> 30)).wrapping_mul(factor)
        };
        let advance = |state: &mut [u32; SIZE], i: usize| {
            if i + 1 < SIZE {
                return i + 1;
            }
            state[0] = state[SIZE - 1];
            1
        };
        let mut i = 1;
        for step in 0..SIZE.max(key.len()) {
            let j = step % key.len();
            state[i] = mix(&state, i, 1664525).wrapping_add(key[j]).wrapping_add(j as u32);
            i = advance(&mut state, i);
        }
        for _ in 1..SIZE {
            state[i] = mix(&state, i, 1566083941).wrapping_sub(i as u32);
            i = advance(&mut state, i);
        }
        state[0] = 1 << 31;
        Self { state, next: SIZE }
    }

    /// 32 random bits.
    pub fn draw(&mut self) -> u32 {
        if self.next == SIZE {
            self.renew();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c5680;
        word ^= (word << 15) & 0xefc60000;
        word ^ (word >> 18)
    }

    fn renew(&mut self) {
        for i in 0..SIZE {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % SIZE] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// A whole number in [0, bound), as Python's `_randbelow`: what is too large is drawn again.
    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = (self.draw() >> (32 - bits)) as usize;
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// `random.shuffle(items)`
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last + 1);
            items.swap(last, chosen);
        }
    }

    /// `random.sample(range(count), count)`
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut pool: Vec<usize> = (0..count).collect();
        (0..count).map(|taken| pool.swap_remove(self.below(count - taken))).collect()
    }

    /// `tensor.uniform_(-bound, bound)` of float32: 24 random bits a number, placed with one rounding.
    pub fn uniform(&mut self, count: usize, bound: f64) -> Vec<f32> {
        let (from, width) = (-bound as f32, bound as f32 - -bound as f32);
        let mut draw = || (self.draw() & 0xff_ffff) as f32 / (1 << 24) as f32;
        (0..count).map(|_| draw().mul_add(width, from)).collect()
    }
}
