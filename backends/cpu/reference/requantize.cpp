#include <cmath>
#include <numeric>
#include <optional>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/quantization/scales.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

// What is decoded at a time. Even: no byte of 4-bit codes is in two chunks.
constexpr std::uint64_t chunk_size = 256;

struct Sums {
    std::uint64_t changed = 0;
    double squares = 0, squared_errors = 0;
};

// What codes are looked up in.
struct Tables {
    std::optional<OrderedLevels<16>> levels;
    std::optional<OrderedLevels<256>> absmax_levels;

    explicit Tables(const speft_quantized_blocks &quantized) {
        if (quantized.coding == SPEFT_CODING_LEVELS4) levels.emplace(quantized.levels);
        if (quantized.absmax_codes) absmax_levels.emplace(quantized.absmax_levels);
    }
};

// One block, whose scale was `absmax`, and the values that are added to it.
template <class Value>
struct Block {
    const speft_requantize_blocks &r;
    std::uint64_t number, begin, end;
    std::uint64_t first, last;  // of r.indices
    float absmax;

    Block(const speft_requantize_blocks &arguments, std::uint64_t j)
        : r(arguments), number(r.indices[j] / r.quantized.block), begin(number * r.quantized.block),
          end(std::min(begin + r.quantized.block, r.quantized.count)), first(j), last(j),
          absmax(scale_of_block(r.quantized, number)) {
        while (last < r.count && r.indices[last] < end) ++last;
    }

    bool is_short() const { return end - begin < r.quantized.block; }

    // visit(chunk, weights, j): of the weights in [chunk.begin, chunk.end), to which values were added from index j on.
    template <class Visit>
    void for_each_chunk(Visit &&visit) const {
        std::uint64_t j = first;
        for (std::uint64_t at = begin; at < end; at += chunk_size) {
            const Piece chunk{0, at, std::min(at + chunk_size, end)};
            float weights[chunk_size];
            for (std::uint64_t i = chunk.begin; i < chunk.end; ++i)
                weights[i - chunk.begin] = decode_scalar(r.quantized, i, absmax);
            const std::uint64_t from = j;
            for (; j < last && r.indices[j] < chunk.end; ++j)
                weights[r.indices[j] - chunk.begin] += to_float(static_cast<const Value *>(r.values)[j]);
            visit(chunk, static_cast<const float *>(weights), from);
        }
    }
};

// body(block) for each block of a piece that values are added to.
template <class Value, class Body>
void for_each_block(const speft_requantize_blocks &r, Piece piece, Body &&body) {
    const std::uint32_t *const end = r.indices + r.count;
    auto j = static_cast<std::uint64_t>(std::lower_bound(r.indices, end, piece.begin * r.quantized.block) - r.indices);
    while (j < r.count && r.indices[j] < piece.end * r.quantized.block) {
        const Block<Value> block(r, j);
        body(block);
        j = block.last;
    }
}

template <class Value>
std::uint64_t count_not_finite(const Block<Value> &block) {
    std::uint64_t count = 0;
    block.for_each_chunk([&](Piece chunk, const float *weights, std::uint64_t) {
        for (std::uint64_t i = 0; i < chunk.end - chunk.begin; ++i) count += !std::isfinite(weights[i]);
    });
    return count;
}

template <class Value>
float find_absmax(const Block<Value> &block) {
    float absmax = 0;
    block.for_each_chunk([&](Piece chunk, const float *weights, std::uint64_t) {
        for (std::uint64_t i = 0; i < chunk.end - chunk.begin; ++i) absmax = std::max(absmax, std::fabs(weights[i]));
    });
    return absmax;
}

// A scale as it will be read, and its code where scales are codes.
struct Scale {
    float absmax;
    std::uint8_t code;
};

template <class Value>
Scale encode_absmax(const Block<Value> &block, const Tables &tables, float absmax) {
    const speft_requantize_blocks &r = block.r;
    if (!tables.absmax_levels) {
        // As quantizing leaves it there.
        const bool is_divisor = r.quantized.coding == SPEFT_CODING_LEVELS4 && block.is_short();
        return {is_divisor ? divisor_of(absmax) : absmax, 0};
    }
    const float absmax_absmax = r.quantized.absmax_absmax[block.number / r.quantized.absmax_block];
    const float offset = *r.quantized.absmax_offset;
    const std::uint8_t code = tables.absmax_levels->nearest(ShareOfScale(absmax_absmax)(absmax - offset));
    return {decode_absmax(r.quantized.absmax_levels[code], absmax_absmax, offset), code};
}

