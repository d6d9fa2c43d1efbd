package org.speft.examples.sentiment;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Collections;
import java.util.List;

/**
 * Python's random.Random of a string: the Mersenne Twister MT19937, seeded and used as Python does.
 *
 * <p>The Python demo splits its data and cuts its batches with it. With the same, all programs of this example see the
 * same texts in the same order, and their accuracies can be compared.
 */
final class PythonRandom {
    private static final int WORDS = 624;
    private static final int MIDDLE = 397;

    private final int[] state = new int[WORDS];
    private int next = WORDS;

    PythonRandom(String seed) {
        byte[] text = seed.getBytes(StandardCharsets.UTF_8);
        byte[] digest = sha512(text);
        seedWith(words(ByteBuffer.allocate(text.length + digest.length).put(text).put(digest).array()));
    }

    /** random.shuffle: Fisher and Yates, from the end. */
    void shuffle(List<?> list) {
        for (int last = list.size() - 1; last > 0; last--) {
            Collections.swap(list, last, below(last + 1));
        }
    }

    /** random.sample(range(count), count): all numbers below `count` in a random order. */
    int[] permutation(int count) {
        int[] pool = new int[count];
        for (int i = 0; i < count; i++) {
            pool[i] = i;
        }
        int[] drawn = new int[count];
        for (int i = 0; i < count; i++) {
            int place = below(count - i);
            drawn[i] = pool[place];
            pool[place] = pool[count - i - 1];
        }
        return drawn;
    }

    /** A number from 0 to `bound` - 1; larger ones are drawn again. */
    private int below(int bound) {
        int unused = Integer.numberOfLeadingZeros(bound);
        int number = draw() >>> unused;
        while (number >= bound) {
            number = draw() >>> unused;
        }
        return number;
    }

    /** The next 32 bits. */
    private int draw() {
        if (next == WORDS) {
            twist();
            next = 0;
        }
        int bits = state[next++];
        bits ^= bits >>> 11;
        bits ^= bits << 7 & 0x9d2c5680;
        bits ^= bits << 15 & 0xefc60000;
        return bits ^ bits >>> 18;
    }

    private void twist() {
        for (int i = 0; i < WORDS; i++) {
            int bits = state[i] & 0x80000000 | state[(i + 1) % WORDS] & 0x7fffffff;
            state[i] = state[(i + MIDDLE) % WORDS] ^ bits >>> 1 ^ ((bits & 1) == 0 ? 0 : 0x9908b0df);
        }
    }

    /** init_by_array of Matsumoto and Nishimura. */
    private void seedWith(int[] key) {
        state[0] = 19650218;
        for (int i = 1; i < WORDS; i++) {
            state[i] = 1812433253 * (state[i - 1] ^ state[i - 1] >>> 30) + i;
        }
        int i = 1;
        int j = 0;
        for (int round = Math.max(WORDS, key.length); round > 0; round--) {
            state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >>> 30) * 1664525) + key[j] + j;
            i = following(i);
            j = (j + 1) % key.length;
        }
        for (int round = WORDS - 1; round > 0; round--) {
            state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >>> 30) * 1566083941) - i;
            i = following(i);
        }
        state[0] = 0x80000000;
    }

    /** The word after this one; the first, when it comes round, takes over what the last has become. */
    private int following(int i) {
        if (i + 1 < WORDS) {
            return i + 1;
        }
        state[0] = state[WORDS - 1];
        return 1;
    }

    /** A big-endian number as 32-bit words, the lowest first. */
    private static int[] words(byte[] number) {
        int[] words = new int[(number.length + 3) / 4];
        for (int i = 0; i < number.length; i++) {
            words[i / 4] |= (number[number.length - 1 - i] & 0xff) << 8 * (i % 4);
        }
        return words;
    }

    private static byte[] sha512(byte[] text) {
        try {
            return MessageDigest.getInstance("SHA-512").digest(text);
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every Java has SHA-512", impossible);
        }
    }
}
