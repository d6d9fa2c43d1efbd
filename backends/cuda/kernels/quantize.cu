// Weights as codes: quantizing, reading them back, and quantizing anew the blocks that values were added to.
#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/codes.h"
#include "backends/cuda/kernels/scalars.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

constexpr unsigned warps_per_block = block_threads / warp_threads;

SPEFT_HOST_DEVICE inline bool is_finite(float value) {
    return (bit_copy<std::uint32_t>(value) & 0x7f800000u) != 0x7f800000u;
}

// Eight weights: 16 bytes of a 16-bit type, twice that of float32.
constexpr unsigned eight = 8;

template <class Scalar>
__device__ inline void load_eight(const Scalar *weights, float (&values)[eight]) {
    constexpr unsigned piece = 16 / sizeof(Scalar);
    Scalar raw[eight];
    for (unsigned i = 0; i < eight; i += piece) load_bytes<16>(raw + i, weights + i);
    for (unsigned i = 0; i < eight; ++i) values[i] = to_float(raw[i]);
}

// ---- quantize ----

// What a first look at the weights finds: whether they can be quantized at all, and their mean.
struct Findings {
    std::uint64_t not_finite;
    double sum;
    float mean;
};

constexpr std::uint64_t chunk_size = 16384;  // weights that a block sums up, on any GPU

template <class Scalar>
__global__ void inspect_weights(const Scalar *weights, std::uint64_t count, bool sums, Findings *partial) {
    const std::uint64_t begin = blockIdx.x * chunk_size, end = min(begin + chunk_size, count);
    std::uint32_t not_finite = 0;
    double sum = 0;
    for (std::uint64_t i = begin + threadIdx.x * eight; i < end; i += block_threads * eight) {
        float values[eight];
        if (i + eight <= end)
            load_eight(weights + i, values);
        else
            for (unsigned v = 0; v < eight; ++v) values[v] = i + v < end ? to_float(weights[i + v]) : 0;
        for (const float value : values) {
            not_finite += !is_finite(value);
            if (sums) sum += static_cast<double>(value);
        }
    }
    not_finite = block_sum(not_finite);
    if (sums) sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = {not_finite, sum, 0};
}

// One block adds up what the others found.
__global__ void gather_findings(const Findings *partial, std::uint64_t count, std::uint64_t weights,
                                Findings *findings) {
    unsigned long long not_finite = 0;
    double sum = 0;
    for (std::uint64_t i = threadIdx.x; i < count; i += blockDim.x) {
        not_finite += partial[i].not_finite;
        sum += partial[i].sum;
    }
    not_finite = block_sum(not_finite);
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *findings = {not_finite, sum, weights == 0 ? 0 : static_cast<float>(sum / static_cast<double>(weights))};
}

template <std::int32_t coding>
struct Levels {
    static constexpr unsigned count = coding == SPEFT_CODING_LEVELS4 ? 16 : 256;
    OrderedLevels<count> levels;
};
template <>
struct Levels<SPEFT_CODING_INT8> {};

// Where codes go. The weights are read again, which is what two passes cost; `findings` say whether to write at all.
struct Encoding {
    std::uint8_t *codes;
    float *absmax;
    const Findings *findings;
    float *offset;  // or NULL
    std::uint64_t count;
    std::uint64_t block;
};

template <unsigned count>
__device__ inline const OrderedLevels<count> &share_levels(const OrderedLevels<count> &levels) {
    __shared__ __align__(16) unsigned char bytes[sizeof(OrderedLevels<count>)];
    for (unsigned i = threadIdx.x; i < sizeof bytes; i += blockDim.x)
        bytes[i] = reinterpret_cast<const unsigned char *>(&levels)[i];
    __syncthreads();
    return *reinterpret_cast<const OrderedLevels<count> *>(bytes);
}

// Codes of the weights of one block.
template <std::int32_t coding>
class BlockEncoder {
public:
    __device__ BlockEncoder(const OrderedLevels<Levels<coding>::count> &levels, float absmax, bool is_short)
        : levels_(levels), absmax_(absmax), divides_(coding == SPEFT_CODING_LEVELS4 && is_short),
          share_(absmax, divides_) {}

    __device__ std::uint8_t operator()(float weight) const {
        if (coding == SPEFT_CODING_LEVELS8 && absmax_ == 0) return 0;
        return levels_.nearest(share_(weight));
    }
    __device__ float absmax() const { return divides_ ? divisor_of(absmax_) : absmax_; }

private:
    const OrderedLevels<Levels<coding>::count> &levels_;
    float absmax_;
    bool divides_;
    ShareOfScale share_;
};

