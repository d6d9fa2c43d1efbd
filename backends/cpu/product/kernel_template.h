// The kernels of kernels.h for any instruction set. Each one compiles this with options of its own, so everything
// here has internal linkage and calls nothing that is shared: the linker must never take an AVX-512 copy of a
// function for all.
//
// An instruction set is a class with
//   lanes, tokens_a_word         32-bit words in a vector; tokens in a word
//   Vector                       `lanes` float sums
//   multiply_add(a, b, sum)      sum + what the words of two vectors have for each other
//   load_quads(source, stride)   four words from `source`, four from `source + stride`, … until the vector is full
//   widen(halves, floats)        `lanes` of float16
#pragma once

#include <cstdint>
#include <utility>

#include "backends/cpu/product/kernels.h"
#include "speft/backend.h"

namespace speft::cpu {
namespace {

// `tile_rows` × `tile_vectors` vectors are the sums of a tile, which have to fit the registers.
template <class InstructionSet, int tile_rows, int tile_vectors>
struct KernelTemplate {
    using Vector = typename InstructionSet::Vector;
    typedef float Quad __attribute__((vector_size(16)));
    typedef Word Words __attribute__((vector_size(sizeof(Vector))));
    static constexpr int lanes = InstructionSet::lanes;
    static constexpr int tokens_a_word = InstructionSet::tokens_a_word;
    static constexpr int tile_columns = tile_vectors * lanes;
    static_assert(lanes <= static_cast<int>(max_lanes) && tile_rows * tile_columns <= static_cast<int>(max_tile));

    static Vector load(const Word *source) {
        Vector vector;
        __builtin_memcpy(&vector, source, sizeof vector);
        return vector;
    }

    static void store(Word *target, Vector vector) { __builtin_memcpy(target, &vector, sizeof vector); }

    // By integers: as a float, an infinity above another bfloat16 is a NaN, whose bits need not survive.
    static Vector broadcast(Word word) { return reinterpret_cast<Vector>(word + Words{}); }

    // Each quad of the result takes four words of the same quads of a (0 to 3) and b (4 to 7).
    template <int p0, int p1, int p2, int p3, int... i>
    static Vector mix(Vector a, Vector b, std::integer_sequence<int, i...>) {
        constexpr int pattern[] = {p0, p1, p2, p3};
        return __builtin_shufflevector(a, b, (i / 4 * 4 + pattern[i % 4] % 4 + pattern[i % 4] / 4 * lanes)...);
    }

    template <int p0, int p1, int p2, int p3>
    static Vector mix(Vector a, Vector b) {
        return mix<p0, p1, p2, p3>(a, b, std::make_integer_sequence<int, lanes>{});
    }

    // Inlined by force: GCC takes a function that only prefetches for one without effects, and drops the calls.
    [[gnu::always_inline]] static inline void take_step(Ahead &ahead) {
        constexpr std::uint64_t cache_line = 64;
        Ahead::Region &region = ahead.regions[ahead.regions[0].rows == 0];
        if (region.rows == 0) return;
        const unsigned char *row = region.row;
        std::uint64_t rows = region.rows, offset = ahead.offset;  // of their own: kept in registers
        for (std::uint64_t lines = ahead.lines_a_step; lines > 0; --lines) {
            __builtin_prefetch(row + offset, 0, 2);  // into the second level: the first one is full
            offset += cache_line;
            if (offset < region.row_bytes) continue;
            offset = 0;
            row += region.stride;
            if (--rows == 0) break;
        }
        region.row = row;
        region.rows = rows;
        ahead.offset = offset;
    }

    // ---- from factors to words ----

    static void read_pairs(const Window &window, std::uint64_t token, std::uint64_t column, std::uint64_t columns,
                           Word *target) {
        const std::uint16_t *low =
            static_cast<const std::uint16_t *>(window.values) + token * window.stride + column;
        if (token + 1 < window.tokens) {
            const std::uint16_t *high = low + window.stride;
            for (std::uint64_t c = 0; c < columns; ++c) target[c] = low[c] | static_cast<Word>(high[c]) << 16;
        } else {
            for (std::uint64_t c = 0; c < columns; ++c) target[c] = low[c];
        }
    }

    static void read_halves(const std::uint16_t *source, std::uint64_t columns, Word *target) {
        std::uint64_t c = 0;
        for (; c + lanes <= columns; c += lanes) InstructionSet::widen(source + c, target + c);
        if (c == columns) return;
        std::uint16_t halves[lanes] = {};
        Word words[lanes];
        __builtin_memcpy(halves, source + c, (columns - c) * sizeof *halves);
        InstructionSet::widen(halves, words);
        __builtin_memcpy(target + c, words, (columns - c) * sizeof *words);
    }

