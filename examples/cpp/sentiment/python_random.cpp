#include "python_random.h"

#include <algorithm>

namespace {

// The first 64 bits of the fractional part of a prime's root, exactly: the constants of SHA-512.
std::uint64_t root_bits(unsigned prime, int degree) {
    unsigned __int128 low = 0, high = static_cast<unsigned __int128>(20) << 64;  // root · 2^64 lies between them
    const auto power_exceeds = [&](unsigned __int128 root) {  // root^degree > prime · 2^(64·degree), in base 2^32
        std::vector<std::uint64_t> product = {1};
        std::vector<std::uint64_t> factor;
        for (unsigned __int128 rest = root; rest; rest >>= 32) factor.push_back(static_cast<std::uint32_t>(rest));
        for (int i = 0; i < degree; ++i) {
            std::vector<std::uint64_t> next(product.size() + factor.size() + 1, 0);
            for (std::size_t a = 0; a < product.size(); ++a) {
                std::uint64_t carry = 0;
                for (std::size_t b = 0; b < factor.size() || carry; ++b) {
                    const std::uint64_t sum =
                        next[a + b] + product[a] * (b < factor.size() ? factor[b] : 0) + carry;
                    next[a + b] = static_cast<std::uint32_t>(sum);
                    carry = sum >> 32;
                }
            }
            product = next;
        }
        const std::size_t place = static_cast<std::size_t>(2 * degree);
        std::uint64_t above = 0, below = 0;
        for (std::size_t i = 0; i < product.size(); ++i) (i < place ? below : above) |= i == place ? 0 : product[i];
        const std::uint64_t digit = place < product.size() ? product[place] : 0;
        return above || digit > prime || (digit == prime && below);
    };
    while (high - low > 1) {
        const unsigned __int128 middle = low + (high - low) / 2;
        (power_exceeds(middle) ? high : low) = middle;
    }
    return static_cast<std::uint64_t>(low);
}

std::vector<unsigned> first_primes(std::size_t count) {
    std::vector<unsigned> primes;
    for (unsigned n = 2; primes.size() < count; ++n) {
        bool prime = true;
        for (const unsigned p : primes) prime = prime && n % p != 0;
        if (prime) primes.push_back(n);
    }
    return primes;
}

std::uint64_t rotate(std::uint64_t x, int by) { return x >> by | x << (64 - by); }

std::string sha512(const std::string &text) {
    const std::vector<unsigned> primes = first_primes(80);
    std::uint64_t k[80], h[8];
    for (int i = 0; i < 80; ++i) k[i] = root_bits(primes[static_cast<std::size_t>(i)], 3);
    for (int i = 0; i < 8; ++i) h[i] = root_bits(primes[static_cast<std::size_t>(i)], 2);
    std::string padded = text + '\x80';
    while (padded.size() % 128 != 112) padded += '\0';
    padded.append(8, '\0');
    for (int i = 7; i >= 0; --i) padded += static_cast<char>(text.size() * 8 >> (8 * i));
    for (std::size_t block = 0; block < padded.size(); block += 128) {
        std::uint64_t w[80], v[8];
        for (int i = 0; i < 16; ++i) {
            w[i] = 0;
            for (int j = 0; j < 8; ++j)
                w[i] = w[i] << 8 | static_cast<unsigned char>(padded[block + static_cast<std::size_t>(8 * i + j)]);
        }
        for (int i = 16; i < 80; ++i)
            w[i] = (rotate(w[i - 2], 19) ^ rotate(w[i - 2], 61) ^ w[i - 2] >> 6) + w[i - 7] +
                   (rotate(w[i - 15], 1) ^ rotate(w[i - 15], 8) ^ w[i - 15] >> 7) + w[i - 16];
        for (int i = 0; i < 8; ++i) v[i] = h[i];
        for (int i = 0; i < 80; ++i) {
            const std::uint64_t one = v[7] + (rotate(v[4], 14) ^ rotate(v[4], 18) ^ rotate(v[4], 41)) +
                                      ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
            const std::uint64_t two = (rotate(v[0], 28) ^ rotate(v[0], 34) ^ rotate(v[0], 39)) +
                                      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            for (int j = 7; j > 0; --j) v[j] = v[j - 1];
            v[4] += one;
            v[0] = one + two;
        }
        for (int i = 0; i < 8; ++i) h[i] += v[i];
    }
    std::string digest;
    for (const std::uint64_t word : h)
        for (int i = 7; i >= 0; --i) digest += static_cast<char>(word >> (8 * i));
    return digest;
}

}  // namespace

PythonRandom::PythonRandom(const std::string &seed) {
    // The text and its SHA-512 are one large number, most significant byte first; its 32-bit digits seed the twister.
    const std::string number = seed + sha512(seed);
    std::vector<std::uint32_t> key((number.size() + 3) / 4, 0);
    for (std::size_t i = 0; i < number.size(); ++i)
        key[i / 4] |= std::uint32_t{static_cast<unsigned char>(number[number.size() - 1 - i])} << (8 * (i % 4));
    while (key.size() > 1 && key.back() == 0) key.pop_back();

    state_[0] = 19650218u;
    for (std::uint32_t i = 1; i < 624; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ state_[i - 1] >> 30) + i;
    std::size_t i = 1, j = 0;
    for (std::size_t round = std::max<std::size_t>(624, key.size()); round > 0; --round) {
        state_[i] = (state_[i] ^ (state_[i - 1] ^ state_[i - 1] >> 30) * 1664525u) + key[j] +
                    static_cast<std::uint32_t>(j);
        if (++i == 624) state_[0] = state_[623], i = 1;
        if (++j == key.size()) j = 0;
    }
    for (std::size_t round = 623; round > 0; --round) {
        state_[i] = (state_[i] ^ (state_[i - 1] ^ state_[i - 1] >> 30) * 1566083941u) - static_cast<std::uint32_t>(i);
        if (++i == 624) state_[0] = state_[623], i = 1;
    }
    state_[0] = 0x80000000u;
}

std::uint32_t PythonRandom::next() {
    if (at_ == 624) {
        for (int i = 0; i < 624; ++i) {
            const std::uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % 624] & 0x7fffffffu);
            state_[i] = state_[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        at_ = 0;
    }
    std::uint32_t y = state_[at_++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

std::size_t PythonRandom::below(std::size_t bound) {
    int bits = 0;
    while (bound >> bits) ++bits;
    std::size_t drawn;
    do drawn = next() >> (32 - bits);
    while (drawn >= bound);
    return drawn;
}

std::vector<std::size_t> PythonRandom::sample_all(std::size_t count) {
    std::vector<std::size_t> pool(count), sample(count);
    for (std::size_t i = 0; i < count; ++i) pool[i] = i;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t drawn = below(count - i);
        sample[i] = pool[drawn];
        pool[drawn] = pool[count - i - 1];
    }
    return sample;
}