template <>
class BlockEncoder<SPEFT_CODING_INT8> {
public:
    __device__ explicit BlockEncoder(float absmax) : absmax_(absmax), factor_(int8_factor(absmax)) {}

    __device__ std::uint8_t operator()(float weight) const {
        return static_cast<std::uint8_t>(static_cast<std::int8_t>(rintf(weight * factor_)));
    }
    __device__ float absmax() const { return absmax_; }

private:
    float absmax_, factor_;
};

// use(make): make(absmax, is_short) gives a block's encoder.
template <std::int32_t coding, class Use>
__device__ inline void with_encoders(const Levels<coding> &tables, Use &&use) {
    if constexpr (coding == SPEFT_CODING_INT8) {
        use([](float absmax, bool) { return BlockEncoder<coding>(absmax); });
    } else {
        const auto &levels = share_levels(tables.levels);
        use([&](float absmax, bool is_short) { return BlockEncoder<coding>(levels, absmax, is_short); });
    }
}

__device__ inline float start_encoding(const Encoding &target) {
    if (!target.offset) return 0;
    if (blockIdx.x == 0 && threadIdx.x == 0) *target.offset = target.findings->mean;
    return target.findings->mean;
}

// Whole blocks of a multiple of eight weights: 2^lanes_bits lanes each, so that a warp has as many small blocks as
// eight weights a lane make.
template <class Scalar, std::int32_t coding>
__global__ void encode_eights(const Scalar *weights, const __grid_constant__ Encoding target,
                              const __grid_constant__ Levels<coding> tables, unsigned lanes_bits,
                              std::uint64_t blocks) {
    if (target.findings->not_finite > 0) return;
    const float offset = start_encoding(target);
    with_encoders(tables, [&](auto make_encoder) {
        const unsigned lanes = 1u << lanes_bits, rank = lane() & (lanes - 1), at_once = warp_threads >> lanes_bits;
        const std::uint64_t warps = std::uint64_t{gridDim.x} * warps_per_block;
        const bool once = target.block == lanes * eight;
        for (std::uint64_t first = (std::uint64_t{blockIdx.x} * warps_per_block + warp()) * at_once; first < blocks;
             first += warps * at_once) {
            const std::uint64_t block = first + (lane() >> lanes_bits), begin = block * target.block;
            const bool is_there = block < blocks;
            float values[eight], absmax = 0;
            const auto load = [&](std::uint64_t i) {
                load_eight(weights + begin + i, values);
                for (float &value : values) value -= offset;
            };
            if (is_there)
                for (std::uint64_t i = rank * eight; i < target.block; i += lanes * eight) {
                    load(i);
                    for (const float value : values) absmax = max(absmax, fabsf(value));
                }
            for (unsigned distance = lanes / 2; distance > 0; distance /= 2)
                absmax = max(absmax, __shfl_xor_sync(full_warp, absmax, distance));
            if (!is_there) continue;
            const auto encode = make_encoder(absmax, false);
            for (std::uint64_t i = rank * eight; i < target.block; i += lanes * eight) {
                if (!once) load(i);
                if constexpr (coding == SPEFT_CODING_LEVELS4) {
                    std::uint8_t codes[eight / 2];
                    for (unsigned v = 0; v < eight; v += 2)
                        codes[v / 2] = static_cast<std::uint8_t>(encode(values[v]) << 4 | encode(values[v + 1]));
                    store_bytes<eight / 2>(target.codes + (begin + i) / 2, codes);
                } else {
                    std::uint8_t codes[eight];
                    for (unsigned v = 0; v < eight; ++v) codes[v] = encode(values[v]);
                    store_bytes<eight>(target.codes + begin + i, codes);
                }
            }
            if (rank == 0) target.absmax[block] = encode.absmax();
        }
    });
}