    // One word of each of `columns` columns.
    static void read_words(const Window &window, std::uint64_t word, std::uint64_t column, std::uint64_t columns,
                           Word *target) {
        const std::uint64_t token = word * tokens_a_word;
        if constexpr (tokens_a_word == 2) return read_pairs(window, token, column, columns, target);
        const std::uint64_t start = token * window.stride + column;
        if (window.type == SPEFT_SCALAR_FLOAT32) {
            __builtin_memcpy(target, static_cast<const float *>(window.values) + start, columns * sizeof(float));
            return;
        }
        const std::uint16_t *source = static_cast<const std::uint16_t *>(window.values) + start;
        if (window.type == SPEFT_SCALAR_FLOAT16) return read_halves(source, columns, target);
        for (std::uint64_t c = 0; c < columns; ++c) target[c] = static_cast<Word>(source[c]) << 16;
    }

    static std::uint64_t count_words(const Window &window) {
        return (window.tokens + tokens_a_word - 1) / tokens_a_word;
    }

    // tile[lanes][stride] → panel[lanes][panel_stride]. Loading quads from rows that lie 4 apart leaves a 4 × 4
    // transposition to each quad of the registers: what crosses quads is slower, and there would be twice as much.
    static void transpose(const Word *tile, std::uint64_t stride, Word *panel, std::uint64_t panel_stride) {
#pragma GCC unroll 4
        for (int quad = 0; quad < lanes / 4; ++quad, tile += 4, panel += 4 * panel_stride) {
            Vector rows[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) rows[i] = InstructionSet::load_quads(tile + i * stride, 4 * stride);
            const Vector low01 = mix<0, 4, 1, 5>(rows[0], rows[1]), high01 = mix<2, 6, 3, 7>(rows[0], rows[1]);
            const Vector low23 = mix<0, 4, 1, 5>(rows[2], rows[3]), high23 = mix<2, 6, 3, 7>(rows[2], rows[3]);
            store(panel, mix<0, 1, 4, 5>(low01, low23));
            store(panel + panel_stride, mix<2, 3, 6, 7>(low01, low23));
            store(panel + 2 * panel_stride, mix<0, 1, 4, 5>(high01, high23));
            store(panel + 3 * panel_stride, mix<2, 3, 6, 7>(high01, high23));
        }
    }

    // Words that can be transposed where they are: float32, and not whole pages from row to row, which would put all
    // rows of a tile into one set of the first-level cache.
    static bool are_ready(const Window &window) {
        constexpr std::uint64_t page = 4096;
        return tokens_a_word == 1 && window.type == SPEFT_SCALAR_FLOAT32 && window.stride * sizeof(Word) % page != 0;
    }

    // `lanes` words of `columns` columns, some of which may not be there, → rows[lanes][run].
    template <std::uint64_t run>
    static void read_tile(const Window &window, std::uint64_t word, std::uint64_t words_there, std::uint64_t column,
                          std::uint64_t columns, Word *rows) {
        if (words_there < lanes || columns % lanes != 0) __builtin_memset(rows, 0, lanes * run * sizeof *rows);
        for (std::uint64_t i = 0; i < lanes && i < words_there; ++i) {
            if (columns == run)  // the usual case, with its length known to the compiler
                read_words(window, word + i, column, run, rows + i * run);
            else
                read_words(window, word + i, column, columns, rows + i * run);
        }
    }

    static void fill_columns(const Window &window, std::uint64_t words, Word *panel, std::uint64_t panel_stride,
                             Ahead &ahead) {
        constexpr std::uint64_t run = 4 * max_lanes;
        const bool ready = are_ready(window);
        const std::uint64_t all_words = count_words(window);
        Word copy[lanes * run];
        for (std::uint64_t word = 0; word < words; word += lanes)
            for (std::uint64_t column = 0; column < window.columns; column += run) {
                const std::uint64_t columns = column + run < window.columns ? run : window.columns - column;
                const std::uint64_t words_there = word < all_words ? all_words - word : 0;
                const bool in_place = ready && words_there >= lanes && columns % lanes == 0;
                if (!in_place) read_tile<run>(window, word, words_there, column, columns, copy);
                const Word *const tile =
                    in_place ? static_cast<const Word *>(window.values) + word * window.stride + column : copy;
                for (std::uint64_t c = 0; c < columns; c += lanes) {
                    transpose(tile + c, in_place ? window.stride : run, panel + (column + c) * panel_stride + word,
                              panel_stride);
                    take_step(ahead);
                }
            }
    }