// codes[i] of a chunk: those there are.
void read_codes(const speft_quantized_blocks &quantized, Piece chunk, std::uint8_t *codes) {
    const auto *const source = static_cast<const std::uint8_t *>(quantized.codes);
    if (quantized.coding == SPEFT_CODING_INT8)
        std::copy(source + chunk.begin, source + chunk.end, codes);
    else
        for (std::uint64_t i = chunk.begin; i < chunk.end; ++i) *codes++ = source[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15;
}

// `after_last`: what follows an odd count of 4-bit codes.
void write_codes(const speft_requantize_blocks &r, Piece chunk, const std::uint8_t *codes, std::uint8_t after_last) {
    auto *const target = static_cast<std::uint8_t *>(r.codes);
    const std::uint64_t count = chunk.end - chunk.begin;
    if (r.quantized.coding == SPEFT_CODING_INT8) {
        std::copy_n(codes, count, target + chunk.begin);
        return;
    }
    for (std::uint64_t i = 0; i < count; i += 2)
        target[(chunk.begin + i) / 2] =
            static_cast<std::uint8_t>(codes[i] << 4 | (i + 1 < count ? codes[i + 1] : after_last));
}

// use(encode, decode) by a scale: encode(weight) gives a code, decode(code) the weight that it will be read as.
template <class Value, class Use>
void with_scale(const Block<Value> &block, const Tables &tables, float absmax, Use &&use) {
    if (tables.levels) {
        const ShareOfScale share(absmax, block.is_short());
        use([&](float weight) { return tables.levels->nearest(share(weight)); },
            [&](std::uint8_t code) { return block.r.quantized.levels[code] * absmax; });
    } else {
        const float factor = int8_factor(absmax);
        use([&](float weight) { return static_cast<std::uint8_t>(std::lrint(clamp(weight * factor, 127))); },
            [&](std::uint8_t code) { return decode_int8(static_cast<std::int8_t>(code), absmax); });
    }
}

template <class Value>
double measure_errors(const Block<Value> &block, const Tables &tables, float absmax) {
    double sum = 0;
    with_scale(block, tables, absmax, [&](auto encode, auto decode) {
        block.for_each_chunk([&](Piece chunk, const float *weights, std::uint64_t) {
            for (std::uint64_t i = 0; i < chunk.end - chunk.begin; ++i) {
                const double error = static_cast<double>(decode(encode(weights[i]))) - static_cast<double>(weights[i]);
                sum += error * error;
            }
        });
    });
    return sum;
}

template <class Value, class Encode, class Decode>
void write_block(const Block<Value> &block, Sums &sums, Encode &&encode, Decode &&decode) {
    block.for_each_chunk([&](Piece chunk, const float *weights, std::uint64_t j) {
        std::uint8_t before[chunk_size], after[chunk_size];
        read_codes(block.r.quantized, chunk, before);
        for (std::uint64_t i = 0; i < chunk.end - chunk.begin; ++i) {
            after[i] = encode(weights[i]);
            const double weight = static_cast<double>(weights[i]);
            const double error = static_cast<double>(decode(after[i])) - weight;
            sums.squares += weight * weight;
            sums.squared_errors += error * error;
        }
        for (; j < block.last && block.r.indices[j] < chunk.end; ++j) {
            const std::uint64_t i = block.r.indices[j] - chunk.begin;
            sums.changed += before[i] != after[i];
        }
        write_codes(block.r, chunk, after, encode(0));
    });
}

template <class Value>
void requantize_block(const Block<Value> &block, const Tables &tables, Sums &sums) {
    const Scale fresh = encode_absmax(block, tables, find_absmax(block));
    const bool keeps =
        measure_errors(block, tables, block.absmax) <= measure_errors(block, tables, fresh.absmax);
    const float absmax = keeps ? block.absmax : fresh.absmax;
    with_scale(block, tables, absmax, [&](auto encode, auto decode) { write_block(block, sums, encode, decode); });
    if (keeps) return;
    if (tables.absmax_levels)
        block.r.absmax_codes[block.number] = fresh.code;
    else
        block.r.absmax[block.number] = fresh.absmax;
}

template <class Value>
void requantize(const speft_backend_device &device, const speft_requantize_blocks &r) {
    const Pieces pieces = pieces_of(r.quantized);
    const auto count = static_cast<std::size_t>(pieces.count());
    std::vector<std::uint64_t> not_finite(count);
    std::vector<Sums> sums(count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        for_each_block<Value>(r, piece, [&](const Block<Value> &block) {
            not_finite[static_cast<std::size_t>(index)] += count_not_finite(block);
        });
    });
    *r.not_finite = std::accumulate(not_finite.begin(), not_finite.end(), std::uint64_t{0});
    if (*r.not_finite > 0) return;
    const Tables tables(r.quantized);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        for_each_block<Value>(r, piece, [&](const Block<Value> &block) {
            requantize_block(block, tables, sums[static_cast<std::size_t>(index)]);
        });
    });
    Sums total;
    for (const Sums &part : sums) {
        total.changed += part.changed;
        total.squares += part.squares;
        total.squared_errors += part.squared_errors;
    }
    *r.changed = total.changed;
    *r.squares = total.squares;
    *r.squared_errors = total.squared_errors;
}

}  // namespace

void requantize(const speft_backend_device &device, const speft_requantize_blocks &arguments) {
    visit_scalar(arguments.values_type, [&](auto scalar) { requantize<decltype(scalar)>(device, arguments); });
}

}  // namespace speft::cpu