// Blocks of any size from `first` on, each by a warp, or by all threads where `wide`.
template <class Scalar, std::int32_t coding, bool wide>
__global__ void encode_blocks(const Scalar *weights, const __grid_constant__ Encoding target,
                              const __grid_constant__ Levels<coding> tables, std::uint64_t first) {
    if (target.findings->not_finite > 0) return;
    const float offset = start_encoding(target);
    const std::uint64_t blocks = (target.count + target.block - 1) / target.block;
    with_encoders(tables, [&](auto make_encoder) {
        __shared__ float maxima[warps_per_block];
        const unsigned threads = wide ? block_threads : warp_threads, rank = wide ? threadIdx.x : lane();
        const std::uint64_t stride = std::uint64_t{gridDim.x} * (wide ? 1 : warps_per_block);
        for (std::uint64_t block = first + (wide ? blockIdx.x : std::uint64_t{blockIdx.x} * warps_per_block + warp());
             block < blocks; block += stride) {
            const std::uint64_t begin = block * target.block, end = min(begin + target.block, target.count);
            const auto weight = [&](std::uint64_t i) { return to_float(weights[i]) - offset; };
            float absmax = 0;
            for (std::uint64_t i = begin + rank; i < end; i += threads) absmax = max(absmax, fabsf(weight(i)));
            absmax = warp_max(absmax);
            if (wide) {
                if (lane() == 0) maxima[warp()] = absmax;
                __syncthreads();
                for (const float other : maxima) absmax = max(absmax, other);
                __syncthreads();  // before the next block's maxima are written
            }
            const auto encode = make_encoder(absmax, end - begin < target.block);
            if constexpr (coding == SPEFT_CODING_LEVELS4) {
                for (std::uint64_t i = begin + 2 * rank; i < end; i += 2 * threads)
                    target.codes[i / 2] = static_cast<std::uint8_t>(encode(weight(i)) << 4 |
                                                                    encode(i + 1 < end ? weight(i + 1) : 0));
            } else {
                for (std::uint64_t i = begin + rank; i < end; i += threads) target.codes[i] = encode(weight(i));
            }
            if (rank == 0) target.absmax[block] = encode.absmax();
        }
    });
}

template <std::int32_t coding>
Levels<coding> order_levels(const float *levels) {
    if constexpr (coding == SPEFT_CODING_INT8)
        return {};
    else
        return {OrderedLevels<Levels<coding>::count>(levels)};
}

constexpr std::uint64_t widest_of_warp = 8192;

template <class Scalar, std::int32_t coding>
void encode(const speft_backend_device &device, const speft_quantize_blocks &q, const Encoding &target) {
    const auto *const weights = static_cast<const Scalar *>(q.weights);
    const Levels<coding> tables = order_levels<coding>(q.levels);
    const std::uint64_t blocks = (q.count + target.block - 1) / target.block;
    std::uint64_t done = 0;
    if constexpr (coding != SPEFT_CODING_LEVELS8)  // scales, of which there are few, are encoded one by one
        if (target.block % eight == 0 && target.block <= widest_of_warp) {
            done = q.count / target.block;
            unsigned lanes_bits = 0;
            while (lanes_bits < 5 && (std::uint64_t{2} << lanes_bits) * eight <= target.block) ++lanes_bits;
            launch(device, "quantize",
                   {.blocks = count_blocks(device, done, std::uint64_t{block_threads} >> lanes_bits)},
                   encode_eights<Scalar, coding>, weights, target, tables, lanes_bits, done);
        }
    // Also where there is no block: the mean of no weights is to be written.
    const bool wide = target.block > widest_of_warp;
    const std::uint64_t left = blocks - done;
    const unsigned grid = std::max(1u, count_blocks(device, left, wide ? 1 : warps_per_block));
    if (left > 0 || blocks == 0)
        launch(device, "quantize", {.blocks = grid},
               wide ? encode_blocks<Scalar, coding, true> : encode_blocks<Scalar, coding, false>, weights, target,
               tables, done);
}

std::uint64_t count_chunks(std::uint64_t count) { return (count + chunk_size - 1) / chunk_size; }

// ---- dequantize ----

// As many scalars as 16 bytes of the target hold, which no block begins or ends inside of.
template <class Scalar>
inline constexpr unsigned unit = 16 / sizeof(Scalar);