    static void fill_strip(const Window &window, std::uint64_t strip_columns, Word *strip) {
        const std::uint64_t words = count_words(window);
        for (std::uint64_t word = 0; word < words; ++word, strip += strip_columns) {
            read_words(window, word, 0, window.columns, strip);
            __builtin_memset(strip + window.columns, 0, (strip_columns - window.columns) * sizeof *strip);
        }
    }

    // `words` words of a column that lies in a line.
    static void read_line(const Window &window, std::uint64_t column, std::uint64_t word, std::uint64_t words,
                          Word *target) {
        if constexpr (tokens_a_word == 1) return read_words(window, column, word, words, target);
        const std::uint64_t token = word * tokens_a_word, left = window.tokens - token;
        const std::uint16_t *const source =
            static_cast<const std::uint16_t *>(window.values) + column * window.stride + token;
        if (left < words * tokens_a_word) target[words - 1] = 0;
        __builtin_memcpy(target, source,
                         (left < words * tokens_a_word ? left : words * tokens_a_word) * sizeof *source);
    }

    static void fill_strip_of_lines(const Window &window, std::uint64_t strip_columns, Word *strip) {
        const bool ready = are_ready(window);
        const std::uint64_t all_words = count_words(window);
        Word lines[lanes * lanes], turned[lanes * lanes];
        for (std::uint64_t column = 0; column < strip_columns; column += lanes) {
            const std::uint64_t left = column < window.columns ? window.columns - column : 0;
            const std::uint64_t columns = left < lanes ? left : lanes;
            const std::uint64_t width = strip_columns - column < lanes ? strip_columns - column : lanes;
            for (std::uint64_t word = 0; word < all_words; word += lanes) {
                const std::uint64_t words = all_words - word < lanes ? all_words - word : lanes;
                Word *const target = strip + word * strip_columns + column;
                const bool in_place = ready && columns == lanes && words == lanes;
                if (!in_place) {
                    if (columns < lanes || words < lanes) __builtin_memset(lines, 0, sizeof lines);
                    for (std::uint64_t c = 0; c < columns; ++c)
                        read_line(window, column + c, word, words, lines + c * lanes);
                }
                const Word *const tile =
                    in_place ? static_cast<const Word *>(window.values) + column * window.stride + word : lines;
                const std::uint64_t stride = in_place ? window.stride : lanes;
                if (width == lanes && words == lanes) {
                    transpose(tile, stride, target, strip_columns);
                    continue;
                }
                transpose(tile, stride, turned, lanes);
                for (std::uint64_t i = 0; i < words; ++i) {
                    if (width == tile_rows)  // the usual case, with its length known to the compiler
                        __builtin_memcpy(target + i * strip_columns, turned + i * lanes, tile_rows * sizeof *turned);
                    else
                        __builtin_memcpy(target + i * strip_columns, turned + i * lanes, width * sizeof *turned);
                }
            }
        }
    }

    // ---- at a mask ----

    // The sums of four vectors.
    static Quad sum(const Vector (&vectors)[4]) {
        Vector halves[2];
        for (int i : {0, 1}) {
            const Vector a = vectors[2 * i], b = vectors[2 * i + 1];
            halves[i] = mix<0, 4, 1, 5>(a, b) + mix<2, 6, 3, 7>(a, b);
        }
        const Vector quads =
            mix<0, 1, 4, 5>(halves[0], halves[1]) + mix<2, 3, 6, 7>(halves[0], halves[1]);
        Quad parts[lanes / 4];
        __builtin_memcpy(parts, &quads, sizeof quads);
        for (int width = lanes / 8; width > 0; width /= 2)
            for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
        return parts[0];
    }

    // Four dot products at once, so that their chains of additions hide each other's latency. Each is summed in the
    // same order whatever the others are.
    struct Dots {
        const Word *rows[4], *columns[4];
        float *sums[4];
    };

    template <bool of_one_row>
    static void add_dots(const Dots &dots, const SampledStrip &strip) {
        Vector partial[4] = {};
        for (std::uint64_t word = 0; word < strip.words; word += lanes) {
            const Vector first = load(dots.rows[0] + word);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i)
                partial[i] = InstructionSet::multiply_add(of_one_row ? first : load(dots.rows[i] + word),
                                                          load(dots.columns[i] + word), partial[i]);
        }
        take_step(*strip.ahead);
        const Quad sums = sum(partial);
        for (int i = 0; i < 4; ++i) *dots.sums[i] += strip.scale * sums[i];
    }