template <class Scalar, std::int32_t coding>
__global__ void decode_units(const __grid_constant__ CodedWeight source, Scalar *weights, std::uint64_t units) {
    __shared__ CodeTables tables;
    const Decoder decoder(source, tables);
    constexpr unsigned at_once = 4, size = unit<Scalar>, bytes = code_bytes(coding, size);
    const std::uint64_t stride = std::uint64_t{gridDim.x} * at_once * block_threads;
    for (std::uint64_t first = std::uint64_t{blockIdx.x} * at_once * block_threads + threadIdx.x; first < units;
         first += stride) {
        alignas(16) unsigned char codes[at_once][bytes];
        float scales[at_once] = {};
        for (unsigned u = 0; u < at_once; ++u) {  // all loads before the first store
            const std::uint64_t place = first + u * block_threads;
            if (place >= units) break;
            load_bytes<bytes>(codes[u], source.codes + place * bytes);
            scales[u] = decoder.scale_of(place * size);
        }
        for (unsigned u = 0; u < at_once; ++u) {
            const std::uint64_t place = first + u * block_threads;
            if (place >= units) break;
            float values[size];
            decoder.decode_run<coding, size>(codes[u], scales[u], values);
            alignas(16) Scalar rounded[size];
            for (unsigned i = 0; i < size; ++i) rounded[i] = from_float<Scalar>(values[i]);
            store_bytes<16>(weights + place * size, rounded);
        }
    }
}

// Scalars one by one, from `first` on.
template <class Scalar>
__global__ void decode_scalars(const __grid_constant__ CodedWeight source, Scalar *weights, std::uint64_t first) {
    __shared__ CodeTables tables;
    const Decoder decoder(source, tables);
    for (std::uint64_t j = first + first_item(); j < source.count; j += item_stride())
        weights[j] = from_float<Scalar>(decoder.decode(decoder.code(j), decoder.scale_of(j)));
}

// ---- requantize ----

constexpr unsigned piece_size = 256;  // scalars that a warp has at a time; even: no byte of 4-bit codes is in two

// What is found in some blocks.
struct Sums {
    std::uint64_t not_finite, changed;
    double squares, squared_errors;
};

struct Requantization {
    CodedWeight weight;
    std::uint8_t *codes;
    float *absmax;
    std::uint8_t *absmax_codes;
    const std::uint32_t *indices;
    const void *values;
    std::int32_t values_type;
    std::uint32_t blocks, blocks_per_warp;
    const std::uint32_t *starts;  // where the indices of each block start: [blocks + 1]
    float *maxima;                // [blocks], of those that values are added to
    Sums *partial;                // of each warp
    Sums *total;                  // [2]: before and after
};

// A warp's part of shared memory.
struct Piece {
    float weights[piece_size];
    std::uint8_t codes[piece_size];
};

// A block that values are added to, and the warp that works on it.
struct TouchedBlock {
    const Requantization &r;
    const Decoder &decoder;
    Piece &piece;
    std::uint32_t number;
    std::uint64_t begin, end;
    std::uint32_t first, last;  // of r.indices
    float absmax;

    __device__ TouchedBlock(const Requantization &arguments, const Decoder &read, Piece &space, std::uint32_t block)
        : r(arguments), decoder(read), piece(space), number(block),
          begin(std::uint64_t{block} * r.weight.block.divisor()),
          end(min(begin + r.weight.block.divisor(), r.weight.count)), first(r.starts[block]), last(r.starts[block + 1]),
          absmax(read.scale(block)) {}

    __device__ bool is_short() const { return end - begin < r.weight.block.divisor(); }

    // visit(at, count, from, to) for pieces [at, at + count) of the block, to which values [from, to) were added, in
    // piece.weights. All lanes call, and all of them visit.
    template <class Visit>
    __device__ void for_each_piece(Visit &&visit) const {
        std::uint32_t next = first;
        for (std::uint64_t at = begin; at < end; at += piece_size) {
            const auto count = static_cast<unsigned>(min(std::uint64_t{piece_size}, end - at));
            for (unsigned i = lane(); i < count; i += warp_threads)
                piece.weights[i] = decoder.decode(decoder.code(at + i), absmax);
            __syncwarp();
            const std::uint32_t from = next;
            for (unsigned added = warp_threads; added == warp_threads; next += added) {
                const std::uint32_t j = next + lane();
                const bool is_here = j < last && r.indices[j] < at + count;
                if (is_here) piece.weights[r.indices[j] - at] += load(r.values, r.values_type, j);
                added = static_cast<unsigned>(__popc(__ballot_sync(full_warp, is_here)));
            }
            __syncwarp();
            visit(at, count, from, next);
            __syncwarp();
        }
    }
};

// body(block) for the blocks of a warp's that values are added to.
template <class Body>
__device__ inline void for_each_touched(const Requantization &r, const Decoder &decoder, Piece &piece, Body &&body) {
    const std::uint64_t begin = (std::uint64_t{blockIdx.x} * warps_per_block + warp()) * r.blocks_per_warp;
    const std::uint64_t end = min(begin + r.blocks_per_warp, std::uint64_t{r.blocks});
    for (std::uint64_t block = begin; block < end; ++block)
        if (r.starts[block] < r.starts[block + 1])
            body(TouchedBlock(r, decoder, piece, static_cast<std::uint32_t>(block)));
}

__device__ inline Sums &own_sums(const Requantization &r) {
    return r.partial[std::uint64_t{blockIdx.x} * warps_per_block + warp()];
}

__global__ void inspect_blocks(const __grid_constant__ Requantization r) {
    __shared__ CodeTables tables;
    __shared__ Piece pieces[warps_per_block];
    const Decoder decoder(r.weight, tables);
    unsigned long long not_finite = 0;
    for_each_touched(r, decoder, pieces[warp()], [&](const TouchedBlock &block) {
        float absmax = 0;
        block.for_each_piece([&](std::uint64_t, unsigned count, std::uint32_t, std::uint32_t) {
            for (unsigned i = lane(); i < count; i += warp_threads) {
                const float weight = block.piece.weights[i];
                not_finite += !is_finite(weight);
                absmax = max(absmax, fabsf(weight));
            }
        });
        absmax = warp_max(absmax);
        if (lane() == 0) r.maxima[block.number] = absmax;
    });
    not_finite = warp_sum(not_finite);
    if (lane() == 0) own_sums(r) = {not_finite, 0, 0, 0};
}

// One block adds up what the warps found.
__global__ void gather_sums(const Sums *partial, std::uint64_t count, Sums *total) {
    unsigned long long not_finite = 0, changed = 0;
    double squares = 0, squared_errors = 0;
    for (std::uint64_t i = threadIdx.x; i < count; i += blockDim.x) {
        not_finite += partial[i].not_finite;
        changed += partial[i].changed;
        squares += partial[i].squares;
        squared_errors += partial[i].squared_errors;
    }
    not_finite = block_sum(not_finite);
    changed = block_sum(changed);
    squares = block_sum(squares);
    squared_errors = block_sum(squared_errors);
    if (threadIdx.x == 0) *total = {not_finite, changed, squares, squared_errors};
}

// The codes of a block's weights by one of the two scales.
struct Requantizer {
    const OrderedLevels<16> &levels;
    const Decoder &decoder;
    bool of_levels;
    float absmax;
    ShareOfScale share;
    float factor;

    __device__ Requantizer(const OrderedLevels<16> &table, const TouchedBlock &block, float scale)
        : levels(table), decoder(block.decoder), of_levels(block.r.weight.coding == SPEFT_CODING_LEVELS4),
          absmax(scale), share(scale, block.is_short()), factor(int8_factor(scale)) {}

    __device__ std::uint8_t encode(float weight) const {
        if (of_levels) return levels.nearest(share(weight));
        return static_cast<std::uint8_t>(static_cast<std::int8_t>(rintf(clamp(weight * factor, 127))));
    }
    __device__ double error(std::uint8_t code, float weight) const {
        return static_cast<double>(decoder.decode(code, absmax)) - static_cast<double>(weight);
    }
};

// A scale as it will be read, and its code where scales are codes.
struct Scale {
    float absmax;
    std::uint8_t code;
};

__device__ inline Scale encode_scale(const TouchedBlock &block, const OrderedLevels<256> &absmax_levels,
                                     const float *levels) {
    const CodedWeight &weight = block.r.weight;
    const float absmax = block.r.maxima[block.number];
    if (!weight.absmax_codes) {
        // As quantizing leaves it there.
        const bool is_divisor = weight.coding == SPEFT_CODING_LEVELS4 && block.is_short();
        return {is_divisor ? divisor_of(absmax) : absmax, 0};
    }
    const float absmax_absmax = weight.absmax_absmax[weight.absmax_block(block.number)];
    const float offset = *weight.absmax_offset;
    const std::uint8_t code = absmax_levels.nearest(ShareOfScale(absmax_absmax)(absmax - offset));
    return {decode_absmax(levels[code], absmax_absmax, offset), code};
}