    // Four columns of a row share its loads; what is left of several rows is taken together.
    static void add_sampled(const SampledStrip &strip) {
        Dots left;
        int count = 0;
        for (std::uint64_t r = 0; r < strip.row_count; ++r) {
            const Word *const row = strip.rows + r * strip.panel_stride;
            const std::uint32_t origin = strip.origin + static_cast<std::uint32_t>(r) * strip.width;
            const auto column = [&](std::uint64_t j) {
                return strip.columns + static_cast<std::uint64_t>(strip.indices[j] - origin) * strip.panel_stride;
            };
            std::uint64_t j = strip.starts[r * strip.starts_stride];
            const std::uint64_t end = strip.starts[r * strip.starts_stride + 1];
            for (; j + 4 <= end; j += 4)
                add_dots<true>({{row},
                                {column(j), column(j + 1), column(j + 2), column(j + 3)},
                                {strip.sums + j, strip.sums + j + 1, strip.sums + j + 2, strip.sums + j + 3}},
                               strip);
            for (; j < end; ++j) {
                left.rows[count] = row;
                left.columns[count] = column(j);
                left.sums[count] = strip.sums + j;
                if (++count < 4) continue;
                add_dots<false>(left, strip);
                count = 0;
            }
        }
        if (count == 0) return;
        float nowhere = 0.0f;
        for (; count < 4; ++count) {
            left.rows[count] = left.rows[0];
            left.columns[count] = left.columns[0];
            left.sums[count] = &nowhere;
        }
        add_dots<false>(left, strip);
    }

    // ---- everywhere ----

    static void multiply_tile(const Word *rows, const Word *columns, std::uint64_t words, float *product) {
        Vector sums[tile_rows][tile_vectors] = {};
        for (std::uint64_t word = 0; word < words; ++word) {
            Vector right[tile_vectors];
#pragma GCC unroll 4
            for (int v = 0; v < tile_vectors; ++v) right[v] = load(columns + v * lanes);
#pragma GCC unroll 16
            for (int row = 0; row < tile_rows; ++row) {
                const Vector left = broadcast(rows[row]);
#pragma GCC unroll 4
                for (int v = 0; v < tile_vectors; ++v)
                    sums[row][v] = InstructionSet::multiply_add(right[v], left, sums[row][v]);
            }
            rows += tile_rows;
            columns += tile_columns;
        }
        for (int row = 0; row < tile_rows; ++row)
            for (int v = 0; v < tile_vectors; ++v)
                __builtin_memcpy(product + row * tile_columns + v * lanes, &sums[row][v], sizeof(Vector));
    }

    // ---- with a sparse factor ----

    // Each entry is likely a miss of the first-level cache: wide columns bring several lines of it at once.
    static constexpr int wide_vectors = lanes == 16 ? 4 : 8;

    static void sum_entries(const Word *strip, const SparseEntry *entries, const SparseEntry *end, float *sums) {
        constexpr int wide_columns = wide_vectors * lanes;
        static_assert(wide_columns <= static_cast<int>(max_wide));
        Vector total[wide_vectors] = {};
        for (; entries != end; ++entries) {
            const Word *const column = strip + std::uint64_t{entries->word} * wide_columns;
            const Vector value = entries->value + Vector{};
#pragma GCC unroll 8
            for (int v = 0; v < wide_vectors; ++v)
                total[v] = InstructionSet::multiply_add(load(column + v * lanes), value, total[v]);
        }
#pragma GCC unroll 8
        for (int v = 0; v < wide_vectors; ++v) __builtin_memcpy(sums + v * lanes, &total[v], sizeof(Vector));
    }

    static constexpr ProductKernels kernels = {
        .tokens_a_word = tokens_a_word,
        .fill_columns = fill_columns,
        .word_multiple = lanes,
        .add_sampled = add_sampled,
        .fill_strip = fill_strip,
        .fill_strip_of_lines = fill_strip_of_lines,
        .multiply_tile = multiply_tile,
        .tile_rows = tile_rows,
        .tile_columns = tile_columns,
        .sum_entries = tokens_a_word == 1 ? sum_entries : nullptr,
        .wide_columns = wide_vectors * lanes,
    };
};

}  // namespace
}  // namespace speft::cpu