// Writes nothing where a weight is not finite.
__global__ void encode_touched(const __grid_constant__ Requantization r,
                               const __grid_constant__ OrderedLevels<16> given,
                               const __grid_constant__ OrderedLevels<256> absmax_given) {
    if (r.total->not_finite > 0) return;
    __shared__ CodeTables tables;
    __shared__ Piece pieces[warps_per_block];
    const OrderedLevels<16> &levels = share_levels(given);
    const OrderedLevels<256> &absmax_levels = share_levels(absmax_given);
    const Decoder decoder(r.weight, tables);
    std::uint32_t changed = 0;
    double squares = 0, squared_errors = 0;
    for_each_touched(r, decoder, pieces[warp()], [&](const TouchedBlock &block) {
        const Scale fresh = encode_scale(block, absmax_levels, tables.absmax_levels);
        const Requantizer with_old(levels, block, block.absmax), with_fresh(levels, block, fresh.absmax);
        double old_errors = 0, fresh_errors = 0;
        block.for_each_piece([&](std::uint64_t, unsigned count, std::uint32_t, std::uint32_t) {
            for (unsigned i = lane(); i < count; i += warp_threads) {
                const float weight = block.piece.weights[i];
                const double of_old = with_old.error(with_old.encode(weight), weight);
                const double of_fresh = with_fresh.error(with_fresh.encode(weight), weight);
                old_errors += of_old * of_old;
                fresh_errors += of_fresh * of_fresh;
            }
        });
        const bool keeps = warp_sum(old_errors) <= warp_sum(fresh_errors);
        const Requantizer requantizer(levels, block, keeps ? block.absmax : fresh.absmax);
        block.for_each_piece([&](std::uint64_t at, unsigned count, std::uint32_t from, std::uint32_t to) {
            std::uint8_t *const codes = block.piece.codes;
            for (unsigned i = lane(); i < count; i += warp_threads) {
                const float weight = block.piece.weights[i];
                codes[i] = requantizer.encode(weight);
                const double error = requantizer.error(codes[i], weight);
                squares += static_cast<double>(weight) * static_cast<double>(weight);
                squared_errors += error * error;
            }
            __syncwarp();
            for (std::uint32_t j = from + lane(); j < to; j += warp_threads)
                changed += decoder.code(r.indices[j]) != codes[r.indices[j] - at];
            __syncwarp();  // what was there has been read
            if (requantizer.of_levels) {
                for (unsigned i = 2 * lane(); i < count; i += 2 * warp_threads)
                    r.codes[(at + i) / 2] = static_cast<std::uint8_t>(
                        codes[i] << 4 | (i + 1 < count ? codes[i + 1] : requantizer.encode(0)));
            } else {
                for (unsigned i = lane(); i < count; i += warp_threads) r.codes[at + i] = codes[i];
            }
        });
        if (keeps || lane() > 0) return;
        if (r.absmax_codes)
            r.absmax_codes[block.number] = fresh.code;
        else
            r.absmax[block.number] = fresh.absmax;
    });
    changed = warp_sum(changed);
    squares = warp_sum(squares);
    squared_errors = warp_sum(squared_errors);
    if (lane() == 0) own_sums(r) = {0, changed, squares, squared_errors};
}

// How a weight's blocks are shared out to warps, on any GPU alike, and what of them is in scratch.
struct RequantizationPlan {
    static constexpr std::uint64_t most_warps = 8192;
    std::uint64_t blocks, blocks_per_warp, grid, warps;

    explicit RequantizationPlan(const speft_quantized_blocks &q) {
        const std::uint64_t block = std::max<std::uint64_t>(1, q.block);
        blocks = (q.count + block - 1) / block;
        blocks_per_warp = (blocks + most_warps - 1) / most_warps;
        const std::uint64_t per_block = blocks_per_warp * warps_per_block;
        grid = blocks == 0 ? 0 : (blocks + per_block - 1) / per_block;
        warps = grid * warps_per_block;
    }
    std::uint64_t bytes() const {
        return (warps + 2) * sizeof(Sums) + blocks * sizeof(float) + (blocks + 1) * sizeof(std::uint32_t);
    }
};

}  // namespace

std::uint64_t quantize_scratch(const speft_backend_device &, const speft_quantize_blocks &arguments) {
    return (count_chunks(arguments.count) + 1) * sizeof(Findings);
}

void quantize(speft_backend_device &device, const speft_quantize_blocks &arguments, void *scratch) {
    Findings *const findings = static_cast<Findings *>(scratch), *const partial = findings + 1;
    const std::uint64_t chunks = count_chunks(arguments.count);
    const bool has_offset = arguments.offset != nullptr;
    choose_scalar(arguments.weights_type, [&](auto scalar) {
        using Scalar = decltype(scalar);
        launch(device, "quantize", {.blocks = static_cast<unsigned>(chunks)}, inspect_weights<Scalar>,
               static_cast<const Scalar *>(arguments.weights), arguments.count, has_offset, partial);
        launch(device, "quantize", {.blocks = 1}, gather_findings, partial, chunks, arguments.count, findings);
        const Encoding target = {static_cast<std::uint8_t *>(arguments.codes), arguments.absmax, findings,
                                 arguments.offset, arguments.count, std::max<std::uint64_t>(1, arguments.block)};
        switch (arguments.coding) {
        case SPEFT_CODING_LEVELS4: return encode<Scalar, SPEFT_CODING_LEVELS4>(device, arguments, target);
        case SPEFT_CODING_LEVELS8: return encode<Scalar, SPEFT_CODING_LEVELS8>(device, arguments, target);
        default: return encode<Scalar, SPEFT_CODING_INT8>(device, arguments, target);
        }
    });
    read(device, arguments.not_finite, &findings->not_finite, sizeof *arguments.not_finite);
}

void dequantize(speft_backend_device &device, const speft_dequantize_blocks &arguments, void *) {
    const CodedWeight source(arguments.quantized);
    choose_scalar(arguments.weights_type, [&](auto scalar) {
        using Scalar = decltype(scalar);
        auto *const weights = static_cast<Scalar *>(arguments.weights);
        constexpr unsigned size = unit<Scalar>;
        const std::uint64_t units = source.block.divisor() % size == 0 ? source.count / size : 0;
        const bool of_int8 = source.coding == SPEFT_CODING_INT8;
        launch(device, "dequantize", {.blocks = count_blocks(device, units, 4 * block_threads)},
               of_int8 ? decode_units<Scalar, SPEFT_CODING_INT8> : decode_units<Scalar, SPEFT_CODING_LEVELS4>, source,
               weights, units);
        launch(device, "dequantize", {.blocks = count_blocks(device, source.count - units * size, block_threads)},
               decode_scalars<Scalar>, source, weights, units * size);
    });
}

std::uint64_t requantize_scratch(const speft_backend_device &, const speft_requantize_blocks &arguments) {
    return RequantizationPlan(arguments.quantized).bytes();
}

void requantize(speft_backend_device &device, const speft_requantize_blocks &arguments, void *scratch) {
    const RequantizationPlan plan(arguments.quantized);
    Sums *const total = static_cast<Sums *>(scratch), *const partial = total + 2;
    auto *const maxima = reinterpret_cast<float *>(partial + plan.warps);
    auto *const starts = reinterpret_cast<std::uint32_t *>(maxima + plan.blocks);
    const CodedWeight weight(arguments.quantized);
    const auto blocks = static_cast<std::uint32_t>(plan.blocks);
    const Requantization r = {weight,
                              static_cast<std::uint8_t *>(arguments.codes),
                              arguments.absmax,
                              arguments.absmax_codes,
                              arguments.indices,
                              arguments.values,
                              arguments.values_type,
                              blocks,
                              static_cast<std::uint32_t>(plan.blocks_per_warp),
                              starts,
                              maxima,
                              partial,
                              total};
    const float none[256] = {};
    const OrderedLevels<16> levels(arguments.quantized.levels ? arguments.quantized.levels : none);
    const OrderedLevels<256> absmax_levels(arguments.quantized.absmax_codes ? arguments.quantized.absmax_levels : none);
    const auto grid = static_cast<unsigned>(plan.grid);
    find_starts(device, "requantize", arguments.indices, arguments.count, weight.block, blocks, starts);
    launch(device, "requantize", {.blocks = grid}, inspect_blocks, r);
    launch(device, "requantize", {.blocks = 1}, gather_sums, partial, plan.warps, total);
    launch(device, "requantize", {.blocks = grid}, encode_touched, r, levels, absmax_levels);
    launch(device, "requantize", {.blocks = 1}, gather_sums, partial, plan.warps, total + 1);
    Sums sums[2];
    read(device, sums, total, sizeof sums);
    *arguments.not_finite = sums[0].not_finite;
    if (sums[0].not_finite > 0) return;
    *arguments.changed = sums[1].changed;
    *arguments.squares = sums[1].squares;
    *arguments.squared_errors = sums[1].squared_errors;
}

}  // namespace speft::cuda
